//! What the workers share: who is connected where, sessions that are away, retained messages, and each worker's mailbox.
//!
//! Every publication goes through [`Spine::publish`] under one lock: retained state, sessions away, shared groups, mailboxes.
//! A worker that needs to see this state and its own at one point of the stream takes the lock when its mailbox is empty
//! ([`Spine::settled`]); so a session moves between workers, and a newcomer gets retained messages, without losing a message and
//! without an older one after a newer one.
//!
//! Lock order: state, then a mailbox. Nothing waits for a socket under either.

use super::{
    away::Away,
    inbound::{Answer, Lanes, Request},
    index::Slot,
    retained::Retained,
    session::{Pending, Session},
    shares::{Member, Place, Shares},
    socket::Waker,
    stats::Counters,
    wire::{Reason, publish::Publication},
};
use crate::config::Limits;
use parking_lot::{Mutex, MutexGuard};
use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    io,
    os::fd::OwnedFd,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Publications that wait for one worker; a publisher waits for room.
const MAX_MAILBOX: usize = 4_096;

/// A publication on its way to a worker.
#[derive(Debug)]
pub enum Mail {
    /// For all its subscribers.
    All(Arc<Publication>),
    /// For one member of a shared subscription.
    One { slot: Slot, shared: Arc<str>, pending: Pending },
}

#[derive(Debug)]
pub enum Command {
    /// Another connection has come with this client's id: let go of it, then tell `waiting` to try again.
    TakeOver {
        slot: Slot,
        waiting: Place,
    },
    Retry(Slot),
    Answer(Answer, Reason, Option<Box<str>>),
    /// A WebSocket opened elsewhere, and what has been read from it since.
    Adopt {
        socket: OwnedFd,
        read: Vec<u8>,
    },
    Drain(Option<Arc<str>>),
    Stop,
}

#[derive(Debug)]
struct Mailbox {
    mail: Mutex<VecDeque<Mail>>,
    commands: Mutex<VecDeque<Command>>,
    waker: Waker,
}

#[derive(Debug)]
pub struct Spine {
    state: Mutex<State>,
    mailboxes: Vec<Mailbox>,
    /// A mailbox has been emptied.
    room: Notify,
    /// Something falls due earlier than before.
    pub due: Notify,
    inbound: Lanes,
    pub limits: Limits,
    pub publish_prefixes: Vec<String>,
    pub counters: Counters,
    /// Nobody takes mail any more.
    pub shutdown: CancellationToken,
}

#[derive(Debug)]
pub struct State {
    pub retained: Retained,
    pub away: Away,
    pub shares: Shares,
    clients: HashMap<Arc<str>, Place>,
    /// Each filter once, however many have it.
    filters: HashSet<Arc<str>>,
    wills: Wills,
}

/// Wills that wait for their delay (3.1.3.2.2 of MQTT 5).
#[derive(Debug, Default)]
struct Wills {
    by_time: BTreeMap<(Instant, u64), (Arc<str>, Publication)>,
    by_client: HashMap<Arc<str>, (Instant, u64)>,
    number: u64,
}

/// What a client finds as it comes.
#[derive(Debug)]
pub enum Entered {
    /// Another connection has its id.
    Busy(Place),
    New(Arc<str>),
    Resumed(Box<Session>),
}

impl Spine {
    pub fn new(limits: Limits, publish_prefixes: Vec<String>, workers: usize, inbound: Lanes) -> io::Result<Self> {
        let mailbox = |_| Ok(Mailbox { mail: Mutex::default(), commands: Mutex::default(), waker: Waker::new()? });
        Ok(Self {
            state: Mutex::new(State {
                retained: Retained::new(limits.max_retained_topics, limits.max_client_topics),
                away: Away::new(limits.max_saved_sessions),
                shares: Shares::default(),
                clients: HashMap::new(),
                filters: HashSet::new(),
                wills: Wills::default(),
            }),
            mailboxes: (0..workers).map(mailbox).collect::<io::Result<_>>()?,
            room: Notify::new(),
            due: Notify::new(),
            inbound,
            limits,
            publish_prefixes,
            counters: Counters::default(),
            shutdown: CancellationToken::new(),
        })
    }

