//! The answer: two groups of requests, held against each other part by part.
//!
//! In: the requests of both groups. Out: their means, what differs, the slowest ones. Must not know: where they come from.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use courtside_core::{
    model::{
        snapshot::{Court, HeldUnknown},
        tail::{By, Difference, Exemplar, TailCourt, TailGroup, Waker},
        visible::visible,
    },
    parts::{Part, Parts},
    units::{duration_f64, percent},
};

use super::{
    clocks::Shares,
    names::{Names, Who},
    open::{Anatomy, Number},
};

/// Most components of a group that are shown.
const MOST_COURTS: usize = 64;
/// Those that a sentence names.
const MOST_NAMED: usize = 3;

/// A number over a group.
#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    sum: f64,
    most: i64,
    /// How many have it at all.
    count: usize,
    /// Of some it is not known.
    unknown: bool,
}

/// What a share is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    RunQueue,
    Sleep,
    Recipient,
}

/// All numbers of a group.
#[derive(Debug, Default)]
struct Sums {
    count: usize,
    service_ns: f64,
    cells: BTreeMap<(Option<Who>, Number), Cell>,
    shares: BTreeMap<(Who, Kind), BTreeMap<Who, f64>>,
}

impl Sums {
    fn of<'a>(group: impl Iterator<Item = &'a Anatomy>) -> Self {
        let mut sums = Self::default();
        for anatomy in group {
            sums.count += 1;
            sums.service_ns += anatomy.service_ns as f64;
            for (who, number, ns) in anatomy.numbers() {
                let cell = sums.cells.entry((who, number)).or_default();
                let Some(ns) = ns else {
                    cell.unknown = true;
                    continue;
                };
                cell.sum += ns as f64;
                cell.most = if cell.count == 0 {
                    ns
                } else {
                    cell.most.max(ns)
                };
                cell.count += 1;
            }
            for court in &anatomy.courts {
                for (kind, shares) in [
                    (Kind::RunQueue, &court.run_queue_by),
                    (Kind::Sleep, &court.sleep_by),
                    (Kind::Recipient, &court.by_recipient),
                ] {
                    sums.share(court.who, kind, shares);
                }
            }
        }
        sums
    }

    fn share(&mut self, who: Who, kind: Kind, shares: &Shares) {
        if shares.is_empty() {
            return;
        }
        let of = self.shares.entry((who, kind)).or_default();
        for (other, ns) in shares {
            *of.entry(*other).or_default() += *ns as f64;
        }
    }

    fn per_request(&self, sum: f64) -> f64 {
        sum / self.count.max(1) as f64
    }

    /// Mean of a number; `None` if it is not known of each.
    fn mean(&self, who: Option<Who>, number: Number) -> Option<f64> {
        match self.cells.get(&(who, number)) {
            Some(cell) if cell.unknown => None,
            Some(cell) => Some(self.per_request(cell.sum)),
            None => Some(0.0),
        }
    }

    /// Components of which it is not known of each request how long they held it.
    fn held_unknown(&self) -> impl Iterator<Item = Who> {
        let unknown = self.cells.iter().filter(|(_, cell)| cell.unknown);
        unknown.filter_map(|((who, _), _)| *who)
    }

    /// What these components held of the other requests is put with what is left, so that all adds up.
    fn held_is_other(&mut self, whose: &BTreeSet<Who>) {
        for who in whose {
            if !self.cells.keys().any(|(other, _)| *other == Some(*who)) {
                continue;
            }
            let held = self.cells.entry((Some(*who), Number::Held)).or_default();
            held.unknown = true;
            let sum = std::mem::take(&mut held.sum);
            self.cells.entry((None, Number::Other)).or_default().sum += sum;
        }
    }

    /// The greatest that any request has.
    fn most(&self, who: Option<Who>, number: Number) -> i64 {
        match self.cells.get(&(who, number)) {
            Some(cell) if cell.count == self.count => cell.most,
            Some(cell) => cell.most.max(0),
            None => 0,
        }
    }

    fn by(&self, who: Who, kind: Kind) -> BTreeMap<Who, f64> {
        let shares = self.shares.get(&(who, kind));
        let shares = shares.into_iter().flatten();
        shares
            .map(|(who, sum)| (*who, self.per_request(*sum)))
            .collect()
    }

    /// Those with most time, and what is on all others together.
    fn courts(&self, names: &Names) -> (Vec<TailCourt>, f64) {
        let mut all: Vec<Who> = self.cells.keys().filter_map(|(who, _)| *who).collect();
        all.dedup();
        let mut courts: Vec<TailCourt> =
            all.into_iter().map(|who| self.court(who, names)).collect();
        courts.sort_by(|a, b| {
            let all_ns = |court: &TailCourt| court.court.all_ns();
            all_ns(b)
                .total_cmp(&all_ns(a))
                .then_with(|| a.court.component.cmp(&b.court.component))
        });
        let others = courts.split_off(MOST_COURTS.min(courts.len()));
        let others_ns = others.iter().map(|court| court.court.all_ns()).sum();
        (courts, others_ns)
    }

    fn court(&self, who: Who, names: &Names) -> TailCourt {
        let mean = |number| self.mean(Some(who), number);
        let known = |number| mean(number).unwrap_or(0.0);
        let parts: Parts<f64> = Part::ALL
            .into_iter()
            .map(|part| (part, known(Number::Part(part))))
            .collect();
        let held_ns = mean(Number::Held);
        let by = |kind| listed(self.by(who, kind), names);
        TailCourt {
            court: Court {
                component: names.id(who).to_owned(),
                unread_ns: mean(Number::Unread),
                turnaround_ns: parts.total_ns() + known(Number::Remote),
                parts,
                held_ns,
                held_unknown: held_ns.is_none().then_some(HeldUnknown::UnseenRequests),
            },
            run_queue_by: by(Kind::RunQueue),
            sleep_by: by(Kind::Sleep),
            by_recipient: by(Kind::Recipient),
        }
    }

    fn group(&self, names: &Names) -> TailGroup {
        let besides = |number| self.mean(None, number).unwrap_or(0.0);
        let (courts, others_ns) = self.courts(names);
        TailGroup {
            count: self.count as u64,
            mean_ns: self.per_request(self.service_ns),
            courts,
            network_ns: besides(Number::Network),
            other_ns: besides(Number::Other) + others_ns,
        }
    }
}

