//! Connection state recovery: what was missed comes once and in order, or `recovered` is false.

use std::time::Duration;

use serde_json::{Value, json};
use tidings_tests::node::API_KEY;
use tidings_tests::sio::Recovery;
use tidings_tests::{Node, RunningNode, SILENCE, Script, SessionCreds, SioClient, eventually};

async fn subscribed(node: &RunningNode, session: &SessionCreds) -> SioClient {
    let mut client = node.connected(session).await;
    let answer = client.ask("subscribe:trades", Value::Null).await;
    assert_eq!(answer["ok"], true, "{answer}");
    client
}

/// Emits trades numbered from `first`, `count` of them.
async fn trade(node: &RunningNode, first: u64, count: u64) {
    for n in first..first + count {
        let (status, answer) = node
            .api(
                "POST",
                "/api/v1/users/alice/trades/executed",
                json!({"n": n}),
            )
            .await;
        assert_eq!(status, 202, "{answer}");
    }
}

async fn expect_trades(client: &mut SioClient, first: u64, count: u64) {
    for n in first..first + count {
        assert_eq!(
            client.expect("trade:executed").await.args[0],
            json!({"n": n})
        );
    }
}

async fn back(node: &RunningNode, session: &SessionCreds, recovery: &Recovery) -> SioClient {
    node.client()
        .auth(session.auth())
        .recover(recovery)
        .connect()
        .await
        .expect("a valid session connects")
}

#[tokio::test]
async fn gives_what_was_missed_time_and_again() {
    let node = Node::new().start().await;
    let session = node.session("alice").await;
    let mut client = subscribed(&node, &session).await;
    let sid = client.sid().to_owned();
    trade(&node, 0, 2).await;
    expect_trades(&mut client, 0, 2).await;
    let mut next = 2;
    for round in 0..4 {
        let recovery = client.cut();
        trade(&node, next, 5).await;
        client = back(&node, &session, &recovery).await;
        assert!(client.recovered(), "round {round}");
        assert_eq!(client.sid(), sid, "round {round}");
        expect_trades(&mut client, next, 5).await;
        trade(&node, next + 5, 1).await;
        expect_trades(&mut client, next + 5, 1).await;
        next += 6;
    }
    client.silent_for(SILENCE).await;
}

#[tokio::test]
async fn works_with_no_event_received_before_the_drop() {
    let node = Node::new().start().await;
    let session = node.session("alice").await;
    let client = subscribed(&node, &session).await;
    let recovery = client.cut();
    assert_eq!(recovery.offset, None);
    trade(&node, 0, 3).await;
    let mut client = back(&node, &session, &recovery).await;
    assert!(client.recovered());
    expect_trades(&mut client, 0, 3).await;
}

#[tokio::test]
async fn works_across_restarts_and_kills() {
    let mut node = Node::new().start().await;
    let session = node.session("alice").await;
    let mut client = subscribed(&node, &session).await;
    trade(&node, 0, 1).await;
    expect_trades(&mut client, 0, 1).await;
    let mut next = 1;
    for killed in [false, true, false, true] {
        let recovery = client.recovery();
        trade(&node, next, 2).await;
        if killed {
            drop(client);
            node.kill9();
            node.start_again().await;
        } else {
            drop(client);
            node.restart().await;
        }
        trade(&node, next + 2, 2).await;
        client = back(&node, &session, &recovery).await;
        assert!(client.recovered(), "after event {next}, killed: {killed}");
        expect_trades(&mut client, next, 4).await;
        next += 4;
    }
    client.silent_for(SILENCE).await;
}

#[tokio::test]
async fn restores_exactly_the_rooms_it_was_in() {
    let node = Node::new().start().await;
    let session = node.session("alice").await;
    let mut client = subscribed(&node, &session).await;
    assert_eq!(
        client.ask("subscribe:portfolio", Value::Null).await["ok"],
        true
    );
    assert_eq!(
        client.ask("unsubscribe:trades", Value::Null).await["ok"],
        true
    );
    let recovery = client.cut();
    trade(&node, 0, 1).await;
    let path = "/api/v1/users/alice/portfolio";
    node.api("POST", path, json!({"cash": 1})).await;
    let mut client = back(&node, &session, &recovery).await;
    assert!(client.recovered());
    assert_eq!(
        client.expect("portfolio:updated").await.args[0],
        json!({"cash": 1})
    );
    node.api("POST", path, json!({"cash": 2})).await;
    assert_eq!(
        client.expect("portfolio:updated").await.args[0],
        json!({"cash": 2})
    );
    trade(&node, 1, 1).await;
    client.silent_for(SILENCE).await;
}

