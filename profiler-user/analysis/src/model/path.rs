//! The way of a request: where it enters, whom each component calls, and how often.
//!
//! In: gathered sums. Out: entries with their shares, components, calls for each request; or that these are not the same in all
//! recordings. Must not know: what is fitted.

use std::collections::{BTreeMap, BTreeSet};

use courtside_core::model::snapshot::ComponentKind;

use super::{
    cannot_fit::CannotFit,
    gather::{Gathered, Slot},
    groups::AtRate,
    regression::{Group, line},
};

/// Entries that together have less than this share of the requests are not looked at, unless they were asked for.
const MINOR: f64 = 0.05;
/// The share of an entry may differ by so much from one recording to another.
const SAME_SHARE: f64 = 0.10;
/// The roundtrips of an edge may be off their line by so much of them.
const SAME_MIX: f64 = 0.10;
/// Fewer roundtrips than this share of all are not worth a refusal.
const NOTABLE: f64 = 0.05;
/// Standard deviations that chance may make of a count.
const CHANCE: f64 = 4.0;

/// Where requests enter, each with its share.
pub(super) fn entries_of(
    gathered: &Gathered,
    given: bool,
) -> Result<BTreeMap<(usize, u16), f64>, CannotFit> {
    let mut totals: BTreeMap<(usize, u16), f64> = BTreeMap::new();
    let mut by_source: Vec<BTreeMap<(usize, u16), f64>> = Vec::new();
    for source in &gathered.sources {
        let mut own: BTreeMap<(usize, u16), f64> = BTreeMap::new();
        for (&key, entered) in source.slots.iter().flat_map(|slot| &slot.entries) {
            *own.entry(key).or_default() += entered.requests;
            *totals.entry(key).or_default() += entered.requests;
        }
        by_source.push(own);
    }
    let all: f64 = totals.values().sum();
    let mut order: Vec<((usize, u16), f64)> = totals.into_iter().collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut chosen: BTreeMap<(usize, u16), f64> = BTreeMap::new();
    let mut sum = 0.0;
    for (key, requests) in order {
        if requests > 0.0 && (given || sum < (1.0 - MINOR) * all) {
            chosen.insert(key, requests);
            sum += requests;
        }
    }
    for (source, own) in gathered.sources.iter().zip(&by_source) {
        let requests: f64 = chosen.keys().filter_map(|key| own.get(key)).sum();
        if requests <= 0.0 {
            return Err(CannotFit::NoRequests {
                file: source.file.clone(),
                entries: names(gathered, chosen.keys()),
            });
        }
    }
    for requests in chosen.values_mut() {
        *requests /= sum;
    }
    if chosen.len() > 1 {
        same_shares(gathered, &by_source, &chosen)?;
    }
    Ok(chosen)
}

fn names<'a>(gathered: &Gathered, keys: impl Iterator<Item = &'a (usize, u16)>) -> Vec<String> {
    keys.filter_map(|&(component, port)| {
        let id = gathered.ids.get(component)?;
        Some(if port == 0 {
            id.clone()
        } else {
            format!("{id}:{port}")
        })
    })
    .collect()
}

fn same_shares(
    gathered: &Gathered,
    by_source: &[BTreeMap<(usize, u16), f64>],
    chosen: &BTreeMap<(usize, u16), f64>,
) -> Result<(), CannotFit> {
    for key in chosen.keys() {
        // A server that got another port each time it was started is one entry.
        let moves = by_source.iter().all(|own| {
            let ports = own.iter().filter(|(other, _)| other.0 == key.0);
            let all: f64 = ports.clone().map(|(_, requests)| requests).sum();
            let most = ports.map(|(_, requests)| *requests).fold(0.0, f64::max);
            most >= (1.0 - MINOR) * all
        });
        let is_it = |other: &(usize, u16)| other == key || moves && other.0 == key.0;
        let shares: Vec<f64> = by_source
            .iter()
            .map(|own| {
                let all: f64 = chosen.keys().filter_map(|key| own.get(key)).sum();
                let here = chosen.keys().filter(|other| is_it(other));
                let here: f64 = here.filter_map(|key| own.get(key)).sum();
                here / all.max(1.0)
            })
            .collect();
        let least = shares.iter().copied().fold(f64::INFINITY, f64::min);
        let most = shares.iter().copied().fold(0.0, f64::max);
        if most - least > SAME_SHARE {
            return Err(CannotFit::EntriesChange {
                entries: names(gathered, chosen.keys()),
                entry: names(gathered, std::iter::once(key)).concat(),
                shares: [least, most],
            });
        }
    }
    Ok(())
}

/// The way of a request.
#[derive(Clone, Debug, Default)]
pub(super) struct Path {
    pub components: BTreeSet<usize>,
    /// Roundtrips of each edge for one request at the entry.
    pub calls: BTreeMap<(usize, usize), f64>,
    /// Requests that a component serves for one request at the entry.
    pub visits: BTreeMap<usize, f64>,
    /// Share of the requests that came in elsewhere.
    pub other_share: f64,
}

