//! The parts of a turnaround, as the page colours them.
//!
//! In: the table of parts. Out: their classes, and the style that gives them their colours. Must not know: pages.

use std::fmt::Write;

use courtside_core::parts::{Hue, Part};

/// The class of a part, which is also the name of its colour.
pub(super) fn class(part: Part) -> String {
    part.name().to_lowercase()
}

/// A colour on a light ground and on a dark one.
fn colours(hue: Hue) -> [&'static str; 2] {
    match hue {
        Hue::Green => ["#2f9e6e", "#3fb883"],
        Hue::Yellow => ["#e3a008", "#f0b93a"],
        Hue::Magenta => ["#a25ddc", "#b980ea"],
        Hue::Blue => ["#8db4dc", "#5f86b0"],
        Hue::Red => ["#d9485f", "#ef6b7f"],
        Hue::Cyan => ["#37a5b8", "#2c8696"],
        Hue::White => ["#7f8b99", "#9aa7b5"],
        Hue::BrightYellow => ["#8a6a3f", "#b3925f"],
    }
}

/// The parts' colours, and a class for each.
pub(super) fn style() -> String {
    let mut css = String::new();
    let grounds = [
        (":root{", "}"),
        ("@media screen and (prefers-color-scheme:dark){:root{", "}}"),
    ];
    // Writing to a string cannot fail.
    for (ground, (begin, end)) in grounds.into_iter().enumerate() {
        css.push_str(begin);
        for part in Part::ALL {
            let _ = write!(css, "--{}:{};", class(part), colours(part.hue())[ground]);
        }
        css.push_str(end);
    }
    for part in Part::ALL {
        let _ = write!(css, ".{0}{{background:var(--{0})}}", class(part));
    }
    css
}
