//! A heat map: how much goes from each row to each column.
//!
//! In: names, places with a share. Out: an SVG that needs no script and scrolls where it is wider than the page. Must not
//! know: what is shown.

use maud::{Markup, html};
use unicode_width::UnicodeWidthStr;

/// With at most so many columns each place has its number.
const FEW: usize = 12;
/// Size of a place with a number, and of one without.
const WITH_NUMBER: (usize, usize) = (62, 24);
const WITHOUT: (usize, usize) = (14, 14);
/// Half the width of two letters of the labels, which all are as wide: sixty hundredths of their size, and some air.
const HALF_LETTERS: usize = 15;
/// How dark the least and the greatest are: numbers stay readable on them.
const LIGHT: f64 = 0.1;
const DARK: f64 = 0.6;

/// What is drawn.
pub(super) struct Grid {
    pub rows: Vec<String>,
    pub columns: Vec<String>,
    pub places: Vec<Place>,
    /// What it is, for who cannot see it.
    pub label: &'static str,
}

/// What is drawn at one row and column.
pub(super) struct Place {
    pub row: usize,
    pub column: usize,
    /// Of the greatest: how dark it is.
    pub share: f64,
    /// Its number, where there is room.
    pub number: String,
    /// All that there is to say of it.
    pub title: String,
}

impl Grid {
    /// The picture.
    pub(super) fn draw(&self) -> Markup {
        let few = self.columns.len() <= FEW;
        let (wide, high) = if few { WITH_NUMBER } else { WITHOUT };
        let edge = |names: &[String]| {
            let letters = names.iter().map(|name| name.width()).max();
            letters.unwrap_or(0) * HALF_LETTERS / 2 + 12
        };
        let (left, top) = (edge(&self.rows), edge(&self.columns));
        let (width, height) = (self.columns.len() * wide, self.rows.len() * high);
        let shade = |share: f64| format!("{:.2}", LIGHT + (DARK - LIGHT) * share.clamp(0.0, 1.0));
        html! {
            svg.heat.small[!few] width=(left + width + 2) height=(top + height + 2) role="img" aria-label=(self.label) {
                rect.ground x=(left) y=(top) width=(width) height=(height) {}
                @for (place, name) in self.rows.iter().enumerate() {
                    text.row x=(left - 6) y=(top + place * high + high / 2) { (name) }
                }
                @for (place, name) in self.columns.iter().enumerate() {
                    text transform={ "translate(" (left + place * wide + wide / 2) "," (top - 6) ") rotate(-90)" } { (name) }
                }
                @for place in &self.places {
                    @let (x, y) = (left + place.column * wide, top + place.row * high);
                    g {
                        title { (place.title) }
                        rect x=(x) y=(y) width=(wide - 1) height=(high - 1) fill-opacity=(shade(place.share)) {}
                        @if few { text.value x=(x + wide / 2) y=(y + high / 2) { (place.number) } }
                    }
                }
            }
        }
    }
}
