//! Every setting, once: one row says its name, type, default, what is legal, how it can be changed and what it does here.
//!
//! Reading (file, environment), describing, altering and the documentation derive from the rows. `rows` holds those of brokers by
//! area, `topics` those of topics with the broker settings that they inherit from; `layers` tells which value is in force and
//! where it comes from; `in_force` is what the broker's parts read. Values are kept as the text that was given, as Kafka does.
//! To add a setting: its row, and a reader in `in_force` or `topics`. A row that nothing reads is `idle`, and says why.

mod broker_changes;
mod check;
mod in_force;
mod layers;
mod legal;
mod listeners;
mod names;
pub mod resources;
mod rows;
pub mod topics;

pub use broker_changes::{check_broker_change, check_removal, list_default};
pub use check::ConfigError;
pub use in_force::{InForce, Live};
pub use layers::{Effective, Layers, Scope, Source, Synonym};
pub use legal::Legal;
pub use listeners::Listener;
pub use topics::log_config;

use std::{
    collections::{BTreeMap, HashMap},
    sync::LazyLock,
};

/// Settings by name.
pub type Settings = BTreeMap<String, String>;

/// Kafka's types of settings; the number is the one of DescribeConfigs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingType {
    Boolean = 1,
    String = 2,
    Int = 3,
    Short = 4,
    Long = 5,
    Double = 6,
    List = 7,
    Class = 8,
    /// Never shown.
    Password = 9,
}

/// How a broker setting can be changed while the broker runs (KIP-226).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Update {
    ReadOnly,
    PerBroker,
    /// Only under the prefix of one listener.
    PerListener,
    /// Per broker, and for all of them.
    ClusterWide,
}

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    pub name: &'static str,
    pub kind: SettingType,
    /// None: there is no value unless one is set.
    pub default: Option<&'static str>,
    pub legal: Legal,
    pub update: Update,
    /// Accepted, kept and described, but nothing reads it.
    pub is_idle: bool,
    /// What it does here, or why nothing.
    pub documentation: &'static str,
}

impl Setting {
    pub fn is_sensitive(&self) -> bool {
        self.kind == SettingType::Password
    }
}

/// Every setting of a broker.
pub fn broker_settings() -> impl Iterator<Item = &'static Setting> {
    rows::AREAS.iter().copied().flatten()
}

/// The broker setting of that name.
pub fn find(name: &str) -> Option<&'static Setting> {
    static BY_NAME: LazyLock<HashMap<&str, &Setting>> =
        LazyLock::new(|| broker_settings().map(|setting| (setting.name, setting)).collect());
    BY_NAME.get(name).copied()
}

/// The known setting whose name is nearest, and by how many letters they differ; none where the name is known.
pub fn nearest(name: &str) -> Option<(&'static str, usize)> {
    (find(name).is_none() && !names::is_foreign(name)).then(|| names::nearest(name))
}

/// The items of a list value.
pub fn list(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|item| !item.is_empty())
}
