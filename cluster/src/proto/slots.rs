//! PURE: recoverable rooms across nodes.
//!
//! Who owns a slot, what an append promises, how listeners are fed, how a client is recovered. The
//! rules are those of `docs/` (recovery); no clock, no randomness, no I/O: the edge says what
//! happened, then does the [`Action`]s, in order. What must last comes as [`Action::Store`]
//! (flushed)
//! or [`Action::Sync`] (written through), and what depends on it is not sent before
//! [`Slots::persisted`]. A cluster of one is the same code; what a node says to itself never
//! leaves it.
//!
//! | module | what it is |
//! |---|---|
//! | `hash` | room → tag → slot; the order of nodes for a slot |
//! | `ids`, `entry`, `chain` | names of epochs and places; entries; the epochs of a branch |
//! | `log` | one slot's log: append, adopt, fill, trim, check, read |
//! | `machine` | one slot on one node; `open` opens it, `sealed` is asked to let it be opened |
//! | `owner`, `records` | what an owner does: append, commit, answer; records of connections |
//! | `feed`, `listen` | entries on their way to nodes with listeners |
//! | `fill` | older entries come in the background |
//! | `trigger` | when a slot is opened |
//! | `ask` | requests of this node, until some owner has done them |
//! | `recover` | from a record and a cursor to what is to be read |
//! | `message`, `wire` | what nodes say to each other, and as bytes |
//! | [`rows`] | what is stored, as bytes |
//!
//! # Where this differs from recovery.md
//!
//! What the simulation showed; each is a rule in `rules`, and most were found as a failed seed.
//!
//! *OPEN*
//! - **A restart voids the promise for all but refusing.** `promise = e` outlives a restart,
//!   the copies made since may not: a late, repeated `Follow` made a node that had lost power
//!   follow `e` again from its start, no longer suspect. A node that restarted refuses `e`;
//!   the opener tries a higher one.
//! - **A node that restarted serves none either.** An opener that was killed before it had stored
//!   what it was opening on gave its old log to the follower that fetched from it, which dropped
//!   what it had of a kept epoch.
//! - **A suspect node serves no base**, even one chosen before it lost power.
//! - **A copy of R counts in step 4 only with `R.eid` in its chain.** An epoch that is not
//!   kept clears `suspect` (a CUT, its other copy down); at the next one that node passed for
//!   an intact copy of R, and a kept CUT lost the other.
//! - **The chain need not be fsynced**, if it is stored in one piece with the entries: after a
//!   power cut the log is suspect, and nobody asks for its chain. One write through less per
//!   OPEN.
//! - **The basis carries stubs of all entries that are filled up later.** Else their ids are
//!   unknown to the new owner for a while (invariant 8).
//! - **An epoch is for a size.** If the roster grows, the owner opens again, so that a quorum
//!   of the larger cluster knows who held the slot; nodes that had just joined could be a
//!   quorum that knew of no R. Healthy, for adding the next node, includes this. All that are
//!   sealed say their `n`.
//! - **An epoch that is not kept is opened again** (with back-off) once a quorum is alive.
//! - **A node that was stopped waits for a quorum.** It goes on with a view in which all others are
//!   dead, until it has heard of them again; what it opened alone would answer that clients are not
//!   known who came in elsewhere meanwhile. So for three seconds it opens only with the promises of
//!   a quorum, if it saw one before; what it was opening before is given up.
//! - **No catching up before a take-over**: step 3 fetches what is missing, up to a limit, and
//!   the rest is filled up; reads that need it wait. Stretches below a gap are kept, and
//!   served to others.
//! - Numbers after a CUT need not be above those before: no two epochs are compared by number.
//!   It is done all the same.
//!
//! *Append*
//! - **A gap at the follower is not a refusal**: the owner sends again. Only a follower that
//!   follows no more refuses.
//! - **An owner that closes stores what it has added.** An entry of the same turn was in its memory
//!   and not on its disk, and the next epoch began after it.
//! - **Owners say once a second what they hold**, one message per follower: else a follower
//!   that was restarted or sealed is not noticed until the next append.
//!
//! *Feed, cursor, recover*
//! - **A stream is of one epoch.** A late request opened the same stream at the next owner,
//!   and its numbers fitted.
//! - **Answers to joins are counted.** One to a join before a leave was taken for that of the join
//!   after it, and what came between was not fed.
//! - **A place may be named by a later epoch** of the same branch, as a chain remembers only so many:
//!   `Position`s are in the order of their numbers, and `valid` has no lower bound by epoch. When
//!   a record is put, places in rooms that have been fed here without a break are named anew; an
//!   owner writes that if it is worth it, and `Action::Renew` asks for it where the record's own
//!   slot was quiet. So a socket can be recovered however long it is connected, if its last event
//!   was in one of the epochs that are remembered, or there was none.
//! - **The start and the cursor must both be on the branch**, not only the later: the order of
//!   two positions says nothing if the log forked between them. On a live socket each entry's
//!   position replaces that of its slot.
//! - **A recovered socket's cursor goes on from the one presented**, also for slots in which
//!   the record has no room.
//! - **A client goes on only with a feed that has been where the client was.** The slot's owner
//!   said that nothing was missed after (e7, 88), and was replaced; the feed stood at (e6, 86)
//!   and went on with an e8 that lacks e7. A feed proves what is before its own position, no
//!   more: then it need not matter who answers a read, nor in which epoch. So whoever joins a
//!   room is told where its owner is now, also if the room is fed already and all is quiet.
//! - **An offset carries where its socket's record was written last** (that may be left out if
//!   the cursor's entry of the record's slot says as much, as it does for a user's own rooms).
//!   A record that lacks it has another history, and the client is told `false`.
//! - **A room is left when that is committed.** Until then its events are delivered: otherwise
//!   the cursor goes on in other rooms of the slot, and a client that comes back before has a
//!   gap in the room it is still in. (One node's form has this, too.)
//! - **That a position is not known is said once an entry is committed**, as with a record: an owner
//!   that was stopped has not heard of the epochs that others have opened since.
//!
//! *Records*
//! - **`version` alone does not order puts**: an old home with several changes waiting passed
//!   a take. A home's own changes are counted; another home's put is never written over what
//!   is there.
//! - **The count of changes goes on when a record is taken.** It began anew; a take that came again,
//!   late, took the record back, and an old put that came again after it undid a kept subscribe.
//! - **Forks are told.** A put says where the record was taken and last written. If that is
//!   not on this branch, and the record is at another home or was taken twice, it is deleted
//!   and both homes close. A record that is unknown is never put again. After a CUT a home
//!   closes.
//! - **Put again on every change of the owner that is heard of**, and once more if a write was
//!   under way meanwhile: the surviving epoch may have the lower name.
//! - **Where nothing is kept, a recovery may restore what an older record says.** Whoever
//!   changed rooms elsewhere meanwhile, and has had no event since, is told at the heal only.
//! - **A home whose record is lost, after a write that is not kept, voids its client's offset**
//!   before it closes: a third side knew no record, and the client came back when a fourth had it
//!   as it was before; the home was gone by then. The client takes any string at an event's end
//!   for an offset, the name of an event without more, too; it must be a new one, as one that is
//!   `stale` is ignored. So does a home that is cut off from a room: it closes, and does not live to
//!   hear of its record.

