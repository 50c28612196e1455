//! Sessions whose clients are away: they go on collecting QoS 1 messages (the newest of each topic) until they are taken up
//! again, expire, or are too many.

use super::{
    index::{Entry, Index, Merger, Slot},
    session::{Pending, Session},
    wire::{NEVER_EXPIRES, publish::Publication},
};
use slab::Slab;
use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

#[derive(Debug)]
pub struct Away {
    max: usize,
    sessions: Slab<Kept>,
    by_client: HashMap<Arc<str>, Slot>,
    index: Index,
    merger: Merger,
    generation: u32,
    /// The one longest away first; those that are back are passed over.
    order: VecDeque<Slot>,
    expiring: BTreeSet<(Instant, Slot)>,
}

#[derive(Debug)]
struct Kept {
    session: Box<Session>,
    generation: u32,
    expires: Option<Instant>,
}

impl Away {
    pub fn new(max: usize) -> Self {
        Self {
            max,
            sessions: Slab::new(),
            by_client: HashMap::new(),
            index: Index::default(),
            merger: Merger::default(),
            generation: 0,
            order: VecDeque::new(),
            expiring: BTreeSet::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Keeps a session; how many others were dropped for it.
    pub fn keep(&mut self, mut session: Box<Session>, now: Instant) -> usize {
        let mut forgotten = 0;
        while self.sessions.len() >= self.max {
            match self.order.pop_front() {
                Some(oldest) => forgotten += usize::from(self.remove(oldest).is_some()),
                // max_saved_sessions is 0.
                None => return forgotten + 1,
            }
        }
        session.leave();
        self.generation = self.generation.wrapping_add(1);
        let expires = (session.expiry_s != NEVER_EXPIRES)
            .then(|| now.checked_add(Duration::from_secs(session.expiry_s.into())))
            .flatten();
        let entry = self.sessions.vacant_entry();
        let slot = Slot { index: u32::try_from(entry.key()).unwrap_or(u32::MAX), generation: self.generation };
        self.by_client.insert(session.client_id.clone(), slot);
        let subscriptions = session.subscriptions.clone();
        entry.insert(Kept { session, generation: self.generation, expires });
        self.expiring.extend(expires.map(|expires| (expires, slot)));
        self.order.push_back(slot);
        for subscription in subscriptions.iter().filter(|subscription| is_own(&subscription.filter)) {
            let entry = Entry { slot, id: subscription.id, options: subscription.options };
            self.index.add(&subscription.filter, entry, |slot| is_alive(&self.sessions, slot));
        }
        self.tidy_order();
        forgotten
    }

    /// Takes a session up again, or away for good.
    pub fn take(&mut self, client_id: &str) -> Option<Box<Session>> {
        self.by_client.get(client_id).copied().and_then(|slot| self.remove(slot))
    }

    pub fn expire(&mut self, now: Instant) -> Vec<Arc<str>> {
        let mut gone = Vec::new();
        while let Some((due, slot)) = self.expiring.first().copied()
            && due <= now
        {
            self.expiring.remove(&(due, slot));
            gone.extend(self.remove(slot).map(|session| session.client_id));
        }
        gone
    }

    pub fn next_expiry(&self) -> Option<Instant> {
        self.expiring.first().map(|(due, _)| *due)
    }

    pub fn offer(&mut self, publication: &Arc<Publication>) {
        if self.sessions.is_empty() || publication.qos == 0 {
            return;
        }
        let mut lists = Vec::new();
        self.index.matching(publication.topic(), &mut lists);
        self.merger.merge(&lists);
        for (entry, more_ids) in self.merger.merged.drain(..) {
            let kept = self.sessions.get_mut(key(entry.slot)).filter(|kept| kept.generation == entry.slot.generation);
            if let Some(kept) = kept
                && entry.options.qos() > 0
            {
                kept.session.wait(Pending {
                    publication: publication.clone(),
                    qos: 1,
                    retain: entry.options.retain_as_published() && publication.retain,
                    id: entry.id,
                    more_ids: (!more_ids.is_empty()).then(|| more_ids.into()),
                });
            }
        }
    }

    fn remove(&mut self, slot: Slot) -> Option<Box<Session>> {
        if !is_alive(&self.sessions, slot) {
            return None;
        }
        let kept = self.sessions.try_remove(key(slot))?;
        self.by_client.remove(&kept.session.client_id);
        if let Some(expires) = kept.expires {
            self.expiring.remove(&(expires, slot));
        }
        for subscription in kept.session.subscriptions.iter().filter(|subscription| is_own(&subscription.filter)) {
            self.index.remove(&subscription.filter, slot);
        }
        Some(kept.session)
    }

    /// Those that are back must not pile up.
    fn tidy_order(&mut self) {
        if self.order.len() > 2 * self.sessions.len() + 64 {
            let sessions = &self.sessions;
            self.order.retain(|slot| is_alive(sessions, *slot));
            let sessions = &self.sessions;
            self.index.tidy(&|slot| is_alive(sessions, slot));
        }
    }
}

/// Shared subscriptions are others' as long as the client is away.
fn is_own(filter: &str) -> bool {
    !filter.starts_with('$')
}

fn key(slot: Slot) -> usize {
    usize::try_from(slot.index).unwrap_or(usize::MAX)
}

fn is_alive(sessions: &Slab<Kept>, slot: Slot) -> bool {
    sessions.get(key(slot)).is_some_and(|kept| kept.generation == slot.generation)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{
        session::Subscription,
        wire::{Options, Properties},
    };
    use super::*;

    fn session(client: &str, expiry_s: u32) -> Box<Session> {
        let mut session = Session::new(client.into(), expiry_s);
        for (filter, qos) in [("a/#", 1), ("a/b", 0), ("$share/g/a/b", 1)] {
            session.subscribe(Subscription { filter: filter.into(), options: Options(qos), id: 0 }, 9).unwrap();
        }
        Box::new(session)
    }

    fn publication(topic: &str, qos: u8) -> Arc<Publication> {
        Arc::new(Publication::new(topic, "x".into(), qos, false, &Properties::default()).unwrap())
    }

    #[test]
    fn qos_1_is_collected_and_taken_up() {
        let mut away = Away::new(9);
        away.keep(session("c", NEVER_EXPIRES), Instant::now());
        away.offer(&publication("a/b", 1));
        away.offer(&publication("a/c", 0));
        away.offer(&publication("b", 1));
        let mut session = away.take("c").unwrap();
        let waiting = session.outgoing().next(true).unwrap();
        assert_eq!((waiting.publication.topic(), waiting.qos), ("a/b", 1));
        assert!(session.outgoing().next(true).is_none() && away.take("c").is_none());
        away.offer(&publication("a/b", 1));
        assert_eq!(away.len(), 0);
    }

    #[test]
    fn the_one_longest_away_makes_room() {
        let mut away = Away::new(2);
        let forgotten: Vec<usize> =
            ["a", "b", "c"].into_iter().map(|client| away.keep(session(client, 60), Instant::now())).collect();
        assert_eq!(forgotten, [0, 0, 1]);
        assert!(away.take("a").is_none() && away.take("b").is_some() && away.take("c").is_some());
        assert_eq!(Away::new(0).keep(session("a", 60), Instant::now()), 1);
    }

    #[test]
    fn sessions_expire() {
        let (mut away, now) = (Away::new(9), Instant::now());
        away.keep(session("a", 10), now);
        away.keep(session("b", 5), now);
        away.keep(session("c", NEVER_EXPIRES), now);
        assert_eq!(away.next_expiry(), Some(now + Duration::from_secs(5)));
        let gone = away.expire(now + Duration::from_secs(5));
        assert_eq!(gone, ["b".into()] as [Arc<str>; 1]);
        assert_eq!((away.expire(now + Duration::from_secs(99)).len(), away.len(), away.next_expiry()), (1, 1, None));
    }
}
