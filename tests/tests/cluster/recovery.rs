//! Recoverable rooms across nodes: what a client missed comes at whichever node it comes back to,
//! once and in order, whoever died meanwhile; or the client is told that it cannot be proved.

use std::time::Duration;

use serde_json::{Value, json};
use tidings_tests::sio::Connector;
use tidings_tests::{Cluster, Incoming, Network, RunningCluster, RunningNode, SILENCE, SioClient};

const USERS: usize = 12;

async fn three() -> RunningCluster {
    started(Cluster::of(["a", "b", "c"])).await
}

/// A cluster with trades, whose slots have owners.
async fn started(cluster: Cluster) -> RunningCluster {
    let cluster = cluster.config("channels.trades.rooms", json!(["trades:{user}"]));
    let cluster = cluster.config("channels.trades.class", "recoverable");
    let cluster = cluster.start().await;
    cluster.owned_by(&cluster.names()).await;
    cluster
}

/// A client of a user whose trades it is subscribed to.
async fn trader(node: &RunningNode, user: &str) -> SioClient {
    let mut client = node.guest(user).await;
    let answer = client.ask("subscribe:trades", Value::Null).await;
    assert_eq!(answer["ok"], true, "{answer}");
    assert!(client.pid().is_some(), "it may come back");
    client
}

