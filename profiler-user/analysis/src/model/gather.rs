//! What a fit needs of recordings: sums of windows, one slot of time after the other.
//!
//! In: snapshots of windows. Out: sums by slot, component and edge; memory does not grow with the length of a recording. Must
//! not know: what is fitted.

use std::collections::BTreeMap;

use courtside_core::{
    model::snapshot::{Component, ComponentKind, Dist, Edge, Recipient, Snapshot},
    parts::Part,
};

/// Most slots of a recording: where there are more, each two are put together.
const MAX_SLOTS: usize = 128;
/// Most records of components and edges in the slots of a recording; fewer slots where windows have many.
const MAX_RECORDS: usize = 400_000;
/// More than this share of all CPU time that there was cannot have been used, and clocks differ by less.
const MOST_CPU: f64 = 1.05;
/// As few slots may be left by that.
const LEAST_SLOTS: usize = 8;

/// Values with their squares.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Moments {
    pub count: f64,
    pub sum: f64,
    squares: f64,
}

impl Moments {
    /// Of a distribution: its sum is exact, and its buckets, whose bounds are above the values, are scaled to that.
    fn of(dist: &Dist) -> Self {
        let over = |f: fn(f64) -> f64| {
            let each = dist.buckets.iter();
            each.map(|&(upper, count)| f(upper as f64) * count as f64)
                .sum::<f64>()
        };
        let (sum, uppers) = (dist.sum_ns as f64, over(|upper| upper));
        let scale = if uppers > 0.0 { sum / uppers } else { 0.0 };
        Self {
            count: dist.count as f64,
            sum,
            squares: over(|upper| upper * upper) * scale * scale,
        }
    }

    pub fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.squares += other.squares;
    }

    pub fn mean(&self) -> Option<f64> {
        (self.count > 0.0).then(|| self.sum / self.count)
    }

    /// Squared coefficient of variation: variance over the square of the mean.
    pub fn scv(&self) -> Option<f64> {
        let mean = self.mean().filter(|&mean| mean > 0.0)?;
        Some((self.squares / self.count / (mean * mean) - 1.0).max(0.0))
    }
}

/// Turnarounds that ended in a send to one recipient.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Turns {
    pub each: Moments,
    pub on_cpu: f64,
    pub wait: f64,
    pub disk: f64,
}

impl Turns {
    fn of(recipient: &Recipient) -> Self {
        let part = |part| recipient.parts[part] as f64;
        Self {
            each: Moments {
                count: recipient.count as f64,
                sum: recipient.total_ns as f64,
                ..Moments::of(&recipient.each_ns)
            },
            on_cpu: part(Part::OnCpu),
            wait: part(Part::Sleep) + part(Part::Receiving),
            disk: part(Part::BlockIo),
        }
    }

    pub fn add(&mut self, other: &Self) {
        self.each.add(&other.each);
        self.on_cpu += other.on_cpu;
        self.wait += other.wait;
        self.disk += other.disk;
    }
}

/// What a component used and served.
#[derive(Clone, Debug, Default)]
pub(super) struct Used {
    pub on_cpu: f64,
    pub switches: f64,
    /// Sent and received.
    pub messages: f64,
    pub disk: f64,
    /// Held back by a CPU quota of its own, where that was measured.
    pub throttled: Option<f64>,
    pub served: f64,
    pub untimed: f64,
    pub service: Moments,
    pub unread: f64,
    /// Sum of the held time, and of the requests for which it is known.
    pub held: f64,
    pub held_known: f64,
    pub turns: BTreeMap<usize, Turns>,
}

impl Used {
    fn add(&mut self, other: &Self) {
        self.on_cpu += other.on_cpu;
        self.switches += other.switches;
        self.messages += other.messages;
        self.disk += other.disk;
        self.throttled = match (self.throttled, other.throttled) {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.or(b),
        };
        self.served += other.served;
        self.untimed += other.untimed;
        self.service.add(&other.service);
        self.unread += other.unread;
        self.held += other.held;
        self.held_known += other.held_known;
        for (&to, turns) in &other.turns {
            self.turns.entry(to).or_default().add(turns);
        }
    }
}

/// What passed between two components.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Traffic {
    pub roundtrips: f64,
    /// Of them on windows that say that their count is a lower bound.
    pub uncertain: f64,
    pub untimed: f64,
    pub messages: f64,
    pub bytes: f64,
    pub latency: Moments,
    pub service: Moments,
    pub min_rtt_ns: Option<u64>,
}

