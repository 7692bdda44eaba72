//! Rules that the simulation leaves out, to show that it notices.

/// A rule without which something is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// A promise is on the disk before it is answered.
    SyncPromise,
    /// A lower epoch is refused.
    RefuseLower,
    /// Whoever is sealed closes its own epoch.
    SealCloses,
    /// A base has the last reign that a quorum knows in its chain.
    BaseHasRecord,
    /// A suspect log is no base.
    SuspectIsNoBase,
    /// A base is the latest epoch's before it is the longest.
    LatestBase,
    /// A base is fetched only while its promise holds.
    FetchWhilePromised,
    /// A follower takes over only while its promise holds.
    FollowWhilePromised,
    /// A quorum was sealed, and is asked to store the reign.
    QuorumSealed,
    /// One of the copies of the last reign was sealed.
    CopySealed,
    /// An epoch is opened again for a cluster that has grown.
    OpenWhenGrown,
    /// That copy has the reign in its chain.
    CopyHasReign,
    /// A reign is installed only while the promise holds.
    InstallWhilePromised,
    /// A quorum has stored the reign before the epoch counts as kept.
    QuorumInstalled,
    /// The reign is on the disk before that is answered.
    SyncReign,
    /// A follower copies only in its epoch.
    CopyWhilePromised,
    /// A follower copies without gaps.
    CopyContiguous,
    /// A restarted follower follows no more.
    RestartVoids,
    /// A promise of an earlier boot only serves to refuse.
    RestartVoidsPromise,
    /// An entry is committed when the follower has it.
    AwaitFollower,
    /// An owner stores what it added before it closes.
    StoreAtClose,
    /// An entry is stored before that is answered.
    FlushCopy,
    /// What does not fit the base is dropped.
    DropUnfit,
    /// An unclean start makes the log suspect.
    MarkSuspect,
    /// Ids are known to the next owner.
    KnownIds,
    /// Records come with the base.
    TransferRecords,
    /// A reader's position must be on the branch.
    PositionOnBranch,
    /// A reader's position must not be below what was trimmed.
    PositionNotTrimmed,
    /// A reader's position must not be below what is here.
    PositionComplete,
    /// Only committed entries are fed.
    FeedCommitted,
    /// A feed goes on where it was, or its rooms are cut.
    FeedResumes,
    /// A stream is of one epoch.
    FeedOfEpoch,
    /// A room is fed when the last request for it was answered, not one before it was left.
    FeedOfLastJoin,
    /// A gap in a feed is noticed.
    FeedInOrder,
    /// Old homes cannot write.
    RefuseOldHome,
    /// A record that lacks what an offset's socket had written is of no use to it.
    KnowWritten,
    /// A home whose change was lost with a branch is not written over silently.
    NoticeFork,
    /// Records are put again in a new epoch.
    #[cfg(test)]
    PutAgain,
    /// A position is the later of the room's start and the cursor.
    LaterOfBoth,
    /// And both must be on the branch.
    BothOnBranch,
    /// A recovered socket's cursor goes on from the offset that was presented.
    KeepCursor,
    /// An offset of an earlier pid says nothing.
    IgnoreStale,
    /// A room is left when that is written.
    #[cfg(test)]
    LeaveWhenWritten,
    /// What is read ends where the feed is.
    ReadUptoFeed,
    /// A client goes on with a feed only where that has been, too.
    NotAheadOfFeed,
    /// A client whose home lost the record, after a write that is not kept, is told.
    #[cfg(test)]
    VoidOffset,
}

/// The rules of slots.
pub(crate) type Rules = crate::proto::rules::LeftOut<Rule>;
