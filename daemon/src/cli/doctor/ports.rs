//! Whether the node can listen where it shall.

use std::{
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
};

use serde_json::Value;

use super::{Finding, Patient};

const ABOUT: &str = "ports";

pub(super) fn examine(patient: &Patient) -> Vec<Finding> {
    let config = &patient.config;
    let mut wanted = vec![
        ("listen.public", "public", config.listen.public),
        ("listen.private", "private", config.listen.private),
    ];
    if config.cluster.key.is_some() {
        wanted.push(("cluster.listen", "cluster", config.cluster.listen));
    }
    if patient.running.is_some() {
        let file = config.node.data_dir.join("listening.json");
        let listening = std::fs::read(file).unwrap_or_default();
        let listening: Value = serde_json::from_slice(&listening).unwrap_or_default();
        let ours = |(key, name, address): &(&'static str, &str, SocketAddr)| match listening[name]
            .as_str()
        {
            Some(at) => Finding::ok(ABOUT, format!("{key}: the node listens on {at}")),
            None => Finding::warning(ABOUT, format!("{key} = {address} is not in use"))
                .advise("it was configured after the node's start: restart it"),
        };
        return wanted.iter().map(ours).collect();
    }
    let free = |(key, name, address): (&'static str, &str, SocketAddr)| {
        // As the node does: TCP may be bound while connections of an earlier run linger.
        let bound = match name {
            "cluster" => UdpSocket::bind(address).map(drop),
            _ => TcpListener::bind(address).map(drop),
        };
        judge(key, address, bound)
    };
    wanted.into_iter().map(free).collect()
}

fn judge(key: &str, address: SocketAddr, bound: io::Result<()>) -> Finding {
    let Err(error) = bound else {
        return Finding::ok(ABOUT, format!("{key} = {address} is free"));
    };
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "see who has it: ss -lnptu sport = :{}; it may be tidings.socket, and then all is well",
            address.port()
        ),
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need rights: use tidings.socket; docs/operations.md, Running"
                .to_owned()
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address: see ip address, or use 0.0.0.0".to_owned()
        }
        _ => format!("choose another {key}"),
    };
    Finding::problem(ABOUT, format!("{key} = {address}: {error}")).advise(advice)
}
