//! `lock_convoy`: a request waits for a lock that another thread holds.
//!
//! In: the parts of a component's court, and how much of its sleep with the ball was by a futex. Out: how much of a request that
//! is. Must not know: which lock, and who holds it.

use courtside_core::{
    parts::Part,
    units::{duration_f64, percent},
};

use super::{
    Rule,
    facts::Facts,
    found::{CONCLUDED, Found, count, graded, ns, share},
};

/// A fifth of a request's time is worth a look at the locks.
const WARN: f64 = 0.2;
/// Most of what can be gained by any change lies here.
const BAD: f64 = 0.4;
/// To be woken takes tens of microseconds on virtual machines, whatever for.
const MIN_NS: f64 = 100_000.0;

pub(super) struct LockConvoy;

impl Rule for LockConvoy {
    fn name(&self) -> &'static str {
        "lock_convoy"
    }

    fn look(&self, facts: &Facts<'_>) -> Vec<Found> {
        let found = facts.ways().filter_map(|way| {
            let component = facts.component(&way.court.component)?;
            let turnaround = &component.turnaround;
            let slept = turnaround.parts[Part::Sleep];
            let of_sleep = turnaround.lock_ns? as f64 / slept.max(1) as f64;
            let locked_ns = way.court.parts[Part::Sleep] * of_sleep.min(1.0);
            let stake = way.stake(locked_ns, MIN_NS)?;
            let severity = graded(stake.share, WARN, BAD)?;
            let name = facts.name(&component.id);
            Some(Found {
                severity,
                component: component.id.clone(),
                edge: None,
                says: format!(
                    "Threads of {name} wait for a lock while they have a request: {} of its {} ({})",
                    duration_f64(stake.ns),
                    duration_f64(way.mean_ns),
                    percent(stake.share)
                ),
                evidence: vec![
                    ns("lock_per_request", locked_ns),
                    ns("request_mean", way.mean_ns),
                    share("share_of_request", stake.share),
                    share("lock_of_sleep", of_sleep),
                    count("requests", way.entry.requests),
                ],
                remedy: format!(
                    "Let threads of {name} hold the lock for less time, or use several locks; where a thread gives its request to another one and waits for that, see what the other one does"
                ),
                sure: CONCLUDED,
                rests_on: way.entry.requests,
                at_stake_ns: Some(stake.ns),
            })
        });
        found.collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::tests::{calm, component, said};
    use super::*;
    use courtside_core::model::{Snapshot, finding::Severity};

    /// App sleeps 0.6 ms of a request, of which so much is for a lock.
    fn locked(of_sleep: f64) -> Snapshot {
        let mut snapshot = calm();
        let turnaround = &mut component(&mut snapshot, "program:app").turnaround;
        turnaround.parts[Part::Sleep] = 600_000_000;
        turnaround.lock_ns = Some((6e8 * of_sleep) as u64);
        snapshot
    }

    pub(in super::super) fn loud() -> Snapshot {
        locked(0.9)
    }

    #[test]
    fn a_request_that_waits_for_a_lock_is_said() {
        let found = said("lock_convoy", &loud());
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].says,
            "Threads of app wait for a lock while they have a request: 540 µs of its 2.00 ms (27%)"
        );
        assert_eq!(found[0].severity, Severity::Warn);
    }

    #[test]
    fn other_sleep_and_sleep_of_which_nothing_is_known_are_no_lock() {
        assert!(said("lock_convoy", &locked(0.2)).is_empty());
        let mut unknown = loud();
        component(&mut unknown, "program:app").turnaround.lock_ns = None;
        assert!(said("lock_convoy", &unknown).is_empty());
    }
}
