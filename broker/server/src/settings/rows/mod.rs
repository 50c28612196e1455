//! The rows, by area: name, type, default, what is legal, how it can be changed, and what it does here.
//!
//! Names, types, defaults and legal values are those of Apache Kafka 4.3.1. Other defaults: `node.id` 0, `process.roles` broker,
//! `group.initial.rebalance.delay.ms` 0, internal topics with one replica, and the group protocols that are there.

mod cluster;
mod groups;
mod log;
mod network;
mod others;
mod own;
mod remote;
mod security;
mod topic;
mod transactions;

pub use topic::TOPIC_SETTINGS;

use super::{Legal, Setting, SettingType, Update};

pub const AREAS: &[&[Setting]] = &[
    cluster::SETTINGS,
    groups::SETTINGS,
    log::SETTINGS,
    network::SETTINGS,
    others::SETTINGS,
    own::SETTINGS,
    remote::SETTINGS,
    security::SETTINGS,
    transactions::SETTINGS,
];

type Text = &'static str;

const NONE: Option<Text> = None;
const MAX_INT: Option<Text> = Some("2147483647");
const MAX_LONG: Option<Text> = Some("9223372036854775807");
const CODECS: &[Text] = &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];

// Why a row is idle.
const CLASSES: Text = "Without effect: classes of a Java machine cannot be loaded here.";
const CONTROLLER: Text = "Has no meaning here: there is no controller quorum.";
const COORDINATOR: Text = "Has no meaning here: groups are written at once, their topic has one replica.";
const METRICS: Text = "Without effect: metrics are told over HTTP, at /metrics.";
const NETWORK: Text = "Without effect: the runtime and the kernel choose threads, queues and buffers.";
const NEW_GROUPS: Text = "Without effect: the coordinator has no threads, buffers or queues of its own.";
const PURGATORY: Text = "Has no meaning here: who waits is woken by what he waits for.";
const QUOTAS: Text = "Without effect: quotas are not kept here.";
const REMOTE: Text = "Has no meaning without tiered storage.";
const REPLICATION: Text = "Has no meaning on one node.";
const SECURITY: Text = "Without effect: there is no TLS, no SASL and no authorization here yet.";
const SHARE: Text = "Has no meaning here: share groups are assigned and written at once, their topic has one replica.";
const STREAMS: Text = "Without effect: streams groups are not there yet.";
const TIMERS: Text = "Without effect: what is due is done within seconds, by threads that need no number.";
const TRANSACTIONS: Text = "Without effect: transactions are verified, timed out and expired at once, on one node.";

const fn works(
    name: Text,
    kind: SettingType,
    default: Option<Text>,
    legal: Legal,
    update: Update,
    documentation: Text,
) -> Setting {
    Setting { name, kind, default, legal, update, is_idle: false, documentation }
}

/// Nothing reads it.
const fn idle(
    name: Text,
    kind: SettingType,
    default: Option<Text>,
    legal: Legal,
    update: Update,
    documentation: Text,
) -> Setting {
    Setting { name, kind, default, legal, update, is_idle: true, documentation }
}
