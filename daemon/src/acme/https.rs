//! The way to the CA: one HTTPS request on a connection of its own, under a deadline.

use std::{error::Error, future::Future, path::Path, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request, Response, Uri,
    client::conn::http1,
    header::{HOST, HeaderValue},
};
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, HttpClient};
use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::order::Failure;
use crate::http::tls;

/// How long the CA may take for an answer.
const DEADLINE: Duration = Duration::from_secs(30);

/// Far above any chain of certificates.
const LARGEST_ANSWER: usize = 1 << 20;

type Cause = Box<dyn Error + Send + Sync>;

/// Asks the CA.
#[derive(Clone)]
pub(super) struct Https(TlsConnector);

impl Https {
    /// Trusts the authorities in this file alone, or those that browsers trust.
    pub(super) fn new(authorities: Option<&Path>) -> Result<Self, Failure> {
        let roots = match authorities {
            None => RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Some(file) => tls::authorities(file).map_err(Failure::Authorities)?,
        };
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }
}

impl HttpClient for Https {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let tls = self.0.clone();
        Box::pin(async move {
            let uri = request.uri().clone();
            let failed = |why: Cause| {
                let host = uri.host().unwrap_or_default();
                instant_acme::Error::Other(format!("the CA at {host}: {why}").into())
            };
            let answer = tokio::time::timeout(DEADLINE, exchange(&tls, request)).await;
            let answer = answer.map_err(|_| failed(format!("no answer in {DEADLINE:?}").into()))?;
            Ok(BytesResponse::from(answer.map_err(failed)?))
        })
    }
}

async fn exchange(
    tls: &TlsConnector,
    request: Request<BodyWrapper<Bytes>>,
) -> Result<Response<Full<Bytes>>, Cause> {
    let (mut head, body) = request.into_parts();
    let authority = head.uri.authority().cloned().ok_or("it has no address")?;
    if head.uri.scheme_str() != Some("https") {
        return Err("it names an address without TLS".into());
    }
    // Addresses of IPv6 stand in brackets.
    let host = authority.host().trim_matches(['[', ']']).to_owned();
    let port = authority.port_u16().unwrap_or(443);
    let stream = TcpStream::connect((host.as_str(), port)).await?;
    let stream = tls.connect(ServerName::try_from(host)?, stream).await?;
    let (mut requests, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with `requests`.
    tokio::spawn(connection);
    let host = HeaderValue::from_str(authority.as_str())?;
    head.headers.insert(HOST, host);
    head.uri = match head.uri.path_and_query() {
        Some(path) => Uri::from(path.clone()),
        None => Uri::from_static("/"),
    };
    let answer = requests.send_request(Request::from_parts(head, body));
    let (head, body) = answer.await?.into_parts();
    let body = Limited::new(body, LARGEST_ANSWER).collect().await?;
    Ok(Response::from_parts(head, Full::new(body.to_bytes())))
}
