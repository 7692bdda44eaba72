//! A sliding window of one minute, in at most [`SLICES`] slices. Pure: the caller brings the time.
//!
//! A slice opens with its first hit and takes the hits of the [`SLICE_MS`] that follow; it leaves
//! the window as a whole, a minute after its *last* hit. From this follow two bounds, for every
//! limit `L`:
//!
//! * never more than `L` hits pass in any true minute, from any start;
//! * a hit is held against its key for at most one slice longer than a minute, and a burst (all in
//!   one instant) for exactly a minute.
//!
//! Only the sum counts, so what other nodes have counted is added to it where a hit is judged
//! ([`SlidingWindow::hit_beside`]).

use std::time::Duration;

/// What the window covers.
pub const WINDOW_MS: u64 = 60_000;
/// What one slice covers: the coarseness of forgetting.
pub const SLICE_MS: u64 = 5_000;
/// Starts lie a slice apart and no later hit is a minute old, so no more can be alive at once.
pub const SLICES: usize = (WINDOW_MS / SLICE_MS) as usize + 1;
/// Threads read the clock before they take a lock, so hits may come a little out of order. A larger
/// step back is a clock that was set.
const CLOCK_TOLERANCE_MS: u64 = 1_000;
/// The first byte of a stored window.
const FORMAT: u8 = 1;
const SLICE_BYTES: usize = 8 + 2 + 4;

/// Hits that were counted on other nodes: until when, in unix milliseconds, and how many.
pub type Elsewhere = (u64, u32);

/// The hits of one key in the last minute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlidingWindow {
    /// Oldest first; none is empty.
    slices: Vec<Slice>,
}

/// Hits close enough in time to be forgotten together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slice {
    /// When the first hit came, in unix milliseconds.
    start_ms: u64,
    /// How long after it the last hit came; below [`SLICE_MS`].
    span_ms: u16,
    /// How many hits there were.
    hits: u32,
}

/// What became of a hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was counted.
    Allowed {
        /// How many more would pass at this moment.
        remaining: u32,
    },
    /// It was not counted, so that a refused client does not prolong its own wait.
    Refused {
        /// When the next hit can pass, if nothing else is counted until then.
        retry_after: Duration,
    },
}

impl SlidingWindow {
    /// Counts one hit, unless `limit` hits are in the window already.
    pub fn hit(&mut self, now_ms: u64, limit: u32) -> Verdict {
        self.hit_beside(&[], now_ms, limit)
    }

    /// Counts one hit here, unless `limit` hits are in the window and elsewhere already. `others`
    /// are in the order in which they end.
    pub fn hit_beside(&mut self, others: &[Elsewhere], now_ms: u64, limit: u32) -> Verdict {
        let now_ms = self.advance(now_ms);
        let count = self.sum().saturating_add(elsewhere(others, now_ms));
        if count >= limit {
            return Verdict::Refused {
                retry_after: self.retry_after(others, now_ms, limit),
            };
        }
        self.record(now_ms);
        Verdict::Allowed {
            remaining: limit - count - 1,
        }
    }

    /// Takes back the newest hit: what it was counted for turned out not to count.
    pub fn refund(&mut self, now_ms: u64) {
        self.advance(now_ms);
        let Some(newest) = self.slices.last_mut() else {
            return;
        };
        newest.hits -= 1;
        if newest.hits == 0 {
            self.slices.pop();
        }
    }

    /// The hits in the window that ends now.
    pub fn count(&mut self, now_ms: u64) -> u32 {
        self.advance(now_ms);
        self.sum()
    }

    /// Whether the key can be forgotten.
    pub fn is_idle(&mut self, now_ms: u64) -> bool {
        self.advance(now_ms);
        self.slices.is_empty()
    }

    /// When the newest hit came; nothing for an empty window.
    pub fn last_hit_ms(&self) -> Option<u64> {
        self.slices.last().map(Slice::last_ms)
    }

