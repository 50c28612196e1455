//! Broker settings that are altered at run time (KIP-226): kept in the metadata log, in force when the answer leaves.

use super::{Catalog, MetadataRecord, stopping};
use crate::{
    errors::RequestError,
    settings::{InForce, Scope, Settings, check_broker_change, log_config},
};

/// What a cluster has before anything is altered; Kafka puts it there for eligible leader replicas (KIP-966).
pub fn at_first() -> Settings {
    Settings::from([("min.insync.replicas".to_owned(), "1".to_owned())])
}

impl Catalog {
    /// Replaces the dynamic settings of this broker, or of all, by what `change` makes of them.
    pub fn alter_broker_settings(
        &self,
        scope: Scope,
        validate_only: bool,
        change: impl FnOnce(&Settings) -> Result<Settings, RequestError>,
    ) -> Result<(), RequestError> {
        let mut writer = self.writer.lock();
        let now = self.config.now();
        let present = now.layers.dynamic(scope);
        let settings = change(present)?;
        let in_force = check_broker_change(&now, scope, &settings)?;
        if validate_only || settings == *present {
            return Ok(());
        }
        let log = writer.log.as_mut().ok_or_else(stopping)?;
        let broker = (scope == Scope::Broker).then_some(now.node_id);
        log.append(&MetadataRecord::BrokerSettings { broker, settings }, self.clock.now_ms())?;
        self.put_in_force(&now, in_force);
        Ok(())
    }

    /// The writer's lock is held: nobody creates a topic meanwhile, with settings that are no longer in force.
    fn put_in_force(&self, before: &InForce, in_force: InForce) {
        let layers = in_force.layers.clone();
        self.config.replace(in_force);
        for topic in self.topics() {
            let config = log_config(&topic.settings, &layers);
            if config == log_config(&topic.settings, &before.layers) {
                continue;
            }
            for partition in &topic.partitions {
                // An offline partition takes its settings when it is opened again.
                let _ = partition.set_config(config.clone());
            }
        }
    }
}
