//! Arguments of `idle`.

use std::time::Duration;

use clap::Args;

use super::{
    Report,
    common::{EmitArgs, SubjectArgs, seconds},
};
use crate::{
    client::Expect,
    http::Framing,
    scenario::{
        ScenarioError,
        idle::{self, IdleConfig},
    },
    template::Template,
};

/// Arguments of `idle`.
#[derive(Debug, Args)]
pub struct IdleArgs {
    #[command(flatten)]
    subject: SubjectArgs,
    #[command(flatten)]
    emit: EmitArgs,
    /// Emits of the flood under way at once.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..))]
    in_flight: u64,
    /// Seconds of silence before memory is read.
    #[arg(long, default_value_t = 5.0, value_parser = seconds)]
    settle: f64,
    /// Emits to all clients in the flood; 0 skips it.
    #[arg(long, default_value_t = 100)]
    flood: u64,
    /// Seconds of silence after the flood before memory is read again.
    #[arg(long, default_value_t = 10.0, value_parser = seconds)]
    flood_settle: f64,
}

impl IdleArgs {
    pub(super) fn run(self) -> Result<Report, ScenarioError> {
        let config = IdleConfig {
            emit: self.emit.config(Framing::Requests),
            body: Template::parse(&self.emit.emit_body),
            settle: Duration::from_secs_f64(self.settle),
            flood: self.flood,
            in_flight: self.in_flight,
            flood_settle: Duration::from_secs_f64(self.flood_settle),
        };
        let subject = self.subject.subject(Expect::Stamps)?;
        Ok(Report::Idle(Box::new(idle::measure(&subject, config)?)))
    }
}
