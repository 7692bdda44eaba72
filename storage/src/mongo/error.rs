//! Why an operation was not done, and what that says of MongoDB.

use std::time::Duration;

use mongodb::error::{Error, ErrorKind, WriteFailure};

/// The server is going away or coming up.
const RECOVERING: [i32; 5] = [91, 189, 11600, 11602, 13436];

/// The server is no primary, or no longer.
const NOT_PRIMARY: [i32; 3] = [10058, 10107, 13435];

/// The user may not do it, or is not known.
const UNAUTHORISED: [i32; 2] = [13, 18];

/// A unique index has such a value already.
const DUPLICATE: i32 = 11000;

/// Why an operation was not done. A write may still have taken place, unless a variant says
/// otherwise.
///
/// The driver's error is shown by its kind alone, and shortened: what the server answered may quote
/// documents.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MongoError {
    /// No answer within the deadline.
    #[error("no answer within {0:?}")]
    Deadline(Duration),
    /// Too many operations are under way, or were until the deadline. Nothing was done.
    #[error("too many operations are under way")]
    Busy,
    /// No server that could do it can be reached: it is away, or there is no primary just now.
    #[error("cannot be reached: {}", short(.0))]
    Unreachable(Box<Error>),
    /// The user is unknown, the password wrong, or a right is missing. Nothing was done.
    #[error("access was refused: {}", short(.0))]
    Refused(Box<Error>),
    /// A document is not as it was expected. Nothing is wrong with MongoDB.
    #[error("a document cannot be read: {}", short(.0))]
    Malformed(Box<Error>),
    /// A unique index has such a value already. Nothing is wrong with MongoDB.
    #[error("there is such a document already")]
    Duplicate(Box<Error>),
    /// Anything else that the server or the driver said.
    #[error("the operation failed: {}", short(.0))]
    Failed(Box<Error>),
}

impl MongoError {
    /// Whether it says that MongoDB does not do its work, and trying again later is worth it.
    pub fn is_trouble(&self) -> bool {
        !matches!(self, Self::Busy | Self::Malformed(_) | Self::Duplicate(_))
    }

    /// The server's code for it, if it answered.
    pub fn code(&self) -> Option<i32> {
        match self {
            Self::Deadline(_) | Self::Busy => None,
            Self::Unreachable(error)
            | Self::Refused(error)
            | Self::Malformed(error)
            | Self::Duplicate(error)
            | Self::Failed(error) => code(error),
        }
    }
}

impl From<Error> for MongoError {
    fn from(error: Error) -> Self {
        let make = match (&*error.kind, code(&error)) {
            (_, Some(code)) if UNAUTHORISED.contains(&code) => Self::Refused,
            (_, Some(code)) if RECOVERING.contains(&code) => Self::Unreachable,
            (_, Some(code)) if NOT_PRIMARY.contains(&code) => Self::Unreachable,
            (_, Some(DUPLICATE)) => Self::Duplicate,
            (ErrorKind::Authentication { .. }, _) => Self::Refused,
            (
                ErrorKind::Io(_)
                | ErrorKind::ServerSelection { .. }
                | ErrorKind::ConnectionPoolCleared { .. }
                | ErrorKind::DnsResolve { .. }
                | ErrorKind::InvalidTlsConfig { .. },
                _,
            ) => Self::Unreachable,
            (ErrorKind::Bson(_), _) => Self::Malformed,
            _ => Self::Failed,
        };
        make(Box::new(error))
    }
}

/// What the driver says, without the servers' whole answers that it may quote at length.
fn short(error: &Error) -> String {
    const LONGEST: usize = 200;
    let text = error.kind.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn code(error: &Error) -> Option<i32> {
    match &*error.kind {
        ErrorKind::Command(command) => Some(command.code),
        ErrorKind::Write(WriteFailure::WriteError(write)) => Some(write.code),
        ErrorKind::Write(WriteFailure::WriteConcernError(concern)) => Some(concern.code),
        _ => None,
    }
}
