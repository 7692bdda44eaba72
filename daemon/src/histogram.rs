//! How long something takes, counted by duration: what Prometheus calls a histogram.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// The upper bounds of the buckets. What takes longer than the last is in one more.
pub(crate) const BOUNDS: [Duration; 13] = [
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2500),
    Duration::from_secs(10),
];

/// Counts durations. Cheap where one thread counts; others may, too.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanoseconds: AtomicU64,
}

/// What was counted up to some moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Counted {
    /// How many took at most so long as each of [`BOUNDS`] says.
    pub(crate) at_most: [u64; BOUNDS.len()],
    /// How many there were.
    pub(crate) count: u64,
    /// How long all of them took together.
    pub(crate) seconds: f64,
}

impl Histogram {
    /// One took so long.
    pub(crate) fn took(&self, time: Duration) {
        let bucket = BOUNDS.partition_point(|bound| *bound < time);
        self.buckets[bucket].fetch_add(1, Relaxed);
        // Centuries fit.
        self.nanoseconds.fetch_add(time.as_nanos() as u64, Relaxed);
    }
}

impl Counted {
    /// What several have counted.
    pub(crate) fn of<'a>(histograms: impl IntoIterator<Item = &'a Histogram>) -> Self {
        let mut all = Self::default();
        for histogram in histograms {
            let mut sum = 0;
            for (bucket, at_most) in histogram.buckets.iter().zip(&mut all.at_most) {
                sum += bucket.load(Relaxed);
                *at_most += sum;
            }
            let longer = histogram.buckets[BOUNDS.len()].load(Relaxed);
            all.count += sum + longer;
            all.seconds += histogram.nanoseconds.load(Relaxed) as f64 / 1e9;
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let (one, other) = (Histogram::default(), Histogram::default());
        for micros in [0, 500, 501, 1000, 20_000_000] {
            one.took(Duration::from_micros(micros));
        }
        other.took(Duration::from_millis(3));
        let counted = Counted::of([&one, &other]);
        assert_eq!(counted.at_most[..4], [2, 4, 4, 5]);
        assert_eq!(counted.at_most[BOUNDS.len() - 1], 5);
        assert_eq!(counted.count, 6);
        assert!((counted.seconds - 20.005_001).abs() < 1e-9);
    }
}
