//! What a client says on Socket.IO, packet by packet, whatever carries the packets. Pure.

use std::borrow::Cow;

use super::{
    ClientError,
    plan::Plan,
    text,
    watch::{Tally, Watch},
};

/// How far a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Opening,
    Joining,
    Subscribing,
    Ready,
}

/// A probe's event that has no acknowledgement.
#[derive(Clone, Copy, Debug)]
struct Asked {
    id: u64,
    /// From when on its acknowledgement is waited for.
    since: u64,
}

/// One client above its transport.
#[derive(Debug)]
pub(super) struct Session {
    /// Its place in templates and files.
    number: usize,
    /// When it first tried to connect.
    pub(super) since: u64,
    /// What it waits for.
    stage: Stage,
    /// EVENT packets that it has seen.
    pub(super) events: u64,
    /// Sum of what was made of each event, which tells sets of events apart.
    pub(super) digest: u64,
    /// By what it checks events.
    pub(super) watch: Watch,
    /// As a probe: what it waits for.
    asked: Option<Asked>,
    /// As a probe: when it got its latest acknowledgement.
    pub(super) answered: u64,
    /// As a probe: the latest acknowledgement's id; 0 is that of subscribing.
    latest_id: u64,
}

impl Session {
    pub(super) fn new(number: usize, since: u64, plan: &Plan) -> Self {
        Self {
            number,
            since,
            stage: Stage::Opening,
            events: 0,
            digest: 0,
            watch: plan.watch(number),
            asked: None,
            answered: 0,
            latest_id: 0,
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.stage == Stage::Ready
    }

    /// Whether a probe's event has no acknowledgement.
    pub(super) fn is_asking(&self) -> bool {
        self.asked.is_some()
    }

    /// The packet of a probe's event, whose acknowledgement is waited for from `since` on.
    pub(super) fn ask(&mut self, event: &str, since: u64) -> String {
        self.latest_id += 1;
        self.asked = Some(Asked {
            id: self.latest_id,
            since,
        });
        format!("42{}{event}", self.latest_id)
    }

    /// Takes one packet that was read at `now`; the packet that answers it, if any.
    pub(super) fn packet(
        &mut self,
        packet: &[u8],
        now: u64,
        plan: &Plan,
        tally: &mut Tally,
    ) -> Result<Option<Cow<'static, str>>, ClientError> {
        if let [b'4', b'2' | b'5', ..] = packet {
            self.event(packet, now, tally);
            return Ok(None);
        }
        match (self.stage, packet) {
            (_, b"2") => return Ok(Some("3".into())),
            (_, b"1" | [b'4', b'1', ..]) => return Err(ClientError::Disconnected),
            (_, b"6") => {}
            (Stage::Opening, [b'0', ..]) => {
                self.stage = Stage::Joining;
                return Ok(Some(plan.connect(self.number).into()));
            }
            (Stage::Joining, [b'4', b'0', ..]) => match plan.subscribe(self.number) {
                Some(event) => {
                    self.stage = Stage::Subscribing;
                    return Ok(Some(event.into()));
                }
                None => self.ready(now, tally),
            },
            (Stage::Joining, [b'4', b'4', error @ ..]) => {
                return Err(ClientError::Connect(text(error)));
            }
            (Stage::Subscribing, [b'4', b'3', answer @ ..]) => {
                if is_refusal(answer) {
                    return Err(ClientError::Subscribe(text(answer)));
                }
                self.ready(now, tally);
            }
            (Stage::Ready, [b'4', b'3', answer @ ..]) if self.is_asking() => {
                self.acknowledged(answer, now, tally)?;
            }
            (_, other) => return Err(ClientError::Unexpected(text(other))),
        }
        Ok(None)
    }

    fn event(&mut self, packet: &[u8], now: u64, tally: &mut Tally) {
        self.events += 1;
        tally.events += 1;
        tally.bytes += packet.len() as u64;
        self.digest = self.digest.wrapping_add(self.watch.see(packet, now, tally));
    }

    fn acknowledged(
        &mut self,
        answer: &[u8],
        now: u64,
        tally: &mut Tally,
    ) -> Result<(), ClientError> {
        let asked = self
            .asked
            .take_if(|asked| crate::scan::digits(answer) == Some(asked.id))
            .ok_or_else(|| ClientError::Unexpected(text(answer)))?;
        tally.acks.record(now.saturating_sub(asked.since));
        tally.refused_acks += u64::from(is_refusal(answer));
        self.answered = now;
        Ok(())
    }

    fn ready(&mut self, now: u64, tally: &mut Tally) {
        self.stage = Stage::Ready;
        tally.ready += 1;
        tally.ready_after.record(now.saturating_sub(self.since));
    }
}

fn is_refusal(answer: &[u8]) -> bool {
    text(answer).contains("\"ok\":false")
}
