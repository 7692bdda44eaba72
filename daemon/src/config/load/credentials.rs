//! Credentials of systemd (`systemd.exec(5)`, `LoadCredential=`): files named as the settings they
//! are for, in a folder that only the service can read.

use std::path::Path;

use toml::Value;

use super::super::keys::SECTIONS;
use super::super::problem::Problem;
use super::{Loader, Place, Raw, Source, assign};

/// Names the folder.
pub(super) const FOLDER_VARIABLE: &str = "CREDENTIALS_DIRECTORY";

/// How a file becomes a value.
#[derive(Clone, Copy)]
enum As {
    /// The setting names a file: this one.
    Path,
    /// The setting is its text, without the last line's end.
    Text,
    /// The setting is a list, one item a line.
    Lines,
}

/// The settings that a credential can set. Others in the folder are somebody else's.
const CREDENTIALS: [(&str, &str, As); 8] = [
    ("tls", "cert", As::Path),
    ("tls", "key", As::Path),
    ("cluster", "key", As::Path),
    ("auth", "api_key", As::Text),
    ("auth", "secrets", As::Lines),
    ("mongodb", "uri", As::Text),
    ("session", "secret", As::Text),
    ("admin_ui", "password_hash", As::Text),
];

impl Loader {
    /// Applies the credentials in a folder.
    pub(super) fn credentials(&mut self, folder: &Path) {
        for (section, key, read_as) in CREDENTIALS {
            let name = format!("{section}.{key}");
            let path = folder.join(&name);
            if !path.is_file() {
                continue;
            }
            let value = match read_as {
                As::Path => Ok(Value::from(path.to_string_lossy().into_owned())),
                As::Text => std::fs::read_to_string(&path).map(|text| Value::from(text.trim())),
                As::Lines => std::fs::read_to_string(&path).map(|text| {
                    let lines = text.lines().map(str::trim);
                    let lines = lines.filter(|line| !line.is_empty());
                    Value::Array(lines.map(Value::from).collect())
                }),
            };
            match value {
                Ok(value) => self.credential(section, key, &value),
                Err(error) => self.problems.add(Problem {
                    key: name.clone(),
                    value: None,
                    source: Some(Source::Credential(name)),
                    what: format!("cannot be read: {error}"),
                }),
            }
        }
    }

    fn credential(&mut self, section: &'static str, key: &'static str, value: &Value) {
        let place = Place {
            table: section,
            name: key,
            source: Source::Credential(format!("{section}.{key}")),
            beside: &[],
        };
        let section = SECTIONS.iter().find(|known| known.name == section);
        let keys = section.expect("credentials are of sections").keys;
        let raw = Raw::File(value);
        assign(&mut self.config, keys, place, raw, &mut self.problems);
    }
}
