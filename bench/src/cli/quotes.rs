//! Arguments of `quotes`.

use std::time::Duration;

use clap::Args;

use super::{
    Report,
    common::{EmitArgs, PaceArgs, SubjectArgs, rate},
};
use crate::{
    client::Expect,
    emitter::{Pace, QuotePlan, Wrapping},
    http::Framing,
    scenario::{
        ScenarioError,
        quotes::{self, QuotesConfig},
    },
    symbols::Symbols,
    template::Template,
};

/// Silence after which no conflated quote is expected any more; far above usual intervals.
const QUIET: Duration = Duration::from_secs(1);
/// Symbols that there may be.
const MOST: i64 = 1_000_000;
/// What a body must have besides the symbol.
const CHECKED: &str = "\"seq\":{seq}";

/// Arguments of `quotes`. In --subscribe, {symbols} is the JSON array of the client's symbols; in
/// --emit-body, which is one emit, {symbol} is the quote's, and `"symbol":"{symbol}"` and
/// `"seq":{seq}` must reach the clients.
#[derive(Debug, Args)]
pub struct QuotesArgs {
    #[command(flatten)]
    subject: SubjectArgs,
    #[command(flatten)]
    emit: EmitArgs,
    #[command(flatten)]
    pace: PaceArgs,
    /// Symbols, each a room: S0000, S0001, …
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..=MOST))]
    rooms: u32,
    /// Symbols that each client watches.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    rooms_per_client: u32,
    /// Quotes each second; 0 is as fast as it goes.
    #[arg(long, default_value_t = 2000.0, value_parser = rate)]
    rate: f64,
    /// How many symbols are hot; they are the first ones.
    #[arg(long, default_value_t = 100)]
    hot: u32,
    /// Share of the quotes that are of hot symbols, 0 to 1.
    #[arg(long, default_value_t = 0.8, value_parser = share)]
    hot_share: f64,
    /// Quotes in one POST. They are due together.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    batch: u64,
    /// What a POST begins with, such as [
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    batch_open: String,
    /// What stands between its quotes, such as a comma; a line feed by default.
    #[arg(long, default_value = "\n", hide_default_value = true)]
    batch_separator: String,
    /// What it ends with, such as ]
    #[arg(long, default_value = "")]
    batch_close: String,
    /// Every client must get every quote of its symbols, as it is without conflation. Else it must
    /// have the newest of each when nothing has come for a second.
    #[arg(long)]
    exact: bool,
    /// POSTs under way at once when nothing else sets the pace.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..))]
    in_flight: u64,
    /// The same seed draws the same symbols.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl QuotesArgs {
    pub(super) fn run(self) -> Result<Report, ScenarioError> {
        let item = Template::parse(&self.emit.emit_body);
        if !item.has(CHECKED) {
            return Err(ScenarioError::Unchecked { place: CHECKED });
        }
        let flat = match self.exact {
            true => Pace::Delivered(self.in_flight),
            false => Pace::Answered {
                emits: self.in_flight * self.batch,
                undelivered: None,
            },
        };
        let (measured, warm_up) = self.pace.bursts(self.rate / self.batch as f64, flat);
        let plan = QuotePlan {
            symbols: Symbols {
                rooms: self.rooms,
                each: self.rooms_per_client.min(self.rooms),
                seed: self.seed,
            },
            hot: self.hot,
            hot_share: self.hot_share,
            item,
            wrapping: Wrapping {
                open: self.batch_open,
                separator: self.batch_separator,
                close: self.batch_close,
            },
            batch: self.batch,
        };
        let config = QuotesConfig {
            emit: self.emit.config(Framing::Requests),
            plan,
            exact: self.exact,
            warm_up,
            measured,
            quiet: QUIET,
        };
        // Which symbols are expected is the scenario's to say.
        let subject = self.subject.subject(Expect::Stamps)?;
        Ok(Report::Quoted(Box::new(quotes::measure(&subject, config)?)))
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("a number from 0 to 1 is needed".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_bounded() {
        assert_eq!(share("0.8"), Ok(0.8));
        for bad in ["-0.1", "1.1", "NaN", "x"] {
            assert!(share(bad).is_err(), "{bad}");
        }
    }
}
