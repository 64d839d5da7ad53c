//! `guard`: watches what happens now, window after window.
//!
//! In: what to watch, what is usual, what may be done. Out: lines as they come. Must not know: how it is told who slows whom,
//! how limits are written.

use std::{path::Path, time::Duration};

use anyhow::Context;
use courtside_agent::{
    measure::{Kernel, Measurement},
    serve::Guards as _,
};

use super::{
    super::{
        args::GuardArgs,
        clock::Clock,
        output::{Output, Reader},
        report_probes, target,
        wait::{WaitEnd, Waiter},
    },
    Printer,
    watching::Watching,
};
use crate::frame::Merge;

/// How often the kernel's maps are read, and limits renewed, while one window lasts long.
const DRAIN_EVERY: Duration = Duration::from_secs(1);

pub(super) fn run(args: &GuardArgs, kernel: &dyn Kernel, root: &Path) -> anyhow::Result<u8> {
    let view = args.select.view();
    target::check(root, &view)?;
    let mut waiter = Waiter::new().context("cannot receive signals")?;
    // Before anything is attached, and while there are privileges.
    let (watching, read) = Watching::begin(&args.watch, &view, root)?;
    let mut printer = Printer {
        output: Output::open_for_later(&args.output.output, args.output.color, &read, root)?,
        format: args.output.format(),
    };
    let measurement = kernel.attach(&args.measure.wishes())?;
    report_probes(measurement.probes(), args.measure.verbose);
    kernel.drop_privileges()?;
    // What is written from here on is added.
    printer.output.place()?;
    watching.say_how_it_learns(&args.watch);
    let mut live = Live {
        measurement,
        begun: Merge::default(),
        watching,
        printer,
    };
    let mut reader = live.keep()?;
    let mut clock = Clock::start(args.duration, Some(args.interval), false).draining(DRAIN_EVERY);
    while reader == Reader::There {
        let event = waiter.until(clock.next(), None)?;
        if event != WaitEnd::Time || clock.is_over() {
            break;
        }
        reader = live.keep()?;
        if reader == Reader::There && clock.interval_is_over() {
            reader = live.window()?;
        } else if reader == Reader::There && clock.drain_is_over() {
            live.drain()?;
        }
    }
    live.end()?;
    Ok(0)
}

/// A guard, and who measures for it.
struct Live {
    measurement: Box<dyn Measurement>,
    /// Parts of the window that were read before its end.
    begun: Merge,
    watching: Watching,
    printer: Printer,
}

impl Live {
    /// Keeps limits; says at once what has become of them.
    fn keep(&mut self) -> anyhow::Result<Reader> {
        let lines = self.watching.keep();
        self.printer.print(&lines)
    }

    /// Ends the window, judges it, and does what follows.
    fn window(&mut self) -> anyhow::Result<Reader> {
        let mut frame = self.measurement.window()?;
        if self.begun.windows() > 0 {
            self.begun.add(frame);
            frame = std::mem::take(&mut self.begun).finish();
        }
        let lines = self.watching.see(&frame, None);
        self.printer.print(&lines)
    }

    /// Reads the window so far.
    fn drain(&mut self) -> anyhow::Result<()> {
        self.begun.add(self.measurement.window()?);
        Ok(())
    }

    /// Takes every limit back.
    fn end(mut self) -> anyhow::Result<()> {
        let lines = self.watching.end();
        self.printer.print(&lines)?;
        Ok(())
    }
}
