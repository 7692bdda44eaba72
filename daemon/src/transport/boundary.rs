//! PURE: where in a client's stream of WebSocket frames a read ended (RFC 6455, section 5.2).
//!
//! It only measures: lengths and the marks of fragments. What is legal is tungstenite's to say,
//! which sees the same bytes.

/// The longest head: two bytes, eight of length, four of mask.
const MAX_HEAD: usize = 14;

/// How far a stream has come. At first it is between two messages.
#[derive(Debug, Default)]
pub(crate) struct Boundary {
    /// The start of a head that has not arrived whole.
    head: [u8; MAX_HEAD],
    /// Bytes of it.
    have: u8,
    /// Bytes of payload that are still to come.
    payload: u64,
    /// Whether a fragment was the last data frame but not the last of its message.
    fragmented: bool,
}

impl Boundary {
    /// Goes on over bytes that were read.
    pub(crate) fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.payload > 0 {
                let skipped = self.payload.min(bytes.len() as u64);
                self.payload -= skipped;
                bytes = &bytes[skipped as usize..];
                continue;
            }
            self.head[usize::from(self.have)] = bytes[0];
            self.have += 1;
            bytes = &bytes[1..];
            if usize::from(self.have) == self.head_len() {
                self.end_head();
            }
        }
    }

    /// Whether the stream stands between two messages.
    pub(crate) fn is_clean(&self) -> bool {
        self.have == 0 && self.payload == 0 && !self.fragmented
    }

    fn head_len(&self) -> usize {
        if self.have < 2 {
            return 2;
        }
        let length = match self.head[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if self.head[1] & 0x80 != 0 { 4 } else { 0 };
        2 + length + mask
    }

    fn end_head(&mut self) {
        let long = |len: usize| {
            let bytes = &self.head[2..2 + len];
            bytes
                .iter()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
        };
        self.payload = match self.head[1] & 0x7f {
            126 => long(2),
            127 => long(8),
            short => u64::from(short),
        };
        let (is_final, opcode) = (self.head[0] & 0x80 != 0, self.head[0] & 0x0f);
        // Control frames may stand between the fragments of a message.
        if opcode < 0x8 {
            self.fragmented = !is_final;
        }
        self.have = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, proptest};

    use super::*;

    fn frame(first: u8, len: usize, masked: bool) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut frame = vec![first];
        match len {
            0..126 => frame.push(mask | len as u8),
            126..0x1_0000 => {
                frame.push(mask | 126);
                frame.extend((len as u16).to_be_bytes());
            }
            _ => {
                frame.push(mask | 127);
                frame.extend((len as u64).to_be_bytes());
            }
        }
        frame.resize(frame.len() + len + if masked { 4 } else { 0 }, 0xff);
        frame
    }

    #[test]
    fn control_frames_do_not_end_a_fragmented_message() {
        let mut boundary = Boundary::default();
        boundary.pass(&frame(0x01, 3, true));
        assert!(!boundary.is_clean());
        boundary.pass(&frame(0x8a, 0, true));
        assert!(!boundary.is_clean());
        boundary.pass(&frame(0x00, 3, true));
        assert!(!boundary.is_clean());
        boundary.pass(&frame(0x80, 0, true));
        assert!(boundary.is_clean());
    }

    proptest! {
        #[test]
        fn clean_exactly_between_frames(
            lens in proptest::collection::vec((0usize..70_000, any::<bool>()), 1..5),
            step in 1usize..100_000,
        ) {
            let mut ends = vec![0];
            let mut stream = Vec::new();
            for (len, masked) in lens {
                stream.extend(frame(0x82, len, masked));
                ends.push(stream.len());
            }
            let mut boundary = Boundary::default();
            let mut at = 0;
            for chunk in stream.chunks(step) {
                boundary.pass(chunk);
                at += chunk.len();
                prop_assert!(boundary.is_clean() == ends.contains(&at));
            }
        }

        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            Boundary::default().pass(&bytes);
        }
    }
}
