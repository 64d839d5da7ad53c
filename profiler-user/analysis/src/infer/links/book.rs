//! What links add up to, by pair of processes.
//!
//! In: links with their sends and reads. Out: latencies, transfer times, and waits by who caused them. Must not know: which
//! connection is whose.

use courtside_core::model::{dist::DistBuilder, inference::Doing};
use foldhash::HashMap;

use super::{
    super::lanes::{Lanes, Stretch, Who},
    Link, Read, ReadWhat, Slept,
};

/// Whoever is not on this host, or not known.
pub(in super::super) const OUTSIDE: u32 = u32::MAX;
/// Pairs that are added up one by one, at most.
const MOST_PAIRS: usize = 1 << 16;

/// Messages from one process to another.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Pair {
    pub(in super::super) messages: u64,
    pub(in super::super) bytes: u64,
    /// Smallest round-trip time that the kernel knew, 0 if none.
    pub(in super::super) rtt_ns: u64,
    pub(in super::super) latency: DistBuilder,
    pub(in super::super) transfer_ns: u64,
    /// Court time that its sends ended: by the packet rule, and queue-corrected.
    pub(in super::super) court: [u64; 2],
}

/// What all links add up to.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Books {
    /// By sender and receiver.
    pub(in super::super) pairs: HashMap<(u32, u32), Pair>,
    /// By who waited and for whom: not sent yet, in flight, rest of a message.
    pub(in super::super) waits: HashMap<(u32, u32), [u64; 3]>,
    /// Court time of sends to somebody outside, by sender.
    pub(in super::super) outside_court: HashMap<u32, [u64; 2]>,
    /// Sleeps of a process until a message came of which no send is known.
    pub(in super::super) untold_ns: HashMap<u32, u64>,
    /// What was done when, of the processes that this is wanted of.
    pub(in super::super) lanes: Lanes,
}

impl Books {
    /// Books what the sends of a link explain.
    pub(super) fn settle(&mut self, link: &mut Link) {
        while let Some(read) = link.open.front().copied() {
            if read.byte >= link.sent {
                return;
            }
            link.open.pop_front();
            // Nobody looks back beyond what was read last.
            while link.sends.len() > 1 && link.sends.front().is_some_and(|s| s.end <= read.byte) {
                link.sends.pop_front();
            }
            self.one(link, read);
        }
    }

    fn one(&mut self, link: &mut Link, read: Read) {
        let covering = link
            .sends
            .iter_mut()
            .find(|sent| (sent.start..sent.end).contains(&read.byte));
        let Some(sent) = covering else {
            // It was forgotten, or its bytes are from before the recording.
            if let ReadWhat::Wait(slept) = read.what {
                self.lost(slept);
            }
            return;
        };
        let from = link.from.unwrap_or(OUTSIDE);
        match read.what {
            ReadWhat::Arrived(arrived_ns) => {
                let (Some(to), false) = (link.to, from == OUTSIDE) else {
                    return;
                };
                let first = read.byte == sent.start;
                let (began_ns, before_ns) = (sent.began_ns, sent.arrived_ns);
                sent.arrived_ns = arrived_ns.max(before_ns);
                let Some(pair) = self.pair(from, to) else {
                    return;
                };
                if first && arrived_ns >= began_ns {
                    pair.latency.add(arrived_ns - began_ns);
                } else if before_ns != 0 {
                    let more_ns = arrived_ns.saturating_sub(before_ns);
                    pair.transfer_ns = pair.transfer_ns.saturating_add(more_ns);
                }
            }
            ReadWhat::Wait(slept) => {
                let rest = slept.rest || read.byte != sent.start;
                let Slept { from_ns, to_ns, .. } = slept;
                let began_ns = sent.began_ns.clamp(from_ns, to_ns);
                let place = if rest { 2 } else { 1 };
                let whose = (from != OUTSIDE).then_some(from);
                let way = if rest {
                    Doing::Transfer
                } else {
                    Doing::InFlight
                };
                self.draw(slept, (from_ns, began_ns), Doing::NotSent, whose);
                self.draw(slept, (began_ns, to_ns), way, whose);
                let sums = self.waits.entry((slept.process, from)).or_default();
                for (place, ns) in [(0, began_ns - from_ns), (place, to_ns - began_ns)] {
                    if let Some(sum) = sums.get_mut(place) {
                        *sum = sum.saturating_add(ns);
                    }
                }
            }
        }
    }

    fn pair(&mut self, from: u32, to: u32) -> Option<&mut Pair> {
        if self.pairs.len() >= MOST_PAIRS && !self.pairs.contains_key(&(from, to)) {
            return None;
        }
        Some(self.pairs.entry((from, to)).or_default())
    }

    /// Somebody slept until a message came of which nothing is known.
    pub(super) fn lost(&mut self, slept: Slept) {
        let sum = self.untold_ns.entry(slept.process).or_default();
        *sum = sum.saturating_add(slept.to_ns - slept.from_ns);
        self.draw(slept, (slept.from_ns, slept.to_ns), Doing::Other, None);
    }

    /// A sleep, or a part of one, is shown, if that is wanted.
    fn draw(
        &mut self,
        slept: Slept,
        (from_ns, to_ns): (u64, u64),
        doing: Doing,
        whose: Option<u32>,
    ) {
        let Slept { process, tid, .. } = slept;
        self.lanes.add(Stretch {
            who: Who { process, tid },
            from_ns,
            to_ns,
            doing,
            cpu: None,
            whose,
        });
    }

    /// A sleep on this link whose send will not be looked for any more.
    pub(super) fn untold(&mut self, link: &Link, slept: Slept) {
        if link.paired {
            return self.lost(slept);
        }
        let sums = self.waits.entry((slept.process, OUTSIDE)).or_default();
        let [not_sent_ns, ..] = sums;
        *not_sent_ns = not_sent_ns.saturating_add(slept.to_ns - slept.from_ns);
        self.draw(slept, (slept.from_ns, slept.to_ns), Doing::NotSent, None);
    }

    /// A link that will not be used any more.
    pub(super) fn close(&mut self, mut link: Link) {
        self.settle(&mut link);
        for read in std::mem::take(&mut link.open) {
            if let ReadWhat::Wait(slept) = read.what {
                self.untold(&link, slept);
            }
        }
        let Some(from) = link.from else {
            return;
        };
        let Some(to) = link.to.filter(|_| link.paired) else {
            let sums = self.outside_court.entry(from).or_default();
            for (sum, ns) in sums.iter_mut().zip(link.court) {
                *sum = sum.saturating_add(ns);
            }
            return;
        };
        let Some(pair) = self.pair(from, to) else {
            return;
        };
        pair.messages = pair.messages.saturating_add(link.messages);
        pair.bytes = pair.bytes.saturating_add(link.bytes);
        if link.rtt_ns > 0 && (pair.rtt_ns == 0 || link.rtt_ns < pair.rtt_ns) {
            pair.rtt_ns = link.rtt_ns;
        }
        for (sum, ns) in pair.court.iter_mut().zip(link.court) {
            *sum = sum.saturating_add(ns);
        }
    }
}
