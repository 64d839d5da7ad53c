//! The report: one page with pictures that works offline.
//!
//! In: the whole recording as one snapshot, and snapshots of its windows for the time lines. Out: HTML. Must not know:
//! where it goes.
//!
//! Text, numbers and tables are made here and readable without scripts; the pictures are drawn by the page itself from
//! the data in it, with the libraries in `vendor`. Every name comes from outside and is escaped: by maud in the page,
//! and by `data::json` in the data.

mod data;
mod detail;
mod page;
mod parts;
mod sections;
#[cfg(test)]
mod tests;
mod timeline;

use std::cmp::Reverse;
use std::collections::HashMap;

use crate::model::Snapshot;
use crate::model::snapshot::{Component, ComponentKind, Edge};
use crate::model::words::Names;

use timeline::Timeline;

/// Most windows that a time line shows; whoever has more makes one snapshot of several.
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
}

impl Report {
    /// One more piece of time for the time lines.
    pub fn add(&mut self, snapshot: &Snapshot) {
        self.timeline.add(snapshot);
    }

    /// The page.
    ///
    /// # Errors
    /// Only if a number cannot be written as JSON, which a snapshot of `fold` never holds.
    pub fn finish(&self, title: &str, whole: &Snapshot) -> Result<String, serde_json::Error> {
        let view = View::new(whole, &self.timeline);
        let data = data::json(&view)?;
        Ok(page::page(&view, title, &data).into_string())
    }
}

/// What of a snapshot is shown, and in which order.
struct View<'a> {
    whole: &'a Snapshot,
    timeline: &'a Timeline,
    names: Names<'a>,
    /// Components with a row and a detail, those on a request's way first.
    components: Vec<&'a Component>,
    /// Their places in that list.
    places: HashMap<&'a str, usize>,
    hidden_components: usize,
    /// Edges with a row, the busiest first.
    edges: Vec<&'a Edge>,
    hidden_edges: usize,
    /// Roundtrips that a component makes for one request at the entry.
    per_request: HashMap<&'a str, f64>,
}

impl<'a> View<'a> {
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
        components.sort_by_key(|c| {
            let place = way.get(c.id.as_str()).copied().unwrap_or(usize::MAX);
            let talk = talks.get(c.id.as_str()).copied().unwrap_or(0);
            (place, Reverse((talk, c.cpu.on_cpu_ns)), &c.id)
        });
        components.truncate(MAX_COMPONENTS);
        let mut edges: Vec<&Edge> = whole.edges.iter().collect();
        edges.sort_by_key(|edge| (Reverse(edge.roundtrips), &edge.from, &edge.to, edge.port));
        edges.truncate(MAX_EDGES);
        Self {
            whole,
            timeline,
            names: Names::of(whole),
            places: (0..)
                .zip(&components)
                .map(|(n, c)| (c.id.as_str(), n))
                .collect(),
            hidden_components: whole.components.len() - components.len(),
            hidden_edges: whole.edges.len() - edges.len(),
            components,
            edges,
            per_request,
        }
    }

    /// What to call a component.
    fn name(&self, id: &str) -> String {
        super::text::clip(self.names.get(id), NAME_WIDTH)
    }
}
