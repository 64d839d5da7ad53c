//! What is wrong, on top of the page.
//!
//! In: a view of a snapshot. Out: HTML. Must not know: the rules.

use maud::{Markup, html};

use super::ReportView;
use super::picks::rest;
use super::sections::section;
use courtside_core::units::percent;

/// Most findings that are shown: fix the worst first.
const MAX_FINDINGS: usize = 12;

pub(super) fn findings(view: &ReportView<'_>) -> Markup {
    let findings = &view.whole.findings;
    let hidden = findings.len().saturating_sub(MAX_FINDINGS);
    section(
        "findings",
        "What makes a request slower than necessary, the worst first, and what to do about it. Nothing is judged with too few \
         requests, with requests that cannot be told apart, or with losses.",
        html! {
            @if findings.is_empty() {
                p.good { "Nothing was found." }
            }
            @for finding in findings.iter().take(MAX_FINDINGS) {
                div class={ "finding " (finding.severity.name()) } {
                    p { b { (finding.severity.name()) } " " (finding.says) "." }
                    p { (finding.remedy) "." }
                    p.more {
                        (finding.rule) ", " (percent(finding.confidence)) " sure; rests on "
                        @for (n, evidence) in finding.evidence.iter().enumerate() {
                            @if n > 0 { ", " }
                            (evidence.what()) " " span.nowrap { (evidence.how_much()) }
                        }
                    }
                }
            }
            (rest(findings.len() - hidden, findings.len(), "findings", "the worst", "courtside export -F json"))
        },
    )
}
