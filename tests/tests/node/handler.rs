//! The daemon as a library with a handler of one's own: what one that panics costs, and how what it
//! leaves to the control plane waits.

use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::Response;
use serde_json::json;
use tempfile::TempDir;
use tidings::app::handler::{
    Admission, BoxFuture, ClientEvent, ConnectRequest, Effect, Handler, NamespaceRules, Refusal,
    SocketContext,
};
use tidings::config::Config;
use tidings::event::{EmitRequest, Event, RoomClass};
use tidings::gateway::{self, Application, Extras, Gateway};
use tidings::http::public::{PublicRequest, Routes};
use tidings::node::Node;
use tidings_tests::sio::Connector;
use tidings_tests::{EngineWs, SioClient, eventually};
use tokio::sync::watch;

/// More than the control plane has under way and in its queue.
const FLOOD: usize = 6000;

/// The room of those whose answers settle.
const ROOM: &str = "settled";

/// Echoes, unless an event's name tells it to panic, or to answer later.
#[derive(Default)]
struct Obedient {
    /// How long it takes to let a client in.
    admission: Duration,
    /// The CONNECT payloads that it was asked about.
    asked: Mutex<Vec<String>>,
    /// True when it is time for the answers that are to come later.
    time: watch::Sender<bool>,
}

impl Obedient {
    fn asked(&self) -> Vec<String> {
        let asked = self.asked.lock().expect("nobody panics with it");
        asked.clone()
    }
}

impl Handler for Obedient {
    fn namespace(&self, name: &str) -> Option<NamespaceRules> {
        (name == "/").then_some(NamespaceRules { recoverable: false })
    }

    fn class(&self, _namespace: &str, _room: &str) -> RoomClass {
        RoomClass::Live
    }

    fn connect(&self, request: ConnectRequest) -> BoxFuture<Result<Admission, Refusal>> {
        let auth = request.auth.map(|auth| auth.get().to_owned());
        let mut asked = self.asked.lock().expect("nobody panics with it");
        asked.push(auth.unwrap_or_default());
        let time = self.admission;
        Box::pin(async move {
            tokio::time::sleep(time).await;
            Ok(Admission::default())
        })
    }

    fn event(&self, context: &mut SocketContext<'_>, event: ClientEvent<'_>) {
        assert_ne!(event.event.name, "panic", "as it was told to");
        let args = event
            .event
            .args
            .iter()
            .map(|arg| (*arg).to_owned())
            .collect();
        let Some(id) = event.ack else {
            return;
        };
        let answer = Effect::Ack {
            id,
            args,
            attachments: Vec::new(),
        };
        let mut time = self.time.subscribe();
        let work: BoxFuture<Vec<Effect>> = match &*event.event.name {
            "later" | "settled" => Box::pin(async move {
                let _ = time.wait_for(|is_now| *is_now).await;
                vec![answer]
            }),
            "settled panic" => Box::pin(async { panic!("as it was told to") }),
            _ => return context.ask(answer),
        };
        if event.event.name == "later" {
            return context.ask(Effect::Later(work));
        }
        context.ask(Effect::Join(ROOM.into()));
        context.ask(Effect::Settled {
            rooms: vec![ROOM.into()],
            work,
        });
    }
}

/// No routes of its own.
struct Nothing;

impl Routes for Nothing {
    fn has(&self, _path: &str) -> bool {
        false
    }

    fn answer(
        &self,
        _node: Arc<Node>,
        _: PublicRequest,
    ) -> BoxFuture<Response<Full<bytes::Bytes>>> {
        Box::pin(async { Response::default() })
    }
}

/// A node that obeys.
struct Served {
    handler: Arc<Obedient>,
    gateway: Gateway,
    address: String,
    /// Goes after the node that uses it.
    _folder: TempDir,
}

impl Served {
    async fn new(handler: Obedient, configure: impl FnOnce(&mut Config)) -> Served {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let mut config = Config::default();
        config.node.data_dir = folder.path().to_owned();
        config.node.shards = 1;
        config.limits.connections_per_minute_per_ip = 0;
        configure(&mut config);
        let handler = Arc::new(handler);
        let application = async |_| {
            Ok(Application {
                handler: handler.clone(),
                routes: Arc::new(Nothing),
                admin_ui: None,
            })
        };
        let gateway = gateway::build(&config, Extras::default(), application).await;
        let gateway = gateway.expect("a node can be built in an empty folder");
        let listener = gateway::bind("test", "127.0.0.1:0".parse().expect("an address")).await;
        let listener = listener.expect("the system has a port");
        let address = listener
            .local_addr()
            .expect("a bound listener has an address");
        gateway.accept(listener).expect("a thread can be started");
        gateway.ready();
        Served {
            handler,
            gateway,
            address: address.to_string(),
            _folder: folder,
        }
    }

    async fn connect(&self) -> SioClient {
        let connected = Connector::to(&self.address).connect().await;
        connected.unwrap_or_else(|failure| panic!("it connects: {failure:?}"))
    }

    /// A connection, and the place that its id begins with: node and shard.
    async fn open(&self) -> (EngineWs, String) {
        let (client, handshake) = EngineWs::open(&self.address, "/socket.io/").await;
        let id = handshake["sid"].as_str().expect("an id");
        (client, id[..8].to_owned())
    }

    /// The same, joined under a name.
    async fn joined(&self, name: &str) -> (EngineWs, String) {
        let (mut client, place) = self.open().await;
        client.send(format!("40{{\"name\":\"{name}\"}}")).await;
        assert!(client.text_past_pings().await.starts_with("40{"));
        (client, place)
    }

