//! A distribution as columns over a logarithmic axis of time.
//!
//! In: a distribution and a size. Out: lines. Must not know: what was measured, where it is shown.

use courtside_wire::hist::{bounds_of, bucket_of};
use ratatui::{
    style::Style,
    text::{Line, Span},
};

use super::{
    chart,
    style::{ACCENT, DIM, STRONG, WARN},
    text,
};
use courtside_core::{model::snapshot::Dist, units};

/// Columns, an axis with marks at the median and the 99th percentile, and their values. Beyond the 99th percentile
/// the columns change colour. Nothing if there is no room or no value.
pub(super) fn lines(dist: &Dist, width: usize, height: usize) -> Vec<Line<'static>> {
    let Some(rows) = height
        .checked_sub(2)
        .filter(|&rows| rows > 0 && width >= 12 && dist.count > 0)
    else {
        return Vec::new();
    };
    let bounds: Vec<(f64, f64, f64)> = dist
        .buckets
        .iter()
        .map(|&(upper, count)| {
            let (low, high) = bounds_of(bucket_of(upper));
            let high = high.min(dist.max_ns.max(low)).saturating_add(1);
            (
                (low.max(1) as f64).ln(),
                (high.max(2) as f64).ln(),
                count as f64,
            )
        })
        .collect();
    let lo = bounds.first().map_or(0.0, |bucket| bucket.0);
    let hi = bounds.last().map_or(1.0, |bucket| bucket.1).max(lo + 1e-9);
    let scale = width as f64 / (hi - lo);
    let place = |ns: u64| {
        let at = ((ns.max(1) as f64).ln() - lo) * scale;
        (at.max(0.0) as usize).min(width - 1)
    };

    // A bucket wider than a column is spread evenly over the columns it covers.
    let mut columns = vec![0.0; width];
    for (low, high, count) in bounds {
        let (from, to) = ((low - lo) * scale, (high - lo) * scale);
        let last = (to.ceil() as usize).min(width);
        for (at, column) in columns
            .iter_mut()
            .enumerate()
            .take(last)
            .skip(from as usize)
        {
            let overlap = to.min(at as f64 + 1.0) - from.max(at as f64);
            *column += count * overlap.max(0.0) / (to - from).max(1e-9);
        }
    }
    let max = columns.iter().copied().fold(0.0, f64::max);
    let drawn: Vec<Vec<char>> = columns
        .iter()
        .map(|&v| chart::column(v, max, rows))
        .collect();
    let (p50, p99) = (place(dist.p50_ns), place(dist.p99_ns));
    let row = |row: usize| {
        let glyphs = |columns: &[Vec<char>]| columns.iter().map(|c| c[row]).collect::<String>();
        Line::from(vec![
            Span::styled(glyphs(&drawn[..=p99]), ACCENT),
            Span::styled(glyphs(&drawn[p99 + 1..]), WARN),
        ])
    };
    let mut lines: Vec<Line> = (0..rows).map(row).collect();
    let axis = (0..width).map(|at| if at == p50 || at == p99 { '▲' } else { '─' });
    lines.push(Line::styled(axis.collect::<String>(), DIM));
    lines.push(labels(dist, width, (p50, p99)));
    lines
}

/// Labels under the axis. The two quantiles stand at their marks, or side by side where these are close; the
/// extremes at the ends if there is room left.
fn labels(dist: &Dist, width: usize, (p50, p99): (usize, usize)) -> Line<'static> {
    let p50_text = format!("p50 {}", units::duration(dist.p50_ns));
    let p99_text = format!("p99 {}", units::duration(dist.p99_ns));
    let (p50_room, p99_room) = (text::width(&p50_text) + 2, text::width(&p99_text));
    let Some(last) = width.checked_sub(p99_room) else {
        return Line::default();
    };
    let p99_start = p99.max(p50 + p50_room).min(last);
    let mut line = Line::default();
    let mut at = 0;
    let mut put = |start: usize, text: String, style: Style| {
        line.spans
            .push(Span::raw(" ".repeat(start.saturating_sub(at))));
        at = at.max(start) + text::width(&text);
        line.spans.push(Span::styled(text, style));
    };
    if let Some(latest) = p99_start.checked_sub(p50_room) {
        let left = p50.min(latest);
        let min = format!("min {}", units::duration(dist.min_ns));
        if text::width(&min) + 2 <= left {
            put(0, min, DIM);
        }
        put(left, p50_text, STRONG);
    }
    put(p99_start, p99_text, STRONG);
    let max = format!("max {}", units::duration(dist.max_ns));
    let max_start = width.saturating_sub(text::width(&max));
    if p99_start + p99_room + 2 <= max_start {
        put(max_start, max, DIM);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use courtside_core::fixture::frames::raw;

    fn drawn(values: &[u64], width: usize, height: usize) -> Vec<String> {
        let dist = Dist::from(&raw(values.iter().copied()));
        lines(&dist, width, height)
            .iter()
            .map(Line::to_string)
            .collect()
    }

    #[test]
    fn one_value_is_one_block() {
        let lines = drawn(&[1_000_000], 24, 4);
        assert_eq!(lines[0], "█".repeat(24));
        assert_eq!(lines.len(), 4);
    }

    #[test]
    fn a_tail_is_seen_however_thin() {
        let mut values = vec![100_000; 10_000];
        values.push(50_000_000);
        let lines = drawn(&values, 40, 5);
        assert!(lines[2].ends_with('▁'), "{lines:?}");
        assert!(
            lines[4].starts_with("p50") && lines[4].ends_with("max 50.0 ms"),
            "{lines:?}"
        );
    }

    #[test]
    fn no_room_and_no_values_draw_nothing() {
        assert!(drawn(&[], 40, 8).is_empty());
        assert!(drawn(&[5], 40, 2).is_empty());
        assert!(drawn(&[5], 3, 8).is_empty());
        for size in 0..40 {
            drawn(&[0, 1, 3, 900, u64::MAX / 2], size, size);
        }
    }
}
