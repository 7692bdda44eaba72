//! The first exchange on a link, on a stream of its own: the dialer says who it is, the other node
//! says who it is or why it will not have it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use quinn::{Connection, RecvStream, SendStream};

use crate::proto::{Hello, Refused};

/// Longest greeting, in bytes.
const MAX: usize = 4096;

/// How long the exchange may take.
pub(super) const TIME: Duration = Duration::from_secs(2);

/// Why there was no greeting.
#[derive(Debug, thiserror::Error)]
pub(super) enum HelloError {
    #[error(transparent)]
    Lost(#[from] quinn::ConnectionError),
    #[error("no answer within {} s", TIME.as_secs())]
    Late,
    #[error("its first words are not understood")]
    Malformed,
    #[error("its certificate is not for {0:?}, the name that it gives")]
    Name(Arc<str>),
    #[error("{0}")]
    Refused(Refused),
}

/// Greets the node that was dialed.
pub(super) async fn greet(connection: &Connection, own: &Hello) -> Result<Hello, HelloError> {
    let exchange = async {
        let (mut send, receive) = connection.open_bi().await?;
        let malformed = |_| HelloError::Malformed;
        send.write_all(&encode(own)).await.map_err(malformed)?;
        send.finish().map_err(|_| HelloError::Malformed)?;
        let mut answer = read(receive).await?;
        if !answer.has_remaining() {
            return Err(HelloError::Malformed);
        }
        match answer.get_u8() {
            0 => decode(&mut answer).ok_or(HelloError::Malformed),
            code => Err(HelloError::Refused(
                refusal(code, &mut answer).ok_or(HelloError::Malformed)?,
            )),
        }
    };
    let theirs = within(exchange).await?;
    check_name(connection, &theirs)?;
    Ok(theirs)
}

/// Hears who dialed.
pub(super) async fn hear(connection: &Connection) -> Result<(Hello, SendStream), HelloError> {
    let exchange = async {
        let (send, receive) = connection.accept_bi().await?;
        let mut words = read(receive).await?;
        Ok((decode(&mut words).ok_or(HelloError::Malformed)?, send))
    };
    let (theirs, send) = within(exchange).await?;
    check_name(connection, &theirs)?;
    Ok((theirs, send))
}

/// Answers who dialed.
pub(super) async fn answer(
    mut send: SendStream,
    answer: Result<&Hello, &Refused>,
) -> Result<(), HelloError> {
    let words = match answer {
        Ok(own) => [&[0], &encode(own)[..]].concat(),
        Err(refused) => encode_refusal(refused),
    };
    let written = async {
        send.write_all(&words)
            .await
            .map_err(|_| HelloError::Malformed)?;
        send.finish().map_err(|_| HelloError::Malformed)?;
        // A connection closed at once would take the answer with it.
        let _ = send.stopped().await;
        Ok(())
    };
    within(written).await
}

async fn within<T>(exchange: impl Future<Output = Result<T, HelloError>>) -> Result<T, HelloError> {
    tokio::time::timeout(TIME, exchange)
        .await
        .unwrap_or(Err(HelloError::Late))
}

async fn read(mut receive: RecvStream) -> Result<Bytes, HelloError> {
    let words = receive.read_to_end(MAX).await;
    words.map(Bytes::from).map_err(|_| HelloError::Malformed)
}

/// The name in the greeting must be the one that the certificate is for.
fn check_name(connection: &Connection, theirs: &Hello) -> Result<(), HelloError> {
    let certificates = connection.peer_identity().and_then(|identity| {
        identity
            .downcast::<Vec<rustls::pki_types::CertificateDer<'static>>>()
            .ok()
    });
    let known = certificates.is_some_and(|chain| crate::identity::is_for(&chain, &theirs.name));
    known
        .then_some(())
        .ok_or_else(|| HelloError::Name(theirs.name.clone()))
}

fn encode(hello: &Hello) -> Bytes {
    let mut bytes = BytesMut::new();
    put_text(&mut bytes, &hello.cluster);
    bytes.put_u32(hello.protocol);
    put_text(&mut bytes, &hello.name);
    bytes.put_u64(hello.generation);
    put_text(&mut bytes, &hello.address.to_string());
    bytes.freeze()
}

/// What is behind the known fields is of a later version, and left alone.
fn decode(words: &mut Bytes) -> Option<Hello> {
    Some(Hello {
        cluster: text(words)?,
        protocol: words.try_get_u32().ok()?,
        name: text(words)?.into(),
        generation: words.try_get_u64().ok()?,
        address: text(words)?.parse().ok()?,
    })
}

fn encode_refusal(refused: &Refused) -> Vec<u8> {
    let mut bytes = Vec::new();
    match refused {
        Refused::Cluster => bytes.push(1),
        Refused::Protocol { ours, theirs } => {
            bytes.push(2);
            bytes.extend(ours.to_be_bytes());
            bytes.extend(theirs.to_be_bytes());
        }
        Refused::Myself => bytes.push(3),
        Refused::Stale { known } => {
            bytes.push(4);
            bytes.extend(known.to_be_bytes());
        }
        Refused::NameTaken { address } => {
            bytes.push(5);
            bytes.extend(address.to_string().as_bytes());
        }
    }
    bytes
}

fn refusal(code: u8, rest: &mut Bytes) -> Option<Refused> {
    Some(match code {
        1 => Refused::Cluster,
        2 => Refused::Protocol {
            ours: rest.try_get_u32().ok()?,
            theirs: rest.try_get_u32().ok()?,
        },
        3 => Refused::Myself,
        4 => Refused::Stale {
            known: rest.try_get_u64().ok()?,
        },
        5 => Refused::NameTaken {
            address: std::str::from_utf8(rest).ok()?.parse::<SocketAddr>().ok()?,
        },
        _ => return None,
    })
}

fn put_text(bytes: &mut BytesMut, text: &str) {
    bytes.put_u16(text.len() as u16);
    bytes.put_slice(text.as_bytes());
}

fn text(words: &mut Bytes) -> Option<String> {
    let len = usize::from(words.try_get_u16().ok()?);
    if words.len() < len {
        return None;
    }
    String::from_utf8(words.split_to(len).to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greetings_come_back() {
        let hello = Hello {
            cluster: "tidings".into(),
            protocol: 1,
            name: "gw-1".into(),
            generation: 1_800_000_000_000,
            address: "10.0.0.1:7946".parse().unwrap(),
        };
        let mut words = encode(&hello);
        assert_eq!(decode(&mut words.clone()).unwrap(), hello);
        for len in 0..words.len() {
            assert_eq!(decode(&mut words.slice(..len)), None);
        }
        words = [&words[..], b"later"].concat().into();
        assert_eq!(decode(&mut words).unwrap(), hello);
    }

    #[test]
    fn refusals_come_back() {
        let address = "[::1]:7946".parse().unwrap();
        for refused in [
            Refused::Cluster,
            Refused::Protocol { ours: 1, theirs: 2 },
            Refused::Myself,
            Refused::Stale { known: 7 },
            Refused::NameTaken { address },
        ] {
            let words = encode_refusal(&refused);
            let mut rest = Bytes::from(words[1..].to_vec());
            assert_eq!(refusal(words[0], &mut rest), Some(refused));
        }
    }
}
