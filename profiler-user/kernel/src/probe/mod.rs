//! Getting the kernel programs in: what to attach (`plan`, pure), and doing it (`load`), with a status per program.
//!
//! In: the host's facts and the user's wishes. Out: loaded programs and maps, and a [`courtside_core::frame::ProbeStatus`]
//! each. Must not know: what the maps' contents mean.

pub mod facts;
pub mod hook;
pub mod load;
pub mod plan;
pub mod pmu;
pub mod specs;

/// The object with all programs, put in by the build; empty when the build had no eBPF toolchain.
pub static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/courtside.bpf.o"));

/// The same programs for kernels where those on functions get pointers without types, and everything that works with such.
pub static UNTYPED_OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/courtside-untyped.bpf.o"));

/// What the user asked of the measurement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wishes {
    /// Read hardware counters where there are any.
    pub pmu: bool,
    /// Read them at sends and receives as well.
    pub pmu_turnaround: bool,
    /// Constant floor for roundtrips; `None` uses each connection's minimum RTT.
    pub rtt_floor_ns: Option<u64>,
    /// Let the kernel measure the run time of our programs (costs some 20 ns a run).
    pub run_time_stats: bool,
    /// See all system calls, for polls that are not to wait and for yields.
    pub polls: bool,
}

impl Default for Wishes {
    fn default() -> Self {
        Self {
            pmu: true,
            pmu_turnaround: false,
            rtt_floor_ns: None,
            run_time_stats: false,
            polls: false,
        }
    }
}
