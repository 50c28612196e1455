//! EndTxn: commit or abort. Of the second protocol (KIP-890) each end bumps the epoch, so a retry is told apart from the next
//! end by the epoch that it bears.

use super::{
    ClientVersion, Decision, Outcome, Producer, TransactionCoordinator, TransactionMetadata, TransactionState,
    TransactionalId,
    metadata::{TransactionRecord, is_exhausted},
};
use crate::TransactionError;

#[derive(Debug, Clone, PartialEq)]
pub struct EndRequest {
    pub transactional_id: TransactionalId,
    pub producer: Producer,
    pub outcome: Outcome,
    pub version: ClientVersion,
    /// As in [`super::InitProducerIdRequest`].
    pub fresh_producer_id: Option<i64>,
}

/// With which producer id and epoch the client goes on.
type Reply = Result<Producer, TransactionError>;

enum Verdict {
    Prepare,
    /// A retry: it was done before.
    Done,
}

impl TransactionCoordinator {
    pub fn end(&self, request: &EndRequest, now_ms: i64) -> Decision<Reply> {
        match self.try_end(request, now_ms) {
            Ok((next, producer)) => {
                let transactional_id = request.transactional_id.clone();
                let record = next.map(|next| TransactionRecord { transactional_id, value: Some(next) });
                Decision { record, reply: Ok(producer) }
            }
            Err(error) => Decision::reply(Err(error)),
        }
    }

    fn try_end(
        &self,
        request: &EndRequest,
        now_ms: i64,
    ) -> Result<(Option<TransactionMetadata>, Producer), TransactionError> {
        let metadata = self.known(&request.transactional_id)?;
        let verdict = match request.version {
            ClientVersion::V1 => judge_first(metadata, request),
            ClientVersion::V2 => judge_second(metadata, request),
        };
        if let Verdict::Done = verdict? {
            return Ok((None, metadata.producer));
        }
        let is_last = request.version == ClientVersion::V2 && is_exhausted(metadata.producer.epoch);
        let fresh = match request.fresh_producer_id {
            None if is_last => return Err(TransactionError::CoordinatorNotAvailable),
            fresh => fresh.filter(|_| is_last),
        };
        let (next, producer) = metadata.ended(request.outcome, request.version, fresh, now_ms);
        Ok((Some(next), producer))
    }
}

fn judge_first(metadata: &TransactionMetadata, request: &EndRequest) -> Result<Verdict, TransactionError> {
    if metadata.producer.id != request.producer.id {
        return Err(TransactionError::InvalidProducerIdMapping);
    }
    if metadata.producer.epoch != request.producer.epoch {
        return Err(TransactionError::ProducerFenced);
    }
    match (metadata.state, request.outcome) {
        (TransactionState::Ongoing, _) => Ok(Verdict::Prepare),
        (TransactionState::CompleteCommit, Outcome::Commit) | (TransactionState::CompleteAbort, Outcome::Abort) => {
            Ok(Verdict::Done)
        }
        (TransactionState::PrepareCommit | TransactionState::PrepareAbort, _) => {
            Err(TransactionError::ConcurrentTransactions)
        }
        _ => Err(TransactionError::InvalidTransactionState),
    }
}

fn judge_second(metadata: &TransactionMetadata, request: &EndRequest) -> Result<Verdict, TransactionError> {
    if metadata.state.prepared().is_some() {
        return Err(TransactionError::ConcurrentTransactions);
    }
    let Producer { id, epoch } = request.producer;
    let is_complete = matches!(metadata.state, TransactionState::CompleteCommit | TransactionState::CompleteAbort);
    let after_rotation = metadata.previous_producer_id == id && epoch == i16::MAX - 1 && metadata.producer.epoch == 0;
    let after_bump = epoch.checked_add(1) == Some(metadata.producer.epoch);
    let is_retry = is_complete && (after_bump || after_rotation);
    if metadata.producer.id != id && !(is_complete && after_rotation) {
        return Err(TransactionError::InvalidProducerIdMapping);
    }
    if epoch != metadata.producer.epoch && !is_retry {
        return Err(TransactionError::ProducerFenced);
    }
    match (metadata.state, request.outcome) {
        (TransactionState::Ongoing, _) => Ok(Verdict::Prepare),
        (TransactionState::CompleteCommit, Outcome::Commit) | (TransactionState::CompleteAbort, Outcome::Abort)
            if is_retry =>
        {
            Ok(Verdict::Done)
        }
        // There may be nothing to abort: the producer does not know whether anything of its own has arrived.
        (
            TransactionState::Empty | TransactionState::CompleteCommit | TransactionState::CompleteAbort,
            Outcome::Abort,
        ) if !is_retry => Ok(Verdict::Prepare),
        _ => Err(TransactionError::InvalidTransactionState),
    }
}
