//! Which windows of a recording count, and all of them as one.
//!
//! In: a pass over a recording, twice. Out: where requests come in and when; then what these windows mean together. Must not
//! know: sizes, other recordings.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::RangeInclusive,
};

use courtside_core::{
    frame::{Frame, Merge},
    model::{
        Selection, Snapshot, State, View, fold,
        snapshot::{ComponentKind, Entry},
        visible::visible,
    },
    pass::{Consumer, PassWindow},
    units::per_second,
};

use super::stats::Series;

/// With as many windows, the first and the last one, in which load begins and ends, are left out.
const TRIMMED_FROM: usize = 5;
/// Entries that are remembered; a host has a few dozen.
const MOST_ENTRIES: usize = 4096;

/// Where requests come in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryId {
    /// Component id.
    pub component: String,
    /// Its port; 0 for Unix sockets.
    pub port: u16,
}

impl EntryId {
    /// Whether this is it.
    #[must_use]
    pub fn is(&self, entry: &Entry) -> bool {
        entry.component == self.component && entry.port == self.port
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = visible(&self.component);
        match self.port {
            0 => f.write_str(&name),
            port => write!(f, "{name}:{port}"),
        }
    }
}

/// When an entry had requests.
#[derive(Clone, Copy, Debug)]
struct Span {
    first: usize,
    last: usize,
    requests: u64,
}

/// First pass: where requests come in, and in which windows.
#[derive(Debug, Default)]
pub struct Scout {
    entries: BTreeMap<EntryId, Span>,
    windows: Option<(usize, usize)>,
}

impl Scout {
    /// The entry with the most requests.
    #[must_use]
    pub fn busiest(&self) -> Option<EntryId> {
        let busiest = self.entries.iter().max_by_key(|(_, span)| span.requests);
        busiest.map(|(entry, _)| entry.clone())
    }

    /// The windows in which it had requests, without the first and the last one if there are enough.
    #[must_use]
    pub fn windows_of(&self, entry: &EntryId) -> Option<RangeInclusive<usize>> {
        let Span { first, last, .. } = *self.entries.get(entry)?;
        let trimmed = last.saturating_sub(first) + 1 >= TRIMMED_FROM;
        let by = usize::from(trimmed);
        Some(first + by..=last - by)
    }

    /// All windows.
    #[must_use]
    pub fn all_windows(&self) -> Option<RangeInclusive<usize>> {
        self.windows.map(|(first, last)| first..=last)
    }
}

impl Consumer for Scout {
    fn window(&mut self, window: &PassWindow<'_>) -> anyhow::Result<()> {
        let number = window.number;
        let (first, _) = self.windows.unwrap_or((number, number));
        self.windows = Some((first, number));
        for entry in window.snapshot.entries.iter().filter(|e| e.requests > 0) {
            let id = EntryId {
                component: entry.component.clone(),
                port: entry.port,
            };
            if self.entries.len() >= MOST_ENTRIES && !self.entries.contains_key(&id) {
                continue;
            }
            let span = self.entries.entry(id).or_insert(Span {
                first: number,
                last: number,
                requests: 0,
            });
            span.last = number;
            span.requests = span.requests.saturating_add(entry.requests);
        }
        Ok(())
    }
}

/// What the windows that count mean together.
#[derive(Clone, Debug, Default)]
pub struct Whole {
    /// All that was measured.
    pub snapshot: Snapshot,
    /// Only the images that were asked for.
    pub own: Option<Snapshot>,
    /// CPU time of all that is not among these, or nothing where none were asked for.
    pub others_on_cpu_ns: Option<u64>,
    /// Requests a second at the entry, window by window.
    pub rates: Series,
    /// How many windows.
    pub windows: u64,
    /// Nothing was left out by a selection.
    pub all_shown: bool,
}

/// Second pass: the windows that count, as one.
pub struct Steady {
    state: State,
    view: View,
    windows: RangeInclusive<usize>,
    entry: Option<EntryId>,
    own: Option<BTreeSet<u32>>,
    all: Merge,
    of_own: Merge,
    others_on_cpu_ns: u64,
    rates: Series,
}

impl Steady {
    /// Begins with what is known from the windows before the first one. With `own`, what these images did is added up
    /// by itself, too.
    #[must_use]
    pub fn new(
        state: State,
        view: View,
        windows: RangeInclusive<usize>,
        entry: Option<EntryId>,
        own: Option<BTreeSet<u32>>,
    ) -> Self {
        Self {
            state,
            view,
            windows,
            entry,
            own,
            all: Merge::default(),
            of_own: Merge::default(),
            others_on_cpu_ns: 0,
            rates: Series::default(),
        }
    }

