//! Fetch sessions (KIP-227): what a client asked for before, so that it names only what changed, and is told only that.
//!
//! The cache holds `max.incremental.fetch.session.cache.slots` sessions. A new one takes the place of the one that was unused for longest
//! if that is stale, else of a smaller one that has had its time; else the client goes on without a session. Sessions are a help
//! only: nothing is lost with them but bytes.

use kafka_protocol::{ResponseError, messages::TopicName, protocol::StrBytes};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

/// Without a session.
pub const NO_SESSION: i32 = 0;
/// `min.incremental.fetch.session.eviction.ms`: a session unused for so long is stale; one as old may be evicted by a bigger one.
const EVICTION_MS: i64 = 120_000;
/// Partitions of all sessions together; a session that would go beyond is not kept.
const MAX_CACHED_PARTITIONS: usize = 1_000_000;

/// Names a partition within a session.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// Empty from version 13 on.
    pub topic: TopicName,
    /// Nil before version 13.
    pub topic_id: Uuid,
    pub partition: i32,
}

impl Key {
    /// Without a hold on the frame in which it came.
    fn owned(self) -> Self {
        Self { topic: TopicName(StrBytes::from_string(self.topic.to_string())), ..self }
    }
}

/// What a client wants of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub offset: i64,
    pub max_bytes: i32,
    pub current_leader_epoch: i32,
    pub last_fetched_epoch: i32,
}

/// What a client is told of a partition, as far as it decides whether to tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    pub has_records: bool,
    /// An error, or a diverging epoch.
    pub is_special: bool,
    /// -1 with an error: so the partition is told again as soon as it is gone.
    pub high_watermark: i64,
    pub log_start_offset: i64,
}

/// A session at the beginning of a fetch.
#[derive(Debug, PartialEq, Eq)]
pub enum Begun {
    /// No session is wanted, or it has just ended: what the request names is all.
    Without(Vec<(Key, Wanted)>),
    /// The request names all, and a session is wanted.
    Full(Vec<(Key, Wanted)>),
    /// All partitions of the session, in its order.
    Incremental(Vec<(Key, Wanted)>),
    Refused(ResponseError),
}

/// What a request says of its session.
#[derive(Debug)]
pub struct Asked {
    pub session_id: i32,
    pub epoch: i32,
    pub uses_topic_ids: bool,
    pub partitions: Vec<(Key, Wanted)>,
    pub forgotten: Vec<Key>,
}

#[derive(Debug)]
struct Cached {
    key: Key,
    wanted: Wanted,
    high_watermark: i64,
    log_start_offset: i64,
}

#[derive(Debug)]
struct Session {
    /// The epoch that the next request must bear.
    epoch: i32,
    uses_topic_ids: bool,
    created_ms: i64,
    last_used_ms: i64,
    /// In the order in which they are read: who got records goes to the end.
    partitions: BTreeMap<u64, Cached>,
    places: HashMap<Key, u64>,
    next_place: u64,
}

/// All sessions of this broker.
#[derive(Debug)]
pub struct FetchSessions {
    slots: usize,
    sessions: Mutex<HashMap<i32, Session>>,
}

impl FetchSessions {
    pub fn new(slots: usize) -> Self {
        Self { slots, sessions: Mutex::default() }
    }

