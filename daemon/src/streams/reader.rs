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

/// A node's own time: milliseconds since its start, never back.
pub(crate) type Ms = u64;

/// How long things take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// Without a beat for this long, a stream is free.
    pub(crate) term: Ms,
    /// How much earlier than that its holder stops.
    pub(crate) margin: Ms,
    /// How often the holder writes, if it has nothing to say.
    pub(crate) beat: Ms,
    /// How often it writes at most, if it has.
    pub(crate) save: Ms,
    /// How often the others look, and how long one waits after a failure.
    pub(crate) look: Ms,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            term: 5000,
            margin: 500,
            beat: 1500,
            save: 250,
            look: 1000,
        }
    }
}

/// What tells two states of the document apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    /// How often the stream was taken.
    pub(crate) fence: i64,
    /// How often it was written.
    pub(crate) beat: i64,
}

/// The document.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Lease<T> {
    pub(crate) version: Version,
    /// The claim that took it.
    pub(crate) holder: String,
    /// Its holder let it go.
    pub(crate) free: bool,
    /// Where to go on; nothing before the first reader has begun.
    pub(crate) token: Option<T>,
    /// Changes that were accepted since there is the stream.
    pub(crate) done: i64,
}

/// What a holder writes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Keep<T> {
    pub(crate) fence: i64,
    pub(crate) done: i64,
    /// Where to go on, if that has changed.
    pub(crate) token: Option<T>,
    /// How often changes were missed since the last write.
    pub(crate) lost: i64,
    /// It lets the stream go.
    pub(crate) free: bool,
}

/// What became of a write.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Written<R> {
    /// It was done.
    Done(R),
    /// Its condition did not hold.
    Refused,
    /// It may have been done, or be done later.
    Unknown,
}

/// What happens.
#[derive(Clone, Debug)]
pub(crate) enum Input<T> {
    /// Time has passed.
    Tick,
    /// The document was read; nothing if it could not be.
    Seen(Option<Lease<T>>),
    /// A claim was answered, with the document as it was left.
    Claimed(Written<Lease<T>>),
    /// The last write was answered.
    Kept(Written<()>),
    /// All changes up to here were accepted, `count` of them since the last such message.
    Accepted { opening: u64, token: T, count: i64 },
    /// The stream broke off, or could not be opened.
    Broken { opening: u64 },
    /// MongoDB does not have the changes after the token any more.
    Gone { opening: u64 },
    /// All that was read was accepted, as was asked for by [`Action::Finish`].
    Finished { opening: u64 },
    /// The node leaves.
    Leave,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action<T> {
    /// Read the document, and make it if there is none.
    Look,
    /// Take the stream if the document is still as it was.
    Claim { from: Version, claim: String },
    /// Read and emit from a place on, or from now.
    Open { opening: u64, token: Option<T> },
    /// Read no more; what was read is still emitted, and reported.
    Finish,
    /// Neither read nor emit.
    Close,
    /// Write the document.
    Keep(Keep<T>),
    /// Tell that changes were missed.
    Missed,
}

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

#[derive(Debug)]
struct Holding<T> {
    fence: i64,
    /// Until then nobody else has it.
    until: Ms,
    done: i64,
    /// Where to go on.
    token: Option<T>,
    /// The token has changed since it was written.
    unsaved: bool,
    /// How often changes were missed; what the write under way says of it.
    lost: i64,
    saying: i64,
    /// When the write under way was asked for.
    asked: Option<Ms>,
    /// When the last one was.
    written: Ms,
    /// No write before, as one has failed.
    pause: Ms,
    stream: Stream,
    leaving: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stream {
    Open(u64),
    /// It is opened again then.
    Closed(Ms),
    /// All was accepted.
    Finished,
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

impl<T: Clone> Holding<T> {
    /// When the next write is due.
    fn due(&self, terms: &Terms) -> Ms {
        let due = match self {
            _ if self.is_released() => self.written,
            _ if self.unsaved || self.lost > 0 => self.written + terms.save,
            _ => self.written + terms.beat,
        };
        due.max(self.pause)
    }

    fn is_released(&self) -> bool {
        self.leaving && self.stream == Stream::Finished
    }

    fn keep(&mut self) -> Keep<T> {
        let unsaved = std::mem::take(&mut self.unsaved);
        self.saying = self.lost;
        Keep {
            fence: self.fence,
            done: self.done,
            token: self.token.clone().filter(|_| unsaved),
            lost: self.lost,
            free: self.is_released(),
        }
    }
}
