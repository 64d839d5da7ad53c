//! What can be written after `diff`.
//!
//! In: nothing. Out: the parsed arguments. Must not know: what is done with them.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::Args;

use super::{MeasureArgs, PageOutputArgs, SelectArgs, time};

pub(in crate::cli) const DIFF_EXAMPLES: &str = "\
Examples:
  sudo courtside record -o before.rec -d 60s       once before a change,
  sudo courtside record -o after.rec -d 60s        and once after it, under the same load
  courtside diff before.rec after.rec              what is different
  courtside diff before.rec after.rec --entry web:80
  courtside diff before.rec after.rec --fail-above 10% --json -o diff.json
  courtside diff before.rec after.rec -F html -o diff.html
  sudo courtside diff before.rec                   what is different now
  sudo courtside diff before.rec -- ./load-test    or while a program runs

Without B it is measured now: in windows as long as those of A, for as long as A, at most a minute
unless that is too short, or for -d, or until COMMAND ends.

Compared are, for each component, edge and rule that both recordings have: requests a second,
service time, time unread, CPU time for each request, turnaround and its parts, latency,
roundtrips for each request, and in how many windows something was found to be wrong.

A number has changed when its windows differ by more than they scatter: by the rank test of
Mann and Whitney, in less than 1 of 100 comparisons by chance, however many numbers there are
(Holm). Windows that are like the one before count for less than one each. At least 15 windows
of each are needed; with 30 or more, small changes show, too.

The same service measured twice is not quite the same: caches, neighbours and the speed of the
CPU differ. So changes of less than --ignore-below are left out; parts of a turnaround are held
to the whole turnaround, unread time to the service time, and roundtrips for each request need
only 2%.

Exit status: 0 done, 1 failed, 2 wrong usage, that of COMMAND if it is not 0; with --fail-above 3
if something got worse by more than that: a longer service time, unread time, turnaround of a component that serves
requests, latency, more CPU time or roundtrips for each request, or a finding in more windows.";

/// Arguments of `diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// The recording to compare with
    #[arg(value_name = "A", help_heading = "Arguments")]
    pub a: PathBuf,
    /// The recording to compare: what changed from A to B is told [default: what is measured now]
    #[arg(
        value_name = "B",
        help_heading = "Arguments",
        conflicts_with_all = ["rtt_floor", "no_pmu", "pmu_turnaround", "program_cost", "polls", "verbose", "duration", "command"]
    )]
    pub b: Option<PathBuf>,
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
    pub output: PageOutputArgs,
    /// How to measure what A is compared with, where there is no B.
    #[command(flatten)]
    pub measure: MeasureArgs,
    /// Measure for this time [default: as long as A, at most a minute, or until COMMAND ends]
    #[arg(short, long, value_name = "TIME", value_parser = time, help_heading = "Measuring")]
    pub duration: Option<Duration>,
    /// Run this command when everything is attached, and measure until it ends
    #[arg(last = true, value_name = "COMMAND", help_heading = "Arguments")]
    pub command: Vec<OsString>,
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
    use clap::Parser;

    use super::{super::Cli, *};
    use crate::cli::args::{Command, PageFormat};

    fn diff(line: &str) -> DiffArgs {
        match Cli::try_parse_from(line.split_whitespace())
            .unwrap()
            .command
        {
            Some(Command::Diff(args)) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_b_it_is_measured_now() {
        let args = diff("courtside diff a.rec -d 20s --no-pmu -- ./load-test -d 7 -F xml");
        assert_eq!(
            (args.b, args.duration),
            (None, Some(Duration::from_secs(20)))
        );
        assert!(!args.measure.wishes().pmu);
        assert_eq!(args.command.len(), 5);
        let args = diff("courtside diff a.rec b.rec -F html");
        assert_eq!(args.b, Some(PathBuf::from("b.rec")));
        assert_eq!(args.output.format(), PageFormat::Html);
        assert_eq!(
            diff("courtside diff a --json").output.format(),
            PageFormat::Json
        );
    }

    #[test]
    fn what_is_recorded_is_not_measured() {
        for line in [
            "courtside diff",
            "courtside diff a b c",
            "courtside diff a b -d 20s",
            "courtside diff a b --rtt-floor auto",
            "courtside diff a b --no-pmu",
            "courtside diff a b -v",
            "courtside diff a b -- true",
            "courtside diff a b --json -F html",
            "courtside diff a b -F parquet",
        ] {
            let parsed = Cli::try_parse_from(line.split_whitespace());
            assert_eq!(parsed.unwrap_err().exit_code(), 2, "{line}");
        }
    }

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