impl Traffic {
    fn of(edge: &Edge) -> Self {
        let roundtrips = edge.roundtrips as f64;
        Self {
            roundtrips,
            uncertain: if edge.lower_bound { roundtrips } else { 0.0 },
            untimed: edge.untimed as f64,
            messages: edge.messages_sent as f64 + edge.messages_received as f64,
            bytes: edge.bytes_sent as f64 + edge.bytes_received as f64,
            latency: Moments::of(&edge.latency_ns),
            service: edge
                .service_ns
                .as_ref()
                .map(Moments::of)
                .unwrap_or_default(),
            min_rtt_ns: edge.min_rtt_ns,
        }
    }

    pub fn add(&mut self, other: &Self) {
        self.roundtrips += other.roundtrips;
        self.uncertain += other.uncertain;
        self.untimed += other.untimed;
        self.messages += other.messages;
        self.bytes += other.bytes;
        self.latency.add(&other.latency);
        self.service.add(&other.service);
        self.min_rtt_ns = match (self.min_rtt_ns, other.min_rtt_ns) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
}

/// Requests that came in at one place.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entered {
    pub requests: f64,
    /// Of them in windows that say that their count is a lower bound.
    pub uncertain: f64,
    /// Sum of their times, and how many that is of.
    pub time: f64,
    pub timed: f64,
}

impl Entered {
    pub fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.uncertain += other.uncertain;
        self.time += other.time;
        self.timed += other.timed;
    }
}

/// Sums over some windows that follow each other.
#[derive(Clone, Debug, Default)]
pub(super) struct Slot {
    windows: u64,
    pub duration: f64,
    pub entries: BTreeMap<(usize, u16), Entered>,
    pub components: BTreeMap<usize, Used>,
    pub edges: BTreeMap<(usize, usize), Traffic>,
    /// Time of our kernel programs, as far as it was measured, and the time of the windows in which it was.
    pub programs: f64,
    pub programs_known: f64,
}

impl Slot {
    fn add(&mut self, other: &Self) {
        self.windows += other.windows;
        self.duration += other.duration;
        self.programs += other.programs;
        self.programs_known += other.programs_known;
        for (&key, value) in &other.entries {
            self.entries.entry(key).or_default().add(value);
        }
        for (&key, value) in &other.components {
            self.components.entry(key).or_default().add(value);
        }
        for (&key, value) in &other.edges {
            self.edges.entry(key).or_default().add(value);
        }
    }

    fn records(&self) -> usize {
        let turns = |used: &Used| used.turns.len() + 1;
        self.edges.len() + self.components.values().map(turns).sum::<usize>()
    }
}

/// One recording.
#[derive(Clone, Debug, Default)]
pub(super) struct Source {
    pub file: String,
    pub windows: u64,
    pub duration_ns: u64,
    pub lost: u64,
    /// Windows that are left out: they say that more CPU time was used than there was.
    pub impossible: u64,
    pub host: String,
    pub cpus: u32,
    pub slots: Vec<Slot>,
    /// Records in the slots.
    records: usize,
    /// Windows that make a slot.
    each: u64,
}

impl Source {
    fn place(&mut self) -> &mut Slot {
        let full = self
            .slots
            .last()
            .is_none_or(|slot| slot.windows >= self.each);
        if full {
            if let Some(slot) = self.slots.last() {
                self.records += slot.records();
            }
            let many = self.records > MAX_RECORDS && self.slots.len() > LEAST_SLOTS;
            if self.slots.len() >= MAX_SLOTS || many {
                self.halve();
            }
            self.slots.push(Slot::default());
        }
        let last = self.slots.len() - 1;
        &mut self.slots[last]
    }

    fn halve(&mut self) {
        let slots = std::mem::take(&mut self.slots);
        for (i, slot) in slots.into_iter().enumerate() {
            match self.slots.last_mut() {
                Some(last) if i % 2 == 1 => last.add(&slot),
                _ => self.slots.push(slot),
            }
        }
        self.each *= 2;
        self.records = self.slots.iter().map(Slot::records).sum();
    }
}

/// What was gathered of recordings, one after the other.
#[derive(Clone, Debug, Default)]
pub struct Gathered {
    pub(super) ids: Vec<String>,
    pub(super) kinds: Vec<ComponentKind>,
    index: BTreeMap<String, usize>,
    pub(super) sources: Vec<Source>,
}

impl Gathered {
    /// Begins with the next recording, of this file.
    pub fn begin(&mut self, file: String) {
        self.sources.push(Source {
            file,
            each: 1,
            ..Source::default()
        });
    }

    fn number(&mut self, id: &str) -> usize {
        if let Some(&number) = self.index.get(id) {
            return number;
        }
        let number = self.ids.len();
        self.ids.push(id.to_owned());
        self.kinds.push(ComponentKind::Program);
        self.index.insert(id.to_owned(), number);
        number
    }

