//! State kept with each task and each socket. Lives in the kernel only; user space never sees it.
//!
//! In: nothing. Out: plain records. Must not know: hooks.

use courtside_wire::FlowKey;

use crate::twice::MARKS;

/// Remembered waits of a task.
pub const EPISODES: usize = 8;
/// Remembered arrivals of a datagram socket.
pub const ARRIVALS: usize = 32;

/// Off the CPU because another task ran.
pub const OFF_RUN_QUEUE: u32 = 0;
/// Off the CPU in uninterruptible wait on the block layer.
pub const OFF_BLOCK_IO: u32 = 1;
/// Off the CPU for any other reason.
pub const OFF_SLEEP: u32 = 2;

/// Totals of a task's waits; what is left of the wall time was on-CPU.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Clocks {
    pub run_queue_ns: u64,
    pub block_io_ns: u64,
    pub sleep_ns: u64,
}

impl Clocks {
    /// As at a task's birth.
    pub const ZERO: Self = Self {
        run_queue_ns: 0,
        block_io_ns: 0,
        sleep_ns: 0,
    };
}

/// One wait: off the CPU at `off_ns`, runnable again at `wake_ns`, on the CPU at `on_ns`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Episode {
    pub off_ns: u64,
    pub wake_ns: u64,
    pub on_ns: u64,
    pub kind: u64,
}

/// State of a task.
#[repr(C)]
pub struct TaskState {
    /// When the clocks started; 0 before that.
    pub born_ns: u64,
    pub clocks: Clocks,
    /// Start of the wait that goes on, 0 while on a CPU.
    pub off_ns: u64,
    /// Last wake-up.
    pub wake_ns: u64,
    pub off_kind: u32,
    /// Program image, 0 before it is known.
    pub image: u32,
    pub tgid: u32,
    /// 1: it has received a message, or was woken or made by a thread that had, or is older than the attach.
    pub prompted: u32,
    /// The image it was told with as an event, and a mark that it was.
    pub told: u32,
    /// Waits so far; index into `episodes` modulo its length.
    pub episode_count: u32,
    pub episodes: [Episode; EPISODES],
    /// 1: the kernel does not keep this state, see `spare.rs`.
    pub spare: u64,
    pub voluntary: u64,
    pub involuntary: u64,
    /// What the first copies of programs have done and the second need not, see `twice.rs`.
    pub marks: [u8; MARKS],

    /// Start of the last send.
    pub sent_ns: u64,
    pub sent: Clocks,
    /// Arrival of the first message received since then; 0 if none.
    pub prompt_ns: u64,
    /// Where its turnaround starts: the later of arrival and last send.
    pub start_ns: u64,
    pub start: Clocks,
    /// Clocks where the send that is being booked began.
    pub end: Clocks,
    /// How long it had waited before this task was there or took it over.
    pub unborn_ns: u64,
    /// How long this task slept before it read it; noted when its turnaround ends.
    pub unread_ns: u64,
    /// `clocks.sleep_ns` when it was read.
    pub read_sleep_ns: u64,
    /// Arrival of the last message received since the last send; 0 if none.
    pub last_arrival_ns: u64,
    /// `voluntary` when that message was read: until the next wait, whoever is woken may be given it.
    pub read_voluntary: u64,
    /// Wake-up by a thread of the same process that had received a message.
    pub handover_wake_ns: u64,
    /// Arrival of that message.
    pub handover_arrival_ns: u64,
    /// Clocks at that wake-up.
    pub handover: Clocks,
    /// Connections whose requests this task has read and nobody answered yet (two of them are enough to know).
    pub open: [u64; 2],

    /// Unix and UDP: when this task's running send made data readable, at which socket.
    pub ready_ns: u64,
    pub ready_sk: u64,
    /// Image and port of that socket.
    pub ready_image: u32,
    pub ready_port: u32,

    /// Hardware counters: cycles, instructions, LLC references, LLC misses, enabled, running.
    pub counters: [u64; 6],
    /// Cycles and instructions at the last send, where the prompt's turnaround starts, and at the hand-over.
    pub sent_counts: [u64; 2],
    pub start_counts: [u64; 2],
    pub handover_counts: [u64; 2],
    /// The same where the running send call began; 0 if that is not known.
    pub sending_counts: [u64; 2],
    /// What has been added to the image's totals so far.
    pub flushed: Clocks,
    pub flushed_on_cpu_ns: u64,
    pub flushed_voluntary: u64,
    pub flushed_involuntary: u64,
    pub flushed_counters: [u64; 6],
    /// The call on a socket that is running: the socket, 0 if none is; its flags; and what kind it is.
    #[cfg(feature = "untyped")]
    pub call_sk: u64,
    #[cfg(feature = "untyped")]
    pub call_flags: u32,
    #[cfg(feature = "untyped")]
    pub call_kind: u32,
}

