import org.apache.kafka.common.metrics.KafkaMetric;
import org.apache.kafka.common.metrics.MetricsReporter;
import org.apache.kafka.server.telemetry.ClientTelemetryExporter;
import org.apache.kafka.server.telemetry.ClientTelemetryExporterProvider;

import java.lang.instrument.Instrumentation;
import java.util.List;
import java.util.Map;

/**
 * Takes what clients push to Apache Kafka (KIP-714) and forgets it: with such a reporter it tells clients that they can.
 * It comes to the broker as a Java agent, which puts it on its class path.
 */
public final class MetricsTaker implements MetricsReporter, ClientTelemetryExporterProvider {
    public static void premain(String arguments, Instrumentation instrumentation) {
    }

    @Override
    public ClientTelemetryExporter clientTelemetryExporter() {
        return (context, payload) -> payload.data();
    }

    @Override
    public void init(List<KafkaMetric> metrics) {
    }

    @Override
    public void metricChange(KafkaMetric metric) {
    }

    @Override
    public void metricRemoval(KafkaMetric metric) {
    }

    @Override
    public void close() {
    }

    @Override
    public void configure(Map<String, ?> configs) {
    }
}
