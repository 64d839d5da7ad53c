//! What can be written after `scale`.
//!
//! In: nothing. Out: the parsed arguments. Must not know: what is done with them.

use std::{ffi::OsString, path::PathBuf, str::FromStr, time::Duration};

use clap::{Args, Subcommand, value_parser};

use super::{MeasureArgs, PageOutputArgs, SelectArgs, time};

pub(in crate::cli) const SCALE_EXAMPLES: &str = "\
Examples:
  sudo courtside scale run --cores 1,2,4 -- make -j{workers}
                                              run a command on 1, 2 and 4 cores, and say how it scales
  sudo courtside record -o 1.rec -d 60s       record a service under full load at one size,
  sudo courtside record -o 4.rec -d 60s       and at another one
  courtside scale --at 1=1.rec --at 4=4.rec   how it scales, by the requests served
  courtside scale vm2.rec vm8.rec             the size is the number of CPUs of each host
  courtside scale --at 1=1.rec --at 4=4.rec --entry web:80 --json -o scaling.json
  courtside scale vm2.rec vm4.rec vm8.rec -F html -o scaling.html
                                              the same as a page with pictures

Of each size: tasks a second, speed-up S(N) = X(N) / X(1), efficiency S(N) / N, what a task
takes more of a core's time (overhead), latency, and throughput for each worker. Where the loss
goes, in factors that multiply to it: how busy cores were, and the CPU time for each task, with
hardware counters divided into frequency, instructions and cycles for each of them. How often
everything counted happens for one task, against the smallest size. The Universal Scalability
Law from three sizes on, and the serial fraction of Karp and Flatt. Then the causes that can be
told apart, and for those that cannot what would have to be measured.

Throughput is what was asked for and answered. It is the most a service can do only if the load
generator always had more to ask.

Exit status: 0 done, 1 failed or nothing can be told, 2 wrong usage.";

pub(in crate::cli) const RUN_EXAMPLES: &str = "\
Examples:
  sudo courtside scale run --cores 1,2,4 -- ./render scene.xml
  sudo courtside scale run --cores 1,2,4 -- ./pool --threads {workers}
  sudo courtside scale run --cores 4 --workers 1,2,4,8 -- ./pool --threads {workers}
                                   more workers on the same cores
  sudo courtside scale run --cores 1,2,4 --weak -- ./simulate --cells {workers}000
                                   work that grows with the size
  sudo courtside scale run --cores 1,2,4 --tasks 20 --task-time 1s -- ./pool {workers} 20
                                   20 equal tasks that take a second each by themselves
  sudo courtside scale run --cores 1,2,4 --entry web:80 -- ./serve-and-load.sh
                                   by the requests that a service served which the command starts

The command may use the first N of the CPUs that this process may use (sched_setaffinity), and
so may all that it starts. {workers} and {cores} in its words stand for the numbers of each
size. Each size is run --repeat times, up and down in turn, so that a host that gets slower or
faster does not look like a size; the run with the median throughput counts.";

/// Arguments of `scale`.
#[derive(Debug, Args)]
pub struct ScaleArgs {
    /// Measure a command at several sizes.
    #[command(subcommand)]
    pub command: Option<ScaleCommand>,
    /// Recordings, one of each size: the number of CPUs of the host, or what `scale run` limited the command to
    #[arg(value_name = "FILE", help_heading = "Arguments")]
    pub files: Vec<PathBuf>,
    /// A recording at this size
    #[arg(long, value_name = "N=FILE", help_heading = "Arguments")]
    pub at: Vec<At>,
    /// The work grew with the size
    #[arg(long, help_heading = "Scaling")]
    pub weak: bool,
    /// Which components; by default those that the first recording was made for.
    #[command(flatten)]
    pub select: SelectArgs,
    /// How to print.
    #[command(flatten)]
    pub output: PageOutputArgs,
}

/// What `scale` can do besides.
#[derive(Debug, Subcommand)]
pub enum ScaleCommand {
    /// Run a command at several sizes, measure each, and say how it scales
    #[command(after_help = RUN_EXAMPLES)]
    Run(Box<ScaleRunArgs>),
}