#[tokio::test]
async fn keeps_live_rooms_out_of_the_replay() {
    let node = Node::new().start().await;
    let session = node.session("alice").await;
    let client = subscribed(&node, &session).await;
    let recovery = client.cut();
    node.emit(json!({"user": "alice", "event": "live", "args": [1]}))
        .await;
    trade(&node, 0, 1).await;
    let mut client = back(&node, &session, &recovery).await;
    expect_trades(&mut client, 0, 1).await;
    node.emit(json!({"user": "alice", "event": "live", "args": [2]}))
        .await;
    assert_eq!(client.expect("live").await.args[0], 2);
}

#[tokio::test]
async fn survives_events_that_end_in_a_string() {
    let node = Node::new().start().await;
    let session = node.session("alice").await;
    let mut client = subscribed(&node, &session).await;
    trade(&node, 0, 1).await;
    expect_trades(&mut client, 0, 1).await;
    // The JavaScript client takes any string at the end for an offset.
    node.emit(json!({"user": "alice", "event": "live", "args": ["not an offset"]}))
        .await;
    client.expect("live").await;
    node.emit(json!({"user": "alice", "event": "live", "args": []}))
        .await;
    client.expect("live").await;
    let recovery = client.cut();
    trade(&node, 1, 2).await;
    let mut client = back(&node, &session, &recovery).await;
    assert!(client.recovered());
    expect_trades(&mut client, 1, 2).await;
}

#[tokio::test]
async fn is_refused_with_an_offset_that_is_not_the_pids_own() {
    let node = Node::new().start().await;
    let session = node.session("alice").await;
    let mut client = subscribed(&node, &session).await;
    trade(&node, 0, 1).await;
    expect_trades(&mut client, 0, 1).await;
    let recovery = client.cut();
    for offset in ["", "nonsense", "AAAA", "é", &"a".repeat(5000)] {
        let bad = Recovery {
            pid: recovery.pid.clone(),
            offset: Some(offset.to_owned()),
        };
        let mut client = back(&node, &session, &bad).await;
        assert!(!client.recovered(), "{offset:?}");
        client.silent_for(Duration::from_millis(50)).await;
    }
    for pid in ["", "nobodys", &"p".repeat(5000)] {
        let bad = Recovery {
            pid: pid.to_owned(),
            offset: recovery.offset.clone(),
        };
        assert!(!back(&node, &session, &bad).await.recovered(), "{pid:?}");
    }
}

#[tokio::test]
async fn is_for_the_user_it_was_given_to() {
    let node = Node::new().start().await;
    let session = node.session("alice").await;
    let mut client = subscribed(&node, &session).await;
    trade(&node, 0, 1).await;
    expect_trades(&mut client, 0, 1).await;
    let recovery = client.cut();
    trade(&node, 1, 1).await;
    let mallory = node.session("mallory").await;
    let mut thief = back(&node, &mallory, &recovery).await;
    assert!(!thief.recovered());
    thief.silent_for(SILENCE).await;
}

#[tokio::test]
async fn checks_the_session_again() {
    let node = Node::new().start().await;
    let session = node.session("alice").await;
    let client = subscribed(&node, &session).await;
    let recovery = client.cut();
    let path = format!("/api/v1/sessions/{}", session.session_id);
    assert_eq!(node.api("DELETE", &path, Value::Null).await.0, 204);
    let error = node
        .client()
        .auth(session.auth())
        .recover(&recovery)
        .connect_error()
        .await;
    assert_eq!(error["data"]["code"], "invalid_session");
}

#[tokio::test]
async fn tells_of_a_gap_instead_of_hiding_it() {
    gap(Node::new().config("recovery.entries_per_room", 10)).await;
}

#[tokio::test]
async fn keeps_of_a_channel_what_that_says() {
    let trades = "[channels.trades]\nrooms = [\"trades:{user}\"]\nclass = \"recoverable\"\n\
                  max_entries = 10\n";
    gap(Node::new().tables(trades)).await;
}

/// A client misses more than the ten trades that are kept.
async fn gap(node: Node) {
    let node = node.start().await;
    let session = node.session("alice").await;
    let mut client = subscribed(&node, &session).await;
    trade(&node, 0, 1).await;
    expect_trades(&mut client, 0, 1).await;
    let recovery = client.cut();
    trade(&node, 1, 50).await;
    // What is beyond the limit is trimmed some times a second.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut client = back(&node, &session, &recovery).await;
    assert!(!client.recovered());
    client.silent_for(SILENCE).await;
    assert_eq!(
        client.ask("subscribe:trades", Value::Null).await["ok"],
        true
    );
    trade(&node, 51, 1).await;
    expect_trades(&mut client, 51, 1).await;
}

