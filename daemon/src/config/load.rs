//! File and environment become a [`Config`]; everything wrong on the way is collected.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::channels::Draft;
use super::keys::Key;
use super::problem::{ConfigError, Problem, Problems, unknown};
use super::source::{Raw, Source};
use super::{Config, check, defaults};

mod credentials;
mod env;
mod file;
mod secrets;
#[cfg(test)]
mod tests;

pub use env::FILE_VARIABLE;

impl Config {
    /// Reads the file, or the one that `TIDINGS_CONFIG` names, and lays the environment over it.
    ///
    /// With neither, the defaults and the environment alone decide.
    pub fn load(
        file: Option<&Path>,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let env: BTreeMap<String, String> = env.into_iter().collect();
        let named = env.get(FILE_VARIABLE).filter(|path| !path.is_empty());
        let text = match file.map(Path::to_owned).or(named.map(PathBuf::from)) {
            Some(path) => {
                let text = std::fs::read_to_string(&path);
                text.map_err(|error| ConfigError::Read { path, error })?
            }
            None => String::new(),
        };
        Self::read(&text, &env)
    }

    /// Reads a file's text, and lays the credentials and then the environment over it.
    pub(super) fn read(text: &str, env: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let table = text.parse().map_err(|error| syntax_error(text, &error))?;
        let mut loader = Loader::new();
        loader.file(&table);
        if let Some(folder) = env.get(credentials::FOLDER_VARIABLE) {
            loader.credentials(Path::new(folder));
        }
        for (name, value) in env {
            loader.variable(name, value);
        }
        loader.finish()
    }
}

/// Where the node's data is, as far as settings tell that are not sound.
pub fn data_dir(file: Option<&Path>, env: impl IntoIterator<Item = (String, String)>) -> PathBuf {
    let env: BTreeMap<String, String> = env.into_iter().collect();
    let named = |name: &str| env.get(name).filter(|text| !text.is_empty());
    let of_file = || {
        let path = file.map(Path::to_owned);
        let path = path.or(named(FILE_VARIABLE).map(PathBuf::from))?;
        let table: toml::Table = std::fs::read_to_string(path).ok()?.parse().ok()?;
        Some(table.get("node")?.get("data_dir")?.as_str()?.into())
    };
    let folder = named("TIDINGS_NODE__DATA_DIR").map(PathBuf::from);
    let folder = folder.or_else(of_file);
    folder.unwrap_or_else(|| Config::default().node.data_dir)
}

/// The process's environment. A value that is not Unicode keeps what can be read of it.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(move |(name, value)| (lossy(name), lossy(value)))
}

fn syntax_error(text: &str, error: &toml::de::Error) -> ConfigError {
    let start = error.span().map_or(0, |span| span.start);
    let line = 1 + text
        .bytes()
        .take(start)
        .filter(|byte| *byte == b'\n')
        .count();
    ConfigError::Syntax {
        line,
        message: error.message().replace('\n', ", "),
    }
}

/// A configuration in the making: the defaults, changed by each setting in turn.
struct Loader {
    config: Config,
    channels: BTreeMap<String, Draft>,
    /// Whether the channels are still those of the profile.
    is_profile: bool,
    problems: Problems,
}

impl Loader {
    fn new() -> Self {
        let config = Config::default();
        let channels = config
            .channels
            .iter()
            .map(|(name, channel)| (name.clone(), channel.into()));
        Self {
            channels: channels.collect(),
            config,
            is_profile: true,
            problems: Problems::default(),
        }
    }

    /// Sees to what follows from all settings together.
    fn finish(mut self) -> Result<Config, ConfigError> {
        let problems = &mut self.problems;
        let channels = self.channels.into_iter().map(|(name, draft)| {
            let channel = draft.finish(&name, problems);
            (name, channel)
        });
        self.config.channels = channels.collect();
        secrets::read_files(&mut self.config, &mut self.problems);
        if self.is_profile && self.config.mongodb.uri.is_some() && self.config.mongodb.snapshots {
            let join_watchlists = self.config.mongodb.join_watchlists;
            defaults::add_profile_data(&mut self.config.channels, join_watchlists);
        }
        self.config.tls.take_if(|tls| *tls == super::Tls::default());
        check::refuse_conflicts(&self.config, &mut self.problems);
        self.problems.into_result()?;
        Ok(self.config)
    }
}

/// Where a setting stands, and who wrote it.
struct Place<'a> {
    /// The path of its table, empty at the top.
    table: &'a str,
    name: &'a str,
    source: Source,
    /// Names that may stand there too, but are read elsewhere.
    beside: &'static [&'static str],
}

impl Place<'_> {
    fn problem(self, value: Option<String>, what: String) -> Problem {
        let key = match self.table {
            "" => self.name.to_owned(),
            table => format!("{table}.{}", self.name),
        };
        Problem {
            key,
            value,
            source: Some(self.source),
            what,
        }
    }
}

/// Reads one value into `target`, if `keys` has its name.
fn assign<T>(
    target: &mut T,
    keys: &[Key<T>],
    place: Place<'_>,
    raw: Raw<'_>,
    problems: &mut Problems,
) {
    let Some(key) = keys.iter().find(|key| key.name == place.name) else {
        let known = keys.iter().map(|key| key.name);
        let what = unknown(place.name, known.chain(place.beside.iter().copied()));
        return problems.add(place.problem(None, what));
    };
    let Err(refusal) = (key.set)(target, raw) else {
        return;
    };
    let value = if key.secret {
        "***".to_owned()
    } else {
        raw.to_string()
    };
    let what = match refusal.0 {
        Some(detail) => format!("must be {} ({detail})", key.allowed),
        None => format!("must be {}", key.allowed),
    };
    problems.add(place.problem(Some(value), what));
}
