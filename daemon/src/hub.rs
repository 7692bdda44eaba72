//! The node's switchboard: emits go out to the shards that have members, questions to all shards.

pub mod begin;
mod changes;
pub(crate) mod latest;
pub(crate) mod names;
pub mod query;
pub(crate) mod registry;

use std::{
    hash::{BuildHasher, RandomState},
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, Instant},
};

use crate::{
    event::{Body, Delivery, Emit, EmitRequest, Event, RoomClass, room_names},
    histogram::Histogram,
    node::Node,
    recovery::slot::{Offset, SlotNo},
    shard::{
        command::{Command, Load, ShardHandle},
        rooms::NamespaceId,
    },
};
use bytes::Bytes;
use latest::Latest;
use names::Namespaces;
use registry::Registry;

/// What became of an emit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The caller's idempotency key, or the one made for it.
    pub id: String,
    /// What the history says of it, if it went to recoverable rooms.
    pub history: Option<Kept>,
}

/// What the history says of an emit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Where it is, if it went to exactly one recoverable room and no other.
    pub offset: Option<Offset>,
    /// How many nodes hold it; of several rooms the fewest.
    pub copies: u8,
    /// Whether it is on the branch that goes on. If not, clients will be told.
    pub kept: bool,
}

/// Why an emit was refused. Nothing was sent, except where it says so.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EmitError {
    /// No such namespace.
    #[error("there is no namespace {0:?}")]
    Namespace(String),
    /// Room names must be 1 to 256 bytes long.
    #[error("a room's name has 1 to {MAX_ROOM} bytes, {0:?} has not")]
    Room(String),
    /// The event's name may not be used.
    #[error("the event name {0:?} is reserved or not 1 to {MAX_EVENT} bytes long")]
    EventName(String),
    /// It is too long to be kept.
    #[error("{0}")]
    TooLong(String),
    /// The history did not take it; other rooms of the same emit may have got it.
    #[error("the event could not be kept: {0}")]
    History(String),
    /// The node drains.
    #[error("this node is shutting down")]
    Draining,
    /// The node does not know yet where the other nodes' listeners are.
    #[error("this node is joining its cluster")]
    Joining,
}

/// How long an emit's id is known: a repeat within it is not sent again.
pub const IDEMPOTENCY: Duration = Duration::from_secs(120);

/// The longest name of a room, in bytes.
pub const MAX_ROOM: usize = 256;

/// The longest name of an event, in bytes.
pub const MAX_EVENT: usize = 256;

/// The answers to an emit that asked for them.
#[derive(Debug, Default)]
pub struct Responses {
    /// Socket id, arguments as a JSON array, attachments; in the order of arrival.
    pub responses: Vec<(Arc<str>, String, Vec<Bytes>)>,
    /// Sockets that got it and did not answer in time.
    pub missing: Vec<Arc<str>>,
}

/// The switchboard.
pub struct Hub {
    pub(crate) shards: Vec<ShardHandle>,
    /// Which shards have members of which rooms.
    pub(crate) registry: Registry,
    /// Changes of streams that were delivered.
    changes: changes::Changes,
    /// The last value of conflated rooms.
    pub(crate) latest: Latest,
    pub(crate) namespaces: Namespaces,
    /// From when an emit to recoverable rooms was taken in until their histories had it.
    pub(crate) keeping: Arc<Histogram>,
    /// Packet ids of emits that ask for acknowledgements, unique on the node.
    ack_ids: AtomicU64,
    /// Emits that were taken in here, those of peers not included.
    pub(crate) emits: AtomicU64,
    keys: RandomState,
}

impl Hub {
    /// A switchboard of these shards.
    pub(crate) fn new(shards: Vec<ShardHandle>) -> Self {
        Self {
            shards,
            registry: Registry::default(),
            changes: changes::Changes::default(),
            latest: Latest::default(),
            namespaces: Namespaces::default(),
            keeping: Arc::default(),
            ack_ids: AtomicU64::new(0),
            emits: AtomicU64::new(0),
            keys: RandomState::new(),
        }
    }

