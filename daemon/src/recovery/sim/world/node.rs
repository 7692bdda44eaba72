//! What the committer does, and what becomes of the process.

use super::{ROOMS, WINDOW_MS, World};
use crate::recovery::log::{Appended, Log, Opening};
use crate::recovery::sim::Tight;

type Sent = Vec<(&'static str, String, Appended)>;

impl World {
    pub(super) fn flush(&mut self, sent: Sent) {
        let Some(batch) = self.log.take_batch() else {
            return;
        };
        let fate = self.random.below(200);
        if fate < 190 {
            self.disk.write(batch);
            self.commit(sent);
            return;
        }
        // It fails; some of these are stored all the same, and some are a process that dies.
        if fate < 195 {
            self.disk.write(batch);
        }
        self.log.rollback();
        self.seen.failed += 1;
        for (room, id, appended) in sent {
            if !self.log.is_committed(appended.offset) {
                self.unsure.push((room, id));
            }
        }
        if fate.is_multiple_of(4) {
            self.kill();
        }
    }

    fn commit(&mut self, sent: Sent) {
        for entry in self.log.commit() {
            self.truth.committed(&entry, self.now_ms);
            self.mailbox.push_back(entry);
            self.seen.committed += 1;
        }
        for (room, id, appended) in sent {
            let seq = appended.offset.position.seq;
            assert!(self.log.is_committed(appended.offset));
            assert!(
                self.truth.has(room, seq, &id),
                "{id} is not at {seq} as its emitter was told"
            );
            // An answer can get lost.
            if self.random.percent(5) {
                self.unsure.push((room, id));
            }
        }
    }

    fn drop_connections(&mut self) {
        for client in 0..self.clients.len() {
            self.lose(client);
        }
        self.sockets.clear();
        self.mailbox.clear();
    }

    pub(super) fn stop(&mut self) {
        while let Some(batch) = self.log.take_batch() {
            self.disk.write(batch);
            self.log.commit();
        }
        self.drop_connections();
        self.disk.stop();
        self.start(false);
    }

    pub(super) fn kill(&mut self) {
        self.seen.kills += 1;
        self.drop_connections();
        self.disk.kill(&mut self.random);
        self.start(false);
    }

    pub(super) fn cut_power(&mut self) {
        self.seen.power_cuts += 1;
        self.drop_connections();
        self.disk.cut_power(&mut self.random);
        self.truth.cut();
        self.start(true);
    }

    fn start(&mut self, suspect: bool) {
        self.now_ms += self.random.below(3000) as u64;
        let limits = self.tight.limits();
        let whole = loop {
            let opening = Opening {
                random: self.random.next(),
                suspect,
            };
            let (dump, table) = (self.disk.dump(), self.disk.table.as_deref());
            let (log, opened) = Log::open(limits, &dump, table, opening);
            let (whole, _) = Log::open(Tight::Nothing.limits(), &dump, table, opening);
            assert_eq!(
                (opened.cut, opened.damaged),
                (if suspect { 256 } else { 0 }, 0)
            );
            self.log = log;
            if suspect && self.random.percent(20) {
                // It may die before the table is written, and is then as suspect as before.
                continue;
            }
            self.disk.table = Some(self.log.table());
            break whole;
        };
        // It may die before its first batch is written.
        if self.random.percent(20) {
            return self.start(false);
        }
        while let Some(batch) = self.log.take_batch() {
            self.disk.write(batch);
            self.log.commit();
        }
        self.truth.restarted(&self.log, &whole, &ROOMS, self.now_ms);
        for stored in self.records.values_mut() {
            stored.expires_ms.get_or_insert(self.now_ms + WINDOW_MS);
        }
    }
}
