//! How fast an application goes round, over time, and what repeats in that.
//!
//! In: an [`Inference`]. Out: HTML with an SVG that needs no script and grows with the page. Must not know: how iterations are
//! told.

use std::{collections::BTreeMap, fmt::Write};

use maud::{Markup, html};

use super::Scale;
use crate::infer::name;
use courtside_core::{
    model::{
        inference::{Inference, Series},
        visible::visible,
    },
    units::{duration, duration_f64, rate, ratio},
};

/// Most points of the line.
const MAX_POINTS: usize = 300;
/// Size of the picture in its own units: it is stretched to its place.
const WIDE: f64 = 1000.0;
const HIGH: f64 = 100.0;
/// What the axis of rates may end at, times a power of ten.
const ENDS: [f64; 11] = [1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];

/// The mean rate of the processes over time.
struct Rates {
    /// Of so many processes.
    processes: usize,
    /// Each is the mean of so long.
    window_ns: u64,
    /// When, from the application's first message on, and how many a second.
    points: Vec<(f64, f64)>,
}

impl Rates {
    /// Of the processes whose rates are known in the steps that most have.
    fn of(inference: &Inference) -> Option<Self> {
        let processes = inference.processes.iter();
        let known: Vec<&Series> = processes
            .map(|process| &process.iterations.series)
            .filter(|series| series.step_ns > 0 && series.rates_per_s.len() > 1)
            .collect();
        let steps = |series: &Series| (series.step_ns, series.window_ns);
        let mut usual: BTreeMap<(u64, u64), usize> = BTreeMap::new();
        for series in &known {
            *usual.entry(steps(series)).or_default() += 1;
        }
        let (usual, _) = usual.into_iter().max_by_key(|(_, processes)| *processes)?;
        let alike: Vec<&Series> = known.into_iter().filter(|s| steps(s) == usual).collect();
        let longest = alike.iter().max_by_key(|series| series.rates_per_s.len())?;
        let values = longest.rates_per_s.len();
        let each = values.div_ceil(MAX_POINTS).max(1);
        let more_ns = longest.step_ns.saturating_mul(each as u64 - 1);
        let window_ns = longest.window_ns.saturating_add(more_ns);
        let point = |first: usize| {
            let rates = alike
                .iter()
                .flat_map(|series| series.rates_per_s.iter().skip(first).take(each))
                .filter(|rate| rate.is_finite());
            let (sum, count) =
                rates.fold((0.0f64, 0u32), |(sum, count), rate| (sum + rate, count + 1));
            let middle_ns = first as f64 * longest.step_ns as f64 + window_ns as f64 / 2.0;
            (count > 0).then(|| (middle_ns, sum / f64::from(count)))
        };
        Some(Self {
            processes: alike.len(),
            window_ns,
            points: (0..values).step_by(each).filter_map(point).collect(),
        })
    }

    /// The lowest, the mean and the highest.
    fn span(&self) -> (f64, f64, f64) {
        let rates = || self.points.iter().map(|(_, rate)| *rate);
        let mean = rates().sum::<f64>() / self.points.len().max(1) as f64;
        (
            rates().fold(f64::INFINITY, f64::min),
            mean,
            rates().fold(0.0, f64::max),
        )
    }
}

/// The line, and the period.
pub(super) fn line(inference: &Inference) -> Markup {
    let rates = Rates::of(inference).filter(|rates| rates.points.len() > 1);
    let all = inference.processes.len();
    html! {
        figure {
            figcaption {
                "How often a process went round a second"
                @if let Some(rates) = &rates {
                    ": the mean of "
                    @if rates.processes < all { (rates.processes) " of " (all) } @else { "all " (all) }
                    " processes; each point is the mean of " (duration(rates.window_ns))
                }
            }
            @match &rates {
                Some(rates) => (draw(rates, inference.source.application_ns)),
                None => p.none { "It cannot be told over time: the run was too short, or no process both sends and receives." },
            }
            (period(inference))
        }
    }
}

fn draw(rates: &Rates, length_ns: u64) -> Markup {
    let (lowest, mean, highest) = rates.span();
    let top = end(highest);
    let last_ns = rates.points.last().map_or(0.0, |(at_ns, _)| *at_ns);
    let scale = Scale::linear(0.0, last_ns.max(length_ns as f64));
    let mut points = String::new();
    for (at_ns, rate) in &rates.points {
        let (x, y) = (scale.at(*at_ns) * WIDE / 100.0, HIGH - rate / top * HIGH);
        // Writing to a string cannot fail.
        let _ = write!(points, "{x:.1},{y:.1} ");
    }
    html! {
        div.rates {
            div.plot {
                svg viewBox={ "0 0 " (WIDE) " " (HIGH) } preserveAspectRatio="none" role="img" aria-label="iterations a second over time" {
                    path d={ "M0,0H" (WIDE) "M0," (HIGH / 2.0) "H" (WIDE) "M0," (HIGH) "H" (WIDE) } {}
                    polyline points=(points.trim_end()) {}
                }
                @for (place, value) in [(0, top), (50, top / 2.0), (100, 0.0)] {
                    span style={ "top:" (place) "%" } { (rate(value)) }
                }
            }
            div.axis {
                @for (at, mark) in scale.labels() { span style={ "left:" (format!("{at:.2}")) "%" } { (mark) } }
            }
        }
        p.more { "Lowest " (rate(lowest)) ", mean " (rate(mean)) ", highest " (rate(highest)) " a second." }
    }
}

/// Where the axis ends.
fn end(highest: f64) -> f64 {
    let highest = if highest.is_finite() && highest > 0.0 {
        highest
    } else {
        1.0
    };
    let ten = 10f64.powf(highest.log10().floor());
    let mut ends = ENDS.into_iter().map(|end| end * ten);
    ends.find(|end| *end >= highest).unwrap_or(10.0 * ten)
}

/// What repeats beyond single iterations, by the process in which it stands out most.
fn period(inference: &Inference) -> Markup {
    let processes = || inference.processes.iter();
    let found = processes().filter_map(|process| Some((process, process.period.as_ref()?)));
    let best = found.max_by(|(_, a), (_, b)| a.confidence.total_cmp(&b.confidence));
    let why = processes().find_map(|process| process.period_unknown.as_deref());
    html! {
        p.more {
            @match best {
                Some((process, period)) => {
                    b { "It repeats every " (duration_f64(period.period_ns)) } " ± " (duration_f64(period.resolution_ns))
                    " (confidence " (ratio(Some(period.confidence))) " of 1; it stands out most in " (name(&process.id)) ")."
                }
                None => {
                    "No period beyond single iterations was found" @if let Some(why) = why { ": " (visible(why)) } "."
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_of_rates_ends_little_above_the_highest() {
        for (highest, expected) in [
            (0.0, 1.0),
            (1.0, 1.0),
            (99.5, 100.0),
            (101.0, 120.0),
            (0.26, 0.3),
            (9.9, 10.0),
        ] {
            let end = end(highest);
            assert!((end - expected).abs() < 1e-9, "{highest}: {end}");
        }
    }
}
