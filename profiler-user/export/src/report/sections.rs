//! The sections of the page.
//!
//! In: a view of a snapshot. Out: HTML, one function a section. Must not know: how pictures are drawn.

use std::collections::HashSet;
use std::time::{Duration, UNIX_EPOCH};

use humantime::format_rfc3339_seconds;
use maud::{Markup, Render, html};

use super::bars::{self, Row};
use super::data::{bound, via};
use super::picks::{Pick, rest};
use super::widgets::{bar, legend, mean, meanings, picture, quantile};
use super::{Group, MAX_ENTRIES, MAX_NODES, ReportView, waterfall};
use crate::table::counted;
use courtside_core::frame::{PmuState, ProbeState};
use courtside_core::model::snapshot::{Component, Cpu, Disk, Dist};
use courtside_core::model::words::{LOSSES, mostly_untimed, request_notes, request_sum};
use courtside_core::units::{
    UNKNOWN, bytes, count, duration, duration_f64, per_second, percent, rate, ratio,
};

/// Ids and names of the sections.
pub(super) const CONTENTS: [(&str, &str); 12] = [
    ("findings", "Findings"),
    ("requests", "One request"),
    ("tail", "The slowest"),
    ("map", "Map"),
    ("components", "Components"),
    ("distributions", "Distributions"),
    ("time", "Over time"),
    ("edges", "Edges"),
    ("machine", "CPU and disk"),
    ("neighbours", "Neighbours"),
    ("trust", "What to trust"),
    ("host", "Host and probes"),
];

/// When it began, in UTC.
pub(super) fn when(view: &ReportView<'_>) -> String {
    let begun = UNIX_EPOCH + Duration::from_nanos(view.whole.window.start_unix_ns);
    let text = format_rfc3339_seconds(begun).to_string();
    text.replace('T', " ").replace('Z', " UTC")
}

/// What must be known before anything is read.
pub(super) fn chips(view: &ReportView<'_>) -> Markup {
    let quality = &view.whole.quality;
    let lost = quality.lost_in_all();
    let (bound, own) = view.whole.cost.own();
    let own = view.share(own);
    let pieces = view.timeline.times.len();
    html! {
        ul.chips {
            li { (counted(view.whole.components.len(), "component")) }
            li { (counted(view.whole.edges.len(), "edge")) }
            li.warn[lost > 0] { "lost " (count(lost)) }
            @if quality.lower_bound { li.warn { "some counts are lower bounds" } }
            @if quality.midlife_connections > 0 {
                li { (count(quality.midlife_connections)) " connections older than the recording" }
            }
            li { "PMU " (pmu(view)) }
            li { "measuring took " (bound) (percent(own)) " of a core" }
            @if pieces > 1 { li { (pieces) " points of time" } }
        }
    }
}

fn pmu(view: &ReportView<'_>) -> String {
    let pmu = &view.whole.quality.pmu;
    match (pmu.state, pmu.running_ratio) {
        (PmuState::Ok, _) => "ok".to_owned(),
        (PmuState::Multiplexed, Some(share)) => format!("multiplexed {}", percent(share)),
        (PmuState::Multiplexed, None) => "multiplexed".to_owned(),
        (PmuState::None, _) => "none".to_owned(),
        (PmuState::Disabled, _) => "off".to_owned(),
    }
}

pub(super) fn section(id: &str, lead: &str, body: impl Render) -> Markup {
    let name = CONTENTS.iter().find(|(known, _)| *known == id);
    html! {
        section id=(id) {
            h2 { (name.map_or(id, |(_, name)| name)) }
            p.lead { (lead) }
            (body)
        }
    }
}

