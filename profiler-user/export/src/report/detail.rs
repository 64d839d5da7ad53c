//! A component's detail: a dialog that a click opens.
//!
//! In: one component of a view. Out: HTML. Must not know: how pictures are drawn.

use maud::{Markup, html};

use super::ReportView;
use super::bars::{self, Row};
use super::data::{bound, via};
use super::picks::rest;
use super::widgets::{bar, legend, mean, picture, quantile};
use courtside_core::model::snapshot::{Component, Dist, Edge, Recipient};
use courtside_core::model::words::{mean_held, mostly_untimed};
use courtside_core::units::{UNKNOWN, count, duration, percent, ratio};

/// Most processes and edges that are listed.
const MAX_ROWS: usize = 24;

pub(super) fn dialog(view: &ReportView<'_>, number: usize, component: &Component) -> Markup {
    let turnaround = &component.turnaround;
    let name = view.name(&component.id);
    let to = recipients(component);
    html! {
        dialog id={ "detail-" (number) } aria-labelledby={ "name-" (number) } {
            form method="dialog" { button aria-label="close" { "✕" } }
            h2 id={ "name-" (number) } { (name) }
            p.sub { (component.kind.name()) " · " (processes(component)) }
            div.facts {
                (fact("requests/s", &format!("{}{}", bound(component.requests.lower_bound), view.rate(component.requests.served))))
                @if !mostly_untimed(component.requests.untimed, component.requests.served) {
                    (fact("service p50", &quantile(&component.requests.service_ns, |d| d.p50_ns)))
                    (fact("service p99", &quantile(&component.requests.service_ns, |d| d.p99_ns)))
                }
                @if component.requests.untimed > 0 {
                    (fact("untimed requests", &count(component.requests.untimed)))
                }
                (fact("unread, mean", &mean(component.requests.queued_ns.sum_ns, component.requests.queued_ns.count)))
                (fact("held, mean", &mean_held(&component.requests)))
                (fact("turnaround, mean", &mean(turnaround.total_ns, turnaround.count)))
                (fact("CPU, 100% is one core", &percent(view.share(component.cpu.on_cpu_ns))))
                (fact("CPI", &ratio(component.counters.and_then(|c| c.cpi))))
                @if let Some(counters) = turnaround.counters {
                    (fact("CPI with the ball", &ratio(counters.cpi)))
                }
            }
            @if turnaround.count > 0 {
                h3 { "Turnaround by recipient" }
                (legend(&[turnaround.parts.real()]))
                (bars::lengths(&lengths_to(view, &to), "to"))
                div.table {
                    table {
                        thead { tr { th { "to" } th.n { "times" } th.n { "mean" } th.n { "p50" } th.n { "p99" } th.p2 { "made of" } } }
                        tbody {
                            @for to in to.iter().take(MAX_ROWS) {
                                tr {
                                    td.wrap { (view.name(&to.to)) }
                                    td.n { (count(to.count)) }
                                    td.n { (mean(to.total_ns, to.count)) }
                                    td.n { (quantile(&to.each_ns, |d| d.p50_ns)) }
                                    td.n { (quantile(&to.each_ns, |d| d.p99_ns)) }
                                    td.p2 { (bar(to.parts.real())) }
                                }
                            }
                        }
                    }
                }
            }
            (rest(to.len().min(MAX_ROWS), to.len(), "recipients", "the most frequent", "courtside export -F csv has them all"))
            @if turnaround.unprompted_count > 0 {
                p { (count(turnaround.unprompted_count)) " sends that no message prompted (timers, generators), "
                    (mean(turnaround.unprompted_ns, turnaround.unprompted_count)) " apart." }
            }
            @if component.requests.served > 0 || turnaround.count > 0 {
                h3 { "Distributions" }
                (picture("spread", Some(number), "distributions of this component's times"))
                div.table {
                    table {
                        thead { tr { th {} th.n { "times" } th.n { "mean" } th.n { "min" } th.n { "p50" } th.n { "p90" } th.n { "p99" } th.n { "max" } } }
                        tbody {
                            @if !mostly_untimed(component.requests.untimed, component.requests.served) {
                                (distribution("service", &component.requests.service_ns))
                            }
                            (distribution("unread before", &component.requests.queued_ns))
                            (distribution("turnaround", &turnaround.each_ns))
                            (distribution("disk", &component.disk.latency_ns))
                        }
                    }
                }
            }
            @if view.timeline.times.len() > 1 && turnaround.count > 0 {
                h3 { "Over time" }
                (picture("held", Some(number), "this component's turnaround parts over time"))
            }
            (edges(view, "Called by", |edge| edge.to == component.id, |edge| &edge.from))
            (edges(view, "Calls", |edge| edge.from == component.id, |edge| &edge.to))
            p.more.only { "On a wider page these tables also have: made of, via, /s." }
        }
    }
}

