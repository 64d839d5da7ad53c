//! The same expressions for native histograms: a series holds a whole histogram, and there are no `_bucket`, `_sum` and `_count`.
//!
//! In: an expression for classic histograms. Out: one for native ones, with the same labels. Must not know: what it is for.

use crate::prometheus::{Kind, families};

/// What classic histograms have instead of one series, and what asks a native one for it.
const PARTS: [(&str, &str); 2] = [("_sum", "histogram_sum"), ("_count", "histogram_count")];

/// An expression for native histograms.
pub(super) fn native(expression: &str) -> String {
    let mut text = expression.to_owned();
    for family in families() {
        if family.kind != Kind::Histogram {
            continue;
        }
        for (ending, function) in PARTS {
            text = wrapped(
                &text,
                &format!("rate({}{ending}", family.name),
                function,
                ending,
            );
        }
        text = text.replace(&format!("{}_bucket", family.name), &family.name);
    }
    // The bounds of buckets are no label.
    text.replace("by (le,", "by (").replace(", le)", ")")
}

/// Puts a function around each rate that begins so, and takes the ending of its metric away.
fn wrapped(text: &str, begin: &str, function: &str, ending: &str) -> String {
    let mut made = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(begin) {
        // Selectors have no parentheses: the rate ends with the first one.
        let (arguments, after) = after.split_once(')').unwrap();
        let metric = begin.strip_suffix(ending).unwrap();
        made += &format!("{before}{function}({metric}{arguments}))");
        rest = after;
    }
    made + rest
}

#[test]
fn what_asks_for_parts_of_a_classic_histogram_asks_a_native_one() {
    for (classic, expected) in [
        (
            "histogram_quantile(0.99, sum by (le,component) (rate(courtside_service_seconds_bucket{a=\"b\"}[5m])))",
            "histogram_quantile(0.99, sum by (component) (rate(courtside_service_seconds{a=\"b\"}[5m])))",
        ),
        (
            "sum by (x) (rate(courtside_service_seconds_sum{a=\"b\"}[5m])) / (sum by (x) (rate(courtside_service_seconds_count[5m])) > 0)",
            "sum by (x) (histogram_sum(rate(courtside_service_seconds{a=\"b\"}[5m]))) / (sum by (x) (histogram_count(rate(courtside_service_seconds[5m]))) > 0)",
        ),
        (
            "rate(courtside_requests_total[5m])",
            "rate(courtside_requests_total[5m])",
        ),
    ] {
        assert_eq!(native(classic), expected);
    }
}
