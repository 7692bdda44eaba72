//! Finding numbers in packets without parsing them.

/// Finds the number behind a key. Packets of one kind hold it at the same place, so the place of
/// the last one is looked at first.
#[derive(Clone, Copy, Debug)]
pub struct Scanner {
    /// What stands before the number, such as `"ts":`.
    key: &'static [u8],
    /// Where it was in the packet before.
    at: usize,
}

impl Scanner {
    /// A scanner for what follows `key`.
    pub const fn new(key: &'static [u8]) -> Self {
        Self { key, at: 0 }
    }

    /// The number behind the key, or none if there is no key or no number that fits.
    pub fn number(&mut self, packet: &[u8]) -> Option<u64> {
        if !packet
            .get(self.at..)
            .is_some_and(|rest| rest.starts_with(self.key))
        {
            self.at = packet
                .windows(self.key.len())
                .position(|bytes| bytes == self.key)?;
        }
        digits(&packet[self.at + self.key.len()..])
    }
}

/// The decimal number that `text` starts with.
pub fn digits(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    let mut value = None;
    for digit in digits {
        let so_far = value.unwrap_or(0_u64);
        value = Some(
            so_far
                .checked_mul(10)?
                .checked_add(u64::from(digit - b'0'))?,
        );
    }
    value
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    fn stamp(packet: &[u8]) -> Option<u64> {
        Scanner::new(b"\"ts\":").number(packet)
    }

    #[test]
    fn numbers_are_found_or_not() {
        assert_eq!(stamp(br#"42["q",{"ts":17}]"#), Some(17));
        assert_eq!(stamp(br#"42["q",{"ts":"17"}]"#), None);
        assert_eq!(stamp(br#"42["q",{"ts":99999999999999999999}]"#), None);
        assert_eq!(stamp(br#"42["q",{}]"#), None);
    }

    proptest! {
        #[test]
        fn the_place_of_the_last_packet_is_only_a_hint(
            numbers in proptest::collection::vec(("[a-z]{0,3}", any::<u64>()), 1..9),
        ) {
            let mut scanner = Scanner::new(b"\"ts\":");
            for (name, number) in numbers {
                let packet = format!("42[\"{name}\",{{\"ts\":{number},\"p\":1}}]");
                prop_assert_eq!(scanner.number(packet.as_bytes()), Some(number));
                prop_assert_eq!(scanner.number(b"42"), None);
            }
        }
    }
}
