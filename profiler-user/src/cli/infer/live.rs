//! `infer` of what is measured now: the answer at the end, and with `--live` while it runs.
//!
//! In: what to measure, for how long or while which command runs. Out: answers, and the command's exit status. Must not know:
//! how anything is told.

use std::{
    io::{self, IsTerminal, Write},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use courtside_agent::{
    measure::{Kernel, Measurement},
    queue::Queue,
};
use tokio::process::Child;

use super::{
    super::{
        args::{Format, InferArgs},
        clock::Clock,
        now::NOW,
        output::{Output, Reader},
        place::Inputs,
        report_probes, target,
        unused::Unused,
        wait::{WaitEnd, Waiter},
    },
    tell,
};
use crate::{
    analysis::infer::{CannotTell, Inferring},
    export::{infer as tables, json},
    frame::Frame,
    model::inference::Inference,
    pass::{Analysis as _, Consumer, Needs, PassWindow, Seen},
    stream::Stream,
};

/// So long is measured, if nothing else was asked for.
const USUAL: Duration = Duration::from_secs(30);
/// Longest window, and the usual time between two answers on a terminal.
const WINDOW: Duration = Duration::from_secs(1);
/// How often events are taken to be looked at: what waits has a limit.
const LOOK_EVERY: Duration = Duration::from_millis(200);

pub(super) fn run(args: &InferArgs, kernel: &dyn Kernel, root: &Path) -> anyhow::Result<u8> {
    let view = args.select.view();
    target::check(root, &view)?;
    let to = &args.output;
    let output = Output::open_for_later(&to.output, to.color, &Inputs::default(), root)?;
    let mut waiter = Waiter::new().context("cannot receive signals")?;
    let queue = Queue::default();
    let measurement = kernel.attach_with_events(&args.measure.wishes(), queue.sink())?;
    report_probes(measurement.probes(), args.measure.verbose);
    let aside = to.format() != Format::Table && output.is_stdout();
    let mut child = match args.measured.first() {
        Some(name) => Some(
            waiter
                .spawn(&args.measured, aside)
                .with_context(|| format!("cannot run {}", name.display()))?,
        ),
        None => None,
    };
    kernel.drop_privileges()?;
    let limit = match args.duration {
        None if child.is_none() => Some(USUAL),
        given => given,
    };
    let mut answers = Answers::new(args, output, child.is_some());
    let (window, each) = windows(args.interval.unwrap_or(WINDOW));
    let progress = child.is_none() && !answers.on_screen && io::stderr().is_terminal();
    let mut clock = Clock::start(limit, Some(window), progress);
    if window > LOOK_EVERY {
        clock = clock.draining(LOOK_EVERY);
    }
    let stream = Stream::new(view.clone());
    let inferring = Inferring::new(NOW).of(&view.selection);
    let mut watching = Watching {
        measurement,
        queue,
        stream,
        seeing: Seeing {
            inferring: inferring.what_if(&args.what_if).live(),
            unused: Unused::new(&args.select.entry),
        },
    };
    let measured = watching.measure(&mut waiter, &mut clock, child.as_mut(), &mut answers, each);
    clock.clear_progress();
    let end = measured?;
    let told = watching.end(&mut answers);
    // The command may go on for longer than is measured; nothing is attached any more then.
    let status = waiter.outlast(end, child)?;
    told.map(|()| status)
}

/// Length of a window, at most as long as between two answers, and how many windows that is.
fn windows(interval: Duration) -> (Duration, u32) {
    let each = interval.as_nanos().div_ceil(WINDOW.as_nanos()).max(1);
    let each = u32::try_from(each).unwrap_or(u32::MAX);
    (interval / each, each)
}

/// Who gets windows and events.
struct Seeing {
    inferring: Inferring,
    unused: Unused,
}

impl Consumer for Seeing {
    fn needs(&self) -> Needs {
        Needs::Events
    }

    fn window(&mut self, window: &PassWindow<'_>) -> anyhow::Result<()> {
        self.unused.look(window.snapshot);
        self.inferring.window(window)
    }

    fn event(&mut self, seen: &Seen<'_>) -> anyhow::Result<()> {
        self.inferring.event(seen)
    }
}

/// A measurement, and what is seen of it so far.
struct Watching {
    measurement: Box<dyn Measurement>,
    queue: Queue,
    stream: Stream,
    seeing: Seeing,
}

impl Watching {
    /// Measures until it is over, with answers in between after so many windows; says what ended it.
    fn measure(
        &mut self,
        waiter: &mut Waiter,
        clock: &mut Clock,
        mut child: Option<&mut Child>,
        answers: &mut Answers<'_>,
        each: u32,
    ) -> anyhow::Result<WaitEnd> {
        let mut windows = 0;
        loop {
            let end = waiter.until(clock.next(), child.as_deref_mut())?;
            if end != WaitEnd::Time || clock.is_over() {
                return Ok(end);
            }
            self.look();
            if clock.interval_is_over() {
                let frame = self.measurement.window()?;
                self.window(frame)?;
                windows += 1;
                if answers.between && windows >= each {
                    windows = 0;
                    let found = self.seeing.inferring.clone().finish();
                    if answers.between(&found)? == Reader::Gone {
                        return Ok(end);
                    }
                }
            } else if clock.drain_is_over() {
                self.stream.give(&mut self.seeing)?;
            }
            let limit = clock.limit().map(humantime::format_duration);
            clock.show_progress(|elapsed| {
                let of = limit.map_or_else(String::new, |limit| format!(" of {limit}"));
                format!("measuring: {elapsed}s{of}, Ctrl-C ends it")
            });
        }
    }

    /// Takes the events that have come.
    fn look(&mut self) {
        for (events, offset_ns) in self.queue.take() {
            self.stream.hold(events, offset_ns);
        }
    }

    /// A window has ended.
    fn window(&mut self, mut frame: Frame) -> anyhow::Result<()> {
        self.look();
        let more = self.queue.take_lost();
        let more = more.saturating_add(self.stream.take_lost());
        if more > 0 {
            let lost = frame.lost.entry("events".to_owned()).or_default();
            *lost = lost.saturating_add(more);
        }
        self.stream.window(&frame, &mut self.seeing)?;
        self.stream.give(&mut self.seeing)
    }

    /// Nothing is measured any more: the last window, and the answer.
    fn end(mut self, answers: &mut Answers<'_>) -> anyhow::Result<()> {
        let frame = self.measurement.finish()?;
        self.window(frame)?;
        drop(self.measurement);
        self.stream.finish(&mut self.seeing)?;
        self.seeing.unused.report()?;
        answers.last(self.seeing.inferring.finish())
    }
}

/// Where answers go.
struct Answers<'a> {
    args: &'a InferArgs,
    output: Output,
    /// There are answers while it is measured.
    between: bool,
    /// Each takes the place of the one before.
    on_screen: bool,
    /// Lines of the last one that stand on the screen.
    lines: usize,
    begun: Instant,
    /// It was said why nothing can be told yet.
    said: bool,
}

