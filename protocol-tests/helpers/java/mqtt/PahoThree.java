import org.eclipse.paho.client.mqttv3.IMqttDeliveryToken;
import org.eclipse.paho.client.mqttv3.MqttCallback;
import org.eclipse.paho.client.mqttv3.MqttClient;
import org.eclipse.paho.client.mqttv3.MqttConnectOptions;
import org.eclipse.paho.client.mqttv3.MqttMessage;
import org.eclipse.paho.client.mqttv3.persist.MemoryPersistence;

import java.nio.charset.StandardCharsets;

/** The client of MQTT 3.1.1. */
final class PahoThree implements PahoClient {
    private final MqttClient client;
    private final Will will;

    PahoThree(String url, String id, Will will, Listener listener) throws Exception {
        this.will = will;
        client = new MqttClient(url, id, new MemoryPersistence());
        client.setCallback(new MqttCallback() {
            @Override
            public void messageArrived(String topic, MqttMessage message) {
                listener.message(topic, message.getPayload(), message.getQos(), message.isRetained());
            }

            @Override
            public void connectionLost(Throwable cause) {}

            @Override
            public void deliveryComplete(IMqttDeliveryToken token) {}
        });
    }

    @Override
    public boolean connect(boolean clean) throws Exception {
        MqttConnectOptions options = new MqttConnectOptions();
        options.setMqttVersion(MqttConnectOptions.MQTT_VERSION_3_1_1);
        options.setCleanSession(clean);
        if (will != null) {
            options.setWill(will.topic(), will.payload().getBytes(StandardCharsets.UTF_8), 1, false);
        }
        return client.connectWithResult(options).getSessionPresent();
    }

    @Override
    public int[] subscribe(String[] filters, int[] qos) throws Exception {
        return client.subscribeWithResponse(filters, qos).getGrantedQos();
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
