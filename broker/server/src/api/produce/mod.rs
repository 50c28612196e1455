//! Produce, key 0, versions 3-13; 0-13 is advertised, as Kafka does (an old librdkafka looks for 0), and 0-2 cost the
//! connection, as in Kafka.
//!
//! 3 (KIP-98): transactional id, record batches of format 2. 5 (KIP-207): log start offset. 6 (KIP-219): throttling is the
//! client's to do. 7 (KIP-110): zstd. 8 (KIP-467): record errors and a message. 9: flexible. 10 (KIP-951): the new leader.
//! 11, 12 (KIP-890): no change of the schema. 13 (KIP-516): topic ids.
//! A batch is stored as it came, unless the topic wants another codec. Appends happen in request order, before the handler
//! returns; what the topics' durability asks for is waited for behind it, whatever `acks` says but 0.
//! A transactional batch is let in by the transaction's coordinator unless its producer has the transaction open on the partition already:
//! from version 12 on the partition is added by that, before it must have been (`writer.rs`).

mod batch;
mod writer;

use super::{Answer, Api, Call, Closed, Context, Pending, bounds::*, ready, record_errors, versions};
use crate::{catalog::Topic, errors::RequestError, partition::UntilDurable, services::Services};
use kafka_protocol::{
    ResponseError,
    messages::{
        ApiKey, ProduceRequest, ProduceResponse,
        produce_request::TopicProduceData,
        produce_response::{PartitionProduceResponse, TopicProduceResponse},
    },
    protocol::StrBytes,
};
use std::sync::Arc;
use tifo_storage::{AppendError, Appended};
use writer::{Outcome, Writer};

const PARTITION: Kind = Kind::Struct(&[field(INT32), field(Kind::NullableBytes)]);
const TOPIC: Kind =
    Kind::Struct(&[field(Kind::String).until(12), field(UUID).since(13), field(Kind::Array(&PARTITION))]);
const LAYOUT: Layout =
    Layout::new(9, &[field(Kind::NullableString), field(INT16), field(INT32), field(Kind::Array(&TOPIC))]);

pub const API: Api = Api {
    key: ApiKey::Produce,
    name: "Produce",
    advertised: versions(0, 13),
    served: versions(3, 13),
    request: LAYOUT,
    handle,
};

fn handle(services: &Arc<Services>, call: Call) -> Pending {
    let context = call.context.clone();
    let request = match call.decode::<ProduceRequest>() {
        Ok(request) => request,
        Err(closed) => return ready(Answer::Close(closed)),
    };
    let writer = Writer {
        catalog: &services.catalog,
        transactions: &services.transactions,
        now_ms: services.clock.now_ms(),
        request: &request,
        version: context.version,
    };
    let mut written = Written::default();
    let responses = responses(&request, writer.write(), &mut written);
    let (acks, Written { first_error, not_durable }) = (request.acks, written);
    if acks == 0 || not_durable.is_empty() {
        return ready(answer(&context, acks, responses, first_error));
    }
    Box::pin(async move { answer(&context, acks, when_durable(responses, not_durable).await, first_error) })
}

/// What is left to do once everything is appended.
#[derive(Default)]
struct Written {
    first_error: Option<RequestError>,
    /// Topic and partition within the request.
    not_durable: Vec<(usize, i32, UntilDurable)>,
}

fn responses(request: &ProduceRequest, outcomes: Vec<Outcome>, written: &mut Written) -> Vec<TopicProduceResponse> {
    let mut responses: Vec<_> = request.topic_data.iter().map(response_of_topic).collect();
    for Outcome { at, index, topic, result, until_durable } in outcomes {
        written.not_durable.extend(until_durable.into_iter().map(|until| (at, index, until)));
        let response = match result {
            Ok(appended) => accepted(index, &appended),
            Err(error) => {
                tracing::debug!(topic = ?topic.as_ref().map(|topic| &topic.name), partition = index, %error, "produce refused");
                let response = refused(index, &error, topic.as_ref());
                written.first_error.get_or_insert(error);
                response
            }
        };
        if let Some(of_topic) = responses.get_mut(at) {
            of_topic.partition_responses.push(response);
        }
    }
    responses
}

fn response_of_topic(data: &TopicProduceData) -> TopicProduceResponse {
    TopicProduceResponse::default().with_name(data.name.clone()).with_topic_id(data.topic_id)
}

/// Waits for the syncs; a partition whose sync failed answers so.
async fn when_durable(
    mut responses: Vec<TopicProduceResponse>,
    not_durable: Vec<(usize, i32, UntilDurable)>,
) -> Vec<TopicProduceResponse> {
    for (topic, index, until_durable) in not_durable {
        let Err(error) = until_durable.reached().await else { continue };
        let partitions = responses.get_mut(topic).into_iter().flat_map(|topic| &mut topic.partition_responses);
        for response in partitions.filter(|response| response.index == index) {
            *response = refused(index, &error, None);
        }
    }
    responses
}

fn answer(
    context: &Context,
    acks: i16,
    responses: Vec<TopicProduceResponse>,
    first_error: Option<RequestError>,
) -> Answer {
    match (acks, first_error) {
        (0, None) => Answer::Nothing,
        // Nobody reads an answer: closing is the only way to tell.
        (0, Some(error)) => Answer::Close(Closed::SilentProduceFailed(error.to_string())),
        _ => context.respond(&ProduceResponse::default().with_responses(responses)),
    }
}

fn accepted(index: i32, appended: &Appended) -> PartitionProduceResponse {
    PartitionProduceResponse::default()
        .with_index(index)
        .with_error_message(None)
        .with_base_offset(appended.base_offset)
        .with_log_append_time_ms(appended.log_append_time_ms)
        .with_log_start_offset(appended.log_start_offset)
}

fn refused(index: i32, error: &RequestError, topic: Option<&Arc<Topic>>) -> PartitionProduceResponse {
    let (start, message) = details(error);
    let start = start.then(|| topic.and_then(|topic| topic.partition(index).ok()?.offsets().ok()));
    let response = PartitionProduceResponse::default()
        .with_index(index)
        .with_error_code(error.code())
        .with_base_offset(-1)
        .with_log_append_time_ms(-1)
        .with_log_start_offset(start.flatten().map_or(-1, |offsets| offsets.log_start_offset))
        .with_error_message(message.then(|| error.message()));
    match (error, topic) {
        (RequestError::Append(error), Some(topic)) => with_record_errors(response, error, topic, index),
        _ => response,
    }
}

fn with_record_errors(
    response: PartitionProduceResponse,
    error: &AppendError,
    topic: &Topic,
    index: i32,
) -> PartitionProduceResponse {
    match record_errors::describe(error, &topic.name, index) {
        None => response,
        Some((message, errors)) => {
            response.with_error_message(Some(StrBytes::from_string(message))).with_record_errors(errors)
        }
    }
}

/// What Kafka tells besides the code: the log start offset, and a message.
fn details(error: &RequestError) -> (bool, bool) {
    match error {
        RequestError::Append(AppendError::InvalidRecord(_) | AppendError::InvalidRecords { .. }) => (true, true),
        RequestError::Append(
            AppendError::OutOfOrderSequence { .. }
            | AppendError::InvalidProducerEpoch { .. }
            | AppendError::InvalidTransactionState { .. },
        ) => (true, false),
        RequestError::Transaction(ResponseError::InvalidTxnState | ResponseError::NotEnoughReplicas) => (false, true),
        _ => (false, false),
    }
}
