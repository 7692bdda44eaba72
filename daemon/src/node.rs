//! What all parts of a node share: settings, handler, switchboard, limits, the way to the control
//! plane. Made once at start; shards and control plane hold it by `Arc`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use ipnet::IpNet;
use tidings_cluster::proto::RoomKey;
use tidings_storage::mongo::Mongo;
use tokio::sync::mpsc;

use crate::{
    acme::Acme,
    admin_ui::Watch,
    app::{handler::Handler, limits::Limits, random::fill, shared::SharedSessions},
    config::Transports,
    event::EmitRequest,
    http::{
        origin::OriginPolicy,
        public::Routes,
        tls::{self, Shown},
    },
    hub::Hub,
    live::Live,
    recovery::desk::Desk,
    relay::Relay,
    shard::{command::Job, machine::Timing},
    streams::StreamFigures,
};

/// What shards need of the configuration.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The node's name.
    pub(crate) name: String,
    pub(crate) timing: Timing,
    pub(crate) transports: Transports,
    /// Where Socket.IO lives; begins and ends in `/`.
    pub(crate) path: String,
    /// Where raw Engine.IO lives, for conformance tests only.
    pub(crate) raw_path: Option<String>,
    /// Bytes in one packet from a client.
    pub(crate) payload: usize,
    /// Bytes that may wait for one client.
    pub(crate) outbox: usize,
    /// Bytes in the head of a request.
    pub(crate) header: usize,
}

/// Whom the node lets in; a reload may change it.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    /// Engine.IO connections on this node.
    pub(crate) connections: usize,
    /// Proxies that are believed about where a request came from.
    pub(crate) proxies: Vec<IpNet>,
    /// Pages of other hosts that may connect.
    pub(crate) origins: OriginPolicy,
}

/// How far a node's life has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// It is being built.
    Starting,
    /// It serves.
    Ready,
    /// It takes no new clients and moves its own; emits still go out.
    Draining,
    /// It takes no more emits.
    Closed,
}

/// One node.
pub struct Node {
    pub(crate) settings: Settings,
    pub(crate) access: Live<Access>,
    pub(crate) handler: Arc<dyn Handler>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) limits: Limits,
    pub(crate) recovery: Desk,
    /// The way to the other nodes, if there are any.
    pub(crate) relay: Arc<Relay>,
    /// The MongoDB that an application shares, if there is one.
    pub(crate) mongo: Option<Mongo>,
    /// The logins that it keeps there.
    pub(crate) shared: Option<SharedSessions>,
    /// Public routes beside Socket.IO and health.
    pub(crate) routes: Arc<dyn Routes>,
    /// The certificate that clients are shown.
    pub(crate) tls: Option<Live<tls::Shown>>,
    /// What operators see of it.
    pub(crate) certificate: tls::Figures,
    /// Gets it from a CA, if it comes from one.
    pub(crate) acme: Option<Acme>,
    /// Work that shards leave to the control plane; bounded, further jobs wait on the shards.
    pub(crate) jobs: mpsc::Sender<Job>,
    /// Emits of handlers, in order; bounded, refused when full.
    pub(crate) emits: mpsc::Sender<EmitRequest>,
    /// What was done with each stream of the configuration.
    pub(crate) streams: Vec<Arc<StreamFigures>>,
    /// The admin UI, if there is one.
    pub(crate) admin_ui: Option<Arc<Watch>>,
    pub(crate) ids: Ids,
    pub(crate) started: Instant,
    pub(crate) phase: AtomicU8,
    /// Whether a part of it does not answer.
    pub(crate) stuck: AtomicBool,
}

impl Node {
    /// How far the node's life has come.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Ready,
            2 => Phase::Draining,
            _ => Phase::Closed,
        }
    }

    /// The node's life goes on.
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::AcqRel);
    }

    /// Whether new clients are refused.
    pub(crate) fn is_draining(&self) -> bool {
        self.phase() >= Phase::Draining
    }

    /// Whether emits are refused.
    pub(crate) fn is_closed(&self) -> bool {
        self.phase() >= Phase::Closed
    }

    /// Whether a shard or the control plane has not answered in time.
    pub fn is_stuck(&self) -> bool {
        self.stuck.load(Ordering::Relaxed)
    }

    pub(crate) fn set_stuck(&self, stuck: bool) {
        self.stuck.store(stuck, Ordering::Relaxed);
    }

    /// Shows another certificate to the clients that come from here on.
    pub(crate) fn show_certificate(&self, shown: Shown) {
        if let Some(tls) = &self.tls {
            self.certificate.renewed();
            tls.replace(shown);
            self.warn_if_bare();
        }
    }

    /// Tells the log that clients will refuse what they are shown, or are shown nothing.
    pub(crate) fn warn_if_bare(&self) {
        if self.is_bare() {
            tracing::warn!(
                "there is no certificate that is valid now: clients cannot connect over TLS"
            );
        }
    }

    /// Whether it speaks TLS and has no certificate that is valid now.
    pub(crate) fn is_bare(&self) -> bool {
        let now = (now_ms() / 1000) as i64;
        self.tls
            .as_ref()
            .is_some_and(|tls| match tls.now().lifetime {
                Some(lifetime) => !lifetime.holds(now),
                None => self.acme.is_some(),
            })
    }

    /// The switchboard.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// The way to the other nodes, and to the whole cluster's sockets and rooms.
    pub fn relay(&self) -> &Arc<Relay> {
        &self.relay
    }

    /// The node's name.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// How long the node has been up.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Engine.IO connections on this node.
    pub fn connections(&self) -> usize {
        let count = |shard: &crate::shard::command::ShardHandle| {
            shard.load.connections.load(Ordering::Relaxed)
        };
        self.hub.shards.iter().map(count).sum()
    }
}

