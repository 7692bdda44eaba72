//! The generator against a small server that can be told to fail: what it reports must be so.
#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test fail by panic, as it does"
)]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use serde_json::Value;
use tidings_bench::{
    client::Plan,
    emitter::{Burst, Length},
    fleet::{FleetConfig, FleetError},
    scenario::{
        EmitConfig, ScenarioError, Subject,
        fanout::{self, Fanout, FanoutConfig},
        idle::{self, IdleConfig},
    },
    template::Template,
};

const CLIENTS: usize = 20;
const WARM_UP: u64 = 5;
const EMITS: u64 = 10;
/// The fault shows in the measured part, not in the warm-up.
const FAULTY_EMIT: u64 = WARM_UP + 3;

/// What the server does wrong to its first client.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    /// One event is sent twice.
    Repeats,
    /// Two events change places.
    Swaps,
    /// The connection is closed.
    Closes,
    /// CONNECT is refused.
    Refuses,
    /// An emit is answered with 500.
    Fails,
}

/// A Socket.IO server that knows just what one client of the generator says.
struct FakeServer {
    fault: Fault,
    members: Mutex<Vec<TcpStream>>,
    /// A packet that is sent after the next one.
    held: Mutex<Option<String>>,
}

impl FakeServer {
    fn start(fault: Fault) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = Arc::new(Self {
            fault,
            members: Mutex::default(),
            held: Mutex::default(),
        });
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let server = server.clone();
                thread::spawn(move || server.serve(stream));
            }
        });
        address
    }

    fn serve(&self, mut stream: TcpStream) -> Option<()> {
        stream.set_nodelay(true).unwrap();
        let head = said(&mut stream)?;
        if head.starts_with("POST /emit ") {
            return self.serve_emits(head, stream);
        }
        assert!(
            head.starts_with("GET /live/?EIO=4&transport=websocket HTTP/1.1\r\n"),
            "{head}"
        );
        stream
            .write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
            .ok()?;
        send(&mut stream, r#"0{"sid":"e"}"#);
        said(&mut stream)?;
        match self.fault {
            Fault::Refuses => send(&mut stream, r#"44{"message":"no room"}"#),
            _ => send(&mut stream, r#"40{"sid":"s"}"#),
        }
        said(&mut stream)?;
        self.members
            .lock()
            .unwrap()
            .push(stream.try_clone().unwrap());
        send(&mut stream, r#"430[{"ok":true}]"#);
        Some(())
    }

    fn serve_emits(&self, mut asked: String, mut stream: TcpStream) -> Option<()> {
        for number in 0_u64.. {
            let body = loop {
                match take_request(&mut asked) {
                    Some(body) => break body,
                    None => asked.push_str(&said(&mut stream)?),
                }
            };
            assert_eq!(body["seq"], number);
            let faulty = number == FAULTY_EMIT;
            self.deliver(&format!(r#"42["quote",{body}]"#), faulty);
            let status = match faulty && self.fault == Fault::Fails {
                true => "500 Internal Server Error",
                false => "202 Accepted",
            };
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n{{}}").ok()?;
        }
        Some(())
    }

    fn deliver(&self, packet: &str, faulty: bool) {
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        let (first, others) = members.split_first_mut().unwrap();
        others.iter_mut().for_each(|member| send(member, packet));
        match self.fault {
            Fault::Closes if faulty => first.shutdown(std::net::Shutdown::Both).unwrap(),
            Fault::Swaps if faulty => return *self.held.lock().unwrap() = Some(packet.to_owned()),
            Fault::Repeats if faulty => send(first, packet),
            _ => {}
        }
        send(first, packet);
        if let Some(packet) = self.held.lock().unwrap().take() {
            send(first, &packet);
        }
    }
}

/// The body of the first of the requests that were read, which may be joined, once it is whole.
fn take_request(asked: &mut String) -> Option<Value> {
    let (head, rest) = asked.split_once("\r\n\r\n")?;
    assert!(head.contains("\r\nX-Key: k\r\n"), "{head}");
    let length: usize = head.rsplit_once("Content-Length: ")?.1.parse().unwrap();
    let body = serde_json::from_str(rest.get(..length)?).unwrap();
    *asked = rest[length..].to_owned();
    Some(body)
}

/// What one read brings; of the WebSocket side each step of the talk is short enough to be whole.
fn said(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = [0; 2048];
    let count = stream.read(&mut bytes).ok().filter(|count| *count > 0)?;
    Some(String::from_utf8_lossy(&bytes[..count]).into_owned())
}

/// Sends a text frame; a client that left on purpose is not this server's trouble.
fn send(stream: &mut TcpStream, text: &str) {
    let mut frame = vec![0x81, u8::try_from(text.len()).unwrap()];
    assert!(text.len() < 126);
    frame.extend_from_slice(text.as_bytes());
    let _ = stream.write_all(&frame);
}

/// The generator's view of the server, whose process is this one.
fn subject(target: SocketAddr) -> Subject {
    let plan = Plan {
        host: target.to_string(),
        path: "/live/".into(),
        auth: Some(r#"{"userId":"u{n}"}"#.parse().unwrap()),
        subscribe: Some(r#"["subscribe:bench"]"#.parse().unwrap()),
    };
    Subject {
        pid: std::process::id(),
        fleet: FleetConfig {
            target,
            clients: CLIENTS,
            concurrency: 8,
            sources: 5,
            deadline: Duration::from_secs(10),
            plan,
        },
        emit: EmitConfig {
            url: format!("http://{target}/emit").parse().unwrap(),
            headers: vec!["X-Key: k".into()],
            body: Template::parse(r#"{"ts":{now},"seq":{seq}}"#),
        },
    }
}

fn fanout(fault: Fault) -> Result<Fanout, ScenarioError> {
    let burst = |emits| Burst {
        interval: Duration::from_millis(2),
        length: Length::Emits(emits),
        in_flight: None,
    };
    let config = FanoutConfig {
        warm_up: burst(WARM_UP),
        measured: burst(EMITS),
    };
    fanout::measure(&subject(FakeServer::start(fault)), config)
}

#[test]
fn a_sound_server_is_exact() {
    let report = fanout(Fault::None).unwrap();
    assert!(report.exact, "{report:?}");
    assert_eq!(
        (report.emits, report.deliveries),
        (EMITS, EMITS * CLIENTS as u64)
    );
    let latency = report.latency_us.unwrap();
    assert!(latency.p50 > 0.0 && latency.max < 5e6, "{latency:?}");
    assert!(report.seconds >= 0.018, "ten emits 2 ms apart: {report:?}");
}

#[test]
fn a_repeated_event_is_seen() {
    let report = fanout(Fault::Repeats).unwrap();
    assert!(!report.exact, "{report:?}");
    assert_eq!(report.out_of_order, 1);
}

#[test]
fn a_change_of_order_is_seen() {
    let report = fanout(Fault::Swaps).unwrap();
    assert!(!report.exact, "{report:?}");
    assert_eq!(
        (report.deliveries, report.out_of_order),
        (EMITS * CLIENTS as u64, 1)
    );
}

#[test]
fn a_closed_client_is_seen() {
    let report = fanout(Fault::Closes).unwrap();
    assert!(!report.exact, "{report:?}");
    assert_eq!(report.lost, Some((1, "the connection ended".into())));
}

#[test]
fn a_refused_client_ends_the_run() {
    let error = fanout(Fault::Refuses).unwrap_err();
    assert!(
        matches!(
            error,
            ScenarioError::Fleet(FleetError::Lost { ready: 0, .. })
        ),
        "{error}"
    );
    assert!(error.to_string().contains("no room"), "{error}");
}

#[test]
fn a_refused_emit_ends_the_run() {
    let error = fanout(Fault::Fails).unwrap_err().to_string();
    assert!(error.starts_with("emit refused: HTTP/1.1 500 "), "{error}");
}

#[test]
fn idle_floods_every_client() {
    let config = IdleConfig {
        settle: Duration::from_millis(10),
        flood: 30,
        in_flight: 2,
    };
    let report = idle::measure(&subject(FakeServer::start(Fault::None)), config).unwrap();
    assert!(report.lost.is_none());
    assert!(report.empty_kib > 100.0);
    let flood = report.after_flood.unwrap();
    assert!(flood.exact);
    assert_eq!(flood.deliveries, 30 * CLIENTS as u64);
}
