//! Events, handshakes, logins and subscriptions against their limits, for the whole node and, by
//! what the nodes tell each other (`exchange`), for the whole cluster.
//!
//! [`Limits`] is one cheap handle for every thread. Each decision locks one stripe of one table for
//! well under a microsecond and never across an await. Nothing here touches the disk: changed
//! windows are handed out by [`Limits::take_changes`] to be written behind, and come back by
//! [`Limits::restore`]. Subscriptions are not kept: they end with their sockets.

mod exchange;
mod subscriptions;
mod table;

use crate::app::window::{SlidingWindow, Verdict};
use crate::live::Live;
pub use exchange::{EXCHANGE_EVERY, Told};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
pub use subscriptions::SubscriptionLimit;
use subscriptions::Subscriptions;
use table::{Key, Table};
use tidings_storage::{Counter, Store, StoreError};

/// No user has a longer name, so a longer one is not worth a window of its own.
const MAX_LOGIN_NAME: usize = 512;

/// The limits of a node, a window being one minute; 0 turns a limit off.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    /// Events from all sockets of one user, in a window.
    pub events_per_user: u32,
    /// Engine.IO handshakes from one address, in a window.
    pub connections_per_ip: u32,
    /// Distinct rooms that all sockets of one user may be subscribed to.
    pub subscriptions_per_user: u32,
    /// Login attempts from one address, in a window.
    pub logins_per_ip: u32,
    /// Login attempts for one user name, in a window.
    pub logins_per_user: u32,
    /// How many windows' worth of events a user may have refused, in a window, before it is abuse.
    pub abuse_windows: u32,
}

/// A limit is reached; nothing was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rate limit reached, try again in {} s", self.seconds())]
pub struct RetryAfter(pub Duration);

/// An event that must not be handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{retry_after}")]
pub struct EventRefused {
    /// When the user may send again.
    pub retry_after: RetryAfter,
    /// The user has gone on for so long that its socket is to be disconnected.
    pub abuse: bool,
}

/// What a limit holds back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitKind {
    /// Events of a user.
    Events,
    /// Handshakes from an address.
    Handshakes,
    /// Subscriptions of a user.
    Subscriptions,
    /// Logins from an address.
    LoginsOfIp,
    /// Logins under a name.
    LoginsOfUser,
    /// Connections of the node.
    Connections,
}

impl LimitKind {
    /// All of them, as they are numbered.
    pub const ALL: [Self; 6] = [
        Self::Events,
        Self::Handshakes,
        Self::Subscriptions,
        Self::LoginsOfIp,
        Self::LoginsOfUser,
        Self::Connections,
    ];

    /// The key of the limit in the table `[limits]`.
    pub fn key(self) -> &'static str {
        match self {
            Self::Events => "events_per_minute_per_user",
            Self::Handshakes => "connections_per_minute_per_ip",
            Self::Subscriptions => "subscriptions_per_user",
            Self::LoginsOfIp => "logins_per_minute_per_ip",
            Self::LoginsOfUser => "logins_per_minute_per_user",
            Self::Connections => "connections",
        }
    }
}

/// The counters of this node.
#[derive(Clone, Debug)]
pub struct Limits(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    rules: Live<Rules>,
    events: Table<Box<str>>,
    /// Refused events, which tell a client that is busy from one that abuses.
    refused: Table<Box<str>>,
    handshakes: Table<Net>,
    login_nets: Table<Net>,
    login_names: Table<Box<str>>,
    subscriptions: Subscriptions,
    /// Whether there are other nodes.
    is_shared: AtomicBool,
    /// How often they were told.
    exchanges: AtomicUsize,
    /// How often each limit held something back, by [`LimitKind::ALL`].
    held: [AtomicU64; LimitKind::ALL.len()],
}

/// What counts as one address: an IPv4 address or an IPv6 /64, which is what one household or one
/// machine is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::app) enum Net {
    V4([u8; 4]),
    V6([u8; 8]),
}

impl Limits {
    /// Counters that are all at zero.
    pub fn new(rules: Rules) -> Self {
        Self(Arc::new(Inner {
            rules: Live::new(rules),
            events: Table::new(b'e'),
            refused: Table::new(b'r'),
            handshakes: Table::new(b'h'),
            login_nets: Table::new(b'i'),
            login_names: Table::new(b'u'),
            subscriptions: Subscriptions::new(),
            is_shared: AtomicBool::new(false),
            exchanges: AtomicUsize::new(0),
            held: Default::default(),
        }))
    }

    /// Goes by other rules from here on. What was counted stays.
    pub fn replace_rules(&self, rules: Rules) {
        self.0.rules.replace(rules);
        self.0.share_subscriptions();
    }

    /// The rules of now.
    pub fn rules(&self) -> Rules {
        **self.0.rules.now()
    }

