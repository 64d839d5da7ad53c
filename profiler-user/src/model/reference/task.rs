//! A task of the calculation over events: its waits, and what it holds.
//!
//! In: when it left and came, as events tell. Out: how much of each wait lies in an interval. Must not know: connections,
//! what is booked.

use crate::{event::Off, frame::PartsRaw, model::books::add_parts};

/// A wait: off the CPU, runnable again, on the CPU.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    pub(super) off_ns: u64,
    pub(super) wake_ns: u64,
    pub(super) on_ns: u64,
    pub(super) off: Off,
}

#[derive(Debug, Default)]
pub(super) struct Task {
    pub(super) tgid: u32,
    pub(super) born_ns: u64,
    pub(super) prompted: bool,
    /// All waits since its last send.
    pub(super) waits: Vec<Wait>,
    /// The wait that goes on.
    pub(super) waiting: Option<(u64, Off)>,
    pub(super) wake_ns: u64,
    /// Waits that it asked for.
    pub(super) voluntary: u64,
    /// When its last send began.
    pub(super) sent_ns: u64,
    /// The first message since then: its arrival, and when it was read.
    pub(super) prompt: Option<(u64, u64)>,
    /// How many waits there were in between.
    pub(super) waits_back: u64,
    /// The last message since then: its arrival, and `voluntary` when it was read.
    pub(super) holds: Option<(u64, u64)>,
    /// A message that a thread of the same process held when it woke this one: its arrival, and the wake-up.
    pub(super) handed: Option<Handed>,
    /// What waits since the prompt that are not kept any more add up to.
    pub(super) folded: PartsRaw,
    /// Connections with a request that it read and has not answered: one, and the last one besides.
    pub(super) open: Vec<u64>,
    pub(super) ended: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Handed {
    pub(super) arrived_ns: u64,
    /// 0 if the task was not waiting.
    pub(super) wake_ns: u64,
}

impl Task {
    /// How much of each wait lies in an interval; `read_ns` parts the sleep into queued and sleep.
    pub(super) fn parts(&self, from_ns: u64, to_ns: u64, read_ns: u64) -> PartsRaw {
        let mut parts = Self::waited(&self.waits, from_ns, to_ns, read_ns);
        add_parts(&mut parts, &self.folded);
        let off = parts.run_queue_ns + parts.block_io_ns + parts.queued_ns + parts.sleep_ns;
        parts.on_cpu_ns = (to_ns - from_ns).saturating_sub(off);
        parts
    }

    pub(super) fn waited(waits: &[Wait], from_ns: u64, to_ns: u64, read_ns: u64) -> PartsRaw {
        let mut parts = PartsRaw::default();
        let within =
            |from: u64, to: u64, start: u64, end: u64| to.min(end).saturating_sub(from.max(start));
        for wait in waits {
            let runnable = within(wait.wake_ns, wait.on_ns, from_ns, to_ns);
            let waited = within(wait.off_ns, wait.wake_ns, from_ns, to_ns);
            parts.run_queue_ns += runnable;
            if wait.off == Off::BlockIo {
                parts.block_io_ns += waited;
            } else {
                let unread = within(wait.off_ns, wait.wake_ns, from_ns, to_ns.min(read_ns));
                parts.queued_ns += unread;
                parts.sleep_ns += waited - unread;
            }
        }
        parts
    }

    /// Waits that began after that time.
    pub(super) fn waits_since(&self, ns: u64) -> u64 {
        self.waits.iter().filter(|wait| wait.off_ns > ns).count() as u64
    }

    /// When the turnaround that a message prompted began.
    pub(super) fn turnaround_start_ns(&self, arrived_ns: u64) -> u64 {
        // What arrived before the task was born, nobody had till then.
        arrived_ns.max(self.sent_ns).max(self.born_ns)
    }

    /// Keeps no more than so many waits. What the older ones mean to the turnaround that goes on is known already; only
    /// of a hand-over that comes later it is not.
    pub(super) fn forget(&mut self, keep: usize) {
        if self.waits.len() <= keep {
            return;
        }
        let old = self.waits.len() - keep / 2;
        if let Some((arrived_ns, read_ns)) = self.prompt {
            let from_ns = self.turnaround_start_ns(arrived_ns);
            let parts = Self::waited(&self.waits[..old], from_ns, u64::MAX, read_ns);
            add_parts(&mut self.folded, &parts);
        }
        self.waits.drain(..old);
    }

    pub(super) fn leaves(&mut self, time_ns: u64, off: Off) {
        self.waiting = Some((time_ns, off));
        if off != Off::RunQueue {
            self.voluntary += 1;
        }
    }

    pub(super) fn opens(&mut self, connection: u64) {
        if !self.open.contains(&connection) {
            self.open.truncate(1);
            self.open.push(connection);
        }
    }

    pub(super) fn comes(&mut self, on_ns: u64) {
        let Some((off_ns, off)) = self.waiting.take() else {
            return;
        };
        // A wake-up from before it left ended the wait at once.
        let woken = off != Off::RunQueue && self.wake_ns >= off_ns;
        let wake_ns = if woken { self.wake_ns } else { off_ns };
        self.waits.push(Wait {
            off_ns,
            wake_ns: wake_ns.min(on_ns),
            on_ns,
            off,
        });
    }
}
