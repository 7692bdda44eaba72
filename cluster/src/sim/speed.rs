//! What the decisions cost. Run with
//! `cargo test --release -p tidings-cluster sim::speed -- --ignored --nocapture`.

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Instant;

use crate::proto::{Frame, Gossiped, Hello, Lifecycle, LinkId, Node, PROTOCOL, RoomKey, Settings};

fn address(peer: u64) -> SocketAddr {
    ([10, 0, 0, peer as u8], 7946).into()
}

fn node() -> Node {
    let settings = Settings {
        name: "me".into(),
        cluster: "speed".into(),
        generation: 1,
        address: address(0),
        linger_ms: 10_000,
        has_seeds: true,
    };
    Node::new(settings, 0)
}

/// A name as rooms have them; every peer has its own, and one in ten is shared.
fn room(peer: u64, number: u64) -> RoomKey {
    let peer = if number.is_multiple_of(10) { 0 } else { peer };
    RoomKey::of(format!("/\0room:{peer}:{number}").as_bytes())
}

/// A node that is linked with some peers, of which each wants so many rooms.
fn linked(peers: u64, rooms: u64) -> Node {
    let mut node = node();
    let name = |peer: u64| format!("peer{peer}");
    let known = (1..=peers).map(|peer| Gossiped {
        name: name(peer).into(),
        generation: 1,
        address: address(peer),
        lifecycle: Lifecycle::Ready,
        alive: true,
        interest: None,
    });
    node.gossip(known.collect(), 0, 0);
    for peer in 1..=peers {
        let hello = Hello {
            cluster: "speed".into(),
            protocol: PROTOCOL,
            name: name(peer).into(),
            generation: 1,
            address: address(peer),
        };
        let (outbound, inbound) = (LinkId(peer), LinkId(100 + peer));
        node.link_out_up(outbound, address(peer), hello.clone(), 0);
        node.hello_in(inbound, hello, 0).unwrap();
        let keys: Vec<RoomKey> = (0..rooms).map(|number| room(peer, number)).collect();
        for frame in snapshot(&keys) {
            node.frame(inbound, frame, 0).unwrap();
        }
        while node.next_frame(outbound, 0).is_some() {}
    }
    _ = node.actions();
    node
}

fn snapshot(keys: &[RoomKey]) -> Vec<Frame> {
    let mut frames: Vec<Frame> = keys
        .chunks(4096)
        .map(|rooms| Frame::Snapshot {
            seq: keys.len() as u64,
            total: keys.len() as u32,
            first: false,
            last: false,
            rooms: rooms.to_vec(),
        })
        .collect();
    let count = frames.len();
    for (at, frame) in frames.iter_mut().enumerate() {
        if let Frame::Snapshot { first, last, .. } = frame {
            (*first, *last) = (at == 0, at + 1 == count);
        }
    }
    frames
}

fn per_call(what: &str, calls: u64, since: Instant) {
    let ns = since.elapsed().as_nanos() as f64 / calls as f64;
    println!("{what}: {ns:.0} ns");
}

#[test]
#[ignore = "a measurement"]
fn route() {
    for peers in [2, 9] {
        let node = linked(peers, 100_000);
        // Rooms of one peer, of all, and of none, in an order that no cache foresees.
        let asked: Vec<RoomKey> = (0..200_000_u64)
            .map(|number| {
                room(
                    1 + number % (peers + 1),
                    number.wrapping_mul(7919) % 100_000,
                )
            })
            .collect();
        let started = Instant::now();
        let found = asked
            .iter()
            .map(|it| black_box(node.route(&[*it])).count_ones());
        let found: u32 = found.sum();
        per_call(
            &format!("route, {peers} peers of 100k rooms ({found})"),
            200_000,
            started,
        );
    }
}

#[test]
#[ignore = "a measurement"]
fn join_and_leave() {
    for peers in [0, 2, 9] {
        let mut node = linked(peers, 100);
        let keys: Vec<RoomKey> = (0..1_000_000).map(|number| room(0, number)).collect();
        let started = Instant::now();
        keys.iter()
            .for_each(|key| _ = black_box(node.join(*key, 0)));
        per_call(
            &format!("join of a million, {peers} links"),
            1_000_000,
            started,
        );
        let started = Instant::now();
        keys.iter().for_each(|key| node.leave(*key, 0));
        per_call(
            &format!("leave of a million, {peers} links"),
            1_000_000,
            started,
        );
        let started = Instant::now();
        keys.iter()
            .for_each(|key| _ = black_box(node.join(*key, 0)));
        per_call(
            &format!("join within the linger, {peers} links"),
            1_000_000,
            started,
        );
    }
}

#[test]
#[ignore = "a measurement"]
fn snapshot_of_a_million() {
    let mut from = linked(1, 0);
    (0..1_000_000).for_each(|number| _ = from.join(room(0, number), 0));
    // The log is bounded, so the link needs a new snapshot.
    let started = Instant::now();
    let mut frames: Vec<Frame> = from.next_frame(LinkId(1), 0).into_iter().collect();
    println!(
        "first frame of a snapshot of a million: {:?}",
        started.elapsed()
    );
    frames.extend(std::iter::from_fn(|| from.next_frame(LinkId(1), 0)));
    println!("all {} frames: {:?}", frames.len(), started.elapsed());
    let started = Instant::now();
    let bytes: Vec<_> = frames.iter().map(Frame::encode).collect();
    println!("encoded: {:?}", started.elapsed());
    let started = Instant::now();
    let read = bytes
        .into_iter()
        .map(|it| Frame::decode(it).unwrap().unwrap());
    let read: Vec<Frame> = read.collect();
    println!("decoded: {:?}", started.elapsed());
    let mut to = linked(1, 0);
    let started = Instant::now();
    let mut longest = started.elapsed();
    for frame in read {
        let one = Instant::now();
        to.frame(LinkId(101), frame, 0).unwrap();
        longest = longest.max(one.elapsed());
    }
    println!(
        "applied: {:?}, longest frame {longest:?}",
        started.elapsed()
    );
    assert_eq!(to.peers()[0].rooms, 1_000_000);
    println!("a tick then: {:?}", {
        let started = Instant::now();
        to.tick(1, 0);
        started.elapsed()
    });
}

#[test]
#[ignore = "a measurement"]
fn ticks_and_frames() {
    let mut node = linked(9, 100_000);
    let started = Instant::now();
    (1..10_001).for_each(|now_ms| _ = black_box(node.tick(now_ms, 0)));
    per_call("tick, 9 peers", 10_000, started);
    let started = Instant::now();
    for _ in 0..10_000 {
        let ack = Frame::Ack {
            generation: 1,
            seq: 0,
        };
        node.frame(LinkId(101), ack, 20_000).unwrap();
    }
    per_call("a small frame, 9 peers", 10_000, started);
}
