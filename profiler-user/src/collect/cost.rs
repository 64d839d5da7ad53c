//! What the programs cost, and how often the kernel skipped them, by its own count.
//!
//! In: descriptors of programs and maps. Out: runs, times, bytes. Must not know: what the programs do.

use std::{
    collections::HashMap,
    fs,
    os::fd::{AsFd, AsRawFd},
};

use crate::probe::{load::Loaded, plan::SPECS};

/// The kernel's count of a program.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Runs {
    /// Runs, while the kernel's accounting was on.
    pub runs: u64,
    /// Time of those.
    pub run_time_ns: u64,
    /// Runs that were skipped because the program was at work on that CPU already; always counted.
    pub skipped: u64,
}

/// What the kernel counted for a program, from its descriptor's `fdinfo`.
pub(super) fn runs(fd: i32) -> Runs {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap_or_default();
    Runs {
        runs: field(&text, "run_cnt:"),
        run_time_ns: field(&text, "run_time_ns:"),
        skipped: field(&text, "recursion_misses:"),
    }
}

/// Runs that were skipped by the kernel's count, with what the programs add to it or take off (wrapping). Those of second
/// copies are left out: they have nothing to do unless the first was skipped.
pub(super) fn skipped(programs: &HashMap<String, Runs>, programs_own: u64) -> u64 {
    let is_copy = |name: &str| SPECS.iter().any(|spec| spec.again == Some(name));
    let firsts = programs.iter().filter(|(name, _)| !is_copy(name));
    let by_kernel: u64 = firsts.map(|(_, runs)| runs.skipped).sum();
    let skipped = by_kernel.wrapping_add(programs_own);
    // The kernel's count was read a moment earlier: what was skipped and made up for since would leave less than none.
    if skipped.cast_signed() < 0 {
        0
    } else {
        skipped
    }
}

/// Kernel memory of all maps, from their descriptors' `fdinfo`.
pub(super) fn map_bytes(loaded: &Loaded) -> u64 {
    let mut bytes = 0;
    for (_, map) in loaded.ebpf.maps() {
        if let Some(fd) = map_fd(map) {
            let text = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap_or_default();
            bytes += field(&text, "memlock:");
        }
    }
    bytes
}

fn map_fd(map: &aya::maps::Map) -> Option<i32> {
    use aya::maps::Map;
    match map {
        Map::Array(data)
        | Map::HashMap(data)
        | Map::LruHashMap(data)
        | Map::PerCpuArray(data)
        | Map::PerfEventArray(data)
        | Map::Queue(data)
        | Map::RingBuf(data)
        | Map::SkStorage(data)
        | Map::Unsupported(data) => Some(data.fd().as_fd().as_raw_fd()),
        _ => None,
    }
}

fn field(text: &str, name: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
        .unwrap_or(0)
}
