use super::*;

fn at(port: u16) -> SocketAddr {
    ([10, 0, 0, 1], port).into()
}

fn due(dialer: &mut Dialer, now_ms: u64, linked: &[&str], peers: &[u16]) -> Vec<u16> {
    let is_linked = |name: &str| linked.contains(&name);
    let is_peer = |address: SocketAddr| peers.contains(&address.port());
    let due = dialer.due(now_ms, is_linked, is_peer);
    due.into_iter().map(|(address, _)| address.port()).collect()
}

#[test]
fn the_pause_doubles_up_to_two_seconds() {
    let mut dialer = Dialer::default();
    dialer.wanted(at(1), 0);
    let mut now_ms = 0;
    let mut pauses = Vec::new();
    for _ in 0..7 {
        assert_eq!(due(&mut dialer, now_ms, &[], &[]), [1]);
        assert!(
            due(&mut dialer, now_ms, &[], &[]).is_empty(),
            "it is being dialled"
        );
        dialer.failed(at(1), now_ms, 0);
        let next_ms = dialer.next_due_ms().unwrap();
        assert!(due(&mut dialer, next_ms - 1, &[], &[]).is_empty());
        pauses.push(next_ms - now_ms);
        now_ms = next_ms;
    }
    // Half of what it can be, for the random number is 0.
    assert_eq!(pauses, [50, 100, 200, 400, 800, 1000, 1000]);
}

#[test]
fn the_first_failure_is_told() {
    let mut dialer = Dialer::default();
    dialer.wanted(at(1), 0);
    assert!(dialer.failed(at(1), 0, 5) && !dialer.failed(at(1), 0, 5));
    assert!(!dialer.failed(at(2), 0, 5), "nobody wanted that");
}

#[test]
fn a_link_that_lasted_is_dialled_again_at_once() {
    let mut dialer = Dialer::default();
    let name: Arc<str> = "a".into();
    for _ in 0..8 {
        dialer.peer_at(at(1), &name);
        dialer.failed(at(1), 0, 0);
    }
    dialer.linked(at(1), &name, 0);
    dialer.lost(at(1), 10, 0);
    assert_eq!(dialer.next_due_ms(), Some(1010), "it was no good");
    dialer.linked(at(1), &name, 10);
    dialer.lost(at(1), 2010, 0);
    assert_eq!(dialer.next_due_ms(), Some(2060));
}

#[test]
fn whom_there_is_a_link_to_is_not_dialled() {
    let mut dialer = Dialer::default();
    dialer.peer_at(at(1), &"a".into());
    assert!(due(&mut dialer, 0, &["a"], &[1]).is_empty());
    assert!(due(&mut dialer, 0, &[], &[]).is_empty(), "it is no peer");
    assert_eq!(due(&mut dialer, 0, &[], &[1]), [1]);
}

#[test]
fn what_nobody_needs_is_forgotten() {
    let mut dialer = Dialer::default();
    dialer.wanted(at(1), 0);
    dialer.peer_at(at(2), &"b".into());
    dialer.forget(59_999, |address| address == at(2));
    assert_eq!(dialer.targets.len(), 2);
    dialer.forget(60_000, |address| address == at(2));
    assert_eq!(dialer.targets.keys().copied().collect::<Vec<_>>(), [at(2)]);
    dialer.forget(60_000, |_| false);
    assert!(dialer.targets.is_empty());
}

#[test]
fn all_seeds_are_in_vain_after_a_while() {
    let mut dialer = Dialer::default();
    assert!(dialer.all_in_vain(0, 100), "there is none");
    dialer.wanted(at(1), 0);
    dialer.wanted(at(2), 0);
    due(&mut dialer, 0, &[], &[]);
    dialer.is_own(at(2));
    assert!(!dialer.all_in_vain(500, 100), "nobody has answered yet");
    dialer.failed(at(1), 50, 0);
    assert!(!dialer.all_in_vain(99, 100) && dialer.all_in_vain(100, 100));
}

#[test]
fn a_dial_that_is_never_answered_is_made_again() {
    let mut dialer = Dialer::default();
    dialer.wanted(at(1), 0);
    assert_eq!(due(&mut dialer, 0, &[], &[]), [1]);
    assert!(due(&mut dialer, 9999, &[], &[]).is_empty());
    assert_eq!(due(&mut dialer, 10_000, &[], &[]), [1]);
}
