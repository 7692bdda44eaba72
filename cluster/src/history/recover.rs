//! A client's way back: joins all rooms of its record, then reads what it missed of each slot.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::sync::oneshot;

use super::input::Input;
use super::rooms::Listening;
use super::{History, Refused};
use crate::proto::slots::{
    Answer, Cursor, Entry, Position, Presented, Record, Recovery, Room, SlotNo, Step,
};

/// How often a way back is begun anew after a feed was cut meanwhile.
const TRIES: usize = 3;

/// How a client's way back ended.
#[derive(Debug)]
pub enum Way {
    /// Send CONNECT with the same pid, then the missed entries, then what was held and is new.
    Recovered(Box<Recovered>),
    /// It cannot be proved what was missed: a new pid.
    Refused,
    /// Nobody answered: the client is to come again.
    Failed,
}

/// What a client missed, and what its socket goes on from.
#[derive(Debug)]
pub struct Recovered {
    /// What was missed, in the order of each slot.
    pub entries: Vec<Arc<Entry>>,
    /// What the socket's cursor says before the first of them.
    pub before: Cursor,
    /// What it says after the last.
    pub after: Cursor,
    /// By room: live entries up to here are among them, or were seen before.
    pub seen: BTreeMap<Room, Position>,
    /// What the record's rooms are from now on: to be put with it.
    pub rooms: BTreeMap<Room, (SlotNo, Position)>,
    /// The rooms, which are fed as long as these are kept. Once the socket is live,
    /// [`Listening::is_cut`] must be looked at: a cut may have been told before.
    pub guards: Vec<Listening>,
}

impl History {
    /// Runs a client's way back to its end. The socket must be a member of all rooms of its record
    /// before, and hold what is delivered to them.
    pub async fn recover(&self, record: &Record, presented: Presented<'_>) -> Way {
        for _ in 0..TRIES {
            let Some(recovery) = Recovery::new(record, presented) else {
                return Way::Refused;
            };
            match self.go_back(recovery).await {
                Ok(Some(way)) => return way,
                Ok(None) => {}
                Err(_) => return Way::Failed,
            }
        }
        Way::Failed
    }

    /// None if a feed was cut meanwhile.
    async fn go_back(&self, mut recovery: Recovery) -> Result<Option<Way>, Refused> {
        let mut joining = Vec::new();
        for (slot, room) in recovery.rooms() {
            joining.push((slot, room.clone(), self.listen(room)));
        }
        let (mut guards, mut fed) = (Vec::new(), HashMap::<SlotNo, usize>::new());
        let mut step = recovery.end();
        for (slot, room, joined) in joining {
            let guard = joined.answered().await?;
            fed.insert(slot, guards.len());
            guards.push(guard);
            step = recovery.joined(slot, &room);
            while let Step::Read(slot) = step {
                let Some(upto) = self.fed(&guards[fed[&slot]]).await? else {
                    return Ok(None);
                };
                let answer = self.ask(slot, recovery.request(slot, upto)).await?;
                step = recovery.read(slot, answer);
            }
            if matches!(step, Step::Refused | Step::Failed) {
                break;
            }
        }
        if guards.iter().any(Listening::is_cut) {
            return Ok(None);
        }
        Ok(Some(match step {
            Step::Recovered {
                entries,
                before,
                after,
                seen,
                rooms,
            } => Way::Recovered(Box::new(Recovered {
                entries,
                before,
                after,
                seen,
                rooms,
                guards,
            })),
            Step::Refused => Way::Refused,
            _ => Way::Failed,
        }))
    }

    /// Up to where a room has been delivered; none if it was cut.
    async fn fed(&self, guard: &Listening) -> Result<Option<Position>, Refused> {
        let (answer, answered) = oneshot::channel();
        self.send(Input::Fed {
            slot: guard.slot(),
            room: guard.room().clone(),
            feed: guard.feed(),
            answer,
        })?;
        answered.await.map_err(|_| Refused::Closed)
    }
}

/// What an answer means to whoever asked for something else.
pub(super) fn refusal(answer: &Answer) -> Refused {
    match answer {
        Answer::Lost => Refused::Lost,
        Answer::Invalid => Refused::Invalid,
        _ => Refused::Unavailable,
    }
}
