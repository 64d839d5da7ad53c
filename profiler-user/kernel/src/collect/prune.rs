//! Forgetting: whatever has ended leaves the maps, so that they never fill with it.
//!
//! In: what the last window saw. Out: maps without images, flows and remote ends that will not be asked for again.
//! Must not know: what a window says.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

use courtside_wire::{
    BlameKey, CLIENT_SLOTS, FLOW_SLOTS, FlowKey, FlowStats, IMAGE_KERNEL, ImageInfo, PEER_OTHERS,
    PEER_REMOTE, ROLE_ACCEPTOR, SERVER_SLOTS,
};

use super::{CollectError, Session, decode, locks::Unwanted, window};
use crate::sys::usage;
use courtside_core::frame::{Flow, add_flow};

/// Flows of each kind of which more make their slots crowded: half of them.
const CROWDED_FLOWS: [u32; 3] = [
    FLOW_SLOTS / 2,
    (CLIENT_SLOTS - SERVER_SLOTS) / 2,
    (FLOW_SLOTS - CLIENT_SLOTS) / 2,
];
/// The same for the two maps of remote ends.
const CROWDED_REMOTES: [usize; 2] = [2048, 1024];
/// Time without traffic after which a crowded map gives a flow up.
const IDLE: Duration = Duration::from_secs(30);
/// So many forgotten at once leave memory worth giving back: five kilobytes each.
const MANY: usize = 256;

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
        let mut crowded = [0; 3];
        for key in self.before.flows.keys() {
            crowded[kind_of(key)] += 1;
        }
        let is_crowded = |key| crowded[kind_of(key)] > CROWDED_FLOWS[kind_of(key)];
        let now = Instant::now();
        let is_old = |key: &FlowKey| {
            let idle = self.moved.get(key).map(|at| now.duration_since(*at));
            idle.is_none_or(|idle| idle > IDLE)
        };
        let flows: Vec<FlowKey> = idle_flows
            .iter()
            .filter(|key| {
                done.contains(&key.image)
                    || done.contains(&key.peer)
                    || is_crowded(key) && is_old(key)
            })
            .copied()
            .collect();
        let freed: Vec<u32> = self.freed.drain(..).map(|freed| freed.slot).collect();
        decode::empty_flow_slots(&mut self.loaded.ebpf, &freed)?;
        decode::free_flow_slots(&mut self.loaded.ebpf, &freed)?;
        if !done.is_empty() || !flows.is_empty() {
            let images: Vec<u32> = done.iter().copied().collect();
            decode::forget(&mut self.loaded.ebpf, &images)?;
            let is_done = |key: &&BlameKey| done.contains(&key.image) || done.contains(&key.by);
            let blamed: Vec<BlameKey> =
                self.before.blamed.keys().filter(is_done).copied().collect();
            decode::forget_blamed(&mut self.loaded.ebpf, &blamed)?;
            for key in &blamed {
                self.before.blamed.remove(key);
            }
            let behind: Vec<BlameKey> =
                self.before.behind.keys().filter(is_done).copied().collect();
            decode::forget_behind(&mut self.loaded.ebpf, &behind)?;
            for key in &behind {
                self.before.behind.remove(key);
            }
            let locks = self.before.locks.of(&done);
            self.prune_locks(&locks)?;
            for (slot, key) in decode::forget_flows(&mut self.loaded.ebpf, &flows)? {
                let before = self.before.flows.get(&key).cloned();
                self.freed.push(Freed { slot, key, before });
            }
            self.forked.forget(&done);
            for id in &done {
                self.before.cpu.remove(id);
                self.throttled_left_ns.remove(id);
                self.before.disks.remove(id);
            }
            for key in &flows {
                self.before.flows.remove(key);
                self.moved.remove(key);
            }
        }
        self.gone = gone;
        if flows.len() >= MANY {
            usage::give_memory_back();
        }
        self.prune_remotes()
    }

    /// Removes futexes, and threads that had some.
    pub(super) fn prune_locks(&mut self, unwanted: &Unwanted) -> Result<(), CollectError> {
        let Unwanted { locks, holders } = unwanted;
        decode::forget_locks(&mut self.loaded.ebpf, locks, holders)?;
        self.before.locks.forget(unwanted);
        Ok(())
    }

    fn prune_remotes(&mut self) -> Result<(), CollectError> {
        let freed = self.freed.iter().map(|freed| freed.key.peer);
        let used: BTreeSet<u32> = self.before.flows.keys().map(|key| key.peer).collect();
        let used: BTreeSet<u32> = used.into_iter().chain(freed).collect();
        for (name, crowded) in decode::REMOTES.into_iter().zip(CROWDED_REMOTES) {
            let mut all = 0;
            let mut unused = Vec::new();
            decode::remotes(&self.loaded.ebpf, name, |key, id| {
                all += 1;
                if !used.contains(&id) {
                    unused.push(key);
                }
            })?;
            if all > crowded {
                decode::forget_remotes(&mut self.loaded.ebpf, name, &unused)?;
            }
        }
        Ok(())
    }

    /// What still went to flows that were removed at the end of the last window.
    pub(super) fn late(&self, flows: &mut Vec<Flow>, epoch: u32) -> Result<(), CollectError> {
        let slots: Vec<u32> = self.freed.iter().map(|freed| freed.slot).collect();
        let now = decode::read_flow_slots(&self.loaded.ebpf, &slots)?;
        for (freed, now) in self.freed.iter().zip(&now) {
            let Some(late) = window::flow(freed.key, now, freed.before.as_deref(), epoch) else {
                continue;
            };
            match flows.iter_mut().find(|flow| flow.id() == late.id()) {
                Some(flow) => add_flow(flow, &late),
                None => flows.push(late),
            }
        }
        Ok(())
    }
}

/// A slot that no flow has any more.
pub(super) struct Freed {
    slot: u32,
    key: FlowKey,
    /// What was counted when it was read last.
    before: Option<Box<FlowStats>>,
}

/// Which slots a flow may have: those for everybody, or those for remote ends.
fn kind_of(key: &FlowKey) -> usize {
    if key.peer & PEER_REMOTE == 0 || key.peer == PEER_OTHERS {
        0
    } else if key.role == ROLE_ACCEPTOR {
        2
    } else {
        1
    }
}
