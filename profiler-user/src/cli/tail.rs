//! `tail`: why the slowest requests at an entry are slow.
//!
//! In: recordings with single events, or how to measure now. Out: a table or JSON, and the status of the command that was
//! measured. Must not know: how a request is followed, how that is shown.

use std::{path::Path, time::Duration};

use courtside_agent::measure::Kernel;

use super::{
    args::{Format, TailArgs},
    now::{NOW, Wanted, measure},
    output::Output,
    place::Inputs,
    recorded, target,
    unused::Unused,
};
use crate::{
    analysis::tail::{CannotTell, Entries, Slowest},
    export::{json, tail},
    pass::Analysis as _,
    record::{Recorded, Recording},
};

/// So long is measured unless something else is asked for: of forty requests a second a dozen are slow ones then.
const LONG_ENOUGH: Duration = Duration::from_secs(30);
/// Length of a window that is measured.
const INTERVAL: Duration = Duration::from_secs(1);

pub(super) fn run(args: &TailArgs, kernel: &dyn Kernel, root: &Path) -> anyhow::Result<u8> {
    args.select.view().selection.check()?;
    if args.files.is_empty() {
        return of_now(args, kernel, root);
    }
    let mut inputs = Inputs::default();
    let mut recordings: Vec<(String, Recorded)> = Vec::new();
    let mut view = None;
    for path in &args.files {
        inputs = inputs.and(Inputs::of_recording(path));
        let recording = Recording::open(path)?;
        // All are seen alike.
        let view = view.get_or_insert_with(|| {
            let recorded = &recording.header().view;
            args.select.or_recorded(recorded).view()
        });
        let recorded = recorded::seen(path, recording, None, view.clone(), None)?;
        recordings.push((path.display().to_string(), with_events(path, recorded)?));
    }
    let mut output = Output::open(&args.output.output, args.output.color, &inputs)?;
    tell(args, &recordings, &mut output)?;
    Ok(0)
}

/// Measures, and tells of that; the status is that of the command.
fn of_now(args: &TailArgs, kernel: &dyn Kernel, root: &Path) -> anyhow::Result<u8> {
    let view = args.select.view();
    target::check(root, &view)?;
    let to = &args.output;
    let mut output = Output::open_for_later(&to.output, to.color, &Inputs::default(), root)?;
    let wanted = Wanted {
        select: &args.select,
        measure: &args.measure,
        interval: INTERVAL,
        limit: limit(args),
        command: &args.command,
        aside: to.format() != Format::Table && output.is_stdout(),
        events: true,
    };
    let mut measured = measure(&wanted, kernel, root)?;
    let now = Path::new(NOW);
    let told = match measured.recording.take() {
        None => Err(CannotTell::NoEntry.into()),
        Some(recording) => recorded::seen(now, recording, None, view, None)
            .and_then(|recorded| with_events(now, recorded))
            .and_then(|recorded| tell(args, &[(NOW.to_owned(), recorded)], &mut output)),
    };
    // The command may go on for longer than is measured.
    let status = measured.status()?;
    told?;
    Ok(status)
}

/// How long it is measured: as asked for, until the command ends, or long enough.
fn limit(args: &TailArgs) -> Option<Duration> {
    if args.duration.is_none() && args.command.is_empty() {
        return Some(LONG_ENOUGH);
    }
    args.duration
}

fn with_events(path: &Path, recorded: Recorded) -> anyhow::Result<Recorded> {
    if !recorded.has_events() {
        let file = path.display().to_string();
        return Err(CannotTell::NoEvents { file }.into());
    }
    Ok(recorded)
}

