//! The whole configuration written out with its reasons, as `tidings config` prints it.

use super::channels::{CHANNEL_KEYS, Draft, NAMESPACE_KEYS, PARAM_KEYS};
use super::keys::{Key, SECTIONS};
use super::snapshot::SNAPSHOT_KEYS;
use super::stored::STORED_KEYS;
use super::streams::STREAM_KEYS;
use super::{Channel, Class, Config, Param};

/// The widest line of a comment.
const WIDTH: usize = 96;

const HEAD: &str = "\
All settings of Tidings with their defaults. Keep only what you change: what is not said here has \
the value shown. Each setting is also an environment variable, which then comes first: \
TIDINGS_LISTEN__PUBLIC=127.0.0.1:9000, lists with commas between their items. A wrong or unknown \
setting stops the program before it listens; `tidings check` tells without starting it.";

const NAMESPACES: &str = "\
Namespaces: separate places on one connection, each with rooms of its own. Say [[namespaces]] once \
for each; naming one here replaces this list.";

const CHANNELS: &str = "\
Channels: what clients may subscribe to. Naming one here replaces all of these, which are made \
for a trading dashboard. A channel NAME defines the events `subscribe:NAME` and \
`unsubscribe:NAME`; whoever sends an event to one of its rooms need not know the channel.";

const SNAPSHOT: &str = "\
The documents in MongoDB that a subscription is answered with, as they are when its rooms are \
joined.";

const STORED: &str = "\
A user's own list of values in MongoDB, such as a watchlist, for a channel with one variable.";

const STREAMS: &str = "\
Streams: changes in MongoDB that become events. Say [[mongodb.streams]] once for each. They need a \
replica set; one node of a cluster reads each.";

const PARAMS: &str = "\
What a client may supply for {VARIABLE}; for what is not said here,";

/// A configuration file with every setting at its default, and why it exists.
pub fn annotated_defaults() -> String {
    let mut config = Config::default();
    // Written as it is read: empty means the host's name.
    config.node.name.clear();

    let mut out = Out::default();
    out.comment(HEAD);
    for section in &SECTIONS {
        out.text.push('\n');
        out.comment(section.why);
        out.line(&format!("[{}]", section.name));
        for key in section.keys {
            out.setting(key, &config);
        }
    }
    out.text.push('\n');
    out.comment(STREAMS);
    for key in &STREAM_KEYS {
        out.comment(&format!("  {}: {}", key.name, key.why));
        out.comment(&format!("    Allowed: {}.", key.allowed));
    }
    out.text.push('\n');
    out.comment(NAMESPACES);
    for namespace in &config.namespaces {
        out.line("[[namespaces]]");
        NAMESPACE_KEYS
            .iter()
            .for_each(|key| out.setting(key, namespace));
    }
    out.channels(&config);
    out.text
}

#[derive(Default)]
struct Out {
    text: String,
}

impl Out {
    fn channels(&mut self, config: &Config) {
        self.text.push('\n');
        self.comment(CHANNELS);
        for key in &CHANNEL_KEYS {
            self.comment(&format!("  {}: {}", key.name, key.why));
            self.comment(&format!("    Allowed: {}.", key.allowed));
        }
        let default = inline(&Param::default());
        self.comment(&format!("  params.VARIABLE: {PARAMS} {default} holds."));
        for key in &PARAM_KEYS {
            self.comment(&format!("    {}: {}", key.name, key.why));
            self.comment(&format!("      Allowed: {}.", key.allowed));
        }
        self.comment(&format!("  snapshot: {SNAPSHOT}"));
        for key in &SNAPSHOT_KEYS {
            self.comment(&format!("    {}: {}", key.name, key.why));
            self.comment(&format!("      Allowed: {}.", key.allowed));
        }
        self.comment(&format!("  stored: {STORED}"));
        for key in &STORED_KEYS {
            self.comment(&format!("    {}: {}", key.name, key.why));
            self.comment(&format!("      Allowed: {}.", key.allowed));
        }
        for (name, channel) in &config.channels {
            self.line(&format!("\n[channels.{name}]"));
            self.channel(channel);
        }
    }

