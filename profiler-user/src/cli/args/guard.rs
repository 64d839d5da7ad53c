//! What can be written after `guard`.
//!
//! In: nothing. Out: the parsed arguments. Must not know: what is done with them.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand, ValueEnum};

use super::super::range::Range;
use super::{MeasureArgs, OutputArgs, SelectArgs, measured, time};
use crate::analysis::guard::{Act, Cap, MIN_SAMPLES, Mode};

pub(in crate::cli) const GUARD_EXAMPLES: &str = "\
Examples:
  sudo courtside guard learn -d 5m -o usual.json       in a quiet time, learn what is usual
  sudo courtside guard --spec usual.json               say what is slower than that, and who may have made it
  sudo courtside guard --spec usual.json -n 'redis*'   of these only; everybody else stays a suspect
  sudo courtside guard --spec usual.json --act dry-run --allow 'batch*'
                                                       what would be done about it
  sudo courtside guard --spec usual.json --act cap --allow 'batch*' --json -o guard.jsonl
  courtside guard replay day.rec --spec usual.json     the same over a recording

Watched are, of each service: time in the run queue, waiting for the disk and on a CPU for each
request, its service time, and, where the machine has hardware counters, cycles and cache misses
for each instruction. A number is too high if three of five windows are above its usual median by
four median deviations and by half (a tenth for counters); --mode paper does as CPI2 (EuroSys 2013).

What the service made itself is said and blames nobody: its own quota, more threads, more CPU time
or disk bytes for each request, more requests than ever while it was learned.

A suspect comes first if the scheduler or the disk saw that the service waited for it. Otherwise it
is one whose use goes with what is too much, which is no proof, and the line says so.

Nothing is done without --act cap, and only to components that an --allow names, in a control group
of their own. A limit is taken back when the guard ends, however it ends, and after three seconds in
which it does not run. What somebody else writes there meanwhile stays. Nobody is ever killed.

Without --spec it learns from the first 60 windows; who slows the service then already counts as usual.";

pub(in crate::cli) const LEARN_EXAMPLES: &str = "\
Examples:
  sudo courtside guard learn -d 5m -o usual.json
  sudo courtside guard learn -d 5m -n 'redis*' -o redis.json
  courtside guard learn monday.rec tuesday.rec -o usual.json    from recordings
  courtside guard learn today.rec --with usual.json -o new.json
                            samples of a day count for 0.9 times as much with each day of their age

Each window gives a sample of each service that served at least 10 requests in it. Medians are kept
beside means, and both also for each half CPU that the service used.";

pub(in crate::cli) const REPLAY_EXAMPLES: &str = "\
Examples:
  courtside guard replay day.rec --spec usual.json
  courtside guard replay day.rec -n 'redis*' --json | jq 'select(.event == \"anomaly\") | .suspects[0]'
  courtside guard replay day.rec --spec usual.json -n redis --window 600..900
                                   who was most aggressive towards redis in these windows
  courtside guard replay day.rec --spec usual.json --parquet told     tables told/interference.parquet, told/suspects.parquet
  courtside guard replay day.rec --mode paper";

pub(in crate::cli) const RESTORE_EXAMPLES: &str = "\
Examples:
  sudo courtside guard restore     take back what a guard has left that was killed together with its helper

The next guard does the same when it starts.";

pub(in crate::cli) const HOLD_EXAMPLES: &str = "\
Examples:
  sudo courtside guard hold /batch.slice --cap 0.5            half a CPU, until Ctrl-C
  sudo courtside guard hold /batch.slice --cap 0.5 -d 5m
  sudo courtside guard hold /batch.slice --weight             all that nobody beside it wants

The limit is taken back as those of `guard` are.";

