//! Who had each CPU, and so for whom a thread waited.
//!
//! In: runs of CPUs in the order of time, waits for a CPU. Out: by whom a wait was made. Must not know: threads.
//!
//! A thread that was put off one CPU and came to another one waited for both. Nothing tells when it was moved: what both of
//! them had counts as the doing of both, and where one of them had nobody, nobody's.

use std::collections::VecDeque;

use foldhash::HashMap;

use super::NOBODY;

/// Runs of a CPU that are remembered.
const RUNS: usize = 64;
pub(super) const MOST_CPUS: usize = 1 << 13;
/// Pairs of processes that are told apart in one wait for a CPU.
const MOST_WHO: usize = 4;

#[derive(Clone, Copy, Debug)]
struct Run {
    from_ns: u64,
    to_ns: u64,
    process: u32,
    /// From here to its end it has been booked as time that somebody waited.
    booked_from_ns: u64,
}

#[derive(Clone, Debug, Default)]
struct Cpu {
    since_ns: u64,
    /// The thread that has it, and its process as far as it is known.
    now: (u32, u32),
    runs: VecDeque<Run>,
    /// Data arrived here last, and on which connection.
    arrival: Option<(u64, u64)>,
}

impl Cpu {
    /// Who had it between two times, without gaps.
    fn between(&self, from_ns: u64, to_ns: u64, mut told: impl FnMut(u64, u64, u32)) {
        let mut end_ns = to_ns;
        let now = std::iter::once((self.since_ns, u64::MAX, self.now.1));
        let runs = self.runs.iter().rev();
        let runs = runs.map(|run| (run.from_ns, run.to_ns, run.process));
        for (run_from_ns, run_to_ns, process) in now.chain(runs) {
            if end_ns <= from_ns || run_to_ns <= from_ns {
                break;
            }
            let (start_ns, stop_ns) = (run_from_ns.max(from_ns), run_to_ns.min(end_ns));
            if stop_ns <= start_ns {
                continue;
            }
            if stop_ns < end_ns {
                told(stop_ns, end_ns, NOBODY);
            }
            told(start_ns, stop_ns, process);
            end_ns = start_ns;
        }
        if end_ns > from_ns {
            told(from_ns, end_ns, NOBODY);
        }
    }
}

/// A stretch of a wait on the CPU that ended it.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    from_ns: u64,
    to_ns: u64,
    process: u32,
    /// Up to here nobody else has it.
    free_ns: u64,
    run: Option<usize>,
}

/// For whom a thread waited: who had the CPU that ended its wait, who had the one that it was put off, and for how long. Both are
/// the same where there was only one CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) who: u32,
    pub(super) beside: u32,
    pub(super) ns: u64,
}

/// All CPUs.
#[derive(Clone, Debug, Default)]
pub(super) struct Cpus {
    cpus: HashMap<u16, Cpu>,
    stretches: Vec<Stretch>,
}

impl Cpus {
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.cpus.len()
    }

    /// A thread of a process leaves a CPU to another one.
    pub(super) fn switch(
        &mut self,
        number: u16,
        at_ns: u64,
        (from, process): (u32, u32),
        to: (u32, u32),
    ) {
        if self.cpus.len() >= MOST_CPUS && !self.cpus.contains_key(&number) {
            return;
        }
        let cpu = self.cpus.entry(number).or_default();
        if cpu.since_ns != 0 && at_ns > cpu.since_ns {
            if cpu.runs.len() >= RUNS {
                cpu.runs.pop_front();
            }
            // Somebody else may have come unseen.
            let known = from != 0 && from == cpu.now.0;
            cpu.runs.push_back(Run {
                from_ns: cpu.since_ns,
                to_ns: at_ns,
                process: if known { process } else { NOBODY },
                booked_from_ns: at_ns,
            });
        }
        cpu.since_ns = at_ns;
        cpu.now = if to.0 == 0 { (0, NOBODY) } else { to };
    }

    /// Data arrived while this CPU was at it.
    pub(super) fn arrival(&mut self, cpu: u16, at_ns: u64, connection: u64) {
        if let Some(cpu) = self.cpus.get_mut(&cpu) {
            cpu.arrival = Some((at_ns, connection));
        }
    }

    pub(super) fn arrived(&self, cpu: u16) -> Option<(u64, u64)> {
        self.cpus.get(&cpu).and_then(|cpu| cpu.arrival)
    }

    /// For whom a thread waited that came to this CPU now, after it was put off the other one. What a process had the CPU for
    /// counts for one that waited only: those behind it wait for that one.
    pub(super) fn held(
        &mut self,
        number: u16,
        other: Option<u16>,
        (from_ns, to_ns): (u64, u64),
    ) -> Vec<Held> {
        let mut held: Vec<Held> = Vec::new();
        let mut stretches = std::mem::take(&mut self.stretches);
        stretches.clear();
        self.stretches_of(number, (from_ns, to_ns), &mut stretches);
        for stretch in &stretches {
            let mut booked_ns = u64::MAX;
            let mut one = |from_ns: u64, to_ns: u64, beside: u32| {
                let who = stretch.process;
                let mut ns = to_ns - from_ns;
                if who == beside && who != NOBODY {
                    ns = stretch.free_ns.min(to_ns).saturating_sub(from_ns);
                    booked_ns = booked_ns.min(from_ns);
                }
                add(&mut held, Held { who, beside, ns });
            };
            let Stretch { from_ns, to_ns, .. } = *stretch;
            match other.filter(|other| *other != number) {
                None => one(from_ns, to_ns, stretch.process),
                Some(other) => match self.cpus.get(&other) {
                    None => one(from_ns, to_ns, NOBODY),
                    Some(cpu) => cpu.between(from_ns, to_ns, one),
                },
            }
            let runs = self.cpus.get_mut(&number).map(|cpu| &mut cpu.runs);
            if let (Some(runs), Some(place)) = (runs, stretch.run)
                && let Some(run) = runs.get_mut(place)
            {
                run.booked_from_ns = run.booked_from_ns.min(booked_ns);
            }
        }
        self.stretches = stretches;
        held
    }

    fn stretches_of(
        &self,
        number: u16,
        (from_ns, to_ns): (u64, u64),
        stretches: &mut Vec<Stretch>,
    ) {
        let unknown = |from_ns, to_ns| Stretch {
            from_ns,
            to_ns,
            process: NOBODY,
            free_ns: to_ns,
            run: None,
        };
        let mut end_ns = to_ns;
        let Some(cpu) = self.cpus.get(&number) else {
            stretches.push(unknown(from_ns, to_ns));
            return;
        };
        for (place, run) in cpu.runs.iter().enumerate().rev() {
            if end_ns <= from_ns || run.to_ns <= from_ns {
                break;
            }
            let (start_ns, stop_ns) = (run.from_ns.max(from_ns), run.to_ns.min(end_ns));
            if stop_ns <= start_ns {
                continue;
            }
            if stop_ns < end_ns {
                stretches.push(unknown(stop_ns, end_ns));
            }
            stretches.push(Stretch {
                from_ns: start_ns,
                to_ns: stop_ns,
                process: run.process,
                free_ns: run.booked_from_ns,
                run: Some(place),
            });
            end_ns = start_ns;
        }
        if end_ns > from_ns {
            stretches.push(unknown(from_ns, end_ns));
        }
    }
}

