//! The private listener: the HTTP API for backends and operators, health and metrics; and the admin
//! socket, through which the command line reaches a running daemon.
//!
//! | module | what it is |
//! |---|---|
//! | `routes` | every route, in one table |
//! | `fields`, `query` | PURE: what a request brings, each complaint naming its field |
//! | `command` | PURE: an emit's JSON → what is to be sent |
//! | `emit`, `stream` | one, many, and as many as the caller likes |
//! | `body`, `lines` | a body as a whole, and as lines |
//! | `repeats` | idempotency keys |
//! | `typed` | emits of the trading profile |
//! | `sessions`, `look`, `act` | sessions; rooms, sockets and users; acts on them |
//! | `backup` | the store as one file |
//! | `door`, `login` | who may ask: keys, and admins at the page |
//! | `page` | the files of the admin page |
//! | `overview` | what the page shows of the node |
//! | `status`, `certificate` | detailed health, metrics; what of them is about TLS |
//! | `cluster`, `slots` | the nodes; recoverable rooms |
//! | `answer`, `refusal` | what goes back |

mod act;
mod answer;
pub(in crate::http) mod backup;
mod body;
mod certificate;
pub(in crate::http) mod cluster;
mod command;
mod door;
mod emit;
mod fields;
mod lines;
mod listen;
mod login;
mod look;
mod mongo;
mod overview;
mod page;
mod query;
mod refusal;
mod repeats;
mod routes;
pub(crate) mod sessions;
pub(in crate::http) mod slots;
pub(in crate::http) mod status;
mod stream;
mod typed;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use bytes::Bytes;
use hyper::{HeaderMap, Request, body::Incoming, header::AUTHORIZATION, http::request::Parts};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{
    app::{
        accounts::Accounts,
        keys::{Caller, KeyRefusal, Scope},
    },
    config::{Channel, Config},
    lifecycle::reload,
    live::Live,
    node::{Node, now_ms},
};
use answer::Response;
pub(super) use answer::{Answer, with_silent};
use door::{By, Origin};
use refusal::Refusal;
use repeats::Repeats;
use routes::{Call, Params, Route};
use status::Counts;

/// The served description of the API, OpenAPI 3.1.
const DESCRIPTION: &str = include_str!("private/openapi.json");

/// What the API works on.
pub(crate) struct Api {
    pub(super) node: Arc<Node>,
    pub(super) accounts: Accounts,
    /// The channels, whose rooms typed emits go to.
    channels: Live<BTreeMap<String, Channel>>,
    /// The data folder, for backups.
    data_dir: PathBuf,
    /// Bytes in a body, or in a line of a stream.
    body_limit: usize,
    /// Emits that carried an idempotency key.
    repeats: Repeats,
    /// What was asked and how it went.
    counts: Counts,
    /// The way to whoever reads the settings anew.
    reload: Option<mpsc::Sender<reload::Asked>>,
}

impl Api {
    /// The API of a node.
    pub(crate) fn new(
        node: Arc<Node>,
        accounts: Accounts,
        channels: Live<BTreeMap<String, Channel>>,
        config: &Config,
    ) -> Self {
        Self {
            node,
            accounts,
            channels,
            data_dir: config.node.data_dir.clone(),
            body_limit: config.limits.api_body,
            repeats: Repeats::default(),
            counts: Counts::default(),
            reload: None,
        }
    }

    /// Lets operators have the settings read anew.
    pub(crate) fn with_reload(mut self, reload: mpsc::Sender<reload::Asked>) -> Self {
        self.reload = Some(reload);
        self
    }

    /// Has the settings read anew; says what came of it, or why nothing did.
    pub(super) async fn reload(&self) -> Result<reload::Reloaded, String> {
        let (reply, answer) = oneshot::channel();
        let reload = self
            .reload
            .as_ref()
            .ok_or("this node has no settings to read")?;
        let asked = reload.try_send(reply);
        asked.map_err(|_| "too many reloads are under way, or the node is stopping")?;
        let stopping = |_| Err("the node is stopping".to_owned());
        answer.await.unwrap_or_else(stopping)
    }
}

/// Answers a request on the private listener.
async fn answer(
    api: Arc<Api>,
    request: Request<Incoming>,
    from: Origin,
    shutdown: CancellationToken,
) -> Response {
    let (head, mut body) = request.into_parts();
    if let Some(file) = page::answer(&head) {
        return file;
    }
    let answered = match admit(&api, &head, from).await {
        Ok(asked) => handle(api.clone(), asked, head, body, shutdown).await,
        Err(refusal) => {
            body::discard(&head.headers, &mut body).await;
            Err(refusal)
        }
    };
    let response = answered.unwrap_or_else(|refusal| refusal.response());
    api.counts.request(response.status());
    response
}

/// What is asked for, and by whom.
struct Asked {
    route: &'static Route,
    params: Params,
    by: By,
    from: Origin,
}

/// What a request asks for, if its key or its session allows it.
async fn admit(api: &Api, head: &Parts, from: Origin) -> Result<Asked, Refusal> {
    let (route, params) = routes::find(head.method.as_str(), head.uri.path())?;
    if route.call.is_login() {
        door::own_origin(head)?;
    }
    let by = door::enter(api, route, head, from).await?;
    Ok(Asked {
        route,
        params,
        by,
        from,
    })
}

