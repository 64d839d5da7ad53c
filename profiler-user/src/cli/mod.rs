//! The command line: arguments in, a run, an exit status out.
//!
//! In: arguments, signals, the terminal. Out: text on stdout or in a file, words about it on stderr, 0, 1, 2 or 3.
//! Must not know: how anything is measured or derived; it asks [`courtside_agent::measure::Kernel`] and hands on what it gets.

pub mod args;
mod check;
mod clock;
mod config;
mod diff;
mod drawn;
mod export;
mod fleet;
mod guard;
mod infer;
mod man;
mod model;
mod now;
mod output;
mod place;
mod player;
pub mod range;
mod record;
mod recorded;
mod replay;
mod report;
mod scale;
mod schema;
mod serve;
mod stat;
mod tail;
mod target;
pub mod top;
mod unused;
mod wait;
mod whole;

use courtside_agent::{
    keeper::Keeper,
    measure::{Kernel, Snapshots},
};
use std::{
    env,
    io::{self, Write},
    path::Path,
    process::ExitCode,
    sync::{Arc, Mutex},
};

use anyhow::Context;
use clap::{CommandFactory, FromArgMatches, error::ErrorKind};

use args::{Cli, Command, GuardCommand, ScaleCommand, TopArgs};
use top::Keep;

use crate::{
    analysis::guard::Beside,
    frame::{ProbeState, ProbeStatus},
    record::Ring,
    sys::privileges,
};

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let (words, file) = match config::with_file(env::args_os().collect()) {
        Ok(words) => words,
        Err(error) => {
            let _ = writeln!(io::stderr(), "courtside: {}", in_one_line(&error));
            return ExitCode::from(2);
        }
    };
    let parsed = Cli::parser()
        .try_get_matches_from(words)
        .and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            let asked_for = matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            );
            // Nothing can be done about a terminal that does not take the message.
            let _ = error.print();
            if let (false, Some(file)) = (asked_for, file) {
                let file = file.display();
                let _ = writeln!(io::stderr(), "\nSome of these options are from {file}.");
            }
            return ExitCode::from(if asked_for { 0 } else { 2 });
        }
    };
    let measures = cli.command.as_ref().is_none_or(Command::measures);
    match run(cli) {
        Ok(status) => ExitCode::from(status),
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "courtside: {}", in_one_line(&error));
            if !measures && is_denied(&error) && rustix::process::geteuid().is_root() {
                let _ = writeln!(io::stderr(), "courtside: {ROOT_IS_NOBODY}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<u8> {
    let root = Path::new("/");
    let kernel = courtside_agent::measure::RunningKernel;
    let command = cli.command.unwrap_or(Command::Top(cli.top));
    listen_to_programs(match &command {
        Command::Stat(args) => args.measure.verbose,
        Command::Record(args) => args.measure.verbose,
        Command::Diff(args) => args.measure.verbose,
        Command::Tail(args) => args.measure.verbose,
        Command::Guard(args) => match &args.command {
            Some(GuardCommand::Learn(learn)) => learn.measure.verbose,
            _ => args.measure.verbose,
        },
        Command::Serve(args) => args.measure.verbose,
        Command::Infer(args) => args.measure.verbose,
        Command::Scale(args) => {
            matches!(&args.command, Some(ScaleCommand::Run(run)) if run.measure.verbose)
        }
        _ => false,
    });
    if !command.measures() {
        privileges::give_up()?;
    }
    match command {
        Command::Top(args) => dashboard(&args, &kernel, root),
        Command::Stat(args) => stat::run(&args, &kernel, root),
        Command::Record(args) => record::run(&args, &kernel, root),
        Command::Replay(args) => replay::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Diff(args) => diff::run(&args, &kernel, root),
        Command::Tail(args) => tail::run(&args, &kernel, root),
        Command::Infer(args) => infer::run(&args, &kernel, root),
        Command::Scale(args) => scale::run(&args, &kernel, root),
        Command::Guard(args) => guard::run(&args, &kernel, root),
        Command::Model(args) => model::run(&args),
        Command::Serve(args) => serve::run(&args, &kernel, root),
        Command::Fleet(args) => fleet::run(&args),
        Command::Check(args) => check::run(&args, &kernel, root),
        Command::Schema(args) => schema::run(&args),
        Command::Completions(args) => {
            let mut script = Vec::new();
            clap_complete::generate(args.shell, &mut Cli::command(), "courtside", &mut script);
            let written = io::stdout().write_all(&script);
            written.context("cannot write to stdout")?;
            Ok(0)
        }
        Command::Man(args) => man::run(&args),
    }
}

impl Command {
    /// Whether it needs the privileges that it may have been started with.
    fn measures(&self) -> bool {
        match self {
            Self::Top(_) | Self::Stat(_) | Self::Record(_) | Self::Serve(_) | Self::Check(_) => {
                true
            }
            Self::Diff(args) => args.b.is_none(),
            Self::Tail(args) => args.files.is_empty(),
            Self::Infer(args) => args.command.is_none() && args.file.is_none(),
            Self::Scale(args) => args.command.is_some(),
            Self::Guard(args) => match &args.command {
                Some(GuardCommand::Replay(_)) => false,
                Some(GuardCommand::Learn(learn)) => learn.files.is_empty(),
                _ => true,
            },
            Self::Replay(_)
            | Self::Export(_)
            | Self::Report(_)
            | Self::Model(_)
            | Self::Fleet(_)
            | Self::Schema(_)
            | Self::Completions(_)
            | Self::Man(_) => false,
        }
    }
}

fn dashboard(args: &TopArgs, kernel: &dyn Kernel, root: &Path) -> anyhow::Result<u8> {
    let view = args.select.view();
    target::check(root, &view)?;
    let measurement = kernel.attach(&args.measure.wishes())?;
    if args.measure.verbose {
        report_probes(measurement.probes(), true);
    }
    let (ring, keep) = keep_last(args, measurement.probes(), root)?;
    // Threads started from here on have no privileges either.
    kernel.drop_privileges()?;
    let options = top::Options::new(&args.screen, &args.select.entry, args.duration);
    let snapshots = Snapshots::new(measurement, view)
        .with_ring(ring)
        .judged(Box::new(Beside::default()));
    let snapshots = Box::new(snapshots);
    top::run(snapshots, args.interval, &options, Some(keep))?;
    Ok(0)
}

/// How long the dashboard looks back when R is pressed, and how much memory that may take.
const KEEP_NS: u64 = 300 * 1_000_000_000;
const KEEP_BYTES: usize = 16 << 20;

/// What the last minutes are kept in and with.
fn keep_last(
    args: &TopArgs,
    probes: &[ProbeStatus],
    root: &Path,
) -> anyhow::Result<(Arc<Mutex<Ring>>, Keep)> {
    let ring = Ring::new(KEEP_NS, KEEP_BYTES).context("cannot keep the last minutes in memory")?;
    let ring = Arc::new(Mutex::new(ring));
    let header = record::header(&args.select, args.interval, &[], probes, root);
    let keeper = Keeper::start(&args.screen.output, root)?;
    let keep = Keep {
        ring: Arc::clone(&ring),
        header,
        keeper,
    };
    Ok((ring, keep))
}

/// Lets the kernel programs speak on stderr: with `-v`, or as `RUST_LOG` says.
fn listen_to_programs(verbose: bool) {
    let filter = if verbose {
        "off,courtside_bpf=debug"
    } else {
        "off"
    };
    // A second call in one process changes nothing.
    let _ = env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(filter))
        .try_init();
}

