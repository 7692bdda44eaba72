//! Many unmodified JavaScript clients that are cut off and come back to any node, while nodes are
//! killed, stopped, restarted and parted: each gets each trade once and in order, or is told that
//! it may have missed some. `tests/clients/nothing-lost.mjs` counts.
//!
//! Each story has a short form for every run and a long one for `tests/run --long`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidings_tests::node::API_KEY;
use tidings_tests::{Cluster, Network, RunningCluster, RunningScript, Script};
use tokio::time::sleep;

/// The clients of one story, and what happens to them.
struct Form {
    clients: u32,
    /// Trades a second, over all users.
    rate: u32,
    /// Seconds between cuts of one client, on average; 0 for none.
    cut: u32,
    /// Seconds before each try to come back.
    offline: f32,
    /// How long the story lasts.
    lasts: Duration,
    /// From one fault to the next, or how long one lasts.
    every: Duration,
}

/// For every run: a few clients, seldom left in peace.
const SHORT: Form = Form {
    clients: 36,
    rate: 40,
    cut: 5,
    offline: 1.0,
    lasts: Duration::from_secs(20),
    every: Duration::from_secs(8),
};

/// As the promise was put; `TIDINGS_SOAK_SECONDS` sets another length.
fn long() -> Form {
    let lasts = std::env::var("TIDINGS_SOAK_SECONDS").map(|it| it.parse().expect("seconds"));
    Form {
        clients: 500,
        rate: 100,
        cut: 15,
        offline: 2.0,
        lasts: Duration::from_secs(lasts.unwrap_or(300)),
        every: Duration::from_secs(30),
    }
}

/// Nobody may be told `false` where there is but one failure at a time.
const STRICT: &[&str] = &["--strict"];

impl Form {
    /// Lets the clients connect; returns when trades flow.
    async fn begin(&self, cluster: &RunningCluster, more: &[&str]) -> RunningScript {
        let mut script = Script::node("nothing-lost.mjs")
            .env("TIDINGS_API_KEY", API_KEY)
            .deadline(self.lasts + Duration::from_secs(180));
        for name in cluster.names() {
            let node = &cluster[name];
            script = script.arg(format!("{},{}", node.public_url(), node.private_url()));
        }
        let options = [
            ("--clients", self.clients.to_string()),
            ("--rate", self.rate.to_string()),
            ("--cut", self.cut.to_string()),
            ("--offline", self.offline.to_string()),
        ];
        for (name, value) in &options {
            script = script.args([name, value.as_str()]);
        }
        let mut script = script.args(more.iter().copied()).start();
        script.says("SUBSCRIBED").await;
        script
    }
}

/// Lets the clients settle; returns the table, of which what must be so is so.
async fn end(mut script: RunningScript, story: &str) -> Value {
    script.tell("end").await;
    let figures = script.says("FIGURES").await;
    eprintln!("{story}: {figures}");
    script.ended().await;
    let figures: Value = serde_json::from_str(&figures).expect("a line of JSON");
    for none in ["repeated", "outOfOrder", "silentlyMissed"] {
        assert_eq!(figures[none], 0, "{figures}");
    }
    assert!(figures["delivered"].as_u64() > Some(0), "{figures}");
    figures
}

/// Nobody was told `false`, and nothing at all was missed, of which nearly all was promised.
fn assert_all_came(figures: &Value) {
    let count = |key: &str| figures[key].as_u64().expect("a number");
    assert!(count("unkept") * 10 < count("emitted"), "{figures}");
    for none in ["toldFalse", "unkeptMissed", "missedWhereToldFalse"] {
        assert_eq!(figures[none], 0, "{figures}");
    }
    assert!(figures["recoveries"].as_u64() > Some(0), "{figures}");
}

async fn started(cluster: Cluster) -> RunningCluster {
    let cluster = cluster
        .config("channels.trades.rooms", json!(["trades:{user}"]))
        .config("channels.trades.class", "recoverable")
        .config("drain.spread", "500ms")
        .start()
        .await;
    cluster.owned_by(&cluster.names()).await;
    cluster
}

async fn three() -> RunningCluster {
    started(Cluster::of(["a", "b", "c"])).await
}

mod clients_that_are_cut_off {
    use super::*;

    #[tokio::test]
    async fn miss_nothing() {
        story(SHORT).await;
    }

    #[tokio::test]
    #[ignore = "five minutes; tests/run --long runs it"]
    async fn miss_nothing_for_minutes() {
        story(long()).await;
    }

    async fn story(form: Form) {
        let cluster = three().await;
        let mut script = form.begin(&cluster, STRICT).await;
        script.meanwhile(sleep(form.lasts)).await;
        assert_all_came(&end(script, "cut off").await);
    }
}

mod nodes_that_are_killed {
    use super::*;

    #[tokio::test]
    async fn take_nothing_with_them() {
        story(three().await, SHORT).await;
    }

