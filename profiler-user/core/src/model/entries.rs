//! Entries: where requests come in, and over which courts one request's time went.
//!
//! In: components' turnarounds and the edges between them. Out: [`Entry`] records, roundtrips per request.
//! Must not know: frames, what is shown.
//!
//! A component's service times are by definition `unread + court + held + Σ latency of its calls`, and a call's latency is
//! network plus the acceptor's service time, which is the same sum again, and so on. So at the entry
//! `mean = Σ (unread + court + held) + network + other`, and `other` is only what cannot be placed on a component.
//!
//! Where several entries lead to one component, its time is split by the requests that each entry brings to it,
//! directly and over the components in between: an approximation, exact when they cost the same.
//! A remote end's court is the whole latency towards it, network included: its parts are not known and stay 0.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::components::{SLACK, Sums};
use super::directory::Directory;
use super::dist::count;
use super::edges::{EdgeKey, EdgeSum, LOWEST};
use super::snapshot::{Court, Entry, HeldUnknown};
use super::view::EntryWish;
use crate::frame::{DistRaw, merge_dist, plus};

/// A place where requests come in.
pub(super) struct EntryPoint {
    pub component: usize,
    pub port: u16,
    pub requests: u64,
    untimed: u64,
    lower_bound: bool,
    service: DistRaw,
    /// The edges over which they come in.
    edges: BTreeSet<EdgeKey>,
    /// Components reached from here, nearest first.
    reached: Vec<usize>,
    /// How much of each component's work these requests cause, 0 to 1.
    shares: Vec<f64>,
}

/// Edges of a window with their directory, and the components that serve requests themselves.
pub(super) struct Graph<'a> {
    pub directory: &'a Directory,
    pub edges: &'a BTreeMap<EdgeKey, EdgeSum>,
    pub serves: &'a [bool],
}

impl Graph<'_> {
    /// The entries wished for, or those that the traffic suggests; the busiest first.
    ///
    /// Suggested are ports of selected components whose clients are remote, are not selected, or serve no requests
    /// themselves; only those clients' requests enter there.
    pub fn entries(&self, wishes: &[EntryWish]) -> Vec<EntryPoint> {
        let mut sides: BTreeMap<(usize, u16), BTreeSet<EdgeKey>> = BTreeMap::new();
        for (key, sum) in self.edges {
            let enters = if wishes.is_empty() {
                let outside = self.directory.remote(key.from)
                    || !self.serves[key.from]
                    || !self.directory.identities[key.from].selected;
                outside && self.directory.identities[key.to].selected
            } else {
                wishes.iter().any(|wish| self.is_wished(wish, key))
            };
            if enters && sum.served > 0 && key.from != key.to && !self.directory.remote(key.to) {
                sides.entry((key.to, key.port)).or_default().insert(*key);
            }
        }
        let mut sides: Vec<_> = sides
            .into_iter()
            .map(|(side, edges)| (self.requests(&edges), side, edges))
            .collect();
        sides.sort_by_key(|&(requests, side, _)| (std::cmp::Reverse(requests), side));
        sides.truncate(MAX_ENTRIES);
        let incoming = self.incoming();
        sides
            .into_iter()
            .map(|(requests, (component, port), edges)| {
                let mut service = DistRaw::default();
                let (mut untimed, mut lower_bound) = (0, false);
                for sum in edges.iter().filter_map(|key| self.edges.get(key)) {
                    merge_dist(&mut service, &sum.service);
                    plus(&mut untimed, sum.untimed_requests);
                    lower_bound |= sum.lower_bound;
                }
                let reached = self.reached_from(component);
                let shares = Self::shares(&incoming, &reached, &edges);
                EntryPoint {
                    component,
                    port,
                    requests,
                    untimed,
                    lower_bound,
                    service,
                    edges,
                    reached,
                    shares,
                }
            })
            .collect()
    }

    fn requests(&self, edges: &BTreeSet<EdgeKey>) -> u64 {
        edges
            .iter()
            .filter_map(|key| self.edges.get(key))
            .fold(0, |all, sum| all.saturating_add(sum.served))
    }

    fn is_wished(&self, wish: &EntryWish, key: &EdgeKey) -> bool {
        let component = &self.directory.identities[key.to];
        (wish.name == component.name || wish.name == component.id)
            && wish.port.is_none_or(|port| port == key.port)
    }

    /// Breadth first along the edges.
    fn reached_from(&self, start: usize) -> Vec<usize> {
        let mut seen = BTreeSet::from([start]);
        let mut queue = VecDeque::from([start]);
        let mut order = Vec::new();
        while let Some(component) = queue.pop_front() {
            order.push(component);
            let first = EdgeKey {
                from: component,
                to: 0,
                ..LOWEST
            };
            for key in self.edges.range(first..).map(|(key, _)| key) {
                if key.from != component {
                    break;
                }
                if seen.insert(key.to) {
                    queue.push_back(key.to);
                }
            }
        }
        order
    }

    /// Who brings how much work, by component; what it brings itself is no news.
    fn incoming(&self) -> Vec<Vec<(&EdgeKey, f64)>> {
        let mut incoming = vec![Vec::new(); self.directory.identities.len()];
        for (key, sum) in self.edges.iter().filter(|(key, _)| key.from != key.to) {
            incoming[key.to].push((key, sum.weight() as f64));
        }
        incoming
    }

    /// A component's share is the mean of its callers' shares, weighted by the work each brings; requests that
    /// enter here count in full. Cycles settle by repetition.
    fn shares(
        incoming: &[Vec<(&EdgeKey, f64)>],
        reached: &[usize],
        entering: &BTreeSet<EdgeKey>,
    ) -> Vec<f64> {
        let mut shares = vec![0.0; incoming.len()];
        for _ in 0..MAX_ROUNDS {
            let mut change: f64 = 0.0;
            for &component in reached {
                let (mut caused, mut all) = (0.0, 0.0);
                for &(key, weight) in &incoming[component] {
                    // Requests enter at the component reached first.
                    let enters = component == reached[0] && entering.contains(key);
                    caused += weight * if enters { 1.0 } else { shares[key.from] };
                    all += weight;
                }
                let share = if all > 0.0 { caused / all } else { 0.0 };
                change = change.max((share - shares[component]).abs());
                shares[component] = share;
            }
            if change < 1e-12 {
                break;
            }
        }
        shares
    }

    /// The entry as shown.
    pub fn describe(&self, entry: &EntryPoint, sums: &[Sums]) -> Entry {
        let requests = entry.requests as f64;
        let name = |component: usize| self.directory.identities[component].id.clone();
        let mut network_ns = 0.0;
        let mut remote_ns: BTreeMap<usize, f64> = BTreeMap::new();
        for (key, sum) in self.edges {
            let scale = entry.shares[key.from] / requests;
            if scale <= 0.0 {
                continue;
            }
            if self.directory.remote(key.to) {
                *remote_ns.entry(key.to).or_default() += sum.latency.sum_ns as f64 * scale;
            } else if let (Some(latency), Some(service)) = (mean(&sum.latency), mean(&sum.service))
            {
                network_ns += (latency - service) * count(&sum.latency) as f64 * scale;
            }
        }
        let mut overdone = false;
        let courts: Vec<Court> = entry
            .reached
            .iter()
            .filter_map(|&component| {
                if self.directory.remote(component) {
                    let turnaround_ns = *remote_ns.get(&component)?;
                    return Some(Court {
                        component: name(component),
                        unread_ns: Some(0.0),
                        turnaround_ns,
                        held_ns: Some(0.0),
                        ..Court::default()
                    });
                }
                let sum = &sums[component];
                let turnaround = &sum.turnaround;
                if turnaround.count == 0 && sum.served == 0 && component != entry.component {
                    return None;
                }
                let share = entry.shares[component];
                let per_request = |ns: u64| ns as f64 * share / requests;
                overdone |= share > 0.0 && sum.overdone();
                Some(Court {
                    component: name(component),
                    unread_ns: sum.unread_ns().map(per_request),
                    held_ns: sum.held_ns().map(|ns| ns as f64 * share / requests),
                    held_unknown: sum.held_unknown(),
                    turnaround_ns: per_request(turnaround.total_ns()),
                    parts: turnaround.parts.map(per_request),
                })
            })
            .collect();
        let mean_ns = mean(&entry.service);
        let explained = courts.iter().map(Court::all_ns).sum::<f64>() + network_ns;
        let untold = courts
            .iter()
            .filter_map(|court| court.held_unknown)
            .any(|reason| reason != HeldUnknown::NotRecorded);
        let other_ns = mean_ns.filter(|_| !untold).map(|mean| mean - explained);
        Entry {
            component: name(entry.component),
            port: entry.port,
            requests: entry.requests,
            untimed: entry.untimed,
            lower_bound: entry.lower_bound,
            adds_up: !overdone
                && mean_ns.is_none_or(|mean| !part_above(mean, &courts, network_ns, other_ns)),
            mean_ns,
            courts,
            network_ns,
            other_ns,
        }
    }
}

