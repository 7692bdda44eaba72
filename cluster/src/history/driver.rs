//! The one task that owns the core: it takes what happened, and does what follows.
//!
//! It waits for nothing but what happens next. What must last goes to the disk in the background;
//! what nodes say goes to bounded lanes; what is for the program goes to a bounded channel.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use super::claims::Changed;
use super::disk::Disk;
use super::figures::Reigns;
use super::input::{Input, Reply};
use super::peers::Peers;
use super::rooms::Rooms;
use super::told::Teller;
use super::{HistoryConfig, Refused, Shared};
use crate::membership::Holds;
use crate::net::history::{Heard, Said};
use crate::proto::slots::{Message, NodeId, Now, Request, Settings, SlotNo, Slots};

/// How often time is passed to the core.
const TICK: Duration = Duration::from_millis(100);
/// What is taken in one turn at most; bounds how long the first waits for the last.
const TURN: usize = 1024;
/// As many as a slot's number can name.
const SLOTS: u16 = 256;
/// Entries in one message at most, and their bytes.
const FETCH: usize = 1024;
const FETCH_BYTES: usize = 1 << 20;
/// How often others are looked at though gossip says nothing new.
const LOOK_MS: u64 = 1000;
/// How long a disk may fail before others are to own this node's slots.
const FAILING: Duration = Duration::from_secs(1);

/// Something that was asked of a slot's owner.
pub(super) struct Pending {
    pub(super) slot: SlotNo,
    pub(super) answer: Reply,
    /// Bounds what is under way.
    _permit: OwnedSemaphorePermit,
}

/// What the task owns.
pub(super) struct Driver {
    pub(super) core: Slots,
    pub(super) disk: Disk,
    pub(super) teller: Teller,
    pub(super) rooms: Rooms,
    pub(super) peers: Peers,
    pub(super) reigns: Reigns,
    pub(super) shared: Arc<Shared>,
    pub(super) pending: HashMap<u64, Pending>,
    pub(super) roster: (BTreeSet<NodeId>, BTreeSet<NodeId>),
    inputs: mpsc::UnboundedReceiver<Input>,
    /// The configured size of the cluster, and what it is taken for.
    configured: u64,
    size: u64,
    last_rid: u64,
    started: Instant,
    looked_ms: u64,
    is_handing_over: bool,
    /// Until when, and who waits.
    handing_over: Vec<(u64, oneshot::Sender<usize>)>,
    closing: Option<oneshot::Sender<()>>,
}

impl Driver {
    pub(super) fn new(
        config: HistoryConfig,
        (shared, peers): (Arc<Shared>, Peers),
        (disk, teller, rooms): (Disk, Teller, Rooms),
        inputs: mpsc::UnboundedReceiver<Input>,
    ) -> Self {
        let size = config.size.max(1);
        let settings = Settings {
            slots: SLOTS,
            size,
            window_ms: config.window.as_millis() as u64,
            limits: config.limits,
            limits_of: config.limits_of,
            fetch_entries: FETCH,
            fetch_bytes: FETCH_BYTES,
        };
        let (id, stored) = ((config.node, config.boot), config.stored);
        let mut core = Slots::new(id, settings, stored, config.unclean, config.seed);
        let roster = (config.roster, config.forgotten);
        core.load_roster(roster.0.clone(), roster.1.clone());
        let mut driver = Self {
            core,
            disk,
            teller,
            rooms,
            peers,
            reigns: Reigns::default(),
            shared,
            pending: HashMap::new(),
            roster,
            inputs,
            configured: size,
            size,
            last_rid: 0,
            started: Instant::now(),
            looked_ms: 0,
            is_handing_over: false,
            handing_over: Vec::new(),
            closing: None,
        };
        driver.resize();
        driver
    }

