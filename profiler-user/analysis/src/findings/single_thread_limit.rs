//! `single_thread_limit`: a component of one process uses one core in full, and requests lie unread.
//!
//! In: a component's CPU time, processes and requests. Out: whether it looks as if one thread did all. Must not know: how
//! many threads there are. Where it is not measured what a CPU quota held back, one of one core looks nearly the same, and the
//! words say so.

use courtside_core::{
    model::{finding::Severity, snapshot::Component},
    units::{duration_f64, percent},
};

use super::{
    Rule,
    facts::Facts,
    found::{CONCLUDED, Found, count, ns, share},
    queued_unread::Unread,
};

/// A thread that never waits is on its CPU for nearly all of the time: interrupts and other threads take the rest.
const FULL: f64 = 0.85;
/// Above one core, by more than clocks and short helpers explain, it is more than one thread.
const MORE_THAN_ONE: f64 = 1.1;
/// Threads that want more than they get are in the run queue, or held back by a quota: then it is no limit of its own.
const MOST_RUN_QUEUE: f64 = 0.25;

pub(super) struct SingleThreadLimit;

/// A component that is at the limit of one core.
pub(super) struct Limit {
    on_cpu: f64,
    unread: Unread,
    of_service: f64,
}

impl Limit {
    pub fn of(facts: &Facts<'_>, component: &Component) -> Option<Self> {
        let on_cpu = facts.of_window(component.cpu.on_cpu_ns);
        let held_back = component.cpu.throttled_ns.unwrap_or(0);
        let waits = facts.of_window(component.cpu.run_queue_ns.saturating_add(held_back));
        let full = (FULL..MORE_THAN_ONE).contains(&on_cpu) && waits <= MOST_RUN_QUEUE;
        if !full || component.processes.len() != 1 || facts.snapshot.host.cpus < 2 {
            return None;
        }
        let unread = Unread::of(facts, component)?;
        let of_service = unread.share()?;
        Some(Self {
            on_cpu,
            unread,
            of_service,
        })
    }
}

impl Rule for SingleThreadLimit {
    fn name(&self) -> &'static str {
        "single_thread_limit"
    }

    fn look(&self, facts: &Facts<'_>) -> Vec<Found> {
        let found = facts.local().filter_map(|component| {
            let Limit {
                on_cpu,
                unread,
                of_service,
            } = Limit::of(facts, component)?;
            let name = facts.name(&component.id);
            let or_quota = match component.cpu.throttled_ns {
                None => "; if they do already, see whether a CPU quota of one core holds them back",
                Some(_) => "",
            };
            Some(Found {
                severity: Severity::Bad,
                component: component.id.clone(),
                edge: None,
                says: format!(
                    "{name} is saturated: {} of one core, requests lie unread {}",
                    percent(on_cpu),
                    duration_f64(unread.mean_ns)
                ),
                evidence: vec![
                    share("on_cpu", on_cpu),
                    count("processes", 1),
                    count("cpus", u64::from(facts.snapshot.host.cpus)),
                    ns("unread_mean", unread.mean_ns),
                    share("share_of_service", of_service),
                    count("requests", unread.timed),
                ],
                remedy: format!(
                    "Run more processes of {name}, or let more of its threads work at the same time{or_quota}"
                ),
                sure: CONCLUDED,
                rests_on: unread.timed,
                at_stake_ns: unread.at_stake_ns(facts, component),
            })
        });
        found.collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::tests::{calm, component, dist, said};
    use super::*;
    use courtside_core::{frame::Process, model::Snapshot};

    pub(in super::super) fn loud() -> Snapshot {
        let mut snapshot = calm();
        snapshot.entries[0].mean_ns = Some(160_000_000.0);
        let app = component(&mut snapshot, "program:app");
        app.cpu.on_cpu_ns = 930_000_000;
        app.processes = vec![Process::default()];
        app.requests.queued_ns = dist(1000, 156_000_000);
        app.requests.service_ns = dist(1000, 157_000_000);
        snapshot
    }

    #[test]
    fn a_full_core_with_requests_waiting_is_said_and_not_said_twice() {
        let found = said("single_thread_limit", &loud());
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].says,
            "app is saturated: 93% of one core, requests lie unread 156 ms"
        );
        assert_eq!(found[0].severity, Severity::Bad);
        assert!(said("queued_unread", &loud()).is_empty());
    }

    #[test]
    fn a_full_core_alone_or_more_than_one_process_or_core_is_no_such_limit() {
        assert!(said("single_thread_limit", &calm()).is_empty());
        let other = |change: fn(&mut Component)| {
            let mut snapshot = loud();
            change(component(&mut snapshot, "program:app"));
            said("single_thread_limit", &snapshot)
        };
        assert!(other(|app| app.requests.queued_ns = dist(1000, 20_000)).is_empty());
        assert!(other(|app| app.processes.push(Process::default())).is_empty());
        assert!(other(|app| app.cpu.on_cpu_ns = 1_800_000_000).is_empty());
        assert!(other(|app| app.cpu.on_cpu_ns = 700_000_000).is_empty());
        assert!(other(|app| app.cpu.run_queue_ns = 900_000_000).is_empty());
        assert!(other(|app| app.cpu.throttled_ns = Some(900_000_000)).is_empty());
        let known = other(|app| app.cpu.throttled_ns = Some(0));
        assert!(!known[0].remedy.contains("quota"));
        let unknown = other(|app| app.cpu.throttled_ns = None);
        assert!(unknown[0].remedy.contains("quota"));
        let mut one_cpu = loud();
        one_cpu.host.cpus = 1;
        assert!(said("single_thread_limit", &one_cpu).is_empty());
    }
}
