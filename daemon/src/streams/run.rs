//! One stream on this node: does what [`Reader`] decides, and tells it how that went.

use std::{sync::Arc, time::Duration};

use tidings_storage::mongo::{LeaseKeep, LeaseRow, Token};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::{
    pump::{Ground, Pump},
    reader::{Action, Input, Keep, Lease, Ms, Reader, Terms, Version, Written},
};
use crate::{
    config::Stream,
    gateway::Gateway,
    node::{Node, Phase},
};

/// Answers that may wait for the loop, which takes them at once.
const ANSWERS: usize = 64;

/// How often it is looked whether the node leaves.
const LOOK: Duration = Duration::from_millis(200);

/// Reads the streams of a configuration, as far as they are this node's, until it leaves.
pub(crate) fn start(gateway: &Gateway, streams: &[Stream]) {
    let node = gateway.node();
    let Some(mongo) = &node.mongo else { return };
    for (stream, figures) in streams.iter().zip(&node.streams) {
        let ground = Ground::new(node.clone(), mongo.clone(), stream.clone(), figures.clone());
        gateway.track(run(Arc::new(ground)));
    }
}

/// What is done for one stream.
struct Runner {
    ground: Arc<Ground>,
    begun: Instant,
    answers: mpsc::Sender<Input<Token>>,
    /// Until when this node may emit.
    until: watch::Sender<Instant>,
    pump: Option<Pump>,
}

async fn run(ground: Arc<Ground>) {
    let node = ground.node.clone();
    if !is_ready(&node).await {
        return;
    }
    let (answers, mut told) = mpsc::channel(ANSWERS);
    let begun = Instant::now();
    let mut runner = Runner {
        ground: ground.clone(),
        begun,
        answers,
        until: watch::Sender::new(begun),
        pump: None,
    };
    // Tells this start of this node from all others.
    let name = format!("{}/{}", node.name(), node.ids.emit());
    let mut reader = Reader::new(name, Terms::default(), runner.now());
    let mut input = Input::Tick;
    let mut leaves = false;
    while !reader.is_over() {
        let read_before = reader.fence();
        let actions = reader.handle(input, runner.now());
        let until = reader.until().unwrap_or(0);
        runner.until.send_replace(runner.at(until));
        for action in actions {
            runner.act(action);
        }
        tell(&ground, read_before, reader.fence());
        let due = reader.next().map(|at| runner.at(at));
        let look = Instant::now() + LOOK;
        let due = due.map_or(look, |due| due.min(look));
        // Both are cancel-safe.
        input = tokio::select! {
            answer = told.recv() => answer.unwrap_or(Input::Tick),
            () = tokio::time::sleep_until(due) => match node.is_draining() && !leaves {
                true => {
                    leaves = true;
                    Input::Leave
                }
                false => Input::Tick,
            },
        };
    }
}

/// Waits until emits reach all of the cluster; false if the node leaves before.
async fn is_ready(node: &Node) -> bool {
    while node.phase() == Phase::Starting || node.relay.is_joining() {
        tokio::time::sleep(LOOK).await;
        if node.is_draining() {
            return false;
        }
    }
    true
}

fn missed(ground: &Ground) {
    ground.figures.lose();
    tracing::error!(
        stream = ground.stream.name,
        collection = ground.stream.collection,
        "changes were missed: MongoDB does not tell them any more (its oplog is too short for how \
         long nobody read them, or one is larger than 16 MB); the stream goes on from now"
    );
}

fn tell(ground: &Ground, before: Option<i64>, after: Option<i64>) {
    if before == after {
        return;
    }
    let stream = &ground.stream.name;
    match after {
        Some(fence) => tracing::info!(stream, fence, "this node reads the stream"),
        None => tracing::info!(stream, "this node reads the stream no more"),
    }
}

impl Runner {
    fn now(&self) -> Ms {
        self.begun.elapsed().as_millis() as Ms
    }

    fn at(&self, ms: Ms) -> Instant {
        self.begun + Duration::from_millis(ms)
    }

    fn act(&mut self, action: Action<Token>) {
        let stream = format!("stream:{}", self.ground.stream.name);
        let mongo = self.ground.mongo.clone();
        match action {
            Action::Look => self.answer(async move {
                let row = mongo.lease(&stream).await;
                Input::Seen(row.ok().map(lease))
            }),
            Action::Claim { from, claim } => self.answer(async move {
                let from = (from.fence, from.beat);
                let claimed = mongo.claim_lease(&stream, from, &claim).await;
                Input::Claimed(match claimed {
                    Ok(Some(row)) => Written::Done(lease(row)),
                    Ok(None) => Written::Refused,
                    Err(_) => Written::Unknown,
                })
            }),
            Action::Keep(keep) => self.answer(async move {
                let kept = mongo.keep_lease(&stream, row(keep)).await;
                Input::Kept(match kept {
                    Ok(true) => Written::Done(()),
                    Ok(false) => Written::Refused,
                    Err(_) => Written::Unknown,
                })
            }),
            Action::Open { opening, token } => {
                let (ground, until) = (self.ground.clone(), self.until.subscribe());
                let pump = Pump::start(ground, (opening, token), until, self.answers.clone());
                self.pump = Some(pump);
            }
            Action::Finish => {
                if let Some(pump) = &self.pump {
                    pump.finish();
                }
            }
            Action::Close => self.pump = None,
            Action::Missed => missed(&self.ground),
        }
    }

    fn answer(&self, work: impl Future<Output = Input<Token>> + Send + 'static) {
        let answers = self.answers.clone();
        tokio::spawn(async move {
            let answer = work.await;
            // The loop has ended: nobody needs it.
            let _ = answers.send(answer).await;
        });
    }
}

fn lease(row: LeaseRow) -> Lease<Token> {
    Lease {
        version: Version {
            fence: row.fence,
            beat: row.beat,
        },
        holder: row.holder,
        free: row.free,
        token: row.token,
        done: row.done,
    }
}

fn row(keep: Keep<Token>) -> LeaseKeep {
    LeaseKeep {
        fence: keep.fence,
        done: keep.done,
        lost: keep.lost,
        free: keep.free,
        token: keep.token,
    }
}
