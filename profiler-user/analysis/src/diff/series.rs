//! The numbers of a recording that are compared: a value for each window.
//!
//! In: snapshots of windows. Out: series by component or edge, and field. Must not know: the other recording.

use std::collections::{BTreeMap, BTreeSet};

use courtside_core::{
    model::{
        difference::Recorded,
        finding::Between,
        snapshot::{Component, ComponentKind, Dist, Edge, Snapshot},
    },
    parts::Part,
    units::per_second,
};

use super::rank::Pair;

/// More untimed ones of a hundred, and the rest does not stand for all.
const MAX_UNTIMED: f64 = 0.05;

/// Which number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Field {
    Requests,
    Service,
    Unread,
    OnCpu,
    Turnaround,
    Part(Part),
    Latency,
    Roundtrips,
    /// In how many windows this rule found something, as a share of them.
    Finding(String),
}

impl Field {
    /// As in JSON.
    pub fn name(&self) -> String {
        match self {
            Self::Requests => "requests_per_s".to_owned(),
            Self::Service => "service_ns".to_owned(),
            Self::Unread => "unread_ns".to_owned(),
            Self::OnCpu => "on_cpu_ns_per_request".to_owned(),
            Self::Turnaround => "turnaround_ns".to_owned(),
            Self::Part(part) => format!("turnaround.{}", part.field()),
            Self::Latency => "latency_ns".to_owned(),
            Self::Roundtrips => "roundtrips_per_request".to_owned(),
            Self::Finding(rule) => format!("findings.{rule}"),
        }
    }

    /// In words.
    pub fn words(&self) -> String {
        match self {
            Self::Requests => "requests a second".to_owned(),
            Self::Service => "service time".to_owned(),
            Self::Unread => "time unread".to_owned(),
            Self::OnCpu => "CPU time for each request".to_owned(),
            Self::Turnaround => "turnaround".to_owned(),
            Self::Part(part) => format!("{} within turnarounds", part.words()),
            Self::Latency => "latency".to_owned(),
            Self::Roundtrips => "roundtrips for each request".to_owned(),
            Self::Finding(rule) => format!("the share of windows with the finding {rule}"),
        }
    }

    /// What unit its values have, in the words of evidence.
    pub fn unit(&self) -> &'static str {
        match self {
            Self::Requests => "per_second",
            Self::Roundtrips => "per_request",
            Self::Finding(_) => "share",
            _ => "ns",
        }
    }

    /// What this is a part of.
    pub fn whole(&self) -> Option<Self> {
        match self {
            Self::Part(_) => Some(Self::Turnaround),
            Self::Unread => Some(Self::Service),
            _ => None,
        }
    }
}

/// Whose number, and which.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub component: String,
    /// The acceptor, where it is a number of an edge.
    pub to: Option<String>,
    pub field: Field,
}

impl Key {
    pub fn edge(&self) -> Option<Between> {
        self.to.as_ref().map(|to| Between {
            from: self.component.clone(),
            to: to.clone(),
        })
    }
}

/// What is compared of one recording.
#[derive(Clone, Debug, Default)]
pub struct Side {
    pub(super) series: BTreeMap<Key, Vec<f64>>,
    /// In which windows a rule found something.
    found: BTreeMap<Key, BTreeSet<u64>>,
    pub(super) components: BTreeSet<String>,
    pub(super) recorded: Recorded,
}

impl Side {
    /// Nothing yet, of this file.
    #[must_use]
    pub fn new(file: String) -> Self {
        Self {
            recorded: Recorded {
                file,
                ..Recorded::default()
            },
            ..Self::default()
        }
    }

    /// Nothing yet, of what is measured now.
    #[must_use]
    pub fn now() -> Self {
        let mut side = Self::new("now".to_owned());
        side.recorded.live = true;
        side
    }

    /// The next window.
    pub fn add(&mut self, snapshot: &Snapshot) {
        for finding in &snapshot.findings {
            let (component, to) = match &finding.edge {
                Some(edge) => (&edge.from, Some(&edge.to)),
                None => (&finding.component, None),
            };
            let key = Key {
                component: component.clone(),
                to: to.cloned(),
                field: Field::Finding(finding.rule.clone()),
            };
            let windows = self.found.entry(key).or_default();
            windows.insert(self.recorded.windows);
        }
        let recorded = &mut self.recorded;
        recorded.windows += 1;
        recorded.duration_ns += snapshot.window.duration_ns;
        recorded.lost += snapshot.quality.lost_in_all();
        for component in &snapshot.components {
            recorded.requests += component.requests.served;
            self.components.insert(component.id.clone());
            if component.kind != ComponentKind::Remote {
                let window_ns = snapshot.window.duration_ns;
                let mut take = |field, value| self.series.take(&component.id, None, field, value);
                of_component(component, window_ns, &mut take);
            }
        }
        // What leads from one to the other by several ports is one edge here.
        let mut between: BTreeMap<(&str, &str), Vec<&Edge>> = BTreeMap::new();
        for edge in &snapshot.edges {
            between
                .entry((&edge.from, &edge.to))
                .or_default()
                .push(edge);
        }
        for ((from, to), edges) in between {
            let mut take = |field, value| self.series.take(from, Some(to), field, value);
            of_edges(&edges, &mut take);
        }
    }
}

