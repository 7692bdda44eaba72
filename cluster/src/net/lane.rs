//! What waits for one peer. Bounded in bytes: beyond it the oldest give way, since a peer that
//! cannot keep up shall cost neither memory nor anybody's time, and what is newest is worth most.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;

/// Bytes that go out in one piece.
const PIECE: usize = 64 << 10;

/// The queue of forwards to one peer.
#[derive(Debug)]
pub(crate) struct Lane {
    limit: usize,
    waiting: Mutex<Waiting>,
    pushed: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    frames: VecDeque<Bytes>,
    bytes: usize,
    /// Nothing more is taken in.
    closed: bool,
}

impl Lane {
    /// A queue of at most so many bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            waiting: Mutex::default(),
            pushed: Notify::new(),
        }
    }

    /// Queues a frame; returns how many older ones gave way.
    pub(crate) fn push(&self, frame: Bytes) -> u64 {
        let mut waiting = self.lock();
        if waiting.closed {
            return 1;
        }
        let first = waiting.frames.is_empty();
        waiting.bytes += frame.len();
        waiting.frames.push_back(frame);
        let mut dropped = 0;
        while waiting.bytes > self.limit && waiting.frames.len() > 1 {
            if let Some(oldest) = waiting.frames.pop_front() {
                waiting.bytes -= oldest.len();
                dropped += 1;
            }
        }
        drop(waiting);
        if first {
            self.pushed.notify_one();
        }
        dropped
    }

    /// Takes no more frames; what waits still goes out.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.pushed.notify_one();
    }

    /// The next bytes to write: everything that waits, up to a piece; none once the lane is closed
    /// and empty. Cancel-safe.
    pub(crate) async fn next(&self) -> Option<Bytes> {
        loop {
            if let Some(piece) = self.take() {
                return Some(piece);
            }
            if self.lock().closed {
                return None;
            }
            self.pushed.notified().await;
        }
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    fn take(&self) -> Option<Bytes> {
        let mut waiting = self.lock();
        let first = waiting.frames.pop_front()?;
        waiting.bytes -= first.len();
        if first.len() >= PIECE || waiting.frames.is_empty() {
            return Some(first);
        }
        let mut piece = BytesMut::with_capacity(PIECE.min(first.len() + waiting.bytes));
        piece.extend_from_slice(&first);
        while let Some(next) = waiting.frames.front() {
            if piece.len() + next.len() > PIECE {
                break;
            }
            piece.extend_from_slice(next);
            let len = next.len();
            waiting.bytes -= len;
            waiting.frames.pop_front();
        }
        Some(piece.freeze())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_waits_goes_out_together_and_in_order() {
        let lane = Lane::new(1000);
        for frame in ["a", "b", "c"] {
            assert_eq!(lane.push(Bytes::from(frame)), 0);
        }
        assert_eq!(lane.next().await.unwrap(), "abc");
        assert_eq!(lane.bytes(), 0);
    }

    #[tokio::test]
    async fn the_oldest_give_way() {
        let lane = Lane::new(10);
        for frame in ["aaaa", "bbbb"] {
            assert_eq!(lane.push(Bytes::from(frame)), 0);
        }
        assert_eq!(lane.push(Bytes::from("cccc")), 1);
        // One that is too long by itself still goes, alone.
        assert_eq!(lane.push(Bytes::from("dddddddddddddddd")), 2);
        assert_eq!(lane.next().await.unwrap(), "dddddddddddddddd");
    }

    #[tokio::test]
    async fn a_closed_lane_gives_out_what_it_has() {
        let lane = Lane::new(10);
        lane.push(Bytes::from("a"));
        lane.close();
        assert_eq!(lane.push(Bytes::from("b")), 1);
        assert_eq!(lane.next().await.unwrap(), "a");
        assert_eq!(lane.next().await, None);
    }

    #[tokio::test]
    async fn a_waiting_writer_is_woken() {
        let lane = std::sync::Arc::new(Lane::new(10));
        let writer = tokio::spawn({
            let lane = lane.clone();
            async move { lane.next().await }
        });
        tokio::task::yield_now().await;
        lane.push(Bytes::from("a"));
        assert_eq!(writer.await.unwrap().unwrap(), "a");
    }
}
