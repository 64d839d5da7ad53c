//! What is measured now, as if it had been recorded: for commands that take a recording or the live kernel.
//!
//! In: what to measure, for how long or while which command runs. Out: a recording that has no name, and the command, which
//! may go on for longer. Must not know: what is made of it.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, IsTerminal, Write},
    path::Path,
    time::Duration,
};

use anyhow::Context;
use courtside_agent::{
    measure::{Kernel, Measurement},
    recorder::Shared,
};
use rustix::process::Signal;
use tokio::process::Child;

use super::{
    args::{MeasureArgs, SelectArgs, nanoseconds},
    clock::Clock,
    record::{DRAIN_EVERY, header},
    report_probes, wait,
    wait::{WaitEnd, Waiter},
};
use crate::{
    frame::{Frame, Merge},
    record::{Bounds, Recorder, Recording, WriteError},
};

/// What can be done where what is measured finds no room.
const FULL: &str =
    "cannot keep what is measured; name a folder with enough room with: TMPDIR=FOLDER";

/// What is called so has no file.
pub(super) const NOW: &str = "now";

/// What is to be measured.
pub(super) struct Wanted<'a> {
    pub select: &'a SelectArgs,
    pub measure: &'a MeasureArgs,
    /// Length of a window.
    pub interval: Duration,
    /// Without a limit, until a signal comes or the command ends.
    pub limit: Option<Duration>,
    pub command: &'a [OsString],
    /// What the command prints goes to stderr: a program reads our stdout.
    pub aside: bool,
    /// Single events as well.
    pub events: bool,
}

/// What was measured.
pub(super) struct Measured {
    /// Nothing if not one window came to its end.
    pub recording: Option<Recording>,
    end: WaitEnd,
    child: Option<Child>,
    waiter: Waiter,
}

impl Measured {
    /// Waits for the command, if it is still at work: its exit status, or 0 if there is none.
    pub(super) fn status(self) -> anyhow::Result<u8> {
        let mut waiter = self.waiter;
        match (self.end, self.child) {
            (WaitEnd::Ended(status), _) => Ok(wait::exit_code(status)),
            (end, Some(mut child)) => {
                if end == WaitEnd::Signal {
                    wait::send(&child, Signal::TERM);
                }
                Ok(wait::exit_code(waiter.wait_for(&mut child)?))
            }
            (_, None) => Ok(0),
        }
    }
}

/// Attaches, starts the command, gives privileges up, and measures window after window.
pub(super) fn measure(
    wanted: &Wanted<'_>,
    kernel: &dyn Kernel,
    root: &Path,
) -> anyhow::Result<Measured> {
    let mut waiter = Waiter::new().context("cannot receive signals")?;
    // Of any length, and gone with us; the memory that windows take stays small.
    let file = tempfile::tempfile().context(FULL)?;
    let wishes = wanted.measure.wishes();
    let recorder = Shared::default();
    let measurement = if wanted.events {
        kernel.attach_with_events(&wishes, recorder.sink())
    } else {
        kernel.attach(&wishes)
    }?;
    report_probes(measurement.probes(), wanted.measure.verbose);
    let header = header(
        wanted.select,
        wanted.interval,
        wanted.command,
        measurement.probes(),
        root,
    );
    let begun = Recorder::new(file.try_clone()?, None, &header, Bounds::default())?;
    recorder.begin(begun).context(FULL)?;
    let windows = Windows {
        measurement,
        recorder,
        begun: Merge::default(),
        // What happened in the last moment counts where it is told event by event.
        least_ns: if wanted.events {
            0
        } else {
            nanoseconds(wanted.interval / 2)
        },
    };
    let mut child = match wanted.command.first() {
        Some(name) => Some(
            waiter
                .spawn(wanted.command, wanted.aside)
                .with_context(|| format!("cannot run {}", name.display()))?,
        ),
        None => None,
    };
    kernel.drop_privileges()?;
    let show_progress = child.is_none() && io::stderr().is_terminal();
    let clock = Clock::start(wanted.limit, Some(wanted.interval), show_progress);
    let mut clock = if wanted.interval > DRAIN_EVERY {
        clock.draining(DRAIN_EVERY)
    } else {
        clock
    };
    let measured = windows.measure(&mut waiter, &mut clock, child.as_mut());
    clock.clear_progress();
    let (end, count) = measured?;
    let recording = (count > 0).then(|| read(file)).transpose()?;
    Ok(Measured {
        recording,
        end,
        child,
        waiter,
    })
}

fn read(file: File) -> anyhow::Result<Recording> {
    Ok(Recording::from_source(Path::new(NOW), Box::new(file))?)
}

/// A measurement under way.
struct Windows {
    measurement: Box<dyn Measurement>,
    recorder: Shared,
    /// Parts of the window that were read before its end.
    begun: Merge,
    /// A last window that is shorter was cut short: its values would scatter more than the others'.
    least_ns: u64,
}

impl Windows {
    /// Measures until it is over; says what ended it, and how many windows there are. Nothing is attached any more then.
    fn measure(
        mut self,
        waiter: &mut Waiter,
        clock: &mut Clock,
        mut child: Option<&mut Child>,
    ) -> anyhow::Result<(WaitEnd, u64)> {
        loop {
            let end = waiter.until(clock.next(), child.as_deref_mut())?;
            if end != WaitEnd::Time || clock.is_over() {
                let last = self.measurement.finish()?;
                let last = self.whole(last);
                if last.duration_ns >= self.least_ns {
                    self.write(&last)?;
                }
                return Ok((end, self.recorder.finish()?.windows));
            }
            if clock.interval_is_over() {
                let frame = self.measurement.window()?;
                let frame = self.whole(frame);
                self.write(&frame)?;
            } else if clock.drain_is_over() {
                self.begun.add(self.measurement.window()?);
            }
            let limit = clock.limit().map(humantime::format_duration);
            clock.show_progress(|elapsed| {
                let of = limit.map_or_else(String::new, |limit| format!(" of {limit}"));
                format!("measuring: {elapsed}s{of}, Ctrl-C ends it")
            });
        }
    }

    /// The window that this frame ends.
    fn whole(&mut self, frame: Frame) -> Frame {
        if self.begun.windows() == 0 {
            return frame;
        }
        self.begun.add(frame);
        std::mem::take(&mut self.begun).finish()
    }

    fn write(&mut self, frame: &Frame) -> anyhow::Result<()> {
        let early = self.recorder.take_lost();
        let with_lost = (early > 0).then(|| {
            let mut frame = frame.clone();
            let events = frame.lost.entry("events".to_owned()).or_default();
            *events = events.saturating_add(early);
            frame
        });
        match self.recorder.frame(with_lost.as_ref().unwrap_or(frame)) {
            Err(error @ WriteError::Io { .. }) => Err(error).context(FULL),
            Err(error) => {
                // One window is missing, and the next may fit again.
                let _ = writeln!(io::stderr(), "courtside: a window is left out: {error}");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }
}
