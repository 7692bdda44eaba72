//! The fake server behind TLS.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned, crypto::ring, pki_types::PrivatePkcs8KeyDer,
};
use tidings_bench::{
    client::Expect,
    fleet::Tls,
    scenario::{
        ScenarioError,
        connect::{self, Arrived, ConnectConfig},
    },
};

use super::{
    CLIENTS,
    fake::{Config, FakeServer, Fault},
    subject,
};

/// Carries bytes of TLS clients to `target` and back; also returns its certificate.
fn behind_tls(target: SocketAddr) -> (SocketAddr, String) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let tls = ServerConnection::new(config.clone()).unwrap();
            let server = TcpStream::connect(target).unwrap();
            client.set_nonblocking(true).unwrap();
            server.set_nonblocking(true).unwrap();
            thread::spawn(move || carry(StreamOwned::new(tls, client), server));
        }
    });
    (address, made.cert.pem())
}

fn carry(mut client: StreamOwned<ServerConnection, TcpStream>, mut server: TcpStream) {
    while pass(&mut client, &mut server) && pass(&mut server, &mut client) {
        let _ = client.flush();
        thread::sleep(Duration::from_millis(1));
    }
}

/// Passes on what there is; whether the sender is still there.
fn pass(from: &mut impl Read, to: &mut impl Write) -> bool {
    let mut bytes = [0; 4096];
    match from.read(&mut bytes) {
        Ok(0) => false,
        Ok(count) => to.write_all(&bytes[..count]).is_ok(),
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}

fn arrived(fault: Fault, trusted: Option<&str>) -> Result<Arrived, ScenarioError> {
    let (target, certificate) = behind_tls(FakeServer::start(Config {
        fault,
        ..Config::default()
    }));
    let mut subject = subject(target, Expect::Stamps);
    let authority = trusted.unwrap_or(&certificate);
    subject.fleet.tls = Some(Tls::new(authority.as_bytes(), target)?);
    subject.fleet.concurrency = CLIENTS;
    let config = ConnectConfig {
        retry: false,
        watch: Duration::from_millis(50),
    };
    connect::measure(&subject, config)
}

#[test]
fn clients_connect_over_tls() {
    let report = arrived(Fault::None, None).unwrap();
    assert!(report.valid, "{report:?}");
    let report = arrived(Fault::Refuses(2), None).unwrap();
    assert_eq!(
        (report.ready, report.refused),
        (CLIENTS - 2, 2),
        "{report:?}"
    );
}

#[test]
fn a_server_that_nobody_vouches_for_is_refused() {
    let other = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let report = arrived(Fault::None, Some(&other.cert.pem())).unwrap();
    assert_eq!((report.ready, report.refused), (0, CLIENTS as u64));
    assert!(report.refusal.unwrap().contains("certificate"));
    let error = arrived(Fault::None, Some("nothing")).unwrap_err();
    assert!(matches!(error, ScenarioError::Tls(_)), "{error}");
}
