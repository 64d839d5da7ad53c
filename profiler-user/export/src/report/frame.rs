//! The frame of a page that needs no script: head, style, sections, footer.
//!
//! In: a title, styles, what stands on top and below. Out: HTML that loads nothing. Must not know: what the page is about.

use maud::{DOCTYPE, Markup, PreEscaped, Render, html};

const STYLE: &str = include_str!("report.css");
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/// A page: its title, its own styles after those of all pages, the header below the title, the sections.
pub(super) fn frame(
    title: &str,
    styles: &[&str],
    header: impl Render,
    main: impl Render,
) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="generator" content={ "courtside " (env!("CARGO_PKG_VERSION")) };
                link rel="icon" href="data:,";
                title { (title) " · courtside" }
                style { (PreEscaped(STYLE)) @for style in styles { (PreEscaped(style)) } }
            }
            body {
                header {
                    h1 { (title) }
                    (header)
                }
                main { (main) }
                footer { p { "Made by courtside " (env!("CARGO_PKG_VERSION")) "." } }
            }
        }
    };
    page.into_string()
}

/// A section with its heading.
pub(super) fn section(id: &str, name: &str, body: impl Render) -> Markup {
    html! { section id=(id) { h2 { (name) } (body) } }
}
