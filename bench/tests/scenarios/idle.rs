//! Clients that say nothing.

use std::time::Duration;

use tidings_bench::{
    client::Expect,
    http::Framing,
    scenario::idle::{self, IdleConfig},
    template::Template,
};

use super::{
    CLIENTS, emit,
    fake::{Config, FakeServer},
    subject,
};

#[test]
fn idle_floods_every_client() {
    let target = FakeServer::start(Config::default());
    let config = IdleConfig {
        emit: emit(target, Framing::Requests),
        body: Template::parse(r#"{"ts":{now},"seq":{seq}}"#),
        settle: Duration::from_millis(10),
        flood: 30,
        in_flight: 2,
    };
    let report = idle::measure(&subject(target, Expect::Stamps), config).unwrap();
    assert!(report.lost.is_none());
    assert!(report.empty_kib > 100.0);
    let flood = report.after_flood.unwrap();
    assert!(flood.exact);
    assert_eq!(flood.deliveries, 30 * CLIENTS as u64);
}
