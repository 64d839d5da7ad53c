//! Wire types: what the kernel programs write and user space reads.
//!
//! In: nothing. Out: fixed-width `repr(C)` records, the histogram geometry, and the classes of loss.
//! Must not know: aya, any kernel struct, any policy. Builds on the host and inside the kernel (`no_std`).
#![no_std]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub mod events;
pub mod hist;
pub mod offsets;

pub use hist::{HIST_BUCKETS, bucket_of, index_of};
pub use offsets::{ABSENT, Offsets};

/// Transport of a connection.
pub const TRANSPORT_TCP: u8 = 1;
/// Transport of a connection.
pub const TRANSPORT_UDP: u8 = 2;
/// Transport of a connection.
pub const TRANSPORT_UNIX: u8 = 3;

/// Role of this end of a connection: not known yet.
pub const ROLE_UNKNOWN: u8 = 0;
/// Role of this end of a connection: it connected (or spoke first where nobody connects).
pub const ROLE_INITIATOR: u8 = 1;
/// Role of this end of a connection: it accepted (or was spoken to first).
pub const ROLE_ACCEPTOR: u8 = 2;

/// A `peer` with this bit set is a remote address (key of the map `REMOTES`), without it a program image.
/// Zero is "not known".
pub const PEER_REMOTE: u32 = 0x8000_0000;
/// The remote end that stands for all those that have no number of their own, since there are too many of them.
pub const PEER_OTHERS: u32 = PEER_REMOTE;

/// Slots for flows, all kinds together: the first ones are for flows between programs of this host and for those with
/// [`PEER_OTHERS`], which may take all others, too.
pub const FLOW_SLOTS: u32 = 4096;
/// From here on slots are for flows at whose ends are forked processes with numbers of their own.
pub const FORKED_SLOTS: u32 = 512;
/// From here on slots are for flows with remote ends that were called from here.
pub const SERVER_SLOTS: u32 = 1024;
/// From here on slots are for flows with remote ends that call. They are the last to get one of their own, so that a
/// flood of clients leaves room for everybody else.
pub const CLIENT_SLOTS: u32 = 2048;
/// Cells in which the ends that share [`PEER_OTHERS`] are told apart, to count them.
pub const FOLDED_CELLS: usize = 1 << 17;

/// The program image that stands for every kernel thread.
pub const IMAGE_KERNEL: u32 = 1;
/// The first image number given to a process.
pub const IMAGE_FIRST: u32 = 2;

/// In a [`BlameKey`]: the CPU was idle. No image has this number.
pub const IMAGE_IDLE: u32 = u32::MAX;

/// An image with this bit set is one forked process that has a number of its own. Its [`ImageInfo::parent_image`] is the
/// program it was forked from, which stands for all its children that have none.
pub const IMAGE_FORKED: u32 = 0x4000_0000;
/// Numbers that forked processes may have at a time.
pub const FORKED_MAX: u32 = 1024;

/// Who waited for a CPU, and who was on it meanwhile. Key of the map `BLAMED`; of the map `BEHIND` the same of requests to disks.
#[repr(C)]
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
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
pub struct BlameKey {
    /// Program image whose tasks could have run.
    pub image: u32,
    /// Program image that ran.
    pub by: u32,
}

/// Length of a task's name in the kernel.
pub const COMM_LEN: usize = 16;

/// A futex that threads slept by. Key of the map `LOCKS`.
#[repr(C)]
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
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
pub struct LockKey {
    /// Where the word lies in the memory of the process whose threads slept.
    pub address: u64,
    /// Program image whose threads slept.
    pub image: u32,
    /// Process whose threads slept.
    pub tgid: u32,
}

/// A thread that let a futex go. Key of the map `HOLDERS`.
#[repr(C)]
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
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
pub struct HolderKey {
    /// The futex.
    pub lock: LockKey,
    /// The thread.
    pub tid: u32,
    /// Fills the record to eight bytes.
    pub pad: u32,
}

