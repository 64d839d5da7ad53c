//! A request that is followed: what has been booked on it so far, by component.
//!
//! In: turnarounds, calls and answers that belong to it. Out: its anatomy, once it is answered, whose parts add up to its
//! service time. Must not know: how it is told what belongs to it.

use courtside_core::{
    model::turnarounds::Turnaround,
    parts::{Part, Parts},
};

use super::{
    clocks::{Blame, Shares, WokenBy, add},
    names::{OTHERS, Who},
};

/// Components of a request that are kept one by one.
const MOST_COURTS: usize = 32;
/// Components that a part of it is booked on, one by one.
const MOST_SHARES: usize = 16;

/// What a component had of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CourtSum {
    pub(super) who: Who,
    /// Requests that reached it, and those of them whose answer reached the caller, with the sum of their service times.
    pub(super) received: u64,
    pub(super) served: u64,
    pub(super) service_ns: u64,
    /// Arrival to first read, as far as no turnaround covers that.
    pub(super) unread_ns: u64,
    /// Latency of its calls.
    pub(super) calls_ns: u64,
    /// Of a remote end: the latency towards it.
    pub(super) remote_ns: u64,
    pub(super) parts: Parts<u64>,
    pub(super) run_queue_by: Shares,
    pub(super) sleep_by: Shares,
    pub(super) by_recipient: Shares,
}

impl CourtSum {
    /// What is left of its service times; `None` if it serves none, or if some were not seen to their end.
    pub(super) fn held_ns(&self) -> Option<i64> {
        let known = self.served > 0 && self.served == self.received;
        let rest = signed(self.service_ns)
            .saturating_sub(signed(self.unread_ns))
            .saturating_sub(signed(self.parts.total_ns()))
            .saturating_sub(signed(self.calls_ns));
        known.then_some(rest)
    }

    /// It serves requests, and it is not known how long it held them.
    pub(super) fn held_unknown(&self) -> bool {
        self.served != self.received
    }

    fn all_ns(&self) -> i64 {
        let held_ns = self.held_ns().unwrap_or(0);
        [self.unread_ns, self.parts.total_ns(), self.remote_ns]
            .into_iter()
            .map(signed)
            .fold(held_ns, i64::saturating_add)
    }
}

/// Nanoseconds that may become negative.
pub(super) fn signed(ns: u64) -> i64 {
    i64::try_from(ns).unwrap_or(i64::MAX)
}

/// The longest sleep in a request, and who ended it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Woken {
    pub(super) sleeper: Who,
    pub(super) by: WokenBy,
    pub(super) sleep_ns: u64,
}

/// A request that is not answered yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Open {
    pub(super) start_ns: u64,
    courts: Vec<CourtSum>,
    network_ns: i64,
    woken: Option<Woken>,
}

/// A request that was answered, by its parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Anatomy {
    pub(super) start_ns: u64,
    pub(super) service_ns: u64,
    pub(super) courts: Vec<CourtSum>,
    pub(super) network_ns: i64,
    /// What is left.
    pub(super) other_ns: i64,
    pub(super) woken: Option<Woken>,
}

impl Open {
    /// It arrived.
    pub(super) fn new(start_ns: u64) -> Self {
        Self {
            start_ns,
            ..Self::default()
        }
    }

    /// What this component has of it.
    pub(super) fn court(&mut self, who: Who) -> &mut CourtSum {
        let known = self.courts.iter().position(|court| court.who == who);
        let full = self.courts.len() >= MOST_COURTS;
        let who = if full { OTHERS } else { who };
        let place = known.or_else(|| self.courts.iter().position(|court| court.who == who));
        let place = place.unwrap_or_else(|| {
            self.courts.push(CourtSum {
                who,
                ..CourtSum::default()
            });
            self.courts.len() - 1
        });
        &mut self.courts[place]
    }

    /// A turnaround of a component that is part of it.
    pub(super) fn turnaround(&mut self, who: Who, to: Who, turnaround: &Turnaround, blame: Blame) {
        let court = self.court(who);
        court.parts.add(turnaround.parts);
        bounded(&mut court.by_recipient, [(to, turnaround.parts.total_ns())]);
        bounded(&mut court.run_queue_by, blame.run_queue);
        bounded(&mut court.sleep_by, blame.sleep);
        let longest_ns = self.woken.as_ref().map_or(0, |woken| woken.sleep_ns);
        if let Some((by, sleep_ns)) = blame.waker
            && sleep_ns > longest_ns
        {
            self.woken = Some(Woken {
                sleeper: who,
                by,
                sleep_ns,
            });
        }
    }

    /// A call of a component was answered; `served`: by whom, and how long that took, if it could be followed.
    pub(super) fn called(&mut self, who: Who, latency_ns: u64, served: Option<(Who, u64)>) {
        let court = self.court(who);
        court.calls_ns = court.calls_ns.saturating_add(latency_ns);
        if let Some((server, service_ns)) = served {
            let court = self.court(server);
            court.served += 1;
            court.service_ns = court.service_ns.saturating_add(service_ns);
            let network_ns = signed(latency_ns).saturating_sub(signed(service_ns));
            self.network_ns = self.network_ns.saturating_add(network_ns);
        }
    }

