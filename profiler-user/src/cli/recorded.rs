//! The windows of a recording, those that were asked for, folded as they would have been live.
//!
//! In: a file, a choice of windows, a view. Out: frames and snapshots in order; words on stderr about what is damaged.
//! Must not know: what is done with them.

use std::{
    io::{self, Write},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    rc::Rc,
    str::FromStr,
    time::Duration,
};

use anyhow::{Context, bail, ensure};

use super::{
    args::{SelectArgs, nanoseconds},
    recut::recut,
};
use crate::{
    event::Event,
    export::events::{Named, Teller, Told, Who},
    frame::{Frame, Merge},
    model::{
        REMEMBERED_WINDOWS, Snapshot, State, View, fold,
        turnarounds::{Turnaround, Turnarounds},
        who_is_who,
    },
    record::{ReadError, Recording, Window},
};

/// What happened in windows before the first one that was asked for still tells who serves; the fold forgets it after
/// so many.
const WARM_UP: usize = REMEMBERED_WINDOWS as usize;

/// Windows by number, from 0: one, or the first and the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range(RangeInclusive<usize>);

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse::<usize>().ok();
        let range = match text.split_once("..") {
            None => number(text).map(|n| n..=n),
            Some((first, last)) => match (number(first), number(last)) {
                (Some(first), Some(last)) if first <= last => Some(first..=last),
                _ => None,
            },
        };
        range.map(Self).ok_or_else(|| {
            "give a window by its number, from 0, or a first and a last one, as in 30..90"
                .to_owned()
        })
    }
}

/// The windows that were asked for.
pub(super) struct Recorded {
    path: PathBuf,
    recording: Recording,
    /// Where the single events are, if these windows were made of them.
    uncut: Option<Recording>,
    range: RangeInclusive<usize>,
    view: View,
}

impl Recorded {
    /// Opens a recording, in windows of another length if one is given. Where nothing is selected it is seen as whoever
    /// recorded it wanted to.
    pub(super) fn open(
        path: &Path,
        range: Option<&Range>,
        select: &SelectArgs,
        interval: Option<Duration>,
    ) -> anyhow::Result<Self> {
        select.view().selection.check()?;
        let recording = Recording::open(path)?;
        let view = select.or_recorded(&recording.header().view).view();
        for fault in recording.faults() {
            say(path, &format!("{fault}; the rest is read"));
        }
        let cut = match interval {
            Some(interval) if recording.windows().len() > 0 => {
                recut(path, &recording, nanoseconds(interval))
                    .with_context(|| format!("cutting {} into other windows", path.display()))?
            }
            _ => None,
        };
        let (recording, uncut) = match cut {
            Some(cut) => (cut, Some(recording)),
            None => (recording, None),
        };
        let Some(last) = recording.windows().len().checked_sub(1) else {
            bail!(
                "{} holds no whole window: recording ended too soon; record again with: courtside record -o FILE",
                path.display()
            );
        };
        let range = range.map_or(0..=last, |range| range.0.clone());
        ensure!(
            *range.end() <= last,
            "{} has no window {}: it has 0 to {last}",
            path.display(),
            range.end()
        );
        Ok(Self {
            path: path.to_owned(),
            recording,
            uncut,
            range,
            view,
        })
    }

    pub(super) fn recording(&self) -> &Recording {
        &self.recording
    }

    pub(super) fn view(&self) -> &View {
        &self.view
    }

    /// Hands on each window, with its number. A damaged one is left out, and told.
    pub(super) fn frames(
        &self,
        mut take: impl FnMut(usize, Frame) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut read = 0usize;
        for number in self.range.clone() {
            match self.recording.frame(number) {
                Ok(frame) => {
                    read += 1;
                    take(number, frame)?;
                }
                Err(ReadError::Fault(fault)) => {
                    say(&self.path, &format!("window {number} is left out: {fault}"));
                }
                Err(error) => {
                    return Err(error)
                        .with_context(|| format!("cannot read {}", self.path.display()));
                }
            }
        }
        ensure!(
            read > 0,
            "every window of {} that was asked for is damaged",
            self.path.display()
        );
        Ok(())
    }

    /// Folds each window on its own.
    pub(super) fn snapshots(
        &self,
        mut take: impl FnMut(usize, &Snapshot) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut state = self.state_before(*self.range.start());
        self.frames(|number, frame| take(number, &fold(&mut state, &frame, &self.view)))
    }

    /// Whether single events were recorded.
    pub(super) fn has_events(&self) -> bool {
        self.with_events().has_events()
    }

    fn with_events(&self) -> &Recording {
        self.uncut.as_ref().unwrap_or(&self.recording)
    }

    /// Hands on each single event in the time of the windows, with the number of its window. Damage is told.
    pub(super) fn events(
        &self,
        mut take: impl FnMut(usize, &Told) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        if !self.has_events() {
            return Ok(());
        }
        let windows: Vec<Window> = self.recording.windows().collect();
        let time = self.time();
        let mut teller = Teller::new(self.who());
        self.each_event(time.end, |event, offset_ns| {
            let told = teller.tell(&event, offset_ns);
            if time.contains(&told.time_unix_ns) {
                let after = windows.partition_point(|w| w.start_unix_ns <= told.time_unix_ns);
                take(after.saturating_sub(1), &told)?;
            }
            Ok(())
        })
    }

