//! Tail: why the slowest requests are slow. The JSON of schema `courtside.tail/1`.
//!
//! In: nothing (plain data, filled by the crate `analysis`). Out: what file, screen and page show. Must not know: how a
//! request is followed.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::snapshot::{Court, Dist};

/// Name and version of the schema.
pub const TAIL_SCHEMA: &str = "courtside.tail/1";

/// The slowest requests at an entry held against the median, part by part.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Tail {
    /// Always `courtside.tail/1`.
    pub schema: String,
    /// What it rests on.
    pub source: TailSource,
    /// Component id of the entry.
    pub entry: String,
    /// Its port; 0 for Unix sockets.
    pub port: u16,
    /// Requests served there that have a time, and were followed from their arrival to their answer.
    pub requests: u64,
    /// Requests served there without a time: several were open at once on their connection, so that it is not known which
    /// answer belongs to which. They are in nothing here.
    pub untimed: u64,
    /// Requests of which no answer was seen, or not the beginning.
    pub unfinished: u64,
    /// Service times of all requests that have one.
    pub service_ns: Dist,
    /// How many of all requests the slow ones are, as a share of 1: 0.01, or less where there were more than can be kept.
    pub slow_share: f64,
    /// Service time of the fastest of the slow ones.
    pub threshold_ns: u64,
    /// The mean of the slow ones.
    pub slow: TailGroup,
    /// The mean of the middle fifth: from the 40th to the 60th percentile of a uniform sample, which is all requests where
    /// there are at most 4096.
    pub median: TailGroup,
    /// What is different in the slow ones, what is most first. Together they are slow.mean_ns - median.mean_ns, as long as no
    /// held time is null.
    pub differences: Vec<Difference>,
    /// The slowest requests, one by one, the slowest first.
    pub exemplars: Vec<Exemplar>,
    /// Work that could not be told to belong to one request; it is in none of the courts.
    pub not_told: Vec<NotTold>,
    /// What has to be known to read this, in words.
    pub remarks: Vec<String>,
}

/// What an answer rests on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TailSource {
    /// Names of the recordings.
    pub files: Vec<String>,
    /// Windows in them.
    pub windows: u64,
    /// Time measured.
    pub duration_ns: u64,
    /// Single events that were looked at.
    pub events: u64,
    /// What was lost, by class; those of which nothing was lost are left out.
    pub lost: BTreeMap<String, u64>,
}

/// The mean of several requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TailGroup {
    /// How many.
    pub count: u64,
    /// Mean service time: the sum of the courts' unread, turnaround and held, and of network_ns and other_ns.
    pub mean_ns: f64,
    /// The components that they passed, per request, those with most time first.
    pub courts: Vec<TailCourt>,
    /// Latency minus service time of the calls, per request.
    pub network_ns: f64,
    /// What cannot be placed on a component, per request: calls that could not be followed to the other end, what was held where
    /// that is not known of each request, and components beyond the 64 with most time. Negative where components worked beside
    /// the way of the request.
    pub other_ns: f64,
}

/// A component's share of requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TailCourt {
    /// As in the entries of a snapshot.
    #[serde(flatten)]
    pub court: Court,
    /// Whom the CPU was given to while its threads were runnable on it; sums to run_queue_ns.
    pub run_queue_by: Vec<By>,
    /// Whose threads ended its sleep; sums to sleep_ns.
    pub sleep_by: Vec<By>,
    /// Its turnarounds by who received the send that ended them; sums to turnaround_ns, except of a remote end.
    pub by_recipient: Vec<By>,
}

/// Time that is another component's doing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct By {
    /// Component id, or `idle` (the CPU was idle, or the thread on its way to it), `interrupt` (a timer or a device), `others`
    /// (more than are kept one by one) or `unknown` (the events do not tell).
    pub component: String,
    /// How long, per request.
    pub ns: f64,
}

/// A part of a request's time that differs between the slow ones and the median.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Difference {
    /// Component id; null for `network` and `other`.
    pub component: Option<String>,
    /// Which part: `unread`, `on_cpu`, `run_queue`, `block_io`, `sleep`, `queued`, `receiving`, `handed_over`, `held`, `remote`
    /// (the whole latency towards a remote end), `network` or `other`.
    pub part: String,
    /// How much more the slow ones have of it, per request; negative for less.
    pub more_ns: f64,
    /// How much the slow ones have.
    pub slow_ns: f64,
    /// How much the median has.
    pub median_ns: f64,
    /// Share of the whole difference, of 1; null where the slow ones are not slower.
    pub share: Option<f64>,
    /// How many of the slow requests have more of it than any request of the median group. What only a few have is no rule.
    pub seen_in: u64,
    /// Of `run_queue`: whom the CPU was given to; of `sleep`: whose threads ended it. What is more of it in the slow ones, so
    /// that it sums to more_ns. Empty for other parts.
    pub by: Vec<By>,
    /// The same in one sentence.
    pub says: String,
}

/// One of the slowest requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Exemplar {
    /// When it arrived, by the wall clock.
    pub start_unix_ns: u64,
    /// Its service time.
    pub service_ns: u64,
    /// The components that it passed, those with most time first.
    pub courts: Vec<TailCourt>,
    /// Latency minus service time of its calls.
    pub network_ns: f64,
    /// What cannot be placed on a component.
    pub other_ns: f64,
    /// Who ended the longest sleep in it; null where it has no sleep, or no wake-up was told.
    pub waker: Option<Waker>,
}

/// Who woke a thread.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Waker {
    /// Its component id; `interrupt` for a timer or a device.
    pub component: String,
    /// The thread; 0 for an interrupt.
    pub tid: u32,
    /// Its name, if it is known.
    pub comm: Option<String>,
    /// Component id of the thread that slept.
    pub sleeper: String,
    /// How long that slept.
    pub sleep_ns: u64,
}

/// Turnarounds of a component that could not be told to belong to one request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NotTold {
    /// Component id.
    pub component: String,
    /// How many.
    pub turnarounds: u64,
    /// Their sum.
    pub total_ns: u64,
    /// Its turnarounds that could be told.
    pub told: u64,
    /// Why, in words.
    pub says: String,
}
