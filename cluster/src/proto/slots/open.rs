//! OPEN, the opener's side: seal, base, fetch, follower, install, open.

mod base;

use std::collections::{BTreeMap, BTreeSet};

use super::context::{Context, Then};
use super::log::Basis;
use super::machine::{Machine, Role};
use super::owner::Ownership;
use super::rules::Rule;
use super::{Action, Eid, Message, NodeId, Reign, Sealed};
use base::Choice;

/// How long all nodes that are seen alive are waited for.
const SEAL_MS: u64 = 3000;
/// How long one node is waited for in a later step.
const STEP_MS: u64 = 1000;
/// How often what is not answered is asked again.
const AGAIN_MS: u64 = 250;

/// How far an opener has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Collecting promises.
    Sealing,
    /// Waiting for the base.
    Fetching(NodeId),
    /// Storing the basis, here and at the follower.
    Copying,
    /// Waiting for a quorum to store the reign.
    Installing,
}

/// An epoch that is being opened.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) eid: Eid,
    stage: Stage,
    stage_since_ms: u64,
    asked_ms: u64,
    answers: BTreeMap<NodeId, Sealed>,
    /// Where the base ended.
    base_end: u64,
    is_cut: bool,
    /// The opener has stored it all.
    adopted: bool,
    follower: Option<NodeId>,
    in_step: bool,
    installed: BTreeSet<NodeId>,
}

impl Machine {
    /// Begins to open the slot, with an epoch above all that were heard of.
    pub(super) fn start_open(&mut self, context: &mut Context) {
        self.close(context);
        let eid = Eid {
            counter: self.seen.max(self.promise.counter) + 1,
            random: context.random(),
        };
        self.see(eid);
        context.actions.push(Action::Opening {
            slot: self.slot,
            eid,
        });
        self.role = Role::Opening(Box::new(Opening {
            eid,
            stage: Stage::Sealing,
            stage_since_ms: context.now.ms,
            asked_ms: context.now.ms,
            answers: BTreeMap::new(),
            base_end: 0,
            is_cut: false,
            adopted: false,
            follower: None,
            in_step: false,
            installed: BTreeSet::new(),
        }));
        self.ask_seals(context);
    }

    fn opening(&mut self, eid: Eid) -> Option<&mut Opening> {
        match &mut self.role {
            Role::Opening(opening) if opening.eid == eid => Some(opening),
            _ => None,
        }
    }

    fn ask_seals(&mut self, context: &mut Context) {
        let Role::Opening(opening) = &self.role else {
            return;
        };
        let alive = context.view.alive.iter().copied().chain([context.id]);
        let missing: BTreeSet<NodeId> = alive
            .filter(|node| context.is_alive(*node) && !opening.answers.contains_key(node))
            .collect();
        for node in missing {
            context.send(node, self.slot, Message::Seal { eid: opening.eid });
        }
    }

    pub(super) fn on_sealed(
        &mut self,
        from: NodeId,
        eid: Eid,
        sealed: Sealed,
        context: &mut Context,
    ) {
        if context.forgotten.contains(&from) {
            return;
        }
        let Some(opening) = self.opening(eid) else {
            return;
        };
        if opening.stage == Stage::Sealing {
            opening.answers.insert(from, sealed);
            self.advance(context);
        }
    }

    /// A higher promise was given somewhere: it is for another to open the slot, or to try later.
    pub(super) fn on_refused(&mut self, eid: Eid, promise: Eid, context: &mut Context) {
        self.see(promise);
        if self.opening(eid).is_some() {
            self.abort(context);
        }
    }

    fn abort(&mut self, context: &mut Context) {
        self.role = Role::None;
        self.back_off(context);
        context.actions.push(Action::Aborted { slot: self.slot });
    }

    pub(super) fn back_off(&mut self, context: &mut Context) {
        self.attempts += 1;
        let most = 200 << self.attempts.min(5);
        self.not_before_ms = context.now.ms + 50 + context.random() % most;
    }