    fn channel(&mut self, channel: &Channel) {
        let draft = Draft::from(channel);
        let is_shown = |key: &&Key<Draft>| match key.name {
            "interval" => channel.class == Class::Conflated,
            "window" | "max_entries" | "max_bytes" => draft.says(key.name),
            _ => true,
        };
        for key in CHANNEL_KEYS.iter().filter(is_shown) {
            self.line(&format!("{} = {}", key.name, (key.show)(&draft)));
        }
        for (variable, param) in &channel.params {
            self.line(&format!("params.{variable} = {}", inline(param)));
        }
    }

    fn setting<T>(&mut self, key: &Key<T>, of: &T) {
        self.comment(key.why);
        self.comment(&format!("Allowed: {}.", key.allowed));
        self.line(&format!("{} = {}", key.name, (key.show)(of)));
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// Wraps `text`; further lines are indented as the first one is.
    fn comment(&mut self, text: &str) {
        let indent = &text[..text.len() - text.trim_start().len()];
        let mut line = format!("#{indent}");
        for word in text.split_whitespace() {
            if line.len() + 1 + word.len() > WIDTH {
                self.line(&line);
                line = format!("#{indent}");
            }
            line.push(' ');
            line.push_str(word);
        }
        self.line(&line);
    }
}

fn inline(param: &Param) -> String {
    let pairs: Vec<_> = PARAM_KEYS
        .iter()
        .map(|key| format!("{} = {}", key.name, (key.show)(param)))
        .collect();
    format!("{{ {} }}", pairs.join(", "))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use toml::Table;

    use super::*;

    fn repository_file(path: &str) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    #[test]
    fn is_read_back_as_the_defaults() {
        let read = Config::read(&annotated_defaults(), &BTreeMap::new()).unwrap();
        assert_eq!(read, Config::default());
    }

    #[test]
    fn has_every_key_that_the_loader_knows() {
        let table: Table = annotated_defaults().parse().unwrap();
        for section in &SECTIONS {
            for key in section.keys {
                assert!(table[section.name].get(key.name).is_some(), "{}", key.name);
            }
        }
        assert_eq!(
            table.len(),
            SECTIONS.len() + 2,
            "sections, namespaces and channels"
        );
        let watchlist = &table["channels"]["watchlist"];
        // Of what it could say of its own, but what is said for all is good for it.
        let optional = ["window", "max_entries", "max_bytes"];
        for key in &CHANNEL_KEYS {
            let is_there = watchlist.get(key.name).is_some();
            assert_eq!(is_there, !optional.contains(&key.name), "{}", key.name);
        }
        for key in &PARAM_KEYS {
            assert!(
                watchlist["params"]["symbol"].get(key.name).is_some(),
                "{}",
                key.name
            );
        }
    }

    #[test]
    fn keeps_its_lines_short() {
        for line in annotated_defaults()
            .lines()
            .filter(|line| line.starts_with('#'))
        {
            assert!(line.len() <= WIDTH, "{line}");
        }
    }

    #[test]
    fn the_packaged_example_is_current() {
        let packaged = repository_file("packaging/tidings.toml");
        assert!(
            packaged == annotated_defaults(),
            "run `cargo run -- config > packaging/tidings.toml`"
        );
    }

    #[test]
    fn the_manual_lists_every_key() {
        let manual = repository_file("docs/configuration.md");
        let mut config = Config::default();
        config.node.name.clear();
        for section in &SECTIONS {
            let heading = format!("## `[{}]`\n", section.name);
            let chapter = manual
                .split(&heading)
                .nth(1)
                .unwrap_or_else(|| panic!("no {heading}"));
            let chapter = chapter.split("\n## ").next().unwrap();
            for key in section.keys {
                let row = format!("| `{}` | `{}` |", key.name, (key.show)(&config));
                assert!(chapter.contains(&row), "{heading} needs a row {row}");
            }
            let rows = chapter
                .lines()
                .filter(|line| line.starts_with("| `"))
                .count();
            assert_eq!(
                rows,
                section.keys.len(),
                "{heading} has rows for keys that do not exist"
            );
        }
        for name in CHANNEL_KEYS
            .iter()
            .map(|key| key.name)
            .chain(PARAM_KEYS.iter().map(|k| k.name))
            .chain(SNAPSHOT_KEYS.iter().map(|k| k.name))
            .chain(STORED_KEYS.iter().map(|k| k.name))
            .chain(STREAM_KEYS.iter().map(|k| k.name))
        {
            assert!(
                manual.contains(&format!("| `{name}` |")),
                "no row for a channel's {name}"
            );
        }
    }
}