    /// Ends it.
    #[must_use]
    pub fn finish(mut self) -> Whole {
        let windows = self.all.windows();
        let snapshot = fold(&mut self.state, &self.all.finish(), &self.view);
        let own = self
            .own
            .is_some()
            .then(|| fold(&mut State::default(), &self.of_own.finish(), &self.view));
        Whole {
            snapshot,
            others_on_cpu_ns: own.is_some().then_some(self.others_on_cpu_ns),
            own,
            rates: self.rates,
            windows,
            all_shown: self.view.selection == Selection::default(),
        }
    }
}

impl Consumer for Steady {
    fn window(&mut self, window: &PassWindow<'_>) -> anyhow::Result<()> {
        if !self.windows.contains(&window.number) {
            return Ok(());
        }
        if let Some(id) = &self.entry {
            let entry = window.snapshot.entries.iter().find(|entry| id.is(entry));
            let requests = entry.map_or(0, |entry| entry.requests);
            let window_ns = window.snapshot.window.duration_ns;
            self.rates.add(per_second(requests, window_ns));
        }
        self.all.add(window.frame.clone());
        if let Some(own) = &self.own {
            let (frame, others) = split(window.frame, own);
            self.of_own.add(frame);
            self.others_on_cpu_ns = self.others_on_cpu_ns.saturating_add(others);
        }
        Ok(())
    }
}

/// What these images did, and the CPU time of all others.
fn split(frame: &Frame, own: &BTreeSet<u32>) -> (Frame, u64) {
    let mut part = frame.clone();
    part.images.retain(|image| own.contains(&image.id));
    part.flows.retain(|flow| own.contains(&flow.image));
    part.disk.retain(|disk| own.contains(&disk.image));
    part.cpu.retain(|cpu| own.contains(&cpu.image));
    let others = frame.cpu.iter().filter(|cpu| !own.contains(&cpu.image));
    let others = others.fold(0, |sum: u64, cpu| sum.saturating_add(cpu.on_cpu_ns));
    (part, others)
}

/// CPU time of all components on this host.
#[must_use]
pub(super) fn on_cpu_of_all(snapshot: &Snapshot) -> f64 {
    let local = snapshot
        .components
        .iter()
        .filter(|component| component.kind != ComponentKind::Remote);
    local.map(|component| component.cpu.on_cpu_ns as f64).sum()
}

#[cfg(test)]
mod tests {
    use courtside_core::fixture::frames;

    use super::*;

    fn frame(number: usize, requests: u64) -> Frame {
        let mut frame = frames::chain(requests.max(1));
        frame.start_unix_ns += number as u64 * frame.duration_ns;
        if requests == 0 {
            frame.flows.clear();
        }
        frame
    }

    fn pass(requests: &[u64], consumer: &mut dyn Consumer) {
        let mut state = State::default();
        for (number, requests) in requests.iter().enumerate() {
            let frame = frame(number, *requests);
            let snapshot = fold(&mut state, &frame, &View::default());
            let window = PassWindow {
                number,
                frame: &frame,
                snapshot: &snapshot,
            };
            consumer.window(&window).unwrap();
        }
    }

    #[test]
    fn idle_ends_and_the_windows_in_which_load_begins_and_ends_do_not_count() {
        let requests = [0, 0, 3, 10, 10, 10, 10, 2, 0];
        let mut scout = Scout::default();
        pass(&requests, &mut scout);
        let entry = scout.busiest().unwrap();
        assert_eq!(entry.to_string(), "program:web:80");
        let windows = scout.windows_of(&entry).unwrap();
        assert_eq!(windows, 3..=6);
        assert_eq!(scout.all_windows(), Some(0..=8));
        let own = BTreeSet::from([frames::STORE]);
        let mut steady = Steady::new(
            State::default(),
            View::default(),
            windows,
            Some(entry.clone()),
            Some(own),
        );
        pass(&requests, &mut steady);
        let whole = steady.finish();
        assert_eq!(whole.windows, 4);
        let found = whole.snapshot.entries.iter().find(|e| entry.is(e));
        assert_eq!(found.unwrap().requests, 40);
        let own = whole.own.unwrap();
        let names: Vec<_> = own
            .components
            .iter()
            .filter(|component| component.cpu.on_cpu_ns > 0)
            .map(|component| component.id.as_str())
            .collect();
        assert_eq!(names, ["program:store"]);
        let all = on_cpu_of_all(&whole.snapshot);
        let of_own = on_cpu_of_all(&own);
        assert_eq!(whole.others_on_cpu_ns.unwrap() as f64, all - of_own);
    }

    #[test]
    fn few_windows_all_count_and_nothing_has_no_entry() {
        let mut scout = Scout::default();
        pass(&[5, 5, 5], &mut scout);
        let entry = scout.busiest().unwrap();
        assert_eq!(scout.windows_of(&entry), Some(0..=2));
        let mut idle = Scout::default();
        pass(&[0, 0], &mut idle);
        assert_eq!(idle.busiest(), None);
        assert_eq!(idle.windows_of(&entry), None);
    }
}
