//! Frame: one window of raw facts, the only thing that live, record and replay share.
//!
//! In: nothing (plain data). Out: serialisable records, all counts already differences over the window.
//! Must not know: aya, the file system, the clock, how anything is shown.
//!
//! Recordings hold these names. Fields may be added, with `#[serde(default)]`; none is renamed, removed or given
//! another meaning without a new version of the recording's format (docs/recording.md).

mod merge;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use merge::{Merge, add_turnaround_counters, merge, merge_dist, plus};

/// One window of raw facts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Frame {
    /// The machine.
    pub host: Host,
    /// Wall-clock start of the window.
    pub start_unix_ns: u64,
    /// Length of the window on the monotonic clock.
    pub duration_ns: u64,
    /// What was dropped in this window, by class.
    pub lost: BTreeMap<String, u64>,
    /// Single events that happened in this window, by kind, recorded or lost; empty where none were asked for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub events: BTreeMap<String, u64>,
    /// Connections in use that are older than the attach.
    pub midlife_connections: u64,
    /// Every program and how it is attached.
    pub probes: Vec<ProbeStatus>,
    /// State of the hardware counters.
    pub pmu: Pmu,
    /// What Courtside itself cost.
    pub cost: Cost,
    /// The program images that any record below names, and what the host says of them.
    pub images: Vec<Image>,
    /// Remote ends that any record below names.
    pub remotes: Vec<Remote>,
    /// Traffic, one record for each image, peer, port, transport and role.
    pub flows: Vec<Flow>,
    /// CPU time, one record for each image.
    pub cpu: Vec<Cpu>,
    /// Block I/O, one record for each image.
    pub disk: Vec<Disk>,
}

/// The machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Name of the host.
    pub hostname: String,
    /// Kernel release.
    pub kernel: String,
    /// Architecture, as `uname -m`.
    pub arch: String,
    /// CPUs online.
    pub cpus: u32,
    /// Boot id.
    pub boot_id: String,
}

/// How one program is attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeStatus {
    /// Name of the program.
    pub name: String,
    /// Hook it sits on, e.g. `tp_btf:sched_switch`.
    pub hook: String,
    /// Whether it works.
    pub state: ProbeState,
    /// Why not, or what is less good than it could be; empty when attached.
    pub reason: String,
}

/// State of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProbeState {
    /// Works in full.
    Attached,
    /// Works by a lesser hook, or misses a field.
    Degraded,
    /// Should work and does not.
    Failed,
    /// Not wanted.
    Disabled,
}

/// State of the hardware counters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pmu {
    /// Whether they count.
    pub state: PmuState,
    /// Why not.
    pub reason: String,
    /// Share of the time that the counters counted, when multiplexed.
    pub running_ratio: Option<f64>,
}

/// Whether hardware counters count.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum PmuState {
    /// All the time.
    Ok,
    /// Part of the time; values are scaled.
    Multiplexed,
    /// There is no PMU.
    #[default]
    None,
    /// Not wanted (`--no-pmu`).
    Disabled,
}

/// What Courtside itself cost in the window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Runs and run time of each program; run time only where the kernel was asked to measure it.
    pub programs: Vec<ProgramCost>,
    /// CPU time of our own process.
    pub user_cpu_ns: u64,
    /// Resident memory of our own process.
    pub rss_bytes: u64,
    /// Memory of our maps in the kernel.
    pub map_bytes: u64,
}

/// Cost of one program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramCost {
    /// Name of the program.
    pub name: String,
    /// How often it ran; `None` unless measured in this window.
    pub runs: Option<u64>,
    /// How long it ran in all; `None` unless measured in this window.
    pub run_time_ns: Option<u64>,
}

/// A program image: what one exec made, shared with the children forked from it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Number; unique for the life of the attach.
    pub id: u32,
    /// Name of the program: comm, or the script for interpreters.
    pub program: String,
    /// systemd unit, if the cgroup shows one.
    pub unit: Option<String>,
    /// Container or pod, if the cgroup shows one.
    pub container: Option<String>,
    /// cgroup path.
    pub cgroup: String,
    /// Kernel threads.
    pub kernel: bool,
    /// Processes of the image known in this window.
    pub processes: Vec<Process>,
    /// Ports it listens on.
    pub listens: Vec<u16>,
}

/// A process.
#[derive(
    Clone,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
pub struct Process {
    /// Thread group id.
    pub tgid: u32,
    /// Name of its leader.
    pub comm: String,
}

/// A remote end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remote {
    /// Number; has the top bit set.
    pub id: u32,
    /// Address without port, as text.
    pub address: String,
    /// Port; 0 for a remote initiator.
    pub port: u16,
}

