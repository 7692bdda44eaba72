//! Recoverable rooms: who holds which slot, what is kept, and what a room's history holds.

use hyper::StatusCode;
use serde_json::{Value, json, value::RawValue};
use tidings_cluster::{
    Counts, Known, Refused, SlotStatus,
    proto::slots::{Body, Entry, NodeId},
};

use super::{
    Api, answer::Answer, emit::Outcome, query::Query, refusal::Refusal, status::Exposition,
};
use crate::{
    node::Node,
    recovery::{
        event::Logged,
        room,
        slot::{Offset, slot_of},
    },
};

/// Every slot as this node knows it.
pub(super) async fn show(api: &Api) -> Outcome {
    Ok(Answer::ok(&view(&api.node).await))
}

/// The slots in JSON.
pub(in crate::http) async fn view(node: &Node) -> Value {
    let history = node.recovery.history();
    let slots = history.status().await;
    let counts = history.counts();
    let figures = FIGURES.iter().map(|(name, _, _, value)| {
        let name = name.trim_start_matches("history_");
        let name = name.trim_end_matches("_total");
        (super::status::camel(name), json!(value(&counts)))
    });
    let failing = history
        .is_failing()
        .map(|failing| json!({ "why": failing.why, "seconds": failing.since.elapsed().as_secs() }));
    let roster = history.roster().await;
    let counted: Vec<Value> = roster.nodes.iter().map(of_known).collect();
    json!({
        "node": hex(node.recovery.node()),
        "counted": counted,
        "size": roster.size,
        "quorum": roster.quorum,
        "failing": failing,
        "figures": Value::Object(figures.collect()),
        "slots": slots.iter().map(of_slot).collect::<Vec<_>>(),
    })
}

fn of_known(known: &Known) -> Value {
    json!({
        "id": hex(known.id),
        "name": known.name,
        "alive": known.alive,
        "ready": known.ready,
    })
}

fn of_slot(slot: &SlotStatus) -> Value {
    let owner = slot.owner.as_ref();
    let owned = slot.owned.as_ref();
    json!({
        "slot": slot.slot,
        "owner": owner.map(|(id, _)| hex(*id)),
        "ownerName": owner.and_then(|(_, name)| name.clone()),
        "epoch": slot.eid.map(|eid| eid.counter),
        "owned": owned.map(|owned| json!({
            "copies": owned.copies.iter().copied().map(hex).collect::<Vec<_>>(),
            "kept": owned.kept,
            "committed": owned.commit.seq,
            "entries": owned.entries,
            "bytes": owned.bytes,
            "records": owned.records,
            "listeners": owned.listeners,
        })),
    })
}

/// A node's id as people see it.
fn hex(NodeId(id): NodeId) -> String {
    format!("{id:016x}")
}

/// A node will not come back: it is not counted any more, and never heard again.
pub(in crate::http) async fn forget(api: &Api, id: &str) -> Outcome {
    let parsed = (id.len() == 16).then(|| u64::from_str_radix(id, 16));
    let Some(Ok(id)) = parsed else {
        let what = "a node's id has 16 hexadecimal digits, as in `tidings cluster status`";
        return Err(Refusal::params(what.to_owned()));
    };
    let node = &api.node;
    if NodeId(id) == node.recovery.node() {
        let what = "a node cannot forget itself; stop it, and ask another";
        return Err(Refusal::params(what.to_owned()));
    }
    let done = node.recovery.history().forget(NodeId(id)).await;
    done.map_err(|error| Refusal::unavailable(error.to_string()))?;
    Ok(Answer::of(
        StatusCode::OK,
        &json!({ "forgotten": hex(NodeId(id)) }),
    ))
}

/// The events of a recoverable room that are kept, oldest first.
pub(super) async fn history(api: &Api, name: &str, query: Option<&str>) -> Outcome {
    let query = Query::parse(query, &["limit", "after", "namespace"])?;
    let page = query.page()?;
    let namespace = query.value("namespace").unwrap_or_else(|| "/".to_owned());
    let after = match page.after.as_deref().map(Offset::decode) {
        None => None,
        Some(Ok(offset)) if offset.slot == slot_of(name) => Some(offset.position),
        Some(_) => {
            let what = "`after` must be an offset of this room, as an emit's answer or an entry of \
                        its history has it";
            return Err(Refusal::params(what.to_owned()));
        }
    };
    let key = room::key(&namespace, name);
    let limit = page.limit as u32;
    let read = api.node.recovery.history().history(key, after, limit).await;
    let read = match read {
        Ok(read) => read,
        Err(Refused::Invalid) => {
            let what = "what followed `after` is not known any more";
            return Err(Refusal::gone(what.to_owned()));
        }
        Err(error) => return Err(Refusal::unavailable(error.to_string())),
    };
    let entries: Vec<Value> = read
        .entries
        .iter()
        .filter_map(|it| of_entry(name, it))
        .collect();
    let is_full = entries.len() >= page.limit;
    let last = entries.last().map(|entry| entry["offset"].clone());
    let upto = Offset {
        slot: slot_of(name),
        position: read.upto,
    };
    Ok(Answer::ok(&json!({
        "room": name,
        "namespace": namespace,
        "events": entries,
        "next": last.filter(|_| is_full),
        "upTo": upto.encode(),
    })))
}

