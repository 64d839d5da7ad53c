//! Who slowed whom, as a section of the page.
//!
//! In: a view of a snapshot, what guard said where it judged. Out: HTML, with a heat map of who waited for whom. Must not
//! know: how it is judged.

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BTreeMap;

use maud::{Markup, html};

use super::grid::{Grid, Place};
use super::picks::rest;
use super::sections::section;
use super::{Judged, ReportView};
use crate::tail::when;
use courtside_core::model::blame::Waited;
use courtside_core::model::interference::{DecidedBy, EventKind, Interference, Signal, Suspect};
use courtside_core::model::snapshot::{Component, ComponentKind};
use courtside_core::model::visible::visible;
use courtside_core::units::{UNKNOWN, count, duration, duration_f64, percent, ratio};

/// Most rows of the table, and of the picture.
const MAX_ROWS: usize = 24;
/// Most columns of the picture besides those for what is no neighbour.
const MAX_COLUMNS: usize = 9;
/// Most lines of guard.
const MAX_LINES: usize = 12;
/// Most suspects of a line.
const MAX_SUSPECTS: usize = 3;
/// A millisecond a second: less slows nobody noticeably.
const NOTABLE: f64 = 0.001;

/// A component that waited.
struct Victim<'a> {
    component: &'a Component,
    waited: Waited<'a>,
}

pub(super) fn neighbours(view: &ReportView<'_>, judged: Option<&Judged>) -> Markup {
    let here = view.whole.components.iter();
    let here = here.filter(|component| component.kind != ComponentKind::Remote);
    let mut known = 0;
    let mut waiting = Vec::new();
    for component in here {
        let Some(by) = component.cpu.run_queue_by.as_deref() else {
            continue;
        };
        known += 1;
        let waited = Waited::of(&component.id, by);
        if view.share(waited.others_ns) >= NOTABLE {
            waiting.push(Victim { component, waited });
        }
    }
    waiting.sort_by_key(|victim| (Reverse(victim.waited.others_ns), &victim.component.id));
    let all = waiting.len();
    waiting.truncate(MAX_ROWS);
    section(
        "neighbours",
        "Who slowed whom: for how long components were ready to run while others had the CPU, as the scheduler saw it and not \
         by correlation. Own threads, idle CPUs and a quota of its own blame nobody.",
        html! {
            @if known == 0 {
                p.none { "Who had the CPU while others waited was not recorded: it is in no recording of an older version and in no window made of single events." }
            } @else if waiting.is_empty() {
                p.good { "No component waited for a CPU for a millisecond a second because of another one." }
            } @else {
                (picture(view, &waiting))
                (table(view, &waiting))
                (rest(waiting.len(), all, "components that waited for others", "those that waited longest", "courtside export -F csv has them all"))
            }
            (guard(view, judged))
        },
    )
}

/// A time for each second of the recording.
fn second(view: &ReportView<'_>, ns: u64) -> String {
    match ns {
        0 => "0".to_owned(),
        ns => duration_f64(view.rate_of(ns)),
    }
}

/// Who waited, and who had the CPU meanwhile.
fn picture(view: &ReportView<'_>, victims: &[Victim<'_>]) -> Markup {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for blame in victims.iter().flat_map(|victim| &victim.waited.others) {
        let sum = sums.entry(&blame.component).or_default();
        *sum = sum.saturating_add(blame.ns);
    }
    let mut columns: Vec<(&str, u64)> = sums.into_iter().collect();
    columns.sort_by_key(|(id, ns)| (Reverse(*ns), *id));
    let neighbours = columns.len();
    columns.truncate(MAX_COLUMNS);
    let mut places = Vec::new();
    let most = victims
        .iter()
        .flat_map(|victim| &victim.waited.others)
        .map(|blame| blame.ns)
        .max();
    for (row, victim) in victims.iter().enumerate() {
        let name = view.name(&victim.component.id);
        let mut place = |column: usize, ns: u64, who: &str| {
            if ns == 0 {
                return;
            }
            let share = victim.waited.share(ns).unwrap_or(0.0);
            places.push(Place {
                row,
                column,
                share: ns as f64 / most.unwrap_or(1).max(1) as f64,
                number: second(view, ns),
                title: format!(
                    "{name} waited and {who} had the CPU: {} a second, {} of all that it waited",
                    second(view, ns),
                    percent(share)
                ),
            });
        };
        for (column, (id, _)) in columns.iter().enumerate() {
            let mut others = victim.waited.others.iter();
            if let Some(blame) = others.find(|blame| blame.component == *id) {
                place(column, blame.ns, &view.name(id));
            }
        }
        place(columns.len(), victim.waited.own_ns, "its own threads");
        place(
            columns.len() + 1,
            victim.waited.unknown_ns,
            "nobody knows who",
        );
    }
    let names = columns.iter().map(|(id, _)| view.name(id));
    let grid = Grid {
        rows: victims
            .iter()
            .map(|victim| view.name(&victim.component.id))
            .collect(),
        columns: names
            .chain(["itself".to_owned(), "unknown".to_owned()])
            .collect(),
        places,
        label: "who waited for a CPU, and who had it",
    };
    html! {
        figure {
            figcaption { "Who waited for whom, a second: rows wait, columns have the CPU" }
            div.scroll { (grid.draw()) }
            p.more { "Threads that wait side by side add up. Point at a place for its numbers." }
            (rest(columns.len(), neighbours, "neighbours", "those that had most", "in the table run_queue_by of courtside export -F csv"))
        }
    }
}

