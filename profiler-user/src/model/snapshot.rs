//! Snapshot: what one window means, in users' words. The JSON of schema `courtside.snapshot/1`.
//!
//! In: nothing (plain data, filled by `fold`). Out: the types that screen, file and endpoint show.
//! Must not know: aya, the file system, the clock, how anything is drawn.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::frame::{PmuState, ProbeState, Process, Transport};

/// Name and version of the schema.
pub const SCHEMA: &str = "courtside.snapshot/1";

/// One window, in users' words.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Snapshot {
    /// Always `courtside.snapshot/1`.
    pub schema: String,
    /// Version of the tool that made it.
    pub tool_version: String,
    /// The machine.
    pub host: Host,
    /// The time measured.
    pub window: Window,
    /// How far the numbers can be trusted.
    pub quality: Quality,
    /// What measuring cost.
    pub cost: Cost,
    /// What a user thinks of as one service each.
    pub components: Vec<Component>,
    /// Who talked to whom, booked once, at the initiator.
    pub edges: Vec<Edge>,
    /// Where a request's time went, for each entry; the 64 busiest.
    pub entries: Vec<Entry>,
}

/// The machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Host {
    /// Name of the host.
    pub hostname: String,
    /// Kernel release.
    pub kernel: String,
    /// Architecture.
    pub arch: String,
    /// CPUs online.
    pub cpus: u32,
    /// Boot id.
    pub boot_id: String,
}

/// The time measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Window {
    /// Wall-clock start.
    pub start_unix_ns: u64,
    /// Length on the monotonic clock.
    pub duration_ns: u64,
}

/// How far the numbers can be trusted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Quality {
    /// What happened but is not in the counts, by class. Every class is listed, also at 0.
    pub lost: BTreeMap<String, u64>,
    /// Connections older than the attach; their first turn is not counted.
    pub midlife_connections: u64,
    /// Some count is a lower bound.
    pub lower_bound: bool,
    /// Every probe.
    pub probes: Vec<Probe>,
    /// Hardware counters.
    pub pmu: Pmu,
}

/// A probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Probe {
    /// Name of the program.
    pub name: String,
    /// Hook it sits on.
    pub hook: String,
    /// Whether it works.
    pub state: ProbeState,
    /// Why not.
    pub reason: String,
}

/// Hardware counters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Pmu {
    /// Whether they count.
    pub state: PmuState,
    /// Why not.
    pub reason: String,
    /// Share of the time they counted; null unless multiplexed or ok.
    pub running_ratio: Option<f64>,
}

/// What measuring cost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cost {
    /// Each program; null unless measured in this window.
    pub programs: Vec<ProgramCost>,
    /// CPU time of our own process.
    pub user_cpu_ns: u64,
    /// Resident memory of our own process.
    pub rss_bytes: u64,
    /// Memory of our maps in the kernel.
    pub map_bytes: u64,
}

/// Cost of one program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProgramCost {
    /// Name of the program.
    pub name: String,
    /// How often it ran.
    pub runs: Option<u64>,
    /// How long it ran in all.
    pub run_time_ns: Option<u64>,
}

/// What a component is.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum ComponentKind {
    /// A systemd unit.
    Unit,
    /// A container or pod.
    Container,
    /// A program.
    #[default]
    Program,
    /// An end that is not on this host.
    Remote,
}

/// What a user thinks of as one service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Component {
    /// Key used by `from`, `to` and `by_recipient`; e.g. `program:web`.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// What it is.
    pub kind: ComponentKind,
    /// Its processes.
    pub processes: Vec<Process>,
    /// CPU time.
    pub cpu: Cpu,
    /// Hardware counters; null where they do not count.
    pub counters: Option<Counters>,
    /// Block I/O.
    pub disk: Disk,
    /// Requests it served as acceptor.
    pub requests: Requests,
    /// How long it kept the ball.
    pub turnaround: Turnaround,
}

/// CPU time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cpu {
    /// On a CPU.
    pub on_cpu_ns: u64,
    /// Runnable without a CPU.
    pub run_queue_ns: u64,
    /// Waiting for the block layer.
    pub block_io_ns: u64,
    /// Switches the tasks asked for.
    pub voluntary_switches: u64,
    /// Switches forced on them.
    pub involuntary_switches: u64,
}

/// Hardware counters, scaled by enabled/running.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Counters {
    /// CPU cycles.
    pub cycles: u64,
    /// Retired instructions.
    pub instructions: u64,
    /// Last-level cache references.
    pub llc_references: Option<u64>,
    /// Last-level cache misses.
    pub llc_misses: Option<u64>,
    /// Cycles per instruction.
    pub cpi: Option<f64>,
    /// Share of the time the counters counted.
    pub running_ratio: Option<f64>,
}

/// Block I/O.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Disk {
    /// Read requests.
    pub reads: u64,
    /// Write requests.
    pub writes: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub write_bytes: u64,
    /// Start in the block layer to completion.
    pub latency_ns: Dist,
}

/// Requests served.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Requests {
    /// How many.
    pub served: u64,
    /// Arrival of the request to first send of the reply.
    pub service_ns: Dist,
    /// Arrival of the request to its first read.
    pub queued_ns: Dist,
}

