//! State kept with each task and each socket. Lives in the kernel only; user space never sees it.
//!
//! In: nothing. Out: plain records. Must not know: hooks.

use core::mem::offset_of;

use courtside_wire::{FlowKey, FlowStats, TRANSPORT_TCP};

/// Remembered waits of a task.
pub const EPISODES: usize = 8;
/// Kinds of marks in a task's state (`twice.rs`), filled to whole words.
pub const MARKS: usize = 16;
/// Remembered arrivals of a datagram socket.
pub const ARRIVALS: usize = 32;

/// Reads of a task since its last send that are kept one by one.
pub const READS: usize = 4;

/// Words of a line of the cache.
const LINE: usize = 8;

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
    /// Of that: while a quota held it back.
    pub throttled_ns: u64,
    pub block_io_ns: u64,
    pub sleep_ns: u64,
}

impl Clocks {
    /// As at a task's birth.
    pub const ZERO: Self = Self {
        run_queue_ns: 0,
        throttled_ns: 0,
        block_io_ns: 0,
        sleep_ns: 0,
    };
}

/// One wait: off the CPU at `off_ns`, runnable again at `wake_ns`, held back by a quota for `held_ns` from then on, on the CPU
/// at `on_ns`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Episode {
    pub off_ns: u64,
    pub wake_ns: u64,
    pub on_ns: u64,
    pub held_ns: u64,
    pub kind: u64,
}

/// State of a task, in groups by who writes them: what another CPU has just written costs as much to read as all the rest of
/// a hook. Each group begins a line of the cache, with a line between it and the group before, since the one beside comes
/// along. The first line begins with what the kernel reads at each look-up.
#[repr(C)]
pub struct TaskState {
    // What rarely changes: written only when it does.
    /// When the clocks started; 0 before that.
    pub born_ns: u64,
    /// Program image, 0 before it is known.
    pub image: u32,
    pub tgid: u32,
    /// 1: it has received a message, or was woken or made by a thread that had, or is older than the attach.
    pub prompted: u32,
    /// The image it was told with as an event, and a mark that it was.
    pub told: u32,
    /// 1: the kernel does not keep this state, see `spare.rs`.
    pub spare: u64,
    /// The futex that the last sleep is by, where it is for a lock; 0 if that cannot be told. Here, since each wake-up asks, on
    /// whichever CPU: most tasks never sleep so, and what the task itself writes is left alone.
    pub off_futex: u64,
    pub gap_rare: [u64; 2 + LINE],

    // What wakers write.
    /// Last wake-up.
    pub wake_ns: u64,
    /// Wake-up by a thread of the same process that held a message.
    pub handover_wake_ns: u64,
    /// That message; its token is 0 if there is none.
    pub handover_read: Read,
    /// `voluntary` at that wake-up: until the next wait, whoever is woken may be given it in turn.
    pub handover_voluntary: u64,
    /// 1: the last wake-up came from a thread of the same process.
    pub woken_by_own: u32,
    pub pad_wake: u32,
    /// Cycles and instructions at the hand-over.
    pub handover_counts: [u64; 2],
    /// Last wake-up while it was still on its CPU, on the way to wait.
    pub early_wake_ns: u64,
    /// When it was moved to another CPU last while it could run.
    pub queued_ns: u64,
    /// For how long quotas had held its part of the run queue back when it was woken last.
    pub quota_wake_ns: u64,
    pub gap_wake: [u64; 3 + LINE],

    // What the task itself writes.
    pub clocks: Clocks,
    /// Start of the wait that goes on, 0 while on a CPU.
    pub off_ns: u64,
    pub off_kind: u32,
    /// Waits so far; index into `episodes` modulo its length.
    pub episode_count: u32,
    pub voluntary: u64,
    pub involuntary: u64,
    /// `voluntary` at the end of the last send.
    pub sent_voluntary: u64,
    /// Of the time in the run queue: while the CPU was idle.
    pub idle_ns: u64,
    /// For how long a quota has held it back of the wait that goes on, on CPUs that it has left.
    pub wait_held_ns: u64,
    /// What the last sleep is for: a constant of `waits.rs`, 0 if for nothing that can be told.
    pub off_what: u32,
    /// 1: the wait below came after a sleep.
    pub queue_after_sleep: u32,
    /// The last wait for a CPU that nobody was blamed for yet; none if it ends before it begins.
    pub queue_from_ns: u64,
    pub queue_to_ns: u64,
    /// Where it left its CPU, or was put on another one: address of its part of the run queue, and for how long quotas had held
    /// that back.
    pub quota_of: u64,
    pub quota_off_ns: u64,
    /// Of the sleep: for locks, for timers, for messages.
    pub lock_ns: u64,
    pub timer_ns: u64,
    pub socket_ns: u64,
    /// The last sleep since the last flush, if it may have been for a message that is read next.
    pub unclaimed_ns: u64,
    /// `lock_ns` where the turnaround begins, as far as that goes on, and at the last wake-up by a thread that held a message.
    pub lock_mark_ns: u64,
    pub handover_lock_ns: u64,
    /// Looks in vain since it last sent or received anything: 0, 1, or [`MANY`](crate::polls::MANY).
    pub looks: u32,
    /// 1: the system call that runs is a poll that is not to wait.
    pub polls: u32,
    pub episodes: [Episode; EPISODES],
    /// What the first copies of programs have done and the second need not, see `twice.rs`.
    pub marks: [u8; MARKS],

