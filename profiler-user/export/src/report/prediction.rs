//! The page of `model predict`: times and use of resources over the rate, where it ends, what is taken for true.
//!
//! In: a [`Prediction`], and what was measured at the entry. Out: HTML that needs no script and loads nothing. Must not know: how
//! anything is predicted.

use maud::{Markup, html};

use super::super::text::clip;
use super::comparison::name;
use super::frame::{frame, section};
use super::picks::rest;
use super::plot::{Curve, Look, Plot, Point, Unit, Upright};
use courtside_core::{
    model::{
        prediction::{Predicted, Prediction, PredictionPoint, Resource, Utilisation},
        profile::MeasuredResponse,
        visible::visible,
    },
    units::{UNKNOWN, count, duration_f64, percent, rate},
};

const STYLE: &str = include_str!("plot.css");

/// Most rates that are drawn and have a row.
const MAX_RATES: usize = 300;
/// Most resources with a line: there are as many colours.
const MAX_RESOURCES: usize = 6;
const COLOURS: [&str; MAX_RESOURCES] = ["c0", "c1", "c2", "c3", "c4", "c5"];
/// Most components whose place is told.
const MAX_PLACED: usize = 200;
/// Most sentences of each kind.
const MAX_SENTENCES: usize = 40;
const NAME_WIDTH: usize = 32;
/// Where it ends is drawn if that is not further than so many times the highest rate.
const FURTHEST: f64 = 3.0;
const OUTSIDE: &str = "outside the fitted rates";

/// What was measured of a request at the entry when the profile was recorded.
#[derive(Clone, Copy, Debug, Default)]
pub struct Measured<'a> {
    /// By rate, lowest first.
    pub points: &'a [MeasuredResponse],
    /// Whether other machines, cores or places were asked about than those that it was measured on.
    pub is_elsewhere: bool,
}

/// What is predicted, as a page.
#[must_use]
pub fn prediction(prediction: &Prediction, measured: Measured<'_>) -> String {
    let title = format!("Prediction for {}", name(&prediction.entry));
    let [low, high] = prediction.rate_range_per_s;
    let rests = &prediction.rests_on;
    let header = html! {
        p.sub { "How long requests take and what is used up, by a profile that was fitted from " (rate(low)) " to " (rate(high)) " requests/s" }
        ul.chips {
            li { (count(rests.recordings)) @if rests.recordings == 1 { " recording" } @else { " recordings" } }
            li { (count(rests.windows)) " windows" }
            li { (count(rests.requests)) " requests" }
            li.warn[rests.lost > 0] { "lost " (count(rests.lost)) }
        }
    };
    let mut rates: Vec<&PredictionPoint> = prediction.points.iter().collect();
    rates.sort_by(|a, b| a.rate_per_s.total_cmp(&b.rate_per_s));
    let of = rates.len();
    rates.truncate(MAX_RATES);
    let main = html! {
        (end(prediction))
        (pictures(prediction, &rates, measured))
        @if !rates.is_empty() { (table(&rates, of)) }
        (placement(prediction))
        (assumed(prediction))
    };
    frame(&title, &[STYLE], header, main)
}

fn end(prediction: &Prediction) -> Markup {
    section(
        "saturation",
        "Where it ends",
        html! {
            @match &prediction.saturation {
                Some(end) => {
                    div.finding.warn {
                        p { b { "saturates at " (rate(end.rate_per_s)) "/s" } " " (visible(&end.says)) "." }
                        p.more {
                            @match end.interval95 {
                                Some([low, high]) => { "With 95 in 100 it lies between " (rate(low)) " and " (rate(high)) "/s, as far as the fits can tell." },
                                None => "How far that may be off is not known.",
                            }
                            @if !end.inside_fitted_range { " It lies " (OUTSIDE) ": lines are drawn on beyond what was measured." }
                        }
                    }
                },
                None => {
                    p.none {
                        "At which rate it saturates cannot be told: "
                        (visible(prediction.saturation_unknown.as_deref().unwrap_or("no resource is known that is used up at any rate"))) "."
                    }
                },
            }
        },
    )
}

/// What a resource is called.
fn resource(resource: Resource, node: &str, component: Option<&str>) -> String {
    let whose = match (component, resource) {
        (Some(component), Resource::Threads) => name(component),
        _ => visible(node).into_owned(),
    };
    clip(&format!("{} of {whose}", resource.name()), NAME_WIDTH)
}

fn upright(prediction: &Prediction, highest: f64) -> Option<Upright> {
    let end = prediction.saturation.as_ref()?;
    let node = end.node.as_deref().unwrap_or("");
    let what = resource(end.resource, node, end.component.as_deref());
    (end.rate_per_s <= highest * FURTHEST).then(|| Upright {
        x: end.rate_per_s,
        between: end.interval95,
        says: format!("{}/s: {what}", rate(end.rate_per_s)),
        is_guess: !end.inside_fitted_range,
    })
}

