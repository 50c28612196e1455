//! Listeners, connections, requests.

use super::{MAX_INT, NETWORK, NONE, idle, works};
use crate::settings::{
    Legal::{Any, AtLeast},
    Setting,
    SettingType::{Int, List, Long, String},
    Update::{ClusterWide, PerBroker, ReadOnly},
};

#[rustfmt::skip]
pub const SETTINGS: &[Setting] = &[
    works("advertised.listeners", List, NONE, Any, PerBroker, "What clients are told to dial, by listener; unset: the address that each of them dialled."),
    works("connections.max.idle.ms", Long, Some("600000"), Any, ReadOnly, "Idle time after which a connection is closed."),
    works("fetch.max.bytes", Int, Some("57671680"), AtLeast(1_024), ReadOnly, "Most bytes of one fetch response."),
    works("listener.security.protocol.map", String, Some("SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT"), Any, PerBroker, "What each listener speaks, by its name; only PLAINTEXT is there."),
    works("listeners", List, Some("PLAINTEXT://:9092"), Any, ReadOnly, "Addresses to listen on, NAME://host:port; port 0 takes any free one."),
    idle("max.connection.creation.rate", Int, MAX_INT, AtLeast(0), ClusterWide, NETWORK),
    works("max.connections", Int, MAX_INT, AtLeast(0), ClusterWide, "Most connections at a time; further ones wait until there is room."),
    works("max.connections.per.ip", Int, MAX_INT, AtLeast(0), ClusterWide, "Most connections from one address at a time; a further one is closed at once."),
    works("max.connections.per.ip.overrides", String, Some(""), Any, ClusterWide, "Other limits for some addresses: address:number, separated by commas."),
    works("max.incremental.fetch.session.cache.slots", Int, Some("1000"), AtLeast(0), ReadOnly, "Most fetch sessions that are kept (KIP-227)."),
    works("max.request.partition.size.limit", Int, Some("2000"), AtLeast(1), ReadOnly, "Most partitions in one answer of DescribeTopicPartitions, whatever the client asks for."),
    idle("num.io.threads", Int, Some("8"), AtLeast(1), ClusterWide, NETWORK),
    idle("num.network.threads", Int, Some("3"), AtLeast(1), ClusterWide, NETWORK),
    idle("queued.max.request.bytes", Long, Some("-1"), Any, ReadOnly, NETWORK),
    idle("queued.max.requests", Int, Some("500"), AtLeast(1), ReadOnly, NETWORK),
    idle("request.timeout.ms", Int, Some("30000"), Any, ReadOnly, NETWORK),
    idle("socket.connection.setup.timeout.max.ms", Long, Some("30000"), Any, ReadOnly, NETWORK),
    idle("socket.connection.setup.timeout.ms", Long, Some("10000"), Any, ReadOnly, NETWORK),
    idle("socket.listen.backlog.size", Int, Some("50"), AtLeast(1), ReadOnly, NETWORK),
    idle("socket.receive.buffer.bytes", Int, Some("102400"), Any, ReadOnly, NETWORK),
    works("socket.request.max.bytes", Int, Some("104857600"), AtLeast(1), ReadOnly, "Largest request that is read; a larger one costs the connection."),
    idle("socket.send.buffer.bytes", Int, Some("102400"), Any, ReadOnly, NETWORK),
];
