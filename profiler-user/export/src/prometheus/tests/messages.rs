//! The two forms that are no text hold the same as the text.

use prost::Message as _;

use super::*;
use crate::prometheus::{
    otlp::{self, KeyValue, NumberDataPoint, Reading, refused},
    protobuf::{BucketSpan, Metric, MetricFamily, MetricType},
};

/// All families of a page, by name.
fn families(mut bytes: &[u8]) -> BTreeMap<String, MetricFamily> {
    let mut all = BTreeMap::new();
    while !bytes.is_empty() {
        let family = MetricFamily::decode_length_delimited(&mut bytes).unwrap();
        assert!(!family.metric.is_empty());
        assert_eq!(all.insert(family.name().to_owned(), family), None);
    }
    all
}

/// A series as it stands in the text.
fn named(family: &str, labels: &[(String, String)]) -> String {
    if labels.is_empty() {
        return family.to_owned();
    }
    let labels: Vec<String> = labels
        .iter()
        .map(|(name, value)| {
            format!(
                "{name}=\"{}\"",
                value.replace('\\', "\\\\").replace('"', "\\\"")
            )
        })
        .collect();
    format!("{family}{{{}}}", labels.join(","))
}

fn labels(metric: &Metric) -> Vec<(String, String)> {
    let labels = metric.label.iter();
    labels
        .map(|label| (label.name().to_owned(), label.value().to_owned()))
        .collect()
}

fn windows() -> [Snapshot; 3] {
    [normal(1), lossy(2), unknown_pmu(3)]
}

#[test]
fn protobuf_has_every_number_of_the_text_and_native_histograms() {
    let windows = windows();
    let mut totals = Totals::new(50, LINGER_NS).with_native_histograms();
    for window in &windows {
        totals.add(window, &alive);
    }
    let last = windows.last().unwrap();
    let text = series(&written(&totals, Form::Text, last));
    let all = families(&totals.protobuf(Some(last), &agent()));
    let (mut numbers, mut histograms) = (0, 0);
    for (name, family) in &all {
        assert!(!family.help().is_empty(), "{name}");
        for metric in &family.metric {
            let labels = labels(metric);
            if family.r#type() == MetricType::Histogram {
                let histogram = metric.histogram.as_ref().unwrap();
                let of = |ending: &str| &text[&named(&format!("{name}{ending}"), &labels)];
                assert_eq!(&histogram.sample_count().to_string(), of("_count"));
                let sum: f64 = of("_sum").parse().unwrap();
                assert_eq!(histogram.sample_sum(), sum);
                let (mut count, mut counted) = (0, 0);
                for delta in &histogram.positive_delta {
                    count += delta;
                    assert!(count > 0);
                    counted += count;
                }
                let counted = counted.unsigned_abs() + histogram.zero_count();
                assert_eq!(counted, histogram.sample_count());
                let buckets: u32 = histogram.positive_span.iter().map(BucketSpan::length).sum();
                assert_eq!(buckets as usize, histogram.positive_delta.len());
                assert_eq!(histogram.schema(), 3);
                histograms += 1;
                continue;
            }
            let value = match family.r#type() {
                MetricType::Counter => metric.counter,
                _ => metric.gauge,
            };
            let expected: f64 = text[&named(name, &labels)].parse().unwrap();
            assert_eq!(value.unwrap().value(), expected, "{name} {labels:?}");
            numbers += 1;
        }
    }
    let is_of_histogram = |name: &&String| {
        let family = name.split('{').next().unwrap_or(name);
        ["_bucket", "_sum", "_count"]
            .iter()
            .any(|ending| family.ends_with(ending))
    };
    let plain = text.keys().filter(|name| !is_of_histogram(name)).count();
    assert_eq!(numbers, plain);
    assert!(histograms > 5, "{histograms}");
}

/// What a second is in native buckets is known: it ends bucket 0 of each schema.
#[test]
fn runs_of_buckets_are_where_the_values_are() {
    let mut window = normal(1);
    let kept = window.components.remove(0);
    window.components = vec![kept];
    window.edges.clear();
    let values = [1_000_000_000, 1_000_000_000, 1_200_000_000, 4_000_000_000];
    let raw = courtside_core::fixture::frames::raw(values);
    window.components[0].requests.service_ns = (&raw).into();
    let mut totals = Totals::new(50, LINGER_NS).with_native_histograms();
    totals.add(&window, &alive);
    let all = families(&totals.protobuf(Some(&window), &agent()));
    let metric = &all["courtside_service_seconds"].metric[0];
    let histogram = metric.histogram.as_ref().unwrap();
    assert_eq!((histogram.sample_count(), histogram.sample_sum()), (4, 7.2));
    let mut index = 0;
    let mut counts = BTreeMap::new();
    let mut deltas = histogram.positive_delta.iter();
    let mut count = 0;
    for span in &histogram.positive_span {
        index += span.offset();
        for _ in 0..span.length() {
            count += deltas.next().unwrap();
            counts.insert(index, count);
            index += 1;
        }
    }
    let upper = |bucket: i32| 2f64.powf(f64::from(bucket) / 8.0);
    let mut near = Vec::new();
    for (bucket, count) in counts {
        for _ in 0..count {
            near.push(upper(bucket));
        }
    }
    // The bucket of the kernel that has a second in it begins at 0.94 s.
    for (upper, value) in near.iter().zip([1.0, 1.0, 1.2, 4.0]) {
        assert!(upper / value > 0.93 && upper / value < 1.17, "{near:?}");
    }
    assert_eq!(near.len(), 4);
}

