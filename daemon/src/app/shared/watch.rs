//! Notices sessions that end, and closes their sockets.
//!
//! On a replica set a change stream tells. Its place is kept in memory: when it breaks, the next one
//! goes on from there, and where that is not possible all sessions of connected clients are looked at.
//! A node that starts has no connected clients, so there is nothing to go on from. A server alone has no change streams: then they are looked at again and again.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream, stream::FuturesUnordered};
use tidings_storage::mongo::{
    ResumeToken, SessionChange, WatchError,
    session::{content, expires_ms},
};
use tokio::sync::mpsc;

use super::{SharedSessions, Told, Watching, lock};
use crate::node::{Node, now_ms};

/// Pause before MongoDB is tried again.
const AGAIN: Duration = Duration::from_millis(250);

/// How often it is tried whether there are change streams by now.
const STREAMS_AGAIN: Duration = Duration::from_secs(30);

/// Pause between two times that the shards are asked to look at all their sockets.
const GATHER: Duration = Duration::from_millis(50);

/// Sessions that changed and are read at once.
const AT_ONCE: usize = 64;

/// Sessions that one question to MongoDB is about.
const PAGE: usize = 1000;

impl SharedSessions {
    /// Notices ends of sessions for as long as the node lives.
    pub(crate) async fn watch(&self, node: Arc<Node>) {
        let told = lock(&self.0.told.1).take();
        // There is one watcher.
        let Some(told) = told else { return };
        // None has an end.
        tokio::join!(
            self.follow(&node),
            self.carry_out(&node, told),
            self.read_again(&node)
        );
    }

    async fn follow(&self, node: &Node) {
        let mut place = None;
        loop {
            match self.follow_one(node, place.take()).await {
                (_, WatchError::Lost) => {}
                (at, WatchError::Mongo(error)) => {
                    tracing::debug!(%error, "the change stream of sessions broke");
                    place = at;
                    self.waits();
                    tokio::time::sleep(AGAIN).await;
                }
                (_, WatchError::Unsupported(why)) => self.recheck_for_a_while(node, why).await,
            }
        }
    }

    /// Follows one change stream to its end; returns the place that it came to.
    async fn follow_one(
        &self,
        node: &Node,
        place: Option<ResumeToken>,
    ) -> (Option<ResumeToken>, WatchError) {
        let goes_on = place.is_some();
        let mut stream = match self.0.sessions.watch(place.clone()).await {
            Ok(stream) => stream,
            Err(error) => return (place, error),
        };
        self.0.figures.streams.fetch_add(1, Relaxed);
        // What was read before may have changed before the stream began.
        self.0.told_since_ms.store(now_ms(), Relaxed);
        if !goes_on {
            while self.look_at_all(node).await.is_none() {
                tokio::time::sleep(AGAIN).await;
            }
        }
        *self.0.watching() = Watching::Stream;
        let error = loop {
            match stream.next().await {
                Ok(None) => {}
                Ok(Some(change)) => {
                    // What is being read must not be taken for what is.
                    self.overtake(&change);
                    let room = self.0.room.clone().acquire_owned().await;
                    // It is never closed.
                    let Ok(room) = room else { continue };
                    self.0.tell(Told::Change(change, room));
                }
                Err(error) => break error,
            }
        };
        self.0.told_since_ms.store(0, Relaxed);
        (stream.token(), error)
    }

    fn waits(&self) {
        self.0.told_since_ms.store(0, Relaxed);
        *self.0.watching() = Watching::Waiting;
    }

    fn overtake(&self, change: &SessionChange) {
        use SessionChange::{AllGone, Changed, Ends, Gone};
        match change {
            Gone(document) | Changed(document) | Ends(document, _) => {
                self.0.flights.overtake(document);
            }
            AllGone => self.0.flights.overtake_all(),
        }
    }

