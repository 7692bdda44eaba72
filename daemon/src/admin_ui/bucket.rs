//! PURE: so many things in a second, and some at once.

use std::time::{Duration, Instant};

/// What may be taken now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    per_second: u32,
    /// How much it holds when it was left alone.
    burst: u32,
    left: u32,
    /// Until when what flows in has been counted.
    counted: Instant,
}

impl Bucket {
    /// A full one.
    pub(crate) fn new(per_second: u32, burst: u32, now: Instant) -> Self {
        Self {
            per_second,
            burst,
            left: burst,
            counted: now,
        }
    }

    /// Takes as many of `wanted` as there are; returns how many.
    pub(crate) fn take(&mut self, wanted: usize, now: Instant) -> usize {
        let since = now.saturating_duration_since(self.counted);
        let more = since.as_micros() * u128::from(self.per_second) / 1_000_000;
        if more > 0 {
            let more = u32::try_from(more).unwrap_or(u32::MAX);
            let left = self.left.saturating_add(more);
            self.left = left.min(self.burst);
            // What is less than one is counted the next time.
            let whole = Duration::from_secs_f64(f64::from(more) / f64::from(self.per_second));
            self.counted = if left > self.burst {
                now
            } else {
                self.counted + whole
            };
        }
        let taken = wanted.min(self.left as usize);
        self.left -= taken as u32;
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_a_burst_and_then_so_many_a_second() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut bucket = Bucket::new(100, 150, start);
        assert_eq!(bucket.take(1000, at(0)), 150);
        assert_eq!(bucket.take(1, at(9)), 0);
        assert_eq!(bucket.take(5, at(10)), 1);
        // Each look alone is too early for one more.
        let little: usize = (11..=110).map(|ms| bucket.take(1, at(ms))).sum();
        assert_eq!(little, 10);
        assert_eq!(bucket.take(1000, at(100_000)), 150);
    }
}
