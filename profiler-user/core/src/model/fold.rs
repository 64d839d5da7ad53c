//! The fold: one window's raw facts, and what is remembered of earlier windows, give one Snapshot.
//!
//! In: [`State`], [`Frame`], [`View`]. Out: [`Snapshot`]. Same input, same output, byte for byte.
//! Must not know: where frames come from, where snapshots go.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use super::components::Sums;
use super::directory::Directory;
use super::edges::Edges;
use super::entries::{Graph, per_request};
use super::snapshot::{Component, Cost, Edge, Host, Quality, SCHEMA, Snapshot, Unmatched, Window};
use super::view::View;
use super::words;
use crate::frame::{DistRaw, Flow, Frame};

/// What is remembered between windows.
#[derive(Clone, Debug, Default)]
pub struct State {
    window: u64,
    /// Components that served requests, and in which window last.
    served: BTreeMap<String, u64>,
}

/// For how many windows a component that served requests is known to do so. One that works on a request for longer
/// than a window must not be taken for a client that brings its own work.
pub const REMEMBERED_WINDOWS: u64 = 60;

impl State {
    /// Notes which components serve requests in this window, and returns those that did so lately.
    fn serves(&mut self, directory: &Directory, edges: &Edges) -> Vec<bool> {
        self.window += 1;
        for (key, edge) in &edges.sums {
            if edge.witnessed() && key.from != key.to {
                self.served
                    .insert(directory.identities[key.to].id.clone(), self.window);
            }
        }
        self.served
            .retain(|_, last| *last + REMEMBERED_WINDOWS > self.window);
        directory
            .identities
            .iter()
            .map(|who| self.served.contains_key(&who.id))
            .collect()
    }
}

/// Whether less than a quarter of a flow's answers have a time: those got it before it was clear that the answers of this
/// flow cannot be told apart.
fn is_hardly_timed(flow: &Flow) -> bool {
    let timed = flow.answered.saturating_sub(flow.untimed);
    timed > 0 && timed < flow.answered / 4
}

/// The same without the times of answers that are hardly timed.
fn without_chance_times(frame: &Frame) -> Cow<'_, Frame> {
    let mut frame = Cow::Borrowed(frame);
    if frame.flows.iter().any(is_hardly_timed) {
        let flows = &mut frame.to_mut().flows;
        for flow in flows.iter_mut().filter(|flow| is_hardly_timed(flow)) {
            flow.answer = DistRaw::default();
            flow.untimed = flow.answered;
        }
    }
    frame
}

/// What one window means.
pub fn fold(state: &mut State, frame: &Frame, view: &View) -> Snapshot {
    let frame = &without_chance_times(frame);
    let all = view.selection.names_no_component();
    let named = view.selection.matcher();
    let directory = Directory::new(frame, view.group_by, |image| all || named(image));
    let edges = Edges::of(frame, &directory);
    let sums = Sums::of(frame, &directory, &edges);
    let serves = state.serves(&directory, &edges);
    let graph = Graph {
        directory: &directory,
        edges: &edges.sums,
        serves: &serves,
    };
    let entries = graph.entries(&view.entries);

    let selected = |component: usize| directory.identities[component].selected;
    let by_port = !view.selection.ports.is_empty();
    let mut shown: Vec<bool> = (0..sums.len())
        .map(|c| sums[c].active && selected(c) && !(all && by_port))
        .collect();
    let mut shown_edges = Vec::new();
    for (key, edge) in &edges.sums {
        if view.selection.shows_port(key.port) && (all || selected(key.from) || selected(key.to)) {
            (shown[key.from], shown[key.to]) = (true, true);
            let per_request = per_request(&entries, key, edge);
            shown_edges.push(Edge::of(edge, key, &directory, per_request));
        }
    }

    let mut entries: Vec<_> = entries
        .iter()
        .filter(|entry| view.selection.shows_port(entry.port))
        .map(|entry| graph.describe(entry, &sums))
        .collect();
    // Recordings from before a court's times were told apart keep the order in which they were told.
    entries.sort_by_key(|entry| !entry.adds_up && !entry.not_recorded());
    // A court is a component, whether or not it was asked for.
    let courts: BTreeSet<&str> = entries
        .iter()
        .flat_map(|entry| entry.courts.iter().map(|court| court.component.as_str()))
        .collect();
    for (shown, identity) in shown.iter_mut().zip(&directory.identities) {
        *shown |= courts.contains(identity.id.as_str());
    }

    let unmatched = unmatched(view, &directory, &sums, &edges);
    let lost = lost(frame);
    let lower_bound = shown_edges.iter().any(|edge| edge.lower_bound)
        || words::LOSSES
            .iter()
            .any(|loss| loss.counts && lost.get(loss.class) > Some(&0));
    let mut snapshot = Snapshot {
        schema: SCHEMA.to_owned(),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        host: Host::of(frame),
        window: Window::of(frame),
        quality: Quality::of(frame, lost, lower_bound),
        cost: Cost::of(&frame.cost),
        components: (0..sums.len())
            .filter(|&c| shown[c])
            .map(|c| Component::of(&sums[c], &directory.identities[c], &directory))
            .collect(),
        edges: shown_edges,
        entries,
        findings: Vec::new(),
        unmatched,
    };
    snapshot.findings = view.judge.look(&snapshot);
    snapshot
}

/// What there is, if no component has a name that was asked for, or no traffic was on a port that was.
fn unmatched(
    view: &View,
    directory: &Directory,
    sums: &[Sums],
    edges: &Edges,
) -> Option<Unmatched> {
    const MOST: usize = 64;
    let selection = &view.selection;
    let no_name =
        !selection.names_no_component() && !directory.identities.iter().any(|who| who.selected);
    let mut ports = edges.sums.keys().map(|key| key.port);
    let no_port = !selection.ports.is_empty() && !ports.any(|port| selection.shows_port(port));
    if !no_name && !no_port {
        return None;
    }
    let active = (0..sums.len()).filter(|&c| sums[c].active);
    let ends = edges.sums.keys().flat_map(|key| [key.from, key.to]);
    let names: BTreeSet<&str> = active
        .chain(ends)
        .map(|c| directory.identities[c].name.as_str())
        .collect();
    let ports: BTreeSet<u16> = edges.sums.keys().map(|key| key.port).collect();
    Some(Unmatched {
        components: names.into_iter().take(MOST).map(str::to_owned).collect(),
        ports: ports
            .into_iter()
            .filter(|&port| port != 0)
            .take(MOST)
            .collect(),
    })
}

/// Every class of loss, also at 0.
fn lost(frame: &Frame) -> BTreeMap<String, u64> {
    let mut lost: BTreeMap<String, u64> = words::LOSSES
        .iter()
        .map(|loss| (loss.class.to_owned(), 0))
        .collect();
    lost.extend(frame.lost.iter().map(|(class, n)| (class.clone(), *n)));
    lost
}
