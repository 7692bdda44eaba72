//! Sessions are the cluster's: made on one node, honoured on all; ended on one, ended on all.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tidings_tests::node::SessionCreds;
use tidings_tests::sio::{End, Failure};
use tidings_tests::{Cluster, RawHttp, RunningCluster, RunningNode, SioClient, eventually};

const PASSWORD: &str = "correct horse battery";

/// What is promised for the end of a session.
const PROMISED: Duration = Duration::from_secs(2);

const NAMES: [&str; 3] = ["a", "b", "c"];

/// Three nodes that ask for a session.
async fn cluster() -> RunningCluster {
    let cluster = Cluster::of(NAMES).config("auth.mode", "session");
    cluster.start().await
}

/// Two of them; the third comes later.
async fn two() -> RunningCluster {
    let cluster = Cluster::of(["a", "b"]).config("auth.mode", "session");
    cluster.start().await
}

/// The third comes.
async fn third(cluster: &mut RunningCluster) {
    let third = cluster.newcomer("c").config("auth.mode", "session");
    cluster.add("c", third.start().await);
    cluster.in_step().await;
}

/// One client of a session at each node.
async fn everywhere(cluster: &RunningCluster, session: &SessionCreds) -> Vec<SioClient> {
    let clients = NAMES.map(|name| cluster[name].connected(session));
    join_all(clients).await
}

/// All of them are put out in time.
async fn all_end(clients: Vec<SioClient>, begun: Instant) {
    for mut client in clients {
        assert_eq!(client.end().await, End::Disconnected);
    }
    let took = begun.elapsed();
    assert!(took < PROMISED, "the last socket ended after {took:?}");
}

/// No node takes the session any more.
async fn refused_everywhere(cluster: &RunningCluster, session: &SessionCreds) {
    for node in NAMES.map(|name| &cluster[name]) {
        assert_eq!(refusal(node, session).await, "invalid_session");
    }
}

async fn refusal(node: &RunningNode, session: &SessionCreds) -> String {
    let error = node.client().auth(session.auth()).connect_error().await;
    error["data"]["code"].as_str().expect("a code").to_owned()
}

async fn show(node: &RunningNode, session: &SessionCreds) -> u16 {
    let path = format!("/api/v1/sessions/{}", session.session_id);
    node.api("GET", &path, Value::Null).await.0
}

async fn delete(node: &RunningNode, session: &SessionCreds) {
    let path = format!("/api/v1/sessions/{}", session.session_id);
    let (status, answer) = node.api("DELETE", &path, Value::Null).await;
    assert_eq!(status, 204, "{answer}");
}

fn run(node: &RunningNode, args: &[&str], input: &str) {
    let (status, out, error) = node.command(args, input);
    assert!(status.success(), "{args:?}: {out}{error}");
}

async fn post(node: &RunningNode, path: &str, body: Value) -> Value {
    let headers = [("Content-Type", "application/json")];
    let body = body.to_string();
    let answer = RawHttp::once(node.public(), "POST", path, &headers, body.as_bytes()).await;
    assert!(answer.status < 300, "{} {}", answer.status, answer.text());
    answer.json()
}

/// A user of a node's logs in there.
async fn log_in(node: &RunningNode, user: &str) -> SessionCreds {
    run(node, &["user", "add", user, "--password-stdin"], PASSWORD);
    let body = json!({"username": user, "password": PASSWORD});
    let made = post(node, "/auth/login", body).await;
    SessionCreds {
        session_id: made["sessionID"].as_str().expect("an id").to_owned(),
        user_id: user.to_owned(),
    }
}

#[tokio::test]
async fn a_session_that_any_node_made_is_honoured_by_all() {
    let mut cluster = cluster().await;
    let alice = cluster["b"].session("alice").await;
    let bob = log_in(&cluster["a"], "bob").await;
    for session in [&alice, &bob] {
        everywhere(&cluster, session).await;
        for node in NAMES.map(|name| &cluster[name]) {
            assert_eq!(show(node, session).await, 200);
        }
    }
    let auth = json!({"sessionID": alice.session_id, "userId": "mallory"});
    let error = cluster["c"].client().auth(auth).connect_error().await;
    assert_eq!(error["data"]["code"], "user_mismatch");
    // The others have it before anybody comes, whatever becomes of the one that made it.
    let carol = cluster["b"].session("carol").await;
    cluster["b"].kill9();
    cluster["a"].connected(&carol).await;
    cluster["c"].connected(&carol).await;
    cluster["b"].start_again().await;
}

