//! What can be written after `tail`.
//!
//! In: nothing. Out: the parsed arguments. Must not know: what is done with them.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::Args;

use super::{MeasureArgs, OutputArgs, SelectArgs, time};

pub(in crate::cli) const TAIL_EXAMPLES: &str = "\
Examples:
  sudo courtside record --events -o x.rec -d 60s   every single event, under the usual load
  courtside tail x.rec                             why the slowest hundredth of requests is slow
  courtside tail x.rec --entry web:8080            of the requests that come in there
  courtside tail monday.rec tuesday.rec            of several recordings together
  sudo courtside tail -d 60s                       of what happens now
  sudo courtside tail -- ./load-test               or while a program runs
  courtside tail x.rec --json --exemplars 100 | jq '.exemplars[] | [.start_unix_ns, .service_ns, .waker.comm]'

Without a FILE it is measured now: every single event, for -d or until COMMAND ends. They are kept in
a file without a name in TMPDIR until it is told, some 100 bytes for each message and switch, and are gone then:
record them with --events to look at them again. Ctrl-C ends it and tells what was seen.

The slowest hundredth of the requests at the entry is held against the median, the middle fifth of
them, part by part: in which component they were longer, and of what. Time in the run queue is
booked on whom the CPU was given to meanwhile, and sleep on whose thread ended it: both as the
kernel did it, not by correlation.

A call, and what others do because of it, belongs to the request whose message prompted it. Where a
thread held messages of several requests at once, where a connection had several open, or where
one thread hands work to another while there are several requests, it cannot be told whose
the work is. It is in none of the courts then, and how much that is, is said.

At least 100 requests are needed; with 1000 or more the slow ones are 10 or more, of which is said in
how many something is longer than in all of the median. At most 4096 slow ones are kept.";

/// Arguments of `tail`.
#[derive(Debug, Args)]
pub struct TailArgs {
    /// Recordings with single events, of one entry [default: what is measured now]
    #[arg(
        value_name = "FILE",
        help_heading = "Arguments",
        conflicts_with_all = ["rtt_floor", "no_pmu", "pmu_turnaround", "program_cost", "polls", "verbose", "duration", "command"]
    )]
    pub files: Vec<PathBuf>,
    /// Show so many of the slowest requests one by one, at most
    #[arg(long, value_name = "N", default_value_t = 10, help_heading = "Output")]
    pub exemplars: usize,
    /// Which components; by default those that the first one was recorded for.
    #[command(flatten)]
    pub select: SelectArgs,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
    /// How to measure, where there is no recording.
    #[command(flatten)]
    pub measure: MeasureArgs,
    /// Measure for this time [default: 30s, or until COMMAND ends]
    #[arg(short, long, value_name = "TIME", value_parser = time, help_heading = "Measuring")]
    pub duration: Option<Duration>,
    /// Run this command when everything is attached, and measure until it ends
    #[arg(last = true, value_name = "COMMAND", help_heading = "Arguments")]
    pub command: Vec<OsString>,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::{super::Cli, *};
    use crate::cli::args::Command;

    #[test]
    fn without_a_recording_it_is_measured_now() {
        let tail = |line: &str| match Cli::try_parse_from(line.split_whitespace()) {
            Ok(Cli {
                command: Some(Command::Tail(args)),
                ..
            }) => args,
            other => panic!("{other:?}"),
        };
        let args = tail("courtside tail -d 20s --no-pmu -- ./load-test -d 7 -F xml");
        assert!(args.files.is_empty() && !args.measure.wishes().pmu);
        assert_eq!(args.duration, Some(Duration::from_secs(20)));
        assert_eq!(args.command.len(), 5);
        let args = tail("courtside tail");
        assert!(args.files.is_empty() && args.command.is_empty() && args.duration.is_none());
        let args = tail("courtside tail a.rec b.rec --exemplars 3");
        assert_eq!((args.files.len(), args.exemplars), (2, 3));
    }

    #[test]
    fn what_is_recorded_is_not_measured() {
        for line in [
            "courtside tail a -d 20s",
            "courtside tail a --rtt-floor auto",
            "courtside tail a --no-pmu",
            "courtside tail a b -v",
            "courtside tail a -- true",
            "courtside tail -d 0s",
        ] {
            let parsed = Cli::try_parse_from(line.split_whitespace());
            assert_eq!(parsed.unwrap_err().exit_code(), 2, "{line}");
        }
    }
}
