//! Rules left out one by one: each must be missed.

use super::run;
use crate::proto::{Rule, Rules};

/// So many worlds may go well without a rule.
const SEEDS: u64 = 3000;

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
    a_lost_link_opens_the_view: OpenWhenLost,
    a_gap_opens_the_view: OpenOnGap,
    a_view_that_lost_track_asks: AskAgain,
    the_gossiped_digest_is_compared: CompareDigest,
    a_room_that_came_back_stays: CancelLinger,
    an_acknowledgement_follows_the_change: AckAfterApply,
    a_snapshot_takes_effect_as_a_whole: AtomicSnapshot,
    a_view_belongs_to_one_start: ViewOfGeneration,
    a_joining_peer_holds_the_floor: JoiningHolds,
    a_stuck_stream_is_noticed: NoticeStuck,
    a_new_owner_is_told_the_counts: ReportToNewOwner,
    a_new_link_is_told_the_counts: ReportOnLink,
    a_withdrawn_count_is_remembered: RememberWithdrawn,
}
