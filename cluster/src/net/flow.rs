//! PURE: what goes over a stream that carries a client, and how much of it may be on its way.
//!
//! All streams of a link share its window, and the forwards are among them. So what comes on any
//! stream is read at once, and what a client does not take must not have been sent: each end sends
//! no more than the other has room for, and says how much room there is again.
//!
//! A frame is a number (32 bits, big-endian) and what it says follows: so many bytes of the
//! client's; none, if these have ended; with the highest bit set it grants room for so many more.

use bytes::{Buf, BytesMut};

/// Bytes that one end may have sent and the other not passed on. Both ends begin with it, so it
/// must not change without the links' protocol.
const WINDOW: usize = 64 << 10;

/// Room is granted in parts of at least this size: not every byte is worth a frame.
const GRANT: usize = WINDOW / 4;

/// Bytes of one frame at most.
pub(super) const PIECE: usize = 16 << 10;

/// Marks a number that grants room.
const GRANTS: u32 = 1 << 31;

const HEAD: usize = size_of::<u32>();

/// The other end does not keep to the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a carried stream is not as agreed")]
pub(super) struct Broken;

/// One end of a stream that carries a client.
#[derive(Debug)]
pub(super) struct Flow {
    /// Bytes that the other end has room for.
    room_there: usize,
    /// Bytes that the other end may still send.
    room_here: usize,
    /// Bytes that the client took and for which room was not granted again.
    taken: usize,
    /// Frames for the other end.
    for_link: BytesMut,
    /// Bytes for the client; at most `WINDOW`.
    for_client: BytesMut,
    /// The start of a number that has not come whole.
    head: [u8; HEAD],
    /// Bytes of it.
    have: usize,
    /// Bytes of the client's that are still to come of a frame.
    payload: usize,
    /// The client has ended.
    ended_here: bool,
    /// The other end has.
    ended_there: bool,
}

impl Flow {
    /// The beginning of a stream.
    pub(super) fn new() -> Self {
        Self {
            room_there: WINDOW,
            room_here: WINDOW,
            taken: 0,
            for_link: BytesMut::new(),
            for_client: BytesMut::new(),
            head: [0; HEAD],
            have: 0,
            payload: 0,
            ended_here: false,
            ended_there: false,
        }
    }

    /// Bytes that may be taken from the client now.
    pub(super) fn room(&self) -> usize {
        if self.ended_here || !self.for_link.is_empty() {
            return 0;
        }
        self.room_there.min(PIECE)
    }

    /// The client sent these, within the room; nothing is its end.
    pub(super) fn client_sent(&mut self, bytes: &[u8]) {
        self.put(bytes.len() as u32);
        self.for_link.extend_from_slice(bytes);
        self.room_there -= bytes.len();
        self.ended_here = bytes.is_empty();
    }

    /// These came from the other end.
    pub(super) fn link_sent(&mut self, mut bytes: &[u8]) -> Result<(), Broken> {
        while !bytes.is_empty() {
            if self.payload > 0 {
                let (these, rest) = bytes.split_at(self.payload.min(bytes.len()));
                self.for_client.extend_from_slice(these);
                self.payload -= these.len();
                bytes = rest;
                continue;
            }
            self.head[self.have] = bytes[0];
            self.have += 1;
            bytes = &bytes[1..];
            if self.have == HEAD {
                self.have = 0;
                self.frame(u32::from_be_bytes(self.head))?;
            }
        }
        Ok(())
    }

    /// What waits for the other end.
    pub(super) fn for_link(&mut self) -> &[u8] {
        // Who has ended needs no more room.
        if self.for_link.is_empty() && self.taken >= GRANT && !self.ended_there {
            self.put(GRANTS | self.taken as u32);
            self.room_here += self.taken;
            self.taken = 0;
        }
        &self.for_link
    }

    /// So much of it is on its way.
    pub(super) fn link_took(&mut self, count: usize) {
        advance(&mut self.for_link, count);
    }

    /// What waits for the client.
    pub(super) fn for_client(&self) -> &[u8] {
        &self.for_client
    }

    /// So much of it the client has.
    pub(super) fn client_took(&mut self, count: usize) {
        advance(&mut self.for_client, count);
        self.taken += count;
    }

    /// Whether nothing more comes for the client.
    pub(super) fn has_all(&self) -> bool {
        self.ended_there && self.for_client.is_empty()
    }

    /// Whether one of the two has ended.
    pub(super) fn is_ending(&self) -> bool {
        self.ended_here || self.ended_there
    }

