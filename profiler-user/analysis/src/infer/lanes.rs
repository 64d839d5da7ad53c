//! What each thread did from when to when, and which message was read by whom, of the processes that this is wanted of.
//!
//! In: pieces of threads as they are booked, sends and reads of links. Out: spans and messages, and from when on there was no
//! room. Must not know: names, what they are drawn as.

use std::collections::{BTreeSet, VecDeque};

use courtside_core::model::inference::Doing;
use foldhash::{HashMap, HashSet};

/// Spans that are kept, at most; 40 bytes each.
const MOST_SPANS: usize = 1 << 22;
/// Messages that are kept, at most.
const MOST_MESSAGES: usize = 1 << 21;
/// Sends of a link that were not read yet, and reads that were not sent yet, at most.
const MOST_OPEN: usize = 1 << 12;
/// The same of all links.
const MOST_OPEN_IN_ALL: usize = 1 << 20;
/// Links that are known at a time, at most.
const MOST_LINKS: usize = 1 << 17;

/// A thread and its process, by their numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Who {
    pub(super) process: u32,
    pub(super) tid: u32,
}

/// What a thread did for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) who: Who,
    pub(super) from_ns: u64,
    pub(super) to_ns: u64,
    pub(super) doing: Doing,
    pub(super) cpu: Option<u16>,
    /// Whose message it waited for.
    pub(super) whose: Option<u32>,
}

/// A message that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrow {
    pub(super) from: Who,
    pub(super) to: Who,
    pub(super) sent_ns: u64,
    pub(super) arrived_ns: u64,
    pub(super) read_ns: u64,
    pub(super) bytes: u64,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    end: u64,
    from: Who,
    sent_ns: u64,
    bytes: u64,
}

#[derive(Clone, Copy, Debug)]
struct Got {
    end: u64,
    to: Who,
    arrived_ns: u64,
    read_ns: u64,
}

/// What of a link has no other side yet.
#[derive(Clone, Debug, Default)]
struct Open {
    sends: VecDeque<Sent>,
    reads: VecDeque<Got>,
    /// A send from then was forgotten: that matters once somebody of those that are wanted reads here.
    forgot_ns: Option<u64>,
    read: bool,
}

/// Spans and messages.
#[derive(Clone, Debug, Default)]
pub(super) struct Lanes {
    /// Thread groups that they are wanted of.
    wanted: BTreeSet<u32>,
    /// Their numbers here.
    processes: HashSet<u32>,
    pub(super) spans: Vec<Stretch>,
    pub(super) arrows: Vec<Arrow>,
    open: HashMap<u32, Open>,
    /// Sends and reads in all of these.
    waiting: usize,
    pub(super) cut_ns: Option<u64>,
}

impl Lanes {
    /// Of these thread groups.
    pub(super) fn of(wanted: BTreeSet<u32>) -> Self {
        Self {
            wanted,
            ..Self::default()
        }
    }