pub(super) fn requests(view: &ReportView<'_>) -> Markup {
    let entries = &view.whole.entries;
    let hidden = entries.len().saturating_sub(MAX_ENTRIES);
    section(
        "requests",
        "Where the mean request's time went: the courts it was in, in call order; each bar begins where the one before \
         ended; then the network between them, and what neither explains. Colours tell what a court's time was made of.",
        html! {
            @if entries.is_empty() {
                p.none { "No request came in while this was recorded." }
            } @else {
                @let courts: Vec<_> = entries.iter().flat_map(|entry| entry.courts.iter().map(|court| court.parts)).collect();
                (legend(&courts))
                (waterfall::legend())
            }
            @for entry in entries.iter().take(MAX_ENTRIES) {
                figure {
                    figcaption {
                        b { (view.name(&entry.component)) @if entry.port > 0 { ":" (entry.port) } }
                        " · " (bound(entry.lower_bound)) (view.rate(entry.requests)) " requests/s · "
                        (bound(entry.lower_bound)) (count(entry.requests)) " in all"
                    }
                    (waterfall::draw(view, entry))
                    p.sum { (request_sum(entry, &view.names)) }
                    @for note in request_notes(entry, &view.names) { p.more { (note) "." } }
                }
            }
            (rest(entries.len() - hidden, entries.len(), "ways in", "the busiest", "choose one by --entry NAME:PORT"))
            @if !entries.is_empty() { (meanings()) }
        },
    )
}

pub(super) fn map(view: &ReportView<'_>) -> Markup {
    section(
        "map",
        "Who calls whom: roundtrips for one request at the entry on the arrows, the time in each court below its name. \
         Click a component for its detail.",
        html! {
            @if view.talking() == 0 {
                p.none { "No component talked to another while this was recorded." }
            } @else {
                figure.wide { (picture("map", None, "map of components and calls")) }
                @let talking = view.talking();
                (rest(talking.min(MAX_NODES), talking, "components that talk", "those that requests pass and then the busiest",
                    "in the tables below; all of them: courtside export -F csv"))
            }
        },
    )
}

pub(super) fn components(view: &ReportView<'_>) -> Markup {
    section(
        "components",
        "Requests served and the time each took; and the turnaround: how long the component had the ball each time, \
         from the arrival of a message until it sent the next one, to any recipient. CPU: 100% is one core.",
        html! {
            (legend(&view.components.iter().map(|c| c.turnaround.parts.real()).collect::<Vec<_>>()))
            (means(view, &view.picks.means, "Mean turnaround of services"))
            (means(view, &view.picks.client_means,
                "Mean turnaround of clients, which serve no requests: the time they take between an answer and what they send next. \
                 The axis is their own."))
            div.table {
                table {
                    thead {
                        tr {
                            th { "component" } th.p2 { "kind" }
                            th.n { "requests/s" } th.n { "service p50" } th.n.p2 { "p99" }
                            th.n { "turnaround" } th.p2 { "made of" }
                            th.n.p3 { "roundtrips/request" } th.n { "CPU" }
                        }
                    }
                    @for (group, name) in GROUPS {
                        @let all = || view.components.iter().enumerate().filter(|(_, c)| view.group(c) == group);
                        @if all().next().is_some() {
                            tbody {
                                tr.group { th colspan="9" scope="rowgroup" { (name) } }
                                @for (number, component) in all() { (row(view, number, component)) }
                            }
                        }
                    }
                }
            }
            (narrow("roundtrips/request", "kind, p99, made of"))
            (rest(view.components.len(), view.whole.components.len(), "components", "those with traffic or load on this host",
                "in the table Edges if they talk; all of them: courtside export -F json"))
        },
    )
}

/// What the groups of components are called, in the order of the view.
const GROUPS: [(Group, &str); 3] = [
    (Group::Service, "services"),
    (Group::Client, "clients, which serve no requests"),
    (Group::Quiet, "without traffic"),
];

/// Mean turnarounds as bars, on an axis on which all can be seen.
fn means(view: &ReportView<'_>, pick: &Pick, caption: &str) -> Markup {
    let rows: Vec<Row> = pick
        .shown
        .iter()
        .map(|&place| {
            let component = view.components[place];
            let turnaround = &component.turnaround;
            Row {
                name: view.name(&component.id),
                detail: Some(place),
                segments: bars::segments(
                    turnaround
                        .parts
                        .real()
                        .map(|ns| ns / turnaround.count as f64),
                ),
                note: count(turnaround.count),
                ..Row::default()
            }
        })
        .collect();
    html! {
        @if !rows.is_empty() {
            figure {
                figcaption { (caption) }
                (bars::lengths(&rows, "component"))
                (pick.rest("components", "those on a request's way and then the busiest",
                    &view.in_components("in the table below")))
            }
        }
    }
}

