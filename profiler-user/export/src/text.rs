//! Lines of text with styles, and grids of them whose columns give way when there is no room.
//!
//! In: cells. Out: strings, with escape codes only on demand. Must not know: what the cells mean.

use anstyle::{AnsiColor, Style as Ansi};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

pub(super) const PLAIN: Ansi = Ansi::new();
pub(super) const BOLD: Ansi = Ansi::new().bold();
pub(super) const DIM: Ansi = Ansi::new().dimmed();
pub(super) const HEAD: Ansi = AnsiColor::Cyan.on_default();
pub(super) const WARN: Ansi = AnsiColor::Yellow.on_default().bold();
pub(super) const ALARM: Ansi = AnsiColor::Red.on_default().bold();

/// One line: pieces of text, each in its style.
#[derive(Clone, Debug, Default)]
pub(super) struct Line(Vec<(Ansi, String)>);

impl Line {
    pub fn new(style: Ansi, text: impl Into<String>) -> Self {
        Self(vec![(style, text.into())])
    }

    pub fn push(&mut self, style: Ansi, text: impl Into<String>) {
        self.0.push((style, text.into()));
    }

    pub fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Columns it takes on a screen.
    pub fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| text.width()).sum()
    }

    /// Adds blanks up to a width.
    pub fn pad_to(&mut self, width: usize) {
        let missing = width.saturating_sub(self.width());
        if missing > 0 {
            self.push(PLAIN, " ".repeat(missing));
        }
    }

    /// As text, without blanks at the end.
    pub fn render(&self, color: bool) -> String {
        let mut out = String::new();
        for (style, text) in &self.0 {
            if color && *style != PLAIN && !text.trim().is_empty() {
                out.push_str(&format!("{style}{text}{style:#}"));
            } else {
                out.push_str(text);
            }
        }
        out.truncate(out.trim_end().len());
        out
    }
}

/// A name from outside in at most `max` columns: no control characters, and `…` in the middle of what is too long,
/// because both ends of a name tell things apart.
pub(super) fn clip(name: &str, max: usize) -> String {
    let clean: String = name
        .chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect();
    if clean.width() <= max {
        return clean;
    }
    let take = |chars: &mut dyn Iterator<Item = char>, mut room: usize| -> String {
        chars
            .map_while(|c| {
                room = room.checked_sub(c.width().unwrap_or(0))?;
                Some(c)
            })
            .collect()
    };
    let tail_room = max.saturating_sub(1) / 2;
    let head = take(&mut clean.chars(), max.saturating_sub(1 + tail_room));
    let tail = take(&mut clean.chars().rev(), tail_room);
    format!("{head}…{}", tail.chars().rev().collect::<String>())
}

/// A column of a [`Grid`].
pub(super) struct GridColumn {
    pub title: Line,
    /// Numbers stand at the right of their column, texts at the left.
    pub right: bool,
    /// When there is no room the highest rank goes first; 0 stays.
    pub rank: u8,
}

/// A table.
pub(super) struct Grid {
    pub columns: Vec<GridColumn>,
    pub rows: Vec<Vec<Line>>,
}

const GAP: usize = 2;

