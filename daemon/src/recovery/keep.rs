//! The store as the cluster sees it: where logs, promises and the roster are kept, and what of them
//! is read at a start.

use std::{collections::BTreeSet, sync::Arc};

use tidings_cluster::{
    BoxFuture, Keep, KeepError,
    proto::slots::{NodeId, StoredSlot, rows},
};
use tidings_storage::{LogBatch, OpenReport, Store, StoreError};
use tokio::sync::watch;

/// Where the store keeps this node's id.
pub const NODE: &str = "node_id";

/// What a node that starts has of recoverable rooms.
#[derive(Debug)]
pub struct Found {
    /// Its id; a new one if there was none, or if what was found could not be read.
    pub node: NodeId,
    /// What is stored of each slot.
    pub slots: Vec<StoredSlot>,
    /// Ids that were ever ready, less those that were forgotten.
    pub roster: BTreeSet<NodeId>,
    /// Ids that are not to be heard again.
    pub forgotten: BTreeSet<NodeId>,
    /// The newest part may be missing.
    pub unclean: bool,
}

/// Reads what the store holds. What cannot be read is removed, and the node starts as a new one: it
/// cannot keep promises that it does not know.
pub async fn find(store: &Store, report: &OpenReport) -> Result<Found, StoreError> {
    let unclean = report.rebuilt.is_some() || !(report.clean_stop || report.same_boot);
    let table = damaged_is(store.slot_table().await, vec![0])?;
    let roster = damaged_is(store.roster().await, vec![0])?;
    let dump = store.load_log().await?;
    let keys: Vec<_> = dump
        .entries
        .iter()
        .map(|(slot, seq, _)| (*slot, *seq))
        .collect();
    let states: Vec<_> = dump.state.iter().map(|(key, _)| key.clone()).collect();
    let slots = rows::load(dump.entries, dump.state, table.as_deref());
    let roster = roster.map_or(Ok(Default::default()), |bytes| rows::decode_roster(&bytes));
    match slots.and_then(|slots| Ok((slots, roster?))) {
        Ok((slots, (roster, forgotten))) => Ok(Found {
            node: node_id(store).await?,
            slots,
            roster,
            forgotten,
            unclean,
        }),
        Err(error) => {
            tracing::warn!(%error, "the history cannot be read; this node starts with none");
            clear(store, keys, states).await?;
            Ok(Found {
                node: new_node_id(store).await?,
                slots: Vec::new(),
                roster: BTreeSet::new(),
                forgotten: BTreeSet::new(),
                unclean: false,
            })
        }
    }
}

/// A damaged file is told apart from one that is not there: what it said is not known.
fn damaged_is(
    read: Result<Option<Vec<u8>>, StoreError>,
    instead: Vec<u8>,
) -> Result<Option<Vec<u8>>, StoreError> {
    match read {
        Err(StoreError::Damaged { .. }) => Ok(Some(instead)),
        read => read,
    }
}

async fn clear(
    store: &Store,
    entries: Vec<(u8, u64)>,
    state: Vec<Vec<u8>>,
) -> Result<(), StoreError> {
    let batch = LogBatch {
        put: Vec::new(),
        delete: entries,
        state: state.into_iter().map(|key| (key, None)).collect(),
        durable: true,
    };
    store.commit_log(batch).await?;
    store
        .put_slot_table(rows::Table::default().encode())
        .await?;
    let none = BTreeSet::new();
    store.put_roster(rows::encode_roster(&none, &none)).await
}

async fn node_id(store: &Store) -> Result<NodeId, StoreError> {
    let known = store.meta(NODE).await?;
    match known.and_then(|bytes| bytes.try_into().ok()) {
        Some(bytes) => Ok(NodeId(u64::from_be_bytes(bytes))),
        None => new_node_id(store).await,
    }
}

async fn new_node_id(store: &Store) -> Result<NodeId, StoreError> {
    let id: [u8; 8] = crate::app::random::bytes();
    store.put_meta(NODE, id.to_vec()).await?;
    Ok(NodeId(u64::from_be_bytes(id)))
}

/// The store, as it keeps what the cluster asks it to.
pub struct Disk {
    store: Store,
    /// Whether the log says of itself that its newest part may be missing, if it may. Writing the
    /// table takes that mark off the store.
    marked: watch::Sender<bool>,
}

impl Disk {
    /// A disk over a store in which everything that must be marked is.
    pub fn new(store: Store, unclean: bool) -> Arc<Self> {
        let marked = watch::Sender::new(!unclean);
        Arc::new(Self { store, marked })
    }

    /// The log has its marks.
    pub fn marked(&self) {
        self.marked.send_replace(true);
    }
}

impl Keep for Disk {
    fn store(&self, changes: Arc<rows::Changes>) -> BoxFuture<'_, Result<(), KeepError>> {
        let mut batch = LogBatch {
            durable: true,
            ..LogBatch::default()
        };
        for ((slot, seq), row) in &changes.entries {
            match row {
                Some(row) => batch.put.push((*slot, *seq, row.clone())),
                None => batch.delete.push((*slot, *seq)),
            }
        }
        let state = changes.state.iter();
        batch.state = state.map(|(key, row)| (key.clone(), row.clone())).collect();
        Box::pin(async move { told(self.store.commit_log(batch).await) })
    }

    fn sync(&self, table: Arc<[u8]>) -> BoxFuture<'_, Result<(), KeepError>> {
        Box::pin(async move {
            let mut marked = self.marked.subscribe();
            let _ = marked.wait_for(|marked| *marked).await;
            told(self.store.put_slot_table(table.to_vec()).await)
        })
    }

    fn roster(&self, roster: Arc<[u8]>) -> BoxFuture<'_, Result<(), KeepError>> {
        Box::pin(async move { told(self.store.put_roster(roster.to_vec()).await) })
    }
}

fn told(done: Result<(), StoreError>) -> Result<(), KeepError> {
    done.map_err(|error| KeepError(error.to_string()))
}
