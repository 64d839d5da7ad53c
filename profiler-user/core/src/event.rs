//! A single event: what one hook saw, before anything was added up.
//!
//! In: nothing. Out: plain records, the same live and from a recording. Must not know: the kernel's bytes, files, clocks.

/// What happened, when, and in whose context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// `CLOCK_MONOTONIC` in nanoseconds, as the hook read it.
    pub time_ns: u64,
    /// The task it is about, or in whose context it happened; 0 is the idle task.
    pub tid: u32,
    /// The CPU.
    pub cpu: u16,
    /// What happened.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A task as it is, when it is seen first, and again when its image has changed.
    Task(Box<Task>),
    /// A connection as it is, when it is seen first, and again when what it is booked on has changed.
    Connection(Box<Connection>),
    /// The task left its CPU to another one.
    Switch {
        /// Why.
        off: Off,
        /// Who runs now; 0 is the idle task.
        next_tid: u32,
    },
    /// The task woke another one; task 0: an interrupt did, or the idle task.
    Wake {
        /// Whom.
        tid: u32,
        /// It was off the CPU; otherwise it was about to leave it.
        waited: bool,
    },
    /// A send call ended.
    Send {
        /// Number of the connection.
        connection: u64,
        /// What it took.
        bytes: u32,
        /// When it began, as far as the kernel shows it.
        began_ns: u64,
        /// Whether the kernel shows it.
        known: bool,
        /// What it was booked on.
        flow: Flow,
    },
    /// A receive call ended.
    Receive {
        /// Number of the connection.
        connection: u64,
        /// What it gave.
        bytes: u32,
        /// When the first byte had arrived.
        arrived_ns: u64,
        /// Whether the kernel showed that time; otherwise it is the latest that it can have been.
        known: bool,
        /// A receive within this time of a send does not count as its reply.
        floor_ns: u32,
        /// It was sent by a task that no message ever prompted (Unix sockets).
        from_unprompted: bool,
        /// It came before the announcement of what it read, which says who sent it (datagrams): it is booked on the same flow
        /// as the connection's next transfer.
        waits: bool,
        /// What it was booked on.
        flow: Flow,
    },
    /// Data became readable.
    Arrival {
        /// Number of the connection.
        connection: u64,
    },
    /// A TCP connection changed its state; numbers as in the kernel (1 established, 2 SYN sent, 7 closed).
    State {
        /// Number of the connection.
        connection: u64,
        /// Before.
        before: u8,
        /// Now.
        after: u8,
    },
    /// A block request started.
    DiskStart(Disk),
    /// A block request completed, or a part of it.
    DiskEnd {
        /// The request; bytes are those that were moved now.
        disk: Disk,
        /// Nothing of it is left.
        last: bool,
    },
    /// The task made another one.
    Fork {
        /// The new task.
        tid: u32,
        /// Its thread group.
        tgid: u32,
        /// Its program image.
        image: u32,
    },
    /// The task became another program.
    Exec {
        /// Its number before: a thread that calls exec takes its leader's.
        old_tid: u32,
        /// The new program image.
        image: u32,
        /// Its name.
        comm: [u8; 16],
    },
    /// The task ended.
    Exit,
    /// A CPU quota held the task back in the wait that brought it to its CPU last: told before anything else that it does there.
    Throttled {
        /// For how long, from when it could run.
        ns: u64,
    },
    /// The task looks for messages again and again: the second look in vain since it last sent or received anything.
    Look {
        /// When the first one was over.
        first_ns: u64,
    },
}

/// Why a task is off the CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Off {
    /// Another task runs.
    #[default]
    RunQueue,
    /// It waits for the block layer.
    BlockIo,
    /// It waits for anything else.
    Sleep,
}

/// A task as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Task {
    /// Its thread group.
    pub tgid: u32,
    /// Its program image, 0 if not known yet.
    pub image: u32,
    /// When its clocks started.
    pub born_ns: u64,
    /// Since when it has been off the CPU, 0 if it is on one.
    pub off_ns: u64,
    /// Last wake-up.
    pub wake_ns: u64,
    /// Why it is off.
    pub off: Off,
    /// A message has prompted it, directly or through others, or it is older than the attach.
    pub prompted: bool,
    /// Its name.
    pub comm: [u8; 16],
}

/// A connection as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// Its number.
    pub number: u64,
    /// Local address, IPv4 mapped into IPv6; zeroes for Unix sockets.
    pub local: [u8; 16],
    /// Remote address.
    pub remote: [u8; 16],
    /// Local port.
    pub local_port: u16,
    /// Remote port.
    pub remote_port: u16,
    /// Inode of the network namespace; 0 unless it is a loopback address.
    pub netns: u32,
    /// What its traffic is booked on.
    pub flow: Flow,
    /// Older than the attach, and no turn of it seen yet.
    pub midlife: bool,
}

/// What traffic is booked on together, in the kernel's numbers: as a Frame's `Flow` has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// Program image of this end.
    pub image: u32,
    /// The other end: an image, a remote number with its highest bit set, or 0 if not known.
    pub peer: u32,
    /// The acceptor's port.
    pub port: u16,
    /// 1 TCP, 2 UDP, 3 Unix.
    pub transport: u8,
    /// 0 not known, 1 initiator, 2 acceptor.
    pub role: u8,
}

/// A block request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    /// Tells it from the others that are under way.
    pub request: u64,
    /// What it moves.
    pub bytes: u32,
    /// Program image that it is charged to.
    pub image: u32,
    /// A write.
    pub write: bool,
}

/// Names of the kinds of events, in the order of [`Event::kind`].
pub const KINDS: [&str; 15] = [
    "task",
    "connection",
    "switch",
    "wake",
    "send",
    "receive",
    "arrival",
    "state",
    "disk_start",
    "disk_end",
    "fork",
    "exec",
    "exit",
    "throttled",
    "look",
];

impl Event {
    /// Its kind: index into [`KINDS`].
    #[must_use]
    pub fn kind(&self) -> u8 {
        match self.what {
            What::Task(_) => 0,
            What::Connection(_) => 1,
            What::Switch { .. } => 2,
            What::Wake { .. } => 3,
            What::Send { .. } => 4,
            What::Receive { .. } => 5,
            What::Arrival { .. } => 6,
            What::State { .. } => 7,
            What::DiskStart(_) => 8,
            What::DiskEnd { .. } => 9,
            What::Fork { .. } => 10,
            What::Exec { .. } => 11,
            What::Exit => 12,
            What::Throttled { .. } => 13,
            What::Look { .. } => 14,
        }
    }

    /// Number of the connection it is about, if it is about one.
    #[must_use]
    pub fn connection(&self) -> Option<u64> {
        match &self.what {
            What::Connection(connection) => Some(connection.number),
            What::Send { connection, .. }
            | What::Receive { connection, .. }
            | What::Arrival { connection }
            | What::State { connection, .. } => Some(*connection),
            _ => None,
        }
    }
}

const _: () = assert!(size_of::<Event>() <= 56);
