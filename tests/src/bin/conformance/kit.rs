//! Profile `kit`: three kinds of namespaces and a control API, for black-box client drivers.
//!
//! Every event that is not volatile is recoverable: the namespace and each socket id are rooms.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Response, StatusCode, header::CONTENT_TYPE};
use serde_json::{Map, Value, json, value::RawValue};
use tidings::{
    app::handler::{
        Admission, BoxFuture, ClientEvent, ConnectRequest, Effect, Handler, NamespaceRules,
        Refusal, SocketContext, SocketView,
    },
    event::{EmitRequest, Event, RoomClass},
    http::public::{PublicRequest, Routes},
    hub::query::{Act, SocketInfo, Target},
    node::Node,
    shard::machine::Reason,
};

const CONTROL: &str = "/__kit/";

/// Sockets that are gone and remembered.
const MAX_GONE: usize = 10_000;

/// How long `ask` waits unless told otherwise.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// The test handler and its control API.
#[derive(Default)]
pub(crate) struct Kit {
    heard: Arc<Heard>,
}

/// What this node was told and is asked for later.
#[derive(Default)]
struct Heard {
    /// Sockets that are gone.
    gone: Mutex<Vec<Value>>,
    /// Events from the handlers of other nodes that want no answer.
    events: Mutex<Vec<Value>>,
}

impl Handler for Kit {
    fn namespace(&self, name: &str) -> Option<NamespaceRules> {
        let word = |rest: &str| {
            !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        let known = matches!(name, "/" | "/kit") || name.strip_prefix("/dyn-").is_some_and(word);
        known.then_some(NamespaceRules { recoverable: true })
    }

    fn class(&self, _namespace: &str, _room: &str) -> RoomClass {
        RoomClass::Recoverable
    }

    fn connect(&self, request: ConnectRequest) -> BoxFuture<Result<Admission, Refusal>> {
        Box::pin(async move {
            let auth: Option<Value> = request
                .auth
                .and_then(|auth| serde_json::from_str(auth.get()).ok());
            let token = auth.as_ref().and_then(|auth| auth.get("token"));
            if &*request.namespace == "/kit" && token != Some(&json!("secret")) {
                let data = raw(&json!({ "code": 401, "content": "bad token" }));
                return Err(Refusal::Final {
                    message: "not authorized".to_owned(),
                    data: Some(data),
                });
            }
            Ok(Admission::default())
        })
    }

    fn event(&self, context: &mut SocketContext<'_>, event: ClientEvent<'_>) {
        let args: Vec<Box<RawValue>> = event
            .event
            .args
            .iter()
            .map(|arg| (*arg).to_owned())
            .collect();
        let attachments = event.attachments.to_vec();
        match (&*event.event.name, event.ack) {
            ("echo", Some(id)) => context.ask(Effect::Ack {
                id,
                args,
                attachments,
            }),
            ("echo-back", _) => {
                let request = EmitRequest {
                    namespace: context.socket.namespace.to_string(),
                    rooms: vec![context.socket.id.to_string()],
                    except: Vec::new(),
                    event: Event {
                        name: "echo-back".to_owned(),
                        args,
                        attachments,
                    },
                    volatile: false,
                    id: None,
                    local: false,
                };
                context.ask(Effect::Broadcast(request));
            }
            _ => {}
        }
    }

    fn server_event(&self, event: &str, args: &[Box<RawValue>]) -> Option<Box<RawValue>> {
        let args: Vec<Value> = args
            .iter()
            .filter_map(|arg| serde_json::from_str(arg.get()).ok())
            .collect();
        if event == "hello-cluster" {
            return Some(raw(&json!({ "server": std::process::id(), "got": args })));
        }
        let mut events = lock(&self.heard.events);
        if events.len() < MAX_GONE {
            events.push(json!({ "event": event, "args": args }));
        }
        None
    }

    fn disconnected(&self, socket: &SocketView<'_>, reason: Reason) {
        let at = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let mut gone = lock(&self.heard.gone);
        if gone.len() < MAX_GONE {
            gone.push(json!({
                "nsp": &**socket.namespace,
                "id": &**socket.id,
                "reason": reason.name(),
                "at": at.as_millis() as u64,
            }));
        }
    }

    fn keeps_handshake(&self) -> bool {
        true
    }
}

impl Routes for Kit {
    fn has(&self, path: &str) -> bool {
        path.starts_with(CONTROL)
    }

