//! A small Socket.IO client over WebSocket: one namespace, pings answered in the background.

mod connector;
mod wire;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub use connector::{Connector, Failure, Recovery};
use wire::{Outgoing, Packet, after_namespace, array, event, parse, prefix, pump};

use crate::PATIENCE;
use crate::engine_ws::{EngineWs, Incoming};

/// Packets that may wait between the connection and a test that does not look.
const QUEUE: usize = 65_536;

/// A connected socket.
pub struct SioClient {
    /// Its namespace.
    namespace: String,
    /// The socket's id.
    sid: String,
    /// Given where recovery is on.
    pid: Option<String>,
    /// The pid that was presented, if any.
    presented_pid: Option<String>,
    /// The last argument of the last event that ended in a string, as the JavaScript client keeps.
    offset: Option<String>,
    /// Number of the next acknowledgement asked for.
    next_ack: u64,
    /// To the task that writes.
    outgoing: mpsc::Sender<Outgoing>,
    /// From the task that reads.
    incoming: mpsc::Receiver<Incoming>,
    /// Packets that were read while another was looked for.
    waiting: VecDeque<Packet>,
    /// Owns the connection; aborted to cut it.
    task: JoinHandle<()>,
}

/// An event as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct SioEvent {
    /// Its name.
    pub name: String,
    /// Its arguments, the offset too if one came.
    pub args: Vec<Value>,
    /// Its binary attachments, for the placeholders among the arguments.
    pub attachments: Vec<Bytes>,
    /// Set if the server wants it acknowledged.
    pub id: Option<u64>,
}

impl SioEvent {
    /// The first argument; panics if there is none.
    pub fn arg(&self) -> &Value {
        self.args
            .first()
            .unwrap_or_else(|| panic!("{:?} came without an argument", self.name))
    }
}

/// How a socket ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The server sent DISCONNECT (41): a client then stays away.
    Disconnected,
    /// The transport closed, with this close frame: a client then comes back.
    Closed(Option<(u16, String)>),
}

impl SioClient {
    /// The socket's id.
    pub fn sid(&self) -> &str {
        &self.sid
    }

    /// The private id, given where recovery is on.
    pub fn pid(&self) -> Option<&str> {
        self.pid.as_deref()
    }

    /// The offset that the JavaScript client would present now.
    pub fn offset(&self) -> Option<&str> {
        self.offset.as_deref()
    }

    /// As the JavaScript client decides it: the pid given is the one presented.
    pub fn recovered(&self) -> bool {
        self.pid.is_some() && self.pid == self.presented_pid
    }

    /// What to recover with; panics where recovery is off.
    pub fn recovery(&self) -> Recovery {
        let pid = self.pid.clone().expect("recovery is on in this namespace");
        Recovery {
            pid,
            offset: self.offset.clone(),
        }
    }

    /// Cuts the transport; gives what to recover with.
    pub fn cut(self) -> Recovery {
        self.recovery()
    }

    /// Sends an event; `args` is an array.
    pub async fn emit(&mut self, name: &str, args: Value) {
        self.send(format!(
            "42{}{}",
            prefix(&self.namespace),
            event(name, args)
        ))
        .await;
    }

    /// Sends an event and awaits its acknowledgement's arguments.
    pub async fn emit_with_ack(&mut self, name: &str, args: Value) -> Vec<Value> {
        let id = self.next_ack;
        self.next_ack += 1;
        self.send(format!(
            "42{}{id}{}",
            prefix(&self.namespace),
            event(name, args)
        ))
        .await;
        self.acknowledgement(id, name).await
    }

    /// As [`SioClient::emit_with_ack`] with one argument each way, the commonest case.
    pub async fn ask(&mut self, name: &str, arg: Value) -> Value {
        let args = if arg.is_null() {
            json!([])
        } else {
            json!([arg])
        };
        let mut answer = self.emit_with_ack(name, args).await;
        assert_eq!(
            answer.len(),
            1,
            "one argument was due in the answer to {name}: {answer:?}"
        );
        answer.remove(0)
    }

