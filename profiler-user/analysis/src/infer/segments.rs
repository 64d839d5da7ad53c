//! What each thread did, one after the other: the segments that a run is simulated from.
//!
//! In: runs, waits, sends and receives of threads. Out: tracks of them, and how many were too many. Must not know: events,
//! names.

use foldhash::HashMap;

/// Segments that are kept, at most; 24 bytes each.
const MOST: usize = 1 << 21;
/// Threads that have a track, at most.
const MOST_TRACKS: usize = 1 << 14;

/// One thing that a thread did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    /// On a CPU, after it had been runnable without one for so long.
    Run { cpu: u16, ns: u64, queue_ns: u64 },
    /// Of the wait of the run after it: another process had the CPU, and no other thread that waited has this time; `beside` had
    /// the CPU that the thread was put off. Where these are not the same, or nobody, the time is this thread's own.
    Outside {
        who: u32,
        beside: u32,
        cpu: u16,
        ns: u64,
    },
    /// It began to send: bytes up to here are there for the other end.
    Send { link: u32, end: u64 },
    /// It needed bytes up to here, and slept for so long until they came.
    Receive { link: u32, end: u64, waited_ns: u64 },
    /// It slept until there was room for bytes up to here.
    Drain { link: u32, end: u64, waited_ns: u64 },
    /// Any other sleep.
    Wait { ns: u64, disk: bool },
}

/// What one thread did.
#[derive(Clone, Debug, Default)]
pub(super) struct Track {
    pub(super) process: u32,
    pub(super) tid: u32,
    /// Its first segment began.
    pub(super) start_ns: u64,
    /// Its last message ended.
    pub(super) end_ns: u64,
    pub(super) ops: Vec<Op>,
    /// How many of these there were with its last message: what comes after it is no part of the run.
    pub(super) spoken: usize,
}

/// What all threads did.
#[derive(Clone, Debug, Default)]
pub(super) struct Segments {
    pub(super) tracks: Vec<Track>,
    pub(super) count: usize,
    /// From then on nothing is kept.
    pub(super) cut_ns: Option<u64>,
    /// Sender and receiver of the links that segments name.
    pub(super) ends: HashMap<u32, (Option<u32>, Option<u32>)>,
    /// Bytes that were under way at most when a sender that had waited for room went on.
    pub(super) room: HashMap<u32, u64>,
}

impl Segments {
    /// A thread of this process talks for the first time.
    pub(super) fn begin(&mut self, process: u32, tid: u32, at_ns: u64) -> Option<usize> {
        if self.tracks.len() >= MOST_TRACKS || self.cut_ns.is_some() {
            self.cut_ns.get_or_insert(at_ns);
            return None;
        }
        self.tracks.push(Track {
            process,
            tid,
            start_ns: at_ns,
            end_ns: at_ns,
            ops: Vec::new(),
            spoken: 0,
        });
        Some(self.tracks.len() - 1)
    }

    /// Adds what a thread did until then.
    pub(super) fn push(&mut self, track: Option<usize>, at_ns: u64, op: Op) {
        let Some(track) = track.and_then(|track| self.tracks.get_mut(track)) else {
            return;
        };
        if self.cut_ns.is_some() {
            return;
        }
        let message = match op {
            Op::Send { link, .. } | Op::Drain { link, .. } => {
                self.ends.entry(link).or_default().0 = Some(track.process);
                true
            }
            Op::Receive { link, .. } => {
                self.ends.entry(link).or_default().1 = Some(track.process);
                true
            }
            _ => false,
        };
        if let Op::Run { cpu, ns, queue_ns } = op
            && let Some(Op::Run {
                cpu: last_cpu,
                ns: last_ns,
                queue_ns: last_queue_ns,
            }) = track.ops.last_mut()
            && *last_cpu == cpu
        {
            *last_ns = last_ns.saturating_add(ns);
            *last_queue_ns = last_queue_ns.saturating_add(queue_ns);
            return;
        }
        track.ops.push(op);
        if message {
            track.end_ns = track.end_ns.max(at_ns);
            track.spoken = track.ops.len();
        }
        self.count += 1;
        if self.count >= MOST {
            self.cut_ns = Some(at_ns);
        }
    }

    /// A sender went on with so many bytes under way.
    pub(super) fn room(&mut self, link: u32, bytes: u64) {
        let most = self.room.entry(link).or_default();
        *most = (*most).max(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_on_one_cpu_are_one_and_there_is_an_end_to_what_is_kept() {
        assert!(size_of::<Op>() <= 24);
        let mut segments = Segments::default();
        let track = segments.begin(3, 30, 10);
        let run = |cpu, ns| Op::Run {
            cpu,
            ns,
            queue_ns: 1,
        };
        segments.push(track, 20, run(0, 5));
        segments.push(track, 30, run(0, 7));
        segments.push(track, 40, run(1, 7));
        let all = [
            Op::Run {
                cpu: 0,
                ns: 12,
                queue_ns: 2,
            },
            Op::Run {
                cpu: 1,
                ns: 7,
                queue_ns: 1,
            },
        ];
        assert_eq!(segments.tracks[0].ops, all);
        assert_eq!(segments.tracks[0].spoken, 0);
        segments.push(track, 40, Op::Send { link: 1, end: 7 });
        segments.push(track, 50, run(1, 7));
        let found = &segments.tracks[0];
        assert_eq!((found.end_ns, found.spoken, found.ops.len()), (40, 3, 4));
        for n in 0..2 * MOST as u64 {
            segments.push(track, n, Op::Wait { ns: n, disk: false });
        }
        assert_eq!(segments.count, MOST);
        assert!(segments.cut_ns.is_some());
        assert_eq!(segments.begin(4, 40, 50), None);
    }
}
