import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;

import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.common.utils.AppInfoParser;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;

/**
 * Apache Kafka's Java client behind the helper contract (protocol-tests/README.md); one source, built and run against the
 * kafka-clients of each *.xml beside it. It judges nothing: the suite compares. Runs inside ToolServer, several at a time.
 */
public final class KafkaClients {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final Duration POLL = Duration.ofMillis(100);
    private static final Duration READ = Duration.ofSeconds(10);
    private static final int FETCH_WAIT_MS = 20;
    private static final int HEARTBEAT_MS = 200;
    private static final int SESSION_MS = 10_000;

    private final Map<String, String> args;
    private final String topic;

    private KafkaClients(Map<String, String> args) {
        this.args = args;
        this.topic = args.get("--topic");
    }

    public static void main(String[] words) throws Exception {
        Map<String, String> args = new HashMap<>();
        for (int i = 1; i < words.length; i++) {
            boolean hasValue = i + 1 < words.length && !words[i + 1].startsWith("--");
            args.put(words[i], hasValue ? words[++i] : "true");
        }
        KafkaClients client = new KafkaClients(args);
        switch (words[0]) {
            case "version": say("version", AppInfoParser.getVersion()); break;
            case "create": client.create(); break;
            case "produce": client.produce(); break;
            case "member": client.member(); break;
            case "times": client.times(); break;
            default: throw new IllegalArgumentException("no such verb: " + words[0]);
        }
    }

    private static void say(Object... namesAndValues) throws IOException {
        Map<String, Object> event = new LinkedHashMap<>();
        for (int i = 0; i < namesAndValues.length; i += 2) event.put((String) namesAndValues[i], namesAndValues[i + 1]);
        System.out.println(JSON.writeValueAsString(event));
    }

    private Properties settings() {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", args.get("--bootstrap"));
        return settings;
    }