mod action;
mod ask;
mod beat;
mod chain;
mod context;
mod copying;
mod dispatch;
mod entry;
mod feed;
mod fetch;
mod fill;
mod follow;
mod hash;
mod ids;
mod listen;
mod log;
mod look;
mod machine;
mod message;
mod open;
mod owner;
#[cfg(test)]
pub(crate) mod peek;
mod piece;
mod reading;
mod records;
mod recover;
pub mod rows;
mod rules;
#[cfg(test)]
mod samples;
mod sealed;
mod trigger;
mod wire;

use std::collections::{BTreeMap, BTreeSet};

pub use action::{Action, Token};
pub use chain::{Chain, MAX_EPOCHS};
pub use context::View;
pub use entry::{Body, Entry, Home, Kept, MAX_EVENT, MAX_NAME, Pid, Record, Room, SlotNo};
pub use hash::{rendezvous, slot_of, slot_of_tag, tag};
pub use ids::{Eid, NodeId, Now, Position};
pub use log::{After, Basis, Invalid, Limits, LimitsOf, Rest, RoomLimits, Stored, Write};
pub use look::{Look, Owned};
pub use message::{Answer, Message, Reign, Request, Sealed};
pub use recover::{Cursor, Presented, Recovery, Step};
pub(crate) use rules::{Rule, Rules};
pub use wire::Malformed;

