//! What outlives a connection: subscriptions, and messages on their way to the client.
//!
//! An idle session holds neither. For a client that lags, the newest message of each topic waits and no older one; with QoS 1 so
//! many as the client takes at once are in flight until acknowledged. Pure.

use super::wire::{Options, publish::Publication};
use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

/// Topics that wait for one client; beyond them the one waiting longest is dropped.
pub const MAX_BACKLOG: usize = 2_048;
/// QoS 1 messages in flight to one client, however many it would take.
pub const MAX_IN_FLIGHT: u16 = 100;

#[derive(Debug)]
pub struct Session {
    pub client_id: Arc<str>,
    /// How long it outlives the connection.
    pub expiry_s: u32,
    pub subscriptions: Vec<Subscription>,
    /// `None` when nothing waits or is in flight.
    pub outgoing: Option<Box<Outgoing>>,
    /// QoS 2 messages of the client between PUBLISH and PUBREL.
    // Boxed: it is none nearly always, and each idle connection pays for its place.
    #[allow(clippy::box_collection)]
    pub received: Option<Box<BTreeSet<u16>>>,
}

#[derive(Debug, Clone)]
pub struct Subscription {
    /// As the client wrote it, `$share/…` included.
    pub filter: Arc<str>,
    pub options: Options,
    pub id: u32,
}

/// A message for one client.
#[derive(Debug, Clone)]
pub struct Pending {
    pub publication: Arc<Publication>,
    pub qos: u8,
    pub retain: bool,
    pub id: u32,
    pub more_ids: Option<Box<[u32]>>,
}

#[derive(Debug, Default)]
pub struct Outgoing {
    in_flight: VecDeque<(u16, Pending)>,
    /// So many of these, the oldest, have been sent on this connection; the others come from the one before.
    sent: usize,
    last_id: u16,
    backlog: VecDeque<Pending>,
    /// Filters whose retained messages the client has yet to get.
    pub catch_up: VecDeque<CatchUp>,
}

/// How far the retained messages of a new subscription have been sent.
#[derive(Debug)]
pub struct CatchUp {
    pub filter: Arc<str>,
    pub options: Options,
    pub id: u32,
    /// The topic sent last.
    pub after: Option<Arc<str>>,
}

impl Session {
    pub fn new(client_id: Arc<str>, expiry_s: u32) -> Self {
        Self { client_id, expiry_s, subscriptions: Vec::new(), outgoing: None, received: None }
    }

    /// Adds or changes a subscription. `Ok(true)`: the filter is new; `Err`: too many.
    pub fn subscribe(&mut self, subscription: Subscription, max: usize) -> Result<bool, ()> {
        if let Some(known) = self.subscriptions.iter_mut().find(|known| known.filter == subscription.filter) {
            *known = subscription;
            return Ok(false);
        }
        if self.subscriptions.len() >= max {
            return Err(());
        }
        // Most clients have one; growth by doubling would waste more than it saves.
        self.subscriptions.reserve_exact(1);
        self.subscriptions.push(subscription);
        Ok(true)
    }

    pub fn unsubscribe(&mut self, filter: &str) -> Option<Subscription> {
        let place = self.subscriptions.iter().position(|known| &*known.filter == filter)?;
        if let Some(outgoing) = &mut self.outgoing {
            outgoing.catch_up.retain(|catch_up| &*catch_up.filter != filter);
        }
        Some(self.subscriptions.swap_remove(place))
    }

    pub fn outgoing(&mut self) -> &mut Outgoing {
        self.outgoing.get_or_insert_default()
    }

    pub fn has_backlog(&self) -> bool {
        self.outgoing.as_ref().is_some_and(|outgoing| !outgoing.backlog.is_empty())
    }

    pub fn in_flight(&self) -> usize {
        self.outgoing.as_ref().map_or(0, |outgoing| outgoing.in_flight.len())
    }

    /// Lets the newest message of a topic wait in place of older ones; `true`: a message was dropped for it.
    pub fn wait(&mut self, pending: Pending) -> bool {
        self.outgoing().wait(pending)
    }

    /// Takes the acknowledged message off; `false`: it was not in flight.
    pub fn acknowledged(&mut self, packet_id: u16) -> bool {
        let Some(outgoing) = &mut self.outgoing else { return false };
        let Some(place) = outgoing.in_flight.iter().position(|(id, _)| *id == packet_id) else { return false };
        outgoing.in_flight.remove(place);
        outgoing.sent -= usize::from(place < outgoing.sent);
        true
    }

    /// The connection has gone: what QoS 0 promised ends with it.
    pub fn leave(&mut self) {
        if let Some(outgoing) = &mut self.outgoing {
            outgoing.backlog.retain(|pending| pending.qos > 0);
            outgoing.catch_up.clear();
            outgoing.sent = 0;
        }
        self.tidy();
    }

    /// Back to nothing when nothing is on its way.
    pub fn tidy(&mut self) {
        if self.outgoing.as_ref().is_some_and(|outgoing| outgoing.is_empty()) {
            self.outgoing = None;
        }
    }
}

impl Outgoing {
    fn is_empty(&self) -> bool {
        self.in_flight.is_empty() && self.backlog.is_empty() && self.catch_up.is_empty()
    }

