//! A Socket.IO server with an HTTP way to emit that can be told to fail. It knows just what one
//! client of the generator says.

use std::{
    collections::VecDeque,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use serde_json::Value;

use super::wire::{Out, Wire, polled};

/// What the server does wrong, to its first client unless said otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Fault {
    #[default]
    None,
    /// An event is sent twice.
    Repeats,
    /// Two events change places.
    Swaps,
    /// The connection is closed.
    Closes,
    /// An event does not come.
    Drops,
    /// No more events come.
    Stops,
    /// An event goes to the second client instead.
    Misdirects,
    /// So many clients, the first ones, are refused by CONNECT_ERROR.
    Refuses(u64),
    /// An emit is answered with 500, or with an error in its line.
    Fails,
    /// Acknowledgements of all that is not subscribing are refusals.
    Denies,
    /// They do not come.
    Ignores,
    /// The subscribing of the first client is not acknowledged.
    Mute,
}

/// How a server is made.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Config {
    pub(crate) fault: Fault,
    /// With which event to the client, from 0, the fault shows.
    pub(crate) at: u64,
    /// Whether only the newest quote of a symbol in a request is delivered.
    pub(crate) conflates: bool,
}

/// A client that has its say.
struct Talk {
    out: Out,
    /// How many came before it.
    join: u64,
    user: String,
    /// Whether it has its session.
    is_open: bool,
}

/// A client that subscribed.
struct Member {
    out: Out,
    user: String,
    /// What it subscribed to, as JSON.
    wants: Value,
    /// Events for it so far.
    events: u64,
    /// A packet that is sent after the next one.
    held: Option<String>,
}

pub(crate) struct FakeServer {
    config: Config,
    members: Mutex<Vec<Member>>,
    joins: AtomicU64,
}

impl FakeServer {
    pub(crate) fn start(config: Config) -> SocketAddr {
        Self::start_watched(config).0
    }

