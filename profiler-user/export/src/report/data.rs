//! The numbers behind the pictures, as JSON within the page.
//!
//! In: a view of a snapshot. Out: JSON that cannot end its script element. Must not know: how it is drawn.

use courtside_wire::hist::{bounds_of, bucket_of};
use serde::Serialize;

use super::parts::class;
use super::picks::Picks;
use super::timeline::Point;
use super::{Group, MAX_NODES, ReportView};
use courtside_core::frame::Transport;
use courtside_core::model::snapshot::{Component, Dist, Edge};
use courtside_core::model::words::mostly_untimed;
use courtside_core::parts::{Part, Parts};
use courtside_core::units::{TimeUnit, duration_f64, ratio};

#[derive(Serialize)]
struct Data<'a> {
    /// Name and class of each part of a turnaround.
    parts: Vec<(&'static str, String)>,
    /// What each picture shows.
    picks: &'a Picks,
    nodes: Vec<Node>,
    links: Vec<Link>,
    components: Vec<Shown>,
    edges: Vec<Call>,
    /// Unix time in milliseconds at which each piece of time began; one more at the end.
    times: Vec<f64>,
    lost: Vec<u64>,
}

/// A box of the map.
#[derive(Serialize)]
struct Node {
    name: String,
    kind: &'static str,
    line: String,
    entry: bool,
    detail: Option<usize>,
    parts: Option<[f64; Part::COUNT]>,
}

/// An arrow of the map.
#[derive(Serialize)]
struct Link {
    from: usize,
    to: usize,
    label: String,
    weight: f64,
}

/// A component with a row.
#[derive(Serialize)]
struct Shown {
    name: String,
    /// It serves someone.
    service: bool,
    turnaround: Option<Distribution>,
    served: Option<Distribution>,
    queued: Option<Distribution>,
    series: Option<Series>,
}

/// An edge with a row.
#[derive(Serialize)]
struct Call {
    name: String,
    latency: Option<Distribution>,
}

/// `bins` are lower bound, upper bound, share in per cent.
#[derive(Serialize)]
struct Distribution {
    bins: Vec<(u64, u64, f64)>,
    p50: u64,
    p99: u64,
}

/// Per second of each piece of time.
#[derive(Serialize)]
struct Series {
    served: Vec<f64>,
    p50: Vec<Option<u64>>,
    p99: Vec<Option<u64>>,
    parts: [Vec<f64>; Part::COUNT],
    cpu: Vec<f64>,
}

/// The data as JSON. `<` is written as an escape: no name can end the script element, or begin a comment in it.
pub(super) fn json(view: &ReportView<'_>) -> Result<String, serde_json::Error> {
    let (nodes, links) = map(view);
    let data = Data {
        parts: Part::ALL.map(|part| (part.words(), class(part))).to_vec(),
        picks: &view.picks,
        nodes,
        links,
        components: view.components.iter().map(|c| shown(view, c)).collect(),
        edges: view.edges.iter().map(|edge| call(view, edge)).collect(),
        times: times(view),
        lost: view.timeline.lost.clone(),
    };
    Ok(serde_json::to_string(&data)?.replace('<', "\\u003c"))
}

/// What an edge is called.
pub(super) fn edge_name(view: &ReportView<'_>, edge: &Edge) -> String {
    format!(
        "{} → {}, {}",
        view.name(&edge.from),
        view.name(&edge.to),
        via(edge)
    )
}

/// Over what an edge runs.
pub(super) fn via(edge: &Edge) -> String {
    match edge.transport {
        Transport::Tcp => format!("tcp:{}", edge.port),
        Transport::Udp => format!("udp:{}", edge.port),
        Transport::Unix => "unix".to_owned(),
    }
}

fn times(view: &ReportView<'_>) -> Vec<f64> {
    let times = &view.timeline.times;
    let end = times
        .last()
        .map(|(start, length)| start.saturating_add(*length));
    let starts = times.iter().map(|(start, _)| *start);
    starts
        .chain(end)
        .map(|ns| (ns / 1_000_000) as f64)
        .collect()
}

/// What all edges from one component to another add up to.
struct Wire {
    from: usize,
    to: usize,
    per_request: Option<f64>,
    roundtrips: u64,
    lower_bound: bool,
}

/// The components that talk, the busiest if there are too many.
fn map(view: &ReportView<'_>) -> (Vec<Node>, Vec<Link>) {
    let mut edges: Vec<&Edge> = view.whole.edges.iter().collect();
    // What requests at the entry cause comes first.
    let rank = |e: &Edge| (e.roundtrips_per_request.is_some(), e.roundtrips);
    edges.sort_by_key(|edge| std::cmp::Reverse(rank(edge)));
    let mut ids: Vec<&str> = Vec::new();
    let mut wires: Vec<Wire> = Vec::new();
    for edge in edges {
        if edge.from == edge.to || edge.roundtrips == 0 {
            continue;
        }
        let before = ids.len();
        let [from, to] = [&edge.from, &edge.to].map(|id| {
            ids.iter().position(|known| known == id).unwrap_or_else(|| {
                ids.push(id);
                ids.len() - 1
            })
        });
        if ids.len() > MAX_NODES {
            ids.truncate(before);
            continue;
        }
        match wires
            .iter_mut()
            .find(|wire| (wire.from, wire.to) == (from, to))
        {
            Some(wire) => {
                wire.per_request = match (wire.per_request, edge.roundtrips_per_request) {
                    (Some(a), Some(b)) => Some(a + b),
                    (a, b) => a.or(b),
                };
                wire.roundtrips += edge.roundtrips;
                wire.lower_bound |= edge.lower_bound;
            }
            None => wires.push(Wire {
                from,
                to,
                per_request: edge.roundtrips_per_request,
                roundtrips: edge.roundtrips,
                lower_bound: edge.lower_bound,
            }),
        }
    }
    let links = wires.iter().map(|wire| Link {
        from: wire.from,
        to: wire.to,
        label: match wire.per_request {
            Some(n) => format!("{}{}", bound(wire.lower_bound), ratio(Some(n))),
            None => String::new(),
        },
        weight: round(wire.roundtrips as f64),
    });
    (
        ids.iter().map(|id| node(view, id)).collect(),
        links.collect(),
    )
}

