//! One run at one size: how many tasks in what time, and what was used for them.
//!
//! In: what the windows that count mean together ([`Whole`]). Out: a [`Run`], or why it is none. Must not know: other sizes.

use courtside_core::{
    frame::PmuState,
    model::{
        Snapshot,
        finding::Finding,
        scaling::{Makespan, Unknown},
        snapshot::{Component, ComponentKind, Edge, Entry},
        visible::visible,
    },
    parts::Part,
    units::duration_f64,
};

use super::{
    CannotTell,
    events::{self, Counts, Event, Used},
    stats::Series,
    steady::{EntryId, Whole, on_cpu_of_all},
};

/// With fewer requests their rate is known to less than a fifth.
const MIN_REQUESTS: u64 = 30;
/// So many of a hundred requests may be untimed or unanswered, and the rest still stands for all.
const MAX_UNSEEN: f64 = 0.05;
/// What is under way when a window closes, on each edge.
const UNDER_WAY: f64 = 2.0;
/// What our programs and the kernel's own accounting may differ by, as a share and at least.
const MAX_APART: f64 = 0.05;
const APART_NS: f64 = 50_000_000.0;
/// If they differ by more, what the processes did is not what the command did.
const MOST_APART: f64 = 0.25;

/// One run.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// Tasks done.
    pub tasks: u64,
    /// The time that they took.
    pub wall_ns: f64,
    /// Mean time of a task, if it is known by itself.
    pub latency_ns: Option<f64>,
    /// What the components that did the work used.
    pub counts: Counts,
    /// The same one by one.
    pub used: Vec<Used>,
    /// CPU time of all others on the host.
    pub others_on_cpu_ns: Option<f64>,
    /// Time that a CPU quota held threads back.
    pub throttled_ns: Option<f64>,
    /// What rules found.
    pub findings: Vec<Finding>,
    /// Throughput, window by window.
    pub rates: Series,
    /// Windows.
    pub windows: u64,
    /// What was lost, all classes together.
    pub lost: u64,
    /// Where it ran: host, kernel, CPUs online.
    pub host: (String, String, u32),
    /// What is not known, and why.
    pub unknown: Vec<Unknown>,
    /// What limits the answer.
    pub notes: Vec<String>,
}

/// How a command ran, as far as whoever started it saw.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Command {
    /// From its start to its end.
    pub wall_ns: u64,
    /// CPU time of it and all that it waited for, by the kernel's own accounting.
    pub accounted_ns: Option<u64>,
    /// Time that a CPU quota of its control groups held threads back.
    pub throttled_ns: Option<u64>,
}

impl Run {
    /// Tasks a second.
    #[must_use]
    pub fn throughput_per_s(&self) -> f64 {
        self.tasks as f64 * 1e9 / self.wall_ns
    }

    /// Something for each task.
    #[must_use]
    pub fn per_task(&self, event: Event) -> Option<f64> {
        let count = self.counts.get(&event)?;
        (self.tasks > 0).then(|| count / self.tasks as f64)
    }

    /// On-CPU time over the time of so many cores.
    #[must_use]
    pub fn busy(&self, n: u32) -> Option<f64> {
        let on_cpu = self.counts.get(&Event::OnCpu)?;
        Some(on_cpu / self.wall_ns / f64::from(n))
    }

    fn miss(&mut self, fields: &[&str], why: &str) {
        self.unknown.extend(fields.iter().map(|field| Unknown {
            field: (*field).to_owned(),
            why: why.to_owned(),
        }));
    }

    /// What every run takes from its snapshot.
    fn of(whole: &Whole) -> Self {
        let snapshot = &whole.snapshot;
        let host = &snapshot.host;
        Self {
            findings: snapshot.findings.clone(),
            rates: whole.rates,
            windows: whole.windows,
            lost: snapshot.quality.lost_in_all(),
            host: (host.hostname.clone(), host.kernel.clone(), host.cpus),
            ..Self::default()
        }
    }

    fn use_components(&mut self, used: Vec<Used>) {
        self.counts = events::sum(&used);
        self.used = used;
    }

    /// Says why hardware counters do not count.
    fn explain_counters(&mut self, snapshot: &Snapshot) {
        let told = self.unknown.iter().any(|unknown| unknown.field == "cpi");
        if told || self.counts.contains_key(&Event::Cycles) {
            return;
        }
        let pmu = &snapshot.quality.pmu;
        let reason = visible(&pmu.reason);
        let why = match pmu.state {
            PmuState::None | PmuState::Disabled if !reason.is_empty() => {
                format!("no hardware counters: {reason}")
            }
            PmuState::None | PmuState::Disabled => "no hardware counters".to_owned(),
            PmuState::Ok | PmuState::Multiplexed => {
                "hardware counters did not count most of the CPU time".to_owned()
            }
        };
        self.miss(&["frequency", "instructions_per_task", "cpi"], &why);
    }

