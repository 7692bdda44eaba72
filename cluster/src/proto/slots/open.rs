//! OPEN, the opener's side: seal, base, fetch, follower, install, open.

mod base;
mod install;

use std::collections::{BTreeMap, BTreeSet};

use super::context::{Context, Then};
use super::fetch::{Fetched, Fetching};
use super::log::{Basis, Rest};
use super::machine::{Machine, Role};
use super::rules::Rule;
use super::{Action, Eid, Message, NodeId, Sealed};
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
    /// Waiting for the base, piece by piece.
    Fetching,
    /// Storing the basis, here and at the follower.
    Copying,
    /// Waiting for a quorum to store the reign.
    Installing,
}

/// An epoch that is being opened.
#[derive(Clone, Debug)]
pub(super) struct Opening {
    pub(super) eid: Eid,
    began_ms: u64,
    stage: Stage,
    stage_since_ms: u64,
    asked_ms: u64,
    answers: BTreeMap<NodeId, Sealed>,
    fetching: Option<Fetching>,
    /// Where the base ended.
    base_end: u64,
    is_cut: bool,
    /// The opener has stored it all.
    adopted: bool,
    follower: Option<NodeId>,
    /// What the follower asked for last.
    follower_rest: Option<Rest>,
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
            began_ms: context.now.ms,
            stage: Stage::Sealing,
            stage_since_ms: context.now.ms,
            asked_ms: context.now.ms,
            answers: BTreeMap::new(),
            fetching: None,
            base_end: 0,
            is_cut: false,
            adopted: false,
            follower: None,
            follower_rest: None,
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
        } else {
            self.give_up_taking(eid);
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
        if context.was_stopped_since(opening.began_ms) {
            // Others have long opened it without this node, or will.
            return self.abort(context);
        }
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
                let enough = opening.answers.len() as u64
                    >= install::quorum(&opening.answers, context)
                    || !context.is_patient();
                if own && enough && (all || waited >= SEAL_MS) {
                    self.choose(context);
                } else if waited >= 2 * SEAL_MS {
                    self.abort(context);
                } else if context.now.ms >= opening.asked_ms + AGAIN_MS {
                    opening.asked_ms = context.now.ms;
                    self.ask_seals(context);
                }
            }
            Stage::Fetching => match &mut opening.fetching {
                Some(it) if context.now.ms < it.since_ms + STEP_MS => {
                    it.ask_again(self.slot, &self.log, context);
                }
                _ => self.abort(context),
            },
            Stage::Copying if opening.adopted => {
                if opening.in_step || opening.follower.is_none() || waited >= STEP_MS {
                    self.install(context);
                } else if context.now.ms >= opening.asked_ms + AGAIN_MS {
                    self.ask_follower(context);
                }
            }
            Stage::Installing => {
                let enough = opening.installed.len() as u64
                    >= install::quorum(&opening.answers, context)
                    || !context.rules.keep(Rule::QuorumInstalled);
                if enough || waited >= STEP_MS {
                    self.finish(enough, context);
                } else if context.now.ms >= opening.asked_ms + AGAIN_MS {
                    self.ask_installs(context);
                }
            }
            Stage::Copying => {}
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
                    let slot = (self.slot, opening.eid);
                    opening.fetching = Some(Fetching::start(slot, base, &self.log, context));
                    self.enter(Stage::Fetching, context);
                }
            }
            Choice::Cut(end) => {
                opening.base_end = end;
                opening.is_cut = true;
                self.adopt(None, context);
            }
        }
    }

    /// A piece of the base, or of what this node lacks to follow.
    pub(super) fn on_fetched(
        &mut self,
        from: NodeId,
        eid: Eid,
        piece: (Option<Rest>, Basis, Option<Rest>),
        context: &mut Context,
    ) {
        let opening = match &mut self.role {
            Role::Opening(opening) if opening.eid == eid => opening,
            _ => return self.take_piece(from, eid, piece, context),
        };
        let Some(fetching) = &mut opening.fetching else {
            return;
        };
        match fetching.take((self.slot, from), piece, &self.log, context) {
            Fetched::Repeated | Fetched::Part => {}
            Fetched::Changed => self.abort(context),
            Fetched::All(basis) => {
                (opening.fetching, opening.base_end) = (None, basis.end);
                self.adopt(Some(basis), context);
            }
        }
    }

    /// Whether what this node has is what another asks it for: as a base, or to follow it.
    pub(super) fn serves(
        &mut self,
        to: NodeId,
        eid: Eid,
        rest: &Option<Rest>,
        context: &Context,
    ) -> bool {
        match &mut self.role {
            Role::Open(_) => !context.rules.keep(Rule::FetchWhilePromised),
            Role::Opening(opening) if opening.eid == eid => {
                let serves = opening.stage == Stage::Copying && opening.follower == Some(to);
                if serves && opening.follower_rest != *rest {
                    opening.follower_rest.clone_from(rest);
                    opening.stage_since_ms = context.now.ms;
                }
                serves
            }
            _ => true,
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
        let Role::Opening(opening) = &mut self.role else {
            return;
        };
        let Some(follower) = opening.follower else {
            return;
        };
        opening.asked_ms = context.now.ms;
        let sources = opening.answers.keys().copied();
        let message = Message::Follow {
            eid: opening.eid,
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
}

impl Opening {
    fn copies(&self, own: NodeId) -> Vec<NodeId> {
        let follower = self.follower.filter(|_| self.in_step);
        [own].into_iter().chain(follower).collect()
    }
}