/// Releases of a futex that are remembered: enough for a wait behind eight others.
pub const RELEASES: usize = 8;

/// A thread woke one that slept by a futex: it lets it go.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Release {
    /// When.
    pub at_ns: u64,
    /// Which thread.
    pub tid: u32,
    /// Fills the record to eight bytes.
    pub pad: u32,
}

/// Sleeps by a futex, monotone. They are told when they end.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct LockStats {
    /// How many ended.
    pub waits: u64,
    /// How long they were, since the flush before they ended.
    pub wait_ns: u64,
    /// Of that: while the sleeper had a message to answer.
    pub with_ball_ns: u64,
    /// Releases so far, those of one thread in a row as one; index into `releases` modulo its length.
    pub count: u64,
    /// The last ones.
    pub releases: [Release; RELEASES],
}

/// Sleeps while one thread had a futex, monotone.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct HolderStats {
    /// How long they were, of what is told in `LockStats::wait_ns`.
    pub wait_ns: u64,
    /// Name of the thread, when it let go first.
    pub comm: [u8; COMM_LEN],
}

/// What one aggregate is kept for: one end (program image) talking to one peer in one role.
#[repr(C)]
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
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
pub struct FlowKey {
    /// Program image of the process that sent or received.
    pub image: u32,
    /// Program image of the other end, or a remote number with [`PEER_REMOTE`] set, or 0.
    pub peer: u32,
    /// The acceptor's port, host order; 0 for Unix sockets and where it cannot be told.
    pub port: u16,
    /// One of `TRANSPORT_*`.
    pub transport: u8,
    /// One of `ROLE_*`.
    pub role: u8,
}

/// Sum, extremes and histogram of a duration in nanoseconds. Extremes are those of the window `epoch`.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Dist {
    /// Sum of all values, monotone.
    pub sum_ns: u64,
    /// Smallest value of window `epoch`.
    pub min_ns: u64,
    /// Largest value of window `epoch`.
    pub max_ns: u64,
    /// Number of the window the extremes belong to.
    pub epoch: u32,
    /// Fills the record to eight bytes.
    pub pad: u32,
    /// Monotone counts per bucket of [`hist`], wrapping.
    pub buckets: [u32; HIST_BUCKETS],
}

/// Time of an interval, split into its parts.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Parts {
    /// Executing on a CPU.
    pub on_cpu_ns: u64,
    /// Runnable, waiting for a CPU that others have.
    pub run_queue_ns: u64,
    /// Uninterruptible wait on the block layer.
    pub block_io_ns: u64,
    /// Any other wait after the prompting message was read.
    pub sleep_ns: u64,
    /// Any other wait while the prompting message was unread.
    pub queued_ns: u64,
    /// Any other wait for the rest of the prompting message, whose first piece was read.
    pub receiving_ns: u64,
    /// From the read by another thread until the sending thread took over.
    pub handed_over_ns: u64,
    /// Runnable, and held back by a CPU quota of its own.
    pub throttled_ns: u64,
}