    /// Goes on if what is waited for is there, or has been waited for long enough.
    pub(super) fn advance(&mut self, context: &mut Context) {
        let Role::Opening(opening) = &mut self.role else {
            return;
        };
        let waited = context.now.ms.saturating_sub(opening.stage_since_ms);
        match opening.stage {
            Stage::Sealing => {
                let mut alive = context
                    .view
                    .alive
                    .iter()
                    .filter(|it| context.is_alive(**it));
                let all = alive.all(|node| opening.answers.contains_key(node));
                let own = opening.answers.contains_key(&context.id);
                if own && (all || waited >= SEAL_MS) {
                    self.choose(context);
                } else if waited >= 2 * SEAL_MS {
                    self.abort(context);
                } else if context.now.ms >= opening.asked_ms + AGAIN_MS {
                    opening.asked_ms = context.now.ms;
                    self.ask_seals(context);
                }
            }
            Stage::Fetching(_) if waited >= STEP_MS => self.abort(context),
            Stage::Fetching(base) if context.now.ms >= opening.asked_ms + AGAIN_MS => {
                self.fetch(base, context);
            }
            Stage::Copying if opening.adopted => {
                if opening.in_step || opening.follower.is_none() || waited >= STEP_MS {
                    self.install(context);
                } else if context.now.ms >= opening.asked_ms + AGAIN_MS {
                    self.ask_follower(context);
                }
            }
            Stage::Installing => {
                let enough = opening.installed.len() as u64 >= quorum(&opening.answers, context)
                    || !context.rules.keep(Rule::QuorumInstalled);
                if enough || waited >= STEP_MS {
                    self.finish(enough, context);
                } else if context.now.ms >= opening.asked_ms + AGAIN_MS {
                    self.ask_installs(context);
                }
            }
            Stage::Fetching(_) | Stage::Copying => {}
        }
    }

    fn enter(&mut self, stage: Stage, context: &Context) {
        if let Role::Opening(opening) = &mut self.role {
            opening.stage = stage;
            opening.stage_since_ms = context.now.ms;
            opening.asked_ms = context.now.ms;
        }
    }

    /// Step 2.
    fn choose(&mut self, context: &mut Context) {
        let Role::Opening(opening) = &mut self.role else {
            return;
        };
        match base::choose(&opening.answers, context) {
            Choice::Base(base, end) => {
                opening.base_end = end;
                if base == context.id {
                    self.adopt(None, context);
                } else {
                    self.enter(Stage::Fetching(base), context);
                    self.fetch(base, context);
                }
            }
            Choice::Cut(end) => {
                opening.base_end = end;
                opening.is_cut = true;
                self.adopt(None, context);
            }
        }
    }

    fn fetch(&mut self, base: NodeId, context: &mut Context) {
        if let Role::Opening(opening) = &mut self.role {
            opening.asked_ms = context.now.ms;
            let (eid, chain, end) = (opening.eid, self.log.chain.clone(), self.log.end);
            context.send(base, self.slot, Message::Fetch { eid, chain, end });
        }
    }

    pub(super) fn on_fetched(
        &mut self,
        from: NodeId,
        eid: Eid,
        basis: Basis,
        context: &mut Context,
    ) {
        let Some(opening) = self.opening(eid) else {
            return;
        };
        if opening.stage == Stage::Fetching(from) {
            opening.base_end = basis.end;
            self.adopt(Some(basis), context);
        }
    }

    /// Step 3: begins the epoch on the base, and asks the follower to.
    fn adopt(&mut self, basis: Option<Basis>, context: &mut Context) {
        self.enter(Stage::Copying, context);
        let Role::Opening(opening) = &mut self.role else {
            return;
        };
        let (eid, end) = (opening.eid, opening.base_end);
        let mut writes = Vec::new();
        if opening.is_cut {
            self.log.cut(end, &mut writes);
        } else if let Some(mut basis) = basis {
            if !context.rules.keep(Rule::TransferRecords) {
                basis.records = self.log.records.clone().into_iter().collect();
            }
            let drop = context.rules.keep(Rule::DropUnfit);
            self.log.adopt(basis, &mut writes, drop);
        }
        self.suspect = false;
        self.log.chain.open(eid, end + 1);
        writes.push(super::Write::Chain(self.log.chain.clone()));
        writes.push(super::Write::Suspect(false));
        let answered = super::rendezvous(self.slot, opening.answers.keys().copied());
        let ready = |node: &NodeId| context.view.ready.contains(node);
        opening.follower = answered
            .into_iter()
            .find(|node| *node != context.id && ready(node));
        let sources = opening.answers.keys().copied();
        self.fill = super::fill::Filling::new(sources.filter(|node| *node != context.id));
        context.store(self.slot, writes, Some(Then::Adopted(self.slot, eid)));
        self.ask_follower(context);
    }

