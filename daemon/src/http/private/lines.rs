//! A body as lines, as they arrive. A line that is too long is passed over and told of.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body;

/// What was found in a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A line without its end; it is not blank.
    Text(Bytes),
    /// A line with more bytes than allowed.
    TooLong,
}

/// PURE: cuts chunks into lines.
#[derive(Debug)]
pub(super) struct Splitter {
    /// Bytes that a line may have.
    limit: usize,
    /// The line that is not complete.
    partial: BytesMut,
    /// The line that is not complete is too long, and was told of.
    is_skipping: bool,
    /// Complete lines.
    lines: VecDeque<Line>,
}

/// The lines of a body.
#[derive(Debug)]
pub(super) struct LineReader<B> {
    body: B,
    splitter: Splitter,
    is_over: bool,
}

impl Splitter {
    /// A splitter for lines of at most `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            partial: BytesMut::new(),
            is_skipping: false,
            lines: VecDeque::new(),
        }
    }

    /// Takes in the next bytes.
    pub(super) fn push(&mut self, mut chunk: &[u8]) {
        while let Some(end) = chunk.iter().position(|byte| *byte == b'\n') {
            self.extend(&chunk[..end]);
            self.end_line();
            chunk = &chunk[end + 1..];
        }
        self.extend(chunk);
    }

    /// The body is over: its last line may lack its end.
    pub(super) fn finish(&mut self) {
        self.end_line();
    }

    /// The next complete line.
    pub(super) fn next(&mut self) -> Option<Line> {
        self.lines.pop_front()
    }

    fn extend(&mut self, part: &[u8]) {
        if self.is_skipping {
            return;
        }
        if self.partial.len() + part.len() > self.limit {
            self.partial = BytesMut::new();
            self.is_skipping = true;
            self.lines.push_back(Line::TooLong);
        } else {
            self.partial.extend_from_slice(part);
        }
    }

    fn end_line(&mut self) {
        self.is_skipping = false;
        let line = self.partial.split().freeze();
        if !line.trim_ascii().is_empty() {
            self.lines.push_back(Line::Text(line));
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> LineReader<B> {
    /// The lines of `body`, of at most `limit` bytes each.
    pub(super) fn new(body: B, limit: usize) -> Self {
        Self {
            body,
            splitter: Splitter::new(limit),
            is_over: false,
        }
    }

    /// The next line, if it has been read already.
    pub(super) fn buffered(&mut self) -> Option<Line> {
        self.splitter.next()
    }

    /// The next line; nothing at the end. An error if the body broke off. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Option<Line>, B::Error> {
        loop {
            if let Some(line) = self.buffered() {
                return Ok(Some(line));
            }
            if self.is_over {
                return Ok(None);
            }
            match self.body.frame().await {
                Some(frame) => {
                    if let Some(chunk) = frame?.data_ref() {
                        self.splitter.push(chunk);
                    }
                }
                None => {
                    self.is_over = true;
                    self.splitter.finish();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn split(limit: usize, chunks: &[&[u8]]) -> Vec<Line> {
        let mut splitter = Splitter::new(limit);
        chunks.iter().for_each(|chunk| splitter.push(chunk));
        splitter.finish();
        std::iter::from_fn(|| splitter.next()).collect()
    }

    fn text(line: &'static str) -> Line {
        Line::Text(Bytes::from_static(line.as_bytes()))
    }

    #[test]
    fn lines_end_where_they_end() {
        let lines = split(10, &[b"a\nb", b"c\r\n\n  \nd"]);
        assert_eq!(lines, [text("a"), text("bc\r"), text("d")]);
    }

    #[test]
    fn a_line_that_is_too_long_is_told_of_once() {
        let lines = split(3, &[b"abc\nabcd", b"efgh\nx\nabcd"]);
        assert_eq!(
            lines,
            [text("abc"), Line::TooLong, text("x"), Line::TooLong]
        );
    }

    #[test]
    fn a_line_is_there_as_soon_as_it_has_ended() {
        let mut splitter = Splitter::new(10);
        splitter.push(b"a");
        assert_eq!(splitter.next(), None);
        splitter.push(b"\n");
        assert_eq!(splitter.next(), Some(text("a")));
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(bytes in "[ab\n ]{0,40}", cut in any::<proptest::sample::Index>()) {
            let cut = cut.index(bytes.len() + 1);
            let whole = split(8, &[bytes.as_bytes()]);
            let (head, tail) = bytes.as_bytes().split_at(cut);
            prop_assert_eq!(&split(8, &[head, tail]), &whole);
            let is_told = |line: &&str| !line.trim().is_empty() || line.len() > 8;
            prop_assert_eq!(whole.len(), bytes.split('\n').filter(is_told).count());
            let is_within = |line: &Line| !matches!(line, Line::Text(line) if line.len() > 8);
            prop_assert!(whole.iter().all(is_within));
        }
    }
}
