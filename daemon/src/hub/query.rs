//! Questions to all shards, and acts of operators on sockets and rooms.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tidings_cluster::proto::slots::Home;
use tokio::sync::oneshot;

use super::Hub;
use crate::shard::{command::Command, machine::Transport, state::State};

/// A socket as an operator sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SocketInfo {
    /// Its id.
    pub id: Arc<str>,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its user.
    pub user: Option<Arc<str>>,
    /// The rooms that it is in.
    pub rooms: Vec<Arc<str>>,
    /// What carries its connection.
    pub transport: Transport,
    /// Whether it was recovered.
    pub recovered: bool,
    /// Its address.
    pub ip: std::net::IpAddr,
    /// When its connection was opened, unix milliseconds; 0 from a node that does not tell.
    #[serde(default)]
    pub since_ms: u64,
    /// The node that holds it; empty from a node that does not tell.
    #[serde(default)]
    pub node: String,
    /// The id of its connection. A secret: whoever knows it can speak for the client.
    pub connection: Arc<str>,
    /// Its CONNECT payload, if the handler keeps it.
    pub auth: Option<Box<serde_json::value::RawValue>>,
    /// Its handshake.
    pub handshake: Arc<crate::app::handler::Handshake>,
}

/// Which sockets are meant.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Target {
    /// Only of this namespace.
    pub namespace: Option<String>,
    /// Members of any of these rooms. A socket's id is a room.
    pub rooms: Vec<String>,
    /// Sockets of any of these users.
    pub users: Vec<String>,
    /// But none of these rooms' members.
    pub except: Vec<String>,
    /// Everybody, if neither rooms nor users are named. Otherwise nobody.
    pub everybody: bool,
}

impl Target {
    /// One socket.
    pub fn socket(id: &str) -> Self {
        Self {
            rooms: vec![id.to_owned()],
            ..Self::default()
        }
    }

    /// All sockets of a user.
    pub fn user(user: &str) -> Self {
        Self {
            users: vec![user.to_owned()],
            ..Self::default()
        }
    }

    /// All sockets of the node.
    pub fn all() -> Self {
        Self {
            everybody: true,
            ..Self::default()
        }
    }
}

/// What to do with sockets.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Act {
    /// Put them into rooms.
    Join(Vec<String>),
    /// Take them out of rooms.
    Leave(Vec<String>),
    /// Put them out of their namespace; close their connection as well if `close`.
    Disconnect {
        /// Whether the connection closes.
        close: bool,
    },
    /// Close the transport, as a network would.
    CloseTransport,
}

impl Hub {
    /// The sockets of a target, by id.
    pub async fn sockets(&self, target: Target) -> Vec<SocketInfo> {
        let target = Arc::new(target);
        let look = move |state: &mut State| state.look_at(&target);
        let mut sockets: Vec<SocketInfo> = self.ask_all(look).await.into_iter().flatten().collect();
        sockets.sort_by(|a, b| (&a.id, &a.namespace).cmp(&(&b.id, &b.namespace)));
        sockets
    }

    /// How many sockets a target has, and at least the first `limit` of them, by id, after `after`;
    /// all that there are, if fewer.
    pub async fn sockets_page(
        &self,
        target: Target,
        after: Option<String>,
        limit: usize,
    ) -> (usize, Vec<SocketInfo>) {
        let (target, after) = (Arc::new(target), after.map(Arc::<str>::from));
        let look = move |state: &mut State| state.look_at_page(&target, after.as_deref(), limit);
        let (mut count, mut sockets) = (0, Vec::new());
        for (found, page) in self.ask_all(look).await {
            count += found;
            sockets.extend(page);
        }
        sockets.sort_by(|a, b| a.id.cmp(&b.id));
        (count, sockets)
    }

    /// The rooms of a namespace and how many sockets are in each, by name.
    pub async fn rooms(&self, namespace: &str) -> BTreeMap<Arc<str>, usize> {
        let Some(namespace) = self.namespaces.find(namespace) else {
            return BTreeMap::new();
        };
        let mut all = BTreeMap::new();
        for rooms in self
            .ask_all(move |state| state.count_rooms(namespace))
            .await
        {
            for (room, members) in rooms {
                *all.entry(room).or_default() += members;
            }
        }
        all
    }

    /// Does something with the sockets of a target; returns how many there were. A socket that has
    /// joined a recoverable room is fed it by then, unless that takes long.
    pub async fn act(&self, target: Target, act: Act) -> usize {
        const PATIENCE: Duration = Duration::from_secs(1);
        let (target, act) = (Arc::new(target), Arc::new(act));
        let acted = self.ask_all(move |state| state.act_on(&target, &act)).await;
        let (counts, unkept): (Vec<usize>, Vec<Vec<_>>) = acted.into_iter().unzip();
        let kept = futures_util::future::join_all(unkept.into_iter().flatten());
        let _ = tokio::time::timeout(PATIENCE, kept).await;
        counts.into_iter().sum()
    }

    /// Ends the sockets that live under these sessions; returns how many there were.
    pub async fn end_sessions(&self, user: &str, sessions: Vec<String>) -> usize {
        let (user, sessions): (Arc<str>, Arc<[String]>) = (user.into(), sessions.into());
        self.ask_all(move |state| state.end_sessions(&user, &sessions))
            .await
            .into_iter()
            .sum()
    }

    /// Tells the sockets that live under a session its new end.
    pub async fn renew_session(&self, user: &str, session: &str, expires_ms: u64) {
        let (user, session): (Arc<str>, Arc<str>) = (user.into(), session.into());
        self.ask_all(move |state| state.renew_session(&user, &session, expires_ms))
            .await;
    }

    /// Ends the sockets that live under any of some sessions, and tells those under others their new
    /// ends: each shard looks at all its sockets once.
    pub(crate) async fn sessions_changed(
        &self,
        ended: HashSet<String>,
        moved: HashMap<String, u64>,
    ) {
        if ended.is_empty() && moved.is_empty() {
            return;
        }
        let (ended, moved) = (Arc::new(ended), Arc::new(moved));
        self.ask_all(move |state| state.sessions_changed(&ended, &moved))
            .await;
    }

    /// The sessions that sockets of this node live under.
    pub(crate) async fn live_sessions(&self) -> HashSet<Arc<str>> {
        let live = self.ask_all(|state| state.live_sessions()).await;
        live.into_iter().flatten().collect()
    }

    /// Closes the connection that held a recovery record, because another one has taken it over.
    pub(crate) async fn release(&self, home: Home) {
        self.ask_all(move |state| state.release(home)).await;
    }

    /// Asks every shard; a shard that is gone does not answer.
    pub(crate) async fn ask_all<T: Send + 'static>(
        &self,
        question: impl Fn(&mut State) -> T + Clone + Send + 'static,
    ) -> Vec<T> {
        let mut waiting = Vec::with_capacity(self.shards.len());
        for shard in &self.shards {
            let (reply, answer) = oneshot::channel();
            let question = question.clone();
            let ask = move |state: &mut State| {
                let _ = reply.send(question(state));
            };
            if shard
                .mailbox
                .send(Command::Run(Box::new(ask)))
                .await
                .is_ok()
            {
                waiting.push(answer);
            }
        }
        let mut answers = Vec::with_capacity(waiting.len());
        for answer in waiting {
            answers.extend(answer.await);
        }
        answers
    }
}
