use std::collections::{BTreeMap, BTreeSet};

use super::*;

const SEED: u64 = 7;
const USERS: [&str; 2] = ["alice", "bob"];
/// 2026-11-23 12:00 UTC.
const NOON: u64 = 1_795_435_200_000;

/// Ticks four times a second, after a first tick that only sets the books.
fn run(market: &mut Market, from_ms: u64, seconds: u64) -> Vec<MarketEvent> {
    (0..=seconds * 4)
        .flat_map(|tick| market.tick(from_ms + tick * 250))
        .collect()
}

fn number(body: &Value, key: &str) -> f64 {
    body[key]
        .as_f64()
        .unwrap_or_else(|| panic!("{key} is not a number in {body}"))
}

fn assert_adds_up(body: &Value) {
    let positions = body["positions"].as_array().unwrap();
    let held: f64 = positions
        .iter()
        .map(|position| number(position, "value"))
        .sum();
    let total = number(body, "total");
    assert!(
        (number(body, "cash") + held - total).abs() < 0.001,
        "{body}"
    );
    for position in positions {
        let value = number(position, "price") * number(position, "quantity");
        assert!(
            (value - number(position, "value")).abs() < 0.001,
            "{position}"
        );
    }
}

#[test]
fn symbols_are_legal_and_distinct() {
    let symbols: BTreeSet<_> = Market::symbols().collect();
    assert_eq!(symbols.len(), INSTRUMENTS.len());
    for symbol in symbols {
        assert!((1..=32).contains(&symbol.len()));
        assert!(
            symbol.bytes().all(|byte| {
                byte.is_ascii_uppercase() || byte.is_ascii_digit() || b".^=/:-".contains(&byte)
            }),
            "{symbol}"
        );
    }
}

#[test]
fn first_tick_quotes_every_symbol_and_shows_every_portfolio() {
    let events = Market::new(SEED, &USERS).tick(NOON);
    let quotes = events
        .iter()
        .filter(|e| matches!(e, MarketEvent::Quote { .. }))
        .count();
    let books = events
        .iter()
        .filter(|e| matches!(e, MarketEvent::Portfolio { .. }))
        .count();
    assert_eq!((quotes, books, events.len()), (24, 2, 26));
}

#[test]
fn prices_stay_positive_and_near_their_base_for_years() {
    let tape = Tape::new(SEED);
    for instrument in &INSTRUMENTS {
        let prices = (0..3_000).map(|n| tape.price(instrument, NOON + n * 37_000_003));
        let (low, high) = prices.fold((i64::MAX, 0), |(l, h), p| (l.min(p), h.max(p)));
        assert!(low > 0, "{}", instrument.symbol);
        assert!(
            high < low * 2,
            "{} moves from {low} to {high}",
            instrument.symbol
        );
        assert!(high > low, "{} never moves", instrument.symbol);
    }
}

#[test]
fn a_price_never_jumps_from_one_quote_to_the_next() {
    let mut last = BTreeMap::new();
    for event in run(&mut Market::new(SEED, &[]), NOON, 600) {
        let MarketEvent::Quote { symbol, body } = event else {
            panic!("no user, yet {event:?}")
        };
        let price = number(&body, "price");
        if let Some(before) = last.insert(symbol, price) {
            assert!(
                (price / before - 1.0_f64).abs() < 0.005,
                "{symbol}: {before} to {price}"
            );
        }
    }
}

#[test]
fn every_symbol_moves_within_seconds() {
    let mut seen: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
    for event in run(&mut Market::new(SEED, &[]), NOON, 15) {
        if let MarketEvent::Quote { symbol, body } = event {
            assert_eq!(body["symbol"], symbol);
            seen.entry(symbol)
                .or_default()
                .insert(body["price"].to_string());
        }
    }
    for (symbol, prices) in seen {
        assert!(prices.len() > 1, "{symbol} stood still at {prices:?}");
    }
}

#[test]
fn change_is_measured_from_midnight() {
    let tape = Tape::new(SEED);
    let midnight = day_start(NOON);
    for instrument in &INSTRUMENTS {
        assert_eq!(number(&quote(&tape, instrument, midnight), "change"), 0.0);
        let body = quote(&tape, instrument, NOON);
        let opened = number(&body, "price") - number(&body, "change");
        assert!(
            (opened - tape.price(instrument, midnight) as f64 / 1e4).abs() < 1e-6,
            "{body}"
        );
    }
}

#[test]
fn volume_never_falls_within_a_day() {
    let tape = Tape::new(SEED);
    for instrument in &INSTRUMENTS {
        let day = (0..=1_000).map(|n| tape.volume(instrument, day_start(NOON) + n * 86_399));
        let volumes: Vec<_> = day.collect();
        assert!(volumes.is_sorted(), "{}", instrument.symbol);
        assert!(volumes.last() > volumes.first());
    }
}

