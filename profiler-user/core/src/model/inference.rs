//! Inference: what a parallel application does, seen from outside. The JSON of schema `courtside.inference/1`.
//!
//! In: nothing (plain data, filled by the crate `analysis`). Out: what file and screen show. Must not know: how anything is
//! told.

mod network;
mod processes;
mod timeline;
mod what_if;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::finding::Finding;

pub use network::{Change, Compared, Link, PairTime, Topology};
pub use processes::{
    ByBlocking, ByGap, ByTurn, Court, CourtTo, Iterations, Period, Process, ReceiveWait, Series,
    Time,
};
pub use timeline::{Doing, Lane, Message, Place, Span, Step, Timeline};
pub use what_if::{
    Calibration, CalibrationPoint, GlobalImbalance, Imbalance, Outsider, ProcessRange, Scenario,
    SelfCheck, Slowdown, Tolerance,
};

/// Name and version of the schema.
pub const INFERENCE_SCHEMA: &str = "courtside.inference/1";
/// That of a comparison of two runs.
pub const COMPARED_SCHEMA: &str = "courtside.inference-compare/1";
/// That of a calibration.
pub const CALIBRATION_SCHEMA: &str = "courtside.inference-calibration/1";

/// What a parallel application does, from single events: how fast, in what shape, who holds the others up, what if.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Inference {
    /// Always `courtside.inference/1`.
    pub schema: String,
    /// What it rests on.
    pub source: InferenceSource,
    /// The processes (thread groups) of the application, in the order of their numbers.
    pub processes: Vec<Process>,
    /// Who talks to whom, and in what shape.
    pub topology: Topology,
    /// How unevenly the time is spread, and what that costs.
    pub imbalance: Imbalance,
    /// What would have been: the recorded segments simulated once more with something changed.
    pub what_if: Vec<Scenario>,
    /// How far the simulation can be trusted: the run simulated once more with nothing changed. Null where nothing could be
    /// simulated.
    pub self_check: Option<SelfCheck>,
    /// How much longer messages may take until the run takes 1, 2 and 5 % longer. Empty where nothing could be simulated.
    pub latency_tolerance: Vec<Tolerance>,
    /// Those outside the application that had a CPU while its threads waited for it, the greatest first.
    pub outsiders: Vec<Outsider>,
    /// Each pair of processes and direction with traffic.
    pub network: Vec<Link>,
    /// What is wrong, the worst first.
    pub findings: Vec<Finding>,
    /// What has to be known to read this, in words: reasons of nulls, and who was left out.
    pub remarks: Vec<String>,
}

/// What an answer rests on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InferenceSource {
    /// Name of the recording; `now` where nothing was read from one.
    pub file: String,
    /// Measured when it was asked for, and not read from a file.
    pub live: bool,
    /// Windows in it.
    pub windows: u64,
    /// Time measured.
    pub duration_ns: u64,
    /// Single events that were looked at.
    pub events: u64,
    /// What was lost, by class; those of which nothing was lost are left out.
    pub lost: BTreeMap<String, u64>,
    /// From the first message of the application to its last.
    pub application_ns: u64,
    /// Segments that were kept for what_if.
    pub segments: u64,
    /// There were more segments than are kept: what_if, slack and epochs rest on the first part of the run only.
    pub cut: bool,
}
