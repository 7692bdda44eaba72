//! What is wrong only in combination.

mod channels;

use std::net::SocketAddr;
use std::path::Path;

use tidings_storage::mongo::read_uri;

use super::problem::Problems;
use super::{Channel, Config, kind, warnings::is_loopback};
use crate::http::tls;

/// The longest path that a Unix socket can have on Linux.
const LONGEST_SOCKET_PATH: usize = 107;

/// Reports each combination that would be unsafe or cannot work.
pub(super) fn refuse_conflicts(config: &Config, problems: &mut Problems) {
    check_data_dir(config, problems);
    check_listeners(config, problems);
    check_tls(config, problems);
    check_acme(config, problems);
    check_client_dir(config, problems);
    check_cluster(config, problems);
    check_mongodb(config, problems);
    super::streams::check(config, problems);
    check_outbox(config, problems);
    check_admin_ui(config, problems);
    check_drain(config, problems);
    check_namespaces(config, problems);
    channels::check(config, problems);
}

fn check_data_dir(config: &Config, problems: &mut Problems) {
    let socket = config.node.admin_socket();
    let length = socket.as_os_str().len();
    if length > LONGEST_SOCKET_PATH {
        let what = format!(
            "too long for the admin socket in it: a socket's path has at most \
             {LONGEST_SOCKET_PATH} bytes, {} has {length}",
            socket.display()
        );
        problems.conflict(
            "node.data_dir",
            quoted(config.node.data_dir.display()),
            &[],
            what,
        );
    }
}

fn check_listeners(config: &Config, problems: &mut Problems) {
    let listen = &config.listen;
    let shown = quoted(listen.private);
    if collide(listen.public, listen.private) {
        let what = format!("collides with listen.public = {}", quoted(listen.public));
        problems.conflict("listen.private", shown.clone(), &["listen.public"], what);
    }
    if !is_loopback(listen.private) && !config.speaks_tls() && !listen.insecure_private {
        let what =
            "API keys would travel in the clear: beyond loopback it needs [tls] or [acme], or \
                    listen.insecure_private = true"
                .to_owned();
        let others = [
            "listen.insecure_private",
            "tls.cert",
            "tls.key",
            "acme.domains",
        ];
        problems.conflict("listen.private", shown, &others, what);
    }
}

fn check_tls(config: &Config, problems: &mut Problems) {
    let Some(tls) = &config.tls else { return };
    for (key, path, partner) in [
        ("tls.cert", &tls.cert, "tls.key"),
        ("tls.key", &tls.key, "tls.cert"),
    ] {
        let shown = quoted(path.display());
        if path.as_os_str().is_empty() {
            let what = format!("needed together with {partner}: the path of a PEM file");
            problems.conflict(key, shown, &[partner], what);
        } else if path.exists() && !path.is_file() {
            problems.conflict(key, shown, &[], "must be a PEM file".to_owned());
        } else if let Err(error) = std::fs::File::open(path) {
            problems.conflict(key, shown, &[], format!("cannot be read: {error}"));
        }
    }
}

fn check_acme(config: &Config, problems: &mut Problems) {
    let acme = &config.acme;
    if acme.domains.is_empty() {
        return;
    }
    let shown = format!("{:?}", acme.domains);
    if config.tls.is_some() {
        let what = "[tls] names a certificate already: set the one or the other".to_owned();
        problems.conflict("acme.domains", shown, &["tls.cert", "tls.key"], what);
    }
    if !acme.terms_agreed {
        let what = format!(
            "must be true: {} issues nothing to who has not agreed to its terms",
            acme.directory
        );
        let others = ["acme.domains", "acme.directory"];
        problems.conflict("acme.terms_agreed", "false".to_owned(), &others, what);
    }
    if let Some(file) = &acme.ca
        && let Err(what) = tls::authorities(file)
    {
        problems.conflict("acme.ca", quoted(file.display()), &[], what);
    }
}

fn check_client_dir(config: &Config, problems: &mut Problems) {
    let missing = |folder: &&Path| !folder.is_dir();
    if let Some(folder) = config.listen.client_dir.as_deref().filter(missing) {
        let what = "no such folder; it is the dist folder of an installed socket.io-client";
        problems.conflict(
            "listen.client_dir",
            quoted(folder.display()),
            &[],
            what.to_owned(),
        );
    }
}

fn check_cluster(config: &Config, problems: &mut Problems) {
    let cluster = &config.cluster;
    let Some(key) = &cluster.key else {
        if !cluster.seeds.is_empty() {
            let what = "of no use without cluster.key: `tidings cluster key` makes one".to_owned();
            let shown = format!("{:?}", cluster.seeds);
            problems.conflict("cluster.seeds", shown, &["cluster.key"], what);
        }
        return;
    };
    if let Err(why) = read_cluster_key(key) {
        return problems.conflict("cluster.key", quoted(key.display()), &[], why);
    }
    let name = &config.node.name;
    if !is_host_name(name) {
        let what =
            "must be a host name in a cluster: letters, digits, - and ., at most 200 of them"
                .to_owned();
        problems.conflict("node.name", quoted(name), &["cluster.key"], what);
    }
    match cluster.address() {
        None => {
            let what = format!(
                "needed, as cluster.listen = {} names no address: where other nodes reach this one",
                quoted(cluster.listen)
            );
            let others = ["cluster.listen"];
            problems.conflict("cluster.advertise", quoted(""), &others, what);
        }
        Some(address) if address.ip().is_unspecified() => {
            let what = "must be an address that other nodes can reach".to_owned();
            problems.conflict("cluster.advertise", quoted(address), &[], what);
        }
        Some(_) => {}
    }
}

