//! Rooms, sockets and users as they are now.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    Api,
    answer::{Answer, with_silent},
    emit::Outcome,
    query::{Page, Query},
    refusal::Refusal,
};
use crate::app::accounts::rfc3339;
use crate::hub::query::{SocketInfo, Target};

/// The rooms of a namespace: by name, or those with the most sockets first.
pub(super) async fn rooms(api: &Api, query: Option<&str>) -> Outcome {
    let known = ["limit", "after", "namespace", "contains", "order"];
    let query = Query::parse(query, &known)?;
    let (page, largest) = (query.page()?, by_size(&query)?);
    let contains = query.value("contains").unwrap_or_default();
    let found = api.node.relay().rooms(&api.node, &namespace(&query)).await;
    let all = found.value.into_iter();
    let mut rooms: Vec<(Arc<str>, usize)> =
        all.filter(|(room, _)| room.contains(&contains)).collect();
    let count = rooms.len();
    if largest {
        rooms.sort_by(|a, b| (b.1, &a.0).cmp(&(a.1, &b.0)));
        rooms.truncate(page.limit);
    }
    let show = |(room, sockets): &(_, usize)| json!({ "room": room, "sockets": sockets });
    let (rooms, next) = page.cut(rooms.into_iter(), |(room, _)| room, show);
    let body = json!({ "rooms": rooms, "count": count, "next": next });
    Ok(Answer::ok(&with_silent(body, &found.silent)))
}

/// The sockets in a room.
pub(super) async fn room(api: &Api, room: &str, query: Option<&str>) -> Outcome {
    let query = Query::parse(query, &["limit", "after", "namespace"])?;
    let page = query.page()?;
    let namespace = namespace(&query);
    let target = Target {
        namespace: Some(namespace.clone()),
        rooms: vec![room.to_owned()],
        ..Target::default()
    };
    let (count, sockets, next, silent) = sockets_page(api, target, &page).await;
    let body = json!({
        "room": room, "namespace": namespace, "count": count, "sockets": sockets, "next": next,
    });
    Ok(Answer::ok(&with_silent(body, &silent)))
}

/// All sockets, or those of a namespace.
pub(super) async fn sockets(api: &Api, query: Option<&str>) -> Outcome {
    let query = Query::parse(query, &["limit", "after", "namespace"])?;
    let page = query.page()?;
    let target = Target {
        namespace: query.value("namespace"),
        ..Target::all()
    };
    let (count, sockets, next, silent) = sockets_page(api, target, &page).await;
    let body = json!({ "count": count, "sockets": sockets, "next": next });
    Ok(Answer::ok(&with_silent(body, &silent)))
}

/// One socket.
pub(super) async fn socket(api: &Api, id: &str) -> Outcome {
    let found = api
        .node
        .relay()
        .sockets(&api.node, Target::socket(id))
        .await;
    // A room may have the id's form; only the socket itself is meant.
    let found = found.value.iter().find(|socket| *socket.id == *id);
    let found = found.ok_or_else(|| Refusal::not_found("there is no such socket"))?;
    Ok(Answer::ok(&view(found)))
}

/// A user and its sockets.
pub(super) async fn user(api: &Api, user: &str, query: Option<&str>) -> Outcome {
    let query = Query::parse(query, &["limit", "after", "namespace"])?;
    let page = query.page()?;
    let target = Target {
        namespace: query.value("namespace"),
        ..Target::user(user)
    };
    let (count, sockets, next, silent) = sockets_page(api, target, &page).await;
    let body = json!({
        "userId": user, "connected": count > 0, "count": count, "sockets": sockets, "next": next,
    });
    Ok(Answer::ok(&with_silent(body, &silent)))
}

/// Whether the largest are to come first; then there is one page only.
fn by_size(query: &Query) -> Result<bool, Refusal> {
    match query.value("order").as_deref() {
        None | Some("name") => Ok(false),
        Some("sockets") if query.value("after").is_none() => Ok(true),
        Some("sockets") => Err(Refusal::params("`after` goes with `order=name` only")),
        Some(_) => Err(Refusal::params("`order` must be `name` or `sockets`")),
    }
}

fn namespace(query: &Query) -> String {
    query.value("namespace").unwrap_or_else(|| "/".to_owned())
}

/// How many sockets there are, the page, where the next one begins, and who did not answer.
async fn sockets_page(
    api: &Api,
    target: Target,
    page: &Page,
) -> (usize, Vec<Value>, Value, Vec<Arc<str>>) {
    let (after, limit) = (page.after.clone(), page.limit);
    let relay = api.node.relay();
    // One more tells whether there is another page.
    let found = relay
        .sockets_page(&api.node, target, after, limit + 1)
        .await;
    let (count, all) = found.value;
    let (sockets, next) = page.cut(all.iter(), |socket| &socket.id, |socket| view(socket));
    (count, sockets, next, found.silent)
}

fn view(socket: &SocketInfo) -> Value {
    json!({
        "id": socket.id,
        "namespace": socket.namespace,
        "userId": socket.user,
        "rooms": socket.rooms,
        "transport": socket.transport,
        "recovered": socket.recovered,
        "ip": socket.ip,
        "since": (socket.since_ms > 0).then(|| rfc3339(socket.since_ms)),
        "node": socket.node,
    })
}
