//! What a subscription is answered with: documents of the application's MongoDB, as they are once
//! the rooms are joined.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::value::RawValue;
use tidings_storage::mongo::{Find, FindError, FindValue, Mongo, MongoError};

use super::params::{Failure, Wanted};
use crate::config::{Channel, Condition, Snapshot, Stored, Term, USER_VARIABLE};

/// What health calls the reading of a snapshot.
const READING: &str = "read a snapshot";

/// What health calls the reading of a user's own list.
const READING_LIST: &str = "read a list of subscriptions";

/// What MongoDB answers who lacks a right.
const UNAUTHORISED: i32 = 13;

/// Documents of such lists that one user may have, and bytes that they may take.
const LISTS: u32 = 100;
const LIST_BYTES: usize = 256 << 10;

/// Reads of one subscription at once.
const AT_ONCE: usize = 8;

/// Where snapshots come from; a cheap handle.
#[derive(Clone)]
pub struct Snapshots {
    mongo: Mongo,
    /// Bytes of all snapshots in one answer.
    max_bytes: usize,
    /// Collections of which it was said that they may not be read.
    refused: Arc<Mutex<HashSet<String>>>,
}

/// The reads that one subscription takes.
pub(super) struct Reads {
    snapshots: Snapshots,
    /// What the client called each subscription, and what is to be read for it.
    finds: Vec<(String, Find)>,
    single: bool,
    /// Whether the subscriptions have names: then each has a snapshot of its own.
    named: bool,
}

