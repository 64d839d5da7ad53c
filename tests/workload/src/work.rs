//! Work of known kinds: spinning, sleeping, waiting for a lock, reading from a disk.
//!
//! In: how much of each. Out: the work done, and where its time truly went.
//! Must not know: for whom the work is done.

use std::{
    fs::File,
    io::Write as _,
    os::unix::fs::FileExt as _,
    path::Path,
    str::FromStr,
    sync::{Arc, Mutex, mpsc},
    thread,
};

use anyhow::{Context as _, bail, ensure};
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use super::clock::{Clocks, Reading, Span, sleep, spin};

/// What reads past the page cache must be aligned to.
const ALIGNMENT: usize = 4096;
const FILE_BYTES: usize = 16 << 20;

/// What a tier does for one request.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Work {
    /// CPU time to burn.
    pub spin: Span,
    /// Time to sleep on a timer.
    pub sleep: Span,
    /// Time for which another thread holds a lock that is waited for.
    pub lock: Span,
    /// Blocks to read past the page cache.
    pub disk: u64,
    /// Size of a block in KiB; 4 if not given.
    pub block: u64,
    /// Calls to the next tier.
    pub calls: u64,
    /// Threads that do this work; as many as there are callers if not given.
    #[serde(default)]
    pub pool: u64,
    /// Threads that share the CPU time of one request among them, new ones each time; the caller waits for them.
    #[serde(default)]
    pub fan: u64,
}

impl FromStr for Work {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let mut work = Self::default();
        for item in text.split(',').filter(|item| !item.is_empty()) {
            let (key, value) = item
                .split_once('=')
                .with_context(|| format!("`{item}` is not KEY=VALUE"))?;
            match key {
                "spin" => work.spin = value.parse()?,
                "sleep" => work.sleep = value.parse()?,
                "lock" => work.lock = value.parse()?,
                "disk" => work.disk = value.parse()?,
                "block" => work.block = value.parse()?,
                "calls" => work.calls = value.parse()?,
                "pool" => work.pool = value.parse()?,
                "fan" => work.fan = value.parse()?,
                _ => bail!(
                    "no work is called `{key}`; there are spin, sleep, lock, disk, block, calls, pool, fan"
                ),
            }
        }
        Ok(work)
    }
}

impl Work {
    /// The disk that this work reads, if any, in `dir`. Making it takes a while.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn disk_in(&self, dir: &Path) -> anyhow::Result<Option<Disk>> {
        (self.disk > 0)
            .then(|| Disk::new(dir, self.block))
            .transpose()
    }

    /// One of `slices` equal parts; the last has all of the disk reads.
    #[must_use]
    pub fn slice(&self, slices: u64, last: bool) -> Self {
        let part = |span: Span| Span {
            ns: span.ns / slices,
        };
        Self {
            spin: part(self.spin),
            sleep: part(self.sleep),
            lock: part(self.lock),
            disk: if last { self.disk } else { 0 },
            ..*self
        }
    }
}

/// Where the time of one thread's turnarounds truly went.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Spent {
    /// How many turnarounds.
    pub count: u64,
    /// From the later of the message's stamp and the send before, to the send.
    pub total_ns: u64,
    /// On a CPU, between sends.
    pub on_cpu_ns: u64,
    /// What is left of the total: runnable without a CPU.
    pub run_queue_ns: u64,
    /// Off the CPU on a timer.
    pub timer_ns: u64,
    /// Off the CPU for a lock.
    pub lock_ns: u64,
    /// Off the CPU for the disk.
    pub disk_ns: u64,
    /// Blocks read.
    pub disk_reads: u64,
    /// Inside send calls, on a CPU.
    pub sending_ns: u64,
}

impl Spent {
    /// Adds another's.
    pub fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.total_ns += other.total_ns;
        self.on_cpu_ns += other.on_cpu_ns;
        self.run_queue_ns += other.run_queue_ns;
        self.timer_ns += other.timer_ns;
        self.lock_ns += other.lock_ns;
        self.disk_ns += other.disk_ns;
        self.disk_reads += other.disk_reads;
        self.sending_ns += other.sending_ns;
    }
}