/// Adds to those that are told apart; more of them are nobody.
fn add(held: &mut Vec<Held>, new: Held) {
    if new.ns == 0 {
        return;
    }
    let same = |old: &&mut Held| (old.who, old.beside) == (new.who, new.beside);
    if let Some(old) = held.iter_mut().find(same) {
        old.ns = old.ns.saturating_add(new.ns);
    } else if held.len() < MOST_WHO || (new.who == NOBODY && new.beside == NOBODY) {
        held.push(new);
    } else {
        let nobody = Held {
            who: NOBODY,
            beside: NOBODY,
            ns: new.ns,
        };
        add(held, nobody);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOG: (u32, u32) = (2, 20);
    const OWN: (u32, u32) = (1, 10);
    const NEXT: (u32, u32) = (3, 30);
    const IDLE: (u32, u32) = (0, NOBODY);

    fn told(held: &[Held]) -> Vec<(u32, u32, u64)> {
        let mut told: Vec<_> = held.iter().map(|h| (h.who, h.beside, h.ns)).collect();
        told.sort_unstable();
        told
    }

    /// CPU 0: the hog from 100 on. CPU 1: the next one from 100, idle from 300, the hog from 350, until 400.
    fn two() -> Cpus {
        let mut cpus = Cpus::default();
        cpus.switch(0, 50, IDLE, OWN);
        cpus.switch(1, 50, IDLE, NEXT);
        cpus.switch(0, 100, OWN, HOG);
        cpus.switch(1, 300, NEXT, IDLE);
        cpus.switch(1, 350, IDLE, HOG);
        cpus.switch(1, 400, HOG, OWN);
        cpus
    }

    #[test]
    fn a_wait_on_one_cpu_is_for_who_had_it_and_idle_is_nobody() {
        let mut cpus = two();
        assert_eq!(
            told(&cpus.held(1, None, (200, 400))),
            [(20, 20, 50), (30, 30, 100), (NOBODY, NOBODY, 50)]
        );
        // The same again is booked; nobody's time is each one's own.
        assert_eq!(
            told(&cpus.held(1, None, (200, 400))),
            [(NOBODY, NOBODY, 50)]
        );
    }

    #[test]
    fn of_a_wait_on_two_cpus_what_both_had_is_told() {
        let mut cpus = two();
        assert_eq!(
            told(&cpus.held(1, Some(0), (100, 400))),
            [(20, 20, 50), (30, 20, 200), (NOBODY, 20, 50)]
        );
        // Only what both agree on has been booked.
        assert_eq!(
            told(&cpus.held(1, None, (200, 400))),
            [(30, 30, 100), (NOBODY, NOBODY, 50)]
        );
        let mut cpus = two();
        assert_eq!(
            told(&cpus.held(1, Some(7), (100, 400))),
            [(20, NOBODY, 50), (30, NOBODY, 200), (NOBODY, NOBODY, 50)]
        );
        assert_eq!(
            told(&cpus.held(9, None, (100, 400))),
            [(NOBODY, NOBODY, 300)]
        );
    }

    #[test]
    fn who_came_unseen_is_nobody_and_more_than_a_few_are_nobody() {
        let mut cpus = Cpus::default();
        cpus.switch(0, 100, IDLE, OWN);
        cpus.switch(0, 200, HOG, OWN);
        assert_eq!(
            told(&cpus.held(0, None, (100, 200))),
            [(NOBODY, NOBODY, 100)]
        );
        for n in 0..40u32 {
            let at_ns = 210 + 10 * u64::from(n);
            let before = if n == 0 { OWN } else { (n + 9, n + 9) };
            cpus.switch(0, at_ns, before, (n + 10, n + 10));
        }
        let held = cpus.held(0, None, (200, 600));
        assert_eq!(held.len(), MOST_WHO + 1);
        assert_eq!(held.iter().map(|h| h.ns).sum::<u64>(), 400);
    }
}