    /// How often a limit has held something back on this node.
    pub fn held(&self, limit: LimitKind) -> u64 {
        self.0.held[limit as usize].load(Relaxed)
    }

    /// A limit has held something back.
    pub(crate) fn hold(&self, limit: LimitKind) {
        self.0.held[limit as usize].fetch_add(1, Relaxed);
    }

    /// Counts one event of `user`.
    pub fn event(&self, user: &str, now_ms: u64) -> Result<(), EventRefused> {
        let inner = &*self.0;
        let rules = **inner.rules.now();
        let limit = rules.events_per_user;
        hit(&inner.events, user, now_ms, limit).map_err(|retry_after| {
            self.hold(LimitKind::Events);
            let threshold = limit.saturating_mul(rules.abuse_windows);
            EventRefused {
                retry_after,
                abuse: inner.is_abuse(user, now_ms, threshold),
            }
        })
    }

    /// Counts one Engine.IO handshake from `ip`.
    pub fn handshake(&self, ip: IpAddr, now_ms: u64) -> Result<(), RetryAfter> {
        hit(
            &self.0.handshakes,
            &Net::from(ip),
            now_ms,
            self.0.rules.now().connections_per_ip,
        )
        .inspect_err(|_| self.hold(LimitKind::Handshakes))
    }

    /// Takes a handshake back: it turned out to be a recovery, which does not count.
    pub fn refund_handshake(&self, ip: IpAddr, now_ms: u64) {
        self.0
            .handshakes
            .update(&Net::from(ip), |window, _| (window.refund(now_ms), true));
    }

    /// Counts one attempt to log in as `name` from `ip`, whatever will come of it.
    pub fn login(&self, ip: IpAddr, name: &str, now_ms: u64) -> Result<(), RetryAfter> {
        let inner = &*self.0;
        let rules = **inner.rules.now();
        hit(
            &inner.login_nets,
            &Net::from(ip),
            now_ms,
            rules.logins_per_ip,
        )
        .inspect_err(|_| self.hold(LimitKind::LoginsOfIp))?;
        if name.len() > MAX_LOGIN_NAME {
            return Ok(());
        }
        hit(&inner.login_names, name, now_ms, rules.logins_per_user)
            .inspect_err(|_| self.hold(LimitKind::LoginsOfUser))
    }

    /// Counts one more of `user`'s sockets in `room`; says whether the room is new to the user.
    /// Every success must be met by one [`Self::unsubscribe`].
    pub fn subscribe(
        &self,
        user: &str,
        room: &str,
        now_ms: u64,
    ) -> Result<bool, SubscriptionLimit> {
        let limit = self.0.rules.now().subscriptions_per_user;
        let added = self.0.subscriptions.add(user, room, limit, now_ms);
        added.inspect_err(|_| self.hold(LimitKind::Subscriptions))
    }

    /// Counts one of `user`'s sockets out of `room`.
    pub fn unsubscribe(&self, user: &str, room: &str) {
        self.0.subscriptions.remove(user, room);
    }

    /// How many distinct rooms `user` is subscribed to on this node.
    pub fn subscriptions(&self, user: &str) -> usize {
        self.0.subscriptions.count(user)
    }

    /// Writes what changed behind; says how many windows. To be called at least once a second, and
    /// on drain. What cannot be written is tried again by the next call.
    pub async fn save(&self, store: &Store, now_ms: u64) -> Result<usize, StoreError> {
        let rows = self.take_changes(now_ms);
        if rows.is_empty() {
            return Ok(0);
        }
        store
            .save_counters(rows.clone())
            .await
            .inspect_err(|_| self.keep_changes(&rows))?;
        Ok(rows.len())
    }

    /// Takes over what an earlier run wrote; says how many windows. To be called before the first
    /// hit.
    pub async fn load(&self, store: &Store, now_ms: u64) -> Result<usize, StoreError> {
        Ok(self.restore(&store.counters().await?, now_ms))
    }

    /// The windows that changed since the last call, to be written at least once a second and on
    /// drain. Also forgets some idle keys, so that every idle key is gone after a few calls.
    pub fn take_changes(&self, now_ms: u64) -> Vec<Counter> {
        let mut rows = Vec::new();
        let inner = &*self.0;
        inner.events.take_changes(now_ms, &mut rows);
        inner.refused.take_changes(now_ms, &mut rows);
        inner.handshakes.take_changes(now_ms, &mut rows);
        inner.login_nets.take_changes(now_ms, &mut rows);
        inner.login_names.take_changes(now_ms, &mut rows);
        rows
    }

    /// Has rows that could not be written handed out again by the next [`Self::take_changes`].
    pub fn keep_changes(&self, rows: &[Counter]) {
        for (key, ..) in rows {
            self.0.on_table(key, |table, name| table.mark_changed(name));
        }
    }