/// Arguments of `scale run`.
#[derive(Debug, Args)]
pub struct ScaleRunArgs {
    /// Numbers of cores to run it on
    #[arg(long, value_name = "N", value_delimiter = ',', required = true, value_parser = value_parser!(u32).range(1..), help_heading = "Scaling")]
    pub cores: Vec<u32>,
    /// Numbers of workers to tell it, one for each of --cores, or several on the same cores [default: as many as cores]
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = value_parser!(u32).range(1..), help_heading = "Scaling")]
    pub workers: Vec<u32>,
    /// How often each size is run
    #[arg(long, value_name = "N", default_value = "3", value_parser = value_parser!(u32).range(1..=1000), help_heading = "Scaling")]
    pub repeat: u32,
    /// The work grows with the size: a run at N does N times the work
    #[arg(long, help_heading = "Scaling")]
    pub weak: bool,
    /// A run consists of so many equal tasks that cannot be divided; with --weak, for each worker
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..), help_heading = "Scaling")]
    pub tasks: Option<u64>,
    /// What one task takes by itself [default: what it takes at the smallest size]
    #[arg(long, value_name = "TIME", value_parser = time, requires = "tasks", help_heading = "Scaling")]
    pub task_time: Option<Duration>,
    /// Keep the recordings in this folder, as N-RUN.rec
    #[arg(long, value_name = "FOLDER", help_heading = "Output")]
    pub keep: Option<PathBuf>,
    /// Which components; with --entry the tasks are the requests that enter there.
    #[command(flatten)]
    pub select: SelectArgs,
    /// How to measure.
    #[command(flatten)]
    pub measure: MeasureArgs,
    /// How to print.
    #[command(flatten)]
    pub output: PageOutputArgs,
    /// The command
    #[arg(
        last = true,
        required = true,
        value_name = "COMMAND",
        help_heading = "Arguments"
    )]
    pub command: Vec<OsString>,
}

/// A recording at a size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At {
    /// The size.
    pub n: u32,
    /// The recording.
    pub file: PathBuf,
}

impl FromStr for At {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('=');
        let at = parts.and_then(|(n, file)| {
            let n = n.trim().parse().ok().filter(|n| *n > 0)?;
            let file = PathBuf::from(file);
            (!file.as_os_str().is_empty()).then_some(Self { n, file })
        });
        at.ok_or_else(|| "give a size and its recording, as in: --at 4=four.rec".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::args::{Cli, Command};

    fn scale(line: &str) -> Result<ScaleArgs, clap::Error> {
        let cli = Cli::try_parse_from(line.split_whitespace())?;
        match cli.command {
            Some(Command::Scale(args)) => Ok(args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn recordings_have_sizes_of_their_own_or_given_ones() {
        let args = scale("courtside scale a.rec b.rec --at 4=c=d.rec --entry web:80").unwrap();
        assert_eq!(args.files.len(), 2);
        let at = At {
            n: 4,
            file: "c=d.rec".into(),
        };
        assert_eq!(args.at, [at]);
        assert!(args.command.is_none());
        for bad in ["", "4", "=x", "0=x", "x=y", "-1=x", "4="] {
            assert!(bad.parse::<At>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_run_has_cores_and_a_command_with_its_own_flags() {
        let args =
            scale("courtside scale run --cores 1,2 --cores 4 -- ./x -n 3 --cores 9").unwrap();
        let Some(ScaleCommand::Run(run)) = args.command else {
            panic!("{args:?}");
        };
        assert_eq!(run.cores, [1, 2, 4]);
        assert_eq!((run.repeat, run.workers.len()), (3, 0));
        assert_eq!(run.command.len(), 5);
        for bad in [
            "courtside scale run -- x",
            "courtside scale run --cores 0,1 -- x",
            "courtside scale run --cores 1,2",
            "courtside scale run --cores 1,2 --task-time 1s -- x",
            "courtside scale run --cores two -- x",
            "courtside scale --weak run --cores 1,2 -- x",
        ] {
            assert_eq!(scale(bad).unwrap_err().exit_code(), 2, "{bad}");
        }
    }
}
