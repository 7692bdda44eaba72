//! The unit under a real systemd: watchdog, reload, credentials, sockets, stop.

use std::time::Duration;

use serde_json::Value;
use tidings_tests::sio::{Connector, End};
use tidings_tests::{RawHttp, Script};

use crate::site::{SOON, Site};

#[tokio::test]
#[ignore = "long, and needs root: tests/run --long runs it"]
async fn a_stuck_shard_has_the_node_started_anew_and_nothing_is_missed() {
    let site = Site::new();
    let drop_in = "/etc/systemd/system/tidings.service.d/watchdog.conf";
    // The same with less patience.
    site.machine.write(drop_in, "[Service]\nWatchdogSec=4\n");
    site.systemctl(&["daemon-reload"]);
    site.systemctl(&["start", "tidings"]);
    let alice = site.session("alice").await;
    let mut client = site.trader(&alice).await;
    site.trade("alice", 0).await;
    client.expect("trade:executed").await;
    let recovery = client.cut();
    site.trade("alice", 1).await;

    let id = site.machine.main_process("tidings").to_string();
    let mut holder = Script::python("hold_thread.py")
        .args([&*id, "shard-0"])
        .start();
    holder.says("held").await;
    let ended = "journalctl --unit=tidings | grep -q 'with signal SIGABRT'";
    site.machine.eventually(&["sh", "-c", ended], SOON);
    // Whoever holds a thread is also who has to let the dead process go.
    holder.tell("it is over").await;
    let again = "test $(systemctl show --value -p NRestarts tidings) = 1 && \
                 systemctl is-active tidings";
    site.machine.eventually(&["sh", "-c", again], SOON);
    let journal = site.machine.journal();
    assert!(
        journal.contains("shard-0") && journal.contains("Watchdog timeout"),
        "{journal}"
    );

    let client = Connector::to(&site.public)
        .auth(alice.auth())
        .recover(&recovery);
    let mut client = client.connect().await.expect("a valid session connects");
    assert!(client.recovered());
    assert_eq!(client.expect("trade:executed").await.args[0]["n"], 1);
}

#[tokio::test]
#[ignore = "long, and needs root: tests/run --long runs it"]
async fn a_reload_is_carried_out_or_fails_aloud() {
    let site = Site::started();
    let from_page = async || {
        let headers = [("Origin", "https://a.example")];
        let path = "/socket.io/?EIO=4&transport=polling";
        RawHttp::once(&site.public, "GET", path, &headers, b"")
            .await
            .status
    };
    let id = site.machine.main_process("tidings");
    assert_eq!(from_page().await, 403);
    site.set_raw("origins", "[\"https://a.example\"]");
    site.systemctl(&["reload", "tidings"]);
    assert_eq!(from_page().await, 200);
    site.set_raw("origins", "[\"no origin\"]");
    let refused = site.machine.run(&["systemctl", "reload", "tidings"]);
    assert_ne!(refused.code, 0, "{}", refused.said);
    assert!(
        site.machine.journal().contains("http.origins"),
        "{}",
        site.machine.journal()
    );
    assert_eq!((site.state().as_str(), from_page().await), ("active", 200));
    assert_eq!(
        site.machine.main_process("tidings"),
        id,
        "it was not started anew"
    );
}

