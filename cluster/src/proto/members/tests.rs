use super::*;

const NOBODY: &str = "me";

fn at(port: u16) -> SocketAddr {
    ([10, 0, 0, 1], port).into()
}

fn seen(name: &str, generation: u64, port: u16, alive: bool) -> Gossiped {
    Gossiped {
        name: name.into(),
        generation,
        address: at(port),
        lifecycle: Lifecycle::Ready,
        alive,
        interest: None,
    }
}

/// Gossip says this; what changes, as short words.
fn after(members: &mut Members, known: Vec<Gossiped>) -> Vec<String> {
    members.gossip(known);
    settled(members)
}

fn settled(members: &mut Members) -> Vec<String> {
    let events = members.settle(NOBODY, 0);
    let words = events.into_iter().map(|event| match event {
        Event::Down(slot, peer) => format!("-{slot} {} {}", peer.name, peer.generation),
        Event::Up(slot) => {
            let peer = members.peer(slot).unwrap();
            format!("+{slot} {} {}", peer.name, peer.generation)
        }
        Event::State(slot) => format!("={slot}"),
    });
    words.collect()
}

#[test]
fn the_latest_live_start_counts() {
    let mut members = Members::default();
    let all = vec![
        seen("a", 1, 1, true),
        seen("a", 3, 1, false),
        seen("a", 2, 1, true),
    ];
    assert_eq!(after(&mut members, all), ["+0 a 2"]);
    let all = vec![
        seen("a", 2, 1, true),
        seen("a", 3, 1, true),
        seen("me", 9, 1, true),
    ];
    assert_eq!(after(&mut members, all), ["-0 a 2", "+0 a 3"]);
    assert_eq!(
        after(&mut members, vec![seen("a", 3, 1, false)]),
        ["-0 a 3"]
    );
    assert_eq!(after(&mut members, vec![seen("a", 3, 1, true)]), ["+0 a 3"]);
}

#[test]
fn a_node_elsewhere_takes_no_name_from_a_live_one() {
    let mut members = Members::default();
    assert_eq!(after(&mut members, vec![seen("a", 1, 1, true)]), ["+0 a 1"]);
    let both = vec![seen("a", 1, 1, true), seen("a", 2, 2, true)];
    assert!(after(&mut members, both).is_empty());
    let moved = vec![seen("a", 1, 1, false), seen("a", 2, 2, true)];
    assert_eq!(after(&mut members, moved), ["-0 a 1", "+0 a 2"]);
}

#[test]
fn a_link_knows_of_a_restart_before_gossip() {
    let mut members = Members::default();
    let old = vec![seen("a", 1, 1, true)];
    after(&mut members, old.clone());
    members.restarted(&"a".into(), 2);
    assert_eq!(settled(&mut members), ["-0 a 1"]);
    assert!(after(&mut members, old).is_empty(), "gossip is late");
    let both = vec![seen("a", 1, 1, true), seen("a", 2, 1, true)];
    assert_eq!(after(&mut members, both), ["+0 a 2"]);
    after(&mut members, vec![seen("a", 2, 1, true)]);
    assert!(
        members.first.is_empty(),
        "what gossip knows need not be kept"
    );
}

#[test]
fn a_node_gets_its_slot_again() {
    let mut members = Members::default();
    let both = vec![seen("a", 1, 1, true), seen("b", 1, 2, true)];
    assert_eq!(after(&mut members, both), ["+0 a 1", "+1 b 1"]);
    after(&mut members, vec![seen("b", 1, 2, true)]);
    let other = vec![seen("b", 1, 2, true), seen("c", 1, 3, true)];
    assert_eq!(
        after(&mut members, other),
        ["+2 c 1"],
        "the slot of a waits for it"
    );
    let back = vec![seen("a", 2, 1, true), seen("b", 1, 2, true)];
    assert_eq!(after(&mut members, back), ["-2 c 1", "+0 a 2"]);
}

#[test]
fn there_are_as_many_peers_as_slots() {
    let mut members = Members::default();
    let named = |number: u16| seen(&format!("n{number}"), 1, number, true);
    let all: Vec<Gossiped> = (0..70).map(named).collect();
    assert_eq!(after(&mut members, all.clone()).len(), SLOTS);
    assert!(after(&mut members, all.clone()).is_empty());
    // One goes, one of those without takes its place.
    let words = after(&mut members, all[1..].to_vec());
    assert_eq!(words.len(), 2, "{words:?}");
}

#[test]
fn lifecycles_have_names() {
    for lifecycle in [Lifecycle::Joining, Lifecycle::Ready, Lifecycle::Draining] {
        assert_eq!(Lifecycle::from_name(lifecycle.name()), Some(lifecycle));
    }
    assert_eq!(Lifecycle::from_name("resting"), None);
    let mut members = Members::default();
    after(&mut members, vec![seen("a", 1, 1, true)]);
    let mut drains = seen("a", 1, 1, true);
    drains.lifecycle = Lifecycle::Draining;
    assert_eq!(after(&mut members, vec![drains]), ["=0"]);
}