    /// Gives the messages to all subscribers; waits while a worker is far behind.
    pub async fn publish(&self, publications: &[Arc<Publication>]) {
        for chunk in publications.chunks(MAX_MAILBOX) {
            self.wait_for_room().await;
            self.push(chunk);
        }
    }

    fn push(&self, publications: &[Arc<Publication>]) {
        let mut state = self.state.lock();
        for publication in publications {
            if !state.retained.update(publication) {
                metrics::counter!("tifo_mqtt_rejections_total", "reason" => "too_many_topics").increment(1);
            }
            state.away.offer(publication);
            for mailbox in &self.mailboxes {
                mailbox.put(Mail::All(publication.clone()));
            }
            for (shared, member) in state.shares.pick(publication) {
                self.put_for_member(shared, member, publication);
            }
        }
    }

    /// A member has gone before its message came: another's turn.
    pub fn share_again(&self, shared: Arc<str>, publication: &Arc<Publication>) {
        let mut state = self.state.lock();
        if let Some(member) = state.shares.pick_from(&shared) {
            self.put_for_member(shared, member, publication);
        }
    }

    fn put_for_member(&self, shared: Arc<str>, member: Member, publication: &Arc<Publication>) {
        let Some(mailbox) = self.mailbox(member.place.worker) else { return };
        let pending = Pending {
            publication: publication.clone(),
            qos: member.options.qos().min(publication.qos),
            retain: member.options.retain_as_published() && publication.retain,
            id: member.id,
            more_ids: None,
        };
        mailbox.put(Mail::One { slot: member.place.slot, shared, pending });
    }

    async fn wait_for_room(&self) {
        while !self.shutdown.is_cancelled() {
            let room = self.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            if self.mailboxes.iter().all(|mailbox| mailbox.mail.lock().len() < MAX_MAILBOX) {
                return;
            }
            tokio::select! {
                () = room => {}
                () = self.shutdown.cancelled() => {}
            }
        }
    }

    /// The state, if all mail of the worker has been taken out and is in `mail`; else none, and there is more in `mail`.
    pub fn settled(&self, worker: u16, mail: &mut VecDeque<Mail>) -> Option<MutexGuard<'_, State>> {
        let state = self.state.lock();
        self.take_mail(worker, mail);
        mail.is_empty().then_some(state)
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    pub fn take_mail(&self, worker: u16, mail: &mut VecDeque<Mail>) {
        let Some(mailbox) = self.mailbox(worker) else { return };
        let was_full = {
            let mut waiting = mailbox.mail.lock();
            let was_full = waiting.len() >= MAX_MAILBOX;
            mail.append(&mut waiting);
            was_full
        };
        if was_full {
            self.room.notify_waiters();
        }
    }

    pub fn take_commands(&self, worker: u16) -> VecDeque<Command> {
        self.mailbox(worker).map(|mailbox| std::mem::take(&mut *mailbox.commands.lock())).unwrap_or_default()
    }

    pub fn command(&self, worker: u16, command: Command) {
        if let Some(mailbox) = self.mailbox(worker) {
            mailbox.commands.lock().push_back(command);
            mailbox.waker.wake();
        }
    }

    pub fn command_all(&self, command: impl Fn() -> Command) {
        for worker in 0..self.workers() {
            self.command(worker, command());
        }
    }

    pub fn workers(&self) -> u16 {
        u16::try_from(self.mailboxes.len()).unwrap_or(u16::MAX)
    }

    pub fn waker(&self, worker: u16) -> Option<&Waker> {
        self.mailbox(worker).map(|mailbox| &mailbox.waker)
    }

    fn mailbox(&self, worker: u16) -> Option<&Mailbox> {
        self.mailboxes.get(usize::from(worker))
    }

    /// May clients publish to `topic`?
    pub fn may_publish(&self, topic: &str) -> bool {
        self.publish_prefixes.iter().any(|prefix| topic.starts_with(prefix.as_str()))
    }

    /// Hands a client's message on; `false`: too many wait.
    pub fn submit(&self, request: Request) -> bool {
        self.counters.received.fetch_add(1, Ordering::Relaxed);
        self.inbound.submit(request)
    }