/// Everything counted for a [`FlowKey`]. All counters are monotone; user space subtracts.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct FlowStats {
    /// Whose numbers these are; all zero while the slot is free.
    pub key: FlowKey,
    /// Fills the key to eight bytes.
    pub pad: u32,
    /// Messages this end sent (maximal runs of sends).
    pub messages_sent: u64,
    /// Messages this end received.
    pub messages_received: u64,
    /// Bytes the kernel took from this end.
    pub bytes_sent: u64,
    /// Bytes the kernel gave to this end.
    pub bytes_received: u64,
    /// First turns of connections older than the attach, seen but not counted in `answer_ns`.
    pub midlife_turns: u64,
    /// Receives that followed a send by less than the floor, or had arrived before it: no answers.
    pub below_floor: u64,
    /// Sends on the sender's own account where an answer was due, or data that another call took unseen: what is counted
    /// on the connection is a lower bound from then on.
    pub ambiguous: u64,
    /// Answers on connections with several requests open at once: counted, but in no distribution.
    pub untimed: u64,
    /// Of `queued_ns`: what lies within turnarounds that these requests prompted, booked where those are.
    pub unread_within_ns: u64,
    /// Answers whose arrival time was not told by the kernel; the receive call's return was used.
    pub arrival_unknown: u64,
    /// TCP segments sent again.
    pub retransmits: u64,
    /// Smallest round-trip time the kernel knows of for any connection of this flow, 0 if none.
    pub min_rtt_ns: u64,
    /// Parts of all turnarounds. Their sum is that of the turnarounds: `turnaround_ns.sum_ns` is not kept.
    pub turnaround_parts: Parts,
    /// Gaps before sends that no message prompted.
    pub unprompted: u64,
    /// Sum of those gaps.
    pub unprompted_ns: u64,
    /// How many of them have a length: the first send of a thread has none.
    pub unprompted_gaps: u64,
    /// Sum of the squares of their lengths, see [`gap_squared`].
    pub unprompted_squares: u64,
    /// Of the sleep of the turnarounds: for locks.
    pub turnaround_lock_ns: u64,
    /// Turnarounds that began in another thread (hand-over).
    pub handovers: u64,
    /// CPU cycles of the on-CPU part of the turnarounds; 0 unless asked for.
    pub turnaround_cycles: u64,
    /// Retired instructions of the same.
    pub turnaround_instructions: u64,
    /// Initiator: roundtrips and their latency. Acceptor: requests served and their service time.
    pub answer_ns: Dist,
    /// Acceptor: arrival of a request until its first receive. Initiator: the same for replies.
    pub queued_ns: Dist,
    /// Turnaround of each send of this flow.
    pub turnaround_ns: Dist,
    /// First to last byte of messages that came in pieces with waits between.
    pub receiving_ns: Dist,
    /// TCP: connects that ended without a connection.
    pub connects_failed: u64,
    /// First segments of connects that were sent again.
    pub syn_retransmits: u64,
    /// Connects, from their start to the connection.
    pub connect_ns: Dist,
}

/// The square of a gap, in whole units of 1024 ns and up to a minute or so: longer ones count as that, for a sum to last.
#[must_use]
#[inline(always)]
pub const fn gap_squared(ns: u64) -> u64 {
    const LONGEST: u64 = 1 << 26;
    let gap = ns.wrapping_add(1 << (GAP_SHIFT - 1)) >> GAP_SHIFT;
    let gap = if gap < LONGEST { gap } else { LONGEST };
    gap * gap
}
/// A unit of such a gap is so much, as a power of two, in nanoseconds.
pub const GAP_SHIFT: u32 = 10;

/// CPU clocks and counters of a program image, monotone.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct CpuStats {
    /// Time on a CPU.
    pub on_cpu_ns: u64,
    /// Time runnable without a CPU.
    pub run_queue_ns: u64,
    /// Time in uninterruptible wait on the block layer.
    pub block_io_ns: u64,
    /// Other time off the CPU.
    pub sleep_ns: u64,
    /// Switches the task asked for.
    pub voluntary_switches: u64,
    /// Switches forced on the task.
    pub involuntary_switches: u64,
    /// CPU cycles while on a CPU.
    pub cycles: u64,
    /// Retired instructions while on a CPU.
    pub instructions: u64,
    /// Last-level cache references.
    pub llc_references: u64,
    /// Last-level cache misses.
    pub llc_misses: u64,
    /// Time the counters were enabled.
    pub pmu_enabled_ns: u64,
    /// Time the counters really counted.
    pub pmu_running_ns: u64,
    /// Of `run_queue_ns`: while the CPU was idle, on the way to it.
    pub run_queue_idle_ns: u64,
    /// Of `run_queue_ns`: while a CPU quota of their own held tasks back.
    pub throttled_ns: u64,
    /// Of `sleep_ns`: for locks.
    pub lock_ns: u64,
    /// Of `sleep_ns`: for timers.
    pub timer_ns: u64,
    /// Of `sleep_ns`: for messages.
    pub socket_ns: u64,
    /// Tasks that were on a CPU since the flush before, summed over the flushes.
    pub tasks_ran: u64,
    /// Receives that found nothing.
    pub empty_receives: u64,
    /// Polls that were not to wait, and found nothing; 0 unless asked for.
    pub zero_timeout_polls: u64,
    /// Calls of `sched_yield`; 0 unless asked for.
    pub yields: u64,
    /// Of `on_cpu_ns`: from the first look in vain to the arrival of the message that was read next. Added when that is read.
    pub spin_ns: u64,
}

