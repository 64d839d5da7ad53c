//! What rules ask of a snapshot: names, shares, and where a component stands on the way of a request.
//!
//! In: a [`Snapshot`]. Out: numbers that can be relied on, or nothing. Must not know: the rules.

use std::collections::HashMap;

use courtside_core::{
    model::{
        Snapshot, blame,
        snapshot::{Component, ComponentKind, Court, Edge, Entry},
        words::{LOSSES, Names},
    },
    parts::Part,
    units::per_second,
};

/// Fewer requests say nothing: the mean of thirty is known to a fifth, if they scatter as requests do.
pub(super) const MIN_REQUESTS: u64 = 30;
/// Where more than this share of what was sent and received is not in the counts, rules do not judge by them.
const MAX_LOST: f64 = 0.01;
/// So many of a hundred requests may be untimed or unanswered, and the rest still stands for all of them.
const MAX_UNSEEN: f64 = 0.05;
/// What is under way when a window closes, on each edge.
const UNDER_WAY: f64 = 2.0;

/// Requests that wait for less than this share of the window, all together, are not worth a person's time, however much of
/// each it is: hosts have dozens of services that hardly anybody asks.
const MIN_OF_WINDOW: f64 = 0.01;

/// A snapshot, with what is asked of it often.
pub(super) struct Facts<'a> {
    pub snapshot: &'a Snapshot,
    names: Names<'a>,
    by_id: HashMap<&'a str, &'a Component>,
    into: HashMap<&'a str, Vec<&'a Edge>>,
    out_of: HashMap<&'a str, Vec<&'a Edge>>,
    ways: HashMap<&'a str, OnWay<'a>>,
    lost_share: f64,
}

/// A component's court on the way of a request.
#[derive(Clone, Copy)]
pub(super) struct OnWay<'a> {
    pub entry: &'a Entry,
    pub court: &'a Court,
    /// Mean time of a request at the entry.
    pub mean_ns: f64,
    /// Time of a request that others than this component spent on several calls at once: so much of what was called may
    /// have cost nobody anything.
    parallel_ns: f64,
    window_ns: f64,
}

/// Time in a court that is worth a word.
#[derive(Clone, Copy)]
pub(super) struct Stake {
    /// Of a mean request.
    pub ns: f64,
    /// The same as a share of it.
    pub share: f64,
    /// Of all requests together, as a share of the window.
    pub of_window: f64,
}

/// Who had the CPU for most of the time in which a component waited for it.
pub(super) struct Behind<'a> {
    pub id: &'a str,
    pub name: &'a str,
    /// It is the component itself.
    pub own: bool,
    /// Share of the waits.
    pub share: f64,
}

impl OnWay<'_> {
    /// How much of a time in this court a request waited for, at least.
    pub fn at_stake_ns(&self, ns: f64) -> f64 {
        (ns - self.parallel_ns).max(0.0)
    }

    /// Of a time that lies in several courts of the request, as [`Self::stake`].
    pub fn stake_of_all(&self, ns: f64, min_ns: f64) -> Option<Stake> {
        let parallel_ns = self.entry.courts.iter().map(at_once).sum();
        let all = Self {
            parallel_ns,
            ..*self
        };
        all.stake(ns, min_ns)
    }

    /// The same with its share of a request, if it is at least `min_ns`, and all requests together waited long enough.
    pub fn stake(&self, ns: f64, min_ns: f64) -> Option<Stake> {
        let ns = self.at_stake_ns(ns);
        let of_window = ns * self.entry.requests as f64 / self.window_ns;
        (ns >= min_ns && of_window >= MIN_OF_WINDOW).then_some(Stake {
            ns,
            share: ns / self.mean_ns,
            of_window,
        })
    }
}

/// Time of a request that a component spent on several calls at once.
fn at_once(court: &Court) -> f64 {
    court.held_ns.map_or(0.0, |held| (-held).max(0.0))
}

