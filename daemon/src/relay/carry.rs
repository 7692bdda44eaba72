//! Clients that reached another node than the one that holds their connection. Their polls and
//! posts are carried one by one; a WebSocket becomes a tunnel of bytes, and the holder's shard has
//! one end of a local pair of sockets in its place.
//!
//! Who a client is, and what its address may, was decided at its handshake; what is carried is not
//! looked at again.

use std::{
    io,
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use tidings_cluster::Carried;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::UnixStream,
    sync::oneshot,
    time::timeout,
};

use super::{
    Relay,
    request::{Request, decode_answer, encode_answer},
};
use crate::{
    http::engine::{self, PollAnswer, PostAnswer, Rejection},
    node::{BootTag, Node},
    shard::command::{Command, OpenStream, ShardHandle},
    transport::websocket::{Detached, Stream},
};

/// How long a peer may take to say whether it has a connection.
const VERDICT: Duration = Duration::from_secs(5);

/// What a node has carried.
#[derive(Debug, Default)]
pub(super) struct Carrying {
    requests: AtomicU64,
    peers_requests: AtomicU64,
    tunnels: AtomicUsize,
    peers_tunnels: AtomicUsize,
}

/// What a node carries for clients whose connections are elsewhere, and has carried to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CarryFigures {
    /// Polls and posts that were carried to peers.
    pub requests: u64,
    /// Polls and posts that peers carried here.
    pub peers_requests: u64,
    /// WebSockets here whose connections are held by peers.
    pub tunnels: usize,
    /// Connections here whose WebSockets are at peers.
    pub peers_tunnels: usize,
}

/// The way of a WebSocket to the node that holds its connection, which waits for it.
pub(crate) struct Tunnel {
    carried: Carried,
    relay: Arc<Relay>,
}

/// Counts for as long as it lives.
struct Count<'a>(&'a AtomicUsize);

impl<'a> Count<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Relaxed);
        Self(count)
    }
}

impl Drop for Count<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Tunnel {
    /// Joins it with the client's stream until both have ended, or either broke.
    pub(crate) async fn join<S>(self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let _open = Count::new(&self.relay.carrying.tunnels);
        // Both ends see how it went; there is nobody else to tell.
        let _ = self.carried.join(stream).await;
    }
}

impl Relay {
    /// What is carried.
    pub fn carrying(&self) -> CarryFigures {
        let carrying = &self.carrying;
        CarryFigures {
            requests: carrying.requests.load(Relaxed),
            peers_requests: carrying.peers_requests.load(Relaxed),
            tunnels: carrying.tunnels.load(Relaxed),
            peers_tunnels: carrying.peers_tunnels.load(Relaxed),
        }
    }

    /// Carries a poll. To be dropped when the client goes away: the holder then knows.
    pub(crate) async fn carry_poll(&self, boot: BootTag, sid: &str) -> PollAnswer {
        match self.carry_request(boot, sid, None).await {
            Ok(body) => PollAnswer::Packets(body),
            Err(rejection) => PollAnswer::Rejected(rejection),
        }
    }

    /// Carries a post.
    pub(crate) async fn carry_post(&self, boot: BootTag, sid: &str, body: Bytes) -> PostAnswer {
        match self.carry_request(boot, sid, Some(body)).await {
            Ok(_) => PostAnswer::Ok,
            Err(rejection) => PostAnswer::Rejected(rejection),
        }
    }

    async fn carry_request(
        &self,
        boot: BootTag,
        sid: &str,
        body: Option<Bytes>,
    ) -> Result<Bytes, Rejection> {
        let (Some(cluster), Some(holder)) = (self.cluster(), self.holder(boot)) else {
            return Err(Rejection::UnknownSid);
        };
        self.carrying.requests.fetch_add(1, Relaxed);
        let sid = sid.to_owned();
        let request = Request { sid, body }.encode();
        let answer = cluster.carry_request(&holder, request).await.ok();
        let answer = answer.and_then(|answer| decode_answer(&answer));
        answer.unwrap_or_else(|| Err(self.out_of_reach(boot)))
    }

    /// Opens the way of a WebSocket to the holder, if that has the connection.
    pub(crate) async fn open_tunnel(
        self: &Arc<Self>,
        boot: BootTag,
        sid: &str,
    ) -> Result<Tunnel, Rejection> {
        let (Some(cluster), Some(holder)) = (self.cluster(), self.holder(boot)) else {
            return Err(Rejection::UnknownSid);
        };
        let opening = async {
            let mut carried = cluster.carry(&holder, sid.as_bytes()).await.ok()?;
            let verdict = carried.heard().await.ok()?;
            Some((carried, decode_answer(&verdict)?))
        };
        let opened = timeout(VERDICT, opening).await.ok().flatten();
        let (carried, verdict) = opened.ok_or_else(|| self.out_of_reach(boot))?;
        verdict.map(|_| Tunnel {
            carried,
            relay: self.clone(),
        })
    }

