//! One user's books: opening holdings, and the orders that change them through the day.

use super::price::{INSTRUMENTS, Instrument, Tape, hash, mix, unit};
use super::{DAY_MS, day_start};

/// Every user places one order in each of these periods.
const ORDER_PERIOD_MS: u64 = 7_000;

/// Orders fall into the first part of their period, so two are never closer than the rest of it.
const ORDER_SPREAD_MS: u64 = 5_000;

/// Instruments a user deals in.
const HOLDINGS: usize = 6;

/// Cash in the morning, and the worth of each holding then, in whole currency units.
const OPENING_CASH: i64 = 60_000;
const OPENING_HOLDING: i64 = 15_000;

/// One order in this many is refused by the venue, for one of [`REFUSALS`].
const REFUSED_ONE_IN: u64 = 7;
const REFUSALS: [&str; 3] = [
    "The price moved beyond the limit",
    "The venue did not answer in time",
    "The instrument is halted",
];

/// Which way an order went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Side {
    Buy,
    Sell,
}

impl Side {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Buy => "buy",
            Self::Sell => "sell",
        }
    }
}

/// How an order ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Outcome {
    Executed { price: i64 },
    Failed { reason: &'static str },
}

/// An order and its end.
#[derive(Debug)]
pub(super) struct Trade {
    /// Unique for the user and the same after a restart.
    pub(super) number: u64,
    pub(super) at_ms: u64,
    pub(super) instrument: &'static Instrument,
    pub(super) side: Side,
    pub(super) quantity: i64,
    pub(super) outcome: Outcome,
}

/// The books of one user.
#[derive(Debug)]
pub(super) struct Account {
    /// What makes this user's orders differ from others'.
    name: u64,
    /// Chosen once: what the user deals in.
    instruments: Vec<&'static Instrument>,
    /// The books of the day; empty before the first [`Account::advance`].
    books: Option<Books>,
}

#[derive(Debug)]
struct Books {
    opened_ms: u64,
    /// Orders up to this time are in the books.
    until_ms: u64,
    cash: i64,
    /// Parallel to the account's instruments.
    quantities: Vec<i64>,
}

impl Account {
    pub(super) fn new(seed: u64, user: &str) -> Self {
        let name = hash(seed, user);
        let mut instruments: Vec<_> = INSTRUMENTS.iter().filter(|i| i.lot > 0).collect();
        instruments.sort_by_key(|instrument| hash(name, instrument.symbol));
        instruments.truncate(HOLDINGS);
        instruments.sort_by_key(|instrument| instrument.symbol);
        Self {
            name,
            instruments,
            books: None,
        }
    }

    /// Places every order that is due, and returns them in order.
    pub(super) fn advance(&mut self, tape: &Tape, now_ms: u64) -> Vec<Trade> {
        let opened_ms = day_start(now_ms);
        let books = match self.books.take() {
            Some(books) if books.opened_ms == opened_ms => books,
            _ => self.opening(tape, opened_ms),
        };
        let after = books.until_ms;
        let books = self.books.insert(Books {
            until_ms: now_ms,
            ..books
        });

        let due = (after / ORDER_PERIOD_MS)..=(now_ms / ORDER_PERIOD_MS);
        due.map(|number| (number, order_time(self.name, number)))
            .filter(|&(_, at_ms)| at_ms > after && at_ms <= now_ms)
            .map(|(number, at_ms)| {
                let roll = mix(self.name ^ mix(number));
                books.order(tape, &self.instruments, number, at_ms, roll)
            })
            .collect()
    }

    /// Forgets the books; the next [`Account::advance`] opens those of its day.
    pub(super) fn close(&mut self) {
        self.books = None;
    }

    /// A part of `period` that differs between users.
    pub(super) fn stagger(&self, period: u64) -> u64 {
        self.name % period
    }

    pub(super) fn cash(&self) -> i64 {
        self.books.as_ref().map_or(0, |books| books.cash)
    }

    /// What is held, without what was sold off.
    pub(super) fn positions(&self) -> impl Iterator<Item = (&'static Instrument, i64)> {
        let quantities = self.books.iter().flat_map(|books| &books.quantities);
        self.instruments
            .iter()
            .copied()
            .zip(quantities.copied())
            .filter(|&(_, held)| held > 0)
    }

