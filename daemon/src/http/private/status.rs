//! How the node is, for people and for Prometheus.

use std::{
    fmt::{Display, Write},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use hyper::StatusCode;
use serde_json::{Value, json};
use tidings_storage::Health;

use super::{Api, answer::Answer, emit::Outcome};
use crate::{
    app::limits::LimitKind,
    histogram::{BOUNDS, Counted},
    http::health,
    node::Node,
    shard::{
        command::{Connected, Load},
        machine::Reason,
    },
};

/// The format's version 0.0.4, see prometheus.io, "Exposition formats".
pub(super) const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A figure that each shard keeps: name, kind, meaning, where it stands.
type Figure = (&'static str, &'static str, &'static str, fn(&Load) -> u64);

const FIGURES: [Figure; 12] = [
    (
        "streams",
        "gauge",
        "Open TCP connections of HTTP.",
        |load| load.streams.load(Relaxed) as u64,
    ),
    ("connections", "gauge", "Engine.IO connections.", |load| {
        load.connections.load(Relaxed) as u64
    }),
    ("sockets", "gauge", "Sockets in namespaces.", |load| {
        load.sockets.load(Relaxed) as u64
    }),
    (
        "outbox_bytes",
        "gauge",
        "Bytes that wait for clients.",
        |load| load.outbox_bytes.load(Relaxed) as u64,
    ),
    (
        "deliveries_total",
        "counter",
        "Event frames queued to clients.",
        |load| load.deliveries.load(Relaxed),
    ),
    (
        "written_bytes_total",
        "counter",
        "Bytes written to clients, before TLS and HTTP.",
        |load| load.written_bytes.load(Relaxed),
    ),
    (
        "events_total",
        "counter",
        "Events received from clients.",
        |load| load.events.load(Relaxed),
    ),
    (
        "dropped_total",
        "counter",
        "Volatile frames dropped.",
        |load| load.dropped.load(Relaxed),
    ),
    (
        "conflated_total",
        "counter",
        "Values replaced by newer ones unsent.",
        |load| load.conflated.load(Relaxed),
    ),
    (
        "slow_readers_total",
        "counter",
        "Connections closed as slow readers.",
        |load| load.slow_readers.load(Relaxed),
    ),
    (
        "handler_panics_total",
        "counter",
        "Handlers that panicked.",
        |load| load.panics.load(Relaxed),
    ),
    (
        "admin_ui_unshown_total",
        "counter",
        "Events that the admin UI was not shown, there being too many.",
        |load| load.unshown.load(Relaxed),
    ),
];

/// What the API counts itself.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Answered requests by the first digit of their status.
    requests: [AtomicU64; 6],
    /// Emits that were taken in.
    taken: AtomicU64,
    /// Emits that were refused or failed.
    refused: AtomicU64,
}

impl Counts {
    /// A request was answered.
    pub(super) fn request(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100);
        if let Some(count) = self.requests.get(class) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// An emit came to its end.
    pub(super) fn emit(&self, outcome: &Outcome) {
        let count = if outcome.is_ok() {
            &self.taken
        } else {
            &self.refused
        };
        count.fetch_add(1, Relaxed);
    }

    /// Answered requests by the first digit of their status.
    pub(super) fn requests(&self) -> [u64; 6] {
        self.requests.each_ref().map(|count| count.load(Relaxed))
    }

    /// Emits that were refused or failed.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    fn expose(&self, text: &mut Exposition) {
        text.family(
            "api_requests_total",
            "counter",
            "Answered requests of the private API.",
        );
        for (class, count) in self.requests.iter().enumerate().skip(2) {
            let labels = format!("{{status=\"{class}xx\"}}");
            text.sample("api_requests_total", &labels, count.load(Relaxed));
        }
        text.family(
            "api_emits_total",
            "counter",
            "Emits of the private API, repeats included.",
        );
        for (outcome, count) in [("accepted", &self.taken), ("refused", &self.refused)] {
            let labels = format!("{{outcome=\"{outcome}\"}}");
            text.sample("api_emits_total", &labels, count.load(Relaxed));
        }
    }
}

