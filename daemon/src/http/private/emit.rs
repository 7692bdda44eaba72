//! Emits: one, or a batch of them.

use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesOrdered};
use serde::Serialize;
use serde_json::{Value, json, value::RawValue};
use tokio::time::Instant;

use super::{
    Api,
    answer::Answer,
    command::Command,
    fields,
    refusal::Refusal,
    repeats::{Claim, Ticket, Waiter},
};
use crate::{
    app::handler::BoxFuture,
    hub::{Accepted, Responses, begin::Begun},
    relay::AskedAll,
};

/// Emits in one batch.
const MAX_BATCH: usize = 1000;

/// What an emit comes to.
pub(super) type Outcome = Result<Answer, Refusal>;

/// An emit that was taken in and waits for its answer.
enum Sent {
    Begun(Begun),
    Asked(AskedAll),
}

/// How far an emit has come.
enum Stage {
    /// To its end.
    Known(Outcome),
    /// It waits for its answer.
    Sent(Sent, Option<Ticket>),
    /// It waits for that of another with its idempotency key.
    Second(Box<Command>, Waiter),
}

/// The answer to an emit that asked for no acknowledgements.
#[derive(Serialize)]
struct Taken {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    copies: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kept: Option<bool>,
}

/// The answer to an emit that asked for acknowledgements.
#[derive(Serialize)]
struct Acknowledged<'a> {
    responses: Vec<Value>,
    missing: Vec<Arc<str>>,
    /// Nodes that did not tell their clients' answers.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    unreachable: &'a [Arc<str>],
}

/// One emit.
pub(super) async fn one(api: &Arc<Api>, body: &[u8]) -> Outcome {
    begin(api, body).await.await
}

/// A list of emits, in its order. One that fails does not stop the others.
pub(super) async fn batch(api: &Arc<Api>, body: &[u8]) -> Outcome {
    let text = fields::text(body)?;
    let items: Vec<&RawValue> = match serde_json::from_str(text) {
        Ok(items) => items,
        Err(error) if error.is_data() => {
            return Err(Refusal::params("the body must be a list of emits"));
        }
        Err(error) => return Err(fields::not_json(&error)),
    };
    if items.len() > MAX_BATCH {
        let len = items.len();
        let message = format!("the list has {len} emits; it may have {MAX_BATCH}");
        return Err(Refusal::params(message));
    }
    let mut waiting = FuturesOrdered::new();
    for item in items {
        waiting.push_back(begin(api, item.get().as_bytes()).await);
    }
    let mut results = Vec::with_capacity(waiting.len());
    while let Some(outcome) = waiting.next().await {
        results.push(line(outcome));
    }
    let mut body = br#"{"results":["#.to_vec();
    body.extend(results.join(&b","[..]));
    body.extend(b"]}");
    Ok(Answer::new(hyper::StatusCode::ACCEPTED, body))
}

/// An outcome as one JSON value among others.
pub(super) fn line(outcome: Outcome) -> Bytes {
    match outcome {
        Ok(answer) => answer.body,
        Err(refusal) => refusal.value().to_string().into(),
    }
}

/// Takes an emit in: emits begun later come after it in each of its rooms. The future gives the
/// answer; if it is dropped, the emit still takes place.
pub(super) async fn begin(api: &Arc<Api>, body: &[u8]) -> BoxFuture<Outcome> {
    let stage = match Command::parse(body) {
        Ok(command) => start(api, command).await,
        Err(refusal) => Stage::Known(Err(refusal)),
    };
    Box::pin(outcome(api.clone(), stage))
}

/// Emits what was read already.
pub(super) async fn perform(api: &Arc<Api>, command: Command) -> Outcome {
    let stage = start(api, command).await;
    outcome(api.clone(), stage).await
}

async fn start(api: &Api, command: Command) -> Stage {
    let ticket = match claim(api, &command) {
        None => None,
        Some(Claim::First(ticket)) => Some(ticket),
        Some(Claim::Answered(answer)) => return Stage::Known(Ok(answer)),
        Some(Claim::Wait(first)) => return Stage::Second(Box::new(command), first),
    };
    match send(api, command).await {
        Ok(sent) => Stage::Sent(sent, ticket),
        Err(refusal) => Stage::Known(Err(refusal)),
    }
}