    /// Finds the session and takes in what the request changes.
    pub fn begin(&self, asked: Asked, now_ms: i64) -> Begun {
        if asked.epoch <= 0 {
            if asked.session_id != NO_SESSION {
                self.sessions.lock().remove(&asked.session_id);
            }
            return if asked.epoch == 0 { Begun::Full(asked.partitions) } else { Begun::Without(asked.partitions) };
        }
        let mut sessions = self.sessions.lock();
        let Some(session) = sessions.get_mut(&asked.session_id) else {
            return Begun::Refused(ResponseError::FetchSessionIdNotFound);
        };
        if session.epoch != asked.epoch {
            return Begun::Refused(ResponseError::InvalidFetchSessionEpoch);
        }
        if session.uses_topic_ids != asked.uses_topic_ids {
            return Begun::Refused(ResponseError::FetchSessionTopicIdError);
        }
        session.update(asked.partitions, &asked.forgotten);
        if session.partitions.is_empty() {
            sessions.remove(&asked.session_id);
            return Begun::Without(Vec::new());
        }
        session.last_used_ms = now_ms;
        session.epoch = next_epoch(session.epoch);
        let wanted = session.partitions.values().map(|cached| (cached.key.clone(), cached.wanted.clone())).collect();
        if partitions_of(&sessions) > MAX_CACHED_PARTITIONS {
            sessions.remove(&asked.session_id);
            return Begun::Refused(ResponseError::FetchSessionIdNotFound);
        }
        Begun::Incremental(wanted)
    }

    /// A session for what was asked and answered in full; [`NO_SESSION`] if there is no room.
    pub fn create(&self, uses_topic_ids: bool, partitions: Vec<(Key, Wanted, Told)>, now_ms: i64) -> i32 {
        let mut sessions = self.sessions.lock();
        let fits = partitions_of(&sessions) + partitions.len() <= MAX_CACHED_PARTITIONS;
        let has_room = sessions.len() < self.slots || evict_for(&mut sessions, partitions.len(), now_ms);
        if partitions.is_empty() || self.slots == 0 || !fits || !has_room {
            return NO_SESSION;
        }
        let mut session = Session {
            epoch: next_epoch(0),
            uses_topic_ids,
            created_ms: now_ms,
            last_used_ms: now_ms,
            partitions: BTreeMap::new(),
            places: HashMap::new(),
            next_place: 0,
        };
        for (key, wanted, told) in partitions {
            session.put(key, wanted, told.high_watermark, told.log_start_offset);
        }
        let id = free_id(&sessions);
        sessions.insert(id, session);
        id
    }

    /// Which of the partitions the client is told, in the order of [`Begun::Incremental`]; an error if the session
    /// went on without this fetch.
    pub fn select(&self, session_id: i32, epoch: i32, told: &[(Key, Told)]) -> Result<Vec<bool>, ResponseError> {
        let mut sessions = self.sessions.lock();
        // One that was evicted meanwhile tells everything; the next request hears that it is gone.
        let Some(session) = sessions.get_mut(&session_id) else { return Ok(vec![true; told.len()]) };
        if session.epoch != next_epoch(epoch) {
            return Err(ResponseError::InvalidFetchSessionEpoch);
        }
        Ok(told.iter().map(|(key, told)| session.note(key, *told)).collect())
    }
}

impl Session {
    fn update(&mut self, partitions: Vec<(Key, Wanted)>, forgotten: &[Key]) {
        for (key, wanted) in partitions {
            let known = self.places.get(&key).and_then(|place| self.partitions.get_mut(place));
            match known {
                Some(cached) => cached.wanted = wanted,
                None => self.put(key, wanted, -1, -1),
            }
        }
        for key in forgotten {
            if let Some(place) = self.places.remove(key) {
                self.partitions.remove(&place);
            }
        }
    }

    fn put(&mut self, key: Key, wanted: Wanted, high_watermark: i64, log_start_offset: i64) {
        let key = key.owned();
        if let Some(before) = self.places.insert(key.clone(), self.next_place) {
            self.partitions.remove(&before);
        }
        self.partitions.insert(self.next_place, Cached { key, wanted, high_watermark, log_start_offset });
        self.next_place += 1;
    }

    /// Whether the client is told: records, an error, or a bound that has moved.
    fn note(&mut self, key: &Key, told: Told) -> bool {
        let Some(cached) = self.places.get(key).and_then(|place| self.partitions.get_mut(place)) else { return true };
        let has_moved =
            cached.high_watermark != told.high_watermark || cached.log_start_offset != told.log_start_offset;
        cached.high_watermark = told.high_watermark;
        cached.log_start_offset = told.log_start_offset;
        if told.has_records {
            self.move_to_end(key);
        }
        told.has_records || told.is_special || has_moved
    }

