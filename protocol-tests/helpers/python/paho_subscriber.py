"""paho-mqtt as a subscriber: paho_subscriber.py HOST PORT FILTER LEVEL (4 is MQTT 3.1.1) prints `{"subscribed": …}`, then a line per message."""
import json
import sys

import paho.mqtt.client as mqtt


def say(**event):
    print(json.dumps(event, ensure_ascii=False), flush=True)


def main():
    host, port, topic_filter, level = sys.argv[1:]
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTProtocolVersion(int(level)))
    client.on_connect = lambda c, *_: c.subscribe(topic_filter, qos=0)
    client.on_subscribe = lambda c, data, mid, codes, properties: say(subscribed=not any(code.is_failure for code in codes))
    client.on_message = lambda c, data, message: say(topic=message.topic, payload=message.payload.decode())
    client.connect(host, int(port))
    client.loop_forever()


if __name__ == "__main__":
    main()
