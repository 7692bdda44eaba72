//! A client's socket.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr},
};

use mio::{Interest, Registry, Token, net::TcpStream};
use rustls::{ClientConnection, Stream};
use socket2::{Domain, Protocol, Socket, Type};

use super::{FleetConfig, tls::Tls};

/// A connection on its way or made, which never blocks.
pub(super) struct Link {
    stream: TcpStream,
    /// What is between the stream and the client.
    tls: Option<Box<ClientConnection>>,
}

impl Link {
    /// Starts to connect. Elsewhere than on loopback the source address is the system's choice.
    pub(super) fn connect(number: usize, config: &FleetConfig) -> io::Result<Self> {
        let source = source_address(number, config.sources);
        let tls = config.tls.as_ref().map(Tls::connection).transpose()?;
        Ok(Self {
            stream: connecting(source, config.target)?,
            tls: tls.map(Box::new),
        })
    }

    /// Whether a read that does not fill its buffer has emptied the socket.
    pub(super) fn reads_all(&self) -> bool {
        self.tls.is_none()
    }

    /// Has readiness reported under `token`, once per change.
    pub(super) fn watch(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut self.stream, token, interest)
    }

    /// Ends the connection.
    pub(super) fn close(&mut self) {
        // A socket that is already shut down is as good as one shut down now.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => Stream::new(tls.as_mut(), &mut self.stream).read(buffer),
            None => self.stream.read(buffer),
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => Stream::new(tls.as_mut(), &mut self.stream).write(bytes),
            None => self.stream.write(bytes),
        }
    }

    /// Writes what was encrypted and has not left.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            while tls.wants_write() {
                tls.write_tls(&mut self.stream)?;
            }
        }
        Ok(())
    }
}

/// 127.0.0.1 is the server's and the emitter's; clients have the addresses after it.
fn source_address(number: usize, sources: u8) -> IpAddr {
    let offset = (number % usize::from(sources.clamp(1, 250))) as u8;
    Ipv4Addr::new(127, 0, 0, 2 + offset).into()
}

fn connecting(source: IpAddr, target: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(
        Domain::for_address(target),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if target.ip().is_loopback() && target.is_ipv4() {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    match socket.connect(&target.into()) {
        Err(error)
            if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) =>
        {
            Err(error)
        }
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_spread_over_their_sources() {
        let address = |number| source_address(number, 100).to_string();
        assert_eq!(address(0), "127.0.0.2");
        assert_eq!(address(99), "127.0.0.101");
        assert_eq!(address(100), "127.0.0.2");
        assert_eq!(source_address(7, 0).to_string(), "127.0.0.2");
    }
}
