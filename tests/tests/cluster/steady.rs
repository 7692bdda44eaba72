//! What a cluster promises while nothing is wrong, or only elsewhere: nothing lost, nothing twice,
//! nobody slower, no client left behind.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidings_tests::node::API_KEY;
use tidings_tests::{Balancer, Cluster, RawHttp, RunningCluster, Script, Traffic, eventually};
use tokio::sync::watch;

mod events {
    use super::*;

    #[tokio::test]
    async fn come_once_and_in_order() {
        // How many a busy machine sends in that time does not matter.
        flow(500, Duration::from_secs(10), 0.1).await;
    }

    #[tokio::test]
    #[ignore = "five minutes; tests/run --long runs it"]
    async fn come_once_and_in_order_for_minutes() {
        flow(2000, Duration::from_secs(300), 0.95).await;
    }

    async fn flow(rate: u32, time: Duration, least: f64) {
        let cluster = Cluster::of(["a", "b", "c"]).start().await;
        let all = cluster.names();
        let traffic = Traffic::start(&cluster, &all, &all, rate).await;
        tokio::time::sleep(time).await;
        let tally = traffic.stop().await;
        eprintln!("{tally:?}");
        tally.assert_whole();
        let wanted = f64::from(rate) * time.as_secs_f64();
        assert!(tally.sent as f64 > wanted * least, "{tally:?} of {wanted}");
        for name in all {
            let seen = cluster[name].cluster().await;
            assert_eq!(seen["totals"]["dropped"], 0, "{seen:#}");
        }
    }
}

mod a_stopped_peer {
    use super::*;

    const CLIENTS: usize = 30;
    const RUNS: usize = 5;
    const EMITS: u32 = 1000;
    const PACE: Duration = Duration::from_millis(5);

    #[tokio::test]
    #[ignore = "two minutes; tests/run --long runs it"]
    async fn slows_no_local_client() {
        let cluster = Cluster::of(["a", "b"]).start().await;
        let _far = cluster["b"].reader("far", "x").await;
        let latencies = Arc::new(Mutex::new(Vec::new()));
        let begun = Instant::now();
        let mut readers = Vec::new();
        for n in 0..CLIENTS {
            let mut client = cluster["a"].reader(&format!("near-{n}"), "x").await;
            let latencies = latencies.clone();
            readers.push(tokio::spawn(async move {
                loop {
                    let event = client.next_event().await;
                    let sent = event.args[0].as_u64().expect("microseconds");
                    let took = begun.elapsed().as_micros() as u64 - sent;
                    latencies.lock().expect("nobody panics with it").push(took);
                }
            }));
        }
        let (mut with, mut without) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            without.push(p99(&cluster, &latencies, begun).await);
            cluster["b"].freeze();
            with.push(p99(&cluster, &latencies, begun).await);
            cluster["b"].thaw();
            cluster.in_step().await;
        }
        readers.iter().for_each(tokio::task::JoinHandle::abort);
        let mut ratios: Vec<f64> = with
            .iter()
            .zip(&without)
            .map(|(with, without)| *with as f64 / *without as f64)
            .collect();
        ratios.sort_by(f64::total_cmp);
        eprintln!("p99 in µs: without {without:?}, with a stopped peer {with:?}: {ratios:.2?}");
        assert!(ratios[RUNS / 2] <= 1.25, "{ratios:?}");
    }

    /// Of what clients of node a get within one run, in microseconds.
    async fn p99(cluster: &RunningCluster, latencies: &Mutex<Vec<u64>>, begun: Instant) -> u64 {
        let all = CLIENTS * EMITS as usize;
        latencies.lock().expect("nobody panics with it").clear();
        let mut http = RawHttp::connect(cluster["a"].private()).await;
        let mut pace = tokio::time::interval(PACE);
        for _ in 0..EMITS {
            pace.tick().await;
            let now = begun.elapsed().as_micros() as u64;
            emit(
                &mut http,
                &json!({"room": "news:x", "event": "t", "data": now}),
            )
            .await;
        }
        eventually("all got all", async || {
            latencies.lock().expect("nobody panics with it").len() == all
        })
        .await;
        let mut latencies = latencies.lock().expect("nobody panics with it");
        latencies.sort_unstable();
        latencies[all * 99 / 100]
    }
}

#[tokio::test]
async fn a_rolling_restart_leaves_no_client_behind() {
    const CLIENTS: u64 = 30;
    let mut cluster = Cluster::of(["a", "b", "c"])
        .config("drain.spread", "500ms")
        .start()
        .await;
    let publics = ["a", "b", "c"].map(|name| cluster[name].public().to_owned());
    let balancer = Balancer::over(&publics.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let script = Script::node("rolling.mjs")
        .arg(balancer.url())
        .args(["--clients", &CLIENTS.to_string()])
        .deadline(Duration::from_secs(90));
    let script = tokio::spawn(script.run());
    all_are_here(&cluster, CLIENTS).await;
    for (name, other) in [("a", "b"), ("b", "c"), ("c", "a")] {
        let (stop, stopped) = watch::channel(false);
        let ticks = tokio::spawn(tick(cluster[other].private().to_owned(), stopped));
        cluster[name].restart().await;
        cluster.in_step().await;
        all_are_here(&cluster, CLIENTS).await;
        let _ = stop.send(true);
        assert!(ticks.await.expect("no emit is refused") > 10);
    }
    // A client may have connected a moment ago and not be subscribed yet: until all have got it.
    let ends = async {
        loop {
            for name in ["a", "b", "c"] {
                let end = json!({"room": "news:all", "event": "end", "data": name});
                cluster[name].emit(end).await;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let printed = tokio::select! {
        printed = script => printed.expect("no client is left behind"),
        () = ends => unreachable!("it has no end"),
    };
    let told: Value = serde_json::from_str(printed.trim()).expect("a line of JSON");
    eprintln!("{told}");
    assert!(told["moves"].as_u64() >= Some(CLIENTS), "{told}");
    assert!(told["ticks"].as_u64() > Some(CLIENTS), "{told}");
}

async fn all_are_here(cluster: &RunningCluster, clients: u64) {
    eventually("all clients are connected", async || {
        let mut here = 0;
        for name in cluster.names() {
            let seen = cluster[name].cluster().await;
            here += seen["node"]["connections"].as_u64().expect("a number");
        }
        here == clients
    })
    .await;
}

/// Emits until it is told to stop; returns how often.
async fn tick(private: String, stopped: watch::Receiver<bool>) -> u32 {
    let mut http = RawHttp::connect(&private).await;
    let mut count = 0;
    while !*stopped.borrow() {
        emit(
            &mut http,
            &json!({"room": "news:all", "event": "tick", "data": count}),
        )
        .await;
        count += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    count
}

async fn emit(http: &mut RawHttp, emit: &Value) {
    let key = format!("Bearer {API_KEY}");
    let headers = [("Authorization", key.as_str())];
    let body = emit.to_string();
    let answer = http
        .request("POST", "/api/v1/emit", &headers, body.as_bytes())
        .await;
    assert_eq!(answer.status, 202, "{}", answer.text());
}
