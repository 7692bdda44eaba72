//! Links from peers: who they are is heard and decided, then everything on them is read. Nothing
//! is ever sent on them but answers to questions.

use std::{
    io,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use chitchat::{ChitchatMessage, Deserializable};
use quinn::{Connection, Incoming, RecvStream, SendStream};

use super::{
    Carried, Core, Link,
    endpoint::{BI_STREAMS, MAX_BI_STREAMS},
    hello, history,
    stream::{
        CARRIED, CONTROL, FORWARDS, Frames, GOSSIP, HISTORY, MAX_GOSSIP, MAX_QUESTION, QUESTION,
    },
};
use crate::{
    Peer,
    proto::{Frame, Hello, LinkId, PROBE},
};

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// Bytes taken from a lane at a time.
const READ: usize = 256 << 10;

/// A peer broke the rules of the link.
const BROKEN: u32 = 1;

/// Answers everybody who dials, until the cluster stops.
pub(crate) async fn serve(core: Arc<Core>) {
    loop {
        // Both are cancel-safe.
        let incoming = tokio::select! {
            incoming = core.endpoint.accept() => incoming,
            () = core.stop.cancelled() => None,
        };
        let Some(incoming) = incoming else { return };
        core.tasks.spawn(welcome(core.clone(), incoming));
    }
}

async fn welcome(core: Arc<Core>, incoming: Incoming) {
    let from = incoming.remote_address();
    let refuse = |why: &str| {
        core.figures.refused.fetch_add(1, Relaxed);
        tracing::warn!(%from, why, "a node was refused");
    };
    let connection = match tokio::time::timeout(HANDSHAKE, incoming).await {
        Ok(Ok(connection)) => connection,
        // Who has another cluster's key, or none.
        Ok(Err(error)) => return refuse(&error.to_string()),
        Err(_) => return refuse("no handshake in time"),
    };
    let (theirs, send) = match hello::hear(&connection).await {
        Ok(heard) => heard,
        Err(error) => return refuse(&error.to_string()),
    };
    let id = core.next_link();
    if let Err(refused) = core.decide(|node, now| node.hello_in(id, theirs.clone(), now)) {
        // A probe asks for nothing else.
        let is_trouble = refused != crate::proto::Refused::Myself && theirs.protocol != PROBE;
        if is_trouble {
            let (name, address) = (&theirs.name, theirs.address);
            tracing::warn!(%name, %address, why = %refused, "a node was refused");
            core.figures.refused.fetch_add(1, Relaxed);
        }
        let _ = hello::answer(send, Err(&refused)).await;
        return;
    }
    core.add_link(id, Link::Inbound(connection.clone()));
    let own = core.hello();
    let why = tokio::select! {
        answered = hello::answer(send, Ok(&own)) => match answered {
            Ok(()) => read(&core, id, &theirs, &connection).await.to_string(),
            Err(error) => error.to_string(),
        },
        () = core.stop.cancelled() => "this node leaves".to_owned(),
    };
    tracing::debug!(peer = %theirs.name, why, "link from a peer ended");
    core.remove_link(id);
    core.decide(|node, now| node.link_in_down(id, now));
    connection.close(0_u32.into(), b"");
}

/// Reads a link until it is lost.
async fn read(
    core: &Arc<Core>,
    id: LinkId,
    theirs: &Hello,
    connection: &Connection,
) -> quinn::ConnectionError {
    let peer = Peer {
        name: theirs.name.clone(),
        generation: theirs.generation,
    };
    let tasks = tokio_util::task::TaskTracker::new();
    let mut streams = BI_STREAMS;
    let error = loop {
        // Both are cancel-safe.
        tokio::select! {
            stream = connection.accept_uni() => match stream {
                Ok(stream) => {
                    let (core, theirs, peer) = (core.clone(), theirs.clone(), peer.clone());
                    let connection = connection.clone();
                    tasks.spawn(async move {
                        if let Err(error) = read_uni(&core, id, &theirs, peer, stream).await
                            && error.kind() == io::ErrorKind::InvalidData
                        {
                            tracing::warn!(peer = %theirs.name, %error, "a peer broke the rules");
                            connection.close(BROKEN.into(), b"broken");
                        }
                    });
                }
                Err(error) => break error,
            },
            stream = connection.accept_bi() => match stream {
                Ok((send, receive)) => {
                    tasks.spawn(answer(core.clone(), peer.clone(), send, receive));
                    if tasks.len() > streams as usize / 2 && streams < MAX_BI_STREAMS {
                        streams *= 2;
                        connection.set_max_concurrent_bi_streams(streams.into());
                    }
                }
                Err(error) => break error,
            },
        }
    };
    // The streams have ended with the connection; what was read of them is still applied.
    tasks.close();
    tasks.wait().await;
    error
}

async fn read_uni(
    core: &Core,
    id: LinkId,
    theirs: &Hello,
    peer: Peer,
    mut stream: RecvStream,
) -> io::Result<()> {
    match kind(&mut stream).await? {
        CONTROL => read_control(core, id, stream).await,
        FORWARDS => read_forwards(core, &peer, stream).await,
        GOSSIP => read_gossip(core, theirs, stream).await,
        HISTORY => history::read(core, &peer.name, stream).await,
        // Of a later version.
        _ => Ok(()),
    }
}

async fn read_control(core: &Core, id: LinkId, mut stream: RecvStream) -> io::Result<()> {
    let mut frames = Frames::default();
    while let Some(chunk) = stream.read_chunk(READ, true).await? {
        frames.push(&chunk.bytes);
        while let Some(frame) = frames.next().map_err(invalid)? {
            let Some(frame) = Frame::decode(frame).map_err(invalid)? else {
                continue;
            };
            let counts = matches!(frame, Frame::Report { .. } | Frame::Answer { .. });
            core.decide(|node, now| node.frame(id, frame, now))
                .map_err(invalid)?;
            if counts {
                core.look_soon();
            }
        }
    }
    Ok(())
}

async fn read_forwards(core: &Core, peer: &Peer, mut stream: RecvStream) -> io::Result<()> {
    let mut cutter = Frames::default();
    while let Some(chunk) = stream.read_chunk(READ, true).await? {
        cutter.push(&chunk.bytes);
        let mut frames = Vec::new();
        while let Some(frame) = cutter.next().map_err(invalid)? {
            frames.push(frame);
        }
        if frames.is_empty() {
            continue;
        }
        core.count_received(&peer.name, &frames);
        // Not read further until these are done: what the shards cannot take, the peer holds.
        core.application.deliver(peer, frames).await;
    }
    Ok(())
}

async fn read_gossip(core: &Core, theirs: &Hello, mut stream: RecvStream) -> io::Result<()> {
    let message = stream.read_to_end(MAX_GOSSIP).await.map_err(invalid)?;
    let message = ChitchatMessage::deserialize(&mut &message[..]).map_err(invalid)?;
    if core.gossip_in.try_send((theirs.address, message)).is_err() {
        core.figures.gossip_dropped.fetch_add(1, Relaxed);
    }
    Ok(())
}

async fn answer(core: Arc<Core>, peer: Peer, mut send: SendStream, mut receive: RecvStream) {
    match kind(&mut receive).await {
        Ok(QUESTION) => {
            let Ok(question) = receive.read_to_end(MAX_QUESTION).await else {
                return;
            };
            // Given up when whoever asked does not wait for it any more.
            let answer = tokio::select! {
                answer = core.application.answer(&peer, Bytes::from(question)) => answer,
                _ = send.stopped() => return,
            };
            if send.write_chunk(answer).await.is_ok() {
                let _ = send.finish();
            }
        }
        Ok(CARRIED) => {
            let mut carried = Carried {
                send,
                receive,
                permit: None,
            };
            if let Ok(head) = carried.heard().await {
                core.application.carry(&peer, head, carried).await;
            }
        }
        _ => {}
    }
}

async fn kind(stream: &mut RecvStream) -> io::Result<u8> {
    let mut kind = [0];
    let read = stream.read_exact(&mut kind).await;
    read.map_err(|_| io::Error::from(io::ErrorKind::UnexpectedEof))?;
    Ok(kind[0])
}

pub(super) fn invalid(error: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}
