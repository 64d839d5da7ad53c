//! The report: one page with pictures that works offline.
//!
//! In: the whole recording as one snapshot, and snapshots of its windows for the time lines. Out: HTML. Must not know:
//! where it goes. `comparison` is the page of `diff`, `scaling` that of `scale` and `prediction` that of `model predict`, in the
//! same style and without scripts.
//!
//! Text, numbers and tables are made here and readable without scripts; the pictures are drawn by the page itself from
//! the data in it, with the libraries in `vendor`. Every name comes from outside and is escaped: by maud in the page,
//! and by `data::json` in the data.

mod bars;
mod comparison;
mod data;
mod detail;
mod findings;
mod frame;
mod grid;
mod neighbours;
mod page;
mod parallel;
mod parts;
mod picks;
mod plot;
mod prediction;
mod ratios;
mod scaling;
mod sections;
mod tail;
#[cfg(test)]
mod tests;
mod timeline;
mod waterfall;
mod widgets;

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use courtside_core::model::Snapshot;
use courtside_core::model::inference::Inference;
use courtside_core::model::interference::Interference;
use courtside_core::model::snapshot::{Component, ComponentKind, Edge};
use courtside_core::model::tail::Tail;
use courtside_core::model::visible::{for_people, visible};
use courtside_core::model::words::Names;

use picks::Picks;
use timeline::Timeline;

pub use comparison::comparison;
pub use prediction::{Measured, prediction};
pub use scaling::scaling;

/// Most windows that a time line shows; of more windows, several have to be made one snapshot.
pub const MAX_POINTS: usize = 150;
/// Most components with a row and a detail, most edges with a row: the page has to stay small.
const MAX_COMPONENTS: usize = 60;
const MAX_EDGES: usize = 60;
const MAX_ENTRIES: usize = 6;
/// Most boxes of the map.
const MAX_NODES: usize = 32;
/// From this share of one core on a component is worth a row though it has no traffic.
const NOTABLE_CPU: f64 = 0.01;
/// The same for requests to the disk a second.
const NOTABLE_DISK: f64 = 5.0;
/// Longer names are cut in the middle.
const NAME_WIDTH: usize = 48;

/// Collects what a report shows.
#[derive(Default)]
pub struct Report {
    timeline: Timeline,
    tail: Option<Result<Tail, String>>,
    application: Option<Inference>,
    guard: Option<Judged>,
}

/// What guard said of a recording.
#[derive(Clone, Debug, Default)]
pub struct Judged {
    /// Its lines, in the order of time.
    pub lines: Vec<Interference>,
    /// Lines beyond those, of which there were too many.
    pub left_out: u64,
    /// Windows that it has seen.
    pub windows: u64,
    /// Windows from which it learned what is usual before it judged anything.
    pub needed: u64,
}

impl Report {
    /// One more piece of time for the time lines.
    pub fn add(&mut self, snapshot: &Snapshot) {
        self.timeline.add(&for_people(snapshot));
    }

    /// Why the slowest requests are slow, or why that cannot be told; without single events there is neither.
    pub fn set_tail(&mut self, tail: Result<Tail, String>) {
        self.tail = Some(tail);
    }

    /// What an application of several processes does; the page shows it if they exchange messages again and again.
    pub fn set_application(&mut self, found: Inference) {
        self.application = Some(found);
    }

    /// Who slowed whom more than usual; without it the page says that this was not judged.
    pub fn set_guard(&mut self, judged: Judged) {
        self.guard = Some(judged);
    }

    /// The page.
    ///
    /// # Errors
    /// Only if a number cannot be written as JSON, which a snapshot of `fold` never holds.
    pub fn finish(&self, title: &str, whole: &Snapshot) -> Result<String, serde_json::Error> {
        let whole = &*for_people(whole);
        let view = ReportView::new(whole, &self.timeline);
        let data = data::json(&view)?;
        let found = page::Found {
            slowest: self.tail.as_ref(),
            application: self.application.as_ref(),
            guard: self.guard.as_ref(),
        };
        Ok(page::page(&view, &visible(title), &data, found).into_string())
    }
}

/// What of a snapshot is shown, and in which order.
struct ReportView<'a> {
    whole: &'a Snapshot,
    timeline: &'a Timeline,
    names: Names<'a>,
    /// What each is called on the page.
    titles: HashMap<&'a str, String>,
    ends: Ends<'a>,
    /// Components with a row and a detail: services, those on a request's way first; then their clients; then the rest.
    components: Vec<&'a Component>,
    /// Their places in that list.
    places: HashMap<&'a str, usize>,
    /// Edges with a row, the busiest first.
    edges: Vec<&'a Edge>,
    /// Roundtrips that a component makes for one request at the entry.
    per_request: HashMap<&'a str, f64>,
    picks: Picks,
}

