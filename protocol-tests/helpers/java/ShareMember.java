import org.apache.kafka.clients.consumer.AcknowledgeType;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicIdPartition;
import org.apache.kafka.common.serialization.StringDeserializer;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;

/**
 * Apache Kafka's share consumer behind the contract of tests/test_share_groups.py: `accept N`, `release N`, `reject N` on standard input reads
 * at least N records, acknowledges them so, and says which they were; `hold N` reads and says nothing to the broker. It judges nothing.
 */
public final class ShareMember {
    private static final Duration POLL = Duration.ofMillis(100);

    private ShareMember() {
    }

    public static void main(String[] words) throws Exception {
        Map<String, String> args = new HashMap<>();
        for (int i = 0; i < words.length; i += 2) {
            args.put(words[i], words[i + 1]);
        }
        Properties settings = new Properties();
        settings.put("bootstrap.servers", args.get("--bootstrap"));
        settings.put("group.id", args.get("--group"));
        settings.put("share.acknowledgement.mode", "explicit");
        settings.put("fetch.max.wait.ms", "100");
        try (KafkaShareConsumer<String, String> consumer =
                 new KafkaShareConsumer<>(settings, new StringDeserializer(), new StringDeserializer())) {
            consumer.subscribe(List.of(args.get("--topic")));
            BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
            for (String line = lines.readLine(); line != null && !line.equals("close"); line = lines.readLine()) {
                String[] step = line.split(" ");
                System.out.println("[" + String.join(",", read(consumer, step[0], Integer.parseInt(step[1]))) + "]");
            }
        }
        System.out.println("\"closed\"");
    }

    private static List<String> read(KafkaShareConsumer<String, String> consumer, String how, int count) {
        List<String> read = new ArrayList<>();
        while (read.size() < count) {
            for (ConsumerRecord<String, String> record : consumer.poll(POLL)) {
                read.add(String.format("[%d,%d,%d]", record.partition(), record.offset(), record.deliveryCount().orElse((short) -1)));
                if (!how.equals("hold")) {
                    consumer.acknowledge(record, AcknowledgeType.valueOf(how.toUpperCase()));
                }
            }
            if (how.equals("hold")) {
                continue;
            }
            Map<TopicIdPartition, Optional<KafkaException>> outcome = consumer.commitSync();
            outcome.values().stream().flatMap(Optional::stream).forEach(error -> read.add("\"" + error + "\""));
        }
        return read;
    }
}
