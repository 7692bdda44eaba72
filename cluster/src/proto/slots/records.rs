//! Records of connections: who may change them.
//!
//! The table is what the end of the log says. Every change is an entry, and is answered when that
//! is committed; so is a request that was made before and is repeated.

use bytes::Bytes;

use super::context::Context;
use super::entry::{MAX_EVENT, MAX_NAME};
use super::machine::{Machine, Role};
use super::owner::Outcome;
use super::rules::Rule;
use super::{Answer, Body, Home, NodeId, Pid, Position, Record, Request};

/// How often records are looked through.
const SWEEP_MS: u64 = 1000;

/// Whether the store takes what a change would write: if not, it would refuse all that comes with it.
fn is_storable(request: &Request) -> bool {
    match request {
        Request::Put { pid, record, .. } => {
            let stale = record.stale.as_ref().map_or(0, |stale| stale.len());
            // A room's place takes some bytes, too.
            let rooms: usize = record.rooms.keys().map(|room| room.len() + 64).sum();
            pid.len() <= MAX_NAME && record.data.len() + stale + rooms <= MAX_EVENT
        }
        Request::Take { pid, .. } | Request::Leave { pid, .. } | Request::Delete { pid, .. } => {
            pid.len() <= MAX_NAME
        }
        Request::Emit { .. } | Request::Read { .. } | Request::History { .. } => true,
    }
}

impl Machine {
    /// Makes the change, or says at once why not.
    pub(super) fn change_record(
        &mut self,
        asker: (NodeId, u64),
        request: Request,
        context: &mut Context,
    ) -> Option<Answer> {
        if !is_storable(&request) {
            return Some(Answer::Invalid);
        }
        match request {
            Request::Put {
                pid,
                record,
                taken,
                last,
            } => self.put(asker, pid, record, (taken, last), context),
            Request::Take { pid, home, offset } => self.take(asker, pid, home, offset, context),
            Request::Leave { pid, home } => {
                let (mut record, _) = match self.held(&pid, home) {
                    Some(held) => held,
                    None => return Some(Answer::Lost),
                };
                record.gone_ms = Some(context.now.wall_ms);
                self.write(asker, pid, Some(record), Outcome::Done, context)
            }
            Request::Delete { pid, home } => {
                if self.held(&pid, home).is_none() {
                    return Some(Answer::Lost);
                }
                self.write(asker, pid, None, Outcome::Done, context)
            }
            Request::Emit { .. } | Request::Read { .. } | Request::History { .. } => None,
        }
    }

    /// A record that a home holds.
    fn held(&self, pid: &Pid, home: Home) -> Option<(Record, u64)> {
        let kept = self.log.records.get(pid)?;
        (kept.record.home == home).then(|| (kept.record.clone(), kept.seq))
    }

    fn write(
        &mut self,
        asker: (NodeId, u64),
        pid: Pid,
        record: Option<Record>,
        outcome: Outcome,
        context: &mut Context,
    ) -> Option<Answer> {
        let seq = self.append(Body::Record { pid, record }, context);
        self.answer_at(seq, asker, outcome, context);
        None
    }

    fn put(
        &mut self,
        asker: (NodeId, u64),
        pid: Pid,
        record: Record,
        (taken, last): (Option<Position>, Option<Position>),
        context: &mut Context,
    ) -> Option<Answer> {
        let Some(kept) = self.log.records.get(&pid) else {
            // One that was deleted, or lost with a branch: only a new one can begin.
            if last.is_some() {
                self.deny(asker, Outcome::Lost, context);
                return None;
            }
            return self.write(asker, pid, Some(record), Outcome::Done, context);
        };
        let (old, seq) = (&kept.record, kept.seq);
        let holds = |position| self.log.chain.holds(position, self.log.end);
        let notice = context.rules.keep(Rule::NoticeFork);
        // The home may have taken it over on two branches, of which this is the other.
        // What it wrote last was written after that: if one is here, so is the other, though nobody
        // remembers its epoch.
        let is_taken_here = taken.is_none_or(holds) || last.is_some_and(holds) || !notice;
        let is_own = old.home == record.home && is_taken_here;
        if is_own || !context.rules.keep(Rule::RefuseOldHome) {
            let renews = old.change == record.change && record.renews(old);
            if old.change >= record.change && !renews {
                self.answer_at(seq, asker, Outcome::Done, context);
                return None;
            }
            return self.write(asker, pid, Some(record), Outcome::Done, context);
        }
        // If what this home wrote last is on this branch, another took the record over from it.
        let is_known = is_taken_here && last.is_none_or(holds);
        if !is_known && notice {
            // What this home did was lost with a branch, and the client may be at either: it must
            // be told.
            let other = old.home;
            self.append(
                Body::Record {
                    pid: pid.clone(),
                    record: None,
                },
                context,
            );
            context.send(
                other.node,
                self.slot,
                super::Message::Evict { pid, home: other },
            );
        }
        Some(Answer::Lost)
    }

    fn take(
        &mut self,
        asker: (NodeId, u64),
        pid: Pid,
        home: Home,
        offset: Option<(Bytes, Position)>,
        context: &mut Context,
    ) -> Option<Answer> {
        let Some(kept) = self.log.records.get(&pid) else {
            self.deny(asker, Outcome::Lost, context);
            return None;
        };
        let offset = offset.filter(|(text, _)| kept.record.stale.as_ref() != Some(text));
        if let Some((_, written)) = offset
            && !self.log.chain.holds(written, self.log.end)
            && context.rules.keep(Rule::KnowWritten)
        {
            // This record lacks what the socket that sent the offset had written: its offset says
            // nothing about the rooms that are known here.
            self.deny(asker, Outcome::Lost, context);
            return None;
        }
        let (mut record, seq) = (kept.record.clone(), kept.seq);
        if record.home == home {
            self.answer_at(seq, asker, Outcome::Taken(record, None), context);
            return None;
        }
        if record
            .gone_ms
            .is_some_and(|gone| self.is_over(gone, context))
        {
            self.deny(asker, Outcome::Lost, context);
            return None;
        }
        let old = record.take(home);
        let taken = Outcome::Taken(record.clone(), Some((pid.clone(), old)));
        self.write(asker, pid, Some(record), taken, context)
    }

    fn is_over(&self, gone_ms: u64, context: &Context) -> bool {
        context.now.wall_ms.saturating_sub(gone_ms) > context.settings.window_ms
    }

    /// Deletes records whose window is over: since they were left, or since their home was seen
    /// to be gone.
    pub(super) fn sweep(&mut self, context: &mut Context) {
        let now_ms = context.now.ms;
        let Role::Open(owned) = &mut self.role else {
            return;
        };
        if now_ms < owned.swept_ms + SWEEP_MS {
            return;
        }
        owned.swept_ms = now_ms;
        let mut gone = std::mem::take(&mut owned.gone);
        gone.retain(|(node, boot), _| !context.is_home_alive(*node, *boot));
        let mut over = Vec::new();
        for (pid, kept) in &self.log.records {
            let home = kept.record.home;
            let is_over = match kept.record.gone_ms {
                Some(gone_ms) => self.is_over(gone_ms, context),
                None if context.is_home_alive(home.node, home.boot) => false,
                None => {
                    let since = *gone.entry((home.node, home.boot)).or_insert(now_ms);
                    now_ms - since > context.settings.window_ms
                }
            };
            if is_over {
                over.push(pid.clone());
            }
        }
        for pid in over {
            self.append(Body::Record { pid, record: None }, context);
        }
        if let Role::Open(owned) = &mut self.role {
            owned.gone = gone;
        }
    }
}
