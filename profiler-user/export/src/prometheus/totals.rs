//! Totals: what all windows since the agent began add up to.
//!
//! In: snapshots, one after the other. Out: a text in either form. Must not know: clocks, who reads it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use courtside_core::frame::Transport;
use courtside_core::model::snapshot::Snapshot;

use super::{
    blames::{Blames, QUEUED_BEHIND, RUN_QUEUE_BY},
    family::{COMPONENTS, EDGES, PROGRAMS, TURNAROUNDS},
    group::{Now, Sums},
    otlp::Otlp,
    protobuf::Protobuf,
    shown::{Id, Shown, less},
    whole::{Agent, Whole},
    write::{Form, Key, Label, Sink, Text, Writer, label},
};

/// Component and recipient.
type Pair = (Id, Id);

/// An edge; the port of those at `other` is not told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Between {
    from: Id,
    to: Id,
    transport: Transport,
    port: Option<u16>,
}

/// How many label sets of each kind there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Series {
    /// Components, `other` among them.
    pub components: usize,
    /// Edges.
    pub edges: usize,
    /// Components and recipients.
    pub turnarounds: usize,
    /// Of the last window: components, edges and recipients that the limit put into `other`.
    pub folded: usize,
}

/// What all windows add up to.
#[derive(Debug)]
pub struct Totals {
    shown: Shown,
    most_pairs: usize,
    components: BTreeMap<Id, Sums>,
    run_queue_by: Blames,
    queued_behind: Blames,
    pairs: BTreeMap<Pair, Sums>,
    edges: BTreeMap<Between, Sums>,
    programs: BTreeMap<String, Sums>,
    whole: Whole,
    folded: usize,
    /// Native histograms are wanted.
    native: bool,
}

/// So many edges, and pairs of components and recipients, have series of their own for each component that has; beyond that
/// the other end is `other`, so that what a component did in all is right.
const PAIRS: usize = 4;
/// Kernel programs that are told apart; there are some thirty.
const MOST_PROGRAMS: usize = 256;

impl Totals {
    /// Nothing so far. At most `most` components get series of their own; those of a component that is gone are kept for
    /// `linger_ns` more.
    #[must_use]
    pub fn new(most: usize, linger_ns: u64) -> Self {
        Self {
            shown: Shown::new(most, linger_ns),
            most_pairs: most.max(1).saturating_mul(PAIRS),
            components: BTreeMap::new(),
            run_queue_by: Blames::default(),
            queued_behind: Blames::default(),
            pairs: BTreeMap::new(),
            edges: BTreeMap::new(),
            programs: BTreeMap::new(),
            whole: Whole::default(),
            folded: 0,
            native: false,
        }
    }

    /// The same, with what native histograms need.
    #[must_use]
    pub fn with_native_histograms(self) -> Self {
        Self {
            native: true,
            ..self
        }
    }

