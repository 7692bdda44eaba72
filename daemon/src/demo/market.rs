//! The simulated market of the demo, decided by its seed and the time alone.
//!
//! Prices, trades and holdings are functions of (seed, users, time), so a market that is started
//! again goes on exactly where an uninterrupted one would stand: a restart of the demo shows no
//! jump. Books open anew at midnight UTC; a market that starts during the day replays the trades
//! since then.

mod account;
mod price;

use serde_json::{Value, json};

use self::account::{Account, Outcome, Trade};
use self::price::{INSTRUMENTS, Instrument, Tape};

/// How often each user's portfolio is valued again when no trade does it sooner.
const REVALUE_MS: u64 = 1_500;

/// Trades older than this when a tick finds them change the books but are not announced, so a
/// machine that slept does not wake to a burst of old news.
const ANNOUNCE_WITHIN_MS: u64 = 60_000;

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// Something that happened in the market, with the body its event carries.
#[derive(Clone, Debug, PartialEq)]
pub enum MarketEvent {
    /// A new price, for everybody who watches the symbol.
    Quote {
        /// Names the room.
        symbol: &'static str,
        /// `{symbol, price, change, changePercent, volume, time}`.
        body: Value,
    },
    /// What a user owns, valued at the present prices.
    Portfolio {
        /// Whose portfolio it is.
        user: String,
        /// `{cash, total, dayChange, positions: [{symbol, quantity, price, value, change}]}`.
        body: Value,
    },
    /// An order was filled.
    TradeExecuted {
        /// Whose order it was.
        user: String,
        /// `{tradeId, symbol, side, quantity, price, time}`.
        body: Value,
    },
    /// An order was refused.
    TradeFailed {
        /// Whose order it was.
        user: String,
        /// `{tradeId, symbol, side, quantity, reason, time}`.
        body: Value,
    },
}

/// The market and the books of its users.
#[derive(Debug)]
pub struct Market {
    /// Where every price comes from.
    tape: Tape,
    /// The traders, in the order they were given.
    desks: Vec<Desk>,
    /// The last quoted step of each instrument, so that a price is told once.
    quoted: Vec<Option<u64>>,
    /// The time of the last tick; `None` before the first, whose trades are all old news.
    last_ms: Option<u64>,
}

/// One user's account, and when it was last shown.
#[derive(Debug)]
struct Desk {
    user: String,
    account: Account,
    /// The day and the period last shown: a portfolio is due when either changes. Periods are
    /// staggered between users.
    shown: (u64, u64),
}

impl Market {
    /// A market for these users. The same seed, users and times always give the same events.
    #[must_use]
    pub fn new(seed: u64, users: &[&str]) -> Self {
        let desks = users.iter().map(|user| Desk::new(seed, user)).collect();
        let quoted = vec![None; INSTRUMENTS.len()];
        Self {
            tape: Tape::new(seed),
            desks,
            quoted,
            last_ms: None,
        }
    }

    /// Every symbol that is quoted.
    pub fn symbols() -> impl Iterator<Item = &'static str> {
        INSTRUMENTS.iter().map(|instrument| instrument.symbol)
    }

    /// What happened since the last tick; `now_ms` is Unix time in milliseconds.
    ///
    /// Tick about four times a second. A clock that steps back a little is waited for; one that
    /// steps back far starts the books of its day again.
    pub fn tick(&mut self, now_ms: u64) -> Vec<MarketEvent> {
        match self.last_ms {
            Some(last) if now_ms + ANNOUNCE_WITHIN_MS < last => self.start_over(),
            Some(last) if now_ms < last => return Vec::new(),
            _ => {}
        }
        let since = self
            .last_ms
            .unwrap_or(now_ms)
            .max(now_ms.saturating_sub(ANNOUNCE_WITHIN_MS));
        self.last_ms = Some(now_ms);

        let mut events = self.quotes(now_ms);
        for desk in &mut self.desks {
            desk.tick(&self.tape, since, now_ms, &mut events);
        }
        events
    }

    fn start_over(&mut self) {
        self.last_ms = None;
        self.quoted.fill(None);
        for desk in &mut self.desks {
            desk.account.close();
        }
    }

    fn quotes(&mut self, now_ms: u64) -> Vec<MarketEvent> {
        let mut quotes = Vec::new();
        for (instrument, quoted) in INSTRUMENTS.iter().zip(&mut self.quoted) {
            let step = self.tape.step(instrument, now_ms);
            if quoted.replace(step) != Some(step) {
                let body = quote(&self.tape, instrument, now_ms);
                quotes.push(MarketEvent::Quote {
                    symbol: instrument.symbol,
                    body,
                });
            }
        }
        quotes
    }
}

