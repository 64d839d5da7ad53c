//! Small pictures made of text: bars, sparklines, histograms, areas.
//!
//! In: plain numbers and a size. Out: spans and lines of that size.
//! Must not know: what the numbers mean, where they are shown.

use ratatui::text::{Line, Span};

use super::style::{DIM, PAST, ink};
use courtside_core::parts::{Part, Parts};

const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Splits `cells` in proportion to `values`, adding up exactly unless nothing is positive. The largest remainders win.
pub(super) fn apportion(values: &[f64], cells: usize) -> Vec<usize> {
    let total: f64 = values.iter().map(|v| v.max(0.0)).sum();
    if total <= 0.0 || !total.is_finite() {
        return vec![0; values.len()];
    }
    let exact: Vec<f64> = values
        .iter()
        .map(|v| v.max(0.0) / total * cells as f64)
        .collect();
    let mut shares: Vec<usize> = exact.iter().map(|e| *e as usize).collect();
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| exact[b].fract().total_cmp(&exact[a].fract()));
    let rest = cells.saturating_sub(shares.iter().sum());
    for &i in order.iter().take(rest) {
        shares[i] += 1;
    }
    shares
}

/// The parts as one bar of exactly `cells` columns; empty if there is nothing to split.
pub(super) fn parts_bar(parts: &Parts<f64>, cells: usize) -> Vec<Span<'static>> {
    apportion(&parts.0, cells)
        .into_iter()
        .zip(Part::ALL)
        .filter(|(share, _)| *share > 0)
        .map(|(share, part)| Span::styled(part.glyph().repeat(share), ink(part)))
        .collect()
}

/// A share of the whole as a bar of at most `cells` columns; every share above zero is seen.
pub(super) fn share_bar(share: f64, cells: usize) -> String {
    let full = (share.clamp(0.0, 1.0) * cells as f64).round() as usize;
    match full {
        0 if share > 0.0 && cells > 0 => "▏".to_owned(),
        full => "█".repeat(full),
    }
}

/// What the glyphs of these [`parts_bar`]s mean, as long as `max` columns allow; `None` if they do not.
pub(super) fn legend(max: usize, bars: &[Parts<f64>]) -> Option<Line<'static>> {
    let legend = |name: fn(Part) -> &'static str| {
        let mut spans = Vec::new();
        for (i, part) in Part::in_legend(bars).enumerate() {
            spans.push(Span::raw(if i == 0 { "" } else { " " }));
            spans.push(Span::raw(name(part)));
            spans.push(Span::styled(part.glyph(), ink(part)));
        }
        Line::from(spans)
    };
    [legend(Part::name), legend(Part::short)]
        .into_iter()
        .find(|line| line.width() <= max)
}

/// The newest samples as one line of `cells` columns, newest at the right; gaps are blank, zero is the base line.
pub(super) fn sparkline(samples: &[Option<f64>], cells: usize) -> Span<'static> {
    let shown = &samples[samples.len().saturating_sub(cells)..];
    let max = shown.iter().flatten().fold(0.0, |a: f64, b| a.max(*b));
    let glyph = |sample: &Option<f64>| match sample {
        None => ' ',
        Some(value) => LEVELS[level(*value, max, 8).saturating_sub(1)],
    };
    let pad = std::iter::repeat_n(' ', cells - shown.len());
    let text: String = pad.chain(shown.iter().map(glyph)).collect();
    let style = if max > 0.0 { PAST } else { DIM };
    Span::styled(text, style)
}

/// Which of `levels` steps a value reaches; every positive value reaches the first.
fn level(value: f64, max: f64, levels: usize) -> usize {
    if max <= 0.0 || value <= 0.0 {
        return 0;
    }
    ((value / max * levels as f64).ceil() as usize).clamp(1, levels)
}

/// One column of a column chart `rows` high, from the top: eighths of a cell.
pub(super) fn column(value: f64, max: f64, rows: usize) -> Vec<char> {
    let eighths = level(value, max, rows * 8);
    (0..rows)
        .rev()
        .map(|row| match eighths.saturating_sub(row * 8) {
            0 => ' ',
            n => LEVELS[n.min(8) - 1],
        })
        .collect()
}

