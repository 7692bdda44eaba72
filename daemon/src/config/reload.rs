//! What a running node takes over from a configuration that changed, and what it cannot. Pure.
//!
//! It takes over certificates, origins, secrets and limits; and channels, as far as no room that
//! exists would come to promise something else. What is shared by a MongoDB stays: the connection,
//! whose sessions are cached here, and the streams that are read.

use super::keys::SECTIONS;
use super::problem::Problems;
use super::{Channel, Class, Config, ConfigError, Limits, check};

/// A running configuration and what is to become of it.
#[derive(Debug)]
pub struct Change {
    /// What the node is to go by: legal as a whole.
    pub config: Config,
    /// The changed settings that it takes over, as `section.key` or `channels.NAME`.
    pub applied: Vec<String>,
    /// The changed settings that need a restart, and stay as they are.
    pub restart: Vec<String>,
}

impl Change {
    /// What becomes of `running` where the operator now wants `wanted`. Refused if what can be taken
    /// over does not go together with what cannot.
    pub fn between(running: &Config, wanted: &Config) -> Result<Self, ConfigError> {
        let mut config = running.clone();
        config.http = wanted.http.clone();
        config.auth.secrets.clone_from(&wanted.auth.secrets);
        config.auth.api_key.clone_from(&wanted.auth.api_key);
        config.limits = Limits {
            payload: running.limits.payload,
            outbox: running.limits.outbox,
            header: running.limits.header,
            api_body: running.limits.api_body,
            ..wanted.limits.clone()
        };
        // Listeners that speak plain HTTP go on to, and the other way round.
        if running.tls.is_some() && wanted.tls.is_some() {
            config.tls.clone_from(&wanted.tls);
        }
        for name in changed_channels(running, wanted) {
            let (old, new) = (running.channels.get(&name), wanted.channels.get(&name));
            if keeps_rooms(old, new) {
                match new {
                    Some(new) => {
                        let mut new = new.clone();
                        if running.mongodb.uri.is_none() {
                            // There is nothing to read from before the restart.
                            new.snapshot = None;
                            new.stored = None;
                        }
                        config.channels.insert(name, new)
                    }
                    None => config.channels.remove(&name),
                };
            }
        }
        let mut problems = Problems::default();
        check::refuse_conflicts(&config, &mut problems);
        problems.into_result()?;
        Ok(Self {
            applied: differences(running, &config),
            restart: differences(&config, wanted),
            config,
        })
    }

    /// Channels that are new, and whose rooms are not live ones as all rooms are that no channel
    /// names: no such room may have members.
    pub fn new_rooms<'a>(
        &'a self,
        running: &Config,
    ) -> impl Iterator<Item = (&'a str, &'a Channel)> {
        let is_new = |name: &str| !running.channels.contains_key(name);
        let new: Vec<_> = self
            .config
            .channels
            .iter()
            .filter(|(name, channel)| is_new(name) && channel.class != Class::Live)
            .map(|(name, channel)| (name.as_str(), channel))
            .collect();
        new.into_iter()
    }
}

/// Whether each room that has members promises the same after the change.
fn keeps_rooms(old: Option<&Channel>, new: Option<&Channel>) -> bool {
    match (old, new) {
        (Some(old), Some(new)) => {
            old.class == new.class && old.rooms == new.rooms && old.namespace == new.namespace
        }
        // Rooms that no channel names are live.
        (Some(old), None) => old.class == Class::Live,
        (None, _) => true,
    }
}

fn changed_channels(one: &Config, other: &Config) -> Vec<String> {
    let names = one.channels.keys().chain(other.channels.keys());
    let mut names: Vec<_> = names
        .filter(|name| one.channels.get(*name) != other.channels.get(*name))
        .cloned()
        .collect();
    names.sort();
    names.dedup();
    names
}

