//! Where the mean request's time went: a waterfall, one bar a court, each beginning where the one before ended.
//!
//! In: an entry of a view. Out: rows that add up to the mean, and HTML. Must not know: how bars are drawn.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use maud::{Markup, html};

use super::ReportView;
use super::bars::{self, Frame, Row, Scale, Segment};
use courtside_core::model::snapshot::{Court, Entry};
use courtside_core::model::words::held_word;
use courtside_core::units::{UNKNOWN, percent};

/// Most courts with a row of their own.
pub(super) const MAX_COURTS: usize = 40;

/// The rows, in call order: a court, then those it calls, then network and other.
pub(super) fn rows(view: &ReportView<'_>, entry: &Entry) -> Vec<Row> {
    let order = call_order(view, entry);
    let mut sizes: Vec<f64> = entry
        .courts
        .iter()
        .map(|c| total(&segments(c, entry.mean_ns.unwrap_or(0.0))).abs())
        .collect();
    sizes.sort_by(|a, b| b.total_cmp(a));
    // The smallest share a row if there are too many; as many as are larger than the first of those have their own.
    let least = match entry.courts.len() {
        0..=MAX_COURTS => 0.0,
        _ => sizes[MAX_COURTS - 1],
    };
    let mut rows = Vec::new();
    let (mut rest, mut rest_ns) = (0, 0.0);
    for (court, depth) in order {
        let segments = segments(court, entry.mean_ns.unwrap_or(0.0));
        if total(&segments).abs() < least || rows.len() == MAX_COURTS {
            rest += 1;
            rest_ns += total(&segments);
            continue;
        }
        rows.push(Row {
            name: view.name(&court.component),
            depth,
            detail: view.places.get(court.component.as_str()).copied(),
            segments,
            ..Row::default()
        });
    }
    let mut whole = |name: &str, class: &str, ns| {
        rows.push(Row {
            name: name.to_owned(),
            segments: vec![segment("in all", class, ns)],
            ..Row::default()
        });
    };
    if rest > 0 {
        whole(
            &format!("{rest} more courts, the shortest"),
            "whole",
            rest_ns,
        );
    }
    whole("network", "network", entry.network_ns);
    if let Some(ns) = entry.other_ns {
        whole("other", "other", ns);
    } else if let Some(mean_ns) = entry.mean_ns {
        let told: f64 = rows.iter().map(Row::total).sum();
        rows.push(Row {
            name: "what is not known".to_owned(),
            segments: vec![segment("in all", "other", mean_ns - told)],
            ..Row::default()
        });
    }
    let Some(mean_ns) = entry.mean_ns.filter(|_| entry.adds_up) else {
        // No sum: each begins at 0.
        return rows;
    };
    let mut at = 0.0;
    for row in &mut rows {
        row.begin = at;
        at += row.total();
        row.note = share(row.total(), mean_ns);
    }
    rows
}

fn segment(name: &'static str, class: &str, ns: f64) -> Segment {
    Segment {
        name,
        class: class.to_owned(),
        ns,
    }
}

/// What a court's time is made of, in the order in which it came: unread, its turnarounds by parts, held. Whatever parts do
/// not tell is a segment, too. What a component held is negative where its calls ran side by side.
fn segments(court: &Court, mean_ns: f64) -> Vec<Segment> {
    let worth = |ns: &f64| ns.abs() >= 1.0;
    let unread = court.unread_ns.filter(worth);
    let mut segments: Vec<Segment> = unread
        .map(|ns| segment("unread", "unread", ns))
        .into_iter()
        .collect();
    let parts = court.parts;
    segments.extend(bars::segments(parts));
    let rest = court.turnaround_ns - parts.total_ns();
    if rest > 0.001 * court.turnaround_ns {
        segments.push(segment("not known here", "whole", rest));
    }
    segments.extend(
        court
            .held_ns
            .filter(worth)
            .map(|ns| segment(held_word(ns, mean_ns), "held", ns)),
    );
    segments
}

