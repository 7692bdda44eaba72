//! Several nodes and one document, in virtual time, from a seed: requests are lost, late, and answered to
//! nobody; nodes are killed, come back, and stand still with their clocks. What must hold:
//!
//! - A place that is written has nothing before it that was neither emitted nor said to be missed.
//! - The written place never falls.
//! - Where no clock stands still, two nodes never emit at the same time.
//! - At the end, after some quiet, everything was emitted, or said to be missed.
//!
//! Each condition of the writes is left out once, and must be missed.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::reader::{Action, Input, Keep, Lease, Ms, Reader, Terms, Version, Written};

/// Faults end here, and the world some time later.
const FAULTS: Ms = 60_000;
const END: Ms = 95_000;
const NODES: usize = 3;

/// How long a node waits for an answer.
const PATIENCE: Ms = 2000;

/// A condition of a write.
#[derive(Clone, Copy, PartialEq)]
enum Rule {
    Version,
    Fence,
    Done,
}

enum Event {
    /// Something reaches a node, if that is still the start it was meant for.
    Tell(usize, u64, Input<u64>),
    /// A write or look reaches the document; the answer is told if somebody still waits.
    Ask(usize, u64, Action<u64>, bool),
    /// A node reads on.
    Read(usize, u64, u64),
    /// A change was emitted and is accepted.
    Accept(usize, u64, u64, u64),
    Fault,
    Change,
}

struct Node {
    start: u64,
    alive: bool,
    reader: Reader<u64>,
    /// How much its clock is behind.
    behind: Ms,
    /// It stands still until then.
    still: Ms,
    /// What it reads: the opening, and the last change that it read.
    open: Option<(u64, u64)>,
}

struct World {
    random: u64,
    now: Ms,
    number: u64,
    queue: BinaryHeap<Reverse<(Ms, u64)>>,
    events: std::collections::HashMap<u64, Event>,
    nodes: Vec<Node>,
    lease: Lease<u64>,
    left_out: Option<Rule>,
    /// Changes there are; those up to `trimmed` cannot be read any more.
    head: u64,
    trimmed: u64,
    emitted: std::collections::BTreeSet<u64>,
    missed: std::collections::BTreeSet<u64>,
    clocks_stand_still: bool,
}

impl World {
    fn new(seed: u64, left_out: Option<Rule>) -> Self {
        let node = |n: usize| Node {
            start: 0,
            alive: true,
            reader: Reader::new(format!("{n}/0"), Terms::default(), 0),
            behind: 0,
            still: 0,
            open: None,
        };
        let mut world = World {
            random: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            now: 0,
            number: 0,
            queue: BinaryHeap::new(),
            events: Default::default(),
            nodes: (0..NODES).map(node).collect(),
            lease: Lease {
                version: Version { fence: 0, beat: 0 },
                holder: String::new(),
                free: true,
                token: Some(0),
                done: 0,
            },
            left_out,
            head: 0,
            trimmed: 0,
            emitted: Default::default(),
            missed: Default::default(),
            clocks_stand_still: seed % 2 == 1,
        };
        for n in 0..NODES {
            world.at(0, Event::Tell(n, 0, Input::Tick));
        }
        world.at(0, Event::Change);
        world.at(1000, Event::Fault);
        world
    }

