//! Which log an epoch starts from, and whether a quorum may be told of it.

use std::collections::BTreeMap;

use super::super::context::Context;
use super::super::rules::Rule;
use super::super::{NodeId, Reign, Sealed};

/// What an epoch starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// A node's log, which ends here.
    Base(NodeId, u64),
    /// Nothing: no log can be trusted. Numbers go on above this.
    Cut(u64),
}

type Answers = BTreeMap<NodeId, Sealed>;

fn record(answers: &Answers) -> Option<&Reign> {
    let records = answers.values().filter_map(|sealed| sealed.record.as_ref());
    records.max_by_key(|reign| reign.eid)
}

fn is_candidate(sealed: &Sealed, record: Option<&Reign>, context: &Context) -> bool {
    let trusted = !sealed.suspect || !context.rules.keep(Rule::SuspectIsNoBase);
    let has = |reign: &Reign| sealed.chain.has(reign.eid);
    trusted && (record.is_none_or(has) || !context.rules.keep(Rule::BaseHasRecord))
}

/// Step 2 of OPEN.
pub(super) fn choose(answers: &Answers, context: &Context) -> Choice {
    let record = record(answers);
    let candidates = answers
        .iter()
        .filter(|(_, it)| is_candidate(it, record, context));
    let base = candidates.max_by_key(|(node, sealed)| {
        let eid = sealed.chain.last().unwrap_or_default();
        let eid = if context.rules.keep(Rule::LatestBase) {
            eid
        } else {
            super::Eid::default()
        };
        // Of equals the opener itself, as it need not fetch.
        let own = **node == context.id;
        (eid, sealed.end, std::cmp::Reverse(sealed.from), own)
    });
    if let Some((node, sealed)) = base {
        return Choice::Base(*node, sealed.end);
    }
    let end = answers.values().map(|sealed| sealed.end).max();
    Choice::Cut(end.unwrap_or(0))
}

/// Step 4 of OPEN: no other branch can come to be known to a quorum, and none that is can be lost.
pub(super) fn may_install(answers: &Answers, context: &Context) -> bool {
    let quorum = super::install::quorum(answers, context);
    if (answers.len() as u64) < quorum && context.rules.keep(Rule::QuorumSealed) {
        return false;
    }
    let Some(record) = record(answers) else {
        return true;
    };
    let strict = context.rules.keep(Rule::CopyHasReign);
    // A copy that was cut off from the reign is as good as lost, though it is not suspect any more.
    let has = |sealed: &Sealed| !sealed.suspect && (sealed.chain.has(record.eid) || !strict);
    let sealed = |node: &NodeId| answers.get(node).is_some_and(has);
    let hopeless = |node: &NodeId| {
        answers.get(node).is_some_and(|it| !has(it)) || context.forgotten.contains(node)
    };
    record.copies.iter().any(sealed)
        || record.copies.iter().all(hopeless)
        || !context.rules.keep(Rule::CopySealed)
}
