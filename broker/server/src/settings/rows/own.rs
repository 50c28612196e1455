//! Tifo's own.

use super::{NONE, works};
use crate::settings::{
    Legal::{AtLeast, OneOf},
    Setting,
    SettingType::{Int, String},
    Update::ReadOnly,
};

#[rustfmt::skip]
pub const SETTINGS: &[Setting] = &[
    works("durability", String, Some("page-cache"), OneOf(&["page-cache", "fsync"]), ReadOnly, "What acknowledged means, and the default of tifo.durability: page-cache survives the death of the process, fsync a power cut too."),
    works("log.max.open.files", Int, NONE, AtLeast(1), ReadOnly, "Most segment files that are open at a time; unset: half of what the operating system lets the process open."),
    works("max.decompressed.message.bytes", Int, Some("134217728"), AtLeast(1), ReadOnly, "Default of the topic setting of the same name."),
];
