//! A link to a peer. Everything that this node has to say to it goes out here: control frames,
//! forwards, gossip, questions; each on streams of its own, so that none waits for another.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use quinn::{Connection, SendStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};

use super::{
    Carried, Core,
    endpoint::MAX_BI_STREAMS,
    history,
    lane::Lane,
    stream::{CONTROL, FORWARDS, GOSSIP, MAX_ANSWER, QUESTION, framed},
};
use crate::proto::{Hello, LinkId};

/// Gossip messages that wait for one peer; further ones are dropped, as on a network.
const GOSSIP_WAITING: usize = 16;

/// Clients that one link carries at once, and their requests. Beyond them there is still room for
/// questions.
const MAX_CARRIED: usize = MAX_BI_STREAMS as usize - 1024;

/// Control goes before forwards where both wait for the same network.
const FIRST: i32 = 1;

/// A link to a peer.
#[derive(Debug)]
pub(crate) struct Outbound {
    pub(crate) id: LinkId,
    /// Who answered.
    pub(crate) peer: Hello,
    pub(crate) connection: Connection,
    /// Forwards that wait.
    pub(crate) lane: Lane,
    /// What waits to be said of recoverable rooms.
    pub(crate) history: Lane,
    /// Gossip that waits.
    pub(crate) gossip: mpsc::Sender<Bytes>,
    /// What may be carried yet.
    carried: Arc<Semaphore>,
    /// Notified when the core has a control frame for the peer.
    pub(crate) wake: Notify,
    /// Forwards that were given to it.
    pub(crate) frames: AtomicU64,
    /// Pieces of forwards written.
    pub(crate) pieces: AtomicU64,
    /// Bytes of forwards written.
    pub(crate) bytes: AtomicU64,
}

/// Why a question has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// There is no link to the peer, or it was lost.
    #[error("the peer cannot be reached")]
    Unreachable,
    /// The answer did not come in time.
    #[error("the peer did not answer in time")]
    Late,
    /// The link carries as many clients as it may.
    #[error("too many clients are carried to the peer")]
    Full,
}

impl Outbound {
    /// A link on which greetings were exchanged, and the gossip that will be given to it.
    pub(super) fn new(
        id: LinkId,
        peer: Hello,
        connection: Connection,
        limit: usize,
    ) -> (Arc<Self>, mpsc::Receiver<Bytes>) {
        let (gossip, waiting) = mpsc::channel(GOSSIP_WAITING);
        let link = Self {
            id,
            peer,
            connection,
            lane: Lane::new(limit),
            history: Lane::new(history::QUEUE),
            gossip,
            carried: Arc::new(Semaphore::new(MAX_CARRIED)),
            wake: Notify::new(),
            frames: AtomicU64::new(0),
            pieces: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        };
        (Arc::new(link), waiting)
    }

    /// Asks the peer and waits for its answer.
    pub(crate) async fn ask(&self, question: Bytes) -> Result<Bytes, AskError> {
        let unreachable = |_| AskError::Unreachable;
        let (mut send, mut receive) = self.connection.open_bi().await.map_err(unreachable)?;
        let asked = async {
            send.write_all(&[QUESTION]).await?;
            send.write_chunk(question).await
        };
        asked.await.map_err(|_| AskError::Unreachable)?;
        let _ = send.finish();
        let answer = receive.read_to_end(MAX_ANSWER).await;
        answer.map(Bytes::from).map_err(|_| AskError::Unreachable)
    }

    /// As [`Outbound::ask`], for a question that is a client's request.
    pub(crate) async fn carry_request(&self, request: Bytes) -> Result<Bytes, AskError> {
        let _permit = self.permit()?;
        self.ask(request).await
    }

    /// Opens a stream on which a client is carried to the peer.
    pub(crate) async fn carry(&self, head: &[u8]) -> Result<Carried, AskError> {
        let permit = Some(self.permit()?);
        let unreachable = |_| AskError::Unreachable;
        let (send, receive) = self.connection.open_bi().await.map_err(unreachable)?;
        let mut carried = Carried {
            send,
            receive,
            permit,
        };
        let put = carried.put_head(head).await;
        put.map_err(|_| AskError::Unreachable)?;
        Ok(carried)
    }

    fn permit(&self) -> Result<OwnedSemaphorePermit, AskError> {
        let permit = self.carried.clone().try_acquire_owned();
        permit.map_err(|_| AskError::Full)
    }
}

/// Feeds a link until it is lost.
pub(super) async fn run(core: Arc<Core>, link: Arc<Outbound>, gossip: mpsc::Receiver<Bytes>) {
    let ended = tokio::select! {
        error = link.connection.closed() => Some(error.to_string()),
        ended = write_control(&core, &link) => ended.err().map(|error| error.to_string()),
        ended = write_forwards(&link) => ended.err().map(|error| error.to_string()),
        ended = write_gossip(&link, gossip) => ended.err().map(|error| error.to_string()),
        () = history::write(&core, &link) => None,
        () = core.stop.cancelled() => None,
    };
    core.remove_link(link.id);
    let random = super::random();
    core.decide(|node, now| node.link_out_down(link.id, now, random));
    if let Some(why) = ended {
        tracing::info!(peer = %link.peer.name, address = %link.peer.address, why, "link lost");
    }
    link.connection.close(0_u32.into(), b"");
}

async fn write_control(core: &Core, link: &Outbound) -> io::Result<()> {
    let mut stream = open(link, CONTROL).await?;
    let _ = stream.set_priority(FIRST);
    loop {
        while let Some(frame) = core.decide(|node, now| node.next_frame(link.id, now)) {
            stream.write_chunk(framed(&frame.encode())).await?;
        }
        // Cancel-safe: a notification that is not taken stays.
        link.wake.notified().await;
    }
}

async fn write_forwards(link: &Outbound) -> io::Result<()> {
    let mut stream = open(link, FORWARDS).await?;
    while let Some(piece) = link.lane.next().await {
        link.bytes.fetch_add(piece.len() as u64, Relaxed);
        link.pieces.fetch_add(1, Relaxed);
        stream.write_chunk(piece).await?;
    }
    stream.finish()?;
    // Until the peer has all of it, the link must not be closed.
    let _ = stream.stopped().await;
    Ok(())
}

async fn write_gossip(link: &Outbound, mut gossip: mpsc::Receiver<Bytes>) -> io::Result<()> {
    while let Some(message) = gossip.recv().await {
        let mut stream = open(link, GOSSIP).await?;
        stream.write_chunk(message).await?;
        let _ = stream.finish();
    }
    Ok(())
}

async fn open(link: &Outbound, kind: u8) -> io::Result<SendStream> {
    let mut stream = link.connection.open_uni().await?;
    stream.write_all(&[kind]).await?;
    Ok(stream)
}
