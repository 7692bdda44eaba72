//! Arguments of `connect`.

use std::time::Duration;

use clap::Args;

use super::{Report, common::SubjectArgs};
use crate::{
    client::Expect,
    scenario::{
        ScenarioError,
        connect::{self, ConnectConfig},
    },
};

/// Serving this much longer shows clients that are thrown out again.
const WATCH: Duration = Duration::from_millis(500);

/// Arguments of `connect`. With --concurrency as large as --clients everybody comes at once.
#[derive(Debug, Args)]
pub struct ConnectArgs {
    #[command(flatten)]
    subject: SubjectArgs,
    /// A client that is refused or lost on its way tries again after 100 to 1000 ms, and again,
    /// until --connect-timeout. Else it stays away, and the run is invalid.
    #[arg(long)]
    retry: bool,
}

impl ConnectArgs {
    pub(super) fn run(self) -> Result<Report, ScenarioError> {
        let config = ConnectConfig {
            retry: self.retry,
            watch: WATCH,
        };
        let subject = self.subject.subject(Expect::Stamps)?;
        Ok(Report::Arrived(Box::new(connect::measure(
            &subject, config,
        )?)))
    }
}