#[tokio::test]
async fn ends_with_its_window() {
    let node = Node::new().config("recovery.window", "1s").start().await;
    let session = node.session("alice").await;
    let mut client = subscribed(&node, &session).await;
    trade(&node, 0, 1).await;
    expect_trades(&mut client, 0, 1).await;
    let recovery = client.cut();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert!(!back(&node, &session, &recovery).await.recovered());
}

#[tokio::test]
async fn lasts_beyond_its_window_while_connected() {
    let node = Node::new().config("recovery.window", "1s").start().await;
    let session = node.session("alice").await;
    let client = subscribed(&node, &session).await;
    tokio::time::sleep(Duration::from_millis(3000)).await;
    let recovery = client.cut();
    trade(&node, 0, 1).await;
    let mut client = back(&node, &session, &recovery).await;
    assert!(client.recovered());
    expect_trades(&mut client, 0, 1).await;
}

#[tokio::test]
async fn is_not_after_a_disconnect_of_either_side() {
    let node = Node::new().start().await;
    let session = node.session("alice").await;
    let client = subscribed(&node, &session).await;
    let recovery = client.recovery();
    client.disconnect().await;
    // Its next connection might overtake it.
    eventually("the node knows", async || {
        let (_, alice) = node.api("GET", "/api/v1/users/alice", Value::Null).await;
        alice["connected"] == false
    })
    .await;
    assert!(!back(&node, &session, &recovery).await.recovered());
    let mut client = subscribed(&node, &session).await;
    let recovery = client.recovery();
    node.api("POST", "/api/v1/users/alice/disconnect", json!({}))
        .await;
    client.end().await;
    assert!(!back(&node, &session, &recovery).await.recovered());
}

mod is_not_offered {
    use super::*;

    #[tokio::test]
    async fn to_clients_that_decline() {
        let node = Node::new().start().await;
        let session = node.session("alice").await;
        let mut auth = session.auth();
        auth["recovery"] = json!(false);
        for connector in [
            node.client().auth(auth),
            node.client().auth(session.auth()).query("recovery=0"),
        ] {
            let mut client = connector.connect().await.expect("a valid session connects");
            assert_eq!(client.pid(), None);
            assert_eq!(
                client.ask("subscribe:trades", Value::Null).await["ok"],
                true
            );
            trade(&node, 0, 1).await;
            let event = client.expect("trade:executed").await;
            assert_eq!(event.args, [json!({"n": 0})], "no offset follows");
        }
    }

    #[tokio::test]
    async fn where_no_channel_is_recoverable() {
        let node = Node::new()
            .tables("[channels.news]\nrooms = [\"news\"]\nclass = \"live\"\n")
            .start()
            .await;
        let session = node.session("alice").await;
        let mut client = node.connected(&session).await;
        assert_eq!(client.pid(), None);
        node.emit(json!({"user": "alice", "event": "e", "args": ["text"]}))
            .await;
        assert_eq!(client.expect("e").await.args, [json!("text")]);
    }
}

/// The client's second subscription shows that it has the answer to the first.
async fn eventually_subscribed(node: &RunningNode) {
    eventually("the client is subscribed", async || {
        let (_, room) = node
            .api("GET", "/api/v1/rooms/quote:READY", Value::Null)
            .await;
        room["count"] == 1
    })
    .await;
}

/// Trades go on while the node restarts under a real client, which must see each one once.
async fn real_client(transports: &str) {
    let mut node = Node::new().start().await;
    let session = node.session("alice").await;
    let script = Script::node("recover.mjs")
        .arg(node.public_url())
        .args(["--transports", transports, "--last", "60", "--drops", "3"])
        .env("TIDINGS_SESSION", &session.auth().to_string())
        .env("TIDINGS_API", &node.private_url())
        .env("TIDINGS_API_KEY", API_KEY);
    let script = tokio::spawn(script.run());
    for round in 0..3 {
        // Each restart must be a drop of its own to the client.
        eventually_subscribed(&node).await;
        trade(&node, round * 20, 15).await;
        if round == 1 {
            node.kill9();
            node.start_again().await;
        } else {
            node.restart().await;
        }
        trade(&node, round * 20 + 15, 5).await;
    }
    eventually_subscribed(&node).await;
    trade(&node, 60, 1).await;
    script.await.expect("the script saw each trade once");
}

#[tokio::test]
async fn works_for_the_javascript_client_over_websocket() {
    real_client("websocket").await;
}

#[tokio::test]
async fn works_for_the_javascript_client_over_polling() {
    real_client("polling").await;
}

#[tokio::test]
async fn works_for_the_javascript_client_upgrading() {
    real_client("polling,websocket").await;
}
