//! The log's rules, one test each; what they are worth together is for the simulation.

use std::collections::BTreeMap;

use ::bytes::Bytes;

use super::chain::CUT_GAP;
use super::*;

const LIMITS: Limits = Limits {
    keep_ms: 100,
    known_ms: 80,
    entries_per_room: 1000,
    memory: 1 << 20,
    marks: 100,
    ids: 1000,
};

/// What a store holds, for a log that is opened again.
#[derive(Default)]
struct Disk {
    entries: BTreeMap<(u8, u64), Vec<u8>>,
    state: BTreeMap<Vec<u8>, Vec<u8>>,
    table: Option<Vec<u8>>,
}

impl Disk {
    fn open_as(&mut self, limits: Limits, suspect: bool) -> (Log, Opened) {
        let dump = Dump {
            entries: self
                .entries
                .iter()
                .map(|(key, row)| (key.0, key.1, row.clone()))
                .collect(),
            state: self.state.clone().into_iter().collect(),
        };
        let opening = Opening { random: 9, suspect };
        let (mut log, opened) = Log::open(limits, &dump, self.table.as_deref(), opening);
        self.table = Some(log.table());
        self.write(&mut log);
        (log, opened)
    }

    fn open(&mut self) -> Log {
        self.open_as(LIMITS, false).0
    }

    fn apply(&mut self, batch: Batch) {
        self.entries.extend(
            batch
                .put
                .into_iter()
                .map(|(slot, seq, row)| ((slot, seq), row)),
        );
        for key in batch.delete {
            self.entries.remove(&key);
        }
        for (key, value) in batch.state {
            match value {
                Some(value) => drop(self.state.insert(key, value)),
                None => drop(self.state.remove(&key)),
            }
        }
    }

    fn write(&mut self, log: &mut Log) -> Vec<Arc<Entry>> {
        if let Some(batch) = log.take_batch() {
            self.apply(batch);
        }
        log.commit()
    }
}

fn room(name: &str) -> RoomKey {
    RoomKey::new("/", name)
}

fn event(name: &str, id: &str) -> Append {
    let payload = Bytes::copy_from_slice(id.as_bytes());
    Append {
        room: room(name),
        id: id.into(),
        except: Vec::new(),
        payload,
    }
}

/// Appends and commits one event.
fn put(disk: &mut Disk, log: &mut Log, now_ms: u64, name: &str, id: &str) -> Position {
    let appended = log.append(now_ms, event(name, id));
    disk.write(log);
    appended.offset.position
}

fn ids(log: &Log, name: &str, after: u64) -> Vec<String> {
    log.read(&room(name), after)
        .map(|entry| entry.id.to_string())
        .collect()
}

#[test]
fn entries_are_read_once_they_are_committed() {
    let mut log = Disk::default().open();
    let before = log.head(room("a").slot());
    assert_eq!(log.append(1, event("a", "x")).offset.position.seq, 1);
    assert_eq!(log.append(1, event("a", "y")).offset.position.seq, 2);
    assert_eq!(ids(&log, "a", 0), [""; 0]);
    assert_eq!(log.head(room("a").slot()), before);

    let batch = log.take_batch().unwrap();
    assert!(batch.durable);
    assert_eq!(batch.put.len(), 2);
    let fed: Vec<_> = log
        .commit()
        .iter()
        .map(|entry| entry.id.to_string())
        .collect();
    assert_eq!(fed, ["x", "y"]);
    assert_eq!(ids(&log, "a", 0), ["x", "y"]);
    assert_eq!(ids(&log, "a", 1), ["y"]);
    assert_eq!(log.head(room("a").slot()).seq, 2);
    assert_eq!(log.take_batch(), None);
}

#[test]
fn rooms_and_namespaces_of_one_slot_are_read_apart() {
    let (mut disk, mut log) = (Disk::default(), Disk::default().open());
    put(&mut disk, &mut log, 1, "a:1", "x");
    put(&mut disk, &mut log, 1, "b:1", "y");
    let other = Append {
        room: RoomKey::new("/n", "a:1"),
        ..event("", "z")
    };
    assert_eq!(log.append(1, other).offset.position.seq, 3);
    disk.write(&mut log);
    assert_eq!(
        (ids(&log, "a:1", 0), ids(&log, "b:1", 0)),
        (vec!["x".into()], vec!["y".into()])
    );
}

