//! Frame: one window of raw facts, the only thing that live, record and replay share.
//!
//! In: nothing (plain data). Out: serialisable records, all counts already differences over the window.
//! Must not know: aya, the file system, the clock, how anything is shown.
//!
//! Recordings hold these names. Fields may be added, with `#[serde(default)]`; none is renamed, removed or given
//! another meaning without a new version of the recording's format (docs/recording.md).

mod locks;
mod merge;

use std::collections::BTreeMap;

use courtside_wire::PEER_OTHERS;
use serde::{Deserialize, Serialize};

pub use locks::{Holder, Lock, add_locks};
pub use merge::{
    Merge, add_by_image, add_connects, add_counts, add_cpu, add_disk, add_flow,
    add_turnaround_counters, known_min, merge, merge_dist, plus,
};

use crate::parts::Parts;

/// One window of raw facts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Frame {
    /// The machine.
    pub host: Host,
    /// CPU time that the hypervisor gave to others in this window; `None` in older recordings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steal: Option<Steal>,
    /// Wall-clock start of the window.
    pub start_unix_ns: u64,
    /// Length of the window on the monotonic clock.
    pub duration_ns: u64,
    /// What was dropped in this window, by class.
    pub lost: BTreeMap<String, u64>,
    /// Of `lost`, class `unplaced_protocol`: sends and receives by protocol.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unplaced_protocols: BTreeMap<String, u64>,
    /// Single events that happened in this window, by kind, recorded or lost; empty where none were asked for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub events: BTreeMap<String, u64>,
    /// Connections in use that are older than the attach.
    pub midlife_connections: u64,
    /// Remote ends that were new in this window and got no number of their own, about: they are all one end here.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub folded_remotes: u64,
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
    /// How much of unread time lies within turnarounds is known (`Flow::unread_within_ns`); in older recordings it is not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tells_unread_within: bool,
    /// What quotas held back is a part of turnarounds. In older recordings, and where the kernel does not show it, it is not: there
    /// it is in their run queue.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tells_throttled_parts: bool,
    /// CPU time, one record for each image.
    pub cpu: Vec<Cpu>,
    /// Block I/O, one record for each image.
    pub disk: Vec<Disk>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands fields over by reference"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
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

/// CPU time that a hypervisor gave to others while a CPU of this host was ready to run something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Steal {
    /// Of all CPUs together.
    Ns(u64),
    /// It is not known.
    Unknown(StealUnknown),
}

impl Steal {
    /// Together with another window: known if it is of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Ns(one), Self::Ns(other)) => Self::Ns(one.saturating_add(other)),
            (Self::Ns(_), unknown) => unknown,
            (unknown, _) => unknown,
        }
    }
}

/// Why it is not known how much a hypervisor took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StealUnknown {
    /// The counter has stood at 0 since this virtual machine started: nothing was taken, or the hypervisor does not tell.
    NeverTold,
    /// /proc/stat cannot be read.
    Unreadable,
    /// Recorded by a version that did not look.
    NotRecorded,
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

/// A program image: what one exec made, or one process that was forked from it.
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
    /// What the container or pod is called, if its runtime says so where it can be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_name: Option<String>,
    /// cgroup path.
    pub cgroup: String,
    /// Kernel threads.
    pub kernel: bool,
    /// Processes of the image known in this window.
    pub processes: Vec<Process>,
    /// Thread group id of the process that it was first, which may have ended. Not in older recordings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_tgid: Option<u32>,
    /// Ports it listens on.
    pub listens: Vec<u16>,
    /// How many ended images of its kind it stands for, because they were too many to be kept one by one; 0 for an ordinary
    /// image.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gone: u64,
}

