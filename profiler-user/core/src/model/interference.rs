//! Interference: who slows a service, and what was done about it. The JSON lines of schema `courtside.interference/1`.
//!
//! In: nothing (plain data, filled by the crate `analysis`). Out: what file and screen show. Must not know: how it is told
//! who slows whom.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Name and version of the schema.
pub const INTERFERENCE_SCHEMA: &str = "courtside.interference/1";

/// Something that happened to a service that is watched: one line of JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Interference {
    /// Always `courtside.interference/1`.
    pub schema: String,
    /// When: the end of the window that showed it.
    pub time_unix_ns: u64,
    /// What happened.
    pub event: EventKind,
    /// Component id of the service that is watched; empty for what an earlier guard left behind.
    pub victim: String,
    /// Which number of it; null for what an earlier guard left behind.
    pub signal: Option<Signal>,
    /// How much it was, the median of the windows that were too high: ns, or a ratio; null where nothing was measured.
    pub value: Option<f64>,
    /// What it usually is; null where that is not known.
    pub expected: Option<Expected>,
    /// How far above the usual, in standard deviations: of 1.4826 times the median deviation, in mode paper of the standard
    /// deviation; null where it does not scatter.
    pub sigmas: Option<f64>,
    /// The service itself or its load made this, and no neighbour.
    pub self_inflicted: bool,
    /// Who may have made it, the most likely first; at most 10.
    pub suspects: Vec<Suspect>,
    /// What was done, or would have been; null where nothing was.
    pub action: Option<Action>,
    /// What came of it; null unless this judges an action.
    pub effect: Option<Effect>,
    /// Why, in words.
    pub reason: String,
    /// Windows seen so far, or samples in mode paper: what this rests on.
    pub windows: u64,
    /// What was lost in them, all classes together.
    pub lost: u64,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// It is known from now on what is usual.
    Learned,
    /// A number is too high.
    Anomaly,
    /// It is as usual again.
    Cleared,
    /// A suspect is held back.
    Capped,
    /// It is held back no more.
    Released,
    /// A suspect is not held back, and why.
    Refused,
    /// What holding it back has brought.
    Judged,
}

impl EventKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Learned,
        Self::Anomaly,
        Self::Cleared,
        Self::Capped,
        Self::Released,
        Self::Refused,
        Self::Judged,
    ];

    /// Its name, as in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Learned => "learned",
            Self::Anomaly => "anomaly",
            Self::Cleared => "cleared",
            Self::Capped => "capped",
            Self::Released => "released",
            Self::Refused => "refused",
            Self::Judged => "judged",
        }
    }
}

/// A number of a service that neighbours may raise.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// CPU cycles for each instruction; needs hardware counters.
    Cpi,
    /// Misses of the last-level cache for each instruction; needs hardware counters.
    LlcMissesPerInstruction,
    /// Time runnable without a CPU, of all its threads, for each request served.
    RunQueuePerRequest,
    /// Time waiting for the block layer, of all its threads, for each request served.
    BlockIoPerRequest,
    /// CPU time of all its threads for each request served.
    OnCpuPerRequest,
    /// Mean service time.
    Service,
}

impl Signal {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Cpi,
        Self::LlcMissesPerInstruction,
        Self::RunQueuePerRequest,
        Self::BlockIoPerRequest,
        Self::OnCpuPerRequest,
        Self::Service,
    ];

    /// Its name, as in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpi => "cpi",
            Self::LlcMissesPerInstruction => "llc_misses_per_instruction",
            Self::RunQueuePerRequest => "run_queue_per_request",
            Self::BlockIoPerRequest => "block_io_per_request",
            Self::OnCpuPerRequest => "on_cpu_per_request",
            Self::Service => "service",
        }
    }

    /// Whether it is a time, in ns; a ratio if not.
    #[must_use]
    pub fn is_time(self) -> bool {
        !matches!(self, Self::Cpi | Self::LlcMissesPerInstruction)
    }
}

/// What is usual.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Expected {
    /// Median.
    pub median: f64,
    /// Median absolute deviation from the median.
    pub deviation: f64,
    /// Mean.
    pub mean: f64,
    /// Standard deviation.
    pub stddev: f64,
    /// How many samples that rests on; a sample that is a day older counts for 0.9 times as much.
    pub samples: f64,
    /// More than this is too much.
    pub upper: f64,
}

/// Who may have made it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Suspect {
    /// Component id.
    pub component: String,
    /// How suspect it is, by what decided: a share from 0 to 1, or a correlation from -1 to 1.
    pub score: f64,
    /// What its place in the list rests on.
    pub decided_by: DecidedBy,
    /// Correlation of its use with how far the signal was off, as in CPI2 (EuroSys 2013, section 4.2); null with too few
    /// windows.
    pub correlation: Option<f64>,
    /// Time that the scheduler or the disk gave to it while the service waited; null where that was not recorded.
    pub blamed_ns: Option<u64>,
    /// The same as a share of all that the service waited.
    pub blamed_share: Option<f64>,
    /// Time of its disk requests in the windows that were too high, and not more than the service waited for the disk: at most so
    /// long did each thread of it wait behind them; null for other signals.
    pub exposure_ns: Option<u64>,
    /// Its share in what all suspects together explain of the excess, by non-negative least squares; null where they do not.
    pub group_share: Option<f64>,
    /// How many in a hundred of the other components are less suspect; null if there is no other.
    pub percentile: Option<f64>,
}

/// What a suspect's place rests on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DecidedBy {
    /// The scheduler or the disk saw whom the service waited for.
    Blame,
    /// Its use goes with how far the signal was off.
    #[default]
    Correlation,
    /// Its disk requests were under way while the service waited for its own.
    Exposure,
    /// With others it explains the excess, and none of them does alone.
    Group,
}

impl DecidedBy {
    /// Its name, as in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Blame => "blame",
            Self::Correlation => "correlation",
            Self::Exposure => "exposure",
            Self::Group => "group",
        }
    }
}

/// A limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Action {
    /// `weight`: it gets only CPU time that nobody beside it wants (`cpu.idle`, `cpu.weight`); `cap`: a quota.
    pub kind: String,
    /// Component id of the one that is held back.
    pub component: String,
    /// Its control group.
    pub cgroup: String,
    /// The file that holds the limit.
    pub file: String,
    /// What was in it.
    pub before: String,
    /// What is in it now.
    pub after: String,
    /// When it ends, unless it is renewed; null where that is not known.
    pub until_unix_ns: Option<u64>,
    /// Nothing was written: this is what would have been done.
    pub dry_run: bool,
}

/// What an action has brought.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Effect {
    /// The signal before: the median of the windows that were too high.
    pub before: f64,
    /// The signal since: the median of the windows with the limit.
    pub after: f64,
    /// By how many standard deviations it fell; null where it does not scatter.
    pub sigmas: Option<f64>,
    /// It fell by more than one standard deviation, and by a quarter of what was too much.
    pub worked: bool,
}

/// How much a suspect had to do with a service over many windows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Aggression {
    /// Component id of the service.
    pub victim: String,
    /// Component id of the suspect.
    pub component: String,
    /// Windows in which the service was slow and not by itself.
    pub slow_windows: u64,
    /// Of these, those in which this one was a suspect.
    pub windows: u64,
    /// Windows in which it was the first suspect.
    pub first: u64,
    /// Its highest score.
    pub score: f64,
    /// What that rested on.
    pub decided_by: DecidedBy,
    /// How long the service's threads were runnable in these windows while it had their CPU; none where that was not recorded.
    pub waited_ns: Option<u64>,
}