#[test]
fn a_known_id_gets_the_first_place_until_it_is_forgotten() {
    let mut disk = Disk::default();
    let mut log = disk.open();
    let first = put(&mut disk, &mut log, 0, "a", "x");
    let again = log.append(LIMITS.known_ms, event("a", "x"));
    assert_eq!((again.repeated, again.offset.position), (true, first));
    assert!(!log.append(0, event("b", "x")).repeated);
    let mut log = disk.open();
    assert!(log.append(LIMITS.known_ms, event("a", "x")).repeated);
    assert!(!log.append(LIMITS.known_ms + 1, event("a", "x")).repeated);
    // Twice in one batch is one entry, too.
    assert!(log.append(LIMITS.known_ms + 1, event("a", "x")).repeated);
}

#[test]
fn a_failed_batch_leaves_a_hole_and_no_trace() {
    for reached_the_disk in [false, true] {
        let mut disk = Disk::default();
        let mut log = disk.open();
        put(&mut disk, &mut log, 0, "a", "x");
        log.append(0, event("a", "lost"));
        let batch = log.take_batch().unwrap();
        if reached_the_disk {
            disk.apply(batch);
        }
        log.rollback();
        assert_eq!(
            (ids(&log, "a", 0).len(), log.head(room("a").slot()).seq),
            (1, 1)
        );

        let retried = log.append(0, event("a", "lost"));
        assert_eq!((retried.repeated, retried.offset.position.seq), (false, 3));
        disk.write(&mut log);
        assert_eq!(ids(&log, "a", 0), ["x", "lost"]);
        assert_eq!(ids(&disk.open(), "a", 0), ["x", "lost"]);
    }
}

#[test]
fn a_batch_that_was_stored_before_a_kill_ends_the_branch() {
    let mut disk = Disk::default();
    let mut log = disk.open();
    let seen = put(&mut disk, &mut log, 0, "a", "x");
    log.append(0, event("a", "y"));
    disk.apply(log.take_batch().unwrap());
    log.rollback();
    let mut log = disk.open();
    assert_eq!(log.check(&room("a"), seen), Ok(()));
    assert_eq!(ids(&log, "a", seen.seq), ["y"]);
    assert!(log.append(0, event("a", "y")).repeated);
    assert_eq!(log.append(0, event("a", "z")).offset.position.seq, 3);
}

#[test]
fn a_failed_trim_is_written_with_the_next_batch() {
    let mut disk = Disk::default();
    let mut log = disk.open();
    put(&mut disk, &mut log, 0, "a", "x");
    log.trim(LIMITS.keep_ms + 1);
    assert!(!log.take_batch().unwrap().durable);
    log.rollback();
    put(&mut disk, &mut log, 200, "b", "y");
    assert_eq!(disk.entries.len(), 1);
    assert_eq!(disk.state.len(), 1);
}

#[test]
fn positions_survive_restarts_on_one_branch() {
    let mut disk = Disk::default();
    let mut log = disk.open();
    let slot = room("a").slot();
    let empty = log.head(slot);
    let first = put(&mut disk, &mut log, 0, "a", "x");
    let mut log = disk.open();
    let second = put(&mut disk, &mut log, 0, "a", "y");
    assert!(second > first && second.eid > first.eid);
    for position in [empty, first, second] {
        assert_eq!(log.check(&room("a"), position), Ok(()));
    }
    assert_eq!(ids(&log, "a", first.seq), ["y"]);
    let made_up = Position {
        eid: first.eid,
        seq: second.seq,
    };
    assert_eq!(log.check(&room("a"), made_up), Err(Invalid::OtherBranch));
}

#[test]
fn a_suspect_start_cuts_every_slot() {
    let mut disk = Disk::default();
    let mut log = disk.open();
    let quiet = log.head(room("quiet").slot());
    let before = put(&mut disk, &mut log, 0, "a", "x");
    let (mut log, opened) = disk.open_as(LIMITS, true);
    assert_eq!((opened.cut, opened.damaged), (256, 0));
    assert_eq!(log.check(&room("a"), before), Err(Invalid::OtherBranch));
    // What was lost may have been in this slot: that nothing is found there proves nothing.
    assert_eq!(log.check(&room("quiet"), quiet), Err(Invalid::OtherBranch));
    assert!(disk.entries.is_empty());
    assert_eq!(ids(&log, "a", 0), [""; 0]);
    let after = log.append(0, event("a", "x"));
    assert!(!after.repeated && after.offset.position.seq > before.seq + CUT_GAP);
}

