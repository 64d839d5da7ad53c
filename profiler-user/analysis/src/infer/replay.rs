//! The recorded run once more, with something changed: each segment as soon as what it needs is there.
//!
//! In: a program, what is changed. Out: how long it takes, the critical path, and by how much messages came before they
//! were needed. Must not know: CPUs; waits for one stay as they were recorded, times a factor.

mod path;
mod wires;

use super::{program::Program, segments::Op};

pub(super) use path::{Hop, Joins, Path};
pub(super) use wires::{Done, There, Wires};

/// What is changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Changed {
    /// Factor of the waits for a CPU, by process; 1 where there is none.
    pub(super) queue: Vec<f64>,
    /// Factor of the time on a CPU.
    pub(super) cpu: Vec<f64>,
    /// Factor of the waits for a disk.
    pub(super) disk: Vec<f64>,
    /// Latencies between two processes, in place of those measured.
    pub(super) latency: Vec<((usize, usize), Latency)>,
    /// For all links.
    pub(super) all: Option<Latency>,
}

/// How long a message takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Latency {
    /// So much more than measured.
    More(u64),
    /// So much less, down to nothing.
    Less(u64),
    /// This.
    Of(u64),
}

impl Latency {
    pub(super) fn apply(self, ns: u64) -> u64 {
        match self {
            Self::More(more_ns) => ns.saturating_add(more_ns),
            Self::Less(less_ns) => ns.saturating_sub(less_ns),
            Self::Of(ns) => ns,
        }
    }
}

impl Changed {
    /// The latency of each link.
    pub(super) fn latencies(&self, program: &Program) -> Vec<u64> {
        let of = |link: &super::program::Wire| {
            let mut ns = link.latency_ns;
            if let Some(all) = self.all {
                ns = all.apply(ns);
            }
            for ((from, to), latency) in &self.latency {
                if (*from, *to) == (link.from, link.to) {
                    ns = latency.apply(ns);
                }
            }
            ns
        };
        program.links.iter().map(of).collect()
    }
}

/// A time, times the factor of a process.
pub(super) fn scaled(ns: u64, factors: &[f64], process: usize) -> u64 {
    match factors.get(process) {
        Some(factor) => (ns as f64 * factor).max(0.0) as u64,
        None => ns,
    }
}

/// How it went.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Run {
    /// How long it took.
    pub(super) length_ns: u64,
    /// Whose segments the critical path consists of.
    pub(super) path: Path,
    /// By process: time by which its messages were there before they were needed, of each burst the least.
    pub(super) slack_ns: Vec<u64>,
}

/// The order of segments cannot be kept: something was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stuck;

/// Runs the program once more.
pub(super) fn replay(program: &Program, changed: &Changed) -> Result<Run, Stuck> {
    let (replay, ends) = ran(program, changed)?;
    Ok(Run {
        length_ns: ends.iter().copied().max().unwrap_or(0),
        path: replay.joins.path(program, &ends),
        slack_ns: replay.wires.slack(program),
    })
}

/// The critical path of the run as it was, the last stretch first.
pub(super) fn hops(program: &Program) -> Result<Vec<Hop>, Stuck> {
    let unchanged = Changed::default();
    let (replay, ends) = ran(program, &unchanged)?;
    let mut hops = Vec::new();
    replay.joins.walk(program, &ends, |hop| hops.push(hop));
    Ok(hops)
}

/// Once more from begin to end, and when each part ends.
fn ran<'a>(program: &'a Program, changed: &'a Changed) -> Result<(Replay<'a>, Vec<u64>), Stuck> {
    let mut replay = Replay {
        program,
        changed,
        wires: Wires::new(program, &changed.latencies(program)),
        joins: Joins::new(program.parts.len()),
        states: program
            .parts
            .iter()
            .map(|part| (0, part.start_ns))
            .collect(),
        open: (0..program.parts.len()).rev().collect(),
    };
    while let Some(part) = replay.open.pop() {
        replay.part(part);
    }
    let done = replay.states.iter().zip(&program.parts);
    if !done
        .into_iter()
        .all(|((next, _), part)| *next >= part.ops.len())
    {
        return Err(Stuck);
    }
    let ends: Vec<u64> = replay.states.iter().map(|(_, at_ns)| *at_ns).collect();
    Ok((replay, ends))
}

/// What a part did in this segment.
pub(super) fn done(part: usize, op: usize, at_ns: u64) -> Done {
    Done { part, op, at_ns }
}

struct Replay<'a> {
    program: &'a Program,
    changed: &'a Changed,
    wires: Wires,
    joins: Joins,
    /// By part: its next segment, and its time.
    states: Vec<(usize, u64)>,
    /// Parts that can go on.
    open: Vec<usize>,
}

impl Replay<'_> {
    /// Goes on with a part until it has to wait for another one.
    fn part(&mut self, number: usize) {
        let (Some(part), Some(state)) =
            (self.program.parts.get(number), self.states.get_mut(number))
        else {
            return;
        };
        let process = part.process;
        let (mut next, mut at_ns) = *state;
        while let Some(op) = part.ops.get(next) {
            match *op {
                Op::Run { ns, queue_ns, .. } => {
                    self.wires.goes_on(number, at_ns);
                    let queue_ns = scaled(queue_ns, &self.changed.queue, process);
                    let run_ns = scaled(ns, &self.changed.cpu, process);
                    at_ns = at_ns.saturating_add(queue_ns).saturating_add(run_ns);
                }
                Op::Wait { ns, disk: true } => {
                    at_ns = at_ns.saturating_add(scaled(ns, &self.changed.disk, process));
                }
                Op::Wait { ns, .. } => at_ns = at_ns.saturating_add(ns),
                Op::Outside { .. } => {}
                Op::Send { link, end } => {
                    self.wires.send(link, end, done(number, next, at_ns));
                    self.open.extend(self.wires.readers(link));
                }
                Op::Receive { link, end, .. } => {
                    match self.wires.receive(link, end, number) {
                        There::Later => break,
                        There::At { ns, from, burst } => {
                            self.wires.takes(number, from, burst, ns);
                            if ns > at_ns {
                                self.joins.add(number, next, ns, from);
                                at_ns = ns;
                            }
                        }
                        There::Always => {}
                    }
                    self.wires.took(link, end, done(number, next, at_ns));
                    self.open.extend(self.wires.senders(link));
                }
                Op::Drain { link, end, .. } => match self.wires.room(link, end, number) {
                    There::Later => break,
                    There::At { ns, from, .. } => {
                        if ns > at_ns {
                            self.joins.add(number, next, ns, from);
                            at_ns = ns;
                        }
                    }
                    There::Always => {}
                },
            }
            next += 1;
        }
        *state = (next, at_ns);
    }
}

#[cfg(test)]
pub(super) mod tests;
