//! Who sends how much to whom, as a heat map.
//!
//! In: an [`Inference`]. Out: an SVG that needs no script and scrolls where it is wider than the page. Must not know: shapes.

use std::collections::HashMap;

use maud::{Markup, html};

use super::super::grid::{Grid, Place};
use super::{ELSEWHERE, greatest, rest};
use crate::infer::name;
use courtside_core::{
    model::inference::{Inference, Link},
    units::{bytes, count},
};

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
    let places = matrix.places.iter().map(|&(row, column, link)| Place {
        row,
        column,
        share: link.bytes as f64 / matrix.most.max(1) as f64,
        number: bytes(link.bytes),
        title: title(matrix, row, column, link),
    });
    let grid = Grid {
        rows: matrix.names.clone(),
        columns: matrix.names.clone(),
        places: places.collect(),
        label: "bytes from each process to each other one",
    };
    grid.draw()
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
