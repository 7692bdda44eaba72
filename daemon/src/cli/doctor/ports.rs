//! Whether the node can listen where it shall.

use std::{
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
};

use super::{Finding, Patient, Seen, unseen};
use crate::gateway::Listening;

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
    if matches!(patient.node, Seen::Unknown) {
        return vec![unseen(ABOUT)];
    }
    if patient.node.is_there() {
        let listening = match Listening::read(&config.node.data_dir) {
            Ok(Some(listening)) => listening,
            Ok(None) => {
                let what = "the node does not say yet where it listens";
                return vec![Finding::warning(ABOUT, what).advise("it begins: look again")];
            }
            Err(error) => {
                let what = format!("where the node listens cannot be read: {error}");
                return vec![Finding::warning(ABOUT, what).advise("restart the node")];
            }
        };
        // What it says of the cluster is where others reach it.
        if let (Some(at), Some(wanted)) = (config.cluster.advertise, wanted.get_mut(2)) {
            *wanted = ("cluster.advertise", "cluster", at);
        }
        let ours = |(key, name, address): &(&'static str, &str, SocketAddr)| {
            judge_own(key, *address, in_use(&listening, name))
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

/// Where the node listens under a name, and whether systemd has chosen it.
fn in_use(listening: &Listening, name: &str) -> Option<(SocketAddr, bool)> {
    let at = match name {
        "public" => Some(listening.public),
        "private" => Some(listening.private),
        _ => listening.cluster,
    };
    let handed = listening.handed.iter().any(|handed| handed == name);
    at.map(|at| (at, handed))
}

fn judge_own(key: &str, wanted: SocketAddr, used: Option<(SocketAddr, bool)>) -> Finding {
    const ADVICE: &str = "restart the node if its settings were changed since it began; else run this \
                          with all that the service is given: docs/operations.md, Running";
    match used {
        Some((at, true)) => Finding::ok(
            ABOUT,
            format!("{key}: systemd listens on {at} for the node"),
        ),
        // Port 0 is any.
        Some((at, _)) if at == wanted || (wanted.port() == 0 && at.ip() == wanted.ip()) => {
            Finding::ok(ABOUT, format!("{key}: the node listens on {at}"))
        }
        Some((at, _)) => {
            let what = format!("{key} = {wanted}, and the node listens on {at}");
            Finding::warning(ABOUT, what).advise(ADVICE)
        }
        None => Finding::warning(ABOUT, format!("{key} = {wanted} is not in use")).advise(ADVICE),
    }
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

#[cfg(test)]
mod tests {
    use super::super::Mark;
    use super::*;

    #[test]
    fn a_port_that_differs_from_the_settings_is_told() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let mark = |wanted: &str, at: &str, handed| {
            judge_own("k", address(wanted), Some((address(at), handed))).mark
        };
        assert_eq!(mark("127.0.0.1:1", "127.0.0.1:1", false), Mark::Ok);
        assert_eq!(mark("127.0.0.1:0", "127.0.0.1:1", false), Mark::Ok);
        assert_eq!(mark("127.0.0.1:2", "127.0.0.1:1", false), Mark::Warning);
        assert_eq!(mark("127.0.0.1:0", "0.0.0.0:1", false), Mark::Warning);
        assert_eq!(mark("127.0.0.1:2", "0.0.0.0:443", true), Mark::Ok);
        assert_eq!(
            judge_own("k", address("127.0.0.1:2"), None).mark,
            Mark::Warning
        );
    }
}