    fn move_to_end(&mut self, key: &Key) {
        let Some(place) = self.places.get_mut(key) else { return };
        if let Some(cached) = self.partitions.remove(place) {
            *place = self.next_place;
            self.partitions.insert(self.next_place, cached);
            self.next_place += 1;
        }
    }
}

/// Makes room for a session of so many partitions, if one may go.
fn evict_for(sessions: &mut HashMap<i32, Session>, partitions: usize, now_ms: i64) -> bool {
    let oldest = sessions.iter().min_by_key(|(id, session)| (session.last_used_ms, **id));
    let stale = oldest.filter(|(_, session)| now_ms - session.last_used_ms > EVICTION_MS).map(|(id, _)| *id);
    let smallest = || {
        let had_its_time = sessions.iter().filter(|(_, session)| now_ms - session.created_ms > EVICTION_MS);
        let smallest = had_its_time.min_by_key(|(id, session)| (session.partitions.len(), **id));
        smallest.filter(|(_, session)| session.partitions.len() < partitions).map(|(id, _)| *id)
    };
    match stale.or_else(smallest) {
        Some(id) => sessions.remove(&id).is_some(),
        None => false,
    }
}

fn partitions_of(sessions: &HashMap<i32, Session>) -> usize {
    sessions.values().map(|session| session.partitions.len()).sum()
}

/// Positive, and nobody's.
fn free_id(sessions: &HashMap<i32, Session>) -> i32 {
    loop {
        let [a, b, c, d, ..] = *Uuid::new_v4().as_bytes();
        let id = i32::from_be_bytes([a, b, c, d]) & i32::MAX;
        if id != NO_SESSION && !sessions.contains_key(&id) {
            return id;
        }
    }
}