#[tokio::test]
async fn a_node_that_was_not_told_of_a_session_asks_for_it_once() {
    let mut cluster = two().await;
    let alice = cluster["a"].session("alice").await;
    third(&mut cluster).await;
    cluster["c"].connected(&alice).await;
    // It has it from then on.
    cluster["a"].kill9();
    cluster["b"].kill9();
    cluster["c"].connected(&alice).await;
    cluster["c"].restart().await;
    cluster["c"].connected(&alice).await;
    cluster["a"].start_again().await;
    cluster["b"].start_again().await;
}

#[tokio::test]
async fn many_who_come_with_the_same_unknown_session_make_one_question() {
    let debug = Cluster::of(NAMES).config("log.level", "info,tidings=debug");
    let cluster = debug.config("auth.mode", "session").start().await;
    let nobodys = SessionCreds {
        session_id: "nobodys".to_owned(),
        user_id: "alice".to_owned(),
    };
    let node = &cluster["a"];
    let coming = (0..100).map(|_| refusal(node, &nobodys));
    for code in join_all(coming).await {
        assert_eq!(code, "invalid_session");
    }
    let asked = node.log().matches("asking the peers for a session").count();
    // A few, if the hundred took longer than a miss is remembered.
    assert!((1..=5).contains(&asked), "{asked} questions");
    // One that is made meanwhile counts at once.
    let body = json!({"userId": "alice", "sessionID": "nobodys"});
    cluster["b"].session_with(body).await;
    node.connected(&nobodys).await;
}

#[tokio::test]
async fn what_a_silent_node_may_know_is_to_be_tried_again() {
    let cluster = cluster().await;
    let nobodys = SessionCreds {
        session_id: "nobodys".to_owned(),
        user_id: "alice".to_owned(),
    };
    let known = cluster["a"].session("alice").await;
    let node = &cluster["a"];
    cluster["c"].freeze();
    let begun = Instant::now();
    assert_eq!(show(node, &nobodys).await, 503);
    assert!(begun.elapsed() < Duration::from_millis(1_900));
    // No CONNECT_ERROR, which a client takes for final: the transport closes.
    match node.client().auth(nobodys.auth()).connect().await {
        Err(Failure::Closed(_)) => {}
        Err(other) => panic!("a close was due, came {other:?}"),
        Ok(_) => panic!("it was let in"),
    }
    let begun = Instant::now();
    assert_eq!(show(node, &known).await, 200);
    assert!(begun.elapsed() < Duration::from_millis(500));
    node.connected(&known).await;
    // Once it is known to be gone it is not waited for.
    eventually("the silent node is taken for gone", async || {
        show(node, &nobodys).await == 404
    })
    .await;
    cluster["c"].thaw();
}

mod an_end {
    use super::*;

    #[tokio::test]
    async fn by_the_api_reaches_all_nodes() {
        let cluster = cluster().await;
        let alice = cluster["a"].session("alice").await;
        let clients = everywhere(&cluster, &alice).await;
        let begun = Instant::now();
        delete(&cluster["c"], &alice).await;
        all_end(clients, begun).await;
        refused_everywhere(&cluster, &alice).await;
        for node in NAMES.map(|name| &cluster[name]) {
            assert_eq!(show(node, &alice).await, 404);
        }
    }

    #[tokio::test]
    async fn of_all_sessions_of_a_user_reaches_those_of_other_nodes() {
        let mut cluster = two().await;
        let one = cluster["a"].session("alice").await;
        let two = cluster["b"].session("alice").await;
        let bob = cluster["b"].session("bob").await;
        // This node knows none of them.
        third(&mut cluster).await;
        let mut bob_stays = cluster["b"].connected(&bob).await;
        let clients = vec![
            cluster["a"].connected(&one).await,
            cluster["b"].connected(&two).await,
        ];
        let begun = Instant::now();
        let path = "/api/v1/users/alice/sessions";
        let (status, answer) = cluster["c"].api("DELETE", path, Value::Null).await;
        assert_eq!(status, 204, "{answer}");
        all_end(clients, begun).await;
        refused_everywhere(&cluster, &one).await;
        refused_everywhere(&cluster, &two).await;
        bob_stays.silent_for(Duration::from_millis(100)).await;
        // A session of the user that is made afterwards counts everywhere.
        let new = cluster["b"].session("alice").await;
        everywhere(&cluster, &new).await;
    }

