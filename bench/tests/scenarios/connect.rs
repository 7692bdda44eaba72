//! Everybody connects, and some are refused.

use std::time::{Duration, Instant};

use tidings_bench::{
    client::Expect,
    scenario::connect::{self, Arrived, ConnectConfig},
};

use super::{
    CLIENTS,
    fake::{Config, FakeServer, Fault},
    subject,
};

fn arrived(fault: Fault, concurrency: usize, retry: bool) -> Arrived {
    let server = Config {
        fault,
        ..Config::default()
    };
    let mut subject = subject(FakeServer::start(server), Expect::Stamps);
    subject.fleet.concurrency = concurrency;
    subject.fleet.deadline = Duration::from_secs(3);
    let config = ConnectConfig {
        retry,
        watch: Duration::from_millis(100),
    };
    connect::measure(&subject, config).unwrap()
}

#[test]
fn everybody_arrives_one_by_one_or_at_once() {
    for concurrency in [1, CLIENTS] {
        let report = arrived(Fault::None, concurrency, false);
        assert!(report.valid, "{report:?}");
        assert_eq!((report.ready, report.refused), (CLIENTS, 0));
        let ready = report.ready_us.unwrap();
        assert!(
            ready.p50 > 0.0 && ready.max <= report.seconds * 1e6,
            "{report:?}"
        );
    }
}

#[test]
fn refused_clients_are_counted_and_the_others_arrive() {
    let report = arrived(Fault::Refuses(3), 4, false);
    assert!(!report.valid, "{report:?}");
    assert_eq!((report.ready, report.refused), (CLIENTS - 3, 3));
    assert!(report.refusal.unwrap().contains("no room"));
}

#[test]
fn refused_clients_try_again_after_a_while() {
    let report = arrived(Fault::Refuses(3), CLIENTS, true);
    assert!(report.valid, "{report:?}");
    assert_eq!((report.ready, report.refused), (CLIENTS, 3));
    let slowest = report.ready_us.unwrap().max;
    assert!(slowest >= 100_000.0, "the waits are in it: {slowest}");
}

#[test]
fn a_server_that_refuses_for_ever_ends_the_run_in_time() {
    let start = Instant::now();
    let report = arrived(Fault::Refuses(u64::MAX), CLIENTS, true);
    assert!(!report.valid, "{report:?}");
    assert_eq!(report.ready, 0);
    assert!(report.refused > CLIENTS as u64, "{report:?}");
    assert!(start.elapsed() < Duration::from_secs(6));
}

#[test]
fn a_client_that_never_gets_its_acknowledgement_is_not_ready() {
    let report = arrived(Fault::Mute, CLIENTS, true);
    assert!(!report.valid, "{report:?}");
    assert_eq!((report.ready, report.refused), (CLIENTS - 1, 0));
}
