//! `courtside fleet`: questions over what the agents of many hosts exported, and a fleet made up to hold the answers to.
//!
//! In: a folder of `host=NAME/hour=YYYYMMDDTHH/TABLE-FIRST-LAST.parquet`, a question. Out: an answer as text, JSON or Parquet.
//! Must not know: how anything is measured; the kernel side.
//!
//! A crate and a program of its own: the engine ([DataFusion](https://datafusion.apache.org)) is larger than everything else
//! together, and no agent needs it. It meets the rest of the workspace through files, since it has a Parquet reader of its own.

mod answer;
mod antagonists;
pub mod args;
mod diff;
mod engine;
mod findings;
mod footers;
mod glob;
mod guarded;
mod hosts;
mod map;
mod nearest;
mod progress;
mod roundtrips;
mod rows;
mod specs;
mod sql;
pub mod synth;
mod table;
mod tree;
mod views;

use args::{Args, Command};

/// Answers a question.
///
/// # Errors
/// There is no answer: in words, why, and what to do.
pub fn run(args: Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_time()
        .build()?;
    runtime.block_on(async {
        match args.command {
            Command::Synth(args) => synth::run(&args),
            Command::Sql(args) => sql::run(&args).await,
            Command::Map(args) => map::run(&args).await,
            Command::Roundtrips(args) => roundtrips::run(&args).await,
            Command::Specs(args) => specs::run(&args).await,
            Command::Antagonists(args) => antagonists::run(&args).await,
            Command::Findings(args) => findings::run(&args).await,
            Command::Diff(args) => diff::run(&args).await,
        }
    })
}
