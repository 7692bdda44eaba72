//! Carries out what the core decides, in order, and lets it know when time has passed.

use std::{sync::Arc, time::Duration};

use super::{Core, Link, dial};
use crate::{Change, Peer, proto::Action};

/// How soon time is passed to the core after something happened, and while it waits for it.
const SOON: u64 = 100;
/// How soon while it waits for nothing.
const IDLE: u64 = 500;

/// Runs until the cluster stops.
pub(crate) async fn run(core: Arc<Core>) {
    let mut due = 0;
    loop {
        let now = core.now_ms();
        if now >= due {
            let random = super::random();
            let next = core.decide(|node, now| node.tick(now, random));
            due = match next >= now + SOON && core.node().is_idle() {
                true => now + IDLE,
                false => next,
            };
        }
        let actions = core.node().actions();
        for action in actions {
            act(&core, action);
        }
        let wait = Duration::from_millis(due.saturating_sub(core.now_ms()));
        // All are cancel-safe: a decision that is not noticed is found at the next turn.
        tokio::select! {
            () = core.decided.notified() => due = due.min(core.now_ms() + SOON),
            () = tokio::time::sleep(wait) => {}
            () = core.stop.cancelled() => return,
        }
    }
}

fn act(core: &Arc<Core>, action: Action) {
    let application = &core.application;
    match action {
        Action::Dial { address, .. } => {
            core.tasks.spawn(dial::run(core.clone(), address));
        }
        Action::Hangup(id) => match core.link(id) {
            Some(Link::Outbound(link)) => link.connection.close(0_u32.into(), b"hangup"),
            Some(Link::Inbound(connection)) => connection.close(0_u32.into(), b"hangup"),
            None => {}
        },
        Action::Wake(id) => {
            if let Some(Link::Outbound(link)) = core.link(id) {
                link.wake.notify_one();
            }
        }
        Action::Linked { slot, link } => {
            if let Some(Link::Outbound(link)) = core.link(link) {
                core.set_slot(slot, Some(link));
            }
        }
        Action::Unlinked { slot } => core.set_slot(slot, None),
        Action::PeerUp {
            name,
            generation,
            address,
            ..
        } => {
            tracing::info!(peer = %name, %address, generation, "a peer is up");
            application.changed(Change::Up(Peer { name, generation }));
        }
        Action::PeerDown { name, slot } => {
            tracing::info!(peer = %name, "a peer is down");
            core.set_slot(slot, None);
            core.forget_received(&name);
            application.changed(Change::Down(name));
        }
        Action::PeerState { slot, lifecycle } => {
            let names = core.names(1 << slot);
            let peer = names.first().map(|name| &**name);
            tracing::debug!(peer, state = lifecycle.name(), "a peer's state");
        }
        Action::Lifecycle(lifecycle) => {
            tracing::info!(state = lifecycle.name(), "this node's state in the cluster");
            core.own.send_modify(|own| own.lifecycle = lifecycle);
        }
        Action::Mark(mark) => core.own.send_modify(|own| own.mark = Some(mark)),
        Action::Floor(floor) => application.changed(Change::Floor(floor)),
        Action::Others { key, parts } => application.changed(Change::Others { key, parts }),
        Action::Conflict { address, refused } => {
            tracing::error!(node = %core.config.node, by = %address, why = %refused,
                "this node was turned away; a configuration must change");
        }
    }
}
