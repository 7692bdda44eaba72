//! What must hold after every step.

use std::collections::BTreeMap;

use super::{Checked, SLOTS, World};
use crate::proto::slots::{Chain, Eid, Message, NodeId, Position, SlotNo};

/// What a message may have beside what is cut to size: a chain, marks, a large record.
const OTHER_BYTES: usize = 2500;

impl World {
    /// What others are told must be so, and stay so.
    pub(super) fn check_send(&mut self, host: usize, slot: SlotNo, message: &Message) -> Checked {
        let bytes = message.encode(slot);
        let most = self.settings(host).fetch_bytes + OTHER_BYTES;
        if bytes.len() > most {
            return Err(format!(
                "{} bytes are too many for {message:?}",
                bytes.len()
            ));
        }
        if Message::decode(bytes).as_ref() != Ok(&Some((slot, message.clone()))) {
            return Err(format!("{message:?} cannot be read"));
        }
        if let Message::Sealed { eid, .. } = message {
            let stored = self.hosts[host].disk.promises[usize::from(slot)].0;
            if stored < *eid {
                return Err(format!("1: {eid:?} is promised, {stored:?} is stored"));
            }
        }
        let process = self.hosts[host].process.as_ref();
        let suspect = process.is_some_and(|process| process.core.peek(slot).suspect);
        if matches!(message, Message::Copied { .. }) && suspect {
            return Err(format!(
                "7: host{host} copies for slot {slot}, and is suspect"
            ));
        }
        Ok(())
    }

    /// A promise never falls.
    pub(super) fn check(&mut self, host: usize) -> Checked {
        let Some(process) = &mut self.hosts[host].process else {
            return Ok(());
        };
        for slot in 0..SLOTS as u8 {
            let promise = process.core.peek(slot).promise;
            let before = &mut process.promised[usize::from(slot)];
            if promise < *before {
                return Err(format!(
                    "1: the promise falls from {before:?} to {promise:?}"
                ));
            }
            let promised = std::mem::replace(before, promise);
            let latest = process.core.peek(slot).chain.last();
            let before = &mut process.latest[usize::from(slot)];
            if *before != latest && latest.is_some_and(|latest| latest < promised) {
                return Err(format!(
                    "1: {latest:?} is followed, {promised:?} was promised"
                ));
            }
            *before = latest;
        }
        Ok(())
    }

    pub(super) fn opened(
        &mut self,
        host: usize,
        slot: SlotNo,
        (eid, copies, kept): (Eid, Vec<NodeId>, bool),
    ) -> Checked {
        let Some(core) = self.core(host) else {
            return Ok(());
        };
        let peek = core.peek(slot);
        if peek.chain.last() != Some(eid) {
            return Err(format!("{eid:?} is opened on {:?}", peek.chain));
        }
        let truth = &mut self.truths[usize::from(slot)];
        let (cuts, last) = (truth.cuts, truth.reign());
        truth.opened(eid, &peek.chain, kept)?;
        if kept {
            truth.reigns(eid, copies);
        }
        let Some((last, copies)) = last.filter(|_| self.truths[usize::from(slot)].cuts > cuts)
        else {
            return Ok(());
        };
        // Whoever noted a later one, though it came to nothing, rightly looks for its copies.
        if self.truths[usize::from(slot)].is_noted_between(last, eid) {
            return Ok(());
        }
        match copies.into_iter().find(|node| self.has(*node, slot, last)) {
            Some(node) => Err(format!("3: {eid:?} is a cut, and {node:?} has {last:?}")),
            None => Ok(()),
        }
    }

    /// Whether a node has all of an epoch that it held, and no doubt of it.
    fn has(&self, node: NodeId, slot: SlotNo, eid: Eid) -> bool {
        let host = self
            .hosts
            .iter()
            .find(|host| host.id == node && !host.is_gone);
        host.is_some_and(|host| match &host.process {
            Some(process) => {
                let peek = process.core.peek(slot);
                peek.chain.has(eid) && !peek.suspect
            }
            None => {
                let stored = host.disk.stored().unwrap_or_default();
                let log = stored.get(usize::from(slot)).map(|stored| &stored.log);
                log.is_some_and(|log| log.chain.has(eid) && !log.suspect && !host.is_unclean)
            }
        })
    }

    /// 2: no epoch commits as kept what a higher one lacks, once a quorum has that one's record.
    ///
    /// What it does have may be committed late: the follower's acknowledgement was under way.
    pub(super) fn check_records(&self, slot: SlotNo, position: Position) -> Checked {
        let hosts = self.hosts.iter().filter(|host| !host.is_gone);
        let records = hosts
            .clone()
            .map(|host| &host.disk.promises[usize::from(slot)].1);
        let mut by_eid = BTreeMap::<Eid, usize>::new();
        for reign in records.flatten().filter(|reign| reign.eid > position.eid) {
            *by_eid.entry(reign.eid).or_default() += 1;
        }
        let quorum = hosts.clone().count() / 2 + 1;
        by_eid.retain(|_, count| *count >= quorum);
        for higher in by_eid.keys() {
            let cores = hosts.clone().flat_map(|host| &host.process);
            let chains = cores.map(|process| process.core.peek(slot).chain);
            let lacks = |chain: Chain| {
                let its = chain.extent(*higher, u64::MAX);
                let own = its.and_then(|it| chain.extent(position.eid, it.0 - 1));
                its.is_some() && own.is_none_or(|own| own.1 < position.seq)
            };
            if chains.into_iter().any(lacks) {
                return Err(format!("2: {position:?} is kept, a quorum has {by_eid:?}"));
            }
        }
        Ok(())
    }
}
