//! `run_queue`: a request waits for a CPU while a component is ready to run.
//!
//! In: the parts of a component's court. Out: how much of a request that is. Must not know: whom the CPU was given to; a
//! CPU quota of its own looks the same, and the words say so.

use courtside_core::{
    parts::Part,
    units::{duration_f64, percent},
};

use super::{
    Rule,
    facts::Facts,
    found::{Found, MEASURED, count, graded, ns, share},
};

/// From here on it is worth a change: a sixth of a request's time, which other work on the CPU may take by chance, is not.
const WARN: f64 = 0.2;
/// Most of what can be gained by any change lies here.
const BAD: f64 = 0.4;
/// A wake-up on an idle CPU takes up to some tens of microseconds, more on virtual machines; a request that waits less
/// than this in all waits for nobody.
const MIN_NS: f64 = 200_000.0;
/// From this share of the host's CPUs on it is their being busy that makes threads wait.
const BUSY: f64 = 0.8;

pub(super) struct RunQueue;

impl Rule for RunQueue {
    fn name(&self) -> &'static str {
        "run_queue"
    }

    fn look(&self, facts: &Facts<'_>) -> Vec<Found> {
        let found = facts.ways().filter_map(|way| {
            let waits_ns = way.court.parts[Part::RunQueue];
            let stake = way.stake(waits_ns, MIN_NS)?;
            let severity = graded(stake.share, WARN, BAD)?;
            let name = facts.name(&way.court.component);
            let mut evidence = vec![
                ns("run_queue_per_request", waits_ns),
                ns("request_mean", way.mean_ns),
                share("share_of_request", stake.share),
                count("requests", way.entry.requests),
            ];
            let taken = facts.cpus_taken();
            evidence.extend(taken.map(|taken| share("cpus_taken", taken)));
            let remedy = match taken {
                Some(taken) if taken >= BUSY => format!(
                    "The CPUs are busy ({}): see who else runs and run less beside {name}, or give it more CPUs",
                    percent(taken)
                ),
                Some(taken) => format!(
                    "What is shown took {} of the CPUs: look for a CPU quota of {name} (cpu.stat of its control group), threads bound to one CPU, or bursts shorter than the window",
                    percent(taken)
                ),
                None => format!("See who else runs on the CPUs that {name} may use"),
            };
            Some(Found {
                severity,
                component: way.court.component.clone(),
                edge: None,
                says: format!(
                    "{name} is ready to run, but waits for a CPU: {} of a request's {} ({})",
                    duration_f64(stake.ns),
                    duration_f64(way.mean_ns),
                    percent(stake.share)
                ),
                evidence,
                remedy,
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
    use super::super::tests::{calm, court, said};
    use super::*;
    use courtside_core::model::finding::Severity;

    /// Half of a millisecond more for a CPU, which the request took longer for.
    fn waiting(ns: f64) -> courtside_core::model::Snapshot {
        let mut snapshot = calm();
        let entry = &mut snapshot.entries[0];
        entry.mean_ns = entry.mean_ns.map(|mean| mean + ns);
        let court = court(&mut snapshot, "program:app");
        court.parts[Part::RunQueue] += ns;
        court.turnaround_ns += ns;
        snapshot
    }

    pub(in super::super) fn loud() -> courtside_core::model::Snapshot {
        waiting(800_000.0)
    }

    #[test]
    fn a_request_that_waits_for_a_cpu_is_said() {
        let found = said("run_queue", &waiting(800_000.0));
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].says,
            "app is ready to run, but waits for a CPU: 850 µs of a request's 2.80 ms (30%)"
        );
        assert_eq!(found[0].severity, Severity::Warn);
        assert_eq!(found[0].at_stake_ns, Some(850_000.0));
        assert_eq!(said("run_queue", &waiting(4e6))[0].severity, Severity::Bad);
    }

    #[test]
    fn the_remedy_tells_busy_cpus_from_idle_ones() {
        let mut snapshot = waiting(800_000.0);
        assert!(said("run_queue", &snapshot)[0].remedy.contains("CPU quota"));
        snapshot.host.cpus = 1;
        assert!(
            said("run_queue", &snapshot)[0]
                .remedy
                .starts_with("The CPUs are busy (100%)")
        );
    }

    #[test]
    fn short_waits_and_waits_beside_others_are_no_finding() {
        assert!(said("run_queue", &waiting(0.0)).is_empty());
        assert!(said("run_queue", &waiting(300_000.0)).is_empty());
        // Hardly anybody asks.
        let mut seldom = waiting(800_000.0);
        seldom.window.duration_ns *= 100;
        assert!(said("run_queue", &seldom).is_empty());
        // A fast request of which the wake-up takes a third.
        let mut fast = waiting(0.0);
        fast.entries[0].mean_ns = Some(150_000.0);
        assert!(said("run_queue", &fast).is_empty());
        // The caller asked others meanwhile, and waited for those anyway.
        let mut beside = waiting(800_000.0);
        court(&mut beside, "unit:web").held_ns = Some(-700_000.0);
        assert!(said("run_queue", &beside).is_empty());
    }
}
