//! The windows of a recording that were asked for, and what each of them means, as it would have been live.
//!
//! In: an open recording, a choice of windows, a view. Out: one pass for any number of consumers, or any window by its
//! number; remarks about what is damaged. Must not know: who consumes, where remarks go.

use std::{ops::RangeInclusive, rc::Rc};

use anyhow::{Context, bail, ensure};
use courtside_core::{
    event::Event,
    frame::Frame,
    model::{
        REMEMBERED_WINDOWS, State, View, fold,
        resolve::{ComponentName, ComponentNames, ResolvedEvent, Resolver},
        turnarounds::{Known, Turnaround, Turnarounds},
        who_is_who,
    },
    pass::{Consumer, Needs, PassWindow, Pieces, Seen, Whole},
};

use crate::{
    error::ReadError,
    read::{RecordedWindow, Recording},
    recut::recut,
    remarks::{Remarks, later},
};

/// What happened in windows before the first one that was asked for still tells which components serve requests; the fold
/// forgets it after so many.
const WARM_UP: usize = REMEMBERED_WINDOWS as usize;

/// The windows that were asked for.
pub struct Recorded {
    recording: Recording,
    /// Where the single events are, if these windows were made of them.
    uncut: Option<Recording>,
    range: RangeInclusive<usize>,
    view: View,
    remarks: Box<dyn Remarks>,
}

impl Recorded {
    /// Chooses windows of a recording by their numbers, all without a range, and of another length if one is given.
    ///
    /// # Errors
    /// There is no such window, or none of that length can be made.
    pub fn new(
        recording: Recording,
        range: Option<RangeInclusive<usize>>,
        interval_ns: Option<u64>,
        view: View,
        remarks: Box<dyn Remarks>,
    ) -> anyhow::Result<Self> {
        for fault in recording.faults() {
            remarks.say(&format!("{fault}; the rest is read"));
        }
        let unknown = recording.unknown_records() as u64;
        if unknown > 0 {
            remarks.say(&later(unknown, "records"));
        }
        let name = recording.name().to_owned();
        let cut = match interval_ns {
            Some(interval_ns) if recording.windows().len() > 0 => {
                recut(&recording, interval_ns, &*remarks)
                    .with_context(|| format!("cutting {} into other windows", name.display()))?
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
                name.display()
            );
        };
        let range = range.unwrap_or(0..=last);
        ensure!(
            *range.end() <= last,
            "{} has no window {}: it has 0 to {last}",
            name.display(),
            range.end()
        );
        Ok(Self {
            recording,
            uncut,
            range,
            view,
            remarks,
        })
    }

    /// The recording, in windows of the length that was asked for.
    #[must_use]
    pub fn recording(&self) -> &Recording {
        &self.recording
    }

    /// How it is seen.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Whether single events were recorded.
    #[must_use]
    pub fn has_events(&self) -> bool {
        self.with_events().has_events()
    }

    /// How many windows.
    #[must_use]
    pub fn count(&self) -> usize {
        self.range.end() - self.range.start() + 1
    }

    /// All windows as one.
    #[must_use]
    pub fn whole(&self) -> Whole {
        Whole::new(self.state_before(*self.range.start()), self.view.clone())
    }

    /// At most `most` pieces, each of several windows.
    pub fn pieces<T: FnMut(&courtside_core::model::Snapshot)>(
        &self,
        most: usize,
        take: T,
    ) -> Pieces<T> {
        let each = self.count().div_ceil(most.max(1)) as u64;
        let state = self.state_before(*self.range.start());
        Pieces::new(state, self.view.clone(), each, take)
    }

    /// Hands on each window, folded by itself, and then each single event, if a consumer needs them. What is damaged is left
    /// out, and said.
    ///
    /// # Errors
    /// The file cannot be read, no window is sound, or a consumer failed.
    pub fn pass(&self, consumers: &mut [&mut dyn Consumer]) -> anyhow::Result<()> {
        let mut state = self.state_before(*self.range.start());
        self.frames(|number, frame| {
            let snapshot = fold(&mut state, &frame, &self.view);
            let window = PassWindow {
                number,
                frame: &frame,
                snapshot: &snapshot,
            };
            consumers
                .iter_mut()
                .try_for_each(|consumer| consumer.window(&window))
        })?;
        let needs = consumers.iter().map(|consumer| consumer.needs()).max();
        match needs.unwrap_or_default() {
            Needs::Windows => Ok(()),
            _ if !self.has_events() => Ok(()),
            needs => {
                let mut takers: Vec<_> = consumers
                    .iter_mut()
                    .filter(|consumer| consumer.needs() > Needs::Windows)
                    .collect();
                self.events(needs == Needs::Turnarounds, |seen| {
                    takers.iter_mut().try_for_each(|taker| taker.event(seen))
                })
            }
        }
    }

