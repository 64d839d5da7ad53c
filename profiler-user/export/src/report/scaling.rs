//! The page of `scale`: speed-up, efficiency, throughput and latency over the size, what grew for each task, why.
//!
//! In: a [`Scaling`]. Out: HTML that needs no script and loads nothing. Must not know: how anything is fitted or judged.

use maud::{Markup, html};

use super::super::scale::{amount, each_second, fitted, reasons, small};
use super::super::text::clip;
use super::comparison::name;
use super::frame::{frame, section};
use super::picks::rest;
use super::plot::{Curve, Look, Plot, Point, Unit, Upright};
use super::ratios;
use courtside_core::{
    model::{
        scaling::{Cause, Inflation, Needed, Scaling, ScalingPoint, TaskUnit, Usl},
        visible::visible,
    },
    units::{UNKNOWN, count, duration, duration_f64, percent, rate, ratio},
};

const STYLES: [&str; 2] = [include_str!("comparison.css"), include_str!("plot.css")];

/// Most sizes that are drawn and have a row.
const MAX_SIZES: usize = 200;
/// Most events with a bar.
const MAX_EVENTS: usize = 40;
/// Most causes, and most of what would have to be measured.
const MAX_CAUSES: usize = 20;
/// Most sentences about what limits the answer.
const MAX_SENTENCES: usize = 40;
const NAME_WIDTH: usize = 48;
/// A curve of a law has so many pieces.
const PIECES: u32 = 60;
/// The best size by the law is drawn if it is not further than so many times the largest one that was measured.
const FURTHEST: f64 = 2.0;

/// How something scales, as a page.
#[must_use]
pub fn scaling(scaling: &Scaling) -> String {
    let title = match &scaling.entry {
        Some(entry) => format!("How {} scales", name(entry)),
        None => "How the command scales".to_owned(),
    };
    let sizes = scaling.points.get(..MAX_SIZES).unwrap_or(&scaling.points);
    let lost = scaling.points.iter().map(|point| point.lost);
    let lost = lost.fold(0, u64::saturating_add);
    let header = html! {
        p.sub { (visible(&scaling.says)) }
        ul.chips {
            li { (scaling.kind.name()) " scaling" }
            li { (scaling.unit.name()) }
            li { (scaling.points.len()) @if scaling.points.len() == 1 { " size" } @else { " sizes" } }
            li.warn[lost > 0] { "lost " (count(lost)) }
        }
    };
    let main = html! {
        (growth(scaling, sizes))
        @if !sizes.is_empty() { (table(scaling, sizes)) }
        (inflation(scaling))
        (causes(scaling))
        (trust(scaling))
    };
    frame(&title, &STYLES, header, main)
}

fn growth(scaling: &Scaling, sizes: &[ScalingPoint]) -> Markup {
    section(
        "growth",
        "How it grows",
        html! {
            @if sizes.is_empty() {
                p.none { "There is nothing to draw: no size was measured." }
            } @else {
                div.plots {
                    (speedup(scaling, sizes).draw())
                    (efficiency(scaling, sizes).draw())
                    (each(scaling, sizes).draw())
                    (latency(scaling, sizes).draw())
                }
                (rest(sizes.len(), scaling.points.len(), "sizes", "the smallest", "courtside scale -F json"))
            }
            (law(scaling))
        },
    )
}

/// A value for each size.
fn measured(
    sizes: &[ScalingPoint],
    value: impl Fn(&ScalingPoint) -> Option<f64>,
    show: impl Fn(f64) -> String,
) -> Curve {
    let point = |size: &ScalingPoint| {
        let y = value(size);
        Point {
            x: f64::from(size.n),
            y,
            between: None,
            says: format!("{}: {}", size.n, y.map_or(UNKNOWN.to_owned(), &show)),
        }
    };
    Curve {
        name: "measured".to_owned(),
        colour: "c0",
        look: Look::Dots,
        points: sizes.iter().map(point).collect(),
    }
}

/// A straight line from one point to another.
fn aid(name: &str, ends: [(f64, f64); 2]) -> Curve {
    let point = |(x, y)| Point {
        x,
        y: Some(y),
        ..Point::default()
    };
    Curve {
        name: name.to_owned(),
        colour: "aid",
        look: Look::Aid,
        points: ends.map(point).to_vec(),
    }
}

