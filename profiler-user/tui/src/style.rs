//! Colours and glyphs: one calm palette, and its translations to no colour and to ASCII.
//!
//! In: a drawn buffer. Out: the same buffer as this terminal can show it.
//! Must not know: what is drawn. Views draw in colour and Unicode only; every glyph they use is in [`ascii`].

use ratatui::{
    buffer::Buffer,
    style::{Color, Modifier, Style},
};

use courtside_core::parts::{Hue, Part};

/// What the terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    /// Colours may be used. Without them bold, dim and reverse remain.
    pub color: bool,
    /// Only ASCII may be written.
    pub ascii: bool,
}

/// Plain text.
pub(super) const PLAIN: Style = Style::new();
/// What matters less: units of nothing, hints, zeros.
pub(super) const DIM: Style = Style::new().add_modifier(Modifier::DIM);
/// What matters most on its line.
pub(super) const STRONG: Style = Style::new().add_modifier(Modifier::BOLD);
/// Column headers, keys.
pub(super) const ACCENT: Style = Style::new().fg(Color::Cyan);
/// Works.
pub(super) const GOOD: Style = Style::new().fg(Color::Green).add_modifier(Modifier::BOLD);
/// Works, as do many others in the same list.
pub(super) const CALM: Style = Style::new().fg(Color::Green);
/// The past.
pub(super) const PAST: Style = Style::new().fg(Color::Cyan).add_modifier(Modifier::DIM);
/// Works less well, or is unusual.
pub(super) const WARN: Style = Style::new().fg(Color::Yellow).add_modifier(Modifier::BOLD);
/// Does not work.
pub(super) const BAD: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
/// The row or tab the keys act on.
pub(super) const SELECTED: Style = Style::new()
    .fg(Color::Cyan)
    .add_modifier(Modifier::BOLD)
    .add_modifier(Modifier::REVERSED);
/// Lines of a picture.
pub(super) const LINE: Style = Style::new().fg(Color::Blue);
/// Time on the network.
pub(super) const NETWORK: Style = Style::new().fg(Color::Cyan);

/// A part's colour.
pub(super) fn ink(part: Part) -> Style {
    Style::new().fg(match part.hue() {
        Hue::Green => Color::Green,
        Hue::Yellow => Color::Yellow,
        Hue::Magenta => Color::Magenta,
        Hue::Blue => Color::Blue,
        Hue::Red => Color::Red,
        Hue::Cyan => Color::Cyan,
        Hue::White => Color::White,
        Hue::BrightYellow => Color::LightYellow,
    })
}

/// Makes a finished screen fit for a terminal with fewer means.
pub(super) fn degrade(buffer: &mut Buffer, theme: Theme) {
    for cell in &mut buffer.content {
        if !theme.color {
            cell.fg = Color::Reset;
            cell.bg = Color::Reset;
        }
        if theme.ascii && !cell.symbol().is_ascii() {
            cell.set_char(ascii(cell.symbol()));
        }
    }
}

/// The ASCII stand-in of a glyph; `?` for letters that ASCII lacks.
fn ascii(symbol: &str) -> char {
    match symbol {
        "█" | "▇" => '#',
        "▓" | "▄" => '=',
        "▒" => '%',
        "≡" => ':',
        "»" => '/',
        "░" | "▃" | "─" | "–" | "−" => '-',
        "·" | "▂" => '.',
        "▁" => '_',
        "▅" => '+',
        "▆" => '*',
        "●" | "×" => '*',
        "▏" => '_',
        "“" | "”" => '"',
        "\u{a0}" => ' ',
        "µ" => 'u',
        "…" | "≈" | "╌" => '~',
        "≥" | "▶" | "▸" | "→" | "▾" => '>',
        "←" | "▴" => '<',
        "↑" | "▲" => '^',
        "↓" => 'v',
        "↺" => '@',
        "✓" => '+',
        "✗" => 'x',
        "│" | "┃" | "║" => '|',
        "┌" | "┐" | "└" | "┘" | "├" | "┤" | "┬" | "┴" | "┼" | "╭" | "╮" | "╰" | "╯" => {
            '+'
        }
        _ => '?',
    }
}
