//! The pictures of `scale`: bars of the speed-up, and of what there is more of for each task.
//!
//! In: a [`Scaling`]. Out: lines. Must not know: how anything is fitted or judged.

use courtside_core::{
    model::{
        scaling::{Inflation, Scaling, Usl},
        visible::visible,
    },
    units::{bytes, count, duration_f64, percent, rate, ratio},
};

use crate::text::{DIM, HEAD, Line, PLAIN};

/// Longest bar.
const BAR: usize = 40;
/// Most events whose growth is shown.
const MAX_EVENTS: usize = 12;
/// What grew or shrank by less than this is not shown.
const WORTH_SHOWING: f64 = 0.05;
/// How many times as much makes a full bar.
const FULL_BAR: f64 = 8.0;

/// A bar for each size: what is reached of the ideal, and where the law would be.
pub(super) fn picture(scaling: &Scaling) -> Vec<Line> {
    let largest = scaling.points.iter().map(|point| point.n).max();
    let largest = f64::from(largest.unwrap_or(1).max(1));
    let cells = |value: f64| ((value / largest * BAR as f64).round().max(0.0) as usize).min(BAR);
    let title = match scaling.usl {
        Some(_) => "SPEED-UP  █ reached  · lost of the ideal  ▶ by the law",
        None => "SPEED-UP  █ reached  · lost of the ideal",
    };
    let mut lines = vec![Line::new(HEAD, title)];
    for point in &scaling.points {
        let n = f64::from(point.n);
        let reached = cells(point.speedup);
        let mut bar: Vec<char> = (0..BAR)
            .map(|cell| match cell {
                cell if cell < reached => '█',
                cell if cell < cells(n) => '·',
                _ => ' ',
            })
            .collect();
        let by_law = scaling.usl.as_ref().map(|usl| fitted(usl, n, scaling));
        let at = by_law.map(|speedup| cells(speedup).saturating_sub(1));
        if let Some(cell) = at.and_then(|at| bar.get_mut(at)) {
            *cell = '▶';
        }
        let mut line = Line::new(PLAIN, format!("{:>6}  ", count(u64::from(point.n))));
        line.push(PLAIN, bar.into_iter().collect::<String>());
        line.push(PLAIN, format!("  {}", ratio(Some(point.speedup))));
        if let Some(speedup) = by_law {
            line.push(DIM, format!("  law {}", ratio(Some(speedup))));
        }
        lines.push(line);
    }
    lines
}

/// The speed-up that the law has, against what was measured at the base.
pub(crate) fn fitted(usl: &Usl, n: f64, scaling: &Scaling) -> f64 {
    let throughput = usl.lambda * n / (1.0 + usl.sigma * (n - 1.0) + usl.kappa * n * (n - 1.0));
    let base = scaling.points.first();
    let one = base.map_or(1.0, |base| base.throughput_per_s / base.speedup);
    throughput / one
}

/// What there is more of for each task at the largest size.
pub(super) fn growth(scaling: &Scaling, width: Option<usize>) -> Vec<Line> {
    let largest = scaling.points.iter().map(|point| point.n).max();
    let worth = |each: &&Inflation| {
        Some(each.n) == largest
            && (each
                .factor
                .is_none_or(|factor| (factor - 1.0).abs() >= WORTH_SHOWING)
                || each.loss_share.is_some_and(|share| share >= WORTH_SHOWING))
    };
    let rows: Vec<&Inflation> = scaling.inflation.iter().filter(worth).collect();
    if rows.is_empty() {
        return Vec::new();
    }
    let title = format!(
        "FOR EACH {} AT {}, AGAINST {}  (a full bar: {FULL_BAR} times)",
        scaling.unit.one().to_uppercase(),
        largest.unwrap_or(0),
        scaling.base_n
    );
    let mut lines = vec![Line::new(HEAD, title)];
    let names = rows.iter().map(|each| each.event.len()).max();
    let names = names.unwrap_or(0);
    for each in rows.into_iter().take(MAX_EVENTS) {
        let factor = each.factor.unwrap_or(f64::INFINITY);
        let full = (factor.max(0.0).ln_1p() / FULL_BAR.ln_1p()).min(1.0);
        let cells = (full * BAR as f64 / 2.0).round() as usize;
        let mut line = Line::new(PLAIN, format!("  {:<names$}  ", visible(&each.event)));
        line.push(PLAIN, format!("{:<1$}", "█".repeat(cells), BAR / 2));
        let times = match each.factor {
            Some(factor) => format!("×{}", ratio(Some(factor))),
            None => "new".to_owned(),
        };
        line.push(
            PLAIN,
            format!(
                "  {times:>8}  {} → {}",
                amount(&each.event, each.base_per_task),
                amount(&each.event, each.per_task)
            ),
        );
        if let Some(share) = each.loss_share.filter(|share| *share > 0.0) {
            let more = Line::new(DIM, format!("  {} of the loss", percent(share)));
            if width.is_none_or(|width| line.width() + more.width() <= width) {
                line.append(more);
            }
        }
        lines.push(line);
    }
    lines
}

pub(crate) fn amount(event: &str, value: f64) -> String {
    if event.ends_with("_ns") {
        duration_f64(value)
    } else if event == "bytes" {
        bytes(value.max(0.0) as u64)
    } else {
        rate(value)
    }
}
