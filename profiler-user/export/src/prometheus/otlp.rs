//! The same numbers as a message of OpenTelemetry's protocol, and the few messages that it takes, with their field numbers.
//!
//! In: families, labels, numbers. Out: one request of the metrics service. Must not know: HTTP, what the numbers mean.
//!
//! Names are those of `/metrics` without the endings that only its text has; units are those of UCUM, as the protocol wants.

use courtside_core::model::visible::visible;
use prost::Message as _;

use super::{
    family::{Family, Kind, Unit},
    group::{Sizes, bounds_ns},
    write::{Key, Label, Number, Sink},
};

/// Sums are those since the start time.
const CUMULATIVE: i32 = 2;

/// `ExportMetricsServiceRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Request {
    /// One for the host.
    #[prost(message, repeated, tag = "1")]
    pub resource_metrics: Vec<ResourceMetrics>,
}

/// `ExportMetricsServiceResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Response {
    /// What was not taken.
    #[prost(message, optional, tag = "1")]
    pub partial_success: Option<PartialSuccess>,
}

/// `ExportMetricsPartialSuccess`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PartialSuccess {
    /// How many numbers were refused.
    #[prost(int64, tag = "1")]
    pub rejected_data_points: i64,
    /// Why.
    #[prost(string, tag = "2")]
    pub error_message: String,
}

/// What a resource says.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ResourceMetrics {
    /// Who says it.
    #[prost(message, optional, tag = "1")]
    pub resource: Option<Resource>,
    /// By library; one.
    #[prost(message, repeated, tag = "2")]
    pub scope_metrics: Vec<ScopeMetrics>,
}

/// Who says it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Resource {
    /// In words.
    #[prost(message, repeated, tag = "1")]
    pub attributes: Vec<KeyValue>,
}

/// What a library says.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ScopeMetrics {
    /// Which.
    #[prost(message, optional, tag = "1")]
    pub scope: Option<Scope>,
    /// Families.
    #[prost(message, repeated, tag = "2")]
    pub metrics: Vec<Metric>,
}

/// `InstrumentationScope`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Scope {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its version.
    #[prost(string, tag = "2")]
    pub version: String,
}

/// A word about something.
#[derive(Clone, PartialEq, prost::Message)]
pub struct KeyValue {
    /// Its name.
    #[prost(string, tag = "1")]
    pub key: String,
    /// Its value.
    #[prost(message, optional, tag = "2")]
    pub value: Option<AnyValue>,
}

/// A value; only texts are used.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AnyValue {
    /// The text.
    #[prost(string, optional, tag = "1")]
    pub string_value: Option<String>,
}

/// A family.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Metric {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// What it means.
    #[prost(string, tag = "2")]
    pub description: String,
    /// Its unit.
    #[prost(string, tag = "3")]
    pub unit: String,
    /// If it is what it is now.
    #[prost(message, optional, tag = "5")]
    pub gauge: Option<Gauge>,
    /// If it only grows.
    #[prost(message, optional, tag = "7")]
    pub sum: Option<Sum>,
    /// If it is a histogram.
    #[prost(message, optional, tag = "9")]
    pub histogram: Option<Histogram>,
}

/// Numbers that are what they are now.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Gauge {
    /// By labels.
    #[prost(message, repeated, tag = "1")]
    pub data_points: Vec<NumberDataPoint>,
}

/// Numbers that only grow.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Sum {
    /// By labels.
    #[prost(message, repeated, tag = "1")]
    pub data_points: Vec<NumberDataPoint>,
    /// Always 2: since the start time.
    #[prost(int32, tag = "2")]
    pub aggregation_temporality: i32,
    /// Always true.
    #[prost(bool, tag = "3")]
    pub is_monotonic: bool,
}

/// Histograms.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Histogram {
    /// By labels.
    #[prost(message, repeated, tag = "1")]
    pub data_points: Vec<HistogramDataPoint>,
    /// Always 2: since the start time.
    #[prost(int32, tag = "2")]
    pub aggregation_temporality: i32,
}

/// A number.
#[derive(Clone, PartialEq, prost::Message)]
pub struct NumberDataPoint {
    /// When the sum was 0.
    #[prost(fixed64, tag = "2")]
    pub start_time_unix_nano: u64,
    /// When it was read.
    #[prost(fixed64, tag = "3")]
    pub time_unix_nano: u64,
    /// In seconds,
    #[prost(double, optional, tag = "4")]
    pub as_double: Option<f64>,
    /// or a whole number.
    #[prost(sfixed64, optional, tag = "6")]
    pub as_int: Option<i64>,
    /// Its labels.
    #[prost(message, repeated, tag = "7")]
    pub attributes: Vec<KeyValue>,
}

/// A histogram.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HistogramDataPoint {
    /// When there were no values.
    #[prost(fixed64, tag = "2")]
    pub start_time_unix_nano: u64,
    /// When it was read.
    #[prost(fixed64, tag = "3")]
    pub time_unix_nano: u64,
    /// How many values.
    #[prost(fixed64, tag = "4")]
    pub count: u64,
    /// Their sum.
    #[prost(double, optional, tag = "5")]
    pub sum: Option<f64>,
    /// Values by bucket, one more than bounds.
    #[prost(fixed64, repeated, tag = "6")]
    pub bucket_counts: Vec<u64>,
    /// The largest value of each bucket but the last.
    #[prost(double, repeated, tag = "7")]
    pub explicit_bounds: Vec<f64>,
    /// Its labels.
    #[prost(message, repeated, tag = "9")]
    pub attributes: Vec<KeyValue>,
}

