//! A task of the calculation over events: its waits, and the messages that it holds.
//!
//! In: when it left and came, what it read, as events tell. Out: how much of each wait lies in an interval. Must not know:
//! connections, what is booked.

use std::collections::VecDeque;

use super::reason::Found;
pub(super) use crate::model::exchange::Message;
use crate::{
    event::Off,
    frame::plus,
    parts::{Part, Parts},
};

/// A wait: off the CPU, runnable again, on the CPU.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    pub(super) off_ns: u64,
    pub(super) wake_ns: u64,
    pub(super) on_ns: u64,
    /// For how long a quota held it back, from `wake_ns` on.
    pub(super) held_ns: u64,
    pub(super) off: Off,
}

/// A task: its waits, its last send, and what it has read since.
#[derive(Debug, Default)]
pub(super) struct TaskState {
    pub(super) tgid: u32,
    pub(super) born_ns: u64,
    pub(super) prompted: bool,
    /// All waits since its last send.
    pub(super) waits: Vec<Wait>,
    /// The wait that goes on.
    pub(super) waiting: Option<(u64, Off)>,
    pub(super) wake_ns: u64,
    /// The last wake-up that came while it was still on its CPU, and when it came there.
    pub(super) early_wake_ns: u64,
    pub(super) on_ns: u64,
    /// Waits that it asked for.
    pub(super) voluntary: u64,
    /// When its last send began, how many there were, and `voluntary` when that one ended.
    pub(super) sent_ns: u64,
    pub(super) sends: u64,
    pub(super) sent_voluntary: u64,
    /// Messages read before that, and not sent for yet: they count until the next wait.
    pub(super) batch: u64,
    /// The first messages that it read since then, and how many more.
    pub(super) reads: VecDeque<Read>,
    pub(super) more_reads: u64,
    /// The last one; and `voluntary` when it read of it.
    pub(super) last_read: Option<Read>,
    pub(super) read_voluntary: u64,
    /// The message whose waits are followed, and how many there were before it was read.
    pub(super) noted: Option<Message>,
    pub(super) waits_since_start: u64,
    /// Sleep for the rest of that message, and when a piece of it was read last.
    pub(super) receiving_ns: u64,
    pub(super) piece_read_ns: u64,
    /// A message that a thread of the same process held when it woke this one, and when that was; 0 if it was not waiting.
    pub(super) handed: Option<(Read, u64)>,
    /// `voluntary` at that wake-up: until it waits, it may hand the message on to a thread that it wakes.
    pub(super) handed_voluntary: u64,
    /// The last wake-up came from a thread of the same process.
    pub(super) woken_by_own: bool,
    /// What waits since the prompt that are not kept any more add up to.
    pub(super) folded: Parts<u64>,
    /// What its present send found when it began.
    pub(super) found: Found,
    pub(super) ended: bool,
}

/// A message that a task has read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Read {
    pub(super) message: Message,
    pub(super) is_request: bool,
    pub(super) arrived_ns: u64,
    pub(super) read_ns: u64,
}

/// Messages read since the last send that are kept one by one: as many as the kernel programs keep.
const READS: usize = 4;

impl TaskState {
    /// How much of each wait lies in an interval; `read_ns` parts the sleep into queued and sleep.
    pub(super) fn parts(&self, from_ns: u64, to_ns: u64, read_ns: u64) -> Parts<u64> {
        let mut parts = Self::waited(&self.waits, from_ns, to_ns, read_ns);
        parts.add(self.folded);
        let waits = [
            parts[Part::Throttled],
            parts[Part::BlockIo],
            parts[Part::Queued],
            parts[Part::Sleep],
        ];
        let off = waits
            .into_iter()
            .fold(parts[Part::RunQueue], u64::saturating_add);
        parts[Part::OnCpu] = to_ns.saturating_sub(from_ns).saturating_sub(off);
        parts
    }

