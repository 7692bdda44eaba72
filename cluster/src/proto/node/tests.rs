use std::net::SocketAddr;

use proptest::prelude::{ProptestConfig, any, proptest};
use proptest::{collection, prop_assert, prop_assert_eq};

use super::*;
use crate::proto::{Change, Frame, Gossiped, LinkId, Refused};

const LINGER_MS: u64 = 100;

fn at(port: u16) -> SocketAddr {
    ([10, 0, 0, 1], port).into()
}

fn settings(name: &str, port: u16, has_seeds: bool) -> Settings {
    Settings {
        name: name.into(),
        cluster: "test".into(),
        generation: 10,
        address: at(port),
        linger_ms: LINGER_MS,
        has_seeds,
    }
}

fn hello(name: &str, generation: u64, port: u16) -> Hello {
    Hello {
        cluster: "test".into(),
        protocol: PROTOCOL,
        name: name.into(),
        generation,
        address: at(port),
    }
}

fn seen(name: &str, generation: u64, port: u16, lifecycle: Lifecycle) -> Gossiped {
    Gossiped {
        name: name.into(),
        generation,
        address: at(port),
        lifecycle,
        alive: true,
        interest: None,
    }
}

/// Node `a`, to which `b` is alive and ready, without links.
fn with_b() -> Node {
    let mut node = Node::new(settings("a", 1, true), 0);
    node.gossip(vec![seen("b", 10, 2, Lifecycle::Ready)], 0, 0);
    node
}

/// The same with both links; `b` wants room 7.
fn linked_with_b() -> Node {
    let mut node = with_b();
    node.link_out_up(LinkId(1), at(2), hello("b", 10, 2), 0);
    node.hello_in(LinkId(2), hello("b", 10, 2), 0).unwrap();
    node.frame(LinkId(2), snapshot(1, &[7]), 0).unwrap();
    node.frame(LinkId(2), ack(0), 0).unwrap();
    drain_link(&mut node, LinkId(1));
    _ = node.actions();
    node
}

fn snapshot(seq: u64, rooms: &[u64]) -> Frame {
    Frame::Snapshot {
        seq,
        total: rooms.len() as u32,
        first: true,
        last: true,
        rooms: rooms.iter().copied().map(RoomKey).collect(),
    }
}

fn ack(seq: u64) -> Frame {
    Frame::Ack {
        generation: 10,
        seq,
    }
}

fn drain_link(node: &mut Node, link: LinkId) -> Vec<Frame> {
    std::iter::from_fn(|| node.next_frame(link, 0)).collect()
}

fn tick_until(node: &mut Node, from_ms: u64, until_ms: u64) {
    let mut now_ms = from_ms;
    while now_ms <= until_ms {
        now_ms = node.tick(now_ms, 0);
    }
}

#[test]
fn without_seeds_a_node_is_ready_at_once() {
    let mut node = Node::new(settings("a", 1, false), 0);
    assert_eq!(node.lifecycle(), Lifecycle::Joining);
    node.tick(0, 0);
    assert_eq!(node.lifecycle(), Lifecycle::Ready);
}

#[test]
fn the_first_node_waits_for_its_seeds_in_vain() {
    let mut node = Node::new(settings("a", 1, true), 0);
    node.wanted(at(1), 0);
    node.wanted(at(2), 0);
    node.dial_refused(at(1), Refused::Myself, 1, 0);
    node.dial_failed(at(2), 1, 0);
    tick_until(&mut node, 1, 2900);
    assert_eq!(node.lifecycle(), Lifecycle::Joining);
    tick_until(&mut node, 2901, 3100);
    assert_eq!(node.lifecycle(), Lifecycle::Ready);
}

#[test]
fn time_in_which_a_process_was_stopped_is_no_waiting() {
    let mut node = Node::new(settings("a", 1, true), 0);
    node.tick(1, 0);
    node.tick(10_000, 0);
    assert_eq!(node.lifecycle(), Lifecycle::Joining);
    tick_until(&mut node, 10_001, 13_100);
    assert_eq!(node.lifecycle(), Lifecycle::Ready);
}

