//! Sockets that whoever started the process has opened for it, as systemd does with a `.socket`
//! unit (`sd_listen_fds(3)`): clients wait in their queues while the node restarts, and low ports
//! need no rights of the node's own.

use std::net::TcpListener;

use listenfd::ListenFd;

use crate::gateway::StartError;

/// Listening sockets by their names, `FileDescriptorName=` in the unit.
#[derive(Debug, Default)]
pub(super) struct Handed {
    /// Instead of binding `listen.public`.
    pub(super) public: Vec<TcpListener>,
    /// Instead of binding `listen.private`.
    pub(super) private: Vec<TcpListener>,
}

impl Handed {
    /// Takes them. Only to be called while the process has one thread, as the environment says so
    /// no more afterwards: child processes have none of it.
    pub(super) fn take() -> Result<Self, StartError> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut fds = ListenFd::from_env();
        let mut handed = Self::default();
        let mut names = names.split(':');
        for index in 0..fds.len() {
            let name = names.next().unwrap_or_default();
            let error = |why: String| StartError::Handed {
                name: name.to_owned(),
                why,
            };
            let sockets = match name {
                "public" => &mut handed.public,
                "private" => &mut handed.private,
                _ => return Err(error(NAMES.to_owned())),
            };
            let socket = fds.take_tcp_listener(index);
            let socket = socket.and_then(|socket| {
                let socket = socket.ok_or(std::io::ErrorKind::NotFound)?;
                socket.set_nonblocking(true)?;
                Ok(socket)
            });
            sockets.push(socket.map_err(|source| error(source.to_string()))?);
        }
        Ok(handed)
    }

    /// The names of those that there are.
    pub(super) fn names(&self) -> Vec<String> {
        let given = [("public", &self.public), ("private", &self.private)];
        let given = given.iter().filter(|(_, sockets)| !sockets.is_empty());
        given.map(|(name, _)| (*name).to_owned()).collect()
    }
}

const NAMES: &str = "it must be called public or private (FileDescriptorName=)";