    /// It is answered.
    pub(super) fn close(mut self, who: Who, service_ns: u64) -> Anatomy {
        let court = self.court(who);
        court.served += 1;
        court.service_ns = court.service_ns.saturating_add(service_ns);
        let placed_ns = self
            .courts
            .iter()
            .map(CourtSum::all_ns)
            .fold(self.network_ns, i64::saturating_add);
        Anatomy {
            start_ns: self.start_ns,
            service_ns,
            courts: self.courts,
            network_ns: self.network_ns,
            other_ns: signed(service_ns).saturating_sub(placed_ns),
            woken: self.woken,
        }
    }
}

/// Adds shares; of those there is no room for only the sum is kept.
fn bounded(sums: &mut Shares, shares: impl IntoIterator<Item = (Who, u64)>) {
    for (who, ns) in shares {
        let known = sums.iter().any(|(other, _)| *other == who);
        let has_room = known || sums.len() < MOST_SHARES;
        add(sums, if has_room { who } else { OTHERS }, ns);
    }
}

/// A number that a request has of a component, or besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Number {
    Unread,
    Part(Part),
    Held,
    Remote,
    Network,
    Other,
}

impl Number {
    /// Its name in the JSON.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Unread => "unread",
            Self::Part(part) => part.field().trim_end_matches("_ns"),
            Self::Held => "held",
            Self::Remote => "remote",
            Self::Network => "network",
            Self::Other => "other",
        }
    }

    /// Its name in running text.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Unread => "unread time",
            Self::Part(Part::OnCpu) => "time on a CPU",
            Self::Part(Part::RunQueue) => "time in the run queue",
            Self::Part(Part::BlockIo) => "time waiting for the disk",
            Self::Part(Part::Sleep) => "sleep",
            Self::Part(Part::Queued) => "time queued",
            Self::Part(Part::Receiving) => "time receiving",
            Self::Part(Part::HandedOver) => "time handed over",
            Self::Part(Part::Throttled) => "time throttled",
            Self::Held => "time held",
            Self::Remote => "time at the remote end",
            Self::Network => "network time",
            Self::Other => "other time",
        }
    }
}

impl Anatomy {
    /// Every number of it that is not 0; `None` for what is not known.
    pub(super) fn numbers(&self) -> impl Iterator<Item = (Option<Who>, Number, Option<i64>)> {
        let courts = self.courts.iter().flat_map(|court| {
            let parts = court.parts.into_iter();
            let parts = parts.map(|(part, ns)| (Number::Part(part), Some(signed(ns))));
            let held_ns = if court.held_unknown() {
                None
            } else {
                Some(court.held_ns().unwrap_or(0))
            };
            [
                (Number::Unread, Some(signed(court.unread_ns))),
                (Number::Held, held_ns),
                (Number::Remote, Some(signed(court.remote_ns))),
            ]
            .into_iter()
            .chain(parts)
            .map(move |(number, ns)| (Some(court.who), number, ns))
        });
        let besides = [
            (None, Number::Network, Some(self.network_ns)),
            (None, Number::Other, Some(self.other_ns)),
        ];
        courts.chain(besides).filter(|(_, _, ns)| *ns != Some(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_request_are_the_whole() {
        let (web, store, remote) = (10, 11, 12);
        let mut open = Open::new(1000);
        open.court(web).received = 1;
        open.court(web).unread_ns = 5;
        let mut parts: Parts<u64> = Parts::default();
        parts[Part::OnCpu] = 40;
        let turnaround = Turnaround {
            from_ns: 1005,
            to_ns: 1045,
            parts,
            handed_over: false,
        };
        open.turnaround(web, store, &turnaround, Blame::default());
        open.court(store).received = 1;
        open.turnaround(store, web, &turnaround, Blame::default());
        open.called(web, 60, Some((store, 50)));
        open.court(remote).remote_ns = 200;
        open.called(web, 200, None);
        // This one could not be followed.
        open.called(web, 30, None);
        let anatomy = open.close(web, 400);
        let held = |who| {
            let court = anatomy.courts.iter().find(|court| court.who == who);
            court.and_then(CourtSum::held_ns)
        };
        assert_eq!(held(store), Some(10));
        assert_eq!(held(web), Some(400 - 5 - 40 - 60 - 200 - 30));
        assert_eq!(held(remote), None);
        assert_eq!((anatomy.network_ns, anatomy.other_ns), (10, 30));
        let sum: i64 = anatomy.numbers().filter_map(|(_, _, ns)| ns).sum();
        assert_eq!(sum, 400);
    }

    #[test]
    fn a_request_that_many_take_part_in_has_bounds() {
        let mut open = Open::new(0);
        for who in 10..200 {
            open.court(who).unread_ns += 1;
            open.court(who).received = 1;
            let blame = Blame {
                run_queue: vec![(who, 1)],
                ..Blame::default()
            };
            open.turnaround(10, who, &Turnaround::default(), blame);
        }
        let anatomy = open.close(10, 190);
        assert_eq!(anatomy.courts.len(), MOST_COURTS + 1);
        let unread: u64 = anatomy.courts.iter().map(|court| court.unread_ns).sum();
        assert_eq!(unread, 190);
        let blamed = &anatomy.courts[0].run_queue_by;
        assert_eq!(blamed.len(), MOST_SHARES + 1);
        assert_eq!(blamed.iter().map(|(_, ns)| ns).sum::<u64>(), 190);
    }
}
