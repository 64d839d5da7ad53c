//! Wire types of single events: what the kernel programs put into the ring `EVENTS` when a user asks for it.
//!
//! In: nothing. Out: fixed-width `repr(C)` records of several sizes, each led by an [`EventHead`].
//! Must not know: how they are kept. Builds on the host and inside the kernel (`no_std`).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{COMM_LEN, FlowKey};

/// A task as it is when it is told first, and again when its image changes: [`TaskEvent`].
pub const EVENT_TASK: u8 = 0;
/// A connection when it is told first, and again when what it belongs to changes: [`ConnectionEvent`].
pub const EVENT_CONNECTION: u8 = 1;
/// A CPU goes from one task to the next: [`SwitchEvent`].
pub const EVENT_SWITCH: u8 = 2;
/// A task is woken: [`WakeEvent`].
pub const EVENT_WAKE: u8 = 3;
/// A send: [`SendEvent`].
pub const EVENT_SEND: u8 = 4;
/// A receive: [`ReceiveEvent`].
pub const EVENT_RECEIVE: u8 = 5;
/// Data became readable: [`ArrivalEvent`].
pub const EVENT_ARRIVAL: u8 = 6;
/// A connection changes its TCP state: [`StateEvent`].
pub const EVENT_STATE: u8 = 7;
/// A block request starts: [`DiskEvent`].
pub const EVENT_DISK_START: u8 = 8;
/// A block request completes, wholly or in part: [`DiskEvent`].
pub const EVENT_DISK_END: u8 = 9;
/// A task is made: [`ForkEvent`].
pub const EVENT_FORK: u8 = 10;
/// A task becomes another program: [`ExecEvent`].
pub const EVENT_EXEC: u8 = 11;
/// A task ends: the head alone.
pub const EVENT_EXIT: u8 = 12;
/// For how long a quota held a task back in its last wait: [`HeldEvent`].
pub const EVENT_HELD: u8 = 13;
/// A task looks for messages in vain again and again: [`LookEvent`].
pub const EVENT_LOOK: u8 = 14;
/// Number of kinds.
pub const EVENT_KINDS: usize = 15;

/// [`EVENT_SWITCH`]: why the task leaves, one of 0 (another runs), 1 (block layer), 2 (any other wait).
pub const SWITCH_KIND: u8 = 3;
/// [`EVENT_WAKE`]: the task was off the CPU.
pub const WAKE_WAITED: u8 = 1;
/// [`EVENT_RECEIVE`]: the kernel told the arrival.
pub const RECEIVE_KNOWN: u8 = 1;
/// [`EVENT_RECEIVE`]: it came from a task that no message ever prompted (Unix).
pub const RECEIVE_UNPROMPTED: u8 = 2;
/// Set in a receive's head if it was faster than the announcement of what it read: it belongs where the connection's next
/// transfer does.
pub const RECEIVE_HELD: u8 = 4;
/// [`EVENT_SEND`]: the kernel showed when it began.
pub const SEND_KNOWN: u8 = 1;
/// [`EVENT_TASK`]: it has been prompted by a message, directly or not, or is older than the attach.
pub const TASK_PROMPTED: u8 = 1;
/// [`EVENT_CONNECTION`]: older than the attach, and no turn of it seen yet.
pub const CONNECTION_MIDLIFE: u8 = 1;
/// [`EVENT_DISK_START`], [`EVENT_DISK_END`]: a write.
pub const DISK_WRITE: u8 = 1;
/// [`EVENT_DISK_END`]: nothing of the request is left.
pub const DISK_LAST: u8 = 2;

/// What every event begins with.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct EventHead {
    /// `CLOCK_MONOTONIC` as the hook read it.
    pub time_ns: u64,
    /// The task it is about, or in whose context it happened; 0 for the idle task.
    pub tid: u32,
    /// One of `EVENT_*`.
    pub kind: u8,
    /// Of the kind.
    pub flags: u8,
    /// The CPU.
    pub cpu: u16,
}

/// A task as it is now.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct TaskEvent {
    /// The task, `TASK_*`.
    pub head: EventHead,
    /// Its thread group.
    pub tgid: u32,
    /// Its program image, 0 if that is not known yet.
    pub image: u32,
    /// When its clocks started.
    pub born_ns: u64,
    /// Since when it has been off the CPU, 0 if it is on one.
    pub off_ns: u64,
    /// Last wake-up.
    pub wake_ns: u64,
    /// Why it is off, as in [`SWITCH_KIND`].
    pub off_kind: u32,
    /// Fills the record to eight bytes.
    pub pad: u32,
    /// Its own name.
    pub comm: [u8; COMM_LEN],
}

