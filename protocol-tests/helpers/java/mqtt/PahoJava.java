import com.fasterxml.jackson.databind.ObjectMapper;

import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/**
 * Eclipse Paho for Java, in the version that LEVEL says (4 is MQTT 3.1.1); what it sees is printed as JSON lines. Judges nothing.
 *
 * `subscriber HOST PORT LEVEL FILTER` prints {"subscribed":…}, then a line per message. `life HOST PORT LEVEL PREFIX` is the life of a few
 * clients below a topic: retained messages, both qualities, a will, and a session that goes on where it was left.
 */
public final class PahoJava {
    private static final long PATIENCE_S = 40;
    private static final ObjectMapper JSON = new ObjectMapper();

    private final String url;
    private final boolean isFive;

    private PahoJava(String url, boolean isFive) {
        this.url = url;
        this.isFive = isFive;
    }

    public static void main(String[] words) throws Exception {
        PahoJava paho = new PahoJava("tcp://" + words[1] + ":" + words[2], words[3].equals("5"));
        if (words[0].equals("subscriber")) {
            paho.subscriber(words[4]);
        } else {
            paho.life(words[4]);
            System.exit(0);
        }
    }

    private PahoClient client(String id, PahoClient.Will will, PahoClient.Listener listener) throws Exception {
        return isFive ? new PahoFive(url, id, will, listener) : new PahoThree(url, id, will, listener);
    }

    private PahoClient client(String id, PahoClient.Will will) throws Exception {
        return client(id, will, (topic, payload, qos, retained) -> {});
    }

    private void subscriber(String filter) throws Exception {
        PahoClient client = client("subscriber-" + ProcessHandle.current().pid(), null,
            (topic, payload, qos, retained) -> say("topic", topic, "payload", text(payload)));
        client.connect(true);
        say("subscribed", client.subscribe(new String[] {filter}, new int[] {0})[0] < 128);
    }

    private void life(String prefix) throws Exception {
        var arrived = new LinkedBlockingQueue<Object[]>();
        PahoClient publisher = client(prefix + "/publisher", null);
        PahoClient follower = client(prefix + "/follower", null,
            (topic, payload, qos, retained) -> arrived.add(new Object[] {"topic", topic, "payload", text(payload), "qos", qos, "retained", retained}));
        publisher.connect(true);
        publisher.publish(prefix + "/kept", "retained", 1, true);
        say("session", follower.connect(false));
        say("granted", follower.subscribe(new String[] {prefix + "/kept", prefix + "/+/news"}, new int[] {0, 1}));
        say(next(arrived));
        for (int qos : new int[] {0, 1}) {
            publisher.publish(prefix + "/" + qos + "/news", "quality " + qos, qos, false);
            say(next(arrived));
        }
        PahoClient lost = client(prefix + "/lost", new PahoClient.Will(prefix + "/lost/news", "will"));
        lost.connect(true);
        lost.drop();
        say(next(arrived));
        follower.disconnect();
        publisher.publish(prefix + "/away/news", "while away", 1, false);
        say("session", follower.connect(false));
        say(next(arrived));
        publisher.publish(prefix + "/kept", "", 1, true);
        publisher.disconnect();
        follower.disconnect();
        say("done", true);
    }

    private static Object[] next(LinkedBlockingQueue<Object[]> arrived) throws InterruptedException {
        Object[] message = arrived.poll(PATIENCE_S, TimeUnit.SECONDS);
        if (message == null) {
            throw new IllegalStateException("no message in " + PATIENCE_S + " s");
        }
        return message;
    }

    private static String text(byte[] bytes) {
        return new String(bytes, StandardCharsets.UTF_8);
    }

    /** Names and values by turns. */
    private static synchronized void say(Object... parts) {
        Map<String, Object> line = new LinkedHashMap<>();
        for (int i = 0; i < parts.length; i += 2) {
            line.put((String) parts[i], parts[i + 1]);
        }
        try {
            System.out.println(JSON.writeValueAsString(line));
        } catch (java.io.IOException error) {
            throw new IllegalStateException(error);
        }
        System.out.flush();
    }
}