    /// Looks at the sessions of all connected clients again and again, until it is time to try a
    /// change stream again.
    async fn recheck_for_a_while(&self, node: &Node, why: String) {
        self.0.told_since_ms.store(0, Relaxed);
        let begun = Instant::now();
        while begun.elapsed() < STREAMS_AGAIN {
            let round = Instant::now();
            *self.0.watching() = match self.look_at_all(node).await {
                Some(sessions) => Watching::Recheck {
                    why: why.clone(),
                    sessions,
                    took_ms: round.elapsed().as_millis() as u64,
                },
                None => Watching::Waiting,
            };
            let rest = self.0.ages.recheck.saturating_sub(round.elapsed());
            tokio::time::sleep(rest.max(AGAIN / 5)).await;
        }
    }

    /// Looks at the sessions of all connected clients, once; says how many there were, or nothing if
    /// MongoDB did not answer.
    async fn look_at_all(&self, node: &Node) -> Option<usize> {
        self.0.figures.rounds.fetch_add(1, Relaxed);
        let live: HashSet<Arc<str>> = node.hub.live_sessions().await;
        let mut known = Vec::new();
        for sid in live {
            // Of the embedded ones nothing is known here.
            let document = self.0.document(&sid);
            known.extend(self.0.known(&document, &sid).await);
        }
        for page in known.chunks(PAGE) {
            let documents = page.iter().map(|row| row.document.clone()).collect();
            let found = self.0.sessions.many(documents).await.ok()?;
            let (mut ended, mut moved) = (HashSet::new(), HashMap::new());
            let mut changed = Vec::new();
            for row in page {
                let Some(document) = found.get(&row.document) else {
                    self.forget(&row.document).await;
                    ended.insert(row.id.clone());
                    continue;
                };
                if content(document) != Ok(row.content) {
                    changed.push(row.document.clone());
                } else if let Ok(expires_ms) = expires_ms(document)
                    && expires_ms != row.expires_ms
                {
                    self.keep_end(&row.document, expires_ms).await;
                    moved.insert(row.id.clone(), expires_ms);
                }
            }
            self.tell_shards(node, ended, moved).await;
            let mut reads = stream::iter(changed)
                .map(|document| async move {
                    let is_done = self.look_again(&document).await;
                    (document, is_done)
                })
                .buffer_unordered(AT_ONCE);
            while let Some((document, is_done)) = reads.next().await {
                if !is_done {
                    self.0.again.add(&document);
                }
            }
        }
        Some(known.len())
    }

    /// Carries out what the change stream tells and what reads found. It makes no read of a single
    /// session: one that takes long would hold up all logouts.
    async fn carry_out(&self, node: &Node, mut told: mpsc::UnboundedReceiver<Told>) {
        let mut changes = Vec::new();
        while told.recv_many(&mut changes, super::CHANGES).await > 0 {
            let (mut ended, mut moved) = (HashSet::new(), HashMap::new());
            for change in changes.drain(..) {
                let (change, _room) = match change {
                    Told::Change(change, room) => (change, room),
                    Told::Over(sid) => {
                        ended.insert(sid);
                        continue;
                    }
                    Told::Moved(sid, expires_ms) => {
                        moved.insert(sid, expires_ms);
                        continue;
                    }
                    Told::Back(sid, expires_ms) => {
                        if ended.contains(&sid) {
                            // The sockets of the login before go first.
                            let before = (std::mem::take(&mut ended), std::mem::take(&mut moved));
                            self.tell_shards(node, before.0, before.1).await;
                        }
                        lock(&self.0.ended).remove(&sid);
                        moved.insert(sid, expires_ms);
                        continue;
                    }
                };
                match change {
                    SessionChange::Gone(document) => {
                        ended.extend(self.sid_of(&document).await);
                        self.forget(&document).await;
                    }
                    // What is being read would be undone by what was known before.
                    SessionChange::Ends(document, _) if self.0.again.waits(&document) => {
                        self.0.again.add(&document);
                    }
                    SessionChange::Ends(document, expires_ms) => {
                        if let Some(sid) = self.keep_end(&document, expires_ms).await {
                            moved.insert(sid, expires_ms);
                        }
                    }
                    SessionChange::Changed(document) => {
                        // Most are of nobody who lives here.
                        if !matches!(self.known_row(&document).await, Ok(None)) {
                            self.0.again.add(&document);
                        }
                    }
                    SessionChange::AllGone => {
                        // They are not there any more; whoever is, is closed.
                        while self.look_at_all(node).await.is_none() {
                            tokio::time::sleep(AGAIN).await;
                        }
                    }
                }
            }
            self.tell_shards(node, ended, moved).await;
            tokio::time::sleep(GATHER).await;
        }
    }

