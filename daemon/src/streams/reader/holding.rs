//! A stream that this node reads: until when, and how far it has come.

use super::{Keep, Ms, Terms};

/// What a holder knows of its stream.
#[derive(Debug)]
pub(super) struct Holding<T> {
    /// How often the stream was taken; on this its writes depend.
    pub(super) fence: i64,
    /// Until then nobody else has it.
    pub(super) until: Ms,
    /// Changes that were accepted since there is the stream.
    pub(super) done: i64,
    /// Where to go on.
    pub(super) token: Option<T>,
    /// The token has changed since it was written.
    pub(super) unsaved: bool,
    /// How often changes were missed, as far as no write has said so.
    pub(super) lost: i64,
    /// What the write under way says of that.
    pub(super) saying: i64,
    /// When the write under way was asked for.
    pub(super) asked: Option<Ms>,
    /// When the last one was.
    pub(super) written: Ms,
    /// No write before, as one has failed.
    pub(super) pause: Ms,
    /// How the reading of it is.
    pub(super) stream: Stream,
    /// The node leaves: what was read is finished, and no more is read.
    pub(super) leaving: bool,
}

/// How the reading of a stream is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Stream {
    /// It is read; the number tells this opening from earlier ones.
    Open(u64),
    /// It is opened again then.
    Closed(Ms),
    /// All was accepted.
    Finished,
}

impl<T: Clone> Holding<T> {
    /// When the next write is due.
    pub(super) fn due(&self, terms: &Terms) -> Ms {
        let due = match self {
            _ if self.is_released() => self.written,
            _ if self.unsaved || self.lost > 0 => self.written + terms.save,
            _ => self.written + terms.beat,
        };
        due.max(self.pause)
    }

    /// Whether the next write lets the stream go.
    pub(super) fn is_released(&self) -> bool {
        self.leaving && self.stream == Stream::Finished
    }

    /// The write that is due now.
    pub(super) fn keep(&mut self) -> Keep<T> {
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
