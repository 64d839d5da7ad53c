//! A component's detail: a dialog that a click opens.
//!
//! In: one component of a view. Out: HTML. Must not know: how pictures are drawn.

use maud::{Markup, html};

use super::View;
use super::data::{bound, kind, via};
use super::page::{bar, legend, picture};
use super::parts::Parts;
use super::sections::{mean, quantile};
use crate::model::snapshot::{Component, Dist, Edge};
use crate::units::{count, duration, ratio};

/// Most processes and edges that are listed.
const MAX_ROWS: usize = 24;

pub(super) fn dialog(view: &View<'_>, number: usize, component: &Component) -> Markup {
    let turnaround = &component.turnaround;
    let name = view.name(&component.id);
    html! {
        dialog id={ "detail-" (number) } aria-labelledby={ "name-" (number) } {
            form method="dialog" { button aria-label="close" { "✕" } }
            h2 id={ "name-" (number) } { (name) }
            p.sub { (kind(component)) " · " (processes(component)) }
            div.facts {
                (fact("requests/s", &view.rate(component.requests.served)))
                (fact("service p50", &quantile(&component.requests.service_ns, |d| d.p50_ns)))
                (fact("service p99", &quantile(&component.requests.service_ns, |d| d.p99_ns)))
                (fact("turnaround, mean", &mean(turnaround.total_ns, turnaround.count)))
                (fact("CPUs", &ratio(Some(view.share(component.cpu.on_cpu_ns)))))
                (fact("CPI", &ratio(component.counters.and_then(|c| c.cpi))))
                @if let Some(counters) = turnaround.counters {
                    (fact("CPI with the ball", &ratio(counters.cpi)))
                }
            }
            @if turnaround.count > 0 {
                h3 { "Turnaround by recipient" }
                (legend())
                (picture("recipients", Some(number), "turnaround by recipient and parts"))
                div.table {
                    table {
                        thead { tr { th { "to" } th.n { "times" } th.n { "mean" } th.n { "p50" } th.n { "p99" } th { "made of" } } }
                        tbody {
                            @for to in turnaround.by_recipient.iter().filter(|to| to.count > 0).take(MAX_ROWS) {
                                tr {
                                    td { (view.name(&to.to)) }
                                    td.n { (count(to.count)) }
                                    td.n { (mean(to.total_ns, to.count)) }
                                    td.n { (quantile(&to.each_ns, |d| d.p50_ns)) }
                                    td.n { (quantile(&to.each_ns, |d| d.p99_ns)) }
                                    td { (bar(to.parts())) }
                                }
                            }
                        }
                    }
                }
            }
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
                            (distribution("service", &component.requests.service_ns))
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
        }
    }
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
        n => format!(" and {n} more"),
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
    view: &View<'_>,
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
                    thead { tr { th { "who" } th { "via" } th.n { "roundtrips" } th.n { "/s" } th.n { "/request" } th.n { "latency p50" } th.n { "p99" } } }
                    tbody {
                        @for edge in edges.iter().take(MAX_ROWS) {
                            tr {
                                td { (view.name(other(edge))) }
                                td { (via(edge)) }
                                td.n { (bound(edge.lower_bound)) (count(edge.roundtrips)) }
                                td.n { (view.rate(edge.roundtrips)) }
                                td.n { (ratio(edge.roundtrips_per_request)) }
                                td.n { (quantile(&edge.latency_ns, |d| d.p50_ns)) }
                                td.n { (quantile(&edge.latency_ns, |d| d.p99_ns)) }
                            }
                        }
                    }
                }
            }
            @if edges.len() > MAX_ROWS { p.more { "… " (edges.len() - MAX_ROWS) " more" } }
        }
    }
}
