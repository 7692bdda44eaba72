//! A CA that speaks ACME: Let's Encrypt's own for tests, as Debian has it.
//!
//! `tests/run --setup` unpacks it; else it is looked for in the path.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::json;
use tempfile::TempDir;

use crate::process::Process;
use crate::tls::{Certificate, Trust};
use crate::{PATIENCE, RawHttp, port};

/// What it logs once it listens.
const LISTENS: &str = "ACME directory available";

/// A running CA. Dropping it ends it.
pub struct Pebble {
    /// Ends before `home`, which holds its log.
    process: Process,
    home: TempDir,
    /// How its own server is known.
    certificate: Certificate,
    ports: [u16; 2],
}

impl Pebble {
    /// Starts one that looks for proofs at this port of `localhost`, and whose certificates are valid
    /// for so many seconds.
    pub async fn start(proofs: u16, seconds: u64) -> Pebble {
        Pebble::start_on(port::free(), proofs, seconds).await
    }

    /// The same on a port that a node was told before.
    pub async fn start_on(port: u16, proofs: u16, seconds: u64) -> Pebble {
        let home = tempfile::tempdir().expect("a temporary folder can be made");
        let certificate = Certificate::new();
        let ports = [port, port::free()];
        let file = |name: &str, text: &str| {
            let path = home.path().join(name);
            fs::write(&path, text).expect("the test's folder can be written");
            path.to_str().expect("a path in UTF-8").to_owned()
        };
        let [api, management] = ports.map(|port| format!("127.0.0.1:{port}"));
        let settings = json!({ "pebble": {
            "listenAddress": api,
            "managementListenAddress": management,
            "certificate": file("chain.pem", &certificate.chain),
            "privateKey": file("key.pem", &certificate.key),
            "httpPort": 1,
            "tlsPort": proofs,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
            "certificateValidityPeriod": seconds,
        }});
        let settings = file("pebble.json", &settings.to_string());
        let mut command = Command::new(program());
        command
            .args(["-strict", "-config", &settings])
            .env("PEBBLE_VA_NOSLEEP", "1")
            // Every order is proved.
            .env("PEBBLE_AUTHZREUSE", "0");
        let mut process = Process::spawn("pebble", command, &home.path().join("log"));
        let listens = |log: &str| log.contains(LISTENS).then_some(());
        process.wait_for(LISTENS, PATIENCE, listens).await;
        Pebble {
            process,
            home,
            certificate,
            ports,
        }
    }

    /// Where it lists what it offers.
    pub fn directory(&self) -> String {
        directory(self.ports[0])
    }

    /// The file with the authority that its own server is known by.
    pub fn authority(&self) -> String {
        let path = self.home.path().join("authority.pem");
        fs::write(&path, &self.certificate.authority).expect("the test's folder can be written");
        path.to_str().expect("a path in UTF-8").to_owned()
    }

    /// Clients that trust what it issues.
    pub async fn trust(&self) -> Trust {
        let address = format!("127.0.0.1:{}", self.ports[1]);
        let stream = self.certificate.connect(&address).await;
        let mut http = RawHttp::over(stream, "localhost");
        let root = http.request("GET", "/roots/0", &[], b"").await;
        assert_eq!(root.status, 200);
        Trust::new(root.text())
    }

    /// All that it has said.
    pub fn log(&self) -> String {
        self.process.log()
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        // It does not end well on SIGTERM.
        self.process.kill9();
    }
}

/// Where one on this port lists what it offers.
pub fn directory(port: u16) -> String {
    format!("https://localhost:{port}/dir")
}

fn program() -> PathBuf {
    let unpacked = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../.tools/pebble/usr/bin/pebble"
    );
    let unpacked = PathBuf::from(unpacked);
    Some(unpacked)
        .filter(|path| path.exists())
        .unwrap_or_else(|| "pebble".into())
}
