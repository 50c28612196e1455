//! DeleteShareGroupOffsets, key 92, version 0 (KIP-932): a share group without members forgets topics.

use super::{Api, bounds::*, group_fields::text, versions};
use crate::{
    catalog::Catalog,
    errors::RequestError,
    share::{self, Shares},
};
use kafka_protocol::messages::{
    ApiKey, DeleteShareGroupOffsetsRequest, DeleteShareGroupOffsetsResponse,
    delete_share_group_offsets_request::DeleteShareGroupOffsetsRequestTopic,
    delete_share_group_offsets_response::DeleteShareGroupOffsetsResponseTopic,
};
use uuid::Uuid;

const TOPIC: Kind = Kind::Struct(&[field(Kind::String)]);
const LAYOUT: Layout = Layout::new(0, &[field(Kind::String), field(Kind::Array(&TOPIC))]);

pub const API: Api = Api {
    key: ApiKey::DeleteShareGroupOffsets,
    name: "DeleteShareGroupOffsets",
    advertised: versions(0, 0),
    served: versions(0, 0),
    request: LAYOUT,
    handle: |services, call| {
        let (shares, catalog) = (services.shares.clone(), services.catalog.clone());
        call.answer(|request, _| async move { handle(&shares, &catalog, &request).await })
    },
};

async fn handle(
    shares: &Shares,
    catalog: &Catalog,
    request: &DeleteShareGroupOffsetsRequest,
) -> DeleteShareGroupOffsetsResponse {
    let id = |topic: &DeleteShareGroupOffsetsRequestTopic| catalog.topic(&topic.topic_name).map(|topic| topic.id);
    let topics: Vec<Uuid> = request.topics.iter().filter_map(id).collect();
    match shares.delete_states(&request.group_id.0, &topics).await {
        Ok(gone) => {
            let had = |topic: &DeleteShareGroupOffsetsRequestTopic| id(topic).filter(|id| gone.contains(id));
            let responses = request.topics.iter().map(|topic| response(topic, had(topic))).collect();
            DeleteShareGroupOffsetsResponse::default().with_responses(responses)
        }
        Err(error) => DeleteShareGroupOffsetsResponse::default()
            .with_error_code(share::code(Some(error)))
            .with_error_message(Some(text(&error.to_string()))),
    }
}

fn response(topic: &DeleteShareGroupOffsetsRequestTopic, id: Option<Uuid>) -> DeleteShareGroupOffsetsResponseTopic {
    let answer = DeleteShareGroupOffsetsResponseTopic::default().with_topic_name(topic.topic_name.clone());
    match id {
        Some(id) => answer.with_topic_id(id).with_error_message(None),
        None => {
            let error = RequestError::UnknownTopicOrPartition;
            answer.with_error_code(error.code()).with_error_message(Some(text(&error.to_string())))
        }
    }
}
