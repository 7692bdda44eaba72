//! From an open stream to the rooms. What goes to one room goes there in order, one after the other;
//! different rooms do not wait for each other. How far all of it has come is told in order.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use futures_util::{StreamExt, stream::FuturesOrdered};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use tidings_storage::mongo::{
    Change, Changes, ChangesError, FindValue, Mongo, READING_CHANGES, Row, Step, Token, Watch,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{ID_PREFIX, StreamFigures, reader::Input};
use crate::{
    app::handler::BoxFuture,
    config::{Stream, Term},
    event::{EmitRequest, Event},
    hub::EmitError,
    node::Node,
};

/// Steps that were read and wait.
const STEPS: usize = 64;

/// Emits under way at once.
const AT_ONCE: usize = 64;

/// How long an emit that was refused waits at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// How often it is tried whether a MongoDB without change streams has them by now, and how often
/// health is told meanwhile: it would forget.
const STREAMS_AGAIN: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(5));

/// What the reading of a stream stands on.
pub(super) struct Ground {
    pub(super) node: Arc<Node>,
    pub(super) mongo: Mongo,
    pub(super) stream: Stream,
    pub(super) figures: Arc<StreamFigures>,
    watch: Watch,
}

/// The task that reads and emits; it ends when this is dropped.
pub(super) struct Pump {
    _task: JoinSet<()>,
    finish: CancellationToken,
}

/// How reading ends.
#[derive(Clone, Copy)]
enum End {
    Broken,
    Gone,
    Finished,
}

/// What is under way, for the order of rooms.
type Flight = FuturesOrdered<BoxFuture<(Token, i64)>>;

/// The stream is open.
struct Reading<'a>(&'a StreamFigures);

impl<'a> Reading<'a> {
    fn new(figures: &'a StreamFigures) -> Self {
        figures.reading.store(true, Relaxed);
        Self(figures)
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.0.reading.store(false, Relaxed);
    }
}

impl Ground {
    pub(super) fn new(
        node: Arc<Node>,
        mongo: Mongo,
        stream: Stream,
        figures: Arc<StreamFigures>,
    ) -> Self {
        let constant = |term: &Term| match term {
            Term::Text(text) => FindValue::Text(text.to_string()),
            Term::ObjectId(text) => FindValue::ObjectId(text.to_string()),
            Term::Int(number) => FindValue::Int(*number),
            Term::Bool(truth) => FindValue::Bool(*truth),
        };
        let filter = stream.filter.iter();
        let filter = filter.map(|it| (it.field.clone(), constant(&it.value)));
        let watch = Watch {
            collection: stream.collection.clone(),
            operations: stream.operations.clone(),
            filter: filter.collect(),
        };
        Self {
            node,
            mongo,
            stream,
            figures,
            watch,
        }
    }

    /// The emit that a change becomes; why there is none.
    fn request(&self, token: &Token, row: &Row) -> Result<EmitRequest, &'static str> {
        let template = self.stream.room.as_ref().ok_or("the stream has no room")?;
        let is_there = |field: &str| row.text(field).is_some();
        if !template.variables().all(is_there) {
            return Err("a field of the room's name is missing, or no text, number or id");
        }
        let room = template.expand(|field| row.text(field).unwrap_or_default());
        let json = row.json(&self.stream.fields).ok_or("it cannot be read")?;
        let arg = RawValue::from_string(json).map_err(|_| "it cannot be JSON")?;
        let hash = Sha256::digest(token.text().as_bytes());
        let hash = BASE64_URL_SAFE_NO_PAD.encode(&hash[..18]);
        Ok(EmitRequest {
            namespace: self.stream.namespace.clone(),
            rooms: vec![room],
            except: Vec::new(),
            event: Event {
                name: self.stream.event.clone(),
                args: vec![arg],
                attachments: Vec::new(),
            },
            volatile: false,
            id: Some(format!("{ID_PREFIX}{}:{hash}", self.stream.name)),
            local: false,
        })
    }

    fn skip(&self, why: &str) {
        if self.figures.skip() {
            let stream = &self.stream.name;
            tracing::warn!(stream, why, "a change cannot become an event");
        }
    }

    /// Emits until that is accepted, or can never be.
    async fn emit(&self, request: EmitRequest, until: watch::Receiver<Instant>) {
        let (mut pause, longest) = PAUSES;
        loop {
            // Another node may read the stream by now; this one is told soon.
            if Instant::now() < *until.borrow() {
                match self.node.hub().emit(&self.node, request.clone()).await {
                    Ok(_) => {
                        self.figures.emitted.fetch_add(1, Relaxed);
                        return;
                    }
                    Err(
                        error @ (EmitError::Namespace(_)
                        | EmitError::Room(_)
                        | EmitError::EventName(_)
                        | EmitError::TooLong(_)),
                    ) => return self.skip(&error.to_string()),
                    Err(EmitError::History(_) | EmitError::Draining | EmitError::Joining) => {}
                }
                self.figures.retried.fetch_add(1, Relaxed);
            }
            tokio::time::sleep(pause).await;
            pause = longest.min(pause * 2);
        }
    }
}