    #[tokio::test]
    #[ignore = "five minutes; tests/run --long runs it"]
    async fn take_nothing_with_them_for_minutes() {
        story(three().await, long()).await;
    }

    #[tokio::test]
    async fn one_alone_comes_back_with_everything() {
        story(started(Cluster::of(["a"])).await, SHORT).await;
    }

    /// One after the other, each when what the one before held has its copies again.
    async fn story(mut cluster: RunningCluster, form: Form) {
        let mut script = form.begin(&cluster, STRICT).await;
        let faults = async {
            let (begun, names) = (Instant::now(), cluster.names());
            for name in names.iter().cycle() {
                let killed = Instant::now();
                cluster[name].kill9();
                sleep(form.every / 4).await;
                cluster[name].start_again().await;
                let copied = cluster.owned_by(&names).await;
                eprintln!("{name} was killed; copied {copied:?} after it was back");
                sleep(form.every.saturating_sub(killed.elapsed())).await;
                if begun.elapsed() > form.lasts {
                    break;
                }
            }
        };
        script.meanwhile(faults).await;
        assert_all_came(&end(script, "killed").await);
    }
}

mod a_rolling_restart {
    use super::*;

    #[tokio::test]
    async fn loses_nothing() {
        story(SHORT).await;
    }

    #[tokio::test]
    #[ignore = "minutes; tests/run --long runs it"]
    async fn loses_nothing_of_many_clients() {
        story(long()).await;
    }

    async fn story(form: Form) {
        let mut cluster = three().await;
        let mut script = form.begin(&cluster, STRICT).await;
        let faults = async {
            let names = cluster.names();
            for name in &names {
                cluster[name].restart().await;
                let copied = cluster.owned_by(&names).await;
                eprintln!("{name} was restarted; copied {copied:?} after it was back");
                sleep(form.every / 8).await;
            }
        };
        script.meanwhile(faults).await;
        assert_all_came(&end(script, "restarted").await);
    }
}

mod a_partition {
    use super::*;

    #[tokio::test]
    async fn hides_no_gap() {
        story(SHORT).await;
    }

    #[tokio::test]
    #[ignore = "minutes; tests/run --long runs it"]
    async fn hides_no_gap_after_a_minute() {
        let every = Duration::from_secs(60);
        story(Form { every, ..long() }).await;
    }

    /// Both sides go on, and clients hop between them.
    async fn story(form: Form) {
        let network = Network::of(3);
        let cluster = started(Cluster::of(["a", "b", "c"]).on(&network)).await;
        let mut script = form.begin(&cluster, &[]).await;
        let faults = async {
            sleep(form.every / 4).await;
            network.isolate(2);
            sleep(form.every).await;
            network.heal();
            let healed = cluster.in_step().await;
            let copied = cluster.owned_by(&cluster.names()).await;
            eprintln!("in step {healed:?} after the heal, copied {copied:?} later");
            sleep(form.every / 4).await;
        };
        script.meanwhile(faults).await;
        let figures = end(script, "parted").await;
        assert!(figures["recoveries"].as_u64() > Some(0), "{figures}");
    }
}

mod an_owner_that_is_stopped {
    use super::*;

    #[tokio::test]
    async fn loses_nothing() {
        story(SHORT).await;
    }

    #[tokio::test]
    #[ignore = "a minute; tests/run --long runs it"]
    async fn loses_nothing_after_half_a_minute() {
        story(long()).await;
    }

    async fn story(form: Form) {
        let cluster = three().await;
        let more = [STRICT, &["--timeout", "3"]].concat();
        let mut script = form.begin(&cluster, &more).await;
        let faults = async {
            sleep(form.every / 4).await;
            // Each node owns a third of all slots.
            cluster["a"].freeze();
            sleep(form.every).await;
            cluster["a"].thaw();
            let healed = cluster.in_step().await;
            let copied = cluster.owned_by(&cluster.names()).await;
            eprintln!("in step {healed:?} after it went on, copied {copied:?} later");
            sleep(form.every / 4).await;
        };
        script.meanwhile(faults).await;
        assert_all_came(&end(script, "stopped").await);
    }
}

mod all_clients_of_a_killed_node {
    use super::*;

    #[tokio::test]
    async fn are_back_at_once() {
        story(200).await;
    }

    #[tokio::test]
    #[ignore = "a minute; tests/run --long runs it"]
    async fn are_back_by_the_thousand() {
        story(3000).await;
    }

    async fn story(clients: u32) {
        let mut cluster = three().await;
        let form = Form {
            clients,
            cut: 0,
            offline: 0.2,
            ..SHORT
        };
        let more = [STRICT, &["--together", "--transports", "websocket"]].concat();
        let mut script = form.begin(&cluster, &more).await;
        let faults = async {
            sleep(form.every / 4).await;
            cluster["a"].kill9();
            sleep(form.every).await;
        };
        script.meanwhile(faults).await;
        let figures = end(script, "all at once").await;
        assert_all_came(&figures);
        assert_eq!(figures["recoveries"], clients, "{figures}");
    }
}
