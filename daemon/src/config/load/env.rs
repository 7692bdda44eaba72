//! The environment: `TIDINGS_SECTION__KEY`, and a few names that others already set.

use super::super::channels::{CHANNEL_KEYS, PARAM_KEYS};
use super::super::keys::SECTIONS;
use super::super::problem::{Problem, nearest};
use super::super::snapshot::SNAPSHOT_KEYS;
use super::super::stored::STORED_KEYS;
use super::super::{Namespace, Secret, kind};
use super::{Loader, Place, Raw, Source, assign};

/// Names the configuration file when the command line does not.
pub const FILE_VARIABLE: &str = "TIDINGS_CONFIG";

/// What the names of all other variables of ours start with.
const PREFIX: &str = "TIDINGS_";

impl Loader {
    /// Applies one variable of the environment, if it is meant for us.
    pub(super) fn variable(&mut self, name: &str, value: &str) {
        match name {
            FILE_VARIABLE => {}
            "PORT" | "SESSION_SECRET" | "TIDINGS_API_KEY" | "TIDINGS_LOG" if value.is_empty() => {}
            "PORT" => self.port(value),
            "SESSION_SECRET" => self.session_secret(value),
            "TIDINGS_API_KEY" => self.setting(name, "auth", "api_key", value),
            "TIDINGS_LOG" => self.setting(name, "log", "level", value),
            "DATABASE_URL" if is_of_mongodb(value) => self.setting(name, "mongodb", "uri", value),
            _ if is_kubernetes_service(name, value) => {}
            _ => {
                if let Some(path) = name.strip_prefix(PREFIX) {
                    self.path(name, &path.to_ascii_lowercase(), value);
                }
            }
        }
    }

    /// A setting by its path, such as `listen__public` or `channels__watchlist__interval`.
    fn path(&mut self, variable: &str, path: &str, value: &str) {
        let steps: Vec<_> = path.split("__").collect();
        match steps[..] {
            ["namespaces"] => self.namespace_list(variable, value),
            ["channels", channel, key] => self.channel_setting(variable, channel, key, value),
            ["channels", channel, "snapshot", key] => {
                self.snapshot_setting(variable, [channel, key], value);
            }
            ["channels", channel, "stored", key] => {
                self.stored_setting(variable, [channel, key], value);
            }
            ["channels", channel, "params", param, key] => {
                self.param_setting(variable, [channel, param, key], value);
            }
            [section, key] => self.setting(variable, section, key, value),
            _ => self.unknown_variable(variable),
        }
    }

    fn setting(&mut self, variable: &str, section: &str, key: &str, value: &str) {
        let Some(section) = SECTIONS.iter().find(|known| known.name == section) else {
            return self.unknown_variable(variable);
        };
        let place = at(section.name, key, variable);
        assign(
            &mut self.config,
            section.keys,
            place,
            Raw::Env(value),
            &mut self.problems,
        );
    }

    fn namespace_list(&mut self, variable: &str, value: &str) {
        self.config.namespaces.clear();
        for name in Raw::Env(value).list().unwrap_or_default() {
            match (kind::NAMESPACE.read)(Raw::Env(&name)) {
                Ok(name) => self.config.namespaces.push(Namespace { name }),
                Err(_) => {
                    let what = format!("must be {}", kind::NAMESPACE.allowed);
                    let place = at("namespaces", "name", variable);
                    self.problems
                        .add(place.problem(Some(Raw::Env(&name).to_string()), what));
                }
            }
        }
    }

    /// Changes one key of a channel; unlike a table in the file, it keeps the rest.
    fn channel_setting(&mut self, variable: &str, channel: &str, key: &str, value: &str) {
        let name = self.channel_called(channel, variable);
        let table = format!("channels.{name}");
        let place = at(&table, key, variable);
        let draft = self.channels.entry(name).or_default();
        assign(
            draft,
            &CHANNEL_KEYS,
            place,
            Raw::Env(value),
            &mut self.problems,
        );
    }