#[test]
fn portfolios_add_up_whatever_is_traded() {
    let mut market = Market::new(SEED, &USERS);
    let mut shown = 0;
    for event in run(&mut market, NOON, 900) {
        if let MarketEvent::Portfolio { body, .. } = event {
            assert_adds_up(&body);
            assert!(number(&body, "cash") >= 0.0, "{body}");
            shown += 1;
        }
    }
    assert!(
        shown >= 2 * 900 * 1_000 / REVALUE_MS as usize,
        "only {shown} portfolios"
    );
}

#[test]
fn an_executed_trade_moves_cash_and_holding_by_its_size() {
    let mut market = Market::new(SEED, &["alice"]);
    let mut held: BTreeMap<String, f64> = BTreeMap::new();
    let mut cash = None;
    let mut pending: Vec<Value> = Vec::new();
    for event in run(&mut market, NOON, 300) {
        match event {
            MarketEvent::TradeExecuted { body, .. } => pending.push(body),
            MarketEvent::Portfolio { body, .. } => {
                for trade in pending.drain(..) {
                    let sign = if trade["side"] == "buy" { 1.0 } else { -1.0 };
                    let symbol = trade["symbol"].as_str().unwrap().to_owned();
                    let quantity = sign * number(&trade, "quantity");
                    *held.entry(symbol).or_default() += quantity;
                    cash = cash.map(|cash: f64| cash - quantity * number(&trade, "price"));
                }
                if let Some(cash) = cash {
                    assert!(
                        (cash - number(&body, "cash")).abs() < 0.01,
                        "{cash}: {body}"
                    );
                }
                let positions = body["positions"].as_array().unwrap();
                let now = positions.iter().map(|p| {
                    (
                        p["symbol"].as_str().unwrap().to_owned(),
                        number(p, "quantity"),
                    )
                });
                let now: BTreeMap<_, _> = now.collect();
                if cash.is_some() {
                    held.retain(|_, quantity| *quantity > 0.0);
                    assert_eq!(held, now);
                }
                held = now;
                cash = Some(number(&body, "cash"));
            }
            _ => {}
        }
    }
    assert!(cash.is_some());
}

#[test]
fn each_user_trades_every_few_seconds_with_some_failures() {
    let mut market = Market::new(SEED, &USERS);
    let mut executed: BTreeMap<String, usize> = BTreeMap::new();
    let mut failed: BTreeMap<String, usize> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for event in run(&mut market, NOON, 700) {
        let (count, user, body) = match event {
            MarketEvent::TradeExecuted { user, body } => (&mut executed, user, body),
            MarketEvent::TradeFailed { user, body } => {
                assert!(!body["reason"].as_str().unwrap().is_empty());
                (&mut failed, user, body)
            }
            _ => continue,
        };
        *count.entry(user).or_default() += 1;
        assert!(
            ids.insert(body["tradeId"].as_str().unwrap().to_owned()),
            "twice: {body}"
        );
    }
    for user in USERS {
        let (executed, failed) = (executed[user], failed[user]);
        assert!(
            (99..=101).contains(&(executed + failed)),
            "{user}: {executed} + {failed}"
        );
        assert!(
            failed >= 3 && executed > failed,
            "{user}: {executed} + {failed}"
        );
    }
}

#[test]
fn a_restarted_market_goes_on_where_the_old_one_stood() {
    let mut steady = Market::new(SEED, &USERS);
    run(&mut steady, NOON, 120);
    let later = NOON + 121_000;
    steady.tick(later);
    let mut restarted = Market::new(SEED, &USERS);
    restarted.tick(later);

    let (a, b) = (
        run(&mut steady, later + 250, 30),
        run(&mut restarted, later + 250, 30),
    );
    assert!(!a.is_empty());
    assert_eq!(a, b);
}

#[test]
fn other_seeds_are_other_markets() {
    assert_ne!(
        Market::new(1, &USERS).tick(NOON),
        Market::new(2, &USERS).tick(NOON)
    );
}

#[test]
fn a_long_sleep_is_not_followed_by_a_burst_of_old_trades() {
    let mut market = Market::new(SEED, &["alice"]);
    market.tick(NOON);
    let events = market.tick(NOON + 3 * 3_600_000);
    let trades = events.iter().filter(|event| {
        matches!(
            event,
            MarketEvent::TradeExecuted { .. } | MarketEvent::TradeFailed { .. }
        )
    });
    assert!(trades.count() <= 60_000 / 7_000 + 1);
}

#[test]
fn books_open_anew_at_midnight() {
    let mut market = Market::new(SEED, &["alice"]);
    let midnight = day_start(NOON) + DAY_MS;
    market.tick(midnight - 1_000);
    let events = market.tick(midnight);
    let Some(MarketEvent::Portfolio { body, .. }) = events.last() else {
        panic!("no portfolio at midnight: {events:?}")
    };
    assert_eq!(number(body, "dayChange"), 0.0);
    assert_eq!(number(body, "cash"), 60_000.0);
}

#[test]
fn a_clock_that_steps_back_is_waited_for_or_followed() {
    let mut market = Market::new(SEED, &USERS);
    market.tick(NOON);
    assert_eq!(market.tick(NOON - 1_000), []);
    let followed = market.tick(NOON - 3_600_000);
    assert_eq!(followed, Market::new(SEED, &USERS).tick(NOON - 3_600_000));
}