impl Image {
    /// What those that stand for others are called, beside the name of their program.
    pub const GONE: &str = "(gone)";
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

impl Remote {
    /// All remote ends that have no number of their own, as one.
    #[must_use]
    pub fn others() -> Self {
        Self {
            id: PEER_OTHERS,
            address: "(other remote ends)".to_owned(),
            port: 0,
        }
    }
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

impl DistRaw {
    /// Whether there was no value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }
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
    /// What makes counts lower bounds, where it is more than zero: answers that may belong to another request, data
    /// that no receive gave.
    pub ambiguous: u64,
    /// Answers on connections with several requests open at once, counted in `answered` and in no distribution; more than
    /// zero makes counts lower bounds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub untimed: u64,
    /// Of `queued`: what lies within the turnarounds of this flow, which requests prompted.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unread_within_ns: u64,
    /// Answers timed by the receive call's return.
    pub arrival_unknown: u64,
    /// TCP segments sent again.
    pub retransmits: u64,
    /// Smallest RTT known to the kernel, 0 if none.
    pub min_rtt_ns: u64,
    /// Turnarounds that ended in a send to this peer.
    pub turnarounds: u64,
    /// Their parts.
    pub turnaround_parts: Parts<u64>,
    /// Sends that no message prompted.
    pub unprompted: u64,
    /// Sum of the gaps before those.
    pub unprompted_ns: u64,
    /// How many of those have a length: a thread's first send has none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unprompted_gaps: u64,
    /// Sum of the squares of their lengths, as `courtside_wire::gap_squared` has them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unprompted_squares: u64,
    /// Of the sleep in `turnaround_parts`: for locks.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub turnaround_lock_ns: u64,
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
    /// First to last byte of messages that came in pieces with waits between.
    #[serde(default, skip_serializing_if = "DistRaw::is_empty")]
    pub receiving: DistRaw,
    /// TCP: what became of its connects.
    #[serde(default, skip_serializing_if = "Connects::is_none")]
    pub connects: Connects,
}

/// Connects of a flow's initiator; those that ended in this window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connects {
    /// Those that ended without a connection.
    pub failed: u64,
    /// First segments that were sent again.
    pub syn_retransmits: u64,
    /// Start to connection, of the others.
    pub latency: DistRaw,
}

impl Connects {
    /// Whether there was none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.failed == 0 && self.syn_retransmits == 0 && self.latency.buckets.is_empty()
    }
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
    /// Runnable, and held back by a CPU quota of its own; not in `run_queue_ns`. `None` where that is not measured, and in older
    /// recordings: there it is in `run_queue_ns`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttled_ns: Option<u64>,
    /// What its threads slept for; `None` where that is not measured, and as below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<Waits>,
    /// Of `run_queue_ns`: image that was on the CPU meanwhile, and how long; 4294967295 if the CPU was idle, 0 if that could
    /// not be told. Ascending. Empty in older recordings, and in windows that were made of single events.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub run_queue_by: Vec<(u32, u64)>,
    /// Threads that were on a CPU in this window; of several windows, the most in one. `None` as above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<u64>,
    /// How often its threads looked for messages in vain; `None` where receives are not measured, and as above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub polls: Option<Polls>,
    /// Futexes by which its threads slept, those that cost most first. `None` where that is not measured, and as above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locks: Option<Vec<Lock>>,
}

/// Looks for messages in vain by one image's threads over the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Polls {
    /// Receives that found nothing.
    pub empty_receives: u64,
    /// Polls that were not to wait, and found nothing; `None` unless asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zero_timeout_polls: Option<u64>,
    /// Calls of `sched_yield`; `None` unless asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yields: Option<u64>,
    /// On a CPU from the first look to the arrival of the message that was read next, of messages read in this window.
    pub spin_ns: u64,
}

/// Sleep of one image's threads over the window, by what they slept for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waits {
    /// For a lock, a condition or work, by a futex.
    pub lock_ns: u64,
    /// For a timer.
    pub timer_ns: u64,
    /// For a message that was read next.
    pub socket_ns: u64,
    /// For anything else.
    pub other_ns: u64,
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
    /// Of `latency`: image whose requests had been started before on the same device, and how long these waited behind them, at
    /// most; 0 if whose those were could not be told. Ascending. `None` where that is not measured, in older recordings, and in
    /// windows that were made of single events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued_behind: Option<Vec<(u32, u64)>>,
}