/// Finds the slowest requests, and prints why they are.
fn tell(
    args: &TailArgs,
    recordings: &[(String, Recorded)],
    output: &mut Output,
) -> anyhow::Result<()> {
    let mut unused = Unused::new(&args.select.entry);
    let mut slowest = Slowest::new(args.exemplars);
    if recordings.len() > 1 {
        // Which entry is the busiest of all has to be known before the first event.
        let mut entries = Entries::default();
        for (_, recorded) in recordings {
            recorded.pass(&mut [&mut entries])?;
        }
        if let Some((component, port)) = entries.busiest() {
            slowest = slowest.at(&component, port);
        }
    }
    for (file, recorded) in recordings {
        slowest.begin(file);
        recorded.pass(&mut [&mut slowest, &mut unused])?;
    }
    unused.report()?;
    let found = slowest.finish()?;
    output.write(match args.output.format() {
        Format::Json => json::to_string(&found)?,
        Format::Table => tail::render(&found, output.style()),
    })?;
    output.place()
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, fs};

    use clap::Parser;
    use courtside_agent::measure::Measurement;
    use serde_json::Value;

    use super::*;
    use crate::{
        cli::args::{Cli, Command},
        collect::{Sink, Wishes},
        event::Event,
        fixture::{
            frames,
            requests::{BATCH, HOG, Meets, USUAL_NS, events},
        },
        frame::{Frame, ProbeStatus},
    };

    const TCP: u8 = 1;
    const SECOND: u64 = 1_000_000_000;
    /// When the events begin, on the clock of the kernel, and what makes wall-clock time of that.
    const BEGIN_NS: u64 = 1000 * SECOND;

    /// A kernel in which a hundredth of the requests meet a hog.
    struct Fake {
        requests: usize,
        wishes: RefCell<Option<Wishes>>,
    }

    struct Chain {
        windows: u64,
    }

    impl Kernel for Fake {
        fn attach(&self, _: &Wishes) -> anyhow::Result<Box<dyn Measurement>> {
            anyhow::bail!("single events are wanted")
        }

        fn attach_with_events(
            &self,
            wishes: &Wishes,
            mut sink: Sink,
        ) -> anyhow::Result<Box<dyn Measurement>> {
            *self.wishes.borrow_mut() = Some(wishes.clone());
            let meets = |n: usize| match n % 100 {
                37 => Meets::Hog(7_000_000),
                _ => Meets::Nothing,
            };
            let all: Vec<Event> = events(BEGIN_NS + 1, TCP, (0..self.requests).map(meets));
            let offset_ns = frames::chain(1).start_unix_ns - BEGIN_NS;
            let offset_ns = i64::try_from(offset_ns)?;
            // They come while it is attached, before there is a file.
            for batch in all.chunks(1000) {
                sink(batch, offset_ns)?;
            }
            Ok(Box::new(Chain { windows: 0 }))
        }

        fn drop_privileges(&self) -> anyhow::Result<()> {
            Ok(())
        }
    }

    impl Measurement for Chain {
        fn window(&mut self) -> anyhow::Result<Frame> {
            let mut frame = frames::chain(100);
            frame.start_unix_ns += self.windows * SECOND;
            frame.duration_ns = 5 * SECOND;
            frame.images.push(frames::image(HOG, "hog", &[]));
            frame.images.push(frames::image(BATCH, "batch", &[]));
            self.windows += 1;
            Ok(frame)
        }

        fn probes(&self) -> &[ProbeStatus] {
            &[]
        }
    }

    fn parsed(arguments: &[&str]) -> TailArgs {
        let line = ["courtside", "tail"].iter().chain(arguments);
        match Cli::try_parse_from(line).unwrap().command {
            Some(Command::Tail(args)) => args,
            other => panic!("{other:?}"),
        }
    }

    /// Runs `tail` over so many requests that happen now; status and output.
    fn with(requests: usize, arguments: &[&str]) -> anyhow::Result<(u8, String)> {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let arguments = [&["-o", out.to_str().unwrap()], arguments].concat();
        let kernel = Fake {
            requests,
            wishes: RefCell::default(),
        };
        let status = run(&parsed(&arguments), &kernel, Path::new("/"));
        assert!(kernel.wishes.borrow().is_some(), "not attached: {status:?}");
        Ok((status?, fs::read_to_string(out).unwrap()))
    }

    #[test]
    fn what_makes_requests_slow_now_is_told() {
        let (status, text) = with(1000, &["-d", "10ms", "--json", "--exemplars", "2"]).unwrap();
        assert_eq!(status, 0);
        let tail: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(tail["source"]["files"], serde_json::json!(["now"]));
        assert_eq!(tail["requests"], 1000);
        assert_eq!(tail["median"]["mean_ns"], USUAL_NS as f64);
        let first = &tail["differences"][0];
        assert_eq!(first["component"], "program:web");
        assert_eq!(first["part"], "run_queue");
        assert_eq!(first["more_ns"], 7e6 - 3e3);
        assert_eq!(first["by"][0]["component"], "program:hog");
        assert_eq!(tail["exemplars"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn a_commands_status_is_passed_on_after_what_was_told() {
        let arguments = ["--entry", "web:80", "--", "sh", "-c", "exit 7"];
        let (status, text) = with(300, &arguments).unwrap();
        assert_eq!(status, 7);
        assert!(text.contains("hog 7.00 ms"), "{text}");
    }

    #[test]
    fn what_cannot_be_told_of_now_is_said() {
        let said =
            |requests, arguments: &[&str]| format!("{:#}", with(requests, arguments).unwrap_err());
        let few = said(40, &["-d", "10ms"]);
        assert!(
            few.contains("served 40 requests that have a time") && few.contains("record --events"),
            "{few}"
        );
        let nowhere = said(300, &["-d", "10ms", "--entry", "nobody"]);
        assert!(nowhere.contains("there is no entry nobody"), "{nowhere}");
    }

    #[test]
    fn it_is_measured_for_as_long_as_asked_for_or_the_command_runs() {
        let limit = |arguments: &[&str]| limit(&parsed(arguments)).map(|limit| limit.as_secs());
        assert_eq!(limit(&[]), Some(30));
        assert_eq!(limit(&["-d", "5m"]), Some(300));
        assert_eq!(limit(&["--", "true"]), None);
        assert_eq!(limit(&["-d", "20s", "--", "true"]), Some(20));
    }
}
