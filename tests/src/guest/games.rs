//! Games: several workloads, one after the other, while one measurement runs: to attach takes a machine longer than any.
//!
//! In: their command lines. Out: the snapshot, and what each said of itself. Must not know: what is true of them.

use std::{env, process::Command};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::harness::{Host, Measured, Snapshot, workload};

/// First argument of this program when it is to play games of the workload, which follow: each one's arguments as one.
pub const PLAY_EACH: &str = "--play-each";

/// What was played.
pub struct Played {
    pub snapshot: Snapshot,
    /// What each was called, and what it said of itself.
    pub games: Vec<(String, Value)>,
}

/// Measures games, each under a name of its own.
///
/// # Errors
/// When one fails.
pub fn play(host: &Host, environment: &[(&str, &str)], games: &[String]) -> anyhow::Result<Played> {
    let names: Vec<String> = (0..games.len())
        .map(|number| format!("{}{number}", host.tag()))
        .collect();
    let mut command = Command::new(env::current_exe()?);
    command.arg(PLAY_EACH).envs(environment.iter().copied());
    for (game, name) in games.iter().zip(&names) {
        command.arg(format!("{game} --name {name}"));
    }
    let Measured {
        snapshot, stdout, ..
    } = host.stat(&[], &mut command)?;
    let answers = stdout
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<Vec<Value>, _>>()
        .context(stdout.clone())?;
    ensure!(
        answers.len() == games.len(),
        "{} answers of {} games: {stdout}",
        answers.len(),
        games.len()
    );
    Ok(Played {
        snapshot,
        games: names.into_iter().zip(answers).collect(),
    })
}

/// Plays one game of the workload after the other.
///
/// # Errors
/// When one fails.
pub fn play_each(games: &[String]) -> anyhow::Result<()> {
    for game in games {
        let status = Command::new(workload()?).args(game.split(' ')).status()?;
        ensure!(status.success(), "{game}: {status}");
    }
    Ok(())
}