    /// Reads the sessions that changed, several at once, each until that has worked.
    async fn read_again(&self, node: &Node) {
        let again = &self.0.again;
        let mut reads = FuturesUnordered::new();
        loop {
            if let Some(time) = again.all() {
                match self.look_at_all(node).await {
                    Some(_) => again.looked(time),
                    None => tokio::time::sleep(AGAIN).await,
                }
            }
            while reads.len() < AT_ONCE
                && let Some(document) = again.next(Instant::now())
            {
                reads.push(async move {
                    let is_done = self.look_again(&document).await;
                    again.done(&document, is_done, Instant::now());
                });
            }
            // All are cancel-safe.
            tokio::select! {
                Some(()) = reads.next() => {}
                () = again.added() => {}
                // For those that are tried again.
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
    }

    /// Reads a session that changed, if somebody here lives under it. If it ended, or is another's,
    /// the read tells that. Says whether no more is to be done.
    async fn look_again(&self, document: &str) -> bool {
        let before = match self.known_row(document).await {
            Ok(Some(before)) => before,
            Ok(None) => return true,
            // The store may know it later.
            Err(_) => return false,
        };
        match self.read(document, &before.id, true).await {
            Ok(Some(now)) if now.user == before.user => {
                self.0.tell(Told::Moved(now.id, now.expires_ms));
                true
            }
            Ok(_) => true,
            // Whoever comes with it is checked again; whoever is here stays, as while MongoDB is away.
            Err(unread) => {
                let why = unread.why;
                tracing::warn!(why, "a session that changed could not be read");
                !unread.for_now
            }
        }
    }

    /// Notes another end; gives the session, if it is known here.
    async fn keep_end(&self, document: &str, expires_ms: u64) -> Option<String> {
        let mut row = self.row(document).await?;
        row.expires_ms = expires_ms;
        let sid = row.id.clone();
        self.say(self.0.store.put_shared(row).await);
        Some(sid)
    }

    async fn forget(&self, document: &str) {
        self.say(self.0.store.forget_shared(document).await);
    }

    fn say(&self, kept: Result<(), tidings_storage::StoreError>) {
        if let Err(error) = kept {
            tracing::warn!(%error, "a change of a session could not be kept");
        }
    }

    /// The session of a document, if somebody here may live under it. A store that fails knows
    /// nobody, but the document's `_id` may tell.
    async fn sid_of(&self, document: &str) -> Option<String> {
        match self.known_row(document).await {
            Ok(row) => row.map(|row| row.id),
            Err(_) => {
                let form = &self.0.sessions.format().document_id;
                form.sid_of(document).map(str::to_owned)
            }
        }
    }

    async fn row(&self, document: &str) -> Option<tidings_storage::SharedSession> {
        self.known_row(document).await.ok().flatten()
    }

    async fn known_row(
        &self,
        document: &str,
    ) -> Result<Option<tidings_storage::SharedSession>, tidings_storage::StoreError> {
        match self.0.store.recent_shared(document) {
            Some(row) => Ok(Some(row)),
            None => self.0.store.shared(document).await,
        }
    }

    async fn tell_shards(
        &self,
        node: &Node,
        ended: HashSet<String>,
        mut moved: HashMap<String, u64>,
    ) {
        moved.retain(|sid, _| !ended.contains(sid));
        self.0.have_ended(&ended);
        self.0.figures.ended.fetch_add(ended.len() as u64, Relaxed);
        node.hub.sessions_changed(ended, moved).await;
    }
}