impl Path {
    pub fn of(
        gathered: &Gathered,
        groups: &[AtRate],
        entries: &BTreeSet<(usize, u16)>,
    ) -> Result<Self, CannotFit> {
        let mut roundtrips: BTreeMap<(usize, usize), f64> = BTreeMap::new();
        let (mut all, mut here) = (0.0, 0.0);
        let mut each: BTreeMap<usize, f64> = BTreeMap::new();
        for slot in groups.iter().flat_map(|group| &group.slots) {
            for (&key, traffic) in &slot.edges {
                *roundtrips.entry(key).or_default() += traffic.roundtrips;
            }
            for (key, entered) in &slot.entries {
                all += entered.requests;
                if entries.contains(key) {
                    here += entered.requests;
                    *each.entry(key.0).or_default() += entered.requests;
                }
            }
        }
        let reached = reached(gathered, &roundtrips, entries);
        let on_way = |&(from, to): &(usize, usize)| {
            from != to
                && reached.contains(&from)
                && gathered.kinds.get(from) != Some(&ComponentKind::Remote)
        };
        roundtrips.retain(|key, count| on_way(key) && *count > 0.0);
        let notable = NOTABLE * roundtrips.values().sum::<f64>();
        let mut path = Self {
            components: reached,
            other_share: if all > 0.0 { 1.0 - here / all } else { 0.0 },
            ..Self::default()
        };
        for (key, count) in roundtrips {
            let series: Vec<Group> = groups
                .iter()
                .map(|group| {
                    let own = |slot: &Slot| {
                        slot.edges
                            .get(&key)
                            .map_or(0.0, |traffic| traffic.roundtrips)
                    };
                    group.group(entries, &own)
                })
                .collect();
            if count >= notable {
                same_mix(gathered, key, &series, groups)?;
            }
            // What goes on without any request is no part of one.
            let per_request = match line(&series) {
                Some(line) if line.intercept > 0.0 => line.slope.max(0.0),
                _ => count / here.max(1.0),
            };
            path.calls.insert(key, per_request);
        }
        for (component, requests) in each {
            path.visits.insert(component, requests / here.max(1.0));
        }
        for (&(_, to), calls) in &path.calls {
            *path.visits.entry(to).or_default() += calls;
        }
        Ok(path)
    }
}

/// Components that a request can reach.
fn reached(
    gathered: &Gathered,
    roundtrips: &BTreeMap<(usize, usize), f64>,
    entries: &BTreeSet<(usize, u16)>,
) -> BTreeSet<usize> {
    let mut reached: BTreeSet<usize> = entries.iter().map(|entry| entry.0).collect();
    let mut next: Vec<usize> = reached.iter().copied().collect();
    while let Some(from) = next.pop() {
        if gathered.kinds.get(from) == Some(&ComponentKind::Remote) {
            continue;
        }
        let calls = roundtrips.range((from, 0)..=(from, usize::MAX));
        for (&(_, to), &count) in calls {
            if count > 0.0 && reached.insert(to) {
                next.push(to);
            }
        }
    }
    reached
}

/// Whether a request makes the same calls at all rates: their number is a line through the rates.
fn same_mix(
    gathered: &Gathered,
    (from, to): (usize, usize),
    series: &[Group],
    groups: &[AtRate],
) -> Result<(), CannotFit> {
    let Some(line) = line(series) else {
        return Ok(());
    };
    let each: Vec<f64> = series
        .iter()
        .filter(|group| group.rate > 0.0)
        .map(|group| group.value / group.rate)
        .collect();
    let least = each.iter().copied().fold(f64::INFINITY, f64::min);
    let most = each.iter().copied().fold(0.0, f64::max);
    let is_off = |(group, at): (&Group, &AtRate)| {
        let on_line = (line.intercept + line.slope * group.rate).max(0.0);
        let counted = group.value * at.duration / 1e9;
        let chance = CHANCE * counted.max(1.0).sqrt() / counted.max(1.0) * group.value;
        (group.value - on_line).abs() > (SAME_MIX * on_line).max(chance)
    };
    // More and more calls for each request are no background.
    let grows = line.intercept < 0.0 && most > least * (1.0 + 1.5 * SAME_MIX);
    let counted: f64 = series
        .iter()
        .zip(groups)
        .map(|(group, at)| group.value * at.duration / 1e9)
        .fold(f64::INFINITY, f64::min);
    let enough = counted > 100.0;
    // Fewer and fewer in a second are no background either.
    let falls = line.slope < 0.0
        && line.half_slope.is_some_and(|half| line.slope + half < 0.0)
        && line.slope * (line.center * 2.0) < -SAME_MIX * line.intercept;
    if falls || series.iter().zip(groups).any(is_off) || grows && enough {
        let id = |number: usize| gathered.ids.get(number).cloned().unwrap_or_default();
        return Err(CannotFit::MixChanges {
            from: id(from),
            to: id(to),
            per_request: [least, most],
        });
    }
    Ok(())
}
