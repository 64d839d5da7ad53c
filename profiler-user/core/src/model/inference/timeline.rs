//! What each thread of a parallel application did, from when to when, and which message went from whom to whom.
//!
//! In: nothing (plain data). Out: what traces for other programs are made of. Must not know: how anything is told.

/// A run, thread by thread.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timeline {
    /// Wall-clock time of the first span's begin: all other times count from here.
    pub start_unix_ns: u64,
    /// From there to the end of the last span.
    pub length_ns: u64,
    /// CPUs, one more than the greatest number seen.
    pub cpus: u32,
    /// The processes, in the order of the [`super::Inference`].
    pub processes: Vec<Lane>,
    /// In the order of their begins. Those of a thread do not overlap; those of a process sum to its [`super::Time`], unless
    /// `cut_ns` is set.
    pub spans: Vec<Span>,
    /// Messages that were read, in the order in which they were sent.
    pub messages: Vec<Message>,
    /// The critical path from its begin to its end; empty where the simulation of the run is not trusted.
    pub path: Vec<Step>,
    /// There was no room for what came after this.
    pub cut_ns: Option<u64>,
}

/// A process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lane {
    /// Its id in the [`super::Inference`].
    pub id: String,
    /// Its number.
    pub tgid: u32,
    /// Its threads.
    pub tids: Vec<u32>,
}

/// A thread: places of its process in [`Timeline::processes`], and of itself in [`Lane::tids`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Of the process.
    pub process: usize,
    /// Of the thread.
    pub thread: usize,
}

/// What a thread did for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Which thread.
    pub at: Place,
    /// Begin.
    pub from_ns: u64,
    /// End.
    pub to_ns: u64,
    /// What it did.
    pub doing: Doing,
    /// The CPU that it was on.
    pub cpu: Option<u16>,
    /// Place of the process whose message it waited for; none outside of the application.
    pub whose: Option<usize>,
}

/// What a thread does: the parts of [`super::Time`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Doing {
    /// On a CPU.
    OnCpu,
    /// Runnable without one.
    RunQueue,
    /// Waiting for a disk.
    BlockIo,
    /// Asleep until a thread of its own process woke it.
    Lock,
    /// Asleep within a send.
    SendWait,
    /// Asleep for a message that was not sent yet.
    NotSent,
    /// Asleep for a message on its way.
    InFlight,
    /// Asleep for the rest of a message.
    Transfer,
    /// Any other sleep, and what the events do not tell.
    #[default]
    Other,
}

impl Doing {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::OnCpu,
        Self::RunQueue,
        Self::BlockIo,
        Self::Lock,
        Self::SendWait,
        Self::NotSent,
        Self::InFlight,
        Self::Transfer,
        Self::Other,
    ];

    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::OnCpu => "on a CPU",
            Self::RunQueue => "runnable without a CPU",
            Self::BlockIo => "waits for a disk",
            Self::Lock => "waits for its own process (a lock)",
            Self::SendWait => "waits for room to send",
            Self::NotSent => "waits for a message not sent yet",
            Self::InFlight => "waits for a message on its way",
            Self::Transfer => "waits for the rest of a message",
            Self::Other => "sleeps, or not told",
        }
    }
}

/// What one send call took, and when it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who sent it.
    pub from: Place,
    /// Who read its end.
    pub to: Place,
    /// The send call began.
    pub sent_ns: u64,
    /// The first byte of the read that took its end had arrived, or the latest that it can have.
    pub arrived_ns: u64,
    /// The receive call that took its end was over.
    pub read_ns: u64,
    /// Its bytes.
    pub bytes: u64,
}

/// A stretch of the critical path; the next one begins when a message of this one is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Whose.
    pub at: Place,
    /// Begin, by the recording.
    pub from_ns: u64,
    /// End.
    pub to_ns: u64,
}
