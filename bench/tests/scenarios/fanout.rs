//! One room: faults of single events, and clients beside it.

use std::{thread, time::Duration};

use tidings_bench::{
    client::{Expect, Transport},
    emitter::{Burst, Length, Pace},
    fleet::FleetError,
    http::Framing,
    scenario::{
        ScenarioError,
        fanout::{self, Fanout, FanoutConfig},
        listen,
        probes::ProbeConfig,
    },
    template::Template,
};

use super::{
    CLIENTS, emit,
    fake::{Config, FakeServer, Fault},
    subject,
};

const WARM_UP: u64 = 5;
const EMITS: u64 = 10;

fn burst(batches: u64) -> Burst {
    Burst {
        pace: Pace::Every(Duration::from_millis(2)),
        length: Length::Batches(batches),
    }
}

fn probed(fault: Fault, probes: usize) -> Result<Fanout, ScenarioError> {
    by(Transport::WebSocket, fault, probes)
}

fn by(transport: Transport, fault: Fault, probes: usize) -> Result<Fanout, ScenarioError> {
    let target = FakeServer::start(Config {
        fault,
        // The fault shows in the measured part, not in the warm-up.
        at: WARM_UP + 3,
        conflates: false,
    });
    let config = FanoutConfig {
        emit: emit(target, Framing::Requests),
        body: Template::parse(r#"{"ts":{now},"seq":{seq}}"#),
        warm_up: burst(WARM_UP),
        measured: burst(EMITS),
        probes: ProbeConfig {
            clients: probes,
            event: r#"["ask",{n}]"#.parse().unwrap(),
            interval: Duration::from_millis(3),
        },
    };
    let mut subject = subject(target, Expect::Stamps);
    subject.fleet.plan.transport = transport;
    fanout::measure(&subject, config)
}

fn fanout(fault: Fault) -> Result<Fanout, ScenarioError> {
    probed(fault, 0)
}

#[test]
fn a_sound_server_is_exact() {
    let report = fanout(Fault::None).unwrap();
    assert!(report.exact, "{report:?}");
    assert_eq!(
        (report.emits, report.deliveries),
        (EMITS, EMITS * CLIENTS as u64)
    );
    let latency = report.delays.latency_us.unwrap();
    assert!(latency.p50 > 0.0 && latency.max < 5e6, "{latency:?}");
    assert!(report.seconds >= 0.018, "ten emits 2 ms apart: {report:?}");
    assert!(report.probes.is_none());
}

#[test]
fn a_repeated_event_is_seen() {
    let report = fanout(Fault::Repeats).unwrap();
    assert!(!report.exact, "{report:?}");
    assert_eq!(report.out_of_order, 1);
}

#[test]
fn a_change_of_order_is_seen() {
    let report = fanout(Fault::Swaps).unwrap();
    assert!(!report.exact, "{report:?}");
    assert_eq!(
        (report.deliveries, report.out_of_order),
        (EMITS * CLIENTS as u64, 1)
    );
}

#[test]
fn a_closed_client_is_seen() {
    let report = fanout(Fault::Closes).unwrap();
    assert!(!report.exact, "{report:?}");
    assert_eq!(report.lost, Some((1, "the connection ended".into())));
}

#[test]
fn a_missing_event_is_seen() {
    for (fault, missing) in [
        (Fault::Drops, 1),
        (Fault::Stops, EMITS - 3),
        (Fault::Misdirects, 0),
    ] {
        let report = fanout(fault).unwrap();
        assert!(!report.exact, "{report:?}");
        assert_eq!(report.deliveries, EMITS * CLIENTS as u64 - missing);
    }
}

#[test]
fn a_refused_client_ends_the_run() {
    let error = fanout(Fault::Refuses(1)).unwrap_err();
    assert!(
        matches!(
            error,
            ScenarioError::Fleet(FleetError::Lost { ready: 0, .. })
        ),
        "{error}"
    );
    assert!(error.to_string().contains("no room"), "{error}");
}

#[test]
fn a_refused_emit_ends_the_run() {
    let error = fanout(Fault::Fails).unwrap_err().to_string();
    assert!(error.starts_with("emit refused: HTTP/1.1 500 "), "{error}");
}

#[test]
fn probes_are_answered_while_the_room_gets_events() {
    let report = probed(Fault::None, 4).unwrap();
    assert!(report.exact, "{report:?}");
    let (probes, acks) = (report.probes.unwrap(), report.ack_us.unwrap());
    assert_eq!(probes.clients, 4);
    assert!((4..=64).contains(&probes.acks), "{probes:?}");
    assert!(acks.p50 > 0.0 && acks.max < 5e6, "{acks:?}");
}

#[test]
fn a_denied_probe_is_seen() {
    let report = probed(Fault::Denies, 4).unwrap();
    assert!(!report.exact, "{report:?}");
    let probes = report.probes.unwrap();
    assert_eq!(probes.refused, probes.acks);
}

#[test]
fn a_probe_without_acknowledgement_is_seen() {
    let report = probed(Fault::Ignores, 4).unwrap();
    assert!(!report.exact, "{report:?}");
    assert_eq!(report.probes.unwrap().missing, 4);
}

#[test]
fn polling_clients_get_every_event_beside_probes() {
    let report = by(Transport::Polling, Fault::None, 2).unwrap();
    assert!(report.exact, "{report:?}");
    assert_eq!(report.deliveries, EMITS * CLIENTS as u64);
    assert!(report.ack_us.is_some());
}

#[test]
fn faults_towards_polling_clients_are_seen() {
    for fault in [Fault::Repeats, Fault::Swaps, Fault::Drops, Fault::Closes] {
        let report = by(Transport::Polling, fault, 0).unwrap();
        assert!(!report.exact, "{fault:?} {report:?}");
    }
    let error = by(Transport::Polling, Fault::Refuses(1), 0).unwrap_err();
    assert!(error.to_string().contains("no room"), "{error}");
}

/// Emits to the server's room from a process that is not the listener.
fn listened(fault: Fault) -> listen::Listened {
    let (target, server) = FakeServer::start_watched(Config {
        fault,
        at: 3,
        conflates: false,
    });
    let emitting = emit(target, Framing::Requests);
    let time = Duration::from_millis(700);
    let listening = thread::spawn(move || listen::measure(&subject(target, Expect::Stamps), time));
    server.wait_for(CLIENTS);
    let mut took = Default::default();
    let mut poster =
        tidings_bench::http::Poster::connect(&emitting.url, &emitting.headers, emitting.framing)
            .unwrap();
    for _ in 0..EMITS {
        let now = tidings_bench::clock::now();
        let body = format!("{{\"ts\":{now}}}");
        poster.send(&body, 1, now, &mut took).unwrap();
    }
    poster.settle(&mut took).unwrap();
    listening.join().unwrap().unwrap()
}

#[test]
fn what_another_process_emits_is_counted() {
    let report = listened(Fault::None);
    assert!(report.exact, "{report:?}");
    assert_eq!((report.events_least, report.events_most), (EMITS, EMITS));
    assert_eq!(report.deliveries, EMITS * CLIENTS as u64);
    assert!(report.latency_us.unwrap().p50 > 0.0);
}

#[test]
fn what_it_emits_out_of_order_is_seen() {
    let report = listened(Fault::Swaps);
    assert!(!report.exact, "{report:?}");
    assert_eq!(report.out_of_order, 1);
}