/// The request that is being written.
#[derive(Debug)]
pub(super) struct Otlp {
    now_ns: u64,
    metrics: Vec<Metric>,
}

impl Otlp {
    /// All numbers are of this time.
    pub(super) fn new(now_ns: u64) -> Self {
        Self {
            now_ns,
            metrics: Vec::new(),
        }
    }

    /// The whole request, of a host of which these words are known.
    pub(super) fn finish(mut self, version: &str, host: &[(&str, &str)]) -> Vec<u8> {
        self.metrics.retain(Metric::has_points);
        let resource = Resource {
            attributes: host.iter().map(|(key, value)| word(key, value)).collect(),
        };
        let scope = Scope {
            name: "courtside".to_owned(),
            version: version.to_owned(),
        };
        let request = Request {
            resource_metrics: vec![ResourceMetrics {
                resource: Some(resource),
                scope_metrics: vec![ScopeMetrics {
                    scope: Some(scope),
                    metrics: self.metrics,
                }],
            }],
        };
        request.encode_to_vec()
    }
}

impl Metric {
    fn has_points(&self) -> bool {
        let gauge = self
            .gauge
            .as_ref()
            .is_some_and(|it| !it.data_points.is_empty());
        let sum = self
            .sum
            .as_ref()
            .is_some_and(|it| !it.data_points.is_empty());
        let sizes = self.histogram.as_ref();
        gauge || sum || sizes.is_some_and(|it| !it.data_points.is_empty())
    }
}

impl Sink for Otlp {
    fn head(&mut self, family: &Family) {
        let (mut gauge, mut sum, mut histogram) = (None, None, None);
        match family.kind {
            Kind::Counter => {
                sum = Some(Sum {
                    data_points: Vec::new(),
                    aggregation_temporality: CUMULATIVE,
                    is_monotonic: true,
                });
            }
            Kind::Gauge | Kind::Info => gauge = Some(Gauge::default()),
            Kind::Histogram => {
                histogram = Some(Histogram {
                    data_points: Vec::new(),
                    aggregation_temporality: CUMULATIVE,
                });
            }
        }
        let unit = match family.unit {
            Unit::Ns => "s",
            Unit::Bytes => "By",
            Unit::Number => "1",
        };
        let ending = if family.kind == Kind::Info {
            "_info"
        } else {
            ""
        };
        self.metrics.push(Metric {
            name: format!("{}{ending}", family.name),
            description: family.words.text(),
            unit: unit.to_owned(),
            gauge,
            sum,
            histogram,
        });
    }

    fn number(&mut self, _: &Family, key: &Key, number: Number) {
        let now_ns = self.now_ns;
        let Some(metric) = self.metrics.last_mut() else {
            return;
        };
        let (as_double, as_int) = match number {
            Number::Ns(_) => (Some(number.real()), None),
            Number::Count(count) => match i64::try_from(count) {
                Ok(count) => (None, Some(count)),
                Err(_) => (Some(number.real()), None),
            },
        };
        let is_sum = metric.sum.is_some();
        let point = NumberDataPoint {
            start_time_unix_nano: if is_sum { key.since_ns.min(now_ns) } else { 0 },
            time_unix_nano: now_ns,
            as_double,
            as_int,
            attributes: words(&key.labels),
        };
        if let Some(sum) = &mut metric.sum {
            sum.data_points.push(point);
        } else if let Some(gauge) = &mut metric.gauge {
            gauge.data_points.push(point);
        }
    }

    fn histogram(&mut self, _: &Family, key: &Key, sizes: &Sizes) {
        let now_ns = self.now_ns;
        let histogram = self.metrics.last_mut();
        let Some(histogram) = histogram.and_then(|metric| metric.histogram.as_mut()) else {
            return;
        };
        histogram.data_points.push(HistogramDataPoint {
            start_time_unix_nano: key.since_ns.min(now_ns),
            time_unix_nano: now_ns,
            count: sizes.count(),
            sum: Some(Number::Ns(sizes.sum_ns).real()),
            bucket_counts: sizes.counts.to_vec(),
            explicit_bounds: bounds_ns().map(|bound| Number::Ns(bound).real()).collect(),
            attributes: words(&key.labels),
        });
    }
}

/// What a collector says of a request that it has taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// All of it was taken, or it does not say.
    All,
    /// Some was not.
    Refused {
        /// How many numbers.
        numbers: i64,
        /// Why.
        why: String,
    },
}

/// Reads the answer to a request that was taken.
#[must_use]
pub fn refused(answer: &[u8]) -> Reading {
    let partial = Response::decode(answer).ok();
    match partial.and_then(|response| response.partial_success) {
        Some(partial) if partial.rejected_data_points > 0 => Reading::Refused {
            numbers: partial.rejected_data_points,
            why: visible(&partial.error_message).into_owned(),
        },
        _ => Reading::All,
    }
}

fn words(labels: &[Label]) -> Vec<KeyValue> {
    let words = labels.iter();
    words.map(|label| word(label.name, &label.value)).collect()
}

fn word(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            string_value: Some(value.to_owned()),
        }),
    }
}