    /// Hands on each single event in the time of the windows, each send with the turnaround that it ended, by the wall
    /// clock. Damage is told.
    pub(super) fn turnarounds(
        &self,
        mut take: impl FnMut(&Told, Option<&Turnaround>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let time = self.time();
        let mut teller = Teller::new(self.who());
        let mut turnarounds = Turnarounds::default();
        let mut offset_ns = 0;
        let mut tell = |turnarounds: &mut Turnarounds, offset_ns, at_end| {
            while let Some((event, turnaround)) = turnarounds.next(at_end) {
                let told = teller.tell(&event, offset_ns);
                let turnaround = turnaround.map(|turnaround| Turnaround {
                    from_ns: turnaround.from_ns.wrapping_add_signed(offset_ns),
                    to_ns: turnaround.to_ns.wrapping_add_signed(offset_ns),
                    ..turnaround
                });
                if time.contains(&told.time_unix_ns) {
                    take(&told, turnaround.as_ref())?;
                }
            }
            anyhow::Ok(())
        };
        self.each_event(time.end, |event, offset| {
            offset_ns = offset;
            turnarounds.add(event);
            tell(&mut turnarounds, offset_ns, false)
        })?;
        tell(&mut turnarounds, offset_ns, true)
    }

    /// The time of the windows.
    fn time(&self) -> std::ops::Range<u64> {
        let of = |number| self.recording.windows().nth(number);
        let start = of(*self.range.start()).map_or(0, |window| window.start_unix_ns);
        let end = of(*self.range.end()).map_or(0, |window| window.end_unix_ns());
        start..end
    }

    /// Hands on each event up to this time, and what makes wall-clock time of its time: what happened before the windows
    /// tells who does what later.
    fn each_event(
        &self,
        end_unix_ns: u64,
        mut take: impl FnMut(Event, i64) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut events = self.with_events().events_between(0, end_unix_ns);
        while let Some(event) = events.next() {
            match event {
                Ok(event) => take(event, events.unix_offset_ns())?,
                Err(ReadError::Fault(fault)) => {
                    say(&self.path, &format!("{fault}; the rest is read"));
                }
                Err(error) => {
                    return Err(error)
                        .with_context(|| format!("cannot read {}", self.path.display()));
                }
            }
        }
        Ok(())
    }

    /// Who each image and remote end of the windows is.
    fn who(&self) -> Who {
        let mut who = Who::default();
        let numbers = 0..=*self.range.end();
        for frame in numbers.filter_map(|number| self.recording.frame(number).ok()) {
            for (number, id, name) in who_is_who(&frame, self.view.group_by) {
                who.insert(number, Rc::new(Named { id, name }));
            }
        }
        who
    }

    /// Folds all windows as one.
    pub(super) fn whole(&self) -> anyhow::Result<Snapshot> {
        let mut merge = Merge::default();
        self.frames(|_, frame| {
            merge.add(frame);
            Ok(())
        })?;
        Ok(self.fold_merged(merge))
    }

    /// How many windows.
    pub(super) fn count(&self) -> usize {
        self.range.end() - self.range.start() + 1
    }

    /// Folds all windows as one, and hands on at most `most` snapshots on the way, each of several windows.
    pub(super) fn whole_and_pieces(
        &self,
        most: usize,
        mut take: impl FnMut(&Snapshot),
    ) -> anyhow::Result<Snapshot> {
        let each = self.count().div_ceil(most.max(1)) as u64;
        let mut state = self.state_before(*self.range.start());
        let (mut whole, mut piece) = (Merge::default(), Merge::default());
        self.frames(|_, frame| {
            whole.add(frame.clone());
            piece.add(frame);
            if piece.windows() == each {
                let frame = std::mem::take(&mut piece).finish();
                take(&fold(&mut state, &frame, &self.view));
            }
            Ok(())
        })?;
        if piece.windows() > 0 {
            take(&fold(&mut state, &piece.finish(), &self.view));
        }
        Ok(self.fold_merged(whole))
    }

    fn fold_merged(&self, merge: Merge) -> Snapshot {
        fold(
            &mut self.state_before(*self.range.start()),
            &merge.finish(),
            &self.view,
        )
    }

    /// What the windows before this one tell: the same as if all had been folded from the first.
    pub(super) fn state_before(&self, number: usize) -> State {
        let before = (0..number).rev().map(|number| self.recording.frame(number));
        // A damaged window is none.
        let mut frames: Vec<Frame> = before.filter_map(Result::ok).take(WARM_UP).collect();
        frames.reverse();
        let mut state = State::default();
        for frame in frames {
            fold(&mut state, &frame, &self.view);
        }
        state
    }
}

pub(super) fn say(path: &Path, what: &str) {
    // Remarks that nobody can read are no reason to stop.
    let _ = writeln!(io::stderr(), "courtside: {}: {what}", path.display());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_named_by_number_or_first_and_last() {
        let range = |text: &str| text.parse::<Range>().map(|range| range.0);
        assert_eq!(range("0"), Ok(0..=0));
        assert_eq!(range("30..90"), Ok(30..=90));
        for bad in ["", "x", "-1", "3..", "..3", "9..3", "1..2..3", "1...3"] {
            assert!(range(bad).unwrap_err().contains("30..90"), "{bad}");
        }
    }
}
