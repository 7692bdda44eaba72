//! The watcher: a thread that looks at the pulse and rings when the storage thread is stuck, so
//! that every call is answered within seconds. It is a plain thread because a tokio timer would tie
//! the store to one runtime, and would fire at once where a test pauses the clock.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};

use tokio::sync::watch;

use crate::store::pulse::{Pulse, WATCH_EVERY};

/// Tells whether the storage thread is stuck.
pub(crate) struct Alarm(watch::Receiver<bool>);

impl Alarm {
    /// Returns when the storage thread is stuck; never, if it never is. Cancel-safe.
    pub(crate) async fn ringing(&self) {
        let mut stuck = self.0.clone();
        if stuck.wait_for(|stuck| *stuck).await.is_err() {
            std::future::pending().await
        }
    }
}

/// Held by the storage thread; its drop ends the watcher.
pub(crate) struct Ringer(#[expect(dead_code, reason = "held for its drop")] Sender<()>);

/// Starts the watcher.
pub(crate) fn start(pulse: Arc<Pulse>) -> std::io::Result<(Alarm, Ringer)> {
    let (ringing, alarm) = watch::channel(false);
    let (ringer, gone) = channel::<()>();
    std::thread::Builder::new()
        .name("tidings-store-watch".to_owned())
        .spawn(move || {
            let look = || {
                ringing.send_if_modified(|ringing| {
                    let stuck = pulse.look();
                    if stuck && !*ringing {
                        tracing::error!("storage is stuck; calls are refused until it moves");
                    }
                    std::mem::replace(ringing, stuck) != stuck
                });
            };
            while gone.recv_timeout(WATCH_EVERY) == Err(RecvTimeoutError::Timeout) {
                look();
            }
            // It may have been stuck until it ended.
            look();
        })?;
    Ok((Alarm(alarm), Ringer(ringer)))
}