    /// Whether both have ended, though not all may be passed on yet.
    pub(super) fn has_ended(&self) -> bool {
        self.ended_here && self.ended_there
    }

    /// Whether nothing is left to do.
    pub(super) fn is_over(&self) -> bool {
        self.has_ended() && self.for_link.is_empty() && self.for_client.is_empty()
    }

    fn put(&mut self, number: u32) {
        self.for_link.extend_from_slice(&number.to_be_bytes());
    }

    fn frame(&mut self, number: u32) -> Result<(), Broken> {
        let count = (number & !GRANTS) as usize;
        if number & GRANTS != 0 {
            self.room_there += count;
            return if self.room_there <= WINDOW {
                Ok(())
            } else {
                Err(Broken)
            };
        }
        if self.ended_there {
            return Err(Broken);
        }
        self.room_here = self.room_here.checked_sub(count).ok_or(Broken)?;
        self.payload = count;
        self.ended_there = count == 0;
        Ok(())
    }
}

/// Lets go of the memory, too: most clients say nothing most of the time.
fn advance(bytes: &mut BytesMut, count: usize) {
    bytes.advance(count);
    if bytes.is_empty() {
        *bytes = BytesMut::new();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    /// Moves up to `count` bytes over the link; returns how many.
    fn carry(from: &mut Flow, to: &mut Flow, count: usize) -> usize {
        let bytes = from.for_link().to_vec();
        let moved = bytes.len().min(count);
        from.link_took(moved);
        to.link_sent(&bytes[..moved]).unwrap();
        moved
    }

    #[test]
    fn no_more_is_sent_than_the_client_takes() {
        let (mut here, mut there) = (Flow::new(), Flow::new());
        let mut sent = 0;
        while here.room() > 0 {
            sent += here.room();
            here.client_sent(&vec![1; here.room()]);
            while carry(&mut here, &mut there, usize::MAX) > 0 {}
        }
        assert_eq!((sent, there.for_client().len()), (WINDOW, WINDOW));
        there.client_took(GRANT - 1);
        assert!(there.for_link().is_empty(), "not worth a frame");
        there.client_took(1);
        carry(&mut there, &mut here, usize::MAX);
        assert_eq!(here.room(), GRANT.min(PIECE));
    }

    #[test]
    fn an_end_comes_after_all_before_it() {
        let (mut here, mut there) = (Flow::new(), Flow::new());
        here.client_sent(b"last words");
        carry(&mut here, &mut there, usize::MAX);
        here.client_sent(b"");
        assert_eq!(here.room(), 0, "nothing is read after an end");
        carry(&mut here, &mut there, usize::MAX);
        assert!(there.is_ending() && !there.has_all());
        there.client_took(10);
        assert!(there.has_all() && !there.is_over());
        there.client_sent(b"");
        carry(&mut there, &mut here, usize::MAX);
        assert!(there.is_over() && here.is_over());
    }

    #[test]
    fn who_sends_beyond_the_room_is_found_out() {
        let beyond = (WINDOW as u32 + 1).to_be_bytes();
        assert_eq!(Flow::new().link_sent(&beyond), Err(Broken));
        let grant = (GRANTS | 1).to_be_bytes();
        assert_eq!(Flow::new().link_sent(&grant), Err(Broken));
        let after_end = [0_u32.to_be_bytes(), 1_u32.to_be_bytes()].concat();
        assert_eq!(Flow::new().link_sent(&after_end), Err(Broken));
    }

    proptest! {
        #[test]
        fn all_arrives_however_it_is_cut(
            total in 0_usize..300_000, step in 1_usize..40_000, bite in 1_usize..40_000,
        ) {
            let bytes: Vec<u8> = (0..total).map(|at| at as u8).collect();
            let (mut here, mut there) = (Flow::new(), Flow::new());
            let (mut rest, mut arrived) = (&bytes[..], Vec::new());
            while !there.has_all() {
                let room = here.room().min(rest.len());
                if here.room() > 0 {
                    here.client_sent(&rest[..room]);
                    rest = &rest[room..];
                }
                carry(&mut here, &mut there, step);
                prop_assert!(there.for_client().len() <= WINDOW);
                let took = there.for_client().len().min(bite);
                arrived.extend_from_slice(&there.for_client()[..took]);
                there.client_took(took);
                carry(&mut there, &mut here, step);
            }
            prop_assert_eq!(arrived, bytes);
        }

        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Flow::new().link_sent(&bytes);
        }
    }
}