    #[tokio::test]
    async fn by_logout_password_or_removal_reaches_all_nodes() {
        let cluster = cluster().await;
        for way in ["logout", "password", "revoke", "removal"] {
            let session = log_in(&cluster["a"], way).await;
            let clients = everywhere(&cluster, &session).await;
            let begun = Instant::now();
            let (first, second) = (&cluster["a"], &cluster["b"]);
            match way {
                "logout" => {
                    let body = json!({"sessionID": session.session_id, "userId": way});
                    post(second, "/auth/logout", body).await;
                }
                "password" => run(first, &["user", "passwd", way, "--password-stdin"], "other"),
                "revoke" => run(second, &["session", "revoke", &session.session_id], ""),
                _ => run(first, &["user", "remove", way], ""),
            }
            all_end(clients, begun).await;
            refused_everywhere(&cluster, &session).await;
        }
    }

    #[tokio::test]
    async fn that_is_set_anew_holds_on_all_nodes() {
        let cluster = cluster().await;
        let alice = cluster["a"].session("alice").await;
        let clients = everywhere(&cluster, &alice).await;
        let soon = json!({"userId": "alice", "sessionID": alice.session_id, "ttl": 2});
        cluster["b"].session_with(soon).await;
        for mut client in clients {
            assert_eq!(client.end().await, End::Disconnected);
        }
        assert_eq!(refusal(&cluster["c"], &alice).await, "expired_session");
        // No other user gets a session that a node elsewhere made.
        let bob = cluster["a"].session("bob").await;
        let body = json!({"userId": "mallory", "sessionID": bob.session_id});
        let (status, _) = cluster["c"].api("POST", "/api/v1/sessions", body).await;
        assert_eq!(status, 409);
    }

    /// The node comes back with a socket and a copy of a session that has ended meanwhile.
    #[tokio::test]
    async fn reaches_a_node_that_was_cut_off() {
        let cluster = cluster().await;
        let alice = cluster["a"].session("alice").await;
        let bob = cluster["a"].session("bob").await;
        let shorter = cluster["a"].session("carol").await;
        let mut sockets = Vec::new();
        for session in [&alice, &bob, &shorter] {
            sockets.push(cluster["c"].connected(session).await);
        }
        cluster["c"].freeze();
        cluster.seen("a", "c", false).await;
        cluster.seen("b", "c", false).await;
        delete(&cluster["a"], &alice).await;
        let path = "/api/v1/users/bob/sessions";
        cluster["b"].api("DELETE", path, Value::Null).await;
        let body = json!({"userId": "carol", "sessionID": shorter.session_id, "ttl": 60});
        cluster["a"].session_with(body).await;
        cluster["c"].thaw();
        cluster.seen("a", "c", true).await;
        let linked = Instant::now();
        all_end(sockets, linked).await;
        cluster.in_step().await;
        refused_everywhere(&cluster, &alice).await;
        refused_everywhere(&cluster, &bob).await;
        everywhere(&cluster, &shorter).await;
    }

    /// Neither the nodes that heard of it nor the one that did not keep it in memory only.
    #[tokio::test]
    async fn reaches_a_node_that_was_down_after_all_others_were_restarted() {
        let mut cluster = cluster().await;
        let alice = cluster["a"].session("alice").await;
        let bob = cluster["a"].session("bob").await;
        cluster["c"].connected(&alice).await;
        // Its copy is on disk by then.
        tokio::time::sleep(Duration::from_secs(1)).await;
        cluster["c"].kill9();
        cluster.seen("a", "c", false).await;
        delete(&cluster["a"], &alice).await;
        cluster["b"].restart().await;
        cluster["a"].restart().await;
        cluster["c"].start_again().await;
        cluster.in_step().await;
        refused_everywhere(&cluster, &alice).await;
        everywhere(&cluster, &bob).await;
    }

    /// Without the daemon, on its store; the others hear of it when it starts.
    #[tokio::test]
    async fn by_the_command_line_of_a_stopped_node_reaches_all() {
        let mut cluster = cluster().await;
        let alice = cluster["a"].session("alice").await;
        let clients = vec![
            cluster["b"].connected(&alice).await,
            cluster["c"].connected(&alice).await,
        ];
        assert!(cluster["a"].term().await.success());
        let args = ["session", "revoke", &alice.session_id];
        run(&cluster["a"], &args, "");
        cluster["a"].start_again().await;
        let begun = Instant::now();
        all_end(clients, begun).await;
        refused_everywhere(&cluster, &alice).await;
    }
}