    /// When the window will be empty, in unix milliseconds; 0 if it is.
    pub fn expires_ms(&self) -> u64 {
        self.slices.last().map_or(0, Slice::expires_ms)
    }

    /// The hits by how long they stay in the window from now on, in milliseconds.
    pub fn parts(&mut self, now_ms: u64) -> impl Iterator<Item = (u32, u32)> {
        let now_ms = self.advance(now_ms);
        let left = move |slice: &Slice| ((slice.expires_ms() - now_ms) as u32, slice.hits);
        self.slices.iter().map(left)
    }

    /// The stored form: a version byte, then each slice as start (u64), span (u16), hits (u32), all
    /// big-endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(1 + self.slices.len() * SLICE_BYTES);
        bytes.push(FORMAT);
        for slice in &self.slices {
            bytes.extend_from_slice(&slice.start_ms.to_be_bytes());
            bytes.extend_from_slice(&slice.span_ms.to_be_bytes());
            bytes.extend_from_slice(&slice.hits.to_be_bytes());
        }
        bytes
    }

    /// Reads a stored window; nothing if the bytes are not one that [`Self::to_bytes`] can write.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&FORMAT, rest) = bytes.split_first()? else {
            return None;
        };
        let chunks = rest.chunks_exact(SLICE_BYTES);
        if !chunks.remainder().is_empty() || chunks.len() > SLICES {
            return None;
        }
        let slices: Vec<Slice> = chunks.map(Slice::from_bytes).collect::<Option<_>>()?;
        let apart = |pair: &[Slice]| pair[1].start_ms - pair[0].start_ms >= SLICE_MS;
        let ordered = slices
            .windows(2)
            .all(|pair| pair[0].start_ms <= pair[1].start_ms && apart(pair));
        let countable = slices
            .iter()
            .try_fold(0_u32, |sum, s| sum.checked_add(s.hits))
            .is_some();
        (ordered && countable).then_some(Self { slices })
    }

    /// Drops what has left the window, and returns the time to count at.
    fn advance(&mut self, now_ms: u64) -> u64 {
        let Some(last_ms) = self.last_hit_ms() else {
            return now_ms;
        };
        if now_ms >= last_ms {
            let gone = self
                .slices
                .iter()
                .take_while(|s| s.expires_ms() <= now_ms)
                .count();
            self.slices.drain(..gone);
            return now_ms;
        }
        let behind = last_ms - now_ms;
        if behind <= CLOCK_TOLERANCE_MS {
            return last_ms;
        }
        self.rebase(behind);
        now_ms
    }

    /// The clock was set back: the hits keep their age, or nobody would pass until it caught up.
    fn rebase(&mut self, behind: u64) {
        self.slices.retain(|slice| slice.start_ms >= behind);
        for slice in &mut self.slices {
            slice.start_ms -= behind;
        }
    }

    fn record(&mut self, now_ms: u64) {
        if let Some(newest) = self.slices.last_mut() {
            let span = now_ms - newest.start_ms;
            if span < SLICE_MS {
                newest.span_ms = span as u16;
                newest.hits += 1;
                return;
            }
        }
        // Most keys hit rarely; Vec's own first guess of four slices would double their memory.
        if self.slices.is_empty() {
            self.slices.reserve_exact(1);
        }
        self.slices.push(Slice {
            start_ms: now_ms,
            span_ms: 0,
            hits: 1,
        });
    }

    fn sum(&self) -> u32 {
        self.slices.iter().map(|slice| slice.hits).sum()
    }

    fn retry_after(&self, others: &[Elsewhere], now_ms: u64, limit: u32) -> Duration {
        let own = self
            .slices
            .iter()
            .map(|slice| (slice.expires_ms(), slice.hits));
        let others = others.iter().copied().filter(|it| counts(it, now_ms));
        let (mut own, mut others) = (own.rev(), others.rev());
        let (mut last_own, mut last_other) = (own.next(), others.next());
        // From the last to end backwards: the first of which there is no room for has to end.
        let mut kept = 0_u32;
        // Only a limit of nothing is never met; the caller then waits a whole window for its
        // answer.
        let mut at = now_ms + WINDOW_MS;
        while let Some((ends_ms, hits)) = last_own.max(last_other) {
            kept = kept.saturating_add(hits);
            if kept >= limit {
                at = ends_ms;
                break;
            }
            if last_own >= last_other {
                last_own = own.next();
            } else {
                last_other = others.next();
            }
        }
        Duration::from_millis(at - now_ms)
    }
}