/// Whether calls of a court ran in parallel: so much less than nothing is left of its requests.
pub(super) fn is_parallel(held_ns: f64, mean_ns: f64) -> bool {
    held_ns < mean_ns * (1.0 - SLACK)
}

/// Whether some part of a request's time is above the whole, though nothing ran in parallel.
fn part_above(mean: f64, courts: &[Court], network_ns: f64, other_ns: Option<f64>) -> bool {
    let whole = mean * SLACK;
    let above = |ns: Option<f64>| ns.is_some_and(|ns| ns.abs() > whole);
    let in_parallel = courts
        .iter()
        .filter_map(|court| court.held_ns)
        .any(|held| is_parallel(held, mean));
    let parts = |court: &Court| [court.unread_ns, Some(court.turnaround_ns), court.held_ns];
    above(other_ns)
        || !in_parallel && (above(Some(network_ns)) || courts.iter().flat_map(parts).any(above))
}

/// An edge's roundtrips divided by the requests of all entries that it is part of.
pub(super) fn per_request(entries: &[EntryPoint], key: &EdgeKey, edge: &EdgeSum) -> Option<f64> {
    let requests: u64 = entries
        .iter()
        .filter(|entry| entry.shares[key.from] > 0.0 || entry.edges.contains(key))
        .fold(0, |all, entry| all.saturating_add(entry.requests));
    (requests > 0).then(|| edge.roundtrips() as f64 / requests as f64)
}

/// Most entries of a snapshot: the split of each one costs a walk over the whole graph.
const MAX_ENTRIES: usize = 64;

/// Enough for any chain within a cycle to settle to the last digit shown.
const MAX_ROUNDS: usize = 100;

fn mean(dist: &DistRaw) -> Option<f64> {
    let count = count(dist);
    (count > 0).then(|| dist.sum_ns as f64 / count as f64)
}
