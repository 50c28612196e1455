//! Share sessions: what a member reads, so that it names only what changes; and whose records come back when it is gone.
//!
//! A session ends by its member's word, by another that the member begins, or with its connection.

use parking_lot::Mutex;
use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
};
use tifo_coordinator::ShareError;
use uuid::Uuid;

/// The epochs by which a member opens and closes its session.
pub const OPEN_EPOCH: i32 = 0;
pub const CLOSE_EPOCH: i32 = -1;
/// Partitions of one session.
const MAX_PARTITIONS: usize = 100_000;

/// A partition as clients name it.
pub type TopicPartition = (Uuid, i32);

/// Group and member.
pub type SessionKey = (Arc<str>, Arc<str>);

#[derive(Debug)]
struct Session {
    /// That of the next request.
    epoch: i32,
    /// In the order in which they are read: who gave records goes to the end.
    partitions: VecDeque<TopicPartition>,
    connection: SocketAddr,
}

/// What a fetch says of its session.
#[derive(Debug)]
pub struct FetchStep {
    pub epoch: i32,
    pub named: Vec<TopicPartition>,
    pub forgotten: Vec<TopicPartition>,
    pub acknowledges: bool,
    pub connection: SocketAddr,
}

/// Why a session is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    Because(ShareError),
    LimitReached,
}

impl From<ShareError> for Refused {
    fn from(error: ShareError) -> Self {
        Self::Because(error)
    }
}

#[derive(Debug, Default)]
pub struct ShareSessions(Mutex<HashMap<SessionKey, Session>>);

impl ShareSessions {
    /// The partitions to read from; none where the session is to be closed.
    pub fn fetch(&self, key: &SessionKey, step: FetchStep, slots: usize) -> Result<Vec<TopicPartition>, Refused> {
        let mut sessions = self.0.lock();
        match step.epoch {
            OPEN_EPOCH if step.acknowledges => Err(ShareError::InvalidRequest.into()),
            OPEN_EPOCH => {
                sessions.remove(key);
                if sessions.len() >= slots {
                    return Err(Refused::LimitReached);
                }
                let mut session = Session { epoch: 1, partitions: VecDeque::new(), connection: step.connection };
                session.update(step.named, &[])?;
                let partitions = session.partitions.iter().copied().collect();
                sessions.insert(key.clone(), session);
                Ok(partitions)
            }
            CLOSE_EPOCH => match sessions.contains_key(key) {
                true => Ok(Vec::new()),
                false => Err(ShareError::ShareSessionNotFound.into()),
            },
            epoch => {
                let session = find(&mut sessions, key, epoch)?;
                session.update(step.named, &step.forgotten)?;
                session.next();
                Ok(session.partitions.iter().copied().collect())
            }
        }
    }

    pub fn acknowledge(&self, key: &SessionKey, epoch: i32) -> Result<(), Refused> {
        let mut sessions = self.0.lock();
        match epoch {
            OPEN_EPOCH => Err(ShareError::InvalidShareSessionEpoch.into()),
            CLOSE_EPOCH if sessions.contains_key(key) => Ok(()),
            CLOSE_EPOCH => Err(ShareError::ShareSessionNotFound.into()),
            epoch => {
                find(&mut sessions, key, epoch)?.next();
                Ok(())
            }
        }
    }

    /// These gave records: next time the others come first.
    pub fn served(&self, key: &SessionKey, partitions: &[TopicPartition]) {
        if let Some(session) = self.0.lock().get_mut(key) {
            session.partitions.retain(|partition| !partitions.contains(partition));
            session.partitions.extend(partitions);
        }
    }

    pub fn close(&self, key: &SessionKey) {
        self.0.lock().remove(key);
    }

    /// The sessions of a connection end with it.
    pub fn disconnected(&self, connection: SocketAddr) -> Vec<SessionKey> {
        let mut sessions = self.0.lock();
        let gone = sessions.iter().filter(|(_, session)| session.connection == connection);
        let gone: Vec<SessionKey> = gone.map(|(key, _)| key.clone()).collect();
        gone.iter().for_each(|key| drop(sessions.remove(key)));
        gone
    }
}