/// Transport of a connection.
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
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// Unix.
    Unix,
}

/// Role of this end.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Not known yet.
    #[default]
    Unknown,
    /// Connected, or spoke first.
    Initiator,
    /// Accepted, or was spoken to first.
    Acceptor,
}

/// A distribution of durations: sum, extremes, and counts by bucket (sparse; bucket geometry of the wire types).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DistRaw {
    /// Sum of all values.
    pub sum_ns: u64,
    /// Smallest value, 0 if there was none.
    pub min_ns: u64,
    /// Largest value.
    pub max_ns: u64,
    /// `(bucket, count)`, ascending, no zero counts.
    pub buckets: Vec<(u16, u64)>,
}

/// Parts of a turnaround.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartsRaw {
    /// On a CPU.
    pub on_cpu_ns: u64,
    /// Waiting for a CPU.
    pub run_queue_ns: u64,
    /// Waiting for the block layer.
    pub block_io_ns: u64,
    /// Other waits after the prompting message was read.
    pub sleep_ns: u64,
    /// Other waits while the prompting message was unread.
    pub queued_ns: u64,
}

/// Traffic of one image with one peer in one role, over the window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// Image of this end.
    pub image: u32,
    /// Image of the other end, remote number (top bit set), or 0 for not known.
    pub peer: u32,
    /// The acceptor's port.
    pub port: u16,
    /// Transport.
    pub transport: Transport,
    /// Role of this end.
    pub role: Role,
    /// Messages this end sent.
    pub messages_sent: u64,
    /// Messages this end received.
    pub messages_received: u64,
    /// Bytes this end sent.
    pub bytes_sent: u64,
    /// Bytes this end received.
    pub bytes_received: u64,
    /// Initiator: roundtrips. Acceptor: requests served.
    pub answered: u64,
    /// First turns of midlife connections, not in `answered`.
    pub midlife_turns: u64,
    /// Receives too soon after a send to answer it.
    pub below_floor: u64,
    /// Answers whose causality is not certain; more than zero makes counts lower bounds.
    pub ambiguous: u64,
    /// Answers timed by the receive call's return.
    pub arrival_unknown: u64,
    /// TCP segments sent again.
    pub retransmits: u64,
    /// Smallest RTT known to the kernel, 0 if none.
    pub min_rtt_ns: u64,
    /// Turnarounds that ended in a send to this peer.
    pub turnarounds: u64,
    /// Their parts.
    pub turnaround_parts: PartsRaw,
    /// Sends that no message prompted.
    pub unprompted: u64,
    /// Sum of the gaps before those.
    pub unprompted_ns: u64,
    /// Turnarounds that began in another thread.
    pub handovers: u64,
    /// Cycles and instructions of the turnarounds' on-CPU part, where they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turnaround_counters: Option<TurnaroundCounters>,
    /// Initiator: latency. Acceptor: service time.
    pub answer: DistRaw,
    /// Arrival to first receive.
    pub queued: DistRaw,
    /// Each turnaround.
    pub turnaround: DistRaw,
}

/// What the CPU did in turnarounds; not scaled where counters are multiplexed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnaroundCounters {
    /// CPU cycles.
    pub cycles: u64,
    /// Retired instructions.
    pub instructions: u64,
}

/// CPU time of one image over the window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cpu {
    /// The image.
    pub image: u32,
    /// On a CPU.
    pub on_cpu_ns: u64,
    /// Runnable without a CPU.
    pub run_queue_ns: u64,
    /// Waiting for the block layer.
    pub block_io_ns: u64,
    /// Voluntary switches.
    pub voluntary_switches: u64,
    /// Involuntary switches.
    pub involuntary_switches: u64,
    /// Hardware counters, where they counted.
    pub counters: Option<Counters>,
}

/// Hardware counters of one image over the window, scaled by enabled/running.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// CPU cycles.
    pub cycles: u64,
    /// Retired instructions.
    pub instructions: u64,
    /// Last-level cache references, if the machine counts them.
    pub llc_references: Option<u64>,
    /// Last-level cache misses, if the machine counts them.
    pub llc_misses: Option<u64>,
    /// Time the counters were enabled.
    pub enabled_ns: u64,
    /// Time they counted.
    pub running_ns: u64,
}

/// Block I/O of one image over the window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// The image.
    pub image: u32,
    /// Read requests.
    pub reads: u64,
    /// Write requests.
    pub writes: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub write_bytes: u64,
    /// Start to completion.
    pub latency: DistRaw,
}
