//! The calls, by what they are about. *Durable* means: once answered, it survives `kill -9`; a
//! power cut within the next quarter of a second can still take it, as sled fsyncs only that often.

use crate::embedded::codec::{check_key, check_value};
use crate::embedded::{counters, expiry, keys, log, meta, revocations, sessions, shared, users};
use crate::embedded::{
    counters::{Counter, Pair},
    expiry::Swept,
    keys::ApiKey,
    log::{LogBatch, LogDump},
    revocations::{Revocation, RevocationPage},
    sessions::Session,
    shared::SharedSession,
    users::{List, User},
};
use crate::error::StoreError;
use crate::files;
use crate::store::Store;
use crate::store::thread::Effect;

const PUT: Effect = Effect::Put { durable: true };
const REMOVE: Effect = Effect::Remove { durable: true };

/// Sessions.
impl Store {
    /// Stores a session that is made now, in the place of one with the same id, and returns it: it
    /// is made later than whatever ended sessions like it. Durable.
    pub async fn put_session(&self, session: Session) -> Result<Session, StoreError> {
        check_session(&session)?;
        let recent = self.shared.recent.clone();
        self.call(PUT, move |on| {
            recent.remove(&session.id);
            let session = sessions::make(on.trees, session)?;
            recent.put(&session);
            Ok(session)
        })
        .await
    }

    /// Stores a copy of a session that was made elsewhere, unless it was ended
    /// ([`Store::revoke`]) or one made later is here; says whether it counts. Not durable: there
    /// are others.
    pub async fn copy_session(&self, session: Session) -> Result<bool, StoreError> {
        check_session(&session)?;
        let recent = self.shared.recent.clone();
        let effect = Effect::Put { durable: false };
        self.call(effect, move |on| {
            let counts = sessions::copy(on.trees, &session)?;
            if counts {
                recent.put(&session);
            }
            Ok(counts)
        })
        .await
    }

    /// Ends sessions, returns them, and remembers that they are ended until no copy of them could
    /// count. `heard_ms` is the time. Durable; on an error some may be ended.
    pub async fn revoke(
        &self,
        revocation: Revocation,
        heard_ms: u64,
    ) -> Result<Vec<Session>, StoreError> {
        let id = revocation.session.as_deref().unwrap_or_default();
        check_key("session id", id.as_bytes())?;
        check_key("user", revocation.user.as_bytes())?;
        let recent = self.shared.recent.clone();
        self.call(REMOVE, move |on| {
            let ended = revocations::put(on.trees, &revocation, heard_ms);
            match &ended {
                Ok(ended) => ended.iter().for_each(|session| recent.remove(&session.id)),
                Err(_) => recent.clear(),
            }
            ended
        })
        .await
    }

    /// Looks at the `limit` revocations after a key, for those heard of at `since_ms` or later.
    pub async fn revocations(
        &self,
        after: Option<Vec<u8>>,
        since_ms: u64,
        limit: usize,
    ) -> Result<RevocationPage, StoreError> {
        self.call(Effect::Read, move |on| {
            revocations::page(on.trees, after.as_deref(), since_ms, limit)
        })
        .await
    }

    /// The session with this id if it was made or asked for lately, without a call. `None` says
    /// nothing: [`Store::session`] knows.
    pub fn recent_session(&self, id: &str) -> Option<Session> {
        self.shared.recent.find(id)
    }

    /// The session with this id, also when it has expired but is still kept
    /// ([`SESSION_KEPT_MS`](crate::SESSION_KEPT_MS)): the caller judges.
    pub async fn session(&self, id: &str) -> Result<Option<Session>, StoreError> {
        let (id, recent) = (id.to_owned(), self.shared.recent.clone());
        self.call(Effect::Read, move |on| {
            let session = sessions::one(on.trees, &id)?;
            session.iter().for_each(|session| recent.put(session));
            Ok(session)
        })
        .await
    }

    /// Removes a session and returns what it was. Durable.
    pub async fn delete_session(&self, id: &str) -> Result<Option<Session>, StoreError> {
        let (id, recent) = (id.to_owned(), self.shared.recent.clone());
        self.call(REMOVE, move |on| {
            recent.remove(&id);
            sessions::delete(on.trees, &id)
        })
        .await
    }

    /// A user's sessions, ordered by id; expired ones too, while they are kept.
    pub async fn sessions_of(&self, user: &str) -> Result<Vec<Session>, StoreError> {
        let user = user.to_owned();
        self.call(Effect::Read, move |on| sessions::of_user(on.trees, &user))
            .await
    }

    /// Removes a user's sessions and returns them. Durable; on an error some may be gone.
    pub async fn delete_sessions_of(&self, user: &str) -> Result<Vec<Session>, StoreError> {
        let (user, recent) = (user.to_owned(), self.shared.recent.clone());
        self.call(REMOVE, move |on| {
            let removed = sessions::delete_of_user(on.trees, &user);
            match &removed {
                Ok(removed) => removed
                    .iter()
                    .for_each(|session| recent.remove(&session.id)),
                Err(_) => recent.clear(),
            }
            removed
        })
        .await
    }

