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

/// Sessions that one question to MongoDB is about.
const PAGE: usize = 1000;

impl SharedSessions {
    /// Notices ends of sessions for as long as the node lives.
    pub(crate) async fn watch(&self, node: Arc<Node>) {
        let told = lock(&self.0.told.1).take();
        // There is one watcher.
        let Some(told) = told else { return };
        // Neither has an end.
        tokio::join!(self.follow(&node), self.carry_out(&node, told));
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
                    // The other end lives as long as this one.
                    let _ = self.0.told.0.send(Told::Change(change)).await;
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
            for row in page {
                let Some(document) = found.get(&row.document) else {
                    self.forget(&row.document).await;
                    ended.insert(row.id.clone());
                    continue;
                };
                if content(document) != Ok(row.content) {
                    self.look_again(&row.document, (&mut ended, &mut moved))
                        .await;
                } else if let Ok(expires_ms) = expires_ms(document)
                    && expires_ms != row.expires_ms
                {
                    self.keep_end(&row.document, expires_ms).await;
                    moved.insert(row.id.clone(), expires_ms);
                }
            }
            self.tell_shards(node, ended, moved).await;
        }
        Some(known.len())
    }

    /// Carries out what the change stream tells.
    async fn carry_out(&self, node: &Node, mut told: mpsc::Receiver<Told>) {
        let mut changes = Vec::new();
        while told.recv_many(&mut changes, super::CHANGES).await > 0 {
            let (mut ended, mut moved) = (HashSet::new(), HashMap::new());
            for change in changes.drain(..) {
                let change = match change {
                    Told::Change(change) => change,
                    Told::Over(sid) => {
                        ended.insert(sid);
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
                    SessionChange::Ends(document, expires_ms) => {
                        if let Some(sid) = self.keep_end(&document, expires_ms).await {
                            moved.insert(sid, expires_ms);
                        }
                    }
                    SessionChange::Changed(document) => {
                        self.look_again(&document, (&mut ended, &mut moved)).await;
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

    /// Reads a session that changed, if somebody here lives under it.
    async fn look_again(
        &self,
        document: &str,
        (ended, moved): (&mut HashSet<String>, &mut HashMap<String, u64>),
    ) {
        let Some(before) = self.row(document).await else {
            return;
        };
        match self.read(document, &before.id, true).await {
            Ok(Some(now)) if now.user == before.user => {
                moved.insert(now.id, now.expires_ms);
            }
            Ok(_) => {
                ended.insert(before.id);
            }
            // Whoever comes with it is checked again; whoever is here stays, as while MongoDB is away.
            Err(why) => tracing::warn!(why, "a session that changed could not be read"),
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
