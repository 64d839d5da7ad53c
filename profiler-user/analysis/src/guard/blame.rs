//! Blame: whom a service waited for, as the scheduler or the disk saw it.
//!
//! In: what a service used. Out: shares by component. Must not know: who is suspected, what is usual.

use std::collections::BTreeMap;

use courtside_core::model::interference::Signal;

use super::inputs::{Used, share};

/// Names that the blame may hold besides components: nobody had the CPU, or the disk was busy with nobody else's requests; or it
/// could not be told who.
pub(super) const IDLE: &str = "idle";
const UNKNOWN: &str = "unknown";

/// Who waited for whom, as a fact.
pub(super) struct Blame {
    /// By component; those of the victim itself, `idle` and `unknown` among them.
    pub by: BTreeMap<String, u64>,
    pub total_ns: u64,
}

impl Blame {
    /// What the signal's waits were for; none where that was not recorded, or the signal is no wait. Of a service time it is
    /// what is known of its waits: at least those for a CPU.
    pub(super) fn of(signal: Signal, used: &Used) -> Option<Self> {
        let waits: Vec<&(String, u64)> = match signal {
            Signal::RunQueuePerRequest => used.run_queue_by.as_ref()?.iter().collect(),
            Signal::BlockIoPerRequest => used.queued_behind.as_ref()?.iter().collect(),
            Signal::Service => {
                let for_cpu = used.run_queue_by.as_ref()?.iter();
                // What the disk did for the service itself is no wait for anybody.
                let for_disk = used.queued_behind.iter().flatten();
                for_cpu
                    .chain(for_disk.filter(|(id, _)| id != IDLE))
                    .collect()
            }
            Signal::Cpi | Signal::LlcMissesPerInstruction | Signal::OnCpuPerRequest => return None,
        };
        let mut by: BTreeMap<String, u64> = BTreeMap::new();
        let mut total_ns = 0u64;
        for (component, ns) in waits {
            let sum = by.entry(component.clone()).or_default();
            *sum = sum.saturating_add(*ns);
            total_ns = total_ns.saturating_add(*ns);
        }
        Some(Self { by, total_ns })
    }

    /// Share of those that are neither the victim nor nobody.
    pub(super) fn foreign(&self, victim: &str) -> f64 {
        let others = self.by.iter().filter(|(id, _)| is_other(id, victim));
        let ns = others.fold(0u64, |sum, (_, ns)| sum.saturating_add(*ns));
        share(ns, self.total_ns).unwrap_or(0.0)
    }

    /// Share of this one.
    pub(super) fn share_of(&self, id: &str) -> f64 {
        let ns = self.by.get(id).copied().unwrap_or(0);
        share(ns, self.total_ns).unwrap_or(0.0)
    }

    /// Share of what could not be told.
    pub(super) fn unknown(&self) -> f64 {
        self.share_of(UNKNOWN)
    }
}

/// Whether it is neither the victim nor nobody.
pub(super) fn is_other(id: &str, victim: &str) -> bool {
    id != victim && id != IDLE && id != UNKNOWN
}
