//! What a node's edge does: actions, emits, and what a process that ends leaves behind.

use super::host::Emit;
use super::{Checked, Event, Kind, World};
use crate::proto::slots::{Action, Answer, Request, Slots, Write};

impl World {
    /// How long the disk takes this time.
    fn disk_ms(&mut self) -> u64 {
        if self.random.percent(self.odds.slow) && !self.is_quiet {
            self.random.below(1500)
        } else {
            self.random.below(8)
        }
    }

    /// Does what follows, at once or at the end of the turn.
    pub(super) fn act_on(&mut self, host: usize) -> Checked {
        if self.odds.turn_ms == 0 || self.is_quiet {
            return self.act_now(host);
        }
        let Some(process) = &mut self.hosts[host].process else {
            return Ok(());
        };
        if !std::mem::replace(&mut process.in_turn, true) {
            let (boot, after) = (process.boot, self.random.below(self.odds.turn_ms));
            self.after(after, Event::Turn { host, boot });
        }
        Ok(())
    }

    pub(super) fn turn(&mut self, host: usize, boot: u64) -> Checked {
        if !self.is_boot(host, boot) {
            return Ok(());
        }
        self.act_now(host)
    }

    /// Only what a process is told is gathered: time, the disk and gossip are not heard before what
    /// followed from that is done.
    pub(super) fn act_now(&mut self, host: usize) -> Checked {
        if let Some(process) = &mut self.hosts[host].process {
            process.in_turn = false;
        }
        loop {
            let actions = self.core(host).map(Slots::actions).unwrap_or_default();
            if actions.is_empty() {
                return self.check(host);
            }
            for action in actions {
                self.act_one(host, action)?;
            }
        }
    }

    fn act_one(&mut self, host: usize, action: Action) -> Checked {
        let boot = self.hosts[host].boot;
        self.trace(|| match &action {
            Action::Deliver { .. } | Action::Roster { .. } => String::new(),
            other => format!("host{host} {other:?}"),
        });
        match action {
            Action::Send { to, slot, message } => {
                self.check_send(host, slot, &message)?;
                self.send(host, (to.0 - 1) as usize, slot, message);
            }
            Action::Store {
                slot,
                writes,
                token,
            } => {
                for write in &writes {
                    if let Write::Put(entry) = write {
                        let known_ms = self.known_ms();
                        let now_ms = self.now_ms;
                        self.truths[usize::from(slot)].stored(entry, now_ms, known_ms)?;
                    }
                }
                let upto = self.hosts[host].disk.write(slot, writes);
                if let Some(token) = token {
                    let after = self.disk_ms();
                    self.after(
                        after,
                        Event::Flushed {
                            host,
                            boot,
                            upto,
                            token,
                        },
                    );
                }
            }
            Action::Sync {
                slot,
                promise,
                record,
                token,
            } => {
                if let Some(record) = &record {
                    self.truths[usize::from(slot)].noted(record.eid);
                }
                self.count += 1;
                let upto = self.count;
                self.hosts[host]
                    .disk
                    .syncing
                    .push((upto, slot, promise, record));
                let after = self.disk_ms();
                if self.stuck.contains(&host) {
                    return Ok(());
                }
                self.after(
                    after,
                    Event::Synced {
                        host,
                        boot,
                        upto,
                        token,
                    },
                );
            }
            Action::Roster { roster, forgotten } => {
                self.hosts[host].disk.roster = (roster, forgotten);
            }
            Action::Opening { slot, eid } => {
                let id = self.hosts[host].id;
                self.truths[usize::from(slot)].opening(eid, id)?;
            }
            Action::Aborted { .. } => self.seen.aborted += 1,
            Action::Opened {
                slot,
                eid,
                copies,
                kept,
                cut,
            } => {
                self.seen.opened += 1;
                self.seen.kept += u64::from(kept);
                self.seen.cuts += u64::from(cut);
                self.opened(host, slot, (eid, copies, kept))?;
                if let Some(process) = &mut self.hosts[host].process {
                    process.claims.insert(slot, eid);
                }
            }
            Action::Closed { slot, .. } => {
                if let Some(process) = &mut self.hosts[host].process {
                    process.claims.remove(&slot);
                }
            }
            Action::Committed {
                slot,
                position,
                kept,
            } => {
                self.seen.committed += 1;
                self.truths[usize::from(slot)].commit(position, kept)?;
                if kept {
                    self.check_records(slot, position)?;
                }
            }
            Action::Answer { rid, answer } => self.answered(host, rid, answer)?,
            Action::Epoch { slot, .. } => self.epoch(host, slot),
            Action::Renew { slot } => self.renew(host, slot),
            Action::Joined { rid, at, .. } => self.joined(host, rid, at)?,
            Action::Deliver { slot, entries } => self.deliver(host, slot, &entries)?,
            Action::Cut { room, .. } => self.cut_room(host, &room),
            Action::Evicted { home, .. } => self.evicted(host, home),
        }
        Ok(())
    }

    /// How long an id must be known; none where clocks are set.
    fn known_ms(&self) -> Option<u64> {
        match self.kind {
            Kind::Clocks => None,
            Kind::Tight => Some(2500),
            _ => Some(super::KNOWN_MS - 1000),
        }
    }

    pub(super) fn emit(&mut self, host: usize, emit: Emit) -> Checked {
        let now = self.now(host);
        let Some(process) = &mut self.hosts[host].process else {
            self.unsure.push(emit);
            return Ok(());
        };
        let rid = process.fresh();
        let request = Request::Emit {
            room: emit.room.clone(),
            id: emit.id.clone(),
            payload: emit.id.clone(),
        };
        let slot = emit.slot;
        process.emits.insert(rid, emit);
        process.core.ask(rid, slot, request, now);
        self.act_on(host)
    }

    fn answered(&mut self, host: usize, rid: u64, answer: Answer) -> Checked {
        let Some(process) = &mut self.hosts[host].process else {
            return Ok(());
        };
        if let Some(wanted) = process.wanted.remove(&rid) {
            return self.gateway_answered(host, wanted, answer);
        }
        let Some(emit) = process.emits.remove(&rid) else {
            return Ok(());
        };
        match answer {
            Answer::Done { position, .. } => {
                self.seen.emitted += 1;
                let truth = &self.truths[usize::from(emit.slot)];
                let fact = truth.fact(position);
                if fact.is_none_or(|it| (&it.room, &it.id) != (&Some(emit.room), &emit.id)) {
                    return Err(format!(
                        "{position:?} is {fact:?}, not {:?}",
                        truth.find(&emit.id)
                    ));
                }
                if !truth.is_committed(position) {
                    return Err(format!("4: {position:?} is answered and not committed"));
                }
                Ok(())
            }
            Answer::Unavailable => {
                self.seen.unavailable += 1;
                self.unsure.push(emit);
                Ok(())
            }
            other => Err(format!("an emit is answered {other:?}")),
        }
    }

    /// What a host that ends leaves open.
    pub(super) fn end(&mut self, host: usize) {
        if let Some(process) = self.hosts[host].process.take() {
            self.unsure.extend(process.emits.into_values());
            for client in &mut self.clients {
                if client
                    .home
                    .is_some_and(|(it, boot, _)| (it, boot) == (host, process.boot))
                {
                    client.lose();
                }
            }
        }
    }
}