    private void create() throws Exception {
        try (Admin admin = Admin.create(settings())) {
            int partitions = Integer.parseInt(args.get("--partitions"));
            admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1))).all().get();
        }
        say("created", topic);
    }

    private void produce() throws Exception {
        boolean idempotent = args.containsKey("--idempotent");
        Properties settings = settings();
        settings.put("acks", "all");
        settings.put("compression.type", args.get("--codec"));
        settings.put("enable.idempotence", String.valueOf(idempotent));
        settings.put("max.in.flight.requests.per.connection", idempotent ? "5" : "1");
        settings.put("linger.ms", "5");
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            BufferedReader lines = input();
            for (String line = lines.readLine(); line != null; line = lines.readLine()) sent.add(producer.send(toClient(line)));
        }
        int stored = 0;
        for (Future<RecordMetadata> one : sent) {
            if (one.get().offset() >= 0) stored++;
        }
        say("produced", stored);
    }

    private static BufferedReader input() {
        return new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    }

    private ProducerRecord<String, String> toClient(String line) throws IOException {
        JsonNode raw = JSON.readTree(line);
        ProducerRecord<String, String> record =
            new ProducerRecord<>(topic, null, raw.get("t").asLong(), raw.get("k").asText(), raw.get("v").asText());
        for (JsonNode header : raw.get("h")) {
            record.headers().add(header.get(0).asText(), header.get(1).asText().getBytes(StandardCharsets.UTF_8));
        }
        return record;
    }

    private static Map<String, Object> fromClient(ConsumerRecord<String, String> record) {
        List<List<String>> headers = new ArrayList<>();
        for (Header header : record.headers()) {
            headers.add(List.of(header.key(), new String(header.value(), StandardCharsets.UTF_8)));
        }
        Map<String, Object> seen = new LinkedHashMap<>();
        seen.put("p", record.partition());
        seen.put("o", record.offset());
        seen.put("t", record.timestamp());
        seen.put("k", record.key());
        seen.put("v", record.value());
        seen.put("h", headers);
        return seen;
    }

    private KafkaConsumer<String, String> consumer(Map<String, Object> more) {
        Properties settings = settings();
        settings.put("enable.auto.commit", "false");
        settings.put("auto.offset.reset", "earliest");
        settings.put("fetch.max.wait.ms", FETCH_WAIT_MS);
        settings.putAll(more);
        return new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
    }

    /** Delivers at most `count` records, then only keeps its membership, until told to stop. */
    private void member() throws Exception {
        int count = Integer.parseInt(args.get("--count"));
        BlockingQueue<String> commands = commands();
        Map<Integer, Long> position = new TreeMap<>();
        List<Integer> said = null;
        int delivered = 0;
        String protocol = args.get("--protocol");
        // With KIP-848 the broker decides about heartbeats and sessions.
        Map<String, Object> own = protocol != null
            ? Map.of("group.id", args.get("--group"), "group.protocol", protocol)
            : Map.of("group.id", args.get("--group"), "heartbeat.interval.ms", HEARTBEAT_MS, "session.timeout.ms", SESSION_MS);
        try (KafkaConsumer<String, String> consumer = consumer(own)) {
            consumer.subscribe(List.of(topic));
            for (String command = null; !"stop".equals(command); command = commands.poll()) {
                if ("commit".equals(command)) commit(consumer, position);
                boolean full = delivered == count;
                if (full) consumer.pause(consumer.assignment());
                for (ConsumerRecord<String, String> record : consumer.poll(POLL)) {
                    if (delivered == count) break;
                    say("record", fromClient(record));
                    position.put(record.partition(), record.offset() + 1);
                    delivered++;
                }
                List<Integer> assigned = assignment(consumer);
                if (!assigned.equals(said)) say("assigned", assigned);
                said = assigned;
                if (!full && delivered == count) say("reached", count);
            }
        }
        say("stopped", delivered);
    }

    /** The suite's commands as they come; the end of the input is a stop. */
    private static BlockingQueue<String> commands() {
        BlockingQueue<String> commands = new LinkedBlockingQueue<>();
        BufferedReader lines = input();
        Thread pump = new Thread(() -> {
            lines.lines().map(String::trim).forEach(commands::add);
            commands.add("stop");
        });
        pump.setDaemon(true);
        pump.start();
        return commands;
    }

    private static List<Integer> assignment(KafkaConsumer<String, String> consumer) {
        List<Integer> partitions = new ArrayList<>();
        for (TopicPartition tp : consumer.assignment()) partitions.add(tp.partition());
        partitions.sort(null);
        return partitions;
    }

    private void commit(KafkaConsumer<String, String> consumer, Map<Integer, Long> position) throws IOException {
        Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
        position.forEach((partition, next) -> offsets.put(new TopicPartition(topic, partition), new OffsetAndMetadata(next)));
        consumer.commitSync(offsets);
        say("committed", position);
    }

    private void times() throws Exception {
        try (KafkaConsumer<String, String> consumer = consumer(Map.of())) {
            List<TopicPartition> partitions = new ArrayList<>();
            for (PartitionInfo p : consumer.partitionsFor(topic)) partitions.add(new TopicPartition(topic, p.partition()));
            for (String word : args.get("--timestamps").split(",")) {
                long timestamp = Long.parseLong(word);
                Map<TopicPartition, Long> asked = new HashMap<>();
                for (TopicPartition tp : partitions) asked.put(tp, timestamp);
                Map<TopicPartition, OffsetAndTimestamp> found = consumer.offsetsForTimes(asked);
                for (TopicPartition tp : partitions) {
                    OffsetAndTimestamp at = found.get(tp);
                    say("timestamp", timestamp, "partition", tp.partition(), "offset", at == null ? -1 : at.offset(),
                        "read", at == null ? null : readAt(consumer, tp, at.offset()));
                }
            }
        }
    }

    private static Map<String, Object> readAt(KafkaConsumer<String, String> consumer, TopicPartition tp, long offset) {
        consumer.assign(List.of(tp));
        consumer.seek(tp, offset);
        for (ConsumerRecord<String, String> record : consumer.poll(READ)) return fromClient(record);
        throw new IllegalStateException("nothing to read at " + tp + "/" + offset);
    }
}
