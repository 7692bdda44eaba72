//! What a node with this configuration would do, in words.

use std::fmt::Write;

use super::kind::units::{duration_text, size_text};
use super::{AdminUiMode, AuthMode, Channel, Class, Config, RoomTemplate};

/// The width of the column of subjects.
const SUBJECTS: usize = 13;

/// Says what a node would do, then what may surprise. Secrets are counted, never shown.
pub fn describe(config: &Config) -> String {
    let mut out = Out(String::new());
    out.subject("node", &node(config));
    out.subject("public", &public(config));
    out.subject("private", &private(config));
    out.subject("clients", &[who(config), from_where(config)]);
    out.subject("limits", &limits(config));
    out.subject("connections", &engine(config));
    out.subject("namespaces", &namespaces(config));
    out.subject("channels", &channels(config));
    out.subject("recovery", &[recovery(config)]);
    out.subject("cluster", &cluster(config));
    out.subject("mongodb", &mongodb(config));
    out.subject("admin UI", &[admin_ui(config)]);
    out.subject("drain", &[drain(config)]);
    out.subject("log", &[log(config)]);
    for warning in config.warnings() {
        out.subject("WARNING", &[warning]);
    }
    out.0
}

struct Out(String);

impl Out {
    /// The subject stands before the first line only.
    fn subject(&mut self, subject: &str, lines: &[String]) {
        for (at, line) in lines.iter().enumerate() {
            let subject = if at == 0 { subject } else { "" };
            writeln!(self.0, "{subject:SUBJECTS$}{line}").expect("text can always be written to");
        }
    }
}

fn node(config: &Config) -> [String; 2] {
    let threads = match config.node.shards {
        0 => "one thread per core".to_owned(),
        1 => "one thread".to_owned(),
        count => format!("{count} threads"),
    };
    [
        format!("{}, connections on {threads}", config.node.name),
        format!("stores its data in {}", config.node.data_dir.display()),
    ]
}

fn cluster(config: &Config) -> Vec<String> {
    let cluster = &config.cluster;
    let (Some(key), Some(address)) = (&cluster.key, cluster.address()) else {
        return vec!["none: this node is alone".to_owned()];
    };
    let seeds = match joined(&cluster.seeds) {
        list if list.is_empty() => "others come to it".to_owned(),
        list => format!("begins with {list}"),
    };
    vec![
        format!("{:?}, reached at {address} (UDP); {seeds}", cluster.name),
        format!(
            "key {}, at most {} wait for one node",
            key.display(),
            size_text(cluster.queue).unwrap_or_else(|| format!("{} bytes", cluster.queue))
        ),
    ]
}

fn mongodb(config: &Config) -> Vec<String> {
    let mongodb = &config.mongodb;
    if mongodb.uri.is_none() {
        return vec!["none: nothing is shared".to_owned()];
    }
    let database = match mongodb.database.as_str() {
        "" => "the database that the connection string (***) names".to_owned(),
        name => format!("database {name} (connection string ***)"),
    };
    let sessions = match mongodb.sessions.as_str() {
        "" => "no sessions are shared".to_owned(),
        name => format!("sessions in {name}"),
    };
    let timeout = duration_text(mongodb.timeout);
    vec![format!(
        "{database}; {sessions}; an operation may take {timeout}"
    )]
}

fn public(config: &Config) -> Vec<String> {
    let scheme = if config.speaks_tls() { "https" } else { "http" };
    let listen = &config.listen;
    let mut lines = vec![format!(
        "{scheme}://{}{} for Socket.IO clients",
        listen.public, listen.path
    )];
    if let Some(tls) = &config.tls {
        let (cert, key) = (tls.cert.display(), tls.key.display());
        lines.push(format!("certificate {cert}, key {key}"));
    }
    if !config.acme.domains.is_empty() {
        let (domains, directory) = (joined(&config.acme.domains), &config.acme.directory);
        lines.push(format!(
            "certificate for {domains} from {directory}, which connects to port 443"
        ));
    }
    if let Some(folder) = &listen.client_dir {
        lines.push(format!(
            "serves the browser client from {}",
            folder.display()
        ));
    }
    lines
}

fn private(config: &Config) -> [String; 2] {
    let scheme = if config.private_uses_tls() {
        "https"
    } else {
        "http"
    };
    let key = match config.auth.api_key {
        Some(_) => "keys made by `tidings key`, and the one that was configured (***)",
        None => "keys made by `tidings key`",
    };
    [
        format!(
            "{scheme}://{} for the HTTP API and metrics",
            config.listen.private
        ),
        format!("accepts {key}"),
    ]
}