/// How many hits elsewhere count now.
pub fn elsewhere(others: &[Elsewhere], now_ms: u64) -> u32 {
    let counting = others.iter().filter(|it| counts(it, now_ms));
    counting.fold(0, |sum, it| sum.saturating_add(it.1))
}

/// Whether hits elsewhere count now. None can end later than a window from now, unless the clock
/// was set back; then they are forgotten rather than held for ever.
fn counts((until_ms, _): &Elsewhere, now_ms: u64) -> bool {
    (now_ms..=now_ms + WINDOW_MS + CLOCK_TOLERANCE_MS).contains(until_ms) && *until_ms > now_ms
}

impl Slice {
    fn last_ms(&self) -> u64 {
        self.start_ms + u64::from(self.span_ms)
    }

    fn expires_ms(&self) -> u64 {
        self.last_ms() + WINDOW_MS
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (start, rest) = bytes.split_first_chunk()?;
        let (span, rest) = rest.split_first_chunk()?;
        let slice = Self {
            start_ms: u64::from_be_bytes(*start),
            span_ms: u16::from_be_bytes(*span),
            hits: u32::from_be_bytes(rest.try_into().ok()?),
        };
        // Far from overflow, so that no arithmetic on a stored time needs a check.
        let sane = slice.start_ms < u64::MAX / 2 && u64::from(slice.span_ms) < SLICE_MS;
        (sane && slice.hits > 0).then_some(slice)
    }
}

#[cfg(test)]
mod tests {
    use super::{SLICE_MS, SLICES, SlidingWindow, Verdict, WINDOW_MS};
    use proptest::collection::vec;
    use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
    use std::time::Duration;

    const T0: u64 = 1_800_000_000_000;

    fn passes(window: &mut SlidingWindow, now_ms: u64, limit: u32) -> bool {
        matches!(window.hit(now_ms, limit), Verdict::Allowed { .. })
    }

    #[test]
    fn a_fresh_window_lets_exactly_the_limit_pass() {
        let mut window = SlidingWindow::default();
        for left in (0..10).rev() {
            assert_eq!(window.hit(T0, 10), Verdict::Allowed { remaining: left });
        }
        let refused = Verdict::Refused {
            retry_after: Duration::from_secs(60),
        };
        assert_eq!(window.hit(T0, 10), refused);
        assert_eq!(window.count(T0), 10);
    }

    #[test]
    fn a_burst_is_forgotten_after_a_minute_to_the_millisecond() {
        let mut window = SlidingWindow::default();
        for _ in 0..3 {
            assert!(passes(&mut window, T0 + 123, 3));
        }
        assert!(!passes(&mut window, T0 + 123 + WINDOW_MS - 1, 3));
        assert!(passes(&mut window, T0 + 123 + WINDOW_MS, 3));
    }

    #[test]
    fn a_refund_makes_room_for_one() {
        let mut window = SlidingWindow::default();
        assert!(passes(&mut window, T0, 1));
        window.refund(T0 + 5);
        assert!(passes(&mut window, T0 + 6, 1));
        assert!(!passes(&mut window, T0 + 7, 1));
        window.refund(T0 + 8);
        window.refund(T0 + 9);
        assert_eq!(window.count(T0 + 9), 0);
        assert_eq!(window.expires_ms(), 0);
    }

