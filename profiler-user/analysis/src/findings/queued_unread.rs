//! `queued_unread`: requests have arrived and are not read.
//!
//! In: a component's requests. Out: how long they lie. Silent where `single_thread_limit` has the reason. Must not know: how
//! many threads could read them.

use courtside_core::{
    model::{finding::Severity, snapshot::Component},
    parts::Part,
    units::{duration_f64, percent},
};

use super::{
    Rule,
    facts::{Facts, MIN_REQUESTS},
    found::{CONCLUDED, Found, count, ns, number, share},
    single_thread_limit::Limit,
};

/// A quarter of the time in which a request is served: less comes of two requests that meet by chance.
const WARN: f64 = 0.25;
/// Requests wait for longer than they are worked on: more come than are taken.
const BAD: f64 = 0.5;
/// To wake the thread that reads takes some tens of microseconds; what lies shorter than this lies for no other reason.
const MIN_NS: f64 = 500_000.0;
/// Requests that lie unread at one time, on the mean. Fewer are no line: it hardly happens that one waits behind another.
const MIN_LYING: f64 = 0.1;
/// From here on there is always one.
const ALWAYS: f64 = 1.0;
/// From this share of the time unread on it is for want of a CPU.
const BY_RUN_QUEUE: f64 = 0.3;
/// From this share of the waits for a CPU on they are a quota's doing.
const BY_QUOTA: f64 = 0.5;
/// What takes this share of the time in which threads have requests is what others lie unread for.
const MOST: f64 = 0.5;
/// Below this share of one core a component is not short of CPU: its threads wait for something else.
const LITTLE_CPU: f64 = 0.5;

pub(super) struct QueuedUnread;

/// How long requests lie unread.
pub(super) struct Unread {
    pub mean_ns: f64,
    pub service_ns: f64,
    pub timed: u64,
    /// How many lie unread at one time, on the mean.
    pub lying: f64,
}

impl Unread {
    /// Of a component whose requests can be told apart.
    pub fn of(facts: &Facts<'_>, component: &Component) -> Option<Self> {
        let requests = &component.requests;
        let few = requests.untimed.saturating_mul(20) <= requests.served;
        let timed = requests.service_ns.count.min(requests.queued_ns.count);
        let mean = |dist: &courtside_core::model::snapshot::Dist| {
            dist.sum_ns as f64 / dist.count.max(1) as f64
        };
        (few && timed >= MIN_REQUESTS).then(|| Self {
            mean_ns: mean(&requests.queued_ns),
            service_ns: mean(&requests.service_ns),
            timed,
            lying: facts.of_window(requests.queued_ns.sum_ns),
        })
    }

    /// How much of a request at the entry that is.
    pub fn at_stake_ns(&self, facts: &Facts<'_>, component: &Component) -> Option<f64> {
        let way = facts.on_way(&component.id)?;
        let visits = component.requests.served as f64 / way.entry.requests.max(1) as f64;
        Some(way.at_stake_ns((self.mean_ns * visits).min(way.court.all_ns())))
    }

    /// As a share of the time in which a request is served, if that is worth a word.
    pub fn share(&self) -> Option<f64> {
        let share = self.mean_ns / self.service_ns.max(1.0);
        let waits = self.mean_ns >= MIN_NS && self.lying >= MIN_LYING;
        (waits && share >= WARN).then_some(share)
    }
}

/// What a component's threads do for most of the time in which they have read a request, if it is to wait: in words, and how
/// long for each request.
fn mostly(facts: &Facts<'_>, component: &Component, busy_ns: f64) -> Option<(&'static str, f64)> {
    let turnaround = &component.turnaround;
    if turnaround.total_ns == 0 || busy_ns <= 0.0 {
        return None;
    }
    let served = component.requests.served.max(1) as f64;
    let each = |ns: u64| ns as f64 / served;
    let calls = facts.edges_from(&component.id);
    let calls_ns = each(calls.map(|edge| edge.latency_ns.sum_ns).sum());
    // What is read and waits within the component is no call, and calls at once are no longer than this.
    let elsewhere_ns = busy_ns - each(turnaround.total_ns);
    let waits = [
        ("the disk", each(turnaround.parts[Part::BlockIo])),
        ("a lock", each(turnaround.lock_ns.unwrap_or(0))),
        ("those that they ask themselves", calls_ns.min(elsewhere_ns)),
    ];
    waits.into_iter().find(|(_, ns)| *ns >= MOST * busy_ns)
}

