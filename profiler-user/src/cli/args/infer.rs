//! What can be written after `infer`.
//!
//! In: nothing. Out: the parsed arguments. Must not know: what is done with them.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{Args, Subcommand};

use super::{MeasureArgs, OutputArgs, SelectArgs, measured, time};
use crate::analysis::infer::Wish;

pub(in crate::cli) const INFER_EXAMPLES: &str = "\
Examples:
  sudo courtside infer -- mpirun --mca btl tcp,self -n 4 ./jacobi
                                            run a parallel program, and say what it does
  sudo courtside infer -d 30s -n 'rank*'    look at one that runs
  sudo courtside infer --live -n 'rank*'    and say it each second while it runs; Ctrl-C ends it
  sudo courtside infer --live -i 5s -d 1m --json | jq -c '[.source.application_ns, .topology.shape]'
                                            a line of JSON for each five seconds, and one at the end
  sudo courtside record --events -o x.rec -- ./launch-ranks
  courtside infer x.rec                     the same from a recording with single events
  courtside infer x.rec --what-if 'without: stress*' --what-if 'rank3: run_queue=0'
  courtside infer x.rec --what-if 'rank2->rank3: latency=+1ms' --what-if 'rank0: cpu=0.5'
  courtside infer compare before.rec after.rec
  courtside infer calibrate --pair free.rec loaded.rec app.rec
  courtside infer x.rec --json | jq '.what_if[] | [.scenario, .predicted_ns, .speedup]'

Of each process (thread group) of the application that talks most over sockets on this host: how
often it goes round, by three rules; where the time of its threads goes, and whom it waits for; in
whose court the ball is. Of all together: who talks to whom, in what shape, how unevenly the time
is spread (POP's factors), and the critical path. Launchers and helpers that hardly talk to it are
left out, and named.

What if: the segments between sends and receives are run once more with something changed.
  no_outside_load, without: GLOB   the application's own threads are put on their CPUs anew, and
                                   programs outside it have no CPU while it waits for one
  no_run_queue, no_disk_wait, NAME: run_queue=F | cpu=F | disk=F (a factor), A->B: latency=+T|-T|T
                                   waits for a CPU stay as they were, but for what is changed
NAME is the name, the id or the number of a process; rankN is the N-th where none is called so; a
glob names several. The self-check is the same with nothing changed: trust nothing finer than it.

Without a FILE it is measured now, for -d or until COMMAND ends; Ctrl-C ends it early, and what was seen
is told. Events are looked at as they come: memory has a limit, and what found no room is counted (lost).
With --live it answers while it runs, always from the start: JSON is one document at the end, or with
-i one on a line each time, the last of them for all. What cannot be told yet is said on stderr.

Processes that poll instead of going to sleep get no prediction: recordings do not hold what tells
their waiting from work.

Exit status: 0 done, 1 failed or nothing can be told, 2 wrong usage; that of COMMAND if it is not 0.";

pub(in crate::cli) const COMPARE_EXAMPLES: &str = "\
Examples:
  courtside infer compare before.rec after.rec          how much longer an iteration takes in the second
  courtside infer compare a.rec b.rec -n 'rank*' --json

Processes are held against each other in their order. The fingerprint is the spectrum of the rate
of iterations; the distance is 0 for the same and 1 for nothing in common.";

pub(in crate::cli) const CALIBRATE_EXAMPLES: &str = "\
Examples:
  courtside infer calibrate --pair slow-free.rec slow-loaded.rec --pair fast-free.rec fast-loaded.rec
                                            which share of its speed is kept under a load, by rate
  courtside infer calibrate --pair free.rec loaded.rec app.rec
                                            and what that says for an application recorded without it

Each pair is the same program recorded without and with the load. Two rules are given: the mean of
the shares kept, and the one in which the same work is done.";

/// Arguments of `infer`.
#[derive(Debug, Args)]
pub struct InferArgs {
    /// Something else than one run.
    #[command(subcommand)]
    pub command: Option<InferCommand>,
    /// A recording with single events [default: what is measured now]
    #[arg(
        value_name = "FILE",
        help_heading = "Arguments",
        conflicts_with_all = ["rtt_floor", "no_pmu", "pmu_turnaround", "program_cost", "polls", "verbose", "duration", "measured", "live", "interval"]
    )]
    pub file: Option<PathBuf>,
    /// Simulate this as well: 'NAME: run_queue=0', 'NAME: cpu=0.5', 'A->B: latency=+1ms', 'without: GLOB'
    #[arg(long, value_name = "CHANGE", help_heading = "What if")]
    pub what_if: Vec<Wish>,
    /// Which processes; by default the application that talks most.
    #[command(flatten)]
    pub select: SelectArgs,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
    /// How to measure, where there is no FILE.
    #[command(flatten)]
    pub measure: MeasureArgs,
    /// Measure for this time [default: 30s, or until COMMAND ends]
    #[arg(short, long, value_name = "TIME", value_parser = time, help_heading = "Measuring")]
    pub duration: Option<Duration>,
    /// Answer while it is measured, too: on a terminal a short answer each second, in place of the one before
    #[arg(long, help_heading = "Measuring")]
    pub live: bool,
    /// Answer each time this has passed, at least 10ms, from the start up to then: as JSON a whole answer on a line, else a short one
    #[arg(short, long, value_name = "TIME", value_parser = measured, requires = "live", help_heading = "Measuring")]
    pub interval: Option<Duration>,
    /// Run this command when everything is attached, and measure until it ends
    #[arg(last = true, value_name = "COMMAND", help_heading = "Arguments")]
    pub measured: Vec<OsString>,
}

