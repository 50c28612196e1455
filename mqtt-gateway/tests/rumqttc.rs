//! rumqttc as a stock client, in MQTT 3.1.1 and 5: retained messages, both qualities, a will, and a session that goes on where it was left.

#![allow(clippy::unwrap_used)]
mod support;

use std::sync::Arc;
use support::{MemoryLog, PATIENCE, config, start};
use tokio::time::timeout;

/// The same life with the types of either version; `keep` makes a session outlive its connection; a will has properties in MQTT 5.
macro_rules! life {
    ($version:ident, $($library:ident)::+, $($types:ident)::+, $qos:path, $keep:expr, $($no_properties:expr)?) => {
        mod $version {
            use super::*;
            use $($library)::+::{AsyncClient, Event, EventLoop, MqttOptions};
            use $($types)::+::{LastWill, Packet};
            use $qos as QoS;

            struct Client {
                client: AsyncClient,
                events: EventLoop,
            }

            /// Topic, payload, quality, retained.
            type Message = (String, String, QoS, bool);

            fn message(topic: &str, payload: &str, qos: QoS, retained: bool) -> Message {
                (topic.to_owned(), payload.to_owned(), qos, retained)
            }

            fn text(bytes: impl AsRef<[u8]>) -> String {
                String::from_utf8(bytes.as_ref().to_vec()).unwrap()
            }

            impl Client {
                /// Connected, and whether its session was there.
                async fn connect(port: u16, id: &str, change: impl FnOnce(&mut MqttOptions)) -> (Self, bool) {
                    let mut options = MqttOptions::new(id, "127.0.0.1", port);
                    change(&mut options);
                    let (client, events) = AsyncClient::new(options, 16);
                    let mut made = Self { client, events };
                    let Packet::ConnAck(answer) = made.packet().await else { panic!("CONNACK comes first") };
                    (made, answer.session_present)
                }

                async fn event(&mut self) -> Event {
                    timeout(PATIENCE, self.events.poll()).await.unwrap().unwrap()
                }

                async fn packet(&mut self) -> Packet {
                    loop {
                        if let Event::Incoming(packet) = self.event().await {
                            return packet;
                        }
                    }
                }

                async fn message(&mut self) -> Message {
                    loop {
                        if let Packet::Publish(publish) = self.packet().await {
                            return (text(&publish.topic), text(&publish.payload), publish.qos, publish.retain);
                        }
                    }
                }

                async fn publish(&mut self, topic: &str, payload: &str, qos: QoS, retained: bool) {
                    self.client.publish(topic, qos, retained, payload.to_owned()).await.unwrap();
                    loop {
                        match self.event().await {
                            Event::Outgoing(rumqttc::Outgoing::Publish(_)) if qos == QoS::AtMostOnce => return,
                            Event::Incoming(Packet::PubAck(_)) => return,
                            _ => {}
                        }
                    }
                }

                async fn subscribe(&mut self, filter: &str, qos: QoS) {
                    self.client.subscribe(filter, qos).await.unwrap();
                    let Packet::SubAck(answer) = self.packet().await else { panic!("SUBACK comes before messages") };
                    let granted = format!("{:?}", answer.return_codes);
                    assert_eq!(granted, format!("[Success({qos:?})]"), "{filter}");
                }

                async fn disconnect(mut self) {
                    self.client.disconnect().await.unwrap();
                    while !matches!(self.event().await, Event::Outgoing(rumqttc::Outgoing::Disconnect)) {}
                }
            }

            #[tokio::test]
            async fn life() {
                let gateway = start(config(), &Arc::new(MemoryLog::default())).await;
                let port = gateway.addr().port();
                let (mut publisher, _) = Client::connect(port, "rumqttc/publisher", |_| {}).await;
                publisher.publish("clients/kept", "retained", QoS::AtLeastOnce, true).await;

                let (mut follower, was_there) = Client::connect(port, "rumqttc/follower", $keep).await;
                assert!(!was_there);
                follower.subscribe("clients/+/news", QoS::AtLeastOnce).await;
                follower.subscribe("clients/kept", QoS::AtMostOnce).await;
                assert_eq!(follower.message().await, message("clients/kept", "retained", QoS::AtMostOnce, true));
                for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
                    publisher.publish("clients/a/news", "now", qos, false).await;
                    assert_eq!(follower.message().await, message("clients/a/news", "now", qos, false));
                }

                let will = LastWill::new("clients/lost/news", "will", QoS::AtLeastOnce, false $(, $no_properties)?);
                let (lost, _) = Client::connect(port, "rumqttc/lost", |options| { options.set_last_will(will); }).await;
                drop(lost);
                assert_eq!(follower.message().await, message("clients/lost/news", "will", QoS::AtLeastOnce, false));

                follower.disconnect().await;
                publisher.publish("clients/a/news", "while away", QoS::AtLeastOnce, false).await;
                let (mut follower, was_there) = Client::connect(port, "rumqttc/follower", $keep).await;
                assert!(was_there);
                assert_eq!(follower.message().await, message("clients/a/news", "while away", QoS::AtLeastOnce, false));
                gateway.shutdown().await;
            }
        }
    };
}

life!(version_3, rumqttc, rumqttc, rumqttc::QoS, |options| {
    options.set_clean_session(false);
},);
life!(
    version_5,
    rumqttc::v5,
    rumqttc::v5::mqttbytes::v5,
    rumqttc::v5::mqttbytes::QoS,
    |options| {
        options.set_clean_start(false).set_session_expiry_interval(Some(300));
    },
    None
);