/// Block I/O of a program image, monotone.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct DiskStats {
    /// Read requests completed.
    pub reads: u64,
    /// Write requests completed; flushes and discards are not counted.
    pub writes: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub write_bytes: u64,
    /// Of the time below: behind requests of others, which had been started before on the same device, at most. By image in the
    /// map `BEHIND`, as far as that is known.
    pub behind_ns: u64,
    /// Time from the request's start in the block layer to its completion.
    pub latency_ns: Dist,
}

/// What the kernel knows of a program image when it first sees it.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct ImageInfo {
    /// The first process of the image.
    pub tgid: u32,
    /// The image this one's first process was before it called exec, or the program it was forked from; 0 if not known.
    pub parent_image: u32,
    /// cgroup v2 id at that time.
    pub cgroup_id: u64,
    /// `CLOCK_MONOTONIC` when the image was seen first.
    pub since_ns: u64,
    /// Name of the thread group leader at that time.
    pub comm: [u8; COMM_LEN],
}

/// A remote end.
#[repr(C)]
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
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
pub struct RemoteKey {
    /// IPv6 address, or IPv4 mapped into it (`::ffff:a.b.c.d`), network order.
    pub addr: [u8; 16],
    /// Port, host order; 0 for a remote initiator, whose port means nothing.
    pub port: u16,
    /// One of `TRANSPORT_*`.
    pub transport: u8,
    /// Fills the record to four bytes.
    pub pad: u8,
}

/// A listening port.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct ListenKey {
    /// Inode number of the network namespace.
    pub netns: u32,
    /// Port, host order.
    pub port: u16,
    /// Fills the record to four bytes.
    pub pad: u16,
}

/// A protocol as the kernel numbers it: its family, and for the internet's which of theirs it is. Key of the map
/// `PROTOCOLS`.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct ProtocolKey {
    /// `AF_*`; IPv6 counts as IPv4.
    pub family: u16,
    /// `IPPROTO_*`, for raw sockets with [`Self::RAW`]; 0 for other families.
    pub protocol: u16,
}

impl ProtocolKey {
    /// Added to the protocol of a raw socket.
    pub const RAW: u16 = 0x8000;
}

/// Settings that may change while the programs run. One entry of the map `SETTINGS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Settings {
    /// Number of the current window: extremes of a [`Dist`] start anew when it changes.
    pub epoch: u32,
    /// 1 while listeners are collected, 2 while sockets found are marked as older than the attach, else 0.
    pub scanning: u32,
    /// 1 when each connection's own minimum RTT is the floor; 0 when `floor_ns` is.
    pub floor_auto: u32,
    /// Fills the record to eight bytes.
    pub pad: u32,
    /// Constant floor for roundtrips.
    pub floor_ns: u64,
}

