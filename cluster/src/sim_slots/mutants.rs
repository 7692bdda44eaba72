//! Rules left out one by one: each must be missed.
//!
//! A world that missed it is known for each, so that this takes no time; if it does not any more,
//! others are tried. Some take worlds at odds; others are in `courses`: what takes several things in
//! a row that chance does not bring about.
//!
//! `ReadUptoFeed` is not missed: it was brought in by a world that failed before others were, and now
//! spares clients a needless `false`, as far as anybody can see. `BothOnBranch` is missed only because
//! what `NotAheadOfFeed` looks at goes with it.

use super::world::Seen;
use super::{run, run_at_odds};
use crate::proto::slots::{Rule, Rules};

/// So many worlds may go well without a rule, if the one that once did not does now.
const SEEDS: u64 = 1500;

/// How many worlds it takes to miss a rule, and how it is missed. `known` is one that was missed.
fn missed(rule: Rule, known: u64, run: Run) -> Option<(u64, String)> {
    let failed = |seed| Some((seed, run(seed, Rules::without(rule)).err()?));
    let seeds = super::setting("TIDINGS_SIM_MUTANT_SEEDS", SEEDS);
    failed(known).or_else(|| (1..=seeds).find_map(failed))
}

type Run = fn(u64, Rules) -> Result<Seen, String>;

macro_rules! each_is_missed {
    ($run:ident: $($name:ident: $rule:ident $known:literal,)*) => {
        $(
            #[test]
            fn $name() {
                let missed = missed(Rule::$rule, $known, $run);
                println!("{:?}: {missed:?}", Rule::$rule);
                assert!(missed.is_some(), "all worlds are well without {:?}", Rule::$rule);
            }
        )*
    };
}

each_is_missed! {
    run:
    a_promise_is_synced: SyncPromise 1,
    a_lower_epoch_is_refused: RefuseLower 2,
    a_seal_closes: SealCloses 4,
    a_base_has_the_record: BaseHasRecord 5,
    a_suspect_log_is_no_base: SuspectIsNoBase 18,
    a_base_is_fetched_while_promised: FetchWhilePromised 278,
    a_quorum_is_sealed: QuorumSealed 1812,
    a_copy_is_sealed: CopySealed 1594,
    a_reign_is_installed_while_promised: InstallWhilePromised 1366,
    a_quorum_has_the_reign: QuorumInstalled 1566,
    a_follower_copies_in_its_epoch: CopyWhilePromised 25,
    a_follower_copies_without_gaps: CopyContiguous 17,
    a_restart_voids: RestartVoids 34,
    the_follower_is_awaited: AwaitFollower 13,
    a_copy_is_flushed: FlushCopy 15,
    what_does_not_fit_is_dropped: DropUnfit 25,
    an_unclean_start_is_suspect: MarkSuspect 18,
    ids_are_known: KnownIds 1,
    records_are_transferred: TransferRecords 5,
    a_position_is_on_the_branch: PositionOnBranch 3,
    a_position_is_not_trimmed: PositionNotTrimmed 3,
    a_position_is_complete: PositionComplete 18,
    only_committed_entries_are_fed: FeedCommitted 1,
    a_feed_resumes: FeedResumes 5,
    a_feed_is_in_order: FeedInOrder 5,
    old_homes_cannot_write: RefuseOldHome 25,
    a_fork_is_noticed: NoticeFork 2572,
    records_are_put_again: PutAgain 3,
    a_cursor_goes_on: KeepCursor 1,
    a_stale_offset_is_ignored: IgnoreStale 1,
    a_room_is_left_when_that_is_written: LeaveWhenWritten 5,
    a_record_has_what_an_offset_knows: KnowWritten 336,
}

each_is_missed! {
    run_at_odds:
    an_owner_that_closes_stores: StoreAtClose 214,
    a_copy_of_the_reign_has_it: CopyHasReign 75,
    a_position_is_the_later: LaterOfBoth 5,
    a_lower_epoch_is_not_followed: FollowWhilePromised 70,
    both_positions_are_on_the_branch: BothOnBranch 113,
    a_client_is_not_ahead: NotAheadOfFeed 113,
    a_restart_is_no_base: RestartVoidsPromise 276,
}
