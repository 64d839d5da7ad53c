//! The program `courtside-fleet`, which `courtside fleet` starts.
//!
//! In: arguments. Out: an answer, or a line that says why there is none. Must not know: what is asked.

use std::process::ExitCode;

use clap::Parser as _;
use courtside_fleet::args::Args;

fn main() -> ExitCode {
    match courtside_fleet::run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let said = format!("{error:#}");
            // Names of files and hosts control no terminal.
            let plain = |c: char| {
                if c.is_control() && c != '\n' {
                    '\u{fffd}'
                } else {
                    c
                }
            };
            eprintln!("error: {}", said.chars().map(plain).collect::<String>());
            ExitCode::FAILURE
        }
    }
}