#[test]
fn a_node_is_ready_when_it_has_exchanged_with_all() {
    let mut node = with_b();
    node.tick(600, 0);
    node.link_out_up(LinkId(1), at(2), hello("b", 10, 2), 600);
    node.hello_in(LinkId(2), hello("b", 10, 2), 600).unwrap();
    node.frame(LinkId(2), snapshot(0, &[]), 600).unwrap();
    node.tick(1500, 0);
    assert_eq!(
        node.lifecycle(),
        Lifecycle::Joining,
        "b knows nothing of it"
    );
    node.frame(LinkId(2), ack(0), 1500).unwrap();
    assert_eq!(node.lifecycle(), Lifecycle::Ready);
    node.drain(1600);
    node.drain(1600);
    node.tick(1700, 0);
    assert_eq!(node.lifecycle(), Lifecycle::Draining);
    let mut told = node.actions();
    told.retain(|action| matches!(action, Action::Lifecycle(_)));
    assert_eq!(
        told,
        [Lifecycle::Ready, Lifecycle::Draining].map(Action::Lifecycle)
    );
}

#[test]
fn one_that_joins_and_cannot_be_reached_is_not_waited_for_for_ever() {
    let mut node = linked_with_b();
    let all = vec![
        seen("b", 10, 2, Lifecycle::Ready),
        seen("c", 10, 3, Lifecycle::Joining),
    ];
    node.gossip(all, 0, 0);
    tick_until(&mut node, 1, 4900);
    assert_eq!(node.lifecycle(), Lifecycle::Joining);
    tick_until(&mut node, 4901, 5100);
    assert_eq!(node.lifecycle(), Lifecycle::Ready);
}

#[test]
fn who_does_not_belong_is_refused() {
    let mut node = linked_with_b();
    let address = at(1);
    let other = |change: fn(&mut Hello)| {
        let mut it = hello("c", 10, 3);
        change(&mut it);
        it
    };
    let refused = [
        (other(|it| it.cluster = "other".into()), Refused::Cluster),
        (
            other(|it| it.protocol = 9),
            Refused::Protocol { ours: 1, theirs: 9 },
        ),
        (hello("a", 10, 1), Refused::Myself),
        (hello("a", 11, 1), Refused::NameTaken { address }),
        (hello("a", 10, 9), Refused::NameTaken { address }),
        (hello("b", 99, 9), Refused::NameTaken { address: at(2) }),
        (hello("b", 9, 2), Refused::Stale { known: 10 }),
    ];
    for (hello, why) in refused {
        assert_eq!(
            node.hello_in(LinkId(9), hello.clone(), 0),
            Err(why),
            "{hello:?}"
        );
        // The same holds for who was dialled.
        node.link_out_up(LinkId(9), at(9), hello, 0);
        assert_eq!(node.next_frame(LinkId(9), 0), None);
        assert!(node.actions().contains(&Action::Hangup(LinkId(9))));
    }
    assert_eq!(node.hello_in(LinkId(9), hello("c", 10, 3), 0), Ok(()));
}

#[test]
fn a_name_is_free_when_its_holder_is_gone() {
    let mut node = linked_with_b();
    node.gossip(Vec::new(), 0, 0);
    let moved = hello("b", 11, 9);
    let taken = Err(Refused::NameTaken { address: at(2) });
    assert_eq!(
        node.hello_in(LinkId(9), moved.clone(), 0),
        taken,
        "its link is there"
    );
    node.link_in_down(LinkId(2), 0);
    assert_eq!(node.hello_in(LinkId(9), moved, 0), Ok(()));
}

#[test]
fn a_restart_is_a_new_peer_at_once() {
    let mut node = linked_with_b();
    node.hello_in(LinkId(3), hello("b", 11, 2), 0).unwrap();
    let name: Arc<str> = "b".into();
    let actions = node.actions();
    let slot = 0;
    assert!(actions.contains(&Action::PeerDown { slot, name }));
    let closed = [LinkId(1), LinkId(2)].map(Action::Hangup);
    assert!(closed.iter().all(|it| actions.contains(it)), "{actions:?}");
    assert_eq!(node.everyone(), 0);
    node.gossip(vec![seen("b", 11, 2, Lifecycle::Joining)], 0, 0);
    assert_eq!((node.everyone(), node.route(&[RoomKey(1)])), (1, 1));
}

