//! Whether a connection string can be one. Pure: neither name servers nor MongoDB are asked.

use mongodb::error::ErrorKind;
use mongodb::options::ConnectionString;

/// Why a connection string is none. Does not quote it: it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// It is malformed, or has an option that is unknown or makes no sense.
    #[error("{0}")]
    Malformed(String),
    /// Neither it nor the configuration names a database.
    #[error("no database is named")]
    NoDatabase,
}

/// Reads a connection string; gives the database that it names, if it names one.
pub fn read_uri(uri: &str) -> Result<Option<String>, UriError> {
    let read = ConnectionString::parse(uri).map_err(|error| {
        let detail = match *error.kind {
            ErrorKind::InvalidArgument { message, .. } => message,
            other => other.to_string(),
        };
        UriError::Malformed(without_secrets(uri, detail))
    })?;
    Ok(read.default_database)
}

/// The driver's text, unless it quotes what stands before the hosts.
fn without_secrets(uri: &str, detail: String) -> String {
    let user_info = uri.split_once("://").map_or(uri, |(_, rest)| rest);
    let user_info = user_info.rsplit_once('@').map_or("", |(user, _)| user);
    let mut secrets = user_info.split(':').filter(|part| part.len() > 1);
    match secrets.any(|part| detail.contains(part)) {
        true => "it is malformed".to_owned(),
        false => detail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_database_that_is_named() {
        for (uri, database) in [
            ("mongodb://localhost/app", Some("app")),
            (
                "mongodb://u:p%40@db-1:27017,db-2/app?replicaSet=rs0",
                Some("app"),
            ),
            ("mongodb+srv://u:p@cluster.example/app", Some("app")),
            ("mongodb://localhost", None),
            ("mongodb://localhost/?tls=true", None),
        ] {
            assert_eq!(read_uri(uri).unwrap().as_deref(), database, "{uri}");
        }
    }

    #[test]
    fn says_what_is_wrong_and_no_password() {
        for uri in [
            "",
            "localhost",
            "postgres://user:hunter2@localhost/app",
            "mongodb://user:hunter2@localhost:notaport/app",
            "mongodb://user:hunter2@local/host@db/app",
            "mongodb://user:hun%ter2@localhost/app",
            "mongodb://user:hunter2:hunter2@localhost/app",
            "mongodb+srv://user:hunter2@localhost:27017/app",
            "mongodb://user:hunter2@localhost/app?maxPoolSize=many",
        ] {
            let error = read_uri(uri).expect_err(uri).to_string();
            assert!(!error.is_empty(), "{uri}");
            assert!(
                !error.contains("hunter2") && !error.contains("ter2"),
                "{error}"
            );
        }
    }
}
