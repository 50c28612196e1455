import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

import java.io.BufferedWriter;
import java.io.IOException;
import java.io.OutputStreamWriter;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.TimeUnit;
import java.util.zip.CRC32;

/**
 * Apache Kafka's own producer behind the load contract (durability/README.md): several producers, one thread each. It judges
 * nothing: it prints what its client acknowledged or gave up, and at the end how much it sent.
 */
public final class LoadProducer {
    private static final long TICK_MS = 10;
    private static final int KEYS = 500;
    private static final String FILLER = "goal! cheer wave clap ".repeat(40);
    private static final BufferedWriter OUT = new BufferedWriter(new OutputStreamWriter(System.out, StandardCharsets.UTF_8), 1 << 16);

    private static volatile boolean stopping;

    /** A topic's partition and the number of the next record for it. */
    private static final class Target {
        final String topic;
        final int partition;
        int next;

        Target(String topic, int partition) {
            this.topic = topic;
            this.partition = partition;
        }
    }

    private final String name;
    private final double rate;
    private final List<Target> targets = new ArrayList<>();
    private final KafkaProducer<String, String> producer;

    private LoadProducer(Map<String, String> args, String mode) {
        String[] parts = mode.split(":");
        name = parts[0];
        rate = Double.parseDouble(args.get("--rate"));
        for (String target : args.get("--targets").split(",")) {
            String[] topic = target.split(":");
            for (int partition = 0; partition < Integer.parseInt(topic[1]); partition++) {
                targets.add(new Target(topic[0], partition));
            }
        }
        producer = new KafkaProducer<>(settings(args.get("--bootstrap"), parts), new StringSerializer(), new StringSerializer());
    }

    private static Properties settings(String bootstrap, String[] mode) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("acks", mode[1]);
        settings.put("enable.idempotence", mode[2]);
        settings.put("max.in.flight.requests.per.connection", mode[2].equals("true") ? "5" : "1");
        settings.put("compression.type", mode[3]);
        settings.put("batch.size", "16384");
        settings.put("reconnect.backoff.ms", "20");
        settings.put("reconnect.backoff.max.ms", "200");
        settings.put("retry.backoff.ms", "20");
        settings.put("retry.backoff.max.ms", "100");
        return settings;
    }

    private void run() {
        long began = System.nanoTime();
        long sent = 0;
        while (!stopping) {
            double due = (System.nanoTime() - began) / 1e9 * rate;
            for (; sent < due && !stopping; sent++) {
                send(targets.get((int) (sent % targets.size())));
            }
            pause();
        }
        producer.flush();
        producer.close();
        for (Target target : targets) {
            say("sent " + name + " " + target.topic + " " + target.partition + " " + target.next);
        }
    }

    private void send(Target target) {
        int number = target.next++;
        String stamp = name + " " + target.topic + " " + target.partition + " " + number;
        String filler = FILLER.substring(0, (int) (number * 7919L % 700));
        CRC32 crc = new CRC32();
        crc.update((stamp + " " + filler).getBytes(StandardCharsets.UTF_8));
        String value = String.format("%s %08x %s", stamp, crc.getValue(), filler);
        var record = new ProducerRecord<>(target.topic, target.partition, name + "-" + number % KEYS, value);
        producer.send(record, (metadata, error) ->
                say(error == null ? "ack " + stamp + " " + metadata.offset() : "gave-up " + stamp + " " + error));
    }

    private static void say(String line) {
        try {
            synchronized (OUT) {
                OUT.write(line);
                OUT.newLine();
            }
        } catch (IOException error) {
            throw new IllegalStateException(error);
        }
    }

    private static void pause() {
        try {
            synchronized (OUT) {
                OUT.flush();
            }
            TimeUnit.MILLISECONDS.sleep(TICK_MS);
        } catch (IOException | InterruptedException error) {
            throw new IllegalStateException(error);
        }
    }

    public static void main(String[] words) throws Exception {
        Map<String, String> args = new java.util.HashMap<>();
        for (int i = 0; i + 1 < words.length; i += 2) {
            args.put(words[i], words[i + 1]);
        }
        List<Thread> threads = new ArrayList<>();
        for (String mode : args.get("--modes").split(",")) {
            Thread thread = new Thread(new LoadProducer(args, mode)::run);
            thread.start();
            threads.add(thread);
        }
        System.in.transferTo(java.io.OutputStream.nullOutputStream());
        stopping = true;
        for (Thread thread : threads) {
            thread.join();
        }
        OUT.flush();
    }
}