impl Rule for QueuedUnread {
    fn name(&self) -> &'static str {
        "queued_unread"
    }

    fn look(&self, facts: &Facts<'_>) -> Vec<Found> {
        let found = facts.local().filter_map(|component| {
            if Limit::of(facts, component).is_some() {
                return None;
            }
            let unread = Unread::of(facts, component)?;
            let of_service = unread.share()?;
            let severity = if of_service >= BAD && unread.lying >= ALWAYS {
                Severity::Bad
            } else {
                Severity::Warn
            };
            let name = facts.name(&component.id);
            let on_cpu = facts.of_window(component.cpu.on_cpu_ns);
            let served = component.requests.served.max(1) as f64;
            let run_queue_ns = component.turnaround.parts[Part::RunQueue] as f64 / served;
            let of_quota = facts.quota_share(&component.id);
            let busy_ns = (unread.service_ns - unread.mean_ns).max(0.0);
            let by_run_queue = run_queue_ns >= BY_RUN_QUEUE * unread.mean_ns;
            let remedy = if by_run_queue && of_quota >= BY_QUOTA {
                format!(
                    "{name}'s threads could run, and its own CPU quota holds them back, {} for each request: see to that first",
                    duration_f64(run_queue_ns * of_quota)
                )
            } else if by_run_queue {
                format!(
                    "{name}'s threads are woken and wait for a CPU, {} for each request: fix that first",
                    duration_f64(run_queue_ns)
                )
            } else if let Some((what, ns)) = mostly(facts, component, busy_ns) {
                format!(
                    "{name}'s threads wait for {what} for {} of the {} in which they have a request: see to that first, or let more of them take requests",
                    duration_f64(ns),
                    duration_f64(busy_ns)
                )
            } else if on_cpu < LITTLE_CPU {
                format!(
                    "{name} is not short of CPU ({} of one core): see what its threads wait for (disk, sleep, its own calls), and let more of them take requests",
                    percent(on_cpu)
                )
            } else {
                format!(
                    "Let more threads or processes of {name} take requests, or let each cost less CPU ({} of one core is in use)",
                    percent(on_cpu)
                )
            };
            Some(Found {
                severity,
                component: component.id.clone(),
                edge: None,
                says: format!(
                    "Requests to {name} lie unread for {} of the {} in which they are served ({})",
                    duration_f64(unread.mean_ns),
                    duration_f64(unread.service_ns),
                    percent(of_service)
                ),
                evidence: vec![
                    ns("unread_mean", unread.mean_ns),
                    ns("service_mean", unread.service_ns),
                    share("share_of_service", of_service),
                    number("unread_at_one_time", unread.lying, "count"),
                    share("on_cpu", on_cpu),
                    count("requests", unread.timed),
                ],
                remedy,
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
    use super::super::tests::{calm, component, dist, edge, said};
    use courtside_core::model::Snapshot;

    fn lying(unread_ns: u64, service_ns: u64) -> Snapshot {
        let mut snapshot = calm();
        let requests = &mut component(&mut snapshot, "program:app").requests;
        requests.queued_ns = dist(requests.served, unread_ns);
        requests.service_ns = dist(requests.served, service_ns);
        snapshot
    }

    use super::{Part, Severity};

    pub(in super::super) fn loud() -> Snapshot {
        lying(4_000_000, 5_000_000)
    }

    #[test]
    fn requests_that_lie_unread_are_said() {
        let found = said("queued_unread", &lying(4_000_000, 5_000_000));
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].says,
            "Requests to app lie unread for 4.00 ms of the 5.00 ms in which they are served (80%)"
        );
        assert_eq!(found[0].severity, Severity::Bad);
        assert!(found[0].remedy.starts_with("Let more threads"));
        let mut no_cpu = lying(4_000_000, 5_000_000);
        component(&mut no_cpu, "program:app").turnaround.parts[Part::RunQueue] = 2_000_000_000;
        let remedy = &said("queued_unread", &no_cpu)[0].remedy;
        assert!(remedy.contains("wait for a CPU, 2.00 ms for each request"));
        let cpu = &mut component(&mut no_cpu, "program:app").cpu;
        (cpu.throttled_ns, cpu.run_queue_ns) = (Some(900_000_000), 100_000_000);
        let remedy = &said("queued_unread", &no_cpu)[0].remedy;
        assert!(remedy.contains("own CPU quota holds them back, 1.80 ms for each request"));
        let some = said("queued_unread", &lying(1_500_000, 5_000_000));
        assert_eq!(some[0].severity, Severity::Warn);
    }

    #[test]
    fn what_threads_wait_for_meanwhile_is_said() {
        let remedy = |own_ns: u64, disk_ns: u64, lock_ns: u64| {
            let mut snapshot = loud();
            let call = edge("program:app", "program:db", 5432, 1000, 900_000);
            snapshot.edges.push(call);
            let app = component(&mut snapshot, "program:app");
            let turnaround = &mut app.turnaround;
            turnaround.total_ns = own_ns * app.requests.served;
            turnaround.parts[Part::BlockIo] = disk_ns * app.requests.served;
            turnaround.lock_ns = Some(lock_ns * app.requests.served);
            said("queued_unread", &snapshot).remove(0).remedy
        };
        let disk = remedy(1_000_000, 600_000, 0);
        let expected = "app's threads wait for the disk for 600 µs of the 1.00 ms in which they have a request: see to that first";
        assert!(disk.starts_with(expected), "{disk}");
        assert!(remedy(1_000_000, 0, 700_000).contains(" wait for a lock for 700 µs "));
        let calls = remedy(200_000, 100_000, 0);
        assert!(calls.contains(" wait for those that they ask themselves for 800 µs "));
        // None of them is most of it.
        assert!(remedy(800_000, 400_000, 400_000).starts_with("Let more threads"));
    }

    #[test]
    fn a_wake_up_is_no_queue_and_what_cannot_be_told_apart_is_not_judged() {
        assert!(said("queued_unread", &calm()).is_empty());
        assert!(said("queued_unread", &lying(80_000, 100_000)).is_empty());
        assert!(said("queued_unread", &lying(1_000_000, 5_000_000)).is_empty());
        // Each of them waited, and yet there was hardly ever one: thirty in a minute.
        let mut seldom = lying(4_000_000, 5_000_000);
        seldom.window.duration_ns = 60_000_000_000;
        assert!(said("queued_unread", &seldom).is_empty());
        let mut interleaved = lying(4_000_000, 5_000_000);
        component(&mut interleaved, "program:app").requests.untimed = 900;
        assert!(said("queued_unread", &interleaved).is_empty());
    }
}
