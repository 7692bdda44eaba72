//! Emits to single users, by each way to put them.

use std::time::Duration;

use tidings_bench::{
    client::Expect,
    emitter::{Burst, Length, Order, Pace, UserPlan, Wrapping},
    http::Framing,
    scenario::{
        ScenarioError,
        users::{self, Served, UsersConfig},
    },
    template::Template,
};

use super::{
    CLIENTS, emit,
    fake::{Config, FakeServer, Fault},
    subject,
};

const BATCH: u64 = 4;
const WARM_UP: u64 = 10;
const BATCHES: u64 = 50;

fn wrapping(open: &str, separator: &str, close: &str) -> Wrapping {
    Wrapping {
        open: open.into(),
        separator: separator.into(),
        close: close.into(),
    }
}

fn served(mode: &'static str, pace: Pace, fault: Fault) -> Result<Served, ScenarioError> {
    let (framing, wrapping, batch) = match mode {
        "post" => (Framing::Requests, Wrapping::default(), 1),
        "batch" => (Framing::Requests, wrapping("[", ",", "]"), BATCH),
        _ => (Framing::Stream, wrapping("", "\n", "\n"), BATCH),
    };
    // Two events to each in the warm-up, ten when measured, by any mode.
    let burst = |batches| Burst {
        pace,
        length: Length::Batches(batches * BATCH / batch),
    };
    let target = FakeServer::start(Config {
        fault,
        at: 5,
        conflates: false,
    });
    let config = UsersConfig {
        emit: emit(target, framing),
        mode,
        plan: UserPlan {
            users: CLIENTS,
            order: Order::RoundRobin,
            seed: 1,
            item: Template::parse(r#"{"user":"u{user}","ts":{now},"seq":{seq}}"#),
            wrapping,
            batch,
        },
        warm_up: burst(WARM_UP),
        measured: burst(BATCHES),
        surplus_watch: Duration::from_millis(50),
    };
    users::measure(&subject(target, Expect::Sequence), config)
}

const MODES: [&str; 3] = ["post", "batch", "stream"];
const FLAT: Pace = Pace::Answered {
    emits: 16,
    undelivered: Some(1000),
};

#[test]
fn a_sound_server_is_valid_by_any_mode_and_pace() {
    for mode in MODES {
        for pace in [FLAT, Pace::Every(Duration::from_micros(300))] {
            let report = served(mode, pace, Fault::None).unwrap();
            assert!(report.valid, "{report:?}");
            assert_eq!(report.emits, BATCHES * BATCH);
            assert_eq!(report.deliveries, report.emits);
            assert!(report.delays.latency_us.unwrap().p50 > 0.0);
            assert!(report.delays.answer_us.unwrap().p50 > 0.0);
        }
    }
}

#[test]
fn a_missing_or_repeated_or_swapped_event_is_seen() {
    for mode in MODES {
        for fault in [Fault::Drops, Fault::Repeats, Fault::Swaps, Fault::Stops] {
            let report = served(mode, FLAT, fault).unwrap();
            assert!(!report.valid, "{fault:?} {report:?}");
        }
    }
    let report = served("post", FLAT, Fault::Drops).unwrap();
    assert_eq!(report.inexact_clients, 1);
    let report = served("post", FLAT, Fault::Repeats).unwrap();
    assert_eq!((report.inexact_clients, report.repeated), (1, 1));
    let report = served("post", FLAT, Fault::Swaps).unwrap();
    assert_eq!((report.inexact_clients, report.out_of_order), (0, 1));
}

#[test]
fn an_event_for_somebody_else_is_seen() {
    let report = served("batch", FLAT, Fault::Misdirects).unwrap();
    assert!(!report.valid, "{report:?}");
    assert_eq!(report.inexact_clients, 2);
}

#[test]
fn a_refused_emit_ends_the_run() {
    for mode in MODES {
        let error = served(mode, FLAT, Fault::Fails).unwrap_err().to_string();
        assert!(error.starts_with("emit refused: "), "{error}");
    }
}
