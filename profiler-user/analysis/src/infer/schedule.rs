//! The recorded run once more, with its segments put on their CPUs anew: all waits for a CPU are dropped, the application's own
//! threads share each CPU in turns, and others have it as they had it, as far as they are not taken away.
//!
//! In: a program, whom to take away. Out: how long it takes and the critical path. Must not know: names.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
};

use foldhash::HashMap;

use super::{
    program::{OWN, Program},
    replay::{Changed, Joins, Run, Stuck, There, Wires, done, scaled},
    segments::Op,
    threads::NOBODY,
};

/// A thread has a CPU for so long while another one waits for it; it hardly matters.
const TURN_NS: u64 = 3_000_000;

/// Runs the program once more; `stays` says of a process outside whether it goes on to have a CPU.
pub(super) fn schedule(
    program: &Program,
    changed: &Changed,
    stays: impl Fn(u32) -> bool,
) -> Result<Run, Stuck> {
    let mut machine = Machine {
        program,
        changed,
        stays,
        wires: Wires::new(program, &changed.latencies(program)),
        joins: Joins::new(program.parts.len()),
        parts: vec![State::default(); program.parts.len()],
        cpus: HashMap::default(),
        events: BinaryHeap::new(),
        count: 0,
    };
    for (number, part) in program.parts.iter().enumerate() {
        machine.at(part.start_ns, Event::Goes(number));
    }
    machine.run();
    let states = machine.parts.iter().zip(&program.parts);
    if !states
        .into_iter()
        .all(|(state, part)| state.next >= part.ops.len())
    {
        return Err(Stuck);
    }
    let ends: Vec<u64> = machine.parts.iter().map(|state| state.end_ns).collect();
    Ok(Run {
        length_ns: ends.iter().copied().max().unwrap_or(0),
        path: machine.joins.path(program, &ends),
        slack_ns: Vec::new(),
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A thread has its turn's end, or its segment's, on this CPU.
    Ends(u16),
    /// A thread goes on.
    Goes(usize),
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// Its next segment.
    next: usize,
    /// What is left of the run that it is in; none if it has not begun.
    left_ns: Option<u64>,
    /// When it had to begin to wait for something; for the critical path.
    end_ns: u64,
}

#[derive(Debug, Default)]
struct Cpu {
    /// Who has it, since when, and how much of the turn is left.
    now: Option<(usize, u64, u64)>,
    waiting: VecDeque<usize>,
}

struct Machine<'a, F> {
    program: &'a Program,
    changed: &'a Changed,
    stays: F,
    wires: Wires,
    joins: Joins,
    parts: Vec<State>,
    cpus: HashMap<u16, Cpu>,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    count: u64,
}

impl<F: Fn(u32) -> bool> Machine<'_, F> {
    /// Something happens then; of one instant, what was planned first comes first.
    fn at(&mut self, at_ns: u64, event: Event) {
        self.count += 1;
        self.events.push(Reverse((at_ns, self.count, event)));
    }

    fn run(&mut self) {
        while let Some(Reverse((now_ns, _, event))) = self.events.pop() {
            match event {
                Event::Goes(part) => self.goes(part, now_ns, None),
                Event::Ends(cpu) => self.ends(cpu, now_ns),
            }
        }
    }

    /// The one that has a CPU has used its turn, or is at the end of its segment.
    fn ends(&mut self, number: u16, now_ns: u64) {
        let Some(cpu) = self.cpus.get_mut(&number) else {
            return;
        };
        let Some((part, since_ns, turn_ns)) = cpu.now.take() else {
            return;
        };
        let ran_ns = now_ns.saturating_sub(since_ns);
        let turn_ns = turn_ns.saturating_sub(ran_ns);
        let Some(state) = self.parts.get_mut(part) else {
            return;
        };
        let left_ns = state.left_ns.unwrap_or(0).saturating_sub(ran_ns);
        state.left_ns = Some(left_ns);
        if left_ns > 0 {
            if turn_ns == 0 {
                cpu.waiting.push_back(part);
                self.next(number, now_ns);
            } else {
                self.begins(number, part, now_ns, turn_ns);
            }
            return;
        }
        state.left_ns = None;
        state.next += 1;
        self.goes(part, now_ns, Some((number, turn_ns)));
    }

    /// The next one gets a CPU that nobody has.
    fn next(&mut self, number: u16, now_ns: u64) {
        let Some(cpu) = self.cpus.get_mut(&number) else {
            return;
        };
        if cpu.now.is_some() {
            return;
        }
        if let Some(part) = cpu.waiting.pop_front() {
            self.begins(number, part, now_ns, TURN_NS);
        }
    }

    fn begins(&mut self, number: u16, part: usize, now_ns: u64, turn_ns: u64) {
        let left_ns = self.parts.get(part).and_then(|state| state.left_ns);
        let left_ns = left_ns.unwrap_or(0);
        let cpu = self.cpus.entry(number).or_default();
        cpu.now = Some((part, now_ns, turn_ns));
        let until_ns = now_ns.saturating_add(left_ns.min(turn_ns));
        self.at(until_ns, Event::Ends(number));
    }

    /// A thread goes on until it has to wait or needs a CPU; `has` is the CPU that it has, and what is left of its turn.
    fn goes(&mut self, number: usize, now_ns: u64, mut has: Option<(u16, u64)>) {
        let program = self.program;
        let Some(part) = program.parts.get(number) else {
            return;
        };
        while let Some(state) = self.parts.get_mut(number) {
            state.end_ns = now_ns;
            let next = state.next;
            let Some(op) = part.ops.get(next).copied() else {
                break;
            };
            match op {
                Op::Run { cpu, ns, .. } => {
                    let ns = scaled(ns, &self.changed.cpu, part.process);
                    self.wants(number, (cpu, ns), now_ns, has);
                    return;
                }
                Op::Outside {
                    who,
                    beside,
                    cpu,
                    ns,
                } => {
                    let ns = scaled(ns, &self.changed.queue, part.process);
                    if self.is_gone(who) && self.is_gone(beside) {
                        // Who is left waits for its CPU anew.
                    } else if who == beside && who != NOBODY {
                        self.wants(number, (cpu, ns), now_ns, has);
                        return;
                    } else if ns > 0 {
                        // Nobody knows for which of them: no CPU is taken for it.
                        self.sleeps(number, now_ns.saturating_add(ns));
                        break;
                    }
                }
                Op::Wait { ns, disk } => {
                    let ns = if disk {
                        scaled(ns, &self.changed.disk, part.process)
                    } else {
                        ns
                    };
                    if ns > 0 {
                        self.sleeps(number, now_ns.saturating_add(ns));
                        break;
                    }
                }
                Op::Send { link, end } => {
                    self.wires.send(link, end, done(number, next, now_ns));
                    for reader in self.wires.readers(link) {
                        self.at(now_ns, Event::Goes(reader));
                    }
                }
                Op::Receive { link, end, .. } => {
                    let there = self.wires.receive(link, end, number);
                    if self.waits(there, number, next, now_ns) {
                        break;
                    }
                    self.wires.took(link, end, done(number, next, now_ns));
                    for sender in self.wires.senders(link) {
                        self.at(now_ns, Event::Goes(sender));
                    }
                }
                Op::Drain { link, end, .. } => {
                    let there = self.wires.room(link, end, number);
                    if self.waits(there, number, next, now_ns) {
                        break;
                    }
                }
            }
            if let Some(state) = self.parts.get_mut(number) {
                state.next += 1;
            }
        }
        if let Some((cpu, _)) = has.take() {
            self.next(cpu, now_ns);
        }
    }

    /// Whether somebody who had a CPU has none now, or waits for it anew.
    fn is_gone(&self, who: u32) -> bool {
        who == OWN || who != NOBODY && !(self.stays)(who)
    }

    /// A thread does nothing more until then.
    fn sleeps(&mut self, number: usize, until_ns: u64) {
        if let Some(state) = self.parts.get_mut(number) {
            state.next += 1;
        }
        self.at(until_ns, Event::Goes(number));
    }

    /// Whether a thread has to wait for something that is not there yet.
    fn waits(&mut self, there: There, number: usize, op: usize, now_ns: u64) -> bool {
        match there {
            There::Always => false,
            There::Later => true,
            There::At { ns, .. } if ns <= now_ns => false,
            There::At { ns, from, .. } => {
                self.joins.add(number, op, ns, from);
                self.at(ns, Event::Goes(number));
                true
            }
        }
    }

    /// A thread wants a CPU for so long.
    fn wants(&mut self, part: usize, (cpu, ns): (u16, u64), now_ns: u64, has: Option<(u16, u64)>) {
        if let Some(state) = self.parts.get_mut(part) {
            state.left_ns = Some(ns);
        }
        match has {
            Some((own, turn_ns)) if own == cpu && turn_ns > 0 => {
                self.begins(cpu, part, now_ns, turn_ns);
            }
            _ => {
                self.cpus.entry(cpu).or_default().waiting.push_back(part);
                self.next(cpu, now_ns);
                if let Some((own, _)) = has
                    && own != cpu
                {
                    self.next(own, now_ns);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
