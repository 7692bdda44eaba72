//! Black-box drivers of profile `kit` on three nodes: what a user of Socket.IO's cluster adapters
//! relies on, with the unmodified JavaScript client.

use std::path::Path;

use futures_util::future::join_all;
use tidings_tests::cluster::new_key;
use tidings_tests::{Conformance, Profile, Script, port};

const NODES: usize = 3;

/// Three conformance servers that are one cluster.
async fn three(home: &Path) -> Vec<Conformance> {
    let key = home.join("cluster.key");
    std::fs::write(&key, new_key()).expect("the test's folder can be written");
    let addresses: Vec<String> = (0..NODES).map(|_| port::address()).collect();
    let nodes = addresses.iter().enumerate().map(|(n, address)| {
        let file = home.join(format!("node-{n}.toml"));
        let config = format!(
            "[node]\nname = \"node-{n}\"\ndata_dir = {:?}\n[auth]\nmode = \"none\"\n\
             [cluster]\nkey = {key:?}\nlisten = {address:?}\nseeds = {addresses:?}\n",
            home.join(format!("data-{n}"))
        );
        std::fs::write(&file, config).expect("the test's folder can be written");
        async move {
            let file = file.to_str().expect("a path in UTF-8");
            Conformance::start_with(Profile::Kit, &["--config", file]).await
        }
    });
    join_all(nodes).await
}

async fn driven(transports: &str) {
    let home = tempfile::tempdir().expect("a temporary folder can be made");
    let servers = three(home.path()).await;
    let mut script = Script::node("kit-cluster.mjs").args(["--transports", transports]);
    for server in &servers {
        script = script.arg(server.url());
    }
    script.run().await;
}

#[tokio::test]
async fn over_websocket() {
    driven("websocket").await;
}

#[tokio::test]
async fn upgrading() {
    driven("polling,websocket").await;
}
