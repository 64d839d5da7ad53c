//! Components: the sums over each, and what it held.
//!
//! In: a Frame's records, who is who, the edges. Out: [`Sums`] by component. Must not know: entries.

use std::collections::BTreeMap;

use courtside_wire::GAP_SHIFT;

use super::directory::Directory;
use super::edges::{EdgeSum, Edges, uncertain};
use super::snapshot::{HeldUnknown, TurnaroundCounters};
use crate::frame::{
    self, DistRaw, Flow, Frame, add_cpu, add_disk, add_turnaround_counters, merge_dist, plus,
};
use crate::parts::Parts;

/// By how much a part may be above its whole: what was under way when the window began and ended.
pub(super) const SLACK: f64 = 1.05;

/// A sum of turnarounds.
#[derive(Clone, Debug, Default)]
pub(super) struct TurnaroundSum {
    pub count: u64,
    pub parts: Parts<u64>,
    pub each: DistRaw,
    /// Of the sleep: for locks.
    pub lock_ns: u64,
    counters: Option<frame::TurnaroundCounters>,
}

impl TurnaroundSum {
    fn add(&mut self, flow: &Flow) {
        plus(&mut self.count, flow.turnarounds);
        self.parts.add(flow.turnaround_parts);
        plus(&mut self.lock_ns, flow.turnaround_lock_ns);
        add_turnaround_counters(&mut self.counters, flow.turnaround_counters);
        merge_dist(&mut self.each, &flow.turnaround);
    }

    /// What the CPU did in them.
    pub fn counters(&self) -> Option<TurnaroundCounters> {
        self.counters.map(TurnaroundCounters::of)
    }

    /// The whole.
    pub fn total_ns(&self) -> u64 {
        self.parts.total_ns()
    }
}

/// What a component held, see `Requests::held_ns`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Held {
    /// It serves no requests.
    #[default]
    Nothing,
    /// The sum over the window.
    Known(i64),
    /// It is not known.
    Unknown(HeldUnknown),
}

/// Everything counted for one component.
#[derive(Debug, Default)]
pub(super) struct Sums {
    /// Something happened to it in the window.
    pub active: bool,
    pub cpu: frame::Cpu,
    pub disk: frame::Disk,
    pub served: u64,
    pub untimed: u64,
    pub lower_bound: bool,
    /// Requests that others got answered and it did not count.
    pub unseen: bool,
    pub service: DistRaw,
    pub queued: DistRaw,
    /// Of the requests' unread time: what lies within its turnarounds.
    unread_within_ns: u64,
    pub held: Held,
    pub turnaround: TurnaroundSum,
    /// What quotas held back is a part of turnarounds.
    pub tells_throttled: bool,
    pub unprompted_count: u64,
    pub unprompted_ns: u64,
    pub by_recipient: BTreeMap<usize, TurnaroundSum>,
    pub unprompted_to: BTreeMap<usize, UnpromptedSum>,
}

/// Sends that no message prompted, and the gaps before them that have a length.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct UnpromptedSum {
    pub count: u64,
    gaps: u64,
    ns: u64,
    squares: u64,
}

impl UnpromptedSum {
    fn add(&mut self, flow: &Flow) {
        plus(&mut self.count, flow.unprompted);
        plus(&mut self.gaps, flow.unprompted_gaps);
        plus(&mut self.ns, flow.unprompted_ns);
        plus(&mut self.squares, flow.unprompted_squares);
    }

    /// The mean gap.
    pub fn gap_ns(&self) -> Option<f64> {
        share(self.ns, self.gaps)
    }

    /// How far gaps are from the mean: their standard deviation.
    pub fn gap_sd_ns(&self) -> Option<f64> {
        let mean = self.gap_ns()?;
        let unit = f64::from(1u32 << GAP_SHIFT);
        let squares = self.squares as f64 * unit * unit / self.gaps as f64;
        Some((squares - mean * mean).max(0.0).sqrt())
    }
}

/// What an acceptor's flow is worth.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Witness {
    /// Counts and times.
    Trusted,
    /// Counts, and no times.
    Distrusted,
    /// Its callers know how many there were.
    CallersKnowBetter,
}

impl Sums {
    /// Sums over the frame, by component index.
    pub fn of(frame: &Frame, directory: &Directory, edges: &Edges) -> Vec<Self> {
        let mut sums: Vec<Self> = directory
            .identities
            .iter()
            .map(|_| Self::default())
            .collect();
        for (i, (flow, &peer)) in frame.flows.iter().zip(&edges.peers).enumerate() {
            let edge = edges.of_flow(i);
            let witness = match edge {
                Some(edge) if edge.told_by_callers().is_some() => Witness::CallersKnowBetter,
                Some(edge) if edge.distrusted() => Witness::Distrusted,
                _ => Witness::Trusted,
            };
            let sum = &mut sums[directory.of(flow.image)];
            sum.add_flow(flow, peer, witness);
            if flow.role == frame::Role::Acceptor && edge.is_some_and(EdgeSum::requests_unseen) {
                sum.lower_bound = true;
                sum.unseen = true;
            }
        }
        for (key, edge) in &edges.sums {
            if let Some(more) = edge.told_by_callers() {
                plus(&mut sums[key.to].served, more);
                plus(&mut sums[key.to].untimed, more);
            }
        }
        for cpu in &frame.cpu {
            sums[directory.of(cpu.image)].add_cpu(cpu);
        }
        for disk in &frame.disk {
            sums[directory.of(disk.image)].add_disk(disk);
        }
        let told = tells_unread(frame);
        for (component, sum) in sums.iter_mut().enumerate() {
            sum.held = sum.held(component, edges, told);
            sum.tells_throttled = frame.tells_throttled_parts;
        }
        sums
    }

