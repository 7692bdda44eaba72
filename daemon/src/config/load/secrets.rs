//! Secrets that stand in files of their own, as container platforms mount them.

use std::path::Path;

use super::super::kind::{self, Kind};
use super::super::problem::{Problem, Problems};
use super::super::{Config, Secret};
use super::Raw;

/// Reads the files that settings name, each in the place of the setting that it stands for.
pub(super) fn read_files(config: &mut Config, problems: &mut Problems) {
    let mongodb = &mut config.mongodb;
    let file = mongodb.uri_file.as_deref();
    let named = ("mongodb.uri", "mongodb.uri_file");
    read(named, file, &mut mongodb.uri, &kind::OPTIONAL_URI, problems);
    let session = &mut config.session;
    let file = session.secret_file.as_deref();
    let named = ("session.secret", "session.secret_file");
    let passphrase = &kind::OPTIONAL_PASSPHRASE;
    read(named, file, &mut session.secret, passphrase, problems);
    let admin_ui = &mut config.admin_ui;
    let file = admin_ui.password_hash_file.as_deref();
    let named = ("admin_ui.password_hash", "admin_ui.password_hash_file");
    let hash = &kind::OPTIONAL_PASSWORD_HASH;
    read(named, file, &mut admin_ui.password_hash, hash, problems);
}

fn read(
    (key, file_key): (&str, &str),
    file: Option<&Path>,
    secret: &mut Option<Secret>,
    kind: &Kind<Option<Secret>>,
    problems: &mut Problems,
) {
    let Some(path) = file else { return };
    let mut refuse = |what: String| {
        problems.add(Problem {
            key: file_key.to_owned(),
            value: Some(toml::Value::String(path.display().to_string()).to_string()),
            source: None,
            what,
        });
    };
    if secret.is_some() {
        return refuse(format!("{key} is set too, and only one of them can hold"));
    }
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => return refuse(format!("cannot be read: {error}")),
    };
    match (kind.read)(Raw::Env(text.trim())) {
        Ok(Some(found)) => *secret = Some(found),
        Ok(None) => refuse("is empty".to_owned()),
        Err(refusal) => {
            let detail = refusal.0.map(|detail| format!(" ({detail})"));
            let allowed = kind.allowed;
            refuse(format!("must hold {allowed}{}", detail.unwrap_or_default()));
        }
    }
}
