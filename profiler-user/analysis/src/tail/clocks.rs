//! Whose doing a thread's waits were: who had the CPU while it was runnable, and who woke it from its sleep.
//!
//! In: switches and wake-ups in the order of time. Out: of the waits in a turnaround, whose they are, by fact. Must not know:
//! sockets, requests.
//!
//! A wait for a CPU is booked on whoever ran, meanwhile, on the CPU that ended it; nothing tells of a thread that is moved
//! to another CPU while it waits. If it was put off one CPU and came to another one, what both of them agree on counts, and
//! the rest is unknown.

use std::{collections::VecDeque, rc::Rc};

use courtside_core::{
    event::Off,
    model::turnarounds::Turnaround,
    parts::{Part, Parts},
};
use foldhash::HashMap;

use super::names::{IDLE, UNKNOWN, Who};

/// Runs of each CPU that are remembered. A wait behind more of them is unknown for the rest.
const RUNS: usize = 128;
/// Waits of a thread since its last send that are remembered.
const PIECES: usize = 256;
/// CPUs and threads, at most. What has more is no host, and is begun anew.
const MOST_CPUS: usize = 4096;
const MOST_THREADS: usize = 1 << 17;

/// Who woke a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WokenBy {
    pub(super) tid: u32,
    pub(super) who: Who,
    pub(super) comm: Option<Rc<str>>,
}

/// Time, and whose doing it is.
pub(super) type Shares = Vec<(Who, u64)>;

/// Whose doing the waits of a turnaround are.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Blame {
    /// Sums to the run-queue part.
    pub(super) run_queue: Shares,
    /// Sums to the sleep part.
    pub(super) sleep: Shares,
    /// Who ended the longest sleep, and how long that was.
    pub(super) waker: Option<(WokenBy, u64)>,
}

/// A stretch of a wait.
#[derive(Debug)]
struct Piece {
    from_ns: u64,
    to_ns: u64,
    what: Off,
    who: Who,
    waker: Option<WokenBy>,
}

#[derive(Debug, Default)]
struct Thread {
    who: Who,
    /// Since when it has been off the CPU, why, and which one.
    waiting: Option<(u64, Off, u16)>,
    wake: (u64, Option<WokenBy>),
    /// The last wake-up that came while it was still on its CPU, and when it came there.
    early_wake: (u64, Option<WokenBy>),
    on_ns: u64,
    /// When it could run again at the end of its last wait.
    runnable_ns: u64,
    pieces: VecDeque<Piece>,
    ended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    from_ns: u64,
    to_ns: u64,
    who: Who,
}

#[derive(Debug, Default)]
struct Cpu {
    runs: VecDeque<Run>,
    /// Who runs, and since when.
    now: Option<(u32, u64)>,
}

/// All threads and CPUs.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    threads: HashMap<u32, Thread>,
    cpus: HashMap<u16, Cpu>,
}

impl Clocks {
    /// A thread is seen for the first time; what it is told with again is known.
    pub(super) fn told(&mut self, tid: u32, who: Who, waiting: Option<(u64, Off)>) {
        let is_new = !self.threads.contains_key(&tid);
        let thread = self.thread(tid);
        thread.who = who;
        if is_new {
            thread.waiting = waiting.map(|(off_ns, off)| (off_ns, off, u16::MAX));
        }
    }

    /// A thread is made.
    pub(super) fn fork(&mut self, tid: u32, who: Who, now: u64) {
        *self.thread(tid) = Thread {
            who,
            waiting: Some((now, Off::RunQueue, u16::MAX)),
            ..Thread::default()
        };
    }

    /// A thread becomes another program, and may change its number.
    pub(super) fn exec(&mut self, old: u32, new: u32, who: Who) {
        let mut thread = self.threads.remove(&old).unwrap_or_default();
        thread.who = who;
        self.threads.insert(new, thread);
        let cpus = self.cpus.values_mut();
        for now in cpus.filter_map(|cpu| cpu.now.as_mut()) {
            if now.0 == old {
                now.0 = new;
            }
        }
    }

