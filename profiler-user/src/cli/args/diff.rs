//! What can be written after `diff`.
//!
//! In: nothing. Out: the parsed arguments. Must not know: what is done with them.

use std::path::PathBuf;

use clap::Args;

use super::{OutputArgs, SelectArgs};

pub(in crate::cli) const DIFF_EXAMPLES: &str = "\
Examples:
  sudo courtside record -o before.rec -d 60s       once before a change,
  sudo courtside record -o after.rec -d 60s        and once after it, under the same load
  courtside diff before.rec after.rec              what is different
  courtside diff before.rec after.rec --entry web:80
  courtside diff before.rec after.rec --fail-above 10% --json -o diff.json

Compared are, for each component, edge and rule that both recordings have: requests a second,
service time, time unread, CPU time for each request, turnaround and its parts, latency,
roundtrips for each request, and in how many windows something was found to be wrong.

A number has changed when its windows differ by more than they scatter: by the rank test of
Mann and Whitney, in less than 1 of 100 comparisons by chance, however many numbers there are
(Holm). Windows that are like the one before count for less than one each. At least 15 windows
of each recording are needed; with 30 or more, small changes show, too.

The same service measured twice is not quite the same: caches, neighbours and the speed of the
CPU differ. So changes of less than --ignore-below are left out; parts of a turnaround are held
to the whole turnaround, unread time to the service time, and roundtrips for each request need
only 2%.

Exit status: 0 done, 1 failed, 2 wrong usage; with --fail-above 3 if something got worse by
more than that: a longer service time, unread time, turnaround of a component that serves
requests, latency, more CPU time or roundtrips for each request, or a finding in more windows.";

/// Arguments of `diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// The recording to compare with
    #[arg(value_name = "A", help_heading = "Arguments")]
    pub a: PathBuf,
    /// The recording to compare: what changed from A to B is told
    #[arg(value_name = "B", help_heading = "Arguments")]
    pub b: PathBuf,
    /// End with status 3 if something got worse by more than this, e.g. 10%
    #[arg(long, value_name = "PERCENT", value_parser = share, help_heading = "Comparing")]
    pub fail_above: Option<f64>,
    /// Leave out changes of less than this
    #[arg(long, value_name = "PERCENT", value_parser = share, default_value = "10%", help_heading = "Comparing")]
    pub ignore_below: f64,
    /// Which components; by default those that A was recorded for.
    #[command(flatten)]
    pub select: SelectArgs,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// A number of per cent as a share of one.
fn share(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').map(str::trim).map(str::parse::<f64>);
    match number {
        Some(Ok(percent)) if percent.is_finite() && percent >= 0.0 => Ok(percent / 100.0),
        _ => Err("give a number of per cent, 0 or more, as in 10%".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn per_cent_have_their_sign_and_are_not_less_than_none() {
        assert_eq!(share("10%"), Ok(0.1));
        assert_eq!(share("0%"), Ok(0.0));
        assert_eq!(share("12.5 %"), Ok(0.125));
        for bad in ["", "%", "10", "0.1", "-1%", "x%", "inf%", "NaN%"] {
            assert!(share(bad).is_err(), "{bad}");
        }
    }
}
