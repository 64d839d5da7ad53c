//! Small pictures made of text: bars, sparklines, clipped names.
//!
//! In: plain numbers and a width. Out: spans of exactly that width or less.
//! Must not know: what the numbers mean, where they are shown.

use ratatui::{
    buffer::CellWidth,
    text::{Line, Span},
};

use super::style::{DIM, PARTS};

const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Width of a text on the screen, in columns.
pub(super) fn width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

fn char_width(c: char) -> usize {
    if c.is_control() {
        1
    } else {
        usize::from(c.encode_utf8(&mut [0; 4]).cell_width())
    }
}

/// A text from outside in at most `max` columns: control characters are shown as `?`, and what does not fit gives
/// way to `…` in the middle, because both ends of a name tell things apart.
pub(super) fn clip(text: &str, max: usize) -> String {
    let clean = text.chars().map(|c| if c.is_control() { '?' } else { c });
    if width(text) <= max {
        return clean.collect();
    }
    if max == 0 {
        return String::new();
    }
    let tail_room = (max - 1) / 2;
    let mut head = take(clean.clone(), max - 1 - tail_room);
    head.push('…');
    let tail = take(clean.rev(), tail_room);
    head.extend(tail.chars().rev());
    head
}

/// A sentence in at most `max` columns: its end gives way.
pub(super) fn clip_end(text: &str, max: usize) -> String {
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    if width(text) <= max {
        return clean.collect();
    }
    let mut head = take(clean, max.saturating_sub(1));
    if max > 0 {
        head.push('…');
    }
    head
}

fn take(chars: impl Iterator<Item = char>, mut room: usize) -> String {
    chars
        .map_while(|c| {
            room = room.checked_sub(char_width(c))?;
            Some(c)
        })
        .collect()
}

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

/// The five parts as one bar of exactly `cells` columns; empty if there is nothing to split.
pub(super) fn parts_bar(parts: &[f64; 5], cells: usize) -> Vec<Span<'static>> {
    apportion(parts, cells)
        .into_iter()
        .zip(&PARTS)
        .filter(|(share, _)| *share > 0)
        .map(|(share, part)| Span::styled(part.glyph.repeat(share), part.style))
        .collect()
}

/// What the glyphs of [`parts_bar`] mean, as long as `max` columns allow; `None` if they do not.
pub(super) fn legend(max: usize) -> Option<Line<'static>> {
    let legend = |name: fn(&super::style::Part) -> &'static str| {
        let mut spans = Vec::new();
        for (i, part) in PARTS.iter().enumerate() {
            spans.push(Span::raw(if i == 0 { "" } else { " " }));
            spans.push(Span::raw(name(part)));
            spans.push(Span::styled(part.glyph, part.style));
        }
        Line::from(spans)
    };
    [legend(|part| part.name), legend(|part| part.short)]
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
    let style = if max > 0.0 { super::style::ACCENT } else { DIM };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_both_ends() {
        assert_eq!(clip("web", 8), "web");
        assert_eq!(clip("checkout-service-7f9c", 11), "check…-7f9c");
        assert_eq!(clip("名前名前名前", 7), "名…前");
        assert_eq!(clip("a\u{1b}[31mb", 20), "a?[31mb");
        assert_eq!(clip("abc", 0), "");
        assert_eq!(clip("abc", 1), "…");
        assert_eq!(clip_end("a long reason", 7), "a long…");
    }

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
    fn the_legend_shortens() {
        let text = |max| legend(max).map(|line| line.to_string());
        assert_eq!(
            text(60).as_deref(),
            Some("on-CPU█ run-queue▓ disk▒ sleep░ queued·")
        );
        assert_eq!(text(30).as_deref(), Some("cpu█ runq▓ disk▒ slp░ que·"));
        assert_eq!(text(10), None);
    }
}