/// Everything about the node.
pub(super) async fn detailed(api: &Api) -> Outcome {
    let (view, status) = view(api).await;
    let code = match status {
        health::Status::Ok | health::Status::Degraded => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    Ok(Answer::of(code, &view))
}

/// Everything about the node, and how it is in one word.
pub(in crate::http) async fn view(api: &Api) -> (Value, health::Status) {
    let node = &api.node;
    let status = health::status(node);
    let store = node.recovery.store();
    let shards: Vec<Value> = node
        .hub()
        .shards
        .iter()
        .map(|shard| shard_view(&shard.load))
        .collect();
    let held = super::slots::held(node).await;
    let body = json!({
        "status": status,
        "node": node.name(),
        "version": env!("CARGO_PKG_VERSION"),
        "uptimeSeconds": node.uptime().as_secs(),
        "storage": storage_view(&store.health()),
        "connections": { "open": node.connections(), "limit": node.access.now().connections },
        "rooms": node.hub().registry.len(),
        "shards": shards,
        "recovery": {
            "enabled": node.recovery.is_on(),
            "entries": held.0,
            "bytes": held.1,
        },
        "certificate": super::certificate::view(node),
        "mongodb": super::mongo::view(node),
        "openFiles": open_files().await,
    });
    (body, status)
}

/// The node's figures in Prometheus' text format.
pub(super) async fn metrics(api: &Api) -> Answer {
    let mut text = Exposition::default();
    let node = &api.node;
    for (name, kind, help, value) in FIGURES {
        text.family(name, kind, help);
        for (index, shard) in node.hub().shards.iter().enumerate() {
            text.sample(name, &format!("{{shard=\"{index}\"}}"), value(&shard.load));
        }
    }
    let emits = node.hub().emits.load(Relaxed);
    let help = "Emits taken in by this node, those of peers not included.";
    text.single("emits_total", "counter", help, emits);
    expose_limits(node, &mut text);
    expose_clients(node, &mut text);
    expose_queues(node, &mut text);
    expose_times(node, &mut text);
    api.counts.expose(&mut text);
    text.single(
        "uptime_seconds",
        "gauge",
        "Time since the start.",
        node.uptime().as_secs(),
    );
    let rooms = node.hub().registry.len();
    text.single("rooms", "gauge", "Rooms with members.", rooms);
    let health = match node.recovery.store().health() {
        Health::Ok => 2,
        Health::Degraded(_) => 1,
        Health::Failed(_) => 0,
    };
    text.single(
        "storage_health",
        "gauge",
        "2 is well, 1 degraded, 0 failed.",
        health,
    );
    super::certificate::expose(node, &mut text);
    super::slots::expose(node, &mut text).await;
    super::cluster::expose(node, &mut text).await;
    super::mongo::expose(node, &mut text);
    Answer::new(StatusCode::OK, text.0)
}

/// How often each limit held something back.
fn expose_limits(node: &Node, text: &mut Exposition) {
    let help = "What a limit held back, by the limit's key in the configuration.";
    text.family("limited_total", "counter", help);
    for limit in LimitKind::ALL {
        let labels = format!("{{limit=\"{}\"}}", limit.key());
        text.sample("limited_total", &labels, node.limits.held(limit));
    }
}

/// How clients came and went.
fn expose_clients(node: &Node, text: &mut Exposition) {
    let shards = &node.hub().shards;
    let help = "Clients that asked for a namespace, by what became of it.";
    text.family("connects_total", "counter", help);
    for outcome in Connected::ALL {
        let count: u64 = shards.iter().map(|it| it.load.connects(outcome)).sum();
        let labels = format!("{{outcome=\"{}\"}}", outcome.name());
        text.sample("connects_total", &labels, count);
    }
    let help = "Connections that ended, by why.";
    text.family("closes_total", "counter", help);
    for reason in Reason::ALL {
        let count: u64 = shards.iter().map(|it| it.load.closes(reason)).sum();
        let labels = format!("{{reason=\"{}\"}}", reason.name().replace(' ', "_"));
        text.sample("closes_total", &labels, count);
    }
}

/// How long events take.
fn expose_times(node: &Node, text: &mut Exposition) {
    let shards = node.hub().shards.iter();
    let written = Counted::of(shards.map(|shard| &shard.load.written));
    let help = "From when the node began to send an event until it was written to its clients.";
    text.histogram("emit_write_seconds", help, &written);
    let kept = Counted::of([&*node.hub().keeping]);
    let help = "From when an emit to recoverable rooms was taken in until their histories had it.";
    text.histogram("emit_keep_seconds", help, &kept);
}

/// What waits, and for whom.
fn expose_queues(node: &Node, text: &mut Exposition) {
    let help = "Commands that wait for a shard.";
    text.family("mailbox_commands", "gauge", help);
    for (index, shard) in node.hub().shards.iter().enumerate() {
        let mailbox = &shard.mailbox;
        let waiting = mailbox.max_capacity() - mailbox.capacity();
        text.sample(
            "mailbox_commands",
            &format!("{{shard=\"{index}\"}}"),
            waiting,
        );
    }
    let jobs = node.jobs.max_capacity() - node.jobs.capacity();
    let help = "Jobs of shards that wait for the control plane.";
    text.single("jobs", "gauge", help, jobs);
    let stats = node.recovery.store().stats();
    let help = "Calls to storage that are under way.";
    text.single("storage_calls", "gauge", help, stats.under_way);
    let help = "Calls that storage has taken up.";
    text.single("storage_calls_total", "counter", help, stats.calls);
    let help = "Flushes; calls that must last share them.";
    text.single("storage_flushes_total", "counter", help, stats.flushes);
    let help = "Bytes free on the disk of the data folder.";
    text.single("storage_free_bytes", "gauge", help, stats.free_bytes);
}

/// Text for Prometheus; each family begins with what it is.
#[derive(Default)]
pub(super) struct Exposition(String);

impl Exposition {
    /// Begins a family of samples.
    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(
            self.0,
            "# HELP tidings_{name} {help}\n# TYPE tidings_{name} {kind}"
        );
    }

    /// One sample of the family.
    pub(super) fn sample(&mut self, name: &str, labels: &str, value: impl Display) {
        let _ = writeln!(self.0, "tidings_{name}{labels} {value}");
    }

    /// A family of how long something takes.
    fn histogram(&mut self, name: &str, help: &str, counted: &Counted) {
        self.family(name, "histogram", help);
        let bucket = format!("{name}_bucket");
        for (bound, at_most) in BOUNDS.iter().zip(counted.at_most) {
            let labels = format!("{{le=\"{}\"}}", bound.as_secs_f64());
            self.sample(&bucket, &labels, at_most);
        }
        self.sample(&bucket, "{le=\"+Inf\"}", counted.count);
        self.sample(&format!("{name}_sum"), "", counted.seconds);
        self.sample(&format!("{name}_count"), "", counted.count);
    }

    /// A family of one sample.
    pub(super) fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, "", value);
    }
}