/// Shares by id, the greatest first.
fn listed(shares: BTreeMap<Who, f64>, names: &Names) -> Vec<By> {
    let mut list: Vec<By> = shares
        .into_iter()
        .filter(|(_, ns)| *ns != 0.0)
        .map(|(who, ns)| By {
            component: names.id(who).to_owned(),
            ns,
        })
        .collect();
    list.sort_by(|a, b| {
        b.ns.total_cmp(&a.ns)
            .then_with(|| a.component.cmp(&b.component))
    });
    list
}

/// Both groups, and what differs.
pub(super) struct Compared {
    pub(super) slow: TailGroup,
    pub(super) median: TailGroup,
    pub(super) differences: Vec<Difference>,
    /// Components of which it is not known how long they held a request.
    pub(super) held_unknown: Vec<String>,
}

/// Holds the slow group against the median.
pub(super) fn compare(slow: &[Rc<Anatomy>], median: &[Rc<Anatomy>], names: &Names) -> Compared {
    let of = |group: &[Rc<Anatomy>]| Sums::of(group.iter().map(Rc::as_ref));
    let (mut slow_sums, mut median_sums) = (of(slow), of(median));
    // What is not known of one group cannot be compared, and is then left in the same place of both.
    let unknown: BTreeSet<Who> = slow_sums
        .held_unknown()
        .chain(median_sums.held_unknown())
        .collect();
    slow_sums.held_is_other(&unknown);
    median_sums.held_is_other(&unknown);
    let mut seen_in: BTreeMap<(Option<Who>, Number), u64> = BTreeMap::new();
    for anatomy in slow {
        for (who, number, ns) in anatomy.numbers() {
            if ns.is_some_and(|ns| ns > median_sums.most(who, number)) {
                *seen_in.entry((who, number)).or_default() += 1;
            }
        }
    }
    let (slow, median) = (slow_sums.group(names), median_sums.group(names));
    let whole_ns = slow.mean_ns - median.mean_ns;
    let mut held_unknown = Vec::new();
    let mut differences = Vec::new();
    let mut keys: Vec<(Option<Who>, Number)> = slow_sums.cells.keys().copied().collect();
    keys.extend(median_sums.cells.keys());
    keys.sort_unstable();
    keys.dedup();
    for (who, number) in keys {
        let means = (slow_sums.mean(who, number), median_sums.mean(who, number));
        let (Some(slow_ns), Some(median_ns)) = means else {
            held_unknown.extend(who.map(|who| names.id(who).to_owned()));
            continue;
        };
        let more_ns = slow_ns - median_ns;
        if more_ns == 0.0 {
            continue;
        }
        let kind = match number {
            Number::Part(Part::RunQueue) => Some(Kind::RunQueue),
            Number::Part(Part::Sleep) => Some(Kind::Sleep),
            _ => None,
        };
        let by = who.zip(kind).map(|(who, kind)| {
            let mut by = slow_sums.by(who, kind);
            for (other, ns) in median_sums.by(who, kind) {
                *by.entry(other).or_default() -= ns;
            }
            listed(by, names)
        });
        let mut difference = Difference {
            component: who.map(|who| names.id(who).to_owned()),
            part: number.name().to_owned(),
            more_ns,
            slow_ns,
            median_ns,
            share: (whole_ns > 0.0).then(|| more_ns / whole_ns),
            seen_in: seen_in.get(&(who, number)).copied().unwrap_or(0),
            by: by.unwrap_or_default(),
            says: String::new(),
        };
        difference.says = sentence(&difference, number, slow.count);
        differences.push(difference);
    }
    differences.sort_by(|a, b| {
        b.more_ns
            .total_cmp(&a.more_ns)
            .then_with(|| (&a.component, &a.part).cmp(&(&b.component, &b.part)))
    });
    Compared {
        slow,
        median,
        differences,
        held_unknown,
    }
}

