//! The threads of one component one by one, as the kernel's own accounts tell them apart: for whoever asks, beside a window.
//!
//! In: two looks at each thread. Out: what each did between them. Must not know: where it was read, how it is shown.

/// One thread, as the kernel accounts for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thread {
    /// Its process.
    pub tgid: u32,
    /// Its id.
    pub tid: u32,
    /// Its name.
    pub comm: String,
    /// What it did at the last look: a letter as in `/proc`.
    pub state: char,
    /// The CPU that it was on, or had been on last; none where that is not shown.
    pub cpu: Option<u32>,
    /// What it used between the looks; none if it was not there at the first one.
    pub used: Option<Used>,
}

/// What a thread used of CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// On a CPU, nanoseconds.
    pub on_cpu_ns: u64,
    /// Runnable without one, nanoseconds. Told when it ends: a wait that goes on is not in it. What a CPU quota held back is.
    pub waited_ns: u64,
    /// How often it was put on a CPU.
    pub runs: u64,
}

/// The threads of a component.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Threads {
    /// Id of the component, as it is shown.
    pub component: String,
    /// Time between the two looks, nanoseconds; none while there was only one.
    pub between_ns: Option<u64>,
    /// Those that were looked at.
    pub threads: Vec<Thread>,
    /// How many more there are.
    pub more: u64,
}
