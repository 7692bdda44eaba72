//! The bytes of rows: a version byte, then integers (big-endian) and length-prefixed strings.

use crate::error::StoreError;

/// Longest key that a caller may give.
pub(crate) const MAX_KEY: usize = 4 * 1024;

/// Longest value that a caller may give. sled writes larger ones to a file each.
pub(crate) const MAX_VALUE: usize = 16 * 1024 * 1024;

/// The version that every value written by this program starts with.
const VERSION: u8 = 1;

/// Builds a value.
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn new() -> Self {
        Self(vec![VERSION])
    }

    pub(crate) fn u64(mut self, value: u64) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// A string that something follows.
    pub(crate) fn text(mut self, value: &str) -> Self {
        let len = u32::try_from(value.len()).expect("a checked length is below MAX_VALUE");
        self.0.extend_from_slice(&len.to_be_bytes());
        self.0.extend_from_slice(value.as_bytes());
        self
    }

    /// The last field, which needs no length.
    pub(crate) fn rest(mut self, value: &[u8]) -> Vec<u8> {
        self.0.extend_from_slice(value);
        self.0
    }

    pub(crate) fn done(self) -> Vec<u8> {
        self.0
    }
}

/// Takes a value apart. Every method fails rather than read past the end.
pub(crate) struct Reader<'a> {
    tree: &'static str,
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    /// `tree` is only for the message.
    pub(crate) fn new(tree: &'static str, bytes: &'a [u8]) -> Result<Self, StoreError> {
        match bytes.split_first() {
            Some((&VERSION, left)) => Ok(Self { tree, left }),
            Some((found, _)) => Err(damaged(tree, format!("value version {found} is not known"))),
            None => Err(damaged(tree, "it is empty".to_owned())),
        }
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], StoreError> {
        let Some((head, left)) = self.left.split_at_checked(len) else {
            return Err(damaged(self.tree, "it ends early".to_owned()));
        };
        self.left = left;
        Ok(head)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, StoreError> {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(self.take(8)?);
        Ok(u64::from_be_bytes(bytes))
    }

    pub(crate) fn count(&mut self) -> Result<usize, StoreError> {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(self.take(4)?);
        Ok(u32::from_be_bytes(bytes) as usize)
    }

    pub(crate) fn text(&mut self) -> Result<String, StoreError> {
        let len = self.count()?;
        let bytes = self.take(len)?;
        text(self.tree, bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    pub(crate) fn rest(self) -> &'a [u8] {
        self.left
    }

    /// Ends a value whose last field has a length of its own.
    pub(crate) fn end(self) -> Result<(), StoreError> {
        if self.left.is_empty() {
            return Ok(());
        }
        Err(damaged(
            self.tree,
            format!("{} bytes follow its end", self.left.len()),
        ))
    }
}

/// A key or value as the string that it was stored as.
pub(crate) fn text(tree: &'static str, bytes: &[u8]) -> Result<String, StoreError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| damaged(tree, "it is not UTF-8".to_owned()))
}

pub(crate) fn damaged(tree: &'static str, detail: String) -> StoreError {
    StoreError::Damaged { tree, detail }
}

/// Refuses what is too long before anything is queued.
pub(crate) fn check_key(what: &'static str, key: &[u8]) -> Result<(), StoreError> {
    check(what, key.len(), MAX_KEY)
}

/// As [`check_key`], for values.
pub(crate) fn check_value(what: &'static str, value: &[u8]) -> Result<(), StoreError> {
    check(what, value.len(), MAX_VALUE)
}

fn check(what: &'static str, len: usize, max: usize) -> Result<(), StoreError> {
    if len > max {
        return Err(StoreError::TooLong { what, len, max });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    proptest! {
        #[test]
        fn fields_come_back_as_they_went_in(a: u64, b: String, c: String, d: Vec<u8>) {
            let bytes = Writer::new().u64(a).text(&b).text(&c).rest(&d);
            let mut reader = Reader::new("t", &bytes).unwrap();
            assert_eq!(reader.u64().unwrap(), a);
            assert_eq!(reader.text().unwrap(), b);
            assert_eq!(reader.text().unwrap(), c);
            assert_eq!(reader.rest(), d);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(mut reader) = Reader::new("t", &bytes) {
                let _ = reader.text();
                let _ = reader.u64();
                let _ = reader.count();
                let _ = reader.end();
            }
        }
    }

    #[test]
    fn a_value_of_a_later_version_is_not_guessed_at() {
        assert!(matches!(
            Reader::new("t", &[2, 0]),
            Err(StoreError::Damaged { tree: "t", .. })
        ));
        assert!(Reader::new("t", &[]).is_err());
    }

    #[test]
    fn a_length_beyond_the_end_is_refused() {
        let bytes = [1, 0xff, 0xff, 0xff, 0xff, b'a'];
        assert!(Reader::new("t", &bytes).unwrap().text().is_err());
    }
}
