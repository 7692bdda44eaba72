//! Which client watches which symbols: drawn from a seed, so that nothing need be stored.

use std::fmt::Write as _;

use crate::random::Random;

/// The symbols `S0000`, `S0001`, …, and who watches them.
#[derive(Clone, Copy, Debug)]
pub struct Symbols {
    /// How many there are.
    pub rooms: u32,
    /// How many of them each client watches, at most `rooms`.
    pub each: u32,
    /// The same seed gives the same choice.
    pub seed: u64,
}

impl Symbols {
    /// The numbers of the symbols that client `number` watches, in order, none twice.
    pub fn of_client(&self, number: usize) -> Box<[u32]> {
        let mut random = Random::new(self.seed ^ (number as u64).rotate_left(32));
        let mut chosen = Vec::with_capacity(self.each as usize);
        while chosen.len() < self.each.min(self.rooms) as usize {
            let symbol = random.below(u64::from(self.rooms)) as u32;
            if let Err(place) = chosen.binary_search(&symbol) {
                chosen.insert(place, symbol);
            }
        }
        chosen.into_boxed_slice()
    }

    /// The same as a JSON array of names.
    pub fn json(&self, client: usize) -> String {
        let mut json = String::from("[");
        for (index, symbol) in self.of_client(client).iter().enumerate() {
            json.push_str(if index == 0 { "\"" } else { ",\"" });
            name(*symbol, &mut json);
            json.push('"');
        }
        json.push(']');
        json
    }

    /// How many of `clients` watch each symbol.
    pub fn members(&self, clients: usize) -> Vec<u32> {
        let mut members = vec![0; self.rooms as usize];
        for symbol in (0..clients).flat_map(|client| self.of_client(client)) {
            members[symbol as usize] += 1;
        }
        members
    }
}

/// Appends the name of a symbol.
pub fn name(symbol: u32, out: &mut String) {
    // Writing to a String cannot fail.
    let _ = write!(out, "S{symbol:04}");
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYMBOLS: Symbols = Symbols {
        rooms: 40,
        each: 5,
        seed: 7,
    };

    #[test]
    fn a_client_watches_distinct_symbols_and_always_the_same() {
        for client in 0..100 {
            let chosen = SYMBOLS.of_client(client);
            assert_eq!(chosen.len(), 5);
            assert!(chosen.is_sorted_by(|a, b| a < b), "{chosen:?}");
            assert_eq!(chosen, SYMBOLS.of_client(client));
        }
        assert_ne!(SYMBOLS.of_client(1), SYMBOLS.of_client(2));
    }

    #[test]
    fn members_are_spread_evenly() {
        let members = SYMBOLS.members(8000);
        assert_eq!(members.iter().sum::<u32>(), 8000 * 5);
        assert!(members.iter().all(|count| (800..1200).contains(count)));
    }

    #[test]
    fn all_symbols_can_be_watched() {
        let symbols = Symbols {
            each: 99,
            ..SYMBOLS
        };
        assert_eq!(symbols.of_client(3).len(), 40);
        let one = Symbols {
            rooms: 1,
            ..SYMBOLS
        };
        assert_eq!(one.json(3), r#"["S0000"]"#);
    }
}
