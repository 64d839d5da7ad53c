//! What is on the screen: one snapshot, the past that led to it, and what views look up in both.
//!
//! In: snapshots, one a window. Out: names, rates and histories by component and edge.
//! Must not know: keys, views, how anything is drawn.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use super::{history::History, views::neighbours};
use courtside_core::{
    frame::Transport,
    model::{
        judgement::Judgement,
        snapshot::{Component, Dist, Edge, Entry, Snapshot, Turnaround},
        threads::Threads,
        visible::for_people,
        words::{Names, mostly_untimed},
    },
    parts::Parts,
    units::per_second,
};

/// What is remembered of a component for each window.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ComponentSample {
    pub served_per_second: f64,
    /// Mean turnaround by part, nanoseconds.
    pub parts: Option<Parts<f64>>,
    pub on_cpu: f64,
    /// For how long others had the CPU while it waited; none where that is not known.
    pub others: Option<f64>,
    pub disk_bytes_per_second: f64,
}

/// What is remembered of an edge for each window.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct EdgeSample {
    pub roundtrips_per_second: f64,
    pub p50_ns: Option<f64>,
}

/// A snapshot, its past, and indexes into it.
#[derive(Clone, Debug, Default)]
pub(super) struct Shown {
    /// The newest window, its names as they may be shown.
    pub snapshot: Arc<Snapshot>,
    /// The same with its names as they are.
    pub exact: Arc<Snapshot>,
    /// How guard sees the newest window, its names as they may be shown; none where it does not run.
    pub judgement: Option<Arc<Judgement>>,
    /// The threads of the component that was opened in the view CPU, their names as they may be shown.
    pub threads: Option<Arc<Threads>>,
    /// Windows seen so far; zero means that `snapshot` is empty.
    pub windows: u64,
    pub components: History<ComponentSample>,
    pub edges: History<EdgeSample>,
    index: HashMap<String, usize>,
    names: Vec<String>,
    roundtrips_per_request: Vec<Option<f64>>,
    /// Whether those are lower bounds.
    at_least: Vec<bool>,
}

impl Shown {
    /// Takes the next window; `missed` windows between it and the last one are gaps.
    pub fn observe(&mut self, snapshot: Arc<Snapshot>, missed: u64) {
        self.exact = snapshot;
        let snapshot = match for_people(&self.exact) {
            Cow::Borrowed(_) => Arc::clone(&self.exact),
            Cow::Owned(shown) => Arc::new(shown),
        };
        for _ in 0..missed.min(super::history::WINDOWS as u64) {
            self.components.push(std::iter::empty());
            self.edges.push(std::iter::empty());
        }
        let window_ns = snapshot.window.duration_ns;
        self.components.push(snapshot.components.iter().map(|c| {
            let sample = ComponentSample {
                served_per_second: per_second(c.requests.served, window_ns),
                parts: mean_parts(&c.turnaround),
                on_cpu: share(c.cpu.on_cpu_ns, window_ns),
                others: neighbours::waited(c).map(|waited| share(waited.others_ns, window_ns)),
                disk_bytes_per_second: per_second(
                    c.disk.read_bytes + c.disk.write_bytes,
                    window_ns,
                ),
            };
            (c.id.clone(), sample)
        }));
        self.edges.push(snapshot.edges.iter().map(|e| {
            let sample = EdgeSample {
                roundtrips_per_second: per_second(e.roundtrips, window_ns),
                p50_ns: latency(e, |dist| dist.p50_ns),
            };
            (edge_id(e), sample)
        }));
        let ids = snapshot.components.iter().enumerate();
        self.index = ids.map(|(i, c)| (c.id.clone(), i)).collect();
        let names = Names::of(&snapshot);
        let label = |c: &Component| names.get(&c.id).to_owned();
        self.names = snapshot.components.iter().map(label).collect();
        self.roundtrips_per_request = vec![None; snapshot.components.len()];
        self.at_least = vec![false; snapshot.components.len()];
        for edge in &snapshot.edges {
            let from = self.index.get(&edge.from).copied();
            let sum = from.and_then(|i| self.roundtrips_per_request.get_mut(i));
            if let (Some(sum), Some(more)) = (sum, edge.roundtrips_per_request) {
                *sum = Some(sum.unwrap_or(0.0) + more);
                if let Some(mark) = from.and_then(|i| self.at_least.get_mut(i)) {
                    *mark |= edge.lower_bound;
                }
            }
        }
        self.snapshot = snapshot;
        self.windows += 1 + missed;
    }

