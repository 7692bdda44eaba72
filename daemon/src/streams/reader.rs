//! PURE: which node reads a stream of changes, and how far it has come.
//!
//! A document in MongoDB says who holds the stream, and where to go on. No clock but a node's own
//! monotonic one is asked, and only for how long something lasts:
//!
//! - The holder writes the document again and again; each time its *beat* rises. Who has seen the
//!   same beat for a whole *term* may take the stream, on the condition that the beat is still that
//!   one. Taking it raises the *fence*.
//! - The holder writes on the condition that the fence is its own, and with how much it has done, which
//!   never falls: what arrives late, from it or from an earlier holder, changes nothing.
//! - It stops emitting a term after it *asked* for the last write that was answered. The others began
//!   to wait after that write, so they take over later.
//! - A place in the stream is written once all changes up to it were accepted: what a holder did
//!   and did not write down is done again by the next, with the same ids.

mod holding;
mod words;

pub(crate) use words::{Action, Input, Keep, Lease, Ms, Terms, Version, Written};

use holding::{Holding, Stream};

/// One node's part in one stream.
#[derive(Debug)]
pub(crate) struct Reader<T> {
    name: String,
    terms: Terms,
    claims: u64,
    openings: u64,
    state: State<T>,
    /// A claim whose outcome is not known, and when it was made.
    unknown: Option<(String, Ms)>,
}

#[derive(Debug)]
enum State<T> {
    /// Another holds it, or nobody.
    Watching {
        /// What was last seen, and since when.
        seen: Option<(Version, Ms)>,
        /// When to look again; never while one look is under way.
        look: Option<Ms>,
    },
    Claiming {
        asked: Ms,
        claim: String,
    },
    Holding(Holding<T>),
    /// It has left.
    Over,
}

impl<T: Clone> Reader<T> {
    /// A node's part, before it has seen anything. `name` tells it from all others, its own earlier
    /// starts too.
    pub(crate) fn new(name: String, terms: Terms, now: Ms) -> Self {
        Self {
            name,
            terms,
            claims: 0,
            openings: 0,
            state: State::Watching {
                seen: None,
                look: Some(now),
            },
            unknown: None,
        }
    }

    /// Until when this node may emit, if it reads the stream.
    pub(crate) fn until(&self) -> Option<Ms> {
        match &self.state {
            State::Holding(holding) => Some(holding.until),
            _ => None,
        }
    }

    /// The fence under which it reads.
    pub(crate) fn fence(&self) -> Option<i64> {
        match &self.state {
            State::Holding(holding) => Some(holding.fence),
            _ => None,
        }
    }

    /// Whether it has left.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// When time alone changes something.
    pub(crate) fn next(&self) -> Option<Ms> {
        match &self.state {
            State::Watching { look, .. } => *look,
            State::Claiming { .. } | State::Over => None,
            State::Holding(holding) => {
                let write = holding.asked.is_none().then(|| holding.due(&self.terms));
                let open = match holding.stream {
                    Stream::Closed(at) => at,
                    Stream::Open(_) | Stream::Finished => Ms::MAX,
                };
                Some(holding.until.min(write.unwrap_or(Ms::MAX)).min(open))
            }
        }
    }

    /// Decides.
    pub(crate) fn handle(&mut self, input: Input<T>, now: Ms) -> Vec<Action<T>> {
        let mut actions = Vec::new();
        match input {
            Input::Tick => {}
            Input::Seen(lease) => self.seen(lease, now, &mut actions),
            Input::Claimed(outcome) => self.claimed(outcome, now),
            Input::Kept(outcome) => self.kept(&outcome, now, &mut actions),
            Input::Leave => self.leave(&mut actions),
            Input::Accepted { .. }
            | Input::Broken { .. }
            | Input::Gone { .. }
            | Input::Finished { .. } => self.told(input, now, &mut actions),
        }
        self.go_on(now, &mut actions);
        actions
    }

    /// Does what is due.
    fn go_on(&mut self, now: Ms, actions: &mut Vec<Action<T>>) {
        match &mut self.state {
            State::Watching { look, .. } if look.is_some_and(|at| at <= now) => {
                *look = None;
                actions.push(Action::Look);
            }
            State::Holding(holding) if holding.until <= now => {
                self.lose(now, actions);
                self.go_on(now, actions);
            }
            State::Holding(holding) => {
                if holding.asked.is_none() && holding.due(&self.terms) <= now {
                    holding.asked = Some(now);
                    actions.push(Action::Keep(holding.keep()));
                }
                if let Stream::Closed(at) = holding.stream
                    && at <= now
                {
                    self.openings += 1;
                    holding.stream = Stream::Open(self.openings);
                    let token = holding.token.clone();
                    actions.push(Action::Open {
                        opening: self.openings,
                        token,
                    });
                }
            }
            _ => {}
        }
    }

