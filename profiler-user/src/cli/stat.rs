//! `stat`: measure once and print.
//!
//! In: what to measure, for how long or while which command runs. Out: snapshots in the form asked for, and the
//! command's exit status. Must not know: how a snapshot comes about.

use courtside_agent::{
    live::Source,
    measure::{Kernel, Snapshots},
};
use std::{
    io::{self, IsTerminal},
    path::Path,
    time::Duration,
};

use anyhow::Context;
use tokio::process::Child;

use super::{
    args::{Format, StatArgs},
    clock::Clock,
    output::{Output, Reader},
    place::Inputs,
    report_probes, target,
    unused::Unused,
    wait::{WaitEnd, Waiter},
};
use crate::{
    export::{json, table},
    model::Snapshot,
};

const DURATION_DEFAULT: Duration = Duration::from_secs(10);
/// How often the kernel's maps are read while one window lasts long, so that they do not fill with what is gone.
const DRAIN_EVERY: Duration = Duration::from_secs(1);

/// Flows in one reading of which more are many: the kernel's map holds eight times as many.
const MANY_FLOWS: usize = 512;

pub(super) fn run(args: &StatArgs, kernel: &dyn Kernel, root: &Path) -> anyhow::Result<u8> {
    let view = args.select.view();
    target::check(root, &view)?;
    let printer = Printer {
        output: Output::open_for_later(
            &args.output.output,
            args.output.color,
            &Inputs::default(),
            root,
        )?,
        format: args.output.format(),
    };
    let mut waiter = Waiter::new().context("cannot receive signals")?;
    let measurement = kernel.attach(&args.measure.wishes())?;
    report_probes(measurement.probes(), args.measure.verbose);
    let snapshots = Snapshots::new(measurement, view);
    let mut child = match args.command.first() {
        Some(name) => Some(
            waiter
                .spawn(&args.command, printer.is_for_programs())
                .with_context(|| format!("cannot run {}", name.display()))?,
        ),
        None => None,
    };
    kernel.drop_privileges()?;

    let limit = match (args.duration, &child) {
        (None, Some(_)) => None,
        (duration, _) => Some(duration.unwrap_or(DURATION_DEFAULT)),
    };
    let show_progress = child.is_none() && args.interval.is_none() && io::stderr().is_terminal();
    let mut clock = Clock::start(limit, args.interval, show_progress).draining(DRAIN_EVERY);
    let mut results = Results {
        snapshots,
        printer,
        unused: Unused::new(&args.select.entry),
    };
    let (event, reader) = measure(&mut waiter, &mut clock, child.as_mut(), &mut results)?;
    clock.clear_progress();
    let mut entries = Ok(());
    if reader == Reader::There {
        results.print()?;
        entries = results.unused.report();
    }
    drop(results); // detaches before the command is waited for any longer
    let status = waiter.outlast(event, child)?;
    entries.map(|()| status)
}

/// Waits until the measurement is over, printing in between where that was asked for.
fn measure(
    waiter: &mut Waiter,
    clock: &mut Clock,
    mut child: Option<&mut Child>,
    results: &mut Results,
) -> anyhow::Result<(WaitEnd, Reader)> {
    loop {
        let event = waiter.until(clock.next(), child.as_deref_mut())?;
        if event != WaitEnd::Time || clock.is_over() {
            return Ok((event, Reader::There));
        }
        if clock.interval_is_over() {
            if results.print()? == Reader::Gone {
                return Ok((event, Reader::Gone));
            }
        } else if clock.drain_is_over() {
            // A program whose processes are gone is forgotten two readings later: where many come and go, sooner.
            if results.snapshots.drain()? > MANY_FLOWS {
                clock.drain_sooner();
            }
        }
        clock.show_progress(|elapsed| {
            let limit = clock.limit().map(humantime::format_duration);
            let of = limit.map_or_else(String::new, |limit| format!(" of {limit}"));
            format!("measuring: {elapsed}s{of}, Ctrl-C ends it and prints")
        });
    }
}

/// Windows, and where they are printed.
struct Results {
    snapshots: Snapshots,
    printer: Printer,
    unused: Unused,
}

impl Results {
    /// Ends the window and prints it.
    fn print(&mut self) -> anyhow::Result<Reader> {
        let snapshot = self.snapshots.next()?;
        self.unused.look(&snapshot);
        self.printer.print(&snapshot)
    }
}

/// Writes snapshots in one form.
struct Printer {
    output: Output,
    format: Format,
}

impl Printer {
    /// What a command prints must not stand between the JSON on stdout.
    fn is_for_programs(&self) -> bool {
        self.format == Format::Json && self.output.is_stdout()
    }

    fn print(&mut self, snapshot: &Snapshot) -> anyhow::Result<Reader> {
        let text = match self.format {
            Format::Json => json::to_string(snapshot)?,
            Format::Table => table::render(snapshot, self.output.style()),
        };
        let reader = self.output.write(&text)?;
        self.output.place()?;
        Ok(reader)
    }
}

#[cfg(test)]
mod tests {
    use crate::fixture::frames;
    use std::{
        fs,
        sync::{
            Arc,
            atomic::{AtomicU32, Ordering},
        },
    };

    use clap::Parser;

    use super::*;
    use crate::{
        cli::args::{Cli, Command},
        collect::Wishes,
        frame::{Frame, ProbeStatus},
        model::View,
    };
    use courtside_agent::measure::Measurement;