impl<'a> Answers<'a> {
    fn new(args: &'a InferArgs, output: Output, command: bool) -> Self {
        let table = args.output.format() == Format::Table;
        // What a command prints would be written over.
        let screen = output.is_stdout() && io::stdout().is_terminal() && !command;
        let on_screen = args.live && table && screen;
        Self {
            between: args.interval.is_some() || on_screen,
            on_screen,
            args,
            output,
            lines: 0,
            begun: Instant::now(),
            said: false,
        }
    }

    /// What can be told so far.
    fn between(&mut self, found: &Result<Inference, CannotTell>) -> anyhow::Result<Reader> {
        let style = self.output.style();
        let text = match (found, self.args.output.format()) {
            (Ok(found), Format::Json) => json::line_of(found)?,
            (Ok(found), Format::Table) => tables::brief(found, style),
            (Err(why), Format::Table) if self.on_screen => tables::not_yet(&so_far(why), style),
            (Err(why), _) => {
                if !std::mem::replace(&mut self.said, true) {
                    let after = self.begun.elapsed().as_secs();
                    // Remarks that nobody can read are no reason to stop.
                    let _ = writeln!(
                        io::stderr(),
                        "courtside: cannot tell after {after} s: {}",
                        so_far(why)
                    );
                }
                return Ok(Reader::There);
            }
        };
        let text = match (self.on_screen, self.args.output.format()) {
            (true, _) => {
                let lines = text.lines().count();
                let before = std::mem::replace(&mut self.lines, lines);
                over(before) + &text
            }
            (false, Format::Table) => text + "\n",
            (false, Format::Json) => text,
        };
        let reader = self.output.write(text)?;
        self.output.place()?;
        Ok(reader)
    }

    /// The answer.
    fn last(&mut self, found: Result<Inference, CannotTell>) -> anyhow::Result<()> {
        if self.lines > 0 {
            self.output.write(over(std::mem::take(&mut self.lines)))?;
        }
        let found = found?;
        if self.between && self.args.output.format() == Format::Json {
            self.output.write(json::line_of(&found)?)?;
            return self.output.place();
        }
        tell(self.args, &found, &mut self.output)
    }
}

/// Why nothing can be told yet.
fn so_far(why: &CannotTell) -> String {
    match why {
        CannotTell::NoEvents { .. } => "no single event has come yet".to_owned(),
        CannotTell::NoMessages { .. } => why.to_string(),
    }
}

/// What makes a terminal forget so many lines above.
fn over(lines: usize) -> String {
    if lines == 0 {
        return String::new();
    }
    format!("\x1b[{lines}A\r\x1b[J")
}

#[cfg(test)]
#[path = "live_tests.rs"]
mod tests;
