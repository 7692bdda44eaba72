//! Rules that the simulation leaves out, to show that it notices.

/// A rule without which something is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// A peer whose inbound link is lost is sent everything.
    OpenWhenLost,
    /// A view that missed something is open, and asks for a snapshot.
    OpenOnGap,
    /// A peer that must send again is asked to.
    AskAgain,
    /// Gossip's digest is compared.
    CompareDigest,
    /// A room that comes back while it lingers is not announced as gone.
    CancelLinger,
    /// What is acknowledged has been applied, and not only been heard of.
    AckAfterApply,
    /// A snapshot takes effect as a whole.
    AtomicSnapshot,
    /// A view belongs to one start of a peer.
    ViewOfGeneration,
    /// A joining peer with a link holds the floor.
    JoiningHolds,
    /// A stuck stream is noticed.
    NoticeStuck,
    /// Counts are reported again when their owner changes.
    ReportToNewOwner,
    /// Counts are reported and answered again on a new link.
    ReportOnLink,
    /// A withdrawn count is remembered as long as it may be elsewhere.
    RememberWithdrawn,
}

/// Which rule is left out. Outside tests none can be, and the questions cost nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LeftOut<R>(Option<R>);

/// The rules of nodes.
pub(crate) type Rules = LeftOut<Rule>;

impl<R> Default for LeftOut<R> {
    fn default() -> Self {
        Self(None)
    }
}

impl<R: PartialEq + Copy> LeftOut<R> {
    /// All but one.
    #[cfg(test)]
    pub(crate) fn without(rule: R) -> Self {
        Self(Some(rule))
    }

    /// Whether a rule is kept.
    pub(crate) fn keep(self, rule: R) -> bool {
        !(cfg!(test) && self.0 == Some(rule))
    }
}