/// Reasons for which something that happened is not in the counts. Index into the per-CPU map `LOST`.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// Sends or receives not booked: the map of flows is full.
    Flows = 0,
    /// Sends or receives not booked: no memory for the socket's state.
    SocketState = 1,
    /// Switches or sends not booked: no memory for the task's state.
    TaskState = 2,
    /// CPU time not booked: the map of images is full.
    Images = 3,
    /// Block requests not booked: the map of open requests is full.
    DiskRequests = 4,
    /// Turnarounds whose start lies further back than the thread's remembered waits: parts approximate.
    History = 5,
    /// Remote ends merged into "unknown": the map of remote ends is full.
    Remotes = 6,
    /// Connections whose other end on this host was not found: the map of ends was full.
    Ends = 7,
    /// Single events not recorded: the ring was full.
    Events = 8,
    /// Runs of a program that the kernel skipped, since the program was at work on that CPU already. User space learns it
    /// from the kernel's own count, to which it adds what is counted here: one less for each that a second copy made up for,
    /// and kprobes, which the kernel skips for other reasons too and does not count, where that is noticed later.
    Skipped = 9,
    /// Sends of datagram sockets whose other end is not known, and datagrams read before it was, which wait to be booked on
    /// it: taken off again when they are.
    /// What is left is of sockets that closed before, and of those that still wait.
    Unplaced = 10,
    /// Sends and receives on connections of a protocol whose ends are not known how to find. By protocol in the map
    /// `PROTOCOLS`.
    UnplacedProtocol = 11,
    /// As `Skipped`, of the program that is told of arrivals: when a message arrived, and of datagrams also whose it was.
    Arrivals = 12,
    /// Sleeps not booked on the futex that they were by, or not on who had it: a map is full. They are in all other times.
    Locks = 13,
}

/// Number of classes of loss.
pub const LOST_CLASSES: usize = 14;

/// Names of the classes of loss, as in `quality.lost`; index as in [`Lost`].
pub const LOST_NAMES: [&str; LOST_CLASSES] = [
    "flows",
    "socket_state",
    "task_state",
    "images",
    "disk_requests",
    "history",
    "remotes",
    "connection_ends",
    "events",
    "skipped",
    "unplaced",
    "unplaced_protocol",
    "arrivals",
    "locks",
];

/// What the self-check read of our own task, to be compared with /proc. One entry of the map `SELF_CHECK`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SelfCheck {
    /// Tgid to check; set by user space before, the programs only look at this task.
    pub want_tgid: u32,
    /// 1 once the programs saw the task.
    pub seen: u32,
    /// `task_struct.pid` as read.
    pub tid: u32,
    /// `task_struct.tgid` as read.
    pub tgid: u32,
    /// `task_struct.start_boottime` as read.
    pub start_boottime_ns: u64,
    /// `task_struct.comm` as read.
    pub comm: [u8; COMM_LEN],
    /// Local port of our own socket as read.
    pub port: u16,
    /// Remote port of our own socket as read.
    pub remote_port: u16,
    /// Address family of our own socket as read.
    pub family: u16,
    /// Local port of the socket to check; set by user space before.
    pub want_port: u16,
}

const _: () = assert!(size_of::<FlowKey>() == 12);
const _: () = assert!(size_of::<Dist>() == 32 + 4 * HIST_BUCKETS);
const _: () = assert!(size_of::<FlowStats>() == 32 * 8 + 5 * size_of::<Dist>());
const _: () = assert!(size_of::<CpuStats>() == 176);
const _: () = assert!(size_of::<DiskStats>() == 40 + size_of::<Dist>());
const _: () = assert!(size_of::<ImageInfo>() == 40);
const _: () = assert!(size_of::<RemoteKey>() == 20);
const _: () = assert!(size_of::<BlameKey>() == 8);
const _: () = assert!(size_of::<LockKey>() == 16);
const _: () = assert!(size_of::<HolderKey>() == 24);
const _: () = assert!(size_of::<LockStats>() == 32 + 16 * RELEASES);
const _: () = assert!(size_of::<HolderStats>() == 24);
const _: () = assert!(size_of::<ListenKey>() == 8);
const _: () = assert!(size_of::<ProtocolKey>() == 4);
const _: () = assert!(size_of::<Settings>() == 24);
const _: () = assert!(size_of::<SelfCheck>() == 48);