use ask::Asked;
use context::{Context, Then};
use listen::Listening;
use machine::Machine;

/// How a node takes part.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many slots there are: 256, fewer in tests.
    pub slots: u16,
    /// The configured size of the cluster.
    pub size: u64,
    /// How long a client can come back, milliseconds.
    pub window_ms: u64,
    /// How much of a slot is kept.
    pub limits: Limits,
    /// How much of each room.
    pub limits_of: LimitsOf,
    /// Entries in one message at most.
    pub fetch_entries: usize,
    /// Bytes of what goes into one message together; a single thing may be larger.
    pub fetch_bytes: usize,
}

/// What is stored of one slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredSlot {
    /// See [`Action::Sync`].
    pub promise: Eid,
    /// See [`Action::Sync`].
    pub record: Option<Reign>,
    /// See [`Action::Store`].
    pub log: Stored,
}

/// All slots on one node.
#[derive(Clone, Debug)]
pub struct Slots {
    context: Context,
    numbers: Numbers,
    machines: Vec<Machine>,
    /// What this node hears of slots.
    listening: BTreeMap<SlotNo, Listening>,
    /// What this node has asked and not been told.
    asked: BTreeMap<u64, Asked>,
    /// When to look at each of them again.
    due: BTreeSet<(u64, u64)>,
    /// The epoch that was told to the edge, by slot.
    epochs: Vec<Option<Eid>>,
    /// The counter of the epoch when records were last put again for a slot's sake.
    renewed: Vec<Option<u64>>,
    beat_ms: u64,
    /// Slots that were touched since the last actions.
    touched: BTreeSet<SlotNo>,
}

impl Slots {
    /// Starts from what is stored. `boot` is the unix time of the start in milliseconds, or more if
    /// that is not above every earlier one's. `unclean` says that the newest part may be missing:
    /// another boot of the machine without a clean stop, or a restored backup.
    pub fn new(
        (id, boot): (NodeId, u64),
        settings: Settings,
        stored: Vec<StoredSlot>,
        unclean: bool,
        seed: u64,
    ) -> Self {
        Self::with_rules(
            (id, boot),
            settings,
            stored,
            unclean,
            seed,
            Rules::default(),
        )
    }

    pub(crate) fn with_rules(
        (id, boot): (NodeId, u64),
        settings: Settings,
        stored: Vec<StoredSlot>,
        unclean: bool,
        seed: u64,
        rules: Rules,
    ) -> Self {
        let slots = settings.slots;
        let mut context = Context::new(id, settings, rules, seed);
        let mut stored = stored.into_iter();
        let unclean = unclean && rules.keep(Rule::MarkSuspect);
        let machine = |slot: u16| {
            let stored = stored.next().unwrap_or_default();
            let machine = Machine::load(slot as SlotNo, stored, unclean, &context.settings);
            if unclean && machine.suspect {
                context.store(machine.slot, vec![Write::Suspect(true)], None);
            }
            machine
        };
        let machines: Vec<Machine> = (0..slots).map(machine).collect();
        Self {
            context,
            numbers: Numbers::new(boot),
            epochs: vec![None; machines.len()],
            renewed: vec![None; machines.len()],
            machines,
            listening: BTreeMap::new(),
            asked: BTreeMap::new(),
            due: BTreeSet::new(),
            beat_ms: 0,
            touched: BTreeSet::new(),
        }
    }

    /// The roster as it was stored.
    pub fn load_roster(&mut self, roster: BTreeSet<NodeId>, forgotten: BTreeSet<NodeId>) {
        (self.context.roster, self.context.forgotten) = (roster, forgotten);
    }