/// What `infer` can do besides.
#[derive(Debug, Subcommand)]
pub enum InferCommand {
    /// Compare two runs: how much longer an iteration takes, and whether they go through the same phases
    #[command(after_help = COMPARE_EXAMPLES)]
    Compare(Box<InferCompareArgs>),
    /// From pairs of recordings without and with a load: how much of its speed is kept, by rate
    #[command(after_help = CALIBRATE_EXAMPLES)]
    Calibrate(Box<CalibrateArgs>),
}

/// Arguments of `infer compare`.
#[derive(Debug, Args)]
pub struct InferCompareArgs {
    /// The recording to compare with
    #[arg(value_name = "A", help_heading = "Arguments")]
    pub a: PathBuf,
    /// The recording to compare
    #[arg(value_name = "B", help_heading = "Arguments")]
    pub b: PathBuf,
    /// Which processes.
    #[command(flatten)]
    pub select: SelectArgs,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `infer calibrate`.
#[derive(Debug, Args)]
pub struct CalibrateArgs {
    /// A recording without and one with the load; several pairs at different rates
    #[arg(
        long,
        num_args = 2,
        required = true,
        value_names = ["UNLOADED", "LOADED"],
        help_heading = "Arguments"
    )]
    pub pair: Vec<PathBuf>,
    /// An application recorded without the load
    #[arg(value_name = "FILE", help_heading = "Arguments")]
    pub file: Option<PathBuf>,
    /// Which processes.
    #[command(flatten)]
    pub select: SelectArgs,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::{super::Cli, *};
    use crate::cli::args::Command;

    fn infer(line: &[&str]) -> Result<InferArgs, clap::Error> {
        let line = ["courtside", "infer"].iter().chain(line);
        match Cli::try_parse_from(line)?.command {
            Some(Command::Infer(args)) => Ok(*args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_recording_or_a_command_or_a_while() {
        let args = infer(&["x.rec", "--what-if", "rank3: run_queue=0", "--json"]).unwrap();
        assert_eq!(args.file, Some(PathBuf::from("x.rec")));
        assert_eq!(args.what_if[0].to_string(), "rank3: run_queue=0");
        let args = infer(&["-d", "5s", "--", "mpirun", "-n", "4"]).unwrap();
        assert_eq!((args.file, args.measured.len()), (None, 3));
        let Some(InferCommand::Compare(args)) = infer(&["compare", "a", "b"]).unwrap().command
        else {
            panic!();
        };
        assert_eq!((args.a, args.b), ("a".into(), "b".into()));
        let args = infer(&["calibrate", "--pair", "a", "b", "--pair", "c", "d", "e"]);
        let Some(InferCommand::Calibrate(args)) = args.unwrap().command else {
            panic!();
        };
        assert_eq!((args.pair.len(), args.file), (4, Some("e".into())));
    }

    #[test]
    fn wrong_usage_is_refused() {
        for line in [
            &["x.rec", "-d", "5s"][..],
            &["x.rec", "--", "true"],
            &["x.rec", "--live"],
            &["-i", "1s"],
            &["--live", "-i", "1ms"],
            &["x.rec", "--what-if", "rank3"],
            &["x.rec", "--what-if", "a->b: cpu=1"],
            &["compare", "a"],
            &["calibrate", "a"],
            &["calibrate", "--pair", "a"],
            &["x.rec", "y.rec"],
        ] {
            assert_eq!(infer(line).unwrap_err().exit_code(), 2, "{line:?}");
        }
    }
}
