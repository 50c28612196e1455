//! CreateTopics, key 19, versions 2-7.
//!
//! 3: throttling is the client's to do. 4 (KIP-464): partitions and replication factor may be -1, the broker's defaults.
//! 5 (KIP-525): the answer tells partitions, replication factor and settings; flexible. 6 (KIP-599): no change here.
//! 7: topic ids. A topic is usable on every connection when the answer leaves.
//! Left out: quotas on mutations (none are kept), so nothing is ever throttled.

use super::{Api, bounds::*, metadata::topic_name, versions};
use crate::{
    catalog::{Catalog, NewTopic, Topic},
    errors::RequestError,
    settings::{Layers, Live, Settings, topics::TOPIC_SETTINGS},
};
use kafka_protocol::{
    messages::{
        ApiKey, CreateTopicsRequest, CreateTopicsResponse,
        create_topics_request::CreatableTopic,
        create_topics_response::{CreatableTopicConfigs, CreatableTopicResult},
    },
    protocol::StrBytes,
};
use std::{collections::HashMap, sync::Arc};

const ASSIGNMENT: Kind = Kind::Struct(&[field(INT32), field(Kind::Array(&INT32))]);
const CONFIG: Kind = Kind::Struct(&[field(Kind::String), field(Kind::NullableString)]);
const TOPIC: Kind = Kind::Struct(&[
    field(Kind::String),
    field(INT32),
    field(INT16),
    field(Kind::Array(&ASSIGNMENT)),
    field(Kind::Array(&CONFIG)),
]);
const LAYOUT: Layout = Layout::new(5, &[field(Kind::Array(&TOPIC)), field(INT32), field(BOOLEAN)]);

pub const API: Api = Api {
    key: ApiKey::CreateTopics,
    name: "CreateTopics",
    advertised: versions(2, 7),
    served: versions(2, 7),
    request: LAYOUT,
    handle: |services, call| {
        let (catalog, config) = (services.catalog.clone(), services.config.clone());
        call.answer(move |request, _| handle(catalog, config, request))
    },
};

async fn handle(catalog: Arc<Catalog>, config: Arc<Live>, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let names: Vec<_> = request.topics.iter().map(|topic| topic.name.clone()).collect();
    let work = move || create_all(&catalog, &config, &request);
    let topics = tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        tracing::error!(%error, "creating topics ended unexpectedly");
        let unexpected = RequestError::Unexpected("creating the topic ended unexpectedly".into());
        names.iter().map(|name| failed(name, &unexpected)).collect()
    });
    CreateTopicsResponse::default().with_topics(topics)
}

fn create_all(catalog: &Catalog, config: &Live, request: &CreateTopicsRequest) -> Vec<CreatableTopicResult> {
    let mut times: HashMap<&str, usize> = HashMap::new();
    for topic in &request.topics {
        *times.entry(&topic.name).or_default() += 1;
    }
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let result = match times.get(&**topic.name) {
            Some(1) => create(catalog, topic, request.validate_only),
            // Named more than once: answered once.
            Some(_) => Err(RequestError::InvalidRequest("Duplicate topic name.".into())),
            None => continue,
        };
        if result.is_err() {
            times.remove(&**topic.name);
        }
        results.push(match result {
            Ok(created) => succeeded(&created, &config.now().layers),
            Err(error) => failed(&topic.name, &error),
        });
    }
    results
}

fn create(catalog: &Catalog, topic: &CreatableTopic, validate_only: bool) -> Result<Arc<Topic>, RequestError> {
    let new = NewTopic {
        name: topic.name.to_string(),
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: topic
            .assignments
            .iter()
            .map(|assignment| {
                (assignment.partition_index, assignment.broker_ids.iter().map(|broker| broker.0).collect())
            })
            .collect(),
        settings: settings(topic)?,
    };
    catalog.create_topic(&new, validate_only)
}

fn settings(topic: &CreatableTopic) -> Result<Settings, RequestError> {
    let pairs = topic.configs.iter().map(|config| {
        let name = config.name.to_string();
        match &config.value {
            Some(value) => Ok((name, value.to_string())),
            None => Err(RequestError::InvalidConfig(format!("Null value not supported for topic configs: {name}"))),
        }
    });
    pairs.collect()
}

fn succeeded(topic: &Topic, broker: &Layers) -> CreatableTopicResult {
    let described = TOPIC_SETTINGS.iter().map(|one| {
        let effective = one.effective(&topic.settings, broker);
        CreatableTopicConfigs::default()
            .with_name(StrBytes::from_static_str(one.setting.name))
            .with_value(effective.value.map(StrBytes::from_string))
            .with_config_source(effective.source as i8)
    });
    CreatableTopicResult::default()
        .with_name(topic_name(&topic.name))
        .with_topic_id(topic.id)
        .with_error_message(None)
        .with_num_partitions(topic.partition_count())
        .with_replication_factor(1)
        .with_configs(Some(described.collect()))
}

fn failed(name: &StrBytes, error: &RequestError) -> CreatableTopicResult {
    CreatableTopicResult::default()
        .with_name(name.clone().into())
        .with_error_code(error.code())
        .with_error_message(Some(error.message()))
}
