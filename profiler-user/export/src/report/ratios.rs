//! Bars of ratios on a logarithmic axis with 1 in the middle, as rows of a table.
//!
//! In: ratios. Out: places on the axis, its marks, HTML. Must not know: what is how many times as much.

use maud::{Markup, html};

/// What may be a mark of the axis, and its ends: each with its inverse, so that the axis is the same to both sides.
pub(super) const LADDER: [f64; 10] = [
    1.25, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0, 1000.0, 10_000.0,
];
/// Marks that are nearer than this share of the axis run into each other on a small screen.
pub(super) const APART: f64 = 14.0;

/// A logarithmic axis of ratios, as far to both sides of 1.
pub(super) struct Axis {
    /// What is at the right end; its inverse is at the left one.
    pub most: f64,
}

impl Axis {
    /// An axis on which each of these can be seen.
    pub fn that_shows(ratios: impl Iterator<Item = f64>) -> Self {
        let away = |ratio: f64| if ratio < 1.0 { 1.0 / ratio } else { ratio };
        // What is nothing at all is at the end.
        let away = ratios.map(away).filter(|away| away.is_finite());
        let furthest = away.fold(1.0, f64::max);
        let [.., last] = LADDER;
        let most = LADDER.into_iter().find(|step| *step >= furthest);
        Self {
            most: most.unwrap_or(last),
        }
    }

    /// Where a ratio is, in per cent.
    pub fn at(&self, ratio: f64) -> f64 {
        let share = 0.5 + 0.5 * ratio.max(0.0).ln() / self.most.ln();
        (share * 100.0).clamp(0.0, 100.0)
    }

    /// The ratios that have a mark, from left to right, and what stands there.
    pub fn marks(&self) -> Vec<(f64, String)> {
        let mut above: Vec<f64> = Vec::new();
        // The end has one; what is too near to it or to the last mark has not.
        let mut free = self.at(1.0) + APART;
        for step in LADDER {
            let at = self.at(step);
            let is_end = step >= self.most;
            if at >= free && (is_end || at <= 100.0 - APART) {
                above.push(step);
                free = at + APART;
            }
            if is_end {
                break;
            }
        }
        let below = above
            .iter()
            .rev()
            .map(|step| (1.0 / step, times(1.0 / step)));
        let one = std::iter::once((1.0, "same".to_owned()));
        let above = above.iter().map(|step| (*step, times(*step)));
        below.chain(one).chain(above).collect()
    }

    /// The marks as the head of the column with the bars.
    pub fn head(&self, of_what: &str) -> Markup {
        html! {
            th.track aria-label=(of_what) {
                div {
                    @for (ratio, name) in self.marks() {
                        @let at = self.at(ratio);
                        span.mark.last[at > 92.0].first[at < 8.0] style={ "left:" (fixed(at)) "%" } { (name) }
                    }
                }
            }
        }
    }

    /// A bar from 1 to a ratio, with the interval that it lies in; without a ratio it goes on for ever.
    pub fn bar(
        &self,
        class: &str,
        ratio: Option<f64>,
        grows: bool,
        interval: Option<[f64; 2]>,
    ) -> Markup {
        let one = self.at(1.0);
        let end = match ratio {
            Some(ratio) => self.at(ratio),
            None if grows => 100.0,
            None => 0.0,
        };
        html! {
            td.track {
                div {
                    span.(class).open[ratio.is_none()] style=(from_to(one, end)) {}
                    @if let Some([low, high]) = interval {
                        span.between style=(from_to(self.at(low), self.at(high))) {}
                    }
                    i style={ "left:" (fixed(one)) "%" } {}
                }
            }
        }
    }
}

fn from_to(a: f64, b: f64) -> String {
    let (from, to) = (a.min(b), a.max(b));
    format!("left:{}%;width:{}%", fixed(from), fixed(to - from))
}

fn fixed(percent: f64) -> String {
    format!("{percent:.2}")
}

fn times(ratio: f64) -> String {
    let number = format!("{ratio:.4}");
    let number = number.trim_end_matches('0').trim_end_matches('.');
    match number {
        "0.3333" => "×0.33".to_owned(),
        number => format!("×{number}"),
    }
}