    /// At most `limit` sessions of all users, ordered by id, those after the id `after`.
    pub async fn sessions(
        &self,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<Session>, StoreError> {
        self.call(Effect::Read, move |on| {
            sessions::page(on.trees, after.as_deref(), limit)
        })
        .await
    }
}

/// What was read of sessions that an application keeps in MongoDB. Nothing here is durable: it can be
/// read again.
impl Store {
    /// Keeps what was read of a session, in the place of what was read before.
    pub async fn put_shared(&self, session: SharedSession) -> Result<(), StoreError> {
        check_key("session id", session.document.as_bytes())?;
        check_key("session id", session.id.as_bytes())?;
        check_key("user", session.user.as_bytes())?;
        let recent = self.shared.recent_shared.clone();
        let effect = Effect::Put { durable: false };
        self.call(effect, move |on| {
            recent.put(&session);
            shared::put(on.trees, &session)
        })
        .await
    }

    /// What is known of the session whose document has this `_id`, if it was read or asked for
    /// lately, without a call.
    pub fn recent_shared(&self, document: &str) -> Option<SharedSession> {
        self.shared.recent_shared.find(document)
    }

    /// What is known of the session whose document has this `_id`.
    pub async fn shared(&self, document: &str) -> Result<Option<SharedSession>, StoreError> {
        let (document, recent) = (document.to_owned(), self.shared.recent_shared.clone());
        self.call(Effect::Read, move |on| {
            let found = shared::one(on.trees, &document)?;
            found.iter().for_each(|session| recent.put(session));
            Ok(found)
        })
        .await
    }

    /// Forgets a session. Whoever asks [`Store::recent_shared`] does not find it any more from the
    /// call on, not only from its end.
    pub async fn forget_shared(&self, document: &str) -> Result<(), StoreError> {
        let (document, recent) = (document.to_owned(), self.shared.recent_shared.clone());
        recent.remove(&document);
        let effect = Effect::Remove { durable: false };
        self.call(effect, move |on| {
            // What was queued before may have brought it back.
            recent.remove(&document);
            shared::delete(on.trees, &document)
        })
        .await
    }
}

fn check_session(session: &Session) -> Result<(), StoreError> {
    check_key("session id", session.id.as_bytes())?;
    check_key("user", session.user.as_bytes())
}

/// Users, admins and API keys.
impl Store {
    /// Stores a user, in the place of one with the same name. Durable.
    pub async fn put_user(&self, user: User) -> Result<(), StoreError> {
        check_key("user", user.name.as_bytes())?;
        check_value("password hash", user.password_hash.as_bytes())?;
        self.call(PUT, move |on| users::put(on.trees, List::Users, &user))
            .await
    }

    /// The user of this name.
    pub async fn user(&self, name: &str) -> Result<Option<User>, StoreError> {
        let name = name.to_owned();
        self.call(Effect::Read, move |on| {
            users::one(on.trees, List::Users, &name)
        })
        .await
    }

    /// Removes a user; says whether there was one. Durable. Their sessions stay.
    pub async fn delete_user(&self, name: &str) -> Result<bool, StoreError> {
        let name = name.to_owned();
        self.call(REMOVE, move |on| {
            users::delete(on.trees, List::Users, &name)
        })
        .await
    }

    /// All users, ordered by name.
    pub async fn users(&self) -> Result<Vec<User>, StoreError> {
        self.call(Effect::Read, |on| users::all(on.trees, List::Users))
            .await
    }

    /// Stores an admin, in the place of one with the same name. Durable.
    pub async fn put_admin(&self, admin: User) -> Result<(), StoreError> {
        check_key("admin", admin.name.as_bytes())?;
        check_value("password hash", admin.password_hash.as_bytes())?;
        self.call(PUT, move |on| users::put(on.trees, List::Admins, &admin))
            .await
    }

    /// The admin of this name.
    pub async fn admin(&self, name: &str) -> Result<Option<User>, StoreError> {
        let name = name.to_owned();
        self.call(Effect::Read, move |on| {
            users::one(on.trees, List::Admins, &name)
        })
        .await
    }

    /// Removes an admin; says whether there was one. Durable.
    pub async fn delete_admin(&self, name: &str) -> Result<bool, StoreError> {
        let name = name.to_owned();
        self.call(REMOVE, move |on| {
            users::delete(on.trees, List::Admins, &name)
        })
        .await
    }

    /// All admins, ordered by name.
    pub async fn admins(&self) -> Result<Vec<User>, StoreError> {
        self.call(Effect::Read, |on| users::all(on.trees, List::Admins))
            .await
    }

