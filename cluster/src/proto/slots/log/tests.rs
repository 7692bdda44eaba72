//! One log, and two that become the same.

use bytes::Bytes;

use super::*;
use crate::proto::slots::piece::Piece;
use crate::proto::slots::rows::{Changes, Table, load};
use crate::proto::slots::{Home, Record};

const LIMITS: Limits = Limits {
    known_ms: 1000,
    marks: 10,
    memory: u64::MAX,
};

fn eid(counter: u64) -> Eid {
    Eid { counter, random: 1 }
}

fn text(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// A log whose rooms are kept so, and the rows of it.
struct Kit {
    log: Log,
    writes: Vec<Write>,
    next_id: u64,
}

impl Kit {
    fn new(limits: RoomLimits) -> Self {
        Self {
            log: Log::load(Stored::default(), LIMITS.known_ms, limits.into()),
            writes: Vec::new(),
            next_id: 0,
        }
    }

    fn open(&mut self, counter: u64) {
        self.log.chain.open(eid(counter), self.log.end + 1);
        self.writes.push(Write::Chain(self.log.chain.clone()));
    }

    fn add(&mut self, room: &str, at_ms: u64, payload: &'static str) -> Arc<Entry> {
        self.next_id += 1;
        let eid = self.log.chain.last().unwrap();
        let body = Body::Event {
            room: text(room),
            id: text(&format!("{eid:?} {}", self.next_id)),
            payload: Some(Bytes::from_static(payload.as_bytes())),
        };
        let entry = self.log.append(eid, at_ms, body);
        self.writes.push(Write::Put(entry.clone()));
        entry
    }

    fn put(&mut self, pid: &str, connection: u64) {
        let record = Record {
            home: Home {
                connection,
                ..Home::default()
            },
            ..Record::default()
        };
        let pid = text(pid);
        let body = Body::Record {
            pid: pid.clone(),
            record: Some(record.clone()),
        };
        let entry = self.log.append(self.log.chain.last().unwrap(), 0, body);
        let seq = entry.position.seq;
        self.writes.push(Write::Put(entry));
        self.writes
            .push(Write::Record(pid, Some(Kept { record, seq })));
    }

    fn trim(&mut self, wall_ms: u64) {
        let end = self.log.end;
        self.log.trim(&LIMITS, wall_ms, end, &mut self.writes);
    }

    fn read(&self, room: &str) -> Vec<u64> {
        let room = text(room);
        let read = self.log.read(&room, 0, u64::MAX - 1);
        read.map(|entry| entry.position.seq).collect()
    }

    fn seqs(&self) -> Vec<u64> {
        self.log.entries.keys().copied().collect()
    }

    fn check(&self, room: &str, counter: u64, seq: u64) -> Result<(), Invalid> {
        let position = Position {
            eid: eid(counter),
            seq,
        };
        self.log.check(&text(room), position, self.log.end)
    }

    /// Becomes what another log is, in pieces of so many.
    fn adopt(&mut self, of: &Kit, count: usize) {
        let settings = crate::proto::slots::tests::settings_of(count);
        let (mut whole, mut rest) = (Basis::default(), None);
        loop {
            let piece = Piece::new(&settings);
            let own = (&self.log.chain, self.log.end);
            let (mut basis, next) = of.log.basis(own, rest, piece);
            whole.entries.append(&mut basis.entries);
            whole.marks.append(&mut basis.marks);
            whole.records.append(&mut basis.records);
            (whole.chain, whole.end, whole.low) = (basis.chain, basis.end, basis.low);
            rest = next;
            if rest.is_none() {
                break;
            }
        }
        self.log.adopt(whole, &mut self.writes, true);
    }

    /// What is loaded from the rows is the log as it is.
    fn assert_stored(&self) {
        let mut changes = Changes::default();
        changes.add(0, &self.writes);
        let entries = changes.entries.into_iter();
        let entries = entries.filter_map(|((slot, seq), row)| Some((slot, seq, row?)));
        let state = changes.state.into_iter();
        let state = state.filter_map(|(key, value)| Some((key, value?)));
        let table = Table::default().encode();
        let stored = load(entries, state, Some(&table)).unwrap().remove(0).log;
        let loaded = Log::load(stored, LIMITS.known_ms, self.log.limits_of.clone());
        assert_eq!(loaded.entries, self.log.entries);
        assert_eq!(loaded.trimmed, self.log.trimmed);
        assert_eq!(loaded.records, self.log.records);
        assert_eq!(loaded.ids, self.log.ids);
        assert_eq!(loaded.held(), self.log.held());
        let place = |log: &Log| (log.chain.clone(), log.from, log.end);
        assert_eq!(place(&loaded), place(&self.log));
    }
}

#[test]
fn a_room_is_trimmed_by_entries() {
    let mut kit = Kit::new(RoomLimits {
        entries: 2,
        ..RoomLimits::NONE
    });
    kit.open(1);
    for _ in 0..4 {
        kit.add("a", 0, "x");
    }
    kit.add("b", 0, "x");
    kit.trim(0);
    assert_eq!((kit.read("a"), kit.read("b")), (vec![3, 4], vec![5]));
    assert_eq!(kit.check("a", 1, 1), Err(Invalid::Trimmed));
    assert_eq!(
        (kit.check("a", 1, 2), kit.check("b", 1, 1)),
        (Ok(()), Ok(()))
    );
    // Their ids are known for a while.
    assert_eq!(kit.seqs(), [1, 2, 3, 4, 5]);
    kit.trim(1001);
    assert_eq!(kit.seqs(), [3, 4, 5]);
    assert_eq!(kit.log.held(), (3, 3));
    kit.assert_stored();
}

#[test]
fn a_room_is_trimmed_by_bytes_of_payload_but_for_the_newest() {
    let mut kit = Kit::new(RoomLimits {
        bytes: 5,
        ..RoomLimits::NONE
    });
    kit.open(1);
    for payload in ["1", "22", "333", "4"] {
        kit.add("a", 0, payload);
    }
    kit.trim(0);
    assert_eq!(kit.read("a"), [3, 4]);
    kit.add("a", 0, "larger than all");
    kit.trim(0);
    assert_eq!(kit.read("a"), [5]);
    kit.assert_stored();
}

#[test]
fn only_what_is_committed_is_trimmed() {
    let mut kit = Kit::new(RoomLimits {
        entries: 1,
        ..RoomLimits::NONE
    });
    kit.open(1);
    for _ in 0..4 {
        kit.add("a", 0, "x");
    }
    kit.log.trim(&LIMITS, 0, 2, &mut kit.writes);
    assert_eq!(kit.read("a"), [3, 4]);
    kit.trim(0);
    assert_eq!(kit.read("a"), [4]);
    kit.assert_stored();
}

#[test]
fn each_room_has_its_window() {
    let mut kit = Kit::new(RoomLimits::NONE);
    kit.log.limits_of = LimitsOf::new(|room| RoomLimits {
        keep_ms: if room == "long" { 5000 } else { 100 },
        ..RoomLimits::NONE
    });
    kit.open(1);
    kit.add("long", 0, "x");
    kit.add("short", 0, "x");
    kit.add("short", 90, "x");
    kit.trim(150);
    assert_eq!((kit.read("long"), kit.read("short")), (vec![1], vec![3]));
    kit.trim(2000);
    // One that is kept longer does not keep others.
    assert_eq!((kit.seqs(), kit.read("long")), (vec![1], vec![1]));
    assert_eq!(kit.check("short", 1, 2), Err(Invalid::Trimmed));
    assert_eq!(kit.check("short", 1, 3), Ok(()));
    kit.trim(5001);
    assert!(kit.seqs().is_empty());
    // Nothing after its end is lost.
    assert_eq!((kit.check("long", 1, 1), kit.log.end), (Ok(()), 3));
    kit.assert_stored();
}

#[test]
fn too_many_marks_become_one_bound() {
    let mut kit = Kit::new(RoomLimits {
        entries: 1,
        ..RoomLimits::NONE
    });
    kit.open(1);
    for room in 0..14 {
        kit.add(&format!("room{room}"), 0, "x");
        kit.add(&format!("room{room}"), 0, "x");
    }
    kit.trim(0);
    assert_eq!((kit.log.trimmed.len(), kit.log.from), (10, 7));
    assert_eq!(kit.check("room0", 1, 6), Err(Invalid::NotYet));
    assert_eq!(kit.check("room0", 1, 7), Ok(()));
    assert_eq!(kit.check("room9", 1, 18), Err(Invalid::Trimmed));
    kit.assert_stored();
}

#[test]
fn what_does_not_fit_is_dropped_when_a_log_is_adopted() {
    let (mut one, mut two) = (Kit::new(RoomLimits::NONE), Kit::new(RoomLimits::NONE));
    one.open(1);
    for _ in 0..3 {
        one.add("a", 0, "x");
    }
    one.put("p", 1);
    two.adopt(&one, 100);
    assert_eq!((two.read("a"), two.log.from), (vec![1, 2, 3], 0));
    // Both go on, without each other.
    one.open(2);
    two.open(3);
    one.add("a", 0, "one");
    one.put("q", 2);
    two.add("a", 0, "two");
    two.put("p", 9);
    two.put("r", 3);
    let lost = two.add("a", 0, "lost");
    two.adopt(&one, 2);
    assert_eq!(two.log.chain, one.log.chain);
    assert_eq!(two.log.records, one.log.records);
    assert_eq!(two.log.entries, one.log.entries);
    assert_eq!(two.log.end, 6);
    let Body::Event { room, id, .. } = &lost.body else {
        panic!();
    };
    assert!(two.log.known(room, id).is_none());
    two.assert_stored();
}

#[test]
fn older_entries_are_filled_up() {
    let (mut one, mut two) = (Kit::new(RoomLimits::NONE), Kit::new(RoomLimits::NONE));
    one.open(1);
    for _ in 0..6 {
        one.add("a", 0, "x");
    }
    two.adopt(&one, 2);
    // Only the newest are whole, and the ids of all are known.
    assert_eq!((two.log.from, two.read("a")), (4, vec![5, 6]));
    assert_eq!((two.seqs().len(), two.log.ids.len()), (6, 6));
    assert_eq!(two.check("a", 1, 3), Err(Invalid::NotYet));
    let settings = crate::proto::slots::tests::settings_of(3);
    let (low, entries) = one.log.newest(0, 4, Piece::new(&settings));
    assert_eq!(low, 1);
    let mut writes = Vec::new();
    assert!(!two.log.fill((0, 1), Vec::new(), Vec::new(), &mut writes));
    assert!(two.log.fill((low, 4), entries, Vec::new(), &mut writes));
    two.writes.append(&mut writes);
    assert_eq!((two.log.from, two.read("a")), (1, vec![2, 3, 4, 5, 6]));
    two.assert_stored();
}

#[test]
fn what_is_filled_up_under_a_mark_is_not_read() {
    let (mut one, mut two) = (Kit::new(RoomLimits::NONE), Kit::new(RoomLimits::NONE));
    one.open(1);
    for _ in 0..6 {
        one.add("a", 0, "x");
    }
    two.adopt(&one, 2);
    two.log.trim_room(&text("a"), 3, &mut two.writes);
    let all: Vec<_> = one.log.range(0, 4).cloned().collect();
    assert!(two.log.fill((0, 4), all, Vec::new(), &mut two.writes));
    assert_eq!((two.log.from, two.read("a")), (0, vec![4, 5, 6]));
    assert_eq!(two.check("a", 1, 2), Err(Invalid::Trimmed));
    two.trim(2000);
    assert_eq!(two.seqs(), [4, 5, 6]);
    two.assert_stored();
}

#[test]
fn nothing_is_known_after_a_cut() {
    let mut kit = Kit::new(RoomLimits {
        entries: 1,
        ..RoomLimits::NONE
    });
    kit.open(1);
    for _ in 0..3 {
        kit.add("a", 0, "x");
    }
    kit.put("p", 1);
    kit.trim(0);
    kit.log.cut(9, &mut kit.writes);
    kit.open(2);
    assert!(kit.seqs().is_empty() && kit.log.trimmed.is_empty() && kit.log.records.is_empty());
    assert_eq!(kit.check("a", 1, 3), Err(Invalid::OtherBranch));
    assert_eq!(kit.check("a", 2, 9), Ok(()));
    assert_eq!(kit.add("a", 0, "x").position.seq, 10);
    kit.assert_stored();
}

#[test]
fn what_is_trimmed_while_a_log_is_fetched_is_trimmed_in_the_copy() {
    let (mut one, two) = (
        Kit::new(RoomLimits {
            entries: 2,
            ..RoomLimits::NONE
        }),
        Kit::new(RoomLimits::NONE),
    );
    one.open(1);
    for _ in 0..6 {
        one.add("a", 0, "x");
    }
    let settings = crate::proto::slots::tests::settings_of(4);
    let own = (&two.log.chain, 0);
    let (first, rest) = one.log.basis(own, None, Piece::new(&settings));
    assert_eq!(first.entries.len(), 4);
    one.trim(0);
    let (second, rest) = one.log.basis(own, rest, Piece::new(&settings));
    assert!(rest.is_none() && second.marks == [(text("a"), 4)]);
    let whole = Basis {
        entries: [first.entries, second.entries].concat(),
        ..second
    };
    let mut two = two;
    two.log.adopt(whole, &mut two.writes, true);
    assert_eq!(two.read("a"), [5, 6]);
    two.assert_stored();
}
