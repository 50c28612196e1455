import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.Suppressed;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.processor.TimestampExtractor;
import org.apache.kafka.streams.state.Stores;

import java.time.Duration;
import java.util.Map;
import java.util.concurrent.atomic.LongAdder;
import java.util.concurrent.locks.LockSupport;

/**
 * The same windows in Kafka Streams, exactly once (v2): events regrouped by channel and reaction, counted in windows, each window told
 * once, when it is final. Stores are in memory. Fields are found by their names in the text, which costs less than any parser. Prints a
 * JSON line with each state, and with how many events are counted; ends with its standard input.
 */
public final class Windows {
    private static final long TELL_EVERY_NANOS = 100_000_000;
    private static final LongAdder COUNTED = new LongAdder();

    public static void main(String[] words) throws Exception {
        Map<String, String> args = StreamsProgram.arguments(words);
        Thread teller = new Thread(Windows::tell);
        teller.setDaemon(true);
        teller.start();
        StreamsProgram.run(new KafkaStreams(topology(args).build(), StreamsProgram.settings(args)));
    }

    /** How many events have been counted, whenever it has changed. */
    private static void tell() {
        for (long told = 0;; LockSupport.parkNanos(TELL_EVERY_NANOS)) {
            long now = COUNTED.sum();
            if (now != told) {
                StreamsProgram.say("counted", told = now);
            }
        }
    }

    private static StreamsBuilder topology(Map<String, String> args) {
        Duration size = Duration.ofMillis(Long.parseLong(args.get("--window-ms")));
        Duration grace = Duration.ofMillis(Long.parseLong(args.get("--grace-ms")));
        StreamsBuilder builder = new StreamsBuilder();
        builder.stream(args.get("--input"), Consumed.with(Serdes.String(), Serdes.String()).withTimestampExtractor(eventTime()))
            .map((key, event) -> KeyValue.pair(text(event, "\"channel_id\":\"") + "|" + text(event, "\"reaction\":\""), ""))
            .groupByKey(Grouped.with(Serdes.String(), Serdes.String()))
            .windowedBy(TimeWindows.ofSizeAndGrace(size, grace))
            .aggregate(() -> 0L, (key, event, count) -> one(count), Materialized.<String, Long>as(Stores.inMemoryWindowStore("counts", size.plus(grace).plusMinutes(60), size, false))
                .withKeySerde(Serdes.String()).withValueSerde(Serdes.Long()))
            .suppress(Suppressed.untilWindowCloses(Suppressed.BufferConfig.unbounded()))
            .toStream()
            .map(Windows::row)
            .to(args.get("--output"), Produced.with(Serdes.String(), Serdes.String()));
        return builder;
    }

    private static Long one(Long count) {
        COUNTED.increment();
        return count + 1;
    }

    private static TimestampExtractor eventTime() {
        return (ConsumerRecord<Object, Object> record, long partitionTime) -> {
            String event = (String) record.value();
            int at = event.indexOf("\"timestamp\":") + 12;
            return Long.parseLong(event, at, at + 13, 10);
        };
    }

    private static String text(String event, String name) {
        int at = event.indexOf(name) + name.length();
        return event.substring(at, event.indexOf('"', at));
    }

    private static KeyValue<String, String> row(Windowed<String> key, Long count) {
        int bar = key.key().indexOf('|');
        String row = "{\"window_start\":" + key.window().start() + ",\"window_end\":" + key.window().end() + ",\"channel_id\":\"" + key.key().substring(0, bar)
            + "\",\"reaction\":\"" + key.key().substring(bar + 1) + "\",\"count\":" + count + "}";
        return KeyValue.pair(key.key(), row);
    }
}