    /// Requests served at an entry, and what the components on their way used.
    ///
    /// # Errors
    /// There were too few, or they cannot be counted.
    pub fn of_requests(file: &str, whole: &Whole, id: &EntryId) -> Result<Self, CannotTell> {
        let snapshot = &whole.snapshot;
        let entry = snapshot.entries.iter().find(|entry| id.is(entry));
        let Some(entry) = entry.filter(|entry| entry.requests >= MIN_REQUESTS) else {
            return Err(CannotTell::TooFewRequests {
                file: file.to_owned(),
                entry: id.clone(),
                requests: entry.map_or(0, |entry| entry.requests),
            });
        };
        if !is_counted(snapshot, entry) {
            return Err(CannotTell::Interleaved {
                file: file.to_owned(),
                entry: id.clone(),
            });
        }
        let of_command = whole.own.as_ref();
        if of_command.is_some_and(|own| !did_something(own, &id.component)) {
            return Err(CannotTell::NotOfCommand { entry: id.clone() });
        }
        let mut run = Self::of(whole);
        run.tasks = entry.requests;
        run.wall_ns = snapshot.window.duration_ns as f64;
        run.latency_ns = entry.mean_ns.filter(|mean| *mean > 0.0);
        if run.latency_ns.is_none() {
            run.miss(&["latency_ns"], "no request was timed");
        }
        run.add_way(snapshot, entry);
        run.throttled_ns = run.counts.get(&Event::Throttled).copied();
        run.explain_throttled();
        if !whole.all_shown {
            run.others_on_cpu_ns = None;
            run.miss(&["others_busy"], "only some components were selected");
        }
        run.explain_counters(snapshot);
        Ok(run)
    }

    /// What the components on the way of requests used.
    fn add_way(&mut self, snapshot: &Snapshot, entry: &Entry) {
        let on_way = |component: &&Component| {
            let mut courts = entry.courts.iter();
            component.kind != ComponentKind::Remote
                && courts.any(|court| court.component == component.id)
        };
        let own: Vec<&Component> = snapshot.components.iter().filter(on_way).collect();
        let is_own = |id: &str| own.iter().any(|component| component.id == id);
        if let Some(shared) = shared(snapshot, entry, &own) {
            let why = format!(
                "{} also serves requests that do not come from there; record while nothing else asks it",
                visible(&shared.name)
            );
            let fields = [
                "on_cpu_ns_per_task",
                "busy",
                "others_busy",
                "frequency",
                "instructions_per_task",
                "cpi",
            ];
            self.miss(&fields, &why);
            return;
        }
        let used = own.iter().map(|component| {
            let mut used = Used::of(component);
            let locked = locked_ns(component, entry);
            used.counts.extend(locked.map(|ns| (Event::Lock, ns)));
            used
        });
        self.use_components(used.collect());
        let parts =
            |part: Part| -> f64 { entry.courts.iter().map(|court| court.parts[part]).sum() };
        let requests = entry.requests as f64;
        self.counts
            .insert(Event::Sleep, parts(Part::Sleep) * requests);
        self.counts
            .insert(Event::Queued, parts(Part::Queued) * requests);
        let inside = |edge: &&Edge| is_own(&edge.to);
        let edges: Vec<&Edge> = snapshot.edges.iter().filter(inside).collect();
        self.counts.extend(events::between(&edges));
        let on_cpu = self.counts.get(&Event::OnCpu).copied().unwrap_or(0.0);
        self.others_on_cpu_ns = Some((on_cpu_of_all(snapshot) - on_cpu).max(0.0));
    }

    /// A command, and what its processes used.
    #[must_use]
    pub fn of_command(whole: &Whole, command: &Command, tasks: u64) -> Self {
        let mut run = Self::of(whole);
        run.tasks = tasks;
        run.wall_ns = command.wall_ns as f64;
        run.rates = Series::default();
        run.throttled_ns = command.throttled_ns.map(|ns| ns as f64);
        let Some(own) = &whole.own else {
            run.explain_throttled();
            let why = "the recording does not tell which processes belong to the command; select them, as in: -n NAME";
            let fields = ["on_cpu_ns_per_task", "busy", "others_busy"];
            run.miss(&fields, why);
            run.explain_counters(&whole.snapshot);
            return run;
        };
        let local = own
            .components
            .iter()
            .filter(|component| component.kind != ComponentKind::Remote);
        run.use_components(local.map(Used::of).collect());
        run.others_on_cpu_ns = whole.others_on_cpu_ns.map(|ns| ns as f64);
        if let Some(accounted) = command.accounted_ns {
            run.hold_to(accounted as f64);
        }
        // Of threads, it holds times side by side more than once; its control groups know better, where they were read.
        let of_threads = run.counts.get(&Event::Throttled).copied();
        run.throttled_ns = run.throttled_ns.or(of_threads);
        run.explain_throttled();
        if run.counts.get(&Event::OnCpu).is_none_or(|ns| *ns <= 0.0) {
            run.counts.remove(&Event::OnCpu);
            let fields = ["on_cpu_ns_per_task", "busy", "others_busy"];
            run.miss(&fields, "no process of the command was seen on a CPU");
        }
        run.explain_counters(&whole.snapshot);
        run
    }