    /// A thread ends; it still has to leave its CPU.
    pub(super) fn exit(&mut self, tid: u32) {
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.ended = true;
        }
    }

    /// One thread leaves a CPU to another one.
    pub(super) fn switch(&mut self, cpu: u16, now: u64, (tid, who): (u32, Who), off: Off, to: u32) {
        if self.cpus.len() > MOST_CPUS {
            self.cpus.clear();
        }
        if tid != 0 {
            self.seen(tid, cpu, now);
        }
        let on = self.cpus.entry(cpu).or_default();
        if let Some((before, from_ns)) = on.now.replace((to, now)) {
            // Somebody else may have come unseen.
            let who = match before {
                _ if before != tid => UNKNOWN,
                0 => IDLE,
                _ => who,
            };
            if on.runs.len() >= RUNS {
                on.runs.pop_front();
            }
            on.runs.push_back(Run {
                from_ns,
                to_ns: now,
                who,
            });
        }
        if tid != 0 {
            let thread = self.thread(tid);
            thread.who = who;
            thread.waiting = Some((now, off, cpu));
            if thread.ended {
                self.threads.remove(&tid);
            }
        }
        if to != 0 {
            self.comes(to, cpu, now);
        }
    }

    /// A thread is woken; `waited`: it was off the CPU.
    pub(super) fn wake(&mut self, tid: u32, waited: bool, by: WokenBy, now: u64) {
        let thread = self.thread(tid);
        if waited {
            thread.wake = (now, Some(by));
        } else {
            thread.early_wake = (now, Some(by));
        }
    }

    /// A thread does something on a CPU. If nobody saw it come, it came with the last switch there.
    pub(super) fn seen(&mut self, tid: u32, cpu: u16, now: u64) {
        let Some((off_ns, ..)) = self.threads.get(&tid).and_then(|thread| thread.waiting) else {
            return;
        };
        let switched = self.cpus.get(&cpu).and_then(|cpu| cpu.now);
        let on_ns = switched.map_or(now, |(_, since_ns)| since_ns).max(off_ns);
        self.comes(tid, cpu, on_ns);
    }

    /// A quota held a thread back in its last wait, first of all: what it waited then is nobody's doing.
    pub(super) fn throttled(&mut self, tid: u32, cpu: u16, now: u64, ns: u64) {
        self.seen(tid, cpu, now);
        let Some(thread) = self.threads.get_mut(&tid) else {
            return;
        };
        let (from_ns, to_ns) = (thread.runnable_ns, thread.runnable_ns.saturating_add(ns));
        let pieces = thread.pieces.iter_mut().rev();
        let waits =
            pieces.take_while(|piece| piece.what == Off::RunQueue && piece.from_ns >= from_ns);
        for piece in waits {
            piece.from_ns = piece.from_ns.max(to_ns.min(piece.to_ns));
        }
    }

    /// A thread has sent: waits from before that are told.
    pub(super) fn sent(&mut self, tid: u32, began_ns: u64) {
        if let Some(thread) = self.threads.get_mut(&tid) {
            while thread
                .pieces
                .pop_front_if(|piece| piece.to_ns <= began_ns)
                .is_some()
            {}
        }
    }

    /// Whose doing the waits in a turnaround of this thread are.
    pub(super) fn blame(&self, tid: u32, turnaround: &Turnaround) -> Blame {
        let parts: &Parts<u64> = &turnaround.parts;
        let mut blame = Blame::default();
        let unread_ns = parts[Part::Queued];
        // Before it was handed over, another thread had it. Of its own waits, those while the message lay unread came first.
        let (from_ns, mut unread_ns) = if turnaround.handed_over {
            let before_ns = unread_ns.saturating_add(parts[Part::HandedOver]);
            (turnaround.from_ns.saturating_add(before_ns), 0)
        } else {
            (turnaround.from_ns, unread_ns)
        };
        let pieces = self.threads.get(&tid).map(|thread| &thread.pieces);
        for piece in pieces.into_iter().flatten() {
            let from_ns = piece.from_ns.max(from_ns);
            let mut ns = piece.to_ns.min(turnaround.to_ns).saturating_sub(from_ns);
            match piece.what {
                Off::BlockIo => {}
                Off::RunQueue => add(&mut blame.run_queue, piece.who, ns),
                Off::Sleep => {
                    let skipped_ns = ns.min(unread_ns);
                    unread_ns -= skipped_ns;
                    ns -= skipped_ns;
                    add(&mut blame.sleep, piece.who, ns);
                    let longest_ns = blame.waker.as_ref().map_or(0, |(_, ns)| *ns);
                    if ns > longest_ns
                        && let Some(waker) = &piece.waker
                    {
                        blame.waker = Some((waker.clone(), ns));
                    }
                }
            }
        }
        fit(&mut blame.run_queue, parts[Part::RunQueue]);
        fit(&mut blame.sleep, parts[Part::Sleep]);
        if parts[Part::Sleep] == 0 {
            blame.waker = None;
        }
        blame
    }

    fn thread(&mut self, tid: u32) -> &mut Thread {
        if self.threads.len() > MOST_THREADS {
            self.threads.clear();
        }
        self.threads.entry(tid).or_default()
    }

    /// A thread that waited is on a CPU.
    fn comes(&mut self, tid: u32, cpu: u16, now: u64) {
        let Self { threads, cpus } = self;
        if threads.len() > MOST_THREADS {
            threads.clear();
        }
        let thread = threads.entry(tid).or_default();
        let Some((off_ns, off, off_cpu)) = thread.waiting.take() else {
            thread.on_ns = now;
            return;
        };
        let (wake_ns, waker) = if off == Off::RunQueue {
            (off_ns, None)
        } else if thread.wake.0 >= off_ns {
            thread.wake.clone()
        } else if thread.early_wake.0 >= thread.on_ns && thread.early_wake.0 != 0 {
            (off_ns, None)
        } else {
            (now, None)
        };
        let wake_ns = wake_ns.min(now);
        thread.on_ns = now;
        thread.runnable_ns = wake_ns;
        if wake_ns > off_ns {
            thread.push(Piece {
                from_ns: off_ns,
                to_ns: wake_ns,
                what: off,
                who: waker.as_ref().map_or(UNKNOWN, |waker| waker.who),
                waker,
            });
        }
        let ran = |cpu: u16| ran_between(cpus.get(&cpu), wake_ns, now);
        let mut runs = ran(cpu);
        if off == Off::RunQueue && off_cpu != cpu {
            runs = agreed(&runs, &ran(off_cpu));
        }
        for run in runs {
            thread.push(Piece {
                from_ns: run.from_ns,
                to_ns: run.to_ns,
                what: Off::RunQueue,
                who: run.who,
                waker: None,
            });
        }
    }
}