/// What stands before a count that may be too low.
pub(super) use courtside_core::model::words::at_least as bound;

fn node(view: &ReportView<'_>, id: &str) -> Node {
    let component = view.whole.components.iter().find(|c| c.id == id);
    let entry = view.whole.entries.first();
    let court = entry.and_then(|entry| entry.courts.iter().find(|court| court.component == id));
    let mean = component.and_then(mean_parts);
    let unit = |ns: f64| TimeUnit::of(ns);
    Node {
        name: view.name(id),
        kind: component.map_or("remote", |c| c.kind.name()),
        line: match (court, mean) {
            (Some(court), _) => {
                let ns = court.turnaround_ns;
                let beside = court.all_ns() - ns;
                let beside = if beside.abs() >= 0.01 * ns.abs() && beside.abs() >= 1.0 {
                    let sign = if beside < 0.0 { "−" } else { "+" };
                    format!(" {sign} {}", duration_f64(beside.abs()))
                } else {
                    String::new()
                };
                format!(
                    "{} {}{beside} a request",
                    unit(ns).show(ns),
                    unit(ns).symbol
                )
            }
            (None, Some(mean)) => format!("{} a turn", duration_f64(mean.total_ns())),
            (None, None) => component.map_or("remote", |c| c.kind.name()).to_owned(),
        },
        entry: view.whole.entries.iter().any(|entry| entry.component == id),
        detail: view.places.get(id).copied(),
        parts: court
            .map(|court| court.parts)
            .or(mean)
            .map(|parts| parts.map(round).0),
    }
}

fn mean_parts(component: &Component) -> Option<Parts<f64>> {
    let count = component.turnaround.count;
    (count > 0).then(|| {
        component
            .turnaround
            .parts
            .real()
            .map(|ns| round(ns / count as f64))
    })
}

fn shown(view: &ReportView<'_>, component: &Component) -> Shown {
    Shown {
        name: view.name(&component.id),
        service: view.group(component) == Group::Service,
        turnaround: distribution(&component.turnaround.each_ns),
        served: distribution(&component.requests.service_ns).filter(|_| {
            let requests = &component.requests;
            !mostly_untimed(requests.untimed, requests.served)
        }),
        queued: distribution(&component.requests.queued_ns),
        series: series(view, &component.id),
    }
}

fn call(view: &ReportView<'_>, edge: &Edge) -> Call {
    Call {
        name: edge_name(view, edge),
        latency: distribution(&edge.latency_ns)
            .filter(|_| !mostly_untimed(edge.untimed, edge.roundtrips)),
    }
}

/// Bins of two buckets each: four an octave, which is as wide everywhere on a logarithmic axis.
fn distribution(dist: &Dist) -> Option<Distribution> {
    let mut bins: Vec<(usize, u64)> = Vec::new();
    for &(upper, count) in &dist.buckets {
        let bin = bucket_of(upper) / 2;
        match bins.last_mut() {
            Some((last, sum)) if *last == bin => *sum += count,
            _ => bins.push((bin, count)),
        }
    }
    let share = |count: u64| round(count as f64 * 100.0 / dist.count as f64);
    let bin = |(bin, count): (usize, u64)| {
        let (low, high) = (bounds_of(2 * bin).0, bounds_of(2 * bin + 1).1);
        (low.max(1), high.saturating_add(1), share(count))
    };
    (dist.count > 0).then(|| Distribution {
        bins: bins.into_iter().map(bin).collect(),
        p50: dist.p50_ns,
        p99: dist.p99_ns,
    })
}

fn series(view: &ReportView<'_>, id: &str) -> Option<Series> {
    let times = &view.timeline.times;
    let points = view.timeline.of(id);
    if times.len() < 2 || points.is_empty() {
        return None;
    }
    let mut at: Vec<Option<&Point>> = vec![None; times.len()];
    for point in points {
        at[point.piece] = Some(point);
    }
    let per_second = |value: &dyn Fn(&Point) -> f64| -> Vec<f64> {
        let each = at.iter().zip(times).map(|(point, (_, length))| {
            point.map_or(0.0, |p| round(value(p) * 1e9 / (*length).max(1) as f64))
        });
        each.collect()
    };
    Some(Series {
        served: per_second(&|p| p.served as f64),
        p50: at
            .iter()
            .map(|p| p.and_then(|p| p.service_p50_ns))
            .collect(),
        p99: at
            .iter()
            .map(|p| p.and_then(|p| p.service_p99_ns))
            .collect(),
        parts: std::array::from_fn(|part| per_second(&|p| p.parts.0[part])),
        cpu: per_second(&|p| p.on_cpu_ns as f64),
    })
}

/// Four digits are enough for a picture.
fn round(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let size = 10f64.powi(3 - value.abs().log10().floor() as i32);
    let rounded = (value * size).round() / size;
    if rounded.is_finite() { rounded } else { value }
}