    /// Who is there, as gossip has it. Whoever is ready joins the roster.
    pub fn view(&mut self, view: View, now: Now) {
        self.context.pass(now);
        let ready = view.ready.iter().copied();
        let ready = ready.filter(|node| !self.context.forgotten.contains(node));
        let before = self.context.roster.len();
        self.context.roster.extend(ready.collect::<Vec<_>>());
        if self.context.roster.len() != before {
            self.store_roster();
        }
        self.context.look(view);
    }

    /// A node left for good, or an operator says that it will not come back: it is not counted any
    /// more, and never heard again. Gossiped by the edge to all.
    pub fn forget(&mut self, node: NodeId) {
        let context = &mut self.context;
        if context.forgotten.insert(node) {
            context.roster.remove(&node);
            context.count();
            self.store_roster();
        }
    }

    /// The configured size changed.
    pub fn resize(&mut self, size: u64) {
        self.context.settings.size = size;
    }

    fn store_roster(&mut self) {
        self.context.actions.push(Action::Roster {
            roster: self.context.roster.clone(),
            forgotten: self.context.forgotten.clone(),
        });
    }

    /// A node says by gossip that it owns a slot, or that it does not.
    pub fn claimed(&mut self, node: NodeId, slot: SlotNo, eid: Option<Eid>) {
        let Some(machine) = self.machines.get_mut(usize::from(slot)) else {
            return;
        };
        match eid {
            Some(eid) => {
                machine.see(eid);
                machine.claims.insert(node, eid);
            }
            None => drop(machine.claims.remove(&node)),
        }
        self.meet(slot);
    }

    /// A message arrived.
    pub fn message(&mut self, from: NodeId, slot: SlotNo, message: Message, now: Now) {
        self.context.pass(now);
        if !self.context.forgotten.contains(&from) {
            self.handle(from, slot, message);
        }
    }

    /// What a token stands for is on the disk.
    pub fn persisted(&mut self, token: Token, now: Now) {
        self.context.pass(now);
        match self.context.take(token) {
            Some(Then::Send(to, slot, message)) => self.context.send(to, slot, *message),
            Some(Then::Flushed(slot, eid, seq)) => {
                self.touched.insert(slot);
                self.machines[usize::from(slot)].on_flushed(eid, seq, &mut self.context);
            }
            Some(Then::Adopted(slot, eid)) => {
                self.machines[usize::from(slot)].on_adopted(eid, &mut self.context);
            }
            None => {}
        }
    }

    /// Time passes; called at the latest every 100 ms.
    pub fn tick(&mut self, now: Now) {
        self.context.pass(now);
        // In one pass: what all slots take does not stay in the processor's caches until the next.
        let mut cost = 0;
        for slot in 0..self.machines.len() {
            let machine = &mut self.machines[slot];
            machine.tick(&mut self.context);
            machine.pump(&mut self.context);
            cost += machine.log.cost();
            self.meet(slot as SlotNo);
        }
        self.shed(cost);
        self.settle();
        for (slot, listening) in &mut self.listening {
            let machine = &self.machines[usize::from(*slot)];
            listening.tick(machine, &mut self.numbers, &mut self.context);
        }
        self.ask_again();
        self.beat();
    }

    /// Drops the oldest entries of all slots, which take so much memory, while that is more than they
    /// may.
    fn shed(&mut self, mut cost: u64) {
        let limit = self.context.settings.limits.memory;
        while cost > limit {
            let oldest = self.machines.iter_mut();
            let oldest = oldest.filter_map(|machine| Some((machine.oldest()?, machine)));
            let Some((_, machine)) = oldest.min_by_key(|(at_ms, _)| *at_ms) else {
                return;
            };
            let before = machine.log.cost();
            machine.shed(cost - limit, &mut self.context);
            cost = cost - before + machine.log.cost();
        }
    }

    /// What is to be done.
    pub fn actions(&mut self) -> Vec<Action> {
        self.settle();
        std::mem::take(&mut self.context.actions)
    }
}

/// Numbers that no earlier boot of this node has used, nor this one: a late answer may be to what
/// an earlier boot has asked.
#[derive(Clone, Debug)]
struct Numbers(u64);

impl Numbers {
    /// Room for a million in each millisecond of a boot's life.
    fn new(boot: u64) -> Self {
        Self(boot << 20)
    }

    fn fresh(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

#[cfg(test)]
mod tests;