/// The parts over time as stacked areas `rows` high, newest at the right; also the value of the top.
pub(super) fn areas(
    samples: &[Option<Parts<f64>>],
    width: usize,
    rows: usize,
) -> (Vec<Line<'static>>, f64) {
    let shown = &samples[samples.len().saturating_sub(width)..];
    let max = shown
        .iter()
        .flatten()
        .map(Parts::<f64>::total_ns)
        .fold(0.0, f64::max);
    // Each column from the bottom: the part in each cell.
    let column = |sample: &Option<Parts<f64>>| -> Vec<Part> {
        let Some(parts) = sample else {
            return Vec::new();
        };
        let shares = apportion(&parts.0, level(parts.total_ns(), max, rows));
        let cells = Part::ALL.into_iter().zip(shares);
        cells
            .flat_map(|(part, n)| std::iter::repeat_n(part, n))
            .collect()
    };
    let columns: Vec<Vec<Part>> = shown.iter().map(column).collect();
    let lines = (0..rows).rev().map(|row| {
        let pad = Span::raw(" ".repeat(width - shown.len()));
        let cells = columns.iter().map(|column| match column.get(row) {
            Some(&part) => Span::styled(part.glyph(), ink(part)),
            None => Span::raw(" "),
        });
        Line::from_iter(std::iter::once(pad).chain(cells))
    });
    (lines.collect(), max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up() {
        for cells in 0..50 {
            let shares = apportion(&[0.4, 2.04, 0.56, 0.0, -0.3], cells);
            assert_eq!(shares.iter().sum::<usize>(), cells);
            assert_eq!(shares[3..], [0, 0]);
        }
        assert_eq!(apportion(&[0.0, f64::NAN], 9), [0, 0]);
        assert_eq!(apportion(&[1.0, 1.0], 3), [2, 1]);
    }

    #[test]
    fn a_sparkline_ends_now_and_shows_gaps() {
        let line = sparkline(&[Some(9.0), Some(0.0), None, Some(4.0), Some(8.0)], 4);
        assert_eq!(line.content, "▁ ▄█");
        assert_eq!(sparkline(&[Some(1.0)], 4).content, "   █");
        assert_eq!(sparkline(&[], 2).content, "  ");
    }

    #[test]
    fn columns_grow_by_eighths() {
        assert_eq!(column(12.0, 16.0, 2), ['▄', '█']);
        assert_eq!(column(0.001, 16.0, 2), [' ', '▁']);
        assert_eq!(column(0.0, 16.0, 2), [' ', ' ']);
    }

    #[test]
    fn areas_stack_from_the_bottom_and_leave_gaps() {
        let samples = [
            Some(Parts([1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0])),
            None,
            Some(Parts([0.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0])),
        ];
        let (lines, max) = areas(&samples, 4, 4);
        let lines: Vec<String> = lines.iter().map(Line::to_string).collect();
        assert_eq!(lines, ["   ▓", "   ▓", " · ▓", " █ ▓"]);
        assert_eq!(max, 4.0);
        assert_eq!(
            areas(&[], 2, 1),
            (vec![Line::from(vec![Span::raw("  ")])], 0.0)
        );
    }

    #[test]
    fn a_share_is_a_bar_and_none_of_them_vanishes() {
        assert_eq!(share_bar(0.5, 6), "███");
        assert_eq!(share_bar(0.001, 6), "▏");
        assert_eq!(share_bar(0.0, 6), "");
        assert_eq!(share_bar(7.0, 2), "██");
        assert_eq!(share_bar(f64::NAN, 2), "");
    }

    #[test]
    fn the_legend_shortens() {
        let text = |max| legend(max, &[]).map(|line| line.to_string());
        assert_eq!(
            text(60).as_deref(),
            Some("on-CPU█ run-queue▓ disk▒ sleep░ queued·")
        );
        assert_eq!(text(30).as_deref(), Some("cpu█ runq▓ disk▒ slp░ que·"));
        assert_eq!(text(10), None);
    }
}