async fn handle(
    api: Arc<Api>,
    asked: Asked,
    head: Parts,
    body: Incoming,
    shutdown: CancellationToken,
) -> Result<Response, Refusal> {
    let Asked {
        route,
        params,
        by,
        from,
    } = asked;
    if route.call == Call::EmitStream {
        no_query(head.uri.query())?;
        let (out, lines) = mpsc::channel(stream::PIECES);
        tokio::spawn(stream::run(api, head.headers, body, out, shutdown));
        return Ok(answer::stream(lines));
    }
    let limit = match route.call.is_login() {
        true => login::MAX_BODY.min(api.body_limit),
        false => api.body_limit,
    };
    let body = body::read(&head.headers, body, limit).await?;
    let query = head.uri.query().map(str::to_owned);
    if route.call.is_login() {
        no_query(query.as_deref())?;
        return login::answer(&api, route.call, &head, from, &body).await;
    }
    if route.call == Call::Backup {
        no_query(query.as_deref())?;
        return backup::answer(&api).await;
    }
    // A task of its own: what has begun is finished, whether or not the caller waits for it.
    let work = tokio::spawn(async move {
        let on = params.first().cloned();
        let done = perform(&api, route.call, params, query, body).await;
        door::note(&by, from, route, on.as_deref(), &done);
        done
    });
    work.await.unwrap_or_else(|_| Err(Refusal::internal()))
}

/// Whether the key of a request has a scope.
async fn authorize(api: &Api, scope: Scope, headers: &HeaderMap) -> Result<(), Refusal> {
    Ok(caller(api, headers).await?.require(scope)?)
}

/// Whose key a request carries.
async fn caller(api: &Api, headers: &HeaderMap) -> Result<Caller, KeyRefusal> {
    let header = headers
        .get(AUTHORIZATION)
        .and_then(|header| header.to_str().ok());
    let token = header.and_then(bearer).ok_or(KeyRefusal::Unauthorized)?;
    api.accounts.keys().verify(token, now_ms()).await
}

/// The token of `Bearer TOKEN` (RFC 6750); the scheme's case does not matter.
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Does what is asked for at a route.
async fn perform(
    api: &Arc<Api>,
    call: Call,
    params: Params,
    query: Option<String>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let query = query.as_deref();
    let takes_query = [
        Call::Rooms,
        Call::Room,
        Call::History,
        Call::Sockets,
        Call::User,
    ];
    if !takes_query.contains(&call) {
        no_query(query)?;
    }
    let param = |index: usize| params.get(index).map(String::as_str).unwrap_or_default();
    let answer = match call {
        Call::Health => {
            return Ok(crate::http::health::answer(&api.node).map(http_body_util::Either::Left));
        }
        Call::Metrics => {
            return Ok(status::metrics(api).await.response_as(status::METRICS_TYPE));
        }
        Call::Detailed => status::detailed(api).await,
        Call::Description => Ok(Answer::new(hyper::StatusCode::OK, DESCRIPTION)),
        Call::Overview => overview::show(api).await,
        Call::Cluster => cluster::show(api).await,
        Call::Slots => slots::show(api).await,
        Call::Forget => slots::forget(api, param(0)).await,
        Call::EmitOne => emit::one(api, &body).await,
        Call::EmitBatch => emit::batch(api, &body).await,
        Call::EmitStream | Call::Backup => unreachable!("their answers come in pieces"),
        Call::LogIn | Call::LogOut | Call::ShowLogin | Call::RenewLogin => {
            unreachable!("they need the request's head")
        }
        Call::Portfolio => {
            typed::to_user(api, "portfolio", "portfolio:updated", param(0), &body).await
        }
        Call::TradeExecuted => {
            typed::to_user(api, "trades", "trade:executed", param(0), &body).await
        }
        Call::TradeFailed => typed::to_user(api, "trades", "trade:failed", param(0), &body).await,
        Call::Quote => typed::quote(api, param(0), &body).await,
        Call::UserQuote => typed::quote_to_user(api, param(0), param(1), &body).await,
        Call::CreateSession => sessions::create(api, &body).await,
        Call::Session => sessions::show(api, param(0)).await,
        Call::DeleteSession => sessions::delete(api, param(0)).await,
        Call::DeleteSessions => sessions::delete_all(api, param(0)).await,
        Call::Rooms => look::rooms(api, query).await,
        Call::Room => look::room(api, param(0), query).await,
        Call::History => slots::history(api, param(0), query).await,
        Call::Join => act::join(api, param(0), &body).await,
        Call::Leave => act::leave(api, param(0), &body).await,
        Call::Sockets => look::sockets(api, query).await,
        Call::Socket => look::socket(api, param(0)).await,
        Call::DisconnectSocket => act::disconnect_socket(api, param(0), &body).await,
        Call::User => look::user(api, param(0), query).await,
        Call::DisconnectUser => act::disconnect_user(api, param(0), &body).await,
    };
    answer.map(Answer::response)
}

/// Refuses parameters where there are none to give.
fn no_query(query: Option<&str>) -> Result<(), Refusal> {
    query::Query::parse(query, &[]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_after_the_scheme() {
        for (header, token) in [
            ("Bearer tk_a_b", Some("tk_a_b")),
            ("bearer  tk", Some("tk")),
            ("Basic dTpw", None),
            ("Bearer", None),
            ("tk_a_b", None),
        ] {
            assert_eq!(bearer(header), token);
        }
    }
}