fn plot(scaling: &Scaling, title: &'static str, lead: String, curves: Vec<Curve>) -> Plot {
    let by_cores = scaling.points.iter().all(|size| size.cores == Some(size.n));
    Plot {
        title,
        lead,
        along: if by_cores { "cores" } else { "size N" },
        x: Unit::Count,
        y: Unit::Number,
        curves,
        outside: None,
        upright: None,
        gaps: Vec::new(),
    }
}

fn largest(sizes: &[ScalingPoint]) -> f64 {
    f64::from(sizes.iter().map(|size| size.n).max().unwrap_or(0))
}

fn smallest(sizes: &[ScalingPoint]) -> f64 {
    f64::from(sizes.iter().map(|size| size.n).min().unwrap_or(0))
}

/// The best size by the law, if it is near enough to be drawn.
fn best_drawn(scaling: &Scaling, sizes: &[ScalingPoint]) -> Option<f64> {
    let best = scaling.usl.as_ref()?.best_n?;
    (best.is_finite() && best >= 0.0 && best <= largest(sizes) * FURTHEST).then_some(best)
}

fn speedup(scaling: &Scaling, sizes: &[ScalingPoint]) -> Plot {
    let best = best_drawn(scaling, sizes);
    let (first, last) = (smallest(sizes), largest(sizes));
    let end = best.map_or(last, |best| best.max(last));
    let mut curves = vec![aid("ideal", [(0.0, 0.0), (last, last)])];
    if let Some(usl) = &scaling.usl {
        curves.push(by_law(usl, scaling, first, end));
    }
    let mut own = measured(sizes, |size| Some(size.speedup), |s| ratio(Some(s)));
    for (point, size) in own.points.iter_mut().zip(sizes) {
        let each = size.speedup / size.throughput_per_s;
        point.between = size
            .throughput_interval95
            .map(|ends| ends.map(|end| end * each));
    }
    curves.push(own);
    let mut lead = format!("throughput against that at {}", scaling.base_n);
    if sizes
        .iter()
        .any(|size| size.throughput_interval95.is_some())
    {
        lead.push_str("; the thin lines are where it lies, with 95 in 100");
    }
    let mut plot = plot(scaling, "Speed-up S(N)", lead, curves);
    plot.upright = best.map(|best| Upright {
        x: best,
        between: None,
        says: format!("best by the law: {}", rate(best)),
        is_guess: scaling.usl.as_ref().is_some_and(|usl| usl.extrapolated),
    });
    plot
}

/// The law from one size to another.
fn by_law(usl: &Usl, scaling: &Scaling, first: f64, last: f64) -> Curve {
    let point = |piece: u32| {
        let x = first + (last - first) * f64::from(piece) / f64::from(PIECES);
        Point {
            x,
            y: Some(fitted(usl, x, scaling)),
            ..Point::default()
        }
    };
    Curve {
        name: "Universal Scalability Law".to_owned(),
        colour: "c1",
        look: Look::Line,
        points: (0..=PIECES).map(point).collect(),
    }
}

fn efficiency(scaling: &Scaling, sizes: &[ScalingPoint]) -> Plot {
    let own = measured(sizes, |size| Some(size.efficiency), percent);
    let ideal = aid("ideal", [(0.0, 1.0), (largest(sizes), 1.0)]);
    let lead = "what is reached of the ideal".to_owned();
    let mut plot = plot(scaling, "Efficiency", lead, vec![ideal, own]);
    plot.y = Unit::Share;
    plot
}

fn each(scaling: &Scaling, sizes: &[ScalingPoint]) -> Plot {
    let own = measured(
        sizes,
        |size| Some(size.throughput_per_worker_per_s),
        |each| format!("{}/s", each_second(each)),
    );
    let lead = format!("{} a second, divided by N", scaling.unit.name());
    plot(scaling, "Throughput per worker", lead, vec![own])
}

fn latency(scaling: &Scaling, sizes: &[ScalingPoint]) -> Plot {
    let own = measured(sizes, |size| size.latency_ns, duration_f64);
    let lead = match scaling.unit {
        TaskUnit::Requests => "mean time of a request from arrival to answer",
        TaskUnit::Commands => "mean time of a task",
    };
    let mut plot = plot(scaling, "Latency", lead.to_owned(), vec![own]);
    plot.y = Unit::Time;
    plot.gaps = gaps(sizes, "latency_ns", |size| size.latency_ns);
    plot
}

