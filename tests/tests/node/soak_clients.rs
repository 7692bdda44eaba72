//! Long: many real clients that come and go while the node restarts, is killed, and goes on.

use std::time::{Duration, Instant};

use tidings_tests::node::API_KEY;
use tidings_tests::{Node, Script};

const LASTS: Duration = Duration::from_secs(60);

#[tokio::test]
#[ignore = "long: tests/run --long runs it"]
async fn nobody_misses_a_trade() {
    let mut node = Node::new()
        .config("limits.connections_per_minute_per_ip", 0)
        .config("drain.spread", "500ms")
        .start()
        .await;
    let script = Script::node("soak.mjs")
        .arg(node.public_url())
        .args(["--clients", "40", "--seconds", &LASTS.as_secs().to_string()])
        .env("TIDINGS_API", &node.private_url())
        .env("TIDINGS_API_KEY", API_KEY)
        .deadline(2 * LASTS + Duration::from_secs(60));
    let script = tokio::spawn(script.run());
    // All have subscribed by then; a restart before would be a new connection, not a recovery.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let end = Instant::now() + LASTS.saturating_sub(Duration::from_secs(15));
    let mut round = 0;
    while Instant::now() < end {
        if round % 2 == 0 {
            node.restart().await;
        } else {
            node.kill9();
            node.start_again().await;
        }
        round += 1;
        tokio::time::sleep(Duration::from_secs(4)).await;
    }
    let printed = script.await.expect("nobody missed anything");
    assert!(printed.contains("recoveries"), "{printed}");
}