    /// Acknowledges an event of the server.
    pub async fn ack(&mut self, id: u64, args: Value) {
        self.send(format!("43{}{id}{args}", prefix(&self.namespace)))
            .await;
    }

    /// Sends a raw packet, its Engine.IO digit first.
    pub async fn send(&mut self, packet: String) {
        // A closed connection is noticed by whoever reads next.
        let _ = self.outgoing.send(Outgoing::Text(packet)).await;
    }

    /// Sends a binary message.
    pub async fn send_binary(&mut self, bytes: impl Into<Bytes>) {
        let _ = self.outgoing.send(Outgoing::Binary(bytes.into())).await;
    }

    /// The next event, whatever its name.
    pub async fn next_event(&mut self) -> SioEvent {
        let packet = self
            .take(|packet| !matches!(packet, Packet::Ack { .. }))
            .await;
        match packet {
            Packet::Event(event) => event,
            other => panic!("an event was due, came {other:?}"),
        }
    }

    /// The next event, however late; nothing once the connection has ended.
    pub async fn next_event_or_end(&mut self) -> Option<SioEvent> {
        let any = |packet: &Packet| !matches!(packet, Packet::Ack { .. });
        match self.find_or_end(any).await {
            Packet::Event(event) => Some(event),
            _ => None,
        }
    }

    /// The next event, which must be of that name.
    pub async fn expect(&mut self, name: &str) -> SioEvent {
        let event = self.next_event().await;
        assert_eq!(event.name, name, "{event:?}");
        event
    }

    /// Checks that no event comes for `duration`.
    pub async fn silent_for(&mut self, duration: Duration) {
        let any = |packet: &Packet| !matches!(packet, Packet::Ack { .. });
        if let Ok(packet) = timeout(duration, self.find(any)).await {
            panic!("nothing was due for {duration:?}, came {packet:?}");
        }
    }

    /// Waits for the socket's end; events on the way are dropped.
    pub async fn end(&mut self) -> End {
        match self.take(|packet| matches!(packet, Packet::End(_))).await {
            Packet::End(end) => end,
            _ => unreachable!("only an end was asked for"),
        }
    }

    /// Leaves the namespace as a client does.
    pub async fn disconnect(mut self) {
        self.send(format!("41{}", prefix(&self.namespace))).await;
        // The task writes what is queued, then sees the queue closed.
        let (closed, _) = mpsc::channel(1);
        self.outgoing = closed;
        let _ = timeout(PATIENCE, &mut self.task).await;
    }

    fn over(ws: EngineWs, namespace: &str, presented_pid: Option<String>) -> SioClient {
        let (outgoing, to_write) = mpsc::channel(QUEUE);
        let (read, incoming) = mpsc::channel(QUEUE);
        SioClient {
            namespace: namespace.to_owned(),
            sid: String::new(),
            pid: None,
            presented_pid,
            offset: None,
            next_ack: 0,
            outgoing,
            incoming,
            waiting: VecDeque::new(),
            task: tokio::spawn(pump(ws, to_write, read)),
        }
    }

    async fn await_connect(&mut self) -> Result<(), Failure> {
        loop {
            match self.next_incoming().await {
                Incoming::Closed(frame) => return Err(Failure::Closed(frame)),
                Incoming::Binary(bytes) => panic!("stray binary before CONNECT: {bytes:?}"),
                Incoming::Text(text) => {
                    if let Some(json) = text.strip_prefix("44") {
                        return Err(Failure::ConnectError(parse(after_namespace(json))));
                    }
                    if let Some(json) = text.strip_prefix("40") {
                        let connected = parse(after_namespace(json));
                        self.sid = connected["sid"].as_str().expect("a sid").to_owned();
                        self.pid = connected["pid"].as_str().map(str::to_owned);
                        return Ok(());
                    }
                    // The reference replays missed events before CONNECT.
                    let packet = self.packet(&text).await;
                    self.waiting.push_back(packet);
                }
            }
        }
    }

