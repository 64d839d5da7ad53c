//! Hardware counters: one of each kind on every CPU, handed to the kernel programs.
//!
//! In: the number of CPUs, the maps. Out: open counters, and why there are none if there are none.
//! Must not know: who is charged.

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

use aya::{
    Ebpf,
    maps::{Map, MapData},
};
use perf_event::{
    Builder,
    events::{Event, Hardware, Software},
};

/// Kinds of counter, and the map that holds each kind's descriptors.
const KINDS: [(&str, Hardware); 4] = [
    ("PMU_CYCLES", Hardware::CPU_CYCLES),
    ("PMU_INSTRUCTIONS", Hardware::INSTRUCTIONS),
    ("PMU_LLC_REFERENCES", Hardware::CACHE_REFERENCES),
    ("PMU_LLC_MISSES", Hardware::CACHE_MISSES),
];

/// For tests on machines without a PMU: both counters are the CPU's clock, so that a program's cycles are its
/// nanoseconds on the CPU and its CPI is 1. There are no cache events then.
pub const CLOCK_INSTEAD: &str = "COURTSIDE_PMU_CLOCK";

/// Open counters; they count until dropped.
#[derive(Debug, Default)]
pub struct Counters {
    open: Vec<(&'static str, u32, OwnedFd)>,
    /// The machine counts cache references and misses too.
    pub has_llc: bool,
}

/// Opens the counters of every CPU. Cycles and instructions must open; cache events may be missing. All of a CPU are one
/// group, which counts as a whole or not at all: where more is counted than there are counters, each kind alone would
/// count at other times than the others, and the CPI would be of two different things.
///
/// # Errors
/// With the reason there are no counters, in words.
pub fn open(cpus: u32) -> Result<Counters, String> {
    let clock = std::env::var_os(CLOCK_INSTEAD).is_some();
    let mut counters = Counters {
        open: Vec::new(),
        has_llc: true,
    };
    for cpu in 0..cpus {
        let mut leader = None;
        for (map, kind) in KINDS {
            let is_llc = map.starts_with("PMU_LLC");
            if is_llc && !counters.has_llc {
                continue;
            }
            let event = match (clock, is_llc) {
                (false, _) => Ok(Event::from(kind)),
                (true, false) => Ok(Event::from(Software::CPU_CLOCK)),
                (true, true) => Err(io::ErrorKind::Unsupported.into()),
            };
            match event.and_then(|event| counter(event, cpu, leader)) {
                Ok(counter) => {
                    leader.get_or_insert(counter.as_raw_fd());
                    counters.open.push((map, cpu, counter));
                }
                Err(_) if is_llc => counters.has_llc = false,
                Err(error) => return Err(reason(&error)),
            }
        }
    }
    Ok(counters)
}

/// A counter of one CPU, in the group of `leader`. The library has groups of one thread only.
fn counter(kind: Event, cpu: u32, leader: Option<i32>) -> io::Result<OwnedFd> {
    const ANY_PROCESS: i32 = -1;
    const NO_GROUP: i32 = -1;
    const CLOSE_ON_EXEC: u64 = 8;
    let mut builder = Builder::new().kind(kind);
    builder.include_kernel().include_hv().enabled(true);
    // SAFETY: the attributes live until the call is over, and say themselves how long they are.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            std::ptr::from_ref(builder.attrs()),
            ANY_PROCESS,
            cpu,
            leader.unwrap_or(NO_GROUP),
            CLOSE_ON_EXEC,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel has just given it to us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENODEV | libc::EOPNOTSUPP) => {
            "this machine offers no hardware counters (virtual machines often hide them)".to_owned()
        }
        Some(libc::EACCES | libc::EPERM) => {
            "no permission for hardware counters; give CAP_PERFMON, or: sysctl kernel.perf_event_paranoid=0".to_owned()
        }
        _ => format!("hardware counters cannot be opened: {error}"),
    }
}

impl Counters {
    /// Puts the counters' descriptors where the programs read them.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn hand_over(&self, ebpf: &Ebpf) -> io::Result<()> {
        for (name, cpu, counter) in &self.open {
            let Some(Map::PerfEventArray(map)) = ebpf.map(name) else {
                return Err(io::Error::other(format!("the object has no map {name}")));
            };
            update(map, *cpu, counter)?;
        }
        Ok(())
    }
}

/// `bpf(BPF_MAP_UPDATE_ELEM)`: aya's perf-event arrays only take events that aya itself opened.
fn update(map: &MapData, cpu: u32, counter: &OwnedFd) -> io::Result<()> {
    #[repr(C)]
    struct Attributes {
        map_fd: u64,
        key: u64,
        value: u64,
        flags: u64,
    }
    const UPDATE: libc::c_long = 2;
    let value = counter.as_raw_fd();
    let map_fd =
        u64::try_from(std::os::fd::AsFd::as_fd(map.fd()).as_raw_fd()).map_err(io::Error::other)?;
    let attributes = Attributes {
        map_fd,
        key: (&raw const cpu) as u64,
        value: (&raw const value) as u64,
        flags: 0,
    };
    // SAFETY: the attributes are as bpf(2) says, and point to two live integers.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            UPDATE,
            &raw const attributes,
            size_of::<Attributes>(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