/// The parts of the axis in which nothing was fitted.
fn outside(prediction: &Prediction) -> Option<(Vec<[f64; 2]>, &'static str)> {
    let [low, high] = prediction.rate_range_per_s;
    (0.0 <= low && low <= high && 0.0 < high)
        .then(|| (vec![[0.0, low], [high, f64::INFINITY]], OUTSIDE))
}

fn plot(
    prediction: &Prediction,
    title: &'static str,
    lead: &str,
    curves: Vec<Curve>,
    highest: f64,
) -> Plot {
    Plot {
        title,
        lead: lead.to_owned(),
        along: "requests a second",
        x: Unit::Number,
        y: Unit::Time,
        curves,
        outside: outside(prediction),
        upright: upright(prediction, highest),
        gaps: Vec::new(),
    }
}

fn pictures(prediction: &Prediction, rates: &[&PredictionPoint], measured: Measured<'_>) -> Markup {
    let asked = rates.iter().map(|point| point.rate_per_s);
    let known = measured.points.iter().map(|point| point.rate_per_s);
    let all = asked.chain(known).filter(|rate| rate.is_finite());
    let highest = all.fold(0.0, f64::max);
    let drawn = upright(prediction, highest).is_some();
    section(
        "curves",
        "Over the rate",
        html! {
            @if rates.is_empty() {
                p.none {
                    "There is nothing to draw: no rate was asked for, and none follows from where it saturates. Say some with: \
                     courtside model predict PROFILE.json --rate 50,100,200 -F html -o FILE"
                }
            } @else {
                div.plots {
                    (times(prediction, rates, measured, highest).draw())
                    (used(prediction, rates, highest).draw())
                }
                @if let Some(end) = prediction.saturation.as_ref().filter(|_| !drawn) {
                    p.more { "It saturates at " (rate(end.rate_per_s)) "/s, to the right of the pictures." }
                }
                p.more {
                    "An upright line is where a resource is used up, the band around it where that lies, with 95 in 100; it is dotted where no such \
                     rate was fitted. Shaded are rates that were not \
                     fitted: lines are drawn on beyond what was measured. A line is broken where a model has no answer."
                }
            }
        },
    )
}