    /// Another may have the stream.
    fn lose(&mut self, now: Ms, actions: &mut Vec<Action<T>>) {
        actions.push(Action::Close);
        let is_leaving = matches!(&self.state, State::Holding(holding) if holding.leaving);
        match is_leaving {
            true => self.state = State::Over,
            false => self.watch(now),
        }
    }

    /// Looks again then.
    fn watch(&mut self, now: Ms) {
        self.state = State::Watching {
            seen: None,
            look: Some(now),
        };
    }

    fn seen(&mut self, lease: Option<Lease<T>>, now: Ms, actions: &mut Vec<Action<T>>) {
        let State::Watching { seen, look } = &mut self.state else {
            return;
        };
        *look = Some(now + self.terms.look);
        let Some(lease) = lease else { return };
        if let Some((claim, asked)) = self.unknown.take()
            && lease.holder == claim
        {
            // Its answer was lost.
            return self.hold(lease, asked);
        }
        let since = match seen {
            Some((version, since)) if *version == lease.version => *since,
            _ => now,
        };
        *seen = Some((lease.version, since));
        if lease.free || now >= since + self.terms.term {
            self.claims += 1;
            let claim = format!("{}/{}", self.name, self.claims);
            let from = lease.version;
            self.state = State::Claiming {
                asked: now,
                claim: claim.clone(),
            };
            actions.push(Action::Claim { from, claim });
        }
    }

    fn claimed(&mut self, outcome: Written<Lease<T>>, now: Ms) {
        let State::Claiming { asked, claim } = &self.state else {
            return;
        };
        let asked = *asked;
        match outcome {
            Written::Done(lease) => self.hold(lease, asked),
            Written::Refused => self.watch(now + self.terms.look),
            Written::Unknown => {
                self.unknown = Some((claim.clone(), asked));
                self.watch(now + self.terms.look);
            }
        }
    }

    /// The stream is this node's since it `asked` for it.
    fn hold(&mut self, lease: Lease<T>, asked: Ms) {
        self.unknown = None;
        self.state = State::Holding(Holding {
            fence: lease.version.fence,
            until: asked + self.terms.term - self.terms.margin,
            done: lease.done,
            token: lease.token,
            unsaved: false,
            lost: 0,
            saying: 0,
            asked: None,
            written: asked,
            pause: 0,
            stream: Stream::Closed(asked),
            leaving: false,
        });
    }

    fn kept(&mut self, outcome: &Written<()>, now: Ms, actions: &mut Vec<Action<T>>) {
        let State::Holding(holding) = &mut self.state else {
            return;
        };
        let Some(asked) = holding.asked.take() else {
            return;
        };
        match outcome {
            Written::Done(()) if holding.is_released() => self.state = State::Over,
            Written::Done(()) => {
                holding.until = asked + self.terms.term - self.terms.margin;
                holding.written = asked;
                holding.lost -= holding.saying;
            }
            Written::Refused => self.lose(now, actions),
            Written::Unknown => {
                // What it said is said again, a little later.
                holding.unsaved = holding.token.is_some();
                holding.pause = now + self.terms.save;
            }
        }
    }

    fn told(&mut self, input: Input<T>, now: Ms, actions: &mut Vec<Action<T>>) {
        let State::Holding(holding) = &mut self.state else {
            return;
        };
        let is_of = |opening| holding.stream == Stream::Open(opening);
        match input {
            Input::Accepted {
                opening,
                token,
                count,
            } if is_of(opening) => {
                holding.token = Some(token);
                holding.done += count;
                holding.unsaved = true;
            }
            Input::Broken { opening } if is_of(opening) => {
                holding.stream = match holding.leaving {
                    true => Stream::Finished,
                    false => Stream::Closed(now + self.terms.look),
                };
            }
            Input::Gone { opening } if is_of(opening) => {
                // Who asked for nothing earlier than now missed nothing by it.
                let missed = holding.token.take().is_some();
                holding.lost += i64::from(missed);
                if missed {
                    actions.push(Action::Missed);
                }
                holding.unsaved = false;
                let pause = if missed { 0 } else { self.terms.look };
                holding.stream = match holding.leaving {
                    true => Stream::Finished,
                    false => Stream::Closed(now + pause),
                };
            }
            Input::Finished { opening } if is_of(opening) => holding.stream = Stream::Finished,
            _ => {}
        }
    }

    fn leave(&mut self, actions: &mut Vec<Action<T>>) {
        match &mut self.state {
            State::Holding(holding) => {
                holding.leaving = true;
                match holding.stream {
                    Stream::Open(_) => actions.push(Action::Finish),
                    Stream::Closed(_) | Stream::Finished => holding.stream = Stream::Finished,
                }
            }
            _ => self.state = State::Over,
        }
    }
}
