use super::super::{Limits, Rules};
use super::{PROLONG_IN, Told};
use crate::app::window::SlidingWindow;
use proptest::prelude::{prop_assert, proptest};
use std::net::IpAddr;

const T0: u64 = 1_800_000_000_000;

fn rules() -> Rules {
    Rules {
        events_per_user: 10,
        connections_per_ip: 3,
        subscriptions_per_user: 4,
        logins_per_ip: 3,
        logins_per_user: 2,
        abuse_windows: 2,
    }
}

fn shared() -> Limits {
    let limits = Limits::new(rules());
    limits.share();
    limits
}

/// One exchange between two nodes.
fn exchange(a: &Limits, b: &Limits, now_ms: u64) {
    for (from, to) in [(a, b), (b, a)] {
        for (key, parts) in from.take_untold(now_ms) {
            to.hear(&key, &parts, now_ms);
        }
    }
}

fn passed(limits: &Limits, times: usize, now_ms: u64) -> usize {
    (0..times)
        .filter(|_| limits.event("ann", now_ms).is_ok())
        .count()
}

fn told(key: &[u8], parts: &[(u32, u32)]) -> Told {
    (key.to_vec(), parts.to_vec())
}

#[test]
fn a_node_alone_has_nobody_to_tell() {
    let limits = Limits::new(rules());
    passed(&limits, 3, T0);
    limits.subscribe("ann", "a", T0).unwrap();
    assert_eq!(limits.take_untold(T0), []);
}

#[test]
fn what_changed_is_told_once_with_the_time_that_it_counts() {
    let limits = shared();
    passed(&limits, 2, T0);
    passed(&limits, 1, T0 + 6_000);
    let all = [told(b"eann", &[(54_000, 2), (60_000, 1)])];
    assert_eq!(limits.take_untold(T0 + 6_000), all);
    assert_eq!(limits.take_untold(T0 + 6_000), []);
    passed(&limits, 1, T0 + 60_001);
    let all = [told(b"eann", &[(5_999, 1), (60_000, 1)])];
    assert_eq!(limits.take_untold(T0 + 60_001), all);
}

#[test]
fn what_was_there_before_is_told() {
    let limits = Limits::new(rules());
    passed(&limits, 2, T0);
    limits.subscribe("ann", "a", T0).unwrap();
    limits.share();
    let all = [told(b"eann", &[(59_000, 2)]), told(b"sann", &[(30_000, 1)])];
    assert_eq!(limits.take_untold(T0 + 1_000), all);
}

#[test]
fn what_is_taken_back_is_withdrawn_if_it_was_told() {
    let (limits, ip) = (shared(), IpAddr::from([192, 0, 2, 1]));
    limits.handshake(ip, T0).unwrap();
    limits.refund_handshake(ip, T0);
    assert_eq!(limits.take_untold(T0), []);
    limits.handshake(ip, T0).unwrap();
    assert_eq!(limits.take_untold(T0).len(), 1);
    limits.refund_handshake(ip, T0);
    assert_eq!(limits.take_untold(T0), [told(&[b'h', 192, 0, 2, 1], &[])]);
}

#[test]
fn all_nodes_together_let_the_limit_pass() {
    let (a, b) = (shared(), shared());
    assert_eq!(passed(&a, 1, T0) + passed(&b, 1, T0), 2);
    exchange(&a, &b, T0);
    assert_eq!(passed(&a, 5, T0 + 1_000), 5);
    exchange(&a, &b, T0 + 1_000);
    assert_eq!(passed(&b, 9, T0 + 1_100), 3);
    exchange(&a, &b, T0 + 1_100);
    assert_eq!(passed(&a, 9, T0 + 1_200), 0);
    // A minute after its last hit what `a` had counted leaves the window, and no more.
    assert_eq!(passed(&a, 9, T0 + 61_000), 6);
    exchange(&a, &b, T0 + 61_000);
    assert_eq!(passed(&b, 9, T0 + 61_000), 0);
}

#[test]
fn a_refusal_says_when_there_is_room_again_whoever_counted() {
    let (a, b) = (shared(), shared());
    passed(&b, 9, T0);
    passed(&a, 1, T0 + 20_000);
    exchange(&a, &b, T0 + 20_000);
    let refused = a.event("ann", T0 + 30_000).unwrap_err();
    assert_eq!(refused.retry_after.0.as_millis(), 30_000);
    let refused = b.event("ann", T0 + 30_000).unwrap_err();
    assert_eq!(refused.retry_after.0.as_millis(), 30_000);
}

