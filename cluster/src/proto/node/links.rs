//! How links come and go, and who is let in.

use std::net::SocketAddr;

use super::Node;
use crate::proto::interest::feed::Feed;
use crate::proto::interest::view::View;
use crate::proto::rules::Rule;
use crate::proto::{Action, Hello, LinkId, PROTOCOL, Refused};

/// How long a refusal counts. Who refused is dialled again sooner.
const CONFLICT_MS: u64 = 10_000;

/// A link that this node speaks on.
#[derive(Debug)]
pub(super) struct Outbound {
    pub(super) link: LinkId,
    /// The address that was dialled, which is not always the one that the peer gives.
    pub(super) dialled: SocketAddr,
    pub(super) hello: Hello,
    /// What it has been told of this node's rooms.
    pub(super) feed: Feed,
    /// Up to where the peer has acknowledged this node's rooms.
    pub(super) acked: Option<u64>,
    /// Up to where the peer was told that its rooms are applied, and from which of its links: it
    /// counts the acknowledgements of each link anew.
    pub(super) ack_sent: Option<(LinkId, u64)>,
    /// Whether the edge is asking for frames, and need not be woken.
    pub(super) is_awake: bool,
    /// Whether a count comes next: rooms and counts take turns.
    pub(super) counts_next: bool,
    /// The peer's slot, once it has one.
    pub(super) slot: Option<u8>,
}

/// A link that a peer speaks on.
#[derive(Debug)]
pub(super) struct Inbound {
    pub(super) link: LinkId,
    pub(super) hello: Hello,
    /// What it says of the peer's rooms.
    pub(super) view: View,
    /// The peer's slot, once it has one.
    pub(super) slot: Option<u8>,
    /// The slot as a bit if the view is in step, else 0.
    pub(super) bit: u64,
    /// Whether it is lost, and kept against the rules.
    pub(super) is_lost: bool,
}

impl Inbound {
    /// What can be acknowledged of it.
    pub(super) fn ack(&self) -> Option<(LinkId, u64)> {
        Some((self.link, self.view.acknowledgeable()?))
    }
}

/// A node turned this one away, and a configuration must change.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conflict {
    /// Who.
    pub(super) address: SocketAddr,
    /// Why.
    pub(super) refused: Refused,
    /// Until when it counts, if it is not said again.
    pub(super) until_ms: u64,
}

impl Node {
    /// Gossip wants to reach an address that there is no link to.
    pub fn wanted(&mut self, address: SocketAddr, now_ms: u64) {
        self.dialer.wanted(address, now_ms);
        self.settle(now_ms);
    }

    /// Nobody answered at an address. True for the first time in a row, which is worth a word.
    pub fn dial_failed(&mut self, address: SocketAddr, now_ms: u64, random: u64) -> bool {
        self.random = random;
        let is_first = self.fail(address, now_ms);
        self.settle(now_ms);
        is_first
    }

    /// The node at an address does not link with this one. True for the first time in a row.
    pub fn dial_refused(
        &mut self,
        address: SocketAddr,
        refused: Refused,
        now_ms: u64,
        random: u64,
    ) -> bool {
        self.random = random;
        let is_first = self.refused(address, refused, now_ms);
        self.settle(now_ms);
        is_first
    }

    /// A dialled node has said who it is, and takes what this one sends.
    pub fn link_out_up(&mut self, link: LinkId, address: SocketAddr, hello: Hello, now_ms: u64) {
        if let Err(refused) = self.admit(&hello) {
            self.actions.push(Action::Hangup(link));
            match refused {
                Refused::Myself => self.dialer.is_own(address),
                _ => _ = self.fail(address, now_ms),
            }
        } else {
            self.notice(&hello, now_ms);
            self.dialer.linked(address, &hello.name, now_ms);
            if self.is_linked(&hello.name) {
                // By another of its addresses.
                self.actions.push(Action::Hangup(link));
                self.fail_linked(address, now_ms);
            } else {
                self.appeared_ms = now_ms;
                self.counters.link_up(&hello.name);
                self.outbound.push(Outbound {
                    link,
                    dialled: address,
                    hello,
                    feed: Feed::new(),
                    acked: None,
                    ack_sent: None,
                    is_awake: false,
                    counts_next: false,
                    slot: None,
                });
            }
        }
        self.settle(now_ms);
    }

    /// An outbound link is lost.
    pub fn link_out_down(&mut self, link: LinkId, now_ms: u64, random: u64) {
        self.random = random;
        self.drop_outbound(now_ms, |outbound| outbound.link == link);
        self.settle(now_ms);
    }

