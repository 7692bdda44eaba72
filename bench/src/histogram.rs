//! A histogram of durations with buckets that grow with the value.

use serde::Serialize;

/// Each power of two is cut into this many buckets, so a value is kept to within 1/32 (3 %).
const STEPS: u64 = 32;
const STEP_BITS: u32 = STEPS.trailing_zeros();
const BUCKETS: usize = ((64 - STEP_BITS as usize) + 1) * STEPS as usize;

/// Counts of nanosecond values; recording is one addition.
#[derive(Clone)]
pub struct Histogram {
    /// Occurrences per bucket, in order of value.
    counts: Box<[u64]>,
    /// All occurrences, so that a quantile need not add them up first.
    total: u64,
    /// The largest value itself, which a bucket would blur.
    max: u64,
}

/// Quantiles of a histogram in microseconds, as reported.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Quantiles {
    /// Half were faster.
    pub p50: f64,
    /// 1 in 100 was slower.
    pub p99: f64,
    /// 1 in 1,000 was slower.
    pub p999: f64,
    /// The slowest.
    pub max: f64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; BUCKETS].into_boxed_slice(),
            total: 0,
            max: 0,
        }
    }
}

impl Histogram {
    /// Counts one value in nanoseconds.
    pub fn record(&mut self, nanos: u64) {
        self.counts[bucket(nanos)] += 1;
        self.total += 1;
        self.max = self.max.max(nanos);
    }

    /// Forgets all values, so that a warm-up leaves nothing behind.
    pub fn clear(&mut self) {
        self.counts.fill(0);
        self.total = 0;
        self.max = 0;
    }

    /// How many values were recorded.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The value that a share `q` (0 to 1) of all values does not exceed, in nanoseconds, rounded
    /// up to its bucket's end but never above the largest; 0 when nothing was recorded.
    pub fn quantile(&self, q: f64) -> u64 {
        let rank = ((self.total as f64 * q).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return bucket_end(index).min(self.max);
            }
        }
        self.max
    }

    /// The usual quantiles, or none when nothing was recorded.
    pub fn quantiles(&self) -> Option<Quantiles> {
        let micros = |nanos: u64| (nanos as f64 / 100.0).round() / 10.0;
        (self.total > 0).then(|| Quantiles {
            p50: micros(self.quantile(0.5)),
            p99: micros(self.quantile(0.99)),
            p999: micros(self.quantile(0.999)),
            max: micros(self.max),
        })
    }
}

/// Values below `STEPS` have a bucket each; above, the top `STEP_BITS + 1` bits choose it.
fn bucket(value: u64) -> usize {
    if value < STEPS {
        return value as usize;
    }
    let shift = value.ilog2() - STEP_BITS;
    let step = (value >> shift) - STEPS;
    ((u64::from(shift) + 1) * STEPS + step) as usize
}

/// The largest value that falls into the bucket.
fn bucket_end(index: usize) -> u64 {
    let (row, step) = (index as u64 / STEPS, index as u64 % STEPS);
    if row == 0 {
        return step;
    }
    let shift = row - 1;
    ((STEPS + step) << shift) + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, proptest};

    use super::*;

    #[test]
    fn quantiles_of_a_known_set() {
        let mut histogram = Histogram::default();
        (1..=1000).for_each(|n| histogram.record(n * 1000));
        let found = histogram.quantiles().unwrap();
        assert!((500.0..=516.0).contains(&found.p50), "{found:?}");
        assert!((990.0..=1000.0).contains(&found.p99), "{found:?}");
        assert_eq!(found.max, 1000.0);
        assert_eq!(histogram.total(), 1000);
    }

    #[test]
    fn empty_has_no_quantiles_and_clear_empties() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantiles(), None);
        histogram.record(5);
        assert_eq!(histogram.quantile(0.5), 5);
        histogram.clear();
        assert_eq!(histogram.quantiles(), None);
    }

    proptest! {
        #[test]
        fn a_bucket_holds_its_value_to_within_a_step(value in any::<u64>()) {
            let index = bucket(value);
            prop_assert!(index < BUCKETS);
            let end = bucket_end(index);
            prop_assert!(end >= value);
            prop_assert!(end - value <= value / STEPS);
            prop_assert!(end == u64::MAX || bucket(end + 1) == index + 1);
        }
    }
}