    /// A number below `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) % bound
    }

    fn is_rough(&self) -> bool {
        self.now < FAULTS
    }

    fn at(&mut self, time: Ms, event: Event) {
        self.number += 1;
        self.events.insert(self.number, event);
        self.queue.push(Reverse((time, self.number)));
    }

    fn run(mut self) -> Result<(), String> {
        while let Some(Reverse((time, number))) = self.queue.pop() {
            if time > END {
                break;
            }
            self.now = time;
            if let Some(event) = self.events.remove(&number) {
                self.happen(event)?;
            }
        }
        let is_lost = |n: &u64| !self.emitted.contains(n) && !self.missed.contains(n);
        match (1..=self.head).find(is_lost) {
            Some(lost) => Err(format!("{lost} of {} was never emitted", self.head)),
            None => Ok(()),
        }
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Tell(n, start, _) | Event::Read(n, start, _) | Event::Accept(n, start, _, _)
                if self.nodes[n].start != start || !self.nodes[n].alive => {}
            Event::Tell(n, ..) | Event::Read(n, ..) | Event::Accept(n, ..)
                if self.nodes[n].still > self.now =>
            {
                let still = self.nodes[n].still;
                self.at(still, event);
            }
            Event::Tell(n, start, input) => self.tell(n, start, input),
            Event::Ask(n, start, action, answered) => {
                let answer = self.ask(action)?;
                if answered {
                    self.at(self.now + 1, Event::Tell(n, start, answer));
                }
            }
            Event::Read(n, start, opening) => self.read(n, start, opening)?,
            Event::Accept(n, start, opening, change) => {
                let accepted = Input::Accepted {
                    opening,
                    token: change,
                    count: 1,
                };
                self.tell(n, start, accepted);
            }
            Event::Fault => self.fault(),
            Event::Change => {
                self.head += 1;
                let pause = 20 + self.below(150);
                if self.now < END - 15_000 {
                    self.at(self.now + pause, Event::Change);
                }
            }
        }
        Ok(())
    }

    fn tell(&mut self, n: usize, start: u64, input: Input<u64>) {
        let local = self.now.saturating_sub(self.nodes[n].behind);
        let actions = self.nodes[n].reader.handle(input, local);
        for action in actions {
            match action {
                Action::Look | Action::Claim { .. } | Action::Keep(_) => {
                    let (lost, late) = match self.is_rough() {
                        true => (self.below(15) == 0, self.below(10) == 0),
                        false => (false, false),
                    };
                    let delay = match late {
                        true => self.below(9000),
                        false => 1 + self.below(30),
                    };
                    let unheard = lost || (self.is_rough() && self.below(15) == 0);
                    let answered = !unheard && delay < PATIENCE;
                    if !answered {
                        let silence = match action {
                            Action::Look => Input::Seen(None),
                            Action::Claim { .. } => Input::Claimed(Written::Unknown),
                            _ => Input::Kept(Written::Unknown),
                        };
                        self.at(self.now + PATIENCE, Event::Tell(n, start, silence));
                    }
                    if !lost {
                        self.at(self.now + delay, Event::Ask(n, start, action, answered));
                    }
                }
                Action::Open { opening, token } => {
                    let from = token.unwrap_or(self.head);
                    if from < self.trimmed {
                        let gone = Input::Gone { opening };
                        self.at(self.now + 5, Event::Tell(n, start, gone));
                        continue;
                    }
                    if token.is_none() {
                        let written = self.lease.token.unwrap_or(0);
                        self.missed.extend(written + 1..=self.head);
                    }
                    self.nodes[n].open = Some((opening, from));
                    self.at(self.now + 5, Event::Read(n, start, opening));
                }
                Action::Finish => {
                    // What was read is accepted by then.
                    if let Some((opening, _)) = self.nodes[n].open.take() {
                        let finished = Input::Finished { opening };
                        self.at(self.now + 3, Event::Tell(n, start, finished));
                    }
                }
                Action::Close => self.nodes[n].open = None,
                Action::Missed => {}
            }
        }
        if let Some(next) = self.nodes[n].reader.next() {
            let due = (next + self.nodes[n].behind).max(self.now + 1);
            self.at(due, Event::Tell(n, start, Input::Tick));
        }
    }

    /// What was asked reaches the document.
    fn ask(&mut self, action: Action<u64>) -> Result<Input<u64>, String> {
        Ok(match action {
            Action::Claim { from, claim } => {
                if from == self.lease.version || self.left_out == Some(Rule::Version) {
                    self.lease.version.fence += 1;
                    self.lease.version.beat += 1;
                    self.lease.holder = claim;
                    self.lease.free = false;
                    Input::Claimed(Written::Done(self.lease.clone()))
                } else {
                    Input::Claimed(Written::Refused)
                }
            }
            Action::Keep(keep) => Input::Kept(match self.keep(&keep)? {
                true => Written::Done(()),
                false => Written::Refused,
            }),
            _ => Input::Seen(Some(self.lease.clone())),
        })
    }

    fn keep(&mut self, keep: &Keep<u64>) -> Result<bool, String> {
        let is_own = keep.fence == self.lease.version.fence || self.left_out == Some(Rule::Fence);
        let is_new = keep.done >= self.lease.done || self.left_out == Some(Rule::Done);
        if !is_own || !is_new {
            return Ok(false);
        }
        self.lease.version.beat += 1;
        self.lease.done = keep.done;
        self.lease.free = keep.free;
        if let Some(token) = keep.token {
            let before = self.lease.token.unwrap_or(0);
            if token < before {
                return Err(format!("the place fell from {before} to {token}"));
            }
            let is_owed = |n: &u64| !self.emitted.contains(n) && !self.missed.contains(n);
            if let Some(owed) = (before + 1..=token).find(is_owed) {
                return Err(format!("{token} was written, {owed} was not emitted"));
            }
            self.lease.token = Some(token);
        }
        Ok(true)
    }

    fn read(&mut self, n: usize, start: u64, opening: u64) -> Result<(), String> {
        let Some((open, last)) = self.nodes[n].open else {
            return Ok(());
        };
        if open != opening {
            return Ok(());
        }
        let pause = 3 + self.below(40);
        self.at(self.now + pause, Event::Read(n, start, opening));
        let local = self.now.saturating_sub(self.nodes[n].behind);
        let may = self.nodes[n]
            .reader
            .until()
            .is_some_and(|until| local < until);
        if last >= self.head || !may {
            return Ok(());
        }
        if !self.clocks_stand_still {
            let others = self.nodes.iter().enumerate();
            let mut others = others.filter(|(other, node)| *other != n && node.alive);
            let emits = |(_, node): (usize, &Node)| {
                let until = node.reader.until();
                node.open.is_some() && until.is_some_and(|until| self.now < until)
            };
            if others.any(emits) {
                return Err("two nodes emit at the same time".to_owned());
            }
        }
        let change = last + 1;
        self.emitted.insert(change);
        self.nodes[n].open = Some((opening, change));
        // In order, as each takes its time from when the one before was accepted.
        self.at(self.now + 2, Event::Accept(n, start, opening, change));
        Ok(())
    }

    fn fault(&mut self) {
        if !self.is_rough() {
            for n in 0..NODES {
                self.revive(n);
            }
            return;
        }
        let n = self.below(NODES as u64) as usize;
        match self.below(5) {
            0 => self.nodes[n].alive = false,
            1 => self.revive(n),
            2 if self.clocks_stand_still && self.nodes[n].still <= self.now => {
                let pause = self.below(15_000);
                self.nodes[n].still = self.now + pause;
                self.nodes[n].behind += pause;
            }
            3 if self.below(4) == 0 => self.trimmed = self.head,
            4 => {
                let start = self.nodes[n].start;
                self.at(self.now, Event::Tell(n, start, Input::Leave));
            }
            _ => {}
        }
        let pause = 500 + self.below(6000);
        self.at(self.now + pause, Event::Fault);
    }

    /// A node that is dead, or has left, starts again.
    fn revive(&mut self, n: usize) {
        if self.nodes[n].alive && !self.nodes[n].reader.is_over() {
            return;
        }
        let start = self.nodes[n].start + 1;
        let local = self.now.saturating_sub(self.nodes[n].behind);
        self.nodes[n].start = start;
        self.nodes[n].alive = true;
        self.nodes[n].open = None;
        self.nodes[n].reader = Reader::new(format!("{n}/{start}"), Terms::default(), local);
        self.at(self.now, Event::Tell(n, start, Input::Tick));
    }
}

fn seeds() -> std::ops::Range<u64> {
    let named = std::env::var("TIDINGS_SIM_SEEDS").ok();
    0..named.and_then(|seeds| seeds.parse().ok()).unwrap_or(300)
}

#[test]
fn nothing_is_lost_whatever_happens() {
    for seed in seeds() {
        if let Err(why) = World::new(seed, None).run() {
            panic!("seed {seed}: {why}");
        }
    }
}

#[test]
fn each_condition_is_needed() {
    for (rule, name) in [
        (Rule::Version, "the version at a claim"),
        (Rule::Fence, "the fence at a write"),
        (Rule::Done, "how much was done at a write"),
    ] {
        let misses = |seed| World::new(seed, Some(rule)).run().is_err();
        assert!((0..2000).any(misses), "no seed misses {name}");
    }
}
