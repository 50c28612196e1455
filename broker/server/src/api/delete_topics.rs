//! DeleteTopics, key 20, versions 1-6.
//!
//! 2 and 3: throttling, TOPIC_DELETION_DISABLED. 4: flexible. 5 (KIP-599): error messages. 6 (KIP-516): by topic id.
//! When the answer leaves, the name is free again on every connection; readers of the old topic's files finish in peace.

use super::{Api, Context, bounds::*, metadata::topic_name, versions};
use crate::{
    catalog::{Catalog, Topic},
    errors::RequestError,
    groups::Groups,
    share::Shares,
};
use kafka_protocol::messages::{
    ApiKey, DeleteTopicsRequest, DeleteTopicsResponse, TopicName, delete_topics_request::DeleteTopicState,
    delete_topics_response::DeletableTopicResult,
};
use std::{collections::HashMap, sync::Arc};
use uuid::Uuid;

const TOPIC: Kind = Kind::Struct(&[field(Kind::NullableString), field(UUID)]);
const LAYOUT: Layout =
    Layout::new(4, &[field(Kind::Array(&TOPIC)).since(6), field(Kind::Array(&Kind::String)).until(5), field(INT32)]);

pub const API: Api = Api {
    key: ApiKey::DeleteTopics,
    name: "DeleteTopics",
    advertised: versions(1, 6),
    served: versions(1, 6),
    request: LAYOUT,
    handle: |services, call| {
        let (catalog, groups, shares) = (services.catalog.clone(), services.groups.clone(), services.shares.clone());
        let is_enabled = services.config.now().delete_topic_enable;
        call.answer(move |request, context| async move {
            let response = handle(catalog, is_enabled, request, context).await;
            forget_offsets(&groups, &response).await;
            forget_states(&shares, &response).await;
            response
        })
    },
};

/// Groups forget what they committed for topics that are gone, before the answer says so.
async fn forget_offsets(groups: &Groups, response: &DeleteTopicsResponse) {
    for deleted in response.responses.iter().filter(|deleted| deleted.error_code == 0) {
        let Some(name) = &deleted.name else { continue };
        if let Err(error) = groups.forget_topic(name).await {
            tracing::warn!(topic = %**name, %error, "offsets of a deleted topic could not be dropped");
        }
    }
}

/// So do share groups with what they had of them.
async fn forget_states(shares: &Shares, response: &DeleteTopicsResponse) {
    for deleted in response.responses.iter().filter(|deleted| deleted.error_code == 0) {
        if let Err(error) = shares.forget_topic(deleted.topic_id).await {
            tracing::warn!(topic_id = %deleted.topic_id, %error, "states of a deleted topic could not be dropped");
        }
    }
}

async fn handle(
    catalog: Arc<Catalog>,
    is_enabled: bool,
    request: DeleteTopicsRequest,
    context: Context,
) -> DeleteTopicsResponse {
    let asked = asked(request, context.version);
    let work = move || asked.iter().map(|(topic, is_once)| delete(&catalog, is_enabled, topic, *is_once)).collect();
    let responses = tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        tracing::error!(%error, "deleting topics ended unexpectedly");
        Vec::new()
    });
    DeleteTopicsResponse::default().with_responses(responses)
}

/// What is to be deleted, and whether it is named only once.
fn asked(request: DeleteTopicsRequest, version: i16) -> Vec<(DeleteTopicState, bool)> {
    let by_name = |name: TopicName| DeleteTopicState::default().with_name(Some(name)).with_topic_id(Uuid::nil());
    let all: Vec<_> = match version {
        6.. => request.topics,
        _ => request.topic_names.into_iter().map(by_name).collect(),
    };
    let identity = |topic: &DeleteTopicState| (topic.name.as_ref().map(|name| name.to_string()), topic.topic_id);
    let mut times: HashMap<_, usize> = HashMap::new();
    for topic in &all {
        *times.entry(identity(topic)).or_default() += 1;
    }
    let once = all.into_iter().filter_map(|topic| times.remove(&identity(&topic)).map(|times| (topic, times == 1)));
    once.collect()
}

fn delete(catalog: &Catalog, is_enabled: bool, asked: &DeleteTopicState, is_once: bool) -> DeletableTopicResult {
    let deleted = match is_enabled {
        true if !is_once => Err(RequestError::InvalidRequest("Duplicate topic name.".into())),
        true => find(catalog, asked).and_then(|topic| catalog.delete_topic(topic.id)),
        false => Err(RequestError::TopicDeletionDisabled),
    };
    match deleted {
        Ok(topic) => DeletableTopicResult::default()
            .with_name(Some(topic_name(&topic.name)))
            .with_topic_id(topic.id)
            .with_error_message(None),
        Err(error) => DeletableTopicResult::default()
            .with_name(asked.name.clone())
            .with_topic_id(asked.topic_id)
            .with_error_code(error.code())
            .with_error_message(Some(error.message())),
    }
}

fn find(catalog: &Catalog, asked: &DeleteTopicState) -> Result<Arc<Topic>, RequestError> {
    match (&asked.name, asked.topic_id.is_nil()) {
        (Some(name), true) => catalog.topic(name).ok_or(RequestError::UnknownTopicOrPartition),
        (None, false) => catalog.topic_by_id(asked.topic_id).ok_or(RequestError::UnknownTopicId),
        (Some(_), false) => {
            Err(RequestError::InvalidRequest("You may not specify both topic name and topic id.".into()))
        }
        (None, true) => Err(RequestError::InvalidRequest("Neither topic name nor id were specified.".into())),
    }
}
