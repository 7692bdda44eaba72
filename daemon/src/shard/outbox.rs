//! PURE: what waits to be written to one connection.
//!
//! Frames are shared; an entry costs a reference and a slot. The bytes waiting are capped. When
//! the cap is passed, conflated entries have already been replaced in place, volatile ones are
//! dropped, and then the caller closes the connection as a slow reader.

use std::{
    collections::{HashMap, VecDeque},
    io::IoSlice,
};

use crate::protocol::{engine::MAX_POLL_PACKETS, frame::Frame};

/// Above this many waiting entries an outbox counts as backlogged and is searched for entries to
/// replace; below it a linear look would cost more than it saves.
const CONFLATE_ABOVE: usize = 4;

/// How an entry may be treated when the reader is slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Never dropped: when it does not fit the connection is closed.
    Always,
    /// Dropped first.
    Volatile,
    /// Replaced in place by a newer entry with the same key.
    Newest(u64),
}

/// What became of a pushed entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It waits to be written.
    Queued,
    /// It took the place of an older value.
    Replaced,
    /// It was volatile and there was no room.
    Dropped,
    /// It does not fit and may not be dropped: the reader is too slow.
    Overflow,
}

#[derive(Debug)]
enum Item {
    /// An Engine.IO packet.
    Packet(Frame),
    /// Ready bytes for a WebSocket: its own pong and close frames, or several packets joined.
    /// Never sent by polling.
    Raw(bytes::Bytes),
}

impl Item {
    fn bytes(&self) -> &bytes::Bytes {
        match self {
            Item::Packet(frame) => frame.ws(),
            Item::Raw(bytes) => bytes,
        }
    }
}

#[derive(Debug)]
struct Entry {
    item: Item,
    /// Whether it may be dropped, decided when it was pushed.
    keep: Keep,
}

/// Entries in order. Nearly every flush finds one, which needs no memory of its own: connections
/// are many, and most of the time nothing waits for them.
#[derive(Debug, Default)]
struct Queue {
    first: Option<Entry>,
    /// Empty if there is no first.
    rest: VecDeque<Entry>,
}

impl Queue {
    fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.len()
    }

    fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    fn front(&self) -> Option<&Entry> {
        self.first.as_ref()
    }

    fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.first.iter().chain(&self.rest)
    }

    fn get_mut(&mut self, at: usize) -> Option<&mut Entry> {
        match at.checked_sub(1) {
            None => self.first.as_mut(),
            Some(at) => self.rest.get_mut(at),
        }
    }

    fn push_back(&mut self, entry: Entry) {
        match self.first {
            None => self.first = Some(entry),
            Some(_) => self.rest.push_back(entry),
        }
    }

    fn pop_front(&mut self) -> Option<Entry> {
        let front = std::mem::replace(&mut self.first, self.rest.pop_front());
        if self.rest.is_empty() && self.rest.capacity() > 0 && self.first.is_none() {
            // Gives memory back after a backlog.
            self.rest = VecDeque::new();
        }
        front
    }

    /// Keeps the first `len` entries.
    fn truncate(&mut self, len: usize) {
        self.rest.truncate(len.saturating_sub(1));
        if len == 0 {
            self.first = None;
        }
    }

    fn retain(&mut self, mut keep: impl FnMut(&Entry) -> bool) {
        let first = self.first.take().filter(&mut keep);
        self.rest.retain(keep);
        self.first = first.or_else(|| self.rest.pop_front());
    }
}

/// The outbox of one connection.
#[derive(Debug, Default)]
pub struct Outbox {
    entries: Queue,
    /// How much of the front entry has been written already.
    offset: usize,
    /// Bytes waiting, the written part of the front entry included.
    bytes: usize,
    /// Bytes of a replay, on top of the cap until the outbox has been empty once.
    credit: usize,
    /// Sequence number of the front entry, so that `newest` survives pops.
    base: u64,
    /// Where the waiting entry of each conflation key is; made only when backlogged.
    newest: Option<HashMap<u64, u64>>,
}

impl Outbox {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes waiting.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Queues a frame under the cap of `limit` bytes (0: none).
    pub fn push(&mut self, frame: Frame, keep: Keep, limit: usize) -> Pushed {
        if let Keep::Newest(key) = keep
            && self.replace(key, &frame)
        {
            return Pushed::Replaced;
        }
        self.append_under(limit, Item::Packet(frame), keep)
    }

    /// Queues several frames that were joined, for a WebSocket, under the cap of `limit` bytes
    /// (0: none).
    pub fn push_joined(&mut self, frames: bytes::Bytes, limit: usize) -> Pushed {
        self.append_under(limit, Item::Raw(frames), Keep::Always)
    }

    /// Queues a frame of a replay: bounded by the history's limits, not by the outbox's.
    pub fn push_replay(&mut self, frame: Frame) -> Pushed {
        self.credit += frame.ws_len();
        self.append(Item::Packet(frame), Keep::Always);
        Pushed::Queued
    }

    /// Queues bytes of the WebSocket layer itself.
    pub fn push_control(&mut self, bytes: bytes::Bytes) {
        self.append(Item::Raw(bytes), Keep::Always);
    }

