//! `man`: the manual pages, made of what `--help` says.
//!
//! In: a folder. Out: one page for each command in it. Must not know: what a command does.

use anyhow::Context as _;
use clap::CommandFactory as _;

use super::args::{Cli, ManArgs};

pub(super) fn run(args: &ManArgs) -> anyhow::Result<u8> {
    let folder = &args.folder;
    std::fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), folder))
        .with_context(|| format!("cannot write into {}", folder.display()))?;
    Ok(0)
}
