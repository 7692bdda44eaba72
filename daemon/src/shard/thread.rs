//! A shard's loop: commands, timers, flushes, in turns.
//!
//! A turn takes at most [`TURN`] commands, then flushes what became dirty. After a flush the shard
//! carries out no commands for as long as the flush took, within [`REST`]; what came meanwhile is
//! taken together. So a single emit leaves without delay, and a flood is joined into fewer system calls.
//!
//! Clients that ask something wait for neither: a flush yields between slices, packets that came
//! meanwhile are read, and what they led to is written before the next slice, or during the rest;
//! waiting would join nothing, as each of them has one answer.

use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    runtime::LocalOptions,
    sync::{Notify, mpsc, watch},
};

use super::{
    command::{Command, ConnectionKey, Load, MAILBOX_CAPACITY},
    machine::Reason,
    state::State,
};
use crate::{
    app::random,
    http::engine::{PollAnswer, Rejection},
    node::{BootTag, Node, now_ms},
    relay::Tunnel,
    transport::{serve, websocket::Detached},
};

/// Commands taken in one turn: all that can wait.
const TURN: usize = MAILBOX_CAPACITY;

/// Connections flushed between two yields.
const SLICE: usize = 32;

/// The shortest and the longest rest after a flush.
const REST: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(5));

/// How long a drain waits for clients to read why they were closed.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long a drain waits for clients that are changing over to WebSocket.
const UPGRADES: Duration = Duration::from_secs(1);

/// When the control plane is asked again whether it has room.
const AGAIN: Duration = Duration::from_millis(2);

/// How often the shard does its chores.
const SWEEP: Duration = Duration::from_secs(1);

/// The exit code after a defect of our own, as `sysexits.h` names it.
const EX_SOFTWARE: i32 = 70;

/// Bytes of the buffer that all reads of a shard share.
const READ_BUFFER: usize = 64 * 1024;

/// When the shard takes commands again: after a rest as long as the last flush of what commands led
/// to, within [`REST`].
struct Pace {
    until: Instant,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self { until: now }
    }

    /// Until when the shard takes no commands.
    fn rest(&self, now: Instant) -> Option<Instant> {
        (now < self.until).then_some(self.until)
    }

    /// A flush after commands is over.
    fn flushed(&mut self, began: Instant, ended: Instant) {
        self.until = ended + (ended - began).clamp(REST.0, REST.1);
    }
}

/// A shard on its thread. Local tasks hold it by `Rc`; no borrow outlives a poll.
pub(crate) struct Shard {
    pub(crate) node: Arc<Node>,
    pub(crate) index: usize,
    pub(crate) state: RefCell<State>,
    /// HTTP requests that are being answered.
    pub(crate) requests: Cell<usize>,
    /// WebSockets that are carried to peers.
    tunnels: Cell<usize>,
    /// Over which time clients of peers are to move, once this node drains.
    moving: watch::Sender<Option<Duration>>,
    buffer: RefCell<Box<[u8]>>,
    wake: Arc<Notify>,
}

/// Starts a shard's thread.
pub(crate) fn spawn(
    node: Arc<Node>,
    index: usize,
    mailbox: mpsc::Receiver<Command>,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    let load = node.hub.shards[index].load.clone();
    std::thread::Builder::new()
        .name(format!("shard-{index}"))
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build_local(LocalOptions::default());
            let runtime = runtime.expect("a runtime can be made at start");
            // A task of its own: what a runtime blocks on is woken through the kernel, even by its
            // own thread.
            let ended = runtime.block_on(async move {
                let shard = Rc::new(Shard::new(node, index, load));
                tokio::task::spawn_local(shard.run(mailbox)).await
            });
            if ended.is_err() {
                // Its connections are lost and their clients would wait: start anew, and soon.
                tracing::error!(index, "a shard has panicked; the process ends");
                std::process::exit(EX_SOFTWARE);
            }
        })
}

impl Shard {
    fn new(node: Arc<Node>, index: usize, load: Arc<Load>) -> Self {
        let wake = node.hub.shards[index].wake.clone();
        let state = State::new(node.clone(), index, load, wake.clone());
        Self {
            node,
            index,
            state: RefCell::new(state),
            requests: Cell::new(0),
            tunnels: Cell::new(0),
            moving: watch::Sender::new(None),
            buffer: RefCell::new(vec![0; READ_BUFFER].into_boxed_slice()),
            wake,
        }
    }