    /// Runs until it is closed.
    pub(super) async fn run(mut self) {
        self.mark().await;
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut turn = Vec::new();
        loop {
            // All are cancel-safe.
            tokio::select! {
                count = self.inputs.recv_many(&mut turn, TURN) => {
                    if count == 0 {
                        return self.peers.leave();
                    }
                    turn.drain(..).for_each(|input| self.handle(input));
                }
                tokens = self.disk.done() => {
                    let now = self.now();
                    tokens.into_iter().for_each(|token| self.core.persisted(token, now));
                }
                () = self.peers.changed() => self.look(),
                _ = ticks.tick() => self.tick(),
            }
            self.act();
            self.disk.start(self.closing.is_some());
            if self.disk.is_idle()
                && let Some(done) = self.closing.take()
            {
                self.peers.leave();
                let _ = done.send(());
                return;
            }
        }
    }

    /// That the newest part may be missing is stored before anything else happens.
    async fn mark(&mut self) {
        self.act();
        self.disk.start(true);
        while !self.disk.is_idle() {
            self.disk.done().await;
            self.disk.start(true);
        }
        self.shared.marked.send_replace(true);
    }

    /// The present.
    pub(super) fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Now {
            ms: self.started.elapsed().as_millis() as u64,
            wall_ms: wall.unwrap_or_default().as_millis() as u64,
        }
    }

    pub(super) fn fresh(&mut self) -> u64 {
        self.last_rid += 1;
        self.last_rid
    }

    fn tick(&mut self) {
        self.teller.catch_up();
        if self.closing.is_some() {
            return;
        }
        let now = self.now();
        for (slot, room) in self.rooms.tick(now.ms) {
            self.core.leave(slot, &room, now);
        }
        let failing = self.shared.health.failing();
        let fails = failing.is_some_and(|it| it.since.elapsed() >= FAILING);
        let is_forgotten = self.shared.is_forgotten.load(Relaxed);
        self.peers.hold(match fails {
            true => Holds::Fails,
            false if self.is_handing_over || is_forgotten => Holds::No,
            false => Holds::Yes,
        });
        self.look();
        // The core has been told a later time.
        self.core.tick(self.now());
        self.act();
        self.disk.start(true);
        self.reigns.show(self.size(), &self.shared.figures);
        self.shared
            .figures
            .dropped
            .store(self.peers.dropped(), Relaxed);
        self.handed_over();
    }

    /// Looks who is there, if that may have changed.
    fn look(&mut self) {
        let now = self.now();
        let is_due = now.ms >= self.looked_ms + LOOK_MS;
        let Some(seen) = self.peers.look(now.ms, is_due) else {
            return;
        };
        self.looked_ms = now.ms;
        self.core.view(seen.view, now);
        self.claimed(seen.claims);
        for node in seen.forgotten {
            self.forget(node);
        }
    }

    fn claimed(&mut self, claims: Vec<Changed>) {
        for (node, slot, eid) in claims {
            self.core.claimed(node, slot, eid);
        }
    }

    fn forget(&mut self, node: NodeId) {
        if !self.peers.is_own(node) {
            self.core.forget(node);
        } else if !self.shared.is_forgotten.swap(true, Relaxed) {
            tracing::error!(
                node = node.0,
                "the cluster has forgotten this node: it holds no slots until it starts anew, \
                 without its data"
            );
        }
    }

    /// How many nodes the cluster has, as far as is known here.
    fn size(&self) -> u64 {
        self.size.max(self.roster.0.len() as u64)
    }

    /// A node that was to join others and never met one is not all of the cluster: what it takes
    /// meanwhile must not be called kept.
    pub(super) fn resize(&mut self) {
        let (roster, forgotten) = &self.roster;
        let others = roster.iter().filter(|id| !self.peers.is_own(**id));
        let met = others.count() > 0 || !forgotten.is_empty();
        let least = if self.peers.has_seeds() && !met { 2 } else { 1 };
        self.size = self.configured.max(least);
        self.core.resize(self.size);
    }

    /// Answers who waits for others to own this node's slots.
    fn handed_over(&mut self) {
        let now_ms = self.now().ms;
        // One that it is opening anew, with another follower, it will own.
        let owned = self.reigns.owned.len() + self.reigns.attempts();
        let is_over = owned == 0 || !self.peers.has_heirs();
        let waiting = std::mem::take(&mut self.handing_over);
        for (until_ms, done) in waiting {
            if is_over || now_ms >= until_ms {
                let _ = done.send(owned);
            } else {
                self.handing_over.push((until_ms, done));
            }
        }
    }

    fn handle(&mut self, input: Input) {
        let now = self.now();
        match input {
            Input::Ask {
                slot,
                request,
                answer,
                permit,
            } => self.ask(slot, *request, answer, permit),
            Input::Join { slot, room, answer } => {
                let rid = self.fresh();
                let join = (slot, room.clone());
                if self.rooms.join(rid, join, answer, now.ms) {
                    self.core.join(rid, slot, &room, now);
                }
            }
            Input::Left { slot, room, feed } => self.rooms.left(slot, room, &feed, now.ms),
            Input::Fed {
                slot,
                room,
                feed,
                answer,
            } => {
                let is_fed = self.rooms.has(slot, &room, &feed);
                let upto = self.core.fed_upto(slot, &room).filter(|_| is_fed);
                let _ = answer.send(upto);
            }
            Input::Heard(heard) => self.hear(heard, now),
            Input::Forget { node, done } => {
                let is_other = !self.peers.is_own(node);
                if is_other {
                    self.core.forget(node);
                }
                let _ = done.send(is_other);
            }
            Input::HandOver { patience, done } => {
                self.is_handing_over = true;
                let until_ms = now.ms + patience.as_millis() as u64;
                self.handing_over.push((until_ms, done));
            }
            Input::Status(answer) => drop(answer.send(self.status())),
            Input::Roster(answer) => {
                let roster = self.peers.roster(&self.roster.0, self.size());
                let _ = answer.send(roster);
            }
            Input::Close(done) => self.closing = Some(done),
        }
    }

    fn hear(&mut self, heard: Heard, now: Now) {
        match heard.said {
            Said::Claims(claims) => {
                let changed = self.peers.told(heard.from, &claims, now.ms);
                self.claimed(changed);
            }
            Said::Message(slot, message) => {
                // It is said again: then the disk may have caught up.
                let appends = match &*message {
                    Message::Ask { request, .. } => appends(request),
                    Message::Seal { .. }
                    | Message::Install { .. }
                    | Message::Follow { .. }
                    | Message::Fetched { .. }
                    | Message::Filled { .. }
                    | Message::Copy { .. } => true,
                    _ => false,
                };
                let fails = || self.disk.is_full() || self.shared.health.failing().is_some();
                if self.closing.is_some() || (appends && fails()) {
                    return;
                }
                self.core.message(heard.from.0, slot, *message, now);
            }
        }
    }

    fn ask(&mut self, slot: SlotNo, request: Request, answer: Reply, permit: OwnedSemaphorePermit) {
        let appends = appends(&request);
        let refused = appends && (self.disk.is_full() || self.shared.health.failing().is_some());
        if refused || self.closing.is_some() {
            return self.refuse(answer);
        }
        let rid = self.fresh();
        let pending = Pending {
            slot,
            answer,
            _permit: permit,
        };
        self.pending.insert(rid, pending);
        let now = self.now();
        self.core.ask(rid, slot, request, now);
    }

    fn refuse(&mut self, answer: Reply) {
        use crate::proto::slots::Answer;
        super::figures::add(&self.shared.figures.refused, 1);
        match answer {
            Reply::Done(answer) => drop(answer.send(Err(Refused::Unavailable))),
            Reply::Answer(answer) => drop(answer.send(Answer::Unavailable)),
        }
    }
}

/// Whether a request leads to something that must be stored, whatever is found.
pub(super) fn appends(request: &Request) -> bool {
    !matches!(request, Request::Read { .. } | Request::History { .. })
}
