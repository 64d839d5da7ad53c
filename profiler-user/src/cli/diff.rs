//! `diff`: what changed from one recording to another, or to what is measured now.
//!
//! In: two recordings, or one and how to measure. Out: a table, JSON or a page; 3 if something got worse by more than was
//! allowed. Must not know: when a number has changed, how that is shown.

use std::{path::Path, time::Duration};

use anyhow::ensure;
use courtside_agent::measure::Kernel;

use super::{
    args::{DiffArgs, LEAST_MEASURED, PageFormat},
    now::{NOW, Wanted, measure},
    output::Output,
    place::Inputs,
    recorded, target,
    unused::Unused,
};
use crate::{
    analysis::diff::{CannotTell, Limits, MAX_WINDOWS, MIN_WINDOWS, Side, compare},
    export::{diff, json, report},
    model::{View, difference::Diff},
    pass::{Analysis as _, Pieces},
    record::{Recorded, Recording},
};

/// Something got worse.
const WORSE: u8 = 3;

/// So long is measured now at most, unless windows are so long that this is too short.
const LONG_ENOUGH: Duration = Duration::from_secs(60);
/// Windows more than are needed: one that ends late takes the next one's time.
const SPARE_WINDOWS: usize = 2;
/// Nobody waits for windows that are longer.
const LONGEST_WINDOW: Duration = Duration::from_secs(3600);

pub(super) fn run(args: &DiffArgs, kernel: &dyn Kernel, root: &Path) -> anyhow::Result<u8> {
    args.select.view().selection.check()?;
    let (status, worse) = match &args.b {
        Some(b) => (0, with_other(args, b)?),
        None => with_now(args, kernel, root)?,
    };
    let fails = args.fail_above.is_some() && worse;
    Ok(if status == 0 && fails { WORSE } else { status })
}

/// Both are seen alike, or else what differs is how they are seen.
fn with_other(args: &DiffArgs, b: &Path) -> anyhow::Result<bool> {
    let inputs = Inputs::of_recording(&args.a).and(Inputs::of_recording(b));
    let first = Recording::open(&args.a)?;
    let view = args.select.or_recorded(&first.header().view).view();
    let of_a = recorded::seen(&args.a, first, None, view.clone(), None)?;
    let of_b = recorded::seen(b, Recording::open(b)?, None, view, None)?;
    let mut output = Output::open(&args.output.output, args.output.color, &inputs)?;
    let side_b = Side::new(b.display().to_string());
    tell(args, &of_a, (side_b, &of_b), &mut output)
}

/// Measures, and says what it was compared with; the status is that of the command.
fn with_now(args: &DiffArgs, kernel: &dyn Kernel, root: &Path) -> anyhow::Result<(u8, bool)> {
    let first = recorded::open_unprivileged(&args.a)?;
    let select = args.select.or_recorded(&first.header().view);
    let interval_ns = first.header().interval_ns;
    let of_a = recorded::seen(&args.a, first, None, select.view(), None)?;
    let file = args.a.display().to_string();
    let windows = of_a.count();
    ensure!(
        windows >= MIN_WINDOWS,
        CannotTell::TooShort {
            file,
            windows: windows as u64
        }
    );
    let interval = interval(&file, interval_ns)?;
    let limit = limit(args, interval, windows)?;
    target::check(root, &select.view())?;
    let inputs = Inputs::of_recording(&args.a);
    let to = &args.output;
    let mut output = Output::open_for_later(&to.output, to.color, &inputs, root)?;
    let wanted = Wanted {
        select: &select,
        measure: &args.measure,
        interval,
        limit,
        command: &args.command,
        aside: to.format() != PageFormat::Table && output.is_stdout(),
        events: false,
    };
    let mut measured = measure(&wanted, kernel, root)?;
    let told = match measured.recording.take() {
        None => Err(CannotTell::TooBrief { windows: 0 }.into()),
        Some(now) => recorded::seen(Path::new(NOW), now, None, select.view(), None)
            .and_then(|now| tell(args, &of_a, (Side::now(), &now), &mut output)),
    };
    // The command may go on for longer than is measured.
    let status = measured.status()?;
    Ok((status, told?))
}

