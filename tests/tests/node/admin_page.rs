//! The admin page as its operator sees it: the real page in headless Chromium, over a cluster with
//! clients and load.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use tidings_tests::{Cluster, Script};

const PASSWORD: &str = "correct horse battery staple";

/// A browser on a busy machine takes its time.
const DEADLINE: Duration = Duration::from_secs(240);

#[tokio::test]
async fn shows_the_cluster_and_acts_on_its_clients() {
    let cluster = Cluster::of(["north", "south"])
        .config("auth.mode", "session")
        .start()
        .await;
    let node = &cluster["north"];
    let (added, said, errors) =
        node.command(&["admin", "add", "root", "--password-stdin"], PASSWORD);
    assert!(added.success(), "{said}{errors}");
    let (alice, bob) = (node.session("alice").await, node.session("bob").await);
    let mut near = node.connected(&alice).await;
    let mut far = cluster["south"].connected(&alice).await;
    let mut bobs = cluster["south"].connected(&bob).await;
    near.ask("subscribe:news", json!({"topic": "alice"})).await;
    let near_id = near.sid().to_owned();

    let mut page = admin_page(node.private_url());
    let load = async {
        loop {
            for price in 0..20 {
                let quote = json!({"user": "carol", "event": "quote", "data": price});
                node.emit(quote).await;
            }
            node.emit(json!({"user": "alice", "event": "quote", "data": 1}))
                .await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let acts = async {
        let id = page.says("DISCONNECTED").await;
        let (first, second) = if id == near_id {
            (&mut near, &mut far)
        } else {
            (&mut far, &mut near)
        };
        first.end().await;
        page.says("GONE alice").await;
        second.end().await;
        page.says("REVOKED bob").await;
        bobs.end().await;
        page.ended().await;
    };
    // The load never ends by itself.
    tokio::select! {
        () = load => {}
        () = acts => {}
    }
}

fn admin_page(url: String) -> tidings_tests::RunningScript {
    let tests = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let screenshots = tests.join("../target/screenshots");
    let mut script = Script::node("browser/admin.mjs")
        .arg(format!("{url}/admin/"))
        .args(["root", PASSWORD])
        .arg(screenshots.to_str().expect("a path in UTF-8"))
        .deadline(DEADLINE);
    if let Ok(folder) = std::env::var("ADMIN_PAGE") {
        script = script.arg(folder);
    }
    script.start()
}
