//! The fold: one window's raw facts, and what is remembered of earlier windows, give one Snapshot.
//!
//! In: [`State`], [`Frame`], [`View`]. Out: [`Snapshot`]. Same input, same output, byte for byte.
//! Must not know: where frames come from, where snapshots go.

use std::collections::{BTreeMap, BTreeSet};

use super::components::{Directory, Sums};
use super::edges::Edges;
use super::entries::{Graph, per_request};
use super::snapshot::{Cost, Host, Pmu, Probe, ProgramCost, Quality, SCHEMA, Snapshot, Window};
use super::view::View;
use super::words;
use crate::frame::Frame;

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
    /// Notes who serves in this window, and says who did lately.
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

/// What one window means.
pub fn fold(state: &mut State, frame: &Frame, view: &View) -> Snapshot {
    let all = view.selection.names_no_component();
    let named = view.selection.matcher();
    let directory = Directory::new(frame, view.group_by, |image| all || named(image));
    let edges = Edges::of(frame, &directory);
    let sums = Sums::of(frame, &directory, &edges.peers);
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
            shown_edges.push(edge.describe(*key, &directory, per_request(&entries, key, edge)));
        }
    }

    let entries: Vec<_> = entries
        .iter()
        .filter(|entry| view.selection.shows_port(entry.port))
        .map(|entry| graph.describe(entry, &sums))
        .collect();
    // A court is a component, whether or not it was asked for.
    let courts: BTreeSet<&str> = entries
        .iter()
        .flat_map(|entry| entry.courts.iter().map(|court| court.component.as_str()))
        .collect();
    for (shown, identity) in shown.iter_mut().zip(&directory.identities) {
        *shown |= courts.contains(identity.id.as_str());
    }

    let lost = lost(frame);
    let lower_bound = shown_edges.iter().any(|edge| edge.lower_bound)
        || words::LOSSES
            .iter()
            .any(|loss| loss.counts && lost.get(loss.class) > Some(&0));
    Snapshot {
        schema: SCHEMA.to_owned(),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        host: host(frame),
        window: Window {
            start_unix_ns: frame.start_unix_ns,
            duration_ns: frame.duration_ns,
        },
        quality: quality(frame, lost, lower_bound),
        cost: cost(frame),
        components: (0..sums.len())
            .filter(|&c| shown[c])
            .map(|c| sums[c].describe(&directory.identities[c], &directory))
            .collect(),
        edges: shown_edges,
        entries,
    }
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

fn host(frame: &Frame) -> Host {
    let host = &frame.host;
    Host {
        hostname: host.hostname.clone(),
        kernel: host.kernel.clone(),
        arch: host.arch.clone(),
        cpus: host.cpus,
        boot_id: host.boot_id.clone(),
    }
}

fn quality(frame: &Frame, lost: BTreeMap<String, u64>, lower_bound: bool) -> Quality {
    let probe = |p: &crate::frame::ProbeStatus| Probe {
        name: p.name.clone(),
        hook: p.hook.clone(),
        state: p.state,
        reason: p.reason.clone(),
    };
    Quality {
        lost,
        midlife_connections: frame.midlife_connections,
        lower_bound,
        probes: frame.probes.iter().map(probe).collect(),
        pmu: Pmu {
            state: frame.pmu.state,
            reason: frame.pmu.reason.clone(),
            running_ratio: frame.pmu.running_ratio,
        },
    }
}

fn cost(frame: &Frame) -> Cost {
    let program = |p: &crate::frame::ProgramCost| ProgramCost {
        name: p.name.clone(),
        runs: p.runs,
        run_time_ns: p.run_time_ns,
    };
    Cost {
        programs: frame.cost.programs.iter().map(program).collect(),
        user_cpu_ns: frame.cost.user_cpu_ns,
        rss_bytes: frame.cost.rss_bytes,
        map_bytes: frame.cost.map_bytes,
    }
}