    /// Adds a window. `lives` says of the processes that a component had whether any is still there.
    pub fn add(&mut self, snapshot: &Snapshot, lives: &dyn Fn(&[u32]) -> bool) {
        let now = Now {
            start_ns: snapshot.window.start_unix_ns,
            native: self.native,
        };
        for id in self.shown.window(snapshot, lives) {
            self.give_up(&id, now);
        }
        let less = less(snapshot.window.duration_ns);
        self.run_queue_by.age(less, now.start_ns);
        self.queued_behind.age(less, now.start_ns);
        let mut folded = 0;
        let other = self.shown.other();
        let is_other = |id: &Id| *id == other;
        // A recipient that was not selected is told of nowhere else: no limit has put it into `other`.
        let there: BTreeSet<&str> = snapshot
            .components
            .iter()
            .map(|component| component.id.as_str())
            .collect();
        for component in &snapshot.components {
            let id = self.shown.label(&component.id);
            folded += usize::from(is_other(&id));
            let sums = self.components.entry(Arc::clone(&id)).or_default();
            sums.add(&COMPONENTS, component, now);
            if let Some(by) = &component.cpu.run_queue_by {
                self.run_queue_by.add(&id, by, &self.shown, now.start_ns);
            }
            if let Some(by) = &component.disk.queued_behind {
                self.queued_behind.add(&id, by, &self.shown, now.start_ns);
            }
            for recipient in &component.turnaround.by_recipient {
                let mut pair = (Arc::clone(&id), self.shown.label(&recipient.to));
                let is_hidden = is_other(&pair.1) && !there.contains(recipient.to.as_str());
                if self.pairs.len() >= self.most_pairs && !self.pairs.contains_key(&pair) {
                    pair.1 = Arc::clone(&other);
                }
                let own = !is_other(&pair.0) && !is_other(&pair.1);
                folded += usize::from(!own && !is_hidden);
                self.pairs
                    .entry(pair)
                    .or_default()
                    .add(&TURNAROUNDS, recipient, now);
            }
        }
        for edge in &snapshot.edges {
            let mut between = Between {
                from: self.shown.label(&edge.from),
                to: self.shown.label(&edge.to),
                transport: edge.transport,
                port: Some(edge.port),
            }
            .told(&other);
            if self.edges.len() >= self.most_pairs && !self.edges.contains_key(&between) {
                between.to = Arc::clone(&other);
                between = between.told(&other);
            }
            let own = !is_other(&between.from) && !is_other(&between.to);
            folded += usize::from(!own);
            let sums = self.edges.entry(between).or_default();
            sums.add(&EDGES, edge, now);
        }
        for program in &snapshot.cost.programs {
            let known = self.programs.contains_key(&program.name);
            if program.runs.is_some() && (known || self.programs.len() < MOST_PROGRAMS) {
                let sums = self.programs.entry(program.name.clone()).or_default();
                sums.add(&PROGRAMS, program, now);
            }
        }
        self.run_queue_by.exchange(&other);
        self.queued_behind.exchange(&other);
        self.whole.add(snapshot);
        self.folded = folded;
    }

    /// What a component had goes into `other`.
    fn give_up(&mut self, id: &Id, now: Now) {
        let other = self.shown.other();
        if let Some(sums) = self.components.remove(id) {
            self.components
                .entry(Arc::clone(&other))
                .or_default()
                .merge(&sums);
        }
        self.run_queue_by.give_up(id, &other, now.start_ns);
        self.queued_behind.give_up(id, &other, now.start_ns);
        let new = |end: &Id| {
            if end == id {
                Arc::clone(&other)
            } else {
                Arc::clone(end)
            }
        };
        let is_its = |pair: &Pair| pair.0 == *id || pair.1 == *id;
        let moving: Vec<Pair> = self
            .pairs
            .keys()
            .filter(|pair| is_its(pair))
            .cloned()
            .collect();
        for pair in moving {
            if let Some(sums) = self.pairs.remove(&pair) {
                let pair = (new(&pair.0), new(&pair.1));
                self.pairs.entry(pair).or_default().merge(&sums);
            }
        }
        let is_its = |edge: &Between| edge.from == *id || edge.to == *id;
        let moving: Vec<Between> = self
            .edges
            .keys()
            .filter(|edge| is_its(edge))
            .cloned()
            .collect();
        for edge in moving {
            if let Some(sums) = self.edges.remove(&edge) {
                let edge = Between {
                    from: new(&edge.from),
                    to: new(&edge.to),
                    ..edge
                }
                .told(&other);
                self.edges.entry(edge).or_default().merge(&sums);
            }
        }
    }

    /// How many label sets there are.
    #[must_use]
    pub fn series(&self) -> Series {
        Series {
            components: self.components.len(),
            edges: self.edges.len(),
            turnarounds: self.pairs.len(),
            folded: self.folded,
        }
    }

    /// Windows so far.
    #[must_use]
    pub fn windows(&self) -> u64 {
        self.whole.windows
    }

