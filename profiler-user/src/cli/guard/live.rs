//! `guard`: watches what happens now, window after window.
//!
//! In: what to watch, what is usual, what may be done. Out: lines as they come. Must not know: how it is told who slows whom,
//! how limits are written.

use std::{io::Write, path::Path, time::Duration};

use anyhow::Context;
use courtside_agent::measure::{Kernel, Measurement};

use super::{
    super::{
        args::GuardArgs,
        clock::Clock,
        output::{Output, Reader},
        report_probes, target,
        wait::{WaitEnd, Waiter},
    },
    Printer, begin, everything, hold,
    limits::Limits,
    state,
    victims::Victims,
};
use crate::{
    analysis::guard::{Act, Actuator as _, Controller, Guard, LEARN_WINDOWS, Mode, inputs},
    frame::Merge,
    model::{
        State, View, fold,
        interference::{EventKind, Interference},
    },
};

/// How often the kernel's maps are read, and limits renewed, while one window lasts long.
const DRAIN_EVERY: Duration = Duration::from_secs(1);

pub(super) fn run(args: &GuardArgs, kernel: &dyn Kernel, root: &Path) -> anyhow::Result<u8> {
    let view = args.select.view();
    target::check(root, &view)?;
    let (guard, read) = begin(&args.judge)?;
    let folder = state::folder(&args.state, root)?;
    let _only = state::lock(&folder)?;
    let mut printer = Printer {
        output: Output::open_for_later(&args.output.output, args.output.color, &read, root)?,
        format: args.output.format(),
    };
    let act: Act = args.act.into();
    let mut waiter = Waiter::new().context("cannot receive signals")?;
    // Before anything is attached, and while there are privileges.
    let limits = Limits::new(root, &folder, &args.allow, act == Act::Cap)?;
    let left = if limits.acts() {
        Vec::new()
    } else {
        hold::left_behind(&folder)?
    };
    let measurement = kernel.attach(&args.measure.wishes())?;
    report_probes(measurement.probes(), args.measure.verbose);
    kernel.drop_privileges()?;
    // What is written from here on is added.
    printer.output.place()?;
    if args.judge.spec.is_none() {
        let first = match guard.mode() {
            Mode::Courtside => format!("its first {LEARN_WINDOWS} windows"),
            Mode::Paper => "ten seconds of each of ten minutes".to_owned(),
        };
        // Words that nobody reads are no reason to stop.
        let _ = writeln!(
            std::io::stderr(),
            "courtside: without --spec it learns from {first} what is usual of a service; who slows it already counts as usual then"
        );
    }
    let mut watching = Watching {
        measurement,
        begun: Merge::default(),
        state: State::default(),
        seen: everything(&view),
        victims: Victims::new(&view),
        guard,
        controller: Controller::new(act, args.cap),
        limits,
        printer,
    };
    let lines: Vec<Interference> = left
        .into_iter()
        .map(|limit| taken_back(&hold::words(&limit)))
        .collect();
    let mut reader = watching.printer.print(&lines)?;
    let mut clock = Clock::start(args.duration, Some(args.interval), false).draining(DRAIN_EVERY);
    while reader == Reader::There {
        let event = waiter.until(clock.next(), None)?;
        if event != WaitEnd::Time || clock.is_over() {
            break;
        }
        watching.limits.renew();
        reader = if clock.interval_is_over() {
            watching.window()?
        } else if clock.drain_is_over() {
            watching.drain()?
        } else {
            Reader::There
        };
    }
    watching.end()?;
    Ok(0)
}

/// What an earlier guard had left; there may be no window yet whose end that could be told at.
fn taken_back(reason: &str) -> Interference {
    hold::line(EventKind::Released, None, reason)
}

/// A guard at work.
struct Watching {
    measurement: Box<dyn Measurement>,
    /// Parts of the window that were read before its end.
    begun: Merge,
    state: State,
    seen: View,
    victims: Victims,
    guard: Guard,
    controller: Controller,
    limits: Limits,
    printer: Printer,
}

impl Watching {
    /// Ends the window, judges it, and does what follows.
    fn window(&mut self) -> anyhow::Result<Reader> {
        let mut frame = self.measurement.window()?;
        if self.begun.windows() > 0 {
            self.begun.add(frame);
            frame = std::mem::take(&mut self.begun).finish();
        }
        let snapshot = fold(&mut self.state, &frame, &self.seen);
        self.limits.see(&frame, &snapshot, self.seen.group_by);
        let victims = self.victims.of(&frame, &snapshot);
        let watched = |id: &str| victims.as_ref().is_none_or(|ids| ids.contains(id));
        let window = inputs(&snapshot);
        let mut lines = self.guard.window(window, &watched);
        lines.extend(self.unclaimed());
        lines.extend(self.controller.step(&self.guard, &mut self.limits));
        self.printer.print(&lines)
    }

    /// Reads the window so far; says at once what has become of limits.
    fn drain(&mut self) -> anyhow::Result<Reader> {
        self.begun.add(self.measurement.window()?);
        let mut lines = self.unclaimed();
        lines.extend(self.controller.note_lost(&self.guard, &mut self.limits));
        self.printer.print(&lines)
    }

    /// What the helper took back that an earlier guard had left.
    fn unclaimed(&mut self) -> Vec<Interference> {
        if self.controller.holds() {
            return Vec::new();
        }
        let lost = self.limits.lost();
        lost.into_iter()
            .map(|(file, reason)| taken_back(&format!("{file}: {reason}")))
            .collect()
    }

    /// Takes every limit back.
    fn end(mut self) -> anyhow::Result<()> {
        let lines = self.controller.release_all(&self.guard, &mut self.limits);
        self.printer.print(&lines)?;
        Ok(())
    }
}
