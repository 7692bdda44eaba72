//! A node that lost its disk and comes back from a backup: to the others it is a new one, which is
//! given copies and counted, and whose sessions are those of the others.

use std::fs;

use serde_json::{Value, json};
use tidings_tests::{Cluster, eventually};

#[tokio::test]
async fn a_node_from_a_backup_is_a_new_one() {
    let home = tempfile::tempdir().expect("a temporary folder can be made");
    let file = home.path().join("backup");
    let file = file.to_str().expect("a path in UTF-8");
    let names = ["a", "b", "c"];
    let cluster = Cluster::of(names).config("auth.mode", "session");
    let cluster = cluster.config("channels.trades.rooms", json!(["trades:{user}"]));
    let cluster = cluster.config("channels.trades.class", "recoverable");
    let mut cluster = cluster.start().await;
    cluster.owned_by(&names).await;
    let (stays, ends) = (
        cluster["a"].session("alice").await,
        cluster["a"].session("bob").await,
    );
    let mut client = cluster["c"].connected(&stays).await;
    assert_eq!(
        client.ask("subscribe:trades", Value::Null).await["ok"],
        true
    );
    let trade =
        |number: u32| json!({"room": "trades:alice", "event": "trade:executed", "data": number});
    cluster["a"].emit(trade(1)).await;
    client.expect("trade:executed").await;
    let (status, _, errors) = cluster["c"].command(&["backup", file], "");
    assert!(status.success(), "{errors}");
    let former = cluster["c"].slots().await["node"].clone();

    // What the backup does not know of.
    let path = format!("/api/v1/sessions/{}", ends.session_id);
    assert_eq!(cluster["a"].api("DELETE", &path, Value::Null).await.0, 204);
    cluster["a"].emit(trade(2)).await;
    client.expect("trade:executed").await;
    let recovery = client.cut();
    cluster["c"].kill9();
    fs::remove_dir_all(cluster["c"].data_dir()).expect("its data can be lost");
    let (status, out, errors) = cluster["c"].command(&["restore", file, "--json"], "");
    assert!(status.success(), "{errors}");
    let said: Value = serde_json::from_str(&out).expect("it is JSON");
    assert_eq!(
        (&said["sessionsKept"], &said["formerId"]),
        (&json!(false), &former)
    );
    cluster.owned_by(&["a", "b"]).await;
    // With two of three, both sides of what is kept are there.
    assert_eq!(cluster["a"].emit(trade(3)).await["kept"], true);
    cluster["c"].start_again().await;
    cluster.owned_by(&names).await;
    assert_ne!(cluster["c"].slots().await["node"], former);

    // It knows what the others do: the history, sessions that live, and those that do not.
    let back = cluster["c"].client().auth(stays.auth()).recover(&recovery);
    let mut back = back.connect().await.expect("its session lives");
    assert!(back.recovered(), "the others have it all");
    assert_eq!(back.expect("trade:executed").await.args[0], json!(3));
    let refused = cluster["c"]
        .client()
        .auth(ends.auth())
        .connect_error()
        .await;
    assert_eq!(refused["data"]["code"], "invalid_session", "{refused}");

    let former = former.as_str().expect("a text").to_owned();
    let (status, _, errors) = cluster["c"].command(&["cluster", "forget", &former], "");
    assert!(status.success(), "{errors}");
    for name in names {
        eventually("three nodes are counted", async || {
            let counted = cluster[name].slots().await["counted"].clone();
            counted.as_array().is_some_and(|nodes| nodes.len() == 3)
        })
        .await;
    }
    assert_eq!(cluster["b"].emit(trade(4)).await["kept"], true);
    assert_eq!(back.expect("trade:executed").await.args[0], json!(4));
}
