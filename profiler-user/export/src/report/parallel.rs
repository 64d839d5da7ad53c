//! A parallel application, as a section of the page: who holds it up, who talks to whom, where the time of each process went,
//! what would have been, how fast it went round.
//!
//! In: an [`Inference`]. Out: HTML; nothing where there is no such application. Must not know: how anything is told.

mod heat;
mod line;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;

use maud::{Markup, html};

use super::bars::{self, Frame, Row, Scale, Segment};
use super::picks::rest;
use crate::infer::{name, signed};
use courtside_core::{
    model::{
        inference::{Inference, Process, Scenario, SelfCheck, Time},
        visible::visible,
    },
    units::{UNKNOWN, count, duration, percent, rate, ratio},
};

/// Of fewer processes the sections about services and their clients say all that there is.
const MIN_PROCESSES: usize = 3;
/// So often a process has to go round to be said to.
const MIN_ITERATIONS: u64 = 10;
/// Most processes that are shown.
const MAX_PROCESSES: usize = 64;
/// Most scenarios with a row.
const MAX_SCENARIOS: usize = 32;
/// Most remarks.
const MAX_REMARKS: usize = 16;
/// From this speed-up on a scenario is worth a sentence.
const NOTABLE: f64 = 1.1;
/// The self-check is off by so much: nothing that rests on it is told.
const OFF: f64 = 0.05;
/// Where all of it is.
const ELSEWHERE: &str = "courtside infer FILE -F json";

/// The section, if this is an application whose processes exchange messages again and again.
pub(super) fn parallel(found: Option<&Inference>) -> Option<Markup> {
    let inference = found.filter(|inference| goes_round(inference))?;
    Some(html! {
        section id="parallel" {
            h2 { "Parallel" }
            p.lead {
                "Processes that exchange messages again and again, seen as one application: who holds it up, who talks to whom, \
                 where the time of each went, and what would have been. Where a client sets the pace, as it does for services, it is \
                 the client that the others wait for."
            }
            (verdict(inference))
            (overview(inference))
            (heat::heat(inference))
            (times(inference))
            (what_if(inference))
            (line::line(inference))
            (basis(inference))
        }
    })
}

/// Whether there are enough processes, and they have a shape or go round.
fn goes_round(inference: &Inference) -> bool {
    let processes = &inference.processes;
    let shaped = !matches!(inference.topology.shape.as_str(), "" | "irregular");
    let round = processes
        .iter()
        .filter(|process| turns(process).is_some_and(|turns| turns >= MIN_ITERATIONS));
    processes.len() >= MIN_PROCESSES && (shaped || 2 * round.count() > processes.len())
}

fn turns(process: &Process) -> Option<u64> {
    process.iterations.by_turn.as_ref().map(|turn| turn.count)
}

/// What matters most, in one sentence, or why that cannot be told.
fn verdict(inference: &Inference) -> Markup {
    let better = better(inference);
    let found = inference.findings.first();
    html! {
        @match found {
            Some(finding) => {
                div class={ "finding " (finding.severity.name()) } {
                    p {
                        b { (finding.severity.name()) } " " (visible(&finding.says))
                        @if let Some(better) = better.filter(|_| !finding.says.contains("would take")) { "; " (better) }
                        "."
                    }
                    p { (visible(&finding.remedy)) "." }
                    p.more { (visible(&finding.rule)) ", " (percent(finding.confidence)) " sure" }
                }
            }
            None => {
                p { @match better { Some(better) => b { (capital(&better)) "." }, None => { (nothing(inference)) "." } } }
            }
        }
        (rest(usize::from(found.is_some()), inference.findings.len(), "findings", "the worst", "courtside infer FILE"))
    }
}