    async fn acknowledgement(&mut self, wanted: u64, name: &str) -> Vec<Value> {
        let done = |packet: &Packet| match packet {
            Packet::Ack { id, .. } => *id == wanted,
            Packet::End(_) => true,
            Packet::Event(_) => false,
        };
        match self.take(done).await {
            Packet::Ack { args, .. } => args,
            other => panic!("the acknowledgement of {name} was due, came {other:?}"),
        }
    }

    async fn take(&mut self, wanted: impl Fn(&Packet) -> bool) -> Packet {
        match timeout(PATIENCE, self.find(wanted)).await {
            Ok(packet) => packet,
            Err(_) => panic!("not within {PATIENCE:?}; waiting: {:?}", self.waiting),
        }
    }

    /// The first wanted packet, of those waiting and those to come; the others keep their order.
    async fn find(&mut self, wanted: impl Fn(&Packet) -> bool) -> Packet {
        let found = self.find_or_end(&wanted).await;
        assert!(wanted(&found), "it ended first; seen: {:?}", self.waiting);
        found
    }

    async fn find_or_end(&mut self, wanted: impl Fn(&Packet) -> bool) -> Packet {
        if let Some(at) = self.waiting.iter().position(&wanted) {
            return self.waiting.remove(at).expect("it was just found");
        }
        loop {
            let packet = self.read_packet().await;
            if wanted(&packet) {
                return packet;
            }
            if matches!(packet, Packet::End(_)) {
                return packet;
            }
            self.waiting.push_back(packet);
        }
    }

    async fn read_packet(&mut self) -> Packet {
        match self.incoming.recv().await {
            None | Some(Incoming::Closed(None)) => Packet::End(End::Closed(None)),
            Some(Incoming::Closed(frame)) => Packet::End(End::Closed(frame)),
            Some(Incoming::Binary(bytes)) => panic!("stray binary: {bytes:?}"),
            Some(Incoming::Text(text)) => self.packet(&text).await,
        }
    }

    async fn next_incoming(&mut self) -> Incoming {
        match timeout(PATIENCE, self.incoming.recv()).await {
            Ok(incoming) => incoming.unwrap_or(Incoming::Closed(None)),
            Err(_) => panic!("nothing came within {PATIENCE:?}"),
        }
    }

    /// Takes a text packet apart, reading its attachments.
    async fn packet(&mut self, text: &str) -> Packet {
        let kind = text
            .get(..2)
            .unwrap_or_else(|| panic!("a short packet: {text:?}"));
        let mut body = &text[2..];
        let mut attachments = Vec::new();
        if matches!(kind, "45" | "46") {
            let (count, rest) = body
                .split_once('-')
                .expect("binary packets count attachments");
            body = rest;
            for _ in 0..count.parse::<usize>().expect("a number of attachments") {
                match self.next_incoming().await {
                    Incoming::Binary(bytes) => attachments.push(bytes),
                    other => panic!("an attachment was due, came {other:?}"),
                }
            }
        }
        let body = after_namespace(body);
        let digits = body
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(body.len());
        let id = body[..digits].parse().ok();
        match kind {
            "41" => Packet::End(End::Disconnected),
            "42" | "45" => Packet::Event(self.event(parse(&body[digits..]), attachments, id)),
            "43" | "46" => {
                let args = array(parse(&body[digits..]));
                Packet::Ack {
                    id: id.expect("an ACK has an id"),
                    args,
                }
            }
            _ => panic!("a packet that no client expects: {text:?}"),
        }
    }

    fn event(&mut self, data: Value, attachments: Vec<Bytes>, id: Option<u64>) -> SioEvent {
        let mut args = array(data);
        if let (Some(_), Some(offset)) = (&self.pid, args.last().and_then(Value::as_str)) {
            self.offset = Some(offset.to_owned());
        }
        let name = match args.remove(0) {
            Value::String(name) => name,
            other => other.to_string(),
        };
        SioEvent {
            name,
            args,
            attachments,
            id,
        }
    }
}

impl Drop for SioClient {
    fn drop(&mut self) {
        self.task.abort();
    }
}
