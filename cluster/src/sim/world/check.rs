//! What must hold at every step.

use super::{Checked, Kind, World};
use crate::proto::{Lifecycle, RoomKey};

impl World {
    /// Checks a host against all others.
    pub(super) fn check(&mut self, host: usize) -> Checked {
        self.check_own(host)
            .map_err(|why| format!("host{host} at {}: {why}", self.now_ms))?;
        for other in (0..self.hosts.len()).filter(|other| *other != host) {
            self.check_forwards(host, other)?;
            self.check_forwards(other, host)?;
        }
        Ok(())
    }

    /// A node's own promises, and what its edge was told.
    fn check_own(&mut self, host: usize) -> Checked {
        let Some((process, _)) = self.any_process(host) else {
            return Ok(());
        };
        let node = &process.node;
        let covered = node.floor().min(node.seq());
        if covered < process.covered {
            return Err(format!(
                "the floor fell from {} to {covered}",
                process.covered
            ));
        }
        process.covered = covered;
        let told = process
            .slots
            .keys()
            .fold(0, |mask, slot| mask | 1_u64 << slot);
        if told != node.everyone() {
            return Err(format!("the edge has slots {told:b}"));
        }
        if process.lifecycle != node.lifecycle() {
            return Err("its lifecycle was not told".into());
        }
        Ok(())
    }

    /// What `from` accepts for a room that `to` was promised goes there.
    fn check_forwards(&mut self, from: usize, to: usize) -> Checked {
        if self.kind == Kind::Corrupting || self.hosts[from].is_stopped {
            return Ok(());
        }
        let (sender, receiver) = (&self.hosts[from].process, &self.hosts[to].process);
        let (Some(sender), Some(receiver)) = (sender, receiver) else {
            return Ok(());
        };
        let (from_name, to_name) = (&self.hosts[from].name, &self.hosts[to].name);
        let is_seen = receiver
            .node
            .slot_of(from_name, sender.generation)
            .is_some();
        let slot = sender.node.slot_of(to_name, receiver.generation);
        let Some(slot) = slot.filter(|_| is_seen && sender.lifecycle == Lifecycle::Ready) else {
            return Ok(());
        };
        let inbound = sender.node.link_from(to_name, receiver.generation);
        if inbound.is_some() && inbound != receiver.node.link_to(from_name) {
            return Ok(());
        }
        self.seen.checks += 1;
        if sender.node.route(&[]) & (1 << slot) != 0 {
            // Everything goes there.
            return Ok(());
        }
        for (room, seq) in receiver.rooms.iter().filter(|it| *it.1 <= receiver.covered) {
            self.seen.promises += 1;
            if sender.node.route(&[RoomKey(*room)]) & (1 << slot) == 0 {
                return Err(format!(
                    "host{from} at {} does not forward room {room} to host{to}, which joined it \
                     as {seq} and has floor {}",
                    self.now_ms, receiver.covered,
                ));
            }
        }
        Ok(())
    }
}
