//! What a window says of each component, as far as `guard` asks: the one place that reads a [`Snapshot`].
//!
//! In: a [`Snapshot`]. Out: [`Inputs`]; several as one. Must not know: what is usual, who is suspected.

use std::collections::BTreeMap;

use courtside_core::model::{
    Snapshot,
    interference::Signal,
    snapshot::{Component, ComponentKind},
};

use super::blame::IDLE;

/// Fewer requests in a window say nothing about a request.
pub const MIN_REQUESTS: u64 = 10;
/// Counters that counted for less than this share of the time say nothing about the rest.
const MIN_RUNNING: f64 = 0.95;
/// A CPI of less use than this, in CPUs, is that of start and idle.
const MIN_USAGE: f64 = 0.01;

/// One window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inputs {
    /// When it began.
    pub start_unix_ns: u64,
    /// Its length.
    pub duration_ns: u64,
    /// What was lost in it.
    pub lost: u64,
    /// Architecture and number of CPUs.
    pub platform: String,
    /// Time that the hypervisor gave to others, of all CPUs together; none where that is not known.
    pub steal_ns: Option<u64>,
    /// What each component on this host used.
    pub components: BTreeMap<String, Used>,
}

/// What one component used and served.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Used {
    /// Processes.
    pub tasks: u64,
    /// On a CPU.
    pub cpu_ns: u64,
    /// Runnable without a CPU.
    pub run_queue_ns: u64,
    /// Held back by its own quota; none where that is not known. Not part of the run queue.
    pub throttled_ns: Option<u64>,
    /// Waiting for the block layer.
    pub block_io_ns: u64,
    /// Sum of the latencies of its disk requests.
    pub disk_ns: u64,
    /// Bytes that it read and wrote.
    pub disk_bytes: u64,
    /// Requests served.
    pub requests: u64,
    /// Those with a time, and the sum of their service times.
    pub timed: (u64, u64),
    /// Cycles and instructions, where they were counted for long enough.
    pub counters: Option<(u64, u64)>,
    /// Misses of the last-level cache, likewise.
    pub llc_misses: Option<u64>,
    /// Whom the CPU was given to while its threads were runnable; none where that was not recorded.
    pub run_queue_by: Option<Vec<(String, u64)>>,
    /// Whose disk requests its own waited behind; none where that was not recorded.
    pub queued_behind: Option<Vec<(String, u64)>>,
}

/// Fills the inputs of a window.
#[must_use]
pub fn inputs(snapshot: &Snapshot) -> Inputs {
    let used = |component: &Component| Used {
        tasks: component.processes.len() as u64,
        cpu_ns: component.cpu.on_cpu_ns,
        run_queue_ns: component.cpu.run_queue_ns,
        throttled_ns: component.cpu.throttled_ns,
        block_io_ns: component.cpu.block_io_ns,
        disk_ns: component.disk.latency_ns.sum_ns,
        disk_bytes: plus(component.disk.read_bytes, component.disk.write_bytes),
        requests: component.requests.served,
        timed: (
            component.requests.service_ns.count,
            component.requests.service_ns.sum_ns,
        ),
        counters: sound(component).map(|counters| (counters.cycles, counters.instructions)),
        llc_misses: sound(component).and_then(|counters| counters.llc_misses),
        run_queue_by: component.cpu.run_queue_by.as_ref().map(|by| {
            by.iter()
                .map(|blame| (blame.component.clone(), blame.ns))
                .collect()
        }),
        queued_behind: behind(component),
    };
    let here = snapshot.components.iter();
    let here = here.filter(|component| component.kind != ComponentKind::Remote);
    Inputs {
        start_unix_ns: snapshot.window.start_unix_ns,
        duration_ns: snapshot.window.duration_ns,
        lost: snapshot.quality.lost_in_all(),
        platform: platform(&snapshot.host.arch, snapshot.host.cpus.into()),
        steal_ns: snapshot.host.steal_ns,
        components: here
            .map(|component| (component.id.clone(), used(component)))
            .collect(),
    }
}

/// Whose requests its own waited behind, and as nobody's what they took besides. None where that is not told, and where it waits
/// for other requests than its own as well: those of whoever reads ahead for it, or writes back.
fn behind(component: &Component) -> Option<Vec<(String, u64)>> {
    let disk_ns = component.disk.latency_ns.sum_ns;
    let by = component.disk.queued_behind.as_ref()?;
    if disk_ns < component.cpu.block_io_ns / 2 {
        return None;
    }
    let others_ns = by.iter().fold(0, |sum, blame| plus(sum, blame.ns));
    let rest = (IDLE.to_owned(), disk_ns.saturating_sub(others_ns));
    let others = by.iter().map(|blame| (blame.component.clone(), blame.ns));
    Some(others.chain([rest]).collect())
}

fn plus(a: u64, b: u64) -> u64 {
    a.saturating_add(b)
}

/// Counters that counted nearly all the time.
fn sound(component: &Component) -> Option<courtside_core::model::snapshot::Counters> {
    let counters = component.counters?;
    is_sound(
        counters.cycles,
        counters.instructions,
        counters.running_ratio,
    )
    .then_some(counters)
}

/// Whether counters counted nearly all the time, and anything at all.
#[must_use]
pub fn is_sound(cycles: u64, instructions: u64, running_ratio: Option<f64>) -> bool {
    running_ratio.unwrap_or(0.0) >= MIN_RUNNING && cycles > 0 && instructions > 0
}

