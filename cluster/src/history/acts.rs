//! Carrying out what the core decides.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::driver::Driver;
use super::figures::{OwnedStatus, SlotStatus, add};
use super::input::Reply;
use super::told::Told;
use super::{Done, Refused};
use crate::proto::slots::{Action, Answer, Body, Entry, Position, Room, SlotNo};

impl Driver {
    /// Does all that is to be done, in order.
    pub(super) fn act(&mut self) {
        loop {
            let actions = self.core.actions();
            if actions.is_empty() {
                break;
            }
            actions.into_iter().for_each(|action| self.act_one(action));
        }
        self.peers.publish();
    }

    fn act_one(&mut self, action: Action) {
        let now_ms = self.now().ms;
        match action {
            Action::Send { to, slot, message } => self.peers.send(to, slot, &message),
            Action::Store {
                slot,
                writes,
                token,
            } => self.disk.store(slot, &writes, token),
            Action::Sync {
                slot,
                promise,
                record,
                token,
            } => self.disk.sync(slot, promise, record, token),
            Action::Roster { roster, forgotten } => {
                self.roster = (roster.clone(), forgotten.clone());
                self.resize();
                self.peers.forget(forgotten.clone());
                self.disk.roster(roster, forgotten);
            }
            Action::Opening { slot, .. } => self.reigns.opening(slot, now_ms),
            Action::Aborted { slot } => self.reigns.aborted(slot, &self.shared.figures),
            Action::Opened {
                slot,
                eid,
                copies,
                kept,
                cut,
            } => {
                add(&self.shared.figures.cuts, u64::from(cut));
                let (owned, figures) = ((copies.len(), kept), &self.shared.figures);
                self.reigns.opened(slot, owned, now_ms, figures);
                self.peers.opened(slot, eid);
            }
            Action::Closed { slot, eid } => {
                self.reigns.closed(slot);
                self.peers.closed(slot, eid);
            }
            Action::Epoch { slot, eid } => {
                self.reigns.given_up(slot);
                self.teller.tell(Told::Epoch { slot, eid });
            }
            Action::Renew { slot } => self.teller.tell(Told::Renew { slot }),
            Action::Committed { .. } => {}
            Action::Answer { rid, answer } => self.answered(rid, answer),
            Action::Joined { rid, at, .. } => self.rooms.joined(rid, at),
            Action::Deliver { slot, entries } => {
                if let Err(entries) = self.teller.deliver(slot, entries) {
                    self.cut_off(slot, &entries);
                }
            }
            Action::Cut { slot, room } => self.cut(slot, room),
            Action::Evicted { pid, home } => self.teller.tell(Told::Evicted { pid, home }),
        }
    }

    /// The program does not keep up: it is to pull what these are.
    fn cut_off(&mut self, slot: SlotNo, entries: &[Arc<Entry>]) {
        let now = self.now();
        let rooms = entries.iter().filter_map(|entry| match &entry.body {
            Body::Event { room, .. } => Some(room.clone()),
            Body::Record { .. } => None,
        });
        for room in rooms.collect::<BTreeSet<Room>>() {
            self.core.leave(slot, &room, now);
            self.cut(slot, room);
        }
    }

    fn cut(&mut self, slot: SlotNo, room: Room) {
        if self.rooms.cut(slot, &room) {
            add(&self.shared.figures.rooms_cut, 1);
            self.teller.tell(Told::Cut { slot, room });
        }
    }

    /// What is known of each slot.
    pub(super) fn status(&self) -> Vec<SlotStatus> {
        let status = (0..=SlotNo::MAX).map(|slot| {
            let look = self.core.look(slot);
            let owned = look.owned.map(|owned| OwnedStatus {
                copies: owned.copies,
                kept: owned.kept,
                commit: Position {
                    eid: owned.eid,
                    seq: owned.commit,
                },
                entries: look.entries,
                bytes: look.bytes,
                records: look.records,
                listeners: owned.listeners,
            });
            SlotStatus {
                slot,
                owner: look.owner.map(|(_, id)| (id, self.peers.name(id).cloned())),
                eid: look.owner.map(|(eid, _)| eid),
                owned,
            }
        });
        status.collect()
    }

    fn answered(&mut self, rid: u64, answer: Answer) {
        let Some(pending) = self.pending.remove(&rid) else {
            return;
        };
        let figures = &self.shared.figures;
        let slot = pending.slot;
        if answer == Answer::Unavailable {
            add(&figures.refused, 1);
        }
        match (pending.answer, answer) {
            (
                Reply::Done(to),
                Answer::Done {
                    position,
                    copies,
                    kept,
                },
            ) => {
                let count = if kept {
                    &figures.kept
                } else {
                    &figures.not_kept
                };
                add(count, 1);
                let _ = to.send(Ok(Done {
                    slot,
                    position,
                    copies,
                    kept,
                }));
            }
            (Reply::Done(to), _) => drop(to.send(Err(Refused::Unavailable))),
            (Reply::Answer(to), answer) => drop(to.send(answer)),
        }
    }
}
