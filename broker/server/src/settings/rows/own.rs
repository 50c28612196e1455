//! Tifo's own.

use super::{NONE, works};
use crate::settings::{
    Legal::{Any, AtLeast, OneOf},
    Setting,
    SettingType::{Boolean, Int, String},
    Update::ReadOnly,
};

#[rustfmt::skip]
pub const SETTINGS: &[Setting] = &[
    works("client.telemetry.enable", Boolean, Some("false"), Any, ReadOnly, "Whether clients are told that they can push their metrics (KIP-714); Apache Kafka tells them if a reporter of its takes them."),
    works("durability", String, Some("page-cache"), OneOf(&["page-cache", "fsync"]), ReadOnly, "What acknowledged means, and the default of tifo.durability: page-cache survives the death of the process, fsync a power cut too."),
    works("log.max.open.files", Int, NONE, AtLeast(1), ReadOnly, "Most segment files that are open at a time; unset: half of what the operating system lets the process open."),
    works("max.decompressed.message.bytes", Int, Some("134217728"), AtLeast(1), ReadOnly, "Default of the topic setting of the same name."),
];
