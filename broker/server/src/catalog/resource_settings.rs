//! Settings of client metrics subscriptions and of groups, as they are kept.
//!
//! A resource exists as long as something is set on it.

use super::{Catalog, MetadataRecord, stopping};
use crate::{
    errors::RequestError,
    settings::{Settings, resources::ResourceKind},
};
use std::collections::BTreeMap;

/// Settings of every such resource by kind and name.
pub type Resources = BTreeMap<(ResourceKind, String), Settings>;

impl Catalog {
    /// What was set on a resource; nothing if there is none of that name.
    pub fn resource_settings(&self, kind: ResourceKind, name: &str) -> Settings {
        self.image.read().resources.get(&(kind, name.to_owned())).cloned().unwrap_or_default()
    }

    /// The names of all resources of a kind.
    pub fn resource_names(&self, kind: ResourceKind) -> Vec<String> {
        let image = self.image.read();
        image.resources.keys().filter(|(other, _)| *other == kind).map(|(_, name)| name.clone()).collect()
    }

    /// Replaces a resource's settings by what `change` makes of them.
    pub fn alter_resource(
        &self,
        kind: ResourceKind,
        name: &str,
        validate_only: bool,
        change: impl FnOnce(&Settings) -> Result<Settings, RequestError>,
    ) -> Result<(), RequestError> {
        let mut writer = self.writer.lock();
        let present = self.resource_settings(kind, name);
        let settings = change(&present)?;
        kind.check(&settings, &self.config.now().layers)?;
        if validate_only || settings == present {
            return Ok(());
        }
        let log = writer.log.as_mut().ok_or_else(stopping)?;
        let record = MetadataRecord::ResourceSettings { kind, name: name.to_owned(), settings: settings.clone() };
        log.append(&record, self.clock.now_ms())?;
        put(&mut self.image.write().resources, kind, name.to_owned(), settings);
        Ok(())
    }
}

/// Where nothing is set there is no resource.
pub fn put(resources: &mut Resources, kind: ResourceKind, name: String, settings: Settings) {
    match settings.is_empty() {
        true => resources.remove(&(kind, name)),
        false => resources.insert((kind, name), settings),
    };
}
