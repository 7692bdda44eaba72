//! Black-box drivers of profile `kit` on three nodes: what a user of Socket.IO's cluster adapters
//! relies on, with the unmodified JavaScript client.

use std::net::UdpSocket;
use std::path::Path;

use futures_util::future::join_all;
use tidings_tests::cluster::new_key;
use tidings_tests::{Conformance, Profile, Script};

const NODES: usize = 3;

/// Three conformance servers that are one cluster.
async fn three(home: &Path) -> Vec<Conformance> {
    let key = home.join("cluster.key");
    std::fs::write(&key, new_key()).expect("the test's folder can be written");
    // Free a moment ago; nobody else is given them that soon.
    let held: Vec<UdpSocket> = (0..NODES)
        .map(|_| UdpSocket::bind("127.0.0.1:0").expect("loopback has free ports"))
        .collect();
    let addresses: Vec<String> = held
        .iter()
        .map(|socket| socket.local_addr().expect("it is bound").to_string())
        .collect();
    drop(held);
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
