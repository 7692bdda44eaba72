//! Where the log is written: the store, behind a seam at which tests make it fail.

use std::future::Future;

use tidings_storage::{LogBatch, OpenReport, Store, StoreError};

use super::log::{Batch, Dump, Limits, Log, Opened, Opening};

/// Keeps batches: each whole or not at all, in the order in which they come.
pub trait Journal: Send + Sync + 'static {
    /// Answers once the batch is written, and flushed if it says so. After an error it may be there
    /// or not, but never appears after a later batch.
    fn commit(&self, batch: Batch) -> impl Future<Output = Result<(), StoreError>> + Send;
}

impl Journal for Store {
    async fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let Batch {
            put,
            delete,
            state,
            durable,
        } = batch;
        self.commit_log(LogBatch {
            put,
            delete,
            state,
            durable,
        })
        .await
    }
}

/// Whether the store may lack rows that were flushed: a power cut or a repair since its last use.
pub fn is_suspect(report: &OpenReport) -> bool {
    report.rebuilt.is_some() || !(report.clean_stop || report.same_boot)
}

/// Opens the log on what the store holds. Once this returns, the epoch is on the disk, and the log
/// may be appended to.
pub async fn open_log(
    store: &Store,
    limits: Limits,
    opening: Opening,
    now_ms: u64,
) -> Result<(Log, Opened), StoreError> {
    let table = match store.slot_table().await {
        // Damage is told apart from absence: what an unknown table says is proof of nothing.
        Err(StoreError::Damaged { .. }) => Some(Vec::new()),
        table => table?,
    };
    let dump = store.load_log().await?;
    let dump = Dump {
        entries: dump.entries,
        state: dump.state,
    };
    let (mut log, opened) = Log::open(limits, &dump, table.as_deref(), opening);
    store.put_slot_table(log.table()).await?;
    log.trim(now_ms);
    write_all(&mut log, store).await?;
    Ok((log, opened))
}

/// Writes what waits. Nothing may be pending that is to be fed.
pub(super) async fn write_all(log: &mut Log, journal: &impl Journal) -> Result<(), StoreError> {
    while let Some(batch) = log.take_batch() {
        if let Err(error) = journal.commit(batch).await {
            log.rollback();
            return Err(error);
        }
        log.commit();
    }
    Ok(())
}
