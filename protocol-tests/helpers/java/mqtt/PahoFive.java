import org.eclipse.paho.mqttv5.client.IMqttToken;
import org.eclipse.paho.mqttv5.client.MqttCallback;
import org.eclipse.paho.mqttv5.client.MqttClient;
import org.eclipse.paho.mqttv5.client.MqttConnectionOptions;
import org.eclipse.paho.mqttv5.client.MqttDisconnectResponse;
import org.eclipse.paho.mqttv5.client.persist.MemoryPersistence;
import org.eclipse.paho.mqttv5.common.MqttException;
import org.eclipse.paho.mqttv5.common.MqttMessage;
import org.eclipse.paho.mqttv5.common.packet.MqttProperties;

import java.nio.charset.StandardCharsets;

/** The client of MQTT 5. */
final class PahoFive implements PahoClient {
    private static final long SESSION_EXPIRY_S = 300;

    private final MqttClient client;
    private final Will will;

    PahoFive(String url, String id, Will will, Listener listener) throws Exception {
        this.will = will;
        client = new MqttClient(url, id, new MemoryPersistence());
        client.setCallback(new MqttCallback() {
            @Override
            public void messageArrived(String topic, MqttMessage message) {
                listener.message(topic, message.getPayload(), message.getQos(), message.isRetained());
            }

            @Override
            public void disconnected(MqttDisconnectResponse response) {}

            @Override
            public void mqttErrorOccurred(MqttException error) {}

            @Override
            public void deliveryComplete(IMqttToken token) {}

            @Override
            public void connectComplete(boolean again, String url) {}

            @Override
            public void authPacketArrived(int reason, MqttProperties properties) {}
        });
    }

    @Override
    public boolean connect(boolean clean) throws Exception {
        MqttConnectionOptions options = new MqttConnectionOptions();
        options.setCleanStart(clean);
        options.setSessionExpiryInterval(clean ? 0L : SESSION_EXPIRY_S);
        if (will != null) {
            MqttMessage message = new MqttMessage(will.payload().getBytes(StandardCharsets.UTF_8));
            message.setQos(1);
            options.setWill(will.topic(), message);
        }
        return client.connectWithResult(options).getSessionPresent();
    }

    @Override
    public int[] subscribe(String[] filters, int[] qos) throws Exception {
        return client.subscribe(filters, qos).getReasonCodes();
    }

    @Override
    public void publish(String topic, String payload, int qos, boolean retained) throws Exception {
        client.publish(topic, payload.getBytes(StandardCharsets.UTF_8), qos, retained);
    }

    @Override
    public void disconnect() throws Exception {
        client.disconnect();
    }

    @Override
    public void drop() throws Exception {
        client.disconnectForcibly(0, 0, false);
    }
}
