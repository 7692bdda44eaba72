//! `POST /api/v1/emit/stream`: emits as lines of JSON, answered line by line, for as long as the
//! caller likes.
//!
//! Lines are taken in one after the other, which gives them their order, and answered in that
//! order; several are under way at once, so that they share flushes to the disk. A caller that does
//! not read its answers is not read from.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, StreamExt, stream::FuturesOrdered};
use hyper::{HeaderMap, body::Body};
use tokio::{
    sync::mpsc,
    time::{Interval, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

use super::{
    Api, emit,
    emit::Outcome,
    lines::{Line, LineReader},
    refusal::Refusal,
};
use crate::app::{handler::BoxFuture, keys::Scope};

/// Lines that were taken in and are not answered. When there are so many, no more are read.
const WINDOW: usize = 256;

/// Pieces of the answer that wait for the connection. When it is full, answers wait.
pub(super) const PIECES: usize = 4;

/// Bytes after which answers are handed on rather than gathered.
const GATHERED: usize = 64 << 10;

/// How soon a stream ends after its key was revoked.
const CHECK_EVERY: Duration = Duration::from_secs(2);

/// What happens next in a stream.
enum Next {
    Answered(Outcome),
    Line(Line),
    /// The caller has said everything, or is gone.
    Over,
    /// It is time to look whether the key still holds.
    Check,
    Draining,
}

/// Serves one stream to its end.
pub(super) async fn run<B>(
    api: Arc<Api>,
    headers: HeaderMap,
    body: B,
    out: mpsc::Sender<Bytes>,
    shutdown: CancellationToken,
) where
    B: Body<Data = Bytes> + Unpin,
{
    let mut lines = LineReader::new(body, api.body_limit);
    let mut waiting: FuturesOrdered<BoxFuture<Outcome>> = FuturesOrdered::new();
    let mut checks = tokio::time::interval(CHECK_EVERY);
    checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_open = true;
    while is_open || !waiting.is_empty() {
        match next(&mut lines, &mut waiting, &mut checks, is_open, &shutdown).await {
            Next::Answered(outcome) => {
                if out.send(gather(outcome, &mut waiting)).await.is_err() {
                    // Nobody reads on. What was taken in takes place, and is remembered, all the
                    // same.
                    while waiting.next().await.is_some() {}
                    return;
                }
            }
            Next::Line(Line::Text(line)) => waiting.push_back(emit::begin(&api, &line).await),
            Next::Line(Line::TooLong) => {
                let refusal = Refusal::too_large("the line", api.body_limit);
                waiting.push_back(refused(refusal));
            }
            Next::Over => is_open = false,
            Next::Check => {
                if let Err(refusal) = super::authorize(&api, Scope::Emit, &headers).await {
                    is_open = false;
                    waiting.push_back(refused(refusal));
                }
            }
            Next::Draining => {
                is_open = false;
                waiting.push_back(refused(Refusal::draining()));
            }
        }
    }
}

async fn next<B>(
    lines: &mut LineReader<B>,
    waiting: &mut FuturesOrdered<BoxFuture<Outcome>>,
    checks: &mut Interval,
    is_open: bool,
    shutdown: &CancellationToken,
) -> Next
where
    B: Body<Data = Bytes> + Unpin,
{
    let has_room = waiting.len() < WINDOW;
    // What has been read is taken in first, so that its answers leave together.
    if is_open
        && has_room
        && let Some(line) = lines.buffered()
    {
        return Next::Line(line);
    }
    // All of them are cancel-safe.
    tokio::select! {
        biased;
        Some(outcome) = waiting.next() => Next::Answered(outcome),
        () = shutdown.cancelled(), if is_open => Next::Draining,
        _ = checks.tick(), if is_open => Next::Check,
        line = lines.next(), if is_open && has_room => match line {
            Ok(Some(line)) => Next::Line(line),
            Ok(None) | Err(_) => Next::Over,
        },
        else => Next::Over,
    }
}

fn refused(refusal: Refusal) -> BoxFuture<Outcome> {
    Box::pin(std::future::ready(Err(refusal)))
}

/// An answer, and those after it that are there already.
fn gather(first: Outcome, waiting: &mut FuturesOrdered<BoxFuture<Outcome>>) -> Bytes {
    let mut lines = BytesMut::new();
    let mut next = Some(first);
    while let Some(outcome) = next {
        lines.extend_from_slice(&emit::line(outcome));
        lines.extend_from_slice(b"\n");
        let is_full = lines.len() >= GATHERED;
        next = if is_full {
            None
        } else {
            waiting.next().now_or_never().flatten()
        };
    }
    lines.freeze()
}
