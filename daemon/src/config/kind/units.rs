//! Durations and sizes as people write them.

use std::time::Duration;

/// Far enough for any setting, and near enough to add to a clock.
const LONGEST_DURATION: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// Rising, so that the largest that fits is found from the end.
const UNITS: [(&str, usize); 7] = [
    ("B", 1),
    ("kB", 1_000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
];

/// Reads `25s`, `250ms`, `1h 30m`.
pub(in crate::config) fn duration(text: &str) -> Option<Duration> {
    let value = humantime::parse_duration(text).ok()?;
    // Timers here count milliseconds; a smaller part would be dropped unseen.
    let whole = value.subsec_nanos().is_multiple_of(1_000_000);
    (whole && value <= LONGEST_DURATION).then_some(value)
}

/// Reads `1MB` (1,000,000) and `1MiB` (1,048,576); a number alone is bytes.
pub(in crate::config) fn size(text: &str) -> Option<usize> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (count, unit) = text.split_at(digits);
    let unit = match unit.trim() {
        "" => "B",
        unit => unit,
    };
    let (_, each) = UNITS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    let bytes = count.parse::<usize>().ok()?.checked_mul(*each)?;
    // TOML has no larger number to show it as.
    i64::try_from(bytes).is_ok().then_some(bytes)
}

/// A duration as people write it: in a large unit if that leaves no remainder.
pub(in crate::config) fn duration_text(value: Duration) -> String {
    let millis = value.as_millis();
    match millis {
        _ if !millis.is_multiple_of(1_000) => format!("{millis}ms"),
        _ if millis >= 3_600_000 && millis.is_multiple_of(3_600_000) => {
            format!("{}h", millis / 3_600_000)
        }
        _ if millis > 120_000 && millis.is_multiple_of(60_000) => format!("{}m", millis / 60_000),
        _ => format!("{}s", millis / 1_000),
    }
}

/// A size as this configuration writes it: in the largest unit that leaves no remainder.
pub(in crate::config) fn size_text(bytes: usize) -> Option<String> {
    let (unit, count) = UNITS.iter().rev().find_map(|(unit, each)| {
        (*each > 1 && bytes >= *each && bytes.is_multiple_of(*each)).then(|| (unit, bytes / each))
    })?;
    Some(format!("{count}{unit}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written_in_one_form() {
        for (text, bytes) in [
            ("1MB", 1_000_000),
            ("1MiB", 1_048_576),
            ("16KiB", 16_384),
            ("2GiB", 2_147_483_648),
            ("1500kB", 1_500_000),
        ] {
            assert_eq!(size(text), Some(bytes), "{text}");
            assert_eq!(size_text(bytes).as_deref(), Some(text));
        }
        assert_eq!(size("1 mb"), Some(1_000_000));
        assert_eq!(size("512"), Some(512));
        assert_eq!(size_text(513), None);
        for text in ["", "MB", "1.5MB", "-1MB", "1TB", "99999999999GiB", "1MB2"] {
            assert_eq!(size(text), None, "{text}");
        }
    }

    #[test]
    fn durations_are_read_and_written_in_one_form() {
        for (text, millis) in [
            ("0s", 0),
            ("250ms", 250),
            ("25s", 25_000),
            ("120s", 120_000),
            ("5m", 300_000),
            ("24h", 86_400_000),
        ] {
            let value = Duration::from_millis(millis);
            assert_eq!(duration(text), Some(value), "{text}");
            assert_eq!(duration_text(value), text);
        }
        assert_eq!(duration("2m"), duration("120s"));
        for text in ["", "25", "s", "-1s", "1us", "100years", "1s garbage"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
