//! A user's own list of values, such as a watchlist: read from MongoDB, and subscribed to.

use serde_json::json;

use super::{
    Channels,
    answer::{error_event, raw, refused},
    params::{Failure, naming, wanted},
    subscribe::{Outcome, user_of},
};
use crate::{
    app::handler::{Effect, SocketContext},
    config::Stored,
    event::Event,
};

/// What begins the name of the event that tells a client what it was subscribed to without having
/// asked.
const TOLD: &str = "subscribed:";

/// How a client learns what came of its list.
#[derive(Clone, Copy)]
pub(super) enum Told {
    /// By the acknowledgement that it asked for.
    Answer(u64),
    /// It asked for none: of a failure only.
    Failure,
    /// It did not ask for anything: by an event.
    Event,
}

impl Channels {
    /// Subscribes a client that has connected to the lists that are to be joined then.
    pub(super) fn join_at_connect(&self, context: &mut SocketContext<'_>) {
        let channels = self.channels.now();
        for (name, channel) in channels.iter() {
            if let Some(stored) = &channel.stored
                && stored.at_connect
                && channel.namespace == **context.socket.namespace
            {
                self.join_stored(context, name, stored, Told::Event);
            }
        }
    }

    /// Subscribes to a list once it has been read.
    pub(super) fn join_stored(
        &self,
        context: &mut SocketContext<'_>,
        name: &str,
        stored: &Stored,
        told: Told,
    ) {
        let user = user_of(context);
        let snapshots = self.snapshots.as_ref();
        let reading = snapshots.map(|snapshots| snapshots.values(stored, &user));
        let (channels, name) = (self.clone(), name.to_owned());
        context.ask(Effect::Later(Box::pin(async move {
            let read = match reading {
                Some(reading) => reading.await,
                None => Ok(Vec::new()),
            };
            vec![Effect::Decide(Box::new(move |context| {
                let outcome = read.and_then(|values| channels.join(context, &name, values, told));
                tell(context, &name, outcome, told);
            }))]
        })));
    }

    fn join(
        &self,
        context: &mut SocketContext<'_>,
        name: &str,
        values: Vec<String>,
        told: Told,
    ) -> Result<Outcome, Failure> {
        let channels = self.channels.now();
        // A reload may have taken it away meanwhile.
        let channel = channels.get(name).ok_or_else(|| {
            let message = format!("there is no channel {name:?} any more");
            Failure::new("unknown_event", message)
        })?;
        if values.is_empty() {
            let nothing = json!({ "ok": true, "joined": [], "rejected": [] });
            return Ok(Outcome::Done(nothing));
        }
        let chosen = wanted(channel, &naming(channel, values), &user_of(context))?;
        let ack = match told {
            Told::Answer(id) => Some(id),
            Told::Failure | Told::Event => None,
        };
        self.subscribe(context, channel, chosen, ack)
    }
}

fn tell(
    context: &mut SocketContext<'_>,
    name: &str,
    outcome: Result<Outcome, Failure>,
    told: Told,
) {
    let answer = match (&outcome, told) {
        (Ok(Outcome::Later), _) | (Ok(_), Told::Failure) => return,
        (Err(failure), Told::Failure) => return context.emit(error_event(failure)),
        (Ok(Outcome::Done(answer)), _) => raw(answer),
        (Err(failure), _) => refused(failure),
    };
    if let Told::Answer(id) = told {
        return context.ack(id, answer);
    }
    let event = Event {
        name: format!("{TOLD}{name}"),
        args: vec![answer],
        attachments: Vec::new(),
    };
    // As an acknowledgement would, it waits until what it tells of is so.
    context.ask(Effect::Settled {
        rooms: joined(context),
        work: Box::pin(async move { vec![Effect::Emit(event)] }),
    });
}

/// The rooms that were asked for just now.
fn joined(context: &SocketContext<'_>) -> Vec<std::sync::Arc<str>> {
    let asked = context.effects.iter().filter_map(|effect| match effect {
        Effect::Join(room) => Some(room.clone()),
        _ => None,
    });
    asked.collect()
}
