//! MongoDB beside a node, as an application shares it.

mod cost;
mod kit;
mod logout;
mod migrate;
mod sessions;
mod snapshots;
mod stored;
mod streams;
mod trouble;
