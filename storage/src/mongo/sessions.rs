//! The collection of an application's sessions: one read, many read, changes as they come.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::TryStreamExt;
use mongodb::bson::raw::RawDocumentBuf;
use mongodb::bson::{Bson, Document, doc};
use mongodb::change_stream::ChangeStream;
use mongodb::change_stream::event::{
    ChangeStreamEvent, OperationType, ResumeToken, UpdateDescription,
};

use super::session::{Malformed, SessionFormat, StoredSession};
use super::{Mongo, MongoError, primary};

/// What reading one session is called in health.
const READ: &str = "read a session";

/// How long the server keeps a question for changes open while there are none.
const AWAIT: Duration = Duration::from_secs(1);

/// The server cannot tell of changes: it is no replica set.
const NO_REPLICA_SET: i32 = 40573;

/// The place to go on from is not known any more, is no place, or the change after it is larger than
/// MongoDB can tell.
const LOST: [i32; 5] = [260, 280, 286, 10334, 50811];

/// Why a session was not read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// MongoDB did not answer as it should.
    #[error(transparent)]
    Mongo(#[from] MongoError),
    /// The session's document is not one that is understood.
    #[error("a session's document cannot be read: {0}")]
    Malformed(#[from] Malformed),
}

/// Why changes cannot be told.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WatchError {
    /// The server has no change streams, or the user no right to one. Trying again soon is useless.
    #[error("{0}")]
    Unsupported(String),
    /// What changed since the place to go on from is not known any more.
    #[error("what changed meanwhile is not known any more")]
    Lost,
    /// MongoDB is in trouble; worth trying again.
    #[error(transparent)]
    Mongo(MongoError),
}

/// What happened to sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionChange {
    /// The document with this `_id` was deleted.
    Gone(String),
    /// Only its end was moved, to these unix milliseconds.
    Ends(String, u64),
    /// Something else of it changed.
    Changed(String),
    /// The collection was dropped or renamed: all are gone.
    AllGone,
}

/// An application's sessions; a cheap handle.
#[derive(Clone)]
pub struct MongoSessions {
    mongo: Mongo,
    collection: String,
    format: SessionFormat,
}

impl MongoSessions {
    /// The sessions in this collection.
    pub fn new(mongo: Mongo, collection: impl Into<String>, format: SessionFormat) -> Self {
        Self {
            mongo,
            collection: collection.into(),
            format,
        }
    }

    /// How they are stored.
    pub fn format(&self) -> &SessionFormat {
        &self.format
    }

    /// The MongoDB that they are in.
    pub fn mongo(&self) -> &Mongo {
        &self.mongo
    }

    /// The session whose document has this `_id`: one read by the index that every collection has.
    pub async fn one(&self, id: &str) -> Result<Option<StoredSession>, ReadError> {
        let (collection, id) = (self.collection.clone(), id.to_owned());
        let found = self.mongo.run(READ, |database| async move {
            let sessions = database.collection::<RawDocumentBuf>(&collection);
            let find = sessions.find_one(doc! { "_id": id });
            find.selection_criteria(primary()).await
        });
        let Some(document) = found.await? else {
            return Ok(None);
        };
        let read = self.read(document).await;
        if let Err(malformed) = &read {
            // Not of MongoDB, but whoever looks after it is who can help.
            self.mongo.trouble("sessions", &malformed.to_string());
        } else {
            self.mongo.works("sessions");
        }
        Ok(Some(read?))
    }

    async fn read(&self, document: RawDocumentBuf) -> Result<StoredSession, Malformed> {
        if !self.format.is_slow() {
            return self.format.read(&document);
        }
        let format = self.format.clone();
        let read = tokio::task::spawn_blocking(move || format.read(&document)).await;
        // It does not panic, and is not aborted but with the whole program.
        read.unwrap_or(Err(Malformed::Cipher))
    }

    /// The documents with these `_id`s, those that there are.
    pub async fn many(
        &self,
        ids: Vec<String>,
    ) -> Result<HashMap<String, RawDocumentBuf>, MongoError> {
        let collection = self.collection.clone();
        let read = self.mongo.run("look at sessions", |database| async move {
            let sessions = database.collection::<RawDocumentBuf>(&collection);
            let find = sessions.find(doc! { "_id": { "$in": ids } });
            let found = find.selection_criteria(primary()).await?;
            found.try_collect::<Vec<_>>().await
        });
        let named = read.await?.into_iter().filter_map(|document| {
            let id = document.get_str("_id").ok()?.to_owned();
            Some((id, document))
        });
        Ok(named.collect())
    }