    /// Stores an API key, in the place of one with the same id. Durable.
    pub async fn put_key(&self, key: ApiKey) -> Result<(), StoreError> {
        key.check()?;
        check_key("key id", key.id.as_bytes())?;
        for text in [&key.name, &key.hash].into_iter().chain(&key.scopes) {
            check_key("field of a key", text.as_bytes())?;
        }
        self.call(PUT, move |on| keys::put(on.trees, &key)).await
    }

    /// The API key with this id.
    pub async fn key(&self, id: &str) -> Result<Option<ApiKey>, StoreError> {
        let id = id.to_owned();
        self.call(Effect::Read, move |on| keys::one(on.trees, &id))
            .await
    }

    /// Removes an API key; says whether there was one. Durable.
    pub async fn delete_key(&self, id: &str) -> Result<bool, StoreError> {
        let id = id.to_owned();
        self.call(REMOVE, move |on| keys::delete(on.trees, &id))
            .await
    }

    /// All API keys, ordered by id.
    pub async fn keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        self.call(Effect::Read, |on| keys::all(on.trees)).await
    }
}

/// Counters.
impl Store {
    /// Stores counters, in the place of those with the same keys. Not durable: the process's death
    /// may lose the last quarter of a second. On an error some may be stored.
    pub async fn save_counters(&self, counters: Vec<Counter>) -> Result<(), StoreError> {
        for (key, value, _) in &counters {
            check_key("counter key", key)?;
            check_value("counter", value)?;
        }
        let effect = Effect::Put { durable: false };
        self.call(effect, move |on| counters::save(on.trees, &counters))
            .await
    }

    /// All counters that are kept, ordered by key; those that have ended too, until a sweep.
    pub async fn counters(&self) -> Result<Vec<Pair>, StoreError> {
        self.call(Effect::Read, |on| counters::all(on.trees)).await
    }
}

/// The log of recoverable rooms, the slot table and the roster.
impl Store {
    /// Applies a batch, all of it or nothing. Durable if the batch says so.
    pub async fn commit_log(&self, batch: LogBatch) -> Result<(), StoreError> {
        for (_, _, entry) in &batch.put {
            check_value("log entry", entry)?;
        }
        for (key, value) in &batch.state {
            check_key("log state key", key)?;
            check_value("log state", value.as_deref().unwrap_or_default())?;
        }
        let durable = batch.durable;
        let only_removes = batch.put.is_empty() && batch.state.iter().all(|(_, v)| v.is_none());
        let effect = match only_removes {
            true => Effect::Remove { durable },
            false => Effect::Put { durable },
        };
        self.call(effect, move |on| log::commit(on.trees, &batch))
            .await
    }

    /// Everything the log holds, ordered.
    pub async fn load_log(&self) -> Result<LogDump, StoreError> {
        self.call(Effect::Read, |on| log::load(on.trees)).await
    }

    /// The slot table as last put. Its bytes are checked: damage is an error, not `None`.
    pub async fn slot_table(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.call(Effect::Read, |on| files::read_slots(on.files))
            .await
    }

    /// Replaces the slot table. Once answered it survives a power cut.
    pub async fn put_slot_table(&self, table: Vec<u8>) -> Result<(), StoreError> {
        check_value("slot table", &table)?;
        let effect = Effect::Put { durable: false };
        self.call(effect, move |on| files::write_slots(on.files, &table))
            .await
    }

    /// The roster of the cluster's nodes as last put. Its bytes are checked.
    pub async fn roster(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.call(Effect::Read, |on| files::read_roster(on.files))
            .await
    }

    /// Replaces the roster. Once answered it survives a power cut.
    pub async fn put_roster(&self, roster: Vec<u8>) -> Result<(), StoreError> {
        check_value("roster", &roster)?;
        let effect = Effect::Put { durable: false };
        self.call(effect, move |on| files::write_roster(on.files, &roster))
            .await
    }
}

/// Single values, and the sweep.
impl Store {
    /// The value of this name.
    pub async fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let key = key.to_owned();
        self.call(Effect::Read, move |on| meta::one(on.trees, &key))
            .await
    }

    /// Stores a value by name. Durable.
    pub async fn put_meta(&self, key: &str, value: Vec<u8>) -> Result<(), StoreError> {
        check_key("meta key", key.as_bytes())?;
        check_value("meta value", &value)?;
        let key = key.to_owned();
        self.call(PUT, move |on| meta::put(on.trees, &key, &value))
            .await
    }

    /// Removes sessions that expired more than an hour before `now_ms`, and counters, revocations
    /// and sessions of MongoDB's that ended before it, looking at no more than `limit` rows. Not durable: a row that comes
    /// back after a crash is swept again.
    pub async fn sweep(&self, now_ms: u64, limit: usize) -> Result<Swept, StoreError> {
        let effect = Effect::Remove { durable: false };
        self.call(effect, move |on| expiry::sweep(on.trees, now_ms, limit))
            .await
    }
}