    /// They are wanted of somebody.
    pub(super) fn wanted(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// A thread group has this number.
    pub(super) fn process(&mut self, tgid: u32, number: u32) {
        if self.wanted.contains(&tgid) {
            self.processes.insert(number);
        }
    }

    /// A thread did this.
    pub(super) fn add(&mut self, stretch: Stretch) {
        let Stretch {
            who,
            from_ns,
            to_ns,
            ..
        } = stretch;
        if to_ns <= from_ns || !self.processes.contains(&who.process) {
            return;
        }
        if self.spans.len() >= MOST_SPANS {
            self.cut(from_ns);
            return;
        }
        self.spans.push(stretch);
    }

    fn cut(&mut self, at_ns: u64) {
        self.cut_ns = Some(self.cut_ns.map_or(at_ns, |cut_ns| cut_ns.min(at_ns)));
    }

    /// Bytes up to here were sent on a link.
    pub(super) fn sent(&mut self, link: u32, end: u64, from: Who, sent_ns: u64, bytes: u64) {
        if !self.processes.contains(&from.process) {
            return;
        }
        let full = self.waiting >= MOST_OPEN_IN_ALL;
        let Some(open) = self.open(link) else {
            self.cut(sent_ns);
            return;
        };
        let sent = Sent {
            end,
            from,
            sent_ns,
            bytes,
        };
        let forgot = if full {
            Some(sent)
        } else {
            open.sends.push_back(sent);
            let many = open.sends.len() > MOST_OPEN;
            open.sends.pop_front_if(|_| many)
        };
        if let Some(forgot) = forgot {
            // What goes out of the application is read by nobody here.
            open.forgot_ns.get_or_insert(forgot.sent_ns);
            if open.read {
                self.cut(forgot.sent_ns);
            }
        }
        self.waiting = self.waiting.saturating_add(usize::from(forgot.is_none()));
        self.settle(link);
    }

    fn open(&mut self, link: u32) -> Option<&mut Open> {
        if self.open.len() >= MOST_LINKS && !self.open.contains_key(&link) {
            return None;
        }
        Some(self.open.entry(link).or_default())
    }

    /// Bytes up to here were read from a link.
    pub(super) fn read(&mut self, link: u32, end: u64, to: Who, arrived_ns: u64, read_ns: u64) {
        if !self.processes.contains(&to.process) {
            return;
        }
        let full = self.waiting >= MOST_OPEN_IN_ALL;
        let Some(open) = self.open(link) else {
            self.cut(read_ns);
            return;
        };
        open.read = true;
        let forgot_ns = open.forgot_ns;
        let got = Got {
            end,
            to,
            arrived_ns,
            read_ns,
        };
        // The last one reaches as far as all before it.
        let instead = full || open.reads.len() >= MOST_OPEN;
        match open.reads.back_mut().filter(|_| instead) {
            Some(last) => *last = got,
            None => {
                open.reads.push_back(got);
                self.waiting = self.waiting.saturating_add(1);
            }
        }
        if let Some(forgot_ns) = forgot_ns {
            self.cut(forgot_ns);
        }
        self.settle(link);
    }

    /// Each send goes with the first read that reaches its end.
    fn settle(&mut self, link: u32) {
        let Some(open) = self.open.get_mut(&link) else {
            return;
        };
        let mut found = Vec::new();
        while let (Some(sent), Some(got)) = (open.sends.front(), open.reads.front()) {
            if got.end < sent.end {
                open.reads.pop_front();
                self.waiting = self.waiting.saturating_sub(1);
                continue;
            }
            let read_ns = got.read_ns.max(sent.sent_ns);
            found.push(Arrow {
                from: sent.from,
                to: got.to,
                sent_ns: sent.sent_ns,
                arrived_ns: got.arrived_ns.clamp(sent.sent_ns, read_ns),
                read_ns,
                bytes: sent.bytes,
            });
            open.sends.pop_front();
            self.waiting = self.waiting.saturating_sub(1);
        }
        for arrow in found {
            if self.arrows.len() >= MOST_MESSAGES {
                self.cut(arrow.sent_ns);
                return;
            }
            self.arrows.push(arrow);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(process: u32) -> Who {
        Who {
            process,
            tid: 10 * process,
        }
    }

    fn lanes() -> Lanes {
        let mut lanes = Lanes::of([100, 200].into());
        lanes.process(100, 1);
        lanes.process(200, 2);
        lanes.process(300, 3);
        lanes
    }

    #[test]
    fn each_message_ends_with_the_read_that_takes_its_last_byte_whoever_is_told_first() {
        let mut lanes = lanes();
        lanes.sent(7, 10, who(1), 100, 10);
        lanes.sent(7, 30, who(1), 110, 20);
        lanes.read(7, 4, who(2), 120, 125);
        assert!(lanes.arrows.is_empty());
        lanes.read(7, 30, who(2), 130, 135);
        lanes.read(7, 35, who(2), 140, 145);
        lanes.sent(7, 35, who(1), 138, 5);
        let read: Vec<_> = lanes
            .arrows
            .iter()
            .map(|a| (a.sent_ns, a.read_ns, a.bytes))
            .collect();
        assert_eq!(read, [(100, 135, 10), (110, 135, 20), (138, 145, 5)]);
        // The other way, and somebody who is not wanted.
        lanes.sent(8, 5, who(3), 150, 5);
        lanes.read(8, 5, who(1), 151, 152);
        assert_eq!(lanes.arrows.len(), 3);
    }

    #[test]
    fn only_what_is_wanted_is_kept_and_not_without_end() {
        let mut lanes = lanes();
        let stretch = |process, at_ns| Stretch {
            who: who(process),
            from_ns: at_ns,
            to_ns: at_ns + 1,
            doing: Doing::OnCpu,
            cpu: Some(0),
            whose: None,
        };
        assert!(size_of::<Stretch>() <= 48);
        lanes.add(stretch(3, 5));
        lanes.add(Stretch {
            to_ns: 5,
            ..stretch(1, 5)
        });
        assert!(lanes.spans.is_empty());
        for n in 0..=MOST_SPANS as u64 {
            lanes.add(stretch(1, n));
        }
        assert_eq!(lanes.spans.len(), MOST_SPANS);
        assert_eq!(lanes.cut_ns, Some(MOST_SPANS as u64));
        for n in 0..=MOST_OPEN as u64 {
            lanes.sent(1, n + 1, who(1), n, 1);
        }
        // Nobody here reads it.
        assert_eq!(lanes.cut_ns, Some(MOST_SPANS as u64));
        lanes.read(1, MOST_OPEN as u64 + 1, who(2), 9000, 9001);
        assert_eq!(lanes.cut_ns, Some(0));
        assert_eq!((lanes.arrows.len(), lanes.waiting), (MOST_OPEN, 1));
    }
}
