//! At which rates a service was measured: slots of recordings put together by their rate.
//!
//! In: gathered sums, and where requests enter. Out: groups of slots at about one rate each, and recordings that are left out, with
//! the reason. Must not know: what is fitted.

use std::collections::{BTreeMap, BTreeSet};

use courtside_core::units::{duration_f64, percent, rate};

use super::{
    gather::{Entered, Gathered, Slot, Source, Used},
    regression::Group,
};

/// Blocks of a group, at most: they show how much values scatter within it.
const MAX_BLOCKS: usize = 8;
/// Groups that a recording with varying load is split into, at most, and slots that each of them has at least.
const MAX_SPLIT: usize = 6;
const LEAST_SPLIT: usize = 4;
/// Rates that differ by less than this share are one.
const SAME_RATE: f64 = 0.05;
/// So much of a host's CPU time, and it is saturated.
pub(super) const FULL: f64 = 0.95;
/// So many times as long as at the lowest rate, and requests mostly wait.
const MUCH_LONGER: f64 = 10.0;
/// Requests that lie unread for this share of a time that is no instant any more.
const MOSTLY_UNREAD: f64 = 0.8;
const NO_INSTANT_NS: f64 = 5e6;

/// Slots at about one rate.
#[derive(Clone, Debug)]
pub(super) struct AtRate<'a> {
    /// Number of the recording.
    pub source: usize,
    pub slots: Vec<&'a Slot>,
    pub requests: f64,
    pub duration: f64,
}

impl<'a> AtRate<'a> {
    fn new(source: usize, slots: Vec<&'a Slot>, entries: &BTreeSet<(usize, u16)>) -> Self {
        Self {
            source,
            requests: slots.iter().map(|slot| requests(slot, entries)).sum(),
            duration: slots.iter().map(|slot| slot.duration).sum(),
            slots,
        }
    }

    /// Requests a second.
    pub fn rate(&self) -> f64 {
        per_second(self.requests, self.duration)
    }

    /// A sum over its slots.
    pub fn sum(&self, f: impl Fn(&Slot) -> f64) -> f64 {
        self.slots.iter().map(|slot| f(slot)).sum()
    }

    /// The same of one component.
    pub fn used(&self, component: usize, f: impl Fn(&Used) -> f64) -> f64 {
        self.sum(|slot| slot.components.get(&component).map_or(0.0, &f))
    }

    pub fn entered(&self, entries: &BTreeSet<(usize, u16)>) -> Entered {
        let mut all = Entered::default();
        for slot in &self.slots {
            for key in entries {
                if let Some(entered) = slot.entries.get(key) {
                    all.add(entered);
                }
            }
        }
        all
    }

    /// Share of the host's CPU time that all components used.
    pub fn cpu_share(&self, source: &Source) -> f64 {
        let used = self.sum(|slot| slot.components.values().map(|used| used.on_cpu).sum());
        let all = self.duration * f64::from(source.cpus.max(1));
        if all > 0.0 { used / all } else { 0.0 }
    }

    /// What a line is fitted to: a sum of each slot, in a second.
    pub fn group(&self, entries: &BTreeSet<(usize, u16)>, f: &dyn Fn(&Slot) -> f64) -> Group {
        let each = self.slots.len().div_ceil(MAX_BLOCKS).max(1);
        let block = |slots: &[&Slot]| {
            let duration: f64 = slots.iter().map(|slot| slot.duration).sum();
            let requests: f64 = slots.iter().map(|slot| requests(slot, entries)).sum();
            let value: f64 = slots.iter().map(|slot| f(slot)).sum();
            (per_second(requests, duration), per_second(value, duration))
        };
        let (rate, value) = block(&self.slots);
        Group {
            rate,
            value,
            blocks: self.slots.chunks(each).map(block).collect(),
        }
    }
}

pub(super) fn per_second(value: f64, duration_ns: f64) -> f64 {
    if duration_ns > 0.0 {
        value * 1e9 / duration_ns
    } else {
        0.0
    }
}

/// Requests that came in at these places.
pub(super) fn requests(slot: &Slot, entries: &BTreeSet<(usize, u16)>) -> f64 {
    let each = entries.iter().filter_map(|key| slot.entries.get(key));
    each.map(|entered| entered.requests).sum()
}

