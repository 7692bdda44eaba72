//! No sticky sessions: what reaches a node that does not hold the connection is carried to the one
//! that does, and neither client nor application can tell.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidings_tests::cluster::new_key;
use tidings_tests::node::API_KEY;
use tidings_tests::port;
use tidings_tests::{
    Balancer, Certificate, Cluster, EnginePolling, EngineWs, Incoming, Node, RawHttp,
    RunningCluster, RunningNode, Script, eventually,
};

const PATH: &str = "/socket.io/";

/// How soon the others stop routing to a node that died.
const NOTICED: Duration = Duration::from_secs(3);

fn three() -> Cluster {
    Cluster::of(["a", "b", "c"])
}

/// Sockets that a node itself has.
async fn held(node: &RunningNode) -> usize {
    let metrics = RawHttp::get(node.private(), "/metrics").await;
    let lines = metrics.text().lines();
    let counts = lines.filter_map(|line| line.strip_prefix("tidings_sockets{")?.rsplit_once(' '));
    counts
        .map(|(_, count)| count.parse::<usize>().expect("a number"))
        .sum()
}

/// A session that one node holds and whose requests go to another, in a namespace already.
async fn joined(holder: &RunningNode, reached: &RunningNode) -> EnginePolling {
    let (session, _) = EnginePolling::open(holder.public(), PATH).await;
    let session = session.at(reached.public());
    session.send(&[r#"40{"userId":"alice"}"#]).await;
    assert!(session.poll().await[0].starts_with("40{"));
    session
}

/// The same over a WebSocket.
async fn tunnelled(holder: &RunningNode, reached: &RunningNode) -> EngineWs {
    let session = joined(holder, reached).await;
    let mut ws = EngineWs::connect(reached.public(), PATH, &session.upgrade_query()).await;
    upgrade(&session, &mut ws).await;
    // The holder has seen the last packet of the upgrade by then.
    is_answered(&mut ws).await;
    ws
}

async fn upgrade(session: &EnginePolling, ws: &mut EngineWs) {
    ws.send("2probe").await;
    assert_eq!(ws.text().await, "3probe");
    assert_eq!(session.poll().await, ["6"], "the client can let polling go");
    ws.send("5").await;
}

async fn is_not_upgraded(session: &EnginePolling, reached: &RunningNode) {
    let query = session.upgrade_query();
    let upgraded = EngineWs::try_connect(reached.public(), PATH, &query, &[]).await;
    let refused = upgraded.err().expect("there is nothing to upgrade");
    assert_eq!(
        (refused.status, &*refused.body),
        (400, "Session ID unknown")
    );
}

/// Asks for something that is acknowledged.
async fn is_answered(ws: &mut EngineWs) {
    ws.send(r#"421["subscribe:news",{"topic":"A"}]"#).await;
    let answer = ws.text_past_pings().await;
    assert!(answer.starts_with(r#"431[{"ok":true"#), "{answer}");
}

async fn is_closed(ws: &mut EngineWs) -> Option<(u16, String)> {
    loop {
        match ws.recv().await {
            Incoming::Closed(frame) => return frame,
            Incoming::Text(_) | Incoming::Binary(_) => {}
        }
    }
}

mod requests {
    use super::*;

    #[tokio::test]
    async fn are_answered_as_by_the_holder() {
        let nodes = three()
            .config("http.origins", json!(["https://a.example"]))
            .start()
            .await;
        let session = joined(&nodes["a"], &nodes["b"]).await;
        let there = nodes["c"].public();
        session
            .send(&[r#"420["subscribe:news",{"topic":"A"}]"#])
            .await;
        assert!(session.at(there).poll().await[0].starts_with("430["));

        // A poll waits at one node while packets come in at another.
        let mut waiting = session.hanging_get().await;
        session
            .at(there)
            .send(&[r#"421["subscribe:news",{"topic":"B"}]"#])
            .await;
        let answer = waiting.response().await.expect("it is answered");
        assert!(answer.text().starts_with("431["), "{answer:?}");

        let headers = |response: tidings_tests::raw_http::Response| -> Vec<String> {
            let named = response
                .headers
                .into_iter()
                .filter(|(name, _)| name != "date");
            named
                .map(|(name, value)| format!("{name}: {value}"))
                .collect()
        };
        let mut seen = Vec::new();
        for node in [&nodes["a"], &nodes["b"]] {
            node.emit(json!({"broadcast": true, "event": "e", "data": 1}))
                .await;
            let origin = [("Origin", "https://a.example")];
            let target = session.target();
            let response = RawHttp::once(node.public(), "GET", &target, &origin, b"").await;
            assert_eq!((response.status, response.text()), (200, r#"42["e",1]"#));
            seen.push(headers(response));
            let refused = [("Origin", "https://b.example")];
            let response = RawHttp::once(node.public(), "GET", &target, &refused, b"").await;
            assert_eq!(response.status, 403);
            let body = b"3";
            let response = RawHttp::once(node.public(), "POST", &target, &origin, body).await;
            assert_eq!((response.status, response.text()), (200, "ok"));
            seen.push(headers(response));
        }
        let allowed = "access-control-allow-origin: https://a.example";
        for headers in &seen {
            assert!(headers.iter().any(|it| it == allowed), "{headers:?}");
        }
        assert_eq!(seen[..2], seen[2..], "one cannot tell by the headers");
    }

    #[tokio::test]
    async fn are_refused_as_by_the_holder() {
        let nodes = three().config("limits.payload", "2KiB").start().await;
        let session = joined(&nodes["a"], &nodes["b"]).await;
        assert_eq!(session.post("4".repeat(3000)).await.status, 413);

        let waiting = session.hanging_get().await;
        // It goes another way than the next, and must be there first.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let second = session.at(nodes["c"].public()).get().await;
        assert_eq!((second.status, second.text()), (400, ""));
        drop(waiting);
        let gone = session.get().await;
        assert_eq!((gone.status, &gone.json()["code"]), (400, &json!(1)));

        let session = joined(&nodes["a"], &nodes["b"]).await;
        assert_eq!(session.post("no packet").await.status, 400);
        let gone = session.get().await;
        assert_eq!((gone.status, &gone.json()["code"]), (400, &json!(1)));
    }

    #[tokio::test]
    async fn of_a_client_that_went_away_end_the_session() {
        let nodes = three().start().await;
        let session = joined(&nodes["a"], &nodes["b"]).await;
        assert_eq!(held(&nodes["a"]).await, 1);
        let waiting = session.hanging_get().await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        drop(waiting);
        eventually("the holder lets it go", async || {
            held(&nodes["a"]).await == 0
        })
        .await;
    }

    #[tokio::test]
    async fn for_a_holder_that_died_are_refused_at_once() {
        let mut nodes = three().start().await;
        let session = joined(&nodes["a"], &nodes["b"]).await;
        let mut waiting = session.hanging_get().await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        nodes["a"].kill9();
        let killed = Instant::now();
        let answer = waiting.response().await.expect("it is answered");
        assert!([400, 503].contains(&answer.status), "{answer:?}");
        assert!(killed.elapsed() < NOTICED, "after {:?}", killed.elapsed());
        eventually("it is known to be gone", async || {
            let asked = Instant::now();
            let answer = session.get().await;
            assert!(asked.elapsed() < Duration::from_secs(1));
            answer.status == 400 && answer.json()["code"] == 1
        })
        .await;
        is_not_upgraded(&session, &nodes["b"]).await;
    }

    #[tokio::test]
    async fn are_not_counted_again() {
        let nodes = three()
            .config("limits.connections_per_minute_per_ip", 1)
            .start()
            .await;
        let session = joined(&nodes["a"], &nodes["b"]).await;
        for _ in 0..5 {
            session.send(&["3"]).await;
        }
        let ws = EngineWs::connect(nodes["b"].public(), PATH, &session.upgrade_query()).await;
        drop(ws);
    }
}

mod websockets {
    use super::*;

    #[tokio::test]
    async fn carry_everything_both_ways() {
        let nodes = three().start().await;
        let mut ws = tunnelled(&nodes["a"], &nodes["b"]).await;
        is_answered(&mut ws).await;
        assert_eq!([held(&nodes["a"]).await, held(&nodes["b"]).await], [1, 0]);

        // Larger than all that may be on its way at once.
        let large = "x".repeat(700_000);
        let emit = json!({"broadcast": true, "event": "large", "data": large});
        nodes["c"].emit(emit).await;
        let packet = ws.text_past_pings().await;
        assert_eq!(packet, format!(r#"42["large","{large}"]"#));
        ws.send(format!(r#"427["no such event","{large}"]"#)).await;
        let answer = ws.text_past_pings().await;
        assert!(answer.starts_with("437["), "{answer}");
        ws.ping().await;
    }

    #[tokio::test]
    async fn are_told_why_they_are_closed() {
        let mut nodes = three().start().await;
        let mut ws = tunnelled(&nodes["a"], &nodes["b"]).await;
        let target = "/api/v1/users/alice/disconnect";
        let (status, _) = nodes["c"].api("POST", target, json!({"close": true})).await;
        assert_eq!(status, 202);
        let frame = is_closed(&mut ws).await.expect("a close frame");
        assert_eq!(frame, (1000, String::new()));

        let mut ws = tunnelled(&nodes["a"], &nodes["b"]).await;
        nodes["a"].signal_term();
        let frame = is_closed(&mut ws).await.expect("a close frame");
        assert_eq!(frame, (1013, "shutting_down".to_owned()));
        assert!(nodes["a"].ended(Duration::from_secs(10)).await.success());
    }

    #[tokio::test]
    async fn end_with_their_client() {
        let nodes = three().start().await;
        let polite = tunnelled(&nodes["a"], &nodes["b"]).await;
        let mut leaving = tunnelled(&nodes["a"], &nodes["b"]).await;
        assert_eq!(held(&nodes["a"]).await, 2);
        polite.cut();
        eventually("the holder lets it go", async || {
            held(&nodes["a"]).await == 1
        })
        .await;
        leaving.send("1").await;
        is_closed(&mut leaving).await;
        assert_eq!(held(&nodes["a"]).await, 0);
    }

    #[tokio::test]
    async fn reach_the_holder_by_every_way_in() {
        let certificate = Certificate::new();
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).expect("it can be written");
            path.to_str().expect("a path in UTF-8").to_owned()
        };
        let nodes = three()
            .config("tls.cert", file("chain.pem", &certificate.chain))
            .config("tls.key", file("key.pem", &certificate.key))
            .start()
            .await;
        let stream = async |node: &RunningNode| certificate.connect(node.public()).await;
        let mut first = RawHttp::over(stream(&nodes["a"]).await, "localhost");
        let open = format!("{PATH}?EIO=4&transport=polling");
        let open = first.request("GET", &open, &[], b"").await;
        let open: Value = serde_json::from_str(&open.text()[1..]).expect("an open packet");
        let sid = open["sid"].as_str().expect("it has a sid");

        let mut second = RawHttp::over(stream(&nodes["b"]).await, "localhost");
        let target = format!("{PATH}?EIO=4&transport=polling&sid={sid}");
        let connect = br#"40{"userId":"alice"}"#;
        assert_eq!(
            second.request("POST", &target, &[], connect).await.status,
            200
        );
        assert!(
            second
                .request("GET", &target, &[], b"")
                .await
                .text()
                .starts_with("40{")
        );
        let query = format!("EIO=4&transport=websocket&sid={sid}");
        let over = stream(&nodes["b"]).await;
        let ws = EngineWs::over(over, "localhost", PATH, &query, &[]).await;
        let mut ws = ws.expect("the upgrade is taken");
        ws.send("2probe").await;
        assert_eq!(ws.text().await, "3probe");
        ws.send("5").await;
        is_answered(&mut ws).await;
        let large = "x".repeat(700_000);
        nodes["c"]
            .emit(json!({"broadcast": true, "event": "large", "data": large}))
            .await;
        assert_eq!(
            ws.text_past_pings().await.len(),
            large.len() + r#"42["large",""]"#.len()
        );
    }

    #[tokio::test]
    async fn may_follow_other_requests_on_a_connection() {
        let nodes = three().start().await;
        let session = joined(&nodes["a"], &nodes["b"]).await;
        let mut http = RawHttp::connect(nodes["b"].public()).await;
        assert_eq!(http.request("GET", "/health", &[], b"").await.status, 200);
        let (stream, rest) = http.into_parts();
        assert!(rest.is_empty());
        let query = session.upgrade_query();
        let ws = EngineWs::over(stream, nodes["b"].public(), PATH, &query, &[]).await;
        let mut ws = ws.expect("the upgrade is taken");
        upgrade(&session, &mut ws).await;
        is_answered(&mut ws).await;
    }

    #[tokio::test]
    async fn for_nobody_are_refused() {
        let nodes = three().start().await;
        let session = joined(&nodes["a"], &nodes["b"]).await;
        session.send(&["1"]).await;
        is_not_upgraded(&session, &nodes["b"]).await;
    }

    #[tokio::test]
    async fn that_are_not_read_hold_up_nobody_else() {
        /// More than links, sockets and outboxes hold for one, and enough to fill a link.
        const EMITS: usize = 200;
        const SLOW: usize = 8;
        let nodes = three().config("limits.outbox", "4MiB").start().await;
        let mut reader = tunnelled(&nodes["a"], &nodes["b"]).await;
        let mut slow = Vec::new();
        for _ in 0..SLOW {
            slow.push(tunnelled(&nodes["a"], &nodes["b"]).await);
        }
        let filler = "x".repeat(100_000);
        let emitting = async {
            for n in 0..EMITS {
                let emit = json!({"broadcast": true, "event": "e", "args": [n, filler]});
                nodes["a"].emit(emit).await;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let reading = async {
            for n in 0..EMITS {
                let packet = reader.text_past_pings().await;
                let due = format!(r#"42["e",{n},"#);
                assert!(
                    packet.starts_with(&due),
                    "{due} was due, came {}",
                    &packet[..20]
                );
            }
        };
        tokio::join!(emitting, reading);
        eventually("the slow ones are gone", async || {
            held(&nodes["a"]).await == 1
        })
        .await;
        is_answered(&mut reader).await;
    }
}

mod nodes {
    use super::*;

    #[tokio::test]
    async fn that_die_take_what_they_carry_with_them() {
        let mut nodes = three().start().await;
        let mut through = tunnelled(&nodes["a"], &nodes["b"]).await;
        let mut held_there = tunnelled(&nodes["b"], &nodes["c"]).await;
        assert_eq!(held(&nodes["a"]).await, 1);
        nodes["b"].kill9();
        let killed = Instant::now();
        is_closed(&mut through).await;
        is_closed(&mut held_there).await;
        assert!(killed.elapsed() < NOTICED, "after {:?}", killed.elapsed());
        eventually("the holder knows", async || held(&nodes["a"]).await == 0).await;
        assert!(killed.elapsed() < NOTICED, "after {:?}", killed.elapsed());
    }

    #[tokio::test]
    async fn that_drain_let_go_of_what_they_carry() {
        let mut nodes = three().start().await;
        let mut through = tunnelled(&nodes["a"], &nodes["b"]).await;
        let session = joined(&nodes["a"], &nodes["b"]).await;
        let mut waiting = session.hanging_get().await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        let began = Instant::now();
        nodes["b"].signal_term();
        is_closed(&mut through).await;
        let answer = waiting.response().await.expect("it is answered");
        assert_eq!(
            (answer.status, &answer.json()["code"]),
            (503, &json!("shutting_down"))
        );
        let status = nodes["b"].ended(Duration::from_secs(10)).await;
        assert!(status.success(), "{status}; its log:\n{}", nodes["b"].log());
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "after {:?}",
            began.elapsed()
        );
        eventually("the holder knows", async || held(&nodes["a"]).await == 0).await;
    }
}

/// Real clients, behind a balancer that sends each TCP connection to the next node.
mod clients {
    use super::*;

    async fn balancer(nodes: &RunningCluster) -> Balancer {
        let publics = nodes.names().into_iter().map(|name| nodes[name].public());
        Balancer::over(&publics.collect::<Vec<_>>()).await
    }

    async fn javascript(transports: &str) {
        let nodes = three().start().await;
        let balancer = balancer(&nodes).await;
        Script::node("carried.mjs")
            .arg(balancer.url())
            .args(["--transports", transports])
            .env("TIDINGS_API", &nodes["a"].private_url())
            .env("TIDINGS_API_KEY", API_KEY)
            .run()
            .await;
    }

    #[tokio::test]
    async fn in_javascript_upgrading() {
        javascript("polling,websocket").await;
    }

    #[tokio::test]
    async fn in_javascript_over_polling() {
        javascript("polling").await;
    }

    /// With a session that one node made, and the channels of the product.
    async fn python(client: &str, transports: &str) {
        let (key, mut nodes) = (new_key(), Vec::<RunningNode>::new());
        for name in ["a", "b", "c"] {
            let node = Node::new();
            let key = node.file("cluster.key", &key);
            let seeds: Vec<&str> = nodes.iter().map(RunningNode::cluster_address).collect();
            let node = node
                .config("node.name", name)
                .config("cluster.key", key)
                .config("cluster.listen", port::address())
                .config("cluster.seeds", json!(seeds));
            nodes.push(node.start().await);
        }
        let publics: Vec<&str> = nodes.iter().map(RunningNode::public).collect();
        let balancer = Balancer::over(&publics).await;
        let session = nodes[0].session("alice").await;
        Script::python("session.py")
            .arg(balancer.url())
            .args(["--client", client, "--transports", transports])
            .env("TIDINGS_SESSION", &session.auth().to_string())
            .env("TIDINGS_API", &nodes[1].private_url())
            .env("TIDINGS_API_KEY", API_KEY)
            .run()
            .await;
    }

    #[tokio::test]
    async fn in_python_upgrading() {
        python("asyncio", "polling,websocket").await;
    }

    #[tokio::test]
    async fn in_python_over_polling() {
        python("threads", "polling").await;
    }

    #[tokio::test]
    async fn come_back_from_nodes_that_die() {
        let mut nodes = three().start().await;
        let balancer = balancer(&nodes).await;
        let script = Script::node("carried.mjs")
            .arg(balancer.url())
            .args(["--transports", "polling,websocket", "--lasts", "12"])
            .env("TIDINGS_API", &nodes["a"].private_url())
            .env("TIDINGS_API_KEY", API_KEY);
        let script = tokio::spawn(script.run());
        tokio::time::sleep(Duration::from_secs(4)).await;
        nodes["c"].kill9();
        let printed = script.await.expect("all came back");
        assert!(!printed.contains(" 0 came back"), "{printed}");
    }
}
