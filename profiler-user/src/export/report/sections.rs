//! The sections of the page.
//!
//! In: a view of a snapshot. Out: HTML, one function a section. Must not know: how pictures are drawn.

use std::collections::HashSet;
use std::time::{Duration, UNIX_EPOCH};

use humantime::format_rfc3339_seconds;
use maud::{Markup, Render, html};

use super::data::{bound, kind, via};
use super::page::{bar, legend, picture};
use super::parts::Parts;
use super::{MAX_ENTRIES, MAX_NODES, View};
use crate::frame::{PmuState, ProbeState};
use crate::model::snapshot::{Component, Dist};
use crate::model::words::{LOSSES, request_sum};
use crate::units::{
    UNKNOWN, bytes, count, duration, duration_f64, per_second, percent, rate, ratio,
};

/// Ids and names of the sections.
pub(super) const CONTENTS: [(&str, &str); 9] = [
    ("requests", "One request"),
    ("map", "Map"),
    ("components", "Components"),
    ("distributions", "Distributions"),
    ("time", "Over time"),
    ("edges", "Edges"),
    ("machine", "CPU and disk"),
    ("trust", "What to trust"),
    ("host", "Host and probes"),
];

/// When it began, in UTC.
pub(super) fn when(view: &View<'_>) -> String {
    let begun = UNIX_EPOCH + Duration::from_nanos(view.whole.window.start_unix_ns);
    let text = format_rfc3339_seconds(begun).to_string();
    text.replace('T', " ").replace('Z', " UTC")
}

/// What must be known before anything is read.
pub(super) fn chips(view: &View<'_>) -> Markup {
    let quality = &view.whole.quality;
    let lost: u64 = quality.lost.values().sum();
    let own = view.share(view.whole.cost.user_cpu_ns);
    let pieces = view.timeline.times.len();
    html! {
        ul.chips {
            li { (count(view.whole.components.len() as u64)) " components" }
            li { (count(view.whole.edges.len() as u64)) " edges" }
            li.warn[lost > 0] { "lost " (count(lost)) }
            @if quality.lower_bound { li.warn { "some counts are lower bounds" } }
            @if quality.midlife_connections > 0 {
                li { (count(quality.midlife_connections)) " connections older than the recording" }
            }
            li { "PMU " (pmu(view)) }
            li { "measuring took " (percent(own)) " of a core" }
            @if pieces > 1 { li { (pieces) " points of time" } }
        }
    }
}

fn pmu(view: &View<'_>) -> String {
    let pmu = &view.whole.quality.pmu;
    match (pmu.state, pmu.running_ratio) {
        (PmuState::Ok, _) => "ok".to_owned(),
        (PmuState::Multiplexed, Some(share)) => format!("multiplexed {}", percent(share)),
        (PmuState::Multiplexed, None) => "multiplexed".to_owned(),
        (PmuState::None, _) => "none".to_owned(),
        (PmuState::Disabled, _) => "off".to_owned(),
    }
}

fn section(id: &str, lead: &str, body: impl Render) -> Markup {
    let name = CONTENTS.iter().find(|(known, _)| *known == id);
    html! {
        section id=(id) {
            h2 { (name.map_or(id, |(_, name)| name)) }
            p.lead { (lead) }
            (body)
        }
    }
}

pub(super) fn requests(view: &View<'_>) -> Markup {
    let entries = &view.whole.entries;
    let hidden = entries.len().saturating_sub(MAX_ENTRIES);
    section(
        "requests",
        "Where the mean request's time went: the courts it lay in, the network between them, and what neither explains. \
         Below each court, what it was made of.",
        html! {
            @if entries.is_empty() {
                p.none { "No request came in while this was recorded." }
            } @else {
                (legend())
            }
            @for (number, entry) in entries.iter().take(MAX_ENTRIES).enumerate() {
                figure {
                    figcaption {
                        b { (view.name(&entry.component)) @if entry.port > 0 { ":" (entry.port) } }
                        " · " (view.rate(entry.requests)) " requests/s · " (count(entry.requests)) " in all"
                    }
                    (picture("request", Some(number), "one request's time, split over courts"))
                    p.sum { (request_sum(entry, &view.names)) }
                    @if entry.other_ns < -0.01 * entry.mean_ns {
                        p.more {
                            "Calls ran side by side: the courts add up to " (duration_f64(-entry.other_ns))
                            " more than the request took, which the line marks."
                        }
                    }
                }
            }
            @if hidden > 0 {
                p.more { "… " (hidden) " more ways in; choose by --entry NAME:PORT" }
            }
        },
    )
}

