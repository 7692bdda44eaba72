//! The admin UI on two nodes: what one shows is of both, what it does is done on both, and a login
//! is known to both.

use serde_json::{Value, json};
use tidings_tests::node::password_hash;
use tidings_tests::{Cluster, RunningNode, SioClient};

const PASSWORD: &str = "of the operator";

/// The settings of every node.
fn settings() -> [(&'static str, Value); 4] {
    [
        ("auth.secrets", json!(["shared by all nodes"])),
        ("admin_ui.enabled", json!(true)),
        ("admin_ui.password_hash", json!(password_hash(PASSWORD))),
        ("admin_ui.mode", json!("development")),
    ]
}

async fn operator(node: &RunningNode, auth: Value) -> SioClient {
    let connecting = node.client().namespace("/admin").auth(auth);
    connecting.connect().await.expect("the login is good")
}

/// The next event of that name that fits.
async fn told(admin: &mut SioClient, name: &str, fits: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    loop {
        let event = admin.next_event().await;
        if event.name == name && fits(&event.args) {
            return event.args;
        }
    }
}

fn ids(sockets: &Value) -> Vec<&str> {
    let sockets = sockets.as_array().expect("a list").iter();
    sockets.filter_map(|socket| socket["id"].as_str()).collect()
}

#[tokio::test]
async fn is_one_for_all_nodes() {
    let cluster = settings()
        .into_iter()
        .fold(Cluster::of(["a", "b"]), |all, (key, value)| {
            all.config(key, value)
        });
    let mut cluster = cluster.start().await;
    let mut alice = cluster["a"].guest("alice").await;
    let mut bob = cluster["b"].guest("bob").await;
    let login = json!({"username": "admin", "password": PASSWORD});
    let mut admin = operator(&cluster["a"], login).await;
    let session = admin.expect("session").await.arg().clone();
    admin.expect("config").await;
    let all = admin.expect("all_sockets").await;
    for id in [alice.sid(), bob.sid(), admin.sid()] {
        assert!(ids(all.arg()).contains(&id), "{id} is not in {all:?}");
    }
    for server in ["a", "b"] {
        let is_of = |args: &[Value]| args[0]["serverId"] == server;
        told(&mut admin, "server_stats", is_of).await;
    }

    // What happens on the other node.
    let carol = cluster["b"].guest("carol").await;
    let is_carol = |args: &[Value]| args[0]["id"] == carol.sid();
    told(&mut admin, "socket_connected", is_carol).await;
    bob.read("x").await;
    let is_bob = |args: &[Value]| args[1] == bob.sid();
    let received = told(&mut admin, "event_received", is_bob).await;
    assert_eq!(received[2], json!(["subscribe:news", {"topic": "x"}]));
    cluster["a"]
        .emit(json!({"room": "news:x", "event": "e", "data": 1}))
        .await;
    let sent = told(&mut admin, "event_sent", |args| {
        args[1] == bob.sid() && args[2][0] == "e"
    });
    assert_eq!(sent.await[2], json!(["e", 1]));

    // What is done on the other node.
    admin
        .emit("_disconnect", json!(["/", false, "news:x"]))
        .await;
    let gone = told(&mut admin, "socket_disconnected", is_bob).await;
    assert_eq!(gone[2], "server namespace disconnect");
    admin.emit("emit", json!(["/", null, "all"])).await;
    alice.expect("all").await;

    // The login, there.
    let mut other = operator(&cluster["b"], json!({"sessionId": session})).await;
    let all = told(&mut other, "all_sockets", |_| true).await;
    assert!(ids(&all[0]).contains(&alice.sid()), "{all:?}");

    // A node that is gone takes its sockets with it.
    cluster["b"].kill9();
    let again = told(&mut admin, "all_sockets", |_| true).await;
    assert!(!ids(&again[0]).contains(&carol.sid()), "{again:?}");
    assert!(ids(&again[0]).contains(&alice.sid()), "{again:?}");
}

#[tokio::test]
async fn shows_a_node_that_comes_later() {
    let settings = settings();
    let cluster = Cluster::of(["a"]);
    let cluster = settings
        .iter()
        .fold(cluster, |all, (key, value)| all.config(key, value.clone()));
    let mut cluster = cluster.start().await;
    let login = json!({"username": "admin", "password": PASSWORD});
    let mut admin = operator(&cluster["a"], login).await;
    let newcomer = settings
        .into_iter()
        .fold(cluster.newcomer("b"), |node, (key, value)| {
            node.config(key, value)
        });
    let newcomer = newcomer.start().await;
    let carol = newcomer.guest("carol").await;
    cluster.add("b", newcomer);
    let (mut figures, mut shown) = (false, false);
    while !(figures && shown) {
        let event = admin.next_event().await;
        match &*event.name {
            "server_stats" => figures |= event.arg()["serverId"] == "b",
            "all_sockets" => shown |= ids(event.arg()).contains(&carol.sid()),
            "socket_connected" => shown |= event.arg()["id"] == carol.sid(),
            _ => {}
        }
    }
}
