//! Arguments of `users`.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{
    Report,
    common::{EmitArgs, PaceArgs, SubjectArgs, rate},
};
use crate::{
    client::Expect,
    emitter::{MAX_UNDELIVERED, Order, Pace, UserPlan, Wrapping},
    http::Framing,
    scenario::{
        ScenarioError,
        users::{self, UsersConfig},
    },
    template::Template,
};

/// Serving this much longer shows deliveries that nobody should have got.
const SURPLUS_WATCH: Duration = Duration::from_millis(200);
/// What an emit must have.
const CHECKED: &str = "\"seq\":{seq}";
/// Emits that one connection may wait for by default, in POSTs of their own,
const POSTS: u64 = 64;
/// in a stream; Tidings has a quarter of it under way,
const LINES: u64 = 1024;
/// and in batches, of which there are so many.
const BATCHES: u64 = 4;

/// How emits are put on the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// A POST each, pipelined.
    Post,
    /// A POST for several.
    Batch,
    /// Lines of one POST that does not end, answered line by line.
    Stream,
}

/// Arguments of `users`. Client {n} must be user {n}, by --auth or --subscribe. In --emit-body,
/// which is one emit, {user} is the number of the client that it is for, and `"seq":{seq}` must
/// reach it.
#[derive(Debug, Args)]
pub struct UsersArgs {
    #[command(flatten)]
    subject: SubjectArgs,
    #[command(flatten)]
    emit: EmitArgs,
    #[command(flatten)]
    pace: PaceArgs,
    /// How emits are put on the connection to --emit-url.
    #[arg(long, value_enum, default_value_t = Mode::Post)]
    mode: Mode,
    /// Emits each second; 0 is as fast as it goes.
    #[arg(long, default_value_t = 0.0, value_parser = rate)]
    rate: f64,
    /// Emits in one POST (batch) or one write (stream); they are due together.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    batch_size: u64,
    /// What a batch begins with.
    #[arg(long, default_value = "[")]
    batch_open: String,
    /// What stands between its emits.
    #[arg(long, default_value = ",")]
    batch_separator: String,
    /// What it ends with.
    #[arg(long, default_value = "]")]
    batch_close: String,
    /// Emits that may be without an answer when nothing else sets the pace: 64 in posts, 4 batches,
    /// or 1024 lines of a stream by default.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    in_flight: Option<u64>,
    /// Whose turn it is.
    #[arg(long, value_enum, default_value_t = Order::RoundRobin)]
    order: Order,
    /// The same seed gives the same random order.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl UsersArgs {
    pub(super) fn run(self) -> Result<Report, ScenarioError> {
        let config = self.config()?;
        // What is expected of events is the scenario's to say.
        let subject = self.subject.subject(Expect::Sequence)?;
        Ok(Report::Served(Box::new(users::measure(&subject, config)?)))
    }

    fn config(&self) -> Result<UsersConfig, ScenarioError> {
        let item = Template::parse(&self.emit.emit_body);
        if !item.has(CHECKED) {
            return Err(ScenarioError::Unchecked { place: CHECKED });
        }
        let (batch, in_flight, framing) = match self.mode {
            Mode::Post => (1, POSTS, Framing::Requests),
            Mode::Batch => (
                self.batch_size,
                BATCHES * self.batch_size,
                Framing::Requests,
            ),
            Mode::Stream => (self.batch_size, LINES, Framing::Stream),
        };
        let flat = Pace::Answered {
            emits: self.in_flight.unwrap_or(in_flight),
            undelivered: Some(MAX_UNDELIVERED),
        };
        let (measured, warm_up) = self.pace.bursts(self.rate / batch as f64, flat);
        Ok(UsersConfig {
            emit: self.emit.config(framing),
            mode: self.mode.name(),
            plan: UserPlan {
                users: self.subject.clients(),
                order: self.order,
                seed: self.seed,
                item,
                wrapping: self.wrapping(),
                batch,
            },
            warm_up,
            measured,
            surplus_watch: SURPLUS_WATCH,
        })
    }

    fn wrapping(&self) -> Wrapping {
        match self.mode {
            Mode::Post => Wrapping::default(),
            Mode::Batch => Wrapping {
                open: self.batch_open.clone(),
                separator: self.batch_separator.clone(),
                close: self.batch_close.clone(),
            },
            Mode::Stream => Wrapping {
                open: String::new(),
                separator: "\n".into(),
                close: "\n".into(),
            },
        }
    }
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Self::Post => "post",
            Self::Batch => "batch",
            Self::Stream => "stream",
        }
    }
}
