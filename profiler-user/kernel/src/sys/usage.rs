//! What this process itself uses.
//!
//! In: the process's CPU clock and `/proc/self/statm` below a root. Out: [`Usage`].
//! Must not know: what the time was used for.

use std::{fs, path::Path};

use rustix::{
    param::page_size,
    time::{ClockId, clock_gettime},
};

/// CPU time and memory of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time of all threads, user and system, since the process started.
    pub cpu_ns: u64,
    /// Resident memory, 0 where it cannot be read.
    pub rss_bytes: u64,
}

/// Reads it.
#[must_use]
pub fn usage(root: &Path) -> Usage {
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    Usage {
        cpu_ns: cpu.tv_sec.unsigned_abs() * 1_000_000_000 + cpu.tv_nsec.unsigned_abs(),
        rss_bytes: resident_pages(root).unwrap_or(0) * page_size() as u64,
    }
}

fn resident_pages(root: &Path) -> Option<u64> {
    let text = fs::read_to_string(root.join("proc/self/statm")).ok()?;
    text.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_costs_cpu_time_and_memory_is_resident() {
        let before = usage(Path::new("/"));
        assert!(before.rss_bytes > 100_000);
        let mut now = before;
        while now.cpu_ns - before.cpu_ns < 1_000_000 {
            now = usage(Path::new("/"));
        }
        let nowhere = tempfile::tempdir().unwrap();
        assert_eq!(usage(nowhere.path()).rss_bytes, 0);
    }
}
