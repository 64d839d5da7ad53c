//! What is under way on the links of a run.
//!
//! In: sends and reads with their bytes and times. Out: from when on bytes are there, and room. Must not know: what threads do
//! besides.

use super::super::program::Program;

/// Something that a part did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Done {
    pub(in super::super) part: usize,
    /// Place among its segments.
    pub(in super::super) op: usize,
    pub(in super::super) at_ns: u64,
}

/// When something is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum There {
    /// It has not been sent yet; who asked is called when it is.
    Later,
    /// Then, because of this.
    At {
        ns: u64,
        from: Done,
        /// Which of its bursts of sends it was.
        burst: usize,
    },
    /// Nobody knows who sends it: it does not wait.
    Always,
}

#[derive(Clone, Copy, Debug)]
struct Send {
    end: u64,
    done: Done,
    burst: usize,
}

#[derive(Clone, Debug, Default)]
struct Wire {
    latency_ns: u64,
    sent: u64,
    room: Option<u64>,
    sends: Vec<Send>,
    /// The first send that has not been read in full.
    read: usize,
    reads: Vec<(u64, Done)>,
    drained: usize,
    readers: Vec<usize>,
    senders: Vec<usize>,
}

/// All links of a run.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Wires {
    wires: Vec<Wire>,
    /// By part: how much earlier than needed the messages of each burst of sends were there, the least.
    bursts: Vec<Vec<Option<u64>>>,
    /// By part: it has sent since it received last.
    sending: Vec<bool>,
    /// By part: what it has received since it ran last: from which part, of which burst, since when it was there.
    taken: Vec<Vec<(usize, usize, u64)>>,
}

impl Wires {
    pub(in super::super) fn new(program: &Program, latencies: &[u64]) -> Self {
        let wires = program.links.iter().zip(latencies);
        Self {
            wires: wires
                .map(|(link, latency_ns)| Wire {
                    latency_ns: *latency_ns,
                    sent: link.sent,
                    room: link.room,
                    ..Wire::default()
                })
                .collect(),
            bursts: vec![Vec::new(); program.parts.len()],
            sending: vec![false; program.parts.len()],
            taken: vec![Vec::new(); program.parts.len()],
        }
    }

    /// A part sends up to here.
    pub(in super::super) fn send(&mut self, link: u32, end: u64, done: Done) {
        let part = done.part;
        let mut burst = 0;
        if let (Some(sending), Some(bursts)) =
            (self.sending.get_mut(part), self.bursts.get_mut(part))
        {
            if !std::mem::replace(sending, true) {
                bursts.push(None);
            }
            burst = bursts.len().saturating_sub(1);
        }
        if let Some(wire) = self.wires.get_mut(link as usize) {
            wire.sends.push(Send { end, done, burst });
        }
    }

    /// Those that waited for a send on this link.
    pub(in super::super) fn readers(&mut self, link: u32) -> Vec<usize> {
        let wire = self.wires.get_mut(link as usize);
        wire.map_or_else(Vec::new, |wire| std::mem::take(&mut wire.readers))
    }

    /// Those that waited for room on this link.
    pub(in super::super) fn senders(&mut self, link: u32) -> Vec<usize> {
        let wire = self.wires.get_mut(link as usize);
        wire.map_or_else(Vec::new, |wire| std::mem::take(&mut wire.senders))
    }

    /// A part needs what was sent up to here.
    pub(in super::super) fn receive(&mut self, link: u32, end: u64, part: usize) -> There {
        if let Some(sending) = self.sending.get_mut(part) {
            *sending = false;
        }
        let Some(wire) = self.wires.get_mut(link as usize) else {
            return There::Always;
        };
        let end = end.min(wire.sent);
        while wire.sends.get(wire.read).is_some_and(|send| send.end < end) {
            wire.read += 1;
        }
        if end == 0 {
            return There::Always;
        }
        let Some(send) = wire.sends.get(wire.read).copied() else {
            wire.readers.push(part);
            return There::Later;
        };
        let ns = send.done.at_ns.saturating_add(wire.latency_ns);
        There::At {
            ns,
            from: send.done,
            burst: send.burst,
        }
    }

    /// A part takes what another one sent in a burst, and what has been there since then.
    pub(in super::super) fn takes(&mut self, part: usize, from: Done, burst: usize, ns: u64) {
        if let Some(taken) = self.taken.get_mut(part) {
            taken.push((from.part, burst, ns));
        }
    }

    /// A part has all that it waited for, and goes on.
    pub(in super::super) fn goes_on(&mut self, part: usize, at_ns: u64) {
        let Some(taken) = self.taken.get_mut(part) else {
            return;
        };
        for (from, burst, there_ns) in taken.drain(..) {
            let early_ns = at_ns.saturating_sub(there_ns);
            let bursts = self.bursts.get_mut(from);
            if let Some(burst) = bursts.and_then(|bursts| bursts.get_mut(burst)) {
                *burst = Some(burst.map_or(early_ns, |least| least.min(early_ns)));
            }
        }
    }

    /// A part has read up to here.
    pub(in super::super) fn took(&mut self, link: u32, end: u64, done: Done) {
        if let Some(wire) = self.wires.get_mut(link as usize)
            && wire.room.is_some()
        {
            wire.reads.push((end, done));
        }
    }

    /// A part needs room for what it sent up to here.
    pub(in super::super) fn room(&mut self, link: u32, end: u64, part: usize) -> There {
        let Some(wire) = self.wires.get_mut(link as usize) else {
            return There::Always;
        };
        let Some(room) = wire.room else {
            return There::Always;
        };
        let end = end.saturating_sub(room);
        while wire
            .reads
            .get(wire.drained)
            .is_some_and(|read| read.0 < end)
        {
            wire.drained += 1;
        }
        if end == 0 {
            return There::Always;
        }
        let Some((_, from)) = wire.reads.get(wire.drained).copied() else {
            wire.senders.push(part);
            return There::Later;
        };
        There::At {
            ns: from.at_ns,
            from,
            burst: usize::MAX,
        }
    }

    /// By process: how much earlier than needed its messages were there, of each burst the least.
    pub(in super::super) fn slack(&self, program: &Program) -> Vec<u64> {
        let mut slack = vec![0u64; program.processes];
        for (part, bursts) in program.parts.iter().zip(&self.bursts) {
            if let Some(sum) = slack.get_mut(part.process) {
                for early_ns in bursts.iter().flatten() {
                    *sum = sum.saturating_add(*early_ns);
                }
            }
        }
        slack
    }
}
