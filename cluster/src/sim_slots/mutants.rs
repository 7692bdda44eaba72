//! Rules left out one by one: each must be missed.

use super::run;
use crate::proto::slots::{Rule, Rules};

/// So many worlds may go well without a rule.
const SEEDS: u64 = 15000;

/// How many worlds it takes to miss a rule, and how it is missed.
fn missed(rule: Rule) -> Option<(u64, String)> {
    let failed = |seed| Some((seed, run(seed, Rules::without(rule)).err()?));
    (1..=SEEDS).find_map(failed)
}

macro_rules! each_is_missed {
    ($($name:ident: $rule:ident,)*) => {
        $(
            #[test]
            fn $name() {
                let missed = missed(Rule::$rule);
                println!("{:?}: {missed:?}", Rule::$rule);
                assert!(missed.is_some(), "{SEEDS} worlds are well without {:?}", Rule::$rule);
            }
        )*
    };
}

each_is_missed! {
    a_promise_is_synced: SyncPromise,
    a_lower_epoch_is_refused: RefuseLower,
    a_seal_closes: SealCloses,
    a_base_has_the_record: BaseHasRecord,
    a_suspect_log_is_no_base: SuspectIsNoBase,
    the_latest_base_is_taken: LatestBase,
    a_base_is_fetched_while_promised: FetchWhilePromised,
    a_follower_follows_while_promised: FollowWhilePromised,
    a_quorum_is_sealed: QuorumSealed,
    a_copy_is_sealed: CopySealed,
    the_copy_has_the_reign: CopyHasReign,
    a_reign_is_installed_while_promised: InstallWhilePromised,
    a_quorum_has_the_reign: QuorumInstalled,
    a_reign_is_synced: SyncReign,
    a_follower_copies_in_its_epoch: CopyWhilePromised,
    a_follower_copies_without_gaps: CopyContiguous,
    a_restart_voids: RestartVoids,
    a_restart_voids_a_promise: RestartVoidsPromise,
    the_follower_is_awaited: AwaitFollower,
    a_copy_is_flushed: FlushCopy,
    what_does_not_fit_is_dropped: DropUnfit,
    an_unclean_start_is_suspect: MarkSuspect,
    ids_are_known: KnownIds,
    a_grown_cluster_opens_again: OpenWhenGrown,
    records_are_transferred: TransferRecords,
    a_position_is_on_the_branch: PositionOnBranch,
    a_position_is_not_trimmed: PositionNotTrimmed,
    a_position_is_complete: PositionComplete,
    only_committed_entries_are_fed: FeedCommitted,
    a_feed_resumes: FeedResumes,
    a_stream_is_of_an_epoch: FeedOfEpoch,
    a_feed_is_in_order: FeedInOrder,
    old_homes_cannot_write: RefuseOldHome,
    a_fork_is_noticed: NoticeFork,
    records_are_put_again: PutAgain,
    an_offset_needs_its_record: KnowWritten,
    the_later_of_both_counts: LaterOfBoth,
    both_are_on_the_branch: BothOnBranch,
    a_cursor_goes_on: KeepCursor,
    a_stale_offset_is_ignored: IgnoreStale,
    a_room_is_left_when_that_is_written: LeaveWhenWritten,
    what_is_read_ends_where_the_feed_is: ReadUptoFeed,
}
