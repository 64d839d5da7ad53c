//! `slow_peer`: a request waits for an end that is not on this host.
//!
//! In: the courts of remote ends, and the edges to them. Out: how much of a request that is, and how much of it the way
//! takes at least. Must not know: what happens at the other end.

use courtside_core::{
    model::{
        finding::Between,
        snapshot::{ComponentKind, Edge},
    },
    units::{duration_f64, percent},
};

use super::{
    Rule,
    facts::Facts,
    found::{Found, MEASURED, count, graded, ns, share},
};

/// Others may do much of the work; a third of a request's time is worth a look at them.
const WARN: f64 = 0.33;
/// What is done here hardly matters then.
const BAD: f64 = 0.66;
/// The way there and back within a data centre takes less.
const MIN_NS: f64 = 1_000_000.0;
/// From this share of the wait on it is the way that takes the time.
const MOSTLY_WAY: f64 = 0.5;

pub(super) struct SlowPeer;

impl Rule for SlowPeer {
    fn name(&self) -> &'static str {
        "slow_peer"
    }

    fn look(&self, facts: &Facts<'_>) -> Vec<Found> {
        let found = facts.ways().filter_map(|way| {
            let peer = facts.component(&way.court.component)?;
            if peer.kind != ComponentKind::Remote {
                return None;
            }
            let stake = way.stake(way.court.turnaround_ns, MIN_NS)?;
            let severity = graded(stake.share, WARN, BAD)?;
            let callers: Vec<&Edge> = facts
                .edges_to(&peer.id)
                .filter(|edge| facts.on_way(&edge.from).is_some())
                .collect();
            let busiest = callers.iter().max_by_key(|edge| edge.latency_ns.sum_ns)?;
            let requests = way.entry.requests.max(1) as f64;
            let way_ns: f64 = callers
                .iter()
                .filter_map(|edge| Some(edge.min_rtt_ns? as f64 * edge.roundtrips as f64))
                .sum::<f64>()
                / requests;
            let name = facts.name(&peer.id);
            let from = facts.name(&busiest.from);
            let remedy = if way_ns >= MOSTLY_WAY * way.court.turnaround_ns {
                format!(
                    "The round trip on the network takes at least {} of it: ask {name} less often for one request, or move {from} closer to it",
                    duration_f64(way_ns)
                )
            } else {
                format!(
                    "The round trip on the network takes {} of it or more: for the rest measure on the host of {name}, too",
                    duration_f64(way_ns)
                )
            };
            Some(Found {
                severity,
                component: peer.id.clone(),
                edge: Some(Between {
                    from: busiest.from.clone(),
                    to: peer.id.clone(),
                }),
                says: format!(
                    "A request waits for {name}, which is not on this host: {} of its {} ({})",
                    duration_f64(stake.ns),
                    duration_f64(way.mean_ns),
                    percent(stake.share)
                ),
                evidence: vec![
                    ns("latency_per_request", way.court.turnaround_ns),
                    ns("min_rtt_per_request", way_ns),
                    ns("request_mean", way.mean_ns),
                    share("share_of_request", stake.share),
                    count("roundtrips", busiest.latency_ns.count),
                ],
                remedy,
                sure: MEASURED,
                rests_on: busiest.latency_ns.count.min(way.entry.requests),
                at_stake_ns: Some(stake.ns),
            })
        });
        found.collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::tests::{calm, court, edge, said};
    use super::*;
    use courtside_core::model::{
        Snapshot,
        finding::Severity,
        snapshot::{Component, Court},
    };

    fn asking(ns: u64) -> Snapshot {
        const BANK: &str = "remote:203.0.113.7:443";
        let mut snapshot = calm();
        snapshot.components.push(Component {
            id: BANK.to_owned(),
            name: "203.0.113.7:443".to_owned(),
            kind: ComponentKind::Remote,
            ..Component::default()
        });
        snapshot
            .edges
            .push(edge("program:app", BANK, 443, 1000, ns));
        let entry = &mut snapshot.entries[0];
        entry.mean_ns = entry.mean_ns.map(|mean| mean + ns as f64);
        entry.courts.push(Court {
            component: BANK.to_owned(),
            turnaround_ns: ns as f64,
            ..Court::default()
        });
        snapshot
    }

    pub(in super::super) fn loud() -> Snapshot {
        asking(38_000_000)
    }

    #[test]
    fn a_request_that_waits_for_another_host_is_said() {
        let found = said("slow_peer", &loud());
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].says,
            "A request waits for 203.0.113.7:443, which is not on this host: 38.0 ms of its 40.0 ms (95%)"
        );
        assert_eq!(found[0].severity, Severity::Bad);
        assert!(
            found[0]
                .remedy
                .ends_with("measure on the host of 203.0.113.7:443, too")
        );
        let mut far = loud();
        far.edges[2].min_rtt_ns = Some(30_000_000);
        assert!(
            said("slow_peer", &far)[0]
                .remedy
                .contains("move app closer")
        );
    }

    #[test]
    fn a_peer_that_answers_soon_or_is_asked_beside_others_is_no_finding() {
        assert!(said("slow_peer", &calm()).is_empty());
        assert!(said("slow_peer", &asking(900_000)).is_empty());
        let mut beside = asking(5_000_000);
        assert_eq!(said("slow_peer", &beside).len(), 1);
        court(&mut beside, "program:app").held_ns = Some(-4_500_000.0);
        assert!(said("slow_peer", &beside).is_empty());
        let mut no_sum = loud();
        no_sum.entries[0].adds_up = false;
        assert!(said("slow_peer", &no_sum).is_empty());
    }
}
