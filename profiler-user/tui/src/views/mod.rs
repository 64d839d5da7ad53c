//! What each view shows.
//!
//! In: a [`Context`]. Out: tables as data ([`Spec`](super::table::Spec)) and pictures as drawing functions.
//! Must not know: keys, the terminal.

pub(super) mod components;
pub(super) mod cpu;
pub(super) mod disk;
pub(super) mod edge;
pub(super) mod edges;
pub(super) mod findings;
pub(super) mod health;
pub(super) mod map;
pub(super) mod neighbours;
pub(super) mod parallel;
pub(super) mod request;
pub(super) mod tail;
pub(super) mod threads;
pub(super) mod turnaround;
pub(super) mod victim;

use super::{
    filter::{Filter, contains},
    shown::kind,
    table::Context,
};

/// How many components there are.
fn component_count(cx: &Context) -> usize {
    cx.shown.snapshot.components.len()
}

fn component_id(cx: &Context, row: usize) -> String {
    cx.shown.snapshot.components[row].id.clone()
}

fn component_name<'a>(cx: &'a Context, row: usize) -> &'a str {
    cx.shown.name_at(row)
}

/// Whether a component has to do with messages at all.
fn component_busy(cx: &Context, row: usize) -> bool {
    let component = &cx.shown.snapshot.components[row];
    let turnaround = &component.turnaround;
    component.requests.served + turnaround.count + turnaround.unprompted_count > 0
}

/// Whether a component matches: by its own fields, or by those of the edges that lead to or from it.
fn component_matches(cx: &Context, row: usize, filter: &Filter) -> bool {
    let component = &cx.shown.snapshot.components[row];
    let edges = &cx.shown.snapshot.edges;
    let named = |word: &str| contains(&component.name, word) || contains(&component.id, word);
    let comm = |word: &str| component.processes.iter().any(|p| contains(&p.comm, word));
    filter.matches(
        |word| named(word) || comm(word),
        |key, value| {
            Some(match key {
                "name" => named(value),
                "kind" => kind(component).starts_with(value),
                "comm" => comm(value),
                "tgid" => component
                    .processes
                    .iter()
                    .any(|p| p.tgid.to_string() == value),
                "port" => {
                    let mut served = edges.iter().filter(|edge| edge.to == component.id);
                    served.any(|edge| edge.port.to_string() == value)
                }
                "to" => {
                    let mut out = edges.iter().filter(|edge| edge.from == component.id);
                    out.any(|edge| contains(cx.shown.name(&edge.to), value))
                }
                "from" => {
                    let mut into = edges.iter().filter(|edge| edge.to == component.id);
                    into.any(|edge| contains(cx.shown.name(&edge.from), value))
                }
                _ => return None,
            })
        },
    )
}

fn show_duration(ns: f64) -> String {
    courtside_core::units::duration(ns as u64)
}

fn show_ratio(ratio: f64) -> String {
    courtside_core::units::ratio(Some(ratio))
}