fn shard_view(load: &Load) -> Value {
    let figures = FIGURES.iter().map(|(name, _, _, value)| {
        let name = name.trim_end_matches("_total");
        (camel(name), json!(value(load)))
    });
    Value::Object(figures.collect())
}

/// `outbox_bytes` → `outboxBytes`.
pub(super) fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let (first, rest) = word.split_at(1);
        camel.extend([first.to_uppercase().as_str(), rest]);
    }
    camel
}

pub(super) fn storage_view(health: &Health) -> Value {
    match health {
        Health::Ok => json!({ "status": "ok" }),
        Health::Degraded(why) => json!({ "status": "degraded", "message": why }),
        Health::Failed(why) => json!({ "status": "failed", "message": why }),
    }
}

/// Files that the process has open and may have open.
async fn open_files() -> Value {
    // procfs is no disk, but it takes locks that a busy process holds.
    let counted = tokio::task::spawn_blocking(|| {
        std::fs::read_dir("/proc/self/fd")
            .map(|files| files.count())
            .ok()
    });
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    json!({ "open": counted.await.ok().flatten(), "limit": limit })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_their_names_in_both_forms() {
        let load = Load::default();
        load.slow_readers.store(3, Relaxed);
        let view = shard_view(&load);
        assert_eq!(view["slowReaders"], 3);
        assert_eq!(view.as_object().unwrap().len(), FIGURES.len());
        let mut text = Exposition::default();
        text.single("rooms", "gauge", "Rooms.", 7);
        let expected = "# HELP tidings_rooms Rooms.\n# TYPE tidings_rooms gauge\ntidings_rooms 7\n";
        assert_eq!(text.0, expected);
    }
}