fn who(config: &Config) -> String {
    let auth = &config.auth;
    let secret = match auth.secrets.len() {
        _ if auth.mode == AuthMode::None => return "anyone may connect, as any user".to_owned(),
        0 => "signed with a secret of this node's own".to_owned(),
        1 => "signed with the configured secret (***)".to_owned(),
        count => format!("signed with the first of {count} secrets (***)"),
    };
    format!(
        "clients with a session, sent in `auth` or the cookie {} ({secret}); a login lasts {}",
        auth.cookie,
        duration_text(auth.session_ttl)
    )
}

fn from_where(config: &Config) -> String {
    let pages = match joined(&config.http.origins) {
        list if list.is_empty() => "pages of the same host".to_owned(),
        list => format!("pages of the same host and of {list}"),
    };
    match joined(&config.http.trusted_proxies) {
        list if list.is_empty() => format!("{pages}; forwarding headers are ignored"),
        list => format!("{pages}; forwarding headers are believed from {list}"),
    }
}

fn limits(config: &Config) -> Vec<String> {
    let limits = &config.limits;
    let mut lines = vec![
        format!(
            "{} events a minute per user",
            count(limits.events_per_minute_per_user)
        ),
        format!(
            "{} connections a minute per address",
            count(limits.connections_per_minute_per_ip)
        ),
        format!(
            "{} subscriptions per user",
            count(limits.subscriptions_per_user)
        ),
        format!("{} connections on this node", count(limits.connections)),
        format!(
            "{} logins a minute per address, {} per user",
            count(limits.logins_per_minute_per_ip),
            count(limits.logins_per_minute_per_user)
        ),
        format!(
            "{} in a packet, {} waiting for a slow reader, {} in a request's head, {} in an API \
             request",
            bytes(limits.payload),
            bytes(limits.outbox),
            bytes(limits.header),
            bytes(limits.api_body)
        ),
    ];
    if limits.abuse_windows > 0 && limits.events_per_minute_per_user > 0 {
        let refused =
            u64::from(limits.abuse_windows) * u64::from(limits.events_per_minute_per_user);
        lines.push(format!(
            "disconnected after {refused} refused events within a minute"
        ));
    }
    lines
}

fn engine(config: &Config) -> [String; 2] {
    let engine = &config.engine;
    let transports = match (engine.transports.polling, engine.transports.websocket) {
        (true, true) => "polling and WebSocket",
        (true, false) => "polling",
        _ => "WebSocket",
    };
    [
        format!(
            "over {transports}; closed after {} without a CONNECT",
            duration_text(config.auth.connect_timeout)
        ),
        format!(
            "a ping every {}, gone after {} without an answer",
            duration_text(engine.ping_interval),
            duration_text(engine.ping_timeout)
        ),
    ]
}

fn namespaces(config: &Config) -> [String; 1] {
    let names: Vec<_> = config
        .namespaces
        .iter()
        .map(|namespace| &*namespace.name)
        .collect();
    [names.join(" ")]
}

fn channels(config: &Config) -> Vec<String> {
    if config.channels.is_empty() {
        return vec!["none: clients can subscribe to nothing".to_owned()];
    }
    config
        .channels
        .iter()
        .map(|(name, channel)| channel_line(name, channel))
        .collect()
}

fn channel_line(name: &str, channel: &Channel) -> String {
    let mut params: Vec<_> = channel
        .rooms
        .iter()
        .flat_map(RoomTemplate::client_variables)
        .collect();
    params.dedup();
    let event = match params[..] {
        [] => format!("subscribe:{name}"),
        _ => format!("subscribe:{name} {{{}}}", params.join(", ")),
    };
    let class = match channel.class {
        Class::Live => "live".to_owned(),
        Class::Conflated => {
            format!(
                "conflated, one value every {}",
                duration_text(channel.interval)
            )
        }
        Class::Recoverable => "recoverable".to_owned(),
    };
    let namespace = match channel.namespace.as_str() {
        "/" => String::new(),
        name => format!(" in {name}"),
    };
    format!(
        "{event:32} joins {}{namespace}: {class}",
        joined(&channel.rooms)
    )
}

fn recovery(config: &Config) -> String {
    let recovery = &config.recovery;
    if recovery.window.is_zero() {
        return "off".to_owned();
    }
    format!(
        "clients may be away for {}; {} events per room, {} in all",
        duration_text(recovery.window),
        recovery.entries_per_room,
        bytes(recovery.memory)
    )
}