/// Last transfer was a send; 0 before the first one.
pub const DIR_OUT: u8 = 1;
/// Last transfer was a receive.
pub const DIR_IN: u8 = 2;

/// State of a socket.
#[repr(C)]
pub struct SockState {
    /// Program image of the process that used it last.
    pub image: u32,
    /// The other end: image, remote number, or 0.
    pub peer: u32,
    /// Thread group that used it last.
    pub tgid: u32,
    pub netns: u32,
    /// The acceptor's port.
    pub port: u16,
    /// `TRANSPORT_*`, 0 before the socket was looked at.
    pub transport: u8,
    pub role: u8,
    pub direction: u8,
    /// 1: older than the attach, no turn seen yet.
    pub midlife: u8,
    /// 1: the other end's process was found, not only guessed.
    pub peer_sure: u8,
    /// Look-ups of the other end so far.
    pub peer_tries: u8,
    /// 1: a received message waits for an answer by this end.
    pub pending: u8,
    /// 1: a sent message waits for an answer by the other end.
    pub awaiting: u8,
    /// 1: the running send call was booked early, because its answer came before it returned.
    pub booked_early: u8,
    /// 1: the reply at `orphan_ns` began a message of its own.
    pub orphan_turned: u8,
    /// 1: `arrival_ns` is when a receive left data behind, not an arrival.
    pub arrival_guess: u8,
    /// 1: `SOCK_STREAM`.
    pub stream: u8,
    /// 1: its connect or accept was seen.
    pub seen_born: u8,
    pub pad: [u8; 1],
    /// Local port; the socket itself has lost it when it closes.
    pub local_port: u16,
    /// 1: the last arrival came from a thread that no message ever prompted: it answers nothing (Unix).
    pub sender_unprompted: u8,
    pub pad2: [u8; 1],
    /// Slot of its flow, as it was last; the slot says itself whose it is now.
    pub flow_slot: u32,

    /// Arrival of the data that starts at `arrival_seq` (TCP), or of what is in the queue (Unix streams).
    pub arrival_ns: u64,
    /// The arrival before that (TCP), or the last receive (Unix streams).
    pub arrival_before_ns: u64,
    pub arrival_seq: u32,
    /// End of the data announced so far (TCP).
    pub ready_seq: u32,
    /// Datagrams announced and read so far.
    pub arrived: u32,
    pub consumed: u32,
    pub arrivals: [u64; ARRIVALS],

    /// Start of the send call that is running, 0 if none is (TCP).
    pub sending_ns: u64,
    /// Start of the last send call of the last sent message.
    pub sent_ns: u64,
    /// Earliest instant at which that call can have started.
    pub sent_after_ns: u64,
    /// Arrival of the first byte of the last received message.
    pub received_ns: u64,
    /// Arrival of the request that the send booked early answers, 0 if none.
    pub early_unanswered_ns: u64,
    /// Unix and UDP: arrival of a reply whose send call has not been seen yet, 0 if none.
    pub orphan_ns: u64,

    /// Sends not booked yet, because the other end is about to be known.
    /// How many messages begin with them, and above [`HELD_SENDS`] how many sends they are.
    pub held: u64,
    pub held_bytes: u64,

    /// Its number among the events, 0 before the first one.
    pub number: u64,
    /// The flow it was told with.
    pub told: FlowKey,
    /// Where the last datagram over loopback came from, for an initiator that has no port to be known by (UDP).
    pub source_port: u16,
    pub pad3: u16,
}

/// One send in `held`; below that are messages.
pub const HELD_SEND: u64 = 1 << HELD_SENDS;
/// Where the number of sends begins in `held`.
pub const HELD_SENDS: u32 = 32;

impl SockState {
    /// The flow that its traffic is booked on now.
    #[inline(always)]
    pub fn flow_key(&self) -> FlowKey {
        FlowKey {
            image: self.image,
            peer: self.peer,
            port: self.port,
            transport: self.transport,
            role: self.role,
        }
    }
}

/// Zeroes a field. Two plain zeroes side by side would become a call that writes them byte by byte.
#[inline(always)]
pub fn clear(field: &mut u64) {
    // SAFETY: a valid reference.
    unsafe { core::ptr::write_volatile(field, 0) };
}
