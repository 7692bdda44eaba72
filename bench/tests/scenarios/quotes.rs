//! Many rooms: every quote or the newest, never an older one after a newer one.

use std::time::Duration;

use tidings_bench::{
    client::Expect,
    emitter::{Burst, Length, Pace, QuotePlan, Wrapping},
    http::Framing,
    scenario::quotes::{self, Quoted, QuotesConfig},
    symbols::Symbols,
    template::Template,
};

use super::{
    CLIENTS, emit,
    fake::{Config, FakeServer, Fault},
    subject,
};

const WARM_UP: u64 = 4;
const BATCHES: u64 = 10;
const BATCH: u64 = 8;

fn quoted(server: Config, exact: bool) -> Quoted {
    quoted_of(6, server, exact)
}

fn quoted_of(rooms: u32, server: Config, exact: bool) -> Quoted {
    let every = Pace::Every(Duration::from_millis(2));
    paced(every, rooms, server, exact)
}

fn paced(pace: Pace, rooms: u32, server: Config, exact: bool) -> Quoted {
    let burst = |batches| Burst {
        pace,
        length: Length::Batches(batches),
    };
    let target = FakeServer::start(server);
    let plan = QuotePlan {
        symbols: Symbols {
            rooms,
            each: 3,
            seed: 1,
        },
        hot: rooms,
        hot_share: 0.7,
        item: Template::parse(r#"{"ts":{now},"symbol":"{symbol}","seq":{seq}}"#),
        wrapping: Wrapping {
            open: "[".into(),
            separator: ",".into(),
            close: "]".into(),
        },
        batch: BATCH,
    };
    let config = QuotesConfig {
        emit: emit(target, Framing::Requests),
        plan,
        exact,
        warm_up: burst(WARM_UP),
        measured: burst(BATCHES),
        quiet: Duration::from_millis(200),
    };
    quotes::measure(&subject(target, Expect::Stamps), config).unwrap()
}

fn faulty(fault: Fault) -> Config {
    Config {
        fault,
        // Of about 56 events to the first client, the first 16 of them warm-up.
        at: 30,
        conflates: false,
    }
}

#[test]
fn a_sound_server_is_exact() {
    let report = quoted(Config::default(), true);
    assert!(report.valid, "{report:?}");
    assert_eq!(report.quotes, BATCHES * BATCH);
    assert_eq!(report.deliveries, report.deliveries_unconflated);
    // Each client watches three of six symbols, if not three equally busy ones.
    let even = CLIENTS as u64 * BATCHES * BATCH / 2;
    assert!(
        (even / 2..even * 2).contains(&report.deliveries),
        "{report:?}"
    );
    assert!(report.delays.latency_us.unwrap().p50 > 0.0);
}

#[test]
fn conflation_is_no_fault_unless_every_quote_is_wanted() {
    let conflating = Config {
        conflates: true,
        ..Config::default()
    };
    let report = quoted(conflating, false);
    assert!(report.valid, "{report:?}");
    assert!(
        report.deliveries < report.deliveries_unconflated,
        "{report:?}"
    );
    assert_eq!(report.inexact_clients, None);
    // As fast as it goes, nothing waits for quotes that were replaced.
    let flat = Pace::Answered {
        emits: 2 * BATCH,
        undelivered: None,
    };
    let report = paced(flat, 6, conflating, false);
    assert!(report.valid, "{report:?}");
    let exact = paced(Pace::Delivered(2), 6, Config::default(), true);
    assert!(exact.valid, "{exact:?}");
}

#[test]
fn an_older_quote_after_a_newer_one_is_seen() {
    for exact in [true, false] {
        // Two of the same symbol change places.
        let report = quoted_of(1, faulty(Fault::Swaps), exact);
        assert!(!report.valid, "{report:?}");
        assert_eq!(report.older_after_newer, 1);
    }
}

#[test]
fn a_newest_quote_that_is_missing_is_seen() {
    for exact in [true, false] {
        let report = quoted(faulty(Fault::Stops), exact);
        assert!(!report.valid, "{report:?}");
        assert!((1..=3).contains(&report.newest_missing), "{report:?}");
        assert_eq!(report.inexact_clients, exact.then_some(1));
    }
}

#[test]
fn a_quote_that_is_missing_or_repeated_matters_only_where_every_one_is_wanted() {
    for fault in [Fault::Drops, Fault::Repeats] {
        let report = quoted(faulty(fault), true);
        assert!(!report.valid, "{report:?}");
        assert_eq!(report.inexact_clients, Some(1));
        let report = quoted(faulty(fault), false);
        assert!(report.valid, "{report:?}");
    }
}

#[test]
fn a_quote_of_a_symbol_that_was_not_asked_for_is_seen() {
    let report = quoted(faulty(Fault::Misdirects), true);
    assert!(!report.valid, "{report:?}");
    assert!(report.inexact_clients.unwrap() >= 1, "{report:?}");
}

#[test]
fn a_closed_client_is_seen() {
    for exact in [true, false] {
        let report = quoted(faulty(Fault::Closes), exact);
        assert!(!report.valid, "{report:?}");
        assert_eq!(report.lost, Some((1, "the connection ended".into())));
    }
}
