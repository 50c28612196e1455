import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.state.Stores;

import java.util.Arrays;
import java.util.Map;
import java.util.Properties;

/**
 * Kafka Streams' word count, exactly once (v2), with a repartition topic and a changelog between input and output. Every update is
 * written out, so that the counts of a word must be 1, 2, 3 … without a gap and without a repetition. Prints its states; ends with its
 * standard input.
 */
public final class WordCount {
    public static void main(String[] words) throws Exception {
        Map<String, String> args = StreamsProgram.arguments(words);
        KafkaStreams streams = new KafkaStreams(topology(args).build(), settings(args));
        streams.setUncaughtExceptionHandler(error -> {
            System.err.println("a thread is replaced: " + error);
            return StreamThreadExceptionResponse.REPLACE_THREAD;
        });
        StreamsProgram.run(streams);
    }

    private static StreamsBuilder topology(Map<String, String> args) {
        StreamsBuilder builder = new StreamsBuilder();
        builder.stream(args.get("--input"), Consumed.with(Serdes.String(), Serdes.String()))
            .flatMapValues(line -> Arrays.asList(line.split(" ")))
            .groupBy((key, word) -> word, Grouped.with(Serdes.String(), Serdes.String()))
            .count(Materialized.<String, Long>as(Stores.inMemoryKeyValueStore("counts")).withKeySerde(Serdes.String()).withValueSerde(Serdes.Long()))
            .toStream()
            .mapValues(String::valueOf)
            .to(args.get("--output"), Produced.with(Serdes.String(), Serdes.String()));
        return builder;
    }

    private static Properties settings(Map<String, String> args) {
        Properties settings = StreamsProgram.settings(args);
        settings.put("commit.interval.ms", "100");
        settings.put("statestore.cache.max.bytes", "0");
        settings.put("consumer.session.timeout.ms", "6000");
        settings.put("consumer.heartbeat.interval.ms", "500");
        settings.put("producer.transaction.timeout.ms", "10000");
        settings.put("reconnect.backoff.max.ms", "200");
        return settings;
    }
}
