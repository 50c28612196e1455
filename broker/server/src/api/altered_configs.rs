//! What AlterConfigs and IncrementalAlterConfigs share: which resource is meant, and one outcome for each.
//!
//! To add a type of resource: a variant of [`Resource`], and its arm in each of its methods.

use super::describe_configs::{BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP, TOPIC};
use crate::{
    catalog::Catalog,
    errors::RequestError,
    loggers::{self, Loggers},
    settings::{self, Scope, SettingType, Settings, resources::ResourceKind, topics},
};
use kafka_protocol::protocol::StrBytes;
use std::collections::HashMap;

/// Whose settings are altered.
#[derive(Debug, Clone, Copy)]
pub enum Resource<'a> {
    Topic(&'a str),
    Broker(Scope),
    /// Of this broker.
    Loggers(&'a Loggers),
    Other(ResourceKind, &'a str),
}

/// What a resource is answered.
#[derive(Debug, Default)]
pub struct Outcome {
    pub code: i16,
    pub message: Option<StrBytes>,
}

/// Alters each resource, on a thread that may wait for the disk.
pub async fn alter_all<R: Send + 'static>(
    resources: Vec<R>,
    name: fn(&R) -> (i8, &StrBytes),
    alter: impl Fn(&R) -> Result<(), RequestError> + Send + 'static,
) -> Vec<(R, Outcome)> {
    let work = move || {
        let mut times: HashMap<(i8, StrBytes), usize> = HashMap::new();
        for (kind, name) in resources.iter().map(name) {
            *times.entry((kind, name.clone())).or_default() += 1;
        }
        let is_once = |resource: &R| {
            let (kind, name) = name(resource);
            times.get(&(kind, name.clone())) == Some(&1)
        };
        let answered = resources.into_iter().map(|resource| {
            let altered = if is_once(&resource) { alter(&resource) } else { Err(twice()) };
            (resource, outcome(altered))
        });
        answered.collect()
    };
    tokio::task::spawn_blocking(work).await.unwrap_or_default()
}

fn twice() -> RequestError {
    RequestError::InvalidRequest("Each resource must appear at most once.".into())
}

fn outcome(altered: Result<(), RequestError>) -> Outcome {
    match altered {
        Ok(()) => Outcome::default(),
        Err(error @ RequestError::UnknownOperation(_)) => Outcome { code: error.code(), message: None },
        Err(error) => Outcome { code: error.code(), message: Some(error.message()) },
    }
}

/// Whether it is this broker's.
fn check_broker_id(catalog: &Catalog, name: &str) -> Result<(), RequestError> {
    let complaint = match (name.parse::<i32>(), catalog.node_id()) {
        (Ok(id), node_id) if id == node_id => return Ok(()),
        (Ok(_), node_id) => format!("Unexpected broker id, expected {node_id}, but received {name}"),
        (Err(_), _) => format!("Node id must be an integer, but it is: {name}"),
    };
    Err(RequestError::InvalidRequest(complaint))
}

impl<'a> Resource<'a> {
    /// Without `loggers` there is no such type: the older API does not know them.
    pub fn find(
        catalog: &Catalog,
        loggers: Option<&'a Loggers>,
        resource_type: i8,
        name: &'a str,
    ) -> Result<Self, RequestError> {
        let invalid = |complaint: String| Err(RequestError::InvalidRequest(complaint));
        match resource_type {
            TOPIC if name.is_empty() => invalid("Default topic resources are not allowed.".into()),
            TOPIC => Ok(Self::Topic(name)),
            BROKER if name.is_empty() => Ok(Self::Broker(Scope::Cluster)),
            BROKER => check_broker_id(catalog, name).map(|()| Self::Broker(Scope::Broker)),
            BROKER_LOGGER => match loggers {
                Some(loggers) => check_broker_id(catalog, name).map(|()| Self::Loggers(loggers)),
                None => invalid(format!("Unknown resource type {BROKER_LOGGER}")),
            },
            CLIENT_METRICS if name.is_empty() => invalid("Subscription name can't be empty".into()),
            CLIENT_METRICS => Ok(Self::Other(ResourceKind::ClientMetrics, name)),
            GROUP if name.is_empty() => invalid("Default group resources are not allowed.".into()),
            GROUP => Ok(Self::Other(ResourceKind::Group, name)),
            other => invalid(format!("Unknown resource type {other}")),
        }
    }

    /// Replaces what is set by what `change` makes of it; it holds when this returns.
    pub fn alter(
        self,
        catalog: &Catalog,
        validate_only: bool,
        change: impl FnOnce(&Settings) -> Result<Settings, RequestError>,
    ) -> Result<(), RequestError> {
        match self {
            Self::Topic(name) => catalog.alter_settings(name, validate_only, change).map_err(|error| match error {
                // Kafka words this refusal in its own way when settings are altered.
                RequestError::UnknownTopicOrPartition => RequestError::NoSuchTopic(name.to_owned()),
                other => other,
            }),
            Self::Broker(scope) => catalog.alter_broker_settings(scope, validate_only, change),
            Self::Loggers(loggers) => loggers.alter(validate_only, change),
            Self::Other(kind, name) => catalog.alter_resource(kind, name, validate_only, change),
        }
    }

    /// What items are appended to, or taken from, where nothing is set.
    pub fn list_default(self, name: &str, is_append: bool) -> Result<String, RequestError> {
        let no_list = || {
            let verb = if is_append { "APPEND" } else { "SUBTRACT" };
            RequestError::InvalidConfig(format!("Can't {verb} to key {name} because its type is not LIST."))
        };
        match self {
            // Kafka takes no setting of theirs for a list here.
            Self::Other(..) => Err(no_list()),
            Self::Loggers(_) => {
                let operation = if is_append { "APPEND" } else { "SUBTRACT" };
                Err(RequestError::InvalidRequest(format!(
                    "{operation} operation is not allowed for the BROKER_LOGGER resource"
                )))
            }
            Self::Topic(_) => {
                let unknown = || RequestError::InvalidConfig(format!("Unknown topic config name: {name}"));
                let one = topics::find(name).ok_or_else(unknown)?;
                match one.setting.kind {
                    SettingType::List => Ok(one.default()),
                    _ => Err(no_list()),
                }
            }
            Self::Broker(_) => {
                let verb = if is_append { "append" } else { "subtract" };
                match settings::list_default(name) {
                    Some((true, default)) => Ok(default.to_owned()),
                    _ => Err(RequestError::InvalidConfig(format!(
                        "Config value {verb} is not allowed for config key: {name}"
                    ))),
                }
            }
        }
    }

    /// Some may be altered, but never taken away.
    pub fn check_removal(self, name: &str) -> Result<(), RequestError> {
        match self {
            Self::Topic(_) | Self::Other(..) => Ok(()),
            Self::Broker(scope) => settings::check_removal(scope, name),
            Self::Loggers(_) if name == loggers::ROOT => {
                Err(RequestError::InvalidRequest("Removing the log level of the root logger is not allowed".to_owned()))
            }
            Self::Loggers(_) => loggers::check_name(name),
        }
    }

    pub fn unknown_operation(self, operation: i8) -> RequestError {
        match self {
            Self::Topic(_) | Self::Loggers(_) | Self::Other(..) => RequestError::UnknownOperation(operation),
            Self::Broker(_) => RequestError::InvalidRequest(format!("Unknown operations type {operation}")),
        }
    }
}
