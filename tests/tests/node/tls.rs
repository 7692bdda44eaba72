//! The public listener with a certificate: every kind of client, and those who speak no TLS.

use serde_json::{Value, json};
use tidings_tests::{Certificate, EngineWs, Node, RawHttp, RunningNode, Script};

async fn node(certificate: &Certificate) -> RunningNode {
    let node = Node::new();
    let cert = node.file("chain.pem", &certificate.chain);
    let key = node.file("key.pem", &certificate.key);
    node.config("tls.cert", cert)
        .config("tls.key", key)
        .start()
        .await
}

#[tokio::test]
async fn serves_http_and_websocket() {
    let certificate = Certificate::new();
    let node = node(&certificate).await;
    let mut http = RawHttp::over(certificate.connect(node.public()).await, "localhost");
    let health = http.request("GET", "/health", &[], b"").await;
    assert_eq!(
        (health.status, health.json()),
        (200, json!({"status": "ok"}))
    );
    let poll = http
        .request("GET", "/socket.io/?EIO=4&transport=polling", &[], b"")
        .await;
    assert_eq!(poll.status, 200);
    let stream = certificate.connect(node.public()).await;
    let query = "EIO=4&transport=websocket";
    let mut ws = EngineWs::over(stream, "localhost", "/socket.io/", query, &[])
        .await
        .expect("the upgrade is taken");
    assert!(ws.handshake().await["sid"].is_string());
}

#[tokio::test]
async fn is_spoken_by_real_clients() {
    let certificate = Certificate::new();
    let node = node(&certificate).await;
    let session = node.session("alice").await;
    let authority = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    std::fs::write(authority.path(), &certificate.authority).expect("it can be written");
    let port = node.public().rsplit_once(':').expect("a port").1;
    for transports in ["websocket", "polling", "polling,websocket"] {
        Script::node("session.mjs")
            .arg(format!("https://localhost:{port}"))
            .args(["--transports", transports])
            .env("TIDINGS_SESSION", &session.auth().to_string())
            .env("TIDINGS_API", &node.private_url())
            .env("TIDINGS_API_KEY", tidings_tests::node::API_KEY)
            .env(
                "NODE_EXTRA_CA_CERTS",
                authority.path().to_str().expect("a path in UTF-8"),
            )
            .run()
            .await;
    }
}

#[tokio::test]
async fn is_not_shaken_by_those_who_speak_none() {
    let certificate = Certificate::new();
    let node = node(&certificate).await;
    for noise in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\0\0\0",
        b"\x16\x03\x01\xff\xff",
        b"",
    ] {
        let mut http = RawHttp::connect(node.public()).await;
        let _ = http.send_bytes(noise).await;
    }
    let mut http = RawHttp::over(certificate.connect(node.public()).await, "localhost");
    assert_eq!(http.request("GET", "/health", &[], b"").await.status, 200);
}

#[tokio::test]
async fn with_a_broken_certificate_stops_the_start() {
    for (chain, key) in [("not PEM", "not PEM"), ("", "")] {
        let node = Node::new();
        let cert = node.file("chain.pem", chain);
        let key = node.file("key.pem", key);
        let cert_path = cert.clone();
        let (status, log) = node
            .config("tls.cert", cert)
            .config("tls.key", key)
            .run_to_end()
            .await;
        assert_eq!(status.code(), Some(64), "{log}");
        assert!(
            log.contains("tls.cert") && log.contains(&cert_path),
            "{log}"
        );
    }
}

/// Of X.509 version 1, as `openssl x509 -req` makes one without extensions.
const VERSION_1: &str = "-----BEGIN CERTIFICATE-----
MIIBJTCBywIUD4VVO2WLTtQU+3EKkNJaq7jFnaIwCgYIKoZIzj0EAwIwFDESMBAG
A1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyNzExNDMyN1oYDzIxMjYxMTAzMTE0MzI3
WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
AAT8l6+vncuSoE9xQgEgjCwd6yzRgBUaWEvXEFMXpHV/q5NH/4wRs+QtNo05DFbK
P0Vfiy4BiTZDXJmXVyArzzmoMAoGCCqGSM49BAMCA0kAMEYCIQCJsXHWcoz9bWtF
9p56qb7vBNON951gJMax0CT8onumpQIhAOWJOn9A/SrTW1HzFU+Si7D3vxDHmZQk
fxqk424rau/A
-----END CERTIFICATE-----
";

#[tokio::test]
async fn of_an_old_version_is_refused_with_the_reason() {
    let node = Node::new();
    let cert = node.file("chain.pem", VERSION_1);
    let key = node.file("key.pem", &Certificate::new().key);
    let node = node.config("tls.cert", cert).config("tls.key", key);
    for args in [["check"], ["serve"]] {
        let (status, _, error) = node.command(&args, "");
        assert_eq!(status.code(), Some(64), "{args:?}: {error}");
        assert!(
            error.contains("tls.cert") && error.contains("version 1"),
            "{args:?}: {error}"
        );
    }
}

#[tokio::test]
async fn that_is_not_valid_now_makes_the_node_degraded() {
    for (from, until, expected) in [(-10, 80, "ok"), (1, 80, "degraded"), (-80, -1, "degraded")] {
        let certificate = Certificate::between(from, until);
        let node = node(&certificate).await;
        let (_, health) = node.api("GET", "/health", Value::Null).await;
        assert_eq!(health["status"], expected, "from {from} to {until}");
        let warned = node.log().contains("no certificate that is valid now");
        assert_eq!(warned, expected == "degraded", "{}", node.log());
        let (_, detailed) = node.api("GET", "/api/health/detailed", Value::Null).await;
        let said = &detailed["certificate"];
        let times = [&said["starts"], &said["expires"]].map(Value::as_str);
        assert!(times[0].is_some() && times[0] < times[1], "{said}");
    }
}