    /// A component's unread time that no turnaround covers.
    pub fn unread_ns(&self) -> Option<u64> {
        (self.held != Held::Unknown(HeldUnknown::NotRecorded))
            .then(|| self.queued.sum_ns.saturating_sub(self.unread_within_ns))
    }

    /// Whether it worked for longer than its requests took: it goes on after its replies, or works for sends that answer no
    /// request.
    pub fn overdone(&self) -> bool {
        let placed = self.unread_ns().unwrap_or(0) as f64 + self.turnaround.total_ns() as f64;
        matches!(self.held, Held::Known(_)) && placed > self.service.sum_ns as f64 * SLACK
    }

    /// What is left of the service times after unread, court and calls.
    fn held(&self, component: usize, edges: &Edges, told: bool) -> Held {
        if !told {
            return Held::Unknown(HeldUnknown::NotRecorded);
        }
        if self.served == 0 {
            return Held::Nothing;
        }
        if self.untimed > 0 {
            return Held::Unknown(HeldUnknown::UntimedRequests);
        }
        if self.unseen {
            return Held::Unknown(HeldUnknown::UnseenRequests);
        }
        let mut calls_ns = 0u64;
        for (_, edge) in edges.from(component) {
            if let Some(reason) = edge.calls_unknown() {
                return Held::Unknown(reason);
            }
            plus(&mut calls_ns, edge.latency.sum_ns);
        }
        let unread_ns = self.queued.sum_ns.saturating_sub(self.unread_within_ns);
        let placed = [unread_ns, self.turnaround.total_ns(), calls_ns]
            .into_iter()
            .fold(0, u64::saturating_add);
        let held = i128::from(self.service.sum_ns) - i128::from(placed);
        Held::Known(i64::try_from(held).unwrap_or(i64::MIN))
    }

    fn add_flow(&mut self, flow: &Flow, peer: usize, witness: Witness) {
        self.active = true;
        if flow.role == frame::Role::Acceptor {
            plus(&mut self.served, flow.answered);
            if witness == Witness::Trusted {
                plus(&mut self.untimed, flow.untimed);
                merge_dist(&mut self.service, &flow.answer);
            } else {
                plus(&mut self.untimed, flow.answered);
            }
            merge_dist(&mut self.queued, &flow.queued);
            self.lower_bound |= witness != Witness::CallersKnowBetter && uncertain(flow);
        }
        plus(&mut self.unread_within_ns, flow.unread_within_ns);
        self.turnaround.add(flow);
        if flow.turnarounds > 0 {
            self.by_recipient.entry(peer).or_default().add(flow);
        }
        if flow.unprompted > 0 {
            self.unprompted_to.entry(peer).or_default().add(flow);
        }
        plus(&mut self.unprompted_count, flow.unprompted);
        plus(&mut self.unprompted_ns, flow.unprompted_ns);
    }

    fn add_cpu(&mut self, from: &frame::Cpu) {
        self.active |= from.on_cpu_ns | from.run_queue_ns | from.block_io_ns > 0
            || from.throttled_ns > Some(0)
            || from.voluntary_switches | from.involuntary_switches > 0;
        add_cpu(&mut self.cpu, from);
    }

    fn add_disk(&mut self, from: &frame::Disk) {
        self.active |= from.reads | from.writes > 0;
        add_disk(&mut self.disk, from);
    }

    /// What it held over the window, if that is known.
    pub fn held_ns(&self) -> Option<i64> {
        match self.held {
            Held::Known(ns) => Some(ns),
            Held::Nothing | Held::Unknown(_) => None,
        }
    }

    /// Why it is not known how long it held the requests that it served, if it is not.
    pub fn held_unknown(&self) -> Option<HeldUnknown> {
        match self.held {
            Held::Unknown(reason) if self.served > 0 => Some(reason),
            _ => None,
        }
    }
}

/// Whether a frame separates unread time from turnarounds. Older recordings do not: they have unread requests and
/// turnarounds, and no unread time within the turnarounds, though these begin with it.
fn tells_unread(frame: &Frame) -> bool {
    let unread = |flow: &Flow| flow.role == frame::Role::Acceptor && flow.queued.sum_ns > 0;
    frame.tells_unread_within
        || frame.flows.iter().any(|flow| flow.unread_within_ns > 0)
        || !frame.flows.iter().any(unread)
}

/// What share a part is of the whole, if there is any.
pub(super) fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}
