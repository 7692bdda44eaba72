//! Nodes on a network of their own whose links are cut, healed and made bad. Needs root.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use serde_json::json;
use tidings_tests::{Cluster, Network, Relay, RunningCluster, SioClient, Traffic, eventually};

/// How soon nothing is routed any more to a node that is cut off.
const NOTICED: Duration = Duration::from_secs(3);

/// How soon the nodes are in step after what kept them apart is gone.
const CONVERGED: Duration = Duration::from_secs(5);

/// How soon a node notices that the other end of a link has given the link up while nothing of what
/// it sent arrived: QUIC tries again ever more seldom, until the link's own time is over.
const GIVEN_UP: Duration = Duration::from_secs(12);

async fn three(network: &Network) -> RunningCluster {
    Cluster::of(["a", "b", "c"]).on(network).start().await
}

/// An emit at each node reaches clients at all nodes.
async fn all_reach_all(cluster: &RunningCluster, clients: &mut [SioClient]) {
    for name in cluster.names() {
        cluster[name]
            .emit(json!({"room": "news:x", "event": "all", "data": name}))
            .await;
        for client in &mut *clients {
            let event = loop {
                let event = client.next_event().await;
                if event.name == "all" {
                    break event;
                }
            };
            assert_eq!(event.args[0], name);
        }
    }
}

async fn readers(cluster: &RunningCluster) -> Vec<SioClient> {
    let mut clients = Vec::new();
    for name in cluster.names() {
        clients.push(cluster[name].reader(&format!("of-{name}"), "x").await);
    }
    clients
}

#[tokio::test]
async fn a_node_that_is_cut_off_comes_back_in_step() {
    cut_off_for(Duration::from_secs(8)).await;
}

#[tokio::test]
#[ignore = "takes a minute; tests/run --long runs it"]
async fn a_node_that_is_cut_off_for_a_minute_comes_back_in_step() {
    cut_off_for(Duration::from_secs(60)).await;
}

async fn cut_off_for(time: Duration) {
    let network = Network::of(3);
    let cluster = three(&network).await;
    let mut clients = readers(&cluster).await;
    let steady = Traffic::start(&cluster, &["a", "b"], &["a", "b"], 100).await;
    let begun = Instant::now();
    network.isolate(2);
    for (by, peer) in [("a", "c"), ("b", "c"), ("c", "a"), ("c", "b")] {
        cluster.seen(by, peer, false).await;
    }
    let noticed = begun.elapsed();
    assert!(noticed < NOTICED, "{noticed:?}");
    assert!(network.dropped() > 0);
    // Both sides go on for themselves, and change.
    let mut there = cluster["c"].reader("there", "island").await;
    let mut here = cluster["a"].reader("here", "mainland").await;
    cluster["c"]
        .emit(json!({"room": "news:island", "event": "e", "data": 1}))
        .await;
    there.expect("e").await;
    clients.remove(1).disconnect().await;
    tokio::time::sleep(time.saturating_sub(begun.elapsed())).await;
    network.heal();
    let took = cluster.in_step().await;
    eprintln!("cut off for {time:?}: noticed after {noticed:?}, in step {took:?} after");
    assert!(took < CONVERGED, "{took:?}");
    clients.push(cluster["b"].reader("again", "x").await);
    all_reach_all(&cluster, &mut clients).await;
    cluster["a"]
        .emit(json!({"room": "news:island", "event": "e", "data": 2}))
        .await;
    assert_eq!(there.expect("e").await.args[0], 2);
    cluster["c"]
        .emit(json!({"room": "news:mainland", "event": "e", "data": 3}))
        .await;
    assert_eq!(here.expect("e").await.args[0], 3);
    steady.stop().await.assert_whole();
}

/// a and b do not hear each other, c hears both: gossip has everybody alive all the while.
#[tokio::test]
async fn a_link_that_is_cut_between_two_is_mended_when_it_can_be() {
    let network = Network::of(3);
    let cluster = three(&network).await;
    let mut clients = readers(&cluster).await;
    network.cut(0, 1);
    // Longer than a link lives that hears nothing.
    for (by, peer) in [("a", "b"), ("b", "a")] {
        eventually("the link is lost", async || {
            cluster[by].sees(peer).await["linked"] == false
        })
        .await;
        assert_eq!(cluster[by].sees(peer).await["alive"], true);
    }
    // The third sees both; each of the two still reaches it.
    for (from, at) in [("a", 2), ("b", 2), ("c", 0), ("c", 1)] {
        cluster[from]
            .emit(json!({"room": "news:x", "event": "e", "data": from}))
            .await;
        let event = loop {
            let event = clients[at].next_event().await;
            if event.args[0] == from {
                break event;
            }
        };
        assert_eq!(event.name, "e");
    }
    network.heal();
    let took = cluster.in_step().await;
    eprintln!("in step {took:?} after the link was mended");
    assert!(took < CONVERGED, "{took:?}");
    all_reach_all(&cluster, &mut clients).await;
}

#[tokio::test]
#[ignore = "half a minute; tests/run --long runs it"]
async fn a_link_that_is_cut_one_way_is_mended_when_it_can_be() {
    let network = Network::of(3);
    let cluster = three(&network).await;
    let mut clients = readers(&cluster).await;
    network.cut_one_way(0, 2);
    // What a says to c is lost, so that c loses a's link, of which a learns nothing.
    eventually("c does not hear a", async || {
        cluster["c"].sees("a").await["heard"] == false
    })
    .await;
    assert_eq!(cluster["a"].sees("c").await["heard"], true);
    network.heal();
    let took = cluster.in_step().await;
    eprintln!("in step {took:?} after the link was mended");
    assert!(took < GIVEN_UP, "{took:?}");
    all_reach_all(&cluster, &mut clients).await;
}

#[tokio::test]
async fn loss_and_delay_lose_and_double_nothing() {
    const DELAY: Duration = Duration::from_millis(20);
    let network = Network::of(3);
    let bridge = IpAddr::from(network.bridge());
    let mut relays = Vec::new();
    for place in 0..3 {
        let to = SocketAddr::from((network.address(place), 7946));
        relays.push(Relay::new(bridge, to, DELAY).await);
    }
    let addresses: Vec<String> = relays.iter().map(|it| it.address().to_string()).collect();
    let cluster = Cluster::of(["a", "b", "c"])
        .on(&network)
        .reached_at(&addresses);
    let cluster = cluster.start().await;
    network.lose(5);
    let all = cluster.names();
    let traffic = Traffic::start(&cluster, &all, &all, 150).await;
    tokio::time::sleep(Duration::from_secs(8)).await;
    let tally = traffic.stop().await;
    let round_trip = cluster["a"].sees("b").await["roundTripMs"].as_f64();
    eprintln!(
        "{tally:?}, {} datagrams lost, round trip {round_trip:?} ms",
        network.dropped()
    );
    assert!(network.dropped() > 20);
    assert!(round_trip > Some(39.0), "{round_trip:?}");
    tally.assert_whole();
    for name in all {
        let seen = cluster[name].cluster().await;
        assert_eq!(seen["totals"]["dropped"], 0, "{seen:#}");
    }
}
