//! Many numbered events from several nodes of a cluster, to readers on all of its nodes: each must
//! get each once, and those of one emitter and room in order.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::node::API_KEY;
use crate::raw_http::RawHttp;
use crate::{PATIENCE, RunningCluster, SioClient};

/// Rooms that the events go to in turn; each has a reader on every node.
const ROOMS: usize = 6;

/// How often each emitter sends a batch.
const EVERY: Duration = Duration::from_millis(20);

/// Traffic that flows until it is stopped.
pub struct Traffic {
    stop: watch::Sender<bool>,
    /// What each emitter has sent to each room.
    emitters: Vec<JoinHandle<[u64; ROOMS]>>,
    readers: Vec<Reader>,
}

/// What came of it, over all readers.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Events that emitters sent, each to one room.
    pub sent: u64,
    /// Events that readers should have got.
    pub due: u64,
    /// Events that they did not.
    pub lost: u64,
    /// Events that came again, or after a later one.
    pub doubled: u64,
}

impl Tally {
    /// Nothing was lost and nothing came twice; panics, showing it, if something did or if there
    /// was nothing at all.
    pub fn assert_whole(&self) {
        assert!(
            self.due > 0 && self.lost == 0 && self.doubled == 0,
            "{self:?}"
        );
    }
}

struct Reader {
    room: usize,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

/// What a reader has got.
struct Seen {
    /// By emitter, the number that is next.
    next: Vec<u64>,
    lost: u64,
    doubled: u64,
}

impl Traffic {
    /// Readers on nodes of these names get what nodes of those emit: `rate` events a second
    /// altogether.
    pub async fn start(
        cluster: &RunningCluster,
        readers_on: &[&str],
        emitters_on: &[&str],
        rate: u32,
    ) -> Traffic {
        let mut readers = Vec::new();
        for name in readers_on {
            for room in 0..ROOMS {
                let user = format!("reader-{name}-{room}");
                let client = cluster[*name].reader(&user, &topic(room)).await;
                readers.push(Reader::new(client, room, emitters_on.len()));
            }
        }
        let (stop, stopped) = watch::channel(false);
        let per_second = f64::from(rate) / emitters_on.len() as f64;
        let per_batch = (per_second * EVERY.as_secs_f64()).max(1.0);
        let emitters = emitters_on.iter().enumerate().map(|(number, name)| {
            let emitter = Emitter {
                number,
                private: cluster[*name].private().to_owned(),
                per_batch,
                sent: [0; ROOMS],
            };
            tokio::spawn(emitter.run(stopped.clone()))
        });
        let emitters = emitters.collect();
        Traffic {
            stop,
            emitters,
            readers,
        }
    }

    /// Stops emitting, waits for what is on its way, and tells what came of it.
    pub async fn stop(self) -> Tally {
        let _ = self.stop.send(true);
        let mut sent = Vec::new();
        for emitter in self.emitters {
            sent.push(emitter.await.expect("an emitter is not refused"));
        }
        let begun = Instant::now();
        let mut tally = Tally {
            sent: sent.iter().flatten().sum(),
            ..Tally::default()
        };
        for reader in self.readers {
            let due: Vec<u64> = sent.iter().map(|rooms| rooms[reader.room]).collect();
            while reader.seen().next != due && begun.elapsed() < PATIENCE {
                assert!(!reader.task.is_finished(), "a reader lost its connection");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let seen = reader.seen();
            let behind = due.iter().zip(&seen.next).map(|(due, next)| due - next);
            tally.lost += seen.lost + behind.sum::<u64>();
            tally.doubled += seen.doubled;
            tally.due += due.iter().sum::<u64>();
        }
        tally
    }
}

impl Reader {
    fn new(client: SioClient, room: usize, emitters: usize) -> Reader {
        let seen = Arc::new(Mutex::new(Seen {
            next: vec![0; emitters],
            lost: 0,
            doubled: 0,
        }));
        let task = tokio::spawn(read(client, seen.clone()));
        Reader { room, seen, task }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read(mut client: SioClient, seen: Arc<Mutex<Seen>>) {
    loop {
        let event = client.next_event().await;
        let number = |at: usize| event.args[0][at].as_u64().expect("a number");
        let (emitter, number) = (number(0) as usize, number(1));
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let next = seen.next[emitter];
        if number < next {
            seen.doubled += 1;
        } else {
            seen.lost += number - next;
            seen.next[emitter] = number + 1;
        }
    }
}

struct Emitter {
    number: usize,
    private: String,
    /// Events in a batch, on average.
    per_batch: f64,
    sent: [u64; ROOMS],
}

impl Emitter {
    async fn run(mut self, stopped: watch::Receiver<bool>) -> [u64; ROOMS] {
        let mut http = RawHttp::connect(&self.private).await;
        let mut pace = interval(EVERY);
        // Late batches are made up for, so that the rate is what was asked for.
        pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let (mut owed, mut room) = (0.0, self.number);
        while !*stopped.borrow() {
            pace.tick().await;
            owed += self.per_batch;
            let mut batch = Vec::new();
            while owed >= 1.0 {
                owed -= 1.0;
                room = (room + 1) % ROOMS;
                batch.push(self.event(room));
            }
            self.post(&mut http, &batch).await;
        }
        self.sent
    }

    fn event(&mut self, room: usize) -> Value {
        let data = json!([self.number, self.sent[room]]);
        self.sent[room] += 1;
        json!({"room": format!("news:{}", topic(room)), "event": "n", "data": data})
    }

    async fn post(&self, http: &mut RawHttp, batch: &[Value]) {
        let key = format!("Bearer {API_KEY}");
        let headers = [("Authorization", key.as_str())];
        let body = json!(batch).to_string();
        let answer = http
            .request("POST", "/api/v1/emit/batch", &headers, body.as_bytes())
            .await;
        let results = answer.json();
        let all_taken = results["results"]
            .as_array()
            .is_some_and(|results| results.iter().all(|result| result["id"].is_string()));
        assert!(all_taken, "{} {results}", answer.status);
    }
}

fn topic(room: usize) -> String {
    format!("t{room}")
}