    async fn run(self: Rc<Self>, mut mailbox: mpsc::Receiver<Command>) {
        let mut commands = Vec::with_capacity(TURN);
        let mut pace = Pace::new(Instant::now());
        let mut sweep = Instant::now() + SWEEP;
        loop {
            let now = Instant::now();
            let (due, patience) = {
                let mut state = self.state.borrow_mut();
                (state.tick(now), state.registered(now))
            };
            // What comes during a rest is kept for its end; if nothing comes, its end wakes nobody.
            let held = !commands.is_empty();
            let kept = held.then(|| pace.rest(now).unwrap_or(now));
            let again = self.is_backlogged().then(|| now + AGAIN);
            let flush = self.is_dirty().then_some(now);
            let until = [due, patience, kept, again, flush].into_iter().flatten();
            let until = until.fold(sweep, Instant::min);
            tokio::select! {
                biased;
                // Cancel-safe: what is not received stays in the mailbox.
                count = mailbox.recv_many(&mut commands, TURN), if !held => {
                    if count == 0 {
                        return;
                    }
                }
                () = self.wake.notified() => {}
                () = tokio::time::sleep_until(until.into()) => {}
            }
            let commanded = !commands.is_empty() && pace.rest(Instant::now()).is_none();
            if commanded {
                self.take(&mut commands, &mut mailbox).await;
            }
            self.state.borrow_mut().end_run();
            let now = Instant::now();
            if now >= sweep {
                self.state.borrow_mut().sweep(now, now_ms());
                sweep = now + SWEEP;
            }
            if self.is_dirty() {
                self.flush().await;
                if commanded {
                    pace.flushed(now, Instant::now());
                }
            } else {
                // Clients were closed instead.
                self.state.borrow_mut().unwritten.clear();
            }
            {
                let mut state = self.state.borrow_mut();
                state.report_leavers();
                state.hand_over_jobs();
                state.load.publish(&state.tally);
            }
            tokio::task::yield_now().await;
        }
    }

    /// Carries out commands: those that were kept, and those that have come since.
    async fn take(
        self: &Rc<Self>,
        commands: &mut Vec<Command>,
        mailbox: &mut mpsc::Receiver<Command>,
    ) {
        while commands.len() < TURN
            && let Ok(command) = mailbox.try_recv()
        {
            commands.push(command);
        }
        for command in commands.drain(..) {
            self.handle(command);
            if self.state.borrow().has_much_to_flush() {
                // Others may act during a flush: nothing may wait to be delivered.
                self.state.borrow_mut().end_run();
                self.flush().await;
            }
        }
    }

    fn is_backlogged(&self) -> bool {
        !self.state.borrow().backlog.is_empty()
    }

    fn is_dirty(&self) -> bool {
        !self.state.borrow().dirty.is_empty()
    }

    async fn flush(&self) {
        let dirty = self.state.borrow_mut().begin_flush();
        for slice in dirty.chunks(SLICE) {
            self.state.borrow_mut().flush_slice(slice);
            if dirty.len() > SLICE {
                tokio::task::yield_now().await;
                self.state.borrow_mut().flush_asked();
            }
        }
        self.state.borrow_mut().end_flush();
    }

    fn handle(self: &Rc<Self>, command: Command) {
        let mut state = self.state.borrow_mut();
        if !matches!(command, Command::Emit(_)) {
            state.end_run();
        }
        match command {
            Command::Accept(stream, peer) => {
                tokio::task::spawn_local(serve::connection(self.clone(), stream, peer));
            }
            Command::Adopt { sid, websocket } => {
                drop(state);
                self.adopt(&sid, *websocket);
            }
            Command::Poll { sid, reply } => state.poll(&sid, reply),
            Command::PollGone { sid } => state.poll_gone(&sid),
            Command::Post { sid, body, reply } => {
                let _ = reply.send(state.post(&sid, &body));
            }
            Command::Emit(emit) => state.take_emit(&emit),
            Command::Admitted {
                connection,
                namespace,
                auth,
                outcome,
            } => {
                state.admitted(connection, namespace, auth, outcome);
            }
            Command::Kept {
                socket,
                record,
                stored,
            } => state.kept(socket, record, stored),
            Command::Effects {
                socket,
                effects,
                settled: None,
            } => state.apply(socket, effects),
            Command::Effects {
                socket,
                effects,
                settled: Some(number),
            } => state.settled(socket, number, effects),
            Command::Run(question) => question(&mut state),
            Command::Drain { spread, done } => {
                drop(state);
                tokio::task::spawn_local(self.clone().drain(spread, done));
            }
        }
    }

    /// A WebSocket for a polling connection of this shard.
    pub(crate) fn adopt(self: &Rc<Self>, sid: &str, websocket: Detached) {
        let adopted = self.state.borrow_mut().adopt(sid, websocket);
        if let Some((key, id)) = adopted {
            self.read(key, id);
        }
    }