    /// Time of all windows.
    #[must_use]
    pub fn measured_ns(&self) -> u64 {
        self.whole.measured_ns
    }

    /// What was lost in all windows, by class.
    #[must_use]
    pub fn lost(&self) -> &BTreeMap<String, u64> {
        &self.whole.lost
    }

    /// Windows in which some count may be too low.
    #[must_use]
    pub fn lower_bound_windows(&self) -> u64 {
        self.whole.lower_bound_windows
    }

    /// All of it as text. `last` is the last window.
    #[must_use]
    pub fn text(&self, form: Form, last: Option<&Snapshot>, agent: &Agent) -> String {
        let mut to = Text::new(form);
        self.write(&mut to, last, agent);
        to.finish()
    }

    /// All of it as Prometheus' protobuf, with native histograms if they were wanted from the beginning.
    #[must_use]
    pub fn protobuf(&self, last: Option<&Snapshot>, agent: &Agent) -> Vec<u8> {
        let mut to = Protobuf::default();
        self.write(&mut to, last, agent);
        to.finish()
    }

    /// All of it as a request of OpenTelemetry's metrics service. All numbers are of the end of the last window.
    #[must_use]
    pub fn otlp(&self, last: &Snapshot, agent: &Agent) -> Vec<u8> {
        let window = last.window;
        let end_ns = window.start_unix_ns.saturating_add(window.duration_ns);
        let mut to = Otlp::new(end_ns);
        self.write(&mut to, Some(last), agent);
        let host = [
            ("service.name", "courtside"),
            ("service.version", &agent.version),
            ("host.name", &last.host.hostname),
            ("host.arch", &last.host.arch),
            ("os.type", "linux"),
            ("os.version", &last.host.kernel),
        ];
        to.finish(&agent.version, &host)
    }

    fn write(&self, to: &mut dyn Sink, last: Option<&Snapshot>, agent: &Agent) {
        let mut to = Writer::new(to, agent.started_unix_ns);
        let components = self.components.iter();
        let components: Vec<(Key, &Sums)> = components
            .map(|(id, sums)| keyed(vec![label("component", id)], sums))
            .collect();
        to.group(&COMPONENTS, &components);
        to.component_info(self.shown.all());
        self.run_queue_by.write(&RUN_QUEUE_BY, &mut to);
        self.queued_behind.write(&QUEUED_BEHIND, &mut to);
        let pairs = self.pairs.iter();
        let pairs: Vec<(Key, &Sums)> = pairs
            .map(|((id, to), sums)| keyed(vec![label("component", id), label("to", to)], sums))
            .collect();
        to.group(&TURNAROUNDS, &pairs);
        let edges = self.edges.iter();
        let edges: Vec<(Key, &Sums)> = edges
            .map(|(edge, sums)| keyed(edge.labels(), sums))
            .collect();
        to.group(&EDGES, &edges);
        let programs = self.programs.iter();
        let programs: Vec<(Key, &Sums)> = programs
            .map(|(name, sums)| keyed(vec![label("program", name)], sums))
            .collect();
        to.group(&PROGRAMS, &programs);
        let label = |id: &str| self.shown.label(id);
        self.whole.write(&mut to, self.folded, last, &label, agent);
    }
}

/// Labels and sums, and when the sums were 0.
fn keyed(labels: Vec<Label>, sums: &Sums) -> (Key, &Sums) {
    let since_ns = sums.since_ns.unwrap_or(0);
    (Key { labels, since_ns }, sums)
}

impl Between {
    /// What leads to `other` has no port: there would be a series for each.
    fn told(self, other: &Id) -> Self {
        let port = self.port.filter(|_| self.to != *other);
        Self { port, ..self }
    }

    fn labels(&self) -> Vec<Label> {
        let port = self
            .port
            .map_or_else(|| super::OTHER.to_owned(), |port| port.to_string());
        vec![
            label("from", &self.from),
            label("to", &self.to),
            label("transport", self.transport.name()),
            label("port", &port),
        ]
    }
}
