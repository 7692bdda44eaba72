//! Whether another node can be reached, by whoever looks after one: as far as the first words, which
//! ask to be turned away. Nothing of it is remembered on either side.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use rustls::pki_types::CertificateDer;

use super::{
    endpoint,
    hello::{self, HelloError},
};
use crate::{
    ClusterKey, StartError,
    identity::{CLUSTER_NAME, Identity},
    proto::{Hello, PROBE, Refused},
};

/// How long a connection may take; a node that is there answers within milliseconds.
const CONNECT: Duration = Duration::from_secs(3);

/// The name in the greeting, and in the certificate for it.
const NAME: &str = "doctor";

/// A node that answers, of the same key and of the same cluster.
#[derive(Clone, Debug)]
pub struct Reached {
    /// The version of the cluster's protocol that it speaks; see [`crate::proto::PROTOCOL`].
    pub protocol: u32,
    /// Its certificate, DER: minted by its own clock, and valid from an hour before that.
    pub certificate: Option<Vec<u8>>,
}

/// Why a node was not reached.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// Nothing could be sent.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The address cannot be one.
    #[error("it cannot be dialed: {0}")]
    Address(String),
    /// No answer.
    #[error("no answer within {} s", CONNECT.as_secs())]
    Late,
    /// There was an answer, and then none, or the keys do not fit.
    #[error("the handshake failed: {0}")]
    Handshake(String),
    /// It is of another cluster.
    #[error("it belongs to another cluster")]
    OtherCluster,
}

/// Reaches for a node.
pub async fn probe(
    key: &ClusterKey,
    cluster: &str,
    target: SocketAddr,
) -> Result<Reached, ProbeError> {
    let identity = Identity::new(key.clone(), NAME).map_err(StartError::from)?;
    let any: SocketAddr = match target {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
    };
    let endpoint = endpoint::open(any, &identity)?;
    let connecting = endpoint
        .connect(target, CLUSTER_NAME)
        .map_err(|error| ProbeError::Address(error.to_string()))?;
    let connection = tokio::time::timeout(CONNECT, connecting)
        .await
        .map_err(|_| ProbeError::Late)?
        .map_err(|error| ProbeError::Handshake(error.to_string()))?;
    let own = Hello {
        cluster: cluster.to_owned(),
        protocol: PROBE,
        name: Arc::from(NAME),
        generation: 0,
        address: any,
    };
    let said = hello::greet(&connection, &own).await;
    let chain = connection.peer_identity();
    let chain = chain.and_then(|it| it.downcast::<Vec<CertificateDer<'static>>>().ok());
    connection.close(0_u32.into(), b"");
    match said {
        Err(HelloError::Refused(Refused::Protocol { ours, .. })) => Ok(Reached {
            protocol: ours,
            certificate: chain.and_then(|chain| chain.first().map(|it| it.to_vec())),
        }),
        Err(HelloError::Refused(Refused::Cluster)) => Err(ProbeError::OtherCluster),
        Err(error) => Err(ProbeError::Handshake(error.to_string())),
        Ok(_) => Err(ProbeError::Handshake(
            "it does not mind a version that there is not".to_owned(),
        )),
    }
}