impl Pump {
    /// Reads from a place on.
    pub(super) fn start(
        ground: Arc<Ground>,
        (opening, token): (u64, Option<Token>),
        until: watch::Receiver<Instant>,
        answers: mpsc::Sender<Input<Token>>,
    ) -> Self {
        let finish = CancellationToken::new();
        let mut task = JoinSet::new();
        let finishing = finish.clone();
        task.spawn(async move {
            let end = match ground.mongo.changes(&ground.watch, token).await {
                Ok(changes) => {
                    let mut pulling = JoinSet::new();
                    let (sender, steps) = mpsc::channel(STEPS);
                    pulling.spawn(pull(changes, sender));
                    let told = (opening, &answers);
                    let _reading = Reading::new(&ground.figures);
                    pump(&ground, steps, &finishing, until, told).await
                }
                Err(ChangesError::Unsupported) => tokio::select! {
                    end = wait_for_streams(&ground) => end,
                    () = finishing.cancelled() => End::Finished,
                },
                Err(error) => end_of(&ground, &error),
            };
            let _ = answers
                .send(match end {
                    End::Broken => Input::Broken { opening },
                    End::Gone => Input::Gone { opening },
                    End::Finished => Input::Finished { opening },
                })
                .await;
        });
        Self {
            _task: task,
            finish,
        }
    }

    /// Reads no more; what was read is still emitted.
    pub(super) fn finish(&self) {
        self.finish.cancel();
    }
}

/// Reads steps one after the other. A task of its own, as reading must not be broken off.
async fn pull(mut changes: Changes, steps: mpsc::Sender<Result<Step, ChangesError>>) {
    loop {
        let step = changes.next().await;
        let is_last = matches!(step, Err(_) | Ok(Step::Ended(_)));
        if steps.send(step).await.is_err() || is_last {
            return;
        }
    }
}

async fn pump(
    ground: &Arc<Ground>,
    mut steps: mpsc::Receiver<Result<Step, ChangesError>>,
    finish: &CancellationToken,
    until: watch::Receiver<Instant>,
    (opening, answers): (u64, &mpsc::Sender<Input<Token>>),
) -> End {
    let mut flight = Flight::new();
    // The rooms of what is under way, in its order.
    let mut rooms: VecDeque<Option<String>> = VecDeque::new();
    let mut waiting: Option<(Token, EmitRequest)> = None;
    let mut passed: Option<Token> = None;
    let mut end: Option<End> = None;
    loop {
        if let Some((token, request)) = waiting.take_if(|(_, request)| {
            let is_busy = |room: &Option<String>| room.as_ref() == request.rooms.first();
            flight.len() < AT_ONCE && !rooms.iter().any(is_busy)
        }) {
            rooms.push_back(request.rooms.first().cloned());
            let (ground, until) = (ground.clone(), until.clone());
            flight.push_back(Box::pin(async move {
                ground.emit(request, until).await;
                (token, 1)
            }));
        }
        let takes_more = end.is_none() && waiting.is_none() && flight.len() < AT_ONCE;
        if let Some(end) = end
            && flight.is_empty()
            && waiting.is_none()
        {
            return end;
        }
        // All are cancel-safe.
        tokio::select! {
            step = steps.recv(), if takes_more => match step {
                Some(Ok(Step::Change(change))) => match change_of(ground, change) {
                    Ok(next) => waiting = Some(next),
                    Err(token) => pass((token, 1), &mut flight, &mut rooms),
                },
                Some(Ok(Step::Passed(token))) if passed.as_ref() != Some(&token) => {
                    passed = Some(token.clone());
                    pass((token, 0), &mut flight, &mut rooms);
                }
                Some(Ok(Step::Passed(_) | Step::Nothing)) => {}
                Some(Ok(Step::Ended(token))) => {
                    pass((token, 0), &mut flight, &mut rooms);
                    end = Some(End::Broken);
                }
                Some(Err(error)) => end = Some(end_of(ground, &error)),
                None => end = Some(End::Broken),
            },
            Some((token, count)) = flight.next(), if !flight.is_empty() => {
                rooms.pop_front();
                let accepted = Input::Accepted { opening, token, count };
                let _ = answers.send(accepted).await;
            }
            () = finish.cancelled(), if end.is_none() => end = Some(End::Finished),
        }
    }
}

/// Says once that there are no change streams, and waits until it is time to try again.
async fn wait_for_streams(ground: &Ground) -> End {
    let why = ChangesError::Unsupported.to_string();
    if ground.figures.unsupported() {
        let stream = &ground.stream.name;
        tracing::warn!(stream, why, "the stream cannot be read");
    }
    let begun = Instant::now();
    while begun.elapsed() < STREAMS_AGAIN.0 {
        ground.mongo.trouble(READING_CHANGES, &why);
        tokio::time::sleep(STREAMS_AGAIN.1).await;
    }
    End::Broken
}

/// Takes a place in order for what needs no emit.
fn pass(done: (Token, i64), flight: &mut Flight, rooms: &mut VecDeque<Option<String>>) {
    rooms.push_back(None);
    flight.push_back(Box::pin(std::future::ready(done)));
}

/// The emit that a change becomes, or its place if it can be none.
fn change_of(ground: &Ground, change: Change) -> Result<(Token, EmitRequest), Token> {
    let Change { token, document } = change;
    let request = match &document {
        Some(row) => ground.request(&token, row),
        None => Err("the document was deleted before it was read"),
    };
    match request {
        Ok(request) => Ok((token, request)),
        Err(why) => {
            ground.skip(why);
            Err(token)
        }
    }
}

fn end_of(ground: &Ground, error: &ChangesError) -> End {
    match error {
        ChangesError::Gone => End::Gone,
        ChangesError::Unsupported | ChangesError::Mongo(_) => {
            let stream = &ground.stream.name;
            tracing::warn!(stream, %error, "the stream broke off; it is opened again");
            End::Broken
        }
    }
}