/// The scenario that makes the run shortest, in words; nothing if it gains too little, or no more than what the simulation may
/// be off by.
fn better(inference: &Inference) -> Option<String> {
    let check = inference.self_check.as_ref()?;
    let speedup = |scenario: &Scenario| scenario.speedup.unwrap_or(0.0);
    let gains = |scenario: &&Scenario| {
        let gain = 1.0 - 1.0 / speedup(scenario).max(1.0);
        speedup(scenario) >= NOTABLE && gain > 2.0 * error(scenario, check)
    };
    let told = inference.what_if.iter().filter(gains);
    let best = told.max_by(|a, b| speedup(a).total_cmp(&speedup(b)))?;
    Some(format!(
        "{} the run would take {} and not {} (self-check {})",
        condition(best),
        duration(best.predicted_ns?),
        duration(best.measured_ns),
        percent(error(best, check))
    ))
}

/// What a scenario may be off by: what its way of simulating is off by with nothing changed.
fn error(scenario: &Scenario, check: &SelfCheck) -> f64 {
    let name = &scenario.scenario;
    if name == "no_outside_load" || name.starts_with("without") {
        check.rescheduled_error.abs()
    } else {
        check.replay_error.abs()
    }
}

/// What is different in a scenario, as the begin of a sentence.
fn condition(scenario: &Scenario) -> String {
    let one = match scenario.processes.as_slice() {
        [one] => Some(name(one)),
        _ => None,
    };
    match (scenario.scenario.as_str(), one) {
        ("no_outside_load", _) => "without load from outside".to_owned(),
        ("no_run_queue", Some(one)) => format!("if {one} never waited for a CPU"),
        ("no_run_queue", None) => "with a CPU for each thread".to_owned(),
        ("no_disk_wait", _) => "without waits for a disk".to_owned(),
        (other, _) => match other.strip_prefix("without: ") {
            Some(program) => format!("without {}", visible(program)),
            None => format!("with {}", visible(other)),
        },
    }
}

