//! The moves between a group's states.

use super::{ClassicGroup, InitialDelay, MemberId, PENDING_MEMBER_GRACE_MS, State};
use crate::{
    GroupError,
    group::{Reply, SyncReply, coordinator::Step},
};
use bytes::Bytes;

impl ClassicGroup {
    /// Something about the members has changed: starts a rebalance unless one gathers members already, and ends its
    /// first half if nobody is missing.
    pub(super) fn rebalance(&mut self, step: &mut Step<'_>) {
        if self.state != State::PreparingRebalance {
            self.prepare_rebalance(step);
        }
        self.try_complete_join(step);
    }

    pub(super) fn prepare_rebalance(&mut self, step: &mut Step<'_>) {
        if self.state == State::CompletingRebalance {
            self.drop_assignments(GroupError::RebalanceInProgress, step);
        }
        step.timers.cancel(&step.sync_deadline());
        self.pending_sync.clear();
        let timeout_ms = if self.state == State::Empty { self.begin_initial_delay(step) } else { self.timeout_ms() };
        step.arm(step.join_deadline(), timeout_ms);
        self.set_state(State::PreparingRebalance, step.now_ms);
    }

    /// The longest that any member asked for.
    fn timeout_ms(&self) -> i64 {
        i64::from(self.members.values().map(|member| member.rebalance_timeout_ms).max().unwrap_or(0).max(0))
    }

    fn begin_initial_delay(&mut self, step: &Step<'_>) -> i64 {
        let delay_ms = i64::from(step.config.initial_rebalance_delay_ms.max(0));
        if delay_ms == 0 {
            return PENDING_MEMBER_GRACE_MS;
        }
        let remaining_ms = (self.timeout_ms() - delay_ms).max(0);
        self.initial = Some(InitialDelay { remaining_ms, member_added: false });
        delay_ms
    }

    /// Ends the first half of a rebalance as soon as every member has joined.
    pub(super) fn try_complete_join(&mut self, step: &mut Step<'_>) {
        let all_joined = self.members.values().all(|member| member.waiting.join.is_some());
        if self.state == State::PreparingRebalance && self.initial.is_none() && all_joined && self.pending.is_empty() {
            self.complete_join(step);
        }
    }

    /// The first half of a rebalance has lasted as long as it may.
    pub fn join_ended(&mut self, step: &mut Step<'_>) {
        if self.state != State::PreparingRebalance {
            return;
        }
        match self.initial.filter(|initial| initial.member_added && initial.remaining_ms > 0) {
            Some(initial) => self.prolong_initial_delay(initial, step),
            None => self.complete_join(step),
        }
    }

    fn prolong_initial_delay(&mut self, initial: InitialDelay, step: &mut Step<'_>) {
        let delay_ms = i64::from(step.config.initial_rebalance_delay_ms.max(0)).min(initial.remaining_ms);
        self.initial = Some(InitialDelay { remaining_ms: initial.remaining_ms - delay_ms, member_added: false });
        step.arm(step.join_deadline(), delay_ms);
    }

    fn complete_join(&mut self, step: &mut Step<'_>) {
        self.initial = None;
        self.drop_absent(step);
        if !self.members.is_empty() && !self.elect_leader() {
            // Only static members are left, and none of them has come: their sessions decide.
            return step.arm(step.join_deadline(), self.timeout_ms());
        }
        step.timers.cancel(&step.join_deadline());
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        if self.members.is_empty() { self.become_empty(step) } else { self.begin_sync(step) }
    }

    /// Dynamic members that have not joined in time are out; static ones keep their place until their session ends.
    fn drop_absent(&mut self, step: &mut Step<'_>) {
        let is_absent = |member: &&super::Member| member.waiting.join.is_none() && member.instance_id.is_none();
        let absent: Vec<MemberId> = self.members.values().filter(is_absent).map(|member| member.id.clone()).collect();
        for id in absent {
            self.remove(&id, step);
        }
    }

    /// The leader stays if it has joined, else one that has takes its place. False: none has.
    fn elect_leader(&mut self) -> bool {
        let has_joined = |id: &MemberId| self.members.get(id).is_some_and(|member| member.waiting.join.is_some());
        if !self.leader.as_ref().is_some_and(has_joined) {
            match self.members.values().find(|member| member.waiting.join.is_some()) {
                Some(member) => self.leader = Some(member.id.clone()),
                None => return false,
            }
        }
        true
    }

    fn become_empty(&mut self, step: &mut Step<'_>) {
        self.protocol = None;
        self.leader = None;
        self.set_state(State::Empty, step.now_ms);
        self.persist(step);
    }

    fn begin_sync(&mut self, step: &mut Step<'_>) {
        self.protocol = self.select_protocol();
        self.set_state(State::CompletingRebalance, step.now_ms);
        let ids: Vec<MemberId> = self.members.keys().cloned().collect();
        for id in &ids {
            let reply = self.joined_reply(id);
            let Some(member) = self.members.get_mut(id) else { continue };
            member.is_new = false;
            member.id_is_secret = false;
            if let Some(ticket) = member.waiting.join.take() {
                step.out.reply(ticket, Reply::Join(reply));
            }
            step.arm_session(member);
        }
        self.pending_sync = ids.into_iter().collect();
        step.arm(step.sync_deadline(), self.timeout_ms());
    }

    /// The second half of a rebalance has lasted as long as it may: members that have not synced are out.
    pub fn sync_ended(&mut self, step: &mut Step<'_>) {
        let absent = std::mem::take(&mut self.pending_sync);
        if absent.is_empty() || !matches!(self.state, State::CompletingRebalance | State::Stable) {
            return;
        }
        for id in absent {
            self.remove(&id, step);
        }
        self.rebalance(step);
    }

    /// The generation did not come about (its record could not be written): everybody joins again.
    pub fn start_over(&mut self, step: &mut Step<'_>) {
        if matches!(self.state, State::CompletingRebalance | State::Stable) {
            self.drop_assignments(GroupError::RebalanceInProgress, step);
            self.rebalance(step);
        }
    }

    /// Takes back all assignments of the generation; members that wait for theirs are told why.
    fn drop_assignments(&mut self, error: GroupError, step: &mut Step<'_>) {
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
            if let Some(ticket) = member.waiting.sync.take() {
                step.out.reply(ticket, Reply::Sync(SyncReply::error(error)));
                step.arm_session(member);
            }
        }
    }
}
