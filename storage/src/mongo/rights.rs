//! What MongoDB says of itself, and of what this node may do there. Nothing is written.

use mongodb::bson::{Bson, Document, doc, oid::ObjectId};

use super::{Mongo, MongoError};

/// A server, as it describes itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    /// Its clock, Unix milliseconds.
    pub now_ms: i64,
    /// Whether it has change streams: it is of a replica set, or a router to some.
    pub has_streams: bool,
}

/// What a user may do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rights(Vec<Document>);

impl Rights {
    /// Whether somebody has logged in; without, the server says of no rights.
    pub fn is_known(&self) -> bool {
        !self.0.is_empty()
    }

    /// Whether an action such as `find` is allowed on a collection.
    pub fn allow(&self, database: &str, collection: &str, action: &str) -> bool {
        self.0.iter().any(|privilege| {
            let Ok(resource) = privilege.get_document("resource") else {
                return false;
            };
            // Empty names stand for all.
            let is = |key: &str, name: &str| match resource.get_str(key) {
                Ok(of) => of.is_empty() || of == name,
                Err(_) => false,
            };
            let any = resource.get_bool("anyResource").is_ok_and(|it| it);
            let actions = privilege.get_array("actions");
            let acts = |actions: &Vec<Bson>| {
                let mut actions = actions.iter().filter_map(Bson::as_str);
                actions.any(|it| it == action || it == "anyAction")
            };
            (any || (is("db", database) && is("collection", collection))) && actions.is_ok_and(acts)
        })
    }
}

impl Mongo {
    /// Asks the server what it is.
    pub async fn about(&self) -> Result<About, MongoError> {
        let said = self.run("hello", |database| async move {
            database.run_command(doc! { "hello": 1 }).await
        });
        let said = said.await?;
        let local = said.get_datetime("localTime");
        Ok(About {
            now_ms: local.map_or(0, |it| it.timestamp_millis()),
            has_streams: said.contains_key("setName")
                || said.get_str("msg").is_ok_and(|it| it == "isdbgrid"),
        })
    }

    /// Asks the server what this node may do.
    pub async fn rights(&self) -> Result<Rights, MongoError> {
        let said = self.run("read its rights", |database| async move {
            let ask = doc! { "connectionStatus": 1, "showPrivileges": true };
            database.run_command(ask).await
        });
        let said = said.await?;
        let listed = said
            .get_document("authInfo")
            .and_then(|info| info.get_array("authenticatedUserPrivileges"));
        let listed = listed.map(Vec::as_slice).unwrap_or_default();
        let privileges = listed.iter().filter_map(Bson::as_document);
        Ok(Rights(privileges.cloned().collect()))
    }

    /// Looks for what is not there, to see whether a collection may be read.
    pub async fn may_read(&self, collection: &str) -> Result<(), MongoError> {
        let read = self.run("read a collection", |database| async move {
            let nobodys = doc! { "_id": ObjectId::new() };
            database
                .collection::<Document>(collection)
                .find_one(nobodys)
                .await
        });
        read.await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(resource: Document, actions: &[&str]) -> Rights {
        let actions: Vec<_> = actions.iter().map(|it| Bson::from(*it)).collect();
        Rights(vec![doc! { "resource": resource, "actions": actions }])
    }

    #[test]
    fn rights_are_of_a_collection_a_database_or_everything() {
        let one = rights(doc! { "db": "app", "collection": "sessions" }, &["find"]);
        assert!(one.allow("app", "sessions", "find"));
        assert!(!one.allow("app", "sessions", "changeStream"));
        assert!(!one.allow("app", "trades", "find"));
        assert!(!one.allow("other", "sessions", "find"));
        let all = rights(doc! { "db": "app", "collection": "" }, &["find", "insert"]);
        assert!(all.allow("app", "trades", "insert"));
        assert!(!all.allow("other", "trades", "insert"));
        let root = rights(doc! { "anyResource": true }, &["anyAction"]);
        assert!(root.allow("app", "trades", "insert") && root.is_known());
        let cluster = rights(doc! { "cluster": true }, &["find"]);
        assert!(!cluster.allow("app", "trades", "find"));
        assert!(!Rights::default().is_known());
    }
}
