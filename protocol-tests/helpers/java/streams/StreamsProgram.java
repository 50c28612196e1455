import org.apache.kafka.streams.KafkaStreams;

import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;

/** What the programs on Kafka Streams share: their words, the settings that all have, and their life: states as JSON lines, until standard input ends. */
final class StreamsProgram {
    private static final Duration CLOSE = Duration.ofSeconds(10);

    static Map<String, String> arguments(String[] words) {
        Map<String, String> args = new HashMap<>();
        for (int i = 0; i + 1 < words.length; i += 2) {
            args.put(words[i], words[i + 1]);
        }
        return args;
    }

    /** Exactly once (v2), on a cluster of one, from the beginning. */
    static Properties settings(Map<String, String> args) {
        Properties settings = new Properties();
        settings.put("application.id", args.get("--application"));
        settings.put("bootstrap.servers", args.get("--bootstrap"));
        settings.put("state.dir", args.get("--state-dir"));
        settings.put("processing.guarantee", "exactly_once_v2");
        settings.put("num.stream.threads", "2");
        settings.put("consumer.auto.offset.reset", "earliest");
        settings.put("replication.factor", "1");
        return settings;
    }

    static void run(KafkaStreams streams) throws Exception {
        streams.setStateListener((now, before) -> say("state", "\"" + now + "\""));
        streams.start();
        System.in.transferTo(java.io.OutputStream.nullOutputStream());
        streams.close(CLOSE);
        System.exit(0);
    }

    static synchronized void say(String name, Object json) {
        System.out.println("{\"" + name + "\":" + json + "}");
        System.out.flush();
    }

    private StreamsProgram() {}
}