    /// Takes over the windows of an earlier run; says how many. Rows of an unknown make are left
    /// out: the worst of it is one window too generous.
    pub fn restore(&self, rows: &[(Vec<u8>, Vec<u8>)], now_ms: u64) -> usize {
        let restored = rows.iter().filter(|(key, value)| {
            let Some(mut window) = SlidingWindow::from_bytes(value) else {
                return false;
            };
            !window.is_idle(now_ms)
                && self
                    .0
                    .on_table(key, |table, name| table.insert_stored(name, &window))
        });
        restored.count()
    }
}

impl Inner {
    fn is_abuse(&self, user: &str, now_ms: u64, threshold: u32) -> bool {
        threshold > 0
            && self.refused.update(user, |window, others| {
                match window.hit_beside(others, now_ms, threshold) {
                    Verdict::Allowed { remaining } => (remaining == 0, true),
                    Verdict::Refused { .. } => (true, false),
                }
            })
    }

    /// Runs `act` on the table that a stored key belongs to, with the key as that table spells it.
    fn on_table(&self, key: &[u8], act: impl FnOnce(&dyn AnyTable, &[u8]) -> bool) -> bool {
        let Some((&kind, name)) = key.split_first() else {
            return false;
        };
        let tables = self.tables().into_iter();
        let mut of_kind = tables.filter(|table| table.kind() == kind);
        of_kind.next().is_some_and(|table| act(table, name))
    }

    fn tables(&self) -> [&dyn AnyTable; 5] {
        [
            &self.events,
            &self.refused,
            &self.handshakes,
            &self.login_nets,
            &self.login_names,
        ]
    }
}

/// What is done to a table whatever its keys are: for stored rows, and for the other nodes.
trait AnyTable {
    fn kind(&self) -> u8;
    fn mark_changed(&self, name: &[u8]) -> bool;
    fn insert_stored(&self, name: &[u8], window: &SlidingWindow) -> bool;
    fn share(&self);
    fn take_untold(&self, now_ms: u64, told: &mut Vec<Told>);
    fn hear(&self, name: &[u8], parts: &[(u32, u32)], now_ms: u64) -> bool;
}

impl<K: Key> AnyTable for Table<K> {
    fn kind(&self) -> u8 {
        Table::kind(self)
    }

    fn mark_changed(&self, name: &[u8]) -> bool {
        K::from_bytes(name).is_some_and(|key| self.mark(key))
    }

    fn insert_stored(&self, name: &[u8], window: &SlidingWindow) -> bool {
        let Some(key) = K::from_bytes(name) else {
            return false;
        };
        self.insert(key, window.clone());
        true
    }

    fn share(&self) {
        Table::share(self);
    }

    fn take_untold(&self, now_ms: u64, told: &mut Vec<Told>) {
        Table::take_untold(self, now_ms, told);
    }

    fn hear(&self, name: &[u8], parts: &[(u32, u32)], now_ms: u64) -> bool {
        let key = K::from_bytes(name);
        key.is_some_and(|key| {
            Table::hear(self, key.borrow(), parts, now_ms);
            true
        })
    }
}

impl RetryAfter {
    /// For a `Retry-After` header: whole seconds, at least one, never too early.
    pub fn seconds(&self) -> u64 {
        (self.0.as_millis().div_ceil(1_000) as u64).max(1)
    }
}

impl From<IpAddr> for Net {
    fn from(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip.octets()),
            IpAddr::V6(ip) => {
                let [a, b, c, d, e, f, g, h, ..] = ip.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

impl Key for Net {
    type Borrowed = Self;

    fn own(borrowed: &Self) -> Self {
        *borrowed
    }

    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::V4(octets) => octets,
            Self::V6(octets) => octets,
        }
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let v4 = || bytes.try_into().map(Self::V4);
        v4().or_else(|_| bytes.try_into().map(Self::V6)).ok()
    }
}

impl Key for Box<str> {
    type Borrowed = str;

    fn own(borrowed: &str) -> Self {
        borrowed.into()
    }

    fn as_bytes(&self) -> &[u8] {
        str::as_bytes(self)
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        std::str::from_utf8(bytes).ok().map(Into::into)
    }
}

fn hit<K: Key>(
    table: &Table<K>,
    key: &K::Borrowed,
    now_ms: u64,
    limit: u32,
) -> Result<(), RetryAfter> {
    if limit == 0 {
        return Ok(());
    }
    table.update(key, |window, others| {
        match window.hit_beside(others, now_ms, limit) {
            Verdict::Allowed { .. } => (Ok(()), true),
            Verdict::Refused { retry_after } => (Err(RetryAfter(retry_after)), false),
        }
    })
}

#[cfg(test)]
mod tests;