impl<'a> Facts<'a> {
    /// Nothing where too much was lost.
    pub fn of(snapshot: &'a Snapshot) -> Option<Self> {
        let messages: u64 = snapshot
            .edges
            .iter()
            .map(|edge| edge.messages_sent + edge.messages_received)
            .sum();
        let lost: u64 = LOSSES
            .iter()
            .filter(|loss| loss.counts)
            .filter_map(|loss| snapshot.quality.lost.get(loss.class))
            .sum();
        let lost_share = if lost == 0 {
            0.0
        } else {
            lost as f64 / (lost + messages) as f64
        };
        if lost_share > MAX_LOST || snapshot.window.duration_ns == 0 {
            return None;
        }
        let components = snapshot.components.iter();
        let mut facts = Self {
            snapshot,
            names: Names::of(snapshot),
            by_id: components.map(|c| (c.id.as_str(), c)).collect(),
            into: HashMap::new(),
            out_of: HashMap::new(),
            ways: HashMap::new(),
            lost_share,
        };
        for edge in &snapshot.edges {
            facts.into.entry(&edge.to).or_default().push(edge);
            facts.out_of.entry(&edge.from).or_default().push(edge);
        }
        for entry in &snapshot.entries {
            facts.add_ways(entry);
        }
        Some(facts)
    }

    /// Notes where an entry's requests passed; of several entries the one whose requests spent most there counts.
    fn add_ways(&mut self, entry: &'a Entry) {
        let Some(mean_ns) = entry.mean_ns.filter(|mean| *mean > 0.0) else {
            return;
        };
        if !entry.adds_up || !self.is_counted(entry) {
            return;
        }
        let all_at_once: f64 = entry.courts.iter().map(at_once).sum();
        for court in &entry.courts {
            let way = OnWay {
                entry,
                court,
                mean_ns,
                parallel_ns: all_at_once - at_once(court),
                window_ns: self.snapshot.window.duration_ns as f64,
            };
            let spent = |way: &OnWay<'_>| way.entry.requests as f64 * way.court.all_ns();
            let known = self.ways.get(court.component.as_str());
            if known.is_none_or(|known| spent(known) < spent(&way)) {
                self.ways.insert(&court.component, way);
            }
        }
    }

    /// Whether enough requests were counted and timed at an entry for a mean to have a meaning.
    fn is_counted(&self, entry: &Entry) -> bool {
        let timed = entry.requests.saturating_sub(entry.untimed);
        timed >= MIN_REQUESTS
            && is_few(entry.untimed, entry.requests)
            && (!entry.lower_bound
                || self
                    .edges_to(&entry.component)
                    .filter(|edge| edge.port == entry.port)
                    .all(is_counted))
    }

    /// Share of messages that were lost.
    pub fn lost_share(&self) -> f64 {
        self.lost_share
    }

