//! Which format a scraper wants.
//!
//! In: an `Accept` header. Out: a format and what it is called. Must not know: what is in it.

use courtside_export::prometheus::Form;

/// OpenMetrics was called so before it was one; it is the same text.
const EARLY: &str = "application/openmetrics-text; version=0.0.1; charset=utf-8";

/// What protobuf is called; each message stands after its length.
const PROTOBUF: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

/// A format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Format {
    /// Prometheus' text format.
    Text,
    /// OpenMetrics.
    Open,
    /// Protobuf, with native histograms.
    Protobuf,
}

/// The format asked for, and its name; protobuf only if histograms are native. Where nothing that we have is asked for, it is the plain text: a scraper that cannot
/// read it says so.
pub(super) fn format(accept: Option<&str>, native: bool) -> (Format, &'static str) {
    let mut best = (0u16, (Format::Text, Form::Text.content_type()));
    for range in accept.unwrap_or("").split(',').take(64) {
        let Some((quality, format)) = range_of(range) else {
            continue;
        };
        let is_offered = native || format.0 != Format::Protobuf;
        if quality > best.0 && is_offered {
            best = (quality, format);
        }
    }
    best.1
}

/// A range of media types that we can serve, with its quality in thousandths.
fn range_of(range: &str) -> Option<(u16, (Format, &'static str))> {
    let mut words = range.split(';').map(str::trim);
    let name = words.next()?.to_ascii_lowercase();
    let (mut quality, mut version) = (1000u16, None);
    let (mut message, mut encoding) = (None, None);
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let value = value.trim().trim_matches('"');
        match key.trim().to_ascii_lowercase().as_str() {
            "q" => quality = thousandths(value)?,
            "version" => version = Some(value.to_owned()),
            "proto" => message = Some(value.to_owned()),
            "encoding" => encoding = Some(value.to_owned()),
            _ => {}
        }
    }
    let text = (Format::Text, Form::Text.content_type());
    let open = (Format::Open, Form::OpenMetrics.content_type());
    let format = match (name.as_str(), version.as_deref()) {
        ("application/openmetrics-text", None | Some("1.0.0")) => open,
        ("application/openmetrics-text", Some("0.0.1")) => (Format::Open, EARLY),
        ("text/plain", None | Some("0.0.4")) | ("text/*" | "*/*", _) => text,
        ("application/vnd.google.protobuf", _)
            if message.as_deref() == Some("io.prometheus.client.MetricFamily")
                && encoding.as_deref() == Some("delimited") =>
        {
            (Format::Protobuf, PROTOBUF)
        }
        _ => return None,
    };
    Some((quality, format))
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
            assert_eq!(format(accept, false).1, expected, "{accept:?}");
        }
    }

    #[test]
    fn protobuf_is_for_native_histograms_only() {
        // What Prometheus 2.42 sends when it takes native histograms.
        let all = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,\
                   application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,\
                   text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(format(Some(all), true), (Format::Protobuf, PROTOBUF));
        assert_eq!(format(Some(all), false).0, Format::Open);
        for other in [
            "application/vnd.google.protobuf",
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text",
            "application/vnd.google.protobuf;proto=other;encoding=delimited",
            "*/*",
            "",
        ] {
            assert_eq!(format(Some(other), true).0, Format::Text, "{other}");
        }
    }
}