/// Makes ids. All are unguessable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ids {
    /// This boot of this node, in ids of connections, which end with it.
    boot: BootTag,
    /// This node, in ids of sockets, which may come back after a restart.
    name: NameTag,
}

/// Random bytes in an id: 120 bits.
const ID_BYTES: usize = 15;

/// Tells the boots of a cluster's nodes apart.
pub(crate) type BootTag = [u8; 5];

/// Tells the nodes of a cluster apart; two that share it are both asked.
pub(crate) type NameTag = [u8; 3];

/// Bytes before the random part of a connection's id: boot and shard.
const PLACE_BYTES: usize = size_of::<BootTag>() + 1;

/// Characters of a socket's id.
const SOCKET_ID_LEN: usize = (size_of::<NameTag>() + ID_BYTES) / 3 * 4;

/// Where an Engine.IO session lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// On this shard of this node.
    Here(usize),
    /// On another node, if that still is.
    There(BootTag),
}

impl Ids {
    /// The ids of one boot of a node. `generation` tells boots apart.
    pub(crate) fn new(name: &str, generation: u64) -> Self {
        Self {
            boot: boot_tag(name, generation),
            name: name_tag(name),
        }
    }

    /// An Engine.IO session id: names its node and shard, so that any node can carry a request to
    /// it.
    pub(crate) fn connection(self, shard: usize) -> Arc<str> {
        let mut bytes = [0; PLACE_BYTES + ID_BYTES];
        bytes[..PLACE_BYTES - 1].copy_from_slice(&self.boot);
        bytes[PLACE_BYTES - 1] = shard as u8;
        fill(&mut bytes[PLACE_BYTES..]);
        Arc::from(BASE64_URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Where an Engine.IO session lives by its id, if this node has so many shards.
    pub(crate) fn place_of(self, sid: &str, shards: usize) -> Option<Place> {
        let mut bytes = [0; PLACE_BYTES + ID_BYTES];
        let len = BASE64_URL_SAFE_NO_PAD.decode_slice(sid, &mut bytes).ok()?;
        if len != bytes.len() {
            return None;
        }
        let (boot, rest) = bytes.split_first_chunk()?;
        if *boot != self.boot {
            return Some(Place::There(*boot));
        }
        let shard = usize::from(rest[0]);
        (shard < shards).then_some(Place::Here(shard))
    }

    /// A socket's public id: names its node, so that an emit to it need not go to all.
    pub(crate) fn socket(self) -> Arc<str> {
        let mut bytes = [0; size_of::<NameTag>() + ID_BYTES];
        let (name, random) = bytes.split_at_mut(size_of::<NameTag>());
        name.copy_from_slice(&self.name);
        fill(random);
        Arc::from(BASE64_URL_SAFE_NO_PAD.encode(bytes))
    }

    /// The secret name of a recovery record.
    pub(crate) fn pid(self) -> Arc<str> {
        Arc::from(self.emit())
    }

    /// Whether a text can be such a name; whatever else a client presents is nobody's.
    pub(crate) fn is_pid(text: &str) -> bool {
        let mut bytes = [0; ID_BYTES];
        let read = BASE64_URL_SAFE_NO_PAD.decode_slice(text, &mut bytes);
        read == Ok(ID_BYTES)
    }

    /// An emit's id.
    pub(crate) fn emit(self) -> String {
        let mut bytes = [0; ID_BYTES];
        fill(&mut bytes);
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }
}

/// What tells this boot of a node from others in ids of connections.
pub(crate) fn boot_tag(name: &str, generation: u64) -> BootTag {
    let hash = RoomKey::of(format!("{name} {generation}").as_bytes()).0;
    let [a, b, c, d, e, ..] = hash.to_be_bytes();
    [a, b, c, d, e]
}

/// What tells a node from others in ids of sockets.
pub(crate) fn name_tag(name: &str) -> NameTag {
    let [a, b, c, ..] = RoomKey::of(name.as_bytes()).0.to_be_bytes();
    [a, b, c]
}

/// The node that a name would be at home at if it is a socket's id, which it may be if no room has
/// it.
pub(crate) fn socket_home(name: &str) -> Option<NameTag> {
    if name.len() != SOCKET_ID_LEN {
        return None;
    }
    let mut bytes = [0; size_of::<NameTag>() + ID_BYTES];
    BASE64_URL_SAFE_NO_PAD.decode_slice(name, &mut bytes).ok()?;
    bytes.first_chunk().copied()
}

/// The time of day, Unix milliseconds.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    since.as_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_ids_name_their_shard() {
        let (ids, other) = (Ids::new("a", 1), Ids::new("a", 2));
        let sid = ids.connection(3);
        assert_eq!(sid.len(), 28);
        assert_eq!(ids.place_of(&sid, 4), Some(Place::Here(3)));
        assert_eq!(ids.place_of(&sid, 3), None);
        assert_eq!(ids.place_of("no such id", 4), None);
        assert_eq!(ids.place_of(&sid[1..], 4), None);
        let there = Place::There(boot_tag("a", 1));
        assert_eq!(other.place_of(&sid, 4), Some(there));
    }

    #[test]
    fn a_pid_is_told_from_other_texts() {
        assert!(Ids::is_pid(&Ids::new("a", 1).pid()));
        for text in ["", "nobodys", "!AAAAAAAAAAAAAAAAAAA", &"p".repeat(5000)] {
            assert!(!Ids::is_pid(text), "{text}");
        }
    }

    #[test]
    fn socket_ids_name_their_node() {
        let id = Ids::new("a", 1).socket();
        assert_eq!(socket_home(&id), Some(name_tag("a")));
        assert_ne!(name_tag("a"), name_tag("b"));
        assert_eq!(socket_home("portfolio:alice"), None);
    }
}
