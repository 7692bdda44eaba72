//! What the loader makes of files and environments, legal and not.

use std::net::SocketAddr;
use std::time::Duration;

use super::*;
use crate::config::{AuthMode, Class, LogFormat, Origin, Secret};

fn load(text: &str, env: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let env = env
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::read(text, &env.collect())
}

fn problems(text: &str, env: &[(&str, &str)]) -> Vec<String> {
    match load(text, env) {
        Err(ConfigError::Problems(problems)) => problems.iter().map(ToString::to_string).collect(),
        Err(other) => vec![other.to_string()],
        Ok(_) => Vec::new(),
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn nothing_said_is_the_default() {
    assert_eq!(
        load("", &[("HOME", "/root"), ("PATH", "")]).unwrap(),
        Config::default()
    );
}

#[test]
fn the_file_changes_what_it_names() {
    let config = load(
        r#"
        [node]
        name = "n1"
        [listen]
        public = "[::]:9000"
        [http]
        origins = ["https://App.example:443"]
        trusted_proxies = ["10.1.2.3/8", "::1"]
        [auth]
        mode = "none"
        secrets = ["0123456789abcdef", "an older secret of ours"]
        [limits]
        events_per_minute_per_user = 0
        payload = "64KiB"
        outbox = 2000000
        [engine]
        transports = ["websocket"]
        ping_interval = "1m 30s"
        [log]
        format = "json"
        level = "warn,tidings::hub=trace"
        "#,
        &[],
    )
    .unwrap();
    assert_eq!(config.node.name, "n1");
    assert_eq!(config.listen.public, address("[::]:9000"));
    assert_eq!(
        config.http.origins,
        [Origin::Exact("https://app.example".into())]
    );
    assert_eq!(config.http.trusted_proxies[0].to_string(), "10.0.0.0/8");
    assert_eq!(config.http.trusted_proxies[1].to_string(), "::1/128");
    assert_eq!(config.auth.mode, AuthMode::None);
    assert_eq!(config.auth.secrets.len(), 2);
    assert_eq!(config.limits.events_per_minute_per_user, 0);
    assert_eq!(
        (config.limits.payload, config.limits.outbox),
        (65_536, 2_000_000)
    );
    assert!(!config.engine.transports.polling);
    assert_eq!(config.engine.ping_interval, Duration::from_secs(90));
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.limits.header, Config::default().limits.header);
}

#[test]
fn the_environment_comes_before_the_file() {
    let config = load(
        "[listen]\npublic = \"127.0.0.1:9000\"\npath = \"/live/\"\n[limits]\nconnections = 5",
        &[
            ("TIDINGS_LISTEN__PUBLIC", "127.0.0.1:9001"),
            ("TIDINGS_LISTEN__INSECURE_PRIVATE", "true"),
            ("TIDINGS_LIMITS__CONNECTIONS", "7"),
            ("TIDINGS_LIMITS__PAYLOAD", "1000"),
            ("TIDINGS_ENGINE__TRANSPORTS", "polling, websocket"),
            ("TIDINGS_HTTP__ORIGINS", r#"["https://a.example"]"#),
            ("TIDINGS_NAMESPACES", "/,/admin"),
            ("TIDINGS_LOG", "debug"),
            ("TIDINGS_TLS__CERT", ""),
        ],
    )
    .unwrap();
    assert_eq!(config.listen.public, address("127.0.0.1:9001"));
    assert_eq!(config.listen.path, "/live/");
    assert!(config.listen.insecure_private);
    assert_eq!(
        (config.limits.connections, config.limits.payload),
        (7, 1000)
    );
    assert_eq!(config.http.origins.len(), 1);
    assert_eq!(config.namespaces[1].name, "/admin");
    assert_eq!(config.log.level, "debug");
    assert_eq!(config.tls, None);
}

#[test]
fn platforms_set_variables_of_their_own() {
    let config = load(
        "[auth]\nsecrets = [\"0123456789abcdef\"]",
        &[
            ("PORT", "5000"),
            ("SESSION_SECRET", "fedcba9876543210"),
            ("TIDINGS_API_KEY", "a key of all scopes"),
            ("TIDINGS_PORT", "tcp://10.0.0.1:8080"),
            ("TIDINGS_PORT_8080_TCP_ADDR", "10.0.0.1"),
            ("TIDINGS_SERVICE_HOST", "10.0.0.1"),
        ],
    )
    .unwrap();
    assert_eq!(config.listen.public, address("0.0.0.0:5000"));
    let secrets: Vec<_> = config.auth.secrets.iter().map(Secret::expose).collect();
    assert_eq!(secrets, ["0123456789abcdef", "fedcba9876543210"]);
    assert_eq!(
        config.auth.api_key,
        Some(Secret::new("a key of all scopes"))
    );

    let repeated = [("SESSION_SECRET", "0123456789abcdef"), ("PORT", "")];
    let config = load("[auth]\nsecrets = [\"0123456789abcdef\"]", &repeated).unwrap();
    assert_eq!(config.auth.secrets.len(), 1);
    assert_eq!(config.listen.public.port(), 8080);
}

#[test]
fn a_connection_string_comes_from_the_file_the_environment_or_a_file_of_its_own() {
    let uri = |config: &Config| {
        config
            .mongodb
            .uri
            .as_ref()
            .map(|uri| uri.expose().to_owned())
    };
    let [a, b] = ["mongodb://u:hunter2@a/app", "mongodb://b/app"];
    let in_file = format!("[mongodb]\nuri = \"{a}\"");
    assert_eq!(uri(&load(&in_file, &[]).unwrap()).as_deref(), Some(a));
    let env = [("DATABASE_URL", b)];
    assert_eq!(uri(&load(&in_file, &env).unwrap()).as_deref(), Some(b));
    let env = [("DATABASE_URL", b), ("TIDINGS_MONGODB__URI", a)];
    assert_eq!(uri(&load("", &env).unwrap()).as_deref(), Some(a));
    let env = [("DATABASE_URL", "postgres://db/app")];
    assert_eq!(uri(&load("", &env).unwrap()), None);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("uri");
    let by_file = format!("[mongodb]\nuri_file = {path:?}");
    let refused = |expected: &str| {
        let found = problems(&by_file, &[]);
        assert!(found.len() == 1 && found[0].contains(expected), "{found:?}");
        assert!(!found[0].contains("hunter2"), "{found:?}");
    };
    refused("cannot be read: No such file");
    std::fs::write(&path, "\n").unwrap();
    refused("is empty");
    std::fs::write(&path, "mongodb://u:hunter2@a:b/app").unwrap();
    refused("must hold a connection string");
    std::fs::write(&path, "mongodb://u:hunter2@a").unwrap();
    refused("mongodb.database = \"\": needed, as the connection string names no database");
    std::fs::write(&path, format!("{a}\n")).unwrap();
    assert_eq!(uri(&load(&by_file, &[]).unwrap()).as_deref(), Some(a));
    let both = problems(&by_file, &[("DATABASE_URL", b)]);
    assert!(both[0].contains("mongodb.uri is set too"), "{both:?}");
}

#[test]
fn named_channels_replace_the_profile() {
    let config = load(
        r#"
        [channels.news]
        rooms = ["news", "news:{topic}", "desk:{user}:{topic}"]
        [channels.prices]
        rooms = ["price:{item}"]
        class = "conflated"
        params.item = { max = 8, case = "upper" }
        "#,
        &[],
    )
    .unwrap();
    assert_eq!(
        config.channels.keys().collect::<Vec<_>>(),
        ["news", "prices"]
    );
    let news = &config.channels["news"];
    assert_eq!((news.class, news.interval), (Class::Live, Duration::ZERO));
    assert_eq!(news.params["topic"], crate::config::Param::default());
    let prices = &config.channels["prices"];
    assert_eq!(prices.interval, Duration::from_millis(250));
    assert_eq!(
        prices.params["item"].accept("ab.c@d"),
        Some("AB.C@D".into())
    );
    assert_eq!(prices.params["item"].accept("abcdefghi"), None);
    assert!(load("[channels]", &[]).unwrap().channels.is_empty());
}

#[test]
fn the_environment_changes_single_keys_of_channels() {
    let config = load(
        "",
        &[
            ("TIDINGS_CHANNELS__WATCHLIST__INTERVAL", "1s"),
            ("TIDINGS_CHANNELS__WATCHLIST__PARAMS__SYMBOL__MAX", "5"),
            ("TIDINGS_CHANNELS__NEWS__ROOMS", "news,flash"),
        ],
    )
    .unwrap();
    let names: Vec<_> = config.channels.keys().map(String::as_str).collect();
    assert_eq!(names, ["news", "portfolio", "trades", "watchlist"]);
    let watchlist = &config.channels["watchlist"];
    assert_eq!(watchlist.interval, Duration::from_secs(1));
    assert_eq!(watchlist.params["symbol"].max_len, 5);
    assert!(watchlist.params["symbol"].upper);

    let file = "[channels.Order-Book]\nrooms = [\"book:{Item}\"]\nclass = \"conflated\"";
    let env = [
        ("TIDINGS_CHANNELS__ORDER_BOOK__INTERVAL", "2s"),
        ("TIDINGS_CHANNELS__ORDER_BOOK__PARAMS__ITEM__MAX", "3"),
    ];
    let config = load(file, &env).unwrap();
    let book = &config.channels["Order-Book"];
    assert_eq!(
        (book.interval.as_secs(), book.params["Item"].max_len),
        (2, 3)
    );
}

/// Each file with the one problem that it must show.
#[test]
fn says_what_is_wrong_in_a_file() {
    for (text, expected) in [
        (
            "[listen]\npubic = \"0.0.0.0:1\"",
            "listen.pubic: unknown; did you mean public? known here: public, private, path, \
             client_dir, insecure_private",
        ),
        (
            "[lisen]",
            "lisen: unknown; did you mean listen? known here: node, listen, tls, acme, http, auth, \
             limits, engine, recovery, drain, cluster, mongodb, session, admin_ui, log, \
             namespaces, channels",
        ),
        (
            "listen = 5",
            "listen: must be a table: [listen] with its keys below",
        ),
        (
            "[listen]\npublic = 8080",
            "listen.public = 8080: must be an IP address and a port, such as \
             \"127.0.0.1:8081\" or \"[::]:8080\"",
        ),
        (
            "[listen]\npath = \"/socket.io\"",
            "listen.path = \"/socket.io\": must be a path that starts and ends with /, such \
             as \"/socket.io/\", but is not / itself",
        ),
        (
            "[engine]\nping_timeout = \"0s\"",
            "engine.ping_timeout = \"0s\": must be a duration above 0, such as \"25s\", \
             \"250ms\" or \"2m\"",
        ),
        (
            "[engine]\ntransports = [\"websocket\", \"webtransport\"]",
            "engine.transports = [\"websocket\", \"webtransport\"]: must be a list of \
             \"polling\" and \"websocket\", with at least one of them (\"webtransport\" is \
             not a transport)",
        ),
        (
            "[engine]\ntransports = []",
            "engine.transports = []: must be a list of \"polling\" and \"websocket\", with at \
             least one of them",
        ),
        (
            "[limits]\nconnections = -1",
            "limits.connections = -1: must be a whole number, 0 for no limit",
        ),
        (
            "[limits]\npayload = \"0B\"",
            "limits.payload = \"0B\": must be a size above 0 such as \"1MB\" (1,000,000) or \
             \"1MiB\" (1,048,576), or bytes",
        ),
        (
            "[limits]\noutbox = \"10kB\"",
            "limits.outbox = \"10kB\": must not be less than limits.payload = \"1MB\", or one \
             packet could fill it",
        ),
        (
            "[auth]\nsecrets = [\"0123456789abcdef\", \"too short\"]",
            "auth.secrets = ***: must be a list of secrets of 16 characters or more",
        ),
        (
            "[auth]\nmode = \"token\"",
            "auth.mode = \"token\": must be \"session\" or \"none\"",
        ),
        (
            "[auth]\ncookie = \"my sid\"",
            "auth.cookie = \"my sid\": must be a cookie's name: letters, digits and any of \
             !#$%&'*+-.^_`|~",
        ),
        (
            "[http]\norigins = [\"app.example\"]",
            "http.origins = [\"app.example\"]: must be a list of origins such as \
             [\"https://app.example\"], or [\"*\"] for all (\"app.example\" is not an origin)",
        ),
        (
            "[http]\ntrusted_proxies = [\"10.0.0.0/33\"]",
            "http.trusted_proxies = [\"10.0.0.0/33\"]: must be a list of addresses or \
             networks such as [\"10.0.0.0/8\", \"::1\"] (\"10.0.0.0/33\" is not an address)",
        ),
        (
            "[log]\nlevel = \"loud\"",
            "log.level = \"loud\": must be off, error, warn, info, debug or trace, or \
             directives such as \"info,tidings::shard=debug\"",
        ),
        (
            "[drain]\nspread = \"1m\"",
            "drain.spread = \"60s\": must not be longer than drain.deadline = \"25s\", or \
             some clients would never be told",
        ),
        (
            "[listen]\nprivate = \"0.0.0.0:8081\"",
            "listen.private = \"0.0.0.0:8081\": API keys would travel in the clear: beyond \
             loopback it needs [tls] or [acme], or listen.insecure_private = true",
        ),
        (
            "[listen]\nprivate = \"127.0.0.1:8080\"",
            "listen.private = \"127.0.0.1:8080\": collides with listen.public = \
             \"0.0.0.0:8080\"",
        ),
        (
            "[tls]\nkey = \"Cargo.toml\"",
            "tls.cert = \"\": needed together with tls.key: the path of a PEM file",
        ),
        (
            "[tls]\ncert = \"Cargo.toml\"\nkey = \"/nowhere/key.pem\"",
            "tls.key = \"/nowhere/key.pem\": cannot be read: No such file or directory (os \
             error 2)",
        ),
        (
            "[listen]\nclient_dir = \"/nowhere\"",
            "listen.client_dir = \"/nowhere\": no such folder; it is the dist folder of an \
             installed socket.io-client",
        ),
        (
            "[[namespaces]]\nname = \"admin\"",
            "namespaces.name = \"admin\": must be a name that starts with / and has no space, \
             comma or question mark",
        ),
        (
            "[[namespaces]]",
            "namespaces.name = \"\": must be a name that starts with / and has no space, comma \
             or question mark",
        ),
        (
            "[[namespaces]]\nname = \"/\"\n[[namespaces]]\nname = \"/\"",
            "namespaces.name = \"/\": is listed twice",
        ),
        (
            "namespaces = []",
            "namespaces = []: must be one or more tables: [[namespaces]] and name = \"/…\" \
             below",
        ),
        (
            "[listen",
            "line 1 of the configuration file is not TOML: unclosed table, expected `]`",
        ),
        (
            "[auth]\n\nsecrets = \"my secret\n",
            "line 3 of the configuration file is not TOML: invalid basic string, expected `\"`",
        ),
    ] {
        assert_eq!(problems(text, &[]), [expected], "{text}");
    }
}

#[test]
fn says_what_is_wrong_with_channels() {
    for (text, expected) in [
        (
            "[channels.news]",
            "channels.news.rooms = []: a channel needs at least one room, such as [\"news\"]",
        ),
        (
            "[channels.\"a b\"]\nrooms = [\"news\"]",
            "channels.a b: a channel's name has 1 to 64 letters, digits, `_` or `-`",
        ),
        (
            "[channels.news]\nrooms = [\"news:{topic\"]",
            "channels.news.rooms = [\"news:{topic\"]: must be a list of room names with \
             variables, such as [\"quote:{symbol}\"] (\"news:{topic\" has a brace without its \
             partner)",
        ),
        (
            "[channels.news]\nroom = \"news\"\nrooms = [\"news\"]",
            "channels.news.room: unknown; did you mean rooms? known here: rooms, class, \
             interval, window, max_entries, max_bytes, namespace, params, \
             snapshot, stored",
        ),
        (
            "[channels.news]\nrooms = [\"news\"]\nclass = \"fast\"",
            "channels.news.class = \"fast\": must be \"live\", \"conflated\" or \
             \"recoverable\"",
        ),
        (
            "[channels.news]\nrooms = [\"news\"]\nclass = \"recoverable\"\ninterval = \"1s\"",
            "channels.news.interval = \"1s\": only a channel of class \"conflated\" has an \
             interval; this one is \"recoverable\"",
        ),
        (
            "[channels.news]\nrooms = [\"news\"]\nmax_entries = 5",
            "channels.news.max_entries = 5: only a channel of class \"recoverable\" keeps events; \
             this one is \"live\"",
        ),
        (
            "[channels.news]\nrooms = [\"news\"]\nclass = \"conflated\"\ninterval = \"0s\"",
            "channels.news.interval = \"0s\": must be a duration above 0, such as \"25s\", \
             \"250ms\" or \"2m\"",
        ),
        (
            "[channels.news]\nrooms = [\"news\"]\nnamespace = \"/news\"",
            "channels.news.namespace = \"/news\": is not among [[namespaces]]: /",
        ),
        (
            "[channels.news]\nrooms = [\"news:{topic}\"]\nparams.topik.max = 5",
            "channels.news.params.topik: no such variable in the channel's rooms: topic",
        ),
        (
            "[channels.news]\nrooms = [\"news:{user}\"]\nparams.user.max = 5",
            "channels.news.params.user: {user} is the session's user: no client supplies it",
        ),
        (
            "[channels.news]\nrooms = [\"news:{topic}\"]\nparams.topic.chars = \"z-a\"",
            "channels.news.params.topic.chars = \"z-a\": must be ranges and single \
             characters, such as \"A-Z0-9._-\" (\"z-a\" has the range z-a, which runs backwards)",
        ),
        (
            "[channels.a]\nrooms = [\"x:{i}\"]\n[channels.b]\nrooms = [\"x:{j}\"]\n\
             class = \"conflated\"",
            "channels.b.rooms = \"x:{j}\": can be a room of channels.a (\"x:{i}\", live) too, \
             and a room has one class; this one is conflated every 250ms",
        ),
        (
            "[channels.a]\nrooms = [\"{any}\"]",
            "channels.a.rooms = \"{any}\": covers rooms of \"user:{user}\": any client could \
             join what is for one user alone",
        ),
        (
            "[channels.a]\nrooms = [\"p:{user}\"]\n[channels.b]\nrooms = [\"p:{id}\"]",
            "channels.b.rooms = \"p:{id}\": covers rooms of \"p:{user}\": any client could \
             join what is for one user alone",
        ),
    ] {
        assert_eq!(problems(text, &[]), [expected], "{text}");
    }
}

#[test]
fn says_what_is_wrong_in_the_environment() {
    for (name, value, expected) in [
        (
            "TIDINGS_LISTEN_PUBLIC",
            "0.0.0.0:1",
            "TIDINGS_LISTEN_PUBLIC: unknown; did you mean TIDINGS_LISTEN__PUBLIC? settings \
             are named TIDINGS_SECTION__KEY",
        ),
        (
            "TIDINGS_LISTEN__PUBIC",
            "0.0.0.0:1",
            "listen.pubic (from TIDINGS_LISTEN__PUBIC): unknown; did you mean public? known \
             here: public, private, path, client_dir, insecure_private",
        ),
        (
            "TIDINGS_FROBNICATE",
            "1",
            "TIDINGS_FROBNICATE: unknown; settings are named TIDINGS_SECTION__KEY",
        ),
        (
            "TIDINGS_PORT",
            "8080",
            "TIDINGS_PORT: unknown; settings are named TIDINGS_SECTION__KEY",
        ),
        (
            "TIDINGS_LIMITS__CONNECTIONS",
            "many",
            "limits.connections = \"many\" (from TIDINGS_LIMITS__CONNECTIONS): must be a \
             whole number, 0 for no limit",
        ),
        (
            "PORT",
            "80808",
            "listen.public = \"80808\" (from PORT): must be a port number from 0 to 65535",
        ),
        (
            "SESSION_SECRET",
            "hunter2",
            "auth.secrets = *** (from SESSION_SECRET): must be a secret of 16 characters or \
             more",
        ),
        (
            "TIDINGS_API_KEY",
            "hunter2",
            "auth.api_key = *** (from TIDINGS_API_KEY): must be a secret of 16 characters or \
             more, or \"\" for none",
        ),
        (
            "TIDINGS_NAMESPACES",
            "admin",
            "namespaces.name = \"admin\" (from TIDINGS_NAMESPACES): must be a name that \
             starts with / and has no space, comma or question mark",
        ),
    ] {
        assert_eq!(problems("", &[(name, value)]), [expected], "{name}");
    }
}

#[test]
fn says_everything_at_once() {
    let found = problems(
        "[nodes]\n[listen]\npublic = 1\nprivate = \"0.0.0.0:8080\"\n[limits]\nheader = 1",
        &[("TIDINGS_AUTH__MODE", "open")],
    );
    let keys: Vec<_> = found
        .iter()
        .filter_map(|line| line.split([' ', ':']).next())
        .collect();
    // The default of listen.public would collide with listen.private, which is no news.
    assert_eq!(
        keys,
        [
            "limits.header",
            "listen.public",
            "nodes",
            "auth.mode",
            "listen.private"
        ],
        "{found:#?}"
    );
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::load(Some(Path::new("/nowhere/tidings.toml")), []).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot read the configuration file /nowhere/tidings.toml: No such file or directory \
         (os error 2)"
    );
    let named = [("TIDINGS_CONFIG".to_owned(), "/nowhere/else.toml".to_owned())];
    let error = Config::load(None, named).unwrap_err();
    assert!(error.to_string().contains("/nowhere/else.toml"), "{error}");
}

/// A value of each type that TOML has, none of them right for many keys.
const ODD_VALUES: [&str; 12] = [
    "\"\"",
    "\"-1\"",
    "\"a b\\u0000\"",
    "-9223372036854775808",
    "9223372036854775807",
    "1.5",
    "nan",
    "true",
    "2026-01-01T00:00:00Z",
    "[1, \"a\"]",
    "[[]]",
    "{ a = 1 }",
];

#[test]
fn each_key_takes_or_names_each_type_of_value() {
    for section in &crate::config::keys::SECTIONS {
        for (key, value) in section
            .keys
            .iter()
            .flat_map(|key| ODD_VALUES.map(|v| (key, v)))
        {
            let path = format!("{}.{}", section.name, key.name);
            for problem in problems(&format!("{path} = {value}"), &[]) {
                let named = problem.contains(&path) && !problem.contains("not TOML");
                assert!(named, "{path} = {value}: {problem}");
            }
            let variable = format!("TIDINGS_{}__{}", section.name, key.name).to_uppercase();
            let env = [(variable.as_str(), value)];
            assert!(
                problems("", &env)
                    .iter()
                    .all(|problem| !problem.contains("unknown"))
            );
        }
    }
}

#[test]
fn a_secret_is_never_repeated() {
    let secret = "hunter2hunter2";
    for text in [
        format!("[auth]\nsecrets = \"{secret}\""),
        format!("[auth]\nsecrets = [\"{secret}\"]"),
        format!("[auth]\nsecrets = [[\"{secret}\"]]"),
        format!("[auth]\nsecrets = {{ a = \"{secret}\" }}"),
        format!("[auth]\nsecrets = {secret}"),
        format!("[auth]\nsecrets = [\"{secret}"),
        format!("[auth]\nsecrets = [\"{secret}\" \"{secret}\"]"),
        format!("[auth]\napi_key = \"{secret}\"\napi_key = \"{secret}\""),
        format!("[auth]\napi_key = \"{secret}\\q\""),
        format!("[auth]\napi_key = \"{secret}\""),
        format!("[mongodb]\nuri = \"mongodb:/user:{secret}@localhost/app\""),
        format!("[mongodb]\nuri = \"mongodb://user:{secret}@localhost\""),
        format!("[mongodb]\nuri = [\"mongodb://user:{secret}@localhost/app\"]"),
    ] {
        let found = problems(&text, &[]);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(!found[0].contains("hunter2"), "{text}: {found:?}");
    }
}

#[test]
fn credentials_come_between_the_file_and_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    put("auth.api_key", "a key of 16 characters\n");
    put(
        "auth.secrets",
        "the first, with a comma\n\nthe second, as old\n",
    );
    put("somebody.elses", "secret");
    put("mongodb.uri", "mongodb://u:p@db/app\n");
    put("session.secret", "of the application\n");
    let key = tidings_cluster::ClusterKey::generate().unwrap();
    put("cluster.key", &key);
    let file = "[auth]\napi_key = \"one that the file has\"\n
                [cluster]\nadvertise = \"10.0.0.1:7946\"\n[node]\nname = \"n\"";
    let folder_name = folder.path().to_str().unwrap();
    let directory = ("CREDENTIALS_DIRECTORY", folder_name);
    let config = load(file, &[directory]).unwrap();
    let key = Some(Secret::new("a key of 16 characters"));
    assert_eq!(config.auth.api_key, key);
    let secrets = ["the first, with a comma", "the second, as old"].map(Secret::new);
    assert_eq!(config.auth.secrets, secrets);
    assert_eq!(config.cluster.key, Some(folder.path().join("cluster.key")));
    let uri = Some(Secret::new("mongodb://u:p@db/app"));
    assert_eq!(config.mongodb.uri, uri);
    let secret = Some(Secret::new("of the application"));
    assert_eq!(config.session.secret, secret);
    let config = load(
        file,
        &[directory, ("TIDINGS_API_KEY", "one that comes before all")],
    );
    let key = config.unwrap().auth.api_key;
    assert_eq!(key, Some(Secret::new("one that comes before all")));
}

