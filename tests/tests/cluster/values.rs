//! Conflated rooms across nodes: a first subscriber gets the value that was accepted last anywhere.

use std::time::Duration;

use serde_json::{Value, json};
use tidings_tests::{Cluster, RunningCluster, SILENCE, SioClient};

async fn two() -> RunningCluster {
    let cluster = Cluster::of(["a", "b"]);
    let cluster = cluster.config("channels.prices.rooms", json!(["price:{item}"]));
    let cluster = cluster.config("channels.prices.class", "conflated");
    let cluster = cluster.config("channels.prices.params.item", json!({}));
    cluster.start().await
}

async fn price(cluster: &RunningCluster, at: &str, value: u64) {
    let emit = json!({"room": "price:x", "event": "price", "data": value});
    cluster[at].emit(emit).await;
}

async fn subscribe(client: &mut SioClient) {
    let answer = client.ask("subscribe:prices", json!({"item": "x"})).await;
    assert_eq!(answer["ok"], true, "{answer}");
}

/// The values that come until nothing more does.
async fn values(client: &mut SioClient) -> Vec<Value> {
    let mut values = Vec::new();
    while let Ok(event) = tokio::time::timeout(3 * SILENCE, client.next_event()).await {
        values.push(event.args[0].clone());
    }
    values
}

mod a_first_subscriber_on_a_node {
    use super::*;

    #[tokio::test]
    async fn gets_the_value_that_another_node_accepted() {
        let cluster = two().await;
        price(&cluster, "a", 1).await;
        let mut bob = cluster["b"].guest("bob").await;
        subscribe(&mut bob).await;
        assert_eq!(values(&mut bob).await, [1]);
    }

    #[tokio::test]
    async fn never_gets_an_older_one_after_a_newer() {
        let cluster = two().await;
        price(&cluster, "a", 1).await;
        // Clocks of nodes need not agree, but a later emit is later by more than they are measured.
        tokio::time::sleep(Duration::from_millis(50)).await;
        price(&cluster, "b", 2).await;
        for (node, user) in [("a", "alice"), ("b", "bob")] {
            let mut client = cluster[node].guest(user).await;
            subscribe(&mut client).await;
            let values = values(&mut client).await;
            assert_eq!(values.last(), Some(&json!(2)), "{node}: {values:?}");
            assert!(
                values.is_sorted_by_key(|value| value.as_u64()),
                "{node}: {values:?}"
            );
        }
    }
}

mod a_later_subscriber {
    use super::*;

    #[tokio::test]
    async fn gets_the_value_at_once() {
        let cluster = two().await;
        let mut bob = cluster["b"].guest("bob").await;
        subscribe(&mut bob).await;
        price(&cluster, "a", 1).await;
        assert_eq!(bob.expect("price").await.args[0], 1);
        let mut carol = cluster["b"].guest("carol").await;
        subscribe(&mut carol).await;
        assert_eq!(values(&mut carol).await, [1]);
    }
}