    /// Sends a will now or later, unless the client comes back before.
    pub fn will(&self, client_id: &Arc<str>, publication: Publication, at: Option<Instant>) {
        if let Some(at) = at {
            let mut state = self.state.lock();
            if state.wills.by_time.len() < self.limits.max_saved_sessions {
                state.wills.put(client_id.clone(), publication, at);
                self.due.notify_one();
                return;
            }
        }
        if !self.submit(Request { client_id: client_id.clone(), publication, answer: None }) {
            metrics::counter!("tifo_mqtt_rejections_total", "reason" => "inbound_full").increment(1);
        }
    }

    /// Lets sessions expire and sends wills that are due; when to look again.
    pub fn look_at_time(&self, now: Instant) -> Option<Instant> {
        let (wills, next) = {
            let mut state = self.state.lock();
            state.away.expire(now);
            (state.wills.due(now), state.next_due())
        };
        for (client_id, publication) in wills {
            self.will(&client_id, publication, None);
        }
        next
    }
}

impl Mailbox {
    fn put(&self, mail: Mail) {
        let mut waiting = self.mail.lock();
        waiting.push_back(mail);
        if waiting.len() == 1 {
            self.waker.wake();
        }
    }
}

impl State {
    /// Makes `place` the client, unless another connection is.
    pub fn enter(&mut self, client_id: &str, clean_start: bool, place: Place) -> Entered {
        if let Some(other) = self.clients.get(client_id) {
            return Entered::Busy(*other);
        }
        self.wills.returned(client_id, clean_start);
        let session = self.away.take(client_id).filter(|_| !clean_start);
        let client_id = session.as_ref().map_or_else(|| client_id.into(), |session| session.client_id.clone());
        self.clients.insert(client_id.clone(), place);
        match session {
            Some(session) => Entered::Resumed(session),
            None => Entered::New(client_id),
        }
    }

    /// The connection ends; its session stays behind if it is to. How many sessions were forgotten for it.
    pub fn leave(&mut self, session: Box<Session>, place: Place) -> usize {
        if self.clients.get(&session.client_id) == Some(&place) {
            self.clients.remove(&session.client_id);
        }
        for subscription in
            session.subscriptions.iter().filter(|subscription| subscription.filter.starts_with("$share/"))
        {
            self.shares.leave(&subscription.filter, place);
        }
        if session.expiry_s > 0 { self.away.keep(session, Instant::now()) } else { 0 }
    }

    /// The one shared copy of a filter; `None`: too many different ones.
    pub fn intern(&mut self, filter: &str, max: usize) -> Option<Arc<str>> {
        if let Some(known) = self.filters.get(filter) {
            return Some(known.clone());
        }
        if self.filters.len() >= max {
            self.filters.retain(|known| Arc::strong_count(known) > 1);
        }
        if self.filters.len() >= max {
            return None;
        }
        let filter: Arc<str> = filter.into();
        self.filters.insert(filter.clone());
        Some(filter)
    }

    fn next_due(&self) -> Option<Instant> {
        [self.away.next_expiry(), self.wills.next()].into_iter().flatten().min()
    }
}

impl Wills {
    fn put(&mut self, client_id: Arc<str>, publication: Publication, at: Instant) {
        self.number += 1;
        self.by_client.insert(client_id.clone(), (at, self.number));
        self.by_time.insert((at, self.number), (client_id, publication));
    }

    /// The client is back: no will, unless its session ends by that.
    fn returned(&mut self, client_id: &str, ends_session: bool) {
        let Some(key) = self.by_client.remove(client_id) else { return };
        if let Some(will) = self.by_time.remove(&key)
            && ends_session
        {
            self.by_time.insert((Instant::now(), key.1), will);
        }
    }

    fn due(&mut self, now: Instant) -> Vec<(Arc<str>, Publication)> {
        let mut due = Vec::new();
        while let Some(entry) = self.by_time.first_entry()
            && entry.key().0 <= now
        {
            let (client_id, publication) = entry.remove();
            self.by_client.remove(&client_id);
            due.push((client_id, publication));
        }
        due
    }

    fn next(&self) -> Option<Instant> {
        self.by_time.first_key_value().map(|((at, _), _)| *at)
    }
}