impl Desk {
    fn new(seed: u64, user: &str) -> Self {
        Self {
            user: user.to_owned(),
            account: Account::new(seed, user),
            shown: (0, 0),
        }
    }

    fn tick(&mut self, tape: &Tape, since: u64, now_ms: u64, events: &mut Vec<MarketEvent>) {
        let trades = self.account.advance(tape, now_ms);
        let announced = events.len();
        events.extend(
            trades
                .iter()
                .filter(|t| t.at_ms > since)
                .map(|t| self.announcement(t)),
        );

        let period = (now_ms + self.account.stagger(REVALUE_MS)) / REVALUE_MS;
        let due = (now_ms / DAY_MS, period);
        if due != self.shown || events.len() > announced {
            self.shown = due;
            let body = portfolio(tape, &self.account, now_ms);
            events.push(MarketEvent::Portfolio {
                user: self.user.clone(),
                body,
            });
        }
    }

    fn announcement(&self, trade: &Trade) -> MarketEvent {
        let user = self.user.clone();
        let mut body = json!({
            "tradeId": format!("{user}-{}", trade.number),
            "symbol": trade.instrument.symbol,
            "side": trade.side.name(),
            "quantity": trade.quantity,
        });
        let time = Value::from(rfc3339(trade.at_ms));
        match trade.outcome {
            Outcome::Executed { price } => {
                body["price"] = money(price);
                body["time"] = time;
                MarketEvent::TradeExecuted { user, body }
            }
            Outcome::Failed { reason } => {
                body["reason"] = reason.into();
                body["time"] = time;
                MarketEvent::TradeFailed { user, body }
            }
        }
    }
}

fn quote(tape: &Tape, instrument: &Instrument, now_ms: u64) -> Value {
    let price = tape.price(instrument, now_ms);
    let change = price - tape.price(instrument, day_start(now_ms));
    let percent = change as f64 * 100.0 / (price - change) as f64;
    json!({
        "symbol": instrument.symbol,
        "price": money(price),
        "change": money(change),
        "changePercent": (percent * 100.0).round() / 100.0,
        "volume": tape.volume(instrument, now_ms),
        "time": rfc3339(now_ms),
    })
}

fn portfolio(tape: &Tape, account: &Account, now_ms: u64) -> Value {
    let opened = day_start(now_ms);
    let positions: Vec<Value> = account
        .positions()
        .map(|(instrument, quantity)| {
            let price = tape.price(instrument, now_ms);
            json!({
                "symbol": instrument.symbol,
                "quantity": quantity,
                "price": money(price),
                "value": money(price * quantity),
                "change": money((price - tape.price(instrument, opened)) * quantity),
            })
        })
        .collect();
    let total = account.total(tape, now_ms);
    json!({
        "cash": money(account.cash()),
        "total": money(total),
        "dayChange": money(total - account.opening_total(tape, opened)),
        "positions": positions,
    })
}

fn day_start(at_ms: u64) -> u64 {
    at_ms - at_ms % DAY_MS
}

/// Amounts are whole ten-thousandths inside, so that sums are exact, and decimal outside.
fn money(amount: i64) -> Value {
    (amount as f64 / price::UNIT as f64).into()
}

fn rfc3339(at_ms: u64) -> String {
    let at = std::time::UNIX_EPOCH + std::time::Duration::from_millis(at_ms);
    humantime::format_rfc3339_millis(at).to_string()
}

#[cfg(test)]
mod tests;
