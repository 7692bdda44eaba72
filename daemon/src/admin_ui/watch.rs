//! This node's one task for whoever looks, on any node: it knows whether there is somebody, has the
//! shards note what happens if so, and emits that and the node's figures to the room of those who
//! look. It alone begins and ends that, so the two cannot cross.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use serde_json::{json, value::RawValue};
use tokio::{
    sync::{mpsc, oneshot},
    time::MissedTickBehavior,
};

use super::{
    ROOM, SHOWN,
    figures::{Happened, Totals},
    note::{Note, event},
    view::Seen,
};
use crate::{
    app::handler::Effect,
    config::{AdminUiMode, Config},
    event::{EmitRequest, Event},
    node::{Node, now_ms},
    relay::Relay,
    shard::state::State,
};

/// Notes of shards that wait for the task; what comes beyond is lost, and looked up anew.
const NOTES: usize = 4096;

/// Notes that the task takes at once.
const AT_ONCE: usize = 256;

/// Looks that wait for the task; nobody else fills this queue.
const LOOKS: usize = 16;

/// How often figures are read.
const SECOND: Duration = Duration::from_secs(1);

/// Seconds between two reports of the figures.
const REPORT: u32 = 2;

/// How often at most everybody looks again because notes were lost.
const AGAIN: Duration = Duration::from_secs(10);

/// How long shards may take until a look goes on without them.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a node's shards and task go by.
pub struct Watch {
    /// The namespace of the admin UI.
    pub(crate) namespace: String,
    /// Whether clients, rooms and events are shown, not figures alone.
    pub(crate) detail: bool,
    /// Namespaces that are shown though nobody is in them.
    namespaces: Vec<String>,
    /// Bytes of sockets that one look shows: more would not fit into an outbox.
    fits: usize,
    relay: Arc<Relay>,
    looks: mpsc::Sender<Look>,
    notes: mpsc::Sender<Note>,
    /// Whether notes were lost.
    lost: AtomicBool,
    /// For the task, which takes it.
    queues: Mutex<Option<Queues>>,
}

/// Somebody looks; what there is to see on this node.
type Look = oneshot::Sender<Vec<Seen>>;

type Queues = (mpsc::Receiver<Look>, mpsc::Receiver<Note>);

impl Watch {
    pub(super) fn new(config: &Config, relay: Arc<Relay>) -> Self {
        let (looks, asked) = mpsc::channel(LOOKS);
        let (notes, told) = mpsc::channel(NOTES);
        let settings = &config.admin_ui;
        let own = &settings.namespace;
        let namespaces = config.namespaces.iter().map(|it| &it.name).chain([own]);
        Self {
            namespace: own.clone(),
            detail: settings.mode == AdminUiMode::Development,
            namespaces: namespaces.cloned().collect(),
            fits: config.limits.outbox / 2,
            relay,
            looks,
            notes,
            lost: AtomicBool::new(false),
            queues: Mutex::new(Some((asked, told))),
        }
    }

    /// What a socket in the room of those who look is to be shown first, before what happens from
    /// now on.
    pub(crate) fn look(&self) -> Effect {
        let (relay, detail) = (self.relay.clone(), self.detail);
        let (fits, rooms) = (self.fits, vec![ROOM.into()]);
        let work = async move {
            let sockets = within(relay.watch().await, fits);
            let shown = detail.then(|| Effect::Emit(event("all_sockets", &(sockets,))));
            shown.into_iter().collect()
        };
        Effect::Settled {
            rooms,
            work: Box::pin(work),
        }
    }

    /// Somebody looks, here or on another node: the sockets of this node. What happens to them from
    /// now on is told.
    pub(crate) async fn begin(&self) -> Vec<Box<RawValue>> {
        let (look, seen) = oneshot::channel();
        let asked = async {
            // The task ends with the node only.
            let _ = self.looks.send(look).await;
            seen.await.unwrap_or_default()
        };
        let seen = tokio::time::timeout(PATIENCE, asked).await;
        let seen = seen.unwrap_or_default();
        let sockets = seen.iter().filter_map(|seen| {
            let json = seen.json();
            serde_json::value::to_raw_value(&json).ok()
        });
        within(sockets.collect(), self.fits)
    }

    /// Takes a note of a shard; false if there is no room.
    pub(crate) fn tell(&self, note: Note) -> bool {
        self.notes.try_send(note).is_ok()
    }

    /// Whether few notes wait, so that more may come than must.
    pub(crate) fn is_idle(&self) -> bool {
        self.notes.capacity() > NOTES / 2
    }

    /// What is shown is not all right any more.
    pub(crate) fn lose(&self) {
        self.lost.store(true, Relaxed);
    }
}

/// As many as are shown; one that does not fit keeps no other out.
fn within(mut sockets: Vec<Box<RawValue>>, fits: usize) -> Vec<Box<RawValue>> {
    let mut left = fits;
    sockets.retain(|socket| {
        let rest = left.checked_sub(socket.get().len() + 1);
        left = rest.unwrap_or(left);
        rest.is_some()
    });
    sockets.truncate(SHOWN);
    sockets
}

/// Serves those who look for as long as the node lives.
pub(crate) async fn run(node: Arc<Node>, watch: Arc<Watch>) {
    let queues = watch.queues.lock().unwrap_or_else(PoisonError::into_inner);
    let taken = { queues }.take();
    let Some((mut looks, mut notes)) = taken else {
        return;
    };
    let mut second = tokio::time::interval(SECOND);
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = Vec::with_capacity(AT_ONCE);
    let mut desk = Desk::new(node, watch);
    loop {
        // All are cancel-safe.
        tokio::select! {
            look = looks.recv() => match look {
                Some(look) => desk.handle_look(look).await,
                None => return,
            },
            _ = second.tick() => desk.handle_second().await,
            _ = notes.recv_many(&mut told, AT_ONCE) => {
                for note in told.drain(..) {
                    desk.handle_note(note).await;
                }
            }
        }
    }
}

