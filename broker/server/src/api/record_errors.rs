//! Which records of a refused batch are at fault, in Kafka's words (KIP-467).

use kafka_protocol::{messages::produce_response::BatchIndexAndErrorMessage, protocol::StrBytes};
use tifo_storage::{AppendError, RecordError, RecordProblem};

/// Records at fault that the message names; `record_errors` names more.
const NAMED_IN_MESSAGE: usize = 3;

/// The message for the whole batch, and each record at fault; None if it was not its records for which it was refused.
pub fn describe(error: &AppendError, topic: &str, partition: i32) -> Option<(String, Vec<BatchIndexAndErrorMessage>)> {
    let AppendError::InvalidRecords { count, is_about_time, first } = error else { return None };
    let worded: Vec<(i32, String)> =
        first.iter().map(|error| (error.index, problem(error, topic, partition))).collect();
    let message = match is_about_time {
        true => "One or more records have been rejected due to invalid timestamp".to_owned(),
        false => summary(*count, &worded),
    };
    let errors = worded.into_iter().map(|(index, message)| {
        BatchIndexAndErrorMessage::default()
            .with_batch_index(index)
            .with_batch_index_error_message(Some(StrBytes::from_string(message)))
    });
    Some((message, errors.collect()))
}

fn summary(count: usize, worded: &[(i32, String)]) -> String {
    let named = worded.iter().take(NAMED_IN_MESSAGE);
    let named: Vec<String> =
        named.map(|(index, message)| format!("RecordError(batchIndex={index}, message='{message}')")).collect();
    format!(
        "One or more records have been rejected due to {count} record errors in total, and only showing the first three \
         errors at most: [{}]",
        named.join(", ")
    )
}

fn problem(error: &RecordError, topic: &str, partition: i32) -> String {
    match error.problem {
        RecordProblem::NoKey => {
            format!("Compacted topic cannot accept message without key in topic partition {topic}-{partition}")
        }
        RecordProblem::Timestamp { timestamp_ms, offset, least, most } => format!(
            "Timestamp {timestamp_ms} of message with offset {offset} is out of range. The timestamp should be within \
             [{least}, {most}]"
        ),
        RecordProblem::Stamped { timestamp_ms, offset } => format!(
            "Invalid timestamp type in message DefaultRecord(offset={offset}, timestamp={timestamp_ms}). Producer should \
             not set timestamp type to LogAppendTime."
        ),
    }
}
