//! What a client checks of the events that it gets. One event costs a few comparisons.

use std::sync::Arc;

use crate::{histogram::Histogram, random, scan::Scanner, symbols::Symbols};

/// What is checked of every event.
#[derive(Clone, Debug)]
pub enum Expect {
    /// `"ts"` grows from event to event.
    Stamps,
    /// `"seq"` grows from event to event.
    Sequence,
    /// `"seq"` grows from quote to quote of the same `"symbol"`, which is one that was subscribed
    /// to.
    Quotes(Arc<Symbols>),
}

/// What all clients together have seen.
pub struct Tally {
    /// Clients that have all that the plan asks for.
    pub ready: usize,
    /// From a client's first try to connect until it was ready.
    pub ready_after: Histogram,
    /// EVENT packets.
    pub events: u64,
    /// Bytes of those packets, without WebSocket heads.
    pub bytes: u64,
    /// From the stamp in an event to its reading.
    pub latency: Histogram,
    /// From a probe's event to its acknowledgement.
    pub acks: Histogram,
    /// Acknowledgements of probes that said `ok: false`.
    pub refused_acks: u64,
    /// What was wrong with the events.
    pub faults: Faults,
    /// Finds `"ts"`.
    stamp: Scanner,
    /// Finds `"seq"`.
    sequence: Scanner,
    /// Finds the number of a `"symbol"`.
    symbol: Scanner,
}

/// Events that should not have come as they did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Older than the one before on the same client (of the same symbol, for quotes).
    pub out_of_order: u64,
    /// The same again.
    pub repeated: u64,
    /// Without what is checked, or of a symbol that the client did not subscribe to.
    pub foreign: u64,
}

/// What one client keeps.
#[derive(Debug)]
pub(super) enum Watch {
    /// For [`Expect::Stamps`].
    Stamps { latest: u64 },
    /// For [`Expect::Sequence`]; one more than the latest, 0 at the start.
    Sequence { next: u64 },
    /// For [`Expect::Quotes`].
    Quotes {
        /// Numbers of its symbols in order.
        symbols: Box<[u32]>,
        /// For each of them one more than the latest `"seq"`; 0 if there was no quote.
        next: Box<[u32]>,
    },
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            ready: 0,
            ready_after: Histogram::default(),
            events: 0,
            bytes: 0,
            latency: Histogram::default(),
            acks: Histogram::default(),
            refused_acks: 0,
            faults: Faults::default(),
            stamp: Scanner::new(b"\"ts\":"),
            sequence: Scanner::new(b"\"seq\":"),
            symbol: Scanner::new(b"\"symbol\":\"S"),
        }
    }
}

impl Faults {
    /// Whether there were none.
    pub fn are_none(&self) -> bool {
        *self == Self::default()
    }

    /// Events that were older than the one before or the same.
    pub fn not_newer(&self) -> u64 {
        self.out_of_order + self.repeated
    }

    /// Counts `value` as newer than `before`, or as a fault.
    fn note(&mut self, value: u64, before: u64) {
        self.out_of_order += u64::from(value < before);
        self.repeated += u64::from(value == before);
    }
}

impl Watch {
    /// For a client that watches these.
    pub(super) fn quotes(symbols: Box<[u32]>) -> Self {
        let next = vec![0; symbols.len()].into_boxed_slice();
        Self::Quotes { symbols, next }
    }

    /// Checks one event that was read at `now`; what it adds to the client's digest.
    pub(super) fn see(&mut self, packet: &[u8], now: u64, tally: &mut Tally) -> u64 {
        let stamp = tally.stamp.number(packet);
        if let Some(stamp) = stamp {
            tally.latency.record(now.saturating_sub(stamp));
        }
        match self {
            Self::Stamps { latest } => {
                let stamp = stamp.unwrap_or(latest.saturating_add(1));
                tally.faults.note(stamp, *latest);
                *latest = stamp;
                return 0;
            }
            Self::Sequence { next } => {
                if let Some(sequence) = tally.sequence.number(packet) {
                    let after = sequence.saturating_add(1);
                    tally.faults.note(after, *next);
                    *next = after;
                    return random::mix(after);
                }
            }
            Self::Quotes { symbols, next } => {
                let symbol = tally.symbol.number(packet).and_then(|symbol| {
                    let symbol = u32::try_from(symbol).ok()?;
                    symbols.binary_search(&symbol).ok()
                });
                if let (Some(place), Some(sequence)) = (symbol, tally.sequence.number(packet)) {
                    let after = sequence.saturating_add(1);
                    tally.faults.note(after, next[place].into());
                    next[place] = u32::try_from(after).unwrap_or(u32::MAX);
                    return random::mix(after);
                }
            }
        }
        tally.faults.foreign += 1;
        0
    }

