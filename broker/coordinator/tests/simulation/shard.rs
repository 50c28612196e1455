//! A shard of the coordinator with what the server is to it: a clock, tickets, and a log, which may refuse what is to be written.

use tifo_coordinator::{GroupConfig, GroupCoordinator, GroupError, Output, Record, Reply, Request, Ticket};

pub struct Shard {
    pub coordinator: GroupCoordinator,
    pub now_ms: i64,
    pub appends_fail: bool,
    /// What is in the log.
    pub records: Vec<Record>,
    tickets: u64,
    replies: Vec<(Ticket, Reply)>,
}

impl Shard {
    pub fn new() -> Self {
        let mut coordinator = GroupCoordinator::new(GroupConfig::default());
        coordinator.loaded(0);
        Self { coordinator, now_ms: 0, appends_fail: false, records: Vec::new(), tickets: 0, replies: Vec::new() }
    }

    /// The one that the next request gets.
    pub fn next_ticket(&self) -> Ticket {
        Ticket(self.tickets)
    }

    pub fn send(&mut self, request: Request) -> Ticket {
        let ticket = self.next_ticket();
        self.tickets += 1;
        let output = self.coordinator.handle(ticket, request, self.now_ms);
        self.finish(output);
        ticket
    }

    /// The client has gone.
    pub fn abandon(&mut self, group: &str, ticket: Ticket) {
        let output = self.coordinator.abandon(group, ticket, self.now_ms);
        self.finish(output);
    }

    pub fn pass(&mut self, elapsed_ms: i64) {
        let until_ms = self.now_ms + elapsed_ms;
        while let Some(deadline) = self.coordinator.next_deadline().filter(|deadline| *deadline <= until_ms) {
            self.now_ms = self.now_ms.max(deadline);
            let output = self.coordinator.expire(self.now_ms);
            self.finish(output);
        }
        self.now_ms = until_ms;
    }

    /// From its records alone; `prepare` tells the new one what is not among them.
    pub fn restart(&mut self, prepare: impl FnOnce(&mut GroupCoordinator)) {
        self.coordinator = self.replayed();
        prepare(&mut self.coordinator);
        let output = self.coordinator.loaded(self.now_ms);
        self.finish(output);
    }

    pub fn replayed(&self) -> GroupCoordinator {
        let mut fresh = GroupCoordinator::new(GroupConfig::default());
        self.records.iter().for_each(|record| fresh.replay(record));
        fresh
    }

    /// Those that nobody has taken yet.
    pub fn take_replies(&mut self) -> Vec<(Ticket, Reply)> {
        std::mem::take(&mut self.replies)
    }

    fn finish(&mut self, output: Output) {
        if self.appends_fail && !output.records.is_empty() {
            let failed = |(ticket, reply): (Ticket, Reply)| (ticket, reply.failed(GroupError::NotCoordinator));
            self.replies.extend(output.replies.into_iter().map(failed));
            let more = self.coordinator.append_failed(&output.records, self.now_ms);
            return self.finish(more);
        }
        output.records.iter().for_each(|record| self.coordinator.replay(record));
        self.records.extend(output.records);
        self.replies.extend(output.replies);
    }
}
