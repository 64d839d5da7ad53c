//! How much CPU time the hypervisor gave to others.
//!
//! In: `/proc/stat` below a root. Out: a time. Must not know: who would have needed it.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
};

use rustix::param::clock_ticks_per_second;

/// The line about all CPUs is shorter.
const MAX_LINE: u64 = 4096;

/// Time since the start of the host in which a CPU was ready to run something and the hypervisor ran others: of all CPUs, in
/// steps of a clock tick, mostly 10 ms. 0 on a host of its own, `None` where it cannot be read.
#[must_use]
pub fn stolen_ns(root: &Path) -> Option<u64> {
    let file = File::open(root.join("proc/stat")).ok()?;
    let mut line = String::new();
    BufReader::new(file.take(MAX_LINE))
        .read_line(&mut line)
        .ok()?;
    let mut parts = line.split_whitespace();
    if parts.next()? != "cpu" {
        return None;
    }
    // user nice system idle iowait irq softirq steal
    let ticks: u64 = parts.nth(7)?.parse().ok()?;
    let second = clock_ticks_per_second().max(1);
    ticks.checked_mul(1_000_000_000)?.checked_div(second)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn it_is_the_eighth_number_of_all_cpus() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(stolen_ns(root.path()), None);
        fs::create_dir(root.path().join("proc")).unwrap();
        let stat = root.path().join("proc/stat");
        let second = clock_ticks_per_second();
        let text = format!(
            "cpu  1 2 3 4 5 6 7 {} 9 10\ncpu0 1 1 1 1 1 1 1 1 1 1\n",
            3 * second
        );
        fs::write(&stat, text).unwrap();
        assert_eq!(stolen_ns(root.path()), Some(3_000_000_000));
        for nonsense in [
            "",
            "cpu 1 2 3\n",
            "cpu0 1 2 3 4 5 6 7 8\n",
            "cpu a b c d e f g h\n",
        ] {
            fs::write(&stat, nonsense).unwrap();
            assert_eq!(stolen_ns(root.path()), None, "{nonsense:?}");
        }
    }
}
