//! How unevenly the time of a parallel application is spread, and what would have been without some of it.
//!
//! In: nothing (plain data). Out: what file and screen show. Must not know: how anything is told.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How unevenly the time is spread.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Imbalance {
    /// The process with most court time, against each other one: right if the partner does the same work.
    pub global: Vec<GlobalImbalance>,
    /// For each process, what the others wait for it, as a range; epoch by epoch. A range, not a bound: with two loaded
    /// processes, or the one that has most to do, it is too low.
    pub process_level: Vec<ProcessRange>,
    /// Standard deviation of the processes' court times.
    pub deviation_ns: f64,
    /// Sum of the squares of the differences of all pairs of court times.
    pub squared_ns2: f64,
    /// Sum over all pairs of the difference of what each owes the other.
    pub pairwise_ns: f64,
    /// Mean over maximum of the useful time, which is all time on a CPU (POP). This and the factors below are null where a process
    /// polls, since waiting is CPU time then, and where threads of one process are on several CPUs at once.
    pub load_balance: Option<f64>,
    /// Maximum useful time over the run time with messages that take no time.
    pub serialisation_efficiency: Option<f64>,
    /// Run time with messages that take no time over run time.
    pub transfer_efficiency: Option<f64>,
    /// Serialisation times transfer: maximum useful time over run time.
    pub communication_efficiency: Option<f64>,
    /// Load balance times communication: mean useful time over run time.
    pub parallel_efficiency: Option<f64>,
    /// Why something above is null.
    pub unknown: Option<String>,
}

/// The process with most court time against another one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GlobalImbalance {
    /// The one with most.
    pub process: String,
    /// The one that it is held against.
    pub partner: String,
    /// Difference of their court times.
    pub imbalance_ns: u64,
    /// Run time over run time without the difference; null where nothing would be left.
    pub slowdown: Option<f64>,
}

/// What others wait for a process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProcessRange {
    /// Process id.
    pub process: String,
    /// Sum over epochs of how much longer it took than all others.
    pub lower_ns: u64,
    /// Sum over epochs of how much longer it took than the quickest other.
    pub upper_ns: u64,
}

/// What would have been.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Scenario {
    /// `no_outside_load`, `without: NAME`, `no_run_queue`, `no_disk_wait`, or what was asked for.
    pub scenario: String,
    /// Ids of the processes that are changed; all of them where the scenario is about the host.
    pub processes: Vec<String>,
    /// How long the run would have taken; null where it cannot be told: always where the self-check of the method that this
    /// scenario uses is off by more than 5 %.
    pub predicted_ns: Option<u64>,
    /// How long it took.
    pub measured_ns: u64,
    /// measured_ns over predicted_ns.
    pub speedup: Option<f64>,
    /// The process with the greatest share of the critical path then.
    pub bounded_by: Option<String>,
    /// Why predicted_ns is null, or what it takes for true.
    pub says: String,
}

/// The run simulated once more with nothing changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SelfCheck {
    /// How long it took.
    pub measured_ns: u64,
    /// Simulated with all waits for a CPU as recorded.
    pub replay_ns: u64,
    /// replay_ns over measured_ns, less 1: the bias of all other scenarios, of latency_tolerance, slack_ns and critical_share.
    pub replay_error: f64,
    /// Simulated with the segments put on their CPUs anew, and the load from outside as a rate.
    pub rescheduled_ns: u64,
    /// rescheduled_ns over measured_ns, less 1: the bias of `no_outside_load` and `without`.
    pub rescheduled_error: f64,
}

/// How much longer messages may take.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Tolerance {
    /// Share by which the run takes longer.
    pub slower: f64,
    /// Delay of each message that costs so much; null where even a second more does not, or where it cannot be told.
    pub added_ns: Option<u64>,
    /// Why added_ns is null: a second more costs less, or it cannot be told since the self-check with waits as recorded is off by
    /// more than 5 %.
    pub unknown: Option<String>,
}

/// Someone outside the application who had its CPU.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Outsider {
    /// Name of the program.
    pub name: String,
    /// Component id.
    pub component: String,
    /// Time that it had a CPU while a thread of the application was runnable there.
    pub delayed_ns: u64,
}

/// How a rate of iterations maps to slowdown under load, from recordings without and with it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Calibration {
    /// Always `courtside.inference-calibration/1`.
    pub schema: String,
    /// The points, by rate.
    pub points: Vec<CalibrationPoint>,
    /// What the points say for an application; null where none was given.
    pub slowdown: Option<Slowdown>,
    /// What has to be known to read this.
    pub remarks: Vec<String>,
}

/// One pair of recordings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CalibrationPoint {
    /// Iterations a second without load.
    pub rate_per_s: f64,
    /// Share of it that is kept under load.
    pub kept: f64,
}

/// How much slower an application gets under the load of the calibration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Slowdown {
    /// Name of the recording.
    pub file: String,
    /// Times as long, from the mean of the shares kept (the plain rule).
    pub plain: f64,
    /// Times as long, with the same work done: the mean of 1 / share kept.
    pub work_conserving: f64,
    /// `[share kept, share of time]`, ascending.
    pub cdf: Vec<(f64, f64)>,
    /// Share of time at rates outside of those calibrated, for which the nearest point counts.
    pub outside: f64,
}
