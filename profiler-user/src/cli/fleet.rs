//! `fleet`: hands the words on to `courtside-fleet`, which lies beside this program or in PATH.
//!
//! In: words. Out: that program in place of this one, or what to do to have it. Must not know: what the words mean, but for those
//! that ask for help.

use std::{
    env,
    ffi::OsString,
    io::{self, Write as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, anyhow};
use clap::CommandFactory as _;

use super::args::{Cli, FleetArgs};

/// The program.
const NAME: &str = "courtside-fleet";
/// How to have it.
const MISSING: &str = "the program courtside-fleet is neither beside courtside nor in PATH; in Courtside's sources build it with: cargo build --release -p courtside-fleet";

pub(super) fn run(args: &FleetArgs) -> anyhow::Result<u8> {
    let beside = env::current_exe().ok();
    let path = env::var_os("PATH");
    let program = find(beside.as_deref().and_then(Path::parent), path);
    let Some(program) = program else {
        let is_help = |word: &OsString| word == "--help" || word == "-h";
        let first = args.words.first();
        if first.is_none_or(|first| first == "help") || args.words.iter().any(is_help) {
            return help();
        }
        return Err(anyhow!(MISSING));
    };
    let mut command = Command::new(&program);
    command.args(&args.words);
    if args.words.is_empty() {
        command.arg("--help");
    }
    // It comes back only if it failed.
    let error = command.exec();
    Err(error).with_context(|| format!("cannot start {}", program.display()))
}

/// What is known without it.
fn help() -> anyhow::Result<u8> {
    let mut parser = Cli::command();
    let fleet = parser.find_subcommand_mut("fleet");
    let text = fleet.map(|fleet| fleet.render_long_help().to_string());
    let text = text.unwrap_or_default();
    let written = write!(io::stdout(), "{text}\n\nNot here: {MISSING}\n");
    written.context("cannot write to stdout")?;
    Ok(0)
}

/// Where it is: beside, else in PATH.
fn find(beside: Option<&Path>, path: Option<OsString>) -> Option<PathBuf> {
    let path = path.unwrap_or_default();
    let folders = beside.map(Path::to_owned).into_iter();
    let mut places = folders
        .chain(env::split_paths(&path))
        .map(|folder| folder.join(NAME));
    places.find(|place| place.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_beside_comes_before_one_in_path() {
        let folder = tempfile::tempdir().unwrap();
        let (beside, other) = (folder.path().join("a"), folder.path().join("b"));
        for place in [&beside, &other] {
            std::fs::create_dir(place).unwrap();
        }
        let path = || Some(OsString::from(&other));
        assert_eq!(find(Some(&beside), path()), None);
        std::fs::write(other.join(NAME), "").unwrap();
        assert_eq!(find(Some(&beside), path()), Some(other.join(NAME)));
        std::fs::write(beside.join(NAME), "").unwrap();
        assert_eq!(find(Some(&beside), path()), Some(beside.join(NAME)));
    }
}
