//! `courtside-workload`: programs whose right answer is known.
//!
//! In: arguments. Out: one line of JSON on stdout saying what was done. Must not know: Courtside.

use clap::Parser as _;
use courtside_tests::workload::Cli;

fn main() -> anyhow::Result<()> {
    Cli::parse().run()
}