    /// Also returns the server, to see who has come.
    pub(crate) fn start_watched(config: Config) -> (SocketAddr, Arc<Self>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = Arc::new(Self {
            config,
            members: Mutex::default(),
            joins: AtomicU64::new(0),
        });
        let serving = server.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let server = serving.clone();
                thread::spawn(move || server.serve(stream));
            }
        });
        (address, server)
    }

    /// Waits until so many clients have subscribed.
    pub(crate) fn wait_for(&self, clients: usize) {
        while self.members().len() < clients {
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn serve(&self, stream: TcpStream) -> Option<()> {
        stream.set_nodelay(true).unwrap();
        let mut wire = Wire::new(stream);
        let head = wire.head()?;
        if head.starts_with("POST /stream ") {
            return self.serve_lines(&head, wire);
        }
        if head.starts_with("POST /emit ") {
            return self.serve_emits(head, wire);
        }
        if head.starts_with("GET /live/?EIO=4&transport=polling HTTP/1.1\r\n") {
            return self.serve_polls(head, wire);
        }
        let upgrade = "GET /live/?EIO=4&transport=websocket HTTP/1.1\r\n";
        assert!(head.starts_with(upgrade), "{head}");
        self.serve_client(wire)
    }

    fn serve_client(&self, mut wire: Wire) -> Option<()> {
        wire.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")?;
        let mut talk = self.talk(Out::Socket(wire.stream()));
        talk.out.send(r#"0{"sid":"e"}"#);
        loop {
            let packet = wire.packet()?;
            self.hear(&mut talk, &packet);
        }
    }

    /// Serves the requests of a polling client, which all come on one connection. It must answer a
    /// ping before anything else.
    fn serve_polls(&self, mut head: String, mut wire: Wire) -> Option<()> {
        let (sender, packets) = mpsc::channel();
        let mut talk = self.talk(Out::Polls(sender));
        talk.out.send(r#"0{"sid":"e"}"#);
        let mut said = VecDeque::new();
        let mut is_alive = false;
        loop {
            assert_eq!(head.contains("&sid=e "), talk.is_open, "{head}");
            talk.is_open = true;
            let body = match head.starts_with("GET ") {
                true => polled(&packets)?,
                false => {
                    let length = head.rsplit_once("Content-Length: ").unwrap().1;
                    let posted = wire.take(length.trim().parse().unwrap())?;
                    said.extend(posted.split('\u{1e}').map(str::to_owned));
                    if !is_alive && said.back().is_some_and(|packet| packet == "3") {
                        is_alive = true;
                        said.pop_back();
                    } else if !is_alive {
                        talk.out.send("2");
                    }
                    while is_alive && !said.is_empty() {
                        self.hear(&mut talk, &said.pop_front()?);
                    }
                    "ok".to_owned()
                }
            };
            let length = body.len();
            wire.write(
                format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}").as_bytes(),
            )?;
            head = wire.head()?;
        }
    }

    fn talk(&self, out: Out) -> Talk {
        Talk {
            out,
            join: self.joins.fetch_add(1, Ordering::Relaxed),
            user: String::new(),
            is_open: false,
        }
    }

    /// Answers one packet.
    fn hear(&self, talk: &mut Talk, packet: &str) {
        if let Some(auth) = packet.strip_prefix("40") {
            let auth: Value = serde_json::from_str(auth).unwrap();
            talk.user = auth["userId"].as_str().unwrap_or_default().to_owned();
            return match self.config.fault {
                Fault::Refuses(count) if talk.join < count => {
                    talk.out.send(r#"44{"message":"no room"}"#);
                }
                _ => talk.out.send(r#"40{"sid":"s"}"#),
            };
        }
        let event = packet.strip_prefix("42").unwrap();
        let (id, event) = event.split_at(event.find('[').unwrap());
        let event: Value = serde_json::from_str(event).unwrap();
        let is_subscribing = event[0].as_str().unwrap().starts_with("subscribe:");
        if is_subscribing {
            self.members().push(Member {
                out: talk.out.clone(),
                user: talk.user.clone(),
                wants: event[1].clone(),
                events: 0,
                held: None,
            });
        }
        match self.config.fault {
            Fault::Denies if !is_subscribing => {
                talk.out.send(&format!(r#"43{id}[{{"ok":false}}]"#));
            }
            Fault::Ignores if !is_subscribing => {}
            Fault::Mute if talk.join == 0 => {}
            _ => talk.out.send(&format!(r#"43{id}[{{"ok":true}}]"#)),
        }
    }

    fn serve_emits(&self, mut head: String, mut wire: Wire) -> Option<()> {
        loop {
            assert!(head.contains("\r\nX-Key: k\r\n"), "{head}");
            let length = head.rsplit_once("Content-Length: ").unwrap().1;
            let body = wire.take(length.trim().parse().unwrap())?;
            let status = match self.emit(&items(&body)) {
                true => "202 Accepted",
                false => "500 Internal Server Error",
            };
            wire.write(format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n{{}}").as_bytes())?;
            head = wire.head()?;
        }
    }

    fn serve_lines(&self, head: &str, mut wire: Wire) -> Option<()> {
        assert!(
            head.contains("\r\nTransfer-Encoding: chunked\r\n"),
            "{head}"
        );
        wire.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        loop {
            let chunk = wire.chunk()?;
            for item in items(&chunk) {
                let line = match self.emit(&[item]) {
                    true => "{\"id\":\"x\"}\n",
                    false => "{\"error\":{}}\n",
                };
                wire.write(format!("{:x}\r\n{line}\r\n", line.len()).as_bytes())?;
            }
        }
    }

    /// Delivers; whether that is what the caller is told.
    fn emit(&self, items: &[Value]) -> bool {
        let mut members = self.members();
        let mut is_taken = true;
        for (place, item) in items.iter().enumerate() {
            let is_newest = items[place + 1..]
                .iter()
                .all(|later| later["symbol"] != item["symbol"]);
            if self.config.conflates && !is_newest {
                continue;
            }
            let packet = format!("42[\"quote\",{item}]");
            for index in 0..members.len() {
                if members[index].is_meant(item) {
                    is_taken &= self.deliver(&mut members, index, &packet);
                }
            }
        }
        is_taken
    }

    fn deliver(&self, members: &mut [Member], index: usize, packet: &str) -> bool {
        let member = &mut members[index];
        let number = member.events;
        member.events += 1;
        let is_faulty = index == 0 && number == self.config.at;
        match self.config.fault {
            Fault::Closes if is_faulty => member.out.close(),
            Fault::Swaps if is_faulty => {
                member.held = Some(packet.to_owned());
                return true;
            }
            Fault::Repeats if is_faulty => member.out.send(packet),
            Fault::Drops if is_faulty => return true,
            Fault::Stops if index == 0 && number >= self.config.at => return true,
            Fault::Misdirects if is_faulty => {
                members[1].out.send(packet);
                return true;
            }
            Fault::Fails if is_faulty => return false,
            _ => {}
        }
        member.out.send(packet);
        if let Some(packet) = member.held.take() {
            member.out.send(&packet);
        }
        true
    }

    fn members(&self) -> MutexGuard<'_, Vec<Member>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Member {
    /// Whether an emit is for it: for its user, for one of its symbols, or for all.
    fn is_meant(&self, item: &Value) -> bool {
        let has = |wanted: &Value, value: &Value| {
            wanted.as_array().is_some_and(|all| all.contains(value))
        };
        match (&item["user"], &item["symbol"]) {
            (Value::String(user), _) => *user == self.user,
            (_, symbol @ Value::String(_)) => has(&self.wants["symbols"], symbol),
            _ => true,
        }
    }
}

/// The emits of a body: one, an array of them, or one a line.
fn items(body: &str) -> Vec<Value> {
    match body.starts_with('[') {
        true => serde_json::from_str(body).unwrap(),
        false => body
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
    }
}
