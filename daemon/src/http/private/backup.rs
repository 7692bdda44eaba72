//! `GET /api/v1/backup`: the store as one file, while the node runs.

use std::{path::Path, time::Duration};

use bytes::Bytes;
use tidings_storage::{About, Backup, StoreError};
use tokio::sync::mpsc;

use super::{
    Api,
    answer::{self, Response},
    refusal::Refusal,
};
use crate::{backup, node::now_ms};

/// Pieces of some hundred kilobytes that wait for the caller.
const PIECES: usize = 2;

/// How long the caller may take for one of them: what is written meanwhile is remembered for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Begins a backup, and answers with it as it is being taken.
pub(in crate::http) async fn answer(api: &Api) -> Result<Response, Refusal> {
    let others = others(&api.data_dir).await?;
    let about = About {
        node: api.node.name().to_owned(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
        taken_ms: now_ms(),
        running: true,
    };
    let mut backup = api.node.recovery.store().backup(about, others);
    let first = backup.next().await.map_err(|error| match error {
        StoreError::Busy => Refusal::conflict(error.to_string()),
        error => Refusal::unavailable(error.to_string()),
    })?;
    let (out, pieces) = mpsc::channel(PIECES);
    tokio::spawn(run(backup, first, out));
    Ok(answer::bytes(pieces))
}

async fn others(folder: &Path) -> Result<Vec<(String, Vec<u8>)>, Refusal> {
    let folder = folder.to_owned();
    let read = tokio::task::spawn_blocking(move || backup::others(&folder)).await;
    match read {
        Ok(Ok(others)) => Ok(others),
        Ok(Err(error)) => Err(Refusal::unavailable(error.to_string())),
        Err(_) => Err(Refusal::internal()),
    }
}

/// What breaks off has no end, by which whoever gets it knows.
async fn run(mut backup: Backup, first: Option<Vec<u8>>, out: mpsc::Sender<Bytes>) {
    let mut piece = first;
    while let Some(bytes) = piece {
        let sent = tokio::time::timeout(PATIENCE, out.send(bytes.into())).await;
        match sent {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return tracing::warn!("a backup was given up by who asked for it"),
            Err(_) => return tracing::warn!(after = ?PATIENCE, "a backup was not taken; given up"),
        }
        piece = match backup.next().await {
            Ok(piece) => piece,
            Err(error) => return tracing::error!(%error, "a backup could not be finished"),
        };
    }
    tracing::info!("a backup was taken");
}
