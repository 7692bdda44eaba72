//! A backend's HTTP connection: kept alive and pipelined, so that a slow answer delays no emit.

use std::{io, net::SocketAddr, str::FromStr};

use thiserror::Error;

mod answer;
mod poster;

pub(crate) use answer::whole_answer;
pub use poster::{Framing, Poster};

/// A request was not answered as it should be.
#[derive(Debug, Error)]
pub enum HttpError {
    /// The connection failed or was too slow.
    #[error("{doing}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The status was not 2xx, or an emit of several was refused.
    #[error("emit refused: {0}")]
    Refused(String),
    /// The answer is not HTTP/1.1 of known length.
    #[error("cannot read the answer: {0}")]
    Malformed(String),
}

/// The text is not a URL that can be posted to.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0:?} is not a URL of the form http://IP:PORT/PATH")]
pub struct UrlError(String);

/// `http://IP:PORT/PATH`; names are not resolved, a measurement has no use for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Where to connect to.
    pub address: SocketAddr,
    /// What to ask for, with its leading slash.
    pub path: String,
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || UrlError(text.to_owned());
        let rest = text.strip_prefix("http://").ok_or_else(error)?;
        let slash = rest.find('/').ok_or_else(error)?;
        let address = rest[..slash].parse().map_err(|_| error())?;
        Ok(Self {
            address,
            path: rest[slash..].to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_need_an_address_and_a_path() {
        let url: Url = "http://127.0.0.1:80/a?b".parse().unwrap();
        assert_eq!((url.address.port(), url.path.as_str()), (80, "/a?b"));
        for bad in [
            "https://127.0.0.1:80/",
            "http://127.0.0.1:80",
            "http://localhost/",
            "",
        ] {
            assert_eq!(bad.parse::<Url>(), Err(UrlError(bad.into())));
        }
    }
}