/// What people call a component.
pub(super) fn name(id: &str) -> String {
    let name = id.split_once(':').map_or(id, |(_, name)| name);
    visible(name).into_owned()
}

fn sentence(difference: &Difference, number: Number, slow: u64) -> String {
    let whose = match &difference.component {
        Some(id) => format!("{}: ", name(id)),
        None => String::new(),
    };
    let more = if difference.more_ns > 0.0 {
        "more"
    } else {
        "less"
    };
    let share = match difference.share {
        Some(share) if share >= 0.0 => format!(", {} of the difference", percent(share)),
        _ => String::new(),
    };
    let s = if slow == 1 { "" } else { "s" };
    let seen = match difference.seen_in {
        0 => String::new(),
        n => format!("; above all of the median group in {n} of {slow} slow request{s}"),
    };
    let by = by_whom(difference).map_or_else(String::new, |by| format!("; {by}"));
    format!(
        "{whose}{} is {} {more}, {} and {} in the median{share}{seen}{by}",
        number.words(),
        duration_f64(difference.more_ns.abs()),
        time(difference.slow_ns),
        time(difference.median_ns)
    )
}

/// How much there is of something, in words.
fn time(ns: f64) -> String {
    match ns {
        0.0 => "none".to_owned(),
        ns if ns < 0.0 => format!("-{}", duration_f64(-ns)),
        ns => duration_f64(ns),
    }
}