fn of_entry(name: &str, entry: &Entry) -> Option<Value> {
    let Body::Event {
        id,
        payload: Some(payload),
        ..
    } = &entry.body
    else {
        return None;
    };
    let Logged { except, event } = Logged::decode(payload).ok()?;
    let offset = Offset {
        slot: slot_of(name),
        position: entry.position,
    };
    let args: Vec<&RawValue> = event.args.iter().map(|arg| &**arg).collect();
    let mut args = serde_json::to_value(args).ok()?;
    if !event.attachments.is_empty() {
        super::emit::fill_in(&mut args, &event.attachments);
    }
    Some(json!({
        "offset": offset.encode(),
        "id": String::from_utf8_lossy(id),
        "at": entry.at_ms,
        "event": event.name,
        "args": args,
        "except": except,
    }))
}

/// A figure of recoverable rooms: name, kind, meaning, where it stands.
type Figure = (&'static str, &'static str, &'static str, fn(&Counts) -> f64);

const FIGURES: [Figure; 13] = [
    (
        "history_opens_total",
        "counter",
        "Slots that this node came to own.",
        |counts| counts.opens as f64,
    ),
    (
        "history_aborted_total",
        "counter",
        "Attempts to own a slot that came to nothing.",
        |counts| counts.aborted as f64,
    ),
    (
        "history_cuts_total",
        "counter",
        "Slots that were opened without anything from before: clients were told.",
        |counts| counts.cuts as f64,
    ),
    (
        "history_rooms_cut_total",
        "counter",
        "Rooms whose clients here had to come again.",
        |counts| counts.rooms_cut as f64,
    ),
    (
        "history_refused_total",
        "counter",
        "Emits and changes of records that nobody did in time.",
        |counts| counts.refused as f64,
    ),
    (
        "history_kept_total",
        "counter",
        "Emits of this node that were answered as kept.",
        |counts| counts.kept as f64,
    ),
    (
        "history_not_kept_total",
        "counter",
        "Emits of this node that were answered as not kept.",
        |counts| counts.not_kept as f64,
    ),
    (
        "history_owned_slots",
        "gauge",
        "Slots that this node owns.",
        |counts| counts.owned as f64,
    ),
    (
        "history_under_copied_slots",
        "gauge",
        "Of these, those with fewer copies than there should be.",
        |counts| counts.under_copied as f64,
    ),
    (
        "history_opening_slots",
        "gauge",
        "Slots that this node is about to own.",
        |counts| counts.opening as f64,
    ),
    (
        "history_time_to_own_seconds",
        "gauge",
        "How long it took to own the latest slot.",
        |counts| counts.own_ms as f64 / 1000.0,
    ),
    (
        "history_worst_time_to_own_seconds",
        "gauge",
        "The longest that it ever took.",
        |counts| counts.own_worst_ms as f64 / 1000.0,
    ),
    (
        "history_undelivered_bytes",
        "gauge",
        "Bytes of events that the shards have not taken yet.",
        |counts| counts.undelivered_bytes as f64,
    ),
];

/// The figures of recoverable rooms in Prometheus' text format.
pub(super) async fn expose(node: &Node, text: &mut Exposition) {
    let counts = node.recovery.history().counts();
    for (name, kind, help, value) in FIGURES {
        text.family(name, kind, help);
        text.sample(name, "", value(&counts));
    }
    let (entries, bytes) = held(node).await;
    let help = "Events of owned slots that can be replayed.";
    text.single("recovery_entries", "gauge", help, entries);
    let help = "Bytes of these events.";
    text.single("recovery_bytes", "gauge", help, bytes);
}

/// Events that can be replayed of the slots that this node owns, and their bytes.
pub(super) async fn held(node: &Node) -> (usize, u64) {
    let slots = node.recovery.history().status().await;
    let owned = slots.iter().filter_map(|slot| slot.owned.as_ref());
    owned.fold((0, 0), |(entries, bytes), owned| {
        (entries + owned.entries, bytes + owned.bytes)
    })
}
