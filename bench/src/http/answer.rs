//! PURE: taking answers apart.

use std::ops::Range;

use super::HttpError;
use super::poster::Step;

/// An answer, or a chunk of one, longer than this is not read.
const MAX_ANSWER: usize = 1 << 20;
/// What stands in the answer to an emit of several if one was refused.
const ERROR: &[u8] = b"\"error\"";

/// An answer that is there as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// Where its body is; chunks with their sizes if it came in chunks.
    pub(crate) body: Range<usize>,
    /// Bytes of it all.
    pub(crate) length: usize,
}

/// How an answer's end is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Known(usize),
    Chunked,
}

/// A head that is there as a whole.
struct Head {
    status: u16,
    /// Bytes of it.
    length: usize,
    body: Length,
}

/// The answer that `input` starts with, or none until all of it is there.
pub(crate) fn whole_answer(input: &[u8]) -> Result<Option<Answer>, HttpError> {
    let Some(head) = head(input)? else {
        return Ok(None);
    };
    let end = match head.body {
        Length::Known(length) => Some(head.length + length),
        Length::Chunked => chunks_end(input, head.length)?,
    };
    Ok(end.filter(|end| *end <= input.len()).map(|length| Answer {
        status: head.status,
        body: head.length..length,
        length,
    }))
}

/// Refuses an answer that refuses something.
pub(super) fn check(answer: &Answer, input: &[u8]) -> Result<(), HttpError> {
    let is_taken =
        (200..300).contains(&answer.status) && !holds(&input[answer.body.clone()], ERROR);
    match is_taken {
        true => Ok(()),
        false => Err(HttpError::Refused(first_part(&input[..answer.length]))),
    }
}

/// The answer of a stream: a line for each that was sent.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// Whether the head was seen.
    is_open: bool,
    /// A line that is not whole.
    partial: Vec<u8>,
}

impl Lines {
    /// Takes the head or one chunk from the start of `input`: how many bytes, and how many lines
    /// became whole.
    pub(super) fn take(&mut self, input: &[u8]) -> Result<(usize, u64), Step> {
        let failed = |error| Step { whole: 0, error };
        if self.is_open {
            return match chunk(input, 0).map_err(failed)? {
                Some(data) if data.is_empty() => {
                    Err(failed(HttpError::Malformed("the stream ended".to_owned())))
                }
                Some(data) => Ok((data.end + 2, self.lines(&input[data])?)),
                None => Ok((0, 0)),
            };
        }
        let Some(head) = head(input).map_err(failed)? else {
            return Ok((0, 0));
        };
        match (head.status, head.body) {
            (200..300, Length::Chunked) => {
                self.is_open = true;
                Ok((head.length, 0))
            }
            (200..300, _) => Err(failed(HttpError::Malformed(first_part(input)))),
            _ => Err(failed(HttpError::Refused(first_part(input)))),
        }
    }

    fn lines(&mut self, data: &[u8]) -> Result<u64, Step> {
        let mut whole = 0;
        let mut rest = data;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.partial.extend_from_slice(&rest[..end]);
            if holds(&self.partial, ERROR) {
                let error = HttpError::Refused(first_part(&self.partial));
                return Err(Step { whole, error });
            }
            self.partial.clear();
            whole += 1;
            rest = &rest[end + 1..];
        }
        self.partial.extend_from_slice(rest);
        Ok(whole)
    }
}

fn head(input: &[u8]) -> Result<Option<Head>, HttpError> {
    let malformed = || HttpError::Malformed(first_part(input));
    let Some(end) = input.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        return match input.len() {
            ..MAX_ANSWER => Ok(None),
            _ => Err(malformed()),
        };
    };
    let text = std::str::from_utf8(&input[..end]).map_err(|_| malformed())?;
    let status: u16 = text
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3)?.parse().ok())
        .ok_or_else(malformed)?;
    let is_chunked = header(text, "transfer-encoding").is_some_and(|value| value == "chunked");
    let length = header(text, "content-length").and_then(|value| value.parse().ok());
    let body = match (length, status) {
        _ if is_chunked => Length::Chunked,
        (Some(length), _) if length <= MAX_ANSWER => Length::Known(length),
        (None, 204) => Length::Known(0),
        _ => return Err(malformed()),
    };
    Ok(Some(Head {
        status,
        length: end + 4,
        body,
    }))
}

fn header<'a>(head: &'a str, wanted: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case(wanted).then(|| value.trim())
    })
}

/// Where the last of the chunks from `at` on ends, or none until all are there.
fn chunks_end(input: &[u8], mut at: usize) -> Result<Option<usize>, HttpError> {
    while let Some(data) = chunk(input, at)? {
        at = data.end + 2;
        if data.is_empty() {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

/// Where the data of the chunk at `at` is, or none until all of it is there.
fn chunk(input: &[u8], at: usize) -> Result<Option<Range<usize>>, HttpError> {
    let rest = &input[at..];
    let malformed = || HttpError::Malformed(first_part(rest));
    let Some(digits) = rest.iter().take(16).position(|byte| *byte == b'\r') else {
        return match rest.len() {
            ..16 => Ok(None),
            _ => Err(malformed()),
        };
    };
    let size = std::str::from_utf8(&rest[..digits])
        .ok()
        .and_then(|text| usize::from_str_radix(text, 16).ok())
        .filter(|size| *size <= MAX_ANSWER)
        .ok_or_else(malformed)?;
    let start = at + digits + 2;
    Ok((input.len() >= start + size + 2).then_some(start..start + size))
}

fn holds(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|bytes| bytes == wanted)
}

fn first_part(answer: &[u8]) -> String {
    String::from_utf8_lossy(&answer[..answer.len().min(400)]).replace("\r\n", " ")
}

#[cfg(test)]
mod tests {
    use proptest::{
        collection::vec,
        prelude::{any, proptest},
    };

    use super::*;

    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

    #[test]
    fn an_answer_in_chunks_ends_with_the_empty_one() {
        let text = format!("{CHUNKED}3\r\nabc\r\n0\r\n\r\n");
        let (whole, more) = (text.as_bytes(), format!("{text}HTTP/1.1 "));
        let answer = whole_answer(more.as_bytes()).unwrap().unwrap();
        assert_eq!((answer.status, answer.length), (200, whole.len()));
        for end in 0..whole.len() {
            assert_eq!(whole_answer(&whole[..end]).unwrap(), None);
        }
    }

    #[test]
    fn an_answer_of_unknown_length_is_refused() {
        for bad in [
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n",
            "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n",
        ] {
            assert!(whole_answer(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes in vec(any::<u8>(), 0..60)) {
            let _ = whole_answer(&bytes);
            let _ = whole_answer(&[CHUNKED.as_bytes(), &bytes].concat());
            let _ = Lines { is_open: true, partial: Vec::new() }.take(&bytes);
        }
    }
}