/// Where a value is null, and why: sizes with the same reason together.
fn gaps(
    sizes: &[ScalingPoint],
    field: &str,
    value: impl Fn(&ScalingPoint) -> Option<f64>,
) -> Vec<String> {
    let mut gaps: Vec<(&str, Vec<String>)> = Vec::new();
    for size in sizes.iter().filter(|size| value(size).is_none()) {
        let why = size.unknown.iter().find(|unknown| unknown.field == field);
        let why = why.map_or("no reason is told", |unknown| unknown.why.as_str());
        match gaps.iter_mut().find(|(known, _)| *known == why) {
            Some((_, at)) => at.push(size.n.to_string()),
            None => gaps.push((why, vec![size.n.to_string()])),
        }
    }
    let said = |(why, at): &(&str, Vec<String>)| {
        format!("Not known at {}: {}.", at.join(", "), visible(why))
    };
    gaps.iter().take(MAX_SENTENCES).map(said).collect()
}

/// The law in words.
fn law(scaling: &Scaling) -> Markup {
    let Some(usl) = &scaling.usl else {
        return html! {
            @if let Some(why) = &scaling.usl_unknown { p.more { "No scalability law: " (visible(why)) "." } }
        };
    };
    let between = |ends: Option<[f64; 2]>| match ends {
        Some([low, high]) => format!(" ({} … {})", small(low), small(high)),
        None => String::new(),
    };
    let sizes = &scaling.points;
    html! {
        p.more {
            "By the Universal Scalability Law (Gunther, 2007) one alone does " (each_second(usl.lambda)) "/s; contention "
            (small(usl.sigma)) (between(usl.sigma_interval95)) ", coherency " (small(usl.kappa)) (between(usl.kappa_interval95))
            "; fitted to " (count(usl.points)) " sizes, off by at most " (percent(usl.residual)) "."
        }
        p.more {
            @match usl.best_n.zip(usl.best_throughput_per_s) {
                Some((best, most)) => {
                    "Its best is at " (rate(best)) " with " (each_second(most)) "/s"
                    @if usl.extrapolated { ", beyond what was measured: a guess" }
                    @if best_drawn(scaling, sizes).is_none() { ", to the right of the picture" }
                    "."
                }
                None => "By the law more is always better.",
            }
        }
        @if let Some(why) = &usl.interval_unknown { p.more { "No intervals: " (visible(why)) "." } }
    }
}

fn table(scaling: &Scaling, sizes: &[ScalingPoint]) -> Markup {
    let known = |value: Option<f64>, show: fn(f64) -> String| match value {
        Some(value) => show(value),
        None => UNKNOWN.to_owned(),
    };
    let each = scaling.unit.one();
    let serial = |n: u32| {
        let found = scaling.karp_flatt.iter().find(|(size, _)| *size == n);
        found.map_or_else(|| UNKNOWN.to_owned(), |(_, fraction)| small(*fraction))
    };
    section(
        "sizes",
        "Each size",
        html! {
            p.lead {
                "Overhead is the time of a core that one " (each) " takes more than at " (scaling.base_n)
                ". A serial fraction (Karp and Flatt) that grows with the size is overhead, a constant one is a serial part."
            }
            div.table {
                table {
                    thead { tr {
                        th.n { "N" } th.n { "A second" } th.n { "95 in 100" } th.n { "Speed-up" } th.n { "Efficiency" }
                        th.n { "Overhead" } th.n { "Latency" } th.n { "Busy" } th.n { "Others" } th.n { "CPU, each" } th.n { "CPI" }
                        th.n { "Serial" } th.n { (scaling.unit.name()) } th.n { "Time" } th.n { "Windows" } th.n { "Runs" } th.n { "Lost" }
                        th { "From" }
                    } }
                    tbody {
                        @for size in sizes {
                            tr {
                                td.n { b { (size.n) } }
                                td.n { (each_second(size.throughput_per_s)) }
                                td.n {
                                    @match size.throughput_interval95 {
                                        Some([low, high]) => { (each_second(low)) " … " (each_second(high)) },
                                        None => (UNKNOWN),
                                    }
                                }
                                td.n { (ratio(Some(size.speedup))) }
                                td.n.warn[size.efficiency < 0.5] { (percent(size.efficiency)) }
                                td.n { (duration_f64(size.overhead_ns_per_task)) }
                                td.n { (known(size.latency_ns, duration_f64)) }
                                td.n { (known(size.busy, percent)) }
                                td.n { (known(size.others_busy, percent)) }
                                td.n { (known(size.on_cpu_ns_per_task, duration_f64)) }
                                td.n { (known(size.cpi, |cpi| ratio(Some(cpi)))) }
                                td.n { (serial(size.n)) }
                                td.n { (count(size.tasks)) }
                                td.n { (duration(size.duration_ns)) }
                                td.n { (count(size.windows)) }
                                td.n { (count(size.runs)) }
                                td.n.warn[size.lost > 0] { (count(size.lost)) }
                                td { (clip(&visible(&size.file), NAME_WIDTH)) }
                            }
                        }
                    }
                }
            }
            (factors(scaling))
        },
    )
}