    /// Starts the task that reads a WebSocket.
    pub(crate) fn read(self: &Rc<Self>, key: ConnectionKey, id: u64) {
        let shard = self.clone();
        tokio::task::spawn_local(std::future::poll_fn(move |cx| shard.poll_read(key, id, cx)));
    }

    /// Reads from a stream into the shared buffer and looks at what came; `None` at its end.
    pub(crate) async fn read_once<T>(
        &self,
        stream: &mut TcpStream,
        look: impl Fn(&[u8]) -> T,
    ) -> Option<T> {
        let read = std::future::poll_fn(|cx| {
            let mut buffer = self.buffer.borrow_mut();
            let mut buffer = ReadBuf::new(&mut buffer);
            let read = Pin::new(&mut *stream).poll_read(cx, &mut buffer);
            read.map(|read| {
                (read.is_ok() && !buffer.filled().is_empty()).then(|| look(buffer.filled()))
            })
        });
        read.await
    }

    fn poll_read(&self, key: ConnectionKey, id: u64, cx: &mut Context<'_>) -> Poll<()> {
        let mut buffer = self.buffer.borrow_mut();
        self.state
            .borrow_mut()
            .poll_websocket(key, id, cx, &mut buffer)
    }

    /// Carries a WebSocket to the peer that holds its connection, until either is done or the client
    /// has to move.
    pub(crate) async fn carry<S>(&self, tunnel: Tunnel, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.tunnels.set(self.tunnels.get() + 1);
        tokio::select! {
            () = tunnel.join(stream) => {}
            // What is under way in the middle of a frame cannot be ended better; its client sees
            // a connection that was lost, and comes back elsewhere.
            () = self.turn_to_move() => {}
        }
        self.tunnels.set(self.tunnels.get() - 1);
    }

    /// Carries a poll to the peer that holds the connection, until the client has to move.
    pub(crate) async fn carry_poll(&self, boot: BootTag, sid: &str) -> PollAnswer {
        tokio::select! {
            answer = self.node.relay.carry_poll(boot, sid) => answer,
            () = self.turn_to_move() => PollAnswer::Rejected(Rejection::ShuttingDown),
        }
    }

    /// Ready once the node drains and it is the turn of one client, which is drawn by lot.
    async fn turn_to_move(&self) {
        let mut moving = self.moving.subscribe();
        let spread = match moving.wait_for(Option::is_some).await {
            Ok(spread) => spread.unwrap_or_default(),
            Err(_) => return std::future::pending().await,
        };
        let lot = f64::from(u32::from_ne_bytes(random::bytes())) / f64::from(u32::MAX);
        tokio::time::sleep(spread.mul_f64(lot)).await;
    }

    /// Closes all connections, spread over a time; tells when the last one is gone.
    async fn drain(self: Rc<Self>, spread: Duration, done: tokio::sync::oneshot::Sender<()>) {
        self.moving.send_replace(Some(spread));
        let keys = self.state.borrow().connection_keys();
        let pause = spread.checked_div(keys.len() as u32).unwrap_or_default();
        let started = tokio::time::Instant::now();
        for (nth, key) in keys.into_iter().enumerate() {
            // Timers have a resolution of a millisecond: close what is due by now.
            let due = started + pause * nth as u32;
            if due > tokio::time::Instant::now() + Duration::from_millis(1) {
                tokio::time::sleep_until(due).await;
            }
            // One that breaks off in the midst of its upgrade would notice by its heartbeat only.
            if !self.state.borrow_mut().is_upgrading(key) {
                self.state.borrow_mut().close(key, Reason::ShuttingDown);
            }
        }
        let until = Instant::now() + UPGRADES;
        while self.state.borrow_mut().has_upgrades() && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let goodbyes = {
            let mut state = self.state.borrow_mut();
            for key in state.connection_keys() {
                state.close(key, Reason::ShuttingDown);
            }
            state.goodbyes.clone()
        };
        goodbyes.close();
        while self.tunnels.get() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let last_words = async {
            goodbyes.wait().await;
            while self.requests.get() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let _ = tokio::time::timeout(LAST_WORDS, last_words).await;
        let _ = done.send(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_as_long_as_a_flush_took_within_bounds() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut pace = Pace::new(start);
        assert_eq!(pace.rest(start), None);
        pace.flushed(start, start);
        assert_eq!(pace.rest(start), Some(at(1)));
        pace.flushed(at(10), at(13));
        assert_eq!(pace.rest(at(13)), Some(at(16)));
        assert_eq!(pace.rest(at(16)), None);
        pace.flushed(at(20), at(60));
        assert_eq!(pace.rest(at(60)), Some(at(65)));
    }
}