    /// Why the holder cannot be asked: it is gone for good, or may be back.
    fn out_of_reach(&self, boot: BootTag) -> Rejection {
        match self.holder(boot) {
            Some(_) => Rejection::Unavailable,
            None => Rejection::UnknownSid,
        }
    }

    /// Answers a request that a peer carried here. Dropped when its client goes away.
    pub(super) async fn answer_request(&self, request: Bytes) -> Bytes {
        self.carrying.peers_requests.fetch_add(1, Relaxed);
        let answer = match (self.node(), Request::decode(&request)) {
            (Some(node), Some(request)) => answer_here(&node, request).await,
            _ => Err(Rejection::UnknownSid),
        };
        encode_answer(answer)
    }

    /// Takes in a WebSocket that a peer carries here, until it ends.
    pub(super) async fn take_in_tunnel(&self, sid: Bytes, mut carried: Carried) {
        let prepared = self.prepare(&sid).await;
        let verdict = match &prepared {
            Ok(_) => Ok(Bytes::new()),
            Err(rejection) => Err(*rejection),
        };
        let told = carried.answer(&encode_answer(verdict)).await;
        let (Ok(()), Ok(Prepared { holder, adopt, end })) = (told, prepared) else {
            return;
        };
        // The shard counts one file for its connection; the other end of the pair is one more.
        let _file = OpenStream::new(holder.load.clone());
        let _open = Count::new(&self.carrying.peers_tunnels);
        if holder.mailbox.send(adopt).await.is_ok() {
            // As in `Tunnel::join`.
            let _ = carried.join(end).await;
        }
    }

    /// Makes ready for a WebSocket, if its connection is here.
    async fn prepare(&self, sid: &[u8]) -> Result<Prepared, Rejection> {
        let sid: Arc<str> = std::str::from_utf8(sid)
            .map_err(|_| Rejection::UnknownSid)?
            .into();
        let node = self.node().ok_or(Rejection::UnknownSid)?;
        let shard = engine::shard_of(&node, &sid)?;
        let holder = &node.hub.shards[shard];
        let (reply, has) = oneshot::channel();
        let wanted = sid.clone();
        let look = Command::Run(Box::new(move |state| {
            let _ = reply.send(state.has(&wanted));
        }));
        let _ = holder.mailbox.send(look).await;
        if !has.await.unwrap_or(false) {
            return Err(Rejection::UnknownSid);
        }
        let (end, websocket) = pair().map_err(|error| {
            tracing::warn!(%error, "a carried client cannot be taken in");
            Rejection::Unavailable
        })?;
        let adopt = Command::Adopt {
            sid,
            websocket: Box::new(websocket),
        };
        let holder = holder.clone();
        Ok(Prepared { holder, adopt, end })
    }
}

/// All that it takes to take in a WebSocket.
struct Prepared {
    /// The shard that has the connection.
    holder: ShardHandle,
    /// What to tell it.
    adopt: Command,
    /// The end of the pair that is not the shard's.
    end: UnixStream,
}

/// A local pair: one end for here, the other in the place of a client's stream. A shard does with
/// that only what any connected socket can.
fn pair() -> io::Result<(UnixStream, Detached)> {
    let (end, other) = std::os::unix::net::UnixStream::pair()?;
    for socket in [&end, &other] {
        socket.set_nonblocking(true)?;
    }
    let websocket = Detached {
        stream: Stream::Loose(OwnedFd::from(other).into()),
        tls: None,
        read_ahead: Vec::new(),
    };
    Ok((UnixStream::from_std(end)?, websocket))
}

/// Answers a request of a client of this node.
async fn answer_here(node: &Node, request: Request) -> Result<Bytes, Rejection> {
    let shard = engine::shard_of(node, &request.sid)?;
    let sid = Arc::from(request.sid);
    match request.body {
        None => match engine::poll(node, shard, sid).await {
            PollAnswer::Packets(body) => Ok(body),
            PollAnswer::Rejected(rejection) => Err(rejection),
        },
        Some(body) if body.len() > node.settings.payload => Err(Rejection::TooLarge),
        Some(body) => match engine::post(node, shard, sid, body).await {
            PostAnswer::Ok => Ok(Bytes::new()),
            PostAnswer::Rejected(rejection) => Err(rejection),
        },
    }
}