/// A thread that works.
pub struct Worker {
    clocks: Clocks,
    disk: Option<Disk>,
    lock: Option<Lock>,
    /// Start and end of the previous send.
    sent: (Reading, Reading),
    /// Since then.
    now: Spent,
}

impl Worker {
    /// A worker in the calling thread, with the disk that [`Work::disk_in`] made for it.
    ///
    /// # Errors
    /// When its clocks cannot be read.
    pub fn new(work: &Work, disk: Option<Disk>) -> anyhow::Result<Self> {
        let clocks = Clocks::of_this_thread()?;
        Ok(Self {
            disk,
            lock: (work.lock.ns > 0).then(Lock::new),
            sent: (clocks.read()?, clocks.read()?),
            clocks,
            now: Spent::default(),
        })
    }

    /// The disk, for the next worker.
    #[must_use]
    pub fn into_disk(self) -> Option<Disk> {
        self.disk
    }

    /// Does some work.
    ///
    /// # Errors
    /// When the disk or a clock cannot be read.
    pub fn work(&mut self, work: &Work) -> anyhow::Result<()> {
        if work.fan > 1 {
            // Waiting for one's own threads is waiting for a lock.
            let before = self.clocks.read()?;
            fan_out(work.spin.ns, work.fan);
            self.now.lock_ns += (self.clocks.read()? - before).blocked_ns;
        } else {
            spin(work.spin.ns);
        }
        if work.sleep.ns > 0 {
            let before = self.clocks.read()?;
            sleep(work.sleep.ns);
            self.now.timer_ns += (self.clocks.read()? - before).blocked_ns;
        }
        if let (Some(lock), true) = (&self.lock, work.lock.ns > 0) {
            let before = self.clocks.read()?;
            lock.wait(work.lock.ns)?;
            self.now.lock_ns += (self.clocks.read()? - before).blocked_ns;
        }
        if let Some(disk) = &mut self.disk {
            for _ in 0..work.disk {
                let before = self.clocks.read()?;
                disk.read()?;
                self.now.disk_ns += (self.clocks.read()? - before).blocked_ns;
                self.now.disk_reads += 1;
            }
        }
        Ok(())
    }

    /// How long a message that was read at `read_ns`, and that this thread takes now, was in nobody's hands: until the
    /// last send of this thread began, or, if it waited for a message already, until it was awake again.
    ///
    /// # Errors
    /// When a clock cannot be read.
    pub fn queued_ns(&self, read_ns: u64) -> anyhow::Result<u64> {
        let (sent, _) = self.sent;
        if read_ns < sent.wall_ns {
            return Ok(sent.wall_ns - read_ns);
        }
        let now = self.clocks.read()?;
        let without_cpu_ns = (now - sent).run_queue_ns;
        Ok((now.wall_ns - read_ns).saturating_sub(without_cpu_ns))
    }

    /// Runs `send`, which answers a message that was sent at `prompt_ns`, and returns where the time since then went.
    ///
    /// # Errors
    /// When `send` fails.
    pub fn send(
        &mut self,
        prompt_ns: u64,
        send: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<Spent> {
        let start = self.clocks.read()?;
        send()?;
        let end = self.clocks.read()?;
        let (before, after) = self.sent;
        self.sent = (start, end);
        let mut spent = Spent {
            count: 1,
            total_ns: start.wall_ns - before.wall_ns.max(prompt_ns),
            on_cpu_ns: (start - after).on_cpu_ns,
            sending_ns: (end - start).on_cpu_ns,
            ..std::mem::take(&mut self.now)
        };
        spent.run_queue_ns = spent
            .total_ns
            .saturating_sub(spent.on_cpu_ns + spent.timer_ns + spent.lock_ns + spent.disk_ns);
        Ok(spent)
    }
}

/// Burns CPU time in so many threads, an equal part in each.
fn fan_out(spin_ns: u64, threads: u64) {
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| spin(spin_ns / threads));
        }
    });
}