/// Says which probes do not work; with `verbose`, how each one does.
fn report_probes(probes: &[ProbeStatus], verbose: bool) {
    for probe in probes {
        let ProbeStatus {
            name,
            hook,
            state,
            reason,
        } = probe;
        let said = match state {
            ProbeState::Failed => format!("{name} ({hook}) is not attached: {reason}"),
            ProbeState::Attached if verbose => format!("{name} ({hook}) is attached"),
            ProbeState::Degraded if verbose => format!("{name} ({hook}) is attached, but {reason}"),
            ProbeState::Disabled if verbose => format!("{name} ({hook}) is not wanted: {reason}"),
            _ => continue,
        };
        // Remarks that nobody can read are no reason to stop.
        let _ = writeln!(io::stderr(), "courtside: {said}");
    }
}

/// An error and its causes, except those that its text contains already.
fn in_one_line(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// What root is told when it may not read or write what belongs to another user.
const ROOT_IS_NOBODY: &str =
    "root's privileges are used only to measure: run this as the user who owns the file or folder";

/// Whether a file's owner did not allow it.
fn is_denied(error: &anyhow::Error) -> bool {
    let denied = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(denied)
            || cause.downcast_ref::<rustix::io::Errno>() == Some(&rustix::io::Errno::ACCESS)
    })
}

/// The reader of our output has closed it: that is not an error.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cause_is_told_twice() {
        let source = io::Error::other("no such file");
        let error = anyhow::Error::new(source).context("cannot read x: no such file; make it");
        assert_eq!(in_one_line(&error), "cannot read x: no such file; make it");
        let error = anyhow::anyhow!("disk full").context("cannot write");
        assert_eq!(in_one_line(&error), "cannot write: disk full");
    }
}