/// How long a window is: as one of the recording.
fn interval(file: &str, interval_ns: u64) -> anyhow::Result<Duration> {
    let recorded = match interval_ns {
        // Not known: its header is damaged.
        0 => Duration::from_secs(1),
        ns => Duration::from_nanos(ns),
    };
    ensure!(
        recorded <= LONGEST_WINDOW,
        "a window of {file} is {} long, too long to measure as many now; record the other side, and compare with: courtside diff A B",
        humantime::format_duration(recorded)
    );
    Ok(recorded.max(LEAST_MEASURED))
}

/// How long it is measured: as asked for, until the command ends, or as long as the recording, as far as that is needed.
fn limit(args: &DiffArgs, interval: Duration, windows: usize) -> anyhow::Result<Option<Duration>> {
    let of = |windows: usize| interval.saturating_mul(u32::try_from(windows).unwrap_or(u32::MAX));
    let least = of(MIN_WINDOWS);
    match args.duration {
        None if !args.command.is_empty() => Ok(None),
        None => {
            let least = of(MIN_WINDOWS + SPARE_WINDOWS);
            Ok(Some(of(windows).min(LONG_ENOUGH).max(least)))
        }
        Some(duration) => {
            ensure!(
                duration >= least,
                "{} is too short: {MIN_WINDOWS} windows are needed to tell a change from chance, and those of {} are {} long; give -d {} or more",
                humantime::format_duration(duration),
                args.a.display(),
                humantime::format_duration(interval),
                humantime::format_duration(least)
            );
            Ok(Some(duration))
        }
    }
}

/// Compares, and prints; whether something got worse.
fn tell(
    args: &DiffArgs,
    of_a: &Recorded,
    (side_b, of_b): (Side, &Recorded),
    output: &mut Output,
) -> anyhow::Result<bool> {
    let mut unused = Unused::new(&args.select.entry);
    let [each_a, each_b] = together([of_a, of_b]);
    let side_a = Side::new(args.a.display().to_string());
    let a = filled(side_a, of_a, each_a, &mut unused)?;
    let b = filled(side_b, of_b, each_b, &mut unused)?;
    unused.report()?;
    let limits = Limits {
        ignore_below: args.ignore_below,
        fail_above: args.fail_above,
    };
    let found = compare(&a, &b, limits)?;
    let text = shown(&found, args.output.format(), output)?;
    output.write(text)?;
    output.place()?;
    Ok(found.worse)
}

fn shown(found: &Diff, format: PageFormat, output: &Output) -> anyhow::Result<String> {
    Ok(match format {
        PageFormat::Json => json::to_string(found)?,
        PageFormat::Table => diff::render(found, output.style()),
        PageFormat::Html => report::comparison(found),
    })
}

/// How many windows of each are put together, so that pieces of both are equally long, since means over more time scatter
/// less; and so that neither has too many, as long as the other keeps twice what it needs.
fn together(both: [&Recorded; 2]) -> [u64; 2] {
    let lengths = both.map(|recorded| recorded.recording().header().interval_ns.max(1));
    let counts = both.map(|recorded| recorded.count() as u64);
    pieces(lengths, counts)
}

