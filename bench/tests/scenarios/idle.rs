//! Clients that say nothing.

use std::time::Duration;

use tidings_bench::{
    client::Expect,
    http::Framing,
    scenario::idle::{self, Idle, IdleConfig},
    template::Template,
};

use super::{
    CLIENTS, emit,
    fake::{Config, FakeServer, Fault},
    subject,
};

fn idle(fault: Fault) -> Idle {
    let target = FakeServer::start(Config {
        fault,
        at: 7,
        conflates: false,
    });
    let config = IdleConfig {
        emit: emit(target, Framing::Requests),
        body: Template::parse(r#"{"ts":{now},"seq":{seq}}"#),
        settle: Duration::from_millis(10),
        flood: 30,
        in_flight: 2,
        flood_settle: Duration::from_millis(20),
    };
    idle::measure(&subject(target, Expect::Stamps), config).unwrap()
}

#[test]
fn idle_floods_every_client() {
    let report = idle(Fault::None);
    assert!(report.lost.is_none());
    assert!(report.empty_kib > 100.0);
    let flood = report.after_flood.unwrap();
    assert!(flood.exact);
    assert_eq!((report.settling.len(), flood.settling.len()), (9, 9));
    assert!(flood.memory.rss_kib >= flood.memory.anonymous_kib);
    assert_eq!(flood.deliveries, 30 * CLIENTS as u64);
}

#[test]
fn a_flood_that_does_not_arrive_whole_is_seen() {
    let report = idle(Fault::Repeats);
    assert!(!report.after_flood.unwrap().exact);
}