    /// A node that dialled this one said who it is. If it is let in, its frames may follow.
    pub fn hello_in(&mut self, link: LinkId, hello: Hello, now_ms: u64) -> Result<(), Refused> {
        self.admit(&hello)?;
        self.notice(&hello, now_ms);
        let actions = &mut self.actions;
        self.inbound.retain(|inbound| {
            let is_replaced = inbound.hello.name == hello.name;
            if is_replaced {
                actions.push(Action::Hangup(inbound.link));
            }
            !is_replaced
        });
        self.inbound.push(Inbound {
            link,
            hello,
            view: View::new(now_ms, self.rules),
            slot: None,
            bit: 0,
            is_lost: false,
        });
        self.settle(now_ms);
        Ok(())
    }

    /// An inbound link is lost.
    pub fn link_in_down(&mut self, link: LinkId, now_ms: u64) {
        if self.rules.keep(Rule::OpenWhenLost) {
            self.inbound.retain(|inbound| inbound.link != link);
        } else if let Some(lost) = self.inbound.iter_mut().find(|it| it.link == link) {
            lost.is_lost = true;
        }
        self.settle(now_ms);
    }

    /// Whether a node may be linked with, in either direction.
    fn admit(&self, hello: &Hello) -> Result<(), Refused> {
        let own = &self.settings;
        if hello.cluster != own.cluster {
            return Err(Refused::Cluster);
        }
        if hello.protocol != PROTOCOL {
            let (ours, theirs) = (PROTOCOL, hello.protocol);
            return Err(Refused::Protocol { ours, theirs });
        }
        if hello.name == own.name {
            let address = own.address;
            let is_own = hello.generation == own.generation && hello.address == address;
            return Err(if is_own {
                Refused::Myself
            } else {
                Refused::NameTaken { address }
            });
        }
        let peers = self.members.peers().map(|(_, it)| it);
        let peers = peers.map(|it| (&it.name, it.generation, it.address));
        let heard = self
            .inbound
            .iter()
            .filter(|it| !it.is_lost)
            .map(|it| &it.hello);
        let heard = heard.map(|it| (&it.name, it.generation, it.address));
        for (_, generation, address) in peers.chain(heard).filter(|it| *it.0 == hello.name) {
            if address != hello.address {
                return Err(Refused::NameTaken { address });
            }
            if generation > hello.generation {
                return Err(Refused::Stale { known: generation });
            }
        }
        Ok(())
    }

    /// Acts on what a hello says before gossip does: a node that has started again is not what it
    /// was.
    fn notice(&mut self, hello: &Hello, now_ms: u64) {
        let is_over = |generation| generation < hello.generation;
        if self
            .members
            .alive(&hello.name)
            .any(|it| is_over(it.generation))
        {
            self.members.restarted(&hello.name, hello.generation);
            self.settle_members(now_ms);
        }
        let earlier: Vec<LinkId> = self
            .outbound
            .iter()
            .filter(|it| it.hello.name == hello.name && is_over(it.hello.generation))
            .map(|it| it.link)
            .collect();
        self.hang_up(&earlier, now_ms);
    }

    /// Closes outbound links.
    pub(super) fn hang_up(&mut self, links: &[LinkId], now_ms: u64) {
        for link in links {
            self.drop_outbound(now_ms, |outbound| outbound.link == *link);
            self.actions.push(Action::Hangup(*link));
        }
    }

    /// Forgets an outbound link, whoever closed it.
    fn drop_outbound(&mut self, now_ms: u64, is_it: impl Fn(&Outbound) -> bool) {
        let Some(at) = self.outbound.iter().position(is_it) else {
            return;
        };
        let lost = self.outbound.swap_remove(at);
        if let Some(slot) = lost.slot {
            self.actions.push(Action::Unlinked { slot });
        }
        self.counters.link_down(&lost.hello.name);
        self.fail_linked(lost.dialled, now_ms);
    }

    fn refused(&mut self, address: SocketAddr, refused: Refused, now_ms: u64) -> bool {
        let is_first = match refused {
            Refused::Myself => {
                self.dialer.is_own(address);
                false
            }
            _ => self.fail(address, now_ms),
        };
        if refused.is_conflict() {
            self.conflict(address, refused, now_ms);
        }
        is_first
    }

    /// Notes that another node turned this one away, and says so if that is new.
    pub(super) fn conflict(&mut self, address: SocketAddr, refused: Refused, now_ms: u64) {
        let is_it = |it: &Conflict| it.address == address && it.refused == refused;
        let is_told = self.conflicts.iter().any(is_it);
        self.conflicts.retain(|it| it.address != address);
        self.conflicts.push(Conflict {
            address,
            refused,
            until_ms: now_ms + CONFLICT_MS,
        });
        if !is_told {
            self.actions.push(Action::Conflict { address, refused });
        }
    }

    fn fail(&mut self, address: SocketAddr, now_ms: u64) -> bool {
        let random = self.jitter();
        self.dialer.failed(address, now_ms, random)
    }

    fn fail_linked(&mut self, address: SocketAddr, now_ms: u64) {
        let random = self.jitter();
        self.dialer.lost(address, now_ms, random);
    }

    pub(super) fn is_linked(&self, name: &str) -> bool {
        self.outbound.iter().any(|it| *it.hello.name == *name)
    }
}