    /// Sends an event to rooms; waits while the shards have more than they can take. A socket
    /// gets it once, however many of the rooms it is in.
    pub async fn emit(&self, node: &Node, request: EmitRequest) -> Result<Accepted, EmitError> {
        self.begin(node, request).await?.kept().await
    }

    /// What follows in a recoverable room cannot be proved to be all: its members come again.
    pub(crate) async fn cut(&self, namespace: &str, room: &str) {
        let Some(number) = self.namespaces.find(namespace) else {
            return;
        };
        let room: Arc<str> = room.into();
        self.ask_all(move |state| state.cut(number, &room)).await;
    }

    /// Another owner has the records of a slot: their homes write them again.
    pub(crate) async fn write_records(&self, slot: SlotNo) {
        self.ask_all(move |state| state.write_records(slot)).await;
    }

    /// Places in a slot will soon be too old to be proved: records that name some are written again,
    /// which names them anew.
    pub(crate) async fn renew_records(&self, slot: SlotNo) {
        self.ask_all(move |state| state.renew_records(slot)).await;
    }

    /// Has every shard look at what may have become possible.
    pub(crate) fn wake_shards(&self) {
        for shard in &self.shards {
            shard.wake.notify_one();
        }
    }

    /// Feeds a committed entry of a recoverable room to the shards that have members.
    pub(crate) async fn feed(&self, shards: u64, part: Part, body: Body, offset: Offset) {
        let Part {
            namespace,
            room,
            except,
        } = part;
        let emit = Emit {
            namespace,
            rooms: vec![room],
            except,
            body,
            delivery: Delivery::Recoverable { offset },
        };
        self.send_to(shards, Arc::new(emit)).await;
    }

    async fn conflated(&self, request: &EmitRequest, part: Part, interval: Duration) {
        let Part {
            namespace,
            room,
            except,
        } = part;
        let body = Body::new(&request.namespace, &request.event, None);
        let key = self.value_key(namespace, &room, &request.event);
        let make = value(namespace, room.clone(), except, body, (interval, key));
        let emit = self.latest.put(namespace, &room, make);
        let mask = self.mask(namespace, &emit.rooms);
        self.send_to(mask, emit).await;
    }

    /// Takes in the last value of a conflated room that a peer had, unless a later one came.
    pub(crate) async fn late_value(
        &self,
        node: &Node,
        namespace: &str,
        room: Arc<str>,
        event: &Event,
        at: Instant,
    ) {
        let RoomClass::Conflated(interval) = node.handler.class(namespace, &room) else {
            return;
        };
        let Some(number) = self.namespaces.find(namespace) else {
            return;
        };
        let key = self.value_key(number, &room, event);
        let body = Body::new(namespace, event, None);
        let make = value(number, room.clone(), Vec::new(), body, (interval, key));
        if let Some(emit) = self.latest.put_late(number, &room, (event, at), make) {
            let mask = self.mask(number, &emit.rooms);
            self.send_to(mask, emit).await;
        }
    }

    /// Names a value in an outbox.
    fn value_key(&self, namespace: NamespaceId, room: &str, event: &Event) -> u64 {
        self.keys.hash_one((namespace, room, &event.name))
    }

    /// Rooms that can share one delivery, and those that must be served one by one.
    fn by_class(&self, node: &Node, request: &EmitRequest) -> (Vec<Arc<str>>, Vec<Classed>) {
        // What is for one node alone, or has come from another, is not for the history.
        let unkept = request.volatile || request.local;
        let mut live = Vec::new();
        let mut single = Vec::new();
        for room in room_names(&request.rooms) {
            match node.handler.class(&request.namespace, &room) {
                RoomClass::Live => live.push(room),
                RoomClass::Recoverable if unkept => live.push(room),
                class => single.push((room, class)),
            }
        }
        (live, single)
    }