impl Side {
    /// Of each number that both have in enough windows, and that is not always the same, the values of the one and of the
    /// other.
    pub(super) fn common(&self, other: &Self, enough: usize) -> Vec<(Key, Pair)> {
        let in_both = |key: &Key| {
            let ids = std::iter::once(&key.component).chain(&key.to);
            ids.into_iter()
                .all(|id| self.components.contains(id) && other.components.contains(id))
        };
        let numbers = self.series.iter().filter_map(|(key, of_a)| {
            let of_b = other.series.get(key)?;
            Some((key.clone(), (of_a.clone(), of_b.clone())))
        });
        let rules: BTreeSet<&Key> = self.found.keys().chain(other.found.keys()).collect();
        let found = rules.into_iter().map(|key| {
            (
                key.clone(),
                (self.windows_with(key), other.windows_with(key)),
            )
        });
        numbers
            .chain(found.filter(|(key, _)| in_both(key)))
            .filter(|(_, (a, b))| a.len().min(b.len()) >= enough)
            .filter(|(_, (a, b))| a.iter().chain(b).any(|value| *value != a[0]))
            .collect()
    }

    /// 1 for each window in which the rule found something, 0 for the others.
    fn windows_with(&self, key: &Key) -> Vec<f64> {
        let found = self.found.get(key);
        let value = |window| found.is_some_and(|windows| windows.contains(&window));
        (0..self.recorded.windows)
            .map(|window| f64::from(u8::from(value(window))))
            .collect()
    }

    /// Whether it answers requests, and does not only make them.
    pub(super) fn serves(&self, component: &str) -> bool {
        self.series.contains_key(&Key {
            component: component.to_owned(),
            to: None,
            field: Field::Requests,
        })
    }
}

trait Take {
    fn take(&mut self, component: &str, to: Option<&str>, field: Field, value: f64);
}

impl Take for BTreeMap<Key, Vec<f64>> {
    fn take(&mut self, component: &str, to: Option<&str>, field: Field, value: f64) {
        let key = Key {
            component: component.to_owned(),
            to: to.map(str::to_owned),
            field,
        };
        self.entry(key).or_default().push(value);
    }
}

fn mean(dist: &Dist) -> Option<f64> {
    (dist.count > 0).then(|| dist.sum_ns as f64 / dist.count as f64)
}

fn is_timed(untimed: u64, of: u64) -> bool {
    untimed as f64 <= of as f64 * MAX_UNTIMED
}

fn of_component(component: &Component, window_ns: u64, take: &mut impl FnMut(Field, f64)) {
    let requests = &component.requests;
    if requests.served > 0 {
        let served = requests.served as f64;
        take(Field::Requests, per_second(requests.served, window_ns));
        if !requests.lower_bound {
            take(Field::OnCpu, component.cpu.on_cpu_ns as f64 / served);
        }
        if is_timed(requests.untimed, requests.served) {
            let times = [
                (Field::Service, &requests.service_ns),
                (Field::Unread, &requests.queued_ns),
            ];
            for (field, dist) in times {
                if let Some(mean) = mean(dist) {
                    take(field, mean);
                }
            }
        }
    }
    let turnaround = &component.turnaround;
    if turnaround.count > 0 {
        let count = turnaround.count as f64;
        take(Field::Turnaround, turnaround.total_ns as f64 / count);
        let is_told = |part: &Part| *part != Part::Throttled || turnaround.throttled_told;
        for part in Part::ALL.into_iter().filter(is_told) {
            take(Field::Part(part), turnaround.parts[part] as f64 / count);
        }
    }
}

fn of_edges(edges: &[&Edge], take: &mut impl FnMut(Field, f64)) {
    if edges
        .iter()
        .all(|edge| is_timed(edge.untimed, edge.roundtrips))
    {
        let count: u64 = edges.iter().map(|edge| edge.latency_ns.count).sum();
        let sum: u64 = edges.iter().map(|edge| edge.latency_ns.sum_ns).sum();
        if count > 0 {
            take(Field::Latency, sum as f64 / count as f64);
        }
    }
    if edges.iter().all(|edge| !edge.lower_bound) {
        let each = edges.iter().map(|edge| edge.roundtrips_per_request);
        if let Some(sum) = each.sum::<Option<f64>>() {
            take(Field::Roundtrips, sum);
        }
    }
}
