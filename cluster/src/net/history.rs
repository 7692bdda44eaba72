//! The class of recoverable rooms: one stream on each link, with a lane of its own. What nodes say
//! on it may be lost, and is said again.
//!
//! Each frame begins with its kind. The first says which node speaks, by the id that is kept with
//! its data; gossip may not have told it yet.

use std::{io, sync::Arc};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use quinn::RecvStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    Core,
    outbound::Outbound,
    stream::{Frames, HISTORY, framed},
};
use crate::proto::slots::{Eid, Message, NodeId, SlotNo};

/// Bytes that may wait for one peer; the oldest give way.
pub(super) const QUEUE: usize = 32 << 20;
/// Bytes of peers' messages that may wait for this node. Beyond them the streams are not read.
const HEARD: usize = 32 << 20;
/// What a message costs besides its bytes.
const MESSAGE: usize = 256;
/// Bytes taken from a stream at a time.
const READ: usize = 256 << 10;

const SPEAKER: u8 = 0;
const ABOUT_SLOT: u8 = 1;
const CLAIMS: u8 = 2;

/// A claim on the wire: slot, epoch, whether it is open.
const CLAIM: usize = 18;

/// Which slots a node has opened, or closed, in which epoch.
pub(crate) type Claimed = Vec<(SlotNo, Eid, bool)>;

/// What a peer said.
pub(crate) enum Said {
    /// Something about a slot.
    Message(SlotNo, Box<Message>),
    /// What it owns, or does not own any more.
    Claims(Claimed),
}

/// Something that a start of a node said. The permit is kept until that is taken.
pub(crate) struct Heard {
    pub(crate) from: (NodeId, u64),
    pub(crate) said: Said,
    pub(crate) _permit: OwnedSemaphorePermit,
}

/// The recoverable rooms of this node, as the links see them.
pub(crate) struct Attached {
    id: NodeId,
    boot: u64,
    bytes: Arc<Semaphore>,
    hear: Box<dyn Fn(Heard) + Send + Sync>,
}

impl Core {
    /// From now on this node has recoverable rooms; what peers say of them goes there.
    pub(crate) fn attach(
        &self,
        (id, boot): (NodeId, u64),
        hear: impl Fn(Heard) + Send + Sync + 'static,
    ) {
        self.history.send_replace(Some(Arc::new(Attached {
            id,
            boot,
            bytes: Arc::new(Semaphore::new(HEARD)),
            hear: Box::new(hear),
        })));
    }

    /// The recoverable rooms of this node, once there are any.
    async fn attached(&self) -> Option<Arc<Attached>> {
        let mut attached = self.history.subscribe();
        let attached = attached.wait_for(Option::is_some).await.ok()?;
        attached.clone()
    }
}

/// A message as a frame of the lane.
pub(crate) fn message(slot: SlotNo, message: &Message) -> Bytes {
    let message = message.encode(slot);
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.put_u32(1 + message.len() as u32);
    frame.put_u8(ABOUT_SLOT);
    frame.put_slice(&message);
    frame.freeze()
}

/// Claims as a frame of the lane.
pub(crate) fn claims(claims: &[(SlotNo, Eid, bool)]) -> Bytes {
    let mut frame = BytesMut::with_capacity(1 + CLAIM * claims.len());
    frame.put_u8(CLAIMS);
    for (slot, eid, is_open) in claims {
        frame.put_u8(*slot);
        frame.put_u64(eid.counter);
        frame.put_u64(eid.random);
        frame.put_u8(u8::from(*is_open));
    }
    framed(&frame)
}

fn speaker(id: NodeId, boot: u64) -> Bytes {
    let mut frame = BytesMut::with_capacity(17);
    frame.put_u8(SPEAKER);
    frame.put_u64(id.0);
    frame.put_u64(boot);
    framed(&frame)
}