/// The member of the answer that has the snapshot, and its value.
pub(super) type Taken = (&'static str, Box<RawValue>);

impl Snapshots {
    /// Snapshots from a database, for clients of which as many bytes as `outbox` may wait.
    pub fn new(mongo: Mongo, outbox: usize) -> Self {
        // Behind the answer come the events that were held back for it.
        let max_bytes = outbox / 2;
        Self {
            mongo,
            max_bytes,
            refused: Arc::default(),
        }
    }

    /// Says why a collection was not read: loudly, once, if whoever looks after it must do something.
    fn unread(&self, collection: &str, error: &MongoError) {
        let is_new = error.code() == Some(UNAUTHORISED) && {
            let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            refused.insert(collection.to_owned())
        };
        match is_new {
            true => tracing::warn!(
                collection,
                %error,
                "the user in mongodb.uri may not read this collection: it needs the right to find"
            ),
            false => tracing::debug!(collection, %error, "not read"),
        }
    }

    /// The values in a user's own list. Does not need what it is called on any more.
    pub(super) fn values(
        &self,
        stored: &Stored,
        user: &str,
    ) -> impl Future<Output = Result<Vec<String>, Failure>> + Send + use<> {
        let (snapshots, field) = (self.clone(), stored.field.clone());
        let find = Find {
            collection: stored.collection.clone(),
            filter: filter(&stored.filter, user, &BTreeMap::new()),
            fields: vec![stored.field.clone()],
            sort: vec![("_id".to_owned(), false)],
            limit: LISTS,
            max_bytes: LIST_BYTES,
        };
        async move {
            let read = snapshots.mongo.texts(READING_LIST, &find, &field).await;
            read.map_err(|error| match error {
                FindError::Mongo(error) => {
                    snapshots.unread(&find.collection, &error);
                    Failure::new("unavailable", "the list cannot be read now; try again")
                }
                FindError::TooLarge(_) => Failure::new("too_large", "the list is too large"),
            })
        }
    }

    /// What is to be read for subscriptions to a channel; nothing if it has no snapshot.
    pub(super) fn reads(&self, channel: &Channel, user: &str, wanted: &[Wanted]) -> Option<Reads> {
        let snapshot = channel.snapshot.as_ref()?;
        let finds = wanted.iter().map(|wanted| {
            let find = find(snapshot, user, &wanted.choice, self.max_bytes);
            (wanted.value.clone(), find)
        });
        Some(Reads {
            snapshots: self.clone(),
            finds: finds.collect(),
            single: snapshot.single,
            named: !channel.params.is_empty(),
        })
    }
}

impl Reads {
    /// Leaves out the subscriptions that were not granted.
    pub(super) fn only(&mut self, granted: &[String]) {
        self.finds.retain(|(value, _)| granted.contains(value));
    }

    /// Reads all of it, or says why the subscription cannot be.
    pub(super) async fn take(self) -> Result<Taken, Failure> {
        let Self {
            snapshots,
            finds,
            single,
            named,
        } = self;
        let max_bytes = snapshots.max_bytes;
        let mongo = &snapshots.mongo;
        let read = async |(value, find): (String, Find)| {
            let documents = mongo.find(READING, &find).await;
            let documents = documents.map_err(|error| failure(&snapshots, &find, &error))?;
            Ok::<_, Failure>((value, form(documents, single)))
        };
        let all = stream::iter(finds)
            .map(read)
            .buffered(AT_ONCE)
            .try_collect::<Vec<_>>();
        // Each read has its deadline; this is for many of them.
        let deadline: Duration = mongo.timeout() * 2;
        let all = tokio::time::timeout(deadline, all)
            .await
            .map_err(|_| unavailable())??;
        if all.iter().map(|(_, text)| text.len()).sum::<usize>() > max_bytes {
            return Err(too_large());
        }
        Ok(match named {
            true => ("snapshots", object(&all)),
            false => {
                let text = all.into_iter().next().map(|(_, text)| text);
                ("snapshot", raw(text.unwrap_or_else(|| "null".to_owned())))
            }
        })
    }
}

fn find(
    snapshot: &Snapshot,
    user: &str,
    choice: &BTreeMap<String, String>,
    max_bytes: usize,
) -> Find {
    let sort = snapshot.sort.iter();
    Find {
        collection: snapshot.collection.clone(),
        filter: filter(&snapshot.filter, user, choice),
        fields: snapshot.fields.clone(),
        sort: sort
            .map(|order| (order.field.clone(), order.descends))
            .collect(),
        limit: match snapshot.single {
            true => 1,
            false => u32::try_from(snapshot.limit).unwrap_or(u32::MAX),
        },
        max_bytes,
    }
}

/// Conditions with the values that their variables stand for.
fn filter(
    conditions: &[Condition],
    user: &str,
    choice: &BTreeMap<String, String>,
) -> Vec<(String, FindValue)> {
    let value = |variable: &str| match variable {
        USER_VARIABLE => user.to_owned(),
        _ => choice.get(variable).cloned().unwrap_or_default(),
    };
    let filled = conditions.iter().map(|condition| {
        let wanted = match &condition.value {
            Term::Text(template) => FindValue::Text(template.expand(value)),
            Term::ObjectId(template) => FindValue::ObjectId(template.expand(value)),
            Term::Int(number) => FindValue::Int(*number),
            Term::Bool(truth) => FindValue::Bool(*truth),
        };
        (condition.field.clone(), wanted)
    });
    filled.collect()
}

/// Documents as the client gets them.
fn form(documents: Vec<String>, single: bool) -> String {
    match single {
        true => documents.into_iter().next().unwrap_or("null".to_owned()),
        false => format!("[{}]", documents.join(",")),
    }
}

fn object(all: &[(String, String)]) -> Box<RawValue> {
    let name = |name: &str| serde_json::to_string(name).expect("texts are JSON");
    let members: Vec<_> = all
        .iter()
        .map(|(value, text)| format!("{}:{text}", name(value)))
        .collect();
    raw(format!("{{{}}}", members.join(",")))
}

fn raw(text: String) -> Box<RawValue> {
    RawValue::from_string(text).expect("it is put together from JSON")
}

fn failure(snapshots: &Snapshots, find: &Find, error: &FindError) -> Failure {
    match error {
        FindError::Mongo(error) => {
            snapshots.unread(&find.collection, error);
            unavailable()
        }
        FindError::TooLarge(_) => {
            tracing::error!(
                collection = find.collection,
                bytes = find.max_bytes,
                "a snapshot is larger than half of limits.outbox; its channel needs a lower \
                 snapshot.limit, or fewer snapshot.fields"
            );
            too_large()
        }
    }
}

fn unavailable() -> Failure {
    Failure::new("unavailable", "the snapshot cannot be read now; try again")
}

fn too_large() -> Failure {
    Failure::new("too_large", "the snapshot is too large to be sent")
}
