//! Forgetting: whatever has ended leaves the maps, so that they never fill with it.
//!
//! In: what the last window saw. Out: maps without images, flows and remote ends that nobody will ask for again.
//! Must not know: what a window says.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

use courtside_wire::{FlowKey, IMAGE_KERNEL, ImageInfo};

use super::{CollectError, Session, decode};

/// Flows and remote ends of which more make a map crowded: half of what it holds.
const CROWDED_FLOWS: usize = 2048;
const CROWDED_REMOTES: usize = 4096;
/// Time without traffic after which a crowded map gives a flow up.
const IDLE: Duration = Duration::from_secs(30);

impl Session {
    /// Removes images that had no process at the ends of two windows and did nothing in the second, and their flows;
    /// and, where a map is half full, flows that nothing moved on for a while, and remote ends without a flow.
    pub(super) fn prune(
        &mut self,
        info: &HashMap<u32, ImageInfo>,
        processes: &BTreeMap<u32, BTreeSet<u32>>,
        busy: &BTreeSet<u32>,
        idle_flows: &[FlowKey],
    ) -> Result<(), CollectError> {
        let gone: BTreeSet<u32> = info
            .keys()
            .filter(|id| **id != IMAGE_KERNEL && !processes.contains_key(id))
            .copied()
            .collect();
        let done: BTreeSet<u32> = gone
            .intersection(&self.gone)
            .filter(|id| !busy.contains(id))
            .copied()
            .collect();
        let crowded = self.before.flows.len() > CROWDED_FLOWS;
        let now = Instant::now();
        let is_old = |key: &FlowKey| {
            let idle = self.moved.get(key).map(|at| now.duration_since(*at));
            idle.is_none_or(|idle| idle > IDLE)
        };
        let flows: Vec<FlowKey> = idle_flows
            .iter()
            .filter(|key| {
                done.contains(&key.image) || done.contains(&key.peer) || crowded && is_old(key)
            })
            .copied()
            .collect();
        let freed = std::mem::take(&mut self.freed);
        decode::empty_flow_slots(&mut self.loaded.ebpf, &freed)?;
        decode::free_flow_slots(&mut self.loaded.ebpf, &freed)?;
        if !done.is_empty() || !flows.is_empty() {
            let images: Vec<u32> = done.iter().copied().collect();
            decode::forget(&mut self.loaded.ebpf, &images)?;
            self.freed = decode::forget_flows(&mut self.loaded.ebpf, &flows)?;
            for id in &done {
                self.before.cpu.remove(id);
                self.before.disks.remove(id);
            }
            for key in &flows {
                self.before.flows.remove(key);
                self.moved.remove(key);
            }
        }
        self.gone = gone;
        self.prune_remotes()
    }

    fn prune_remotes(&mut self) -> Result<(), CollectError> {
        let used: BTreeSet<u32> = self.before.flows.keys().map(|key| key.peer).collect();
        let mut all = 0;
        let mut unused = Vec::new();
        decode::remotes(&self.loaded.ebpf, |key, id| {
            all += 1;
            if !used.contains(&id) {
                unused.push(key);
            }
        })?;
        if all > CROWDED_REMOTES {
            decode::forget_remotes(&mut self.loaded.ebpf, &unused)?;
        }
        Ok(())
    }
}
