//! Recoverable rooms, for real: the core of [`crate::proto::slots`] on a disk and over links.
//!
//! | module | what it is |
//! |---|---|
//! | `config` | what a node must know |
//! | `keep` | what is asked of a disk; the program fits it with its storage |
//! | `driver`, `acts` | the one task that owns the core: what happened, then what follows |
//! | `input` | what it is told |
//! | `disk` | what is to be stored, in order; what fails is tried again |
//! | `rooms` | which rooms are listened to here |
//! | `told` | what is told to the program, bounded in bytes |
//! | `calls` | what the program can ask for |
//! | `recover` | a client's way back |
//! | `peers` | who is there, and the ways to them |
//! | `claims` | PURE: who says that it owns which slot |
//! | `figures` | what an operator can see |
//!
//! What it promises its neighbours:
//!
//! - **One node is the same code.** Without a cluster it owns all slots at once.
//! - **What is answered is stored.** A disk that fails is tried for ever; meanwhile emits of this
//!   node are turned away at once.
//! - **Nothing grows without bound.** Requests and messages have permits for their bytes, told
//!   entries are counted until they are delivered.

mod acts;
mod calls;
mod claims;
mod config;
mod disk;
mod driver;
mod figures;
mod input;
mod keep;
mod peers;
mod recover;
mod rooms;
#[cfg(test)]
mod tests;
mod told;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::{Semaphore, mpsc, watch};

use crate::Cluster;
use crate::net::history::Heard;
use crate::proto::slots::rows::Table;
use crate::proto::slots::{Position, SlotNo};
pub use calls::{Joining, Read, Submitted, Taken, Written};
pub use config::{HistoryConfig, SlotOf, slot_by_name};
pub use disk::Failing;
use disk::{Disk, Health};
use driver::Driver;
use figures::Figures;
pub use figures::{Counts, Known, OwnedStatus, Roster, SlotStatus};
use input::Input;
pub use keep::{Keep, KeepError};
use peers::Peers;
pub use recover::{Recovered, Way};
pub use rooms::Listening;
use rooms::Rooms;
use told::{Teller, Undelivered};
pub use told::{Told, Weight};

/// Bytes of requests of this node that may be under way. Beyond them, whoever asks waits. Some
/// thousands of appends: more would not go faster, and the last would wait for too long.
const ASKED: usize = 8 << 20;

/// An event that is on the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// The room's slot.
    pub slot: SlotNo,
    /// Where it is.
    pub position: Position,
    /// How many nodes hold it.
    pub copies: u8,
    /// Whether it is on the branch that goes on, or clients will be told.
    pub kept: bool,
}

/// Why something was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nobody did it in time, or this node's disk fails. The outcome is unknown: an emit is to be
    /// repeated with its id.
    #[error("no owner did it in time")]
    Unavailable,
    /// The record has another home, or is unknown. Nothing was changed, unless both homes were
    /// found to have it: then it is gone.
    #[error("the record has another home, or is unknown")]
    Lost,
    /// What followed a position is not known; or a node was to forget itself. Nothing was changed.
    #[error("what followed the position is not known")]
    Invalid,
    /// It is longer than what nodes send each other. Nothing was changed.
    #[error("it is too long")]
    TooLong,
    /// This node stops. The outcome is unknown.
    #[error("the node stops")]
    Closed,
}

/// What handles and the driver share.
#[derive(Debug)]
struct Shared {
    undelivered: Arc<Undelivered>,
    health: Arc<Health>,
    figures: Figures,
    asked: Arc<Semaphore>,
    marked: watch::Sender<bool>,
    is_forgotten: AtomicBool,
}

/// This node's recoverable rooms: a cheap handle.
#[derive(Clone)]
pub struct History {
    shared: Arc<Shared>,
    inputs: mpsc::UnboundedSender<Input>,
    slot_of: SlotOf,
}

impl History {
    /// Starts to keep recoverable rooms; alone, or with the nodes of a cluster. What is told must
    /// be taken, and by nobody who waits for an emit; it ends with the task behind this. Must be
    /// called within a tokio runtime.
    pub fn start(
        config: HistoryConfig,
        keep: Arc<dyn Keep>,
        cluster: Option<Cluster>,
    ) -> (Self, mpsc::Receiver<Told>) {
        let shared = Arc::new(Shared {
            undelivered: Arc::default(),
            health: Arc::default(),
            figures: Figures::default(),
            asked: Arc::new(Semaphore::new(ASKED)),
            marked: watch::Sender::new(false),
            is_forgotten: AtomicBool::new(false),
        });
        let (inputs, taken) = mpsc::unbounded_channel();
        let (teller, told) = Teller::new(shared.undelivered.clone());
        let disk = Disk::new(keep, shared.health.clone(), Table::of(&config.stored));
        let rooms = Rooms::new(inputs.downgrade());
        let history = Self {
            shared: shared.clone(),
            inputs,
            slot_of: config.slot_of.clone(),
        };
        let id = (config.node, config.boot);
        if let Some(cluster) = &cluster {
            cluster.core.attach(id, history.hears());
        }
        let peers = Peers::new(id, config.forgotten.clone(), cluster);
        let driver = Driver::new(config, (shared, peers), (disk, teller, rooms), taken);
        tokio::spawn(driver.run());
        (history, told)
    }
    /// What hands on what peers say. It does not keep the driver alive.
    fn hears(&self) -> impl Fn(Heard) + Send + Sync + 'static {
        let inputs = self.inputs.downgrade();
        move |heard| {
            if let Some(inputs) = inputs.upgrade() {
                let _ = inputs.send(Input::Heard(heard));
            }
        }
    }
}
