//! Offsets that are committed by a transaction: taken now, counting from the transaction's marker on.

use super::{GroupCoordinator, Output, Reply, Ticket, offsets, request::TransactionalCommit};
use crate::{GroupError, record::Record};

impl GroupCoordinator {
    pub(super) fn commit_in_transaction(
        &mut self,
        ticket: Ticket,
        request: &TransactionalCommit,
        now_ms: i64,
        out: &mut Output,
    ) {
        let commit = &request.commit;
        let exists = self.groups.contains_key(&commit.group);
        let group = self.groups.entry(commit.group.clone()).or_default();
        if let Some(consumer) = &group.consumer {
            let admitted = consumer.admit_commit(commit, true, &self.topics);
            let results = group.offsets.commit_all(admitted, commit, &self.config, now_ms, &mut out.records);
            out.transaction = Some(request.producer);
            return out.reply(ticket, Reply::OffsetCommit(results));
        }
        let admitted = match commit.generation {
            generation if !exists && generation >= 0 => Err(GroupError::IllegalGeneration),
            _ => group.classic.admit_transactional_commit(commit),
        };
        let admitted = admitted.map(|()| offsets::ALL);
        let results = group.offsets.commit_all(admitted, commit, &self.config, now_ms, &mut out.records);
        out.transaction = Some(request.producer);
        out.reply(ticket, Reply::OffsetCommit(results));
    }

    /// Applies a durable fact that is part of an open transaction; what it says counts once that is committed.
    pub fn replay_in_transaction(&mut self, record: &Record, producer_id: i64) {
        let Record::OffsetCommit { key, value: Some(value) } = record else { return self.replay(record) };
        let group = self.groups.entry(key.group.clone()).or_default();
        group.offsets.pending.set(producer_id, &key.topic, key.partition, value.clone());
        self.open_transactions.entry(producer_id).or_default().insert(key.group.clone());
    }

    /// Applies a transaction's marker.
    pub fn replay_marker(&mut self, producer_id: i64, is_commit: bool) {
        for id in self.open_transactions.remove(&producer_id).unwrap_or_default() {
            if let Some(group) = self.groups.get_mut(&id) {
                group.offsets.end_transaction(producer_id, is_commit);
            }
            self.forget_if_void(&id);
        }
    }

    /// What open transactions hold, by producer id.
    pub fn pending_records(&self) -> Vec<(i64, Record)> {
        let mut records: Vec<_> =
            self.groups.iter().flat_map(|(id, group)| group.offsets.pending.records(id)).collect();
        records.sort_by_key(|(producer_id, _)| *producer_id);
        records
    }
}