    async fn end(self) {
        assert!(self.gateway.drain().await.is_clean());
    }

    fn is_time(&self, is_now: bool) {
        self.handler.time.send_replace(is_now);
    }
}

/// Asks for answers that are to come later; returns when the shard has taken in all of it.
async fn ask_later(client: &mut EngineWs, ids: Range<usize>) {
    for id in ids {
        client.send(format!("42{id}[\"later\"]")).await;
    }
    client.send("420[\"echo\"]").await;
    assert_eq!(client.text_past_pings().await, "430[]");
}

/// Waits for these answers, in any order.
async fn answered(client: &mut EngineWs, ids: Range<usize>) {
    let mut wanted: std::collections::HashSet<_> = ids.map(|id| format!("43{id}[]")).collect();
    while !wanted.is_empty() {
        let answer = client.text_past_pings().await;
        assert!(wanted.remove(&answer), "nobody waits for {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn that_panics_costs_its_own_connection_only() {
    let served = Served::new(Obedient::default(), |_| {}).await;
    let (mut bystander, mut victim) = (served.connect().await, served.connect().await);
    victim.emit("panic", json!([])).await;
    victim.end().await;
    assert_eq!(
        bystander.ask("echo", json!("still here")).await,
        "still here"
    );
    let mut next = served.connect().await;
    assert_eq!(next.ask("echo", json!("new")).await, "new");
    drop((bystander, next));
    served.end().await;
}

/// The time to connect is the client's only until it has asked.
#[tokio::test(flavor = "multi_thread")]
async fn may_take_longer_to_admit_than_a_client_to_ask() {
    let slow = Obedient {
        admission: Duration::from_millis(900),
        ..Obedient::default()
    };
    let connect_timeout = Duration::from_millis(300);
    let served = Served::new(slow, |config| config.auth.connect_timeout = connect_timeout).await;
    let (mut silent, _) = served.open().await;
    let (mut client, closed) = tokio::join!(served.connect(), silent.closed());
    assert_eq!(closed, Some((1008, "connect_timeout".to_owned())));
    assert_eq!(client.ask("echo", json!("in")).await, "in");
    served.end().await;
}

/// A shard asks again by itself whether the control plane has room.
#[tokio::test(flavor = "multi_thread")]
async fn whose_work_waits_behind_that_of_another_shard_does_it() {
    let served = Served::new(Obedient::default(), |config| config.node.shards = 2).await;
    let (mut flooding, one) = served.joined("flooding").await;
    let (mut waiting, other) = served.joined("waiting").await;
    assert_ne!(one, other, "they are on two shards");
    let mut late = Duration::ZERO;
    for _ in 0..5 {
        served.is_time(false);
        ask_later(&mut flooding, 1..FLOOD).await;
        ask_later(&mut waiting, 1..2).await;
        served.is_time(true);
        answered(&mut flooding, 1..FLOOD).await;
        let begun = Instant::now();
        answered(&mut waiting, 1..2).await;
        late += begun.elapsed();
    }
    // The chores of once a second would find it, too.
    assert!(
        late < Duration::from_millis(500),
        "{late:?} behind all others"
    );
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn is_not_asked_about_who_has_gone() {
    let served = Served::new(Obedient::default(), |_| {}).await;
    let (mut flooding, _) = served.joined("flooding").await;
    ask_later(&mut flooding, 1..FLOOD).await;
    let (mut gone, _) = served.open().await;
    gone.send("40{\"name\":\"gone\"}").await;
    gone.ping().await;
    gone.cut();
    eventually("it has gone", async || {
        served.gateway.node().connections() == 1
    })
    .await;
    let (mut patient, _) = served.open().await;
    patient.send("40{\"name\":\"patient\"}").await;
    patient.ping().await;
    served.is_time(true);
    assert!(patient.text_past_pings().await.starts_with("40{"));
    let handler = served.handler.clone();
    // All that was left to the control plane is done then.
    served.end().await;
    assert_eq!(
        handler.asked(),
        ["{\"name\":\"flooding\"}", "{\"name\":\"patient\"}"]
    );
}

/// What happens to a room comes after the outcome of work that is about the room; all else does not
/// wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn whose_work_settles_is_answered_before_what_happens_meanwhile() {
    let served = Served::new(Obedient::default(), |_| {}).await;
    let (mut client, _) = served.joined("waiting").await;
    client.send("421[\"settled\"]").await;
    client.send("422[\"echo\"]").await;
    assert_eq!(client.text_past_pings().await, "432[]");
    let node = served.gateway.node();
    for (room, name) in [(ROOM, "held"), ("", "all"), (ROOM, "held too")] {
        let rooms = [room].into_iter().filter(|room| !room.is_empty());
        let request = EmitRequest {
            namespace: "/".into(),
            rooms: rooms.map(str::to_owned).collect(),
            except: Vec::new(),
            event: Event {
                name: name.into(),
                args: Vec::new(),
                attachments: Vec::new(),
            },
            volatile: false,
            id: None,
            local: false,
        };
        let emitted = node.hub().emit(node, request).await;
        emitted.expect("the node takes emits");
    }
    assert_eq!(client.text_past_pings().await, "42[\"all\"]");
    served.is_time(true);
    for text in ["431[]", "42[\"held\"]", "42[\"held too\"]"] {
        assert_eq!(client.text_past_pings().await, text);
    }
    drop(client);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_work_panics_holds_nothing_back_for_ever() {
    let served = Served::new(Obedient::default(), |_| {}).await;
    let mut victim = served.connect().await;
    victim.send("427[\"settled panic\"]".to_owned()).await;
    victim.end().await;
    served.end().await;
}