/// What is left of the ideal, as factors.
fn factors(scaling: &Scaling) -> Markup {
    let all = scaling.identity.iter();
    let all: Vec<_> = all.filter(|each| each.n != scaling.base_n).collect();
    let by_counters = all.iter().any(|each| each.cpi_ratio.is_some());
    let three = |value: Option<f64>| match value {
        Some(value) => format!("{value:.3}"),
        None => UNKNOWN.to_owned(),
    };
    html! {
        @if !all.is_empty() {
            h3 { "What is left of the ideal, as factors" }
            div.table {
                table {
                    thead { tr {
                        th.n { "N" } th.n { "busy" }
                        @if by_counters {
                            th.n { "× frequency" } th.n { "/ instructions" } th.n { "/ CPI" }
                        } @else {
                            th.n { "/ CPU, each" }
                        }
                        th.n { "= product" } th.n { "measured" }
                    } }
                    tbody {
                        @for each in all.iter().take(MAX_SIZES) {
                            tr {
                                td.n { b { (each.n) } }
                                td.n { (three(each.busy_ratio)) }
                                @if by_counters {
                                    td.n { (three(each.frequency_ratio)) }
                                    td.n { (three(each.instruction_ratio)) }
                                    td.n { (three(each.cpi_ratio)) }
                                } @else {
                                    td.n { (three(each.work_ratio)) }
                                }
                                td.n { (three(each.product)) }
                                td.n { (three(Some(each.measured))) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn inflation(scaling: &Scaling) -> Markup {
    let largest = scaling.points.iter().map(|size| size.n).max();
    let rows = scaling.inflation.iter();
    let rows: Vec<&Inflation> = rows.filter(|each| Some(each.n) == largest).collect();
    let shown = rows.get(..MAX_EVENTS).unwrap_or(&rows);
    let axis = ratios::Axis::that_shows(shown.iter().filter_map(|each| each.factor));
    let each = scaling.unit.one();
    section(
        "inflation",
        "What there is more of",
        html! {
            @if shown.is_empty() {
                p.none { "Nothing was counted at the largest size that was counted at the smallest one." }
            } @else {
                p.lead {
                    "For each " (each) " at " (largest.unwrap_or(0)) " against " (scaling.base_n)
                    ": how many times as much; the axis is logarithmic. What explains most of the loss comes first. What has no \
                     known price has no share of it."
                }
                ul.legend aria-label="what the colours mean" {
                    li { span.swatch.worse {} "explains a part of the loss" }
                    li { span.swatch.neither {} "does not, or has no known price" }
                }
                table.bars.log {
                    thead { tr {
                        th.label { "for each " (each) } (axis.head("times as much"))
                        th.n.time { "times" } th.n.was { (scaling.base_n) " → " (largest.unwrap_or(0)) } th.n.p { "of the loss" }
                    } }
                    tbody { @for each in shown { (row(each, &axis)) } }
                }
                (rest(shown.len(), rows.len(), "events", "what explains most of the loss first", "courtside scale -F json"))
            }
        },
    )
}

fn row(each: &Inflation, axis: &ratios::Axis) -> Markup {
    let share = each.loss_share.filter(|share| *share > 0.0);
    let class = if share.is_some() { "worse" } else { "neither" };
    let event = visible(&each.event);
    html! {
        tr {
            td.label { (clip(&event, NAME_WIDTH)) }
            (axis.bar(class, each.factor, true, None))
            td.n.time { @match each.factor { Some(factor) => { "×" (ratio(Some(factor))) }, None => "new" } }
            td.n.was { (amount(&each.event, each.base_per_task)) " → " (amount(&each.event, each.per_task)) }
            td.n.p { @match share { Some(share) => (percent(share)), None => (UNKNOWN) } }
        }
    }
}

fn causes(scaling: &Scaling) -> Markup {
    let (causes, needed) = (&scaling.causes, &scaling.needed);
    section(
        "causes",
        "Why it does not scale better",
        html! {
            p.lead {
                "At the largest size, the most important first. Shares of the loss are upper limits and may overlap; how sure a cause \
                 is, is a grade and no probability."
            }
            @if causes.is_empty() {
                p.none {
                    @if needed.is_empty() { "No cause is named, and nothing is said to be missing." }
                    @else { "No cause can be told apart from the others; below stands what would tell." }
                }
            }
            @for (number, cause) in (1..).zip(causes.iter().take(MAX_CAUSES)) { (cause_box(number, cause)) }
            (rest(causes.len().min(MAX_CAUSES), causes.len(), "causes", "the most important", "courtside scale -F json"))
            @if !needed.is_empty() {
                h3 { "What is needed for the rest" }
                @for needed in needed.iter().take(MAX_CAUSES) { (needed_box(needed)) }
                (rest(needed.len().min(MAX_CAUSES), needed.len(), "of what is needed", "the first", "courtside scale -F json"))
            }
        },
    )
}

/// A share of the loss as a bar.
fn share_bar(share: Option<f64>) -> Markup {
    html! {
        @if let Some(share) = share.filter(|share| share.is_finite()) {
            div.bar.sure title="share of the loss" {
                span.worse style={ "width:" (format!("{:.2}", share.clamp(0.0, 1.0) * 100.0)) "%" } {}
            }
        }
    }
}

fn of_loss(share: Option<f64>) -> String {
    match share {
        Some(share) => format!("up to {} of the loss", percent(share)),
        None => "its share of the loss is not known".to_owned(),
    }
}

fn cause_box(number: usize, cause: &Cause) -> Markup {
    html! {
        div.finding.warn {
            p {
                b { (number) ". " (cause.cause.name().replace('_', " ")) }
                @if let Some(id) = &cause.component { " " (name(id)) }
                " · " (of_loss(cause.loss_share))
            }
            (share_bar(cause.loss_share))
            p { (visible(&cause.says)) "." }
            p { (visible(&cause.remedy)) "." }
            p.more {
                (percent(cause.confidence)) " sure"
                @for (n, evidence) in cause.evidence.iter().enumerate() {
                    @if n == 0 { "; rests on " } @else { ", " }
                    (visible(&evidence.what())) " " span.nowrap { (evidence.how_much()) }
                }
            }
        }
    }
}

fn needed_box(needed: &Needed) -> Markup {
    let names: Vec<String> = needed
        .causes
        .iter()
        .map(|cause| cause.name().replace('_', " "))
        .collect();
    html! {
        div.finding {
            p {
                b { @if names.is_empty() { "not told apart" } @else { (names.join(", ")) "?" } }
                " · " (of_loss(needed.loss_share))
            }
            (share_bar(needed.loss_share))
            p { (visible(&needed.says)) "." }
        }
    }
}

fn trust(scaling: &Scaling) -> Markup {
    let mut said: Vec<String> = scaling.notes.clone();
    said.extend(reasons(scaling));
    section(
        "trust",
        "What to trust",
        html! {
            @if said.is_empty() { p.none { "Nothing is said to limit the answer." } }
            ul.plain { @for each in said.iter().take(MAX_SENTENCES) { li { (visible(each)) } } }
            (rest(said.len().min(MAX_SENTENCES), said.len(), "remarks", "the first", "courtside scale -F json"))
        },
    )
}

#[cfg(test)]
#[path = "scaling_tests.rs"]
pub(super) mod tests;
