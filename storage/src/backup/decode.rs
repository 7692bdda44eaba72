//! Reading a backup, with every check that can be made of it.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::format::{
    ABOUT, ANY_MAGIC, About, CHECK, Contents, END, FILE, LARGEST, MAGIC, REMOVED, ROWS, Row,
};
use crate::embedded::codec::Reader;
use crate::error::StoreError;

/// Why a file is no backup that can be used. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The system refused to read it.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It does not begin like one.
    #[error("it is not a backup of tidings")]
    NotABackup,
    /// It is of a format that this program does not know.
    #[error("its format is {0:?}, which this program does not know: use the tidings that made it")]
    Format(String),
    /// It ends too early: it was not finished, or not all of it was copied.
    #[error("it ends after {0} bytes, before its end: it was not finished, or not all was copied")]
    CutShort(u64),
    /// Something in it is not what was written.
    #[error("it is damaged in the block that begins at byte {at}: {detail}")]
    Damaged {
        /// Where the block begins.
        at: u64,
        /// What is wrong with it.
        detail: String,
    },
}

/// A piece of a backup.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Block {
    Rows { tree: String, rows: Vec<Row> },
    File { name: String, content: Vec<u8> },
}

/// Reads a backup block by block.
pub(super) struct Decoder<R> {
    input: R,
    sum: Sha256,
    about: About,
    contents: Contents,
    /// Where the block that is read begins.
    at: u64,
}

/// Reads all of a backup, and says what is in it.
pub fn check_backup(path: &Path) -> Result<(About, Contents), BackupError> {
    let mut decoder = Decoder::new(BufReader::new(File::open(path)?))?;
    while decoder.next()?.is_some() {}
    Ok((decoder.about, decoder.contents))
}

impl<R: Read> Decoder<R> {
    /// Reads up to what it says of itself.
    pub(super) fn new(input: R) -> Result<Self, BackupError> {
        let about = About {
            node: String::new(),
            program: String::new(),
            taken_ms: 0,
            running: false,
        };
        let mut decoder = Self {
            input,
            sum: Sha256::new(),
            about,
            contents: Contents::default(),
            at: 0,
        };
        decoder.magic()?;
        let (kind, body) = decoder.block()?;
        if kind != ABOUT {
            return Err(decoder.damaged("it does not say what the backup is of"));
        }
        let about = parse_about(&body).map_err(|error| decoder.damaged(error))?;
        decoder.about = about;
        Ok(decoder)
    }

    /// What it says of itself.
    pub(super) fn about(&self) -> &About {
        &self.about
    }

    /// What was read so far; at the end, all.
    pub(super) fn contents(&self) -> &Contents {
        &self.contents
    }

    /// The next piece; none at the end, which was then checked, too.
    pub(super) fn next(&mut self) -> Result<Option<Block>, BackupError> {
        let digest = self.sum.clone().finalize();
        let (kind, body) = self.block()?;
        match kind {
            ROWS => {
                let (tree, rows) = parse_rows(&body).map_err(|error| self.damaged(error))?;
                *self.contents.rows.entry(tree.clone()).or_default() += rows.len() as u64;
                Ok(Some(Block::Rows { tree, rows }))
            }
            FILE => {
                let (name, content) = parse_file(&body).map_err(|error| self.damaged(error))?;
                let length = content.len() as u64;
                self.contents.files.insert(name.clone(), length);
                Ok(Some(Block::File { name, content }))
            }
            END => {
                self.end(&body, &digest)?;
                Ok(None)
            }
            other => Err(self.damaged(format!("its kind {other} is not known"))),
        }
    }

    fn end(&mut self, body: &[u8], digest: &[u8]) -> Result<(), BackupError> {
        let rows: u64 = self.contents.rows.values().sum();
        let files = self.contents.files.len() as u64;
        let said = parse_end(body).map_err(|error| self.damaged(error))?;
        if said != (rows, files, digest) {
            return Err(self.damaged("it does not have what its end says"));
        }
        if self.input.read(&mut [0])? != 0 {
            self.at = self.contents.bytes;
            return Err(self.damaged("something follows its end"));
        }
        Ok(())
    }

    fn magic(&mut self) -> Result<(), BackupError> {
        let mut found = Vec::new();
        let most = MAGIC.len() as u64;
        self.input.by_ref().take(most).read_to_end(&mut found)?;
        if found == MAGIC {
            self.add(MAGIC);
            return Ok(());
        }
        match found.strip_prefix(ANY_MAGIC) {
            Some(rest) => Err(BackupError::Format(
                String::from_utf8_lossy(rest).trim().to_owned(),
            )),
            None => Err(BackupError::NotABackup),
        }
    }

    /// The next block, whose digest is right.
    fn block(&mut self) -> Result<(u8, Vec<u8>), BackupError> {
        self.at = self.contents.bytes;
        let mut head = [0; 5];
        self.fill(&mut head)?;
        let [kind, length @ ..] = head;
        let length = u32::from_be_bytes(length) as usize;
        if length > LARGEST {
            return Err(self.damaged(format!("it would have {length} bytes")));
        }
        let mut body = Vec::new();
        // Not made at once: a damaged length must not take memory that the file does not fill.
        self.input
            .by_ref()
            .take(length as u64)
            .read_to_end(&mut body)?;
        if body.len() < length {
            let end = self.contents.bytes + body.len() as u64;
            return Err(BackupError::CutShort(end));
        }
        self.add(&body);
        let digest = self.sum.clone().finalize();
        let mut check = [0; CHECK];
        self.fill(&mut check)?;
        if check != digest[..CHECK] {
            return Err(self.damaged("its checksum does not match"));
        }
        Ok((kind, body))
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), BackupError> {
        let before = self.contents.bytes;
        self.input
            .read_exact(bytes)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => BackupError::CutShort(before),
                _ => BackupError::Io(error),
            })?;
        self.add(bytes);
        Ok(())
    }

    fn add(&mut self, bytes: &[u8]) {
        self.sum.update(bytes);
        self.contents.bytes += bytes.len() as u64;
    }

    pub(super) fn damaged(&self, detail: impl ToString) -> BackupError {
        BackupError::Damaged {
            at: self.at,
            detail: detail.to_string(),
        }
    }
}

const NAME: &str = "the backup";

fn parse_about(body: &[u8]) -> Result<About, StoreError> {
    let mut reader = Reader::new(NAME, body)?;
    let (taken_ms, running) = (reader.u64()?, reader.u64()? != 0);
    let (node, program) = (reader.text()?, reader.text()?);
    reader.end()?;
    Ok(About {
        node,
        program,
        taken_ms,
        running,
    })
}

fn parse_rows(body: &[u8]) -> Result<(String, Vec<Row>), StoreError> {
    let mut reader = Reader::new(NAME, body)?;
    let tree = reader.text()?;
    let mut rows = Vec::new();
    while !reader.is_empty() {
        let length = reader.count()?;
        let key = reader.take(length)?.to_vec();
        let length = reader.count()?;
        let value = match length == REMOVED as usize {
            true => None,
            false => Some(reader.take(length)?.to_vec()),
        };
        rows.push((key, value));
    }
    Ok((tree, rows))
}

fn parse_file(body: &[u8]) -> Result<(String, Vec<u8>), StoreError> {
    let mut reader = Reader::new(NAME, body)?;
    let name = reader.text()?;
    Ok((name, reader.rest().to_vec()))
}

fn parse_end(body: &[u8]) -> Result<(u64, u64, &[u8]), StoreError> {
    let mut reader = Reader::new(NAME, body)?;
    Ok((reader.u64()?, reader.u64()?, reader.rest()))
}
