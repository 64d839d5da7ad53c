//! Who talks to whom in the application: matrix, edges, shape, and when they changed.
//!
//! In: bytes by pair of members, in all and update by update. Out: a [`Topology`]. Must not know: what the bytes are.

use std::collections::{BTreeMap, BTreeSet};

use courtside_core::model::inference::{Change, Topology};

use super::{
    matrix::{Pair, Smoothed, edges},
    rounds::per_second,
    shape::{Shape, shape},
    watch::UPDATE_NS,
};

/// `bytes` by places among the members, `updates` likewise, of which the first began `begin_ns` after the recording's start.
pub(super) fn topology(
    ids: &[String],
    bytes: &BTreeMap<Pair, u64>,
    updates: &[BTreeMap<Pair, u64>],
    begin_ns: u64,
    length_ns: u64,
) -> Topology {
    let place = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
    let rate = |from: usize, to: usize| {
        let bytes = bytes.get(&(place(from), place(to))).copied();
        per_second(bytes.unwrap_or(0), length_ns)
    };
    let row = |from: usize| (0..ids.len()).map(|to| rate(from, to)).collect();
    let found = edges(bytes);
    let Shape {
        name,
        dimensions,
        score,
        also,
    } = shape(ids.len(), &found);
    Topology {
        processes: ids.to_vec(),
        bytes_per_s: (0..ids.len()).map(row).collect(),
        edges: found.iter().copied().map(wide).collect(),
        shape: name.to_owned(),
        match_score: score,
        dimensions,
        also: also.into_iter().map(str::to_owned).collect(),
        changes: changes(ids.len(), updates, begin_ns),
        update_ns: UPDATE_NS,
    }
}

fn wide((from, to): Pair) -> (u64, u64) {
    (from.into(), to.into())
}

fn changes(nodes: usize, updates: &[BTreeMap<Pair, u64>], begin_ns: u64) -> Vec<Change> {
    let mut smoothed = Smoothed::default();
    for update in updates {
        smoothed.update(update);
    }
    let mut before: Option<&BTreeSet<Pair>> = None;
    let mut changes = Vec::new();
    for (update, edges) in smoothed.reports() {
        if let Some(before) = before
            && !before.is_empty()
            && !edges.is_empty()
        {
            let number = u64::try_from(*update).unwrap_or(u64::MAX).saturating_add(1);
            changes.push(Change {
                at_ns: begin_ns.saturating_add(number.saturating_mul(UPDATE_NS)),
                shape: shape(nodes, edges).name.to_owned(),
                edges_added: edges.difference(before).copied().map(wide).collect(),
                edges_removed: before.difference(edges).copied().map(wide).collect(),
            });
        }
        if !edges.is_empty() {
            before = Some(edges);
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_that_becomes_all_to_all_is_one_change() {
        let ring: BTreeMap<Pair, u64> = (0..5).map(|i| ((i, (i + 1) % 5), 100)).collect();
        let pairs = (0..5).flat_map(|i| (0..5).map(move |j| (i, j)));
        let all: BTreeMap<Pair, u64> = pairs.filter(|(i, j)| i != j).map(|p| (p, 100)).collect();
        let mut updates = vec![ring.clone(); 30];
        updates.extend(vec![all; 30]);
        let ids: Vec<String> = (0..5).map(|n| n.to_string()).collect();
        let found = topology(&ids, &ring, &updates, 500, 10_000_000_000);
        assert_eq!((found.shape.as_str(), found.match_score), ("ring", 1.0));
        assert_eq!(found.bytes_per_s[0], [0.0, 10.0, 0.0, 0.0, 0.0]);
        assert_eq!(found.edges, [(0, 1), (1, 2), (2, 3), (3, 4), (4, 0)]);
        assert_eq!(found.changes.len(), 1);
        let change = &found.changes[0];
        assert_eq!(change.shape, "all-to-all");
        assert_eq!(
            (change.edges_added.len(), change.edges_removed.len()),
            (15, 0)
        );
        assert!((30 * UPDATE_NS..36 * UPDATE_NS).contains(&change.at_ns));
    }
}
