//! A client as the stock ones behave: joins, syncs, beats, and joins again when told to.

use super::{PARTITIONS, Random, offset};
use bytes::Bytes;
use std::sync::Arc;
use tifo_coordinator::{
    GroupError, Reply, Request,
    group::{
        HeartbeatRequest, JoinReply, JoinRequest, JoinedMember, LeaveRequest, LeavingMember, OffsetCommitRequest,
        Protocol, SyncReply, SyncRequest,
    },
};
use uuid::Uuid;

#[derive(Debug, Clone)]
pub enum Doing {
    Outside,
    Joining,
    Joined { generation: i32, assignments: Vec<(String, Bytes)> },
    Syncing { generation: i32 },
    Working { generation: i32, owned: Vec<u8> },
}

#[derive(Debug)]
pub struct Member {
    number: usize,
    pub id: String,
    instance_id: Option<Arc<str>>,
    pub doing: Doing,
    /// Turns that it misses.
    pub asleep: u64,
}

impl Member {
    /// The odd ones are static.
    pub fn new(number: usize) -> Self {
        let instance_id = (number % 2 == 1).then(|| format!("i{number}").into());
        Self { number, id: String::new(), instance_id, doing: Doing::Outside, asleep: 0 }
    }

    pub fn owned(&self) -> &[u8] {
        if let Doing::Working { owned, .. } = &self.doing { owned } else { &[] }
    }

    /// `None`: it waits for an answer.
    pub fn next_request(&mut self, unique: Uuid, random: &mut Random) -> Option<Request> {
        match self.doing.clone() {
            Doing::Outside => {
                self.doing = Doing::Joining;
                Some(Request::Join(self.join(unique, random)))
            }
            Doing::Joined { generation, assignments } => {
                self.doing = Doing::Syncing { generation };
                Some(Request::Sync(self.sync(generation, assignments)))
            }
            Doing::Working { generation, .. } => Some(Request::Heartbeat(HeartbeatRequest {
                group: "g".into(),
                generation,
                member_id: self.id.clone(),
                instance_id: self.instance_id.clone(),
            })),
            Doing::Joining | Doing::Syncing { .. } => None,
        }
    }

    fn join(&self, unique: Uuid, random: &mut Random) -> JoinRequest {
        JoinRequest {
            group: "g".into(),
            member_id: self.id.clone(),
            instance_id: self.instance_id.clone(),
            client_id: format!("c{}", self.number),
            client_host: "/127.0.0.1".to_owned(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 1_500,
            protocol_type: "consumer".to_owned(),
            protocols: vec![Protocol { name: "range".into(), metadata: Bytes::new() }],
            requires_known_member_id: random.below(2) == 0,
            supports_skip_assignment: random.below(2) == 0,
            unique,
        }
    }

    fn sync(&self, generation: i32, assignments: Vec<(String, Bytes)>) -> SyncRequest {
        SyncRequest {
            group: "g".into(),
            generation,
            member_id: self.id.clone(),
            instance_id: self.instance_id.clone(),
            protocol_type: Some("consumer".to_owned()),
            protocol: Some("range".to_owned()),
            assignments,
        }
    }

    pub fn commit(&self, generation: i32, offsets: &[(u8, i64)]) -> Request {
        Request::OffsetCommit(OffsetCommitRequest {
            group: "g".into(),
            generation,
            member_id: self.id.clone(),
            instance_id: self.instance_id.clone(),
            retention_ms: None,
            knows_member_epochs: true,
            offsets: offsets.iter().map(|(partition, at)| offset(*partition, *at)).collect(),
        })
    }

    pub fn leave(&mut self) -> Option<Request> {
        let Doing::Working { .. } = self.doing else { return None };
        let leaving = LeavingMember { member_id: std::mem::take(&mut self.id), instance_id: self.instance_id.clone() };
        self.doing = Doing::Outside;
        Some(Request::Leave(LeaveRequest { group: "g".into(), members: vec![leaving] }))
    }

    /// A crash: another process starts in its place, which knows nothing.
    pub fn forget(&mut self) {
        self.id.clear();
        self.disconnected();
    }

    pub fn disconnected(&mut self) {
        if let Doing::Working { .. } = self.doing {
            if self.id.is_empty() {
                self.doing = Doing::Outside;
            }
            return;
        }
        self.doing = Doing::Outside;
    }

    pub fn receive(&mut self, reply: &Reply) {
        match reply {
            Reply::Join(reply) => self.joined(reply),
            Reply::Sync(reply) => self.synced(reply),
            Reply::Heartbeat(Some(error)) => self.told(*error),
            Reply::OffsetCommit(results) => {
                results.iter().filter_map(|result| result.error).for_each(|error| self.told(error));
            }
            _ => {}
        }
    }

    fn joined(&mut self, reply: &JoinReply) {
        let Doing::Joining = self.doing else { return };
        if let Some(error) = reply.error {
            if error == GroupError::MemberIdRequired {
                self.id.clone_from(&reply.member_id);
            }
            self.told(error);
            return;
        }
        self.id.clone_from(&reply.member_id);
        let assignments = if reply.skip_assignment { Vec::new() } else { shares(&reply.members, reply.generation) };
        self.doing = Doing::Joined { generation: reply.generation, assignments };
    }

    fn synced(&mut self, reply: &SyncReply) {
        let Doing::Syncing { generation } = self.doing else { return };
        match reply.error {
            Some(error) => self.told(error),
            None => self.doing = Doing::Working { generation, owned: reply.assignment.to_vec() },
        }
    }

    fn told(&mut self, error: GroupError) {
        match error {
            GroupError::UnknownMemberId | GroupError::FencedInstanceId => self.id.clear(),
            GroupError::NotCoordinator if matches!(self.doing, Doing::Working { .. }) => return,
            _ => {}
        }
        self.doing = Doing::Outside;
    }
}

/// As the leader's client would assign, but to others in each generation, so that a mix-up of two shows.
fn shares(members: &[JoinedMember], generation: i32) -> Vec<(String, Bytes)> {
    let turn = usize::try_from(generation).unwrap();
    let owner = |partition: u8| (usize::from(partition) + turn) % members.len();
    let share = |(at, member): (usize, &JoinedMember)| {
        let owned: Vec<u8> = (0..PARTITIONS).filter(|partition| owner(*partition) == at).collect();
        (member.member_id.clone(), Bytes::from(owned))
    };
    members.iter().enumerate().map(share).collect()
}