impl Grid {
    /// The lines of the table, header first, none wider than `width` as long as columns can give way.
    pub fn lines(mut self, width: Option<usize>) -> Vec<Line> {
        let mut widths: Vec<usize> = (0..self.columns.len())
            .map(|i| {
                let cells = self
                    .rows
                    .iter()
                    .filter_map(|row| row.get(i))
                    .map(Line::width);
                cells
                    .chain([self.columns[i].title.width()])
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        while width.is_some_and(|max| widths.iter().map(|w| w + GAP).sum::<usize>() > max + GAP) {
            let (last, rank) = (0..).zip(&self.columns).fold((0, 0), |worst, (i, column)| {
                if column.rank >= worst.1 {
                    (i, column.rank)
                } else {
                    worst
                }
            });
            if rank == 0 {
                break;
            }
            self.columns.remove(last);
            widths.remove(last);
            for row in &mut self.rows {
                row.remove(last);
            }
        }
        let (titles, right): (Vec<Line>, Vec<bool>) = self
            .columns
            .into_iter()
            .map(|column| (column.title, column.right))
            .unzip();
        std::iter::once(titles)
            .chain(self.rows)
            .map(|cells| {
                let mut line = Line::default();
                let mut start = 0;
                for ((cell, &width), &right) in cells.into_iter().zip(&widths).zip(&right) {
                    line.pad_to(start + if right { width - cell.width() } else { 0 });
                    line.append(cell);
                    start += width + GAP;
                }
                line
            })
            .collect()
    }
}

/// Pieces side by side, on as many lines as the width asks for.
pub(super) fn flow(pieces: Vec<Line>, gap: &str, width: Option<usize>) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for piece in pieces {
        match lines.last_mut() {
            Some(line)
                if width.is_none_or(|max| line.width() + gap.width() + piece.width() <= max) =>
            {
                line.push(PLAIN, gap);
                line.append(piece);
            }
            _ => lines.push(piece),
        }
    }
    lines
}

/// Blocks of lines with an empty line between them; those without lines are left out.
pub(super) fn joined(blocks: impl IntoIterator<Item = Vec<Line>>, style: super::Style) -> String {
    let lines = |block: Vec<Line>| -> String {
        let lines = block.iter().map(|line| line.render(style.color) + "\n");
        lines.collect()
    };
    let blocks = blocks.into_iter().filter(|block| !block.is_empty());
    let blocks: Vec<String> = blocks.map(lines).collect();
    let text = blocks.join("\n");
    if style.ascii { ascii(&text) } else { text }
}

/// What an ASCII screen shows for the characters used here; `?` for the rest.
fn ascii(text: &str) -> String {
    let plain = |c: char| match c {
        _ if c.is_ascii() => c,
        '█' => '#',
        '▓' => '=',
        '▒' => '%',
        '░' | '─' => '-',
        '·' => '.',
        '└' => '`',
        '▶' | '→' | '≥' => '>',
        '…' => '~',
        'µ' => 'u',
        '−' => '-',
        '×' => 'x',
        // Glyphs of the parts of a turnaround that are used nowhere else.
        '≡' => ':',
        '»' => '/',
        _ => '?',
    };
    text.chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_clipped_in_the_middle_and_never_control_the_terminal() {
        assert_eq!(clip("checkout-service-7f9c", 11), "check…-7f9c");
        assert_eq!(clip("a\u{1b}[31mb", 20), "a?[31mb");
        assert_eq!(clip("名前名前名前", 7), "名…前");
        assert_eq!(clip("web", 3), "web");
    }

    fn grid(width: Option<usize>) -> Vec<String> {
        let column = |title, right, rank| GridColumn {
            title: Line::new(PLAIN, title),
            right,
            rank,
        };
        let row = |cells: [&str; 3]| cells.map(|cell| Line::new(PLAIN, cell)).to_vec();
        let grid = Grid {
            columns: vec![
                column("NAME", false, 0),
                column("N", true, 2),
                column("LONG", true, 1),
            ],
            rows: vec![row(["web", "1 204", "3 ms"]), row(["store", "7", "-"])],
        };
        grid.lines(width)
            .iter()
            .map(|line| line.render(false))
            .collect()
    }

    #[test]
    fn columns_are_aligned_and_give_way_by_rank() {
        assert_eq!(
            grid(None),
            [
                "NAME       N  LONG",
                "web    1 204  3 ms",
                "store      7     -"
            ]
        );
        assert_eq!(grid(Some(18)), grid(None));
        assert_eq!(
            grid(Some(17)),
            ["NAME   LONG", "web    3 ms", "store     -"]
        );
        assert_eq!(grid(Some(10)), ["NAME", "web", "store"]);
        assert_eq!(grid(Some(1)), ["NAME", "web", "store"]);
    }

    #[test]
    fn styles_show_only_when_asked_for() {
        let line = Line::new(BOLD, "x");
        assert_eq!(line.render(false), "x");
        assert_eq!(line.render(true), "\u{1b}[1mx\u{1b}[0m");
    }

    #[test]
    fn pieces_flow_onto_as_many_lines_as_needed() {
        let pieces = ["aaa", "bbb", "ccc"]
            .map(|text| Line::new(PLAIN, text))
            .to_vec();
        let lines: Vec<String> = flow(pieces, "  ", Some(8))
            .iter()
            .map(|l| l.render(false))
            .collect();
        assert_eq!(lines, ["aaa  bbb", "ccc"]);
    }
}
