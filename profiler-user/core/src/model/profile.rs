//! Profile: what a request takes of each component, as functions of the rate. The JSON of schema `courtside.profile/1`.
//!
//! In: nothing (plain data, filled by the crate `analysis`). Out: what a file holds, and what predictions are made from. Must
//! not know: how it is fitted, what is predicted.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::snapshot::ComponentKind;

/// Name and version of the schema.
pub const PROFILE_SCHEMA: &str = "courtside.profile/1";

/// What a request takes of each component.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Profile {
    /// Always `courtside.profile/1`.
    pub schema: String,
    /// Where requests enter: component id, and port where it is one; several are joined by ` + `.
    pub entry: String,
    /// The same, each by itself, with its share of all requests.
    pub entries: Vec<EntryShare>,
    /// The recordings that it rests on.
    pub sources: Vec<ProfileSource>,
    /// Lowest and highest rate that it was fitted to, requests a second.
    pub rate_range_per_s: [f64; 2],
    /// The machines.
    pub nodes: Vec<ProfiledNode>,
    /// The components that a request passes, and the remote ends that they call.
    pub components: Vec<ProfiledComponent>,
    /// Who calls whom on the way of a request.
    pub edges: Vec<ProfiledEdge>,
    /// What was measured of a request at the entry, by rate, lowest first.
    pub measured: Vec<MeasuredResponse>,
    /// Mean time that a client waited after a reply before it asked again; null with the reason in `unknown`.
    pub think_time_ns: Option<f64>,
    /// CPU time of Courtside's kernel programs for each request, which is deducted from `cpu` of the components in proportion to
    /// their messages and switches; null where it was not measured, and then nothing is deducted.
    pub self_cost_ns_per_request: Option<f64>,
    /// What is null or left out, and why.
    pub unknown: Vec<Unknown>,
    /// What else to know about it: windows and recordings that were left out, counts that are lower bounds.
    pub remarks: Vec<String>,
}

/// A place where requests enter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EntryShare {
    /// Component id.
    pub component: String,
    /// Its port; 0 for Unix sockets, or where there are several.
    pub port: u16,
    /// Share of all requests, of 1.
    pub share: f64,
}

/// A recording that a profile rests on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProfileSource {
    /// Name of the file.
    pub file: String,
    /// Windows that it has.
    pub windows: u64,
    /// Time measured.
    pub duration_ns: u64,
    /// Requests at the entry.
    pub requests: u64,
    /// Requests a second.
    pub rate_per_s: f64,
    /// What was lost, all classes together.
    pub lost: u64,
    /// Why it is not part of the fit; null where it is.
    pub left_out: Option<String>,
}

/// A machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProfiledNode {
    /// Name of the host.
    pub node: String,
    /// CPUs online.
    pub cpus: u32,
    /// Share of all its CPU time that programs which serve no part of a request leave, at no load; null where not all programs
    /// were looked at.
    pub share_available: Option<f64>,
    /// CPUs that a quota allows the components, all together; null where recordings do not hold it.
    pub quota_cpus: Option<f64>,
    /// CPU time of everything else on the host: clients, kernel threads, other programs; null where share_available is.
    pub other_cpu: Option<Fit>,
    /// Mean time that one of those stays on a CPU; null where it is not known.
    pub other_run_ns: Option<f64>,
}

/// A component on the way of a request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProfiledComponent {
    /// Component id.
    pub id: String,
    /// What it is: `unit`, `container`, `program` or `remote`.
    pub kind: ComponentKind,
    /// The machine that it was recorded on; null for a remote end.
    pub node: Option<String>,
    /// CPUs that it may use; null where recordings do not hold it.
    pub allowed_cpus: Option<Vec<u32>>,
    /// Requests that it serves for one request at the entry.
    pub visits_per_request: Option<f64>,
    /// Squared coefficient of variation of its CPU time for one of its requests; null where recordings do not hold it.
    pub scv_cpu: Option<f64>,
    /// The same of its service times, at the lowest rate; null where they have no times.
    pub scv_service: Option<f64>,
    /// Threads that serve requests, those that wait for work among them; null where recordings do not hold it.
    pub threads: Option<u32>,
    /// Time that a request occupies a thread: from its first read to its reply, without what it was held; null where requests
    /// have no times.
    pub holding: Option<Fit>,
    /// Time on a CPU, with or without the ball; null for a remote end.
    pub cpu: Option<Fit>,
    /// Time of its requests to the disk, queue of the device included; null for a remote end.
    pub disk: Option<Fit>,
    /// Time for a request at the entry that a CPU quota of its own held its threads back, over all rates; null for a remote end,
    /// and where recordings do not hold it.
    pub throttled_ns_per_request: Option<f64>,
    /// Bytes that it sent and received on the way of a request.
    pub network_bytes: Option<Fit>,
    /// Context switches; null for a remote end.
    pub switches: Option<Fit>,
    /// Time that one of its requests was read and waited while its threads did other things, at the lowest rate; null where it
    /// is not known.
    pub held_ns: Option<f64>,
    /// Its turnarounds for one of its requests, at the lowest rate: before each call, and before the reply.
    pub segments: Vec<Segment>,
}

