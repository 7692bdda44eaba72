//! `tidings health`: whether the node here serves, for container hosts and deployments.

use serde_json::Value;

use super::{CliError, admin, args::Target};

/// Why a node does not serve, as it says itself.
#[derive(Debug, thiserror::Error)]
#[error("the node does not serve: {0}")]
pub(super) struct Unhealthy(String);

/// Asks the node, and answers what to print if it serves.
pub(super) fn run(target: &Target) -> Result<String, CliError> {
    let mut status = String::new();
    let said = admin::running(target, ("GET", admin::HEALTH), |said| {
        status = said["status"].as_str().unwrap_or_default().to_owned();
        format!("{status}\n")
    })?;
    if target.json {
        let said: Value = serde_json::from_str(&said).unwrap_or_default();
        status = said["status"].as_str().unwrap_or_default().to_owned();
    }
    match status.as_str() {
        "ok" | "degraded" => Ok(said),
        _ => Err(Unhealthy(status).into()),
    }
}
