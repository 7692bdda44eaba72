//! What a reader is told, what it asks for, and how long things take.

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
