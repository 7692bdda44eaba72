//! When to ask the CA. Pure: times are Unix seconds, and random bytes are passed in.

use crate::http::tls::Lifetime;

/// Waits after the first failures, in seconds; after further ones it is the last. Let's Encrypt
/// permits five failed validations of a name in an hour (letsencrypt.org, "Rate Limits"), and these
/// make no more than that.
const WAITS: [i64; 5] = [60, 5 * 60, 15 * 60, 30 * 60, 60 * 60];

/// What a wait is longer by at most, as a part of it: nodes that failed together shall not come again
/// together.
const JITTER: i64 = 4;

/// The longest wait after a failure, with its jitter.
const LONGEST: i64 = WAITS[WAITS.len() - 1] * (JITTER + 1) / JITTER;

/// When a certificate is to be renewed: two thirds through, as Let's Encrypt advises.
pub(super) fn renewal(lifetime: Lifetime) -> i64 {
    lifetime.until - (lifetime.until - lifetime.from) / 3
}

/// What became of earlier attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tries {
    /// Those that have failed since one did not.
    pub(super) failures: u32,
    /// Before it there is no other.
    pub(super) next: i64,
}

impl Tries {
    /// One more has failed. `is_limit` if the CA said that there were too many.
    pub(super) fn failed(self, now: i64, random: [u8; 2], is_limit: bool) -> Self {
        let last = WAITS.len() - 1;
        let place = if is_limit {
            last
        } else {
            self.failures as usize
        };
        let wait = WAITS[place.min(last)];
        let jitter = wait / JITTER * i64::from(u16::from_ne_bytes(random)) / i64::from(u16::MAX);
        Self {
            failures: self.failures.saturating_add(u32::from(!is_limit)),
            next: now + wait + jitter,
        }
    }

    /// One has succeeded. By a clock that is wrong its certificate may have to be renewed at once,
    /// and so may the next.
    pub(super) fn issued(lifetime: Lifetime, now: i64) -> Self {
        Self {
            failures: 0,
            next: now + (lifetime.until - lifetime.from) / 3,
        }
    }
}

/// When to ask, given the certificate, if it is the one that is wanted.
pub(super) fn due(certificate: Option<Lifetime>, tries: Tries, now: i64) -> i64 {
    // A clock that was put back must not make it wait for years.
    let retry = tries.next.min(now + LONGEST);
    match certificate {
        Some(lifetime) if tries.failures == 0 => {
            let third = (lifetime.until - lifetime.from) / 3;
            renewal(lifetime).max(tries.next.min(now + third))
        }
        Some(lifetime) => renewal(lifetime).max(retry),
        None if tries.failures == 0 => now,
        None => retry,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;
    const QUARTER: Lifetime = Lifetime {
        from: 1000 * DAY,
        until: 1090 * DAY,
    };

    #[test]
    fn no_hour_has_more_failures_than_the_ca_permits() {
        for random in [[0, 0], [255, 255]] {
            let (mut tries, mut now, mut at) = (Tries::default(), 1000 * DAY, Vec::new());
            for _ in 0..50 {
                now = due(None, tries, now);
                at.push(now);
                tries = tries.failed(now, random, false);
            }
            for (index, begin) in at.iter().enumerate() {
                let within = at[index..].iter().filter(|it| *it - begin < 3600);
                assert!(within.count() <= 5, "{at:?}");
            }
            assert!(at[49] - at[48] >= 3600 && at[49] - at[48] <= LONGEST);
        }
    }

    #[test]
    fn it_is_renewed_two_thirds_through_and_asked_for_at_once_if_there_is_none() {
        let now = 1010 * DAY;
        assert_eq!(due(None, Tries::default(), now), now);
        assert_eq!(due(Some(QUARTER), Tries::default(), now), 1060 * DAY);
        let issued = Tries::issued(QUARTER, 1000 * DAY);
        assert_eq!(due(Some(QUARTER), issued, now), 1060 * DAY);
        // Other names were configured: what was issued last is of no use.
        assert_eq!(due(None, issued, now), now);
    }

    #[test]
    fn by_a_clock_that_is_wrong_it_asks_rarely() {
        let ahead = 5000 * DAY;
        let issued = Tries::issued(QUARTER, ahead);
        assert_eq!(due(Some(QUARTER), issued, ahead), ahead + 30 * DAY);
        let failed = Tries::default().failed(ahead, [9, 9], false);
        assert_eq!(due(None, failed, 1000 * DAY), 1000 * DAY + LONGEST);
    }

    #[test]
    fn a_ca_that_has_had_enough_is_left_alone_for_an_hour() {
        let tries = Tries::default().failed(0, [0, 0], false);
        let limited = tries.failed(0, [0, 0], true);
        assert_eq!((limited.failures, limited.next), (1, 3600));
    }
}
