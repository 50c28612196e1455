import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeSet;
import java.util.stream.IntStream;

/**
 * Apache Kafka's own consumer behind the contract of tests/test_fetch_sessions.py: it reads all partitions of a topic, lets its fetches
 * come back empty for a while, reads what comes then, and says after each step what its own metrics count. It judges nothing.
 */
public final class FetchWatcher {
    private static final Duration POLL = Duration.ofMillis(50);

    private final KafkaConsumer<String, String> consumer;
    private final TreeSet<Integer> seen = new TreeSet<>();
    private long read;

    private FetchWatcher(Map<String, String> args) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", args.get("--bootstrap"));
        settings.put("auto.offset.reset", "earliest");
        settings.put("enable.auto.commit", "false");
        settings.put("fetch.max.wait.ms", args.get("--max-wait-ms"));
        consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
        int partitions = Integer.parseInt(args.get("--partitions"));
        consumer.assign(IntStream.range(0, partitions).mapToObj(p -> new TopicPartition(args.get("--topic"), p)).toList());
    }

    private void poll() {
        for (ConsumerRecord<String, String> record : consumer.poll(POLL)) {
            seen.add(record.partition());
            read++;
        }
    }

    private void readUntil(long count) {
        while (read < count) {
            poll();
        }
        say("read");
    }

    /** Until so many more fetches have been answered. */
    private void idle(long fetches) {
        double end = metric("consumer-fetch-manager-metrics", "fetch-total") + fetches;
        while (metric("consumer-fetch-manager-metrics", "fetch-total") < end) {
            poll();
        }
        say("idle");
    }

    private double metric(String group, String name) {
        return consumer.metrics().entrySet().stream()
                .filter(entry -> entry.getKey().group().equals(group) && entry.getKey().name().equals(name)
                        && entry.getKey().tags().keySet().equals(java.util.Set.of("client-id")))
                .mapToDouble(entry -> (Double) entry.getValue().metricValue()).sum();
    }

    private void say(String step) {
        System.out.printf("{\"step\":\"%s\",\"records\":%d,\"partitions\":%d,\"fetches\":%.0f,\"requests\":%.0f,\"sent\":%.0f,\"received\":%.0f}%n",
                step, read, seen.size(), metric("consumer-fetch-manager-metrics", "fetch-total"),
                metric("consumer-metrics", "request-total"), metric("consumer-metrics", "outgoing-byte-total"),
                metric("consumer-metrics", "incoming-byte-total"));
        System.out.flush();
        seen.clear();
    }

    public static void main(String[] words) throws Exception {
        Map<String, String> args = new HashMap<>();
        for (int i = 0; i + 1 < words.length; i += 2) {
            args.put(words[i], words[i + 1]);
        }
        FetchWatcher watcher = new FetchWatcher(args);
        var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            List<String> step = List.of(line.split(" "));
            if (step.get(0).equals("read")) {
                watcher.readUntil(Long.parseLong(step.get(1)));
            } else {
                watcher.idle(Long.parseLong(step.get(1)));
            }
        }
        watcher.consumer.close();
    }
}