/// Emits a trade as a backend does: again with its id until it is answered.
async fn trade(node: &RunningNode, user: &str, n: usize) -> Value {
    let emit = json!({
        "room": format!("trades:{user}"),
        "event": "trade:executed",
        "data": {"n": n},
        "id": format!("{user} {n}"),
    });
    for _ in 0..100 {
        let (status, answer) = node.api("POST", "/api/v1/emit", emit.clone()).await;
        if status == 202 {
            return answer;
        }
        assert_eq!(status, 503, "{answer}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("trade {n} of {user} is not taken");
}

async fn expect(client: &mut SioClient, trades: std::ops::Range<usize>) {
    for n in trades {
        let event = client.expect("trade:executed").await;
        assert_eq!(event.args[0], json!({"n": n}));
    }
}

/// The client, back at a node with what it had when it was cut.
async fn back(node: &RunningNode, user: &str, recovery: &tidings_tests::Recovery) -> SioClient {
    let client = node.client().auth(json!({"userId": user}));
    let client = client.recover(recovery).connect().await;
    client.expect("it may come in")
}

#[tokio::test]
async fn an_emit_says_who_holds_it() {
    let cluster = three().await;
    for user in 0..USERS {
        let user = format!("u{user}");
        let first = trade(&cluster["a"], &user, 0).await;
        assert_eq!(
            (&first["copies"], &first["kept"]),
            (&json!(2), &json!(true))
        );
        let again = trade(&cluster["b"], &user, 0).await;
        assert_eq!(
            again["offset"], first["offset"],
            "its id is known on every node"
        );
        let path = format!("/api/v1/rooms/trades:{user}/history");
        let (status, history) = cluster["c"].api("GET", &path, Value::Null).await;
        assert_eq!(status, 200, "{history}");
        assert_eq!(history["events"].as_array().expect("a list").len(), 1);
        assert_eq!(history["events"][0]["offset"], first["offset"]);
        assert_eq!(history["events"][0]["args"], json!([{"n": 0}]));
    }
}

#[tokio::test]
async fn a_subscriber_anywhere_gets_each_event_once() {
    let cluster = three().await;
    for user in 0..USERS {
        let user = format!("u{user}");
        let mut at_a = trader(&cluster["a"], &user).await;
        let mut at_b = trader(&cluster["b"], &user).await;
        for (n, node) in ["a", "b", "c"].into_iter().enumerate() {
            trade(&cluster[node], &user, n).await;
        }
        expect(&mut at_a, 0..3).await;
        expect(&mut at_b, 0..3).await;
    }
}

#[tokio::test]
async fn a_client_comes_back_to_another_node() {
    let cluster = three().await;
    for user in 0..USERS {
        let user = format!("u{user}");
        let mut client = trader(&cluster["a"], &user).await;
        trade(&cluster["b"], &user, 0).await;
        expect(&mut client, 0..1).await;
        let mut recovery = client.cut();
        let mut seen = 1;
        for node in ["b", "c", "a"] {
            trade(&cluster["c"], &user, seen).await;
            trade(&cluster["a"], &user, seen + 1).await;
            let mut client = back(&cluster[node], &user, &recovery).await;
            assert!(client.recovered(), "at {node}");
            expect(&mut client, seen..seen + 2).await;
            trade(&cluster["b"], &user, seen + 2).await;
            expect(&mut client, seen + 2..seen + 3).await;
            seen += 3;
            recovery = client.cut();
        }
    }
}

#[tokio::test]
async fn a_client_whose_node_was_killed_misses_nothing() {
    let mut cluster = three().await;
    let mut clients = Vec::new();
    for user in 0..USERS {
        let user = format!("u{user}");
        let mut client = trader(&cluster["a"], &user).await;
        trade(&cluster["b"], &user, 0).await;
        expect(&mut client, 0..1).await;
        clients.push((user, client));
    }
    for (user, _) in &clients {
        trade(&cluster["a"], user, 1).await;
    }
    cluster["a"].kill9();
    for (user, client) in clients {
        let recovery = client.cut();
        trade(&cluster["b"], &user, 2).await;
        let mut client = back(&cluster["c"], &user, &recovery).await;
        assert!(client.recovered(), "{user}");
        expect(&mut client, 1..3).await;
        let last = trade(&cluster["b"], &user, 3).await;
        assert_eq!(last["kept"], true, "two of three are there: {last}");
        expect(&mut client, 3..4).await;
        client.silent_for(SILENCE / 3).await;
    }
    cluster["a"].start_again().await;
    cluster.owned_by(&["a", "b", "c"]).await;
}

#[tokio::test]
async fn what_was_kept_outlives_the_death_of_all() {
    let mut cluster = three().await;
    let mut recoveries = Vec::new();
    for user in 0..USERS {
        let user = format!("u{user}");
        let mut client = trader(&cluster["a"], &user).await;
        trade(&cluster["b"], &user, 0).await;
        expect(&mut client, 0..1).await;
        let answer = trade(&cluster["c"], &user, 1).await;
        assert_eq!(answer["kept"], true);
        recoveries.push((user, client.cut()));
    }
    for name in ["a", "b", "c"] {
        cluster[name].kill9();
    }
    for name in ["a", "b", "c"] {
        cluster[name].start_again().await;
    }
    cluster.owned_by(&["a", "b", "c"]).await;
    for (user, recovery) in recoveries {
        let mut client = back(&cluster["b"], &user, &recovery).await;
        assert!(client.recovered(), "{user}");
        trade(&cluster["c"], &user, 2).await;
        expect(&mut client, 1..3).await;
    }
}

#[tokio::test]
async fn a_rolling_restart_loses_nothing() {
    let mut cluster = three().await;
    let users: Vec<_> = (0..USERS).map(|user| format!("u{user}")).collect();
    let mut recoveries = Vec::new();
    for user in &users {
        let client = trader(&cluster["a"], user).await;
        recoveries.push(client.cut());
    }
    for (seen, (name, other)) in [("a", "b"), ("b", "c"), ("c", "a")].into_iter().enumerate() {
        cluster[name].restart().await;
        cluster.owned_by(&["a", "b", "c"]).await;
        for (user, recovery) in users.iter().zip(&mut recoveries) {
            let answer = trade(&cluster[other], user, seen).await;
            assert_eq!(
                (&answer["copies"], &answer["kept"]),
                (&json!(2), &json!(true))
            );
            let mut client = back(&cluster[name], user, recovery).await;
            assert!(client.recovered(), "{user} at {name}");
            expect(&mut client, seen..seen + 1).await;
            *recovery = client.cut();
        }
    }
}

/// While a peer is stopped, a CONNECT waits for it to know of the client's rooms, and the record may
/// be written again meanwhile, as its slot has another owner.
#[tokio::test]
async fn a_client_that_comes_while_a_node_is_stopped_is_answered_once() {
    let cluster = three().await;
    cluster["c"].freeze();
    let mut clients = tokio::task::JoinSet::new();
    for n in 0..400 {
        let connector = cluster["a"].client();
        clients.spawn(async move { answers(connector, n).await });
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let answers = clients.join_all().await;
    cluster["c"].thaw();
    let answered = answers.iter().filter(|answers| **answers > 0).count();
    assert!(answered > 100, "only {answered} were answered");
    let often = answers.iter().filter(|answers| **answers > 1).count();
    assert_eq!(often, 0, "were answered more than once");
}

/// How often CONNECT is answered.
async fn answers(connector: Connector, n: usize) -> usize {
    let mut ws = connector.engine().await.expect("an engine connection");
    ws.send(format!("40{{\"userId\":\"user{n}\"}}")).await;
    let mut answers = 0;
    let all = async {
        while let Incoming::Text(packet) = ws.recv().await {
            answers += usize::from(packet.starts_with("40"));
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(5), all).await;
    answers
}

#[tokio::test]
async fn what_cannot_be_proved_is_told() {
    let mut cluster = started(Cluster::of(["a", "b"])).await;
    let client = trader(&cluster["a"], "alice").await;
    trade(&cluster["a"], "alice", 0).await;
    let recovery = client.cut();
    for name in ["a", "b"] {
        cluster[name].kill9();
        std::fs::remove_dir_all(cluster[name].data_dir()).expect("it can be removed");
    }
    for name in ["a", "b"] {
        cluster[name].start_again().await;
    }
    cluster.owned_by(&["a", "b"]).await;
    let mut client = back(&cluster["b"], "alice", &recovery).await;
    assert!(!client.recovered());
    client.silent_for(SILENCE).await;
}

/// What a node says by itself is kept only if it is on the side that goes on. Who heard it from the
/// other side has to forget it, or might later prove with it what never happened.
#[tokio::test]
async fn what_the_smaller_side_said_is_void_after_the_heal() {
    let network = Network::of(3);
    let cluster = started(Cluster::of(["a", "b", "c"]).on(&network)).await;
    network.isolate(2);
    cluster.seen("c", "a", false).await;
    cluster.seen("c", "b", false).await;
    let mut client = trader(&cluster["c"], "alice").await;
    assert_eq!(trade(&cluster["c"], "alice", 0).await["kept"], false);
    expect(&mut client, 0..1).await;
    network.heal();
    // Clients take an event's name for an offset, if it has no arguments. It is told when its record
    // is refused, or when its room is cut off before that.
    let void = format!("void {}", client.pid().expect("it has a record"));
    client.expect(&void).await;
    assert_eq!(client.offset(), Some(&*void));
    let recovery = client.recovery();
    client.end().await;
    cluster.in_step().await;
    let mut client = back(&cluster["a"], "alice", &recovery).await;
    assert!(!client.recovered());
    // It is an ordinary client again.
    let answer = client.ask("subscribe:trades", Value::Null).await;
    assert_eq!(answer["ok"], true, "{answer}");
    trade(&cluster["b"], "alice", 1).await;
    expect(&mut client, 1..2).await;
    let client = back(&cluster["b"], "alice", &client.cut()).await;
    assert!(client.recovered());
}
