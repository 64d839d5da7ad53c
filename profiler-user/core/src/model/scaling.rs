//! Scaling: how throughput grows with cores or workers, and where the rest is lost. The JSON of schema
//! `courtside.scaling/1`.
//!
//! In: nothing (plain data, filled by the crate `analysis`). Out: what file and screen show. Must not know: how anything is
//! fitted or judged.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::finding::Evidence;

/// Name and version of the schema.
pub const SCALING_SCHEMA: &str = "courtside.scaling/1";

/// How the work grows with the size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ScalingKind {
    /// The work is the same at every size.
    #[default]
    Strong,
    /// The work grows with the size.
    Weak,
}

impl ScalingKind {
    /// Its name, as in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Strong => "strong",
            Self::Weak => "weak",
        }
    }
}

/// What a task is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TaskUnit {
    /// A request served at the entry.
    #[default]
    Requests,
    /// A run of the command, or what it was said to consist of.
    Commands,
}

impl TaskUnit {
    /// Its name, as in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Commands => "commands",
        }
    }

    /// One of them, in words.
    #[must_use]
    pub fn one(self) -> &'static str {
        match self {
            Self::Requests => "request",
            Self::Commands => "command",
        }
    }
}

/// How something scales with its size.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Scaling {
    /// Always `courtside.scaling/1`.
    pub schema: String,
    /// Whether the work was the same at every size, or grew with it.
    pub kind: ScalingKind,
    /// What a task is.
    pub unit: TaskUnit,
    /// Where the requests enter, component id and port; null for commands.
    pub entry: Option<String>,
    /// The smallest size, which all others are compared with. Where it is not 1, it counts as ideal.
    pub base_n: u32,
    /// The result in one or two sentences.
    pub says: String,
    /// Each size, the smallest first.
    pub points: Vec<ScalingPoint>,
    /// What the loss at each size is made of: factors that multiply to it.
    pub identity: Vec<Identity>,
    /// The Universal Scalability Law through the points; null where usl_unknown says why.
    pub usl: Option<Usl>,
    /// Why there is no usl.
    pub usl_unknown: Option<String>,
    /// For each size above base_n the size and its serial fraction by Karp and Flatt. A fraction that grows with the size is
    /// overhead; a constant one is a serial part.
    pub karp_flatt: Vec<(u32, f64)>,
    /// How often everything that is counted happens for one task, against base_n. For each size what explains most of the loss
    /// comes first, then what grew most.
    pub inflation: Vec<Inflation>,
    /// Why it does not scale better, at the largest size, the most important first. Empty if no cause can be told apart;
    /// `needed` then says what is missing.
    pub causes: Vec<Cause>,
    /// Causes that may be there and cannot be told from these measurements, with what would tell.
    pub needed: Vec<Needed>,
    /// What limits the answer.
    pub notes: Vec<String>,
}

/// One size.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ScalingPoint {
    /// The size: cores, or workers where only these differ.
    pub n: u32,
    /// Cores it could use; null if that is not known.
    pub cores: Option<u32>,
    /// Workers it was told to use; null if that is not known.
    pub workers: Option<u32>,
    /// The recording; empty if none was kept.
    pub file: String,
    /// Runs at this size. Where there are several, the numbers are those of the run with the median throughput.
    pub runs: u64,
    /// Windows of that run that count: the first and the last one in which requests came in are left out if there are enough.
    pub windows: u64,
    /// Time that these took; of a command from its start to its end.
    pub duration_ns: u64,
    /// Tasks done in that time.
    pub tasks: u64,
    /// What was lost, all classes together.
    pub lost: u64,
    /// Tasks a second.
    pub throughput_per_s: f64,
    /// Where the mean throughput lies, with 95 in 100, by how windows or runs scatter; null for fewer than five windows and
    /// fewer than three runs.
    pub throughput_interval95: Option<[f64; 2]>,
    /// Throughput divided by the size.
    pub throughput_per_worker_per_s: f64,
    /// S(N): throughput divided by that at base_n, times base_n.
    pub speedup: f64,
    /// What is reached of the ideal, ideal time divided by actual time: speedup divided by the size; where the command was
    /// said to consist of tasks, ceil(tasks / size) times the time of one, divided by the time that it took.
    pub efficiency: f64,
    /// Time of a core or worker that one task takes more than at base_n, or than it was said to take.
    pub overhead_ns_per_task: f64,
    /// Mean time of a task from arrival to answer; of a command, the time from start to end, divided by how many tasks each
    /// worker did one after the other.
    pub latency_ns: Option<f64>,
    /// Time of a command from start to end; null for requests.
    pub makespan: Option<Makespan>,
    /// On-CPU time divided by size and time: 1 if every core is busy with it all the time.
    pub busy: Option<f64>,
    /// The same of all others on the host; where their CPUs are not known to be the same, it may be more than is left.
    pub others_busy: Option<f64>,
    /// Cycles a second while on a CPU, in hertz; null without hardware counters.
    pub frequency: Option<f64>,
    /// Instructions retired for one task; null without hardware counters.
    pub instructions_per_task: Option<f64>,
    /// Cycles divided by instructions; null without hardware counters.
    pub cpi: Option<f64>,
    /// On-CPU time for one task.
    pub on_cpu_ns_per_task: Option<f64>,
    /// Time for one task that a CPU quota held threads back.
    pub throttled_ns_per_task: Option<f64>,
    /// Why fields are null.
    pub unknown: Vec<Unknown>,
}