#[test]
fn a_taken_name_is_told_once_and_keeps_a_node_from_being_ready() {
    let mut node = Node::new(settings("a", 1, true), 0);
    let refused = Refused::NameTaken { address: at(5) };
    for now_ms in [0, 2000, 4000] {
        node.dial_refused(at(2), refused, now_ms, 0);
        tick_until(&mut node, now_ms, now_ms + 1900);
    }
    let mut told = node.actions();
    told.retain(|action| matches!(action, Action::Conflict { .. } | Action::Lifecycle(_)));
    let address = at(2);
    assert_eq!(told, [Action::Conflict { address, refused }]);
    tick_until(&mut node, 5901, 14_100);
    assert_eq!(
        node.lifecycle(),
        Lifecycle::Ready,
        "nobody says so any more"
    );
}

#[test]
fn a_dead_peer_is_hung_up_and_not_dialled() {
    let mut node = linked_with_b();
    assert_eq!((node.everyone(), node.route(&[RoomKey(7)])), (1, 1));
    let mut dead = seen("b", 10, 2, Lifecycle::Ready);
    dead.alive = false;
    node.gossip(vec![dead], 0, 0);
    let name: Arc<str> = "b".into();
    let slot = 0;
    let expected = [
        Action::Unlinked { slot },
        Action::Hangup(LinkId(1)),
        Action::PeerDown { slot, name },
        Action::Floor(u64::MAX),
    ];
    assert_eq!(node.actions(), expected);
    assert_eq!((node.everyone(), node.route(&[RoomKey(7)])), (0, 0));
    tick_until(&mut node, 1, 5000);
    assert!(
        !node
            .actions()
            .iter()
            .any(|it| matches!(it, Action::Dial { .. }))
    );
    node.gossip(vec![seen("b", 10, 2, Lifecycle::Ready)], 5000, 0);
    let dialled = node.actions();
    assert!(
        dialled.iter().any(|it| matches!(it, Action::Dial { .. })),
        "{dialled:?}"
    );
    // Its own link is still there, and has said all.
    assert_eq!(
        (node.route(&[RoomKey(7)]), node.route(&[RoomKey(8)])),
        (1, 0)
    );
}

#[test]
fn the_floor_is_held_by_who_may_forward() {
    let mut node = Node::new(settings("a", 1, true), 0);
    assert_eq!((node.join(RoomKey(1), 0), node.floor()), (1, u64::MAX));
    node.gossip(vec![seen("b", 10, 2, Lifecycle::Joining)], 0, 0);
    assert_eq!(node.floor(), u64::MAX, "no link has reached it");
    node.link_out_up(LinkId(1), at(2), hello("b", 10, 2), 0);
    assert_eq!(node.floor(), 1, "what was promised stays so");
    assert_eq!((node.join(RoomKey(2), 0), node.floor()), (2, 1));
    node.hello_in(LinkId(2), hello("b", 10, 2), 0).unwrap();
    node.frame(LinkId(2), ack(2), 0).unwrap();
    assert_eq!(node.floor(), 2);
    node.join(RoomKey(3), 0);
    node.link_out_down(LinkId(1), 0, 0);
    assert_eq!(node.floor(), 2, "its view may be what it was");
    node.gossip(Vec::new(), 0, 0);
    assert_eq!(node.floor(), u64::MAX);
    node.gossip(vec![seen("b", 10, 2, Lifecycle::Ready)], 0, 0);
    assert_eq!(node.floor(), 3);
    let mut told = node.actions();
    told.retain(|action| matches!(action, Action::Floor(_)));
    assert_eq!(told, [1, 2, u64::MAX, 3].map(Action::Floor));
}

#[test]
fn a_peer_is_sent_everything_until_it_has_said_what_it_wants() {
    let mut node = with_b();
    let routes = |node: &Node| (node.route(&[RoomKey(7)]), node.route(&[RoomKey(8)]));
    assert_eq!(routes(&node), (1, 1));
    node.hello_in(LinkId(2), hello("b", 10, 2), 0).unwrap();
    assert_eq!(routes(&node), (1, 1));
    node.frame(LinkId(2), snapshot(1, &[7]), 0).unwrap();
    assert_eq!(routes(&node), (1, 0));
    assert_eq!(node.route(&[RoomKey(8), RoomKey(7)]), 1);
    node.link_in_down(LinkId(2), 0);
    assert_eq!(routes(&node), (1, 1));
}