#[test]
fn a_credential_that_is_wrong_is_named_and_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("auth.api_key"), "short").unwrap();
    let folder = folder.path().to_str().unwrap();
    let said = problems("", &[("CREDENTIALS_DIRECTORY", folder)]).join("\n");
    assert!(
        said.contains("auth.api_key = *** (from the credential auth.api_key)"),
        "{said}"
    );
}

#[test]
fn an_admin_ui_needs_a_hash_and_a_namespace_of_its_own() {
    let hash = "password_hash = '$argon2id$v=19$m=19456,t=2,p=1$dGlkaW5ncy1ub2JvZHkhIQ\
                $AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8'";
    let admin_ui = |more: &str| format!("[admin_ui]\nenabled = true\n{more}");
    assert_eq!(problems(&admin_ui(hash), &[]), [""; 0]);
    for (text, key) in [
        (admin_ui(""), "admin_ui.password_hash"),
        (
            admin_ui("password_hash = '$2b$10$heqvAkYMez'"),
            "admin_ui.password_hash",
        ),
        (
            admin_ui(&format!("{hash}\nnamespace = '/'")),
            "admin_ui.namespace",
        ),
    ] {
        let said = problems(&text, &[]);
        assert!(said.iter().all(|it| it.starts_with(key)), "{said:?}");
        assert!(!said.is_empty() && !said[0].contains("heqvAk"), "{said:?}");
    }
}

