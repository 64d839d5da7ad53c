//! `retransmits`: TCP has to send again, or connects get no answer at first.
//!
//! In: an edge. Out: the share of segments that were sent again. Must not know: where on the way they went.

use courtside_core::{
    frame::Transport,
    model::{
        finding::{Between, Severity},
        snapshot::Edge,
    },
    units::{count as grouped, duration, percent},
};

use super::{
    Rule,
    facts::{Facts, is_counted},
    found::{Found, MEASURED, count, graded, share},
};

/// Networks of a data centre lose less than one segment in ten thousand. At one in a hundred a connection no longer gets
/// faster than some tens of segments for each time that the way there and back takes.
const WARN: f64 = 0.01;
/// At one in twenty most larger messages have to wait for one.
const BAD: f64 = 0.05;
/// A few are sent again without loss, as a probe where an answer is late.
const MIN_SEGMENTS: u64 = 20;
/// What of a message fits into one segment on Ethernet.
const SEGMENT_BYTES: u64 = 1448;
/// A connect whose first segment gets no answer waits for a second; fewer may be a peer that starts.
const MIN_CONNECTS: u64 = 5;

pub(super) struct Retransmits;

impl Rule for Retransmits {
    fn name(&self) -> &'static str {
        "retransmits"
    }

    fn look(&self, facts: &Facts<'_>) -> Vec<Found> {
        let edges = facts.snapshot.edges.iter();
        let tcp = edges.filter(|edge| edge.transport == Transport::Tcp);
        tcp.flat_map(|edge| [segments(facts, edge), connects(facts, edge)])
            .flatten()
            .collect()
    }
}

fn between(edge: &Edge) -> Option<Between> {
    Some(Between {
        from: edge.from.clone(),
        to: edge.to.clone(),
    })
}

fn segments(facts: &Facts<'_>, edge: &Edge) -> Option<Found> {
    let again = edge
        .retransmits
        .saturating_sub(edge.connects.syn_retransmits);
    if again < MIN_SEGMENTS || !is_counted(edge) {
        return None;
    }
    let bytes = edge.bytes_sent + edge.bytes_received;
    let sent = edge.messages_sent + edge.messages_received + bytes / SEGMENT_BYTES;
    let of_segments = again as f64 / (sent + again) as f64;
    let severity = graded(of_segments, WARN, BAD)?;
    let (from, to) = (facts.name(&edge.from), facts.name(&edge.to));
    Some(Found {
        severity,
        component: edge.from.clone(),
        edge: between(edge),
        says: format!(
            "About {} of what {from} and {to} send each other by TCP is sent again ({} segments in {})",
            percent(of_segments),
            grouped(again),
            duration(facts.snapshot.window.duration_ns)
        ),
        evidence: vec![
            count("retransmits", again),
            share("share_of_segments", of_segments),
            count("segments_about", sent),
        ],
        remedy: format!(
            "Look for a full or faulty link on the way from {from} to {to}: drops in ip -s link and in tc -s qdisc, at both ends"
        ),
        sure: MEASURED,
        rests_on: again,
        at_stake_ns: None,
    })
}

fn connects(facts: &Facts<'_>, edge: &Edge) -> Option<Found> {
    let connects = &edge.connects;
    let (again, all) = (connects.syn_retransmits, connects.count + connects.failed);
    let severity = graded(again as f64 / all.max(1) as f64, WARN, BAD)?;
    if again < MIN_CONNECTS {
        return None;
    }
    let (from, to) = (facts.name(&edge.from), facts.name(&edge.to));
    Some(Found {
        severity: severity.max(Severity::Warn),
        component: edge.to.clone(),
        edge: between(edge),
        says: format!(
            "Connects from {from} to {to} got no answer {} times (of {} connects), and each time waited for a second or more",
            grouped(again),
            grouped(all)
        ),
        evidence: vec![
            count("syn_retransmits", again),
            count("connects", connects.count),
            count("failed_connects", connects.failed),
        ],
        remedy: format!(
            "See whether {to} accepts as fast as connects come (ss -lt shows its queue), whether a firewall drops them, and keep connections open"
        ),
        sure: MEASURED,
        rests_on: again,
        at_stake_ns: None,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::tests::{calm, said};
    use super::*;
    use courtside_core::model::Snapshot;

    pub(in super::super) fn loud() -> Snapshot {
        let mut snapshot = calm();
        snapshot.edges[1].retransmits = 100;
        snapshot
    }

    #[test]
    fn segments_sent_again_are_said() {
        let found = said("retransmits", &loud());
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].says,
            "About 2.8% of what web and app send each other by TCP is sent again (100 segments in 1.00 s)"
        );
        assert_eq!(found[0].severity, Severity::Warn);
        let mut bad = loud();
        bad.edges[1].retransmits = 1000;
        assert_eq!(said("retransmits", &bad)[0].severity, Severity::Bad);
    }

    #[test]
    fn connects_without_an_answer_are_said() {
        let mut snapshot = calm();
        let connects = &mut snapshot.edges[1].connects;
        (connects.count, connects.failed, connects.syn_retransmits) = (95, 5, 8);
        snapshot.edges[1].retransmits = 8;
        let found = said("retransmits", &snapshot);
        assert_eq!(found.len(), 1);
        assert!(
            found[0]
                .says
                .contains("no answer 8 times (of 100 connects)")
        );
        assert_eq!(found[0].component, "program:app");
    }

    #[test]
    fn a_few_of_many_are_no_finding_and_what_is_not_counted_is_no_share() {
        assert!(said("retransmits", &calm()).is_empty());
        let mut few = calm();
        few.edges[1].retransmits = 15;
        few.edges[1].connects.syn_retransmits = 4;
        few.edges[1].connects.count = 10;
        assert!(said("retransmits", &few).is_empty());
        let mut of_many = loud();
        of_many.edges[1].bytes_received = 1_000_000_000;
        assert!(said("retransmits", &of_many).is_empty());
        let mut interleaved = loud();
        interleaved.edges[1].untimed = 900;
        assert!(said("retransmits", &interleaved).is_empty());
    }
}