/// What a component does before it sends a message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Segment {
    /// Whom it calls then; null where it replies.
    pub to: Option<String>,
    /// How often, for one of its requests.
    pub per_visit: f64,
    /// Mean time on a CPU, each time.
    pub on_cpu_ns: f64,
    /// Mean time it waits each time for neither a CPU nor the disk nor a message: sleep, and the rest of a message.
    pub wait_ns: f64,
    /// Mean time it waits each time for the disk.
    pub disk_ns: f64,
    /// Squared coefficient of variation of the turnaround; null where there are too few.
    pub scv: Option<f64>,
}

/// Who calls whom.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProfiledEdge {
    /// Component id of the initiator.
    pub from: String,
    /// Component id of the acceptor.
    pub to: String,
    /// Roundtrips for one request at the entry; null where several are open at once and the count is a lower bound.
    pub roundtrips_per_request: Option<f64>,
    /// Messages in both directions for one request at the entry.
    pub messages_per_request: f64,
    /// Bytes in both directions for one request at the entry.
    pub bytes_per_request: f64,
    /// Smallest round-trip time that the kernel knows; null if it knows none.
    pub min_rtt_ns: Option<u64>,
    /// Mean latency at the lowest rate; null where it has no times.
    pub latency_ns: Option<f64>,
    /// Mean latency less mean service time at the lowest rate; null where either has no times, or the acceptor is elsewhere.
    pub network_ns: Option<f64>,
    /// CPU time for each message at each end, where the other end is on another machine; null where it was not measured.
    pub remote_cpu_ns_per_message: Option<f64>,
    /// CPU time for each byte at each end, where the other end is on another machine; null where it was not measured.
    pub remote_cpu_ns_per_byte: Option<f64>,
    /// Calls of the initiator run at the same time; null where that is not known.
    pub parallel: Option<bool>,
}

/// What was measured of a request at the entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MeasuredResponse {
    /// Requests a second.
    pub rate_per_s: f64,
    /// Requests.
    pub requests: u64,
    /// Mean service time at the entry; null where none was timed.
    pub mean_ns: Option<f64>,
    /// Share of all CPU time of the host that was used, of 1.
    pub cpu_share: f64,
}

/// Form of a fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// `per_request` times the rate, and `per_second`.
    #[default]
    Linear,
    /// The points, made to rise with the rate (pool adjacent violators), and straight lines between them.
    Isotonic,
    /// The points as they are, and straight lines between them.
    Table,
}

/// What something takes, as a function of the rate: nanoseconds, bytes or times. At a rate r it is in a second
/// `per_request` x r + `per_second`, where the form is `linear`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Fit {
    /// Which form fits.
    pub form: Form,
    /// What one more request takes: the slope of the line (least squares).
    pub per_request: f64,
    /// What it takes in a second without any request: the intercept.
    pub per_second: f64,
    /// Share of the variance that the line explains, of 1; null where nothing varies.
    pub r2: Option<f64>,
    /// Root of the mean square of what is left, as a share of the mean; null where that is 0.
    pub residual: Option<f64>,
    /// How far the points bend away from the line at most, as a share of the highest: above 0 it rises faster with the rate,
    /// below 0 slower; null where there are too few points or they scatter by more.
    pub trend: Option<f64>,
    /// Where the slope lies, with 95 in 100; null where there are too few points.
    pub interval95: Option<[f64; 2]>,
    /// What was measured, lowest rate first: requests a second, and what was taken for each request.
    pub points: Vec<[f64; 2]>,
    /// Mean of the rates of the points, where the line is known best.
    pub center_per_s: f64,
    /// How far the line may be off at that rate, in a second, with 95 in 100; null where interval95 is.
    pub half95_at_center: Option<f64>,
}

/// Something that is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unknown {
    /// Which field.
    pub field: String,
    /// Why, and what to do about it.
    pub reason: String,
}