/// A model's answer for each rate.
fn answers(
    rates: &[&PredictionPoint],
    (label, colour, look): (&str, &'static str, Look),
    answer: impl Fn(&PredictionPoint) -> (Option<f64>, Option<[f64; 2]>),
) -> Curve {
    let point = |point: &&PredictionPoint| {
        let (y, between) = answer(point);
        let shown = y.map_or_else(|| UNKNOWN.to_owned(), duration_f64);
        Point {
            x: point.rate_per_s,
            y,
            between,
            says: format!("{}/s, {label}: {shown}", rate(point.rate_per_s)),
        }
    };
    Curve {
        name: label.to_owned(),
        colour,
        look,
        points: rates.iter().map(point).collect(),
    }
}

fn times(
    prediction: &Prediction,
    rates: &[&PredictionPoint],
    measured: Measured<'_>,
    highest: f64,
) -> Plot {
    let base = answers(rates, ("mean, base", "c1", Look::DashedDots), |point| {
        (point.base.mean_ns, None)
    });
    let full = answers(rates, ("mean, full", "c0", Look::Dots), |point| {
        (point.full.mean_ns, point.full.mean_interval95_ns)
    });
    let p95 = answers(
        rates,
        ("95th percentile, full", "c3", Look::Dots),
        |point| (point.full.p95_ns, None),
    );
    let mut curves = vec![base, full, p95];
    let mut gaps = gaps(rates);
    if measured.points.iter().any(|point| point.mean_ns.is_some()) {
        curves.push(of_measured(measured));
        let untimed = measured.points.iter().take(MAX_RATES);
        let untimed = untimed.filter(|point| point.mean_ns.is_none());
        let untimed: Vec<String> = untimed.map(|point| rate(point.rate_per_s)).collect();
        if !untimed.is_empty() {
            let at = untimed.join(", ");
            gaps.push(format!("Measured at {at}/s, no request was timed."));
        }
    } else {
        gaps.push("No measured times stand beside: the profile holds none.".to_owned());
    }
    let is_between = rates
        .iter()
        .any(|point| point.full.mean_interval95_ns.is_some());
    let lead = if is_between {
        "from a request's arrival to its reply; the thin lines are where the mean lies, with 95 in 100"
    } else {
        "from a request's arrival to its reply"
    };
    let mut plot = plot(prediction, "Response time", lead, curves, highest);
    plot.gaps = gaps;
    plot
}

fn of_measured(measured: Measured<'_>) -> Curve {
    let name = if measured.is_elsewhere {
        "mean, measured where the profile was recorded, not where this is asked about"
    } else {
        "mean, measured"
    };
    let point = |measured: &MeasuredResponse| {
        let shown = measured
            .mean_ns
            .map_or_else(|| UNKNOWN.to_owned(), duration_f64);
        Point {
            x: measured.rate_per_s,
            y: measured.mean_ns,
            between: None,
            says: format!(
                "{}/s, measured: {shown} over {} requests",
                rate(measured.rate_per_s),
                count(measured.requests)
            ),
        }
    };
    Curve {
        name: name.to_owned(),
        colour: "c2",
        look: Look::Circles,
        points: measured.points.iter().take(MAX_RATES).map(point).collect(),
    }
}

/// Where a line of the picture is broken, and why: what has the same reason together.
fn gaps(rates: &[&PredictionPoint]) -> Vec<String> {
    let mut gaps: Vec<(String, Vec<String>)> = Vec::new();
    let mut add = |what: &str, answer: &Predicted, point: &PredictionPoint| {
        let why = answer.reason.as_deref().unwrap_or("no reason is told");
        let key = format!("{what}: {}", visible(why));
        let at = rate(point.rate_per_s);
        match gaps.iter_mut().find(|(known, _)| *known == key) {
            Some((_, rates)) => rates.push(at),
            None => gaps.push((key, vec![at])),
        }
    };
    for point in rates {
        if point.base.mean_ns.is_none() {
            add("base has no mean", &point.base, point);
        }
        match (point.full.mean_ns, point.full.p95_ns) {
            (None, None) => add("full has neither mean nor percentile", &point.full, point),
            (None, Some(_)) => add("full has no mean", &point.full, point),
            (Some(_), None) => add("full has no percentile", &point.full, point),
            (Some(_), Some(_)) => {}
        }
    }
    let said = gaps.into_iter().take(MAX_SENTENCES);
    said.map(|(why, at)| format!("At {}/s {why}.", at.join(", ")))
        .collect()
}

fn used(prediction: &Prediction, rates: &[&PredictionPoint], highest: f64) -> Plot {
    let (curves, of) = resources(rates);
    let mut gaps = Vec::new();
    for curve in &curves {
        let missing = curve.points.iter().filter(|point| point.y.is_none());
        let missing: Vec<String> = missing.map(|point| rate(point.x)).collect();
        if !missing.is_empty() {
            let at = missing.join(", ");
            gaps.push(format!("At {at}/s nothing is said of {}.", curve.name));
        }
    }
    if of > curves.len() {
        gaps.push(format!(
            "{} of {of} resources have a line, those that are used most. The others: courtside model predict -F json.",
            curves.len()
        ));
    }
    let end = upright(prediction, highest).map_or(highest, |end| end.x.max(highest));
    let mut all = vec![Curve {
        name: "all there is".to_owned(),
        colour: "aid",
        look: Look::Aid,
        points: [0.0, end]
            .map(|x| Point {
                x,
                y: Some(1.0),
                ..Point::default()
            })
            .to_vec(),
    }];
    all.extend(curves);
    let lead = "share of each resource that is used, by the full model";
    let mut plot = plot(prediction, "Utilisation", lead, all, highest);
    plot.y = Unit::Share;
    plot.gaps = gaps;
    plot
}

/// A line for each resource, those that are used most; and how many there are.
fn resources(rates: &[&PredictionPoint]) -> (Vec<Curve>, usize) {
    type Key<'a> = (&'a str, Resource, Option<&'a str>);
    fn key(used: &Utilisation) -> Key<'_> {
        let threads = used.resource == Resource::Threads;
        let component = used.component.as_deref().filter(|_| threads);
        (used.node.as_str(), used.resource, component)
    }
    // The highest share of each.
    let mut most: std::collections::BTreeMap<Key<'_>, f64> = std::collections::BTreeMap::new();
    for used in rates.iter().flat_map(|point| &point.utilisation) {
        let highest = most.entry(key(used)).or_insert(used.share);
        *highest = highest.max(used.share);
    }
    let mut order: Vec<(Key<'_>, f64)> = most.into_iter().collect();
    let of = order.len();
    order.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    let curve = |((whose, _), colour): ((Key<'_>, f64), &'static str)| {
        let (node, what, component) = whose;
        let name = resource(what, node, component);
        let point = |point: &&PredictionPoint| {
            let used = point.utilisation.iter().find(|used| key(used) == whose);
            let y = used.map(|used| used.share);
            let shown = y.map_or_else(|| UNKNOWN.to_owned(), percent);
            Point {
                x: point.rate_per_s,
                y,
                between: None,
                says: format!("{}/s, {name}: {shown}", rate(point.rate_per_s)),
            }
        };
        Curve {
            points: rates.iter().map(point).collect(),
            name,
            colour,
            look: Look::Dots,
        }
    };
    let curves = order.into_iter().zip(COLOURS).map(curve).collect();
    (curves, of)
}

fn table(rates: &[&PredictionPoint], of: usize) -> Markup {
    let time = |ns: Option<f64>| ns.map_or_else(|| UNKNOWN.to_owned(), duration_f64);
    let served = |full: &Predicted| {
        let served = full.throughput_per_s;
        served.map_or_else(|| UNKNOWN.to_owned(), rate)
    };
    let used = |point: &PredictionPoint| {
        let shares = point.utilisation.iter().map(|used| used.share);
        shares.reduce(f64::max)
    };
    section(
        "rates",
        "Each rate",
        html! {
            p.lead {
                "Base counts the CPU time of components, +remote also that of calls to other machines; full is a simulation of all pieces \
                 of a request. Used is the share of the resource that is used most."
            }
            div.table {
                table {
                    thead { tr {
                        th.n { "Requests/s" } th { "" } th.n { "Used" } th.n { "Served/s" } th.n { "Base" } th.n { "+remote" } th.n { "Full" }
                        th.n { "95 in 100" } th.n { "p50" } th.n { "p95" } th.n { "p99" }
                    } }
                    tbody {
                        @for point in rates {
                            @let most = used(point);
                            tr {
                                td.n { b { (rate(point.rate_per_s)) } }
                                td.warn { @if !point.inside_fitted_range { "outside" } }
                                td.n.warn[most.is_some_and(|most| most >= 1.0)] { (most.map_or_else(|| UNKNOWN.to_owned(), percent)) }
                                td.n { (served(&point.full)) }
                                td.n { (time(point.base.mean_ns)) }
                                td.n { (time(point.with_remote_invocation.mean_ns)) }
                                td.n { (time(point.full.mean_ns)) }
                                td.n {
                                    @match point.full.mean_interval95_ns {
                                        Some([low, high]) => { (duration_f64(low)) " … " (duration_f64(high)) },
                                        None => (UNKNOWN),
                                    }
                                }
                                td.n { (time(point.full.p50_ns)) }
                                td.n { (time(point.full.p95_ns)) }
                                td.n { (time(point.full.p99_ns)) }
                            }
                        }
                    }
                }
            }
            (rest(rates.len(), of, "rates", "the lowest", "courtside model predict -F json"))
            (remote_reasons(rates))
        },
    )
}

/// Why the model with calls to other machines has no answer, which no picture shows.
fn remote_reasons(rates: &[&PredictionPoint]) -> Markup {
    let mut reasons: Vec<&str> = Vec::new();
    for point in rates {
        let remote = &point.with_remote_invocation;
        if let (None, Some(why)) = (remote.mean_ns, remote.reason.as_deref())
            && !reasons.contains(&why)
        {
            reasons.push(why);
        }
    }
    html! {
        @for why in reasons.iter().take(MAX_SENTENCES) { p.more { "+remote: " (visible(why)) "." } }
    }
}

fn placement(prediction: &Prediction) -> Markup {
    let placed = &prediction.placement;
    section(
        "placement",
        "Where components run",
        html! {
            @if placed.is_empty() {
                p.none { "No place of a component is told." }
            } @else {
                div.table {
                    table {
                        thead { tr { th { "Component" } th { "Machine" } th.n { "Replicas" } } }
                        tbody {
                            @for each in placed.iter().take(MAX_PLACED) {
                                tr {
                                    td.wrap { (name(&each.component)) }
                                    td.wrap { (clip(&visible(&each.node), NAME_WIDTH)) }
                                    td.n { (each.replicas) }
                                }
                            }
                        }
                    }
                }
                (rest(placed.len().min(MAX_PLACED), placed.len(), "places", "the first", "courtside model predict -F json"))
            }
        },
    )
}

fn assumed(prediction: &Prediction) -> Markup {
    let assumed = &prediction.assumed;
    section(
        "assumed",
        "What is taken for true",
        html! {
            @if assumed.is_empty() { p.none { "Nothing is said to be taken for true." } }
            ul.plain { @for each in assumed.iter().take(MAX_SENTENCES) { li { (visible(each)) } } }
            (rest(assumed.len().min(MAX_SENTENCES), assumed.len(), "sentences", "the first", "courtside model predict -F json"))
        },
    )
}

#[cfg(test)]
#[path = "prediction_tests.rs"]
pub(super) mod tests;
