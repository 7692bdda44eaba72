//! Packets as they are written and read, and the task between them and the connection.

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{End, SioEvent};
use crate::engine_ws::{EngineWs, Incoming};

/// To be written.
pub(super) enum Outgoing {
    Text(String),
    Binary(Bytes),
}

/// A packet of the client's namespace, whole.
#[derive(Debug, Clone)]
pub(super) enum Packet {
    Event(SioEvent),
    Ack { id: u64, args: Vec<Value> },
    End(End),
}

/// Answers pings, writes what is queued, hands on the rest, until either side ends.
pub(super) async fn pump(
    mut ws: EngineWs,
    mut to_write: mpsc::Receiver<Outgoing>,
    read: mpsc::Sender<Incoming>,
) {
    loop {
        // Both are cancel-safe: a message or packet is either taken or left.
        tokio::select! {
            outgoing = to_write.recv() => match outgoing {
                Some(Outgoing::Text(text)) => ws.send(text).await,
                Some(Outgoing::Binary(bytes)) => ws.send_binary(bytes).await,
                None => return,
            },
            incoming = ws.next() => match incoming {
                Incoming::Text(text) if text == "2" => ws.send("3").await,
                Incoming::Text(text) if text == "6" => {}
                incoming => {
                    let last = matches!(incoming, Incoming::Closed(_));
                    if read.send(incoming).await.is_err() || last {
                        return;
                    }
                }
            },
        }
    }
}

pub(super) fn event(name: &str, args: Value) -> Value {
    let mut items = vec![json!(name)];
    items.extend(array(args));
    Value::Array(items)
}

pub(super) fn array(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        other => panic!("an array was due: {other}"),
    }
}

pub(super) fn parse(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_else(|e| panic!("{json:?}: {e}"))
}

/// `/nsp,` as it stands in a packet; nothing for the main namespace.
pub(super) fn prefix(namespace: &str) -> String {
    if namespace == "/" {
        String::new()
    } else {
        format!("{namespace},")
    }
}

pub(super) fn after_namespace(body: &str) -> &str {
    if !body.starts_with('/') {
        return body;
    }
    body.split_once(',').map_or("", |(_, rest)| rest)
}
