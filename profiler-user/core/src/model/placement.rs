//! Placement: which machine should run which component. The JSON of schema `courtside.placement/1`.
//!
//! In: nothing (plain data, filled by the crate `analysis`). Out: what file and screen show. Must not know: how it is searched.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::prediction::{Placed, RestsOn};

/// Name and version of the schema.
pub const PLACEMENT_SCHEMA: &str = "courtside.placement/1";

/// Which machine should run which component.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Placement {
    /// Always `courtside.placement/1`.
    pub schema: String,
    /// Where requests enter, as in the profile.
    pub entry: String,
    /// What the profile rests on.
    pub rests_on: RestsOn,
    /// Lowest and highest rate that the profile was fitted to, requests a second.
    pub rate_range_per_s: [f64; 2],
    /// The rate that is wanted.
    pub rate_per_s: f64,
    /// Whether the profile was fitted to such a rate.
    pub inside_fitted_range: bool,
    /// The mean time that is allowed; null where none was asked for.
    pub mean_limit_ns: Option<f64>,
    /// The time that 95 in 100 may take; null where none was asked for.
    pub p95_limit_ns: Option<f64>,
    /// The number that the search began with: the same one gives the same answer.
    pub seed: u64,
    /// The best that was found.
    pub best: Candidate,
    /// The best of each way to search, and of those that do not search.
    pub compared: Vec<Candidate>,
    /// What is taken for true though it was not measured, and what cannot be said.
    pub assumed: Vec<String>,
}

/// How a placement was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Simulated annealing (Kirkpatrick, Gelatt and Vecchi, 1983).
    #[default]
    Annealing,
    /// The best of as many placements drawn at random.
    Random,
    /// Every component on every machine.
    AllReplicated,
    /// Each component on as few machines as can carry it, the largest first, each where most is free.
    LowReplication,
    /// The best of all placements.
    BruteForce,
}

impl Method {
    /// Its name in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Annealing => "annealing",
            Self::Random => "random",
            Self::AllReplicated => "all replicated",
            Self::LowReplication => "low replication",
            Self::BruteForce => "brute force",
        }
    }
}

/// A placement, and what it gives.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Candidate {
    /// How it was found.
    pub method: Method,
    /// The rate at which a resource is used up; null where none is, or where `says` tells why it is not known.
    pub throughput_per_s: Option<f64>,
    /// Mean time of a request at the rate that is wanted; null where that is not reached.
    pub mean_ns: Option<f64>,
    /// 95 in 100 take less, simulated; null where it was not asked for or is not known.
    pub p95_ns: Option<f64>,
    /// How many machines are used.
    pub nodes: u32,
    /// What these cost, as the nodes file says: 1 each where it does not.
    pub cost: f64,
    /// Whether the rate and the times that were asked for are reached.
    pub meets: bool,
    /// How many placements were looked at.
    pub tried: u64,
    /// Where each component runs.
    pub placement: Vec<Placed>,
    /// What else to know about it: why it does not meet, what was left out of the search; null where there is nothing.
    pub says: Option<String>,
}