/// Names the columns that have no room on a narrow page, and on a very narrow one.
fn narrow(third: &str, second: &str) -> Markup {
    html! {
        p.more.narrow { "On a wider page this table also has: " (third) span.narrower { ", " (second) } "." }
    }
}

fn row(view: &ReportView<'_>, number: usize, component: &Component) -> Markup {
    let turnaround = &component.turnaround;
    let served = component.requests.served;
    html! {
        tr data-detail=(number) {
            td.wrap { a href={ "#detail-" (number) } { (view.name(&component.id)) } }
            td.p2 { (component.kind.name()) }
            td.n { @if served > 0 { (bound(component.requests.lower_bound)) (view.rate(served)) } @else { (UNKNOWN) } }
            @if mostly_untimed(component.requests.untimed, served) {
                td.n { (count(component.requests.untimed)) " untimed" }
                td.n.p2 { (UNKNOWN) }
            } @else {
                td.n { (quantile(&component.requests.service_ns, |d| d.p50_ns)) }
                td.n.p2 { (quantile(&component.requests.service_ns, |d| d.p99_ns)) }
            }
            td.n { (mean(turnaround.total_ns, turnaround.count)) }
            td.p2 { @if turnaround.count > 0 { (bar(turnaround.parts.real())) } }
            td.n.p3 { (ratio(view.per_request.get(component.id.as_str()).copied())) }
            td.n { (percent(view.share(component.cpu.on_cpu_ns))) }
        }
    }
}

pub(super) fn distributions(view: &ReportView<'_>) -> Markup {
    let picks = &view.picks;
    let any = !picks.latencies.shown.is_empty();
    section(
        "distributions",
        "How the times are spread, on a logarithmic axis: the area is the share, the lines are the median and, dashed, the \
         99th percentile. Two humps are two kinds of work.",
        html! {
            @if any {
                div.pair {
                    figure {
                        figcaption { "Latency of calls" }
                        (picture("latencies", None, "distribution of latency by edge"))
                        (picks.latencies.rest("edges with a latency", "the busiest", &view.in_edges()))
                    }
                    div {
                        @for (kind, pick, caption) in [
                            ("turnarounds", &picks.turnarounds, "Turnaround of services"),
                            ("thinks", &picks.thinks, "Turnaround of clients, which serve no requests"),
                        ] {
                            @if !pick.shown.is_empty() {
                                figure {
                                    figcaption { (caption) }
                                    (picture(kind, None, "distribution of turnaround by component"))
                                    (pick.rest("components", "the first of the table Components",
                                        &view.in_components("a click on a component there shows its own")))
                                }
                            }
                        }
                    }
                }
            } @else {
                p.none { "Nothing to show." }
            }
        },
    )
}

pub(super) fn time(view: &ReportView<'_>) -> Markup {
    let lost: u64 = view.whole.quality.lost.values().sum();
    let picks = &view.picks;
    let all = "courtside export -F csv has every component in every window";
    section(
        "time",
        "The same over the recording.",
        html! {
            @if view.timeline.times.len() < 2 {
                p.none { "The recording has one window: no time lines. Record with a shorter interval: courtside record -i 1s" }
            } @else {
                div.pair {
                    figure {
                        figcaption { "Requests served per second" }
                        (picture("rates", None, "requests per second over time"))
                        (picks.rates.rest("components that serve", "the busiest", all))
                    }
                    figure {
                        figcaption { "Service time at the entry: median, and dashed the 99th percentile" }
                        (picture("services", None, "service time over time"))
                        (picks.services.rest("entries", "the busiest", all))
                    }
                    figure {
                        figcaption { "Turnarounds under way in all services on this page, by parts" }
                        (picture("held", None, "turnaround parts over time"))
                    }
                    figure {
                        figcaption { "CPU use; 100% is one core" }
                        (picture("cpus", None, "CPU use over time"))
                        (picks.cpus.rest("components", "those that used most at a time", all))
                    }
                    @if lost > 0 {
                        figure {
                            figcaption { "Lost" }
                            (picture("lost", None, "losses over time"))
                        }
                    }
                }
            }
        },
    )
}