/// How long a command took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Makespan {
    /// The fastest run.
    pub min_ns: u64,
    /// The median of the runs.
    pub median_ns: u64,
    /// The slowest run.
    pub max_ns: u64,
}

/// Why a field is null.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unknown {
    /// Its name.
    pub field: String,
    /// Why it is not known.
    pub why: String,
}

/// What a loss is made of. Throughput is N x busy x frequency / (instructions x CPI), so that S(N) / N is
/// busy_ratio x frequency_ratio / (instruction_ratio x cpi_ratio); without hardware counters it is busy_ratio / work_ratio.
/// All ratios are to base_n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Identity {
    /// The size.
    pub n: u32,
    /// Share of the time that cores were busy with it, against base_n; below 1 they were idle or others had them.
    pub busy_ratio: Option<f64>,
    /// Frequency; null without hardware counters.
    pub frequency_ratio: Option<f64>,
    /// Instructions for one task; null without hardware counters.
    pub instruction_ratio: Option<f64>,
    /// Cycles for one instruction; null without hardware counters.
    pub cpi_ratio: Option<f64>,
    /// On-CPU time for one task, which is instructions x CPI / frequency.
    pub work_ratio: Option<f64>,
    /// What the factors multiply to: with hardware counters of all four, else busy_ratio / work_ratio.
    pub product: Option<f64>,
    /// Speedup divided by the size, as measured.
    pub measured: f64,
}

/// X(N) = lambda N / (1 + sigma (N - 1) + kappa N (N - 1)), by Gunther: Guerrilla Capacity Planning, 2007.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Usl {
    /// Throughput of one, tasks a second.
    pub lambda: f64,
    /// Contention: the share of the work that only one at a time can do.
    pub sigma: f64,
    /// Coherency: what each adds to the work of each other one.
    pub kappa: f64,
    /// The size of most throughput; null where kappa is 0, since more is then always better.
    pub best_n: Option<f64>,
    /// Throughput at that size; null where best_n is.
    pub best_throughput_per_s: Option<f64>,
    /// Whether best_n lies outside the sizes that were measured; then it is a guess.
    pub extrapolated: bool,
    /// Where sigma lies, with 95 in 100; null where interval_unknown says why.
    pub sigma_interval95: Option<[f64; 2]>,
    /// The same of kappa.
    pub kappa_interval95: Option<[f64; 2]>,
    /// Why there are no intervals.
    pub interval_unknown: Option<String>,
    /// Points that it was fitted to.
    pub points: u64,
    /// Largest difference between a point and the curve, as a share of the point.
    pub residual: f64,
}

/// How often something happens for one task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Inflation {
    /// What: `on_cpu_ns`, `voluntary_switches`, `llc_misses` and so on.
    pub event: String,
    /// The size.
    pub n: u32,
    /// For one task at base_n.
    pub base_per_task: f64,
    /// For one task at this size.
    pub per_task: f64,
    /// The second divided by the first; 1 is ideal; null where the first is 0.
    pub factor: Option<f64>,
    /// Share of the loss that this explains: of on-CPU time exactly, of waits at most, since threads wait side by side; null
    /// for what has no known price.
    pub loss_share: Option<f64>,
}

/// What a cause is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CauseKind {
    /// More cache misses: what works side by side does not fit into the cache.
    CpuCache,
    /// The same misses cost more: memory is busy.
    MemoryBandwidth,
    /// Others had the CPUs.
    RunQueue,
    /// Threads wait for a lock.
    Lock,
    /// Threads ask again and again whether there is something to do.
    BusyPolling,
    /// Threads are switched more often for each task.
    ContextSwitches,
    /// Something happens at fixed times, whatever the load.
    Heartbeat,
    /// The disk.
    Disk,
    /// The network, or a remote end.
    Network,
    /// One component, or one thread, has all it can use.
    SaturatedComponent,
    /// A CPU quota.
    Quota,
    /// It scales.
    None,
}

impl CauseKind {
    /// Its name, as in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CpuCache => "cpu_cache",
            Self::MemoryBandwidth => "memory_bandwidth",
            Self::RunQueue => "run_queue",
            Self::Lock => "lock",
            Self::BusyPolling => "busy_polling",
            Self::ContextSwitches => "context_switches",
            Self::Heartbeat => "heartbeat",
            Self::Disk => "disk",
            Self::Network => "network",
            Self::SaturatedComponent => "saturated_component",
            Self::Quota => "quota",
            Self::None => "none",
        }
    }
}

/// Why it does not scale better.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cause {
    /// Which.
    pub cause: CauseKind,
    /// Component id of the one that it is seen at most; null if it is of all.
    pub component: Option<String>,
    /// Share of the loss that it explains, at most; null if that is not known. Shares of several causes may overlap.
    pub loss_share: Option<f64>,
    /// How sure it is, from 0 to 1: a grade, not a probability.
    pub confidence: f64,
    /// The numbers that it rests on.
    pub evidence: Vec<Evidence>,
    /// The cause in one sentence.
    pub says: String,
    /// What to do next.
    pub remedy: String,
}

/// What cannot be told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Needed {
    /// Causes that it may be.
    pub causes: Vec<CauseKind>,
    /// Share of the loss that it is about, at most.
    pub loss_share: Option<f64>,
    /// What is seen, and what would have to be measured to tell.
    pub says: String,
}
