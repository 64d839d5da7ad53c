//! What the programs cost, and how often the kernel skipped them, by its own count.
//!
//! In: descriptors of programs and maps. Out: runs, times, bytes. Must not know: what the programs do.

use std::{
    collections::HashMap,
    fs,
    os::fd::{AsFd, AsRawFd},
};

use courtside_wire::{LOST_CLASSES, Lost};

use crate::probe::{
    load::Loaded,
    specs::{ARRIVALS, SPECS},
};

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

/// Adds runs that were skipped by the kernel's count to what the programs add to it or take off (wrapping). Those of
/// second copies are left out: they have nothing to do unless the first was skipped.
pub(super) fn skipped(programs: &HashMap<String, Runs>, lost: &mut [u64; LOST_CLASSES]) {
    for spec in SPECS {
        let class = if spec.serves == ARRIVALS {
            Lost::Arrivals
        } else {
            Lost::Skipped
        };
        let by_kernel = programs.get(spec.program).map_or(0, |runs| runs.skipped);
        lost[class as usize] = lost[class as usize].wrapping_add(by_kernel);
    }
    for class in [Lost::Arrivals, Lost::Skipped] {
        // The kernel's count was read a moment earlier: what was skipped and made up for since would leave less than none.
        if lost[class as usize].cast_signed() < 0 {
            lost[class as usize] = 0;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn programs(skipped: &[(&str, u64)]) -> HashMap<String, Runs> {
        let runs = |skipped| Runs {
            skipped,
            ..Runs::default()
        };
        let named = skipped.iter();
        named
            .map(|&(name, skipped)| (name.to_owned(), runs(skipped)))
            .collect()
    }

    #[test]
    fn arrivals_are_a_class_of_their_own_and_copies_lose_nothing() {
        let mut lost = [0; LOST_CLASSES];
        let kernel = programs(&[
            ("sk_data_ready", 3),
            ("sk_data_ready_again", 100),
            ("sock_send_length", 5),
            ("sock_recv_length", 7),
        ]);
        lost[Lost::Arrivals as usize] = 1u64.wrapping_neg();
        skipped(&kernel, &mut lost);
        assert_eq!(lost[Lost::Arrivals as usize], 2);
        assert_eq!(lost[Lost::Skipped as usize], 12);
    }

    #[test]
    fn what_was_made_up_for_since_the_kernel_was_asked_is_no_loss() {
        let mut lost = [0; LOST_CLASSES];
        lost[Lost::Skipped as usize] = 2u64.wrapping_neg();
        skipped(&programs(&[("sock_send_length", 1)]), &mut lost);
        assert_eq!(lost[Lost::Skipped as usize], 0);
    }
}
