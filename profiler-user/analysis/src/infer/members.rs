//! Which processes are the application: those that talk to each other most, without launchers and helpers.
//!
//! In: messages by pair of processes, and which processes may be meant. Out: the members, and who was left out. Must not
//! know: names, times.

use std::collections::{BTreeMap, BTreeSet};

/// A process that has less than this share of the messages that the others have (the median) is a launcher or a helper.
const LEAST_SHARE: f64 = 0.1;

/// Who is the application.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Members {
    /// Its processes.
    pub(super) members: BTreeSet<u32>,
    /// Processes that talk to it and hardly ever: launchers, helpers.
    pub(super) helpers: BTreeSet<u32>,
    /// Processes that talk among each other, and not to it.
    pub(super) others: usize,
}

/// Finds the application among processes that may be meant.
pub(super) fn members(
    messages: &BTreeMap<(u32, u32), u64>,
    meant: impl Fn(u32) -> bool,
) -> Members {
    let between = |(a, b): (u32, u32)| a != b && meant(a) && meant(b);
    let mut rest: BTreeMap<(u32, u32), u64> = messages
        .iter()
        .filter(|(pair, count)| between(**pair) && **count > 0)
        .map(|(pair, count)| (*pair, *count))
        .collect();
    // Helpers may hold applications together that have nothing else in common.
    let mut helpers = BTreeSet::new();
    loop {
        let groups = groups(&rest);
        let traffic = |group: &BTreeSet<u32>| -> u64 {
            let within = rest.iter().filter(|((a, _), _)| group.contains(a));
            within.map(|(_, count)| *count).sum()
        };
        let Some(members) = groups.iter().max_by_key(|group| traffic(group)).cloned() else {
            return Members::default();
        };
        let quiet = quiet(&rest, &members);
        if quiet.is_empty() {
            let others = groups.iter().map(BTreeSet::len).sum::<usize>() - members.len();
            // Only those that talk to a member are its helpers.
            helpers.retain(|helper| {
                let talks = |(a, b): &(u32, u32)| {
                    (a == helper && members.contains(b)) || (b == helper && members.contains(a))
                };
                messages.keys().any(talks)
            });
            return Members {
                members,
                helpers,
                others,
            };
        }
        rest.retain(|(a, b), _| !quiet.contains(a) && !quiet.contains(b));
        helpers.extend(quiet);
    }
}

/// Processes that are connected, directly or through others.
fn groups(messages: &BTreeMap<(u32, u32), u64>) -> Vec<BTreeSet<u32>> {
    let mut beside: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    for (a, b) in messages.keys() {
        beside.entry(*a).or_default().insert(*b);
        beside.entry(*b).or_default().insert(*a);
    }
    let mut groups = Vec::new();
    let mut seen = BTreeSet::new();
    for start in beside.keys() {
        if !seen.insert(*start) {
            continue;
        }
        let mut group = BTreeSet::from([*start]);
        let mut open = vec![*start];
        while let Some(next) = open.pop() {
            for other in beside.get(&next).into_iter().flatten() {
                if seen.insert(*other) {
                    group.insert(*other);
                    open.push(*other);
                }
            }
        }
        groups.push(group);
    }
    groups
}

/// Those of a group that have hardly any messages, held against the median.
fn quiet(messages: &BTreeMap<(u32, u32), u64>, group: &BTreeSet<u32>) -> BTreeSet<u32> {
    let mut counts: BTreeMap<u32, u64> = group.iter().map(|process| (*process, 0)).collect();
    for ((a, b), count) in messages {
        for end in [a, b] {
            if let Some(sum) = counts.get_mut(end) {
                *sum = sum.saturating_add(*count);
            }
        }
    }
    let mut sorted: Vec<u64> = counts.values().copied().collect();
    sorted.sort_unstable();
    let median = sorted.get(sorted.len() / 2).copied().unwrap_or(0);
    let quiet = |count: u64| (count as f64) < LEAST_SHARE * median as f64;
    let quiet = counts.iter().filter(|(_, count)| quiet(**count));
    quiet.map(|(process, _)| *process).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(first: u32, n: u32, count: u64) -> BTreeMap<(u32, u32), u64> {
        (0..n)
            .map(|i| ((first + i, first + (i + 1) % n), count))
            .collect()
    }

    #[test]
    fn launchers_and_helpers_are_left_out_and_other_applications_are_not_mixed_in() {
        let mut messages = ring(10, 4, 200);
        // A launcher talks to all ranks of both applications, and to a helper.
        for rank in [10, 11, 12, 13, 20, 21] {
            messages.insert((1, rank), 3);
            messages.insert((rank, 1), 2);
        }
        messages.insert((1, 2), 5);
        messages.extend(ring(20, 2, 50));
        let found = members(&messages, |_| true);
        assert_eq!(found.members, (10..14).collect());
        assert_eq!(found.helpers, [1].into());
        assert_eq!(found.others, 2);
        let chosen = members(&messages, |process| process >= 20);
        assert_eq!(chosen.members, [20, 21].into());
        assert_eq!(members(&messages, |_| false), Members::default());
    }

    #[test]
    fn a_master_has_more_than_its_workers() {
        let star: BTreeMap<_, _> = (1..64).map(|n| ((0, n), 100)).collect();
        assert_eq!(members(&star, |_| true).members.len(), 64);
        let pipe: BTreeMap<_, _> = (1..5).map(|n| ((n - 1, n), 100)).collect();
        assert_eq!(members(&pipe, |_| true).members.len(), 5);
    }
}