/// The groups, lowest rate first, and why recordings were left out, by number.
pub(super) fn groups<'a>(
    gathered: &'a Gathered,
    entries: &BTreeSet<(usize, u16)>,
) -> (Vec<AtRate<'a>>, BTreeMap<usize, String>) {
    let mut groups: Vec<AtRate> = Vec::new();
    for (number, source) in gathered.sources.iter().enumerate() {
        groups.extend(split(number, source, entries));
    }
    groups.sort_by(|a, b| a.rate().total_cmp(&b.rate()));
    let mean = |group: &AtRate| {
        let entered = group.entered(entries);
        (entered.timed > 0.0).then(|| entered.time / entered.timed)
    };
    let shortest = groups.iter().find_map(mean);
    // If other programs fill the host at the lowest rate already, that says nothing of the service.
    let source_of = |group: &AtRate| gathered.sources.get(group.source);
    let full_anyway = groups.first().is_some_and(|group| {
        source_of(group).is_some_and(|source| group.cpu_share(source) >= FULL)
    });
    let mut left_out = BTreeMap::new();
    groups.retain(|group| {
        let Some(source) = gathered.sources.get(group.source) else {
            return false;
        };
        match saturated(group, source, entries, mean(group), shortest).filter(|_| !full_anyway) {
            Some(reason) => {
                left_out.insert(group.source, reason);
                false
            }
            None => true,
        }
    });
    (groups, left_out)
}

/// Why this is no rate that the service keeps up with.
fn saturated(
    group: &AtRate,
    source: &Source,
    entries: &BTreeSet<(usize, u16)>,
    mean: Option<f64>,
    shortest: Option<f64>,
) -> Option<String> {
    let at = format!("at {}/s", rate(group.rate()));
    let used = group.cpu_share(source);
    if used >= FULL {
        let used = percent(used);
        return Some(format!(
            "it is saturated {at}: {used} of all CPU time is used"
        ));
    }
    let mean = mean?;
    if shortest.is_some_and(|shortest| mean > MUCH_LONGER * shortest) {
        let (mean, shortest) = (duration_f64(mean), duration_f64(shortest.unwrap_or(0.0)));
        return Some(format!(
            "it is saturated {at}: requests take {mean}, and {shortest} at the lowest rate"
        ));
    }
    let of_entries = |f: fn(&Used) -> f64| {
        let components: BTreeSet<usize> = entries.iter().map(|entry| entry.0).collect();
        let each = components.iter().map(|&component| group.used(component, f));
        each.sum::<f64>()
    };
    let unread = of_entries(|used| used.unread);
    if mean > NO_INSTANT_NS && unread > MOSTLY_UNREAD * of_entries(|used| used.service.sum) {
        let mean = duration_f64(mean);
        return Some(format!(
            "it is saturated {at}: requests take {mean}, and lie unread for most of it"
        ));
    }
    None
}

/// A recording as one group, or by rates where its load varies.
fn split<'a>(
    number: usize,
    source: &'a Source,
    entries: &BTreeSet<(usize, u16)>,
) -> Vec<AtRate<'a>> {
    let slots: Vec<&Slot> = source
        .slots
        .iter()
        .filter(|slot| slot.duration > 0.0)
        .collect();
    let whole = AtRate::new(number, slots.clone(), entries);
    let count = (slots.len() / LEAST_SPLIT).min(MAX_SPLIT);
    if count < 2 || !varies(&whole, entries) {
        return vec![whole];
    }
    // By rate, and in each group in the order of time.
    let mut order: Vec<usize> = (0..slots.len()).collect();
    let rate = |slot: &Slot| per_second(requests(slot, entries), slot.duration);
    order.sort_by(|&a, &b| rate(slots[a]).total_cmp(&rate(slots[b])));
    let each = slots.len().div_ceil(count);
    order
        .chunks_mut(each)
        .map(|chunk| {
            chunk.sort_unstable();
            let slots = chunk.iter().map(|&i| slots[i]).collect();
            AtRate::new(number, slots, entries)
        })
        .collect()
}

/// Whether the load varies by more than requests at random do: the middle 80 in 100 of the slots differ by two fifths.
fn varies(whole: &AtRate, entries: &BTreeSet<(usize, u16)>) -> bool {
    const Z80: f64 = 2.56;
    let mut rates: Vec<f64> = whole
        .slots
        .iter()
        .map(|slot| per_second(requests(slot, entries), slot.duration))
        .collect();
    rates.sort_by(f64::total_cmp);
    let (n, mean) = (rates.len(), whole.rate());
    if mean <= 0.0 {
        return false;
    }
    let each = (whole.requests / n.max(1) as f64).max(1.0);
    let spread = rates[n - 1 - n / 10] - rates[n / 10];
    spread / mean > 0.4 + Z80 * 2.0 / each.sqrt()
}

/// Rates that are not the same, lowest first.
pub(super) fn different(rates: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut different: Vec<f64> = Vec::new();
    for rate in rates {
        let is_new = different
            .last()
            .is_none_or(|last| rate > last * (1.0 + SAME_RATE) && rate > 0.0);
        if is_new {
            different.push(rate);
        }
    }
    different
}