    /// Of how many symbols the client does not have the newest quote; `newest` holds for each
    /// symbol one more than its last `"seq"`, 0 if it had none.
    pub(super) fn newest_missing(&self, newest: &[u32]) -> u64 {
        match self {
            Self::Quotes { symbols, next } => symbols
                .iter()
                .zip(next)
                .filter(|(symbol, next)| newest[**symbol as usize] != **next)
                .count() as u64,
            Self::Stamps { .. } | Self::Sequence { .. } => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(mut watch: Watch, packets: &[&str]) -> (Watch, Tally, u64) {
        let mut tally = Tally::default();
        let digest = packets
            .iter()
            .map(|packet| watch.see(packet.as_bytes(), 1_000, &mut tally))
            .fold(0, u64::wrapping_add);
        (watch, tally, digest)
    }

    fn faults(out_of_order: u64, repeated: u64, foreign: u64) -> Faults {
        Faults {
            out_of_order,
            repeated,
            foreign,
        }
    }

    #[test]
    fn stamps_must_grow() {
        let watch = Watch::Stamps { latest: 0 };
        let packets = [4, 5, 5, 3].map(|stamp| format!("42[{{\"ts\":{stamp}}}]"));
        let (_, tally, _) = seen(watch, &packets.each_ref().map(String::as_str));
        assert_eq!(tally.faults, faults(1, 1, 0));
        assert_eq!(tally.latency.total(), 4);
    }

    #[test]
    fn events_without_stamps_are_only_counted() {
        let (_, tally, _) = seen(Watch::Stamps { latest: 0 }, &["42[\"a\"]", "42[\"a\"]"]);
        assert!(tally.faults.are_none());
    }

    #[test]
    fn a_sequence_must_grow_and_its_digest_tells_what_came() {
        let event = |sequence| format!("42[{{\"seq\":{sequence}}}]");
        let watch = || Watch::Sequence { next: 0 };
        let (_, tally, digest) = seen(watch(), &[&event(0), &event(3)]);
        assert!(tally.faults.are_none());
        let (_, _, other) = seen(watch(), &[&event(1), &event(2)]);
        assert_ne!(digest, other);
        let (_, tally, _) = seen(watch(), &[&event(0), &event(0), &event(2), &event(1), "42"]);
        assert_eq!(tally.faults, faults(1, 1, 1));
    }

    #[test]
    fn quotes_must_grow_for_each_symbol() {
        let quote = |symbol, sequence| {
            format!("42[{{\"ts\":900,\"symbol\":\"S{symbol:04}\",\"seq\":{sequence}}}]")
        };
        let watch = || Watch::quotes(Box::new([2, 11]));
        let sound = [quote(2, 0), quote(11, 5), quote(2, 1), quote(11, 7)];
        let (watched, tally, _) = seen(watch(), &sound.each_ref().map(String::as_str));
        assert!(tally.faults.are_none());
        let mut newest = [0; 12];
        (newest[2], newest[11]) = (2, 8);
        assert_eq!(watched.newest_missing(&newest), 0);
        newest[11] = 9;
        assert_eq!(watched.newest_missing(&newest), 1);
        let bad = [quote(2, 4), quote(2, 3), quote(2, 3), quote(3, 9)];
        let (_, tally, _) = seen(watch(), &bad.each_ref().map(String::as_str));
        assert_eq!(tally.faults, faults(1, 1, 1));
    }
}
