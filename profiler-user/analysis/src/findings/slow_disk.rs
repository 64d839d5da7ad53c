//! `slow_disk`: a request waits for the disk.
//!
//! In: the parts of a component's court, and its disk requests. Out: how much of a request that is, and whether the disk is
//! slow, asked often, or busy with the requests of somebody else. Must not know: how that was seen.

use courtside_core::{
    model::{blame::UNKNOWN, snapshot::Disk},
    parts::Part,
    units::{duration, duration_f64, percent, rate},
};

use super::{
    Rule,
    facts::Facts,
    found::{Found, MEASURED, count, graded, ns, per_request, share},
};

/// A fifth of a request's time is worth a cache.
const WARN: f64 = 0.2;
/// Most of what can be gained by any change lies here.
const BAD: f64 = 0.5;
/// One read from a fast disk takes about as long.
const MIN_NS: f64 = 100_000.0;
/// A disk that turns needs about ten milliseconds for one request; what takes longer waits behind others.
const SLOW_NS: u64 = 10_000_000;
/// Fewer disk requests say nothing about the disk.
const MIN_DISK_REQUESTS: u64 = 30;

/// Who holds up half of what its disk requests take is worth a name.
const MIN_BEHIND: f64 = 0.5;

pub(super) struct SlowDisk;

/// Who held up its disk requests most, and at most for which share of their time, if that is much.
fn held_up_by(disk: &Disk) -> Option<(&str, f64)> {
    let mut by = disk.queued_behind.iter().flatten();
    let most = by.find(|blame| blame.component != UNKNOWN)?;
    let part = most.ns as f64 / disk.latency_ns.sum_ns.max(1) as f64;
    (part >= MIN_BEHIND).then_some((&most.component, part))
}

impl Rule for SlowDisk {
    fn name(&self) -> &'static str {
        "slow_disk"
    }

    fn look(&self, facts: &Facts<'_>) -> Vec<Found> {
        let found = facts.ways().filter_map(|way| {
            let component = facts.component(&way.court.component)?;
            let stake = way.stake(way.court.parts[Part::BlockIo], MIN_NS)?;
            let severity = graded(stake.share, WARN, BAD)?;
            let name = facts.name(&component.id);
            let latency = &component.disk.latency_ns;
            let behind = held_up_by(&component.disk).filter(|_| latency.count >= MIN_DISK_REQUESTS);
            let each = latency.count as f64 / way.entry.requests.max(1) as f64;
            let mut evidence = vec![
                ns("block_io_per_request", way.court.parts[Part::BlockIo]),
                ns("request_mean", way.mean_ns),
                share("share_of_request", stake.share),
                count("requests", way.entry.requests),
            ];
            let remedy = if latency.count < MIN_DISK_REQUESTS {
                format!(
                    "See what {name} reads or writes: hardly any disk request is its own, so it may wait for those of others, or for the kernel to write data back"
                )
            } else {
                evidence.push(ns("disk_p50", latency.p50_ns as f64));
                evidence.push(ns("disk_p99", latency.p99_ns as f64));
                evidence.push(per_request("disk_requests_per_request", each));
                if let Some((who, part)) = behind {
                    evidence.push(share("behind_others_at_most", part));
                    format!(
                        "Keep {} away from this disk while requests are served, or limit what it may read and write there (io.max of its control group)",
                        facts.name(who)
                    )
                } else if latency.p50_ns >= SLOW_NS {
                    format!(
                        "The disk itself is slow (half of its requests take over {}): see who else uses it, or use a faster one",
                        duration(latency.p50_ns)
                    )
                } else {
                    format!(
                        "The disk answers in {} (median), so {name} should ask it less often than {} times a request: cache what is read, and write several things at once",
                        duration(latency.p50_ns),
                        rate(each)
                    )
                }
            };
            Some(Found {
                severity,
                component: component.id.clone(),
                edge: None,
                says: format!(
                    "{name} waits for the disk: {} of a request's {} ({}){}",
                    duration_f64(stake.ns),
                    duration_f64(way.mean_ns),
                    percent(stake.share),
                    behind.map_or_else(String::new, |(who, part)| format!(
                        ", where its disk requests lie behind those of {} for up to {} of their time",
                        facts.name(who),
                        percent(part)
                    ))
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
    use super::super::tests::{calm, component, court, dist, said};
    use super::*;
    use courtside_core::model::{Blame, Snapshot, finding::Severity};

    fn reading(ns: f64) -> Snapshot {
        let mut snapshot = calm();
        let entry = &mut snapshot.entries[0];
        entry.mean_ns = entry.mean_ns.map(|mean| mean + ns);
        let court = court(&mut snapshot, "program:app");
        court.parts[Part::BlockIo] += ns;
        court.turnaround_ns += ns;
        component(&mut snapshot, "program:app").disk.latency_ns = dist(2000, 150_000);
        snapshot
    }

    pub(in super::super) fn loud() -> Snapshot {
        reading(3_000_000.0)
    }

    #[test]
    fn a_request_that_waits_for_the_disk_is_said() {
        let found = said("slow_disk", &loud());
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].says,
            "app waits for the disk: 3.00 ms of a request's 5.00 ms (60%)"
        );
        assert_eq!(found[0].severity, Severity::Bad);
        assert_eq!(
            said("slow_disk", &reading(600_000.0))[0].severity,
            Severity::Warn
        );
    }

    #[test]
    fn the_remedy_tells_a_slow_disk_from_one_that_is_asked_often() {
        let remedy = |snapshot: &Snapshot| said("slow_disk", snapshot)[0].remedy.clone();
        let mut snapshot = loud();
        assert!(remedy(&snapshot).contains("less often than 2.00 times a request"));
        component(&mut snapshot, "program:app").disk.latency_ns = dist(100, 30_000_000);
        assert!(remedy(&snapshot).starts_with("The disk itself is slow"));
        component(&mut snapshot, "program:app").disk.latency_ns = dist(0, 0);
        assert!(remedy(&snapshot).contains("those of others"));
    }

    #[test]
    fn who_holds_up_the_disk_is_named() {
        let mut snapshot = loud();
        let behind = |snapshot: &mut Snapshot, who: &str, ns: u64| {
            component(snapshot, "program:app").disk.queued_behind = Some(vec![Blame {
                component: who.to_owned(),
                ns,
            }]);
            said("slow_disk", snapshot)[0].clone()
        };
        // 2000 requests of 150 us each.
        let found = behind(&mut snapshot, "program:store", 200_000_000);
        assert!(
            found
                .says
                .ends_with("lie behind those of store for up to 67% of their time"),
            "{}",
            found.says
        );
        assert!(found.remedy.starts_with("Keep store away from this disk"));
        assert!(
            found
                .evidence
                .iter()
                .any(|it| it.name == "behind_others_at_most")
        );
        let found = behind(&mut snapshot, "program:store", 20_000_000);
        assert!(found.says.ends_with("(60%)"), "{}", found.says);
        let found = behind(&mut snapshot, UNKNOWN, 200_000_000);
        assert!(found.says.ends_with("(60%)"), "{}", found.says);
    }

    #[test]
    fn a_short_wait_is_no_finding_however_slow_the_disk() {
        assert!(said("slow_disk", &calm()).is_empty());
        let mut writes = calm();
        component(&mut writes, "program:app").disk.latency_ns = dist(1000, 80_000_000);
        assert!(said("slow_disk", &writes).is_empty());
        assert!(said("slow_disk", &reading(50_000.0)).is_empty());
        assert!(said("slow_disk", &reading(300_000.0)).is_empty());
    }
}
