//! Prediction: how a service behaves at rates and placements that were not measured. The JSON of schema
//! `courtside.prediction/1`.
//!
//! In: nothing (plain data, filled by the crate `analysis`). Out: what file and screen show. Must not know: how it is
//! predicted.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Name and version of the schema.
pub const PREDICTION_SCHEMA: &str = "courtside.prediction/1";

/// How a service behaves at rates and placements that were not measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Prediction {
    /// Always `courtside.prediction/1`.
    pub schema: String,
    /// Where requests enter, as in the profile.
    pub entry: String,
    /// What the profile rests on.
    pub rests_on: RestsOn,
    /// Lowest and highest rate that the profile was fitted to, requests a second.
    pub rate_range_per_s: [f64; 2],
    /// Where each component runs.
    pub placement: Vec<Placed>,
    /// The lowest rate at which a resource is used up; null where saturation_unknown says why.
    pub saturation: Option<Saturation>,
    /// Why there is no saturation: no resource is known that is ever used up, or one is without any request.
    pub saturation_unknown: Option<String>,
    /// How it behaves at each rate.
    pub points: Vec<PredictionPoint>,
    /// What is taken for true though it was not measured, and what cannot be said.
    pub assumed: Vec<String>,
}

/// What a prediction rests on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RestsOn {
    /// Recordings that were fitted.
    pub recordings: u64,
    /// Their windows.
    pub windows: u64,
    /// Their requests.
    pub requests: u64,
    /// What was lost while they were recorded, all classes together.
    pub lost: u64,
}

/// Where a component runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Placed {
    /// Component id.
    pub component: String,
    /// The machine.
    pub node: String,
    /// How many of it run there.
    pub replicas: u32,
}

/// What can be used up.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Resource {
    /// The CPUs of a node.
    #[default]
    Cpu,
    /// Its disk.
    Disk,
    /// Its network.
    Network,
    /// The threads of a component.
    Threads,
    /// The CPUs that a quota allows the components on a node.
    Quota,
}

impl Resource {
    /// Its name, as in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Disk => "disk",
            Self::Network => "network",
            Self::Threads => "threads",
            Self::Quota => "quota",
        }
    }
}

/// The rate at which a resource is used up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Saturation {
    /// Requests a second.
    pub rate_per_s: f64,
    /// What is used up.
    pub resource: Resource,
    /// Component id: of threads, whose they are; else who uses most of it.
    pub component: Option<String>,
    /// The machine.
    pub node: Option<String>,
    /// Where the rate lies, with 95 in 100, as far as the fits can tell; null where it has no upper limit.
    pub interval95: Option<[f64; 2]>,
    /// Whether the rate is one that the profile was fitted to.
    pub inside_fitted_range: bool,
    /// The same in one sentence.
    pub says: String,
}

/// How a service behaves at one rate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PredictionPoint {
    /// Requests a second that come in.
    pub rate_per_s: f64,
    /// Whether the profile was fitted to such rates; if not, lines are drawn on beyond what was measured.
    pub inside_fitted_range: bool,
    /// How much of each resource is used.
    pub utilisation: Vec<Utilisation>,
    /// By the CPU time of the components alone (Stewart and Shen, 2005).
    pub base: Predicted,
    /// And by the CPU time that calls to other machines cost.
    pub with_remote_invocation: Predicted,
    /// And by the network, the order of segments, and pools of threads: simulated.
    pub full: Predicted,
}

/// How much of a resource is used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Utilisation {
    /// The machine.
    pub node: String,
    /// Which resource.
    pub resource: Resource,
    /// Whose threads; null for the other resources.
    pub component: Option<String>,
    /// Share of 1; more where more is asked for than there is.
    pub share: f64,
}

/// What one model predicts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Predicted {
    /// Requests a second that are served.
    pub throughput_per_s: Option<f64>,
    /// Mean time from a request's arrival at the entry to its reply; null where the model has no answer.
    pub mean_ns: Option<f64>,
    /// Where the mean lies, with 95 in 100, as far as the fits and the simulation can tell.
    pub mean_interval95_ns: Option<[f64; 2]>,
    /// Half are faster.
    pub p50_ns: Option<f64>,
    /// 95 in 100 are faster.
    pub p95_ns: Option<f64>,
    /// 99 in 100 are faster.
    pub p99_ns: Option<f64>,
    /// Why there is no answer; null where there is one.
    pub reason: Option<String>,
}