impl Thread {
    fn push(&mut self, piece: Piece) {
        if self.pieces.len() >= PIECES {
            self.pieces.pop_front();
        }
        self.pieces.push_back(piece);
    }
}

/// Who ran on a CPU, without gaps.
fn ran_between(cpu: Option<&Cpu>, from_ns: u64, to_ns: u64) -> Vec<Run> {
    let mut runs = Vec::new();
    if to_ns <= from_ns {
        return runs;
    }
    let unknown = |from_ns: u64, to_ns: u64| Run {
        from_ns,
        to_ns,
        who: UNKNOWN,
    };
    let mut at_ns = to_ns;
    for run in cpu.into_iter().flat_map(|cpu| cpu.runs.iter().rev()) {
        if at_ns <= from_ns || run.to_ns <= from_ns {
            break;
        }
        let (start_ns, end_ns) = (run.from_ns.max(from_ns), run.to_ns.min(at_ns));
        if end_ns <= start_ns {
            continue;
        }
        if end_ns < at_ns {
            runs.push(unknown(end_ns, at_ns));
        }
        runs.push(Run {
            from_ns: start_ns,
            to_ns: end_ns,
            who: run.who,
        });
        at_ns = start_ns;
    }
    if at_ns > from_ns {
        runs.push(unknown(from_ns, at_ns));
    }
    runs.reverse();
    runs
}

