//! Processes that use up one thing: a CPU, or a disk.
//!
//! In: how much. Out: how much it was by the kernel's own account. Must not know: sockets.

use std::{env, fs, path::PathBuf, thread, time::Duration};

use anyhow::Context as _;
use clap::Args;
use serde::{Deserialize, Serialize};

use super::{
    clock::{Clocks, Elapsed, Span, monotonic_ns, pin},
    ping_pong::joined,
    process::say,
    work::Disk,
};

/// Keeps CPUs busy.
#[derive(Clone, Debug, Serialize, Deserialize, Args)]
pub struct Hog {
    /// Bind to this CPU.
    #[arg(long)]
    core: Option<usize>,
    /// Threads, all bound to the same CPU if any.
    #[arg(long, default_value_t = 1)]
    threads: u64,
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
}

/// Reads and writes blocks past the page cache.
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
}

impl DiskIo {
    /// Reads and writes, then says what the kernel charged for it.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn run(self) -> anyhow::Result<()> {
        let dir = match self.dir {
            Some(dir) => dir,
            None => env::current_exe()?
                .parent()
                .context("program without a directory")?
                .to_owned(),
        };
        let mut disk = Disk::new(&dir, self.block)?;
        let clocks = Clocks::of_this_thread()?;
        let before = charged()?;
        let start = clocks.read()?;
        for number in 0..self.reads.max(self.writes) {
            if number < self.reads {
                disk.read()?;
            }
            if number < self.writes {
                disk.write()?;
            }
            thread::sleep(self.pause.map(Duration::from).unwrap_or_default());
        }
        let elapsed = clocks.read()? - start;
        let after = charged()?;
        say(&serde_json::json!({
            "workload": "disk-io", "tgid": std::process::id(), "reads": self.reads, "writes": self.writes,
            "elapsed": elapsed, "read_bytes": after.0 - before.0, "write_bytes": after.1 - before.1,
            "read_bytes_from_start": after.0, "write_bytes_from_start": after.1,
        }))
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
