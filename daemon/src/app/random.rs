//! Unguessable ids and secrets, from the system's random source.

use std::cell::RefCell;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// The largest multiple of 62 in a byte: bytes from here on would favour the first characters.
const FAIR: u8 = 248;

/// `N` random bytes.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    fill(&mut bytes);
    bytes
}

/// Fills a few bytes with random ones. A thread asks the system for many at a time and gives each
/// byte out once.
pub fn fill(bytes: &mut [u8]) {
    /// One system call for the ids of about thirty clients.
    const AT_ONCE: usize = 1024;
    thread_local! {
        static STOCK: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    // It can only fail before the kernel has gathered its first randomness, long before any start.
    let ask = |bytes: &mut [u8]| getrandom::fill(bytes).expect("the system gives random bytes");
    if bytes.len() > AT_ONCE {
        return ask(bytes);
    }
    STOCK.with_borrow_mut(|stock| {
        if stock.len() < bytes.len() {
            stock.resize(AT_ONCE, 0);
            ask(stock);
        }
        let kept = stock.len() - bytes.len();
        bytes.copy_from_slice(&stock[kept..]);
        stock[kept..].fill(0);
        stock.truncate(kept);
    });
}

/// A session id: 192 random bits in 32 URL-safe characters, as `express-session` makes them.
pub fn session_id() -> String {
    URL_SAFE_NO_PAD.encode(bytes::<24>())
}

/// Random letters and digits, 5.95 bits each.
pub fn base62(len: usize) -> String {
    let mut text = String::with_capacity(len);
    while text.len() < len {
        let fair = bytes::<64>().into_iter().filter(|&byte| byte < FAIR);
        text.extend(
            fair.take(len - text.len())
                .map(|byte| char::from(BASE62[byte as usize % 62])),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{base62, session_id};
    use std::collections::HashSet;

    #[test]
    fn ids_are_long_and_never_the_same() {
        let ids: HashSet<String> = (0..1_000).map(|_| session_id()).collect();
        assert_eq!(ids.len(), 1_000);
        let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        assert!(ids.iter().all(|id| id.len() == 32 && id.bytes().all(legal)));
    }

    #[test]
    fn every_character_comes_about_as_often() {
        let text = base62(62_000);
        assert_eq!(text.len(), 62_000);
        let mut counts = [0_u32; 128];
        text.bytes().for_each(|byte| counts[byte as usize] += 1);
        let used: Vec<u32> = counts.into_iter().filter(|&count| count > 0).collect();
        assert_eq!(used.len(), 62);
        // Eight standard deviations.
        assert!(
            used.iter().all(|count| (750..1_250).contains(count)),
            "{used:?}"
        );
    }
}