/// Epoch 0 begins a session, and is never come back to.
fn next_epoch(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(partition: i32) -> Key {
        Key { topic: TopicName(StrBytes::from_static_str("t")), topic_id: Uuid::nil(), partition }
    }

    fn wanted(offset: i64) -> Wanted {
        Wanted { offset, max_bytes: 1, current_leader_epoch: -1, last_fetched_epoch: -1 }
    }

    fn told(high_watermark: i64, has_records: bool) -> Told {
        Told { has_records, is_special: false, high_watermark, log_start_offset: 0 }
    }

    fn asked(session_id: i32, epoch: i32, partitions: &[(i32, i64)], forgotten: &[i32]) -> Asked {
        Asked {
            session_id,
            epoch,
            uses_topic_ids: false,
            partitions: partitions.iter().map(|(partition, offset)| (key(*partition), wanted(*offset))).collect(),
            forgotten: forgotten.iter().map(|partition| key(*partition)).collect(),
        }
    }

    fn create(sessions: &FetchSessions, partitions: i32, now_ms: i64) -> i32 {
        let partitions = (0..partitions).map(|at| (key(at), wanted(0), told(0, false))).collect();
        sessions.create(false, partitions, now_ms)
    }

    fn order(begun: Begun) -> Vec<(i32, i64)> {
        match begun {
            Begun::Incremental(all) => all.into_iter().map(|(key, wanted)| (key.partition, wanted.offset)).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_session_remembers_what_was_asked_and_tells_what_changed() {
        let sessions = FetchSessions::new(2);
        assert_eq!(sessions.begin(asked(0, 0, &[(0, 0)], &[]), 0), Begun::Full(vec![(key(0), wanted(0))]));
        let id = create(&sessions, 3, 0);
        assert_eq!(order(sessions.begin(asked(id, 1, &[(1, 7), (3, 9)], &[2]), 0)), [(0, 0), (1, 7), (3, 9)]);
        let answers = [(key(0), told(0, false)), (key(1), told(5, true)), (key(3), told(9, false))];
        assert_eq!(sessions.select(id, 1, &answers), Ok(vec![false, true, true]));
        assert_eq!(order(sessions.begin(asked(id, 2, &[(1, 8)], &[]), 0)), [(0, 0), (3, 9), (1, 8)]);
        let same = [(key(0), told(0, false)), (key(3), told(9, false)), (key(1), told(5, false))];
        assert_eq!(sessions.select(id, 2, &same), Ok(vec![false; 3]));
    }

    #[test]
    fn an_error_is_told_each_time_and_so_is_its_end() {
        let sessions = FetchSessions::new(2);
        let id = create(&sessions, 1, 0);
        let error = Told { has_records: false, is_special: true, high_watermark: -1, log_start_offset: -1 };
        for (epoch, told, expected) in
            [(1, error, true), (2, error, true), (3, told(0, false), true), (4, told(0, false), false)]
        {
            order(sessions.begin(asked(id, epoch, &[], &[]), 0));
            assert_eq!(sessions.select(id, epoch, &[(key(0), told)]), Ok(vec![expected]), "{epoch}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let sessions = FetchSessions::new(2);
        let id = create(&sessions, 2, 0);
        let refused = |asked| match sessions.begin(asked, 0) {
            Begun::Refused(error) => error,
            other => panic!("{other:?}"),
        };
        assert_eq!(refused(asked(id ^ 1, 1, &[], &[])), ResponseError::FetchSessionIdNotFound);
        assert_eq!(refused(asked(id, 2, &[], &[])), ResponseError::InvalidFetchSessionEpoch);
        let by_id = Asked { uses_topic_ids: true, ..asked(id, 1, &[], &[]) };
        assert_eq!(refused(by_id), ResponseError::FetchSessionTopicIdError);
        order(sessions.begin(asked(id, 1, &[], &[]), 0));
        order(sessions.begin(asked(id, 2, &[], &[]), 0));
        assert_eq!(sessions.select(id, 1, &[]), Err(ResponseError::InvalidFetchSessionEpoch));
    }

    #[test]
    fn a_session_ends_when_it_is_empty_or_a_full_fetch_names_it() {
        let sessions = FetchSessions::new(2);
        let id = create(&sessions, 2, 0);
        assert_eq!(sessions.begin(asked(id, 1, &[], &[0, 1]), 0), Begun::Without(vec![]));
        assert!(sessions.sessions.lock().is_empty());
        for (epoch, begun) in [(0, Begun::Full(vec![])), (-1, Begun::Without(vec![]))] {
            let id = create(&sessions, 2, 0);
            assert_eq!(sessions.begin(asked(id, epoch, &[], &[]), 0), begun);
            assert!(sessions.sessions.lock().is_empty());
        }
    }

    #[test]
    fn stale_and_small_sessions_make_room_for_others() {
        let sessions = FetchSessions::new(2);
        let (small, big) = (create(&sessions, 2, 0), create(&sessions, 5, 0));
        assert_eq!(create(&sessions, 9, EVICTION_MS), NO_SESSION);
        // Both have had their time, and both are in use.
        for id in [small, big] {
            order(sessions.begin(asked(id, 1, &[], &[]), EVICTION_MS));
        }
        assert_eq!(create(&sessions, 2, EVICTION_MS + 1), NO_SESSION);
        assert_ne!(create(&sessions, 3, EVICTION_MS + 1), NO_SESSION);
        assert!(!sessions.sessions.lock().contains_key(&small));
        // The big one is stale.
        assert_ne!(create(&sessions, 1, EVICTION_MS * 2 + 1), NO_SESSION);
        assert!(!sessions.sessions.lock().contains_key(&big));
        assert_eq!(create(&FetchSessions::new(0), 1, 0), NO_SESSION);
    }

    #[test]
    fn epochs_come_round_to_one() {
        assert_eq!((next_epoch(0), next_epoch(i32::MAX)), (1, 1));
    }
}