/// Whose doing it is, in words.
pub(super) fn by_whom(difference: &Difference) -> Option<String> {
    let more = difference.by.iter().filter(|by| by.ns > 0.0);
    let named: Vec<String> = more
        .take(MOST_NAMED)
        .map(|by| format!("{} {}", name(&by.component), duration_f64(by.ns)))
        .collect();
    let what = match difference.part.as_str() {
        "run_queue" => "the CPU was given to",
        _ => "woken by",
    };
    (!named.is_empty()).then(|| format!("{what} {}", named.join(", ")))
}

/// The slowest requests, one by one.
pub(super) fn exemplars(slow: &[Rc<Anatomy>], most: usize, names: &Names) -> Vec<Exemplar> {
    let mut slow: Vec<&Rc<Anatomy>> = slow.iter().collect();
    slow.sort_by_key(|anatomy| (Reverse(anatomy.service_ns), anatomy.start_ns));
    slow.truncate(most);
    slow.into_iter()
        .map(|anatomy| {
            let group = Sums::of(std::iter::once(anatomy.as_ref())).group(names);
            Exemplar {
                start_unix_ns: anatomy.start_ns,
                service_ns: anatomy.service_ns,
                courts: group.courts,
                network_ns: group.network_ns,
                other_ns: group.other_ns,
                waker: anatomy.woken.as_ref().map(|woken| Waker {
                    component: names.id(woken.by.who).to_owned(),
                    tid: woken.by.tid,
                    comm: woken.by.comm.as_deref().map(str::to_owned),
                    sleeper: names.id(woken.sleeper).to_owned(),
                    sleep_ns: woken.sleep_ns,
                }),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{super::open::Open, *};

    /// Web calls the store for 60 of its time, 50 of which the store holds the call; that is not always seen.
    fn request([web, store]: [Who; 2], service_ns: u64, seen: bool) -> Rc<Anatomy> {
        let mut open = Open::new(0);
        open.court(web).received = 1;
        open.court(store).received = 1;
        open.called(web, 60, seen.then_some((store, 50)));
        Rc::new(open.close(web, service_ns))
    }

    #[test]
    fn what_is_known_of_some_requests_only_is_in_other_and_all_adds_up() {
        let mut names = Names::default();
        let who = ["program:web", "program:store"].map(|id| names.named(id));
        let slow = [request(who, 140, true), request(who, 140, false)];
        let median = [request(who, 100, true), request(who, 100, true)];
        let found = compare(&slow, &median, &names);
        assert_eq!(found.held_unknown, ["program:store"]);
        for (group, other_ns) in [(&found.slow, 55.0), (&found.median, 50.0)] {
            let store = group
                .courts
                .iter()
                .find(|court| court.court.component == "program:store");
            assert!(store.is_none_or(|store| store.court.held_ns.is_none()));
            let courts: f64 = group.courts.iter().map(|court| court.court.all_ns()).sum();
            let sum = courts + group.network_ns + group.other_ns;
            assert_eq!((sum, group.other_ns), (group.mean_ns, other_ns));
        }
        let more: f64 = found.differences.iter().map(|d| d.more_ns).sum();
        assert_eq!(more, 40.0);
    }

    #[test]
    fn components_that_are_not_shown_are_in_other() {
        let mut names = Names::default();
        let web = names.named("program:web");
        let requests: Vec<Rc<Anatomy>> = (0..100)
            .map(|n| {
                let mut open = Open::new(0);
                open.court(web).received = 1;
                open.court(names.named(&format!("program:{n}"))).unread_ns = 10;
                Rc::new(open.close(web, 100))
            })
            .collect();
        let group = compare(&requests, &requests, &names).slow;
        assert_eq!(group.courts.len(), MOST_COURTS);
        let courts: f64 = group.courts.iter().map(|court| court.court.all_ns()).sum();
        let sum = courts + group.network_ns + group.other_ns;
        assert!((sum - 100.0).abs() < 1e-9, "{sum}");
    }
}
