//! The application as a program that can be run again: its threads' segments, on links that are numbered from 0.
//!
//! In: segments of all threads, the members, latencies by pair. Out: a [`Program`]. Must not know: what is changed in it.

use foldhash::HashMap;

use super::segments::{Op, Segments};

/// In place of a process outside: a process of the application.
pub(super) const OWN: u32 = u32::MAX - 1;

/// One thread of the application.
#[derive(Clone, Debug, Default)]
pub(super) struct Part {
    /// Place of its process among the members.
    pub(super) process: usize,
    /// Its number.
    pub(super) tid: u32,
    /// When it begins, from the begin of all.
    pub(super) start_ns: u64,
    /// What it does. Links are places in [`Program::links`]; what comes from outside is a plain wait.
    pub(super) ops: Vec<Op>,
}

/// A link between two members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wire {
    /// Places of sender and receiver among the members.
    pub(super) from: usize,
    pub(super) to: usize,
    /// From the begin of a send until it is there.
    pub(super) latency_ns: u64,
    /// Bytes that are sent in all.
    pub(super) sent: u64,
    /// Bytes that are read in all.
    pub(super) read: u64,
    /// Bytes that may be under way, where a sender ever had to wait for room.
    pub(super) room: Option<u64>,
}

/// The application.
#[derive(Clone, Debug, Default)]
pub(super) struct Program {
    /// How many processes.
    pub(super) processes: usize,
    pub(super) parts: Vec<Part>,
    pub(super) links: Vec<Wire>,
    /// When the first part begins.
    pub(super) begin_ns: u64,
    /// From the first message to the last.
    pub(super) measured_ns: u64,
    pub(super) segments: u64,
}

impl Program {
    /// `place` says where a process is among the members; `latency_ns` how long a message takes between two of them.
    pub(super) fn new(
        segments: &Segments,
        processes: usize,
        place: impl Fn(u32) -> Option<usize>,
        latency_ns: impl Fn(u32, u32) -> u64,
    ) -> Self {
        let tracks = segments.tracks.iter();
        let tracks: Vec<_> = tracks
            .filter_map(|track| Some((place(track.process)?, track)))
            .collect();
        let begin_ns = tracks.iter().map(|(_, track)| track.start_ns).min();
        let end_ns = tracks.iter().map(|(_, track)| track.end_ns).max();
        let begin_ns = begin_ns.unwrap_or(0);
        let mut program = Self {
            processes,
            begin_ns,
            measured_ns: end_ns.unwrap_or(0).saturating_sub(begin_ns),
            ..Self::default()
        };
        let mut numbers: HashMap<u32, u32> = HashMap::default();
        for (number, ends) in &segments.ends {
            let (Some(from), Some(to)) = *ends else {
                continue;
            };
            if let (Some(from_place), Some(to_place)) = (place(from), place(to))
                && from_place != to_place
            {
                numbers.insert(*number, program.links.len() as u32);
                program.links.push(Wire {
                    from: from_place,
                    to: to_place,
                    latency_ns: latency_ns(from, to),
                    room: segments.room.get(number).copied(),
                    ..Wire::default()
                });
            }
        }
        for (process, track) in tracks {
            let mut ops = Vec::with_capacity(track.ops.len());
            for op in track.ops.iter().take(track.spoken) {
                ops.extend(program.own(*op, &numbers, &place));
            }
            program.segments += ops.len() as u64;
            program.parts.push(Part {
                process,
                tid: track.tid,
                start_ns: track.start_ns.saturating_sub(begin_ns),
                ops,
            });
        }
        program
    }

    /// A segment as the application's own.
    fn own(
        &mut self,
        op: Op,
        numbers: &HashMap<u32, u32>,
        place: impl Fn(u32) -> Option<usize>,
    ) -> Option<Op> {
        let wait = |ns| Some(Op::Wait { ns, disk: false });
        match op {
            Op::Send { link, end } => {
                let link = *numbers.get(&link)?;
                let wire = self.links.get_mut(link as usize)?;
                wire.sent = wire.sent.max(end);
                Some(Op::Send { link, end })
            }
            Op::Receive {
                link,
                end,
                waited_ns,
            } => match numbers.get(&link) {
                Some(link) => {
                    let wire = self.links.get_mut(*link as usize)?;
                    wire.read = wire.read.max(end);
                    Some(Op::Receive {
                        link: *link,
                        end,
                        waited_ns,
                    })
                }
                None if waited_ns > 0 => wait(waited_ns),
                None => None,
            },
            Op::Drain {
                link,
                end,
                waited_ns,
            } => match numbers.get(&link) {
                Some(link) => Some(Op::Drain {
                    link: *link,
                    end,
                    waited_ns,
                }),
                None => wait(waited_ns),
            },
            Op::Outside {
                who,
                beside,
                cpu,
                ns,
            } => {
                let known = |who| if place(who).is_some() { OWN } else { who };
                let (who, beside) = (known(who), known(beside));
                let op = Op::Outside {
                    who,
                    beside,
                    cpu,
                    ns,
                };
                // The application's own threads are put on their CPUs anew.
                ((who, beside) != (OWN, OWN)).then_some(op)
            }
            Op::Run { .. } | Op::Wait { .. } => Some(op),
        }
    }

    /// Time on a CPU of each process.
    pub(super) fn useful_ns(&self) -> Vec<u64> {
        let mut sums = vec![0u64; self.processes];
        for part in &self.parts {
            for op in &part.ops {
                if let (Op::Run { ns, .. }, Some(sum)) = (op, sums.get_mut(part.process)) {
                    *sum = sum.saturating_add(*ns);
                }
            }
        }
        sums
    }
}
