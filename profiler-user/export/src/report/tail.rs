//! Why the slowest requests are slow, as a section of the page.
//!
//! In: what the analysis found, or why it found nothing. Out: HTML. Must not know: how a request is followed.

use maud::{Markup, html};

use super::picks::rest;
use super::sections::section;
use crate::tail::{by_whom, most_of_it, name, signed, when, words};
use courtside_core::model::tail::{Difference, Tail};
use courtside_core::model::visible::visible;
use courtside_core::units::{UNKNOWN, count, duration, duration_f64, percent, signed_percent};

/// Most differences and requests that have a row.
const MAX_ROWS: usize = 12;

/// What is known of the slowest requests; nothing, if no single events were recorded.
pub(super) fn tail(found: Option<&Result<Tail, String>>) -> Markup {
    section(
        "tail",
        "Why the slowest hundredth of requests is slow: what they have more of than the median, in which component, and whose \
         doing it is: of run queue whom the CPU was given to, of sleep whose thread ended it.",
        match found {
            None => html! {
                p.none { "One request is told from another only by single events: courtside record --events -o FILE." }
            },
            Some(Err(why)) => html! { p.none { "It cannot be told: " (visible(why)) "." } },
            Some(Ok(tail)) => told(tail),
        },
    )
}

fn told(tail: &Tail) -> Markup {
    let shown = tail.differences.len().min(MAX_ROWS);
    html! {
        p {
            b { (name(&tail.entry)) @if tail.port > 0 { ":" (tail.port) } }
            " · the slowest " (percent(tail.slow_share)) ", " (count(tail.slow.count)) " of " (count(tail.requests)) " requests, took "
            (duration(tail.threshold_ns)) " or more, " b { (duration_f64(tail.slow.mean_ns)) } " on average; the median took "
            b { (duration_f64(tail.median.mean_ns)) } "."
        }
        div.table {
            table {
                thead {
                    tr {
                        th { "Where" } th { "What" } th.n { "Slow" } th.n { "Median" } th.n { "More" } th.n { "Share" }
                        th.n.p2 { "Seen in" } th.p2 { "By whom" }
                    }
                }
                tbody {
                    @for difference in tail.differences.iter().take(shown) { (row(difference, tail.slow.count)) }
                }
            }
        }
        (rest(shown, tail.differences.len(), "differences", "the greatest", "courtside tail FILE -F json"))
        @if !tail.exemplars.is_empty() {
            div.table {
                table {
                    thead { tr { th { "Slowest, arrived" } th.n { "Service" } th { "Most of it" } th.p2 { "Woken by" } } }
                    tbody {
                        @for exemplar in tail.exemplars.iter().take(MAX_ROWS) {
                            tr {
                                td { (when(exemplar.start_unix_ns)) }
                                td.n { (duration(exemplar.service_ns)) }
                                td.text { (most_of_it(exemplar)) }
                                td.wrap.p2 {
                                    @if let Some(waker) = &exemplar.waker {
                                        (name(&waker.component))
                                        @if let Some(comm) = &waker.comm { " (" (visible(comm)) " " (waker.tid) ")" }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
        @for not_told in &tail.not_told { p.more { (visible(&not_told.says)) "." } }
        @for remark in &tail.remarks { p.more { (visible(remark)) "." } }
    }
}

fn row(difference: &Difference, slow: u64) -> Markup {
    html! {
        tr {
            td.wrap { @match &difference.component { Some(id) => { (name(id)) }, None => { "between them" } } }
            td { (words(&difference.part)) }
            td.n { (signed(difference.slow_ns)) }
            td.n { (signed(difference.median_ns)) }
            td.n { (signed(difference.more_ns)) }
            td.n { @match difference.share { Some(share) => { (signed_percent(share)) }, None => { (UNKNOWN) } } }
            td.n.p2 { (count(difference.seen_in)) " of " (count(slow)) }
            td.text.p2 { (by_whom(&difference.by)) }
        }
    }
}
