//! InitProducerId of a transactional producer: a new epoch, and the end of whatever its predecessor left open.
//!
//! KIP-360: a producer that names its present id and epoch goes on after an error instead of fencing itself; asked again with
//! the epoch before, the answer is the same once more.

use super::{
    Decision, Producer, TransactionCoordinator, TransactionMetadata, TransactionState, TransactionalId,
    metadata::{NO_EPOCH, TransactionRecord, is_exhausted},
};
use crate::{TransactionError, limits};

#[derive(Debug, Clone, PartialEq)]
pub struct InitProducerIdRequest {
    pub transactional_id: TransactionalId,
    pub timeout_ms: i32,
    /// What the producer has; none: it begins.
    pub current: Option<Producer>,
    /// A producer id that nobody had before; wanted where [`TransactionCoordinator::needs_producer_id`] says so.
    pub fresh_producer_id: Option<i64>,
}

type Reply = Result<Producer, TransactionError>;

impl TransactionCoordinator {
    /// Whether the next InitProducerId or the next end of a transaction may take a fresh producer id.
    pub fn needs_producer_id(&self, id: &str) -> bool {
        self.get(id).is_none_or(|metadata| is_exhausted(metadata.producer.epoch))
    }

    pub fn init_producer_id(&self, request: &InitProducerIdRequest, now_ms: i64) -> Decision<Reply> {
        match self.initialize(request, now_ms) {
            Ok((next, reply)) => {
                let transactional_id = request.transactional_id.clone();
                Decision { record: Some(TransactionRecord { transactional_id, value: Some(next) }), reply }
            }
            Err(error) => Decision::reply(Err(error)),
        }
    }

    fn initialize(
        &self,
        request: &InitProducerIdRequest,
        now_ms: i64,
    ) -> Result<(TransactionMetadata, Reply), TransactionError> {
        let id = &request.transactional_id;
        if id.is_empty() || id.len() > limits::MAX_STRING_BYTES {
            return Err(TransactionError::InvalidRequest);
        }
        if request.timeout_ms <= 0 || request.timeout_ms > self.config.max_timeout_ms {
            return Err(TransactionError::InvalidTransactionTimeout);
        }
        let fresh = || request.fresh_producer_id.ok_or(TransactionError::CoordinatorNotAvailable);
        let metadata = match self.get(id) {
            Some(metadata) => metadata.clone(),
            None if self.has_room() => TransactionMetadata::new(fresh()?),
            None => return Err(TransactionError::CoordinatorNotAvailable),
        };
        if metadata.state.prepared().is_some() {
            return Err(TransactionError::ConcurrentTransactions);
        }
        if !request.current.is_none_or(|current| may_go_on(&metadata, current)) {
            return Err(TransactionError::ProducerFenced);
        }
        if metadata.state == TransactionState::Ongoing {
            // The producer comes again, and then gets an epoch above this one, which nobody has.
            return Ok((metadata.fenced(now_ms), Err(TransactionError::ConcurrentTransactions)));
        }
        let epoch = metadata.producer.epoch;
        let is_its_own = request.current.is_none_or(|current| current.epoch == epoch);
        let (producer, last_epoch) = if is_exhausted(epoch) && is_its_own {
            (Producer { id: fresh()?, epoch: 0 }, request.current.map_or(NO_EPOCH, |_| epoch))
        } else {
            next_epoch(&metadata, request.current)?
        };
        Ok((metadata.initialized(producer, last_epoch, request.timeout_ms, now_ms), Ok(producer)))
    }
}

/// The claimed producer is the present one, or the one before a change of ids of which it did not hear. (Its epoch is looked at later.)
fn may_go_on(metadata: &TransactionMetadata, current: Producer) -> bool {
    metadata.producer.epoch == NO_EPOCH
        || current.id == metadata.producer.id
        || (current.id == metadata.previous_producer_id && is_exhausted(current.epoch))
}

/// The epoch to give out, and the one that may ask for it again.
fn next_epoch(metadata: &TransactionMetadata, current: Option<Producer>) -> Result<(Producer, i16), TransactionError> {
    let Producer { id, epoch } = metadata.producer;
    let bumped = Producer { id, epoch: epoch.saturating_add(1) };
    match current {
        None => Ok((bumped, NO_EPOCH)),
        Some(current) if epoch == NO_EPOCH || current.epoch == epoch => Ok((bumped, epoch)),
        Some(current) if current.epoch == metadata.last_producer_epoch => {
            Ok((metadata.producer, metadata.last_producer_epoch))
        }
        Some(_) => Err(TransactionError::ProducerFenced),
    }
}