pub(super) fn edges(view: &ReportView<'_>) -> Markup {
    section(
        "edges",
        "Who called whom, the busiest first. Network is the latency minus the acceptor's own service time.",
        html! {
            div.table {
                table {
                    thead {
                        tr {
                            th { "from → to" } th.p2 { "via" }
                            th.n.p2 { "roundtrips" } th.n.p3 { "/s" } th.n { "/request" }
                            th.n { "latency p50" } th.n { "p99" } th.n.p2 { "network, mean" }
                            th.n.p3 { "sent" } th.n.p3 { "received" } th.n.p3 { "resent" }
                        }
                    }
                    tbody {
                        @for edge in &view.edges {
                            tr {
                                td.wrap { (view.name(&edge.from)) " → " (view.name(&edge.to)) }
                                td.p2 { (via(edge)) }
                                td.n.p2 { (bound(edge.lower_bound)) (count(edge.roundtrips)) }
                                td.n.p3 { (bound(edge.lower_bound)) (view.rate(edge.roundtrips)) }
                                td.n { @if edge.roundtrips_per_request.is_some() { (bound(edge.lower_bound)) } (ratio(edge.roundtrips_per_request)) }
                                @if mostly_untimed(edge.untimed, edge.roundtrips) {
                                    td.n { (count(edge.untimed)) " untimed" }
                                    td.n { (UNKNOWN) }
                                    td.n.p2 { (UNKNOWN) }
                                } @else {
                                    td.n { (quantile(&edge.latency_ns, |d| d.p50_ns)) }
                                    td.n { (quantile(&edge.latency_ns, |d| d.p99_ns)) }
                                    td.n.p2 { (network(&edge.latency_ns, edge.service_ns.as_ref())) }
                                }
                                td.n.p3 { (bytes(edge.bytes_sent)) }
                                td.n.p3 { (bytes(edge.bytes_received)) }
                                td.n.p3 { (count(edge.retransmits)) }
                            }
                        }
                    }
                }
            }
            (narrow("/s, sent, received, resent", "via, roundtrips, network"))
            (rest(view.edges.len(), view.whole.edges.len(), "edges", "the busiest", "courtside export -F csv has them all"))
            @if view.whole.edges.iter().any(|edge| edge.acceptor_only) {
                p.more { "If the caller is not on this host, roundtrips are the requests served, and there is no latency." }
            }
        },
    )
}

/// Mean latency less mean service time; unknown where either is.
fn network(latency: &Dist, service: Option<&Dist>) -> String {
    let mean = |dist: &Dist| (dist.count > 0).then(|| dist.sum_ns as f64 / dist.count as f64);
    let difference = mean(latency).zip(service.and_then(mean));
    difference.map_or_else(
        || UNKNOWN.to_owned(),
        |(latency, service)| duration_f64(latency - service),
    )
}

pub(super) fn machine(view: &ReportView<'_>) -> Markup {
    let counters = view.components.iter().any(|c| c.counters.is_some());
    let lead = if counters {
        "What the components used; 100% is one core. Cycles per instruction (CPI) tell whether the CPU itself was slow."
    } else {
        "What the components used; 100% is one core. This machine offered no hardware counters, so there are no cycles per instruction."
    };
    section(
        "machine",
        lead,
        html! {
            div.table {
                table {
                    thead {
                        tr {
                            th { "component" }
                            th.n { "CPU" } th.n { "waiting for one" } th.p2 { "mostly for" } th.n.p2 { "waiting for disk" }
                            th.n { "switches/s" } th.n.p3 { "of them forced" }
                            @if counters { th.n { "CPI" } th.n.p3 { "cache misses" } }
                            th.n.p2 { "reads/s" } th.n.p3 { "read/s" } th.n.p2 { "writes/s" } th.n.p3 { "written/s" }
                            th.n.p2 { "disk p50" } th.n.p3 { "p99" }
                        }
                    }
                    tbody {
                        @for component in &view.components {
                            (used(view, component, counters))
                        }
                    }
                }
            }
            @for (component, says) in view.components.iter().filter_map(|it| Some((it, behind(view, &it.disk)?))).take(MOST_BEHIND) {
                p { b { (view.name(&component.id)) } ": " (says) "." }
            }
            (narrow("forced switches, cache misses, bytes read and written, p99 of the disk", "waiting for disk, reads, writes, disk"))
            (rest(view.components.len(), view.whole.components.len(), "components", "those with traffic or load on this host",
                "courtside export -F csv has them all"))
        },
    )
}

