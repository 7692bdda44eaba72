//! Emits in two steps: first taken in, which gives them their order, then answered.
//!
//! Whoever begins emits one after the other has them in that order in each room, and may wait for
//! their answers together: so the emits of one stream share a flush to the disk.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tidings_cluster::{Refused, Submitted};
use tokio::{sync::mpsc, time::Instant};

use super::{Accepted, EmitError, Hub, Kept, Part, Responses, room_names_or_none};
use crate::{
    event::{AckCall, AckReport, Body, Delivery, Emit, EmitRequest, RoomClass, room_names},
    histogram::Histogram,
    node::Node,
    recovery::slot::Offset,
    streams::is_change,
};

/// An emit that was taken in.
#[must_use = "whether it was kept is known later"]
pub struct Begun {
    id: String,
    /// One for each recoverable room.
    appends: Vec<Submitted>,
    /// Since when they are under way, and where it is counted how long they take; if there are any.
    timed: Option<(Instant, Arc<Histogram>)>,
    /// It went to exactly one room, and that is recoverable.
    alone: bool,
}

/// An emit that was sent and whose acknowledgements are awaited.
#[must_use = "the answers come later"]
pub struct Asked {
    reports: mpsc::UnboundedReceiver<AckReport>,
    /// Shards that deliver it.
    shards: usize,
    deadline: Instant,
}

impl Hub {
    /// Takes an emit in; waits while the shards have more than they can take. Emits begun later
    /// come after it in each of its rooms.
    pub async fn begin(&self, node: &Node, request: EmitRequest) -> Result<Begun, EmitError> {
        let namespace = self.check(node, &request)?;
        let began = Instant::now();
        self.count(&request);
        let id = request.id.clone().unwrap_or_else(|| node.ids.emit());
        let is_repeat = is_change(&id) && !self.changes.is_first(&id, began.into_std());
        let (live, single) = self.by_class(node, &request);
        let mut except = room_names_or_none(&request.except);
        let alone = live.is_empty() && single.len() == 1;
        let mut appends = Vec::new();
        let mut kept = Vec::new();
        for (room, class) in single {
            let part = Part {
                namespace,
                room: room.clone(),
                except: except.clone(),
            };
            match class {
                RoomClass::Conflated(_) if is_repeat => {}
                RoomClass::Conflated(interval) => self.conflated(&request, part, interval).await,
                _ => {
                    appends.push(node.recovery.submit(&request, &part, &id).await);
                    kept.push(room.clone());
                }
            }
            except.push(room);
        }
        if !live.is_empty() && !is_repeat {
            let delivery = if request.volatile {
                Delivery::Volatile
            } else {
                Delivery::Live
            };
            let body = Body::new(&request.namespace, &request.event, None);
            self.send(Emit {
                namespace,
                rooms: live,
                except,
                body,
                delivery,
            })
            .await;
        }
        // The node's own clients came first: no peer shall delay them. Recoverable rooms are fed by
        // their owners.
        if !request.local {
            match kept.is_empty() {
                true => node.relay.forward(&request, &id),
                false => forward_rest(node, request, &kept, &id),
            }
        }
        let timed = (!appends.is_empty()).then(|| (began, self.keeping.clone()));
        Ok(Begun {
            id,
            appends,
            timed,
            alone,
        })
    }

    fn count(&self, request: &EmitRequest) {
        if !request.local {
            self.emits.fetch_add(1, Relaxed);
        }
    }

    /// Sends an emit that asks for acknowledgements to this node's clients. Emits begun later come
    /// after it.
    pub(crate) async fn ask(
        &self,
        node: &Node,
        request: EmitRequest,
        timeout: Duration,
    ) -> Result<Asked, EmitError> {
        let namespace = self.check(node, &request)?;
        self.count(&request);
        let deadline = Instant::now() + timeout;
        let id = self.ack_ids.fetch_add(1, Relaxed);
        // Bounded by the sockets that get the emit, each reporting once.
        let (sender, reports) = mpsc::unbounded_channel();
        let rooms = room_names(&request.rooms);
        let mask = self.mask(namespace, &rooms);
        let emit = Emit {
            namespace,
            rooms,
            except: room_names_or_none(&request.except),
            body: Body::with_ack(&request.namespace, &request.event, id),
            delivery: Delivery::Acknowledged(Arc::new(AckCall {
                id,
                reports: sender,
            })),
        };
        let shards = self.send_to(mask, Arc::new(emit)).await;
        Ok(Asked {
            reports,
            shards,
            deadline,
        })
    }
}

/// Forwards an emit to those of its rooms that are not kept, and to none of those that are.
fn forward_rest(node: &Node, mut request: EmitRequest, kept: &[Arc<str>], id: &str) {
    let is_kept = |room: &String| kept.iter().any(|kept| **kept == **room);
    request.rooms.retain(|room| !is_kept(room));
    if request.rooms.is_empty() {
        return;
    }
    let kept = kept.iter().map(|room| room.to_string());
    request.except.extend(kept);
    node.relay.forward(&request, id);
}

impl Begun {
    /// Waits until the histories of recoverable rooms have it.
    pub async fn kept(self) -> Result<Accepted, EmitError> {
        let Self {
            id,
            appends,
            timed,
            alone,
        } = self;
        let mut history: Option<Kept> = None;
        for append in appends {
            let done = append.await.unwrap_or(Err(Refused::Closed));
            let done = done.map_err(|error| match error {
                Refused::Closed => EmitError::Draining,
                Refused::TooLong => EmitError::TooLong("the event is too long to be kept".into()),
                _ => EmitError::History(error.to_string()),
            })?;
            let offset = Offset {
                slot: done.slot,
                position: done.position,
            };
            let before = history.map_or((u8::MAX, true), |kept| (kept.copies, kept.kept));
            history = Some(Kept {
                offset: alone.then_some(offset),
                copies: done.copies.min(before.0),
                kept: done.kept && before.1,
            });
        }
        if let Some((began, keeping)) = timed {
            keeping.took(began.elapsed());
        }
        Ok(Accepted { id, history })
    }
}

impl Asked {
    /// Collects the answers until all are there or the time is over.
    pub async fn answered(self) -> Responses {
        let Self {
            mut reports,
            shards,
            deadline,
        } = self;
        let mut collected = Responses::default();
        let mut reported = 0;
        let mut waiting: HashSet<Arc<str>> = HashSet::new();
        // An answer can overtake its shard's report of having sent.
        let mut early: HashSet<Arc<str>> = HashSet::new();
        while reported < shards || !waiting.is_empty() {
            let report = tokio::time::timeout_at(deadline, reports.recv()).await;
            let Ok(Some(report)) = report else { break };
            match report {
                AckReport::Sent(sockets) => {
                    reported += 1;
                    waiting.extend(sockets.into_iter().filter(|socket| !early.contains(socket)));
                }
                AckReport::Answer {
                    socket,
                    data,
                    attachments,
                } => {
                    if !waiting.remove(&socket) {
                        early.insert(socket.clone());
                    }
                    collected.responses.push((socket, data, attachments));
                }
                AckReport::Gone { socket } => {
                    if !waiting.remove(&socket) {
                        early.insert(socket.clone());
                    }
                    collected.missing.push(socket);
                }
            }
        }
        collected.missing.extend(waiting);
        collected
    }
}