#[test]
fn others_are_kept_for_keys_of_this_node_only_and_no_longer_than_they_count() {
    let limits = shared();
    for key in [
        &b"eann"[..],
        b"h123",
        b"sann",
        b"?",
        b"",
        b"e\xff",
        b"s\xff",
    ] {
        limits.hear(key, &[(60_000, 10)], T0);
    }
    assert_eq!(limits.0.events.len(), 0);
    assert_eq!(passed(&limits, 1, T0), 1);
    limits.hear(b"eann", &[(90_000, 10)], T0);
    // Nothing honest ends so late: the clock was set back.
    assert_eq!(passed(&limits, 1, T0), 1);
    limits.hear(b"eann", &[(60_000, 10)], T0 + 50_000);
    for _ in 0..16 {
        limits.take_changes(T0 + 100_000);
    }
    assert_eq!(passed(&limits, 1, T0 + 100_000), 0, "it is still there");
    for _ in 0..16 {
        limits.take_changes(T0 + 110_000);
    }
    assert_eq!(limits.0.events.len(), 0);
}

#[test]
fn subscriptions_of_all_nodes_count_together() {
    let (a, b) = (shared(), shared());
    a.subscribe("ann", "1", T0).unwrap();
    b.subscribe("ann", "1", T0).unwrap();
    exchange(&a, &b, T0);
    a.subscribe("ann", "2", T0).unwrap();
    a.subscribe("ann", "3", T0).unwrap();
    exchange(&a, &b, T0);
    assert_eq!(a.subscribe("ann", "2", T0), Ok(false));
    a.subscribe("ann", "4", T0).unwrap_err();
    b.subscribe("ann", "2", T0).unwrap_err();
    a.unsubscribe("ann", "3");
    exchange(&a, &b, T0);
    b.subscribe("ann", "2", T0).unwrap();
}

#[test]
fn subscriptions_are_told_again_before_they_run_out_and_withdrawn_with_the_last() {
    let limits = shared();
    limits.subscribe("ann", "1", T0).unwrap();
    let mut times = 0;
    for turn in 0..4 * PROLONG_IN as u64 {
        times += limits.take_untold(T0 + turn * 100).len();
    }
    assert!((4..=5).contains(&times), "told {times} times");
    limits.unsubscribe("ann", "1");
    assert_eq!(limits.take_untold(T0), [told(b"sann", &[])]);
    limits.subscribe("ann", "1", T0).unwrap();
    limits.unsubscribe("ann", "1");
    assert_eq!(limits.take_untold(T0), []);
    assert_eq!(limits.0.subscriptions.users(), 0);
}

/// What the others told is not told again by itself, so it must outlive a short leave.
#[test]
fn to_leave_all_and_come_back_does_not_forget_the_others() {
    let limits = shared();
    limits.subscribe("ann", "1", T0).unwrap();
    limits.take_untold(T0);
    limits.hear(b"sann", &[(30_000, 3)], T0);
    limits.unsubscribe("ann", "1");
    limits.subscribe("ann", "2", T0).unwrap();
    limits.subscribe("ann", "3", T0).unwrap_err();
    limits.subscribe("ann", "3", T0 + 30_000).unwrap();
}

proptest! {
    /// The bound that is documented: the limit, and what came since the last exchange.
    #[test]
    fn more_than_the_limit_passes_only_between_two_exchanges(
        steps in proptest::collection::vec((0..3_usize, 0..2_000_u64), 1..200),
    ) {
        let nodes = [shared(), shared(), shared()];
        let (mut now, mut log, mut since) = (T0, Vec::new(), 0);
        let mut heard = [false; 3];
        for (at, pause) in steps {
            now += pause;
            if pause > 500 {
                heard = exchange_all(&nodes, now);
                since = 0;
            }
            since += 1;
            if nodes[at].event("ann", now).is_ok() {
                log.push(now);
                let minute = log.iter().filter(|at| **at + 60_000 > now).count();
                prop_assert!(!heard[at] || minute < 10 + since, "{minute} passed");
            }
        }
    }
}

/// One exchange between all; says which of them count the key, and so were told.
fn exchange_all(nodes: &[Limits; 3], now_ms: u64) -> [bool; 3] {
    let counts = |node: &Limits| -> Vec<(u32, u32)> {
        let parts = |window: &mut SlidingWindow| window.parts(now_ms).collect();
        let table = &node.0.events;
        table.update("ann", |window, _| (parts(window), false))
    };
    let all: Vec<_> = nodes.iter().map(counts).collect();
    std::array::from_fn(|at| {
        let others = all.iter().enumerate().filter(|(by, _)| *by != at);
        let others: Vec<_> = others.flat_map(|(_, parts)| parts.clone()).collect();
        nodes[at].hear(b"eann", &others, now_ms);
        !all[at].is_empty()
    })
}