    fn check(&self, node: &Node, request: &EmitRequest) -> Result<NamespaceId, EmitError> {
        if node.is_closed() {
            return Err(EmitError::Draining);
        }
        if !request.local && node.relay.is_joining() {
            return Err(EmitError::Joining);
        }
        let unknown = || EmitError::Namespace(request.namespace.clone());
        node.handler
            .namespace(&request.namespace)
            .ok_or_else(unknown)?;
        let namespace = self
            .namespaces
            .intern(&request.namespace)
            .ok_or_else(unknown)?;
        let illegal = |room: &&String| room.is_empty() || room.len() > MAX_ROOM;
        if let Some(room) = request.rooms.iter().chain(&request.except).find(illegal) {
            return Err(EmitError::Room(room.chars().take(64).collect()));
        }
        let name = &request.event.name;
        let reserved = crate::protocol::socket::RESERVED_NAMES.contains(&name.as_str());
        if reserved || name.is_empty() || name.len() > MAX_EVENT {
            return Err(EmitError::EventName(name.chars().take(64).collect()));
        }
        Ok(namespace)
    }

    /// The shards that have members of any of the rooms. A name that no room has may be a
    /// socket's id, which any shard may know.
    pub(crate) fn mask(&self, namespace: NamespaceId, rooms: &[Arc<str>]) -> u64 {
        let every = u64::MAX >> (64 - self.shards.len());
        rooms.iter().fold(0, |mask, room| {
            mask | match self.registry.shards(namespace, room) {
                0 if crate::node::socket_home(room).is_some() => every,
                found => found,
            }
        })
    }

    async fn send(&self, emit: Emit) {
        let mask = self.mask(emit.namespace, &emit.rooms);
        self.send_to(mask, Arc::new(emit)).await;
    }

    /// Puts an emit into the mailboxes of shards, waiting for room; returns to how many.
    async fn send_to(&self, mask: u64, emit: Arc<Emit>) -> usize {
        let mut sent = 0;
        for (index, shard) in self.shards.iter().enumerate() {
            if mask & (1 << index) == 0 {
                continue;
            }
            // The history is one queue for all rooms and must not wait for one room's clients.
            if !matches!(emit.delivery, Delivery::Recoverable { .. }) {
                catch_up(&shard.load).await;
            }
            let emit = Command::Emit(emit.clone());
            sent += usize::from(shard.mailbox.send(emit).await.is_ok());
        }
        sent
    }
}

/// A conflated room's value, once it has its stamp.
fn value(
    namespace: NamespaceId,
    room: Arc<str>,
    except: Vec<Arc<str>>,
    body: Body,
    (interval, key): (Duration, u64),
) -> impl FnOnce(u64) -> Emit {
    move |stamp| Emit {
        namespace,
        rooms: vec![room],
        except,
        body,
        delivery: Delivery::Conflated {
            stamp,
            interval,
            key,
        },
    }
}

/// Lets the clients of a shard catch up, for a moment: an emitter that is faster than all of them
/// shall wait rather than have them closed as slow readers. Bounded, as they may never catch up.
async fn catch_up(load: &Load) {
    const MOMENT: Duration = Duration::from_millis(100);
    const PAUSE: Duration = Duration::from_millis(2);
    let until = Instant::now() + MOMENT;
    while load.is_behind() && Instant::now() < until {
        tokio::time::sleep(PAUSE).await;
    }
}

/// A room that is served on its own, and why.
type Classed = (Arc<str>, RoomClass);

/// One room's part of an emit.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) namespace: NamespaceId,
    pub(crate) room: Arc<str>,
    pub(crate) except: Vec<Arc<str>>,
}

fn room_names_or_none(rooms: &[String]) -> Vec<Arc<str>> {
    if rooms.is_empty() {
        Vec::new()
    } else {
        room_names(rooms)
    }
}