fn table(view: &ReportView<'_>, victims: &[Victim<'_>]) -> Markup {
    html! {
        div.table {
            table {
                thead {
                    tr {
                        th { "component" } th.n { "for others/s" } th { "most to" } th.n { "its/s" } th.n { "share" }
                        th.n.p2 { "own threads/s" } th.n.p3 { "idle/s" } th.n.p2 { "unknown/s" } th.n.p2 { "own quota/s" } th.n.p3 { "disk/s" }
                    }
                }
                tbody {
                    @for Victim { component, waited } in victims {
                        @let most = waited.others.first();
                        tr {
                            td.wrap { (view.name(&component.id)) }
                            td.n { (second(view, waited.others_ns)) }
                            td.wrap { @match most { Some(most) => { (view.name(&most.component)) }, None => { (UNKNOWN) } } }
                            td.n { (most.map_or_else(|| UNKNOWN.to_owned(), |most| second(view, most.ns))) }
                            td.n { (most.and_then(|most| waited.share(most.ns)).map_or_else(|| UNKNOWN.to_owned(), percent)) }
                            td.n.p2 { (second(view, waited.own_ns)) }
                            td.n.p3 { (second(view, waited.idle_ns)) }
                            td.n.p2 { (second(view, waited.unknown_ns)) }
                            td.n.p2 { (component.cpu.throttled_ns.map_or_else(|| UNKNOWN.to_owned(), |ns| second(view, ns))) }
                            td.n.p3 { (second(view, component.cpu.block_io_ns)) }
                        }
                    }
                }
            }
        }
        p.more { "Share: of all that the component waited for a CPU. Behind whose requests it waited for the disk is not recorded." }
    }
}

/// What was too high, and who is suspected.
fn guard(view: &ReportView<'_>, judged: Option<&Judged>) -> Markup {
    const HOW: &str = "courtside guard replay FILE";
    let Some(judged) = judged else {
        return html! {
            p.more { "Whether that was more than usual was not judged, since a selection hides some who may be suspects: " (HOW) "." }
        };
    };
    let anomalies: Vec<&Interference> = judged
        .lines
        .iter()
        .filter(|line| line.event == EventKind::Anomaly)
        .collect();
    let learned = judged
        .lines
        .iter()
        .any(|line| line.event == EventKind::Learned);
    html! {
        @if !learned {
            p.more {
                "Whether that was more than usual cannot be told from " (count(judged.windows)) " windows: guard learns what is usual from "
                (count(judged.needed)) " in which a service serves enough requests. With a spec of a quiet time: " (HOW) " --spec SPEC.json."
            }
        } @else if anomalies.is_empty() {
            p.good { "In " (count(judged.windows)) " windows nothing was slower than in the first " (count(judged.needed)) ", which is what guard takes for usual." }
        } @else {
            p.more {
                "Slower than in the first " (count(judged.needed)) " windows of it, which is what guard takes for usual; who slowed it already then is not "
                "seen. With a spec of a quiet time: " (HOW) " --spec SPEC.json."
            }
            @for line in anomalies.iter().take(MAX_LINES) { (anomaly(view, line)) }
            (rest(anomalies.len().min(MAX_LINES), anomalies.len(), "anomalies", "the first", HOW))
        }
        @if judged.left_out > 0 { p.more { (count(judged.left_out)) " more lines of guard were too many for the page." } }
    }
}

fn anomaly(view: &ReportView<'_>, line: &Interference) -> Markup {
    let class = if line.suspects.is_empty() {
        "info"
    } else {
        "warn"
    };
    let signal = line.signal;
    let name = |id: &str| view.name(&visible(id));
    html! {
        div class={ "finding " (class) } {
            p {
                (when(line.time_unix_ns)) " " b { (name(&line.victim)) } ": "
                @if let Some(signal) = signal { (words(signal)) }
                @if let Some(value) = line.value { " " (show(signal, value)) }
                @if let Some(expected) = line.expected {
                    ", mostly " (show(signal, expected.median)) ", at most " (show(signal, expected.upper))
                }
                ". " (visible(&line.reason)) "."
            }
            @if !line.suspects.is_empty() {
                p.more {
                    @for (n, suspect) in line.suspects.iter().take(MAX_SUSPECTS).enumerate() {
                        @if n > 0 { "; " }
                        (n + 1) ". " (name(&suspect.component)) ", " (evidence(suspect))
                    }
                }
            }
        }
    }
}

fn words(signal: Signal) -> &'static str {
    match signal {
        Signal::Cpi => "cycles for each instruction",
        Signal::LlcMissesPerInstruction => "cache misses for each instruction",
        Signal::RunQueuePerRequest => "run queue for each request",
        Signal::BlockIoPerRequest => "wait for the disk for each request",
        Signal::OnCpuPerRequest => "CPU time of each request",
        Signal::Service => "service time",
    }
}

fn show(signal: Option<Signal>, value: f64) -> String {
    match signal {
        Some(Signal::LlcMissesPerInstruction) => format!("{value:.5}"),
        Some(signal) if signal.is_time() => duration_f64(value),
        _ => ratio(Some(value)),
    }
}

fn evidence(suspect: &Suspect) -> String {
    let mut text = format!("by {} {:.2}", suspect.decided_by.name(), suspect.score);
    if let Some(ns) = suspect.blamed_ns {
        text += &format!(", had the CPU for {}", duration(ns));
    }
    if let Some(ns) = suspect.exposure_ns {
        text += &format!(", at most {} of the waits for the disk", duration(ns));
    }
    let others = suspect.decided_by != DecidedBy::Correlation;
    if let Some(correlation) = suspect.correlation.filter(|_| others) {
        text += &format!(", correlation {correlation:.2}");
    }
    text
}