    /// Start of the last send.
    pub sent_ns: u64,
    pub sent: Clocks,
    /// Sends so far.
    pub sends: u32,
    /// Messages read before the last send and not sent for yet; they count until the next wait.
    pub batch: u32,
    /// The first messages read since the last send, in a ring: where it begins, how many there are, and how many more
    /// there was no room for.
    pub reads_first: u32,
    pub reads_kept: u32,
    pub reads_more: u32,
    pub pad: u32,
    pub reads: [Read; READS],
    /// The last message read, since the last send or before.
    pub last_read: Read,
    /// `voluntary` when that message was read: until the next wait, whoever is woken may be given it. 0: nothing is held.
    pub read_voluntary: u64,
    /// The message whose turnaround starts at `start`; 0 if that has still to be found out.
    pub noted: u64,
    /// Where the turnaround starts that goes on: the later of arrival and last send.
    pub start_ns: u64,
    pub start: Clocks,
    /// Clocks where the send that is being booked began.
    pub end: Clocks,
    /// Of the turnaround that ends: how long the message lay unread before this task was there or took it over, and how
    /// long after that another one had it.
    pub before_birth_ns: u64,
    pub handed_ns: u64,
    /// How much of this task's sleep the message lay unread, and for how much of it the rest of the message was missing.
    pub unread_ns: u64,
    pub rest_ns: u64,
    /// How much of the turnaround had passed when the message was read, if it is a request.
    pub within_ns: u64,
    /// Sleep for the rest of the message `noted` so far, and `clocks.sleep_ns` when a piece of it was read last.
    pub receiving_ns: u64,
    pub piece_sleep_ns: u64,
    /// Clocks at the wake-up by a thread of the same process that held a message.
    pub handover: Clocks,
    /// The request that the send which is being booked found unanswered on its connection.
    pub found: Request,
    pub pad_found: u32,
    /// 1: it has woken a thread of its process while it held a message, or read where another one had read before.
    pub handed_out: u32,
    /// What the last send ended, see `turnaround::NOTHING`.
    pub ended: u32,
    /// What it answers, see `turnaround::NO_ANSWER`.
    pub answers: u32,

    /// Unix and UDP: when this task's running send made data readable, at which socket.
    pub ready_ns: u64,
    pub ready_sk: u64,
    /// Image and port of that socket; the port with [`READY_UNSURE`].
    pub ready_image: u32,
    pub ready_port: u32,
    /// MPTCP: when this task's running send began, 0 if none is.
    pub mptcp_ns: u64,

    /// Hardware counters: cycles, instructions, LLC references, LLC misses, enabled, running.
    pub counters: [u64; 6],
    /// Cycles and instructions at the last send, and where the prompt's turnaround starts.
    pub sent_counts: [u64; 2],
    pub start_counts: [u64; 2],
    /// The same where the running send call began; 0 if that is not known.
    pub sending_counts: [u64; 2],
    /// What has been added to the image's totals so far.
    pub flushed: Clocks,
    pub flushed_on_cpu_ns: u64,
    pub flushed_voluntary: u64,
    pub flushed_involuntary: u64,
    pub flushed_idle_ns: u64,
    pub flushed_throttled_ns: u64,
    pub flushed_lock_ns: u64,
    pub flushed_timer_ns: u64,
    pub flushed_socket_ns: u64,
    /// When that was.
    pub flush_ns: u64,
    pub flushed_counters: [u64; 6],
    /// When the first of the looks in vain was over, and for how long it had waited for anything by then.
    pub looks_ns: u64,
    pub looks_waited_ns: u64,
    /// Looks in vain so far, by kind, and the time on a CPU that went into those.
    pub empty_receives: u64,
    pub zero_timeout_polls: u64,
    pub yields: u64,
    pub spin_ns: u64,
    pub flushed_empty_receives: u64,
    pub flushed_zero_timeout_polls: u64,
    pub flushed_yields: u64,
    pub flushed_spin_ns: u64,
    /// The call on a socket that is running: the socket, 0 if none is; its flags; and what kind it is.
    #[cfg(feature = "untyped")]
    pub call_sk: u64,
    #[cfg(feature = "untyped")]
    pub call_flags: u32,
    #[cfg(feature = "untyped")]
    pub call_kind: u32,
}