    /// What changes from now on, or from the place that a stream before it came to.
    pub async fn watch(&self, after: Option<ResumeToken>) -> Result<SessionStream, WatchError> {
        let patience = self.mongo.timeout();
        let open = async {
            let database = self.mongo.database().await?;
            let sessions = database.collection::<Document>(&self.collection);
            // Whole documents are not asked for: most changes are of nobody who is here.
            let fields = doc! { "$project": { "fullDocument": 0 } };
            let watch = sessions
                .watch()
                .pipeline([fields])
                .max_await_time(AWAIT)
                .selection_criteria(primary());
            let opened = match after.clone() {
                Some(token) => watch.resume_after(token).await,
                None => watch.await,
            };
            Ok::<_, MongoError>(opened?)
        };
        let opened = tokio::time::timeout(patience, open).await;
        match opened.unwrap_or(Err(MongoError::Deadline(patience))) {
            Ok(stream) => Ok(SessionStream {
                token: stream.resume_token().or(after),
                stream,
                patience: AWAIT + patience,
            }),
            Err(error) => Err(WatchError::from(error)),
        }
    }
}

impl From<MongoError> for WatchError {
    fn from(error: MongoError) -> Self {
        match error.code() {
            Some(NO_REPLICA_SET) => Self::Unsupported(
                "this MongoDB is no replica set, so it has no change streams".into(),
            ),
            Some(code) if LOST.contains(&code) => Self::Lost,
            _ if matches!(error, MongoError::Refused(_)) => Self::Unsupported(error.to_string()),
            _ => Self::Mongo(error),
        }
    }
}

/// Changes as they come.
pub struct SessionStream {
    stream: ChangeStream<ChangeStreamEvent<Document>>,
    token: Option<ResumeToken>,
    patience: Duration,
}

impl SessionStream {
    /// The next change; nothing if there was none for a second. After an error, a new stream goes on
    /// from [`SessionStream::token`]. Not cancel-safe.
    pub async fn next(&mut self) -> Result<Option<SessionChange>, WatchError> {
        let next = tokio::time::timeout(self.patience, self.stream.next_if_any());
        let event = match next.await {
            Ok(event) => event.map_err(|error| WatchError::from(MongoError::from(error)))?,
            Err(_) => return Err(WatchError::Mongo(MongoError::Deadline(self.patience))),
        };
        self.token = self.stream.resume_token().or(self.token.take());
        let Some(event) = event else {
            // A stream whose collection is gone ends; a new one would not go on from there.
            return match self.stream.is_alive() {
                true => Ok(None),
                false => Err(WatchError::Lost),
            };
        };
        Ok(change(event))
    }

    /// The place that it has come to.
    pub fn token(&self) -> Option<ResumeToken> {
        self.token.clone()
    }
}

/// What an event says; nothing if it does not matter.
fn change(event: ChangeStreamEvent<Document>) -> Option<SessionChange> {
    use OperationType::{Delete, Drop, DropDatabase, Insert, Invalidate, Rename, Replace, Update};
    let key = event.document_key.as_ref().and_then(|key| key.get("_id"));
    let id = key.and_then(Bson::as_str).map(str::to_owned);
    match event.operation_type {
        Delete => id.map(SessionChange::Gone),
        Insert | Replace => id.map(SessionChange::Changed),
        Update => {
            let update = event.update_description;
            let moved = update.and_then(|update| only_the_end(&update));
            id.map(|id| match moved {
                Some(expires_ms) => SessionChange::Ends(id, expires_ms),
                None => SessionChange::Changed(id),
            })
        }
        Drop | DropDatabase | Rename | Invalidate => Some(SessionChange::AllGone),
        _ => None,
    }
}

/// The new end, if an update changed nothing else that matters: what `touch` of connect-mongo does.
fn only_the_end(update: &UpdateDescription) -> Option<u64> {
    let truncated = update.truncated_arrays.as_deref().unwrap_or_default();
    if !update.removed_fields.is_empty() || !truncated.is_empty() {
        return None;
    }
    let fields = &update.updated_fields;
    let is_stamp = |name: &str| ["expires", "lastModified", "updatedAt"].contains(&name);
    if !fields.keys().all(|name| is_stamp(name)) {
        return None;
    }
    let expires = fields.get_datetime("expires").ok()?;
    Some(expires.timestamp_millis().max(0).unsigned_abs())
}

#[cfg(test)]
mod tests {
    use mongodb::bson::DateTime;

    use super::*;

    fn update(document: Document) -> UpdateDescription {
        mongodb::bson::deserialize_from_document(document).unwrap()
    }

    #[test]
    fn a_touch_is_told_from_a_change() {
        let at = DateTime::from_millis(5);
        for (fields, expected) in [
            (doc! { "expires": at }, Some(5)),
            (
                doc! { "expires": at, "lastModified": at, "updatedAt": at },
                Some(5),
            ),
            (doc! { "expires": at, "session": true }, None),
            (doc! { "expires": at, "session.userId": true }, None),
            (doc! { "lastModified": at }, None),
            (doc! {}, None),
        ] {
            let update = update(doc! { "updatedFields": fields, "removedFields": [] });
            assert_eq!(only_the_end(&update), expected, "{update:?}");
        }
        for also in [
            doc! { "updatedFields": { "expires": at }, "removedFields": ["session.userId"] },
            doc! {
                "updatedFields": { "expires": at }, "removedFields": [],
                "truncatedArrays": [{ "field": "session.roles", "newSize": 1 }],
            },
        ] {
            assert_eq!(only_the_end(&update(also)), None);
        }
    }
}