    fn wait(&mut self, pending: Pending) -> bool {
        let hash = pending.publication.topic_hash;
        let older = self.backlog.iter_mut().find(|older| {
            older.publication.topic_hash == hash && older.publication.topic() == pending.publication.topic()
        });
        if let Some(older) = older {
            *older = pending;
            return true;
        }
        let full = self.backlog.len() >= MAX_BACKLOG;
        if full {
            self.backlog.pop_front();
        }
        self.backlog.push_back(pending);
        full
    }

    /// The message waiting longest that may go now.
    pub fn next(&mut self, has_window: bool) -> Option<Pending> {
        let place = self.backlog.iter().position(|pending| has_window || pending.qos == 0)?;
        self.backlog.remove(place)
    }

    /// Gives the message a packet id and keeps it until it is acknowledged.
    pub fn fly(&mut self, pending: Pending) -> u16 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            // At most MAX_IN_FLIGHT are taken.
            if self.in_flight.iter().all(|(id, _)| *id != self.last_id) {
                break;
            }
        }
        // Whoever has a place in the window for it has been sent all the others.
        self.in_flight.push_back((self.last_id, pending));
        self.sent = self.in_flight.len();
        self.last_id
    }

    /// The next unacknowledged message that this connection has to be sent again (4.4), as far as its window allows (3.3.4).
    pub fn again(&mut self, window: usize) -> Option<(u16, Pending)> {
        let next = self.in_flight.get(self.sent).filter(|_| self.sent < window)?;
        self.sent += 1;
        Some(next.clone())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::wire::Properties;
    use super::*;

    fn session() -> Session {
        Session::new("c".into(), 0)
    }

    fn pending(topic: &str, payload: &'static str, qos: u8) -> Pending {
        let publication = Publication::new(topic, payload.into(), qos, false, &Properties::default()).unwrap();
        Pending { publication: Arc::new(publication), qos, retain: false, id: 0, more_ids: None }
    }

    fn payload(pending: Option<Pending>) -> Option<String> {
        pending.map(|pending| String::from_utf8(pending.publication.payload.to_vec()).unwrap())
    }

    #[test]
    fn only_the_newest_of_a_topic_waits() {
        let mut session = session();
        assert!(
            !session.wait(pending("a", "1", 1))
                && !session.wait(pending("b", "2", 1))
                && session.wait(pending("a", "3", 1))
        );
        let outgoing = session.outgoing();
        assert_eq!(payload(outgoing.next(true)).as_deref(), Some("3"));
        assert_eq!(payload(outgoing.next(true)).as_deref(), Some("2"));
        assert_eq!(payload(outgoing.next(true)), None);
    }

    #[test]
    fn a_backlog_is_bounded() {
        let mut session = session();
        for topic in 0..MAX_BACKLOG {
            assert!(!session.wait(pending(&topic.to_string(), "x", 0)));
        }
        assert!(session.wait(pending("one more", "x", 0)));
        assert_eq!(session.outgoing().next(true).unwrap().publication.topic(), "1");
        assert_eq!(session.outgoing().backlog.len(), MAX_BACKLOG - 1);
    }

    #[test]
    fn a_full_window_holds_back_qos_1_only() {
        let mut session = session();
        session.wait(pending("a", "1", 1));
        session.wait(pending("b", "0", 0));
        assert_eq!(payload(session.outgoing().next(false)).as_deref(), Some("0"));
        assert_eq!(payload(session.outgoing().next(false)), None);
        session.leave();
        assert!(session.has_backlog());
    }

    #[test]
    fn packet_ids_go_round_past_those_in_flight() {
        let mut session = session();
        let outgoing = session.outgoing();
        assert_eq!(outgoing.fly(pending("a", "1", 1)), 1);
        outgoing.last_id = u16::MAX;
        assert_eq!(outgoing.fly(pending("a", "2", 1)), 2);
        assert!(session.acknowledged(2) && !session.acknowledged(2) && !session.acknowledged(9));
        assert_eq!(session.in_flight(), 1);
        assert!(session.acknowledged(1));
        session.tidy();
        assert!(session.outgoing.is_none());
    }

    #[test]
    fn a_smaller_window_is_kept_when_a_client_comes_back() {
        let mut session = session();
        for number in ["1", "2", "3"] {
            session.outgoing().fly(pending(number, number, 1));
        }
        assert!(session.outgoing().again(9).is_none(), "all have been sent on this connection");
        session.leave();
        let again = |session: &mut Session| session.outgoing().again(2).map(|(id, _)| id);
        assert_eq!([again(&mut session), again(&mut session), again(&mut session)], [Some(1), Some(2), None]);
        assert!(session.acknowledged(2));
        assert_eq!([again(&mut session), again(&mut session)], [Some(3), None]);
        assert!(session.acknowledged(3) && session.acknowledged(1) && again(&mut session).is_none());
    }

    #[test]
    fn subscriptions_are_bounded_and_replaced() {
        let mut session = session();
        let subscription = |filter: &str, id| Subscription { filter: filter.into(), options: Options(1), id };
        assert_eq!(session.subscribe(subscription("a", 0), 1), Ok(true));
        assert_eq!(session.subscribe(subscription("a", 7), 1), Ok(false));
        assert_eq!(session.subscribe(subscription("b", 0), 1), Err(()));
        assert_eq!(session.unsubscribe("a").map(|subscription| subscription.id), Some(7));
        assert!(session.unsubscribe("a").is_none());
    }
}
