//! Quotes of many symbols, some of which are hot.

use super::{Batch, Sent, Source, Wrapping};
use crate::{
    random::Random,
    symbols::{self, Symbols},
    template::{Template, Values},
};

/// Which quotes are emitted.
#[derive(Clone, Debug)]
pub struct QuotePlan {
    /// The symbols, and who watches them.
    pub symbols: Symbols,
    /// How many symbols are hot; they are the first ones.
    pub hot: u32,
    /// Share of the quotes that are of hot symbols.
    pub hot_share: f64,
    /// One emit.
    pub item: Template,
    /// What makes a body of several.
    pub wrapping: Wrapping,
    /// Emits in a body.
    pub batch: u64,
}

/// Draws quotes at random, from a seed.
#[derive(Clone, Debug)]
pub struct Quotes {
    plan: QuotePlan,
    random: Random,
    /// Number of the next quote.
    sequence: u64,
    /// Name of the symbol at hand.
    name: String,
    /// Clients that watch each symbol.
    members: Vec<u32>,
    /// What was emitted of each symbol.
    sent: Vec<Sent>,
    /// For each symbol one more than the number of its last quote; 0 if it had none.
    newest: Vec<u32>,
}

impl Quotes {
    /// Quotes to so many clients.
    pub fn new(plan: QuotePlan, clients: usize) -> Self {
        let rooms = plan.symbols.rooms as usize;
        Self {
            random: Random::new(plan.symbols.seed),
            sequence: 0,
            name: String::new(),
            members: plan.symbols.members(clients),
            sent: vec![Sent::default(); rooms],
            newest: vec![0; rooms],
            plan,
        }
    }

    /// For each symbol one more than the number of its last quote; 0 if it had none.
    pub fn newest(&self) -> &[u32] {
        &self.newest
    }

    /// What was emitted to client `number`, over all its symbols.
    pub fn sent_to(&self, number: usize) -> Sent {
        let symbols = self.plan.symbols.of_client(number);
        let sent = symbols.iter().map(|symbol| self.sent[*symbol as usize]);
        sent.fold(Sent::default(), Sent::and)
    }

    fn draw(&mut self) -> u32 {
        let rooms = u64::from(self.plan.symbols.rooms);
        let hot = u64::from(self.plan.hot).min(rooms);
        let is_hot = hot == rooms || (hot > 0 && self.random.share() < self.plan.hot_share);
        let symbol = match is_hot {
            true => self.random.below(hot),
            false => hot + self.random.below(rooms - hot),
        };
        symbol as u32
    }

    /// Appends one quote; how many clients watch its symbol.
    fn quote(&mut self, due: u64, body: &mut String) -> u64 {
        let symbol = self.draw();
        self.name.clear();
        symbols::name(symbol, &mut self.name);
        let values = Values {
            sequence: self.sequence,
            now: due,
            symbol: &self.name,
            ..Values::default()
        };
        self.plan.item.render(values, body);
        self.sent[symbol as usize].note(self.sequence);
        self.sequence += 1;
        self.newest[symbol as usize] = u32::try_from(self.sequence).unwrap_or(u32::MAX);
        self.members[symbol as usize].into()
    }
}

impl Source for Quotes {
    fn next(&mut self, due: u64, body: &mut String) -> Batch {
        let mut deliveries = 0;
        let wrapping = self.plan.wrapping.clone();
        wrapping.fill(self.plan.batch, body, |body| {
            deliveries += self.quote(due, body);
        });
        Batch {
            items: self.plan.batch,
            deliveries,
        }
    }

    fn batch(&self) -> u64 {
        self.plan.batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quotes(batch: u64) -> Quotes {
        let plan = QuotePlan {
            symbols: Symbols {
                rooms: 20,
                each: 4,
                seed: 3,
            },
            hot: 2,
            hot_share: 0.8,
            item: Template::parse(r#"{"s":"{symbol}","q":{seq},"t":{now}}"#),
            wrapping: Wrapping {
                open: "[".into(),
                separator: ",".into(),
                close: "]".into(),
            },
            batch,
        };
        Quotes::new(plan, 50)
    }

    #[test]
    fn a_body_has_its_quotes_and_reaches_who_watches_them() {
        let (mut quotes, mut body) = (quotes(3), String::new());
        let batch = quotes.next(7, &mut body);
        let items: Vec<serde_json::Value> = serde_json::from_str(&body).unwrap();
        assert_eq!((batch.items, items.len()), (3, 3));
        assert_eq!((&items[2]["q"], &items[2]["t"]), (&2.into(), &7.into()));
        let sent: u64 = (0..50).map(|client| quotes.sent_to(client).count).sum();
        assert_eq!(sent, batch.deliveries);
    }

    #[test]
    fn hot_symbols_have_their_share_and_the_last_quote_is_known() {
        let (mut quotes, mut body) = (quotes(10_000), String::new());
        quotes.next(0, &mut body);
        let hot: u64 = quotes.sent[..2].iter().map(|sent| sent.count).sum();
        assert!((7_800..8_200).contains(&hot), "{hot}");
        assert!(quotes.sent.iter().all(|sent| sent.count > 50));
        assert_eq!(quotes.newest().iter().max(), Some(&10_000));
    }
}
