//! Many classic members over one coordinator, in simulated time: each beats at its interval and does at once what it is told.

use bytes::Bytes;
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
    sync::Arc,
};
use tifo_coordinator::{
    GroupConfig, GroupCoordinator, GroupError, Output, Reply, Request, Ticket,
    group::{HeartbeatRequest, JoinReply, JoinRequest, LeaveRequest, LeavingMember, Protocol, SyncReply, SyncRequest},
};
use uuid::Uuid;

/// What a client does after an error that it does not understand.
const RETRY_MS: i64 = 10;

pub struct Crowd {
    pub now_ms: i64,
    pub coordinator: GroupCoordinator,
    heartbeat_ms: i64,
    members: Vec<Member>,
    waiting: HashMap<Ticket, usize>,
    outbox: VecDeque<(usize, Request)>,
    /// When who beats next.
    turns: BinaryHeap<Reverse<(i64, usize)>>,
    tickets: u64,
}

struct Member {
    group: Arc<str>,
    id: String,
    generation: i32,
    is_working: bool,
    has_left: bool,
}

impl Crowd {
    pub fn new(heartbeat_ms: i64) -> Self {
        let mut coordinator = GroupCoordinator::new(GroupConfig::default());
        coordinator.loaded(0);
        Self {
            now_ms: 0,
            coordinator,
            heartbeat_ms,
            members: Vec::new(),
            waiting: HashMap::new(),
            outbox: VecDeque::new(),
            turns: BinaryHeap::new(),
            tickets: 0,
        }
    }

    /// A new member begins to join. Its number.
    pub fn join(&mut self, group: &str) -> usize {
        let member =
            Member { group: group.into(), id: String::new(), generation: -1, is_working: false, has_left: false };
        self.members.push(member);
        self.send_join(self.members.len() - 1);
        self.work();
        self.members.len() - 1
    }

    pub fn leave(&mut self, member: usize) {
        let leaving = LeavingMember { member_id: self.members[member].id.clone(), instance_id: None };
        let group = self.members[member].group.clone();
        self.members[member].has_left = true;
        self.members[member].is_working = false;
        self.outbox.push_back((member, Request::Leave(LeaveRequest { group, members: vec![leaving] })));
        self.work();
    }

    /// Lets time pass, and whoever's turn it is act.
    pub fn pass(&mut self, until_ms: i64) {
        loop {
            let turn = self.turns.peek().map(|Reverse((at_ms, _))| *at_ms);
            let deadline = self.coordinator.next_deadline();
            let Some(next_ms) = turn.into_iter().chain(deadline).min().filter(|next_ms| *next_ms <= until_ms) else {
                break;
            };
            self.now_ms = self.now_ms.max(next_ms);
            if deadline.is_some_and(|deadline| deadline <= self.now_ms) {
                let output = self.coordinator.expire(self.now_ms);
                self.finish(output);
            } else if let Some(Reverse((_, member))) = self.turns.pop() {
                self.take_turn(member);
            }
            self.work();
        }
        self.now_ms = until_ms;
    }

    pub fn is_stable(&self, group: &str, members: usize) -> bool {
        let described = self.coordinator.describe(group);
        described.is_some_and(|found| found.state == "Stable" && found.members.len() == members)
    }

    /// The group is stable with so many members, and each of them knows.
    pub fn is_settled(&self, group: &str, members: usize) -> bool {
        self.is_stable(group, members)
            && self.members.iter().filter(|member| &*member.group == group && member.is_working).count() == members
    }

    /// How long it takes from now until the group is settled; in steps of a millisecond.
    pub fn settles_within(&mut self, group: &str, members: usize, limit_ms: i64) -> Option<i64> {
        let began_ms = self.now_ms;
        while !self.is_settled(group, members) {
            if self.now_ms - began_ms >= limit_ms {
                return None;
            }
            self.pass(self.now_ms + 1);
        }
        Some(self.now_ms - began_ms)
    }

    fn take_turn(&mut self, index: usize) {
        let Member { group, id, generation, is_working, has_left } = &self.members[index];
        if *has_left {
            return;
        }
        if !is_working {
            return self.send_join(index);
        }
        let beat = HeartbeatRequest {
            group: group.clone(),
            generation: *generation,
            member_id: id.clone(),
            instance_id: None,
        };
        self.outbox.push_back((index, Request::Heartbeat(beat)));
    }

    fn send_join(&mut self, index: usize) {
        let Member { group, id, is_working, .. } = &mut self.members[index];
        *is_working = false;
        let request = JoinRequest {
            group: group.clone(),
            member_id: id.clone(),
            instance_id: None,
            client_id: "c".to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            session_timeout_ms: 45_000,
            rebalance_timeout_ms: 60_000,
            protocol_type: "consumer".to_owned(),
            protocols: vec![Protocol { name: "range".into(), metadata: Bytes::new() }],
            requires_known_member_id: true,
            supports_skip_assignment: true,
            unique: Uuid::from_u128(u128::from(self.tickets) + 1),
        };
        self.outbox.push_back((index, Request::Join(request)));
    }

    fn work(&mut self) {
        while let Some((index, request)) = self.outbox.pop_front() {
            let ticket = Ticket(self.tickets);
            self.tickets += 1;
            self.waiting.insert(ticket, index);
            let output = self.coordinator.handle(ticket, request, self.now_ms);
            self.finish(output);
        }
    }

    fn finish(&mut self, output: Output) {
        output.records.iter().for_each(|record| self.coordinator.replay(record));
        for (ticket, reply) in output.replies {
            if let Some(index) = self.waiting.remove(&ticket).filter(|index| !self.members[*index].has_left) {
                self.deliver(index, reply);
            }
        }
    }

    fn deliver(&mut self, index: usize, reply: Reply) {
        match reply {
            Reply::Join(JoinReply { error: None, generation, member_id, members, .. }) => {
                let member = &mut self.members[index];
                (member.id, member.generation) = (member_id, generation);
                let assignments = members.into_iter().map(|member| (member.member_id, "all".into())).collect();
                let (group, member_id) = (member.group.clone(), member.id.clone());
                let (instance_id, protocol_type, protocol) = (None, None, None);
                let sync =
                    SyncRequest { group, generation, member_id, instance_id, protocol_type, protocol, assignments };
                self.outbox.push_back((index, Request::Sync(sync)));
            }
            Reply::Join(JoinReply { error: Some(GroupError::MemberIdRequired), member_id, .. }) => {
                self.members[index].id = member_id;
                self.send_join(index);
            }
            Reply::Sync(SyncReply { error: None, .. }) => {
                self.members[index].is_working = true;
                self.turns.push(Reverse((self.now_ms + self.heartbeat_ms, index)));
            }
            Reply::Heartbeat(None) => self.turns.push(Reverse((self.now_ms + self.heartbeat_ms, index))),
            Reply::Sync(SyncReply { error: Some(error), .. })
            | Reply::Join(JoinReply { error: Some(error), .. })
            | Reply::Heartbeat(Some(error)) => self.told(index, error),
            _ => {}
        }
    }

    fn told(&mut self, index: usize, error: GroupError) {
        match error {
            GroupError::RebalanceInProgress | GroupError::IllegalGeneration => self.send_join(index),
            error => {
                if error == GroupError::UnknownMemberId {
                    self.members[index].id.clear();
                }
                self.members[index].is_working = false;
                self.turns.push(Reverse((self.now_ms + RETRY_MS, index)));
            }
        }
    }
}
