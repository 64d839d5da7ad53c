//! Spec: what is usual for each service, for `guard`. The JSON of schema `courtside.spec/1`.
//!
//! In: nothing (plain data, filled by the crate `analysis`). Out: what is kept in a file. Must not know: how it is learned or
//! used.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::interference::Signal;

/// Name and version of the schema.
pub const SPEC_SCHEMA: &str = "courtside.spec/1";

/// What is usual.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Spec {
    /// Always `courtside.spec/1`.
    pub schema: String,
    /// Length of a window that gives one sample; 0 where windows of several lengths were put together.
    pub interval_ns: u64,
    /// What it was learned from.
    pub sources: Vec<SpecSource>,
    /// Series of a job and a signal that are not in it, because there were too many.
    pub left_out: u64,
    /// One for each job, platform and signal.
    pub specs: Vec<JobSpec>,
}

/// What a spec was learned from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SpecSource {
    /// Name of the file; `now` where it was measured.
    pub file: String,
    /// Windows.
    pub windows: u64,
    /// Time measured.
    pub duration_ns: u64,
    /// What was lost, all classes together.
    pub lost: u64,
}

/// What is usual for one signal of one job on one platform.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobSpec {
    /// Component id.
    pub job: String,
    /// Architecture and number of CPUs: what is usual on one machine is not on another.
    pub platform: String,
    /// The number.
    pub signal: Signal,
    /// Most processes of the job at a time.
    pub tasks: u64,
    /// Windows that gave a sample, however old.
    pub windows: u64,
    /// Enough windows to judge by.
    pub usable: bool,
    /// As many tasks and samples as the paper asks for: 5 tasks, 100 samples each.
    pub eligible: bool,
    /// What there is too little of, in words.
    pub too_few: Vec<String>,
    /// Mean CPUs that it used.
    pub cpu_usage_mean: f64,
    /// Most requests a second in any window; null if it served none.
    pub requests_per_s_high: Option<f64>,
    /// Median bytes read and written on disk for each request; null if it served none.
    pub disk_bytes_per_request: Option<f64>,
    /// Over all days.
    #[serde(flatten)]
    pub all: Moments,
    /// The same by how many CPUs the job used, in bins of half a CPU.
    pub bins: Vec<UsageBin>,
    /// The same by day, the newest first: what `guard learn --with` weighs again later.
    pub days: Vec<DaySpec>,
}

/// Middle and scatter of samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Moments {
    /// How many; over several days a sample counts for 0.9 times as much with each day of its age.
    pub samples: f64,
    /// Mean.
    pub mean: f64,
    /// Standard deviation.
    pub stddev: f64,
    /// Median; over several days the weighted median of theirs.
    pub median: f64,
    /// Median absolute deviation from the median; over several days the weighted median of each day's deviation plus what its
    /// median differs from the median of all.
    pub deviation: f64,
}

/// Samples of windows in which the job used so many CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UsageBin {
    /// The bin: from half of this many CPUs up.
    pub half_cpus: u32,
    /// Its samples.
    #[serde(flatten)]
    pub moments: Moments,
}

/// Samples of one day.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DaySpec {
    /// Days since 1970.
    pub day: u64,
    /// Mean CPUs that the job used.
    pub cpu_usage_mean: f64,
    /// Its samples.
    #[serde(flatten)]
    pub all: Moments,
    /// The same by how many CPUs the job used.
    pub bins: Vec<UsageBin>,
}
