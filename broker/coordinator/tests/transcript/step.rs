//! One line of a transcript, and the request that it stands for.

use std::sync::Arc;
use tifo_coordinator::{
    ConsumerGroupSettings, Request,
    assignment::Assignment,
    group::{
        ConsumerHeartbeatRequest, HeartbeatRequest, JoinRequest, LeaveRequest, LeavingMember, OffsetCommitRequest,
        OffsetDeleteRequest, OffsetToCommit, Protocol, SyncRequest, TransactionalCommit,
    },
    transaction::Producer,
};
use uuid::Uuid;

pub struct Line {
    pub time_ms: i64,
    pub actor: String,
    pub verb: String,
    pub fields: Vec<(String, String)>,
    /// `!` before the actor: the records of this step cannot be appended.
    pub append_fails: bool,
}

impl Line {
    /// `None`: a comment or an empty line.
    pub fn parse(line: &str) -> Option<Line> {
        let mut words = line.split_whitespace();
        let time_ms = words.next().filter(|word| !word.starts_with('#'))?.parse().expect("a time in ms");
        let actor = words.next().expect("an actor").to_owned();
        let verb = words.next().unwrap_or_else(|| panic!("no verb in: {line}")).to_owned();
        let field = |word: &str| {
            let (key, value) = word.split_once('=').unwrap_or_else(|| panic!("no key=value: {word}"));
            (key.to_owned(), value.to_owned())
        };
        let append_fails = actor.starts_with('!');
        let actor = actor.trim_start_matches('!').to_owned();
        Some(Line { time_ms, actor, verb, fields: words.map(field).collect(), append_fails })
    }

    pub fn get(&self, key: &str) -> &str {
        self.fields.iter().find(|(name, _)| name == key).map_or("", |(_, value)| value)
    }

    fn text(&self, key: &str, default: &str) -> String {
        let value = self.get(key);
        if value.is_empty() { default.to_owned() } else { value.to_owned() }
    }

    fn number<T: std::str::FromStr>(&self, key: &str, default: T) -> T {
        self.get(key).parse().unwrap_or(default)
    }

    fn optional(&self, key: &str) -> Option<String> {
        Some(self.get(key).to_owned()).filter(|value| !value.is_empty())
    }

    fn group(&self) -> Arc<str> {
        self.text("group", "g").into()
    }

    fn member(&self) -> String {
        expand(self.get("member"))
    }

    fn instance(&self) -> Option<Arc<str>> {
        self.optional("instance").map(Arc::from)
    }

    /// `a:0,a:1,b:0`
    fn partitions(&self, key: &str) -> Vec<(Arc<str>, i32)> {
        let split = |word: &str| {
            let (topic, partition) = word.split_once(':').expect("topic:partition");
            (topic.into(), partition.parse().expect("a partition"))
        };
        self.get(key).split(',').filter(|word| !word.is_empty()).map(split).collect()
    }

    /// `producer=7`
    pub fn producer(&self) -> Producer {
        Producer { id: self.number("producer", 0), epoch: 0 }
    }

    pub fn topics(&self, key: &str) -> Option<Vec<(Arc<str>, Vec<i32>)>> {
        let partitions = self.partitions(key);
        let topics = partitions.into_iter().map(|(topic, partition)| (topic, vec![partition])).collect::<Vec<_>>();
        Some(topics).filter(|topics| !topics.is_empty())
    }

    /// `joins` numbers the member id that a JoinGroup may need.
    pub fn request(&self, joins: u128) -> Request {
        match self.verb.as_str() {
            "join" => Request::Join(self.join(joins)),
            "sync" => Request::Sync(self.sync()),
            "beat" => Request::ConsumerHeartbeat(self.beat()),
            "heartbeat" => Request::Heartbeat(HeartbeatRequest {
                group: self.group(),
                generation: self.number("generation", 1),
                member_id: self.member(),
                instance_id: self.instance(),
            }),
            "leave" => Request::Leave(LeaveRequest { group: self.group(), members: self.leaving() }),
            "commit" => Request::OffsetCommit(self.commit()),
            "txn-commit" => {
                Request::TransactionalCommit(TransactionalCommit { producer: self.producer(), commit: self.commit() })
            }
            "delete-offsets" => Request::OffsetDelete(OffsetDeleteRequest {
                group: self.group(),
                partitions: self.partitions("partitions"),
            }),
            "delete-group" => Request::DeleteGroup { group: self.group() },
            other => panic!("verb {other}"),
        }
    }

    fn join(&self, joins: u128) -> JoinRequest {
        let version: i32 = self.number("v", 9);
        let protocol = |word: &str| {
            let (name, metadata) = word.split_once(':').unwrap_or((word, ""));
            Protocol { name: name.into(), metadata: subscription(metadata) }
        };
        JoinRequest {
            group: self.group(),
            member_id: self.member(),
            instance_id: self.instance(),
            client_id: self.text("client", &self.actor),
            client_host: "/127.0.0.1".to_owned(),
            session_timeout_ms: self.number("session", 10_000),
            rebalance_timeout_ms: self.number("rebalance", 30_000),
            protocol_type: self.text("type", "consumer"),
            protocols: match self.text("protocols", "range:t").as_str() {
                "none" => Vec::new(),
                protocols => protocols.split(',').map(protocol).collect(),
            },
            requires_known_member_id: version >= 4,
            supports_skip_assignment: version >= 9,
            unique: Uuid::from_u128(joins),
        }
    }

