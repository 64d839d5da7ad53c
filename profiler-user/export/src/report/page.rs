//! The page from top to bottom.
//!
//! In: a view of a snapshot, the data of the pictures. Out: HTML. Must not know: how a section is made.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::parts;
use super::{Judged, ReportView, detail, findings, neighbours, parallel, sections, tail};
use courtside_core::model::inference::Inference;
use courtside_core::model::tail::Tail;
use courtside_core::model::words::unmatched;
use courtside_core::units::duration;

const STYLE: &str = include_str!("report.css");
const SCRIPT: &str = include_str!("report.js");
const VENDOR: &str = include_str!("vendor/vendor.js");
/// The page loads nothing from anywhere, whatever a name in it says.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:";

/// What analyses tell.
#[derive(Clone, Copy)]
pub(super) struct Found<'a> {
    pub slowest: Option<&'a Result<Tail, String>>,
    pub application: Option<&'a Inference>,
    pub guard: Option<&'a Judged>,
}

pub(super) fn page(view: &ReportView<'_>, title: &str, data: &str, found: Found<'_>) -> Markup {
    let parallel = parallel::parallel(found.application);
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
                style { (PreEscaped(STYLE)) (PreEscaped(parts::style())) }
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
                            @if id == "map" && parallel.is_some() { a href="#parallel" { "Parallel" } }
                            a href={ "#" (id) } { (name) }
                        }
                    }
                }
                main {
                    @if let Some(said) = unmatched(view.whole) { p { strong { (said) } } }
                    (findings::findings(view))
                    (sections::requests(view))
                    (tail::tail(found.slowest))
                    @if let Some(parallel) = &parallel { (parallel) }
                    (sections::map(view))
                    (sections::components(view))
                    (sections::distributions(view))
                    (sections::time(view))
                    (sections::edges(view))
                    (sections::machine(view))
                    (neighbours::neighbours(view, found.guard))
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