/// Arguments of `guard`.
#[derive(Debug, Args)]
pub struct GuardArgs {
    /// What else there is to do.
    #[command(subcommand)]
    pub command: Option<GuardCommand>,
    /// How to judge, and what to do.
    #[command(flatten)]
    pub watch: WatchArgs,
    /// Length of a window, at least 10ms
    #[arg(short, long, value_name = "TIME", value_parser = measured, default_value = "1s", help_heading = "Measuring")]
    pub interval: Duration,
    /// End after this time [default: with Ctrl-C]
    #[arg(short, long, value_name = "TIME", value_parser = time, help_heading = "Measuring")]
    pub duration: Option<Duration>,
    /// Which services to watch; everybody else stays a suspect.
    #[command(flatten)]
    pub select: SelectArgs,
    /// How to measure.
    #[command(flatten)]
    pub measure: MeasureArgs,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// What `guard` can do besides.
#[derive(Debug, Subcommand)]
pub enum GuardCommand {
    /// Learn what is usual for each service
    #[command(after_help = LEARN_EXAMPLES)]
    Learn(Box<LearnArgs>),
    /// Judge a recording
    #[command(after_help = REPLAY_EXAMPLES)]
    Replay(Box<GuardReplayArgs>),
    /// Take back limits that were left behind
    #[command(after_help = RESTORE_EXAMPLES)]
    Restore(RestoreArgs),
    /// Hold one control group back by hand
    #[command(after_help = HOLD_EXAMPLES)]
    Hold(HoldArgs),
    /// Hold limits for a guard, which starts this itself
    #[command(hide = true)]
    Helper(HelperArgs),
}

/// How to judge.
#[derive(Debug, Args)]
#[command(next_help_heading = "Judging")]
pub struct JudgeArgs {
    /// What is usual, as `guard learn` wrote it [default: what is learned from the first 60 windows]
    #[arg(long, value_name = "SPEC.json")]
    pub spec: Option<PathBuf>,
    /// When a number is too high: paper is as CPI2 does it
    #[arg(long, value_name = "MODE", default_value = "courtside")]
    pub mode: ModeArg,
    /// Do not judge by what was learned from fewer windows
    #[arg(long, value_name = "N", default_value_t = MIN_SAMPLES)]
    pub min_samples: u64,
}

/// How to judge, and what to do about it; of `guard`, and of `serve --guard`.
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// How to judge.
    #[command(flatten)]
    pub judge: JudgeArgs,
    /// What to do about a neighbour that slows a service
    #[arg(
        long,
        value_name = "WHAT",
        default_value = "off",
        help_heading = "Acting"
    )]
    pub act: ActArg,
    /// Components that may be held back, by name or id; * stands for any text
    #[arg(long, value_name = "GLOB", help_heading = "Acting")]
    pub allow: Vec<String>,
    /// CPUs that a neighbour is left, for five minutes at a time, or feedback: as much as leaves the service within one standard deviation; where there are weights (control groups of version 2), at first all that nobody beside it wants
    #[arg(long, value_name = "CPUS|feedback", value_parser = cap, default_value = "feedback", help_heading = "Acting")]
    pub cap: Cap,
    /// Where the lock and the journal are.
    #[command(flatten)]
    pub state: StateArgs,
}

impl WatchArgs {
    /// The first option that asks for something else than what is usual, if any does.
    #[must_use]
    pub fn first_given(&self) -> Option<&'static str> {
        let given = [
            (self.judge.spec.is_some(), "--spec"),
            (self.judge.mode != ModeArg::Courtside, "--mode"),
            (self.judge.min_samples != MIN_SAMPLES, "--min-samples"),
            (self.act != ActArg::Off, "--act"),
            (!self.allow.is_empty(), "--allow"),
            (self.cap != Cap::Feedback, "--cap"),
            (self.state.state.is_some(), "--state"),
        ];
        let mut given = given.into_iter().filter(|(is_given, _)| *is_given);
        given.next().map(|(_, option)| option)
    }
}

/// Where the lock and the journal are.
#[derive(Debug, Args)]
pub struct StateArgs {
    /// Folder of the lock and of the journal of limits [default: /run/courtside, for others than root $XDG_RUNTIME_DIR/courtside]
    #[arg(long, value_name = "FOLDER", help_heading = "Acting")]
    pub state: Option<PathBuf>,
}

