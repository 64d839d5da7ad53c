//! What this process itself uses, and what its children used.
//!
//! In: the process's CPU clock, `/proc/self/statm` and `/proc/self/stat` below a root. Out: [`Usage`], a time; less memory.
//! Must not know: what the time was used for.

use std::{fs, path::Path};

use rustix::{
    param::{clock_ticks_per_second, page_size},
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

/// CPU time of the processes that this one started and waited for, and of those that they did, by the kernel's own
/// accounting; in steps of a clock tick, mostly 10 ms. `None` where it cannot be read.
#[must_use]
pub fn children_ns(root: &Path) -> Option<u64> {
    let text = fs::read_to_string(root.join("proc/self/stat")).ok()?;
    // The name in brackets may hold anything.
    let (_, fields) = text.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(13);
    let mut ticks = || times.next()?.parse::<u64>().ok();
    let all = ticks()?.checked_add(ticks()?)?;
    let second = clock_ticks_per_second().max(1);
    all.checked_mul(1_000_000_000)?.checked_div(second)
}

/// Gives memory that nobody uses any more back to the system: the C library keeps what lies between pieces that are in use.
/// Takes about a millisecond.
pub fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it looks at free memory only, under the allocator's own lock.
    unsafe {
        libc::malloc_trim(0);
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
    fn what_children_took_is_read_behind_any_name() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("proc/self")).unwrap();
        let stat = "7 (a) b) S 1 1 1 0 -1 0 0 0 0 0 11 12 130 20 20 0 1 0 42 0 0\n";
        fs::write(root.path().join("proc/self/stat"), stat).unwrap();
        let second = clock_ticks_per_second();
        assert_eq!(children_ns(root.path()), Some(150 * 1_000_000_000 / second));
    }

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
        assert_eq!(children_ns(nowhere.path()), None);
    }
}
