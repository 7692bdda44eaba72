//! Reading and writing of the log's rows: big-endian numbers, fields after their length.

use crate::recovery::slot::Eid;

/// Why bytes are not the row they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// Written by a later version.
    #[error("the row has format {0}, this version knows 1")]
    Version(u8),
    /// Cut short, too long, or not text where text should be.
    #[error("the row is damaged")]
    Damaged,
}

/// The first byte of every value.
pub(super) const VERSION: u8 = 1;

/// Builds a row.
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn new(capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(1 + capacity);
        bytes.push(VERSION);
        Self(bytes)
    }

    pub(super) fn byte(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(super) fn number(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn eid(&mut self, eid: Eid) {
        self.number(eid.counter);
        self.number(eid.random);
    }

    /// A field; its length is a full number, so that none can be too long.
    pub(super) fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.rest(text.as_bytes());
    }

    /// The last field, which needs no length.
    pub(super) fn rest(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Takes a row apart.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(row: &'a [u8]) -> Result<Self, RowError> {
        match row.split_first() {
            Some((&VERSION, rest)) => Ok(Self(rest)),
            Some((&other, _)) => Err(RowError::Version(other)),
            None => Err(RowError::Damaged),
        }
    }

    pub(super) fn byte(&mut self) -> Result<u8, RowError> {
        let (first, rest) = self.0.split_first().ok_or(RowError::Damaged)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(super) fn number(&mut self) -> Result<u64, RowError> {
        let (number, rest) = self.0.split_first_chunk().ok_or(RowError::Damaged)?;
        self.0 = rest;
        Ok(u64::from_be_bytes(*number))
    }

    pub(super) fn eid(&mut self) -> Result<Eid, RowError> {
        Ok(Eid {
            counter: self.number()?,
            random: self.number()?,
        })
    }

    pub(super) fn text(&mut self) -> Result<&'a str, RowError> {
        let length = usize::try_from(self.number()?).map_err(|_| RowError::Damaged)?;
        let (text, rest) = self.0.split_at_checked(length).ok_or(RowError::Damaged)?;
        self.0 = rest;
        std::str::from_utf8(text).map_err(|_| RowError::Damaged)
    }

    pub(super) fn rest(self) -> &'a [u8] {
        self.0
    }

    /// Nothing may follow.
    pub(super) fn end(self) -> Result<(), RowError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(RowError::Damaged)
        }
    }
}