/// Arguments of `guard learn`.
#[derive(Debug, Args)]
pub struct LearnArgs {
    /// Recordings to learn from [default: what is measured now]
    #[arg(value_name = "FILE", help_heading = "Arguments", conflicts_with_all = ["rtt_floor", "no_pmu", "pmu_turnaround", "program_cost", "polls", "verbose", "duration"])]
    pub files: Vec<PathBuf>,
    /// An earlier spec to be joined: a sample counts for 0.9 times as much with each day of its age
    #[arg(long, value_name = "SPEC.json", help_heading = "Learning")]
    pub with: Vec<PathBuf>,
    /// Windows that are needed to judge by
    #[arg(long, value_name = "N", default_value_t = MIN_SAMPLES, help_heading = "Learning")]
    pub min_samples: u64,
    /// Length of a window, at least 10ms; recordings are cut anew if it is given
    #[arg(short, long, value_name = "TIME", value_parser = measured, help_heading = "Measuring")]
    pub interval: Option<Duration>,
    /// Measure for this time [default: 5m]
    #[arg(short, long, value_name = "TIME", value_parser = time, help_heading = "Measuring")]
    pub duration: Option<Duration>,
    /// Which services to learn.
    #[command(flatten)]
    pub select: SelectArgs,
    /// How to measure.
    #[command(flatten)]
    pub measure: MeasureArgs,
    /// Write to this file, completely or not at all; - is stdout. Symbolic links are not followed
    #[arg(
        short,
        long,
        value_name = "SPEC.json",
        default_value = "-",
        help_heading = "Output"
    )]
    pub output: PathBuf,
    /// Output format [default: json for a file, table for stdout]
    #[arg(short = 'F', long, value_name = "FORM", help_heading = "Output")]
    pub format: Option<super::Format>,
    /// Short for --format json
    #[arg(long, conflicts_with = "format", help_heading = "Output")]
    pub json: bool,
    /// When to use colours; auto also obeys NO_COLOR
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "auto",
        help_heading = "Output"
    )]
    pub color: clap::ColorChoice,
}

impl LearnArgs {
    /// The form asked for.
    #[must_use]
    pub fn format(&self, is_stdout: bool) -> super::Format {
        match self.format {
            _ if self.json => super::Format::Json,
            Some(format) => format,
            None if is_stdout => super::Format::Table,
            None => super::Format::Json,
        }
    }
}

/// Arguments of `guard replay`.
#[derive(Debug, Args)]
pub struct GuardReplayArgs {
    /// The recording
    #[arg(value_name = "FILE", help_heading = "Arguments")]
    pub file: PathBuf,
    /// Tell only of this window, or of the windows from N to M, and who was most aggressive in them; they are numbered from 0, and judged by those before
    #[arg(long, value_name = "N|N..M", help_heading = "Arguments")]
    pub window: Option<Range>,
    /// Write what is told also as tables (Parquet), interference and suspects, into this folder
    #[arg(long, value_name = "FOLDER", help_heading = "Output")]
    pub parquet: Option<PathBuf>,
    /// How to judge.
    #[command(flatten)]
    pub judge: JudgeArgs,
    /// Which services to watch; everybody else stays a suspect.
    #[command(flatten)]
    pub select: SelectArgs,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `guard restore`.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// Where the journal is.
    #[command(flatten)]
    pub state: StateArgs,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `guard hold`.
#[derive(Debug, Args)]
pub struct HoldArgs {
    /// The control group, by its path below the root of its hierarchy
    #[arg(value_name = "GROUP", help_heading = "Arguments")]
    pub group: String,
    /// CPUs that it is left
    #[arg(long, value_name = "CPUS", value_parser = cpus, required_unless_present = "weight", help_heading = "Acting")]
    pub cap: Option<f64>,
    /// Leave it all CPU time that nobody beside it wants (`cpu.idle`, or the least weight)
    #[arg(long, conflicts_with = "cap", help_heading = "Acting")]
    pub weight: bool,
    /// End after this time [default: with Ctrl-C]
    #[arg(short, long, value_name = "TIME", value_parser = time, help_heading = "Acting")]
    pub duration: Option<Duration>,
    /// Where the lock and the journal are.
    #[command(flatten)]
    pub state: StateArgs,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `guard helper`.
#[derive(Debug, Args)]
pub struct HelperArgs {
    /// Folder of the journal
    #[arg(long, value_name = "FOLDER")]
    pub state: PathBuf,
}

/// When a number is too high.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ModeArg {
    /// Every window, median and its deviation, three of five
    Courtside,
    /// Ten seconds of each minute, two standard deviations, three in five minutes
    Paper,
}

impl From<ModeArg> for Mode {
    fn from(mode: ModeArg) -> Self {
        match mode {
            ModeArg::Courtside => Self::Courtside,
            ModeArg::Paper => Self::Paper,
        }
    }
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ActArg {
    /// Nothing
    Off,
    /// Say what would be done
    DryRun,
    /// Hold it back
    Cap,
}

impl ActArg {
    /// Its name, as in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::DryRun => "dry_run",
            Self::Cap => "cap",
        }
    }
}

