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
        let mut image = self.image.write();
        put(&mut image.resources, kind, name.to_owned(), settings);
        image.client_metrics_version += u64::from(kind == ResourceKind::ClientMetrics);
        Ok(())
    }

    /// Grows with every change of a client metrics subscription.
    pub fn client_metrics_version(&self) -> u64 {
        self.image.read().client_metrics_version
    }

    /// What is set on each client metrics subscription.
    pub fn client_metrics(&self) -> Vec<Settings> {
        let image = self.image.read();
        let of_kind = image.resources.iter().filter(|((kind, _), _)| *kind == ResourceKind::ClientMetrics);
        of_kind.map(|(_, settings)| settings.clone()).collect()
    }
}

/// Where nothing is set there is no resource.
pub fn put(resources: &mut Resources, kind: ResourceKind, name: String, settings: Settings) {
    match settings.is_empty() {
        true => resources.remove(&(kind, name)),
        false => resources.insert((kind, name), settings),
    };
}