    fn explain_throttled(&mut self) {
        if self.throttled_ns.is_none() {
            self.miss(&["throttled_ns_per_task"], NO_THROTTLED);
        }
    }

    /// Of a service that a command started: what held it back in the windows that count, as if evenly; where its threads told that
    /// of these windows, it is known better.
    pub fn say_throttled(&mut self, command: &Command) {
        if self.throttled_ns.is_some() {
            return;
        }
        if let Some(ns) = command.throttled_ns.filter(|_| command.wall_ns > 0) {
            let share = (self.wall_ns / command.wall_ns as f64).min(1.0);
            self.throttled_ns = Some(ns as f64 * share);
            self.unknown
                .retain(|unknown| unknown.field != "throttled_ns_per_task");
        }
    }

    /// Compares CPU time with the kernel's own accounting of the command, and goes by that where they differ.
    fn hold_to(&mut self, accounted: f64) {
        let seen = self.counts.get(&Event::OnCpu).copied().unwrap_or(0.0);
        let apart = (seen - accounted).abs();
        if apart <= APART_NS.max(MAX_APART * accounted) {
            return;
        }
        let far = apart > MOST_APART * accounted;
        self.notes.push(format!(
            "By the kernel's accounting the command and what it waited for took {} of CPU time, and the processes that began meanwhile {}: on-CPU time is the first, {}.",
            duration_f64(accounted),
            duration_f64(seen),
            if far {
                "and all else is left out, since too much of it is of others"
            } else {
                "and all else may be of others in part"
            }
        ));
        if far {
            self.counts.clear();
            self.used.clear();
        }
        self.counts.insert(Event::OnCpu, accounted);
        // These are of other processes than the CPU time.
        self.counts.retain(|event, _| {
            !matches!(
                event,
                Event::Cycles | Event::Instructions | Event::LlcReferences | Event::LlcMisses
            )
        });
        if let Some(others) = &mut self.others_on_cpu_ns {
            *others = (*others + seen - accounted).max(0.0);
        }
    }
}

/// What threads of a component slept by a futex while they had one of these requests: as much of their sleep then as of all
/// their sleep while they had a message. None where that is not measured.
fn locked_ns(component: &Component, entry: &Entry) -> Option<f64> {
    let turnaround = &component.turnaround;
    let all = turnaround.parts[Part::Sleep].max(1) as f64;
    let share = (turnaround.lock_ns? as f64 / all).min(1.0);
    let courts = entry.courts.iter();
    let own = courts.filter(|court| court.component == component.id);
    let slept: f64 = own.map(|court| court.parts[Part::Sleep]).sum();
    Some(slept * share * entry.requests as f64)
}

const NO_THROTTLED: &str =
    "the time that a CPU quota held threads back is not in these measurements";

/// Whether a component was on a CPU.
fn did_something(snapshot: &Snapshot, id: &str) -> bool {
    let mut components = snapshot.components.iter();
    components.any(|component| component.id == id && component.cpu.on_cpu_ns > 0)
}

fn is_few(some: u64, of: u64) -> bool {
    some as f64 <= of as f64 * MAX_UNSEEN
}

/// Whether the requests are known but for a few. Connections older than the attach make any count a lower bound, by one
/// turn each.
fn is_counted(snapshot: &Snapshot, entry: &Entry) -> bool {
    let nearly_all = |edge: &Edge| {
        let messages = edge.messages_sent.max(edge.messages_received) as f64;
        let most = edge.roundtrips as f64 * (1.0 + MAX_UNSEEN) + UNDER_WAY;
        is_few(edge.untimed, edge.roundtrips) && (!edge.lower_bound || messages <= most)
    };
    let into = |edge: &&Edge| edge.to == entry.component && edge.port == entry.port;
    is_few(entry.untimed, entry.requests)
        && (!entry.lower_bound || snapshot.edges.iter().filter(into).all(nearly_all))
}

/// A component on the way that others ask more than a few requests of, too.
fn shared<'a>(snapshot: &Snapshot, entry: &Entry, own: &[&'a Component]) -> Option<&'a Component> {
    let is_own = |id: &str| own.iter().any(|component| component.id == id);
    let is_asked_by_others = |component: &&&Component| {
        let (mut all, mut foreign) = (0u64, 0u64);
        let into = snapshot.edges.iter().filter(|edge| edge.to == component.id);
        for edge in into {
            all = all.saturating_add(edge.roundtrips);
            let enters = edge.to == entry.component && edge.port == entry.port;
            if !enters && !is_own(&edge.from) {
                foreign = foreign.saturating_add(edge.roundtrips);
            }
        }
        !is_few(foreign, all)
    };
    own.iter().find(is_asked_by_others).copied()
}

/// How long runs took.
#[must_use]
pub(super) fn makespan(runs: &[Run]) -> Option<Makespan> {
    let mut all: Vec<u64> = runs.iter().map(|run| run.wall_ns as u64).collect();
    all.sort_unstable();
    Some(Makespan {
        min_ns: *all.first()?,
        median_ns: *all.get((all.len() - 1) / 2)?,
        max_ns: *all.last()?,
    })
}
