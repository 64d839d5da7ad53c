//! Who sends how much to whom, as a heat map.
//!
//! In: an [`Inference`]. Out: an SVG that needs no script and scrolls where it is wider than the page. Must not know: shapes.

use std::collections::HashMap;

use maud::{Markup, html};
use unicode_width::UnicodeWidthStr;

use super::{ELSEWHERE, greatest, rest};
use crate::infer::name;
use courtside_core::{
    model::inference::{Inference, Link},
    units::{bytes, count},
};

/// With at most so many processes each place has its number.
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
struct Matrix<'a> {
    /// Names of the processes: rows and columns.
    names: Vec<String>,
    /// Row, column, and what went that way.
    places: Vec<(usize, usize, &'a Link)>,
    /// The most bytes of a place.
    most: u64,
}

impl<'a> Matrix<'a> {
    /// Of the processes with most bytes sent and received.
    fn of(inference: &'a Inference) -> Self {
        let mut traffic: HashMap<&str, u64> = HashMap::new();
        for link in &inference.network {
            for end in [&link.from, &link.to] {
                let sum = traffic.entry(end).or_default();
                *sum = sum.saturating_add(link.bytes);
            }
        }
        let shown = greatest(&inference.processes, |process| {
            traffic.get(process.id.as_str()).copied().unwrap_or(0)
        });
        let columns: HashMap<&str, usize> = shown
            .iter()
            .enumerate()
            .map(|(column, process)| (process.id.as_str(), column))
            .collect();
        let column = |id: &str| columns.get(id).copied();
        let places: Vec<(usize, usize, &Link)> = inference
            .network
            .iter()
            .filter(|link| link.messages > 0)
            .filter_map(|link| Some((column(&link.from)?, column(&link.to)?, link)))
            .take(shown.len() * shown.len())
            .collect();
        Self {
            names: shown.iter().map(|process| name(&process.id)).collect(),
            most: places
                .iter()
                .map(|(.., link)| link.bytes)
                .max()
                .unwrap_or(0),
            places,
        }
    }
}

/// The heat map, and what must be known to read it.
pub(super) fn heat(inference: &Inference) -> Markup {
    let matrix = Matrix::of(inference);
    html! {
        figure {
            figcaption { "Who sent how much to whom: rows send, columns receive" }
            @if matrix.places.is_empty() {
                p.none { "No messages between them are known." }
            } @else {
                div.scroll { (draw(&matrix)) }
                p.more {
                    "The darkest place is " (bytes(matrix.most)) " in all; an empty one is no message. Point at a place for its numbers."
                }
            }
            (rest(matrix.names.len(), inference.processes.len(), "processes", "those with most traffic", ELSEWHERE))
        }
    }
}

fn draw(matrix: &Matrix<'_>) -> Markup {
    let few = matrix.names.len() <= FEW;
    let (wide, high) = if few { WITH_NUMBER } else { WITHOUT };
    let letters = matrix.names.iter().map(|name| name.width()).max();
    let edge = letters.unwrap_or(0) * HALF_LETTERS / 2 + 12;
    let (width, height) = (matrix.names.len() * wide, matrix.names.len() * high);
    let shade = |link: &Link| {
        let share = link.bytes as f64 / matrix.most.max(1) as f64;
        format!("{:.2}", LIGHT + (DARK - LIGHT) * share)
    };
    html! {
        svg.heat.small[!few] width=(edge + width + 2) height=(edge + height + 2) role="img"
            aria-label="bytes from each process to each other one" {
            rect.ground x=(edge) y=(edge) width=(width) height=(height) {}
            @for (place, name) in matrix.names.iter().enumerate() {
                text.row x=(edge - 6) y=(edge + place * high + high / 2) { (name) }
                text transform={ "translate(" (edge + place * wide + wide / 2) "," (edge - 6) ") rotate(-90)" } { (name) }
            }
            @for &(row, column, link) in &matrix.places {
                @let (x, y) = (edge + column * wide, edge + row * high);
                g {
                    title { (title(matrix, row, column, link)) }
                    rect x=(x) y=(y) width=(wide - 1) height=(high - 1) fill-opacity=(shade(link)) {}
                    @if few { text.value x=(x + wide / 2) y=(y + high / 2) { (bytes(link.bytes)) } }
                }
            }
        }
    }
}

fn title(matrix: &Matrix<'_>, row: usize, column: usize, link: &Link) -> String {
    let name = |place: usize| matrix.names.get(place).map_or("", String::as_str);
    format!(
        "{} → {}: {}, messages: {}",
        name(row),
        name(column),
        bytes(link.bytes),
        count(link.messages)
    )
}