fn pieces(lengths: [u64; 2], counts: [u64; 2]) -> [u64; 2] {
    let [a, b] = lengths;
    let common = greatest_common_divisor(a, b);
    let each = [b / common, a / common];
    let most = |i: usize| counts[i].div_ceil(each[i].saturating_mul(MAX_WINDOWS as u64));
    let least = |i: usize| counts[i] / each[i].saturating_mul(2 * MIN_WINDOWS as u64);
    let times = most(0).max(most(1)).min(least(0)).min(least(1)).max(1);
    each.map(|each| each.saturating_mul(times))
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

fn filled(
    mut side: Side,
    recorded: &Recorded,
    each: u64,
    unused: &mut Unused,
) -> anyhow::Result<Side> {
    let (state, view): (_, View) = (recorded.state_before(0), recorded.view().clone());
    let mut pieces = Pieces::new(state, view, each, |piece| side.add(piece));
    recorded.pass(&mut [&mut pieces, unused])?;
    pieces.finish();
    Ok(side)
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File},
        sync::atomic::{AtomicU64, Ordering},
    };

    use clap::Parser;
    use courtside_agent::measure::Measurement;
    use serde_json::Value;

    use super::*;
    use crate::{
        cli::args::{Cli, Command},
        collect::Wishes,
        fixture::frames,
        frame::{Frame, ProbeStatus},
        record::{Header, Writer},
    };

    const MS: u64 = 1_000_000;

    #[test]
    fn pieces_of_both_are_equally_long_and_not_too_many() {
        const S: u64 = 1_000_000_000;
        assert_eq!(pieces([S, S], [60, 60]), [1, 1]);
        assert_eq!(pieces([S, S], [60, 61]), [1, 1]);
        assert_eq!(pieces([S, S], [300, 310]), [3, 3]);
        assert_eq!(pieces([S, S], [30, 600]), [1, 1]);
        assert_eq!(pieces([S, S], [70, 600]), [2, 2]);
        assert_eq!(pieces([S, 5 * S], [60, 60]), [5, 1]);
        assert_eq!(pieces([2 * S, 3 * S], [60, 40]), [3, 2]);
        assert_eq!(pieces([S, S], [0, 0]), [1, 1]);
    }

    /// The chain's window, a hundredth of a second long, in which the store took so many times as long.
    fn window(n: u64, by: u64) -> Frame {
        let mut frame = frames::chain(95 + n * 7 % 11);
        frame.start_unix_ns += n * 10 * MS;
        frame.duration_ns = 10 * MS;
        for flow in &mut frame.flows {
            if flow.image == frames::STORE {
                flow.answer.sum_ns *= by;
                flow.turnaround.sum_ns *= by;
                flow.turnaround_parts = flow.turnaround_parts.map(|ns: u64| ns * by);
            }
        }
        frame
    }

    /// A kernel on which the store is so many times as slow.
    struct Fake {
        by: u64,
        wishes: std::cell::RefCell<Option<Wishes>>,
    }

    struct Slow {
        by: u64,
        windows: AtomicU64,
    }

    impl Kernel for Fake {
        fn attach(&self, wishes: &Wishes) -> anyhow::Result<Box<dyn Measurement>> {
            *self.wishes.borrow_mut() = Some(wishes.clone());
            Ok(Box::new(Slow {
                by: self.by,
                windows: AtomicU64::new(0),
            }))
        }

        fn drop_privileges(&self) -> anyhow::Result<()> {
            Ok(())
        }
    }

    impl Measurement for Slow {
        fn window(&mut self) -> anyhow::Result<Frame> {
            Ok(window(
                self.windows.fetch_add(1, Ordering::Relaxed),
                self.by,
            ))
        }

        fn probes(&self) -> &[ProbeStatus] {
            &[]
        }
    }

    impl Fake {
        fn new(by: u64) -> Self {
            let wishes = std::cell::RefCell::default();
            Self { by, wishes }
        }
    }

    /// Runs `diff` with a recording of so many windows and these arguments; status and output.
    fn with(kernel: &Fake, windows: u64, arguments: &[&str]) -> anyhow::Result<(u8, String)> {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let (a, out) = (path("a.rec"), path("out"));
        let header = Header {
            interval_ns: 10 * MS,
            ..Header::default()
        };
        let mut writer = Writer::new(File::create(&a).unwrap(), &header).unwrap();
        (0..windows).for_each(|n| writer.frame(&window(n, 1)).unwrap());
        writer.finish().unwrap();
        let line = ["courtside", "diff", &a, "-o", &out];
        let cli = Cli::try_parse_from(line.iter().chain(arguments)).unwrap();
        let Some(Command::Diff(args)) = cli.command else {
            panic!("not diff: {arguments:?}");
        };
        let status = run(&args, kernel, Path::new("/"))?;
        Ok((status, fs::read_to_string(out).unwrap()))
    }

    #[test]
    fn what_is_slower_now_than_it_was_recorded_is_told() {
        let arguments = ["-d", "1s", "--json", "--no-pmu", "--fail-above", "10%"];
        let kernel = Fake::new(2);
        let (status, text) = with(&kernel, 40, &arguments).unwrap();
        assert!(!kernel.wishes.borrow().as_ref().unwrap().pmu);
        assert_eq!(status, WORSE);
        let diff: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&diff["b"]["file"], &diff["b"]["live"]),
            (&"now".into(), &true.into())
        );
        assert_eq!(diff["a"]["live"], false);
        let slower = diff["changes"].as_array().unwrap().iter().find(|change| {
            change["component"] == "program:store" && change["field"] == "service_ns"
        });
        let ratio = slower.unwrap()["ratio"].as_f64().unwrap();
        assert!((1.9..2.1).contains(&ratio), "{ratio}");
        // As it was.
        let arguments = ["-d", "1s", "--fail-above", "0%"];
        let (status, text) = with(&Fake::new(1), 40, &arguments).unwrap();
        assert_eq!(status, 0, "{text}");
        assert!(
            text.contains("none changed") && text.contains("B  now"),
            "{text}"
        );
    }

    #[test]
    fn a_commands_status_comes_before_what_got_worse() {
        let command =
            |ends: &'static str| ["-F", "html", "--fail-above", "10%", "--", "sh", "-c", ends];
        let kernel = Fake::new(2);
        let (status, text) = with(&kernel, 40, &command("sleep 1; exit 7")).unwrap();
        assert_eq!(status, 7);
        assert!(text.ends_with("</html>"));
        let (status, _) = with(&kernel, 40, &command("sleep 1")).unwrap();
        assert_eq!(status, WORSE);
    }

    #[test]
    fn what_is_too_little_is_said_before_it_is_measured_where_that_is_known() {
        let said = |windows, arguments: &[&str]| {
            let kernel = Fake::new(1);
            let error = with(&kernel, windows, arguments).unwrap_err();
            let attached = kernel.wishes.borrow().is_some();
            (format!("{error:#}"), attached)
        };
        let (short, attached) = said(14, &[]);
        assert!(short.contains("has 14 windows to compare, and at least 15") && !attached);
        let (brief, attached) = said(40, &["-d", "100ms"]);
        assert!(
            brief.starts_with("100ms is too short: 15 windows"),
            "{brief}"
        );
        assert!(
            brief.ends_with("give -d 150ms or more") && !attached,
            "{brief}"
        );
        let (nobody, attached) = said(40, &["-p", "4294967295"]);
        assert!(
            nobody.contains("there is no process") && !attached,
            "{nobody}"
        );
        let (brief, _) = said(40, &["--", "true"]);
        assert!(
            brief.contains("measured, and at least 15 are needed"),
            "{brief}"
        );
    }

    #[test]
    fn it_is_measured_for_as_long_as_was_recorded_within_reason() {
        let limit = |line: &str, interval_s: u64, windows| {
            let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
            let Some(Command::Diff(args)) = cli.command else {
                panic!("{line}");
            };
            let limit = super::limit(&args, Duration::from_secs(interval_s), windows);
            limit.unwrap().map(|limit| limit.as_secs())
        };
        assert_eq!(limit("courtside diff a", 1, 40), Some(40));
        assert_eq!(limit("courtside diff a", 1, 3600), Some(60));
        assert_eq!(limit("courtside diff a", 1, 15), Some(17));
        assert_eq!(limit("courtside diff a", 10, 100), Some(170));
        assert_eq!(limit("courtside diff a -d 5m", 10, 100), Some(300));
        assert_eq!(limit("courtside diff a -- true", 1, 40), None);
        assert_eq!(limit("courtside diff a -d 20s -- true", 1, 40), Some(20));
        let interval = |ns| interval("a.rec", ns).map(|interval| interval.as_nanos());
        assert_eq!(interval(0).unwrap(), 1_000_000_000);
        assert_eq!(interval(1).unwrap(), 10_000_000);
        assert!(interval(u64::MAX).is_err());
    }
}
