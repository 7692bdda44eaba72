//! What a backup is made of.
//!
//! A line that names the format, then blocks: a kind (1 byte), a length (4 bytes, big-endian), a body of
//! that length, and the first 8 bytes of the SHA-256 of everything before them. So damage is found in
//! the block that has it, and no block can be left out, moved or taken from another backup. The first
//! block says what the backup is of; the last one how much it has, with the whole digest; nothing
//! follows it.
//!
//! Of several rows with the same tree and key the last one counts; one without a value is removed.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::embedded::codec::Writer;

/// Begins every backup; the number is the format's.
pub(super) const MAGIC: &[u8] = b"tidings-backup 1\n";

/// What [`MAGIC`] of any format begins with.
pub(super) const ANY_MAGIC: &[u8] = b"tidings-backup ";

/// The longest body: the longest row that a store takes fits, and with it the piece that it came in.
pub(super) const LARGEST: usize = 64 << 20;

/// Bytes of a digest behind each block.
pub(super) const CHECK: usize = 8;

/// Stands for the length of a value that is removed.
pub(super) const REMOVED: u32 = u32::MAX;

pub(super) const ABOUT: u8 = b'A';
pub(super) const ROWS: u8 = b'R';
pub(super) const FILE: u8 = b'F';
pub(super) const END: u8 = b'E';

/// A key and its value; without one it is removed.
pub(super) type Row = (Vec<u8>, Option<Vec<u8>>);

/// What a backup is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// The name of the node.
    pub node: String,
    /// The version of the program that made it.
    pub program: String,
    /// When it was begun, unix milliseconds.
    pub taken_ms: u64,
    /// Whether the node ran.
    pub running: bool,
}

/// How much a backup has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Rows by tree, removed ones included.
    pub rows: BTreeMap<String, u64>,
    /// Files by name, with their lengths.
    pub files: BTreeMap<String, u64>,
    /// Bytes in all.
    pub bytes: u64,
}

/// Writes a backup: each call answers the next bytes of it.
pub(super) struct Encoder {
    sum: Sha256,
    contents: Contents,
}

impl Encoder {
    /// Begins one.
    pub(super) fn begin(about: &About) -> (Self, Vec<u8>) {
        let mut encoder = Self {
            sum: Sha256::new(),
            contents: Contents::default(),
        };
        encoder.add(MAGIC);
        let body = Writer::new()
            .u64(about.taken_ms)
            .u64(u64::from(about.running))
            .text(&about.node)
            .text(&about.program)
            .done();
        let block = encoder.block(ABOUT, &body);
        (encoder, [MAGIC, &block].concat())
    }

    /// Rows of one tree.
    pub(super) fn rows(&mut self, tree: &str, rows: &[Row]) -> Vec<u8> {
        *self.contents.rows.entry(tree.to_owned()).or_default() += rows.len() as u64;
        let mut body = Writer::new().text(tree).done();
        for (key, value) in rows {
            put(&mut body, length(key), key);
            match value {
                Some(value) => put(&mut body, length(value), value),
                None => put(&mut body, REMOVED, &[]),
            }
        }
        self.block(ROWS, &body)
    }

    /// A file that lies beside the trees.
    pub(super) fn file(&mut self, name: &str, content: &[u8]) -> Vec<u8> {
        self.contents
            .files
            .insert(name.to_owned(), content.len() as u64);
        let body = Writer::new().text(name).rest(content);
        self.block(FILE, &body)
    }

    /// Ends it.
    pub(super) fn end(mut self) -> Vec<u8> {
        let digest = self.sum.clone().finalize();
        let rows = self.contents.rows.values().sum();
        let files = self.contents.files.len() as u64;
        let body = Writer::new().u64(rows).u64(files).rest(&digest);
        self.block(END, &body)
    }

    fn block(&mut self, kind: u8, body: &[u8]) -> Vec<u8> {
        let mut block = Vec::with_capacity(1 + 4 + body.len() + CHECK);
        block.push(kind);
        put(&mut block, length(body), body);
        self.add(&block);
        let digest = self.sum.clone().finalize();
        block.extend_from_slice(&digest[..CHECK]);
        self.add(&digest[..CHECK]);
        block
    }

    fn add(&mut self, bytes: &[u8]) {
        self.sum.update(bytes);
        self.contents.bytes += bytes.len() as u64;
    }
}

fn put(to: &mut Vec<u8>, length: u32, bytes: &[u8]) {
    to.extend_from_slice(&length.to_be_bytes());
    to.extend_from_slice(bytes);
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("pieces are far shorter")
}
