//! Processes that use up one thing: a CPU, or a disk.
//!
//! In: how much. Out: how much it was by the kernel's own account. Must not know: sockets.

use std::{env, fs, path::PathBuf, thread, time::Duration};

use anyhow::Context as _;
use clap::Args;
use serde::{Deserialize, Serialize};

use super::{
    clock::{Clocks, Elapsed, Span, monotonic_ns, pin, sleep_until, spin},
    ping_pong::joined,
    process::say,
    work::Disk,
};

/// A thread that wants a part of a CPU wants it once in this time.
const PERIOD_NS: u64 = 20_000_000;

/// Keeps CPUs busy.
#[derive(Clone, Debug, Serialize, Deserialize, Args)]
pub struct Hog {
    /// Bind to this CPU.
    #[arg(long)]
    core: Option<usize>,
    /// Threads, all bound to the same CPU if any.
    #[arg(long, default_value_t = 1)]
    threads: u64,
    /// How much of a CPU each thread wants, in per cent: of every 20 ms. Who gets too little does not make up for it.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100))]
    percent: u32,
    /// For how long on the wall; until killed if not given.
    #[arg(long = "for")]
    length: Option<Span>,
}

impl Hog {
    /// One thread that keeps `core` busy until it is killed.
    #[must_use]
    pub fn endless(core: usize) -> Self {
        Self {
            core: Some(core),
            threads: 1,
            percent: 100,
            length: None,
        }
    }

    /// Burns, then says what the kernel charged for it.
    ///
    /// # Errors
    /// When there is no such CPU.
    pub fn run(self) -> anyhow::Result<()> {
        if let Some(core) = self.core {
            pin(core)?;
        }
        let end_ns = self.length.map(|length| monotonic_ns() + length.ns);
        let burn = || -> anyhow::Result<Elapsed> {
            let clocks = Clocks::of_this_thread()?;
            let start = clocks.read()?;
            if self.percent < 100 {
                self.want_a_part(end_ns);
            }
            while end_ns.is_none_or(|end_ns| monotonic_ns() < end_ns) {
                std::hint::spin_loop();
            }
            Ok(clocks.read()? - start)
        };
        let mut all = Elapsed::default();
        thread::scope(|scope| {
            let burning: Vec<_> = (0..self.threads).map(|_| scope.spawn(burn)).collect();
            for thread in burning {
                all += joined(thread.join())?;
            }
            anyhow::Ok(())
        })?;
        say(&serde_json::json!({ "workload": "hog", "tgid": std::process::id(), "burned": all }))
    }

    /// Burns a part of every period until the end.
    fn want_a_part(&self, end_ns: Option<u64>) {
        let part_ns = PERIOD_NS / 100 * u64::from(self.percent);
        let mut due_ns = monotonic_ns();
        while end_ns.is_none_or(|end_ns| monotonic_ns() < end_ns) {
            spin(part_ns);
            due_ns = (due_ns + PERIOD_NS).max(monotonic_ns());
            sleep_until(due_ns.min(end_ns.unwrap_or(u64::MAX)));
        }
    }
}

/// Reads and writes blocks past the page cache, or writes them through it and waits until they are on the disk.
#[derive(Clone, Debug, Args)]
pub struct DiskIo {
    /// Blocks to read.
    #[arg(long, default_value_t = 500)]
    reads: u64,
    /// Blocks to write.
    #[arg(long, default_value_t = 500)]
    writes: u64,
    /// Size of a block in KiB.
    #[arg(long, default_value_t = 4)]
    block: u64,
    /// Directory on a disk; that of this program if not given.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Wait this long after every block.
    #[arg(long)]
    pause: Option<Span>,
    /// Threads, each with a file of its own and with all these blocks.
    #[arg(long, default_value_t = 1)]
    threads: u64,
    /// Through the page cache, with an fsync after every block that is written.
    #[arg(long)]
    fsync: bool,
}

impl DiskIo {
    /// Reads and writes, then says what the kernel charged for it.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn run(self) -> anyhow::Result<()> {
        let dir = match self.dir.clone() {
            Some(dir) => dir,
            None => env::current_exe()?
                .parent()
                .context("program without a directory")?
                .to_owned(),
        };
        let disks = (0..self.threads).map(|_| Disk::new(&dir, self.block));
        let disks = disks.collect::<anyhow::Result<Vec<_>>>()?;
        let before = charged()?;
        let mut elapsed = Elapsed::default();
        thread::scope(|scope| {
            let spawn = |disk| scope.spawn(|| self.blocks(disk));
            let threads: Vec<_> = disks.into_iter().map(spawn).collect();
            for thread in threads {
                elapsed += joined(thread.join())?;
            }
            anyhow::Ok(())
        })?;
        let after = charged()?;
        let (reads, writes) = (self.reads * self.threads, self.writes * self.threads);
        say(&serde_json::json!({
            "workload": "disk-io", "tgid": std::process::id(), "reads": reads, "writes": writes,
            "elapsed": elapsed, "read_bytes": after.0 - before.0, "write_bytes": after.1 - before.1,
            "read_bytes_from_start": after.0, "write_bytes_from_start": after.1,
        }))
    }

    /// The blocks of one thread.
    fn blocks(&self, mut disk: Disk) -> anyhow::Result<Elapsed> {
        if self.fsync {
            disk.through_the_cache()?;
        }
        let clocks = Clocks::of_this_thread()?;
        let start = clocks.read()?;
        for number in 0..self.reads.max(self.writes) {
            if number < self.reads {
                disk.read()?;
            }
            if number < self.writes {
                disk.write()?;
                if self.fsync {
                    disk.sync()?;
                }
            }
            thread::sleep(self.pause.map(Duration::from).unwrap_or_default());
        }
        Ok(clocks.read()? - start)
    }
}

/// `read_bytes` and `write_bytes` of /proc/self/io.
fn charged() -> anyhow::Result<(u64, u64)> {
    let path = "/proc/self/io";
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
            .with_context(|| format!("{path} has no {name}"))
    };
    Ok((field("read_bytes:")?, field("write_bytes:")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_wants_a_part_of_a_cpu_sleeps_for_the_rest() {
        let hog = Hog {
            percent: 5,
            ..Hog::endless(0)
        };
        let clocks = Clocks::of_this_thread().unwrap();
        let start = clocks.read().unwrap();
        hog.want_a_part(Some(monotonic_ns() + 5 * PERIOD_NS));
        let burned = clocks.read().unwrap() - start;
        // A millisecond at least once, and on any host once in a period at most; what the clocks cost is as much at most.
        let periods = burned.wall_ns.div_ceil(PERIOD_NS);
        assert!(burned.on_cpu_ns >= PERIOD_NS / 20, "{burned:?}");
        assert!(burned.on_cpu_ns <= periods * PERIOD_NS / 10, "{burned:?}");
    }
}