#[test]
fn a_first_start_is_no_cut() {
    let (log, opened) = Disk::default().open_as(LIMITS, true);
    assert_eq!((opened.cut, log.head(0).seq), (0, 0));
}

#[test]
fn rows_below_a_cut_do_not_come_back() {
    let mut disk = Disk::default();
    let mut log = disk.open();
    put(&mut disk, &mut log, 0, "a", "x");
    let left_over = disk.entries.clone();
    disk.open_as(LIMITS, true);
    disk.entries = left_over;
    let mut log = disk.open();
    assert!(!log.append(0, event("a", "x")).repeated);
    assert_eq!(disk.entries.len(), 0);
}

#[test]
fn a_damaged_row_cuts_its_slot_alone() {
    let mut disk = Disk::default();
    let mut log = disk.open();
    let a = put(&mut disk, &mut log, 0, "a", "x");
    let b = put(&mut disk, &mut log, 0, "b", "x");
    assert_ne!(room("a").slot(), room("b").slot());
    disk.entries.insert((room("a").slot(), 1), b"?".to_vec());
    let (log, opened) = disk.open_as(LIMITS, false);
    assert_eq!((opened.cut, opened.damaged), (1, 1));
    assert_eq!(log.check(&room("a"), a), Err(Invalid::OtherBranch));
    assert_eq!(log.check(&room("b"), b), Ok(()));
    assert_eq!(disk.open_as(LIMITS, false).1.cut, 0);
}

#[test]
fn a_table_or_state_that_cannot_be_read_cuts_all() {
    type Harm = fn(&mut Disk);
    let harms: [Harm; 4] = [
        |disk| disk.table = None,
        |disk| disk.table = Some(b"?".to_vec()),
        |disk| drop(disk.state.insert(b"?".to_vec(), Vec::new())),
        |disk| {
            drop(
                disk.state
                    .insert(vec![b'f', 0], vec![1, 255, 0, 0, 0, 0, 0, 0, 0]),
            )
        },
    ];
    for harm in harms {
        let mut disk = Disk::default();
        let mut log = disk.open();
        let before = put(&mut disk, &mut log, 0, "a", "x");
        harm(&mut disk);
        let (log, opened) = disk.open_as(LIMITS, false);
        assert_eq!(opened.cut, 256);
        assert_eq!(log.check(&room("a"), before), Err(Invalid::OtherBranch));
        assert_eq!(disk.open_as(LIMITS, false).1.cut, 0);
    }
}

#[test]
fn an_entry_of_another_branch_is_damage() {
    let mut disk = Disk::default();
    let mut log = disk.open();
    put(&mut disk, &mut log, 0, "a", "x");
    let old_table = disk.table.clone();
    let mut log = disk.open();
    put(&mut disk, &mut log, 0, "a", "y");
    disk.table = old_table;
    let (log, opened) = disk.open_as(LIMITS, false);
    assert_eq!((opened.cut, opened.damaged), (1, 1));
    // Its counter was not in the table that came back, and must still be passed.
    assert!(log.head(room("a").slot()).eid.counter > 2);
}

#[test]
fn age_trims_a_room_and_leaves_its_neighbours_valid() {
    let mut disk = Disk::default();
    let mut log = disk.open();
    put(&mut disk, &mut log, 0, "quiet:1", "q");
    let busy = put(&mut disk, &mut log, 1, "busy:1", "b");
    let idle = log.head(room("quiet:1").slot());
    for hour in 1..5 {
        put(
            &mut disk,
            &mut log,
            hour * 1000,
            "busy:1",
            &hour.to_string(),
        );
        log.trim(hour * 1000);
        disk.write(&mut log);
    }
    for log in [&log, &disk.open()] {
        assert_eq!(log.check(&room("quiet:1"), idle), Ok(()));
        assert_eq!(log.check(&room("busy:1"), busy), Err(Invalid::Trimmed));
        assert_eq!(ids(log, "busy:1", 0), ["4"]);
        assert_eq!(ids(log, "quiet:1", 0), [""; 0]);
    }
    assert_eq!(disk.entries.len(), 1);
}

#[test]
fn the_end_is_known_when_all_entries_are_trimmed() {
    let mut disk = Disk::default();
    let mut log = disk.open();
    let last = put(&mut disk, &mut log, 0, "a", "x");
    log.trim(1000);
    disk.write(&mut log);
    assert!(disk.entries.is_empty());
    let mut log = disk.open();
    assert_eq!(log.check(&room("a"), last), Ok(()));
    assert_eq!(log.append(0, event("a", "y")).offset.position.seq, 2);
}