    /// Counts what is asked of it; gives the same frame again and again.
    #[derive(Default)]
    struct Fake {
        windows: Arc<AtomicU32>,
        drops: AtomicU32,
        wishes: std::cell::RefCell<Option<Wishes>>,
    }

    struct FakeMeasurement(Arc<AtomicU32>);

    impl Kernel for Fake {
        fn attach(&self, wishes: &Wishes) -> anyhow::Result<Box<dyn Measurement>> {
            *self.wishes.borrow_mut() = Some(wishes.clone());
            Ok(Box::new(FakeMeasurement(Arc::clone(&self.windows))))
        }

        fn drop_privileges(&self) -> anyhow::Result<()> {
            self.drops.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    }

    impl Measurement for FakeMeasurement {
        fn window(&mut self) -> anyhow::Result<Frame> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(frames::chain(10))
        }

        fn probes(&self) -> &[ProbeStatus] {
            &[]
        }
    }

    /// Runs `stat` with these arguments; returns status and output.
    fn stat(fake: &Fake, arguments: &[&str]) -> anyhow::Result<(u8, String)> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("out");
        let line = ["courtside", "stat", "-o", file.to_str().unwrap()];
        let cli = Cli::try_parse_from(line.iter().chain(arguments)).unwrap();
        let Some(Command::Stat(args)) = cli.command else {
            panic!("not stat: {arguments:?}");
        };
        let status = run(&args, fake, Path::new("/"))?;
        Ok((status, fs::read_to_string(file).unwrap()))
    }

    #[test]
    fn one_window_is_printed_in_the_form_asked_for() {
        let fake = Fake::default();
        let (status, text) = stat(&fake, &["-d", "1ms", "--json", "--no-pmu"]).unwrap();
        assert_eq!(status, 0);
        let snapshot: Snapshot = serde_json::from_str(&text).unwrap();
        assert!(!snapshot.edges.is_empty());
        assert_eq!(fake.windows.load(Ordering::Relaxed), 1);
        assert_eq!(fake.drops.load(Ordering::Relaxed), 1);
        assert!(!fake.wishes.borrow().as_ref().unwrap().pmu);
        let (_, text) = stat(&Fake::default(), &["-d", "1ms"]).unwrap();
        assert!(text.contains("COMPONENT"), "{text}");
    }

    #[test]
    fn with_an_interval_every_window_is_printed() {
        let fake = Fake::default();
        let arguments = ["-d", "35ms", "-i", "10ms", "--json"];
        let (_, text) = stat(&fake, &arguments).unwrap();
        let windows = fake.windows.load(Ordering::Relaxed);
        // A machine under load may be late.
        assert!((1..=4).contains(&windows), "{windows}");
        let printed = serde_json::Deserializer::from_str(&text).into_iter::<Snapshot>();
        assert_eq!(printed.count(), windows as usize);
    }

    #[test]
    fn a_window_read_in_parts_is_one_window() {
        let fake = Fake::default();
        let measurement = fake.attach(&Wishes::default()).unwrap();
        let mut snapshots = Snapshots::new(measurement, View::default());
        let one = snapshots.next().unwrap();
        snapshots.drain().unwrap();
        snapshots.drain().unwrap();
        let three = snapshots.next().unwrap();
        assert_eq!(three.window.duration_ns, 3 * one.window.duration_ns);
        assert_eq!(three.edges[0].roundtrips, 3 * one.edges[0].roundtrips);
        // What was begun is forgotten by the next, and by a reset.
        snapshots.drain().unwrap();
        snapshots.reset();
        assert_eq!(snapshots.next().unwrap().edges, one.edges);
    }

    #[test]
    fn a_commands_status_is_passed_on() {
        let fake = Fake::default();
        let (status, text) = stat(&fake, &["--", "sh", "-c", "exit 7"]).unwrap();
        assert_eq!(status, 7);
        assert!(!text.is_empty());
    }

    #[test]
    fn a_command_outlives_a_measurement_of_its_beginning() {
        let (status, _) = stat(&Fake::default(), &["-d", "1ms", "--", "sleep", "0.05"]).unwrap();
        assert_eq!(status, 0);
    }

    #[test]
    fn what_is_not_there_is_said_before_anything_is_attached() {
        let fake = Fake::default();
        for arguments in [
            ["-p", "4294967295"],
            ["--unit", "no-such-unit"],
            ["-c", "/no/such"],
        ] {
            assert!(stat(&fake, &arguments[..]).is_err(), "{arguments:?}");
        }
        assert!(fake.wishes.borrow().is_none());
    }

    #[test]
    fn an_entry_that_is_nowhere_is_an_error_that_names_those_that_are() {
        let ends = |wish: &str| stat(&Fake::default(), &["-d", "1ms", "--entry", wish]);
        let text = format!("{:#}", ends("nosuch").unwrap_err());
        assert!(text.contains("no entry nosuch"), "{text}");
        assert!(text.contains("web:80"), "{text}");
        assert!(ends("web:81").is_err());
        assert_eq!(ends("web:80").unwrap().0, 0);
    }

    #[test]
    fn a_command_that_cannot_be_run_is_named() {
        let error = stat(&Fake::default(), &["--", "/no/such/command"]).unwrap_err();
        let text = format!("{error:#}");
        assert!(
            text.starts_with("cannot run /no/such/command: No such file"),
            "{text}"
        );
    }
}
