//! Who asks something is answered while the shard is still writing an event to thousands of others.

use std::net::TcpStream;

use futures_util::{StreamExt, stream};
use serde_json::json;
use tidings_tests::{EngineWs, Node, RunningNode};

const LIVE: &str = "[channels.news]\nrooms = [\"news\"]\n";

/// So many that writing to all of them takes much longer than an answer.
const CLIENTS: usize = 3000;

/// So many of them come at a time: all at once would be another test.
const AT_ONCE: usize = 200;

/// One in so many is looked at while the shard writes.
const WATCHED: usize = 100;

/// A flush may be over before its beginning was noticed, as tests share the machine. An answer that
/// waits for its end comes too late each time.
const TRIES: usize = 20;

/// Clients that a broadcast takes long to reach.
struct Crowd {
    node: RunningNode,
    clients: Vec<EngineWs>,
    /// Second handles to the streams of some, which show what has arrived unread.
    watched: Vec<TcpStream>,
}

#[derive(Clone, Copy)]
enum Question {
    /// An event that asks for an acknowledgement.
    Event,
    /// A WebSocket ping.
    Ping,
}

impl Question {
    /// Asks, and waits for the answer; what comes before it is dropped.
    async fn ask(self, client: &mut EngineWs) {
        match self {
            Question::Event => {
                client.send("420[\"subscribe:news\"]").await;
                while !client.text().await.starts_with("430[{\"ok\":true") {}
            }
            Question::Ping => client.ping().await,
        }
    }
}

impl Crowd {
    async fn gather() -> Crowd {
        let node = Node::new()
            .tables(LIVE)
            .config("auth.mode", "none")
            .config("node.shards", 1)
            .config("engine.ping_interval", "5m")
            .config("limits.events_per_minute_per_user", 0)
            .start()
            .await;
        let coming = stream::iter(0..CLIENTS).map(|_| connected(&node));
        let coming: Vec<_> = coming.buffered(AT_ONCE).collect().await;
        let (mut clients, mut watched) = (Vec::new(), Vec::new());
        for (nth, (client, _, stream)) in coming.into_iter().enumerate() {
            clients.push(client);
            if nth % WATCHED == 0 {
                watched.push(stream);
            }
        }
        Crowd {
            node,
            clients,
            watched,
        }
    }

    /// Asks during a broadcast; tells whether the answer came before all had the event.
    async fn answers_amid_a_broadcast(
        &mut self,
        question: Question,
        asker: &mut EngineWs,
        except: &[&str],
    ) -> bool {
        let emit = json!({"broadcast": true, "except": except, "event": "e"});
        let asking = async {
            while !self.watched.iter().any(has_something) {
                tokio::task::yield_now().await;
            }
            question.ask(asker).await;
            !self.watched.iter().all(has_something)
        };
        let (_, amid) = tokio::join!(self.node.emit(emit), asking);
        for client in &mut self.clients {
            assert_eq!(client.text().await, "42[\"e\"]");
        }
        amid
    }

    async fn answers(&mut self, question: Question, asker: &mut EngineWs, except: &[&str]) -> bool {
        for _ in 0..TRIES {
            if self.answers_amid_a_broadcast(question, asker, except).await {
                return true;
            }
        }
        false
    }
}

/// A client that has joined, its socket's id, and another handle to its stream.
async fn connected(node: &RunningNode) -> (EngineWs, String, TcpStream) {
    let stream = tokio::net::TcpStream::connect(node.public()).await;
    let stream = stream.and_then(tokio::net::TcpStream::into_std);
    let stream = stream.expect("it listens");
    let handle = stream.try_clone().expect("there are files to spare");
    let stream = tokio::net::TcpStream::from_std(stream).expect("it does not block");
    let query = "EIO=4&transport=websocket";
    let client = EngineWs::over(Box::new(stream), node.public(), "/socket.io/", query, &[]).await;
    let mut client = client.expect("a node without limits lets it in");
    client.handshake().await;
    client.send("40").await;
    let answer = client.text().await;
    let id = answer
        .strip_prefix("40{\"sid\":\"")
        .and_then(|rest| rest.strip_suffix("\"}"))
        .unwrap_or_else(|| panic!("an answer without more than an id was due, came {answer}"));
    (client, id.to_owned(), handle)
}

/// Whether bytes have arrived that nobody has read.
fn has_something(stream: &TcpStream) -> bool {
    matches!(stream.peek(&mut [0]), Ok(1..))
}

#[tokio::test]
async fn come_amid_a_flush_to_others() {
    let mut crowd = Crowd::gather().await;
    let (mut asker, id, _) = connected(&crowd.node).await;
    for question in [Question::Event, Question::Ping] {
        assert!(crowd.answers(question, &mut asker, &[&id]).await);
    }
}

/// It does not wait for its turn, which is the last one.
#[tokio::test]
async fn come_amid_a_flush_to_all() {
    let mut crowd = Crowd::gather().await;
    let (mut asker, ..) = connected(&crowd.node).await;
    for question in [Question::Event, Question::Ping] {
        assert!(crowd.answers(question, &mut asker, &[]).await);
    }
}