/// From this share of their time on it is worth a sentence behind whose requests some lay, and how many sentences there are.
const MIN_BEHIND: f64 = 0.1;
const MOST_BEHIND: usize = 8;

/// Behind whose disk requests those of a component lay, if that is a good part of their time.
fn behind(view: &ReportView<'_>, disk: &Disk) -> Option<String> {
    let most = disk.queued_behind.as_ref()?.first()?;
    let share = most.ns as f64 / disk.latency_ns.sum_ns.max(1) as f64;
    let who = view.name(&most.component);
    (share >= MIN_BEHIND).then(|| {
        format!(
            "disk requests lay behind those of {who} for up to {} of their time",
            percent(share)
        )
    })
}

/// Who had the CPU for most of the time in which a component waited for it.
fn waits_for(view: &ReportView<'_>, cpu: &Cpu) -> String {
    let most = cpu.run_queue_by.as_ref().and_then(|by| by.first());
    most.map_or_else(
        || UNKNOWN.to_owned(),
        |most| {
            let share = most.ns as f64 / cpu.run_queue_ns.max(1) as f64;
            format!("{} {}", percent(share), view.name(&most.component))
        },
    )
}

fn used(view: &ReportView<'_>, component: &Component, counters: bool) -> Markup {
    let Component { cpu, disk, .. } = component;
    let switches = cpu.voluntary_switches + cpu.involuntary_switches;
    let forced = cpu.involuntary_switches as f64 / switches.max(1) as f64;
    let size = |n: u64| bytes(view.rate_of(n) as u64);
    let misses = component.counters.and_then(|c| {
        let (misses, references) = (c.llc_misses?, c.llc_references?);
        (references > 0).then(|| percent(misses as f64 / references as f64))
    });
    html! {
        tr {
            td.wrap { (view.name(&component.id)) }
            td.n { (percent(view.share(cpu.on_cpu_ns))) }
            td.n { (percent(view.share(cpu.run_queue_ns))) }
            td.p2.wrap { (waits_for(view, cpu)) }
            td.n.p2 { (percent(view.share(cpu.block_io_ns))) }
            td.n { (view.rate(switches)) }
            td.n.p3 { @if switches > 0 { (percent(forced)) } @else { (UNKNOWN) } }
            @if counters {
                td.n { (ratio(component.counters.and_then(|c| c.cpi))) }
                td.n.p3 { (misses.unwrap_or_else(|| UNKNOWN.to_owned())) }
            }
            td.n.p2 { (view.rate(disk.reads)) }
            td.n.p3 { (size(disk.read_bytes)) }
            td.n.p2 { (view.rate(disk.writes)) }
            td.n.p3 { (size(disk.write_bytes)) }
            td.n.p2 { (quantile(&disk.latency_ns, |d| d.p50_ns)) }
            td.n.p3 { (quantile(&disk.latency_ns, |d| d.p99_ns)) }
        }
    }
}

pub(super) fn trust(view: &ReportView<'_>) -> Markup {
    let quality = &view.whole.quality;
    let known = LOSSES
        .iter()
        .map(|loss| (loss, quality.lost.get(loss.class).copied().unwrap_or(0)));
    let lost: Vec<_> = known.filter(|(_, n)| *n > 0).collect();
    let bounds: Vec<_> = view
        .whole
        .edges
        .iter()
        .filter(|edge| edge.lower_bound)
        .collect();
    section(
        "trust",
        "What happened but is not in the numbers, and which numbers are only lower bounds.",
        html! {
            @if lost.is_empty() {
                p.good { "Nothing was lost." }
            }
            @for (loss, n) in lost {
                p.bad { b { "Lost " (count(n)) } " (" (loss.class) "): " (loss.meaning_in(quality)) ". What helps: " (loss.remedy) "." }
            }
            @if bounds.is_empty() {
                p.good { "No count is a lower bound." }
            } @else {
                p.bad {
                    b { (bounds.len()) @if bounds.len() == 1 { " edge counts" } @else { " edges count" } " lower bounds (≥): " }
                    "it was not always known there which answer belongs to which request. "
                    @for (n, edge) in bounds.iter().take(12).enumerate() {
                        @if n > 0 { "; " }
                        (view.name(&edge.from)) " → " (view.name(&edge.to)) ", " (via(edge))
                    }
                    @if bounds.len() > 12 { "; and " (bounds.len() - 12) " more, marked ≥ in the table Edges and in the exports" }
                }
            }
            @if quality.midlife_connections > 0 {
                p { (count(quality.midlife_connections)) " connections are older than the recording: the first turn of each is not counted." }
            }
            @if quality.pmu.state != PmuState::Ok && !quality.pmu.reason.is_empty() {
                p { "Hardware counters: " (quality.pmu.reason) "." }
            }
        },
    )
}