impl From<ActArg> for Act {
    fn from(act: ActArg) -> Self {
        match act {
            ActArg::Off => Self::Off,
            ActArg::DryRun => Self::DryRun,
            ActArg::Cap => Self::Cap,
        }
    }
}

fn cap(text: &str) -> Result<Cap, String> {
    match text {
        "feedback" => Ok(Cap::Feedback),
        _ => cpus(text)
            .map(Cap::Cpus)
            .map_err(|_| "give a number of CPUs, as in 0.1, or feedback".to_owned()),
    }
}

fn cpus(text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(cpus) if (0.01..=65_536.0).contains(&cpus) => Ok(cpus),
        _ => Err("give a number of CPUs, at least 0.01, as in 0.5".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::{super::Cli, *};
    use crate::cli::args::Command;

    fn guard(line: &str) -> GuardArgs {
        match Cli::try_parse_from(line.split_whitespace())
            .unwrap()
            .command
        {
            Some(Command::Guard(args)) => *args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nothing_is_done_unless_it_is_asked_for() {
        let args = guard("courtside guard");
        assert_eq!(
            (args.watch.act, args.watch.cap),
            (ActArg::Off, Cap::Feedback)
        );
        assert_eq!(args.watch.judge.mode, ModeArg::Courtside);
        assert_eq!(args.watch.first_given(), None);
        let args = guard("courtside guard --act cap --cap 0.1 --allow a* --allow b -n redis");
        assert_eq!(
            (args.watch.act, args.watch.cap),
            (ActArg::Cap, Cap::Cpus(0.1))
        );
        assert_eq!(args.watch.allow, ["a*", "b"]);
        assert_eq!(args.watch.first_given(), Some("--act"));
    }

    #[test]
    fn other_commands_have_their_own_arguments() {
        for line in [
            "courtside guard learn -d 1m -i 500ms --min-samples 60 -o x.json",
            "courtside guard learn a.rec b.rec --with old.json -o x.json",
            "courtside guard replay a.rec --spec s.json --mode paper --json",
            "courtside guard replay a.rec --window 30..90 --parquet out",
            "courtside guard restore",
            "courtside guard hold /a --cap 0.5",
            "courtside guard hold /a --weight -d 1m",
            "courtside guard helper --state /run/courtside",
        ] {
            assert!(guard(line).command.is_some(), "{line}");
        }
        for line in [
            "courtside guard --cap 0",
            "courtside guard --cap some",
            "courtside guard --act kill",
            "courtside guard --mode mine",
            "courtside guard learn a.rec -d 1m",
            "courtside guard replay",
            "courtside guard replay a.rec --window 9..3",
            "courtside guard hold /a",
            "courtside guard hold /a --cap 0.5 --weight",
            "courtside guard --act cap learn",
        ] {
            let parsed = Cli::try_parse_from(line.split_whitespace());
            assert_eq!(parsed.unwrap_err().exit_code(), 2, "{line}");
        }
    }
}
