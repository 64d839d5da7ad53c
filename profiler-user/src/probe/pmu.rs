//! Hardware counters: one of each kind on every CPU, handed to the kernel programs.
//!
//! In: the number of CPUs, the maps. Out: open counters, and why there are none if there are none.
//! Must not know: who is charged.

use std::{io, os::fd::AsRawFd};

use aya::{
    Ebpf,
    maps::{Map, MapData},
};
use perf_event::{
    Builder, Counter,
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
    open: Vec<(&'static str, u32, Counter)>,
    /// The machine counts cache references and misses too.
    pub has_llc: bool,
}

/// Opens the counters of every CPU. Cycles and instructions must open; cache events may be missing.
///
/// # Errors
/// With the reason there are no counters, in words.
pub fn open(cpus: u32) -> Result<Counters, String> {
    let clock = std::env::var_os(CLOCK_INSTEAD).is_some();
    let mut counters = Counters {
        open: Vec::new(),
        has_llc: true,
    };
    for (map, kind) in KINDS {
        for cpu in 0..cpus {
            let event = match (clock, map.starts_with("PMU_LLC")) {
                (false, _) => Ok(Event::from(kind)),
                (true, false) => Ok(Event::from(Software::CPU_CLOCK)),
                (true, true) => Err(io::ErrorKind::Unsupported.into()),
            };
            match event.and_then(|event| counter(event, cpu)) {
                Ok(counter) => counters.open.push((map, cpu, counter)),
                Err(_) if map.starts_with("PMU_LLC") => {
                    counters.has_llc = false;
                    break;
                }
                Err(error) => return Err(reason(&error)),
            }
        }
    }
    Ok(counters)
}

fn counter(kind: Event, cpu: u32) -> io::Result<Counter> {
    let mut builder = Builder::new().kind(kind).any_pid().one_cpu(cpu as usize);
    builder.include_kernel().include_hv();
    let mut counter = builder.build()?;
    counter.enable()?;
    Ok(counter)
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
fn update(map: &MapData, cpu: u32, counter: &Counter) -> io::Result<()> {
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
