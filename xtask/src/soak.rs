//! `cargo xtask soak`: an agent that is asked all the time, for as long as is wanted.
//!
//! In: how long. Out: a verdict, and how much memory the agent had. Must not know: what is asked.

use std::time::Duration;

use anyhow::Result;

use crate::{build, sh};

/// Runs the test of that name for so long.
pub fn soak(time: Duration) -> Result<()> {
    build::tested()?;
    let mut cargo = sh::cargo();
    cargo.args(["test", "--workspace", "--test", "soak"]);
    cargo.args(["--", "--nocapture", "--test-threads=1"]);
    sh::run(cargo.env("COURTSIDE_SOAK", time.as_secs().to_string()))
}

/// A time as in `10m`.
pub fn time(text: &str) -> Result<Duration, String> {
    let unit = text.char_indices().last().map_or(0, |(at, _)| at);
    let (number, unit) = text.split_at(unit);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err("give a time as in 90s, 10m or 1h".to_owned()),
    };
    let number: u64 = number
        .parse()
        .map_err(|_| format!("{number} is no number"))?;
    Ok(Duration::from_secs(number.saturating_mul(seconds)))
}
