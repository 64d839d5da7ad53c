//! Small pieces of the page that several sections use.
//!
//! In: values. Out: HTML. Must not know: what they belong to.

use maud::{Markup, html};

use super::parts::class;
use courtside_core::model::snapshot::Dist;
use courtside_core::parts::{Part, Parts};
use courtside_core::units::{UNKNOWN, duration, duration_f64};

/// What the colours of parts mean: the usual parts, and what there is any of.
pub(super) fn legend(sums: &[Parts<f64>]) -> Markup {
    html! {
        ul.legend aria-label="parts of a turnaround" {
            @for part in Part::in_legend(sums) {
                li title=(part.meaning()) { span.swatch.(class(part)) {} (part.words()) }
            }
        }
    }
}

/// What the parts are, in words.
pub(super) fn meanings() -> Markup {
    html! {
        details.meanings {
            summary { "What the parts mean" }
            dl {
                @for part in Part::ALL {
                    dt { span.swatch.(class(part)) {} (part.words()) " " span.glyph { (part.glyph()) } }
                    dd { (part.meaning()) }
                }
            }
            p.more { "The signs are those of the parts in the terminal. Point at a bar to read its parts in words." }
        }
    }
}

/// A place for a picture, drawn by the script.
pub(super) fn picture(kind: &str, of: Option<usize>, what: &str) -> Markup {
    html! {
        div.chart data-chart=(kind) data-of=[of] role="img" aria-label=(what) {
            noscript { "This picture needs JavaScript." }
        }
    }
}

/// A row of blocks in proportion to the parts.
pub(super) fn bar(values: Parts<f64>) -> Markup {
    let total = values.total_ns();
    html! {
        div.bar title=(spoken(values)) {
            @for (part, value) in values {
                @if total > 0.0 && value > 0.0 {
                    span.(class(part)) style={ "width:" (format!("{:.2}", value / total * 100.0)) "%" } {}
                }
            }
        }
    }
}

/// The parts in words.
pub(super) fn spoken(values: Parts<f64>) -> String {
    let words = values
        .into_iter()
        .filter(|(_, value)| *value > 0.0)
        .map(|(part, value)| format!("{} {}", part.words(), duration_f64(value)));
    words.collect::<Vec<_>>().join(", ")
}

/// A quantile, if there is anything.
pub(super) fn quantile(dist: &Dist, pick: fn(&Dist) -> u64) -> String {
    if dist.count > 0 {
        duration(pick(dist))
    } else {
        UNKNOWN.to_owned()
    }
}

/// A mean, if there is anything.
pub(super) fn mean(sum_ns: u64, count: u64) -> String {
    sum_ns
        .checked_div(count)
        .map_or_else(|| UNKNOWN.to_owned(), duration)
}