    /// Queues what another outbox holds, of which nothing was written yet.
    pub fn append_all(&mut self, mut other: Outbox) {
        self.credit += other.credit;
        while let Some(entry) = other.entries.pop_front() {
            self.append(entry.item, entry.keep);
        }
    }

    /// The waiting bytes, if they are all of one entry.
    pub fn only(&self) -> Option<&[u8]> {
        let front = self.entries.front()?;
        (self.entries.len() == 1).then(|| &front.item.bytes()[self.offset..])
    }

    /// The waiting bytes as slices for one vectored write; returns how many were filled.
    pub fn slices<'a>(&'a self, into: &mut [IoSlice<'a>]) -> usize {
        let mut offset = self.offset;
        let mut filled = 0;
        for (slot, entry) in into.iter_mut().zip(self.entries.iter()) {
            *slot = IoSlice::new(&entry.item.bytes()[offset..]);
            offset = 0;
            filled += 1;
        }
        filled
    }

    /// Forgets `written` bytes from the front.
    pub fn advance(&mut self, mut written: usize) {
        while written > 0 {
            let Some(front) = self.entries.front() else {
                break;
            };
            let left = front.item.bytes().len() - self.offset;
            if written < left {
                self.offset += written;
                return;
            }
            written -= left;
            self.pop();
        }
        self.reset_if_empty();
    }

    /// Takes the packets of one poll answer, at most `payload` bytes beyond the first one. The
    /// attachments of a packet may fall into the next answer.
    pub fn take_poll(&mut self, payload: usize) -> Vec<Frame> {
        let mut frames = Vec::new();
        let mut bytes = 0;
        while let Some(front) = self.entries.front() {
            let len = front.item.bytes().len();
            if frames.len() == MAX_POLL_PACKETS
                || (!frames.is_empty() && payload > 0 && bytes + len > payload)
            {
                break;
            }
            bytes += len;
            if let Some(Item::Packet(frame)) = self.pop() {
                frames.push(frame);
            }
        }
        self.reset_if_empty();
        frames
    }

    /// Drops all but the entry whose writing has begun, which the peer must get whole.
    pub fn keep_started(&mut self) {
        self.entries.truncate(usize::from(self.offset > 0));
        self.bytes = self
            .entries
            .iter()
            .map(|entry| entry.item.bytes().len())
            .sum();
        self.newest = None;
    }

    fn append_under(&mut self, limit: usize, item: Item, keep: Keep) -> Pushed {
        let len = item.bytes().len();
        let is_over = |outbox: &Self| outbox.bytes + len > limit + outbox.credit;
        if limit > 0 && is_over(self) && !self.entries.is_empty() {
            if keep == Keep::Volatile {
                return Pushed::Dropped;
            }
            self.drop_volatile();
            if is_over(self) {
                return Pushed::Overflow;
            }
        }
        self.append(item, keep);
        Pushed::Queued
    }

    fn append(&mut self, item: Item, keep: Keep) {
        let seq = self.base + self.entries.len() as u64;
        self.bytes += item.bytes().len();
        self.entries.push_back(Entry { item, keep });
        if let Keep::Newest(key) = keep {
            if let Some(newest) = &mut self.newest {
                newest.insert(key, seq);
            } else if self.entries.len() > CONFLATE_ABOVE {
                self.newest = Some(self.index());
            }
        }
    }

    fn index(&self) -> HashMap<u64, u64> {
        let keyed = self
            .entries
            .iter()
            .zip(self.base..)
            .filter_map(|(entry, seq)| match entry.keep {
                Keep::Newest(key) => Some((key, seq)),
                Keep::Always | Keep::Volatile => None,
            });
        keyed.collect()
    }

    /// Puts `frame` in the place of the waiting entry of `key`, unless that one is half written.
    fn replace(&mut self, key: u64, frame: &Frame) -> bool {
        let Some(seq) = self
            .newest
            .as_ref()
            .and_then(|newest| newest.get(&key))
            .copied()
        else {
            return false;
        };
        let Some(at) = seq.checked_sub(self.base).map(|at| at as usize) else {
            return false;
        };
        let half_written = at == 0 && self.offset > 0;
        let Some(entry) = self.entries.get_mut(at).filter(|_| !half_written) else {
            return false;
        };
        if entry.keep != Keep::Newest(key) {
            return false;
        }
        self.bytes = self.bytes - entry.item.bytes().len() + frame.ws_len();
        entry.item = Item::Packet(frame.clone());
        true
    }

    fn drop_volatile(&mut self) {
        let half_written = self.offset > 0;
        let mut index = 0;
        let mut freed = 0;
        self.entries.retain(|entry| {
            let first = index == 0;
            index += 1;
            let keep = entry.keep != Keep::Volatile || (first && half_written);
            if !keep {
                freed += entry.item.bytes().len();
            }
            keep
        });
        if freed > 0 {
            self.bytes -= freed;
            self.newest = self.newest.is_some().then(|| self.index());
        }
    }

    fn pop(&mut self) -> Option<Item> {
        let entry = self.entries.pop_front()?;
        self.bytes -= entry.item.bytes().len();
        self.offset = 0;
        self.base += 1;
        Some(entry.item)
    }

    fn reset_if_empty(&mut self) {
        if self.entries.is_empty() {
            self.credit = 0;
            self.newest = None;
        }
    }
}

#[cfg(test)]
mod tests;
