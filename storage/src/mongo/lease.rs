//! Documents that say who reads a stream of changes, and how far it has come. What they mean is
//! decided by whoever reads and writes them; here is only how.

use mongodb::bson::{Document, doc};
use mongodb::change_stream::event::ResumeToken;
use mongodb::options::{ReturnDocument, WriteConcern};
use serde::{Deserialize, Serialize};

use super::{Mongo, MongoError, primary};

/// The collection of these documents.
pub const LEASES: &str = "tidings_leases";

/// A place in a stream of changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Token(pub(super) ResumeToken);

/// Such a document.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct LeaseRow {
    /// How often the stream was taken.
    pub fence: i64,
    /// How often the document was written.
    pub beat: i64,
    /// Who took it.
    pub holder: String,
    /// Whether it was let go.
    pub free: bool,
    /// Changes that were dealt with.
    pub done: i64,
    /// How often changes were missed.
    pub lost: i64,
    /// Where to go on.
    #[serde(default)]
    pub token: Option<Token>,
}

/// What the holder writes.
#[derive(Clone, Debug)]
pub struct LeaseKeep {
    /// The condition: it was not taken since.
    pub fence: i64,
    /// Changes that were dealt with; never fewer than were written before.
    pub done: i64,
    /// How often more changes were missed.
    pub lost: i64,
    /// Whether it is let go.
    pub free: bool,
    /// Where to go on, if that is another place.
    pub token: Option<Token>,
}

impl Mongo {
    /// Reads a stream's document; makes it if there is none.
    pub async fn lease(&self, stream: &str) -> Result<LeaseRow, MongoError> {
        self.run_first("look who reads a stream", |database| async move {
            let rows = database.collection::<LeaseRow>(LEASES);
            let find = || {
                let find = rows.find_one(doc! { "_id": stream });
                find.selection_criteria(primary())
            };
            if let Some(row) = find().await? {
                return Ok(row);
            }
            let new = doc! {
                "fence": 0_i64, "beat": 0_i64, "holder": "", "free": true, "done": 0_i64, "lost": 0_i64,
            };
            let made = rows
                .find_one_and_update(doc! { "_id": stream }, doc! { "$setOnInsert": new })
                .upsert(true)
                .return_document(ReturnDocument::After)
                .write_concern(WriteConcern::majority());
            made.await?
                .ok_or_else(|| mongodb::error::Error::custom("an upsert gave no document"))
        })
        .await
    }

    /// Takes a stream if its document has this fence and beat; nothing if it has not.
    pub async fn claim_lease(
        &self,
        stream: &str,
        (fence, beat): (i64, i64),
        holder: &str,
    ) -> Result<Option<LeaseRow>, MongoError> {
        self.run_first("take a stream", |database| async move {
            let rows = database.collection::<LeaseRow>(LEASES);
            let was = doc! { "_id": stream, "fence": fence, "beat": beat };
            let taken = doc! {
                "$inc": { "fence": 1_i64, "beat": 1_i64 },
                "$set": { "holder": holder, "free": false },
                "$currentDate": { "takenAt": true },
            };
            rows.find_one_and_update(was, taken)
                .return_document(ReturnDocument::After)
                .write_concern(WriteConcern::majority())
                .await
        })
        .await
    }

    /// Writes a stream's document, if it was not taken since; false if it was.
    pub async fn keep_lease(&self, stream: &str, keep: LeaseKeep) -> Result<bool, MongoError> {
        self.run_first("keep a stream", |database| async move {
            let rows = database.collection::<Document>(LEASES);
            let own = doc! { "_id": stream, "fence": keep.fence, "done": { "$lte": keep.done } };
            let mut set = doc! { "done": keep.done, "free": keep.free };
            if let Some(token) = &keep.token {
                set.insert("token", mongodb::bson::serialize_to_bson(token)?);
            }
            let mut now = doc! { "at": true };
            if keep.lost > 0 {
                now.insert("lostAt", true);
            }
            let change = doc! {
                "$inc": { "beat": 1_i64, "lost": keep.lost },
                "$set": set,
                "$currentDate": now,
            };
            let written = rows
                .update_one(own, change)
                .write_concern(WriteConcern::majority());
            Ok(written.await?.matched_count == 1)
        })
        .await
    }
}
