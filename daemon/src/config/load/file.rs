//! The TOML file: sections, namespaces, channels.

use toml::{Table, Value};

use super::super::channels::{CHANNEL_KEYS, Draft, NAMESPACE_KEYS, PARAM_KEYS, is_channel_name};
use super::super::keys::SECTIONS;
use super::super::snapshot::SNAPSHOT_KEYS;
use super::super::stored::STORED_KEYS;
use super::super::streams::STREAM_KEYS;
use super::super::{Namespace, Stream, problem};
use super::{Loader, Place, Raw, Source, assign};

impl Loader {
    /// Applies all that the file says.
    pub(super) fn file(&mut self, table: &Table) {
        for (name, value) in table {
            match name.as_str() {
                "channels" => self.file_channels(value),
                "namespaces" => self.file_namespaces(value),
                name => self.file_section(name, value),
            }
        }
    }

    fn file_section(&mut self, name: &str, value: &Value) {
        let Some(section) = SECTIONS.iter().find(|section| section.name == name) else {
            let known = SECTIONS.iter().map(|section| section.name);
            let what = problem::unknown(name, known.chain(["namespaces", "channels"]));
            return self.problems.add(at("", name).problem(None, what));
        };
        let Some(table) = self.table(name, value) else {
            return;
        };
        for (key, value) in table {
            if (name, key.as_str()) == ("mongodb", "streams") {
                self.file_streams(value);
                continue;
            }
            let raw = Raw::File(value);
            assign(
                &mut self.config,
                section.keys,
                at(name, key),
                raw,
                &mut self.problems,
            );
        }
    }

    fn file_namespaces(&mut self, value: &Value) {
        let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
        let tables: Vec<_> = items.iter().filter_map(Value::as_table).collect();
        if tables.is_empty() || tables.len() < items.len() {
            let what = "must be one or more tables: [[namespaces]] and name = \"/…\" below";
            let shown = Some(value.to_string());
            return self
                .problems
                .add(at("", "namespaces").problem(shown, what.to_owned()));
        }
        self.config.namespaces.clear();
        for table in tables {
            let mut namespace = Namespace {
                name: String::new(),
            };
            for (key, value) in table {
                let place = at("namespaces", key);
                let raw = Raw::File(value);
                assign(
                    &mut namespace,
                    &NAMESPACE_KEYS,
                    place,
                    raw,
                    &mut self.problems,
                );
            }
            self.config.namespaces.push(namespace);
        }
    }

    fn file_streams(&mut self, value: &Value) {
        let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
        let tables: Vec<_> = items.iter().filter_map(Value::as_table).collect();
        if !value.is_array() || tables.len() < items.len() {
            let what = "must be tables: [[mongodb.streams]] and its keys below".to_owned();
            return self
                .problems
                .add(at("mongodb", "streams").problem(None, what));
        }
        for table in tables {
            let mut stream = Stream::default();
            for (key, value) in table {
                let place = at("mongodb.streams", key);
                let raw = Raw::File(value);
                assign(&mut stream, &STREAM_KEYS, place, raw, &mut self.problems);
            }
            self.config.mongodb.streams.push(stream);
        }
    }

    /// Channels in the file replace the profile as a whole.
    fn file_channels(&mut self, value: &Value) {
        let Some(table) = self.table("channels", value) else {
            return;
        };
        self.channels.clear();
        self.is_profile = false;
        for (name, value) in table {
            let draft = self.file_channel(name, value);
            self.channels.insert(name.clone(), draft);
        }
    }

    fn file_channel(&mut self, name: &str, value: &Value) -> Draft {
        let mut draft = Draft::default();
        self.check_channel_name(name, Source::File);
        let path = format!("channels.{name}");
        for (key, value) in self.table(&path, value).into_iter().flatten() {
            match key.as_str() {
                "params" => self.file_params(&path, value, &mut draft),
                "snapshot" => self.file_snapshot(&path, value, &mut draft),
                "stored" => self.file_stored(&path, value, &mut draft),
                key => {
                    let place = Place {
                        beside: &["params", "snapshot", "stored"],
                        ..at(&path, key)
                    };
                    let raw = Raw::File(value);
                    assign(&mut draft, &CHANNEL_KEYS, place, raw, &mut self.problems);
                }
            }
        }
        draft
    }

    fn file_params(&mut self, channel: &str, value: &Value, draft: &mut Draft) {
        let path = format!("{channel}.params");
        for (name, value) in self.table(&path, value).into_iter().flatten() {
            let path = format!("{path}.{name}");
            let param = draft.params.entry(name.clone()).or_default();
            for (key, value) in self.table(&path, value).into_iter().flatten() {
                let raw = Raw::File(value);
                assign(param, &PARAM_KEYS, at(&path, key), raw, &mut self.problems);
            }
        }
    }

    fn file_snapshot(&mut self, channel: &str, value: &Value, draft: &mut Draft) {
        let path = format!("{channel}.snapshot");
        let snapshot = draft.snapshot.get_or_insert_default();
        for (key, value) in self.table(&path, value).into_iter().flatten() {
            let place = at(&path, key);
            let raw = Raw::File(value);
            assign(snapshot, &SNAPSHOT_KEYS, place, raw, &mut self.problems);
        }
    }

    fn file_stored(&mut self, channel: &str, value: &Value, draft: &mut Draft) {
        let path = format!("{channel}.stored");
        let stored = draft.stored.get_or_insert_default();
        for (key, value) in self.table(&path, value).into_iter().flatten() {
            let place = at(&path, key);
            let raw = Raw::File(value);
            assign(stored, &STORED_KEYS, place, raw, &mut self.problems);
        }
    }

    fn table<'v>(&mut self, path: &str, value: &'v Value) -> Option<&'v Table> {
        if !value.is_table() {
            let what = format!("must be a table: [{path}] with its keys below");
            self.problems.add(at("", path).problem(None, what));
        }
        value.as_table()
    }

    pub(super) fn check_channel_name(&mut self, name: &str, source: Source) {
        if !is_channel_name(name) {
            let what = "a channel's name has 1 to 64 letters, digits, `_` or `-`".to_owned();
            self.problems.add(
                Place {
                    source,
                    ..at("channels", name)
                }
                .problem(None, what),
            );
        }
    }
}

fn at<'a>(table: &'a str, name: &'a str) -> Place<'a> {
    Place {
        table,
        name,
        source: Source::File,
        beside: &[],
    }
}
