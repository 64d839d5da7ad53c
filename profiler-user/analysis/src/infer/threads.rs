//! Where the time of each thread goes, from switches and wake-ups, and who had the CPU while it waited for it.
//!
//! In: switches, wake-ups, arrivals, forks and ends, in the order of time. Out: pieces of a thread's time since its last send
//! or receive, without gaps. Must not know: what a message is, names.

mod cpus;

use courtside_core::event::Off;
use foldhash::HashMap;

use cpus::{Cpus, Held};

/// Nobody, or not known.
pub(super) const NOBODY: u32 = u32::MAX;
/// Threads that are looked at, at most.
const MOST_THREADS: usize = 1 << 16;
/// Pieces of a thread that wait until it is known what they were for; then the older half goes as it is.
pub(super) const MOST_PIECES: usize = 128;
/// A wake-up on a CPU so soon after data arrived there is because of the data.
const SOON_NS: u64 = 50_000;

/// What a thread does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Now {
    #[default]
    Unknown,
    On(u16),
    Queue,
    Sleep,
    Disk,
}

/// Who ended a sleep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Cause {
    #[default]
    Unknown,
    /// Data on this connection.
    Data(u64),
    /// A thread of its own process.
    Own,
}

/// What a piece of a thread's time was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Run(u16),
    Queue,
    /// No time of its own: of the queue before it, another process had the CPU for so long; `beside` had the CPU that the
    /// thread was put off, if that was another one. Nobody: it was idle, or it is not known.
    Outside {
        who: u32,
        beside: u32,
        cpu: u16,
        ns: u64,
    },
    Sleep(Cause),
    Disk,
    Unknown,
}

/// A piece of a thread's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) from_ns: u64,
    pub(super) to_ns: u64,
    pub(super) kind: Kind,
}

/// What the time of threads adds up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) on_cpu_ns: u64,
    /// Of that: from the first look in vain to the arrival of what was read next.
    pub(super) spin_ns: u64,
    pub(super) run_queue_ns: u64,
    /// Of that: held back by a CPU quota.
    pub(super) throttled_ns: u64,
    pub(super) block_io_ns: u64,
    pub(super) lock_ns: u64,
    pub(super) send_wait_ns: u64,
    pub(super) other_ns: u64,
}

/// One thread.
#[derive(Clone, Debug)]
pub(super) struct Thread {
    pub(super) tid: u32,
    pub(super) process: u32,
    pub(super) born_ns: u64,
    since_ns: u64,
    now: Now,
    /// It was put off this CPU, and waits for one.
    put_off: Option<u16>,
    /// A wake-up came while it was on its CPU.
    early: bool,
    gone: bool,
    /// Switches by its own will since it has talked.
    pub(super) sleeps: u64,
    pub(super) pieces: Vec<Piece>,
    /// Its track of segments, once it has talked.
    pub(super) track: Option<usize>,
    /// Wait for a CPU that no run has followed yet.
    pub(super) queue_ns: u64,
    /// Its last send or receive ended then.
    pub(super) called_ns: u64,
    /// It has looked for messages again and again since then, and how much of its pieces since that has been booked was on a CPU.
    pub(super) looks_ns: Option<u64>,
    pub(super) looked_ns: u64,
    /// Time of its pieces that have been booked.
    pub(super) lived_ns: u64,
    pub(super) sums: Sums,
}

impl Thread {
    fn new(tid: u32, process: u32, at_ns: u64) -> Self {
        Self {
            tid,
            process,
            born_ns: at_ns,
            since_ns: at_ns,
            now: Now::Unknown,
            put_off: None,
            early: false,
            gone: false,
            sleeps: 0,
            pieces: Vec::new(),
            track: None,
            queue_ns: 0,
            called_ns: at_ns,
            looks_ns: None,
            looked_ns: 0,
            lived_ns: 0,
            sums: Sums::default(),
        }
    }

    /// Ends what it does, with a piece of this kind.
    fn end(&mut self, at_ns: u64, kind: Kind) {
        if at_ns > self.since_ns {
            self.pieces.push(Piece {
                from_ns: self.since_ns,
                to_ns: at_ns,
                kind,
            });
            self.since_ns = at_ns;
        }
    }

