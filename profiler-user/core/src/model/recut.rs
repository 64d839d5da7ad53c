//! Windows of another length, made from single events.
//!
//! In: the recorded windows and the events, both in the order of time. Out: windows of the length asked for, each as soon
//! as it is whole. Together they hold what the recorded windows hold: what the events tell is added up anew, the rest
//! (names, losses, segments sent again) is taken from the recorded window of that time. Memory grows with what lives, not
//! with the events. Must not know: where windows and events come from.

mod clocks;
mod sums;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use self::{clocks::Clocks, sums::WindowSums};
use super::reference::Calculation;
use crate::{
    event::Event,
    frame::{
        Cost, Flow, Frame, Image, Merge, PmuState, Remote, Role, Steal, Transport, add_connects,
        plus,
    },
};

/// Why windows made of events have no hardware counters.
const NO_COUNTERS: &str = "windows of another length are made from single events, which hold no hardware counters; \
                           the windows as recorded have them";

/// Windows follow each other without a gap; the wall clock may have been set by this much in between.
const NEAR_NS: u64 = 1_000_000_000;

/// New windows that are made before the first of them is taken, about.
const READY: usize = 16;

type FlowId = (u32, u32, u16, Transport, Role);

/// What the recorded windows near to an instant know.
#[derive(Default)]
struct Names {
    images: HashMap<u32, Image>,
    remotes: HashMap<u32, Remote>,
    /// Images that ran or talked. Courtside's own is in no window, but its events are recorded.
    measured: HashSet<u32>,
    /// Round-trip times that the kernel knows, in the present window.
    min_rtt_ns: HashMap<FlowId, u64>,
}

impl Names {
    fn of<'a>(frames: impl Iterator<Item = &'a Frame>) -> Self {
        let mut names = Self::default();
        for frame in frames {
            for image in &frame.images {
                let known = names.images.entry(image.id);
                known.or_insert_with(|| image.clone());
            }
            for remote in &frame.remotes {
                let known = names.remotes.entry(remote.id);
                known.or_insert_with(|| remote.clone());
            }
            names.measured.extend(frame.cpu.iter().map(|cpu| cpu.image));
            let owners = frame.flows.iter().map(|flow| flow.image);
            names.measured.extend(owners);
        }
        names
    }
}

/// Cuts windows anew.
pub struct Recut {
    interval_ns: u64,
    calculation: Calculation,
    tally: WindowSums,
    clocks: Clocks,
    /// What makes wall-clock time of the events' time.
    offset_ns: i64,
    /// Recorded windows: the one before the present one, that one, and those after it that are known.
    before: Option<Frame>,
    recorded: VecDeque<Frame>,
    /// No further recorded window comes.
    complete: bool,
    /// No further event comes.
    ended: bool,
    names: Names,
    /// Where the present piece begins, and the window that it is part of ends.
    from_ns: u64,
    until_ns: u64,
    /// Where the first window began.
    start_ns: Option<u64>,
    window: Merge,
    ready: Vec<Frame>,
}

impl Recut {
    /// Windows of this length, the last one excepted; nothing is shorter than a nanosecond.
    #[must_use]
    pub fn new(interval_ns: u64) -> Self {
        Self {
            interval_ns: interval_ns.max(1),
            calculation: Calculation::default(),
            tally: WindowSums::default(),
            clocks: Clocks::default(),
            offset_ns: 0,
            before: None,
            recorded: VecDeque::new(),
            complete: false,
            ended: false,
            names: Names::default(),
            from_ns: 0,
            until_ns: 0,
            start_ns: None,
            window: Merge::default(),
            ready: Vec::new(),
        }
    }

    /// Takes the next event; `unix_offset_ns` makes wall-clock time of its time.
    pub fn event(&mut self, event: Event, unix_offset_ns: i64) {
        self.offset_ns = unix_offset_ns;
        self.calculation.add(event);
    }

    /// There are no further events.
    pub fn no_more_events(&mut self) {
        self.ended = true;
    }

    /// Goes on as far as the events reach: asks for recorded windows when they are needed, and hands on each new one that
    /// is whole.
    ///
    /// # Errors
    /// The first of either.
    pub fn go_on<E>(
        &mut self,
        mut recorded: impl FnMut() -> Result<Option<Frame>, E>,
        mut made: impl FnMut(Frame) -> Result<(), E>,
    ) -> Result<(), E> {
        loop {
            while self.wants_window() {
                match recorded()? {
                    Some(frame) => self.window(frame),
                    None => self.complete = true,
                }
            }
            self.calculate();
            if self.ready.is_empty() && !self.wants_window() {
                return Ok(());
            }
            for frame in self.ready.drain(..) {
                made(frame)?;
            }
        }
    }

