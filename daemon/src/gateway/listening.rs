//! Where a node listens, and how others on its machine come to know.

use std::{fs, io, net::SocketAddr, path::Path};

use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpSocket};

use super::StartError;

/// Connections that the kernel holds until they are accepted: an avalanche of reconnects.
pub(crate) const BACKLOG: u32 = 4096;

/// Binds a listener; `key` names it in errors.
pub async fn bind(key: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    let error = |source| StartError::Bind {
        key,
        address,
        source,
    };
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    };
    let socket = socket.map_err(error)?;
    socket.set_reuseaddr(true).map_err(error)?;
    socket.bind(address).map_err(error)?;
    socket.listen(BACKLOG).map_err(error)
}

/// The file in the data folder that says so, for whoever started the node on port 0.
const FILE: &str = "listening.json";

/// The addresses that are in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listening {
    /// For clients.
    pub public: SocketAddr,
    /// For backends and operators.
    pub private: SocketAddr,
    /// Where other nodes reach it, over UDP.
    pub cluster: Option<SocketAddr>,
    /// Those, by name, of the sockets that systemd has opened, whatever the settings say.
    #[serde(default)]
    pub handed: Vec<String>,
}

impl Listening {
    /// Writes it into the data folder, as a whole.
    pub fn announce(&self, data_dir: &Path) -> io::Result<()> {
        let partial = data_dir.join(format!("{FILE}.new"));
        fs::write(&partial, serde_json::to_string(self)?)?;
        fs::rename(partial, data_dir.join(FILE))
    }

    /// What the node that runs has written; `None` before it listens.
    pub fn read(data_dir: &Path) -> io::Result<Option<Self>> {
        match fs::read(data_dir.join(FILE)) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes away what an earlier run has written.
    pub(crate) fn forget(data_dir: &Path) -> io::Result<()> {
        match fs::remove_file(data_dir.join(FILE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}