fn admin_ui(config: &Config) -> String {
    let admin_ui = &config.admin_ui;
    if !admin_ui.enabled {
        return "off".to_owned();
    }
    let shows = match admin_ui.mode {
        AdminUiMode::Development => "clients, rooms and events",
        AdminUiMode::Production => "figures",
    };
    let acts = match admin_ui.read_only {
        true => "; nothing can be done by it",
        false => ", and acts on sockets",
    };
    let (namespace, username) = (&admin_ui.namespace, &admin_ui.username);
    format!("on {namespace} for {username} (password hash ***): shows {shows}{acts}")
}

fn drain(config: &Config) -> String {
    format!(
        "on SIGTERM clients move within {}, exit within {}",
        duration_text(config.drain.spread),
        duration_text(config.drain.deadline)
    )
}

fn log(config: &Config) -> String {
    let format = match config.log.format {
        super::LogFormat::Text => "text",
        super::LogFormat::Json => "JSON",
    };
    format!(
        "{} and above, as {format} on standard error",
        config.log.level
    )
}

fn count(limit: impl TryInto<u64>) -> String {
    match limit.try_into() {
        Ok(0) => "any number of".to_owned(),
        Ok(limit) => limit.to_string(),
        Err(_) => "very many".to_owned(),
    }
}

fn bytes(size: usize) -> String {
    size_text(size).unwrap_or_else(|| format!("{size} bytes"))
}

fn joined<T: ToString>(items: &[T]) -> String {
    items
        .iter()
        .map(T::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Secret, Tls, Transports};
    use super::*;

    fn assert_says(config: &Config, parts: &[&str]) {
        let text = describe(config);
        for part in parts {
            assert!(text.contains(part), "no {part:?} in:\n{text}");
        }
    }

    #[test]
    fn says_what_the_defaults_do() {
        assert_says(
            &Config::default(),
            &[
                "public       http://0.0.0.0:8080/socket.io/ for Socket.IO clients\n",
                "accepts keys made by `tidings key`\n",
                "signed with a secret of this node's own); a login lasts 24h\n",
                "pages of the same host; forwarding headers are ignored\n",
                "limits       100 events a minute per user\n",
                "disconnected after 300 refused events within a minute\n",
                "over polling and WebSocket; closed after 10s without a CONNECT\n",
                "subscribe:watchlist {symbol}     joins quote:{symbol}: conflated, one value every \
                 250ms\n",
                "clients may be away for 120s; 1000 events per room, 64MiB in all\n",
                "on SIGTERM clients move within 5s, exit within 25s\n",
                "\nWARNING      listen.public",
            ],
        );
    }

    #[test]
    fn says_what_is_off() {
        let mut config = Config::default();
        config.limits.events_per_minute_per_user = 0;
        config.limits.connections = 0;
        config.recovery.window = Duration::ZERO;
        config.engine.transports = Transports {
            polling: false,
            websocket: true,
        };
        config.auth.mode = AuthMode::None;
        config.channels.clear();
        assert_says(
            &config,
            &[
                "any number of events a minute per user",
                "any number of connections on this node",
                "recovery     off",
                "over WebSocket;",
                "clients      anyone may connect, as any user",
                "channels     none: clients can subscribe to nothing",
            ],
        );
        assert!(!describe(&config).contains("refused events"));
    }

    #[test]
    fn says_whom_it_trusts_but_no_secret() {
        let tls = Tls {
            cert: "/etc/tidings/cert.pem".into(),
            key: "key.pem".into(),
        };
        let mut config = Config {
            tls: Some(tls),
            ..Config::default()
        };
        config.listen.private = "10.0.0.1:8081".parse().unwrap();
        config.auth.secrets = ["first secret of all", "second secret of all"]
            .map(Secret::new)
            .into();
        config.auth.api_key = Some(Secret::new("key of keys to all"));
        config.http.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
        assert_says(
            &config,
            &[
                "https://0.0.0.0:8080/socket.io/",
                "certificate /etc/tidings/cert.pem, key key.pem",
                "https://10.0.0.1:8081 for the HTTP API",
                "and the one that was configured (***)",
                "signed with the first of 2 secrets (***)",
                "forwarding headers are believed from 10.0.0.0/8",
            ],
        );
        assert!(!describe(&config).contains("of all") && !describe(&config).contains("of keys"));
    }
}