    /// Its pieces are complete up to now, or to its end.
    pub(super) fn complete(&mut self, at_ns: u64) {
        if self.gone {
            return;
        }
        let kind = match self.now {
            Now::Unknown => Kind::Unknown,
            Now::On(cpu) => Kind::Run(cpu),
            Now::Queue => Kind::Queue,
            Now::Sleep => Kind::Sleep(Cause::Unknown),
            Now::Disk => Kind::Disk,
        };
        self.end(at_ns, kind);
    }
}

/// All threads and CPUs.
#[derive(Clone, Debug, Default)]
pub(super) struct Threads {
    threads: HashMap<u32, Thread>,
    cpus: Cpus,
    /// Threads for which there was no room.
    pub(super) unknown: u64,
}

impl Threads {
    pub(super) fn get(&mut self, tid: u32) -> Option<&mut Thread> {
        self.threads.get_mut(&tid)
    }

    /// All threads that are there, out of their table.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (u32, Thread)> + use<> {
        std::mem::take(&mut self.threads).into_iter()
    }

    fn thread(&mut self, tid: u32, at_ns: u64) -> Option<&mut Thread> {
        if tid == 0 {
            return None;
        }
        if self.threads.len() >= MOST_THREADS && !self.threads.contains_key(&tid) {
            self.unknown = self.unknown.saturating_add(1);
            return None;
        }
        let new = || Thread::new(tid, NOBODY, at_ns);
        Some(self.threads.entry(tid).or_insert_with(new))
    }

    /// A thread as it is when it is seen first; whether it is new.
    pub(super) fn told(&mut self, tid: u32, process: u32, off: Option<(Off, bool)>, at_ns: u64) {
        let Some(thread) = self.thread(tid, at_ns) else {
            return;
        };
        thread.process = process;
        if thread.now == Now::Unknown && !thread.gone {
            thread.end(at_ns, Kind::Unknown);
            thread.now = match off {
                None => Now::Unknown,
                Some((Off::RunQueue, _) | (_, true)) => Now::Queue,
                Some((Off::Sleep, false)) => Now::Sleep,
                Some((Off::BlockIo, false)) => Now::Disk,
            };
        }
    }

    /// It does something on this CPU.
    pub(super) fn acts(&mut self, tid: u32, process: u32, cpu: u16, at_ns: u64) {
        let Some(thread) = self.thread(tid, at_ns) else {
            return;
        };
        if process != NOBODY {
            thread.process = process;
        }
        if thread.now == Now::Unknown && !thread.gone {
            thread.end(at_ns, Kind::Unknown);
            thread.now = Now::On(cpu);
        }
    }

    /// A CPU goes from one thread to another. `None` if the first one had ended: it is handed back.
    pub(super) fn switch(
        &mut self,
        cpu: u16,
        at_ns: u64,
        (from, process): (u32, u32),
        off: Off,
        to: u32,
    ) -> Option<Thread> {
        let mut gone = None;
        if let Some(thread) = self.thread(from, at_ns) {
            if process != NOBODY {
                thread.process = process;
            }
            if thread.gone {
                gone = self.threads.remove(&from);
            } else {
                thread.end(
                    at_ns,
                    match thread.now {
                        Now::Queue => Kind::Queue,
                        // One that is first seen here was on it all the time.
                        _ => Kind::Run(cpu),
                    },
                );
                // Only of those that talk: helpers and start-up say nothing of how messages are waited for.
                if off == Off::Sleep && thread.track.is_some() {
                    thread.sleeps += 1;
                }
                thread.put_off = (off == Off::RunQueue).then_some(cpu);
                thread.now = match off {
                    Off::RunQueue => Now::Queue,
                    Off::BlockIo => Now::Disk,
                    Off::Sleep => Now::Sleep,
                };
            }
        }
        let known = self.threads.get(&to).map(|thread| thread.process);
        let comes = (to, known.unwrap_or(NOBODY));
        self.cpus.switch(cpu, at_ns, (from, process), comes);
        self.comes(to, cpu, at_ns);
        gone
    }

    /// A thread comes to a CPU.
    fn comes(&mut self, tid: u32, cpu: u16, at_ns: u64) {
        let Some(thread) = self.thread(tid, at_ns) else {
            return;
        };
        let kind = match thread.now {
            Now::Unknown => Kind::Unknown,
            Now::Queue => Kind::Queue,
            Now::Disk if !thread.early => Kind::Disk,
            // Nobody told of its wake-up.
            Now::Sleep if !thread.early => Kind::Sleep(Cause::Unknown),
            Now::Disk | Now::Sleep => Kind::Queue,
            Now::On(cpu) => Kind::Run(cpu),
        };
        let from_ns = thread.since_ns;
        thread.end(at_ns, kind);
        thread.now = Now::On(cpu);
        thread.early = false;
        let put_off = thread.put_off.take();
        if kind != Kind::Queue || thread.track.is_none() {
            return;
        }
        let own = thread.process;
        let held = self.cpus.held(cpu, put_off, (from_ns, at_ns));
        let Some(thread) = self.threads.get_mut(&tid) else {
            return;
        };
        for Held { who, beside, ns } in held {
            if (who, beside) == (own, own) {
                continue;
            }
            thread.pieces.push(Piece {
                from_ns: at_ns,
                to_ns: at_ns,
                kind: Kind::Outside {
                    who,
                    beside,
                    cpu,
                    ns,
                },
            });
        }
    }

    /// Data arrived while this CPU was at it.
    pub(super) fn arrival(&mut self, cpu: u16, at_ns: u64, connection: u64) {
        self.cpus.arrival(cpu, at_ns, connection);
    }

    /// A thread was woken, by a thread of this process.
    pub(super) fn wake(&mut self, tid: u32, by: u32, cpu: u16, at_ns: u64) {
        let arrival = self.cpus.arrived(cpu);
        let Some(thread) = self.thread(tid, at_ns) else {
            return;
        };
        match thread.now {
            Now::Sleep => {
                let cause = match arrival {
                    Some((arrived_ns, connection))
                        if at_ns.saturating_sub(arrived_ns) < SOON_NS
                            && arrived_ns >= thread.since_ns =>
                    {
                        Cause::Data(connection)
                    }
                    _ if by != NOBODY && by == thread.process => Cause::Own,
                    _ => Cause::Unknown,
                };
                thread.end(at_ns, Kind::Sleep(cause));
                thread.now = Now::Queue;
            }
            Now::Disk => {
                thread.end(at_ns, Kind::Disk);
                thread.now = Now::Queue;
            }
            Now::On(_) => thread.early = true,
            Now::Unknown => {
                thread.end(at_ns, Kind::Unknown);
                thread.now = Now::Queue;
            }
            Now::Queue => {}
        }
    }

    /// A new thread.
    pub(super) fn fork(&mut self, tid: u32, process: u32, at_ns: u64) -> Option<Thread> {
        let before = self.threads.remove(&tid);
        if let Some(thread) = self.thread(tid, at_ns) {
            thread.process = process;
            thread.now = Now::Queue;
        }
        before
    }

    /// A thread took the number of its leader.
    pub(super) fn exec(&mut self, old: u32, new: u32) {
        if old != new
            && let Some(mut thread) = self.threads.remove(&old)
        {
            thread.tid = new;
            self.threads.insert(new, thread);
        }
    }

    /// A thread ends: it is on its CPU once more.
    pub(super) fn exit(&mut self, tid: u32, at_ns: u64) {
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.complete(at_ns);
            thread.gone = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: u32 = 1;
    const HOG: u32 = 2;

    fn pieces(threads: &mut Threads, tid: u32) -> Vec<(u64, u64, Kind)> {
        let thread = threads.get(tid).unwrap();
        let pieces = thread.pieces.iter();
        pieces.map(|p| (p.from_ns, p.to_ns, p.kind)).collect()
    }

    /// Thread 1 runs from 100, sleeps from 200, data wakes it at 300, the hog (thread 2) has the CPU until 450.
    fn waited() -> Threads {
        let mut threads = Threads::default();
        threads.told(1, OWN, None, 90);
        threads.get(1).unwrap().track = Some(0);
        threads.told(2, HOG, None, 90);
        threads.switch(0, 100, (0, NOBODY), Off::RunQueue, 1);
        threads.switch(0, 200, (1, OWN), Off::Sleep, 2);
        threads.arrival(0, 299, 77);
        threads.wake(1, HOG, 0, 300);
        threads.switch(0, 450, (2, HOG), Off::RunQueue, 1);
        threads.get(1).unwrap().complete(500);
        threads
    }

    #[test]
    fn time_has_no_gaps_and_waits_are_booked_on_who_had_the_cpu() {
        let mut threads = waited();
        assert_eq!(
            pieces(&mut threads, 1),
            [
                (90, 100, Kind::Unknown),
                (100, 200, Kind::Run(0)),
                (200, 300, Kind::Sleep(Cause::Data(77))),
                (300, 450, Kind::Queue),
                (
                    450,
                    450,
                    Kind::Outside {
                        who: HOG,
                        beside: HOG,
                        cpu: 0,
                        ns: 150
                    }
                ),
                (450, 500, Kind::Run(0)),
            ]
        );
        assert_eq!(threads.get(1).unwrap().sleeps, 1);
    }

    #[test]
    fn of_several_that_wait_for_one_run_it_is_booked_once() {
        let mut threads = waited();
        // Thread 3 of the application waited there as well, from 250 on, and comes next.
        threads.told(3, 5, Some((Off::RunQueue, false)), 250);
        threads.get(3).unwrap().track = Some(1);
        threads.switch(0, 600, (1, OWN), Off::Sleep, 3);
        let found = pieces(&mut threads, 3);
        let of = |who| {
            let ns = found.iter().filter_map(|(_, _, kind)| match kind {
                Kind::Outside { who: w, ns, .. } if *w == who => Some(*ns),
                _ => None,
            });
            ns.sum::<u64>()
        };
        assert_eq!((of(HOG), of(OWN)), (50, 150));
    }

    #[test]
    fn one_that_is_moved_waited_for_both_cpus() {
        let mut threads = waited();
        threads.told(4, 9, None, 90);
        threads.switch(1, 100, (0, NOBODY), Off::RunQueue, 4);
        // Put off CPU 0 for the hog at 500; CPU 1 takes it at 700, when thread 4 leaves, and the hog is still there.
        threads.switch(0, 500, (1, OWN), Off::RunQueue, 2);
        threads.switch(1, 700, (4, 9), Off::Sleep, 1);
        let found = pieces(&mut threads, 1);
        let outside = Kind::Outside {
            who: 9,
            beside: HOG,
            cpu: 1,
            ns: 200,
        };
        let [.., queue, last] = &found[..] else {
            panic!();
        };
        assert_eq!(
            (queue, last),
            (&(500, 700, Kind::Queue), &(700, 700, outside))
        );
    }

    #[test]
    fn a_wake_up_on_the_way_off_the_cpu_ends_the_sleep_at_once() {
        let mut threads = Threads::default();
        threads.told(1, OWN, None, 90);
        threads.switch(0, 100, (0, NOBODY), Off::RunQueue, 1);
        threads.wake(1, OWN, 1, 190);
        threads.switch(0, 200, (1, OWN), Off::Sleep, 0);
        threads.switch(0, 260, (0, NOBODY), Off::RunQueue, 1);
        let found = pieces(&mut threads, 1);
        assert_eq!(found.last().unwrap(), &(200, 260, Kind::Queue));
    }

    #[test]
    fn a_thread_that_ended_is_handed_back_once() {
        let mut threads = waited();
        threads.exit(1, 520);
        // The recording may end before it has left its CPU.
        threads.get(1).unwrap().complete(525);
        let gone = threads.switch(0, 530, (1, OWN), Off::Sleep, 0).unwrap();
        assert_eq!(gone.pieces.last().unwrap().to_ns, 520);
        assert!(threads.get(1).is_none());
        threads.fork(1, 9, 600);
        assert_eq!(threads.get(1).unwrap().process, 9);
    }

    #[test]
    fn no_host_takes_more_memory_than_there_is() {
        let mut threads = Threads::default();
        for n in 1..2 * MOST_THREADS as u32 {
            threads.switch((n % 9000) as u16, n.into(), (n, OWN), Off::Sleep, n + 1);
        }
        assert!(threads.threads.len() <= MOST_THREADS && threads.unknown > 0);
        assert!(threads.cpus.count() <= cpus::MOST_CPUS);
    }
}
