//! The daemon as a library with a handler of one's own, and what one that panics costs.

use std::net::SocketAddr;
use std::sync::Arc;

use http_body_util::Full;
use hyper::Response;
use serde_json::json;
use tidings::app::handler::{
    Admission, BoxFuture, ClientEvent, ConnectRequest, Effect, Handler, NamespaceRules, Refusal,
    SocketContext,
};
use tidings::config::Config;
use tidings::event::RoomClass;
use tidings::gateway::{self, Application, Extras, Gateway};
use tidings::http::public::{PublicRequest, Routes};
use tidings::node::Node;
use tidings_tests::sio::Connector;

/// Echoes, unless it is told to panic.
struct Fragile;

impl Handler for Fragile {
    fn namespace(&self, name: &str) -> Option<NamespaceRules> {
        (name == "/").then_some(NamespaceRules { recoverable: false })
    }

    fn class(&self, _namespace: &str, _room: &str) -> RoomClass {
        RoomClass::Live
    }

    fn connect(&self, _request: ConnectRequest) -> BoxFuture<Result<Admission, Refusal>> {
        Box::pin(async { Ok(Admission::default()) })
    }

    fn event(&self, context: &mut SocketContext<'_>, event: ClientEvent<'_>) {
        assert_ne!(event.event.name, "panic", "as it was told to");
        let args = event
            .event
            .args
            .iter()
            .map(|arg| (*arg).to_owned())
            .collect();
        if let Some(id) = event.ack {
            context.ask(Effect::Ack {
                id,
                args,
                attachments: Vec::new(),
            });
        }
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

async fn fragile(folder: &std::path::Path) -> (Gateway, SocketAddr) {
    let mut config = Config::default();
    config.node.data_dir = folder.to_owned();
    config.node.shards = 1;
    let application = async |_| {
        Ok(Application {
            handler: Arc::new(Fragile),
            routes: Arc::new(Nothing),
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
    (gateway, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn that_panics_costs_its_own_connection_only() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let (gateway, address) = fragile(folder.path()).await;
    let connect = async || {
        let connected = Connector::to(&address.to_string()).connect().await;
        connected.unwrap_or_else(|failure| panic!("it connects: {failure:?}"))
    };
    let (mut bystander, mut victim) = (connect().await, connect().await);
    victim.emit("panic", json!([])).await;
    victim.end().await;
    assert_eq!(
        bystander.ask("echo", json!("still here")).await,
        "still here"
    );
    let mut next = connect().await;
    assert_eq!(next.ask("echo", json!("new")).await, "new");
    drop((bystander, next));
    assert!(gateway.drain().await.is_clean());
}
