//! The cluster's key, and the nodes that this one begins with.

use std::{net::SocketAddr, os::unix::fs::MetadataExt, path::Path, time::Duration};

use futures_util::future::join_all;
use tidings_cluster::{ClusterKey, ProbeError, Reached, probe, proto::PROTOCOL};

use super::{Finding, Patient};
use crate::config::read_cluster_key;

const ABOUT: &str = "cluster";

/// How long name servers may take.
const NAMES: Duration = Duration::from_secs(3);

/// A node's certificate is valid from this long before it was minted, and minted anew after
/// `RENEWED`; see `identity` of the cluster.
const TOLERANCE: i64 = 3600;
const RENEWED: i64 = 8 * 3600;

/// What clocks may differ by.
const SLACK: i64 = 5;

pub(super) async fn examine(patient: &Patient) -> Vec<Finding> {
    let cluster = &patient.config.cluster;
    let Some(path) = &cluster.key else {
        return vec![Finding::ok(ABOUT, "none is configured: this node is alone")];
    };
    let key = match read_cluster_key(path) {
        Ok(key) => key,
        Err(why) => {
            return vec![
                Finding::problem(ABOUT, format!("cluster.key = {}: {why}", path.display()))
                    .advise("copy it from another node, or make one: tidings cluster key"),
            ];
        }
    };
    let mut findings = vec![judge_key(path)];
    if cluster.seeds.is_empty() {
        findings.push(Finding::ok(ABOUT, "it has no seeds: others come to it"));
    }
    let reached = cluster
        .seeds
        .iter()
        .map(|seed| of_seed(patient, &key, seed));
    findings.extend(join_all(reached).await.into_iter().flatten());
    findings
}

fn judge_key(path: &Path) -> Finding {
    let shown = path.display();
    let mode = path.metadata().map_or(0, |about| about.mode() & 0o777);
    match mode & 0o007 {
        0 => Finding::ok(ABOUT, format!("the key {shown} can be read")),
        _ => Finding::warning(
            ABOUT,
            format!("everybody may read the key {shown} (mode {mode:o})"),
        )
        .advise(format!(
            "chmod o-rwx {shown}; if others may have it, make a new one"
        )),
    }
}

async fn of_seed(patient: &Patient, key: &ClusterKey, seed: &str) -> Vec<Finding> {
    let looked = tokio::time::timeout(NAMES, tokio::net::lookup_host(seed)).await;
    let addresses: Vec<SocketAddr> = match looked {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(error)) => return vec![unknown(seed, &error.to_string())],
        Err(_) => return vec![unknown(seed, &format!("no answer within {NAMES:?}"))],
    };
    let cluster = &patient.config.cluster;
    let is_other = |address: &SocketAddr| Some(*address) != cluster.address();
    let others: Vec<_> = addresses.into_iter().filter(is_other).collect();
    if others.is_empty() {
        return vec![Finding::ok(ABOUT, format!("{seed} is this node itself"))];
    }
    let reached = others.into_iter().map(async |address| {
        let reached = probe(key, &cluster.name, address).await;
        judge(seed, address, &reached, patient.now)
    });
    join_all(reached).await
}

fn unknown(seed: &str, why: &str) -> Finding {
    Finding::problem(ABOUT, format!("{seed} is not known: {why}"))
        .advise("see cluster.seeds and this machine's name servers")
}

fn judge(
    seed: &str,
    address: SocketAddr,
    reached: &Result<Reached, ProbeError>,
    now: i64,
) -> Finding {
    let shown = match seed == address.to_string() {
        true => seed.to_owned(),
        false => format!("{seed} ({address})"),
    };
    let problem = |error: &ProbeError| Finding::problem(ABOUT, format!("{shown}: {error}"));
    match reached {
        Ok(reached) if reached.protocol != PROTOCOL => Finding::problem(
            ABOUT,
            format!(
                "{shown} speaks version {} of the cluster's protocol, not {PROTOCOL}",
                reached.protocol
            ),
        )
        .advise("run the same release on all nodes"),
        Ok(reached) => {
            let apart = reached.certificate.as_deref().and_then(minted);
            match apart.map_or(0, |minted| apart_by(minted, now)) {
                0 => Finding::ok(ABOUT, format!("{shown} answers")),
                apart => Finding::warning(
                    ABOUT,
                    format!("{shown} answers; its clock and this one are at least {apart} s apart"),
                )
                .advise("keep the clocks of all nodes right: timedatectl set-ntp true, or chrony"),
            }
        }
        Err(error @ ProbeError::Late) => problem(error).advise(
            "is a node running there? UDP must pass both ways: see firewalls, cluster.listen there",
        ),
        Err(error @ ProbeError::OtherCluster) => {
            problem(error).advise("cluster.name must be the same on all nodes")
        }
        Err(error @ ProbeError::Handshake(_)) => problem(error).advise(
            "all nodes need the same cluster.key, and clocks that differ by less than an hour",
        ),
        Err(error) => problem(error).advise("see cluster.seeds"),
    }
}

/// When a node has minted its certificate by its own clock.
fn minted(certificate: &[u8]) -> Option<i64> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some(parsed.validity().not_before.timestamp() + TOLERANCE)
}

/// How many seconds a clock is apart at least from one that has minted a certificate that is in use.
fn apart_by(minted: i64, now: i64) -> i64 {
    let behind = minted - now;
    let ahead = now - minted - RENEWED;
    match behind.max(ahead) {
        apart if apart > SLACK => apart,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Mark;
    use super::*;

    #[test]
    fn clocks_are_compared_as_far_as_a_certificate_tells() {
        assert_eq!(apart_by(1000, 1000), 0);
        assert_eq!(apart_by(1000, 1000 + RENEWED), 0);
        assert_eq!(apart_by(1000, 900), 100);
        assert_eq!(apart_by(1000, 1100 + RENEWED), 100);
    }

    #[test]
    fn what_a_node_says_becomes_what_to_do() {
        let at: SocketAddr = "10.0.0.1:7946".parse().unwrap();
        let found = |reached| judge("a:7946", at, &reached, 0);
        let late = found(Err(ProbeError::Late));
        assert_eq!(late.what, "a:7946 (10.0.0.1:7946): no answer within 3 s");
        let other = found(Err(ProbeError::OtherCluster));
        assert!(other.advice.unwrap().starts_with("cluster.name"));
        let later = Reached {
            protocol: PROTOCOL + 1,
            certificate: None,
        };
        assert_eq!(found(Ok(later)).mark, Mark::Problem);
    }
}