#[tokio::test]
#[ignore = "long, and needs root: tests/run --long runs it"]
async fn secrets_are_handed_over_and_seen_by_nobody_else() {
    let site = Site::new();
    let key = site.machine.run(&["tidings", "cluster", "key"]).ok();
    site.machine
        .write("/etc/credstore/tidings.cluster.key", &key);
    site.machine
        .run(&["chmod", "-R", "go=", "/etc/credstore"])
        .ok();
    let address = crate::site::free_address();
    site.set("advertise", &address);
    let text = site.machine.read("/etc/tidings/tidings.toml");
    site.machine.write(
        "/etc/tidings/tidings.toml",
        &text.replace("0.0.0.0:7946", &address),
    );
    site.set("name", "one");
    site.systemctl(&["start", "tidings"]);
    let (status, cluster) = site.api("GET", "/api/v1/cluster", Value::Null).await;
    assert_eq!(status, 200, "{cluster}");
    assert!(cluster.to_string().contains(&address), "{cluster}");
    let secret = key.lines().nth(1).expect("a key has lines");
    assert!(!site.machine.journal().contains(secret));
    let others = [
        "runuser",
        "-u",
        "nobody",
        "--",
        "cat",
        "/run/credentials/tidings.service/cluster.key",
    ];
    assert_ne!(site.machine.run(&others).code, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long, and needs root: tests/run --long runs it"]
async fn systemd_listens_on_a_low_port_and_clients_wait_in_its_queue() {
    let site = Site::new();
    let drop_in = "/etc/systemd/system/tidings.socket.d/port.conf";
    site.machine.write(
        drop_in,
        "[Socket]\nListenStream=\nListenStream=127.0.0.1:443\n",
    );
    site.systemctl(&["daemon-reload"]);
    site.systemctl(&["start", "tidings.socket"]);
    assert_eq!(site.state(), "inactive");
    let low = "127.0.0.1:443";
    // It starts the node, which answers.
    let health = RawHttp::get(low, "/health").await;
    assert!([200, 503].contains(&health.status), "{}", health.text());
    site.machine
        .eventually(&["systemctl", "is-active", "tidings"], SOON);
    // Nobody is turned away while it restarts, and no answer is lost.
    let restart = async {
        let machine = &site.machine;
        tokio::task::block_in_place(|| machine.run(&["systemctl", "restart", "tidings"]).ok());
    };
    let knock = async {
        for _ in 0..200 {
            RawHttp::get(low, "/health").await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let low_knock = tokio::spawn(knock);
    restart.await;
    low_knock.await.expect("each is answered");
    assert_eq!(RawHttp::get(low, "/health").await.status, 200);
}

#[tokio::test]
#[ignore = "long, and needs root: tests/run --long runs it"]
async fn a_stop_drains() {
    let site = Site::started();
    let alice = site.session("alice").await;
    let mut client = site.trader(&alice).await;
    site.systemctl(&["stop", "--no-block", "tidings"]);
    let End::Closed(frame) = client.end().await else {
        panic!("DISCONNECT would keep the client away for good")
    };
    if let Some((code, reason)) = frame {
        assert_eq!((code, reason.as_str()), (1013, "shutting_down"));
    }
    let stopped = "test $(systemctl show --value -p ActiveState tidings) = inactive";
    site.machine.eventually(&["sh", "-c", stopped], SOON);
    assert_eq!(site.machine.property("tidings", "Result"), "success");
    assert!(site.machine.journal().contains("nothing was cut"));
}

#[tokio::test]
#[ignore = "long, and needs root: tests/run --long runs it"]
async fn a_killed_node_comes_back_and_nothing_is_missed() {
    let site = Site::started();
    let alice = site.session("alice").await;
    let mut client = site.trader(&alice).await;
    site.trade("alice", 0).await;
    client.expect("trade:executed").await;
    let recovery = client.cut();
    site.trade("alice", 1).await;
    site.systemctl(&["kill", "--kill-whom=main", "--signal=KILL", "tidings"]);
    let again = "test $(systemctl show --value -p NRestarts tidings) = 1 && \
                 systemctl is-active tidings";
    site.machine.eventually(&["sh", "-c", again], SOON);
    // Under the unit's protection the store must still see that the machine has not crashed.
    let client = Connector::to(&site.public)
        .auth(alice.auth())
        .recover(&recovery);
    let mut client = client.connect().await.expect("a valid session connects");
    assert!(client.recovered());
    assert_eq!(client.expect("trade:executed").await.args[0]["n"], 1);
}
