//! The map: who calls whom behind an entry, roundtrips per request on the arrows, time per request under the names.
//!
//! In: a snapshot and one of its entries. Out: lines. Must not know: tables.

use std::collections::{BTreeMap, HashSet};

use super::text::{BOLD, DIM, Line, PLAIN, clip};
use crate::model::snapshot::{Entry, Snapshot};
use crate::model::words::Names;
use crate::units::{TimeUnit, ratio};

/// Most callees that are drawn of one component.
const MAX_CALLEES: usize = 6;
/// Most components that are drawn in all.
const MAX_NODES: usize = 24;
const NAME_WIDTH: usize = 24;

/// A component as drawn, and whom it calls.
struct Node {
    name: String,
    /// Time per request in its court; none if it is drawn elsewhere already.
    court: Option<String>,
    /// Roundtrips per request, and the callee.
    calls: Vec<(f64, Node)>,
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
    calls: BTreeMap<&'a str, BTreeMap<&'a str, f64>>,
    courts: BTreeMap<&'a str, String>,
    drawn: HashSet<&'a str>,
    nodes: usize,
}

impl<'a> Tree<'a> {
    fn new(snapshot: &'a Snapshot, entry: &'a Entry, names: &'a Names<'a>) -> Self {
        let mut calls: BTreeMap<&str, BTreeMap<&str, f64>> = BTreeMap::new();
        for edge in snapshot.edges.iter().filter(|edge| edge.from != edge.to) {
            if let Some(n) = edge.roundtrips_per_request.filter(|n| *n > 0.0) {
                *calls
                    .entry(&edge.from)
                    .or_default()
                    .entry(&edge.to)
                    .or_default() += n;
            }
        }
        let unit = TimeUnit::of(entry.mean_ns);
        let courts = entry
            .courts
            .iter()
            .map(|court| {
                (
                    court.component.as_str(),
                    format!("{} {}", unit.show(court.turnaround_ns), unit.symbol),
                )
            })
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
        let mut calls: Vec<(&str, f64)> = match self.calls.get(id) {
            Some(calls) if first => calls.iter().map(|(to, n)| (*to, *n)).collect(),
            _ => Vec::new(),
        };
        calls.sort_by(|a, b| b.1.total_cmp(&a.1));
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
    fn clients(&self) -> (String, f64) {
        let entry = self.entry.component.as_str();
        let clients: Vec<(&str, f64)> = self
            .calls
            .iter()
            .filter(|(from, _)| !self.drawn.contains(*from))
            .filter_map(|(from, to)| Some((*from, *to.get(entry)?)))
            .collect();
        let name = match clients[..] {
            [(only, _)] => clip(self.names.get(only), NAME_WIDTH),
            _ => "clients".to_owned(),
        };
        (name, clients.iter().map(|(_, n)| n).sum())
    }
}

fn arrow(line: &mut Line, start: &str, per_request: f64) {
    line.push(DIM, format!(" {start}"));
    line.push(PLAIN, ratio(Some(per_request)));
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
    for (i, (per_request, callee)) in node.calls.iter().enumerate() {
        let (row, corner) = if i == 0 {
            (row, "──")
        } else {
            lines.extend([Line::default(), Line::default()]);
            (lines.len() - 2, "└─")
        };
        lines[row].pad_to(end);
        arrow(&mut lines[row], corner, *per_request);
        chain(callee, lines, row);
    }
    if node.more > 0 {
        let mut line = Line::default();
        line.pad_to(end);
        line.push(DIM, format!(" └─ {} more", node.more));
        lines.push(line);
    }
}

fn indented(node: &Node, per_request: f64, depth: usize, lines: &mut Vec<Line>) {
    let mut line = Line::new(DIM, format!("{}└─ ", "   ".repeat(depth - 1)));
    line.push(PLAIN, ratio(Some(per_request)));
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
