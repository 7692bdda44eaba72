//! What all parts of a node share: settings, handler, switchboard, limits, the way to the control
//! plane. Made once at start; shards and control plane hold it by `Arc`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use ipnet::IpNet;
use tokio::sync::mpsc;

use crate::{
    app::{handler::Handler, limits::Limits, random::fill},
    config::Transports,
    event::EmitRequest,
    http::{origin::OriginPolicy, public::Routes},
    hub::Hub,
    recovery::desk::Desk,
    shard::{command::Job, machine::Timing},
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
    /// Engine.IO connections on this node.
    pub(crate) connections: usize,
    /// Bytes in the head of a request.
    pub(crate) header: usize,
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
    pub(crate) handler: Arc<dyn Handler>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) limits: Limits,
    pub(crate) recovery: Desk,
    /// Public routes beside Socket.IO and health.
    pub(crate) routes: Arc<dyn Routes>,
    pub(crate) tls: Option<tokio_rustls::TlsAcceptor>,
    /// Work that shards leave to the control plane; bounded, further jobs wait on the shards.
    pub(crate) jobs: mpsc::Sender<Job>,
    /// Emits of handlers, in order; bounded, refused when full.
    pub(crate) emits: mpsc::Sender<EmitRequest>,
    pub(crate) ids: Ids,
    /// This boot of this node, for recovery records.
    pub(crate) home: u64,
    pub(crate) started: Instant,
    pub(crate) phase: AtomicU8,
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

    /// The switchboard.
    pub fn hub(&self) -> &Hub {
        &self.hub
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
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ids;

/// Random bytes in an id: 120 bits.
const ID_BYTES: usize = 15;

/// Characters of a socket's id.
const SOCKET_ID_LEN: usize = ID_BYTES / 3 * 4;

/// Bytes before the random part of a connection's id: node (two, zero on a single node), shard.
const PLACE_BYTES: usize = 3;

impl Ids {
    /// An Engine.IO session id: names its node and shard, so that any node can carry a request to
    /// it.
    pub(crate) fn connection(self, shard: usize) -> Arc<str> {
        let mut bytes = [0; PLACE_BYTES + ID_BYTES];
        bytes[PLACE_BYTES - 1] = shard as u8;
        fill(&mut bytes[PLACE_BYTES..]);
        Arc::from(BASE64_URL_SAFE_NO_PAD.encode(bytes))
    }

    /// The shard that an Engine.IO session id names, if it is one of `shards`.
    pub(crate) fn shard_of(self, sid: &str, shards: usize) -> Option<usize> {
        let mut bytes = [0; PLACE_BYTES + ID_BYTES];
        let len = BASE64_URL_SAFE_NO_PAD.decode_slice(sid, &mut bytes).ok()?;
        let shard = usize::from(bytes[PLACE_BYTES - 1]);
        (len == bytes.len() && shard < shards).then_some(shard)
    }

    /// A socket's public id.
    pub(crate) fn socket(self) -> Arc<str> {
        Arc::from(self.emit())
    }

    /// The secret name of a recovery record.
    pub(crate) fn pid(self) -> Arc<str> {
        Arc::from(self.emit())
    }

    /// An emit's id.
    pub(crate) fn emit(self) -> String {
        let mut bytes = [0; ID_BYTES];
        fill(&mut bytes);
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }
}

/// Whether a name that no room has could be a socket's id.
pub(crate) fn looks_like_socket_id(name: &str) -> bool {
    name.len() == SOCKET_ID_LEN
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
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
        let sid = Ids.connection(3);
        assert_eq!(sid.len(), 24);
        assert_eq!(Ids.shard_of(&sid, 4), Some(3));
        assert_eq!(Ids.shard_of(&sid, 3), None);
        assert_eq!(Ids.shard_of("no such id", 4), None);
        assert_eq!(Ids.shard_of(&sid[1..], 4), None);
    }

    #[test]
    fn socket_ids_look_like_socket_ids() {
        assert!(looks_like_socket_id(&Ids.socket()));
        assert!(!looks_like_socket_id("portfolio:alice"));
    }
}
