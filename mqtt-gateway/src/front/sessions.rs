//! Who is here: client ids to slots of the hub, take-over, and what is kept of clients that left.
//!
//! The hub keeps something for every client name that it has ever seen, so it only sees slot names, which are used again. A
//! freed slot may hold an old session there: it is dirty, and wiped before it serves a session that is to be kept.

use crate::config::Limits;
use parking_lot::Mutex;
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};
use tokio_util::sync::CancellationToken;

#[derive(Debug)]
pub struct Sessions {
    max_saved: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    live: HashMap<String, Live>,
    saved: HashMap<String, Saved>,
    /// Client ids of `saved`, the longest away first.
    leaving_order: VecDeque<String>,
    free_wiped: Vec<u32>,
    free_dirty: Vec<u32>,
    next_slot: u32,
}

#[derive(Debug, Clone)]
struct Live {
    /// Ends the connection that has the client id now.
    take_over: CancellationToken,
    /// Cancelled once it has let go of it.
    left: CancellationToken,
}

#[derive(Debug)]
struct Saved {
    slot: u32,
    filters: Vec<(String, u8)>,
}

/// The right to be this client until dropped.
#[derive(Debug)]
pub struct Lease {
    sessions: Arc<Sessions>,
    client_id: String,
    clean_session: bool,
    slot: u32,
    /// The hub holds another's old session in this slot.
    pub must_wipe: bool,
    live: Live,
    /// The session's filters with their QoS: remembered ones at first, then kept by the connection.
    pub filters: Vec<(String, u8)>,
}

impl Sessions {
    pub fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self { max_saved: limits.max_saved_sessions, state: Mutex::default() })
    }

    /// Makes this connection the client; an older one with the same id is told to go, and waited for (3.1.4).
    pub async fn enter(self: &Arc<Self>, client_id: &str, clean_session: bool) -> Lease {
        loop {
            let older = match self.try_enter(client_id, clean_session) {
                Ok(lease) => return lease,
                Err(older) => older,
            };
            older.take_over.cancel();
            older.left.cancelled().await;
        }
    }

    pub fn connected(&self) -> usize {
        self.state.lock().live.len()
    }

    fn try_enter(self: &Arc<Self>, client_id: &str, clean_session: bool) -> Result<Lease, Live> {
        let mut state = self.state.lock();
        if let Some(older) = state.live.get(client_id) {
            return Err(older.clone());
        }
        let live = Live { take_over: CancellationToken::new(), left: CancellationToken::new() };
        state.live.insert(client_id.to_owned(), live.clone());
        let (slot, dirty, filters) = state.slot_for(client_id, clean_session);
        let (sessions, client_id) = (self.clone(), client_id.to_owned());
        Ok(Lease { sessions, client_id, clean_session, slot, must_wipe: dirty && !clean_session, live, filters })
    }

    fn leave(&self, lease: &mut Lease) {
        let mut state = self.state.lock();
        state.live.remove(&lease.client_id);
        if lease.clean_session || self.max_saved == 0 {
            state.free(lease.slot, lease.clean_session);
        } else {
            if state.saved.len() >= self.max_saved {
                state.forget_oldest();
            }
            let saved = Saved { slot: lease.slot, filters: std::mem::take(&mut lease.filters) };
            state.saved.insert(lease.client_id.clone(), saved);
            state.leaving_order.push_back(lease.client_id.clone());
        }
        lease.live.left.cancel();
    }
}

impl State {
    /// Slot, whether it is dirty, and the filters of a saved session.
    fn slot_for(&mut self, client_id: &str, clean_session: bool) -> (u32, bool, Vec<(String, u8)>) {
        if let Some(saved) = self.saved.remove(client_id) {
            self.leaving_order.retain(|other| other != client_id);
            return (saved.slot, false, if clean_session { Vec::new() } else { saved.filters });
        }
        if let Some(slot) = self.free_dirty.pop() {
            return (slot, true, Vec::new());
        }
        let slot = self.free_wiped.pop().unwrap_or_else(|| {
            self.next_slot += 1;
            self.next_slot
        });
        (slot, false, Vec::new())
    }