fn capital(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

/// Why there is nothing to say.
fn nothing(inference: &Inference) -> String {
    let most = inference.processes.iter().filter_map(turns).max();
    if most.unwrap_or(0) < MIN_ITERATIONS {
        return format!(
            "Who holds it up cannot be told: its processes went round {} times at most, and it takes {MIN_ITERATIONS}",
            count(most.unwrap_or(0))
        );
    }
    let told = inference.what_if.iter().any(|s| s.predicted_ns.is_some());
    match &inference.self_check {
        Some(check) if told => format!(
            "No process holds the others up for a good part of the run, and nothing that was simulated makes it shorter by a tenth \
             and by more than the simulation may be off by (self-check {})",
            percent(check.replay_error.abs().max(check.rescheduled_error.abs()))
        ),
        _ => {
            let withheld = inference.what_if.iter().map(|scenario| &scenario.says);
            let simulated = |remark: &&String| remark.starts_with("nothing could be simulated");
            let remark = inference.remarks.iter().find(simulated);
            let why = remark.or_else(|| withheld.into_iter().next());
            format!(
                "No process is seen to hold the others up; what would have been cannot be told: {}",
                visible(why.map_or("nothing was simulated", String::as_str))
            )
        }
    }
}

/// How many there are, in what shape, and how fast they go.
fn overview(inference: &Inference) -> Markup {
    let topology = &inference.topology;
    let extents: Vec<String> = topology.dimensions.iter().map(u64::to_string).collect();
    let all = || inference.processes.iter().filter_map(turns);
    let round = match (all().min(), all().max()) {
        (Some(least), Some(most)) if least == most => format!("went round {} times", count(most)),
        (Some(least), Some(most)) => {
            format!("went round {} to {} times", count(least), count(most))
        }
        _ => "how often they went round is not known".to_owned(),
    };
    let alike = all().min() == all().max();
    let fastest = inference.processes.iter();
    let fastest = fastest.filter_map(|process| process.iterations.by_turn.as_ref());
    let fastest = fastest.max_by_key(|turn| turn.count);
    html! {
        p {
            b { (count(inference.processes.len() as u64)) " processes" }
            " · "
            @match topology.shape.as_str() {
                "" | "irregular" => "no known shape",
                shape => {
                    b { (visible(shape)) @if !extents.is_empty() { " " (extents.join(" × ")) } }
                    ", match " (percent(topology.match_score))
                }
            }
            " · " (round) @if let Some(turn) = fastest { ", " @if !alike { "at most " } (rate(turn.mean_per_s)) " a second" }
            " · " (duration(inference.source.application_ns)) " from the first message to the last"
        }
    }
}

/// A part of a process's time.
struct Kind {
    name: &'static str,
    /// The class that gives it its colour.
    class: &'static str,
    meaning: &'static str,
    of: fn(&Time) -> u64,
}

const KINDS: [Kind; 8] = [
    Kind {
        name: "on CPU",
        class: "on-cpu",
        meaning: "executing on a CPU; of a process that polls that is work and waiting",
        of: |time| time.on_cpu_ns,
    },
    Kind {
        name: "run queue",
        class: "run-queue",
        meaning: "ready to run, waiting for a CPU",
        of: |time| time.run_queue_ns,
    },
    Kind {
        name: "quota",
        class: "throttled",
        meaning: "ready to run, held back by a CPU quota of its own",
        of: |time| time.throttled_ns.unwrap_or(0),
    },
    Kind {
        name: "block I/O",
        class: "disk",
        meaning: "waiting for a disk",
        of: |time| time.block_io_ns,
    },
    Kind {
        name: "lock",
        class: "held",
        meaning: "asleep until a thread of its own process woke it",
        of: |time| time.lock_ns,
    },
    Kind {
        name: "receive wait",
        class: "sleep",
        meaning: "asleep until a message came",
        of: received,
    },
    Kind {
        name: "send",
        class: "network",
        meaning: "asleep within a send: no room at the other end",
        of: |time| time.send_wait_ns,
    },
    Kind {
        name: "other",
        class: "other",
        meaning: "any other sleep, and what the events do not tell",
        of: |time| time.other_ns,
    },
];

fn received(time: &Time) -> u64 {
    let waits = time.receive_wait.iter();
    let parts = waits.flat_map(|wait| [wait.not_sent_ns, wait.in_flight_ns, wait.transfer_ns]);
    parts.fold(0, u64::saturating_add)
}

/// Those with the greatest of something, in the order in which they were.
fn greatest<T>(all: &[T], of: impl Fn(&T) -> u64) -> Vec<&T> {
    let mut places: Vec<(usize, &T)> = all.iter().enumerate().collect();
    places.sort_by_key(|(place, one)| (Reverse(of(one)), *place));
    places.truncate(MAX_PROCESSES);
    places.sort_by_key(|(place, _)| *place);
    places.into_iter().map(|(_, one)| one).collect()
}

/// Where the time of each process went, and its share of the critical path.
fn times(inference: &Inference) -> Markup {
    let all = &inference.processes;
    let shown = greatest(all, |process| process.court.queue_corrected_ns);
    let rows: Vec<Row> = shown.iter().copied().map(row).collect();
    let longest = rows.iter().map(Row::total).fold(0.0, f64::max);
    let polls = all.iter().filter(|process| process.polls).count();
    let known = all.iter().any(|process| process.critical_share.is_some());
    html! {
        figure {
            figcaption {
                "Where the time of each process went, all its threads together; critical: its share of the critical path, the \
                 chain of work and messages that decides how long the run takes"
            }
            ul.legend aria-label="parts of a process's time" {
                @for kind in &KINDS { li title=(kind.meaning) { span.swatch.(kind.class) {} (kind.name) } }
            }
            (bars::draw(&rows, &Scale::linear(0.0, longest), Frame { what: "process", note: Some("critical"), ..Frame::default() }))
            @if !known { p.more { "The critical path cannot be told; what is said of the self-check below says why." } }
            @if polls > 0 {
                p.more { (polls) " of " (all.len()) " processes wait without sleep: their time on a CPU is work and waiting." }
            }
            (rest(shown.len(), all.len(), "processes", "those with most court time", ELSEWHERE))
        }
    }
}

fn row(process: &Process) -> Row {
    let segment = |kind: &Kind| Segment {
        name: kind.name,
        class: kind.class.to_owned(),
        ns: (kind.of)(&process.time) as f64,
    };
    let segments = KINDS.iter().map(segment);
    Row {
        name: name(&process.id),
        segments: segments.filter(|segment| segment.ns > 0.0).collect(),
        note: process
            .critical_share
            .map_or_else(|| UNKNOWN.to_owned(), percent),
        ..Row::default()
    }
}

/// What would have been, and how far that can be trusted.
fn what_if(inference: &Inference) -> Markup {
    let all = &inference.what_if;
    let shown = all.len().min(MAX_SCENARIOS);
    html! {
        figure {
            figcaption {
                "What if: the run simulated once more with something changed; below each what it takes for true, or why it is not told"
            }
            @if shown > 0 {
                div.table {
                    table {
                        thead {
                            tr {
                                th { "What if" } th.p2 { "Who" } th.n { "Would take" } th.n { "Took" } th.n { "Speed-up" }
                                th.p2 { "Bounded by" }
                            }
                        }
                        tbody { @for scenario in all.iter().take(shown) { (scenario_row(scenario)) } }
                    }
                }
            }
            (rest(shown, all.len(), "scenarios", "the first", ELSEWHERE))
            (self_check(inference.self_check.as_ref()))
        }
    }
}

fn scenario_row(scenario: &Scenario) -> Markup {
    let told = |ns: Option<u64>| ns.map_or_else(|| UNKNOWN.to_owned(), duration);
    html! {
        tr.above {
            td.wrap { (visible(&scenario.scenario)) }
            td.p2 {
                @match scenario.processes.as_slice() {
                    [] => (UNKNOWN),
                    [one] => (name(one)),
                    some => { (count(some.len() as u64)) " processes" }
                }
            }
            td.n { (told(scenario.predicted_ns)) }
            td.n { (duration(scenario.measured_ns)) }
            td.n { @match scenario.speedup { Some(speedup) => { "×" (ratio(Some(speedup))) }, None => (UNKNOWN) } }
            td.p2 { (scenario.bounded_by.as_deref().map_or_else(|| UNKNOWN.to_owned(), name)) }
        }
        tr { td.text.says colspan="6" { (visible(&scenario.says)) } }
    }
}

fn self_check(check: Option<&SelfCheck>) -> Markup {
    let Some(check) = check else {
        return html! { p.more { "There is no self-check: nothing could be simulated." } };
    };
    let off = check.replay_error.abs().max(check.rescheduled_error.abs()) > OFF;
    html! {
        p.more.bad[off] {
            "Self-check, the run simulated with nothing changed: it took " (duration(check.measured_ns)) "; with waits as recorded "
            (duration(check.replay_ns)) " (" (signed(check.replay_error)) "), put on the CPUs anew "
            (duration(check.rescheduled_ns)) " (" (signed(check.rescheduled_error)) ")."
            @if off { " What rests on a check that is off by more than " (percent(OFF)) " is not told." }
        }
    }
}

/// What all of it rests on, and what has to be known to read it.
fn basis(inference: &Inference) -> Markup {
    let source = &inference.source;
    let lost = source.lost.values().copied().fold(0, u64::saturating_add);
    let shown = inference.remarks.len().min(MAX_REMARKS);
    html! {
        p.more {
            "All this rests on " (count(source.events)) " single events in " (count(source.windows)) " windows, "
            (duration(source.duration_ns)) " in all; "
            @if lost > 0 { b { "lost " (count(lost)) } } @else { "nothing was lost" }
            "."
        }
        @for remark in inference.remarks.iter().take(shown) { p.more { (visible(remark)) "." } }
        (rest(shown, inference.remarks.len(), "remarks", "the first", ELSEWHERE))
    }
}