#[test]
fn a_full_room_loses_its_oldest_entries_and_keeps_their_ids() {
    let limits = Limits {
        entries_per_room: 2,
        ..LIMITS
    };
    let mut disk = Disk::default();
    let mut log = disk.open_as(limits, false).0;
    let places: Vec<_> = ["x", "y", "z"]
        .iter()
        .map(|id| put(&mut disk, &mut log, 0, "a", id))
        .collect();
    disk.write(&mut log);
    let row = |seq| disk.entries[&(room("a").slot(), seq)].len();
    assert!(row(1) < row(2), "a trimmed entry takes less");
    let (mut reopened, _) = disk.open_as(limits, false);
    for log in [&mut log, &mut reopened] {
        assert_eq!(ids(log, "a", 0), ["y", "z"]);
        assert_eq!(log.check(&room("a"), places[0]), Ok(()));
        assert_eq!(
            log.check(
                &room("a"),
                Position {
                    seq: 0,
                    ..places[0]
                }
            ),
            Err(Invalid::Trimmed)
        );
        assert!(log.append(1, event("a", "x")).repeated);
        assert_eq!(log.size().entries, 2);
        log.trim(1000);
        assert_eq!(
            log.size(),
            Size {
                marks: 1,
                ..Size::default()
            }
        );
    }
}

#[test]
fn memory_is_bounded_the_oldest_go_first() {
    let mut disk = Disk::default();
    let mut log = disk.open();
    put(&mut disk, &mut log, 0, "a", "x");
    let limits = Limits {
        memory: 2 * log.size().memory,
        ..LIMITS
    };
    let mut log = disk.open_as(limits, false).0;
    for (name, id) in [("b", "1"), ("a", "2"), ("c", "3")] {
        put(&mut disk, &mut log, 0, name, id);
    }
    assert!(log.size().memory <= limits.memory);
    assert_eq!(
        (ids(&log, "b", 0), ids(&log, "a", 0)),
        (Vec::new(), vec!["2".into()])
    );
    assert_eq!(ids(&log, "c", 0), ["3"]);
    log.trim(1000);
    assert_eq!((log.size().memory, log.size().ids), (0, 0));
}

#[test]
fn ids_are_bounded() {
    let limits = Limits {
        ids: 2,
        entries_per_room: 1,
        ..LIMITS
    };
    let mut disk = Disk::default();
    let mut log = disk.open_as(limits, false).0;
    for id in ["x", "y", "z"] {
        put(&mut disk, &mut log, 0, "a", id);
    }
    assert!(log.append(0, event("a", "y")).repeated);
    assert!(!log.append(0, event("a", "x")).repeated);
}

#[test]
fn too_many_marks_become_the_slots_from() {
    let limits = Limits { marks: 2, ..LIMITS };
    let mut disk = Disk::default();
    let mut log = disk.open_as(limits, false).0;
    let quiet = log.head(room("q:1").slot());
    for (now_ms, name) in [(0, "a:1"), (1, "b:1"), (2, "c:1")] {
        put(&mut disk, &mut log, now_ms, name, "x");
    }
    let later = log.head(room("q:1").slot());
    log.trim(1000);
    disk.write(&mut log);
    for log in [&log, &disk.open_as(limits, false).0] {
        assert_eq!(log.size().marks, 2);
        assert_eq!(log.check(&room("q:1"), quiet), Err(Invalid::Trimmed));
        assert_eq!(
            log.check(&room("q:1"), Position { seq: 1, ..quiet }),
            Ok(())
        );
        assert_eq!(
            log.check(&room("c:1"), Position { seq: 2, ..quiet }),
            Err(Invalid::Trimmed)
        );
        assert_eq!(log.check(&room("c:1"), later), Ok(()));
    }
}

#[test]
fn a_clock_set_back_does_not_disorder_a_room() {
    let mut disk = Disk::default();
    let mut log = disk.open();
    for (now_ms, id) in [(50, "x"), (10, "y"), (60, "z")] {
        put(&mut disk, &mut log, now_ms, "a", id);
    }
    for log in [&mut log, &mut disk.open()] {
        assert_eq!(ids(log, "a", 0), ["x", "y", "z"]);
        assert_eq!(ids(log, "a", 1), ["y", "z"]);
        log.trim(155);
        assert_eq!(ids(log, "a", 0), ["z"]);
    }
}
