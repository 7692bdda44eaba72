//! The task on a real store, and on one that fails when told to.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tidings_storage::{Store, StoreConfig};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::*;
use crate::recovery::cursor::Cursor;
use crate::recovery::journal::{is_suspect, open_log};
use crate::recovery::log::{Batch, Dump, Limits, Opened, Opening};

const LIMITS: Limits = Limits {
    keep_ms: 100_000,
    known_ms: 100_000,
    entries_per_room: 1000,
    memory: 1 << 24,
    marks: 1000,
    ids: 1000,
};

/// Instead of a second, so that a test need not wait for it.
const TICK: Duration = Duration::from_millis(5);

/// What is to become of the next batch.
#[derive(Clone, Copy)]
enum Fault {
    /// It fails and is not stored.
    Refused,
    /// It fails and is stored.
    Lost,
}

/// A store that fails when told to, and lets batches pass one by one while it is gated.
#[derive(Clone, Default)]
struct Journaled(Arc<Inner>);

#[derive(Default)]
struct Inner {
    store: Option<Store>,
    faults: Mutex<VecDeque<Fault>>,
    gate: Option<Semaphore>,
    /// How many entries each batch had.
    batches: Mutex<Vec<usize>>,
}

impl Journal for Journaled {
    async fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        lock(&self.0.batches).push(batch.put.len());
        if let Some(gate) = &self.0.gate {
            gate.acquire().await.unwrap().forget();
        }
        let fault = lock(&self.0.faults).pop_front();
        if let (Some(store), None | Some(Fault::Lost)) = (&self.0.store, fault) {
            Journal::commit(store, batch).await?;
        }
        match fault {
            Some(_) => Err(StoreError::Failed {
                reason: "as told".into(),
            }),
            None => Ok(()),
        }
    }
}

/// The ids of what was dispatched.
#[derive(Clone, Default)]
struct Fed(Arc<Mutex<Vec<String>>>);

impl Dispatch for Fed {
    async fn dispatch(&self, entry: Arc<Entry>) {
        tokio::task::yield_now().await;
        lock(&self.0).push(entry.id.to_string());
    }
}

