//! One connection that sends emits and takes answers while it waits.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    net::TcpStream,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use super::{
    HttpError, Url,
    answer::{Lines, check, whole_answer},
};
use crate::{clock, histogram::Histogram};

/// An answer that takes longer counts as a failure of the server.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// Bytes read at once.
const READ: usize = 64 * 1024;

/// How emits are put on the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// A request each, pipelined.
    Requests,
    /// Lines of one request that does not end, each answered by a line.
    Stream,
}

/// Something that was sent and is not answered.
struct Waiting {
    /// When it should have left.
    since: u64,
    /// Answers that it gets yet.
    answers: u64,
    /// Emits that each answer stands for.
    items: u64,
}

/// A kept-alive connection that posts to one URL.
pub struct Poster {
    /// The connection.
    stream: TcpStream,
    /// Request line and headers up to the value of Content-Length; unused in a stream.
    head: String,
    /// What was put together and has not left.
    unsent: Vec<u8>,
    /// What has no answer, oldest first.
    waiting: VecDeque<Waiting>,
    /// Emits in that.
    unanswered: u64,
    /// What was read of answers that are not whole.
    partial: Vec<u8>,
    /// Takes the answer of a stream apart.
    lines: Option<Lines>,
    /// Where reads go.
    chunk: Box<[u8]>,
}

impl Poster {
    /// Connects. `headers` are whole lines such as `Authorization: Bearer x`.
    pub fn connect(url: &Url, headers: &[String], framing: Framing) -> Result<Self, HttpError> {
        let stream = TcpStream::connect_timeout(&url.address, ANSWER_TIMEOUT)
            .and_then(|stream| {
                stream.set_nodelay(true)?;
                stream.set_nonblocking(true)?;
                Ok(stream)
            })
            .map_err(io_error("connecting to emit"))?;
        let own: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n{own}",
            url.path, url.address
        );
        let is_stream = framing == Framing::Stream;
        let unsent = match is_stream {
            true => format!("{head}Transfer-Encoding: chunked\r\n\r\n").into_bytes(),
            false => Vec::new(),
        };
        Ok(Self {
            stream,
            head: format!("{head}Content-Length: "),
            unsent,
            waiting: VecDeque::new(),
            unanswered: 0,
            partial: Vec::new(),
            lines: is_stream.then(Lines::default),
            chunk: vec![0; READ].into_boxed_slice(),
        })
    }

    /// Emits that were sent and are not answered.
    pub fn unanswered(&self) -> u64 {
        self.unanswered
    }

    /// Sends a body with so many emits in it without waiting for its answer, which counts from
    /// `since`. Where the server does not read, answers are taken meanwhile.
    pub fn send(
        &mut self,
        body: &str,
        items: u64,
        since: u64,
        took: &mut Histogram,
    ) -> Result<(), HttpError> {
        let (answers, items_each) = match self.lines {
            Some(_) => (items, 1),
            None => (1, items),
        };
        self.unanswered += items;
        self.waiting.push_back(Waiting {
            since,
            answers,
            items: items_each,
        });
        match self.lines {
            Some(_) => write!(self.unsent, "{:x}\r\n{body}\r\n", body.len()),
            None => write!(self.unsent, "{}{}\r\n\r\n{body}", self.head, body.len()),
        }
        .map_err(io_error("sending an emit"))?;
        while !self.write()? {
            let ready = self.wait(PollFlags::IN | PollFlags::OUT, ANSWER_TIMEOUT)?;
            if ready.is_empty() {
                return Err(timed_out("sending an emit"));
            }
            if ready.intersects(PollFlags::IN) {
                self.read(took)?;
            }
        }
        Ok(())
    }

    /// Waits for `time` at most for something to read, and records how long each answer took that
    /// is now whole. Every answer must be 2xx and hold no `"error"`. Tells whether anything came.
    pub fn receive(&mut self, time: Duration, took: &mut Histogram) -> Result<bool, HttpError> {
        if self.wait(PollFlags::IN, time)?.is_empty() {
            return Ok(false);
        }
        self.read(took)?;
        Ok(true)
    }

    /// Waits until everything is answered.
    pub fn settle(&mut self, took: &mut Histogram) -> Result<(), HttpError> {
        while !self.waiting.is_empty() {
            if !self.receive(ANSWER_TIMEOUT, took)? {
                return Err(timed_out("waiting for an emit's answer"));
            }
        }
        Ok(())
    }

    /// Writes what the socket takes; whether that was all.
    fn write(&mut self) -> Result<bool, HttpError> {
        let mut sent = 0;
        while sent < self.unsent.len() {
            match self.stream.write(&self.unsent[sent..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(io_error("sending an emit")(error)),
            }
        }
        self.unsent.drain(..sent);
        Ok(self.unsent.is_empty())
    }

    /// Poll's time limit is exact enough for pacing.
    fn wait(&self, flags: PollFlags, time: Duration) -> Result<PollFlags, HttpError> {
        let time = Timespec::try_from(time).ok();
        let mut polled = [PollFd::new(&self.stream, flags)];
        loop {
            match poll(&mut polled, time.as_ref()) {
                Ok(_) => return Ok(polled[0].revents()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(io_error("waiting for the server")(errno.into())),
            }
        }
    }

    /// Reads once, and counts the answers that are whole by then.
    fn read(&mut self, took: &mut Histogram) -> Result<(), HttpError> {
        let count = match self.stream.read(&mut self.chunk) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            other => other,
        }
        .map_err(io_error("reading an emit's answer"))?;
        self.partial.extend_from_slice(&self.chunk[..count]);
        let (mut used, mut answers) = (0, 0);
        let mut outcome = Ok(());
        while outcome.is_ok() {
            let step = match &mut self.lines {
                Some(lines) => lines.take(&self.partial[used..]),
                None => one_answer(&self.partial[used..]),
            };
            match step {
                Ok((0, _)) => break,
                Ok((length, whole)) => (used, answers) = (used + length, answers + whole),
                Err(Step { whole, error }) => {
                    answers += whole;
                    outcome = Err(error);
                }
            }
        }
        self.partial.drain(..used);
        let now = clock::now();
        (0..answers).try_for_each(|_| self.answered(now, took))?;
        outcome
    }

    fn answered(&mut self, now: u64, took: &mut Histogram) -> Result<(), HttpError> {
        let Some(oldest) = self.waiting.front_mut() else {
            return Err(HttpError::Malformed("an answer to nothing".to_owned()));
        };
        took.record(now.saturating_sub(oldest.since));
        self.unanswered -= oldest.items;
        oldest.answers -= 1;
        if oldest.answers == 0 {
            self.waiting.pop_front();
        }
        Ok(())
    }
}

/// Answers that were whole before one that cannot be taken.
pub(super) struct Step {
    pub(super) whole: u64,
    pub(super) error: HttpError,
}

/// Length of the answer that `input` starts with, if all of it is there, and how many these are.
fn one_answer(input: &[u8]) -> Result<(usize, u64), Step> {
    let taken = whole_answer(input).and_then(|answer| match answer {
        Some(answer) => check(&answer, input).map(|()| (answer.length, 1)),
        None => Ok((0, 0)),
    });
    taken.map_err(|error| Step { whole: 0, error })
}

fn io_error(doing: &'static str) -> impl FnOnce(io::Error) -> HttpError {
    move |source| HttpError::Io { doing, source }
}

fn timed_out(doing: &'static str) -> HttpError {
    io_error(doing)(io::ErrorKind::TimedOut.into())
}

#[cfg(test)]
mod tests;