/// What the colours mean besides those of parts.
pub(super) fn legend() -> Markup {
    let all = [
        (
            "unread",
            "unread",
            "it lay unread, while the threads were busy with other requests",
        ),
        (
            "held",
            "held",
            "read, and waiting inside while the threads did other things; a thin bar goes back where calls ran in parallel",
        ),
        (
            "network",
            "network",
            "latency minus service time between the courts",
        ),
        (
            "not known here",
            "whole",
            "at a remote end, network included",
        ),
        ("other", "other", "what can be placed on no component"),
    ];
    html! {
        ul.legend aria-label="besides parts" {
            @for (name, class, meaning) in all {
                li title=(meaning) { span.swatch.(class) {} (name) }
            }
        }
    }
}

fn total(segments: &[Segment]) -> f64 {
    segments.iter().map(|segment| segment.ns).sum()
}

fn share(ns: f64, mean_ns: f64) -> String {
    let size = percent(ns.abs() / mean_ns);
    if ns < 0.0 && size != UNKNOWN {
        format!("-{size}")
    } else {
        size
    }
}

/// Each court with the number of calls that lead to it: the entry, then whom it calls most, and whom that calls.
fn call_order<'a>(view: &ReportView<'_>, entry: &'a Entry) -> Vec<(&'a Court, usize)> {
    let courts: HashMap<&str, &Court> = entry
        .courts
        .iter()
        .map(|court| (court.component.as_str(), court))
        .collect();
    let mut calls: HashMap<&str, Vec<(u64, &str)>> = HashMap::new();
    for edge in &view.whole.edges {
        if courts.contains_key(edge.to.as_str()) {
            let callees = calls.entry(&edge.from).or_default();
            callees.push((edge.roundtrips, &edge.to));
        }
    }
    for callees in calls.values_mut() {
        // What is last in the list comes first from the stack.
        callees.sort_by_key(|&(roundtrips, to)| (roundtrips, Reverse(to)));
    }
    let mut order = Vec::new();
    let mut seen = BTreeSet::new();
    let rest = entry
        .courts
        .iter()
        .rev()
        .map(|court| court.component.as_str());
    // Whoever is reached in no way that is shown comes at the end.
    let mut stack: Vec<(&str, usize)> = rest.map(|id| (id, 0)).collect();
    stack.push((&entry.component, 0));
    while let Some((id, depth)) = stack.pop() {
        if !seen.insert(id.to_owned()) {
            continue;
        }
        if let Some(court) = courts.get(id) {
            order.push((*court, depth));
        }
        let callees = calls.get(id).into_iter().flatten();
        stack.extend(callees.map(|&(_, to)| (to, depth + 1)));
    }
    order
}

/// The picture.
pub(super) fn draw(view: &ReportView<'_>, entry: &Entry) -> Markup {
    let rows = rows(view, entry);
    let ends = rows.iter().flat_map(|row| {
        let mut at = row.begin;
        row.segments.iter().map(move |segment| {
            at += segment.ns;
            at
        })
    });
    let mean_ns = entry.mean_ns.filter(|_| entry.adds_up);
    let begin = (0.0, mean_ns.unwrap_or(0.0));
    let (low, high) = ends.fold(begin, |(low, high): (f64, f64), at| {
        (low.min(at), high.max(at))
    });
    let sum = mean_ns.map(|ns| Row {
        name: "one request, on average".to_owned(),
        segments: vec![segment("mean", "mean", ns)],
        note: share(ns, ns),
        ..Row::default()
    });
    let hidden = entry.courts.len().saturating_sub(MAX_COURTS);
    html! {
        (bars::draw(&rows, &Scale::linear(low, high), Frame {
            what: "court",
            note: sum.is_some().then_some("share"),
            line: mean_ns.filter(|ns| high > 1.001 * ns),
            sum: sum.as_ref(),
        }))
        @if hidden > 0 {
            p.more {
                (MAX_COURTS) " of " (entry.courts.len()) " courts have a row, the longest; the other " (hidden)
                " share one. All of them: courtside export -F json, entries"
            }
        }
    }
}