#[test]
fn a_certificate_from_a_ca_needs_names_consent_and_no_other_certificate() {
    let legal = "[acme]\ndomains = ['Live.example.com', 'b.example']\ncontact = ['ops@example.com']
                 terms_agreed = true\n[listen]\nprivate = '10.0.0.1:8081'";
    let config = load(legal, &[]).unwrap();
    assert_eq!(config.acme.domains, ["live.example.com", "b.example"]);
    assert!(config.speaks_tls() && config.private_uses_tls());
    let by_environment = [("TIDINGS_ACME__DOMAINS", "a.example,b.example")];
    let text = "[acme]\nterms_agreed = true";
    let config = load(text, &by_environment).unwrap();
    assert_eq!(config.acme.domains, ["a.example", "b.example"]);

    for (text, expected) in [
        (
            "[acme]\ndomains = ['a.example']",
            "acme.terms_agreed = false: must be true: \
             https://acme-v02.api.letsencrypt.org/directory issues nothing to who has not agreed to \
             its terms",
        ),
        (
            "[acme]\ndomains = ['*.a.example']\nterms_agreed = true",
            "acme.domains = [\"*.a.example\"]: must be a list of host names such as \
             [\"live.example.com\"], without wildcards (\"*.a.example\" is not a host name)",
        ),
        (
            "[acme]\ndirectory = 'http://ca'",
            "acme.directory = \"http://ca\": must be a URL that begins with https://",
        ),
        (
            "[acme]\ncontact = ['a@b.example', 'nobody']",
            "acme.contact = [\"a@b.example\", \"nobody\"]: must be a list of mail addresses \
             such as [\"ops@example.com\"] (\"nobody\" is not a mail address)",
        ),
        (
            "[acme]\ndomains = ['a.example']\nterms_agreed = true\nca = '/no/such'",
            "acme.ca = \"/no/such\": it cannot be read as PEM: I/O error: No such file or directory (os error 2)",
        ),
    ] {
        assert_eq!(problems(text, &[]), [expected], "{text}");
    }
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let both = format!(
        "[tls]\ncert = {file:?}\nkey = {file:?}\n[acme]\ndomains = ['a.example']\nterms_agreed = true"
    );
    let expected = "acme.domains = [\"a.example\"]: [tls] names a certificate already: set the one \
                    or the other";
    assert_eq!(problems(&both, &[]), [expected]);
}
