//! Which of the two text formats a scraper wants.
//!
//! In: an `Accept` header. Out: a form and what it is called. Must not know: what is in it.

use courtside_export::prometheus::Form;

/// OpenMetrics was called so before it was one; it is the same text.
const EARLY: &str = "application/openmetrics-text; version=0.0.1; charset=utf-8";

/// The form asked for, and its name. Where nothing that we have is asked for, it is the plain text: a scraper that cannot
/// read it says so.
pub(super) fn form(accept: Option<&str>) -> (Form, &'static str) {
    let mut best = (0u16, (Form::Text, Form::Text.content_type()));
    for range in accept.unwrap_or("").split(',').take(64) {
        let Some((quality, form)) = range_of(range) else {
            continue;
        };
        if quality > best.0 {
            best = (quality, form);
        }
    }
    best.1
}

/// A range of media types that we can serve, with its quality in thousandths.
fn range_of(range: &str) -> Option<(u16, (Form, &'static str))> {
    let mut words = range.split(';').map(str::trim);
    let name = words.next()?.to_ascii_lowercase();
    let (mut quality, mut version) = (1000u16, None);
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let value = value.trim().trim_matches('"');
        match key.trim().to_ascii_lowercase().as_str() {
            "q" => quality = thousandths(value)?,
            "version" => version = Some(value.to_owned()),
            _ => {}
        }
    }
    let text = (Form::Text, Form::Text.content_type());
    let open = (Form::OpenMetrics, Form::OpenMetrics.content_type());
    let form = match (name.as_str(), version.as_deref()) {
        ("application/openmetrics-text", None | Some("1.0.0")) => open,
        ("application/openmetrics-text", Some("0.0.1")) => (Form::OpenMetrics, EARLY),
        ("text/plain", None | Some("0.0.4")) | ("text/*" | "*/*", _) => text,
        _ => return None,
    };
    Some((quality, form))
}

/// A quality between 0 and 1; anything else is none.
fn thousandths(text: &str) -> Option<u16> {
    let quality: f64 = text.parse().ok()?;
    (0.0..=1.0)
        .contains(&quality)
        .then_some((quality * 1000.0) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scraper_gets_what_it_likes_best() {
        let text = Form::Text.content_type();
        let open = Form::OpenMetrics.content_type();
        for (accept, expected) in [
            (None, text),
            (Some(""), text),
            (Some("*/*"), text),
            (Some("text/html"), text),
            (Some("application/openmetrics-text"), open),
            (Some("Application/OpenMetrics-Text; Version=1.0.0"), open),
            (Some("application/openmetrics-text;version=2.0.0"), text),
            (Some("application/openmetrics-text;version=0.0.1"), EARLY),
            // What Prometheus 2.42 and 3 send.
            (
                Some(
                    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                     text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                ),
                open,
            ),
            (
                Some(
                    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                     application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,\
                     text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                ),
                open,
            ),
            (
                Some("text/plain;version=0.0.4;q=0.9,application/openmetrics-text;q=0.5"),
                text,
            ),
            (Some("application/openmetrics-text;q=0"), text),
            (Some("application/openmetrics-text;q=nonsense"), text),
            (Some("application/openmetrics-text;q=7"), text),
        ] {
            assert_eq!(form(accept).1, expected, "{accept:?}");
        }
    }
}