    /// Whether the next recorded window is needed before more can be calculated.
    fn wants_window(&self) -> bool {
        // One more than the present one: names of what happened on the border are in either.
        !self.complete && self.recorded.len() < 3
    }

    fn window(&mut self, frame: Frame) {
        if self.start_ns.is_none() {
            self.start_ns = Some(frame.start_unix_ns);
            self.begin_at(frame.start_unix_ns);
        }
        self.recorded.push_back(frame);
        self.know();
    }

    fn calculate(&mut self) {
        while !self.wants_window() && self.ready.len() < READY {
            let unix_ns = self.calculate_piece();
            if self.recorded.is_empty() {
                self.end_window();
                return;
            }
            if unix_ns.is_none() && !self.ended {
                return;
            }
            if unix_ns.is_none() {
                self.tally.settle();
            }
            self.close_piece();
        }
    }

    /// Takes the steps that are known and lie in the present piece. Returns when the next one is, if one is known.
    fn calculate_piece(&mut self) -> Option<u64> {
        let end_ns = if self.is_last_piece() {
            None
        } else {
            Some(self.piece_end_ns())
        };
        while let Some(ns) = self.calculation.next_ns(self.ended) {
            let unix_ns = ns.saturating_add_signed(self.offset_ns);
            if end_ns.is_some_and(|end_ns| unix_ns >= end_ns) {
                return Some(unix_ns);
            }
            if let Some(event) = self.calculation.step(&mut self.tally) {
                self.clocks.see(&event);
                self.tally.see(&event);
            }
        }
        None
    }

    fn unix_to_event(&self, unix_ns: u64) -> u64 {
        unix_ns.saturating_add_signed(self.offset_ns.saturating_neg())
    }

    /// End of the present recorded window: where the next one begins, unless a part of the recording is missing there.
    fn recorded_end_ns(&self) -> u64 {
        let Some(recorded) = self.recorded.front() else {
            return u64::MAX;
        };
        let end = recorded.start_unix_ns.saturating_add(recorded.duration_ns);
        let next = self.recorded.get(1).map(|next| next.start_unix_ns);
        let is_near = |next: &u64| next.abs_diff(end) <= NEAR_NS;
        next.filter(is_near).unwrap_or(end)
    }

    fn piece_end_ns(&self) -> u64 {
        self.recorded_end_ns().min(self.until_ns)
    }

    /// What happened after the last window ended, while it was being read, belongs to it.
    fn is_last_piece(&self) -> bool {
        self.recorded.len() == 1 && self.recorded_end_ns() <= self.until_ns
    }

    /// Windows go on from here, in the same rhythm.
    fn begin_at(&mut self, from_ns: u64) {
        self.from_ns = from_ns;
        let start_ns = self.start_ns.unwrap_or(from_ns);
        let whole = from_ns.saturating_sub(start_ns) / self.interval_ns;
        let until = whole.saturating_add(1).saturating_mul(self.interval_ns);
        self.until_ns = start_ns.saturating_add(until);
    }

    fn end_window(&mut self) {
        let window = std::mem::take(&mut self.window);
        if window.windows() > 0 {
            self.ready.push(window.finish());
        }
    }

    fn know(&mut self) {
        let near = self.recorded.iter().take(2).chain(&self.before);
        self.names = Names::of(near);
        if let Some(recorded) = self.recorded.front() {
            let rtt = recorded
                .flows
                .iter()
                .map(|flow| (id(flow), flow.min_rtt_ns));
            self.names.min_rtt_ns = rtt.collect();
        }
    }

    /// Ends the part of a recorded window that lies in one new window.
    fn close_piece(&mut self) {
        let end_ns = self.piece_end_ns().max(self.from_ns);
        self.clocks.pause(self.unix_to_event(end_ns));
        let ends_recorded = self.recorded_end_ns() <= end_ns;
        if let Some(frame) = self.piece(end_ns, ends_recorded) {
            self.window.add(frame);
        }
        if end_ns >= self.until_ns {
            self.end_window();
        }
        self.begin_at(end_ns);
        if ends_recorded {
            self.before = self.recorded.pop_front();
            self.know();
            let next = self.recorded.front().map(|next| next.start_unix_ns);
            if let Some(start_ns) = next.filter(|start| *start > end_ns) {
                if start_ns >= self.until_ns {
                    self.end_window();
                }
                self.begin_at(start_ns);
            }
        }
    }