fn find<'a>(
    sessions: &'a mut HashMap<SessionKey, Session>,
    key: &SessionKey,
    epoch: i32,
) -> Result<&'a mut Session, ShareError> {
    let session = sessions.get_mut(key).ok_or(ShareError::ShareSessionNotFound)?;
    if session.epoch == epoch { Ok(session) } else { Err(ShareError::InvalidShareSessionEpoch) }
}

impl Session {
    fn update(&mut self, named: Vec<TopicPartition>, forgotten: &[TopicPartition]) -> Result<(), ShareError> {
        for partition in named {
            if !self.partitions.contains(&partition) {
                self.partitions.push_back(partition);
            }
        }
        self.partitions.retain(|partition| !forgotten.contains(partition));
        if self.partitions.len() > MAX_PARTITIONS { Err(ShareError::InvalidRequest) } else { Ok(()) }
    }

    /// Epochs go round, without those that open and close.
    fn next(&mut self) {
        self.epoch = self.epoch.checked_add(1).unwrap_or(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(epoch: i32, named: &[i32], forgotten: &[i32]) -> FetchStep {
        let partitions = |all: &[i32]| all.iter().map(|partition| (Uuid::nil(), *partition)).collect();
        let connection = SocketAddr::from(([127, 0, 0, 1], 1));
        FetchStep { epoch, named: partitions(named), forgotten: partitions(forgotten), acknowledges: false, connection }
    }

    #[test]
    fn a_session_goes_by_its_epochs() {
        let (sessions, key): (_, SessionKey) = (ShareSessions::default(), ("g".into(), "m".into()));
        let fetch = |epoch, named: &[i32], forgotten: &[i32]| {
            let read = sessions.fetch(&key, step(epoch, named, forgotten), 2);
            read.map(|read| read.into_iter().map(|(_, partition)| partition).collect::<Vec<_>>())
        };
        assert_eq!(fetch(1, &[], &[]), Err(ShareError::ShareSessionNotFound.into()));
        assert_eq!(fetch(0, &[0, 1], &[]), Ok(vec![0, 1]));
        assert_eq!(fetch(2, &[], &[]), Err(ShareError::InvalidShareSessionEpoch.into()));
        assert_eq!(fetch(1, &[2, 2], &[0]), Ok(vec![1, 2]));
        assert_eq!(sessions.acknowledge(&key, 0), Err(ShareError::InvalidShareSessionEpoch.into()));
        assert_eq!(sessions.acknowledge(&key, 2), Ok(()));
        sessions.served(&key, &[(Uuid::nil(), 1)]);
        assert_eq!(fetch(3, &[], &[]), Ok(vec![2, 1]));
        assert_eq!(fetch(-1, &[], &[]), Ok(vec![]));
        sessions.close(&key);
        assert_eq!(sessions.acknowledge(&key, -1), Err(ShareError::ShareSessionNotFound.into()));
    }

    #[test]
    fn sessions_end_with_their_connection_and_are_limited() {
        let sessions = ShareSessions::default();
        let key = |member: &str| -> SessionKey { ("g".into(), member.into()) };
        assert!(sessions.fetch(&key("a"), step(0, &[0], &[]), 1).is_ok());
        assert_eq!(sessions.fetch(&key("b"), step(0, &[0], &[]), 1), Err(Refused::LimitReached));
        assert!(sessions.fetch(&key("a"), step(0, &[1], &[]), 1).is_ok(), "its own place is free");
        assert_eq!(sessions.disconnected(SocketAddr::from(([127, 0, 0, 1], 2))), []);
        assert_eq!(sessions.disconnected(SocketAddr::from(([127, 0, 0, 1], 1))), [key("a")]);
        assert!(sessions.fetch(&key("b"), step(0, &[0], &[]), 1).is_ok());
    }
}
