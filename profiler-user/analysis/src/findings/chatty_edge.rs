//! `chatty_edge`: one request asks the same component again and again.
//!
//! In: an edge, and the requests that its initiator served. Out: how many roundtrips each makes there. Must not know: what
//! is asked.

use courtside_core::{
    model::finding::Between,
    units::{duration_f64, percent, rate},
};

use super::{
    Rule,
    facts::{Facts, is_counted},
    found::{CONCLUDED, Found, count, graded, ns, per_request, share},
};

/// Who asks the same component so often for one request mostly asks in a loop, once for each row of a list.
const MANY: f64 = 8.0;
/// A tenth of a request's time is worth asking once instead.
const WARN: f64 = 0.1;
/// Most of what can be gained by any change lies here.
const BAD: f64 = 0.4;
/// Less in all is not worth a change of the program.
const MIN_NS: f64 = 100_000.0;

pub(super) struct ChattyEdge;

impl Rule for ChattyEdge {
    fn name(&self) -> &'static str {
        "chatty_edge"
    }

    fn look(&self, facts: &Facts<'_>) -> Vec<Found> {
        let found = facts.snapshot.edges.iter().filter_map(|edge| {
            let served = facts.served(facts.component(&edge.from)?)?;
            let each = edge.roundtrips as f64 / served as f64;
            if each < MANY || !is_counted(edge) || edge.latency_ns.count == 0 {
                return None;
            }
            let way = facts.on_way(&edge.to)?;
            let requests = way.entry.requests.max(1) as f64;
            let total_ns = edge.latency_ns.sum_ns as f64 / requests;
            // More than a request takes: side by side, or not for requests at all.
            if total_ns > way.mean_ns {
                return None;
            }
            let stake = way.stake(total_ns, MIN_NS)?;
            let severity = graded(stake.share, WARN, BAD)?;
            let (from, to) = (facts.name(&edge.from), facts.name(&edge.to));
            let latency_ns = edge.latency_ns.sum_ns as f64 / edge.latency_ns.count as f64;
            Some(Found {
                severity,
                component: edge.from.clone(),
                edge: Some(Between {
                    from: edge.from.clone(),
                    to: edge.to.clone(),
                }),
                says: format!(
                    "{from} asks {to} {} times for each request, {} each: {} of a request's {} ({})",
                    rate(each),
                    duration_f64(latency_ns),
                    duration_f64(stake.ns),
                    duration_f64(way.mean_ns),
                    percent(stake.share)
                ),
                evidence: vec![
                    per_request("roundtrips_per_request", each),
                    ns("latency_mean", latency_ns),
                    ns("latency_per_request", total_ns),
                    share("share_of_request", stake.share),
                    count("roundtrips", edge.roundtrips),
                ],
                remedy: format!(
                    "Look for a loop in {from} that asks {to} once for each item, and ask once for all of them"
                ),
                sure: CONCLUDED,
                rests_on: served,
                at_stake_ns: Some(stake.ns),
            })
        });
        found.collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::tests::{calm, component, court, edge, said};
    use courtside_core::model::{Snapshot, finding::Severity};

    pub(in super::super) fn loud() -> Snapshot {
        let mut snapshot = calm();
        snapshot.edges[1] = edge("unit:web", "program:app", 8080, 12_000, 100_000);
        component(&mut snapshot, "program:app").requests.served = 12_000;
        snapshot
    }

    #[test]
    fn a_loop_of_questions_is_said() {
        let found = said("chatty_edge", &loud());
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].says,
            "web asks app 12.0 times for each request, 100 µs each: 1.20 ms of a request's 2.00 ms (60%)"
        );
        assert_eq!(found[0].severity, Severity::Bad);
        let edge = found[0].edge.as_ref().unwrap();
        assert_eq!(
            (edge.from.as_str(), edge.to.as_str()),
            ("unit:web", "program:app")
        );
    }

    #[test]
    fn one_question_for_each_request_is_no_chat_however_many_requests_there_are() {
        assert!(said("chatty_edge", &calm()).is_empty());
        // Web itself is asked twelve times as often.
        let mut busy = loud();
        component(&mut busy, "unit:web").requests.served = 12_000;
        assert!(said("chatty_edge", &busy).is_empty());
    }

    #[test]
    fn what_costs_nothing_runs_beside_or_is_hardly_counted_is_no_chat() {
        let mut cheap = loud();
        cheap.edges[1] = edge("unit:web", "program:app", 8080, 12_000, 5_000);
        assert!(said("chatty_edge", &cheap).is_empty());
        let mut at_once = loud();
        at_once.edges[1] = edge("unit:web", "program:app", 8080, 12_000, 400_000);
        assert!(said("chatty_edge", &at_once).is_empty());
        let mut beside = loud();
        court(&mut beside, "unit:web").held_ns = Some(-1_150_000.0);
        assert!(said("chatty_edge", &beside).is_empty());
        let mut interleaved = loud();
        interleaved.edges[1].untimed = 6_000;
        assert!(said("chatty_edge", &interleaved).is_empty());
        // Half of the requests at the entry were not seen: there may be twice as many.
        let mut unseen = loud();
        unseen.entries[0].lower_bound = true;
        component(&mut unseen, "unit:web").requests.lower_bound = true;
        unseen.edges[0].lower_bound = true;
        assert_eq!(said("chatty_edge", &unseen).len(), 1);
        unseen.edges[0].messages_received = 2_000;
        assert!(said("chatty_edge", &unseen).is_empty());
    }
}
