//! The map: who calls whom behind an entry, roundtrips per request on the arrows, time per request under the names.
//!
//! In: a snapshot and one of its entries. Out: lines. Must not know: tables.

use std::collections::{BTreeMap, HashSet};

use super::text::{BOLD, DIM, Line, PLAIN, clip};
use courtside_core::model::snapshot::{Court, Entry, Snapshot};
use courtside_core::model::words::{Names, at_least};
use courtside_core::units::{TimeUnit, ratio};

/// Most callees that are drawn of one component.
const MAX_CALLEES: usize = 6;
/// Most components that are drawn in all.
const MAX_NODES: usize = 24;
const NAME_WIDTH: usize = 24;

/// Roundtrips per request, and whether that is a lower bound.
#[derive(Clone, Copy, Debug, Default)]
struct Often {
    per_request: f64,
    lower_bound: bool,
}

impl Often {
    fn show(self) -> String {
        at_least(self.lower_bound).trim_end().to_owned() + &ratio(Some(self.per_request))
    }

    fn add(&mut self, other: Self) {
        self.per_request += other.per_request;
        self.lower_bound |= other.lower_bound;
    }
}

/// A component as drawn, and whom it calls.
struct Node {
    name: String,
    /// Time per request in its court; none if it is drawn elsewhere already.
    court: Option<String>,
    /// Roundtrips per request, and the callee.
    calls: Vec<(Often, Node)>,
    /// Callees not drawn.
    more: usize,
}

/// The picture, as a chain with branches; as an indented tree where that is too wide.
pub(super) fn draw(
    snapshot: &Snapshot,
    entry: &Entry,
    names: &Names<'_>,
    width: Option<usize>,
) -> Vec<Line> {
    let mut tree = Tree::new(snapshot, entry, names);
    let root = tree.node(&entry.component);
    let (clients, per_request) = tree.clients();
    let mut lines = vec![Line::default(), Line::default()];
    lines[0].push(PLAIN, clients.clone());
    arrow(&mut lines[0], "──", per_request);
    chain(&root, &mut lines, 0);
    if width.is_none_or(|max| lines.iter().all(|line| line.width() <= max)) {
        return lines;
    }
    let mut lines = vec![Line::new(PLAIN, clients)];
    indented(&root, per_request, 1, &mut lines);
    lines
}

/// Who calls whom in a snapshot, seen from one entry.
struct Tree<'a> {
    entry: &'a Entry,
    names: &'a Names<'a>,
    /// Roundtrips per request by caller and callee.
    calls: BTreeMap<&'a str, BTreeMap<&'a str, Often>>,
    courts: BTreeMap<&'a str, String>,
    drawn: HashSet<&'a str>,
    nodes: usize,
}

impl<'a> Tree<'a> {
    fn new(snapshot: &'a Snapshot, entry: &'a Entry, names: &'a Names<'a>) -> Self {
        let mut calls: BTreeMap<&str, BTreeMap<&str, Often>> = BTreeMap::new();
        for edge in snapshot.edges.iter().filter(|edge| edge.from != edge.to) {
            if let Some(n) = edge.roundtrips_per_request.filter(|n| *n > 0.0) {
                calls
                    .entry(&edge.from)
                    .or_default()
                    .entry(&edge.to)
                    .or_default()
                    .add(Often {
                        per_request: n,
                        lower_bound: edge.lower_bound,
                    });
            }
        }
        let unit = TimeUnit::of(entry.mean_ns.unwrap_or(0.0));
        let courts = entry
            .courts
            .iter()
            .map(|court| (court.component.as_str(), court_text(court, unit)))
            .collect();
        Self {
            entry,
            names,
            calls,
            courts,
            drawn: HashSet::new(),
            nodes: 1,
        }
    }