/// Feeds the stream; never ends before the link does.
pub(super) async fn write(core: &Core, link: &Outbound) {
    let _ = feed(core, link).await;
    // A peer that does not read this is still a peer; what waits for it gives way.
    std::future::pending().await
}

async fn feed(core: &Core, link: &Outbound) -> io::Result<()> {
    let Some(own) = core.attached().await else {
        return Ok(());
    };
    let mut stream = link.connection.open_uni().await?;
    stream.write_all(&[HISTORY]).await?;
    stream.write_chunk(speaker(own.id, own.boot)).await?;
    // What it owned before there was this link; what has changed since comes on the lane.
    let owned = core.own.borrow().history.clone();
    let owned = owned.iter().flat_map(|own| &own.claims);
    let owned: Claimed = owned.map(|(slot, eid)| (*slot, *eid, true)).collect();
    stream.write_chunk(claims(&owned)).await?;
    while let Some(piece) = link.history.next().await {
        stream.write_chunk(piece).await?;
    }
    Ok(())
}

/// Reads the stream of a peer, no faster than what it says is taken.
pub(super) async fn read(core: &Core, name: &str, mut stream: RecvStream) -> io::Result<()> {
    let Some(own) = core.attached().await else {
        return Ok(());
    };
    let mut frames = Frames::default();
    let mut from = None;
    while let Some(chunk) = stream.read_chunk(READ, true).await? {
        frames.push(&chunk.bytes);
        while let Some(frame) = frames.next().map_err(super::inbound::invalid)? {
            // Entries are kept for long and share the frame's memory: it must not be that of all
            // that was read with it.
            let mut frame = Bytes::copy_from_slice(&frame);
            let len = frame.len();
            let said = match (frame.try_get_u8(), from) {
                (Ok(SPEAKER), _) => {
                    let speaker = frame
                        .try_get_u64()
                        .and_then(|id| Ok((id, frame.try_get_u64()?)));
                    let (id, boot) = speaker.map_err(super::inbound::invalid)?;
                    if NodeId(id) == own.id {
                        tracing::error!(peer = name, "a peer has this node's data: was it copied?");
                        return Ok(());
                    }
                    from = Some((NodeId(id), boot));
                    continue;
                }
                (Ok(ABOUT_SLOT), Some(_)) => {
                    match Message::decode(frame).map_err(super::inbound::invalid)? {
                        Some((slot, message)) => Said::Message(slot, Box::new(message)),
                        None => continue,
                    }
                }
                (Ok(CLAIMS), Some(_)) => Said::Claims(claimed(frame)?),
                // Of a later version.
                (Ok(_), Some(_)) => continue,
                _ => return Err(super::inbound::invalid("nobody speaks")),
            };
            let weight = (MESSAGE + len).min(HEARD) as u32;
            let permit = own.bytes.clone().acquire_many_owned(weight).await;
            let (Ok(permit), Some(from)) = (permit, from) else {
                return Ok(());
            };
            (own.hear)(Heard {
                from,
                said,
                _permit: permit,
            });
        }
    }
    Ok(())
}

fn claimed(mut frame: Bytes) -> io::Result<Claimed> {
    if !frame.len().is_multiple_of(CLAIM) {
        return Err(super::inbound::invalid("claims are cut short"));
    }
    let mut claims = Vec::with_capacity(frame.len() / CLAIM);
    while frame.has_remaining() {
        let slot = frame.get_u8();
        let eid = Eid {
            counter: frame.get_u64(),
            random: frame.get_u64(),
        };
        claims.push((slot, eid, frame.get_u8() != 0));
    }
    Ok(claims)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_come_back() {
        let eid = |counter| Eid { counter, random: 3 };
        let told = vec![(0, eid(1), true), (255, eid(u64::MAX), false)];
        let frame = claims(&told);
        assert_eq!(frame[4], CLAIMS);
        assert_eq!(claimed(frame.slice(5..)).unwrap(), told);
        assert!(claimed(frame.slice(6..)).is_err());
    }
}