impl Fed {
    fn ids(&self) -> Vec<String> {
        lock(&self.0).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A committer that runs.
struct Running {
    handle: LogHandle,
    fed: Fed,
    journal: Journaled,
    clock: Arc<AtomicU64>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    fn start(log: Log, inner: Inner) -> Self {
        let (journal, fed) = (Journaled(Arc::new(inner)), Fed::default());
        let clock = Arc::new(AtomicU64::new(1));
        let now = Arc::clone(&clock);
        let now = move || now.load(Ordering::Relaxed);
        let (mut committer, handle) = Committer::new(log, journal.clone(), fed.clone(), now);
        committer.trim_every = TICK;
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(committer.run(shutdown.clone()));
        Self {
            handle,
            fed,
            journal,
            clock,
            shutdown,
            task,
        }
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }

    fn fail_next(&self, fault: Fault) {
        lock(&self.journal.0.faults).push_back(fault);
    }
}

/// A log that nothing keeps.
fn empty() -> Log {
    Log::open(
        LIMITS,
        &Dump::default(),
        None,
        Opening {
            random: 1,
            suspect: false,
        },
    )
    .0
}

async fn open(store: &Store, suspect: bool) -> (Log, Opened) {
    open_log(store, LIMITS, Opening { random: 1, suspect }, 1)
        .await
        .unwrap()
}

fn event(room: &str, id: &str) -> Append {
    Append::new(
        RoomKey::new("/", room),
        id.into(),
        Vec::new(),
        b"event"[..].into(),
    )
    .unwrap()
}

fn record(rooms: &[(&str, Position)]) -> Record {
    Record {
        pid: "p".into(),
        sid: "s".into(),
        user: "u".into(),
        session: "x".into(),
        namespace: "/".into(),
        rooms: rooms.iter().map(|(room, _)| (*room).to_owned()).collect(),
        start: rooms
            .iter()
            .map(|(room, at)| ((*room).to_owned(), *at))
            .collect(),
        home: 1,
        version: 1,
        stale: None,
        data: serde_json::Value::Null,
    }
}

fn ids(replay: &Replay) -> Vec<&str> {
    replay.entries.iter().map(|entry| &*entry.id).collect()
}

#[tokio::test]
async fn appends_are_fed_in_order_and_replayed() {
    let run = Running::start(empty(), Inner::default());
    let rooms = ["a:1", "b:1"].map(|room| RoomKey::new("/", room));
    let [start, _] = run.handle.positions(rooms.to_vec()).await.unwrap()[..] else {
        panic!()
    };
    let mut answers = Vec::new();
    for (room, id) in [
        ("a:1", "1"),
        ("b:1", "2"),
        ("a:1", "3"),
        ("c:1", "4"),
        ("a:1", "1"),
    ] {
        answers.push(run.handle.submit(event(room, id)).await.unwrap());
    }
    let mut offsets = Vec::new();
    for answer in answers {
        let appended = answer.await.unwrap().unwrap();
        offsets.push((appended.offset.position.seq, appended.repeated));
    }
    assert_eq!(
        offsets,
        [(1, false), (2, false), (3, false), (4, false), (1, true)]
    );
    assert_eq!(run.fed.ids(), ["1", "2", "3", "4"]);

    let record = record(&[("a:1", start), ("b:1", Position { seq: 2, ..start })]);
    let replay = run.handle.replay(record.clone(), None).await.unwrap();
    assert_eq!(ids(&replay), ["1", "3"]);
    let slot = rooms[0].slot();
    assert_eq!(replay.cursor, Cursor::single(slot, start.eid, 0));
    assert_eq!(replay.position, [(slot, Position { seq: 4, ..start })]);

    let offset = Cursor::single(slot, start.eid, 1).encode();
    let replay = run
        .handle
        .replay(record.clone(), Some(offset))
        .await
        .unwrap();
    assert_eq!(ids(&replay), ["3"]);
    let refused = run.handle.replay(record, Some("x".into())).await;
    assert!(matches!(
        refused,
        Err(ReplayError::NotRecoverable(NotRecoverable::Offset(_)))
    ));
    run.stop().await;
}

#[tokio::test]
async fn a_replay_leaves_out_what_the_socket_was_excepted_from() {
    let run = Running::start(empty(), Inner::default());
    let room = RoomKey::new("/", "a:1");
    let start = run.handle.positions(vec![room.clone()]).await.unwrap()[0];
    for (id, except) in [("1", "s"), ("2", "a:1"), ("3", "elsewhere"), ("4", "t")] {
        let except = vec![except.to_owned()];
        let append = Append::new(room.clone(), id.into(), except, b""[..].into()).unwrap();
        run.handle.append(append).await.unwrap();
    }
    let replay = run
        .handle
        .replay(record(&[("a:1", start)]), None)
        .await
        .unwrap();
    assert_eq!(ids(&replay), ["3", "4"]);
    run.stop().await;
}

#[tokio::test]
async fn what_arrives_during_a_flush_is_one_batch() {
    let gate = Some(Semaphore::new(0));
    let run = Running::start(
        empty(),
        Inner {
            gate,
            ..Inner::default()
        },
    );
    let mut answers = vec![run.handle.submit(event("a", "first")).await.unwrap()];
    while lock(&run.journal.0.batches).is_empty() {
        tokio::task::yield_now().await;
    }
    for id in 0..100 {
        answers.push(
            run.handle
                .submit(event("a", &id.to_string()))
                .await
                .unwrap(),
        );
    }
    assert!(answers[0].try_recv().is_err());
    assert_eq!(run.fed.ids(), [""; 0]);
    run.journal.0.gate.as_ref().unwrap().add_permits(100);
    for answer in answers {
        answer.await.unwrap().unwrap();
    }
    assert_eq!(*lock(&run.journal.0.batches), [1, 100]);
    assert_eq!(run.fed.ids().len(), 101);
    run.stop().await;
}

#[tokio::test]
async fn a_failed_flush_refuses_its_appends_and_the_log_goes_on() {
    for fault in [Fault::Refused, Fault::Lost] {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(StoreConfig::new(folder.path())).unwrap();
        let log = open(&store, false).await.0;
        let run = Running::start(
            log,
            Inner {
                store: Some(store.clone()),
                ..Inner::default()
            },
        );
        let start = run
            .handle
            .positions(vec![RoomKey::new("/", "a")])
            .await
            .unwrap()[0];
        run.handle.append(event("a", "1")).await.unwrap();

        run.fail_next(fault);
        let failed = run.handle.submit(event("a", "2")).await.unwrap();
        let repeat = run.handle.submit(event("a", "1")).await.unwrap();
        assert!(matches!(failed.await.unwrap(), Err(AppendError::Store(_))));
        assert!(repeat.await.unwrap().unwrap().repeated);
        assert_eq!(run.fed.ids(), ["1"]);

        let again = run.handle.append(event("a", "2")).await.unwrap();
        assert_eq!((again.repeated, again.offset.position.seq), (false, 3));
        run.handle.append(event("a", "3")).await.unwrap();
        assert_eq!(run.fed.ids(), ["1", "2", "3"]);
        run.stop().await;

        let run = Running::start(open(&store, false).await.0, Inner::default());
        let replay = run
            .handle
            .replay(record(&[("a", start)]), None)
            .await
            .unwrap();
        assert_eq!(ids(&replay), ["1", "2", "3"]);
        run.stop().await;
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_restart_continues_the_branch_and_a_suspect_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let config = || StoreConfig::new(folder.path());
    let (store, report) = Store::open(config()).unwrap();
    assert!(!is_suspect(&report));
    let log = open(&store, false).await.0;
    let run = Running::start(
        log,
        Inner {
            store: Some(store.clone()),
            ..Inner::default()
        },
    );
    let start = run
        .handle
        .positions(vec![RoomKey::new("/", "a")])
        .await
        .unwrap()[0];
    let first = run.handle.append(event("a", "1")).await.unwrap().offset;
    run.handle.append(event("a", "2")).await.unwrap();
    run.stop().await;
    store.close().await.unwrap();

    let (store, report) = Store::open(config()).unwrap();
    let (log, opened) = open(&store, is_suspect(&report)).await;
    assert_eq!(opened.cut, 0);
    let run = Running::start(
        log,
        Inner {
            store: Some(store.clone()),
            ..Inner::default()
        },
    );
    let offset = Some(first.encode());
    let replay = run
        .handle
        .replay(record(&[("a", start)]), offset.clone())
        .await
        .unwrap();
    assert_eq!(ids(&replay), ["2"]);
    assert!(run.handle.append(event("a", "2")).await.unwrap().repeated);
    run.stop().await;

    let (log, opened) = open(&store, true).await;
    assert_eq!(opened.cut, 256);
    let run = Running::start(log, Inner::default());
    let refused = run.handle.replay(record(&[("a", start)]), offset).await;
    assert!(matches!(
        refused,
        Err(ReplayError::NotRecoverable(NotRecoverable::Position(_)))
    ));
    run.stop().await;
    store.close().await.unwrap();
}

#[tokio::test]
async fn what_is_queued_at_the_stop_is_done_and_the_rest_refused() {
    let gate = Some(Semaphore::new(0));
    let run = Running::start(
        empty(),
        Inner {
            gate,
            ..Inner::default()
        },
    );
    let mut answers = Vec::new();
    for id in ["1", "2", "3"] {
        answers.push(run.handle.submit(event("a", id)).await.unwrap());
        tokio::task::yield_now().await;
    }
    run.shutdown.cancel();
    run.journal.0.gate.as_ref().unwrap().add_permits(100);
    run.task.await.unwrap();
    for answer in answers {
        answer.await.unwrap().unwrap();
    }
    assert_eq!(
        run.handle.append(event("a", "4")).await,
        Err(AppendError::Closed)
    );
    assert_eq!(run.handle.positions(Vec::new()).await, Err(Closed));
    assert_eq!(run.fed.ids(), ["1", "2", "3"]);
}

#[tokio::test]
async fn old_entries_go_with_the_tick() {
    let run = Running::start(empty(), Inner::default());
    run.handle.append(event("a", "1")).await.unwrap();
    tokio::time::sleep(3 * TICK).await;
    assert_eq!(run.handle.size().await.unwrap().entries, 1);
    // A trim that cannot be written yet is written later.
    run.fail_next(Fault::Refused);
    run.clock.store(LIMITS.keep_ms + 2, Ordering::Relaxed);
    while lock(&run.journal.0.batches).len() < 3 {
        tokio::time::sleep(TICK).await;
    }
    let size = run.handle.size().await.unwrap();
    assert_eq!(
        (size.entries, size.memory, size.ids, size.marks),
        (0, 0, 0, 1)
    );
    tokio::time::sleep(3 * TICK).await;
    assert_eq!(lock(&run.journal.0.batches).len(), 3);
    run.stop().await;
}

/// An append that is answered has been dispatched, and a position that is read lies behind all that
/// has been dispatched: what the argument in the module's head rests on.
#[tokio::test]
async fn a_position_is_never_ahead_of_what_was_fed() {
    let run = Running::start(empty(), Inner::default());
    let rooms: BTreeMap<_, _> = (0..3)
        .map(|n| (n, RoomKey::new("/", &format!("{n}:1"))))
        .collect();
    let emitters = rooms.values().map(|room| {
        let (handle, room) = (run.handle.clone(), room.room().to_owned());
        tokio::spawn(async move {
            for id in 0..200 {
                handle.append(event(&room, &id.to_string())).await.unwrap();
            }
        })
    });
    let emitters: Vec<_> = emitters.collect();
    for _ in 0..200 {
        let before = run.fed.ids().len() as u64;
        let position = run.handle.positions(vec![rooms[&0].clone()]).await.unwrap()[0].seq;
        let after = run.fed.ids().len() as u64;
        assert!(
            before <= position && position <= after,
            "{before} {position} {after}"
        );
    }
    for emitter in emitters {
        emitter.await.unwrap();
    }
    run.stop().await;
}
