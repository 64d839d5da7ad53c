//! The page from top to bottom.
//!
//! In: a view of a snapshot, the data of the pictures. Out: HTML. Must not know: how a section is made.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{View, detail, parts::PARTS, sections};
use crate::units::duration;

const STYLE: &str = include_str!("report.css");
const SCRIPT: &str = include_str!("report.js");
const VENDOR: &str = include_str!("vendor/vendor.js");
/// The page asks nobody for anything, whatever a name in it says.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:";

pub(super) fn page(view: &View<'_>, title: &str, data: &str) -> Markup {
    let host = &view.whole.host;
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="generator" content={ "courtside " (view.whole.tool_version) };
                link rel="icon" href="data:,";
                title { (title) " · courtside" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { (title) }
                    p.sub {
                        (host.hostname) " · " (sections::when(view)) " · " (duration(view.whole.window.duration_ns))
                    }
                    (sections::chips(view))
                    nav {
                        @for (id, name) in sections::CONTENTS {
                            a href={ "#" (id) } { (name) }
                        }
                    }
                }
                main {
                    (sections::requests(view))
                    (sections::map(view))
                    (sections::components(view))
                    (sections::distributions(view))
                    (sections::time(view))
                    (sections::edges(view))
                    (sections::machine(view))
                    (sections::trust(view))
                    (sections::host(view))
                }
                @for (number, component) in view.components.iter().enumerate() {
                    (detail::dialog(view, number, component))
                }
                footer {
                    p {
                        "Made by courtside " (view.whole.tool_version) ". "
                        "The pictures are drawn with Observable Plot and D3 (ISC licence) and dagre (MIT licence)."
                    }
                }
                script type="application/json" id="data" { (PreEscaped(data)) }
                script { (PreEscaped(VENDOR)) }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
}

/// What the colours mean.
pub(super) fn legend() -> Markup {
    html! {
        ul.legend aria-label="parts of a turnaround" {
            @for (name, class) in PARTS {
                li { span.swatch.(class) {} (name) }
            }
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
pub(super) fn bar(values: [f64; 5]) -> Markup {
    let total: f64 = values.iter().sum();
    html! {
        div.bar title=(spoken(values)) {
            @for ((_, class), value) in PARTS.into_iter().zip(values) {
                @if total > 0.0 && value > 0.0 {
                    span.(class) style={ "width:" (format!("{:.2}", value / total * 100.0)) "%" } {}
                }
            }
        }
    }
}

/// The parts in words.
pub(super) fn spoken(values: [f64; 5]) -> String {
    let words = PARTS
        .iter()
        .zip(values)
        .filter(|(_, value)| *value > 0.0)
        .map(|((name, _), value)| format!("{name} {}", crate::units::duration_f64(value)));
    words.collect::<Vec<_>>().join(", ")
}
