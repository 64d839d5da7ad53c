//! A guard at work, whoever measures: it judges windows, and does what follows.
//!
//! In: what to watch, what is usual, what may be done; windows. Out: lines. Must not know: how it is told who slows whom, how
//! limits are written, where lines go.

use std::{io::Write, path::Path};

use courtside_agent::serve::{Guards, Slow, Standing};

use super::{
    super::args::WatchArgs, begin, everything, hold, limits::Limits, state, victims::Victims,
};
use crate::{
    analysis::guard::{Act, Actuator as _, Controller, Guard, LEARN_WINDOWS, Mode, inputs},
    cli::place::Inputs,
    frame::Frame,
    model::{
        Selection, Snapshot, State, View, fold,
        interference::{EventKind, Interference},
        judgement,
    },
};

/// A guard at work.
pub(in crate::cli) struct Watching {
    state: State,
    /// How everybody is seen.
    seen: View,
    /// Whether that is how windows are shown.
    shows_everybody: bool,
    victims: Victims,
    guard: Guard,
    controller: Controller,
    limits: Limits,
    /// What an earlier guard had left.
    left: Vec<Interference>,
    /// Services of the last window that had enough requests.
    served: Vec<String>,
    /// One guard on a host.
    _lock: state::Lock,
}

impl Watching {
    /// Begins, before anything is attached and while there are privileges. Says which files were read.
    pub(in crate::cli) fn begin(
        args: &WatchArgs,
        view: &View,
        root: &Path,
    ) -> anyhow::Result<(Self, Inputs)> {
        let (guard, read) = begin(&args.judge)?;
        let folder = state::folder(&args.state, root)?;
        let lock = state::lock(&folder)?;
        let act: Act = args.act.into();
        let limits = Limits::new(root, &folder, &args.allow, act == Act::Cap)?;
        let left = if limits.acts() {
            Vec::new()
        } else {
            hold::left_behind(&folder, &lock)?
        };
        let left = left.iter().map(|limit| taken_back(&hold::words(limit)));
        let watching = Self {
            state: State::default(),
            seen: everything(view),
            shows_everybody: view.selection == Selection::default(),
            victims: Victims::new(view),
            guard,
            controller: Controller::new(act, args.cap),
            limits,
            left: left.collect(),
            served: Vec::new(),
            _lock: lock,
        };
        Ok((watching, read))
    }

    /// Says what it learns from, if it does.
    pub(in crate::cli) fn say_how_it_learns(&self, args: &WatchArgs) {
        if args.judge.spec.is_some() {
            return;
        }
        let first = match self.guard.mode() {
            Mode::Courtside => format!("its first {LEARN_WINDOWS} windows"),
            Mode::Paper => "ten seconds of each of ten minutes".to_owned(),
        };
        // Words that nobody reads are no reason to stop.
        let _ = writeln!(
            std::io::stderr(),
            "courtside: without --spec it learns from {first} what is usual of a service; who slows it already counts as usual then"
        );
    }

    /// Takes a window, and what is shown of it if everybody is in that: of all windows, or of none.
    pub(in crate::cli) fn see(
        &mut self,
        frame: &Frame,
        shown: Option<&Snapshot>,
    ) -> Vec<Interference> {
        match shown {
            Some(all) => self.judge(frame, all),
            None => {
                let all = fold(&mut self.state, frame, &self.seen);
                self.judge(frame, &all)
            }
        }
    }

    /// What the helper took back that an earlier guard had left.
    fn unclaimed(&mut self) -> Vec<Interference> {
        let mut lines = std::mem::take(&mut self.left);
        if !self.controller.holds() {
            let lost = self.limits.lost().into_iter();
            lines.extend(lost.map(|(file, reason)| taken_back(&format!("{file}: {reason}"))));
        }
        lines
    }

    fn judge(&mut self, frame: &Frame, all: &Snapshot) -> Vec<Interference> {
        self.limits.see(frame, all, self.seen.group_by);
        let victims = self.victims.of(frame, all);
        let watched = |id: &str| victims.as_ref().is_none_or(|ids| ids.contains(id));
        let window = inputs(all);
        let served = window.components.iter();
        self.served = served
            .filter(|(id, used)| watched(id) && window.has_value(used))
            .map(|(id, _)| id.clone())
            .collect();
        let mut lines = self.guard.window(window, &watched);
        lines.extend(self.unclaimed());
        lines.extend(self.controller.step(&self.guard, &mut self.limits));
        lines
    }
}

/// What an earlier guard had left; there may be no window yet whose end that could be told at.
fn taken_back(reason: &str) -> Interference {
    hold::line(EventKind::Released, None, reason)
}

impl Guards for Watching {
    fn window(&mut self, frame: &Frame, shown: &Snapshot) -> Vec<Interference> {
        self.see(frame, Some(shown).filter(|_| self.shows_everybody))
    }

    fn keep(&mut self) -> Vec<Interference> {
        self.limits.renew();
        let mut lines = self.unclaimed();
        lines.extend(self.controller.note_lost(&self.guard, &mut self.limits));
        lines
    }

    fn end(&mut self) -> Vec<Interference> {
        self.controller.release_all(&self.guard, &mut self.limits)
    }

    fn standing(&self) -> Standing {
        let knows = |id: &&String| self.guard.standing(id) == judgement::Standing::Judged;
        let judged = self.served.iter().filter(knows).count();
        let slow = self.guard.anomalies().map(|(victim, signal, anomaly)| {
            let first = anomaly.suspects.first();
            Slow {
                victim: victim.to_owned(),
                signal,
                excused: anomaly.excused,
                by: first.map(|suspect| suspect.component.clone()),
            }
        });
        Standing {
            windows: self.guard.windows(),
            judged: judged as u64,
            learning: self.served.len().saturating_sub(judged) as u64,
            slow: slow.collect(),
            limits: self.controller.held() as u64,
        }
    }
}