    fn snapshot_setting(&mut self, variable: &str, path: [&str; 2], value: &str) {
        let [channel, key] = path;
        let name = self.channel_called(channel, variable);
        let table = format!("channels.{name}.snapshot");
        let place = at(&table, key, variable);
        let draft = self.channels.entry(name).or_default();
        let snapshot = draft.snapshot.get_or_insert_default();
        let raw = Raw::Env(value);
        assign(snapshot, &SNAPSHOT_KEYS, place, raw, &mut self.problems);
    }

    fn stored_setting(&mut self, variable: &str, path: [&str; 2], value: &str) {
        let [channel, key] = path;
        let name = self.channel_called(channel, variable);
        let table = format!("channels.{name}.stored");
        let place = at(&table, key, variable);
        let draft = self.channels.entry(name).or_default();
        let stored = draft.stored.get_or_insert_default();
        let raw = Raw::Env(value);
        assign(stored, &STORED_KEYS, place, raw, &mut self.problems);
    }

    fn param_setting(&mut self, variable: &str, path: [&str; 3], value: &str) {
        let [channel, variable_name, key] = path;
        let name = self.channel_called(channel, variable);
        let draft = self.channels.entry(name.clone()).or_default();
        let param_name = draft.variable_called(variable_name);
        let table = format!("channels.{name}.params.{param_name}");
        let place = at(&table, key, variable);
        let param = draft.params.entry(param_name).or_default();
        assign(
            param,
            &PARAM_KEYS,
            place,
            Raw::Env(value),
            &mut self.problems,
        );
    }

    /// The channel that is meant: names of variables know neither lower case nor hyphens.
    fn channel_called(&mut self, lowered: &str, variable: &str) -> String {
        let same = |name: &&String| name.to_ascii_lowercase().replace('-', "_") == lowered;
        if let Some(name) = self.channels.keys().find(same) {
            return name.clone();
        }
        self.check_channel_name(lowered, from(variable));
        lowered.to_owned()
    }

    fn port(&mut self, value: &str) {
        match value.parse() {
            Ok(port) => self.config.listen.public.set_port(port),
            Err(_) => {
                let what = "must be a port number from 0 to 65535".to_owned();
                let place = at("", "listen.public", "PORT");
                self.problems
                    .add(place.problem(Some(Raw::Env(value).to_string()), what));
            }
        }
    }

    fn session_secret(&mut self, value: &str) {
        let mut read = Vec::new();
        let place = at("auth", "secrets", "SESSION_SECRET");
        match (kind::OPTIONAL_SECRET.read)(Raw::Env(value)) {
            Ok(secret) => read.extend(secret),
            Err(_) => {
                let what = "must be a secret of 16 characters or more".to_owned();
                self.problems
                    .add(place.problem(Some(Secret::new(value).to_string()), what));
            }
        }
        read.retain(|secret| !self.config.auth.secrets.contains(secret));
        self.config.auth.secrets.append(&mut read);
    }

    fn unknown_variable(&mut self, variable: &str) {
        let keys = SECTIONS.iter().flat_map(|section| {
            section
                .keys
                .iter()
                .map(|key| format!("{PREFIX}{}__{}", section.name, key.name))
        });
        let names: Vec<_> = keys.map(|name| name.to_ascii_uppercase()).collect();
        let hint = match nearest(variable, names.iter().map(String::as_str)) {
            Some(name) => format!("; did you mean {name}?"),
            None => ";".to_owned(),
        };
        let what = format!("unknown{hint} settings are named {PREFIX}SECTION__KEY");
        self.problems.add(Problem {
            key: variable.to_owned(),
            value: None,
            source: None,
            what,
        });
    }
}

fn at<'a>(table: &'a str, name: &'a str, variable: &str) -> Place<'a> {
    Place {
        table,
        name,
        source: from(variable),
        beside: &[],
    }
}

fn from(variable: &str) -> Source {
    Source::Env(variable.to_owned())
}

/// Platforms set `DATABASE_URL` for databases of every kind.
fn is_of_mongodb(url: &str) -> bool {
    url.starts_with("mongodb://") || url.starts_with("mongodb+srv://")
}

/// Kubernetes describes a service called `tidings` to each pod in variables of its own.
fn is_kubernetes_service(name: &str, value: &str) -> bool {
    name.starts_with("TIDINGS_SERVICE_")
        || name.starts_with("TIDINGS_PORT_")
        || (name == "TIDINGS_PORT" && value.contains("://"))
}