    pub(super) fn waited(waits: &[Wait], from_ns: u64, to_ns: u64, read_ns: u64) -> Parts<u64> {
        let mut parts = Parts::default();
        let within =
            |from: u64, to: u64, start: u64, end: u64| to.min(end).saturating_sub(from.max(start));
        for wait in waits {
            let runnable = within(wait.wake_ns, wait.on_ns, from_ns, to_ns);
            let waited = within(wait.off_ns, wait.wake_ns, from_ns, to_ns);
            let held_to_ns = wait.wake_ns.saturating_add(wait.held_ns);
            let held = within(wait.wake_ns, held_to_ns.min(wait.on_ns), from_ns, to_ns);
            plus(&mut parts[Part::Throttled], held);
            plus(&mut parts[Part::RunQueue], runnable.saturating_sub(held));
            if wait.off == Off::BlockIo {
                plus(&mut parts[Part::BlockIo], waited);
            } else {
                let unread = within(wait.off_ns, wait.wake_ns, from_ns, to_ns.min(read_ns));
                plus(&mut parts[Part::Queued], unread);
                plus(&mut parts[Part::Sleep], waited.saturating_sub(unread));
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
        if let Some(first) = self.reads.front() {
            let from_ns = self.turnaround_start_ns(first.arrived_ns);
            let parts = Self::waited(&self.waits[..old], from_ns, u64::MAX, first.read_ns);
            self.folded.add(parts);
        }
        self.waits.drain(..old);
    }

    pub(super) fn leaves(&mut self, time_ns: u64, off: Off) {
        self.waiting = Some((time_ns, off));
        if off != Off::RunQueue {
            plus(&mut self.voluntary, 1);
        }
    }

    /// Keeps a message as one that was read since the last send.
    pub(super) fn keeps(&mut self, read: Read) {
        if self.reads.len() < READS {
            self.reads.push_back(read);
        } else {
            self.more_reads += 1;
        }
    }

    /// Forgets of the messages read since the last send those at the front that have ended.
    pub(super) fn drop_ended(&mut self, is_ended: impl Fn(Message) -> bool) {
        while self
            .reads
            .front()
            .is_some_and(|read| is_ended(read.message))
        {
            self.reads.pop_front();
        }
    }

    /// Of the messages there was no room for the last one is known: it is kept when none of the others is.
    pub(super) fn keeps_last(&mut self, is_ended: impl Fn(Message) -> bool) {
        if self.reads.is_empty() && self.more_reads > 0 {
            self.more_reads = 0;
            let last = self.last_read.filter(|last| !is_ended(last.message));
            self.reads.extend(last);
        }
    }

    /// Follows the waits of the first message read since the last send.
    pub(super) fn notes(&mut self, now: u64) {
        if let Some(first) = self.reads.front() {
            self.noted = Some(first.message);
            self.waits_since_start = self.waits_since(self.turnaround_start_ns(first.arrived_ns));
            self.receiving_ns = 0;
            self.piece_read_ns = now;
        }
    }

    /// A further piece of that message: until it arrived, the task slept for it.
    pub(super) fn notes_piece(&mut self, arrived_ns: u64, waited: bool, now: u64) {
        if waited {
            let parts = Self::waited(&self.waits, self.piece_read_ns, arrived_ns, 0);
            self.receiving_ns += parts[Part::Sleep];
            // Whoever remembers the last few waits only has to look as far back as that.
            self.waits_since_start = self.waits_since_start.max(self.waits_since(arrived_ns));
        }
        self.piece_read_ns = now;
    }

    pub(super) fn comes(&mut self, on_ns: u64) {
        let Some((off_ns, off)) = self.waiting.take() else {
            return;
        };
        let wake_ns = if off == Off::RunQueue {
            off_ns
        } else if self.wake_ns >= off_ns {
            self.wake_ns
        } else if self.early_wake_ns >= self.on_ns && self.early_wake_ns != 0 {
            // A wake-up from before it left ended the wait at once.
            off_ns
        } else {
            // It was not told.
            on_ns
        };
        self.on_ns = on_ns;
        self.waits.push(Wait {
            off_ns,
            wake_ns: wake_ns.min(on_ns),
            on_ns,
            held_ns: 0,
            off,
        });
    }

    /// A quota held it back in its last wait.
    pub(super) fn was_held_back(&mut self, ns: u64) {
        if let Some(wait) = self.waits.last_mut() {
            wait.held_ns = ns;
        }
    }
}