/// A message that a task has read.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Read {
    /// Which one, see `prompt::token`; 0 if there is none.
    pub token: u64,
    /// When it arrived.
    pub arrival_ns: u64,
    /// When it was read.
    pub read_ns: u64,
    /// The task's `clocks.sleep_ns` then.
    pub sleep_ns: u64,
}

/// A message of a connection that its end has not answered.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Request {
    /// Arrival of its first byte.
    pub arrival_ns: u64,
    /// When it was read first.
    pub read_ns: u64,
    /// What its last reader knows it by, 0 if there is no such message.
    pub token: u64,
    /// The task that read of it last, and how often that had sent by then.
    pub reader: u32,
    pub sends: u32,
}

/// A send call is to be booked: no time at which one begins.
pub const TO_BOOK: u64 = 1;
/// Last transfer was a send; 0 before the first one.
pub const DIR_OUT: u8 = 1;
/// Last transfer was a receive.
pub const DIR_IN: u8 = 2;

/// State of a socket, in groups as that of a task.
#[repr(C)]
pub struct SockState {
    // What rarely changes: written only when it does.
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
    /// 1: the other end's process was found, not only guessed.
    pub peer_sure: u8,
    /// Look-ups of the other end so far.
    pub peer_tries: u8,
    /// 1: `SOCK_STREAM`.
    pub stream: u8,
    /// One of `MPTCP_*`, 0 for any other socket.
    pub mptcp: u8,
    /// Local port; the socket itself has lost it when it closes.
    pub local_port: u16,
    /// Where the last datagram over loopback came from, for an initiator that has no port to be known by (UDP).
    pub source_port: u16,
    /// 1: its connect or accept was seen.
    pub seen_born: u8,
    /// How often the first segment of its connect was sent again.
    pub syn_retransmits: u8,
    /// 1: the connection is over.
    pub closed: u8,
    /// TCP, 1: `counted_seq` is known. Here, since arrivals ask it, too.
    pub counts: u8,
    /// Slot of its flow, as it was last; the slot says itself whose it is now.
    pub flow_slot: u32,
    pub pad_slot: u32,
    /// Where the kernel has it: a number, which a pointer is not for the verifier.
    pub address: u64,
    /// Its number among the events, 0 before the first one.
    pub number: u64,
    /// The flow it was told with.
    pub told: FlowKey,
    pub gap_rare: [u64; LINE - 2],

    // What the deliverer of data writes, and the reader only reads.
    /// Last arrival of data that begins at `arrival_seq` (TCP), or that found the queue empty (Unix streams, MPTCP).
    pub arrival_ns: u64,
    /// The arrival before that (TCP).
    pub arrival_before_ns: u64,
    pub arrival_seq: u32,
    /// End of the data announced so far (TCP).
    pub ready_seq: u32,
    /// Datagrams announced so far.
    pub arrived: u32,
    /// 1: the last arrival came from a thread that no message ever prompted: it answers nothing (Unix).
    pub sender_unprompted: u8,
    /// 1: datagrams came here from other hosts, which nothing will tell the program of.
    pub from_afar: u8,
    pub pad_mail: [u8; 2],
    pub pad_arrivals: [u64; 4],
    pub arrivals: [u64; ARRIVALS],
    pub gap_mail: [u64; LINE],

