//! Amounts that end by time.

/// A part of a count: for how many milliseconds it counts from now, and how much it is.
pub type Part = (u32, u32);

/// The same with the time at which it ends, by this node's clock.
pub(super) type Until = (u64, u32);

/// The most parts that a count is told in.
pub(crate) const MAX_PARTS: usize = 16;

/// From milliseconds to times, in order.
pub(super) fn until(parts: &[Part], now_ms: u64) -> Vec<Until> {
    let counting = parts.iter().filter(|(ttl, amount)| *ttl > 0 && *amount > 0);
    let until = counting.map(|(ttl, amount)| (now_ms + u64::from(*ttl), *amount));
    few(until.collect())
}

/// From times to the milliseconds that are left.
pub(super) fn left(parts: &[Until], now_ms: u64) -> Vec<Part> {
    let counting = parts.iter().filter(|(until_ms, _)| *until_ms > now_ms);
    let ttl = |until_ms| u32::try_from(until_ms - now_ms).unwrap_or(u32::MAX);
    counting
        .map(|(until_ms, amount)| (ttl(*until_ms), *amount))
        .collect()
}

/// When the last part ends.
pub(super) fn ends_ms(parts: &[Until]) -> Option<u64> {
    parts.iter().map(|part| part.0).max()
}

/// As many parts as can be told, in order. Neighbours are taken together, and end with the last of
/// them: a limit may hold a little longer, never shorter.
pub(super) fn few(mut parts: Vec<Until>) -> Vec<Until> {
    parts.sort_unstable();
    parts.dedup_by(|later, earlier| {
        let is_same = later.0 == earlier.0;
        if is_same {
            earlier.1 = earlier.1.saturating_add(later.1);
        }
        is_same
    });
    let each = parts.len().div_ceil(MAX_PARTS).max(1);
    let together = parts.chunks(each).filter_map(|some| {
        let amount = some.iter().fold(0_u32, |sum, it| sum.saturating_add(it.1));
        Some((some.last()?.0, amount))
    });
    together.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};
    use proptest::{collection, prop_assert, prop_assert_eq};

    proptest! {
        #[test]
        fn taking_together_never_shortens(
            parts in collection::vec((0..50_u64, 0..9_u32), 0..80), at in 0..50_u64,
        ) {
            let few = few(parts.clone());
            prop_assert!(few.len() <= MAX_PARTS);
            let sum = |parts: &[Until], after| -> u32 {
                parts.iter().filter(|it| it.0 >= after).map(|it| it.1).sum()
            };
            prop_assert_eq!(sum(&parts, 0), sum(&few, 0));
            prop_assert!(sum(&parts, at) <= sum(&few, at));
        }

        #[test]
        fn times_come_back(ttl in 1..u32::MAX, amount in 1..u32::MAX, now_ms in any::<u32>()) {
            let now_ms = u64::from(now_ms);
            let there = until(&[(ttl, amount)], now_ms);
            prop_assert_eq!(left(&there, now_ms), vec![(ttl, amount)]);
            prop_assert_eq!(left(&there, now_ms + u64::from(ttl)), vec![]);
        }
    }
}