    fn node(&mut self, id: &'a str) -> Node {
        let first = self.drawn.insert(id);
        let mut calls: Vec<(&str, Often)> = match self.calls.get(id) {
            Some(calls) if first => calls.iter().map(|(to, n)| (*to, *n)).collect(),
            _ => Vec::new(),
        };
        calls.sort_by(|a, b| b.1.per_request.total_cmp(&a.1.per_request));
        let room = MAX_CALLEES.min(MAX_NODES.saturating_sub(self.nodes));
        let more = calls.len().saturating_sub(room);
        calls.truncate(room);
        self.nodes += calls.len();
        Node {
            name: clip(self.names.get(id), NAME_WIDTH),
            court: if first {
                self.courts.get(id).cloned()
            } else {
                None
            },
            calls: calls
                .into_iter()
                .map(|(to, n)| (n, self.node(to)))
                .collect(),
            more,
        }
    }

    /// What to call the entry's clients, and how many roundtrips they make for a request.
    fn clients(&self) -> (String, Often) {
        let entry = self.entry.component.as_str();
        let clients: Vec<(&str, Often)> = self
            .calls
            .iter()
            .filter(|(from, _)| !self.drawn.contains(*from))
            .filter_map(|(from, to)| Some((*from, *to.get(entry)?)))
            .collect();
        let name = match clients[..] {
            [(only, _)] => clip(self.names.get(only), NAME_WIDTH),
            _ => "clients".to_owned(),
        };
        let mut often = Often::default();
        clients.iter().for_each(|(_, more)| often.add(*more));
        (name, often)
    }
}

/// Time per request in a court, and what lay unread or was held there beside it.
fn court_text(court: &Court, unit: TimeUnit) -> String {
    let mut text = format!("{} {}", unit.show(court.turnaround_ns), unit.symbol);
    for (what, ns) in [("unread", court.unread_ns), ("held", court.held_ns)] {
        if let Some(shown) = ns
            .map(|ns| unit.show(ns))
            .filter(|shown| *shown != unit.show(0.0))
        {
            match shown.strip_prefix('-') {
                Some(size) => text.push_str(&format!(" - parallel {size}")),
                None => text.push_str(&format!(" + {what} {shown}")),
            }
        }
    }
    text
}

fn arrow(line: &mut Line, start: &str, often: Often) {
    line.push(DIM, format!(" {start}"));
    line.push(PLAIN, often.show());
    line.push(DIM, "──▶ ");
}

/// Draws a node at the end of a line, its court under it, its first callee to its right and the others below.
fn chain(node: &Node, lines: &mut Vec<Line>, row: usize) {
    let start = lines[row].width();
    lines[row].push(BOLD, node.name.clone());
    if let Some(court) = &node.court {
        lines[row + 1].pad_to(start);
        lines[row + 1].push(PLAIN, court.clone());
    }
    let end = lines[row].width();
    for (i, (often, callee)) in node.calls.iter().enumerate() {
        let (row, corner) = if i == 0 {
            (row, "──")
        } else {
            lines.extend([Line::default(), Line::default()]);
            (lines.len() - 2, "└─")
        };
        lines[row].pad_to(end);
        // The arrow is as long as what stands under the name that it begins at.
        let text = often.show().chars().count() + " ────▶ ".chars().count();
        let below = if i == 0 {
            lines[row + 1].width() + 1
        } else {
            0
        };
        let longer = below.saturating_sub(lines[row].width() + text);
        arrow(
            &mut lines[row],
            &(corner.to_owned() + &"─".repeat(longer)),
            *often,
        );
        chain(callee, lines, row);
    }
    if node.more > 0 {
        let mut line = Line::default();
        line.pad_to(end);
        line.push(DIM, format!(" └─ {} more", node.more));
        lines.push(line);
    }
}

fn indented(node: &Node, often: Often, depth: usize, lines: &mut Vec<Line>) {
    let mut line = Line::new(DIM, format!("{}└─ ", "   ".repeat(depth - 1)));
    line.push(PLAIN, often.show());
    line.push(DIM, " ▶ ");
    line.push(BOLD, node.name.clone());
    if let Some(court) = &node.court {
        line.push(PLAIN, format!("  {court}"));
    }
    lines.push(line);
    for (per_request, callee) in &node.calls {
        indented(callee, *per_request, depth + 1, lines);
    }
    if node.more > 0 {
        lines.push(Line::new(
            DIM,
            format!("{}└─ {} more", "   ".repeat(depth), node.more),
        ));
    }
}