    fn frames(
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
                    self.remarks
                        .say(&format!("window {number} is left out: {fault}"));
                }
                Err(error) => return Err(self.unreadable(error)),
            }
        }
        ensure!(
            read > 0,
            "every window of {} that was asked for is damaged",
            self.recording.name().display()
        );
        Ok(())
    }

    fn unreadable(&self, error: ReadError) -> anyhow::Error {
        let name = self.recording.name().display().to_string();
        anyhow::Error::from(error).context(format!("cannot read {name}"))
    }

    fn with_events(&self) -> &Recording {
        self.uncut.as_ref().unwrap_or(&self.recording)
    }

    /// Hands on each single event in the time of the windows; with turnarounds, each send with the one that it ended.
    fn events(
        &self,
        with_turnarounds: bool,
        mut take: impl FnMut(&Seen<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let windows: Vec<RecordedWindow> = self.recording.windows().collect();
        let time = self.time();
        let mut resolver = Resolver::new(self.names());
        let mut turnarounds = with_turnarounds.then(Turnarounds::default);
        let mut last_offset_ns = 0;
        let mut window = 0;
        let mut give = |known: &Known, offset_ns: i64| {
            let Known {
                event,
                turnaround,
                exchange,
            } = known;
            let resolved: ResolvedEvent = resolver.resolve(event, offset_ns);
            if !time.contains(&resolved.time_unix_ns) {
                return Ok(());
            }
            let turnaround = turnaround.map(|turnaround| Turnaround {
                from_ns: turnaround.from_ns.wrapping_add_signed(offset_ns),
                to_ns: turnaround.to_ns.wrapping_add_signed(offset_ns),
                ..turnaround
            });
            // Nearly always the same as before.
            let begun = |w: &RecordedWindow| w.start_unix_ns <= resolved.time_unix_ns;
            let is_in = windows.get(window).is_some_and(begun)
                && !windows.get(window + 1).is_some_and(begun);
            if !is_in {
                window = windows.partition_point(begun).saturating_sub(1);
            }
            take(&Seen {
                window,
                event,
                resolved: &resolved,
                turnaround: turnaround.as_ref(),
                exchange: exchange.as_ref(),
            })
        };
        self.each_event(time.end, |event, offset_ns| {
            last_offset_ns = offset_ns;
            let Some(turnarounds) = &mut turnarounds else {
                let alone = Known {
                    event,
                    turnaround: None,
                    exchange: None,
                };
                return give(&alone, offset_ns);
            };
            turnarounds.add(event);
            while let Some(known) = turnarounds.next_known(false) {
                give(&known, offset_ns)?;
            }
            Ok(())
        })?;
        if let Some(turnarounds) = &mut turnarounds {
            while let Some(known) = turnarounds.next_known(true) {
                give(&known, last_offset_ns)?;
            }
        }
        Ok(())
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
                    self.remarks.say(&format!("{fault}; the rest is read"));
                }
                Err(error) => return Err(self.unreadable(error)),
            }
        }
        if events.unknown() > 0 {
            self.remarks.say(&later(events.unknown(), "events"));
        }
        Ok(())
    }

    /// Which component each image and remote end of the windows belongs to.
    fn names(&self) -> ComponentNames {
        let mut names = ComponentNames::default();
        let numbers = 0..=*self.range.end();
        for frame in numbers.filter_map(|number| self.recording.frame(number).ok()) {
            for (number, id, name) in who_is_who(&frame, self.view.group_by) {
                names.insert(number, Rc::new(ComponentName { id, name }));
            }
        }
        names
    }

    /// What the windows before this one tell: the same as if all had been folded from the first.
    #[must_use]
    pub fn state_before(&self, number: usize) -> State {
        let before = (0..number).rev().map(|number| self.recording.frame(number));
        // Damaged windows are passed over.
        let mut frames: Vec<Frame> = before.filter_map(Result::ok).take(WARM_UP).collect();
        frames.reverse();
        let mut state = State::default();
        for frame in frames {
            fold(&mut state, &frame, &self.view);
        }
        state
    }
}
