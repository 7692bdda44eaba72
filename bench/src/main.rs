//! `tidings-load`: arguments in, one line of JSON out.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;
use tidings_bench::cli::Cli;

/// A measurement that could not be made, or in which something went missing.
const FAILED: u8 = 1;

fn main() -> ExitCode {
    match Cli::parse().scenario.run() {
        Ok(report) => {
            let valid = report.is_valid();
            match serde_json::to_writer(io::stdout().lock(), &report)
                .map_err(io::Error::from)
                .and_then(|()| writeln!(io::stdout()))
            {
                Ok(()) if valid => ExitCode::SUCCESS,
                Ok(()) => fail("some client did not get what it should"),
                Err(error) => fail(&format!("cannot write the report: {error}")),
            }
        }
        Err(error) => fail(&error.to_string()),
    }
}

fn fail(reason: &str) -> ExitCode {
    // Where stderr is gone too, the exit code still tells.
    let _ = writeln!(io::stderr(), "tidings-load: {reason}");
    ExitCode::from(FAILED)
}
