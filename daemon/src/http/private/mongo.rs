//! How the shared MongoDB is, for people and for Prometheus.

use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Value, json};
use tidings_storage::mongo::{Mongo, MongoHealth};

use super::status::Exposition;
use crate::{
    app::{
        accounts::rfc3339,
        shared::{SharedSessions, Watching},
    },
    node::Node,
    streams::StreamFigures,
};

/// MongoDB in detailed health; nothing if none is shared.
pub(super) fn view(node: &Node) -> Value {
    let Some(mongo) = &node.mongo else {
        return Value::Null;
    };
    let mut view = match mongo.health() {
        MongoHealth::Untried => json!({ "status": "unknown" }),
        MongoHealth::Up => json!({ "status": "ok" }),
        MongoHealth::Degraded { since_ms, why } => json!({
            "status": "degraded",
            "since": rfc3339(since_ms),
            "message": why,
        }),
    };
    if let Some(shared) = &node.shared {
        view["logout"] = logout(&shared.watching());
    }
    let streams: Vec<_> = node.streams.iter().map(|it| stream(it)).collect();
    view["streams"] = json!(streams);
    view
}

/// How ends of sessions are noticed.
fn logout(watching: &Watching) -> Value {
    match watching {
        Watching::Waiting => json!({ "by": "nothing" }),
        Watching::Stream => json!({ "by": "changeStream" }),
        Watching::Recheck {
            why,
            sessions,
            took_ms,
        } => json!({
            "by": "recheck",
            "message": why,
            "sessions": sessions,
            "tookMs": took_ms,
        }),
    }
}

fn stream(figures: &StreamFigures) -> Value {
    json!({
        "name": figures.name,
        "reading": figures.reading.load(Relaxed),
        "emitted": figures.emitted.load(Relaxed),
        "skipped": figures.skipped.load(Relaxed),
        "lost": figures.lost.load(Relaxed),
        "lostAt": figures.lost_lately().map(rfc3339),
    })
}

/// Adds MongoDB's figures, if one is shared.
pub(super) fn expose(node: &Node, text: &mut Exposition) {
    let Some(mongo) = &node.mongo else { return };
    let (health, since_ms) = match mongo.health() {
        MongoHealth::Untried => (0, 0),
        MongoHealth::Up => (2, 0),
        MongoHealth::Degraded { since_ms, .. } => (1, since_ms),
    };
    let help = "2 is well, 1 degraded, 0 not tried yet.";
    text.single("mongodb_health", "gauge", help, health);
    let help = "Unix time since which MongoDB is degraded, or 0.";
    let name = "mongodb_degraded_since_seconds";
    text.single(name, "gauge", help, since_ms / 1000);
    operations(mongo, text);
    if let Some(shared) = &node.shared {
        sessions(shared, text);
    }
    streams(node, text);
}

fn sessions(shared: &SharedSessions, text: &mut Exposition) {
    let figures = shared.figures();
    let help = "Logins of MongoDB that were asked for: known, read anew, known from before while \
                MongoDB failed, not to be had.";
    text.family("mongodb_sessions_total", "counter", help);
    for (source, count) in [
        ("cached", figures.cached),
        ("read", figures.read),
        ("stale", figures.stale),
        ("unavailable", figures.unavailable),
    ] {
        let labels = format!("{{source=\"{source}\"}}");
        text.sample("mongodb_sessions_total", &labels, count);
    }
    for (name, help, count) in [
        (
            "mongodb_sessions_malformed_total",
            "Documents of sessions that could not be read.",
            figures.malformed,
        ),
        (
            "mongodb_sessions_ended_total",
            "Sessions that were seen to end.",
            figures.ended,
        ),
        (
            "mongodb_session_streams_total",
            "Change streams of sessions that were opened.",
            figures.streams,
        ),
        (
            "mongodb_session_rounds_total",
            "Rounds in which the sessions of all connected clients were looked at.",
            figures.rounds,
        ),
    ] {
        text.single(name, "counter", help, count);
    }
}

/// A figure of each stream: name, kind, meaning, value.
type Figure = (
    &'static str,
    &'static str,
    &'static str,
    fn(&StreamFigures) -> u64,
);

const FIGURES: [Figure; 5] = [
    (
        "mongodb_stream_reading",
        "gauge",
        "Whether this node reads the stream.",
        |it| u64::from(it.reading.load(Relaxed)),
    ),
    (
        "mongodb_stream_emitted_total",
        "counter",
        "Changes that became events.",
        |it| it.emitted.load(Relaxed),
    ),
    (
        "mongodb_stream_skipped_total",
        "counter",
        "Changes that cannot become events.",
        |it| it.skipped.load(Relaxed),
    ),
    (
        "mongodb_stream_retried_total",
        "counter",
        "Emits of changes that were refused and tried again.",
        |it| it.retried.load(Relaxed),
    ),
    (
        "mongodb_stream_lost_total",
        "counter",
        "How often changes were missed.",
        |it| it.lost.load(Relaxed),
    ),
];

fn streams(node: &Node, text: &mut Exposition) {
    if node.streams.is_empty() {
        return;
    }
    for (name, kind, help, value) in FIGURES {
        text.family(name, kind, help);
        for figures in &node.streams {
            let labels = format!("{{stream=\"{}\"}}", figures.name);
            text.sample(name, &labels, value(figures));
        }
    }
}

fn operations(mongo: &Mongo, text: &mut Exposition) {
    let figures = mongo.figures();
    let help = "Operations on MongoDB by how they ended.";
    text.family("mongodb_operations_total", "counter", help);
    for (outcome, count) in [
        ("answered", figures.answered),
        ("late", figures.late),
        ("unreachable", figures.unreachable),
        ("refused", figures.refused),
        ("failed", figures.failed),
        ("busy", figures.busy),
    ] {
        let labels = format!("{{outcome=\"{outcome}\"}}");
        text.sample("mongodb_operations_total", &labels, count);
    }
    let help = "Operations on MongoDB that are under way.";
    let name = "mongodb_operations_under_way";
    text.single(name, "gauge", help, figures.under_way);
}
