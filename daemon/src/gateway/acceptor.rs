//! Accepts clients and hands each to the shard that has the fewest.
//!
//! A thread of its own, not a task: streams go to their shard as the kernel gives them, registered
//! with no other runtime first; and in an avalanche the kernel's queue is emptied at once, however
//! busy the shards are.

use std::{
    collections::VecDeque,
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::OwnedFd,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll},
    io::{Errno, fcntl_dupfd_cloexec},
    net::{SocketFlags, acceptfrom_with},
};
use tokio::sync::mpsc::error::TrySendError;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{RESERVED_FILES, file_limit};
use crate::{
    node::Node,
    shard::command::{Command, ShardHandle},
};

/// How soon a shard whose mailbox was full is tried again.
const AGAIN: Duration = Duration::from_millis(1);

/// How long nothing is accepted after the system refused.
const PAUSE: Duration = Duration::from_millis(100);

/// Streams accepted before the shards get theirs.
const AT_ONCE: usize = 256;

/// What accepts from one listener.
struct Acceptor {
    node: Arc<Node>,
    listener: TcpListener,
    /// Readable once the node closes.
    closed: OwnedFd,
    /// Streams that may be open on the node.
    limit: usize,
    /// Streams that no shard had room for; bounded by `limit`.
    waiting: VecDeque<(TcpStream, SocketAddr)>,
}

/// Starts accepting; `tasks` has the task that ends it when `stop` is cancelled.
pub(super) fn start(
    node: Arc<Node>,
    listener: TcpListener,
    tasks: &TaskTracker,
    stop: CancellationToken,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    // Linux lets accepted streams inherit it.
    socket2::SockRef::from(&listener).set_tcp_nodelay(true)?;
    let limit = file_limit().saturating_sub(RESERVED_FILES) as usize;
    make_room(&listener, limit);
    let closed = eventfd(0, EventfdFlags::CLOEXEC)?;
    let close = closed.try_clone()?;
    let acceptor = Acceptor {
        node,
        listener,
        closed,
        limit,
        waiting: VecDeque::new(),
    };
    std::thread::Builder::new()
        .name("acceptor".to_owned())
        .spawn(move || acceptor.run())?;
    tasks.spawn(async move {
        stop.cancelled().await;
        // An eventfd takes its first write.
        let _ = rustix::io::write(&close, &1_u64.to_ne_bytes());
    });
    Ok(())
}

/// Makes the process's table of files as large as it may get. The kernel doubles it when it is full,
/// and then waits for all processors to have looked away: ten milliseconds and more each time, in
/// the middle of an avalanche, in which its queue of clients runs over.
fn make_room(listener: &TcpListener, limit: usize) {
    /// Beyond it the table would take more than half a megabyte for files that may never come.
    const LARGE: usize = 64 << 10;
    let number = limit.min(LARGE) as i32;
    // Without it the table grows as it is needed.
    let _ = fcntl_dupfd_cloexec(listener, number);
}

impl Acceptor {
    fn run(mut self) {
        while self.wait() {
            for _ in 0..AT_ONCE {
                match accept(&self.listener) {
                    Ok(accepted) => self.take(accepted),
                    Err(Errno::AGAIN) => break,
                    // The peer has gone again.
                    Err(Errno::CONNABORTED | Errno::INTR) => {}
                    Err(error) => {
                        tracing::warn!(error = %io::Error::from(error), "cannot accept a connection");
                        std::thread::sleep(PAUSE);
                        break;
                    }
                }
            }
            self.hand_over();
        }
    }

    /// Waits for a client, or for room; false when the node closes.
    fn wait(&self) -> bool {
        let mut fds = [
            PollFd::new(&self.listener, PollFlags::IN),
            PollFd::new(&self.closed, PollFlags::IN),
        ];
        let again = Timespec::try_from(AGAIN).ok();
        let timeout = again.filter(|_| !self.waiting.is_empty());
        let polled = poll(&mut fds, timeout.as_ref());
        polled.is_err() || fds[1].revents().is_empty()
    }

    /// With no file to spare the node could not even answer; the peer sees an end.
    fn take(&mut self, accepted: (TcpStream, SocketAddr)) {
        let open: usize = self.node.hub.shards.iter().map(open).sum();
        if open + self.waiting.len() < self.limit {
            self.waiting.push_back(accepted);
        }
    }

    fn hand_over(&mut self) {
        while let Some((stream, peer)) = self.waiting.pop_front() {
            let shards = &self.node.hub.shards;
            let Some(shard) = shards.iter().min_by_key(|shard| open(shard)) else {
                return;
            };
            // Counted here, as a whole burst is handed over before a shard has looked at any of it.
            shard.load.streams.fetch_add(1, Ordering::Relaxed);
            let sent = shard.mailbox.try_send(Command::Accept(stream, peer));
            if let Err(error) = sent {
                shard.load.streams.fetch_sub(1, Ordering::Relaxed);
                if let TrySendError::Full(Command::Accept(stream, peer)) = error {
                    return self.waiting.push_front((stream, peer));
                }
            }
        }
    }
}

/// Streams that a shard has or is about to get.
fn open(shard: &ShardHandle) -> usize {
    let load = &shard.load;
    load.streams.load(Ordering::Relaxed) + load.connections.load(Ordering::Relaxed)
}

/// One client; its stream does not block.
fn accept(listener: &TcpListener) -> Result<(TcpStream, SocketAddr), Errno> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (stream, peer) = acceptfrom_with(listener, flags)?;
    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
    Ok((stream.into(), peer.ok_or(Errno::CONNABORTED)?))
}