    /// Components on this host, with whether they are on a request's way.
    pub fn local(&self) -> impl Iterator<Item = &'a Component> {
        let components = self.snapshot.components.iter();
        components.filter(|c| c.kind != ComponentKind::Remote)
    }

    pub fn component(&self, id: &str) -> Option<&'a Component> {
        self.by_id.get(id).copied()
    }

    /// What to call a component.
    pub fn name<'b>(&self, id: &'b str) -> &'b str
    where
        'a: 'b,
    {
        self.names.get(id)
    }

    /// Which share of a component's waits for a CPU within turnarounds its own quota is: the others' share is what is left. Where
    /// turnarounds do not tell, the share of all its waits; 0 where nobody knows.
    pub fn quota_share(&self, id: &str) -> f64 {
        let Some(component) = self.component(id) else {
            return 0.0;
        };
        let (held, waited) = if component.turnaround.throttled_told {
            let parts = component.turnaround.parts;
            (parts[Part::Throttled], parts[Part::RunQueue])
        } else {
            let cpu = &component.cpu;
            (cpu.throttled_ns.unwrap_or(0), cpu.run_queue_ns)
        };
        held as f64 / (held as f64 + waited as f64).max(1.0)
    }

    /// How long a request is held back in a court by the component's own CPU quota, and how long it waits for CPUs that others have.
    fn waits(&self, way: &OnWay<'_>) -> (f64, f64) {
        let id = &way.court.component;
        let parts = &way.court.parts;
        let told = |component: &Component| component.turnaround.throttled_told;
        if self.component(id).is_some_and(told) {
            return (parts[Part::Throttled], parts[Part::RunQueue]);
        }
        let held_ns = parts[Part::RunQueue] * self.quota_share(id);
        (held_ns, parts[Part::RunQueue] - held_ns)
    }

    /// How long a request is held back in a court by the component's own CPU quota.
    pub fn held_back_ns(&self, way: &OnWay<'_>) -> f64 {
        self.waits(way).0
    }

    /// Whether it is measured what a component's own quota held back.
    pub fn knows_quota(&self, id: &str) -> bool {
        let component = self.component(id);
        component.is_some_and(|component| component.cpu.throttled_ns.is_some())
    }

    /// How long a request waits in a court for CPUs that others have.
    pub fn waits_ns(&self, way: &OnWay<'_>) -> f64 {
        self.waits(way).1
    }

    /// Who had the CPU for most of the time in which a component waited for it; nobody if it was idle or nobody knows.
    pub fn behind(&self, id: &str) -> Option<Behind<'a>> {
        let cpu = &self.component(id)?.cpu;
        let most = cpu.run_queue_by.as_ref()?.first()?;
        let share = most.ns as f64 / cpu.run_queue_ns.max(1) as f64;
        let who = most.component.as_str();
        (share >= 0.5 && who != blame::IDLE && who != blame::UNKNOWN).then(|| Behind {
            id: who,
            name: self.name(who),
            own: who == id,
            share,
        })
    }

    /// Where a component stands on the way of a request, if enough of those were seen and their times add up.
    pub fn on_way(&self, id: &str) -> Option<OnWay<'a>> {
        self.ways.get(id).copied()
    }

    /// All components on the way of a request.
    pub fn ways(&self) -> impl Iterator<Item = OnWay<'a>> {
        let mut ways: Vec<_> = self.ways.values().copied().collect();
        ways.sort_by(|a, b| a.court.component.cmp(&b.court.component));
        ways.into_iter()
    }

    pub fn edges_to(&self, id: &str) -> impl Iterator<Item = &'a Edge> {
        self.into.get(id).into_iter().flatten().copied()
    }

    pub fn edges_from(&self, id: &str) -> impl Iterator<Item = &'a Edge> {
        self.out_of.get(id).into_iter().flatten().copied()
    }

    /// Requests that a component served, if there are enough, and hardly any was not seen.
    pub fn served(&self, component: &Component) -> Option<u64> {
        let requests = &component.requests;
        let enough = requests.served >= MIN_REQUESTS;
        let seen = !requests.lower_bound || self.edges_to(&component.id).all(is_counted);
        (enough && seen && is_few(requests.untimed, requests.served)).then_some(requests.served)
    }

    /// A time as a share of the window: 1 is one core.
    pub fn of_window(&self, ns: u64) -> f64 {
        self.per_second(ns) / 1e9
    }

    /// How many a second.
    pub fn per_second(&self, count: u64) -> f64 {
        per_second(count, self.snapshot.window.duration_ns)
    }

    /// How often threads of the components shown lost their CPU to others for each request at an entry. Where CPUs are free,
    /// that hardly happens.
    pub fn preemptions(&self, entry: &Entry) -> f64 {
        let all: u64 = self.local().map(|c| c.cpu.involuntary_switches).sum();
        all as f64 / entry.requests.max(1) as f64
    }

    /// Share of the host's CPUs that the components shown took; where some are not shown it is more.
    pub fn cpus_taken(&self) -> Option<f64> {
        let cpus = f64::from(self.snapshot.host.cpus);
        let taken = self.local().map(|c| c.cpu.on_cpu_ns).sum();
        (cpus > 0.0).then(|| self.of_window(taken) / cpus)
    }
}

/// Whether some are so few that the rest stands for all.
fn is_few(some: u64, of: u64) -> bool {
    some as f64 <= of as f64 * MAX_UNSEEN
}

/// Whether an edge's roundtrips are known but for a few: exactly, or every message but a few was part of one. Connections
/// older than the attach make any count a lower bound, by one turn each.
pub(super) fn is_counted(edge: &Edge) -> bool {
    let messages = edge.messages_sent.max(edge.messages_received) as f64;
    let most = edge.roundtrips as f64 * (1.0 + MAX_UNSEEN) + UNDER_WAY;
    is_few(edge.untimed, edge.roundtrips) && (!edge.lower_bound || messages <= most)
}
