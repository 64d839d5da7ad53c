//! The protobuf form of metrics, with native histograms, and the few messages that it takes, with their field numbers.
//!
//! In: families, labels, numbers. Out: messages, each after its length. Must not know: what they mean.

use prost::Message as _;

use super::{
    family::{Family, Kind},
    group::{Fine, SCHEMA, Sizes},
    write::{Key, Label, Number, Sink},
};

/// What is up to this far from zero would be in the bucket of zero: half a nanosecond, so that only zeros are.
const ZERO_SECONDS: f64 = 0.5e-9;

/// A family, as in metrics.proto of Prometheus' client model.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MetricFamily {
    /// With the ending of a counter.
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    /// What it means.
    #[prost(string, optional, tag = "2")]
    pub help: Option<String>,
    /// Its kind: [`MetricType`].
    #[prost(enumeration = "MetricType", optional, tag = "3")]
    pub r#type: Option<i32>,
    /// Its series.
    #[prost(message, repeated, tag = "4")]
    pub metric: Vec<Metric>,
}

/// Kinds of families.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum MetricType {
    /// It only grows.
    Counter = 0,
    /// It is what it is now.
    Gauge = 1,
    /// Not used here.
    Summary = 2,
    /// Not used here.
    Untyped = 3,
    /// Counts of values by size.
    Histogram = 4,
}

/// A series.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Metric {
    /// Its labels.
    #[prost(message, repeated, tag = "1")]
    pub label: Vec<LabelPair>,
    /// If it is a gauge.
    #[prost(message, optional, tag = "2")]
    pub gauge: Option<Value>,
    /// If it is a counter.
    #[prost(message, optional, tag = "3")]
    pub counter: Option<Value>,
    /// If it is a histogram.
    #[prost(message, optional, tag = "7")]
    pub histogram: Option<Histogram>,
}

/// A label.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LabelPair {
    /// Its name.
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    /// Its value.
    #[prost(string, optional, tag = "2")]
    pub value: Option<String>,
}

/// The number of a gauge or a counter.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Value {
    /// The number.
    #[prost(double, optional, tag = "1")]
    pub value: Option<f64>,
}

/// A native histogram: buckets a factor of 2^(1 / 2^schema) apart, those with values only.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Histogram {
    /// How many values.
    #[prost(uint64, optional, tag = "1")]
    pub sample_count: Option<u64>,
    /// Their sum.
    #[prost(double, optional, tag = "2")]
    pub sample_sum: Option<f64>,
    /// How far bounds are apart.
    #[prost(sint32, optional, tag = "5")]
    pub schema: Option<i32>,
    /// What is no further from zero is in the bucket of zero.
    #[prost(double, optional, tag = "6")]
    pub zero_threshold: Option<f64>,
    /// How many are in that.
    #[prost(uint64, optional, tag = "7")]
    pub zero_count: Option<u64>,
    /// Runs of buckets.
    #[prost(message, repeated, tag = "12")]
    pub positive_span: Vec<BucketSpan>,
    /// What each bucket has more than the one before it.
    #[prost(sint64, repeated, packed = "false", tag = "13")]
    pub positive_delta: Vec<i64>,
}

/// A run of buckets.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct BucketSpan {
    /// Buckets between the run before it and this one; for the first one, its index.
    #[prost(sint32, optional, tag = "1")]
    pub offset: Option<i32>,
    /// Buckets in it.
    #[prost(uint32, optional, tag = "2")]
    pub length: Option<u32>,
}

/// The bytes so far, and the family that is being written.
#[derive(Debug, Default)]
pub(super) struct Protobuf {
    bytes: Vec<u8>,
    family: MetricFamily,
}

impl Protobuf {
    /// Writes the family. One without series is left out, as Prometheus does.
    fn flush(&mut self) {
        let family = std::mem::take(&mut self.family);
        if !family.metric.is_empty() {
            self.bytes.extend(family.encode_length_delimited_to_vec());
        }
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.flush();
        self.bytes
    }
}

impl Sink for Protobuf {
    fn head(&mut self, family: &Family) {
        self.flush();
        let (ending, kind) = match family.kind {
            Kind::Counter => ("_total", MetricType::Counter),
            Kind::Info => ("_info", MetricType::Gauge),
            Kind::Gauge => ("", MetricType::Gauge),
            Kind::Histogram => ("", MetricType::Histogram),
        };
        self.family = MetricFamily {
            name: Some(format!("{}{ending}", family.name)),
            help: Some(family.words.text()),
            r#type: Some(kind.into()),
            metric: Vec::new(),
        };
    }

    fn number(&mut self, family: &Family, key: &Key, number: Number) {
        let value = Some(Value {
            value: Some(number.real()),
        });
        let is_counter = family.kind == Kind::Counter;
        self.family.metric.push(Metric {
            label: pairs(&key.labels),
            gauge: value.filter(|_| !is_counter),
            counter: value.filter(|_| is_counter),
            histogram: None,
        });
    }

    fn histogram(&mut self, _: &Family, key: &Key, sizes: &Sizes) {
        self.family.metric.push(Metric {
            label: pairs(&key.labels),
            gauge: None,
            counter: None,
            histogram: Some(histogram(sizes)),
        });
    }
}

fn pairs(labels: &[Label]) -> Vec<LabelPair> {
    let pair = |label: &Label| LabelPair {
        name: Some(label.name.to_owned()),
        value: Some(label.value.clone()),
    };
    labels.iter().map(pair).collect()
}

fn histogram(sizes: &Sizes) -> Histogram {
    let nothing = Fine::default();
    let fine = sizes.fine.as_deref().unwrap_or(&nothing);
    let (mut spans, mut deltas) = (Vec::<BucketSpan>::new(), Vec::new());
    let (mut after, mut before) = (None::<i32>, 0u64);
    for (&index, &count) in &fine.counts {
        let gap = index.saturating_sub(after.unwrap_or(0));
        match spans.last_mut() {
            Some(span) if gap == 0 => span.length = span.length.map(|n| n.saturating_add(1)),
            _ => spans.push(BucketSpan {
                offset: Some(gap),
                length: Some(1),
            }),
        }
        deltas.push(count.cast_signed().wrapping_sub(before.cast_signed()));
        (after, before) = (Some(index.saturating_add(1)), count);
    }
    Histogram {
        sample_count: Some(sizes.count()),
        sample_sum: Some(Number::Ns(sizes.sum_ns).real()),
        schema: Some(SCHEMA),
        zero_threshold: Some(ZERO_SECONDS),
        zero_count: Some(fine.zeros),
        positive_span: spans,
        positive_delta: deltas,
    }
}