#[test]
fn a_link_is_woken_once() {
    let mut node = linked_with_b();
    node.join(RoomKey(1), 0);
    node.join(RoomKey(2), 0);
    assert_eq!(node.actions(), [Action::Wake(LinkId(1))]);
    assert_eq!(drain_link(&mut node, LinkId(1)).len(), 1);
    node.join(RoomKey(3), 0);
    assert_eq!(node.actions(), [Action::Wake(LinkId(1))]);
}

#[test]
fn acknowledgements_come_before_what_is_long() {
    let mut node = with_b();
    node.join(RoomKey(1), 0);
    node.link_out_up(LinkId(1), at(2), hello("b", 10, 2), 0);
    node.hello_in(LinkId(2), hello("b", 10, 2), 0).unwrap();
    node.frame(LinkId(2), snapshot(4, &[7]), 0).unwrap();
    let frames = drain_link(&mut node, LinkId(1));
    assert_eq!(frames, [ack(4), snapshot(1, &[1])]);
    // A new link from the peer is acknowledged anew, or the peer would wait for ever.
    node.hello_in(LinkId(3), hello("b", 10, 2), 0).unwrap();
    node.frame(LinkId(3), snapshot(4, &[7]), 0).unwrap();
    assert_eq!(drain_link(&mut node, LinkId(1)), [ack(4)]);
}

#[test]
fn a_second_address_of_a_linked_node_is_left_alone() {
    let mut node = linked_with_b();
    node.wanted(at(22), 0);
    node.link_out_up(LinkId(5), at(22), hello("b", 10, 2), 0);
    assert!(node.actions().contains(&Action::Hangup(LinkId(5))));
    node.wanted(at(22), 3000);
    tick_until(&mut node, 1, 9000);
    assert!(
        !node
            .actions()
            .iter()
            .any(|it| matches!(it, Action::Dial { .. }))
    );
}

#[test]
fn frames_must_come_from_somewhere_and_make_sense() {
    let mut node = linked_with_b();
    assert_eq!(node.frame(LinkId(9), Frame::Resync, 0), Err(Broken::Link));
    let (seq, last) = (5, 0);
    assert_eq!(
        node.frame(LinkId(2), ack(5), 0),
        Err(Broken::Ack { seq, last })
    );
    let other = Frame::Ack { generation: 9, seq };
    assert_eq!(
        node.frame(LinkId(2), other, 0),
        Ok(()),
        "meant for an earlier start"
    );
    node.frame(LinkId(2), Frame::Resync, 0).unwrap();
    assert_eq!(drain_link(&mut node, LinkId(1)), [snapshot(0, &[])]);
    // What is not known any more can be lost again.
    node.link_out_down(LinkId(8), 0, 0);
    node.link_in_down(LinkId(8), 0);
    assert_eq!(node.next_frame(LinkId(8), 0), None);
}

#[test]
fn what_lingers_is_announced_as_gone_later() {
    let mut node = linked_with_b();
    node.join(RoomKey(1), 0);
    drain_link(&mut node, LinkId(1));
    node.leave(RoomKey(1), 0);
    assert_eq!(drain_link(&mut node, LinkId(1)), []);
    tick_until(&mut node, 1, LINGER_MS);
    let frames = drain_link(&mut node, LinkId(1));
    let changes = vec![Change::Leave(RoomKey(1))];
    assert_eq!(frames, [Frame::Delta { from: 1, changes }]);
}

#[test]
fn an_operator_sees_the_dead_too() {
    let mut node = linked_with_b();
    let mut dead = seen("c", 3, 3, Lifecycle::Ready);
    dead.alive = false;
    node.gossip(vec![seen("b", 10, 2, Lifecycle::Ready), dead], 0, 0);
    let peers = node.peers();
    let names: Vec<_> = peers
        .iter()
        .map(|it| (&*it.name, it.alive, it.slot))
        .collect();
    assert_eq!(names, [("b", true, Some(0)), ("c", false, None)]);
    let b = &peers[0];
    assert!(b.linked_out && b.linked_in && b.in_step);
    assert_eq!((b.rooms, b.applied, b.acked), (1, 1, 0));
}

