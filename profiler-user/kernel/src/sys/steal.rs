//! How much CPU time the hypervisor gave to others.
//!
//! In: `/proc/stat` and `/proc/cpuinfo` below a root, once a window. Out: a time, or why it is not known. Must not know: who
//! would have needed it.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
};

use courtside_core::frame::{Steal, StealUnknown};
use rustix::param::clock_ticks_per_second;

/// The line about all CPUs is shorter, and what is told of one CPU.
const MAX_LINE: u64 = 4096;
const MAX_CPU: u64 = 16 * 1024;

/// Time that was taken, window by window.
#[derive(Debug)]
pub struct StealClock {
    /// Since the host started, at the end of the last window.
    before_ns: Option<u64>,
    /// There is no hypervisor.
    alone: bool,
}

impl StealClock {
    /// Begins now.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self {
            before_ns: stolen_ns(root),
            alone: is_alone(root),
        }
    }

    /// What was taken since the last call. A counter that has stood at 0 since a virtual machine started says nothing: some
    /// hypervisors do not tell.
    pub fn window(&mut self, root: &Path) -> Steal {
        let now_ns = stolen_ns(root);
        let before_ns = std::mem::replace(&mut self.before_ns, now_ns);
        let (Some(now_ns), Some(before_ns)) = (now_ns, before_ns) else {
            return Steal::Unknown(StealUnknown::Unreadable);
        };
        if now_ns == 0 && !self.alone {
            return Steal::Unknown(StealUnknown::NeverTold);
        }
        Steal::Ns(now_ns.saturating_sub(before_ns))
    }
}

/// Whether the host is none that a hypervisor runs; where nobody can tell, it is not.
fn is_alone(root: &Path) -> bool {
    let Ok(file) = File::open(root.join("proc/cpuinfo")) else {
        return false;
    };
    // What x86 tells of its first CPU.
    let lines = BufReader::new(file.take(MAX_CPU)).lines();
    let mut lines = lines.map_while(Result::ok);
    let flags = lines.find_map(|line| Some(line.strip_prefix("flags")?.to_owned()));
    flags.is_some_and(|flags| !flags.split_whitespace().any(|flag| flag == "hypervisor"))
}

/// Time since the start of the host in which a CPU was ready to run something and the hypervisor ran others: of all CPUs, in
/// steps of a clock tick, mostly 10 ms. `None` where it cannot be read.
fn stolen_ns(root: &Path) -> Option<u64> {
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

    #[test]
    fn what_was_never_told_on_a_virtual_machine_is_not_nothing() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        fs::create_dir(root.join("proc")).unwrap();
        let stat = |seconds: u64| {
            let ticks = seconds * clock_ticks_per_second();
            fs::write(
                root.join("proc/stat"),
                format!("cpu  1 2 3 4 5 6 7 {ticks} 9 10\n"),
            )
            .unwrap();
        };
        let cpu = |flags: &str| {
            let text = format!("processor\t: 0\nflags\t\t: {flags}\n\nprocessor\t: 1\n");
            fs::write(root.join("proc/cpuinfo"), text).unwrap();
        };
        let untold = Steal::Unknown(StealUnknown::NeverTold);
        // Nothing says what machine it is.
        stat(0);
        assert_eq!(StealClock::new(root).window(root), untold);
        cpu("fpu hypervisor lm");
        let mut clock = StealClock::new(root);
        assert_eq!(clock.window(root), untold);
        stat(2);
        assert_eq!(clock.window(root), Steal::Ns(2_000_000_000));
        // It has told before: now there was none.
        assert_eq!(clock.window(root), Steal::Ns(0));
        fs::remove_file(root.join("proc/stat")).unwrap();
        let unreadable = Steal::Unknown(StealUnknown::Unreadable);
        assert_eq!(clock.window(root), unreadable);
        stat(3);
        assert_eq!(clock.window(root), unreadable);
        assert_eq!(clock.window(root), Steal::Ns(0));
        // A host of its own: nobody can take anything.
        stat(0);
        cpu("fpu lm");
        assert_eq!(StealClock::new(root).window(root), Steal::Ns(0));
    }
}