pub(super) fn host(view: &ReportView<'_>) -> Markup {
    let host = &view.whole.host;
    let cost = &view.whole.cost;
    let probes = &view.whole.quality.probes;
    let bad = probes
        .iter()
        .any(|p| !matches!(p.state, ProbeState::Attached));
    section(
        "host",
        "Where this was recorded, by which probes, and what measuring cost.",
        html! {
            dl {
                dt { "host" } dd { (host.hostname) }
                dt { "kernel" } dd { (host.kernel) " " (host.arch) }
                dt { "CPUs" } dd { (host.cpus) }
                dt { "boot" } dd { (host.boot_id) }
                dt { "measuring" } dd {
                    (duration(cost.user_cpu_ns)) " of CPU time in user space, "
                    @match cost.programs_ns() {
                        Some(ns) => { (duration(ns)) " in kernel programs, " }
                        None => { "that of kernel programs was not measured (--program-cost), " }
                    }
                    (bytes(cost.rss_bytes)) " of memory and "
                    (bytes(cost.map_bytes)) " in the kernel; the time of a probe is part of the time of the task that it interrupts"
                }
            }
            details open[bad] {
                summary { (probes.len()) " probes" @if !bad { ", all attached" } }
                div.table {
                    table {
                        thead { tr { th { "probe" } th { "hook" } th { "state" } th { "why" } th.n { "runs" } th.n { "each" } } }
                        tbody {
                            @for probe in probes {
                                @let program = cost.programs.iter().find(|p| p.name == probe.name);
                                @let runs = program.and_then(|p| p.runs);
                                @let each = program.and_then(|p| p.run_time_ns).zip(runs.filter(|n| *n > 0));
                                tr {
                                    td { (probe.name) }
                                    td { code { (probe.hook) } }
                                    td.warn[probe.state != ProbeState::Attached] { (probe.state.name()) }
                                    td.text { (probe.reason) }
                                    td.n { @if let Some(runs) = runs { (count(runs)) } @else { (UNKNOWN) } }
                                    td.n { @if let Some((time, runs)) = each { (duration(time / runs)) } @else { (UNKNOWN) } }
                                }
                            }
                        }
                    }
                }
            }
        },
    )
}

impl ReportView<'_> {
    /// Where an edge is that a picture does not show.
    fn in_edges(&self) -> String {
        let all = self.edges.len() == self.whole.edges.len();
        let place = "their median and 99th percentile are in the table Edges";
        if all {
            place.to_owned()
        } else {
            format!("{place}, as far as it goes; courtside export -F csv has them all")
        }
    }

    /// The same of a component on this host.
    fn in_components(&self, place: &str) -> String {
        // The table leaves out those with neither traffic nor load, which no picture would show.
        if self.components.len() < super::MAX_COMPONENTS {
            place.to_owned()
        } else {
            format!("{place}, as far as it goes; courtside export -F json has them all")
        }
    }

    /// How many components talk to another one.
    fn talking(&self) -> usize {
        let edges = self
            .whole
            .edges
            .iter()
            .filter(|edge| edge.from != edge.to && edge.roundtrips > 0);
        let ends: HashSet<&str> = edges
            .flat_map(|edge| [edge.from.as_str(), edge.to.as_str()])
            .collect();
        ends.len()
    }

    pub(super) fn rate_of(&self, n: u64) -> f64 {
        per_second(n, self.whole.window.duration_ns)
    }

    pub(super) fn rate(&self, n: u64) -> String {
        rate(self.rate_of(n))
    }

    /// A time as a share of the recording.
    pub(super) fn share(&self, ns: u64) -> f64 {
        self.rate_of(ns) / 1e9
    }
}
