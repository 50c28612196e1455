import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Random;

/**
 * One link of a chain: copies a topic into another, partition by partition, exactly once: records and offsets in one transaction. One
 * in ten transactions is aborted on purpose. Whatever goes wrong, it takes a new producer and goes on from what is committed. It judges
 * nothing; it prints how many records it has copied, and ends with its standard input.
 */
public final class TransactionCopier {
    private static final Duration POLL = Duration.ofMillis(200);
    private static final Duration BRIEF = Duration.ofSeconds(2);
    private static final int ABORTED_ONE_IN = 10;

    private final Map<String, String> args;
    private final Random random = new Random();
    private final KafkaConsumer<String, String> consumer;
    private KafkaProducer<String, String> producer;
    private boolean mustRewind;
    private long copied;
    private static volatile boolean stopping;

    private TransactionCopier(Map<String, String> args) {
        this.args = args;
        Properties settings = common();
        settings.put("group.id", args.get("--group"));
        settings.put("group.protocol", args.getOrDefault("--protocol", "classic"));
        if (settings.get("group.protocol").equals("classic")) {
            settings.put("session.timeout.ms", "6000");
            settings.put("heartbeat.interval.ms", "200");
        }
        settings.put("isolation.level", "read_committed");
        settings.put("auto.offset.reset", "earliest");
        settings.put("enable.auto.commit", "false");
        settings.put("max.poll.records", "100");
        settings.put("default.api.timeout.ms", "10000");
        consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
    }

    private Properties common() {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", args.get("--bootstrap"));
        settings.put("reconnect.backoff.ms", "20");
        settings.put("reconnect.backoff.max.ms", "200");
        settings.put("retry.backoff.ms", "20");
        settings.put("retry.backoff.max.ms", "200");
        settings.put("request.timeout.ms", "5000");
        return settings;
    }

    private void open() {
        Properties settings = common();
        settings.put("transactional.id", args.get("--id"));
        settings.put("transaction.timeout.ms", "10000");
        settings.put("max.block.ms", "10000");
        settings.put("delivery.timeout.ms", "10000");
        settings.put("linger.ms", "0");
        producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
        producer.initTransactions();
    }

    private void run() {
        consumer.subscribe(List.of(args.get("--input")));
        while (!stopping) {
            try {
                step();
            } catch (KafkaException error) {
                System.err.println("starting over: " + error);
                startOver();
            }
        }
        startOver();
        consumer.close(org.apache.kafka.clients.consumer.CloseOptions.timeout(BRIEF));
    }

    private void step() {
        if (producer == null) {
            open();
        }
        if (mustRewind) {
            rewind();
        }
        ConsumerRecords<String, String> records = consumer.poll(POLL);
        if (records.isEmpty()) {
            return;
        }
        mustRewind = true;
        producer.beginTransaction();
        Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
        for (ConsumerRecord<String, String> record : records) {
            producer.send(new ProducerRecord<>(args.get("--output"), record.partition(), record.key(), record.value()));
            offsets.put(new TopicPartition(record.topic(), record.partition()), new OffsetAndMetadata(record.offset() + 1));
        }
        producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
        if (random.nextInt(ABORTED_ONE_IN) == 0) {
            producer.abortTransaction();
            return;
        }
        producer.commitTransaction();
        mustRewind = false;
        copied += records.count();
        System.out.println("{\"copied\":" + copied + "}");
        System.out.flush();
    }

    /** To what counts; what was read beyond it is read again. */
    private void rewind() {
        Map<TopicPartition, OffsetAndMetadata> committed = consumer.committed(consumer.assignment());
        for (TopicPartition partition : consumer.assignment()) {
            OffsetAndMetadata offset = committed.get(partition);
            if (offset == null) {
                consumer.seekToBeginning(List.of(partition));
            } else {
                consumer.seek(partition, offset.offset());
            }
        }
        mustRewind = false;
    }

    private void startOver() {
        mustRewind = true;
        if (producer != null) {
            producer.close(Duration.ZERO);
            producer = null;
        }
    }

    public static void main(String[] words) throws Exception {
        Map<String, String> args = new HashMap<>();
        for (int i = 0; i + 1 < words.length; i += 2) {
            args.put(words[i], words[i + 1]);
        }
        Thread copier = new Thread(new TransactionCopier(args)::run);
        copier.start();
        System.in.transferTo(java.io.OutputStream.nullOutputStream());
        stopping = true;
        copier.join();
    }
}