/// Something that an edge may say, whether it makes sense or not.
fn say(node: &mut Node, what: u8, [a, b, c]: [u8; 3], now_ms: u64) {
    let (link, port) = (LinkId(u64::from(a % 6)), u16::from(b % 4));
    let name = ["a", "b", "c", "d"][usize::from(c % 4)];
    let (generation, seq) = (u64::from(a % 3), u64::from(c % 8));
    let room = RoomKey(u64::from(b % 8));
    let (key, parts) = (vec![a % 3].into(), vec![(u32::from(b), u32::from(c))]);
    let lifecycle = [Lifecycle::Joining, Lifecycle::Ready, Lifecycle::Draining];
    match what % 20 {
        0 => _ = node.join(room, now_ms),
        1 => node.leave(room, now_ms),
        2 => node.wanted(at(port), now_ms),
        3 => _ = node.dial_failed(at(port), now_ms, seq),
        4 => {
            let address = at(u16::from(c));
            let refused = [
                Refused::Myself,
                Refused::Cluster,
                Refused::NameTaken { address },
            ];
            node.dial_refused(at(port), refused[usize::from(a % 3)], now_ms, 0);
        }
        5 => node.link_out_up(link, at(port), hello(name, generation, port), now_ms),
        6 => node.link_out_down(link, now_ms, 0),
        7 => _ = node.hello_in(link, hello(name, generation, port), now_ms),
        8 => node.link_in_down(link, now_ms),
        9 => {
            let mut one = seen(name, generation, port, lifecycle[usize::from(b % 3)]);
            one.alive = c % 3 > 0;
            one.interest = Some(crate::proto::Mark { seq, digest: 0 });
            node.gossip(vec![one, seen("b", 1, 2, Lifecycle::Ready)], now_ms, 0);
        }
        10 | 11 => _ = node.frame(link, snapshot(seq, &[1, 2]), now_ms),
        12 => {
            let changes = vec![Change::Join(room), Change::Leave(room)];
            _ = node.frame(link, Frame::Delta { from: seq, changes }, now_ms);
        }
        13 => _ = node.frame(link, ack(seq), now_ms),
        14 => _ = node.frame(link, Frame::Resync, now_ms),
        15 => {
            let anew = c % 2 > 0;
            let entries = vec![crate::proto::Reported { key, anew, parts }];
            _ = node.frame(link, Frame::Report { entries }, now_ms);
        }
        16 => node.count(key, parts, now_ms),
        17 | 18 => _ = node.next_frame(link, now_ms),
        _ => _ = node.tick(now_ms, seq),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever the edge says in whatever order, nothing panics, slots and links that are told fit
    /// together, and a floor that was shown stays.
    #[test]
    fn any_edge_is_borne(
        said in collection::vec((any::<u8>(), any::<[u8; 3]>(), 0..400_u64), 1..150),
    ) {
        let mut node = Node::with_rules(settings("a", 1, true), 0, Rules::default());
        let (mut now_ms, mut told, mut covered) = (0, 0_u64, 0);
        for (what, with, later_ms) in said {
            now_ms += later_ms;
            say(&mut node, what, with, now_ms);
            for action in node.actions() {
                match action {
                    Action::PeerUp { slot, .. } => told |= 1 << slot,
                    Action::PeerDown { slot, .. } => told &= !(1 << slot),
                    Action::Linked { slot, .. } => prop_assert!(told & (1 << slot) != 0),
                    _ => {}
                }
            }
            prop_assert_eq!(told, node.everyone());
            prop_assert_eq!(node.route(&[RoomKey(1)]) & !told, 0);
            let floor = node.floor().min(node.seq());
            prop_assert!(floor >= covered);
            covered = floor;
        }
        let next_ms = node.tick(now_ms, 0);
        prop_assert!((now_ms + 1..=now_ms + TICK_MS).contains(&next_ms));
    }
}