pub(super) fn map(view: &View<'_>) -> Markup {
    section(
        "map",
        "Who calls whom: roundtrips for one request at the entry on the arrows, the time in each court below its name. \
         Click a component for its detail.",
        html! {
            @if view.whole.edges.is_empty() {
                p.none { "Nobody talked to anybody while this was recorded." }
            } @else {
                figure.wide { (picture("map", None, "map of components and calls")) }
                @let talking = view.talking();
                @if talking > MAX_NODES {
                    p.more { "The map shows " (MAX_NODES) " of " (talking) " components, those that requests pass and then the busiest." }
                }
            }
        },
    )
}

pub(super) fn components(view: &View<'_>) -> Markup {
    section(
        "components",
        "Requests served and the time each took; and the turnaround: how long the component had the ball each time, \
         from the arrival of a message until it sent the next one, to whomever.",
        html! {
            (legend())
            figure { (picture("turnaround", None, "mean turnaround of each component, by parts")) }
            div.table {
                table {
                    thead {
                        tr {
                            th { "component" } th { "kind" }
                            th.n { "requests/s" } th.n { "service p50" } th.n { "p99" }
                            th.n { "turnaround" } th { "made of" }
                            th.n { "roundtrips/request" } th.n { "CPUs" }
                        }
                    }
                    tbody {
                        @for (number, component) in view.components.iter().enumerate() {
                            (row(view, number, component))
                        }
                    }
                }
            }
            @if view.hidden_components > 0 {
                p.more { "… " (view.hidden_components) " more, remote or without traffic; all of them: courtside export -F json" }
            }
        },
    )
}

fn row(view: &View<'_>, number: usize, component: &Component) -> Markup {
    let turnaround = &component.turnaround;
    let served = component.requests.served;
    html! {
        tr data-detail=(number) {
            td { a href={ "#detail-" (number) } { (view.name(&component.id)) } }
            td { (kind(component)) }
            td.n { @if served > 0 { (view.rate(served)) } @else { (UNKNOWN) } }
            td.n { (quantile(&component.requests.service_ns, |d| d.p50_ns)) }
            td.n { (quantile(&component.requests.service_ns, |d| d.p99_ns)) }
            td.n { (mean(turnaround.total_ns, turnaround.count)) }
            td { @if turnaround.count > 0 { (bar(turnaround.parts())) } }
            td.n { (ratio(view.per_request.get(component.id.as_str()).copied())) }
            td.n { (ratio(Some(view.share(component.cpu.on_cpu_ns)))) }
        }
    }
}

pub(super) fn distributions(view: &View<'_>) -> Markup {
    let any = view.edges.iter().any(|edge| edge.latency_ns.count > 0);
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
                    }
                    figure {
                        figcaption { "Turnaround" }
                        (picture("turnarounds", None, "distribution of turnaround by component"))
                    }
                }
            } @else {
                p.none { "Nothing to show." }
            }
        },
    )
}

pub(super) fn time(view: &View<'_>) -> Markup {
    let lost: u64 = view.whole.quality.lost.values().sum();
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
                    }
                    figure {
                        figcaption { "Service time at the entry: median, and dashed the 99th percentile" }
                        (picture("services", None, "service time over time"))
                    }
                    figure {
                        figcaption { "Turnarounds under way, all components, by parts" }
                        (picture("held", None, "turnaround parts over time"))
                    }
                    figure {
                        figcaption { "CPUs used" }
                        (picture("cpus", None, "CPU use over time"))
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

pub(super) fn edges(view: &View<'_>) -> Markup {
    section(
        "edges",
        "Who called whom, the busiest first. Network is the latency less the acceptor's own service time.",
        html! {
            div.table {
                table {
                    thead {
                        tr {
                            th { "from → to" } th { "via" }
                            th.n { "roundtrips" } th.n { "/s" } th.n { "/request" }
                            th.n { "latency p50" } th.n { "p99" } th.n { "network, mean" }
                            th.n { "sent" } th.n { "received" } th.n { "resent" }
                        }
                    }
                    tbody {
                        @for edge in &view.edges {
                            tr {
                                td { span.name { (view.name(&edge.from)) " → " } span.name { (view.name(&edge.to)) } }
                                td { (via(edge)) }
                                td.n { (bound(edge.lower_bound)) (count(edge.roundtrips)) }
                                td.n { (view.rate(edge.roundtrips)) }
                                td.n { (ratio(edge.roundtrips_per_request)) }
                                td.n { (quantile(&edge.latency_ns, |d| d.p50_ns)) }
                                td.n { (quantile(&edge.latency_ns, |d| d.p99_ns)) }
                                td.n { (network(&edge.latency_ns, edge.service_ns.as_ref())) }
                                td.n { (bytes(edge.bytes_sent)) }
                                td.n { (bytes(edge.bytes_received)) }
                                td.n { (count(edge.retransmits)) }
                            }
                        }
                    }
                }
            }
            @if view.hidden_edges > 0 {
                p.more { "… " (view.hidden_edges) " more; all of them: courtside export -F csv" }
            }
            @if view.whole.edges.iter().any(|edge| edge.acceptor_only) {
                p.more { "Where the caller is not on this host, roundtrips are the requests served, and there is no latency." }
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

pub(super) fn machine(view: &View<'_>) -> Markup {
    let counters = view.components.iter().any(|c| c.counters.is_some());
    let lead = if counters {
        "What the components used. Cycles per instruction (CPI) tell whether the CPU itself was slow."
    } else {
        "What the components used. This machine offered no hardware counters, so there are no cycles per instruction."
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
                            th.n { "CPUs" } th.n { "waiting for one" } th.n { "waiting for disk" }
                            th.n { "switches/s" } th.n { "of them forced" }
                            @if counters { th.n { "CPI" } th.n { "cache misses" } }
                            th.n { "reads/s" } th.n { "read/s" } th.n { "writes/s" } th.n { "written/s" }
                            th.n { "disk p50" } th.n { "p99" }
                        }
                    }
                    tbody {
                        @for component in &view.components {
                            (used(view, component, counters))
                        }
                    }
                }
            }
        },
    )
}