/// A connection as it is now.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ConnectionEvent {
    /// `CONNECTION_*`.
    pub head: EventHead,
    /// Its number.
    pub connection: u64,
    /// Local address, IPv4 mapped into IPv6; zeroes for Unix sockets.
    pub local: [u8; 16],
    /// Remote address.
    pub remote: [u8; 16],
    /// Local port.
    pub local_port: u16,
    /// Remote port.
    pub remote_port: u16,
    /// Inode of the network namespace.
    pub netns: u32,
    /// What its traffic is booked on from now.
    pub key: FlowKey,
    /// Fills the record to eight bytes.
    pub pad: u32,
}

/// A switch. The head tells the task that leaves.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SwitchEvent {
    /// Who leaves, [`SWITCH_KIND`].
    pub head: EventHead,
    /// Who runs now; 0 for the idle task.
    pub next_tid: u32,
    /// Fills the record to eight bytes.
    pub pad: u32,
}

/// A quota held the task back in the wait that brought it to its CPU last. Told before anything else that the task does there.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct HeldEvent {
    /// The task.
    pub head: EventHead,
    /// For how long, from when it could run.
    pub held_ns: u64,
}

/// A wake-up. The head tells the waker: 0 for an interrupt, whichever task it interrupted.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct WakeEvent {
    /// Who wakes, `WAKE_*`.
    pub head: EventHead,
    /// Who is woken.
    pub woken_tid: u32,
    /// Fills the record to eight bytes.
    pub pad: u32,
}

/// A send call that took something, at its end.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SendEvent {
    /// The sender, `SEND_*`.
    pub head: EventHead,
    /// The connection.
    pub connection: u64,
    /// How long before it began.
    pub began_before_ns: u64,
    /// Bytes.
    pub bytes: u32,
    /// What it was booked on.
    pub key: FlowKey,
}

/// A receive call that gave something, at its end.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ReceiveEvent {
    /// The receiver, `RECEIVE_*`.
    pub head: EventHead,
    /// The connection.
    pub connection: u64,
    /// How long before the first byte had arrived.
    pub arrived_before_ns: u64,
    /// Bytes.
    pub bytes: u32,
    /// What is less than this after a send does not answer it, in nanoseconds.
    pub floor_ns: u32,
    /// What it was booked on.
    pub key: FlowKey,
    /// Fills the record to eight bytes.
    pub pad: u32,
}

/// Data became readable.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ArrivalEvent {
    /// In whose context.
    pub head: EventHead,
    /// The connection.
    pub connection: u64,
}

/// A connection changed its state.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct StateEvent {
    /// In whose context.
    pub head: EventHead,
    /// The connection.
    pub connection: u64,
    /// As the kernel numbers them.
    pub before: u32,
    /// As the kernel numbers them.
    pub after: u32,
}

/// Start or end of a block request.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct DiskEvent {
    /// Start: who asked. End: in whose context. `DISK_*`.
    pub head: EventHead,
    /// What tells it from the other requests under way.
    pub request: u64,
    /// Bytes that it moves, or moved.
    pub bytes: u32,
    /// The image that it is charged to.
    pub image: u32,
}

/// A new task. The head tells its parent.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ForkEvent {
    /// The parent.
    pub head: EventHead,
    /// The new task.
    pub tid: u32,
    /// Its thread group.
    pub tgid: u32,
    /// Its program image.
    pub image: u32,
    /// Fills the record to eight bytes.
    pub pad: u32,
}

/// A new program. The head tells the task as it is called from now on.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ExecEvent {
    /// The task.
    pub head: EventHead,
    /// Its number before: a thread that calls exec takes its leader's.
    pub old_tid: u32,
    /// The new program image.
    pub image: u32,
    /// Its name.
    pub comm: [u8; COMM_LEN],
}

/// The second look in vain of a task since it last sent or received anything.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct LookEvent {
    /// The task.
    pub head: EventHead,
    /// How long before the first look was over.
    pub first_before_ns: u64,
}

const _: () = assert!(size_of::<EventHead>() == 16);
const _: () = assert!(size_of::<LookEvent>() == 24);
const _: () = assert!(size_of::<TaskEvent>() == 72);
const _: () = assert!(size_of::<ConnectionEvent>() == 80);
const _: () = assert!(size_of::<SwitchEvent>() == 24);
const _: () = assert!(size_of::<HeldEvent>() == 24);
const _: () = assert!(size_of::<WakeEvent>() == 24);
const _: () = assert!(size_of::<SendEvent>() == 48);
const _: () = assert!(size_of::<ReceiveEvent>() == 56);
const _: () = assert!(size_of::<ArrivalEvent>() == 24);
const _: () = assert!(size_of::<StateEvent>() == 32);
const _: () = assert!(size_of::<DiskEvent>() == 32);
const _: () = assert!(size_of::<ForkEvent>() == 32);
const _: () = assert!(size_of::<ExecEvent>() == 40);