fn attributes(all: &[KeyValue]) -> Vec<(String, String)> {
    let text = |word: &KeyValue| {
        let value = word.value.as_ref().unwrap().string_value().to_owned();
        (word.key.clone(), value)
    };
    all.iter().map(text).collect()
}

fn real(point: &NumberDataPoint) -> f64 {
    point.as_double.unwrap_or_else(|| point.as_int() as f64)
}

#[test]
fn what_is_pushed_has_every_number_of_the_text_and_says_since_when() {
    let mut windows = windows();
    for (n, window) in (0..).zip(&mut windows) {
        window.window.start_unix_ns = 1_764_000_001_000_000_000 + n * 1_000_000_000;
    }
    let totals = totals(50, &windows);
    let last = windows.last().unwrap();
    let text = series(&written(&totals, Form::OpenMetrics, last));
    let request = otlp::Request::decode(totals.otlp(last, &agent()).as_slice()).unwrap();
    let resource = &request.resource_metrics[0];
    let host = attributes(&resource.resource.as_ref().unwrap().attributes);
    assert!(host.contains(&("host.name".to_owned(), last.host.hostname.clone())));
    assert!(host.contains(&("service.name".to_owned(), "courtside".to_owned())));
    let end_ns = last.window.start_unix_ns + last.window.duration_ns;
    let mut numbers = 0;
    for metric in &resource.scope_metrics[0].metrics {
        let name = &metric.name;
        let (points, ending) = match (&metric.sum, &metric.gauge) {
            (Some(sum), _) => {
                assert!(sum.is_monotonic && sum.aggregation_temporality == 2);
                (&sum.data_points, "_total")
            }
            (_, Some(gauge)) => (&gauge.data_points, ""),
            _ => {
                for point in &metric.histogram.as_ref().unwrap().data_points {
                    let labels = attributes(&point.attributes);
                    let count = &text[&named(&format!("{name}_count"), &labels)];
                    assert_eq!(&point.count.to_string(), count);
                    assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count);
                    assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
                    assert_eq!(metric.unit, "s");
                }
                continue;
            }
        };
        for point in points {
            let labels = attributes(&point.attributes);
            let expected: f64 = text[&named(&format!("{name}{ending}"), &labels)]
                .parse()
                .unwrap();
            assert_eq!(real(point), expected, "{name} {labels:?}");
            assert_eq!(point.time_unix_nano, end_ns);
            let since = point.start_time_unix_nano;
            assert!(
                metric.gauge.is_some() == (since == 0) && since <= end_ns,
                "{name}"
            );
            numbers += 1;
        }
    }
    assert!(numbers > 100, "{numbers}");
}

#[test]
fn a_series_that_begins_anew_says_so() {
    let component = |second: u64, name: &str| {
        let mut window = normal(1);
        window.window.start_unix_ns = second * 1_000_000_000;
        window.window.duration_ns = 1_000_000_000;
        window.edges.clear();
        window.components.truncate(1);
        window.components[0].id = name.to_owned();
        window.components[0].processes.clear();
        window
    };
    let mut totals = Totals::new(10, 1_500_000_000);
    let windows =
        [(1, "a"), (2, "b"), (3, "b"), (4, "b"), (5, "a")].map(|(n, id)| component(n, id));
    for window in &windows {
        totals.add(window, &dead);
    }
    let last = windows.last().unwrap();
    let request = otlp::Request::decode(totals.otlp(last, &agent()).as_slice()).unwrap();
    let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
    let served = metrics
        .iter()
        .find(|metric| metric.name == "courtside_requests");
    let points = &served.unwrap().sum.as_ref().unwrap().data_points;
    let since: BTreeMap<String, u64> = points
        .iter()
        .map(|point| {
            let component = attributes(&point.attributes).remove(0).1;
            (component, point.start_time_unix_nano / 1_000_000_000)
        })
        .collect();
    // What a had first is in other, and so is when that began.
    let expected = [("a", 5), ("b", 2), ("other", 1)];
    let expected = expected.map(|(name, second)| (name.to_owned(), second));
    assert_eq!(since, BTreeMap::from(expected));
}

#[test]
fn a_collector_says_what_it_did_not_take() {
    assert_eq!(refused(b""), Reading::All);
    assert_eq!(refused(b"\xff\xff nonsense"), Reading::All);
    let answer = otlp::Response {
        partial_success: Some(otlp::PartialSuccess {
            rejected_data_points: 3,
            error_message: "too\nold".to_owned(),
        }),
    };
    let Reading::Refused { numbers, why } = refused(&answer.encode_to_vec()) else {
        panic!("it was taken");
    };
    assert!(numbers == 3 && !why.contains('\n'), "{why}");
}
