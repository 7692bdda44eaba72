//! What the admin page shows every two seconds: this node's figures since the start, and the
//! cluster as it sees it. Read from counters that are there; no shard is asked.

use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Value, json};
use tidings_storage::Store;

use super::{Api, answer::Answer, cluster, emit::Outcome, mongo, status};
use crate::{
    app::limits::{LimitKind, Rules},
    http::health,
    node::{Node, Phase, now_ms},
    shard::{
        command::{Connected, Load},
        machine::Reason,
    },
};

/// The figures. A page makes rates of two of them.
pub(super) async fn show(api: &Api) -> Outcome {
    let node = &api.node;
    let body = json!({
        "atMs": now_ms(),
        "node": {
            "name": node.name(),
            "version": env!("CARGO_PKG_VERSION"),
            "uptimeSeconds": node.uptime().as_secs(),
            "status": health::status(node),
            "phase": phase(node),
            "shards": node.hub().shards.len(),
        },
        "now": now(node),
        "totals": totals(api),
        "closes": closes(node),
        "limits": limits(node),
        "storage": storage(node.recovery.store()),
        "mongodb": mongo::view(node),
        "cluster": cluster::view(node).await,
    });
    Ok(Answer::ok(&body))
}

fn phase(node: &Node) -> &'static str {
    match node.phase() {
        Phase::Starting => "starting",
        Phase::Ready => "ready",
        Phase::Draining => "draining",
        Phase::Closed => "closed",
    }
}

/// What there is now.
fn now(node: &Node) -> Value {
    let shards = &node.hub().shards;
    let waiting = shards.iter().map(|shard| {
        let mailbox = &shard.mailbox;
        mailbox.max_capacity() - mailbox.capacity()
    });
    json!({
        "connections": node.connections(),
        "sockets": shards.iter().map(|it| it.load.sockets.load(Relaxed)).sum::<usize>(),
        "rooms": node.hub().registry.len(),
        "outboxBytes": shards.iter().map(|it| it.load.outbox_bytes.load(Relaxed)).sum::<usize>(),
        "mailboxCommands": waiting.sum::<usize>(),
        "jobs": node.jobs.max_capacity() - node.jobs.capacity(),
    })
}

/// What there was since the start.
fn totals(api: &Api) -> Value {
    let node = &api.node;
    let sum = |figure: fn(&Load) -> u64| -> u64 {
        let shards = node.hub().shards.iter();
        shards.map(|shard| figure(&shard.load)).sum()
    };
    let requests = api.counts.requests();
    json!({
        "emits": node.hub().emits.load(Relaxed),
        "emitsRefused": api.counts.refused(),
        "deliveries": sum(|load| load.deliveries.load(Relaxed)),
        "writtenBytes": sum(|load| load.written_bytes.load(Relaxed)),
        "events": sum(|load| load.events.load(Relaxed)),
        "connectsAccepted": sum(|load| load.connects(Connected::Accepted)),
        "connectsRefused": sum(|load| load.connects(Connected::Refused)),
        "connectsPutOff": sum(|load| load.connects(Connected::PutOff)),
        "dropped": sum(|load| load.dropped.load(Relaxed)),
        "conflated": sum(|load| load.conflated.load(Relaxed)),
        "slowReaders": sum(|load| load.slow_readers.load(Relaxed)),
        "handlerPanics": sum(|load| load.panics.load(Relaxed)),
        "apiRefused": requests[4],
        "apiFailed": requests[5],
    })
}

fn closes(node: &Node) -> Value {
    let shards = &node.hub().shards;
    let closes = Reason::ALL.into_iter().map(|reason| {
        let count: u64 = shards.iter().map(|it| it.load.closes(reason)).sum();
        (reason.name().to_owned(), json!(count))
    });
    Value::Object(closes.collect())
}

/// Each limit as it is configured, and how often it held something back.
fn limits(node: &Node) -> Value {
    let (rules, access) = (node.limits.rules(), node.access.now());
    let mut limits: Vec<Value> = LimitKind::ALL
        .into_iter()
        .map(|limit| {
            let value = match limit {
                LimitKind::Connections => access.connections as u64,
                other => u64::from(rule(&rules, other)),
            };
            limited(limit.key(), value, node.limits.held(limit))
        })
        .collect();
    let slow = node.hub().shards.iter();
    let slow: u64 = slow.map(|it| it.load.slow_readers.load(Relaxed)).sum();
    limits.push(limited("outbox", node.settings.outbox as u64, slow));
    Value::Array(limits)
}

fn limited(key: &str, value: u64, held: u64) -> Value {
    json!({ "key": format!("limits.{key}"), "value": value, "held": held })
}

fn rule(rules: &Rules, limit: LimitKind) -> u32 {
    match limit {
        LimitKind::Events => rules.events_per_user,
        LimitKind::Handshakes => rules.connections_per_ip,
        LimitKind::Subscriptions => rules.subscriptions_per_user,
        LimitKind::LoginsOfIp => rules.logins_per_ip,
        LimitKind::LoginsOfUser => rules.logins_per_user,
        LimitKind::Connections => 0,
    }
}

fn storage(store: &Store) -> Value {
    let mut view = status::storage_view(&store.health());
    let stats = store.stats();
    view["callsUnderWay"] = json!(stats.under_way);
    view["freeBytes"] = json!(stats.free_bytes);
    view
}
