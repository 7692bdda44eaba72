//! The UDP socket and how connections on it behave. One socket listens and dials, so that a node
//! is seen at the address that it listens on.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use quinn::{
    AckFrequencyConfig, ClientConfig, Endpoint, EndpointConfig, IdleTimeout, ServerConfig,
    TransportConfig, VarInt,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{StartError, identity::Identity, key::KeyError};

/// A link that says nothing for this long is lost. Gossip notices a dead peer sooner.
const IDLE: VarInt = VarInt::from_u32(10_000);
/// How often a link with nothing to say shows that it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(3);
/// Streams that a peer may have open: gossip messages, one each, and three lanes.
const UNI_STREAMS: VarInt = VarInt::from_u32(256);
/// Questions and carried clients that a peer may have open at first, and at most: each costs a
/// little memory from when it is allowed.
pub(super) const BI_STREAMS: u32 = 1024;
pub(super) const MAX_BI_STREAMS: u32 = 64 << 10;
/// Bytes in flight of one stream.
const STREAM_WINDOW: VarInt = VarInt::from_u32(4 << 20);
/// Bytes in flight of one link.
const LINK_WINDOW: VarInt = VarInt::from_u32(16 << 20);
/// Bytes of buffer that are asked of the kernel for the socket, which gives as much as it allows.
pub const SOCKET_BUFFER: usize = 4 << 20;

/// Opens the endpoint at `address`.
pub(crate) fn open(address: SocketAddr, identity: &Arc<Identity>) -> Result<Endpoint, StartError> {
    let socket = bind(address).map_err(|source| StartError::Bind { address, source })?;
    let transport = Arc::new(transport());
    let certificate = |error: String| StartError::Key(KeyError::Certificate(error));
    let server = QuicServerConfig::try_from(identity.server_config()?)
        .map_err(|error| certificate(error.to_string()))?;
    let mut server = ServerConfig::with_crypto(Arc::new(server));
    server.transport_config(transport.clone());
    let client = QuicClientConfig::try_from(identity.client_config()?)
        .map_err(|error| certificate(error.to_string()))?;
    let mut client = ClientConfig::new(Arc::new(client));
    client.transport_config(transport);
    let runtime = Arc::new(quinn::TokioRuntime);
    let config = EndpointConfig::default();
    let mut endpoint = Endpoint::new(config, Some(server), socket.into(), runtime)
        .map_err(|source| StartError::Bind { address, source })?;
    endpoint.set_default_client_config(client);
    Ok(endpoint)
}

/// How often a peer shall acknowledge: for one packet in two it would be a third of all that a node
/// sends while little is forwarded.
fn acknowledging() -> AckFrequencyConfig {
    let mut config = AckFrequencyConfig::default();
    config.ack_eliciting_threshold(VarInt::from_u32(10));
    config
}

fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    // Smaller ones only cost speed.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(IdleTimeout::from(IDLE)))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_concurrent_uni_streams(UNI_STREAMS)
        .max_concurrent_bidi_streams(VarInt::from_u32(BI_STREAMS))
        .stream_receive_window(STREAM_WINDOW)
        .receive_window(LINK_WINDOW)
        .send_window(u64::from(LINK_WINDOW))
        .datagram_receive_buffer_size(None)
        .ack_frequency_config(Some(acknowledging()));
    transport
}
