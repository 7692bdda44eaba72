//! `tidings cluster`: the key that nodes share, and how they are.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tidings_cluster::ClusterKey;

use super::{CliError, admin, args::Cluster, output::table};

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClusterError {
    /// It could not be made.
    #[error(transparent)]
    Key(#[from] tidings_cluster::KeyError),
    /// It could not be written; a file that was there is as it was.
    #[error("cannot write {}: {error}{}", file.display(), advice(error))]
    Write {
        /// The file.
        file: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

/// Does what is asked, and answers what to print.
pub(super) fn run(command: Cluster) -> Result<String, CliError> {
    match command {
        Cluster::Key { file: None } => Ok(ClusterKey::generate().map_err(ClusterError::from)?),
        Cluster::Key { file: Some(file) } => {
            let text = ClusterKey::generate().map_err(ClusterError::from)?;
            write_new(&file, &text).map_err(|error| ClusterError::Write {
                file: file.clone(),
                error,
            })?;
            Ok(format!(
                "wrote {}\nCopy it to every node, readable by the daemon alone, and set \
                 cluster.key: whoever has it is of the cluster.\n",
                file.display()
            ))
        }
        Cluster::Status { target } => admin::running(&target, ("GET", admin::CLUSTER), words),
        Cluster::Slots { target } => admin::running(&target, ("GET", admin::SLOTS), slots),
        Cluster::Forget { id, target } => {
            let path = admin::FORGET.to_owned() + &id;
            admin::running(&target, ("POST", &path), |said| {
                let id = said["forgotten"].as_str().unwrap_or_default();
                format!("{id} is not counted any more\n")
            })
        }
    }
}

fn write_new(file: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options.open(file)?.write_all(text.as_bytes())
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AlreadyExists => "; a key that nodes may be using is never overwritten",
        _ => "",
    }
}

/// Who holds the slots, in words: a line for each node that is counted.
fn slots(said: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let owned_by = |id: &Value| {
        let slots = said["slots"].as_array().into_iter().flatten();
        slots.filter(|slot| slot["owner"] == *id).count()
    };
    let nodes = said["counted"].as_array().into_iter().flatten();
    let rows: Vec<_> = nodes
        .map(|node| {
            let state = match (node["ready"] == true, node["alive"] == true) {
                (true, _) => "ready",
                (false, true) => "alive",
                (false, false) => "away",
            };
            let slots = owned_by(&node["id"]).to_string();
            [
                text(&node["id"]),
                text(&node["name"]),
                state.to_owned(),
                slots,
            ]
        })
        .collect();
    let mut words = table(["ID", "NODE", "STATE", "SLOTS"], &rows);
    let nobodys = owned_by(&Value::Null);
    if nobodys > 0 {
        words += &format!("{nobodys} slots have no owner\n");
    }
    let under = said["figures"]["underCopiedSlots"]
        .as_f64()
        .unwrap_or_default();
    if under > 0.0 {
        words += &format!("{under} slots of this node have fewer copies than there should be\n");
    }
    words
}

/// The answer in words.
fn words(said: &Value) -> String {
    let own = &said["node"];
    if said["clustered"] != true {
        let name = own["name"].as_str().unwrap_or_default();
        return format!("{name} is alone: cluster.key is not set\n");
    }
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    };
    let mut rows = vec![[
        format!("{} (this node)", text(&own["name"])),
        text(&own["address"]),
        text(&own["version"]),
        text(&own["state"]),
        text(&own["connections"]),
        "-".to_owned(),
        text(&own["rooms"]),
        if own["acknowledgedByAll"] == true {
            "yes".to_owned()
        } else {
            "no".to_owned()
        },
        "-".to_owned(),
    ]];
    for peer in said["peers"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
    {
        let state = match peer["alive"] == true {
            true => text(&peer["state"]),
            false => "dead".to_owned(),
        };
        let link = match (peer["linked"] == true, peer["heard"] == true) {
            (true, true) => peer["roundTripMs"]
                .as_f64()
                .map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1} ms")),
            (true, false) => "there only".to_owned(),
            (false, true) => "back only".to_owned(),
            (false, false) => "none".to_owned(),
        };
        rows.push([
            text(&peer["name"]),
            text(&peer["address"]),
            text(&peer["version"]),
            state,
            text(&peer["connections"]),
            link,
            text(&peer["rooms"]),
            if peer["inStep"] == true { "yes" } else { "no" }.to_owned(),
            text(&peer["waitingBytes"]),
        ]);
    }
    table(
        [
            "NODE", "ADDRESS", "VERSION", "STATE", "CLIENTS", "LINK", "ROOMS", "IN STEP", "WAITING",
        ],
        &rows,
    )
}