    #[test]
    fn hits_a_little_out_of_order_do_not_age_the_window() {
        let mut window = SlidingWindow::default();
        let first = T0 - 6_000;
        window.hit(first, 2_000);
        for _ in 0..500 {
            window.hit(T0 + 1, 2_000);
            window.hit(T0, 2_000);
        }
        assert_eq!(window.count(first + WINDOW_MS - 1), 1_001);
        assert_eq!(window.count(first + WINDOW_MS), 1_000);
    }

    #[test]
    fn bytes_of_another_make_are_refused() {
        let mut window = SlidingWindow::default();
        window.hit(T0, 5);
        let good = window.to_bytes();
        for (at, byte) in [(0, 2), (9, 0xff), (1, 0xff)] {
            let mut bad = good.clone();
            bad[at] = byte;
            assert_eq!(SlidingWindow::from_bytes(&bad), None, "byte {at}");
        }
        assert_eq!(SlidingWindow::from_bytes(&[]), None);
        assert_eq!(SlidingWindow::from_bytes(&good[..good.len() - 1]), None);
        assert_eq!(
            SlidingWindow::from_bytes(&[&good[..], &good[1..]].concat()),
            None
        );
    }

    /// Pauses between hits: bursts, trickles and silences.
    fn pauses() -> impl Strategy<Value = Vec<u64>> {
        let pause = prop_oneof![0..20_u64, 0..2_000_u64, 0..20_000_u64, 50_000..70_000_u64];
        vec(pause, 1..300)
    }

    proptest! {
        #[test]
        fn holds_against_an_exact_log(pauses in pauses(), limit in 1..20_u32) {
            let (mut window, mut log, mut now) = (SlidingWindow::default(), Vec::new(), T0);
            for pause in pauses {
                now += pause;
                let within = |ms: u64| log.iter().filter(|&&at| at + ms > now).count() as u32;
                let (minute, longer) = (within(WINDOW_MS), within(WINDOW_MS + SLICE_MS));
                match window.hit(now, limit) {
                    Verdict::Allowed { remaining } => {
                        prop_assert!(minute < limit);
                        prop_assert!(remaining < limit - minute);
                        log.push(now);
                    }
                    Verdict::Refused { retry_after } => {
                        prop_assert!(longer >= limit);
                        prop_assert!(retry_after > Duration::ZERO);
                        let later = now + retry_after.as_millis() as u64;
                        prop_assert!(!passes(&mut window.clone(), later - 1, limit));
                        prop_assert!(passes(&mut window.clone(), later, limit));
                    }
                }
                let count = window.count(now);
                prop_assert!(window.slices.len() <= SLICES);
                prop_assert!(count >= minute && count <= longer + 1);
                let stored = SlidingWindow::from_bytes(&window.to_bytes());
                prop_assert_eq!(stored.as_ref(), Some(&window));
            }
        }

        #[test]
        fn any_clock_is_survived(
            times in vec(prop_oneof![0..200_000_u64, 0..u64::MAX / 2], 1..100),
            limit in 0..5_u32,
        ) {
            let mut window = SlidingWindow::default();
            for now in times {
                window.hit(now, limit);
                prop_assert!(window.count(now) <= limit);
                prop_assert!(window.slices.len() <= SLICES);
                // A second of tolerance for unordered hits, a slice for rounding.
                let free = now + WINDOW_MS + SLICE_MS + 1_000;
                prop_assert!(limit == 0 || passes(&mut window.clone(), free, limit));
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(
            bytes in vec(any::<u8>(), 0..200),
            now in 0..u64::MAX / 2,
        ) {
            if let Some(mut window) = SlidingWindow::from_bytes(&bytes) {
                prop_assert_eq!(window.to_bytes(), bytes);
                window.hit(now, 3);
                window.refund(now);
            }
        }
    }
}
