//! Bodies of requests, bounded in bytes and time.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{
    HeaderMap,
    body::{Body, Incoming},
    header::EXPECT,
};

use super::refusal::Refusal;

/// How long a body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes of a refused body that are read nevertheless.
const MAX_DISCARDED: usize = 4 << 20;

/// How long a refused body is read.
const DISCARD_TIME: Duration = Duration::from_secs(1);

/// A body of at most `limit` bytes.
pub(super) async fn read(
    headers: &HeaderMap,
    mut body: Incoming,
    limit: usize,
) -> Result<Bytes, Refusal> {
    let too_large = || Refusal::too_large("the body", limit);
    if body.size_hint().lower() > limit as u64 {
        discard(headers, &mut body).await;
        return Err(too_large());
    }
    let read = tokio::time::timeout(PATIENCE, Limited::new(&mut body, limit).collect()).await;
    match read {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            discard(headers, &mut body).await;
            Err(too_large())
        }
        Ok(Err(_)) => Err(Refusal::incomplete("the body broke off")),
        Err(_) => {
            let message = format!("the body did not arrive within {PATIENCE:?}");
            Err(Refusal::incomplete(&message))
        }
    }
}

/// Reads on, within bounds, what nobody wants: a caller whose connection closes while it is still
/// writing may never see the answer. One that asked first (`Expect: 100-continue`) is not writing.
pub(super) async fn discard(headers: &HeaderMap, body: &mut Incoming) {
    if headers.contains_key(EXPECT) {
        return;
    }
    let mut left = MAX_DISCARDED;
    let reading = async {
        while let Some(Ok(frame)) = body.frame().await {
            let len = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(len) {
                Some(rest) => left = rest,
                None => break,
            }
        }
    };
    // What is left unread then, hyper ends with the connection.
    let _ = tokio::time::timeout(DISCARD_TIME, reading).await;
}