    fn answer(&self, node: Arc<Node>, request: PublicRequest) -> BoxFuture<Response<Full<Bytes>>> {
        let heard = self.heard.clone();
        Box::pin(async move {
            let operation = request.path.trim_start_matches(CONTROL);
            let body = match request.body.is_empty() {
                true => Ok(json!({})),
                false => serde_json::from_slice(&request.body).map_err(|error| error.to_string()),
            };
            let outcome = match body {
                Ok(Value::Object(body)) => control(&node, &heard, operation, &body).await,
                Ok(_) => Err("the body must be an object".to_owned()),
                Err(error) => Err(error),
            };
            let (status, answer) = match outcome {
                Ok(answer) => (StatusCode::OK, answer),
                Err(message) => {
                    let error = json!({ "code": "invalid_request", "message": message });
                    (StatusCode::BAD_REQUEST, json!({ "error": error }))
                }
            };
            Response::builder()
                .status(status)
                .header(CONTENT_TYPE, "application/json")
                .body(Full::from(answer.to_string()))
                .expect("status and header are legal")
        })
    }
}

async fn control(
    node: &Node,
    heard: &Heard,
    operation: &str,
    body: &Map<String, Value>,
) -> Result<Value, String> {
    let namespace = match body.get("nsp") {
        None => "/".to_owned(),
        Some(nsp) => nsp.as_str().ok_or("nsp must be a string")?.to_owned(),
    };
    let target = target(&namespace, body)?;
    let (hub, relay) = (node.hub(), node.relay());
    let act = async |act| {
        relay.act(node, target.clone(), act).await;
        Ok(json!({ "ok": true }))
    };
    match operation {
        "emit" => {
            hub.emit(node, emit(&namespace, body)?)
                .await
                .map_err(|error| error.to_string())?;
            Ok(json!({ "ok": true }))
        }
        "ask" => ask(node, &namespace, body).await,
        "join" => act(Act::Join(texts(body, "join")?)).await,
        "leave" => act(Act::Leave(texts(body, "leave")?)).await,
        "kick" => match body.get("mode").and_then(Value::as_str) {
            Some("namespace") => act(Act::Disconnect { close: false }).await,
            Some("close") => act(Act::Disconnect { close: true }).await,
            Some("engine") => act(Act::CloseTransport).await,
            _ => Err("mode must be namespace, close or engine".to_owned()),
        },
        "sockets" => {
            let found = relay.sockets(node, target).await;
            Ok(found.value.iter().map(socket).collect())
        }
        "local" => Ok(hub.sockets(target).await.iter().map(local).collect()),
        "rooms" => {
            let rooms = relay.rooms(node, &namespace).await.value;
            let sockets = relay.sockets(node, target).await.value;
            let ids = sockets.iter().map(|socket| socket.id.to_string());
            Ok(rooms
                .keys()
                .map(|room| room.to_string())
                .chain(ids)
                .collect())
        }
        "count" => {
            let peers = relay.cluster().map_or(0, |cluster| cluster.peers().len());
            Ok(json!(1 + peers))
        }
        "gone" => Ok(Value::Array(lock(&heard.gone).clone())),
        "server-side-emit" => server_event(node, body).await,
        "server-side-got" => Ok(Value::Array(lock(&heard.events).clone())),
        other => Err(format!("unknown operation {other}")),
    }
}

/// Sends an event to the handlers of the other nodes; with `ack` their answers come back.
async fn server_event(node: &Node, body: &Map<String, Value>) -> Result<Value, String> {
    let event = body.get("event").and_then(Value::as_str);
    let event = event.ok_or("event must be a string")?;
    let args = body.get("args").and_then(Value::as_array);
    let args = args.into_iter().flatten().map(raw).collect();
    let found = node.relay().server_event(event, args).await;
    if body.get("ack") != Some(&json!(true)) {
        return Ok(json!({ "ok": true }));
    }
    let err = (!found.silent.is_empty()).then_some("operation has timed out");
    Ok(json!({ "err": err, "responses": found.value }))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn ask(node: &Node, namespace: &str, body: &Map<String, Value>) -> Result<Value, String> {
    let timeout = body
        .get("timeout")
        .and_then(Value::as_u64)
        .map(Duration::from_millis);
    let request = emit(namespace, body)?;
    let asked = node
        .relay()
        .ask(node, request, timeout.unwrap_or(ASK_TIMEOUT))
        .await;
    let asked = asked.map_err(|error| error.to_string())?;
    let (collected, silent) = asked.answered().await;
    let err =
        (!collected.missing.is_empty() || !silent.is_empty()).then_some("operation has timed out");
    let responses: Vec<Value> = collected
        .responses
        .iter()
        .filter_map(|(_, data, attachments)| {
            let args: Vec<Value> = serde_json::from_str(data).ok()?;
            Some(with_bytes(
                args.into_iter().next().unwrap_or_default(),
                attachments,
            ))
        })
        .collect();
    Ok(json!({ "err": err, "responses": responses }))
}

fn target(namespace: &str, body: &Map<String, Value>) -> Result<Target, String> {
    let rooms = texts(body, "rooms")?;
    Ok(Target {
        namespace: Some(namespace.to_owned()),
        everybody: rooms.is_empty(),
        rooms,
        except: texts(body, "except")?,
        users: Vec::new(),
    })
}

fn emit(namespace: &str, body: &Map<String, Value>) -> Result<EmitRequest, String> {
    let flag = |name: &str| {
        body.get("flags")
            .and_then(|flags| flags.get(name))
            .and_then(Value::as_bool)
            == Some(true)
    };
    let name = body
        .get("event")
        .and_then(Value::as_str)
        .ok_or("event must be a string")?;
    let args = match body.get("args") {
        None => &[][..],
        Some(args) => args.as_array().ok_or("args must be a list")?,
    };
    let mut attachments = Vec::new();
    let args = args
        .iter()
        .map(|arg| raw(&without_bytes(arg, &mut attachments)))
        .collect();
    Ok(EmitRequest {
        namespace: namespace.to_owned(),
        rooms: texts(body, "rooms")?,
        except: texts(body, "except")?,
        event: Event {
            name: name.to_owned(),
            args,
            attachments,
        },
        volatile: flag("volatile"),
        id: None,
        local: flag("local"),
    })
}

fn texts(body: &Map<String, Value>, name: &str) -> Result<Vec<String>, String> {
    let wrong = || format!("{name} must be a string or a list of strings");
    match body.get(name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![text.clone()]),
        Some(Value::Array(texts)) => texts
            .iter()
            .map(|text| text.as_str().map(str::to_owned).ok_or_else(wrong))
            .collect(),
        Some(_) => Err(wrong()),
    }
}

fn local(socket: &SocketInfo) -> Value {
    json!({
        "id": &*socket.id,
        "recovered": socket.recovered,
        "rooms": rooms(socket),
        "transport": socket.transport,
        "engine": &*socket.connection,
    })
}

fn socket(socket: &SocketInfo) -> Value {
    let url = socket.handshake.url.clone().unwrap_or_default();
    let query: Map<String, Value> = url
        .split_once('?')
        .map_or("", |(_, query)| query)
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect();
    let headers: Map<String, Value> = socket
        .handshake
        .headers
        .iter()
        .flatten()
        .map(|(name, value)| (name.clone(), json!(value)))
        .collect();
    let auth: Value = socket
        .auth
        .as_ref()
        .and_then(|auth| serde_json::from_str(auth.get()).ok())
        .unwrap_or_else(|| json!({}));
    json!({
        "id": &*socket.id,
        "rooms": rooms(socket),
        "data": {},
        "handshake": { "auth": auth, "query": query, "headers": headers, "url": url },
    })
}

/// A socket is in the room of its own id, too.
fn rooms(socket: &SocketInfo) -> Vec<&str> {
    std::iter::once(&*socket.id)
        .chain(socket.rooms.iter().map(|room| &**room))
        .collect()
}

/// Takes `{"$b64": …}` out of a value, leaving placeholders.
fn without_bytes(value: &Value, attachments: &mut Vec<Bytes>) -> Value {
    match value {
        Value::Object(object) => {
            if let Some(Value::String(text)) = object.get("$b64")
                && let Ok(bytes) = BASE64_STANDARD.decode(text)
            {
                attachments.push(bytes.into());
                return json!({ "_placeholder": true, "num": attachments.len() - 1 });
            }
            let item = |(name, value): (&String, &Value)| {
                (name.clone(), without_bytes(value, attachments))
            };
            Value::Object(object.iter().map(item).collect())
        }
        Value::Array(items) => items
            .iter()
            .map(|item| without_bytes(item, attachments))
            .collect(),
        other => other.clone(),
    }
}

/// Puts the bytes back in, as `{"$b64": …}`.
fn with_bytes(value: Value, attachments: &[Bytes]) -> Value {
    match value {
        Value::Object(object) if object.get("_placeholder") == Some(&Value::Bool(true)) => {
            let num = object
                .get("num")
                .and_then(Value::as_u64)
                .unwrap_or_default() as usize;
            let bytes = attachments.get(num).cloned().unwrap_or_default();
            json!({ "$b64": BASE64_STANDARD.encode(bytes) })
        }
        Value::Object(object) => Value::Object(
            object
                .into_iter()
                .map(|(name, item)| (name, with_bytes(item, attachments)))
                .collect(),
        ),
        Value::Array(items) => items
            .into_iter()
            .map(|item| with_bytes(item, attachments))
            .collect(),
        other => other,
    }
}

fn raw(value: &Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).expect("a JSON value is plain JSON")
}
