//! What was acknowledged survives `kill -9`.

use std::collections::{BTreeMap, BTreeSet};

use crate::child::{BATCH, Role};
use crate::harness::Folder;

/// Acknowledged writes before each kill.
const WRITES: usize = 150;

const KILLS: usize = 6;

#[tokio::test]
async fn acknowledged_writes_survive_being_killed() {
    let folder = Folder::new();
    let mut acknowledged: BTreeMap<u8, BTreeSet<u64>> = BTreeMap::new();
    for _ in 0..KILLS {
        let mut writer = Role::start("write", &folder.path());
        let had = writer.next().unwrap();
        assert!(had.starts_with("had "), "{had}");
        let mut count = 0;
        while count < WRITES {
            note(&mut acknowledged, &writer.next().unwrap());
            count += 1;
        }
        writer.kill();
        // Said before the kill, still in the pipe.
        while let Some(line) = writer.next() {
            note(&mut acknowledged, &line);
        }
        check(&folder, &acknowledged).await;
    }
    assert_eq!(acknowledged.len(), 4);
}

/// The writer is killed while a batch is on its way to the disk, most often with part of it there.
#[tokio::test]
async fn a_batch_is_kept_whole_or_not_at_all() {
    let folder = Folder::new();
    for _ in 0..KILLS {
        let mut writer = Role::start("write batches", &folder.path());
        for _ in 0..3 {
            writer.next().unwrap();
        }
        writer.kill();
        let store = folder.open();
        let entries = store.load_log().await.unwrap().entries;
        assert_eq!(entries.len() % BATCH, 0, "of {} entries", entries.len());
        store.close().await.unwrap();
    }
}

fn note(acknowledged: &mut BTreeMap<u8, BTreeSet<u64>>, line: &str) {
    let (slot, seq) = line.split_once(' ').unwrap();
    acknowledged
        .entry(slot.parse().unwrap())
        .or_default()
        .insert(seq.parse().unwrap());
}

async fn check(folder: &Folder, acknowledged: &BTreeMap<u8, BTreeSet<u64>>) {
    let (store, report) = folder.try_open().unwrap();
    assert!(
        !report.clean_stop && report.same_boot && !report.fresh,
        "{report:?}"
    );
    assert_eq!(report.rebuilt, None);
    let dump = store.load_log().await.unwrap();
    for (slot, acknowledged) in acknowledged {
        let stored: Vec<u64> = dump
            .entries
            .iter()
            .filter(|(of, ..)| of == slot)
            .map(|(_, seq, _)| *seq)
            .collect();
        let end = *stored.last().unwrap();
        assert!(
            Some(&end) >= acknowledged.last(),
            "slot {slot} ends at {end}"
        );
        assert_eq!(stored, (0..=end).collect::<Vec<_>>(), "no gap");
        let state = dump.state.iter().find(|(key, _)| key == &[*slot]).unwrap();
        assert_eq!(
            state.1,
            end.to_be_bytes(),
            "the state is of the same batch as the entry"
        );
        let sessions = store.sessions_of(&format!("user-{slot}")).await.unwrap();
        let ids: BTreeSet<_> = sessions.into_iter().map(|session| session.id).collect();
        for seq in acknowledged {
            assert!(
                ids.contains(&format!("{slot}-{seq}")),
                "session {slot}-{seq} is gone"
            );
        }
    }
    store.close().await.unwrap();
}
