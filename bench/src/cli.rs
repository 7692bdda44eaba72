//! Arguments of `tidings-load`.

use clap::{Parser, Subcommand};

use crate::scenario::{
    ScenarioError, connect::Arrived, fanout::Fanout, idle::Idle, listen::Listened, quotes::Quoted,
    users::Served,
};

mod common;
mod connect;
mod fanout;
mod idle;
mod quotes;
mod users;

/// Loads a Socket.IO server and reports what it took, as one line of JSON.
#[derive(Debug, Parser)]
#[command(name = "tidings-load", version)]
pub struct Cli {
    /// What to measure.
    #[command(subcommand)]
    pub scenario: Scenario,
}

/// The scenarios.
#[derive(Debug, Subcommand)]
pub enum Scenario {
    /// All clients in one room: CPU time of the server for each delivery, and latency.
    Fanout(fanout::FanoutArgs),
    /// Many rooms, some of them hot: CPU time of the server for each quote, conflation on or off.
    Quotes(quotes::QuotesArgs),
    /// Emits to single users: CPU time of the server for each, and how many it takes.
    Users(users::UsersArgs),
    /// Everybody connects, authenticates and subscribes: CPU time of the server for each, and how
    /// long it takes.
    Connect(connect::ConnectArgs),
    /// Clients that say nothing: resident memory of the server for each, before and after a flood.
    Idle(idle::IdleArgs),
}

/// A report of any scenario.
#[derive(Debug, serde::Serialize)]
#[serde(untagged)]
pub enum Report {
    /// Of `fanout`.
    Fanout(Box<Fanout>),
    /// Of `fanout --external-emits`.
    Listened(Box<Listened>),
    /// Of `quotes`.
    Quoted(Box<Quoted>),
    /// Of `users`.
    Served(Box<Served>),
    /// Of `connect`.
    Arrived(Box<Arrived>),
    /// Of `idle`.
    Idle(Box<Idle>),
}

impl Scenario {
    /// Measures.
    pub fn run(self) -> Result<Report, ScenarioError> {
        match self {
            Self::Fanout(args) => args.run(),
            Self::Quotes(args) => args.run(),
            Self::Users(args) => args.run(),
            Self::Connect(args) => args.run(),
            Self::Idle(args) => args.run(),
        }
    }
}

impl Report {
    /// Whether every client got what it should; if not, the figures mean nothing.
    pub fn is_valid(&self) -> bool {
        match self {
            Self::Fanout(report) => report.exact,
            Self::Listened(report) => report.exact,
            Self::Quoted(report) => report.valid,
            Self::Served(report) => report.valid,
            Self::Arrived(report) => report.valid,
            Self::Idle(report) => {
                report.lost.is_none() && report.after_flood.as_ref().is_none_or(|flood| flood.exact)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }
}
