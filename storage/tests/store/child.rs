//! Processes of their own, for what cannot be seen from within one: to be killed, to hold the lock,
//! to leave a hanging thread behind. A child is this test binary, run with one role.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tidings_storage::{LogBatch, Store, StoreConfig};

use crate::harness::session;

/// Entries in each of the large batches; together they are larger than sled's write buffer.
pub(crate) const BATCH: usize = 500;

const ROLE: &str = "TIDINGS_STORE_TEST_ROLE";
const PATH: &str = "TIDINGS_STORE_TEST_PATH";

/// A running child; killed when dropped.
pub(crate) struct Role {
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
}

impl Role {
    pub(crate) fn start(role: &str, path: &Path) -> Self {
        Self::spawn(Command::new(std::env::current_exe().unwrap()), role, path)
    }

    /// No file may grow beyond `bytes`, a multiple of 1,024; a write that would is refused.
    pub(crate) fn start_with_file_limit(role: &str, path: &Path, bytes: u64) -> Self {
        let mut shell = Command::new("bash");
        let limit = format!(
            "trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"",
            bytes / 1024
        );
        shell
            .arg("-c")
            .arg(limit)
            .arg(std::env::current_exe().unwrap());
        Self::spawn(shell, role, path)
    }

    fn spawn(mut command: Command, role: &str, path: &Path) -> Self {
        let mut child = command
            .args([
                "--ignored",
                "--exact",
                "child::plays_a_role",
                "--nocapture",
                "--quiet",
            ])
            .env(ROLE, role)
            .env(PATH, path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, said }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line that the child says, without its mark; `None` at its end.
    pub(crate) fn next(&mut self) -> Option<String> {
        loop {
            let line = self.said.next()?.unwrap();
            if let Some(said) = line.strip_prefix("child: ") {
                return Some(said.to_owned());
            }
        }
    }

    /// Stops all of it for a while, as a pause of its machine does.
    pub(crate) fn pause(&self, time: Duration) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::STOP).unwrap();
        std::thread::sleep(time);
        kill_process(pid, Signal::CONT).unwrap();
    }

    /// As `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "what children run; not a test"]
fn plays_a_role() {
    let (Ok(role), Ok(path)) = (std::env::var(ROLE), std::env::var(PATH)) else {
        return;
    };
    let config = StoreConfig {
        check_deadline: Duration::from_secs(3),
        cache_bytes: 16 << 20,
        min_free_bytes: 0,
        ..StoreConfig::new(path)
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        match role.as_str() {
            "open" => report(config).await,
            "hold" => hold(config),
            "write" => write(config).await,
            "write batches" => write_batches(config).await,
            "fill" => fill(config).await,
            other => panic!("no role {other}"),
        }
    });
}

fn say(what: impl std::fmt::Display) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "child: {what}").unwrap();
    out.flush().unwrap();
}

/// Opens, reads all, and says how that went.
async fn report(config: StoreConfig) {
    match Store::open(config) {
        Err(error) => say(error),
        Ok((store, report)) => {
            say(format!("{report:?}"));
            match store.load_log().await {
                Ok(log) => say(format!("rows {}", log.entries.len())),
                Err(error) => say(format!("{error:?}")),
            }
        }
    }
}

/// Opens and stays.
fn hold(config: StoreConfig) {
    let store = Store::open(config).unwrap();
    say("open");
    std::thread::sleep(Duration::from_secs(60));
    drop(store);
}

/// Writes for ever, from several tasks, and says what was acknowledged.
async fn write(config: StoreConfig) {
    let (store, _) = Store::open(config).unwrap();
    let first = store.load_log().await.unwrap().entries.len() as u64;
    say(format!("had {first}"));
    let tasks: Vec<_> = (0..4)
        .map(|slot| tokio::spawn(write_slot(store.clone(), slot)))
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

async fn write_slot(store: Store, slot: u8) {
    let next = |dump: tidings_storage::LogDump| {
        dump.entries
            .iter()
            .filter(|(of, ..)| *of == slot)
            .map(|(_, seq, _)| seq + 1)
            .max()
    };
    let mut seq = next(store.load_log().await.unwrap()).unwrap_or(0);
    loop {
        let batch = LogBatch {
            put: vec![(slot, seq, vec![slot; 200])],
            state: vec![(vec![slot], Some(seq.to_be_bytes().to_vec()))],
            durable: true,
            ..LogBatch::default()
        };
        store.commit_log(batch).await.unwrap();
        let id = format!("{slot}-{seq}");
        store
            .put_session(session(&id, &format!("user-{slot}"), u64::MAX))
            .await
            .unwrap();
        say(format!("{slot} {seq}"));
        seq += 1;
    }
}

/// Writes large batches for ever, without waiting for any to last. Each stores `BATCH` entries.
async fn write_batches(config: StoreConfig) {
    let (store, _) = Store::open(config).unwrap();
    let from = store.load_log().await.unwrap().entries.len() as u64;
    for first in (from..).step_by(BATCH) {
        let put = (first..first + BATCH as u64).map(|seq| (1, seq, vec![seq as u8; 2_000]));
        let put = put.collect();
        let batch = LogBatch {
            put,
            ..LogBatch::default()
        };
        store.commit_log(batch).await.unwrap();
        say(first);
    }
}

/// Writes until it is refused, then says how things stand.
async fn fill(config: StoreConfig) {
    let (store, _) = Store::open(config).unwrap();
    for seq in 0.. {
        let put = vec![(1, seq, vec![seq as u8; 10_000])];
        let outcome = store
            .commit_log(LogBatch {
                put,
                durable: true,
                ..LogBatch::default()
            })
            .await;
        if let Err(error) = outcome {
            say(format!("{seq} written"));
            say(format!("{error:?}"));
            break;
        }
    }
    say(format!("{:?}", store.health()));
    say(format!("{:?}", store.put_meta("k", vec![1]).await));
    say(format!("{:?}", store.close().await));
}
