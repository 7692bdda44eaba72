//! A backup of a store that runs.

use std::sync::Arc;

use super::format::{About, Encoder};
use super::scan::{self, Cursor};
use crate::error::StoreError;
use crate::store::Store;
use crate::store::thread::Effect;

/// The names of the files that lie beside the trees.
pub(super) const SLOTS: &str = "store/slots";
pub(super) const ROSTER: &str = "store/roster";

/// A backup that is being taken; dropping it ends it.
pub struct Backup {
    store: Store,
    about: About,
    /// Files that are no part of the store, by name.
    others: Vec<(String, Vec<u8>)>,
    /// While it is there, rows that are written are noted.
    wanted: Arc<()>,
    encoder: Option<Encoder>,
    stage: Stage,
}

/// What comes next.
enum Stage {
    Begin,
    Rows(Cursor),
    Changes,
    Over,
}

impl Store {
    /// Takes a backup of the store as it will be when the last piece is read, with files that lie
    /// beside it. Each piece of it is a call like any other, and others are done in between.
    pub fn backup(&self, about: About, others: Vec<(String, Vec<u8>)>) -> Backup {
        Backup {
            store: self.clone(),
            about,
            others,
            wanted: Arc::new(()),
            encoder: None,
            stage: Stage::Begin,
        }
    }
}

impl Backup {
    /// The next bytes; none at the end. After an error what was answered is no backup, and shows it.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        loop {
            let bytes = match std::mem::replace(&mut self.stage, Stage::Over) {
                Stage::Begin => self.begin().await?,
                Stage::Rows(cursor) => self.rows(cursor).await?,
                Stage::Changes => self.changes().await?,
                Stage::Over => return Ok(None),
            };
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
        }
    }

    async fn begin(&mut self) -> Result<Vec<u8>, StoreError> {
        let wanted = self.wanted.clone();
        let begun = self.store.call(Effect::Read, move |on| {
            match on.trees.noted.begin(&wanted) {
                true => Ok(()),
                false => Err(StoreError::Busy),
            }
        });
        begun.await?;
        let (mut encoder, mut bytes) = Encoder::begin(&self.about);
        for (name, content) in std::mem::take(&mut self.others) {
            bytes.extend(encoder.file(&name, &content));
        }
        self.encoder = Some(encoder);
        self.stage = Stage::Rows(Cursor::default());
        Ok(bytes)
    }

    async fn rows(&mut self, cursor: Cursor) -> Result<Vec<u8>, StoreError> {
        let read = self
            .store
            .call(Effect::Read, |on| scan::rows(on.trees, cursor));
        let (piece, next) = read.await?;
        self.stage = next.map_or(Stage::Changes, Stage::Rows);
        let encoder = self.encoder.as_mut().ok_or(StoreError::Closed)?;
        let piece = piece.filter(|piece| !piece.rows.is_empty());
        Ok(piece.map_or_else(Vec::new, |piece| encoder.rows(piece.tree, &piece.rows)))
    }

    async fn changes(&mut self) -> Result<Vec<u8>, StoreError> {
        let read = self
            .store
            .call(Effect::Read, |on| scan::changes(on.trees, on.files));
        let last = read.await?;
        let mut encoder = self.encoder.take().ok_or(StoreError::Closed)?;
        let mut bytes = Vec::new();
        for piece in last.pieces {
            bytes.extend(encoder.rows(piece.tree, &piece.rows));
        }
        let Some(files) = last.files else {
            self.encoder = Some(encoder);
            self.stage = Stage::Changes;
            return Ok(bytes);
        };
        for (name, content) in files {
            bytes.extend(encoder.file(name, &content));
        }
        bytes.extend(encoder.end());
        Ok(bytes)
    }
}
