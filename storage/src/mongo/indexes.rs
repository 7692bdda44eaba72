//! Indexes of an application's collections, and the version up to which they were seen to.

use std::time::Duration;

use futures_util::TryStreamExt;
use mongodb::IndexModel;
use mongodb::bson::{Bson, Document, doc};
use mongodb::options::{Acknowledgment, WriteConcern};

use super::{Mongo, MongoError};

/// The collection that says what was done.
pub const MIGRATIONS: &str = "tidings_migrations";

/// How long an index of a large collection may take.
const BUILDING: Duration = Duration::from_secs(60 * 60);

/// There is no such collection.
const NO_COLLECTION: i32 = 26;

/// An index as it is, or as it is wished for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// Its fields in order, each with whether it descends.
    pub keys: Vec<(String, bool)>,
    /// What it is called; empty for a wish.
    pub name: String,
    /// It lets documents expire.
    pub expires: bool,
    /// It has not all documents.
    pub is_partial: bool,
}

impl Index {
    /// An index that is wished for.
    pub fn wish(keys: Vec<(String, bool)>) -> Self {
        Self {
            keys,
            name: String::new(),
            expires: false,
            is_partial: false,
        }
    }

    /// Whether this index does what a wish is for, whose first `equal` fields are compared and whose
    /// others sort: those may all be turned round.
    pub fn serves(&self, wish: &Index, equal: usize) -> bool {
        let Some(mine) = self.keys.get(..wish.keys.len()) else {
            return false;
        };
        let pairs = || mine.iter().zip(&wish.keys);
        let turned = |same: bool| {
            let mut sorting = pairs().skip(equal);
            sorting.all(|(mine, wish)| (mine.1 == wish.1) == same)
        };
        !self.is_partial
            && pairs().all(|(mine, wish)| mine.0 == wish.0)
            && (turned(true) || turned(false))
    }

    fn read(model: IndexModel) -> Self {
        let descends = |order: &Bson| {
            let number = order.as_i32().map(f64::from).or(order.as_f64());
            number
                .or(order.as_i64().map(|n| n as f64))
                .is_some_and(|n| n < 0.0)
        };
        let keys = model.keys.iter();
        let options = model.options.unwrap_or_default();
        Self {
            keys: keys
                .map(|(field, order)| (field.clone(), descends(order)))
                .collect(),
            name: options.name.unwrap_or_default(),
            expires: options.expire_after.is_some(),
            is_partial: options.partial_filter_expression.is_some()
                || options.sparse == Some(true)
                || options.hidden == Some(true),
        }
    }
}

impl Mongo {
    /// The indexes of a collection; none if it is not there.
    pub async fn indexes(&self, collection: &str) -> Result<Vec<Index>, MongoError> {
        let listed = self.run("list indexes", |database| async move {
            let collection = database.collection::<Document>(collection);
            let models = collection.list_indexes().await?;
            models.try_collect::<Vec<_>>().await
        });
        match listed.await {
            Ok(models) => Ok(models.into_iter().map(Index::read).collect()),
            Err(error) if error.code() == Some(NO_COLLECTION) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Makes an index, and the collection if need be. Waits as long as it takes, within an hour.
    pub async fn make_index(&self, collection: &str, wish: &Index) -> Result<(), MongoError> {
        let order = |descends: bool| if descends { -1 } else { 1 };
        let keys = wish.keys.iter();
        let keys: Document = keys
            .map(|(field, descends)| (field.clone(), Bson::Int32(order(*descends))))
            .collect();
        let model = IndexModel::builder().keys(keys).build();
        let database = self.database().await?;
        let making = async {
            let collection = database.collection::<Document>(collection);
            let made = collection.create_index(model).write_concern(majority());
            Ok(made.await.map(drop)?)
        };
        let made = tokio::time::timeout(BUILDING, making).await;
        made.unwrap_or(Err(MongoError::Deadline(BUILDING)))
    }

    /// The version up to which a database was seen to; 0 if it never was.
    pub async fn migrated(&self) -> Result<i64, MongoError> {
        self.run("read what was migrated", |database| async move {
            let rows = database.collection::<Document>(MIGRATIONS);
            let row = rows.find_one(doc! { "_id": "schema" }).await?;
            Ok(row.map_or(0, |row| row.get_i64("version").unwrap_or(0)))
        })
        .await
    }

    /// Writes that version down.
    pub async fn set_migrated(&self, version: i64, by: &str) -> Result<(), MongoError> {
        self.run("write what was migrated", |database| async move {
            let rows = database.collection::<Document>(MIGRATIONS);
            let change = doc! {
                "$max": { "version": version }, "$set": { "by": by }, "$currentDate": { "at": true },
            };
            let written = rows
                .update_one(doc! { "_id": "schema" }, change)
                .upsert(true)
                .write_concern(majority());
            written.await.map(drop)
        })
        .await
    }
}

fn majority() -> WriteConcern {
    WriteConcern::builder().w(Acknowledgment::Majority).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(keys: &[&str]) -> Index {
        let key = |key: &&str| {
            let field = key.trim_start_matches('-');
            (field.to_owned(), field != *key)
        };
        Index::wish(keys.iter().map(key).collect())
    }

    #[test]
    fn an_index_serves_what_is_its_beginning_also_read_backwards() {
        let wish = index(&["userId", "-at"]);
        for (keys, serves) in [
            (vec!["userId", "-at"], true),
            (vec!["userId", "at"], true),
            (vec!["-userId", "at", "x"], true),
            (vec!["userId"], false),
            (vec!["userId", "x", "-at"], false),
            (vec!["at", "userId"], false),
        ] {
            assert_eq!(index(&keys).serves(&wish, 1), serves, "{keys:?}");
        }
        let two = index(&["userId", "-at", "n"]);
        assert!(index(&["userId", "at", "-n"]).serves(&two, 1));
        assert!(!index(&["userId", "at", "n"]).serves(&two, 1));
        let partial = Index {
            is_partial: true,
            ..wish.clone()
        };
        assert!(!partial.serves(&wish, 1));
    }
}
