//! Difference: what changed between two recordings, or from a recording to what is measured now. The JSON of schema `courtside.diff/1`.
//!
//! In: nothing (plain data, filled by the crate `analysis`). Out: what file and screen show. Must not know: how it is told
//! whether something changed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::finding::Between;

/// Name and version of the schema.
pub const DIFF_SCHEMA: &str = "courtside.diff/1";

/// What changed from one recording to another, or to what was measured when it was asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Diff {
    /// Always `courtside.diff/1`.
    pub schema: String,
    /// The recording that is compared with.
    pub a: Recorded,
    /// The recording that is compared.
    pub b: Recorded,
    /// How many numbers were compared; the more there are, the rarer by chance each change must be.
    pub compared: u64,
    /// The numbers that changed by more than windows scatter: what got worse first, by how much. A change is what chance makes
    /// in less than 1 of 100 comparisons, in any number (`p` below 0.01), and is at least `ignore_below`.
    pub changes: Vec<Change>,
    /// Something got worse by more than `fail_above`; at all, where that is null.
    pub worse: bool,
    /// Changes by less than this share are left out: 0.1 is a tenth. A part is held to the whole: of the turnaround, and the
    /// unread time of the service time. For roundtrips it is at most 0.02.
    pub ignore_below: f64,
    /// What makes exit status 3, as a share; null where it was not asked for.
    pub fail_above: Option<f64>,
}

/// One of the two recordings, or what was measured when it was asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Recorded {
    /// Name of the file; `now` where nothing was read from one.
    pub file: String,
    /// Measured when it was asked for, and not read from a file.
    pub live: bool,
    /// Windows compared, each of which gives one value of each number; where there are more than 120, several are put together.
    pub windows: u64,
    /// Time measured.
    pub duration_ns: u64,
    /// Requests that all components served.
    pub requests: u64,
    /// What was lost, all classes together.
    pub lost: u64,
    /// Component ids that are only in this one.
    pub only_here: Vec<String>,
}

/// A number that changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// Component id; of an edge that of the initiator.
    pub component: String,
    /// The edge, where it is a number of one.
    pub edge: Option<Between>,
    /// Which number: `requests_per_s`, `service_ns`, `unread_ns`, `on_cpu_ns_per_request`, `turnaround_ns`, a part of it such
    /// as `turnaround.run_queue_ns`, `latency_ns`, `roundtrips_per_request`, or `findings.` and a rule.
    pub field: String,
    /// Unit of a and b: `ns`, `per_second`, `per_request` or `share` (of 1).
    pub unit: String,
    /// Before: the median over the windows, of the mean in each; of a finding, the share of windows that it is in.
    pub a: f64,
    /// After: the same of the other recording.
    pub b: f64,
    /// How many times as much: the median of b / a over all pairs of windows (Hodges and Lehmann); null where it has no limit,
    /// since a is mostly 0.
    pub ratio: Option<f64>,
    /// Where the true ratio lies, with 95 in 100, by itself, not corrected for how many numbers there are; null where ratio is,
    /// where it has no limit, and for findings.
    pub interval95: Option<[f64; 2]>,
    /// How likely chance alone makes such a difference in any of the numbers compared: the rank test of Mann and Whitney, in
    /// which windows that are like the one before count for less than one each (Bayley and Hammersley), corrected for the
    /// number of comparisons (Holm).
    pub p: f64,
    /// Whether this is a change for the worse; null where it is neither: the rate of requests, the turnaround of a component
    /// that serves nobody, and parts of turnarounds, which say why something else got worse.
    pub worse: Option<bool>,
    /// The change in one sentence.
    pub says: String,
}
