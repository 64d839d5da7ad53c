//! `context_switches`: a component's threads are switched far more often than its messages need.
//!
//! In: a component's switches, what it served and called. Out: how many for each exchange, and about what that costs.
//! Must not know: which of its threads are switched.

use courtside_core::{
    model::finding::Severity,
    units::{percent, rate},
};

use super::{
    Rule,
    facts::{Facts, is_counted},
    found::{ESTIMATED, Found, count, per_request, per_second, share},
};

/// What two switches cost, off and on again, of which the kernel counts one: about two microseconds on hosts of today.
/// What caches lose comes on top.
const SWITCH_NS: f64 = 2_000.0;
/// A thread that waits for each message is switched once for each; a hand-over to another thread and back makes it three.
/// Beyond four for each request served or call made, threads are switched for something else.
const MOST_PER_EXCHANGE: f64 = 4.0;
/// From this share of a component's CPU time on it is worth knowing.
const INFO: f64 = 0.1;
/// And from this one on worth a change.
const WARN: f64 = 0.25;

pub(super) struct ContextSwitches;

impl Rule for ContextSwitches {
    fn name(&self) -> &'static str {
        "context_switches"
    }

    fn look(&self, facts: &Facts<'_>) -> Vec<Found> {
        let found = facts.local().filter_map(|component| {
            let served = facts.served(component)?;
            let mut calls = 0;
            for edge in facts.edges_from(&component.id) {
                if !is_counted(edge) {
                    return None;
                }
                calls += edge.roundtrips;
            }
            let cpu = &component.cpu;
            let switches = cpu.voluntary_switches + cpu.involuntary_switches;
            let each = switches as f64 / (served + calls) as f64;
            let of_cpu = switches as f64 * SWITCH_NS / cpu.on_cpu_ns.max(1) as f64;
            if each < MOST_PER_EXCHANGE || of_cpu < INFO {
                return None;
            }
            let name = facts.name(&component.id);
            let a_second = facts.per_second(switches);
            let remedy = if cpu.voluntary_switches >= cpu.involuntary_switches {
                format!(
                    "{name}'s threads mostly wait and wake up: look for locks, hand-overs between threads and short timers, and let one thread do more at a time"
                )
            } else {
                format!(
                    "{name}'s threads mostly lose their CPU to others: run fewer threads than CPUs, or give it CPUs of its own"
                )
            };
            Some(Found {
                severity: if of_cpu >= WARN {
                    Severity::Warn
                } else {
                    Severity::Info
                },
                component: component.id.clone(),
                edge: None,
                says: format!(
                    "{name}'s threads are switched {} times a second, {} for each request served or call made; that costs about {} of its CPU time",
                    rate(a_second),
                    rate(each),
                    percent(of_cpu.min(1.0))
                ),
                evidence: vec![
                    per_second("switches", a_second),
                    per_request("switches_per_exchange", each),
                    share("of_cpu_time", of_cpu),
                    count("voluntary_switches", cpu.voluntary_switches),
                    count("involuntary_switches", cpu.involuntary_switches),
                ],
                remedy,
                sure: ESTIMATED,
                rests_on: served,
                at_stake_ns: None,
            })
        });
        found.collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::tests::{calm, component, edge, said};
    use super::*;
    use courtside_core::model::Snapshot;

    pub(in super::super) fn loud() -> Snapshot {
        let mut snapshot = calm();
        component(&mut snapshot, "program:app")
            .cpu
            .voluntary_switches = 40_000;
        snapshot
    }

    #[test]
    fn switches_that_no_message_needs_are_said() {
        let found = said("context_switches", &loud());
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].says,
            "app's threads are switched 40 000 times a second, 40.0 for each request served or call made; that costs about 16% of its CPU time"
        );
        assert_eq!(found[0].severity, Severity::Info);
        assert!(found[0].remedy.contains("wait and wake"));
        let mut driven = loud();
        component(&mut driven, "program:app")
            .cpu
            .involuntary_switches = 50_000;
        let found = said("context_switches", &driven);
        assert_eq!(found[0].severity, Severity::Warn);
        assert!(found[0].remedy.contains("lose their CPU"));
    }

    #[test]
    fn switches_for_messages_and_cheap_ones_are_no_finding() {
        assert!(said("context_switches", &calm()).is_empty());
        // Each of them waits for one of its own calls.
        let mut calls = loud();
        let to_store = edge("program:app", "remote:10.0.0.7", 5432, 20_000, 10_000);
        calls.edges.push(to_store);
        assert!(said("context_switches", &calls).is_empty());
        // How many calls there are is not known.
        calls.edges[2].roundtrips = 2_000;
        assert_eq!(said("context_switches", &calls).len(), 1);
        calls.edges[2].lower_bound = true;
        assert!(said("context_switches", &calls).is_empty());
        // They are many, and next to the work nothing.
        let mut works = loud();
        component(&mut works, "program:app").cpu.on_cpu_ns = 2_000_000_000;
        assert!(said("context_switches", &works).is_empty());
    }
}
