//! Findings: what takes a request's time without need, and what to do about it.
//!
//! In: a [`Snapshot`]. Out: its [`Finding`]s, the worst first. One file a rule, all behind `Rule`. Must not know: how
//! anything is measured or shown. Truth first: a rule says nothing where too few requests were seen, where a count is a
//! lower bound that could mislead, and where nothing is to gain.

mod antagonist;
mod busy_polling;
mod chatty_edge;
mod context_switches;
mod cpu_quota;
mod facts;
mod found;
mod heartbeat;
mod high_cpi;
mod imbalance;
mod lock_convoy;
mod order;
mod queued_unread;
mod retransmits;
mod run_queue;
mod single_thread_limit;
mod slow_disk;
mod slow_peer;
#[cfg(test)]
mod tests;

use courtside_core::model::{
    Snapshot,
    finding::{Finding, Judge},
};

use facts::Facts;
use found::Found;

/// One rule.
trait Rule: Sync {
    /// Its name, as in JSON.
    fn name(&self) -> &'static str;

    /// What it has to say.
    fn look(&self, facts: &Facts<'_>) -> Vec<Found>;
}

/// All rules, by name.
const RULES: [&dyn Rule; 15] = [
    &antagonist::Antagonist,
    &busy_polling::BusyPolling,
    &chatty_edge::ChattyEdge,
    &context_switches::ContextSwitches,
    &cpu_quota::CpuQuota,
    &heartbeat::Heartbeat,
    &high_cpi::HighCpi,
    &imbalance::Imbalance,
    &lock_convoy::LockConvoy,
    &queued_unread::QueuedUnread,
    &retransmits::Retransmits,
    &run_queue::RunQueue,
    &single_thread_limit::SingleThreadLimit,
    &slow_disk::SlowDisk,
    &slow_peer::SlowPeer,
];

/// The rules, as a view takes them along.
#[must_use]
pub fn judge() -> Judge {
    Judge::by(look)
}

/// What is wrong in a window: the worst first, then what most of a request's time is at stake for; what makes most of another
/// one comes before that. Nothing where more was lost than the numbers bear.
#[must_use]
pub fn look(snapshot: &Snapshot) -> Vec<Finding> {
    let Some(facts) = Facts::of(snapshot) else {
        return Vec::new();
    };
    let findings = RULES.iter().flat_map(|rule| {
        let found = rule.look(&facts).into_iter();
        found.map(|found| found.into_finding(rule.name(), &facts))
    });
    order::ordered(&facts, findings.collect())
}