/// What the task has.
struct Desk {
    node: Arc<Node>,
    watch: Arc<Watch>,
    /// Whether somebody looks.
    watching: bool,
    /// Seconds for which somebody was known to look who has not been shown anything.
    unserved: u32,
    /// Seconds since somebody looked.
    seconds: u32,
    /// The figures at the last second.
    before: Totals,
    /// What has happened since the last report.
    happened: Vec<Happened>,
    /// When everybody looked again.
    again: Option<Instant>,
}

impl Desk {
    fn new(node: Arc<Node>, watch: Arc<Watch>) -> Self {
        Self {
            node,
            watch,
            watching: false,
            unserved: 0,
            seconds: 0,
            before: Totals::default(),
            happened: Vec::new(),
            again: None,
        }
    }

    async fn handle_look(&mut self, look: Look) {
        let seen = self.begin().await;
        // Whoever asked may have gone.
        let _ = look.send(seen);
    }

    async fn handle_note(&mut self, note: Note) {
        for event in note.events() {
            self.emit(event).await;
        }
    }

    async fn handle_second(&mut self) {
        let room = (self.watch.namespace.as_str(), ROOM);
        let is_wanted = self.node.relay.is_wanted(&self.node, room);
        match (self.watching, is_wanted) {
            (false, false) => self.unserved = 0,
            (false, true) => self.serve_late().await,
            (true, false) => self.end().await,
            (true, true) => self.pass_second().await,
        }
    }

    /// Shards note what happens from here on; returns what there is.
    async fn begin(&mut self) -> Vec<Seen> {
        let first = !std::mem::replace(&mut self.watching, true);
        self.unserved = 0;
        if first {
            self.before = Totals::of(&self.node.hub.shards);
            self.seconds = 0;
            self.happened.clear();
        }
        let mut seen = Vec::new();
        if self.watch.detail {
            let watch = self.watch.clone();
            let look = move |state: &mut State| state.begin_watch(&watch);
            let shards = self.node.hub.ask_all(look).await;
            seen.extend(shards.into_iter().flatten().take(SHOWN));
        }
        if first {
            self.report().await;
        }
        seen
    }

    /// Nobody looks any more.
    async fn end(&mut self) {
        self.watching = false;
        self.node.hub.ask_all(|state| state.end_watch()).await;
    }

    /// Somebody looks and has not asked: this node joined its cluster later, or was not reached. One
    /// who comes just now will ask in a moment.
    async fn serve_late(&mut self) {
        self.unserved += 1;
        if self.unserved > REPORT {
            self.begin().await;
            self.look_again();
        }
    }

    async fn pass_second(&mut self) {
        let now = Totals::of(&self.node.hub.shards);
        self.happened.extend(now.since(&self.before, now_ms()));
        self.before = now;
        self.seconds += 1;
        if self.seconds.is_multiple_of(REPORT) {
            self.report().await;
        }
        let rested = self.again.is_none_or(|again| again.elapsed() > AGAIN);
        if rested && self.watch.lost.swap(false, Relaxed) {
            self.look_again();
        }
    }

    /// Everybody looks again. Not waited for: this task is asked for it.
    fn look_again(&mut self) {
        self.again = Some(Instant::now());
        let node = self.node.clone();
        tokio::spawn(async move { node.relay.look_again(&node).await });
    }

    /// Tells how the node is.
    async fn report(&mut self) {
        let happened = std::mem::take(&mut self.happened);
        let node = &self.node;
        let own = self.watch.namespaces.iter();
        let mut namespaces: BTreeMap<Arc<str>, usize> =
            own.map(|name| (Arc::from(name.as_str()), 0)).collect();
        let sizes = node.hub.ask_all(|state| state.namespace_sizes()).await;
        for (name, sockets) in sizes.into_iter().flatten() {
            *namespaces.entry(name).or_default() += sockets;
        }
        let namespaces = namespaces
            .into_iter()
            .map(|(name, sockets)| json!({ "name": name, "socketsCount": sockets }));
        let polling = |it: &crate::shard::command::ShardHandle| it.load.polling.load(Relaxed);
        let machine = rustix::system::uname();
        let stats = json!({
            "serverId": node.name(),
            "hostname": machine.nodename().to_string_lossy(),
            "pid": std::process::id(),
            "uptime": node.uptime().as_secs_f64(),
            "clientsCount": node.connections(),
            "pollingClientsCount": node.hub.shards.iter().map(polling).sum::<usize>(),
            "aggregatedEvents": happened,
            "namespaces": namespaces.collect::<Vec<_>>(),
        });
        self.emit(event("server_stats", &(stats,))).await;
    }

    async fn emit(&self, event: Event) {
        let request = EmitRequest {
            namespace: self.watch.namespace.clone(),
            rooms: vec![ROOM.to_owned()],
            except: Vec::new(),
            event,
            volatile: false,
            id: None,
            local: false,
        };
        if let Err(error) = self.node.hub.begin(&self.node, request).await.map(drop) {
            tracing::debug!(%error, "the admin UI could not be told");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_shows_what_fits() {
        let socket = || RawValue::from_string("{\"id\":1}".into()).unwrap();
        let sockets = |count| (0..count).map(|_| socket()).collect::<Vec<_>>();
        assert_eq!(within(sockets(3), 100).len(), 3);
        assert_eq!(within(sockets(3), 18).len(), 2);
        assert_eq!(within(sockets(SHOWN + 5), usize::MAX).len(), SHOWN);
    }
}