fn used(view: &View<'_>, component: &Component, counters: bool) -> Markup {
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
            td { (view.name(&component.id)) }
            td.n { (ratio(Some(view.share(cpu.on_cpu_ns)))) }
            td.n { (ratio(Some(view.share(cpu.run_queue_ns)))) }
            td.n { (ratio(Some(view.share(cpu.block_io_ns)))) }
            td.n { (view.rate(switches)) }
            td.n { @if switches > 0 { (percent(forced)) } @else { (UNKNOWN) } }
            @if counters {
                td.n { (ratio(component.counters.and_then(|c| c.cpi))) }
                td.n { (misses.unwrap_or_else(|| UNKNOWN.to_owned())) }
            }
            td.n { (view.rate(disk.reads)) }
            td.n { (size(disk.read_bytes)) }
            td.n { (view.rate(disk.writes)) }
            td.n { (size(disk.write_bytes)) }
            td.n { (quantile(&disk.latency_ns, |d| d.p50_ns)) }
            td.n { (quantile(&disk.latency_ns, |d| d.p99_ns)) }
        }
    }
}

pub(super) fn trust(view: &View<'_>) -> Markup {
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
        "What happened and is not in the numbers, and what is only a lower bound.",
        html! {
            @if lost.is_empty() {
                p.good { "Nothing was lost." }
            }
            @for (loss, n) in lost {
                p.bad { b { "Lost " (count(n)) } " (" (loss.class) "): " (loss.meaning) ". To mend it: " (loss.mend) "." }
            }
            @if bounds.is_empty() {
                p.good { "No count is a lower bound for want of certainty." }
            } @else {
                p.bad {
                    b { (bounds.len()) @if bounds.len() == 1 { " edge counts" } @else { " edges count" } " lower bounds (≥): " }
                    "which answer belongs to which request could not always be told there. "
                    @for (n, edge) in bounds.iter().take(12).enumerate() {
                        @if n > 0 { "; " }
                        (view.name(&edge.from)) " → " (view.name(&edge.to)) ", " (via(edge))
                    }
                    @if bounds.len() > 12 { "; …" }
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

pub(super) fn host(view: &View<'_>) -> Markup {
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
                    (duration(cost.user_cpu_ns)) " of CPU time in user space, " (bytes(cost.rss_bytes)) " of memory and "
                    (bytes(cost.map_bytes)) " in the kernel; each probe's time is part of whoever it interrupts"
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
                                    td.warn[probe.state != ProbeState::Attached] { (state(probe.state)) }
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

fn state(state: ProbeState) -> &'static str {
    match state {
        ProbeState::Attached => "attached",
        ProbeState::Degraded => "degraded",
        ProbeState::Failed => "failed",
        ProbeState::Disabled => "disabled",
    }
}

/// A quantile, if there is anything.
pub(super) fn quantile(dist: &Dist, pick: fn(&Dist) -> u64) -> String {
    if dist.count > 0 {
        duration(pick(dist))
    } else {
        UNKNOWN.to_owned()
    }
}

/// A mean, if there is anything.
pub(super) fn mean(sum_ns: u64, count: u64) -> String {
    sum_ns
        .checked_div(count)
        .map_or_else(|| UNKNOWN.to_owned(), duration)
}

impl View<'_> {
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