    /// The next window of the recording.
    pub fn add(&mut self, snapshot: &Snapshot) {
        let mut slot = Slot {
            windows: 1,
            duration: snapshot.window.duration_ns as f64,
            ..Slot::default()
        };
        if let Some(ns) = snapshot.cost.programs_ns() {
            slot.programs = ns as f64;
            slot.programs_known = slot.duration;
        }
        for entry in &snapshot.entries {
            let requests = entry.requests as f64;
            let timed = entry.requests.saturating_sub(entry.untimed) as f64;
            let key = (self.number(&entry.component), entry.port);
            slot.entries.entry(key).or_default().add(&Entered {
                requests,
                uncertain: if entry.lower_bound { requests } else { 0.0 },
                time: entry.mean_ns.map_or(0.0, |mean| mean * timed),
                timed: if entry.mean_ns.is_some() { timed } else { 0.0 },
            });
        }
        for component in &snapshot.components {
            let number = self.number(&component.id);
            if let Some(kind) = self.kinds.get_mut(number) {
                *kind = component.kind;
            }
            let used = self.used(component);
            slot.components.entry(number).or_default().add(&used);
        }
        for edge in &snapshot.edges {
            let key = (self.number(&edge.from), self.number(&edge.to));
            let traffic = Traffic::of(edge);
            slot.edges.entry(key).or_default().add(&traffic);
            for end in [key.0, key.1] {
                if let Some(used) = slot.components.get_mut(&end) {
                    used.messages += traffic.messages;
                }
            }
        }
        if self.sources.is_empty() {
            self.begin(String::new());
        }
        if let Some(source) = self.sources.last_mut() {
            source.windows += 1;
            source.duration_ns = source
                .duration_ns
                .saturating_add(snapshot.window.duration_ns);
            source.lost = source.lost.saturating_add(snapshot.quality.lost_in_all());
            if source.host.is_empty() {
                source.host.clone_from(&snapshot.host.hostname);
            }
            source.cpus = source.cpus.max(snapshot.host.cpus);
            let used: f64 = slot.components.values().map(|used| used.on_cpu).sum();
            let most = slot.duration * f64::from(snapshot.host.cpus) * MOST_CPU;
            if snapshot.host.cpus > 0 && used > most {
                source.impossible += 1;
                return;
            }
            source.place().add(&slot);
        }
    }

    fn used(&mut self, component: &Component) -> Used {
        let (cpu, requests) = (&component.cpu, &component.requests);
        let served = requests.served as f64;
        let mut turns: BTreeMap<usize, Turns> = BTreeMap::new();
        for recipient in &component.turnaround.by_recipient {
            let to = self.number(&recipient.to);
            turns.entry(to).or_default().add(&Turns::of(recipient));
        }
        Used {
            on_cpu: cpu.on_cpu_ns as f64,
            switches: cpu.voluntary_switches as f64 + cpu.involuntary_switches as f64,
            disk: component.disk.latency_ns.sum_ns as f64,
            throttled: cpu.throttled_ns.map(|ns| ns as f64),
            served,
            untimed: requests.untimed as f64,
            service: Moments::of(&requests.service_ns),
            unread: requests.queued_ns.sum_ns as f64,
            held: requests.held_ns.unwrap_or(0) as f64,
            held_known: requests.held_ns.map_or(0.0, |_| served),
            turns,
            messages: 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use courtside_core::fixture::snapshots;

    use super::*;

    #[test]
    fn a_long_recording_has_few_slots_and_loses_nothing() {
        let mut gathered = Gathered::default();
        gathered.begin("a.rec".to_owned());
        let (mut requests, mut on_cpu) = (0.0, 0.0);
        for n in 0..1000 {
            let snapshot = snapshots::normal(n);
            requests += snapshot.entries[0].requests as f64;
            let cpu = snapshot.components.iter().map(|c| c.cpu.on_cpu_ns as f64);
            on_cpu += cpu.sum::<f64>();
            gathered.add(&snapshot);
        }
        let source = &gathered.sources[0];
        assert!((LEAST_SLOTS..=MAX_SLOTS).contains(&source.slots.len()));
        assert_eq!(source.windows, 1000);
        let entered = source.slots.iter().flat_map(|slot| slot.entries.values());
        assert_eq!(entered.map(|e| e.requests).sum::<f64>(), requests);
        let used = source
            .slots
            .iter()
            .flat_map(|slot| slot.components.values());
        assert!((used.map(|u| u.on_cpu).sum::<f64>() - on_cpu).abs() < 1.0);
    }

    #[test]
    fn the_scatter_of_a_distribution_is_that_of_its_values_within_a_bucket_s_width() {
        let values = (1..=1000_u64).map(|i| i * 1000);
        let dist = Dist::from(&courtside_core::fixture::frames::raw(values));
        let scv = Moments::of(&dist).scv().unwrap();
        // Even between 0 and 1: variance 1/12, mean 1/2.
        assert!((scv - 1.0 / 3.0).abs() < 0.02, "{scv}");
    }
}