/// Why a component is on the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    /// It serves someone.
    Service,
    /// It calls others and serves no requests: nobody waits while it keeps the ball.
    Client,
    /// It has no traffic.
    Quiet,
}

impl<'a> ReportView<'a> {
    fn new(whole: &'a Snapshot, timeline: &'a Timeline) -> Self {
        let mut way: HashMap<&str, usize> = HashMap::new();
        for court in whole.entries.iter().flat_map(|entry| &entry.courts) {
            let next = way.len();
            way.entry(court.component.as_str()).or_insert(next);
        }
        let mut per_request: HashMap<&str, f64> = way.keys().map(|id| (*id, 0.0)).collect();
        let mut talks: HashMap<&str, u64> = HashMap::new();
        for edge in &whole.edges {
            *talks.entry(&edge.from).or_default() += edge.roundtrips;
            *talks.entry(&edge.to).or_default() += edge.roundtrips;
            if let Some(n) = edge.roundtrips_per_request {
                *per_request.entry(&edge.from).or_default() += n;
            }
        }
        let window_ns = whole.window.duration_ns.max(1) as f64;
        let notable = |c: &&Component| {
            c.kind != ComponentKind::Remote
                && (c.requests.served > 0
                    || talks.contains_key(c.id.as_str())
                    || (c.disk.reads + c.disk.writes) as f64 * 1e9 / window_ns >= NOTABLE_DISK
                    || c.cpu.on_cpu_ns as f64 / window_ns >= NOTABLE_CPU)
        };
        let mut components: Vec<&Component> = whole.components.iter().filter(notable).collect();
        let talks_to = |end: fn(&Edge) -> &str| -> HashSet<&str> {
            let edges = whole.edges.iter();
            edges
                .filter(|edge| edge.roundtrips > 0 && edge.from != edge.to)
                .map(end)
                .collect()
        };
        let ends = Ends {
            callers: talks_to(|edge| &edge.from),
            called: talks_to(|edge| &edge.to),
        };
        components.sort_by_key(|c| {
            let group = ends.group(c);
            let place = way.get(c.id.as_str()).copied().unwrap_or(usize::MAX);
            let talk = talks.get(c.id.as_str()).copied().unwrap_or(0);
            (group, place, Reverse((talk, c.cpu.on_cpu_ns)), &c.id)
        });
        components.truncate(MAX_COMPONENTS);
        let mut edges: Vec<&Edge> = whole.edges.iter().collect();
        edges.sort_by_key(|edge| (Reverse(edge.roundtrips), &edge.from, &edge.to, edge.port));
        edges.truncate(MAX_EDGES);
        let names = Names::of(whole);
        let mut view = Self {
            whole,
            timeline,
            titles: titles(whole, &names),
            names,
            ends,
            places: (0..)
                .zip(&components)
                .map(|(n, c)| (c.id.as_str(), n))
                .collect(),
            components,
            edges,
            per_request,
            picks: Picks::default(),
        };
        view.picks = Picks::of(&view);
        view
    }

    /// What to call a component.
    fn name(&self, id: &str) -> String {
        match self.titles.get(id) {
            Some(title) => title.clone(),
            None => super::text::clip(self.names.get(id), NAME_WIDTH),
        }
    }

    fn group(&self, component: &Component) -> Group {
        self.ends.group(component)
    }
}

/// Who is at an end of an edge.
struct Ends<'a> {
    callers: HashSet<&'a str>,
    called: HashSet<&'a str>,
}

impl Ends<'_> {
    fn group(&self, component: &Component) -> Group {
        let id = component.id.as_str();
        if component.requests.served > 0 || self.called.contains(id) {
            Group::Service
        } else if component.turnaround.count > 0 || self.callers.contains(id) {
            Group::Client
        } else {
            Group::Quiet
        }
    }
}

/// Names short enough for a page; where cutting makes two alike, those stay whole.
fn titles<'a>(whole: &'a Snapshot, names: &Names<'a>) -> HashMap<&'a str, String> {
    let short = |id: &str, most| super::text::clip(names.get(id), most);
    let mut bearers: HashMap<String, usize> = HashMap::new();
    for component in &whole.components {
        *bearers.entry(short(&component.id, NAME_WIDTH)).or_default() += 1;
    }
    let title = |component: &'a Component| {
        let id = component.id.as_str();
        let title = short(id, NAME_WIDTH);
        let alone = bearers.get(&title) == Some(&1);
        (id, if alone { title } else { short(id, usize::MAX) })
    };
    whole.components.iter().map(title).collect()
}