    fn piece(&mut self, end_ns: u64, ends_recorded: bool) -> Option<Frame> {
        let recorded = self.recorded.front()?;
        let share = |total: u64| {
            let since = |at: u64| u128::from(at.saturating_sub(recorded.start_unix_ns));
            let length = since(self.recorded_end_ns());
            let up_to = |at: u64| u128::from(total) * since(at).min(length) / length.max(1);
            u64::try_from(up_to(end_ns).saturating_sub(up_to(self.from_ns))).unwrap_or(0)
        };
        let mut pmu = recorded.pmu.clone();
        if matches!(pmu.state, PmuState::Ok | PmuState::Multiplexed) {
            pmu.state = PmuState::Disabled;
            pmu.running_ratio = None;
            NO_COUNTERS.clone_into(&mut pmu.reason);
        }
        let mut frame = Frame {
            host: recorded.host.clone(),
            steal: recorded.steal.map(|steal| match steal {
                Steal::Ns(ns) => Steal::Ns(share(ns)),
                unknown @ Steal::Unknown(_) => unknown,
            }),
            start_unix_ns: self.from_ns,
            duration_ns: end_ns.saturating_sub(self.from_ns),
            midlife_connections: recorded.midlife_connections,
            probes: recorded.probes.clone(),
            pmu,
            cost: Cost {
                user_cpu_ns: share(recorded.cost.user_cpu_ns),
                programs: Vec::new(),
                ..recorded.cost.clone()
            },
            flows: self.tally.take(),
            tells_unread_within: true,
            tells_throttled_parts: recorded.tells_throttled_parts,
            cpu: self.clocks.take_cpu(),
            disk: self.clocks.take_disk(),
            ..Frame::default()
        };
        if ends_recorded {
            // Nobody knows when within the window this was.
            frame.lost.clone_from(&recorded.lost);
            frame.folded_remotes = recorded.folded_remotes;
            frame.events.clone_from(&recorded.events);
            frame.cost.programs.clone_from(&recorded.cost.programs);
            add_untold(&mut frame, recorded);
        } else {
            let none = |(class, _): (&String, &u64)| (class.clone(), 0);
            frame.lost = recorded.lost.iter().map(none).collect();
        }
        let measured = &self.names.measured;
        frame.flows.retain(|flow| measured.contains(&flow.image));
        frame.cpu.retain(|cpu| measured.contains(&cpu.image));
        for flow in &mut frame.flows {
            let known = self.names.min_rtt_ns.get(&id(flow));
            flow.min_rtt_ns = known.copied().unwrap_or(0);
        }
        let owners = frame.cpu.iter().map(|cpu| cpu.image);
        let owners = owners.chain(frame.disk.iter().map(|disk| disk.image));
        let ends = frame.flows.iter().flat_map(|flow| [flow.image, flow.peer]);
        let named: BTreeSet<u32> = owners.chain(ends).collect();
        let known = |number: &u32| self.names.images.get(number).cloned();
        frame.images = named.iter().filter_map(known).collect();
        let known = |number: &u32| self.names.remotes.get(number).cloned();
        frame.remotes = named.iter().filter_map(known).collect();
        Some(frame)
    }
}

fn id(flow: &Flow) -> FlowId {
    (flow.image, flow.peer, flow.port, flow.transport, flow.role)
}

/// What single events do not say about a flow.
fn add_untold(frame: &mut Frame, recorded: &Frame) {
    let untold = |flow: &&Flow| flow.retransmits > 0 || !flow.connects.is_none();
    for flow in recorded.flows.iter().filter(untold) {
        match frame.flows.iter_mut().find(|other| id(flow) == id(other)) {
            Some(known) => {
                plus(&mut known.retransmits, flow.retransmits);
                add_connects(&mut known.connects, &flow.connects);
            }
            None => frame.flows.push(Flow {
                image: flow.image,
                peer: flow.peer,
                port: flow.port,
                transport: flow.transport,
                role: flow.role,
                retransmits: flow.retransmits,
                connects: flow.connects.clone(),
                ..Flow::default()
            }),
        }
    }
}

/// Recorded windows put together to longer ones, each of about `interval_ns`: a window belongs where its middle lies.
#[derive(Debug)]
pub struct Joined {
    interval_ns: u64,
    start_unix_ns: Option<u64>,
    number: u64,
    window: Merge,
}

impl Joined {
    /// Windows of this length.
    #[must_use]
    pub fn new(interval_ns: u64) -> Self {
        Self {
            interval_ns: interval_ns.max(1),
            start_unix_ns: None,
            number: 0,
            window: Merge::default(),
        }
    }

    /// Takes the next recorded window; returns the longer one before it, if this one is not part of it.
    pub fn add(&mut self, frame: Frame) -> Option<Frame> {
        let start = *self.start_unix_ns.get_or_insert(frame.start_unix_ns);
        let middle = frame.start_unix_ns.saturating_add(frame.duration_ns / 2);
        let number = middle.saturating_sub(start) / self.interval_ns;
        let done = (number != self.number).then(|| self.finish()).flatten();
        self.number = number;
        self.window.add(frame);
        done
    }

    /// The last one.
    pub fn finish(&mut self) -> Option<Frame> {
        let window = std::mem::take(&mut self.window);
        (window.windows() > 0).then(|| window.finish())
    }
}