    // What the threads of its process write; what each send and receive needs comes first.
    pub direction: u8,
    /// 1: older than the attach, no turn seen yet.
    pub midlife: u8,
    /// 1: a received message waits for an answer by this end.
    pub pending: u8,
    /// 1: a sent message waits for an answer by the other end.
    pub awaiting: u8,
    /// 1: the reply at `orphan_ns` began a message of its own.
    pub orphan_turned: u8,
    /// 1: more than one request was open at once: which answer belongs to which cannot be told.
    pub interleaved: u8,
    /// 1: the last received message, the last sent one, came in pieces with waits between.
    pub in_waits: u8,
    pub out_waits: u8,
    /// 1: two datagrams of one direction were on their way at once.
    pub overlap: u8,
    /// 1: some received message came in pieces with waits between.
    pub streamed: u8,
    /// 1: this end sends on its own account, and answers nothing.
    pub own_account: u8,
    /// 1: the start of the last send call is known.
    pub start_known: u8,
    /// 1: the last message was sent by another thread than the one that read the answer before it, which had asked for it in
    /// pieces (initiator).
    pub skips_answers: u8,
    /// 1: some message was sent by another thread than the one that had read last.
    pub by_several: u8,
    /// 1: the last message was a call of which nobody saw for whom it was (initiator).
    pub unseen: u8,
    /// 1: the message that is being told was read while the one before was being answered (acceptor).
    pub overtakes: u8,
    /// Start of the send call that is running, 0 if none is (TCP).
    pub sending_ns: u64,
    /// [`TO_BOOK`]: that call has not been booked yet: by itself when it returns, or early by the thread that has read its
    /// answer. Whoever takes this books it. `sending_ns`: it is being booked, and the next request has been read meanwhile.
    pub to_book: u64,
    /// Start of the last send call of the last sent message.
    pub sent_ns: u64,
    /// Earliest instant at which that call can have started.
    pub sent_after_ns: u64,
    /// `voluntary` of its task when the last send call ended.
    pub sent_voluntary: u64,
    /// Unix and UDP: arrival of a reply whose send call has not been seen yet, 0 if none.
    pub orphan_ns: u64,
    /// The task that sent last.
    pub sender: u32,
    /// Number of the last message that a task read here.
    pub prompts: u32,

    /// The last received message.
    pub request: Request,
    /// When anything was read last.
    pub read_ns: u64,
    /// When a receive left data behind, which begins at `left_seq` (TCP); 0 if none did.
    pub left_ns: u64,
    pub left_seq: u32,
    /// TCP: how far receives have taken the data, by what they said.
    pub counted_seq: u32,
    pub pad_seq: u32,
    /// How much has been booked that no receive gave.
    pub unseen_bytes: u32,

    /// Sends not booked yet, because the other end is about to be known.
    /// How many messages begin with them, and above [`HELD_SENDS`] how many sends they are.
    pub held: u64,
    pub held_bytes: u64,
    /// The same of a datagram that was read before it was announced, see `held.rs`.
    pub held_receive: u64,
    /// How much more had been taken at the last send. A receive may have been on its way to say so.
    pub uncounted_bytes: u32,
    /// Datagrams read so far.
    pub consumed: u32,
    /// Arrival of the last piece of the last received message, if it came in pieces with waits between.
    pub piece_ns: u64,
    /// The request that a send which is booked early answers.
    pub early: Request,
    /// TCP: start of the connect that is under way, 0 if none is.
    pub connect_ns: u64,
    /// How long the connect took that is to be booked with the first traffic, 0 if none is.
    pub connected_after_ns: u64,
}

/// A flow's key is compared with a socket by words, see `flows::flow_of`.
const _: () = {
    assert!(offset_of!(SockState, image) % 8 == 0 && offset_of!(FlowStats, key) % 8 == 0);
    assert!(offset_of!(SockState, peer) - offset_of!(SockState, image) == 4);
    assert!(offset_of!(FlowKey, image) == 0 && offset_of!(FlowKey, peer) == 4);
    assert!(offset_of!(SockState, port) % 4 == 0 && offset_of!(FlowKey, port) == 8);
    assert!(offset_of!(SockState, transport) - offset_of!(SockState, port) == 2);
    assert!(offset_of!(SockState, role) - offset_of!(SockState, port) == 3);
    assert!(offset_of!(FlowKey, transport) == 10 && offset_of!(FlowKey, role) == 11);
};

/// The kernel puts eight bytes of its own before a state, at the beginning of a line.
const _: () = {
    assert!(offset_of!(TaskState, wake_ns) % 64 == 56);
    assert!(offset_of!(TaskState, clocks) % 64 == 56);
    assert!(offset_of!(SockState, arrival_ns) % 64 == 56);
    assert!(offset_of!(SockState, direction) % 64 == 56);
};

/// The connection as its process has it: no sequence numbers of its own, and bytes that TCP sockets underneath carry.
pub const MPTCP_WHOLE: u8 = 1;
/// One of those TCP sockets. What it carries is booked on the whole.
pub const MPTCP_PART: u8 = 2;

/// With `ready_port`: what made that socket readable had been read before it could be asked where it came from.
pub const READY_UNSURE: u32 = 1 << 16;

/// One send in `held`; below that are messages.
pub const HELD_SEND: u64 = 1 << HELD_SENDS;
/// In `held`: a connect waits, too.
pub const HELD_CONNECT: u64 = 1 << 63;
/// Where the number of sends begins in `held`.
pub const HELD_SENDS: u32 = 32;

impl SockState {
    /// Whether sequence numbers tell what was sent when, and which arrival a read took.
    #[inline(always)]
    pub fn has_sequence(&self) -> bool {
        self.transport == TRANSPORT_TCP && self.mptcp != MPTCP_WHOLE
    }

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