/// The settings that differ.
fn differences(one: &Config, other: &Config) -> Vec<String> {
    let mut names = Vec::new();
    for section in &SECTIONS {
        for key in section.keys {
            let differs = match (section.name, key.name) {
                // Secrets all look alike.
                ("auth", "secrets") => one.auth.secrets != other.auth.secrets,
                ("auth", "api_key") => one.auth.api_key != other.auth.api_key,
                ("mongodb", "uri") => one.mongodb.uri != other.mongodb.uri,
                ("session", "secret") => one.session.secret != other.session.secret,
                ("admin_ui", "password_hash") => {
                    one.admin_ui.password_hash != other.admin_ui.password_hash
                }
                _ => (key.show)(one) != (key.show)(other),
            };
            if differs {
                names.push(format!("{}.{}", section.name, key.name));
            }
        }
    }
    if one.mongodb.streams != other.mongodb.streams {
        names.push("mongodb.streams".to_owned());
    }
    if one.namespaces != other.namespaces {
        names.push("namespaces".to_owned());
    }
    let channels = changed_channels(one, other).into_iter();
    names.extend(channels.map(|name| format!("channels.{name}")));
    names
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;

    /// Settings that a running node takes over, beside channels.
    const RELOADED: [(&str, &[&str]); 4] = [
        ("tls", &["cert", "key"]),
        ("http", &["origins", "trusted_proxies"]),
        ("auth", &["secrets", "api_key"]),
        (
            "limits",
            &[
                "events_per_minute_per_user",
                "connections_per_minute_per_ip",
                "subscriptions_per_user",
                "connections",
                "logins_per_minute_per_ip",
                "logins_per_minute_per_user",
                "abuse_windows",
            ],
        ),
    ];

    fn config(text: &str) -> Config {
        Config::read(text, &BTreeMap::new()).unwrap()
    }

    fn change(old: &str, new: &str) -> (Vec<String>, Vec<String>) {
        let change = Change::between(&config(old), &config(new)).unwrap();
        (change.applied, change.restart)
    }

    #[test]
    fn takes_over_every_setting_that_it_says_it_does_and_names_the_others() {
        let wanted = "
            [node]\nname = 'other'
            [http]\norigins = ['https://a.example']\ntrusted_proxies = ['10.0.0.1']
            [auth]\nsecrets = ['0123456789abcdef']\napi_key = 'fedcba9876543210'\nsession_ttl = '1h'
            [limits]\nevents_per_minute_per_user = 1\nconnections_per_minute_per_ip = 1
            subscriptions_per_user = 1\nconnections = 1\nlogins_per_minute_per_ip = 1
            logins_per_minute_per_user = 1\nabuse_windows = 1\npayload = 1000
            [log]\nlevel = 'debug'
            [[namespaces]]\nname = '/'\n[[namespaces]]\nname = '/more'";
        let (applied, restart) = change("[node]\nname = 'one'", wanted);
        let said = RELOADED.iter().filter(|(section, _)| *section != "tls");
        let said =
            said.flat_map(|(section, keys)| keys.iter().map(move |key| format!("{section}.{key}")));
        assert_eq!(applied, said.collect::<Vec<_>>());
        let others = [
            "node.name",
            "auth.session_ttl",
            "limits.payload",
            "log.level",
            "namespaces",
        ];
        assert_eq!(restart, others);
    }

    #[test]
    fn takes_over_another_certificate_but_neither_the_first_nor_the_loss_of_the_last() {
        let file = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        let of = |cert: &str| {
            let (cert, key) = (file(cert), file("Cargo.toml"));
            format!("[tls]\ncert = {cert:?}\nkey = {key:?}\n[node]\nname = 'n'")
        };
        let (one, other) = (of("Cargo.toml"), of("src/lib.rs"));
        let none = "[node]\nname = 'n'";
        let keys = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
        assert_eq!(change(&one, &other), (keys(&["tls.cert"]), vec![]));
        assert_eq!(change(none, &one), (vec![], keys(&["tls.cert", "tls.key"])));
        assert_eq!(change(&one, none), (vec![], keys(&["tls.cert", "tls.key"])));
    }

    #[test]
    fn no_room_comes_to_promise_something_else() {
        let old = "[channels.a]\nrooms = ['a:{user}']\nclass = 'recoverable'
                   [channels.b]\nrooms = ['b']\nclass = 'live'
                   [node]\nname = 'n'";
        let applied = |new: &str| change(old, &format!("{new}\n[node]\nname = 'n'"));
        let names = |names: &[&str]| {
            names
                .iter()
                .map(|it| format!("channels.{it}"))
                .collect::<Vec<_>>()
        };
        let a = "[channels.a]\nrooms = ['a:{user}']\nclass = 'recoverable'\n";
        let b = "[channels.b]\nrooms = ['b']\nclass = 'live'\n";
        let c = "[channels.c]\nrooms = ['c']\nclass = 'conflated'\n";
        let live = a.replace("recoverable", "live");
        let elsewhere = b.replace("'b'", "'e'");
        assert_eq!(applied(&format!("{a}{b}{c}")), (names(&["c"]), vec![]));
        assert_eq!(applied(a), (names(&["b"]), vec![]));
        assert_eq!(
            applied(&format!("{a}window = '9s'\n{b}")),
            (names(&["a"]), vec![])
        );
        assert_eq!(applied(b), (vec![], names(&["a"])));
        assert_eq!(applied(&format!("{live}{b}")), (vec![], names(&["a"])));
        assert_eq!(applied(&format!("{a}{elsewhere}")), (vec![], names(&["b"])));
    }

    #[test]
    fn what_is_of_mongodb_needs_a_restart_but_for_the_snapshots_that_it_can_answer() {
        let names = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let node = "[node]\nname = 'n'\n";
        let one = format!("{node}[mongodb]\nuri = 'mongodb://u:one@db/app'\n");
        let other = format!(
            "{node}[mongodb]\nuri = 'mongodb://u:other@db/app'\nsessions = 'logins'\ntimeout = '1s'
             [session]\nsecret = 'one'\ncache = '9s'
             [[mongodb.streams]]\nname = 's'\ncollection = 'c'\nevent = 'e'\nroom = 'r'"
        );
        let all = [
            "mongodb.uri",
            "mongodb.sessions",
            "mongodb.timeout",
            "session.secret",
            "session.cache",
            "mongodb.streams",
        ];
        assert_eq!(change(&one, &other), (vec![], names(&all)));

        let news = |limit: u32| {
            format!(
                "[channels.news]\nrooms = ['news']\nsnapshot.collection = 'news'
                 snapshot.limit = {limit}\n"
            )
        };
        let (few, many) = (one.clone() + &news(1), one.clone() + &news(9));
        assert_eq!(change(&few, &many), (names(&["channels.news"]), vec![]));
        // The first MongoDB: the built-in channels have snapshots with it.
        let first = [
            "mongodb.uri",
            "channels.portfolio",
            "channels.trades",
            "channels.watchlist",
        ];
        assert_eq!(change(node, &one), (vec![], names(&first)));
    }

    #[test]
    fn what_does_not_go_together_is_refused_as_a_whole() {
        let old = "[node]\nname = 'n'";
        let new = "[node]\nname = 'n'\n[[namespaces]]\nname = '/'\n[[namespaces]]\nname = '/b'
                   [channels.b]\nrooms = ['b']\nclass = 'live'\nnamespace = '/b'";
        let refused = Change::between(&config(old), &config(new)).unwrap_err();
        let said = refused.to_string();
        assert!(said.contains("channels.b.namespace"), "{said}");
    }

    #[test]
    fn the_manual_lists_what_is_reloaded() {
        let manual = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
        let manual = std::fs::read_to_string(manual).unwrap();
        let chapter = manual.split("\n## Reloading\n").nth(1).expect("a chapter");
        let chapter = chapter.split("\n## ").next().unwrap();
        for (section, keys) in &RELOADED {
            let keys: Vec<_> = keys.iter().map(|key| format!("`{key}`")).collect();
            let row = format!("| `[{section}]` | {} |", keys.join(", "));
            assert!(chapter.contains(&row), "needs {row}");
        }
    }
}