    /// Cash and holdings at the prices of a time.
    pub(super) fn total(&self, tape: &Tape, at_ms: u64) -> i64 {
        let held = self
            .positions()
            .map(|(instrument, held)| tape.price(instrument, at_ms) * held);
        self.cash() + held.sum::<i64>()
    }

    /// What the account was worth when the books of the day were opened.
    pub(super) fn opening_total(&self, tape: &Tape, opened_ms: u64) -> i64 {
        let books = self.opening(tape, opened_ms);
        books.worth(tape, &self.instruments, opened_ms)
    }

    fn opening(&self, tape: &Tape, opened_ms: u64) -> Books {
        let worth = OPENING_HOLDING * super::price::UNIT;
        let held = |i: &&Instrument| (worth / (tape.price(i, opened_ms) * i.lot)).max(1) * i.lot;
        Books {
            opened_ms,
            until_ms: opened_ms,
            cash: OPENING_CASH * super::price::UNIT,
            quantities: self.instruments.iter().map(held).collect(),
        }
    }
}

impl Books {
    fn order(
        &mut self,
        tape: &Tape,
        instruments: &[&'static Instrument],
        number: u64,
        at_ms: u64,
        roll: u64,
    ) -> Trade {
        let chosen = (mix(roll ^ 1) % instruments.len() as u64) as usize;
        let instrument = instruments[chosen];
        let price = tape.price(instrument, at_ms);
        let side = self.side(tape, instruments, at_ms, roll);
        let quantity = quantity(instrument, price, mix(roll ^ 3));

        let outcome = match self.refusal(side, chosen, price * quantity, quantity, roll) {
            Some(reason) => Outcome::Failed { reason },
            None => self.fill(side, chosen, quantity, price),
        };
        Trade {
            number,
            at_ms,
            instrument,
            side,
            quantity,
            outcome,
        }
    }

    /// The more of the account is cash, the likelier a purchase: holdings drift back to one half.
    fn side(&self, tape: &Tape, instruments: &[&Instrument], at_ms: u64, roll: u64) -> Side {
        let cash_share = self.cash as f64 / self.worth(tape, instruments, at_ms) as f64;
        if unit(mix(roll ^ 2)) < cash_share {
            Side::Buy
        } else {
            Side::Sell
        }
    }

    fn worth(&self, tape: &Tape, instruments: &[&Instrument], at_ms: u64) -> i64 {
        let held = instruments.iter().zip(&self.quantities);
        self.cash
            + held
                .map(|(i, held)| tape.price(i, at_ms) * held)
                .sum::<i64>()
    }

    fn refusal(
        &self,
        side: Side,
        chosen: usize,
        cost: i64,
        quantity: i64,
        roll: u64,
    ) -> Option<&'static str> {
        match side {
            Side::Buy if cost > self.cash => Some("Not enough cash"),
            Side::Sell if quantity > self.quantities[chosen] => Some("Not enough held to sell"),
            _ if mix(roll ^ 4).is_multiple_of(REFUSED_ONE_IN) => {
                Some(REFUSALS[(mix(roll ^ 5) % REFUSALS.len() as u64) as usize])
            }
            _ => None,
        }
    }

    fn fill(&mut self, side: Side, chosen: usize, quantity: i64, price: i64) -> Outcome {
        let signed = match side {
            Side::Buy => quantity,
            Side::Sell => -quantity,
        };
        self.quantities[chosen] += signed;
        self.cash -= price * signed;
        Outcome::Executed { price }
    }
}

fn order_time(name: u64, number: u64) -> u64 {
    number * ORDER_PERIOD_MS + mix(name ^ mix(!number)) % ORDER_SPREAD_MS
}

/// Whole lots worth between 500 and 4,000 currency units; at least one lot.
fn quantity(instrument: &Instrument, price: i64, roll: u64) -> i64 {
    let worth = (500 + (roll % 3_500) as i64) * super::price::UNIT;
    (worth / (price * instrument.lot)).max(1) * instrument.lot
}

const _: () = assert!(ORDER_SPREAD_MS < ORDER_PERIOD_MS && ORDER_PERIOD_MS < DAY_MS);
