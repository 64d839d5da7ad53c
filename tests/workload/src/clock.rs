//! Time as a thread itself can tell it: wall, on-CPU, and waiting for a CPU.
//!
//! In: nothing. Out: readings, their differences, and ways to use up time of each kind.
//! Must not know: what the time is used for.

use std::{
    fs::File,
    io,
    ops::{AddAssign, Sub},
    os::unix::fs::FileExt as _,
    str::FromStr,
    time::Duration,
};

use anyhow::{Context as _, bail};
use rustix::{
    thread::{ClockId, CpuSet},
    time::{Timespec, clock_gettime},
};
use serde::{Deserialize, Serialize};

/// `CLOCK_MONOTONIC` in nanoseconds.
#[must_use]
pub fn monotonic_ns() -> u64 {
    nanoseconds(clock_gettime(rustix::time::ClockId::Monotonic))
}

/// Time this thread has spent on a CPU, in nanoseconds.
#[must_use]
pub fn thread_cpu_ns() -> u64 {
    nanoseconds(clock_gettime(rustix::time::ClockId::ThreadCPUTime))
}

fn nanoseconds(time: Timespec) -> u64 {
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// Burns `spin_ns` of CPU time, however long that takes on the wall.
pub fn spin(spin_ns: u64) {
    let until = thread_cpu_ns() + spin_ns;
    while thread_cpu_ns() < until {
        std::hint::spin_loop();
    }
}

/// Sleeps at least `sleep_ns` on a timer.
pub fn sleep(sleep_ns: u64) {
    if sleep_ns > 0 {
        sleep_until(monotonic_ns() + sleep_ns);
    }
}

/// Sleeps until `CLOCK_MONOTONIC` has reached `deadline_ns`.
pub fn sleep_until(deadline_ns: u64) {
    let deadline = Timespec {
        tv_sec: (deadline_ns / 1_000_000_000).cast_signed(),
        tv_nsec: (deadline_ns % 1_000_000_000).cast_signed(),
    };
    while rustix::thread::clock_nanosleep_absolute(ClockId::Monotonic, &deadline).is_err() {}
}

/// Binds this thread, and all that it will start, to one CPU.
///
/// # Errors
/// When there is no such CPU.
pub fn pin(core: usize) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    rustix::thread::sched_setaffinity(None, &set)
        .with_context(|| format!("cannot pin to CPU {core}"))
}

/// What the clocks of one thread say at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    /// `CLOCK_MONOTONIC`.
    pub wall_ns: u64,
    cpu_ns: u64,
    run_delay_ns: u64,
}

/// The clocks of one thread. Reading them costs two or three microseconds.
pub struct Clocks {
    schedstat: File,
}

impl Clocks {
    /// The clocks of the calling thread; only that thread may read them.
    ///
    /// # Errors
    /// When /proc is not mounted or the kernel has no scheduler statistics.
    pub fn of_this_thread() -> anyhow::Result<Self> {
        let path = "/proc/thread-self/schedstat";
        let schedstat = File::open(path).with_context(|| format!("cannot open {path}"))?;
        Ok(Self { schedstat })
    }

    /// Reads all clocks.
    ///
    /// # Errors
    /// When /proc cannot be read.
    pub fn read(&self) -> io::Result<Reading> {
        let mut text = [0; 96];
        let length = self.schedstat.read_at(&mut text, 0)?;
        let run_delay_ns = std::str::from_utf8(text.get(..length).unwrap_or_default())
            .ok()
            .and_then(|text| text.split_ascii_whitespace().nth(1)?.parse().ok())
            .ok_or_else(|| io::Error::other("schedstat has no second field"))?;
        Ok(Reading {
            wall_ns: monotonic_ns(),
            cpu_ns: thread_cpu_ns(),
            run_delay_ns,
        })
    }
}

/// The time between two readings.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Elapsed {
    /// On the wall.
    pub wall_ns: u64,
    /// On a CPU.
    pub on_cpu_ns: u64,
    /// Runnable without a CPU.
    pub run_queue_ns: u64,
    /// Neither.
    pub blocked_ns: u64,
}

impl Sub for Reading {
    type Output = Elapsed;

    fn sub(self, earlier: Self) -> Elapsed {
        let wall_ns = self.wall_ns - earlier.wall_ns;
        let on_cpu_ns = self.cpu_ns - earlier.cpu_ns;
        let run_queue_ns = self.run_delay_ns - earlier.run_delay_ns;
        Elapsed {
            wall_ns,
            on_cpu_ns,
            run_queue_ns,
            blocked_ns: wall_ns.saturating_sub(on_cpu_ns + run_queue_ns),
        }
    }
}

impl AddAssign for Elapsed {
    fn add_assign(&mut self, other: Self) {
        self.wall_ns += other.wall_ns;
        self.on_cpu_ns += other.on_cpu_ns;
        self.run_queue_ns += other.run_queue_ns;
        self.blocked_ns += other.blocked_ns;
    }
}

/// A length of time on a command line: `250us`, `0.5ms`, `2s`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Nanoseconds.
    pub ns: u64,
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        Self::from_nanos(span.ns)
    }
}

impl FromStr for Span {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let digits = text
            .find(|c: char| c.is_ascii_alphabetic())
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let unit_ns = match unit {
            "ns" => 1.0,
            "us" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            _ => bail!("`{text}` has no unit; write 250us, 0.5ms or 2s"),
        };
        let number: f64 = number
            .parse()
            .with_context(|| format!("`{number}` is not a number"))?;
        Ok(Self {
            ns: Duration::try_from_secs_f64(number * unit_ns / 1e9)?
                .as_nanos()
                .try_into()?,
        })
    }
}
