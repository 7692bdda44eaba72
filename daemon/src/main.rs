//! The `tidings` program: arguments → run → exit code. All else is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    tidings::cli::main(std::env::args_os())
}