async fn outcome(api: Arc<Api>, stage: Stage) -> Outcome {
    let outcome = match stage {
        Stage::Known(outcome) => outcome,
        Stage::Sent(sent, ticket) => finish(sent, ticket).await,
        Stage::Second(command, first) => second(&api, *command, first).await,
    };
    api.counts.emit(&outcome);
    outcome
}

/// A repeat that came while the first was under way; if that fails, this one takes its place.
async fn second(api: &Api, command: Command, mut first: Waiter) -> Outcome {
    loop {
        if let Some(answer) = first.wait().await {
            return Ok(answer);
        }
        match claim(api, &command) {
            Some(Claim::Answered(answer)) => return Ok(answer),
            Some(Claim::Wait(other)) => first = other,
            Some(Claim::First(ticket)) => {
                return finish(send(api, command).await?, Some(ticket)).await;
            }
            None => return finish(send(api, command).await?, None).await,
        }
    }
}

fn claim(api: &Api, command: &Command) -> Option<Claim> {
    let id = command.request.id.as_deref()?;
    Some(api.repeats.claim(id, Instant::now()))
}

async fn send(api: &Api, command: Command) -> Result<Sent, Refusal> {
    let node = &*api.node;
    Ok(match command.ack {
        None => Sent::Begun(node.hub().begin(node, command.request).await?),
        Some(timeout) => Sent::Asked(node.relay().ask(node, command.request, timeout).await?),
    })
}

async fn finish(sent: Sent, ticket: Option<Ticket>) -> Outcome {
    let answer = match sent {
        Sent::Begun(begun) => taken(begun.kept().await?),
        Sent::Asked(asked) => {
            let (responses, silent) = asked.answered().await;
            acknowledged(responses, &silent)
        }
    };
    if let Some(ticket) = ticket {
        ticket.settle(answer.clone(), Instant::now());
    }
    Ok(answer)
}

fn taken(accepted: Accepted) -> Answer {
    let Accepted { id, history } = accepted;
    let offset = history.and_then(|kept| kept.offset);
    Answer::accepted(&Taken {
        id,
        offset: offset.map(|offset| offset.encode()),
        copies: history.map(|kept| kept.copies),
        kept: history.map(|kept| kept.kept),
    })
}

fn acknowledged(responses: Responses, silent: &[Arc<str>]) -> Answer {
    let Responses { responses, missing } = responses;
    let responses = responses
        .iter()
        .map(|(_, args, attachments)| argument(args, attachments))
        .collect();
    Answer::ok(&Acknowledged {
        responses,
        missing,
        unreachable: silent,
    })
}

/// The argument of an acknowledgement: the first, as `emitWithAck` gives it, or null.
fn argument(args: &str, attachments: &[Bytes]) -> Value {
    let args: Vec<Value> = serde_json::from_str(args).unwrap_or_default();
    let mut first = args.into_iter().next().unwrap_or_default();
    if !attachments.is_empty() {
        fill_in(&mut first, attachments);
    }
    first
}

/// Puts `{"base64": …}` in the place of binary values, which JSON cannot carry.
pub(super) fn fill_in(value: &mut Value, attachments: &[Bytes]) {
    if value["_placeholder"] == true {
        let index = value["num"]
            .as_u64()
            .and_then(|index| usize::try_from(index).ok());
        let bytes = index.and_then(|index| attachments.get(index));
        *value = json!({ "base64": BASE64_STANDARD.encode(bytes.map_or(&[][..], |bytes| bytes)) });
        return;
    }
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| fill_in(item, attachments)),
        Value::Object(fields) => {
            fields
                .values_mut()
                .for_each(|field| fill_in(field, attachments));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_argument_of_an_acknowledgement_counts() {
        assert_eq!(argument("[]", &[]), json!(null));
        assert_eq!(argument(r#"[{"a":1},2]"#, &[]), json!({"a": 1}));
        let args = r#"[[{"_placeholder":true,"num":1},{"a":{"_placeholder":true,"num":0}},"x"]]"#;
        let attachments = [Bytes::from_static(b"zero"), Bytes::from_static(b"one")];
        let expected = json!([{"base64": "b25l"}, {"a": {"base64": "emVybw=="}}, "x"]);
        assert_eq!(argument(args, &attachments), expected);
    }
}