    /// The heartbeat of KIP-848; one that joins tells all.
    fn beat(&self) -> ConsumerHeartbeatRequest {
        let epoch = self.number("epoch", 0);
        let joins = epoch == 0;
        let words = |key| self.get(key).split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        let named = |key: &str| self.fields.iter().any(|(name, _)| name == key);
        let topics = if joins && !named("regex") { Some("t") } else { None };
        ConsumerHeartbeatRequest {
            group: self.group(),
            member_id: self.text("member", &self.actor),
            epoch,
            instance_id: self.instance(),
            rack_id: self.optional("rack"),
            rebalance_timeout_ms: (joins || named("rebalance")).then(|| self.number("rebalance", 30_000)),
            topic_names: match named("topics") {
                true => Some(words("topics")),
                false => topics.map(|topic| [topic.to_owned()].into()),
            },
            topic_regex: named("regex").then(|| self.get("regex").into()),
            assignor: self.optional("assignor"),
            owned: (joins || named("owned")).then(|| self.owned()),
            client_id: self.text("client", &self.actor),
            client_host: "/127.0.0.1".to_owned(),
            settings: ConsumerGroupSettings {
                session_timeout_ms: self.number("session", 45_000),
                heartbeat_interval_ms: 5_000,
                assignment_interval_ms: self.number("assignment-interval", 0),
            },
        }
    }

    /// `owned=t:0,t:1`
    fn owned(&self) -> Assignment {
        let mut owned = Assignment::new();
        for (topic, partition) in self.partitions("owned") {
            owned.entry(topic_id(&topic)).or_default().insert(partition);
        }
        owned
    }

    fn sync(&self) -> SyncRequest {
        let assignment = |word: &str| {
            let (member, bytes) = word.split_once(':').expect("member:assignment");
            (expand(member), bytes.to_owned().into())
        };
        SyncRequest {
            group: self.group(),
            generation: self.number("generation", 1),
            member_id: self.member(),
            instance_id: self.instance(),
            protocol_type: self.optional("type"),
            protocol: self.optional("protocol"),
            assignments: self.get("assign").split(',').filter(|word| !word.is_empty()).map(assignment).collect(),
        }
    }

    /// `members=a#1,instance/i` or `member=a#1 instance=i`
    fn leaving(&self) -> Vec<LeavingMember> {
        if self.get("members").is_empty() {
            return vec![LeavingMember { member_id: self.member(), instance_id: self.instance() }];
        }
        let leaving = |word: &str| match word.strip_prefix("instance/") {
            Some(instance) => LeavingMember { member_id: String::new(), instance_id: Some(instance.into()) },
            None => LeavingMember { member_id: expand(word), instance_id: None },
        };
        self.get("members").split(',').map(leaving).collect()
    }

    /// `offsets=t:0:17,t:1:4:metadata`
    fn commit(&self) -> OffsetCommitRequest {
        let offset = |word: &str| {
            let parts: Vec<&str> = word.split(':').collect();
            OffsetToCommit {
                topic: parts[0].into(),
                partition: parts[1].parse().expect("a partition"),
                offset: parts[2].parse().expect("an offset"),
                leader_epoch: -1,
                metadata: parts.get(3).copied().unwrap_or_default().to_owned(),
                topic_id: Uuid::nil(),
            }
        };
        OffsetCommitRequest {
            group: self.group(),
            generation: self.number("generation", -1),
            member_id: self.member(),
            instance_id: self.instance(),
            retention_ms: self.get("retention").parse().ok(),
            knows_member_epochs: self.number("version", 9) >= 9,
            offsets: self.get("offsets").split(',').map(offset).collect(),
        }
    }
}

/// A ConsumerProtocolSubscription of one topic; empty for none.
fn subscription(topic: &str) -> bytes::Bytes {
    if topic.is_empty() {
        return bytes::Bytes::new();
    }
    let length = u8::try_from(topic.len()).expect("a short topic");
    [&[0, 0, 0, 0, 0, 1, 0, length], topic.as_bytes(), &[255, 255, 255, 255]].concat().into()
}

/// The id of a topic is its name, in bytes.
pub fn topic_id(name: &str) -> Uuid {
    let mut bytes = [0; 16];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    Uuid::from_bytes(bytes)
}

/// `a#1` to the id that the coordinator makes up.
pub fn expand(id: &str) -> String {
    match id.split_once('#') {
        Some((name, number)) => format!("{name}-{}", Uuid::from_u128(number.parse().expect("a number"))),
        None => id.to_owned(),
    }
}

/// And back.
pub fn shorten(id: &str) -> String {
    let Some(at) = id.len().checked_sub(37) else { return id.to_owned() };
    match id.get(at + 1..).and_then(|unique| Uuid::parse_str(unique).ok()) {
        Some(unique) => format!("{}#{}", &id[..at], unique.as_u128()),
        None => id.to_owned(),
    }
}
