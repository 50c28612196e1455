//! What may be altered on a broker while it runs (KIP-226), checked in Kafka's order and words.

use super::{InForce, Layers, Scope, SettingType, Settings, Update, find};
use crate::errors::RequestError;

/// The one setting that has always a value for the cluster: Kafka's eligible leader replicas need it (KIP-966).
const MIN_INSYNC_REPLICAS: &str = "min.insync.replicas";
/// Pools of threads, which may at most double or be halved at a time.
const THREAD_COUNTS: &[&str] = &[
    "background.threads",
    "num.io.threads",
    "num.network.threads",
    "num.recovery.threads.per.data.dir",
    "num.replica.fetchers",
];

/// Checks what a broker's dynamic settings are to become; returns what is in force then.
pub fn check_broker_change(now: &InForce, scope: Scope, wanted: &Settings) -> Result<InForce, RequestError> {
    check_names(scope, wanted)?;
    for (name, value) in wanted {
        if let Some(setting) = find(name) {
            setting.check(value).map_err(RequestError::InvalidRequest)?;
        }
    }
    let layers = now.layers.clone().with(scope, wanted.clone());
    check_values(&now.layers, &layers)?;
    check_min_insync_replicas(&now.layers, scope, wanted)?;
    InForce::read(layers).map_err(|error| match error {
        super::ConfigError::Illegal { complaint, .. } => RequestError::InvalidRequest(complaint),
        unknown => RequestError::InvalidRequest(unknown.to_string()),
    })
}

/// Names that are in no table pass, as in Kafka: they may be those of a plugin.
fn check_names(scope: Scope, wanted: &Settings) -> Result<(), RequestError> {
    let those = |is_wrong: &dyn Fn(&str) -> bool| -> Vec<&str> {
        wanted.keys().map(String::as_str).filter(|name| is_wrong(name)).collect()
    };
    let with = |update: Update| move |name: &str| find(name).is_some_and(|setting| setting.update == update);
    let refused = |complaint: &str, names: Vec<&str>| match names.is_empty() {
        true => Ok(()),
        false => Err(RequestError::InvalidRequest(format!("{complaint}: [{}]", names.join(", ")))),
    };
    refused("Cannot update these configs dynamically", those(&with(Update::ReadOnly)))?;
    refused(
        "These security configs can be dynamically updated only per-listener using the listener prefix",
        those(&with(Update::PerListener)),
    )?;
    if scope == Scope::Broker {
        return Ok(());
    }
    refused(
        "Cannot update these configs at default cluster level, broker id must be specified",
        those(&|name| with(Update::PerBroker)(name) || name.starts_with("listener.name.")),
    )
}

fn check_values(before: &Layers, after: &Layers) -> Result<(), RequestError> {
    let invalid = |complaint: String| {
        let complaint = format!("org.apache.kafka.common.config.ConfigException: {complaint}");
        Err(RequestError::InvalidRequest(format!(
            "Invalid value {complaint} for configuration Invalid dynamic configuration"
        )))
    };
    if after.long("max.connections") == 0 {
        return invalid("Invalid max.connections 0".to_owned());
    }
    for name in THREAD_COUNTS {
        let (was, wanted) = (before.long(name), after.long(name));
        let complaint = match wanted {
            _ if wanted > was.saturating_mul(2) => "value should not be greater than double the current value",
            _ if wanted < was / 2 => "value should be at least half the current value",
            _ => continue,
        };
        return invalid(format!(
            "Dynamic thread count update validation failed for {name}={wanted}, {complaint} {was}"
        ));
    }
    Ok(())
}

fn check_min_insync_replicas(before: &Layers, scope: Scope, wanted: &Settings) -> Result<(), RequestError> {
    let is_same = wanted.get(MIN_INSYNC_REPLICAS) == before.dynamic(scope).get(MIN_INSYNC_REPLICAS);
    let is_kept = scope == Scope::Cluster && wanted.contains_key(MIN_INSYNC_REPLICAS);
    let is_untouched = scope == Scope::Broker && is_same;
    if is_kept || is_untouched { Ok(()) } else { check_removal(scope, MIN_INSYNC_REPLICAS) }
}

/// Refuses to take `min.insync.replicas` away; on one broker it cannot be altered at all.
pub fn check_removal(scope: Scope, name: &str) -> Result<(), RequestError> {
    let complaint = match scope {
        _ if name != MIN_INSYNC_REPLICAS => return Ok(()),
        Scope::Cluster => "Cluster-level min.insync.replicas cannot be removed while ELR is enabled.",
        Scope::Broker => "Broker-level min.insync.replicas cannot be altered while ELR is enabled.",
    };
    Err(RequestError::InvalidConfig(complaint.to_owned()))
}

/// Whether items can be appended to the setting, and what it is without any change; None: no such setting.
pub fn list_default(name: &str) -> Option<(bool, &'static str)> {
    find(name).map(|setting| (setting.kind == SettingType::List, setting.default.unwrap_or_default()))
}
