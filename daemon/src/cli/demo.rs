//! The demo's settings and its folder below the temporary one.

use std::fs::{self, DirBuilder};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use super::args::Demo;
use crate::config::{Config, Node};

/// New connections a minute that one browser may open while somebody plays with the page.
const CONNECTIONS_PER_MINUTE: u32 = 120;

/// Why the demo cannot start. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub(super) enum DemoError {
    /// Emptying its folder would pull the ground from under it.
    #[error("a demo is running in {}; stop it first, or leave out --fresh", .0.display())]
    Running(PathBuf),
    /// Temporary folders are shared; another user could have put this one there.
    #[error("{} is not a folder of yours; remove it, or set TMPDIR", .0.display())]
    Foreign(PathBuf),
    /// The folder cannot be made, looked at or emptied.
    #[error("cannot {what} {}: {error}", folder.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

/// Makes the demo's folder, emptied if so asked, and the settings for it.
pub(super) fn prepare(options: &Demo, config: Config) -> Result<Config, DemoError> {
    let config = settings(
        config,
        std::env::temp_dir().join("tidings-demo"),
        options.port,
    );
    make(&config.node, options.fresh)?;
    Ok(config)
}

fn settings(mut config: Config, folder: PathBuf, port: Option<u16>) -> Config {
    let port = port.unwrap_or(config.listen.public.port());
    config.node.data_dir = folder;
    config.listen.public = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    config.listen.private = SocketAddr::from((Ipv4Addr::LOCALHOST, next(port)));
    config.tls = None;
    config.acme.domains.clear();
    config.limits.connections_per_minute_per_ip = CONNECTIONS_PER_MINUTE;
    config
}

/// The port of the API: the one after the page's, or any.
fn next(port: u16) -> u16 {
    if port == 0 {
        0
    } else {
        port.checked_add(1).unwrap_or(0)
    }
}

fn make(node: &Node, fresh: bool) -> Result<(), DemoError> {
    let folder = &node.data_dir;
    let io = |what| {
        move |error| DemoError::Io {
            what,
            folder: folder.to_owned(),
            error,
        }
    };
    if fresh && is_own(folder)? {
        if UnixStream::connect(node.admin_socket()).is_ok() {
            return Err(DemoError::Running(folder.to_owned()));
        }
        fs::remove_dir_all(folder).map_err(io("empty"))?;
    }
    if !is_own(folder)? {
        DirBuilder::new()
            .mode(0o700)
            .create(folder)
            .map_err(io("make"))?;
    }
    Ok(())
}

/// Whether the folder is there; an error if it is not this user's alone.
fn is_own(folder: &Path) -> Result<bool, DemoError> {
    let me = rustix::process::geteuid().as_raw();
    // A link is not followed: it could lead to any folder of this user.
    match fs::symlink_metadata(folder) {
        Ok(found) if found.is_dir() && found.uid() == me => Ok(true),
        Ok(_) => Err(DemoError::Foreign(folder.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(DemoError::Io {
            what: "look at",
            folder: folder.to_owned(),
            error,
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn node(temporary: &tempfile::TempDir, folder: &str) -> Node {
        Node {
            data_dir: temporary.path().join(folder),
            ..Node::default()
        }
    }

    #[test]
    fn keeps_its_folder_unless_told_otherwise() {
        let temporary = tempfile::tempdir().unwrap();
        let node = node(&temporary, "tidings-demo");
        make(&node, true).unwrap();
        assert_eq!(fs::metadata(&node.data_dir).unwrap().mode() & 0o777, 0o700);
        let data = node.data_dir.join("data");
        fs::write(&data, "x").unwrap();
        make(&node, false).unwrap();
        assert!(data.exists());
        make(&node, true).unwrap();
        assert!(!data.exists());
    }

    #[test]
    fn does_not_empty_what_is_in_use_or_not_its_own() {
        let temporary = tempfile::tempdir().unwrap();
        let used = node(&temporary, "tidings-demo");
        make(&used, false).unwrap();
        let _running = UnixListener::bind(used.admin_socket()).unwrap();
        assert!(matches!(make(&used, true), Err(DemoError::Running(_))));
        make(&used, false).unwrap();

        let link = node(&temporary, "link");
        std::os::unix::fs::symlink(&used.data_dir, &link.data_dir).unwrap();
        assert!(matches!(make(&link, true), Err(DemoError::Foreign(_))));
        assert!(used.data_dir.exists());
    }

    #[test]
    fn listens_to_this_machine_only() {
        let listen = |port| {
            let config = settings(Config::default(), "/tmp/demo".into(), port);
            assert_eq!(config.warnings(), [""; 0]);
            [config.listen.public, config.listen.private].map(|address| address.to_string())
        };
        assert_eq!(listen(None), ["127.0.0.1:8080", "127.0.0.1:8081"]);
        assert_eq!(listen(Some(9000)), ["127.0.0.1:9000", "127.0.0.1:9001"]);
        assert_eq!(listen(Some(65535)), ["127.0.0.1:65535", "127.0.0.1:0"]);
        assert_eq!(listen(Some(0)), ["127.0.0.1:0", "127.0.0.1:0"]);
    }
}