/// A file that is read past the page cache.
pub struct Disk {
    file: File,
    buffer: Vec<u8>,
    block_bytes: usize,
    offset: usize,
}

impl Disk {
    /// A file of our own in `dir`, which nobody else sees, and blocks of `block_kib` (4 if 0).
    ///
    /// # Errors
    /// When `dir` is not on a disk that can be read past the page cache.
    pub fn new(dir: &Path, block_kib: u64) -> anyhow::Result<Self> {
        let block_bytes = usize::try_from(block_kib)? << 10;
        let block_bytes = block_bytes.max(ALIGNMENT);
        ensure!(
            block_bytes.is_multiple_of(ALIGNMENT) && 2 * block_bytes <= FILE_BYTES,
            "blocks are multiples of 4 KiB, up to 8 MiB"
        );
        let mut file = tempfile::tempfile_in(dir)
            .with_context(|| format!("cannot make a file in {}", dir.display()))?;
        file.write_all(&vec![0x55; FILE_BYTES])?;
        file.sync_all()?;
        rustix::fs::fcntl_setfl(&file, OFlags::DIRECT)
            .with_context(|| format!("{} cannot be read past the page cache", dir.display()))?;
        Ok(Self {
            file,
            buffer: vec![0x55; block_bytes + ALIGNMENT],
            block_bytes,
            offset: 0,
        })
    }

    /// Reads another block.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn read(&mut self) -> anyhow::Result<()> {
        let (place, offset) = self.next();
        let buffer = self.buffer.get_mut(place).context("buffer too small")?;
        let length = self.file.read_at(buffer, offset)?;
        ensure!(length == self.block_bytes, "only {length} bytes were read");
        Ok(())
    }

    /// Writes another block.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn write(&mut self) -> anyhow::Result<()> {
        let (place, offset) = self.next();
        let buffer = self.buffer.get(place).context("buffer too small")?;
        self.file.write_all_at(buffer, offset)?;
        Ok(())
    }

    /// From here on reads and writes go through the page cache.
    ///
    /// # Errors
    /// When the file system does not let them.
    pub fn through_the_cache(&self) -> anyhow::Result<()> {
        rustix::fs::fcntl_setfl(&self.file, OFlags::empty())?;
        Ok(())
    }

    /// Waits until what was written is on the disk.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn sync(&self) -> anyhow::Result<()> {
        self.file.sync_all()?;
        Ok(())
    }

    /// An aligned place in the buffer, and the offset of a block far from the last one.
    fn next(&mut self) -> (std::ops::Range<usize>, u64) {
        let start = self.buffer.as_ptr().align_offset(ALIGNMENT);
        let blocks = FILE_BYTES / self.block_bytes;
        let step = (blocks * 3 / 8).max(1) | 1;
        self.offset = (self.offset + step * self.block_bytes) % (blocks * self.block_bytes);
        (start..start + self.block_bytes, self.offset as u64)
    }
}

/// A lock, and a thread that holds it for as long as it is told.
struct Lock {
    lock: Arc<Mutex<()>>,
    hold: mpsc::Sender<u64>,
    held: mpsc::Receiver<()>,
}

impl Lock {
    fn new() -> Self {
        let lock = Arc::new(Mutex::new(()));
        let (hold, holds) = mpsc::channel();
        let (tell_held, held) = mpsc::channel();
        let theirs = Arc::clone(&lock);
        thread::spawn(move || {
            for hold_ns in holds {
                let Ok(_guard) = theirs.lock() else { return };
                if tell_held.send(()).is_err() {
                    return;
                }
                sleep(hold_ns);
            }
        });
        Self { lock, hold, held }
    }

    /// Waits for the lock, which is held for `hold_ns`.
    fn wait(&self, hold_ns: u64) -> anyhow::Result<()> {
        self.hold.send(hold_ns)?;
        self.held.recv()?;
        drop(self.lock.lock().map_err(|_| anyhow::anyhow!("poisoned"))?);
        Ok(())
    }
}
