//! The critical path: the chain of segments and messages that decides how long a run takes.
//!
//! In: for each part, when it had to wait for another one, and for which. Out: whose segments the chain from the end back to
//! the begin consists of. Must not know: what segments are.

use super::{super::program::Program, wires::Done};

/// Hops of a path, at most.
const MOST_HOPS: usize = 1 << 22;

/// The critical path.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in super::super) struct Path {
    /// Time on it by process.
    pub(in super::super) by_process: Vec<u64>,
    /// Time of messages on it.
    pub(in super::super) messages_ns: u64,
}

impl Path {
    /// The process with the greatest share, and each one's share.
    pub(in super::super) fn greatest(&self) -> Option<usize> {
        let by_process = self.by_process.iter().enumerate();
        let most = by_process.max_by_key(|(place, ns)| (**ns, std::cmp::Reverse(*place)));
        most.filter(|(_, ns)| **ns > 0).map(|(place, _)| place)
    }

    /// A process's share.
    pub(in super::super) fn share(&self, process: usize) -> f64 {
        let all: u64 = self
            .by_process
            .iter()
            .copied()
            .fold(self.messages_ns, u64::saturating_add);
        let own = self.by_process.get(process).copied().unwrap_or(0);
        own as f64 / all.max(1) as f64
    }
}

#[derive(Clone, Copy, Debug)]
struct Join {
    op: usize,
    to_ns: u64,
    from: Done,
}

/// A stretch of the path, on one part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Hop {
    pub(in super::super) part: usize,
    /// It begins after this segment, which had to wait; with the first one where there is none.
    pub(in super::super) after: Option<usize>,
    /// It ends where this segment begins, or with the last one.
    pub(in super::super) before: usize,
    /// By the simulation.
    ns: u64,
    /// How long the message took that it waited for.
    way_ns: u64,
}

/// When each part had to wait for another one.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Joins(Vec<Vec<Join>>);

impl Joins {
    pub(in super::super) fn new(parts: usize) -> Self {
        Self(vec![Vec::new(); parts])
    }

    /// A part waited in its segment `op` until then for what another one did.
    pub(in super::super) fn add(&mut self, part: usize, op: usize, to_ns: u64, from: Done) {
        if let Some(joins) = self.0.get_mut(part) {
            joins.push(Join { op, to_ns, from });
        }
    }

    /// The path back from the part that ends last.
    pub(in super::super) fn path(&self, program: &Program, ends: &[u64]) -> Path {
        let mut path = Path {
            by_process: vec![0; program.processes],
            messages_ns: 0,
        };
        self.walk(program, ends, |hop| {
            let process = program.parts.get(hop.part).map(|part| part.process);
            if let Some(sum) = process.and_then(|process| path.by_process.get_mut(process)) {
                *sum = sum.saturating_add(hop.ns);
            }
            path.messages_ns = path.messages_ns.saturating_add(hop.way_ns);
        });
        path
    }

    /// Tells the stretches of the path, the last one first.
    pub(in super::super) fn walk(
        &self,
        program: &Program,
        ends: &[u64],
        mut told: impl FnMut(Hop),
    ) {
        let last = ends.iter().enumerate().max_by_key(|(_, end_ns)| **end_ns);
        let Some((mut part, end_ns)) = last else {
            return;
        };
        let mut at_ns = *end_ns;
        let mut op = usize::MAX;
        for _ in 0..MOST_HOPS {
            let joins = self.0.get(part).map_or(&[][..], Vec::as_slice);
            let before = joins.partition_point(|join| join.op < op);
            let join = before.checked_sub(1).and_then(|place| joins.get(place));
            let start_ns = program.parts.get(part).map_or(0, |part| part.start_ns);
            let begin_ns = join.map_or(start_ns, |join| join.to_ns);
            let way_ns = join.map_or(0, |join| join.to_ns.saturating_sub(join.from.at_ns));
            told(Hop {
                part,
                after: join.map(|join| join.op),
                before: op,
                ns: at_ns.saturating_sub(begin_ns),
                way_ns,
            });
            let Some(join) = join else {
                break;
            };
            Done { part, op, at_ns } = join.from;
        }
    }
}
