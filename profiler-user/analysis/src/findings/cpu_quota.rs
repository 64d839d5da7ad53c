//! `cpu_quota`: a request waits because a component has used up its own CPU quota.
//!
//! In: how long a request is held back in a component's court. Out: how much of a request that is. Must not know: which control
//! group has the quota.

use courtside_core::units::{duration_f64, percent};

use super::{
    Rule,
    facts::Facts,
    found::{Found, MEASURED, count, graded, ns, share},
};

/// As for `run_queue`.
const WARN: f64 = 0.2;
/// As for `run_queue`.
const BAD: f64 = 0.4;
/// A quota holds back for milliseconds; of a mean request less than this is chance.
const MIN_NS: f64 = 200_000.0;

pub(super) struct CpuQuota;

impl Rule for CpuQuota {
    fn name(&self) -> &'static str {
        "cpu_quota"
    }

    fn look(&self, facts: &Facts<'_>) -> Vec<Found> {
        let found = facts.ways().filter_map(|way| {
            let component = facts.component(&way.court.component)?;
            let held_ns = facts.held_back_ns(&way);
            let stake = way.stake(held_ns, MIN_NS)?;
            let severity = graded(stake.share, WARN, BAD)?;
            let name = facts.name(&component.id);
            let throttled_ns = component.cpu.throttled_ns.unwrap_or(0);
            Some(Found {
                severity,
                component: component.id.clone(),
                edge: None,
                says: format!(
                    "{name} has used up its CPU quota, and is held back: {} of a request's {} ({})",
                    duration_f64(stake.ns),
                    duration_f64(way.mean_ns),
                    percent(stake.share)
                ),
                evidence: vec![
                    ns("throttled_per_request", held_ns),
                    ns("request_mean", way.mean_ns),
                    share("share_of_request", stake.share),
                    share("throttled_of_window", facts.of_window(throttled_ns)),
                    share("on_cpu_of_one_core", facts.of_window(component.cpu.on_cpu_ns)),
                    count("requests", way.entry.requests),
                ],
                remedy: format!(
                    "Raise the quota of {name} (cpu.max of its control group, or of one that this lies in; in containers the CPU limit), or let it use less CPU time; other programs are not to blame"
                ),
                sure: MEASURED,
                rests_on: way.entry.requests,
                at_stake_ns: Some(stake.ns),
            })
        });
        found.collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::tests::{calm, component, court, said};
    use courtside_core::{
        model::{Blame, Snapshot, finding::Severity},
        parts::Part,
    };

    /// App could run for 0.85 ms of a request, of which its quota held it back for nine tenths.
    pub(in super::super) fn loud() -> Snapshot {
        let mut snapshot = calm();
        let entry = &mut snapshot.entries[0];
        entry.mean_ns = entry.mean_ns.map(|mean| mean + 800_000.0);
        let court = court(&mut snapshot, "program:app");
        court.parts[Part::RunQueue] += 800_000.0;
        court.turnaround_ns += 800_000.0;
        let app = component(&mut snapshot, "program:app");
        app.cpu.throttled_ns = Some(900_000_000);
        app.cpu.run_queue_ns = 100_000_000;
        app.cpu.run_queue_by = Some(vec![Blame {
            component: "unit:web".to_owned(),
            ns: 100_000_000,
        }]);
        snapshot
    }

    #[test]
    fn a_quota_of_its_own_is_named_and_nobody_else() {
        let found = said("cpu_quota", &loud());
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].says,
            "app has used up its CPU quota, and is held back: 765 µs of a request's 2.80 ms (27%)"
        );
        assert_eq!(found[0].severity, Severity::Warn);
        // What is left for others is too little for a word.
        assert!(said("run_queue", &loud()).is_empty());
    }

    /// The same where turnarounds tell it.
    fn told() -> Snapshot {
        let mut snapshot = loud();
        let parts = &mut court(&mut snapshot, "program:app").parts;
        parts[Part::RunQueue] -= 800_000.0;
        parts[Part::Throttled] += 800_000.0;
        component(&mut snapshot, "program:app")
            .turnaround
            .throttled_told = true;
        snapshot
    }

    #[test]
    fn what_turnarounds_tell_of_a_quota_counts_and_not_its_share_of_all_waits() {
        let found = said("cpu_quota", &told());
        assert_eq!(found.len(), 1);
        assert!(
            found[0].says.contains("800 µs of a request's 2.80 ms"),
            "{}",
            found[0].says
        );
        // Threads that have nothing to do with requests are held back, and requests wait for others.
        let mut elsewhere = loud();
        component(&mut elsewhere, "program:app")
            .turnaround
            .throttled_told = true;
        assert!(said("cpu_quota", &elsewhere).is_empty());
        assert_eq!(said("run_queue", &elsewhere).len(), 1);
    }

    #[test]
    fn where_others_have_the_cpu_or_nothing_is_known_no_quota_is() {
        let mut others = loud();
        let app = component(&mut others, "program:app");
        app.cpu.throttled_ns = Some(100_000_000);
        app.cpu.run_queue_ns = 900_000_000;
        assert!(said("cpu_quota", &others).is_empty());
        assert_eq!(said("run_queue", &others).len(), 1);
        let mut unknown = loud();
        component(&mut unknown, "program:app").cpu.throttled_ns = None;
        assert!(said("cpu_quota", &unknown).is_empty());
    }
}