/// Where two CPUs were given to the same; both lists cover the same time without gaps.
fn agreed(one: &[Run], other: &[Run]) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut others = other.iter().peekable();
    for run in one {
        let mut from_ns = run.from_ns;
        while from_ns < run.to_ns {
            let Some(beside) = others.peek() else {
                break;
            };
            let to_ns = run.to_ns.min(beside.to_ns);
            if to_ns > from_ns {
                let who = if run.who == beside.who {
                    run.who
                } else {
                    UNKNOWN
                };
                runs.push(Run {
                    from_ns,
                    to_ns,
                    who,
                });
                from_ns = to_ns;
            }
            if beside.to_ns <= from_ns {
                others.next();
            }
        }
    }
    runs
}

/// Adds to a share.
pub(super) fn add(shares: &mut Shares, who: Who, ns: u64) {
    if ns == 0 {
        return;
    }
    match shares.iter_mut().find(|(other, _)| *other == who) {
        Some((_, sum)) => *sum = sum.saturating_add(ns),
        None => shares.push((who, ns)),
    }
}

/// Makes the shares sum to this. What is missing is unknown; if there is too much, it cannot be told which of it counts,
/// unless it is all one's.
fn fit(shares: &mut Shares, total_ns: u64) {
    let sum = shares
        .iter()
        .fold(0u64, |sum, (_, ns)| sum.saturating_add(*ns));
    if sum <= total_ns {
        add(shares, UNKNOWN, total_ns - sum);
    } else if let [(_, ns)] = shares.as_mut_slice() {
        *ns = total_ns;
    } else {
        shares.clear();
        add(shares, UNKNOWN, total_ns);
    }
    shares.retain(|(_, ns)| *ns > 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOG: Who = 10;
    const OWN: Who = 11;
    const LOCK: Who = 12;

    fn by(tid: u32, who: Who) -> WokenBy {
        WokenBy {
            tid,
            who,
            comm: None,
        }
    }

    fn turnaround(from_ns: u64, to_ns: u64, parts: &[(Part, u64)]) -> Turnaround {
        let mut parts: Parts<u64> = parts.iter().copied().collect();
        parts[Part::OnCpu] = (to_ns - from_ns) - parts.total_ns();
        Turnaround {
            from_ns,
            to_ns,
            parts,
            handed_over: false,
        }
    }

    /// Thread 1 sleeps from 100 to 300, when thread 3 wakes it; thread 2 runs there until 450, the idle task until 460.
    fn waited() -> Clocks {
        let mut clocks = Clocks::default();
        clocks.switch(0, 50, (0, IDLE), Off::RunQueue, 1);
        clocks.switch(0, 100, (1, OWN), Off::Sleep, 2);
        clocks.wake(1, true, by(3, LOCK), 300);
        clocks.switch(0, 450, (2, HOG), Off::Sleep, 0);
        clocks.switch(0, 460, (0, IDLE), Off::RunQueue, 1);
        clocks
    }

    #[test]
    fn a_wait_for_the_cpu_is_booked_on_who_had_it_and_sleep_on_who_ended_it() {
        let clocks = waited();
        let parts = [(Part::Sleep, 200), (Part::RunQueue, 160)];
        let blame = clocks.blame(1, &turnaround(80, 500, &parts));
        assert_eq!(blame.run_queue, [(HOG, 150), (IDLE, 10)]);
        assert_eq!(blame.sleep, [(LOCK, 200)]);
        assert_eq!(blame.waker, Some((by(3, LOCK), 200)));
        // Of a sleep that began before the turnaround, the rest; while the message lay unread it is no sleep.
        let parts = [
            (Part::Queued, 20),
            (Part::Sleep, 130),
            (Part::RunQueue, 160),
        ];
        let blame = clocks.blame(1, &turnaround(150, 500, &parts));
        assert_eq!(blame.sleep, [(LOCK, 130)]);
        assert_eq!(blame.run_queue, [(HOG, 150), (IDLE, 10)]);
    }

    #[test]
    fn what_is_not_told_is_unknown_and_the_sum_is_the_part() {
        let clocks = waited();
        let parts = [(Part::Sleep, 250), (Part::RunQueue, 170)];
        let blame = clocks.blame(1, &turnaround(50, 500, &parts));
        assert_eq!(blame.sleep, [(LOCK, 200), (UNKNOWN, 50)]);
        assert_eq!(blame.run_queue, [(HOG, 150), (IDLE, 10), (UNKNOWN, 10)]);
        // Too much of several: which of it counts cannot be told.
        let blame = clocks.blame(1, &turnaround(50, 500, &[(Part::RunQueue, 100)]));
        assert_eq!(blame.run_queue, [(UNKNOWN, 100)]);
        assert_eq!((blame.sleep.len(), blame.waker), (0, None));
        assert_eq!(
            Clocks::default().blame(7, &turnaround(0, 9, &[])),
            Blame::default()
        );
    }

    #[test]
    fn what_a_quota_held_back_is_nobodys_doing() {
        let mut clocks = waited();
        // The first 100 ns after the wake-up.
        clocks.throttled(1, 0, 470, 100);
        let parts = [
            (Part::Sleep, 200),
            (Part::Throttled, 100),
            (Part::RunQueue, 60),
        ];
        let blame = clocks.blame(1, &turnaround(80, 500, &parts));
        assert_eq!(blame.run_queue, [(HOG, 50), (IDLE, 10)]);
        assert_eq!(blame.sleep, [(LOCK, 200)]);
        let mut clocks = waited();
        clocks.throttled(1, 0, 470, 155);
        let parts = [
            (Part::Sleep, 200),
            (Part::Throttled, 155),
            (Part::RunQueue, 5),
        ];
        let blame = clocks.blame(1, &turnaround(80, 500, &parts));
        assert_eq!(blame.run_queue, [(IDLE, 5)]);
        // Of a thread that nobody knows nothing is known.
        clocks.throttled(9, 0, 480, 10);
    }

    #[test]
    fn of_a_thread_that_came_to_another_cpu_counts_what_both_agree_on() {
        let mut clocks = Clocks::default();
        for cpu in [0, 1] {
            clocks.switch(cpu, 0, (0, IDLE), Off::RunQueue, 20 + u32::from(cpu));
        }
        clocks.switch(0, 10, (20, HOG), Off::Sleep, 1);
        // It is put off CPU 0 for thread 20, which is of the hog, and comes to CPU 1, where thread 21, also of the hog, ran
        // until 150.
        clocks.switch(0, 100, (1, OWN), Off::RunQueue, 20);
        clocks.switch(1, 150, (21, HOG), Off::Sleep, 30);
        clocks.switch(0, 190, (20, HOG), Off::Sleep, 0);
        clocks.switch(1, 200, (30, LOCK), Off::Sleep, 1);
        let blame = clocks.blame(1, &turnaround(90, 210, &[(Part::RunQueue, 100)]));
        assert_eq!(blame.run_queue, [(HOG, 50), (UNKNOWN, 50)]);
    }

    #[test]
    fn a_hand_over_begins_where_the_thread_took_over() {
        let clocks = waited();
        let mut parts: Parts<u64> = Parts::default();
        parts[Part::Queued] = 100;
        parts[Part::HandedOver] = 150;
        parts[Part::RunQueue] = 160;
        parts[Part::OnCpu] = 40;
        let handed = Turnaround {
            from_ns: 50,
            to_ns: 500,
            parts,
            handed_over: true,
        };
        let blame = clocks.blame(1, &handed);
        assert_eq!(blame.run_queue, [(HOG, 150), (IDLE, 10)]);
        assert_eq!(blame.sleep, []);
    }

    #[test]
    fn no_host_takes_more_memory_than_there_is() {
        let mut clocks = Clocks::default();
        for n in 0..3 * MOST_THREADS as u32 {
            clocks.wake(n, true, by(1, HOG), n.into());
            clocks.switch((n % 9000) as u16, n.into(), (n, OWN), Off::Sleep, n + 1);
        }
        assert!(clocks.threads.len() <= MOST_THREADS + 2);
        assert!(clocks.cpus.len() <= MOST_CPUS + 1);
        for n in 0..5000u64 {
            clocks.switch(0, (1u64 << 32) + n, (1, OWN), Off::Sleep, 2);
            clocks.switch(0, (1u64 << 32) + n, (2, HOG), Off::Sleep, 1);
        }
        assert!(clocks.cpus[&0].runs.len() <= RUNS);
        assert!(clocks.threads[&1].pieces.len() <= PIECES);
    }
}