    fn ask_follower(&mut self, context: &mut Context) {
        let most = context.settings.fetch_entries;
        let Role::Opening(opening) = &mut self.role else {
            return;
        };
        let Some(follower) = opening.follower else {
            return;
        };
        opening.asked_ms = context.now.ms;
        let its = &opening.answers[&follower];
        let basis = self.log.basis(&its.chain, its.end, most);
        let sources = opening.answers.keys().copied();
        let message = Message::Follow {
            eid: opening.eid,
            basis,
            sources: sources.filter(|node| *node != follower).collect(),
        };
        context.send(follower, self.slot, message);
    }

    pub(super) fn on_adopted(&mut self, eid: Eid, context: &mut Context) {
        if let Some(opening) = self.opening(eid) {
            opening.adopted = true;
            self.advance(context);
        }
    }

    pub(super) fn on_followed(&mut self, from: NodeId, eid: Eid, context: &mut Context) {
        if let Some(opening) = self.opening(eid)
            && opening.stage == Stage::Copying
            && opening.follower == Some(from)
        {
            opening.in_step = true;
            self.advance(context);
        }
    }

    /// Step 4: who holds the slot is to be known to a quorum, if it may be.
    fn install(&mut self, context: &mut Context) {
        let Role::Opening(opening) = &self.role else {
            return;
        };
        let copied = opening.in_step || context.size() == 1;
        if copied && base::may_install(&opening.answers, context) {
            self.enter(Stage::Installing, context);
            self.ask_installs(context);
        } else {
            self.finish(false, context);
        }
    }

    fn ask_installs(&mut self, context: &mut Context) {
        let Role::Opening(opening) = &mut self.role else {
            return;
        };
        opening.asked_ms = context.now.ms;
        let reign = Reign {
            eid: opening.eid,
            copies: opening.copies(context.id),
        };
        let missing = opening
            .answers
            .keys()
            .filter(|it| !opening.installed.contains(it));
        for node in missing.copied().collect::<Vec<_>>() {
            let reign = reign.clone();
            context.send(node, self.slot, Message::Install { reign });
        }
    }

    pub(super) fn on_installed(&mut self, from: NodeId, eid: Eid, context: &mut Context) {
        if let Some(opening) = self.opening(eid)
            && opening.stage == Stage::Installing
        {
            opening.installed.insert(from);
            self.advance(context);
        }
    }

    /// Step 5.
    fn finish(&mut self, kept: bool, context: &mut Context) {
        let Role::Opening(opening) = std::mem::take(&mut self.role) else {
            return;
        };
        if self.promise != opening.eid {
            return self.abort(context);
        }
        let copies = opening.copies(context.id);
        context.actions.push(Action::Opened {
            slot: self.slot,
            eid: opening.eid,
            copies: copies.clone(),
            kept,
            cut: opening.is_cut,
        });
        self.claims.remove(&context.id);
        self.due_since_ms = None;
        if kept {
            self.attempts = 0;
        } else {
            self.back_off(context);
        }
        let (eid, end) = (opening.eid, opening.base_end);
        let size = size(&opening.answers, context);
        let owned = Ownership::new(eid, copies, (kept, size), end, context);
        self.role = Role::Open(Box::new(owned));
    }
}

impl Opening {
    fn copies(&self, own: NodeId) -> Vec<NodeId> {
        let follower = self.follower.filter(|_| self.in_step);
        [own].into_iter().chain(follower).collect()
    }
}

/// How many nodes the cluster has, by what all that were sealed know.
fn size(answers: &BTreeMap<NodeId, Sealed>, context: &Context) -> u64 {
    let sizes = answers.values().map(|sealed| sealed.size);
    sizes.fold(context.size(), u64::max)
}

fn quorum(answers: &BTreeMap<NodeId, Sealed>, context: &Context) -> u64 {
    size(answers, context) / 2 + 1
}