    /// Forgets the past, not the present.
    pub fn forget(&mut self) {
        self.components = History::default();
        self.edges = History::default();
    }

    /// Position of a component in the snapshot.
    pub fn component(&self, id: &str) -> Option<usize> {
        self.index.get(id).copied()
    }

    /// What to call a component; one that the snapshot does not list goes by its id without the kind.
    pub fn name<'a>(&'a self, id: &'a str) -> &'a str {
        match self.component(id) {
            Some(i) => &self.names[i],
            None => id.split_once(':').map_or(id, |(_, name)| name),
        }
    }

    /// What to call the component at a position of the snapshot.
    pub fn name_at(&self, component: usize) -> &str {
        &self.names[component]
    }

    /// Roundtrips that a component makes for one request at the entry; none known where no edge tells.
    pub fn roundtrips_per_request(&self, component: usize) -> Option<f64> {
        let called = &self.snapshot.components[component].requests;
        let own = self
            .roundtrips_per_request
            .get(component)
            .copied()
            .flatten();
        // A component that serves and calls nobody makes none; without an entry nothing is known.
        own.or_else(|| (called.served > 0 && !self.snapshot.entries.is_empty()).then_some(0.0))
    }

    /// Whether a component's roundtrips per request are a lower bound.
    pub fn at_least(&self, component: usize) -> bool {
        self.at_least.get(component).copied().unwrap_or(false)
    }

    /// Events per second of this window.
    pub fn per_second(&self, count: u64) -> f64 {
        per_second(count, self.snapshot.window.duration_ns)
    }

    /// A time as a share of this window: 1.0 is one core, all the time.
    pub fn share(&self, ns: u64) -> f64 {
        share(ns, self.snapshot.window.duration_ns)
    }

    /// The entry that serves most, of those whose parts add up if there is any.
    pub fn main_entry(&self) -> Option<&Entry> {
        self.snapshot
            .entries
            .iter()
            .max_by_key(|entry| (entry.adds_up, entry.requests))
    }
}

fn share(ns: u64, window_ns: u64) -> f64 {
    per_second(ns, window_ns) / 1e9
}

/// Identity of an edge.
pub(super) fn edge_id(edge: &Edge) -> String {
    let Edge { from, to, port, .. } = edge;
    format!("{from} {to} {} {port}", edge.transport.name())
}

/// Where an edge leads: `tcp:6379`, `unix`.
pub(super) fn service(edge: &Edge) -> String {
    match (edge.transport, edge.port) {
        (Transport::Unix, _) => "unix".to_owned(),
        (other, port) => format!("{}:{port}", other.name()),
    }
}

/// A quantile of an edge's latency, where it is known of most.
pub(super) fn latency(edge: &Edge, pick: fn(&Dist) -> u64) -> Option<f64> {
    quantile(&edge.latency_ns, pick).filter(|_| !mostly_untimed(edge.untimed, edge.roundtrips))
}

/// A quantile of a component's service time, where it is known of most.
pub(super) fn service_time(component: &Component, pick: fn(&Dist) -> u64) -> Option<f64> {
    let requests = &component.requests;
    quantile(&requests.service_ns, pick)
        .filter(|_| !mostly_untimed(requests.untimed, requests.served))
}

/// A quantile of a distribution, unless it is empty.
pub(super) fn quantile(dist: &Dist, pick: fn(&Dist) -> u64) -> Option<f64> {
    (dist.count > 0).then(|| pick(dist) as f64)
}

/// Mean of a distribution, unless it is empty.
pub(super) fn mean(dist: &Dist) -> Option<f64> {
    (dist.count > 0).then(|| dist.sum_ns as f64 / dist.count as f64)
}

/// Mean turnaround by part, unless there was none.
pub(super) fn mean_parts(turnaround: &Turnaround) -> Option<Parts<f64>> {
    let count = turnaround.count as f64;
    (turnaround.count > 0).then(|| turnaround.parts.real().map(|ns| ns / count))
}

/// Name of a kind of component.
pub(super) fn kind(component: &Component) -> &'static str {
    component.kind.name()
}