/// To whom it sent, the most frequent first.
fn recipients(component: &Component) -> Vec<&Recipient> {
    let all = component.turnaround.by_recipient.iter();
    let mut recipients: Vec<&Recipient> = all.filter(|to| to.count > 0).collect();
    recipients.sort_by_key(|to| std::cmp::Reverse(to.count));
    recipients
}

fn lengths_to(view: &ReportView<'_>, to: &[&Recipient]) -> Vec<Row> {
    let row = |to: &&Recipient| Row {
        name: view.name(&to.to),
        segments: bars::segments(to.parts.real().map(|ns| ns / to.count as f64)),
        note: count(to.count),
        ..Row::default()
    };
    to.iter().take(MAX_ROWS).map(row).collect()
}

fn fact(name: &str, value: &str) -> Markup {
    html! { div { b { (value) } span { (name) } } }
}

fn processes(component: &Component) -> String {
    let processes = &component.processes;
    let few = processes.iter().take(8);
    let named: Vec<String> = few.map(|p| format!("{} {}", p.comm, p.tgid)).collect();
    let more = match processes.len().saturating_sub(8) {
        0 => String::new(),
        n => format!(" and {n} more, which courtside export -F json lists"),
    };
    match processes.len() {
        0 => "no process here".to_owned(),
        n => format!(
            "{} {}: {}{more}",
            count(n as u64),
            if n == 1 { "process" } else { "processes" },
            named.join(", ")
        ),
    }
}

fn distribution(name: &str, dist: &Dist) -> Markup {
    html! {
        @if dist.count > 0 {
            tr {
                td { (name) }
                td.n { (count(dist.count)) }
                td.n { (mean(dist.sum_ns, dist.count)) }
                @for ns in [dist.min_ns, dist.p50_ns, dist.p90_ns, dist.p99_ns, dist.max_ns] {
                    td.n { (duration(ns)) }
                }
            }
        }
    }
}

fn edges(
    view: &ReportView<'_>,
    title: &str,
    of: impl Fn(&Edge) -> bool,
    other: fn(&Edge) -> &str,
) -> Markup {
    let mut edges: Vec<&Edge> = view.whole.edges.iter().filter(|edge| of(edge)).collect();
    edges.sort_by_key(|edge| std::cmp::Reverse(edge.roundtrips));
    html! {
        @if !edges.is_empty() {
            h3 { (title) }
            div.table {
                table {
                    thead { tr { th { "who" } th.p2 { "via" } th.n { "roundtrips" } th.n.p2 { "/s" } th.n { "/request" } th.n { "latency p50" } th.n { "p99" } } }
                    tbody {
                        @for edge in edges.iter().take(MAX_ROWS) {
                            tr {
                                td.wrap { (view.name(other(edge))) }
                                td.p2 { (via(edge)) }
                                td.n { (bound(edge.lower_bound)) (count(edge.roundtrips)) }
                                td.n.p2 { (bound(edge.lower_bound)) (view.rate(edge.roundtrips)) }
                                td.n { @if edge.roundtrips_per_request.is_some() { (bound(edge.lower_bound)) } (ratio(edge.roundtrips_per_request)) }
                                @if mostly_untimed(edge.untimed, edge.roundtrips) {
                                    td.n { (count(edge.untimed)) " untimed" }
                                    td.n { (UNKNOWN) }
                                } @else {
                                    td.n { (quantile(&edge.latency_ns, |d| d.p50_ns)) }
                                    td.n { (quantile(&edge.latency_ns, |d| d.p99_ns)) }
                                }
                            }
                        }
                    }
                }
            }
            (rest(edges.len().min(MAX_ROWS), edges.len(), "edges", "the busiest", "courtside export -F csv has them all"))
        }
    }
}