/// How long a component kept the ball.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Turnaround {
    /// How many turnarounds.
    pub count: u64,
    /// Their sum; equals the sum of the five parts.
    pub total_ns: u64,
    /// On a CPU.
    pub on_cpu_ns: u64,
    /// Waiting for a CPU.
    pub run_queue_ns: u64,
    /// Waiting for the block layer.
    pub block_io_ns: u64,
    /// Locks, timers, page faults and other waits after the message was read.
    pub sleep_ns: u64,
    /// Waiting unread.
    pub queued_ns: u64,
    /// Sends that no message prompted.
    pub unprompted_count: u64,
    /// Sum of the gaps before those.
    pub unprompted_ns: u64,
    /// Each turnaround.
    pub each_ns: Dist,
    /// What the CPU did in them; null unless `--pmu-turnaround` asked for it.
    pub counters: Option<TurnaroundCounters>,
    /// The same by recipient of the send that ended it.
    pub by_recipient: Vec<Recipient>,
}

/// Cycles and instructions of the on-CPU part of turnarounds: more cycles at the same CPI is more work, a higher CPI is
/// a slower CPU. A thread that was on its CPU when the message arrived is counted from the read on. Not scaled where
/// counters are multiplexed; the CPI needs no scale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TurnaroundCounters {
    /// CPU cycles.
    pub cycles: u64,
    /// Retired instructions.
    pub instructions: u64,
    /// Cycles per instruction.
    pub cpi: Option<f64>,
}

/// Turnarounds that ended in a send to one recipient.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Recipient {
    /// Component id of the recipient.
    pub to: String,
    /// How many.
    pub count: u64,
    /// Their sum.
    pub total_ns: u64,
    /// On a CPU.
    pub on_cpu_ns: u64,
    /// Waiting for a CPU.
    pub run_queue_ns: u64,
    /// Waiting for the block layer.
    pub block_io_ns: u64,
    /// Other waits after the message was read.
    pub sleep_ns: u64,
    /// Waiting unread.
    pub queued_ns: u64,
    /// Each turnaround to this recipient.
    pub each_ns: Dist,
    /// What the CPU did in them; null unless `--pmu-turnaround` asked for it.
    pub counters: Option<TurnaroundCounters>,
}

/// Who talked to whom.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Edge {
    /// Component id of the initiator.
    pub from: String,
    /// Component id of the acceptor.
    pub to: String,
    /// Transport.
    pub transport: Transport,
    /// The acceptor's port; 0 for Unix sockets.
    pub port: u16,
    /// Sent messages followed by a received one.
    pub roundtrips: u64,
    /// Roundtrips divided by the requests served at the entry; null where there is no entry.
    pub roundtrips_per_request: Option<f64>,
    /// Send of a request to arrival of its reply.
    pub latency_ns: Dist,
    /// The acceptor's service time on these connections; null where the acceptor is not on this host.
    pub service_ns: Option<Dist>,
    /// Messages the initiator sent.
    pub messages_sent: u64,
    /// Messages the initiator received.
    pub messages_received: u64,
    /// Bytes the initiator sent.
    pub bytes_sent: u64,
    /// Bytes the initiator received.
    pub bytes_received: u64,
    /// Smallest RTT known to the kernel; null if it knows none.
    pub min_rtt_ns: Option<u64>,
    /// TCP segments sent again, both ends.
    pub retransmits: u64,
    /// The counts are lower bounds.
    pub lower_bound: bool,
    /// Measured at the acceptor only: the initiator is not on this host, `roundtrips` is the requests served.
    pub acceptor_only: bool,
}

/// Where a request's time went: `mean_ns` is the sum of the courts, `network_ns` and `other_ns`.
///
/// Where several entries lead to one component, its time is split by the requests that each brings to it: exact when
/// they cost the same.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Entry {
    /// Component id of the entry.
    pub component: String,
    /// Port of the entry; 0 for Unix sockets.
    pub port: u16,
    /// Requests served there.
    pub requests: u64,
    /// Mean service time seen at the entry.
    pub mean_ns: f64,
    /// The courts the request lay in, per request.
    pub courts: Vec<Court>,
    /// Latency less service on the edges inside, per request.
    pub network_ns: f64,
    /// What is left unexplained, per request; negative when calls ran in parallel.
    pub other_ns: f64,
}

/// Time per request in one component's court. That of a remote end is the whole latency towards it, network included,
/// and its parts, which nobody here can know, are 0.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Court {
    /// Component id.
    pub component: String,
    /// All of it.
    pub turnaround_ns: f64,
    /// On a CPU.
    pub on_cpu_ns: f64,
    /// Waiting for a CPU.
    pub run_queue_ns: f64,
    /// Waiting for the block layer.
    pub block_io_ns: f64,
    /// Other waits after the message was read.
    pub sleep_ns: f64,
    /// Waiting unread.
    pub queued_ns: f64,
}

/// A distribution. A quantile's relative error is at most 6.25 %; sum and count are exact. So are extremes, but for one
/// that came just while a window closed or another CPU wrote one: its error is at most 12.5 %, the width of its bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Dist {
    /// How many values.
    pub count: u64,
    /// Their sum.
    pub sum_ns: u64,
    /// The smallest, 0 if there is none.
    pub min_ns: u64,
    /// Median.
    pub p50_ns: u64,
    /// 90th percentile.
    pub p90_ns: u64,
    /// 99th percentile.
    pub p99_ns: u64,
    /// The largest.
    pub max_ns: u64,
    /// `[upper bound, count]` of each bucket that is not empty, ascending.
    pub buckets: Vec<(u64, u64)>,
}
