//! The harness of the behaviour tests: real processes, real sockets, real clients.
//!
//! | module | for |
//! |---|---|
//! | [`node`] | a Tidings daemon: configure, start, restart, kill, read its log |
//! | [`cluster`] | several daemons that are one cluster |
//! | [`balancer`] | a load balancer that remembers nobody |
//! | [`express`] | a small application that keeps its sessions in MongoDB |
//! | [`machine`] | a whole Debian with a systemd that runs |
//! | [`manager`] | a stand-in for systemd, to which a service says how it is |
//! | [`mongod`] | a genuine MongoDB server, and ways to make it fail |
//! | [`pebble`] | a CA that speaks ACME |
//! | [`netns`], [`relay`] | networks whose links can be cut and made bad; a slow way for UDP |
//! | [`traffic`] | many numbered events, and who must get each once |
//! | [`conformance`] | the conformance server, or the reference implementation in its place |
//! | [`process`] | a child process whose output is kept and whose death is noticed |
//! | [`raw_http`] | HTTP/1.1 as bytes on a TCP stream |
//! | [`engine_ws`], [`engine_polling`] | Engine.IO packets over either transport, nothing hidden |
//! | [`sio`] | a small Socket.IO client that answers pings by itself |
//! | [`script`] | JavaScript and Python clients |
//! | [`tls`] | a certificate authority for one test |
//!
//! Everything that waits does so under a deadline, and fails by panicking with what it saw: a
//! test reads as what should happen. A process that dies by itself fails the test that started it.

pub mod balancer;
pub mod cluster;
pub mod conformance;
pub mod engine_polling;
pub mod engine_ws;
pub mod express;
pub mod machine;
pub mod manager;
pub mod mongod;
pub mod netns;
pub mod node;
pub mod pebble;
pub mod port;
pub mod process;
pub mod raw_http;
pub mod relay;
pub mod script;
pub mod sio;
pub mod tls;
pub mod traffic;

pub use balancer::Balancer;
pub use cluster::{Cluster, RunningCluster};
pub use conformance::{Conformance, Profile};
pub use engine_polling::EnginePolling;
pub use engine_ws::{EngineWs, Incoming};
pub use express::Express;
pub use machine::Machine;
pub use manager::Manager;
pub use mongod::Mongod;
pub use netns::Network;
pub use node::{Node, RunningNode, SessionCreds};
pub use pebble::Pebble;
pub use raw_http::RawHttp;
pub use relay::Relay;
pub use script::{RunningScript, Script};
pub use sio::{Recovery, SioClient, SioEvent};
pub use tls::{Certificate, Trust};
pub use traffic::Traffic;

use std::time::Duration;

/// How long anything that should happen at once may take; generous, as tests share the machine.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// How long a test watches for something that must not happen.
pub const SILENCE: Duration = Duration::from_millis(300);

/// Awaits `condition` becoming true, asking every 20 ms; panics with `what` after [`PATIENCE`].
pub async fn eventually<F, R>(what: &str, mut condition: F)
where
    F: FnMut() -> R,
    R: Future<Output = bool>,
{
    let begun = std::time::Instant::now();
    while !condition().await {
        assert!(
            begun.elapsed() < PATIENCE,
            "not so within {PATIENCE:?}: {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
