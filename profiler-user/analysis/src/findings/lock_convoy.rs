//! `lock_convoy`: a request waits for a lock that another thread holds.
//!
//! In: the parts of a component's court, and how much of its sleep with the ball was by a futex. Out: how much of a request that
//! is, and which lock, and who has it, where one costs most of that. Must not know: how locks are told apart.

use courtside_core::{
    model::{Lock, snapshot::Component},
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
            let which = busiest(component);
            let mut evidence = vec![
                ns("lock_per_request", locked_ns),
                ns("request_mean", way.mean_ns),
                share("share_of_request", stake.share),
                share("lock_of_sleep", of_sleep),
                count("requests", way.entry.requests),
            ];
            if let Some(lock) = which {
                evidence.push(count("lock_waits", lock.waits));
                evidence.push(ns("lock_wait", lock.wait_ns as f64));
                if let Some(holder) = &lock.holder {
                    evidence.push(count("holder_tid", holder.tid.into()));
                    evidence.push(ns("holder_wait", holder.wait_ns as f64));
                }
            }
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
                evidence,
                remedy: format!(
                    "Let threads of {name} hold the lock for less time, or use several locks; where a thread gives its request to another one and waits for that, see what the other one does{}",
                    which.map(named).unwrap_or_default()
                ),
                sure: CONCLUDED,
                rests_on: way.entry.requests,
                at_stake_ns: Some(stake.ns),
            })
        });
        found.collect()
    }
}

/// The lock that most of what threads waited with a request was for; none if no single one was.
fn busiest(component: &Component) -> Option<&Lock> {
    let locks = component.locks.iter().flatten();
    let lock = locks.max_by_key(|lock| lock.with_ball_ns)?;
    let all_ns = component.turnaround.lock_ns?;
    (lock.with_ball_ns > 0 && lock.with_ball_ns >= all_ns / 2).then_some(lock)
}

/// Which one it is, and who has it.
fn named(lock: &Lock) -> String {
    let which = format!(
        ". Most of it is the futex {} of process {}",
        lock.address, lock.tgid
    );
    let Some(holder) = &lock.holder else {
        return which;
    };
    let share = holder.wait_ns as f64 / lock.wait_ns.max(1) as f64;
    format!(
        "{which}: thread {} ({}) had it for {} of what was waited",
        holder.tid,
        holder.comm,
        percent(share)
    )
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::tests::{calm, component, said};
    use super::*;
    use courtside_core::model::{Holder, Snapshot, finding::Severity};

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

    #[test]
    fn the_lock_and_its_holder_are_named_where_one_lock_is_most_of_it() {
        let with = |with_ball_ns| {
            let mut snapshot = loud();
            let app = component(&mut snapshot, "program:app");
            let lock = |address: &str, with_ball_ns, wait_ns| Lock {
                address: address.to_owned(),
                tgid: 7,
                waits: 90,
                wait_ns,
                with_ball_ns,
                holder: Some(Holder {
                    tid: 9,
                    comm: "writer".to_owned(),
                    wait_ns: wait_ns / 4 * 3,
                }),
            };
            app.locks = Some(vec![
                lock("0x10", with_ball_ns, 400_000_000),
                lock("0x20", 0, 9_000_000_000),
            ]);
            said("lock_convoy", &snapshot).remove(0)
        };
        let told = with(400_000_000);
        assert!(
            told.remedy.ends_with(
                ". Most of it is the futex 0x10 of process 7: thread 9 (writer) had it for 75% of what was waited"
            ),
            "{}",
            told.remedy
        );
        let number = |name: &str| {
            let found = told.evidence.iter().find(|evidence| evidence.name == name);
            found.map(|evidence| evidence.value)
        };
        assert_eq!(number("holder_tid"), Some(9.0));
        assert_eq!(number("lock_wait"), Some(4e8));
        // Another thread's idle pool, or many locks: none is named.
        assert!(!with(100_000_000).remedy.contains("futex"));
    }
}
