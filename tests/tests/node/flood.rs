//! A flood is joined on its way; nobody's events change order, get lost or come twice for it.

use serde_json::{Value, json};
use tidings_tests::node::API_KEY;
use tidings_tests::{EnginePolling, Node, RawHttp, RunningNode, SioClient};

const LIVE: &str = "[channels.news]\nrooms = [\"news\"]\n[channels.sport]\nrooms = [\"sport\"]\n";
const RECOVERABLE: &str = "[channels.kept]\nrooms = [\"kept\"]\nclass = \"recoverable\"\n";

/// Emits of one flood.
const FLOOD: usize = 4000;

async fn subscribed(node: &RunningNode, user: &str, channels: &[&str]) -> SioClient {
    let session = node.session(user).await;
    let mut client = node.connected(&session).await;
    for channel in channels {
        let answer = client.ask(&format!("subscribe:{channel}"), json!({})).await;
        assert_eq!(answer["ok"], true, "{answer}");
    }
    client
}

/// Sends all lines as one stream, which the node takes as fast as it can.
async fn stream(node: &RunningNode, lines: Vec<Value>) {
    let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let key = format!("Bearer {API_KEY}");
    let headers = [("authorization", &*key)];
    let target = "/api/v1/emit/stream";
    let answer = RawHttp::once(node.private(), "POST", target, &headers, body.as_bytes()).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.text().lines().count(), lines.len());
    assert!(!answer.text().contains("error"), "{}", answer.text());
}

fn emit(room: &str, args: Value) -> Value {
    json!({"room": room, "event": "e", "args": args})
}

/// The numbers of so many events.
async fn numbers(client: &mut SioClient, count: usize) -> Vec<u64> {
    let mut numbers = Vec::new();
    while numbers.len() < count {
        let event = client.expect("e").await;
        numbers.push(event.args[0].as_u64().expect("a number"));
    }
    numbers
}

#[tokio::test]
async fn everybody_gets_all_of_it_once_and_in_order() {
    let node = Node::new().tables(LIVE).start().await;
    let mut one = subscribed(&node, "one", &["news"]).await;
    let mut both = subscribed(&node, "both", &["news", "sport"]).await;
    let polling = Polling::subscribed(&node, "polling", "news").await;
    // Long runs for one room, then single events that change rooms.
    let room = |n: usize| {
        if n < FLOOD / 2 || n.is_multiple_of(3) {
            "news"
        } else {
            "sport"
        }
    };
    let lines = (0..FLOOD).map(|n| emit(room(n), json!([n]))).collect();
    let news: Vec<u64> = (0..FLOOD)
        .filter(|n| room(*n) == "news")
        .map(|n| n as u64)
        .collect();
    let (_, polled) = tokio::join!(stream(&node, lines), polling.numbers(news.len()));
    assert_eq!(numbers(&mut one, news.len()).await, news);
    assert_eq!(polled, news);
    let all: Vec<u64> = (0..FLOOD as u64).collect();
    assert_eq!(numbers(&mut both, FLOOD).await, all, "across rooms, too");
}

/// A client with a `pid` takes an event's last string for its offset; joined or not, it must not
/// find one there.
#[tokio::test]
async fn strings_are_guarded_for_clients_that_can_recover() {
    let node = Node::new().tables(LIVE).tables(RECOVERABLE).start().await;
    let mut with = subscribed(&node, "with", &["news"]).await;
    assert!(with.pid().is_some());
    let session = node.session("without").await;
    let connector = node.client().auth(session.auth()).query("recovery=0");
    let mut without = connector.connect().await.expect("it is let in");
    assert_eq!(without.ask("subscribe:news", json!({})).await["ok"], true);
    let lines = (0..1000).map(|n| match n % 2 {
        0 => emit("news", json!([n, "text"])),
        _ => emit("news", json!([n])),
    });
    stream(&node, lines.collect()).await;
    for n in 0..1000 {
        let (plain, guarded) = (without.expect("e").await.args, with.expect("e").await.args);
        match n % 2 {
            0 => {
                assert_eq!(plain, [json!(n), json!("text")]);
                assert_eq!(guarded, [json!(n), json!("text"), json!(null)]);
            }
            _ => assert_eq!((plain, guarded), (vec![json!(n)], vec![json!(n)])),
        }
    }
    assert_eq!(with.offset(), None);
}

/// A turn of the shard may bring more than an outbox holds. Who reads is no slow reader for it.
#[tokio::test]
async fn of_long_events_closes_nobody_who_reads() {
    let node = Node::new()
        .tables(LIVE)
        .config("limits.outbox", "64KiB")
        .config("limits.payload", "64KiB")
        .start()
        .await;
    let mut one = subscribed(&node, "one", &["news"]).await;
    let mut both = subscribed(&node, "both", &["news", "sport"]).await;
    let filler = "x".repeat(2000);
    let room = |n: usize| match n % 4 {
        0 => "sport",
        _ => "news",
    };
    let lines = (0..FLOOD).map(|n| emit(room(n), json!([n, {"filler": filler}])));
    let lines: Vec<Value> = lines.collect();
    let news: Vec<u64> = (0..FLOOD as u64).filter(|n| n % 4 != 0).collect();
    let all: Vec<u64> = (0..FLOOD as u64).collect();
    let (_, first, second) = tokio::join!(
        stream(&node, lines),
        numbers(&mut one, news.len()),
        numbers(&mut both, FLOOD)
    );
    assert_eq!(first, news);
    assert_eq!(second, all);
}

/// What stands behind an emit in the mailbox takes place behind it: the emit was answered before the
/// leave was asked for.
#[tokio::test]
async fn who_leaves_has_what_came_before() {
    let node = Node::new()
        .tables(LIVE)
        .config("limits.events_per_minute_per_user", 0)
        .start()
        .await;
    let mut client = subscribed(&node, "leaves", &["news"]).await;
    let leave = json!({"sockets": [client.sid()]});
    for n in 0..300 {
        node.emit(emit("news", json!([n]))).await;
        let (status, answer) = node
            .api("POST", "/api/v1/rooms/news/leave", leave.clone())
            .await;
        assert!(status < 300, "{status} {answer}");
        // The acknowledgement's flush begins a rest, in which the next two commands gather.
        assert_eq!(client.ask("subscribe:news", json!({})).await["ok"], true);
        assert_eq!(client.expect("e").await.args[0], n);
    }
}

/// A client over long polling.
struct Polling(EnginePolling);

impl Polling {
    async fn subscribed(node: &RunningNode, user: &str, channel: &str) -> Self {
        let session = node.session(user).await;
        let (engine, _) = EnginePolling::open(node.public(), "/socket.io/").await;
        engine.send(&[&format!("40{}", session.auth())]).await;
        assert!(engine.poll().await[0].starts_with("40"));
        engine
            .send(&[&format!("420[\"subscribe:{channel}\"]")])
            .await;
        assert!(engine.poll().await[0].contains("\"ok\":true"));
        Self(engine)
    }

    async fn numbers(&self, count: usize) -> Vec<u64> {
        let mut numbers = Vec::new();
        while numbers.len() < count {
            for packet in self.0.poll().await {
                match packet.strip_prefix("42[\"e\",") {
                    Some(rest) => {
                        numbers.push(rest.trim_end_matches(']').parse().expect("a number"))
                    }
                    None => self.0.send(&["3"]).await,
                }
            }
        }
        numbers
    }
}