    fn free(&mut self, slot: u32, wiped: bool) {
        if wiped { self.free_wiped.push(slot) } else { self.free_dirty.push(slot) }
    }

    fn forget_oldest(&mut self) {
        if let Some(oldest) = self.leaving_order.pop_front()
            && let Some(saved) = self.saved.remove(&oldest)
        {
            self.free(saved.slot, false);
            metrics::counter!("tifo_mqtt_sessions_forgotten_total").increment(1);
        }
    }
}

impl Lease {
    /// The hub's name for this session.
    pub fn slot(&self) -> String {
        format!("s{}", self.slot)
    }

    /// Cancelled when another connection comes with this client id.
    pub fn taken_over(&self) -> CancellationToken {
        self.live.take_over.clone()
    }

    /// Keeps a granted filter, the newest QoS counting; `false`: too many.
    pub fn add_filter(&mut self, filter: &str, qos: u8, max_filters: usize) -> bool {
        if let Some(known) = self.filters.iter_mut().find(|(known, _)| known == filter) {
            known.1 = qos;
            return true;
        }
        let room = self.filters.len() < max_filters;
        if room {
            self.filters.push((filter.to_owned(), qos));
        }
        room
    }

    /// `false` if it was not subscribed.
    pub fn remove_filter(&mut self, filter: &str) -> bool {
        let before = self.filters.len();
        self.filters.retain(|(known, _)| known != filter);
        self.filters.len() < before
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let sessions = self.sessions.clone();
        sessions.leave(self);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions(max_saved_sessions: usize) -> Arc<Sessions> {
        Sessions::new(&Limits { max_saved_sessions, ..Limits::default() })
    }

    #[tokio::test]
    async fn clean_slots_are_used_again() {
        let sessions = sessions(10);
        for client in ["a", "b", "c/d"] {
            assert_eq!(sessions.enter(client, true).await.slot(), "s1");
        }
    }

    #[tokio::test]
    async fn a_saved_session_keeps_slot_and_filters_until_a_clean_one() {
        let sessions = sessions(10);
        let mut lease = sessions.enter("a", false).await;
        assert!(lease.add_filter("x/#", 1, 10));
        let slot = lease.slot();
        drop(lease);
        assert_ne!(sessions.enter("b", false).await.slot(), slot);
        let lease = sessions.enter("a", false).await;
        assert_eq!((lease.slot(), lease.filters.clone()), (slot.clone(), vec![("x/#".to_owned(), 1)]));
        drop(lease);
        let lease = sessions.enter("a", true).await;
        assert_eq!((lease.slot(), lease.filters.clone()), (slot, vec![]));
    }

    #[tokio::test]
    async fn beyond_the_limit_the_longest_away_is_forgotten_and_its_slot_is_wiped_for_the_next() {
        let sessions = sessions(1);
        let first = sessions.enter("a", false).await.slot();
        drop(sessions.enter("b", false).await);
        assert_eq!(sessions.state.lock().saved.len(), 1);
        let next = sessions.enter("c", false).await;
        assert!(next.slot() == first && next.must_wipe);
    }

    #[tokio::test]
    async fn take_over_waits_for_the_older_connection() {
        let sessions = sessions(1);
        let older = sessions.enter("a", true).await;
        let newer = tokio::spawn({
            let sessions = sessions.clone();
            async move { sessions.enter("a", true).await.slot() }
        });
        older.taken_over().cancelled().await;
        assert_eq!(sessions.connected(), 1);
        drop(older);
        assert_eq!(newer.await.ok(), Some("s1".into()));
        assert_eq!(sessions.connected(), 0);
    }

    #[tokio::test]
    async fn filters_per_client_are_bounded() {
        let mut lease = sessions(1).enter("a", true).await;
        assert!(lease.add_filter("x", 0, 1) && lease.add_filter("x", 1, 1) && !lease.add_filter("y", 0, 1));
        assert!(lease.remove_filter("x") && !lease.remove_filter("x"));
    }
}
