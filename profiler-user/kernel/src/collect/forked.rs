//! Forked processes with numbers of their own: how many there may be, and which of them are listed one by one.
//!
//! In: what the kernel knows of images, which of them live. Out: numbers for new ones; a Frame in which those that live for
//! one request are their program again. Must not know: names, how anything is grouped.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use courtside_wire::{FORKED_MAX, IMAGE_FORKED, ImageInfo, PEER_REMOTE};

use super::decode;
use courtside_core::frame::{Frame, add_by_image, add_cpu, add_disk, add_flow};

/// Numbers for each window once the first ones are gone: a server that forks for each request takes no more.
const REFILL: u32 = 128;
/// How many processes of one program that began and ended within a window are listed one by one.
const SHORT: u32 = 32;

/// Whether an image is a forked process.
pub(super) fn is_forked(image: u32) -> bool {
    image & (PEER_REMOTE | IMAGE_FORKED) == IMAGE_FORKED
}

/// Forked processes of an attach.
#[derive(Debug)]
pub(super) struct Forked {
    /// The next number that has not been used.
    next: u32,
    /// The newest that somebody has.
    newest: u32,
    /// Those that lived when some window ended.
    lasting: BTreeSet<u32>,
    /// How many of each program did not.
    short: HashMap<u32, u32>,
    /// Which of them are their program, and which that is.
    folded: HashMap<u32, u32>,
}

impl Default for Forked {
    fn default() -> Self {
        Self {
            next: IMAGE_FORKED + 1,
            newest: IMAGE_FORKED,
            lasting: BTreeSet::new(),
            short: HashMap::new(),
            folded: HashMap::new(),
        }
    }
}

impl Forked {
    /// Lets some more have numbers. `info` holds all that have one.
    pub(super) fn fill(
        &mut self,
        ebpf: &mut aya::Ebpf,
        info: &HashMap<u32, ImageInfo>,
    ) -> Result<(), decode::DecodeError> {
        let have = info.keys().filter(|id| is_forked(**id));
        self.newest = have.clone().copied().max().unwrap_or(0).max(self.newest);
        let have = u32::try_from(have.count()).unwrap_or(FORKED_MAX);
        let waiting = self.next.saturating_sub(self.newest + 1);
        let first = self.next == IMAGE_FORKED + 1;
        let more = FORKED_MAX
            .saturating_sub(have.saturating_add(waiting))
            .min(if first { FORKED_MAX } else { REFILL });
        let end = self.next.saturating_add(more).min(PEER_REMOTE);
        decode::fill_numbers(ebpf, "NEXT_FORKED", &mut self.next, end)
    }

    /// Books what began and ended within the window on its program, except for the first few of each.
    pub(super) fn fold(
        &mut self,
        info: &HashMap<u32, ImageInfo>,
        processes: &BTreeMap<u32, BTreeSet<u32>>,
        frame: &mut Frame,
    ) {
        let alive = processes.keys().filter(|id| is_forked(**id)).copied();
        self.lasting.extend(alive);
        for (id, info) in info.iter().filter(|(id, _)| is_forked(**id)) {
            if self.lasting.contains(id) || self.folded.contains_key(id) || info.parent_image == 0 {
                continue;
            }
            let short = self.short.entry(info.parent_image).or_default();
            *short += 1;
            if *short > SHORT {
                self.folded.insert(*id, info.parent_image);
            } else {
                self.lasting.insert(*id);
            }
        }
        if self.folded.is_empty() {
            return;
        }
        let of = |id: u32| self.folded.get(&id).copied().unwrap_or(id);
        for flow in &mut frame.flows {
            (flow.image, flow.peer) = (of(flow.image), of(flow.peer));
        }
        frame.flows.sort_by_key(courtside_core::frame::Flow::id);
        frame.flows.dedup_by(|next, kept| {
            let same = next.id() == kept.id();
            if same {
                add_flow(kept, next);
            }
            same
        });
        for cpu in &mut frame.cpu {
            cpu.image = of(cpu.image);
            for (by, _) in &mut cpu.run_queue_by {
                *by = of(*by);
            }
            add_by_image(&mut cpu.run_queue_by, &[]);
        }
        frame.cpu.sort_by_key(|cpu| cpu.image);
        frame.cpu.dedup_by(|next, kept| {
            let same = next.image == kept.image;
            if same {
                add_cpu(kept, next);
            }
            same
        });
        for disk in &mut frame.disk {
            disk.renumber(of);
        }
        frame.disk.sort_by_key(|disk| disk.image);
        frame.disk.dedup_by(|next, kept| {
            let same = next.image == kept.image;
            if same {
                add_disk(kept, next);
            }
            same
        });
    }

    /// Forgets images that are gone.
    pub(super) fn forget(&mut self, images: &BTreeSet<u32>) {
        for id in images {
            self.lasting.remove(id);
            self.folded.remove(id);
            self.short.remove(id);
        }
    }
}