fn check_mongodb(config: &Config, problems: &mut Problems) {
    let mongodb = &config.mongodb;
    let Some(uri) = &mongodb.uri else {
        let mut channels = config.channels.iter();
        let found = channels.find_map(|(name, channel)| match channel {
            Channel {
                snapshot: Some(_), ..
            } => Some((name, "snapshot")),
            Channel {
                stored: Some(_), ..
            } => Some((name, "stored")),
            _ => None,
        });
        if let Some((name, key)) = found {
            let what = "needs a MongoDB: set mongodb.uri".to_owned();
            let others = ["mongodb.uri", "mongodb.uri_file"];
            let key = format!("channels.{name}.{key}");
            problems.conflict(&key, "{…}".into(), &others, what);
        }
        return;
    };
    let names_none = matches!(read_uri(uri.expose()), Ok(None));
    if names_none && mongodb.database.is_empty() {
        let what = "needed, as the connection string names no database (…@host/DATABASE)";
        let others = ["mongodb.uri", "mongodb.uri_file"];
        problems.conflict("mongodb.database", quoted(""), &others, what.to_owned());
    }
}

fn check_admin_ui(config: &Config, problems: &mut Problems) {
    let admin_ui = &config.admin_ui;
    if !admin_ui.enabled {
        return;
    }
    if admin_ui.password_hash.is_none() {
        let what = "needed with admin_ui.enabled: `tidings hash-password` makes one".to_owned();
        let others = ["admin_ui.enabled", "admin_ui.password_hash_file"];
        problems.conflict("admin_ui.password_hash", quoted(""), &others, what);
    }
    let mut names = config.namespaces.iter();
    if names.any(|namespace| namespace.name == admin_ui.namespace) {
        let what = "is among [[namespaces]], where any client may connect".to_owned();
        let others = ["namespaces", "namespaces.name"];
        let shown = quoted(&admin_ui.namespace);
        problems.conflict("admin_ui.namespace", shown, &others, what);
    }
}

/// Whether the name can stand in a certificate.
fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    name.len() <= 200 && name.split('.').all(label)
}

/// Reads a cluster's key, or says why it cannot be used.
pub(crate) fn read_cluster_key(path: &Path) -> Result<tidings_cluster::ClusterKey, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
    tidings_cluster::ClusterKey::from_pem(&text).map_err(|error| error.to_string())
}

fn check_outbox(config: &Config, problems: &mut Problems) {
    let limits = &config.limits;
    if limits.outbox < limits.payload {
        let shown = |bytes: &usize| (kind::SIZE.show)(bytes).to_string();
        let what = format!(
            "must not be less than limits.payload = {}, or one packet could fill it",
            shown(&limits.payload)
        );
        problems.conflict(
            "limits.outbox",
            shown(&limits.outbox),
            &["limits.payload"],
            what,
        );
    }
}

fn check_drain(config: &Config, problems: &mut Problems) {
    let drain = &config.drain;
    if drain.spread > drain.deadline {
        let shown = |time: &_| (kind::DURATION.show)(time).to_string();
        let what = format!(
            "must not be longer than drain.deadline = {}, or some clients would never be told",
            shown(&drain.deadline)
        );
        problems.conflict(
            "drain.spread",
            shown(&drain.spread),
            &["drain.deadline"],
            what,
        );
    }
}

fn check_namespaces(config: &Config, problems: &mut Problems) {
    let names: Vec<_> = config
        .namespaces
        .iter()
        .map(|namespace| &namespace.name)
        .collect();
    if names.is_empty() {
        let what = "at least one is needed, such as \"/\"".to_owned();
        problems.conflict("namespaces", "[]".into(), &["namespaces.name"], what);
    }
    for (at, name) in names.iter().enumerate() {
        if name.is_empty() {
            let what = format!("must be {}", kind::NAMESPACE.allowed);
            problems.conflict("namespaces.name", quoted(name), &[], what);
        } else if names[..at].contains(name) {
            problems.conflict(
                "namespaces.name",
                quoted(name),
                &[],
                "is listed twice".to_owned(),
            );
        }
    }
}

fn collide(left: SocketAddr, right: SocketAddr) -> bool {
    let (a, b) = (left.ip().to_canonical(), right.ip().to_canonical());
    left.port() != 0
        && left.port() == right.port()
        && (a == b || a.is_unspecified() || b.is_unspecified())
}

fn quoted(text: impl std::fmt::Display) -> String {
    toml::Value::String(text.to_string()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_collide_if_one_covers_the_other() {
        for (left, right, expected) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "[::]:80", true),
            ("[::ffff:127.0.0.1]:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
        ] {
            assert_eq!(
                collide(address(left), address(right)),
                expected,
                "{left} {right}"
            );
            assert_eq!(
                collide(address(right), address(left)),
                expected,
                "{right} {left}"
            );
        }
    }
}
