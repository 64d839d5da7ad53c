//! In which order findings are told: the worst first, but what makes another one before that.
//!
//! In: findings, facts. Out: the same findings in order. Must not know: how each was found.
//!
//! A hog on a CPU makes a service wait for it, and what waits reads no requests, so that these lie unread: three findings, of which
//! the last has the longest time. Who reads only the first line has to learn of the hog.

use std::cmp::Ordering;

use courtside_core::model::Finding;

use super::{facts::Facts, queued_unread::Unread};

/// From this share of the time on that threads have requests for, it is what makes others lie unread.
const MOST: f64 = 0.5;

/// Puts findings in order.
pub(super) fn ordered(facts: &Facts<'_>, mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by(worse);
    let mut ordered = Vec::with_capacity(findings.len());
    while !findings.is_empty() {
        let at = first(facts, &findings);
        ordered.push(findings.remove(at));
    }
    ordered
}

/// By severity, then by what is at stake.
fn worse(a: &Finding, b: &Finding) -> Ordering {
    let stake = |finding: &Finding| finding.at_stake_ns.unwrap_or(0.0);
    b.severity
        .cmp(&a.severity)
        .then_with(|| stake(b).total_cmp(&stake(a)))
        .then_with(|| a.rule.cmp(&b.rule))
        .then_with(|| a.component.cmp(&b.component))
}

/// Where the first is, or what makes it. This ends: nothing makes those that come first in such a chain.
fn first(facts: &Facts<'_>, findings: &[Finding]) -> usize {
    let mut at = 0;
    while let Some(effect) = findings.get(at)
        && let Some(cause) = findings
            .iter()
            .position(|cause| makes(facts, cause, effect))
    {
        at = cause;
    }
    at
}

/// Whether one finding is the reason for most of another one.
fn makes(facts: &Facts<'_>, cause: &Finding, effect: &Finding) -> bool {
    match effect.rule.as_str() {
        "run_queue" => {
            let behind = facts.behind(&effect.component);
            cause.rule == "antagonist" && behind.is_some_and(|behind| behind.id == cause.component)
        }
        "queued_unread" => keeps_busy(facts, cause, &effect.component).unwrap_or(false),
        _ => false,
    }
}

/// Whether a finding is what most of the time goes to in which a component has read a request and not answered it.
fn keeps_busy(facts: &Facts<'_>, cause: &Finding, component: &str) -> Option<bool> {
    let is_its = match cause.rule.as_str() {
        "chatty_edge" | "cpu_quota" | "lock_convoy" | "run_queue" | "slow_disk" => {
            cause.component == component
        }
        "slow_peer" => cause.edge.as_ref()?.from == component,
        _ => false,
    };
    let way = facts.on_way(component)?;
    let of_same = facts.on_way(&cause.component)?;
    if !is_its || !std::ptr::eq(way.entry, of_same.entry) {
        return Some(false);
    }
    let component = facts.component(component)?;
    let unread = Unread::of(facts, component)?;
    let visits = component.requests.served as f64 / way.entry.requests.max(1) as f64;
    let busy_ns = (unread.service_ns - unread.mean_ns).max(0.0) * visits;
    Some(cause.at_stake_ns? >= MOST * busy_ns)
}

#[cfg(test)]
mod tests {
    use courtside_core::{
        model::{Snapshot, finding::Severity},
        parts::Part,
    };

    use super::super::{
        antagonist, look, slow_peer,
        tests::{calm, component, court, dist},
    };

    fn rules(snapshot: &Snapshot) -> Vec<String> {
        let findings = look(snapshot).into_iter();
        findings.map(|finding| finding.rule).collect()
    }

    #[test]
    fn who_has_the_cpu_comes_before_who_waits_for_it() {
        let mut snapshot = antagonist::tests::loud();
        assert_eq!(rules(&snapshot), ["antagonist", "run_queue"]);
        // Also where only the wait is as long as to be bad.
        let entry = &mut snapshot.entries[0];
        entry.mean_ns = Some(2_100_000.0);
        let findings = look(&snapshot);
        assert_eq!(findings[0].rule, "antagonist");
        assert_eq!(findings[0].severity, Severity::Warn);
        assert_eq!(findings[1].severity, Severity::Bad);
        // Who had it for less than half of the waits is not why.
        let app = component(&mut snapshot, "program:app");
        for (blame, ns) in app
            .cpu
            .run_queue_by
            .iter_mut()
            .flatten()
            .zip([490_000_000, 510_000_000])
        {
            blame.ns = ns;
        }
        let court = court(&mut snapshot, "program:app");
        court.parts[Part::RunQueue] += 2_000_000.0;
        snapshot.entries[0].mean_ns = Some(4_000_000.0);
        assert_eq!(rules(&snapshot), ["run_queue", "antagonist"]);
    }

    /// Requests to app lie unread for 20 ms, and of 5 ms in which it has one it waits so long for the disk.
    fn unread(disk_ns: f64) -> Snapshot {
        let mut snapshot = calm();
        snapshot.entries[0].mean_ns = Some(26_000_000.0);
        let court = court(&mut snapshot, "program:app");
        court.unread_ns = Some(20_000_000.0);
        court.turnaround_ns = 5_000_000.0;
        court.parts[Part::BlockIo] = disk_ns;
        let requests = &mut component(&mut snapshot, "program:app").requests;
        requests.queued_ns = dist(requests.served, 20_000_000);
        requests.service_ns = dist(requests.served, 25_000_000);
        snapshot
    }

    #[test]
    fn what_threads_do_comes_before_what_lies_unread_meanwhile() {
        let mut most = unread(4_000_000.0);
        // As a part of all that time it is little.
        assert_eq!(rules(&most), ["queued_unread"]);
        most.entries[0].mean_ns = Some(12_000_000.0);
        assert_eq!(rules(&most), ["slow_disk", "queued_unread"]);
        let mut some = unread(2_400_000.0);
        some.entries[0].mean_ns = Some(10_000_000.0);
        assert_eq!(rules(&some), ["queued_unread", "slow_disk"]);
    }

    #[test]
    fn a_slow_end_elsewhere_comes_before_what_lies_unread_at_who_asks_it() {
        let mut snapshot = slow_peer::tests::loud();
        let requests = &mut component(&mut snapshot, "program:app").requests;
        requests.queued_ns = dist(requests.served, 60_000_000);
        requests.service_ns = dist(requests.served, 100_000_000);
        court(&mut snapshot, "program:app").unread_ns = Some(60_000_000.0);
        snapshot.entries[0].mean_ns = Some(101_000_000.0);
        assert_eq!(rules(&snapshot), ["slow_peer", "queued_unread"]);
        let findings = look(&snapshot);
        assert_eq!(findings[1].severity, Severity::Bad);
        assert!(findings[0].at_stake_ns < findings[1].at_stake_ns);
    }
}