/// What kind of machine it is: what is usual on one is not on another.
#[must_use]
pub fn platform(arch: &str, cpus: u64) -> String {
    let s = if cpus == 1 { "" } else { "s" };
    format!("{arch}, {cpus} CPU{s}")
}

impl Inputs {
    /// Whether any number of a service is known in this window.
    #[must_use]
    pub fn has_value(&self, used: &Used) -> bool {
        let mut signals = Signal::ALL.into_iter();
        signals.any(|signal| self.value(used, signal).is_some())
    }

    /// When it ended.
    #[must_use]
    pub fn end_unix_ns(&self) -> u64 {
        plus(self.start_unix_ns, self.duration_ns)
    }

    /// CPUs that a component used.
    #[must_use]
    pub fn usage(&self, used: &Used) -> f64 {
        share(used.cpu_ns, self.duration_ns).unwrap_or(0.0)
    }

    /// Requests a second that it served.
    #[must_use]
    pub fn rate(&self, used: &Used) -> f64 {
        share(used.requests, self.duration_ns).unwrap_or(0.0) * 1e9
    }

    /// The value of a signal; none where there is too little to tell it by.
    #[must_use]
    pub fn value(&self, used: &Used, signal: Signal) -> Option<f64> {
        let each = |ns: u64| {
            let enough = used.requests >= MIN_REQUESTS;
            enough.then(|| share(ns, used.requests)).flatten()
        };
        let busy = self.usage(used) >= MIN_USAGE;
        match signal {
            Signal::Cpi => {
                let (cycles, instructions) = used.counters.filter(|_| busy)?;
                share(cycles, instructions)
            }
            Signal::LlcMissesPerInstruction => {
                let (_, instructions) = used.counters.filter(|_| busy)?;
                share(used.llc_misses?, instructions)
            }
            Signal::RunQueuePerRequest => each(used.run_queue_ns),
            Signal::BlockIoPerRequest => each(used.block_io_ns),
            Signal::OnCpuPerRequest => each(used.cpu_ns),
            Signal::Service => {
                let (count, sum_ns) = used.timed;
                (count >= MIN_REQUESTS)
                    .then(|| share(sum_ns, count))
                    .flatten()
            }
        }
    }

    /// Adds a later window.
    pub fn add(&mut self, later: Self) {
        if self.duration_ns == 0 {
            *self = later;
            return;
        }
        self.duration_ns = plus(self.duration_ns, later.duration_ns);
        self.lost = plus(self.lost, later.lost);
        self.steal_ns = both(self.steal_ns, later.steal_ns);
        for (id, used) in later.components {
            match self.components.get_mut(&id) {
                Some(sum) => sum.add(used),
                None => {
                    self.components.insert(id, used);
                }
            }
        }
    }
}

impl Used {
    /// Adds what it used in another window.
    pub fn add(&mut self, other: Self) {
        self.tasks = self.tasks.max(other.tasks);
        for (sum, more) in [
            (&mut self.cpu_ns, other.cpu_ns),
            (&mut self.run_queue_ns, other.run_queue_ns),
            (&mut self.block_io_ns, other.block_io_ns),
            (&mut self.disk_ns, other.disk_ns),
            (&mut self.disk_bytes, other.disk_bytes),
            (&mut self.requests, other.requests),
            (&mut self.timed.0, other.timed.0),
            (&mut self.timed.1, other.timed.1),
        ] {
            *sum = plus(*sum, more);
        }
        self.throttled_ns = both(self.throttled_ns, other.throttled_ns);
        self.counters = match (self.counters, other.counters) {
            (Some(a), Some(b)) => Some((plus(a.0, b.0), plus(a.1, b.1))),
            _ => None,
        };
        self.llc_misses = both(self.llc_misses, other.llc_misses);
        self.run_queue_by = joined(self.run_queue_by.take(), other.run_queue_by);
        self.queued_behind = joined(self.queued_behind.take(), other.queued_behind);
    }
}

/// Known only if both are.
fn both(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    Some(plus(a?, b?))
}

type Blame = Option<Vec<(String, u64)>>;

fn joined(a: Blame, b: Blame) -> Blame {
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    for (component, ns) in a?.into_iter().chain(b?) {
        let sum = sums.entry(component).or_default();
        *sum = plus(*sum, ns);
    }
    Some(sums.into_iter().collect())
}

pub(super) fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// The ten seconds of each minute that the paper looks at, as one sample.
#[derive(Debug, Default)]
pub struct Minutes {
    minute: Option<u64>,
    sum: Inputs,
    given: bool,
}

/// Length of a sample, and how often there is one (CPI2, table 2).
const SAMPLE_NS: u64 = 10_000_000_000;
const MINUTE_NS: u64 = 60_000_000_000;

impl Minutes {
    /// Takes the next window; gives the sample of its minute once ten seconds of that are there.
    pub fn add(&mut self, window: Inputs) -> Option<Inputs> {
        let minute = window.start_unix_ns / MINUTE_NS;
        if self.minute != Some(minute) {
            *self = Self {
                minute: Some(minute),
                ..Self::default()
            };
        }
        if self.given {
            return None;
        }
        self.sum.add(window);
        self.given = self.sum.duration_ns >= SAMPLE_NS;
        self.given.then(|| std::mem::take(&mut self.sum))
    }
}
