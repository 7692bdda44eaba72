//! What makes a node one of several: the cluster's settings, and a number for each boot.

use std::time::Duration;

use tidings_cluster::Config as ClusterConfig;
use tidings_storage::{Store, StoreError};

use super::StartError;
use crate::{config::Config, node::now_ms};

/// What makes the node one of several, if it is to be.
pub(super) fn settings(
    config: &Config,
    generation: u64,
) -> Result<Option<ClusterConfig>, StartError> {
    let settings = &config.cluster;
    let (Some(key), Some(advertise)) = (&settings.key, settings.address()) else {
        return Ok(None);
    };
    let key = crate::config::read_cluster_key(key)
        .map_err(|why| StartError::Application(format!("cluster.key = {key:?} {why}")))?;
    Ok(Some(ClusterConfig {
        cluster: settings.name.clone(),
        node: config.node.name.as_str().into(),
        generation,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        listen: settings.listen,
        advertise,
        key,
        seeds: settings.seeds.clone(),
        linger: LINGER,
        queue: settings.queue,
    }))
}

/// How long a room without members is still forwarded: a client that comes right back costs the
/// peers nothing.
const LINGER: Duration = Duration::from_secs(10);

/// Where the store keeps the last boot's number.
const GENERATION: &str = "generation";

/// A number for this boot, higher than that of every earlier one whatever the clock says.
pub(super) async fn next_generation(store: &Store) -> Result<u64, StoreError> {
    let last = store.meta(GENERATION).await?;
    let last = last.and_then(|bytes| bytes.try_into().ok());
    let generation = now_ms().max(last.map_or(0, u64::from_be_bytes) + 1);
    store
        .put_meta(GENERATION, generation.to_be_bytes().to_vec())
        .await?;
    Ok(generation)
}
