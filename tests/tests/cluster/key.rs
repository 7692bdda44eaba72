//! Who is let into a cluster: holders of its key, under its name, one of each node's name.

use serde_json::json;
use tidings_tests::cluster::{member, new_key};
use tidings_tests::{Cluster, RunningCluster, RunningNode, SILENCE, eventually};

async fn one() -> RunningCluster {
    Cluster::of(["a"]).start().await
}

async fn says(node: &RunningNode, what: &str) {
    eventually(&format!("the log says {what:?}"), async || {
        node.log().contains(what)
    })
    .await;
}

/// That `a` has no peer, forwards nothing, and has said so of whom it refused.
async fn nobody_was_let_in(cluster: &RunningCluster) {
    cluster["a"]
        .emit(json!({"broadcast": true, "event": "secret", "data": 1}))
        .await;
    tokio::time::sleep(SILENCE).await;
    let seen = cluster["a"].cluster().await;
    assert_eq!(seen["peers"], json!([]), "{seen:#}");
    assert_eq!(seen["totals"]["forwarded"], 0, "{seen:#}");
    assert!(seen["totals"]["refused"].as_u64() > Some(0), "{seen:#}");
}

#[tokio::test]
async fn a_node_with_another_key_gets_nothing() {
    let cluster = one().await;
    let seed = json!([cluster["a"].cluster_address()]);
    let stranger = member("b", &new_key()).config("cluster.seeds", seed);
    // It finds nobody whom it can trust, so it is the first of a cluster of its own.
    let stranger = stranger.start().await;
    says(&cluster["a"], "a node was refused").await;
    nobody_was_let_in(&cluster).await;
    let seen = stranger.cluster().await;
    assert_eq!(seen["peers"], json!([]), "{seen:#}");
    assert_eq!(seen["totals"]["received"], 0, "{seen:#}");
}

#[tokio::test]
async fn a_node_of_another_cluster_is_refused_and_told() {
    let cluster = one().await;
    let other = cluster.newcomer("b").config("cluster.name", "elsewhere");
    let other = other.start().await;
    says(&cluster["a"], "a node was refused").await;
    says(&other, "turned away").await;
    nobody_was_let_in(&cluster).await;
}

#[tokio::test]
async fn a_second_holder_of_a_name_is_refused_and_both_say_so() {
    let cluster = Cluster::of(["a", "b"]).start().await;
    let mut bob = cluster["b"].reader("bob", "x").await;
    let second = cluster.newcomer("b").launch();
    says(&second, "turned away").await;
    says(&cluster["a"], "a node was refused").await;
    assert!(
        !second.log().contains("version="),
        "a node whose name is taken serves clients:\n{}",
        second.log()
    );
    // The first holder is none the worse for it.
    cluster.in_step().await;
    for n in 0..20 {
        cluster["a"]
            .emit(json!({"room": "news:x", "event": "n", "data": n}))
            .await;
        assert_eq!(bob.expect("n").await.args[0], n);
    }
}

#[tokio::test]
#[ignore = "half a minute; tests/run --long runs it"]
async fn a_name_is_free_once_its_holder_is_gone() {
    let mut cluster = Cluster::of(["a", "b"]).start().await;
    let mut second = cluster.newcomer("b").launch();
    says(&second, "turned away").await;
    cluster["b"].kill9();
    second.wait_until_listening().await;
    let mut ben = second.reader("ben", "x").await;
    cluster["a"]
        .emit(json!({"room": "news:x", "event": "n", "data": "again"}))
        .await;
    assert_eq!(ben.expect("n").await.args[0], "again");
}

#[tokio::test]
async fn a_key_takes_anothers_place_while_the_cluster_serves() {
    let mut cluster = Cluster::of(["a", "b"]).start().await;
    let old = cluster.key().to_owned();
    let new = new_key();
    // Trust both and sign with the old one, then sign with the new one, then drop the old one.
    for key in [format!("{old}{new}"), format!("{new}{old}"), new.clone()] {
        for name in ["a", "b"] {
            cluster.change_key(name, &key);
            cluster[name].restart().await;
        }
        cluster.in_step().await;
    }
    let stranger = member("c", &old).config(
        "cluster.seeds",
        json!([
            cluster["a"].cluster_address(),
            cluster["b"].cluster_address()
        ]),
    );
    let stranger = stranger.start().await;
    let seen = stranger.cluster().await;
    assert_eq!(seen["peers"], json!([]), "{seen:#}");
}
