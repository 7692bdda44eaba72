//! What is stored is read again as it was; nothing else is, and nothing makes it panic.

use proptest::prelude::{Just, ProptestConfig, Strategy, any, proptest};
use proptest::{collection, option, prop_assert_eq, prop_oneof};

use super::*;
use crate::proto::slots::Stored;
use crate::proto::slots::samples::{chains, eids, entries, kepts, reigns, texts};

fn seqs() -> impl Strategy<Value = u64> {
    prop_oneof![1..20_u64, 0..=MAX_SEQ]
}

fn writes() -> impl Strategy<Value = Vec<Write>> {
    let put = (entries(), seqs()).prop_map(|(entries, seq)| {
        let mut entry = entries.first().map(|it| Entry::clone(it))?;
        entry.position.seq = seq;
        Some(Write::Put(Arc::new(entry)))
    });
    let put = put.prop_map(|put| put.unwrap_or(Write::Remove(3)));
    let write = prop_oneof![
        put,
        seqs().prop_map(Write::Remove),
        chains().prop_map(Write::Chain),
        seqs().prop_map(Write::From),
        seqs().prop_map(Write::End),
        (texts(), seqs()).prop_map(|(room, mark)| Write::Mark(room, mark)),
        texts().prop_map(|room| Write::Mark(room, 0)),
        (texts(), option::of(kepts())).prop_map(|(pid, kept)| Write::Record(pid, kept)),
        any::<bool>().prop_map(Write::Suspect),
    ];
    collection::vec(write, 0..8)
}

/// What each write says.
fn apply(stored: &mut Stored, write: &Write) {
    match write.clone() {
        Write::Put(entry) => drop(stored.entries.insert(entry.position.seq, entry)),
        Write::Remove(seq) => drop(stored.entries.remove(&seq)),
        Write::Chain(chain) => stored.chain = chain,
        Write::From(from) => stored.from = from,
        Write::End(end) => stored.end = end,
        Write::Mark(room, 0) => drop(stored.marks.remove(&room)),
        Write::Mark(room, mark) => drop(stored.marks.insert(room, mark)),
        Write::Record(pid, Some(kept)) => drop(stored.records.insert(pid, kept)),
        Write::Record(pid, None) => drop(stored.records.remove(&pid)),
        Write::Suspect(suspect) => stored.suspect = suspect,
    }
}

/// A store of rows.
#[derive(Default)]
struct Rows {
    entries: BTreeMap<(SlotNo, u64), Vec<u8>>,
    state: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Rows {
    fn store(&mut self, changes: Changes) {
        for (key, row) in changes.entries {
            match row {
                Some(row) => drop(self.entries.insert(key, row)),
                None => drop(self.entries.remove(&key)),
            }
        }
        for (key, value) in changes.state {
            match value {
                Some(value) => drop(self.state.insert(key, value)),
                None => drop(self.state.remove(&key)),
            }
        }
    }

    fn load(&self, table: Option<&[u8]>) -> Result<Vec<StoredSlot>, Damaged> {
        let entries = self.entries.iter();
        let entries = entries.map(|((slot, seq), row)| (*slot, *seq, row.clone()));
        load(entries, self.state.clone(), table)
    }
}

/// Changes of some slots: each piece is stored by itself or with the next.
fn pieces() -> impl Strategy<Value = Vec<(SlotNo, Vec<Write>, bool)>> {
    let slot = prop_oneof![Just(0_u8), Just(7), Just(255)];
    collection::vec((slot, writes(), any::<bool>()), 0..12)
}

fn stored(pieces: &[(SlotNo, Vec<Write>, bool)]) -> (Rows, Vec<StoredSlot>) {
    let (mut rows, mut changes) = (Rows::default(), Changes::default());
    let mut model = vec![StoredSlot::default(); SLOTS];
    for (slot, writes, ends) in pieces {
        changes.add(*slot, writes);
        if *ends {
            rows.store(std::mem::take(&mut changes));
        }
        let log = &mut model[usize::from(*slot)].log;
        writes.iter().for_each(|write| apply(log, write));
    }
    rows.store(changes);
    (rows, model)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_stored_is_loaded(pieces in pieces(), promise in eids(), record in option::of(reigns())) {
        let (rows, mut model) = stored(&pieces);
        let mut table = Table::default();
        table.set(7, promise, record.clone());
        (model[7].promise, model[7].record) = (promise, record);
        prop_assert_eq!(Table::of(&model), table.clone());
        prop_assert_eq!(rows.load(Some(&table.encode())), Ok(model));
    }

    #[test]
    fn a_damaged_row_is_named(pieces in pieces(), at: usize, cut: usize) {
        let (mut rows, _) = stored(&pieces);
        let table = Table::default().encode();
        let count = rows.entries.len();
        if let Some((key, row)) = rows.entries.iter_mut().nth(at % count.max(1)) {
            row.truncate(cut % row.len());
            let (slot, seq) = *key;
            let found = rows.load(Some(&table)).unwrap_err();
            prop_assert_eq!(found, Damaged::new(Row::Entry { slot, seq }, Why::Content));
        } else if let Some((key, value)) = rows.state.iter_mut().next() {
            value.push(0);
            let row = Row::State(key.clone());
            prop_assert_eq!(rows.load(Some(&table)), Err(Damaged::new(row, Why::Content)));
        }
    }

    #[test]
    fn no_bytes_make_it_panic(
        key in collection::vec(any::<u8>(), 0..6),
        kind in prop_oneof![Just(CHAIN), Just(END), Just(FROM), Just(MARK), Just(RECORD)],
        value in collection::vec(any::<u8>(), 0..60),
    ) {
        let row = [&[VERSION], &value[..]].concat();
        let table = Table::default().encode();
        let _ = load([], [(key.clone(), row.clone())], Some(&table));
        let _ = load([], [(vec![kind, 1], row.clone())], Some(&table));
        let _ = load([(1, 1, row.clone())], [], Some(&table));
        let _ = (Table::decode(&row), decode_roster(&row), Table::decode(&value));
    }

    #[test]
    fn rosters_round_trip(ids in collection::btree_set(any::<u64>(), 0..5), split: u64) {
        let ids = ids.into_iter().map(NodeId);
        let (roster, forgotten) = ids.partition(|id| id.0 < split);
        let bytes = encode_roster(&roster, &forgotten);
        prop_assert_eq!(decode_roster(&bytes), Ok((roster, forgotten)));
    }
}

#[test]
fn rows_of_one_nodes_form_are_told_apart() {
    let table = Table::default().encode();
    let found = load([(3, 9, vec![1, 0, 0])], [], Some(&table)).unwrap_err();
    assert_eq!(found.why, Why::Version(1));
    assert_eq!(
        found.to_string(),
        "entry 9 of slot 3 has format 1, this version knows 2"
    );
    assert_eq!(Table::decode(&[1, 2, 3]).unwrap_err().why, Why::Version(1));
}

#[test]
fn a_number_that_no_log_reaches_is_damage() {
    let table = Table::default().encode();
    let from = (vec![FROM, 2], encode(&(MAX_SEQ + 1)));
    let found = load([], [from], Some(&table)).unwrap_err();
    assert_eq!(found.to_string(), "state 'f' of slot 2 is damaged");
}

#[test]
fn rows_without_their_table_are_refused() {
    let mut changes = Changes::default();
    changes.add(1, &[Write::End(4)]);
    let mut rows = Rows::default();
    rows.store(changes);
    let found = rows.load(None).unwrap_err();
    assert_eq!(found.to_string(), "the table of promises is missing");
    assert!(Rows::default().load(None).is_ok());
}
