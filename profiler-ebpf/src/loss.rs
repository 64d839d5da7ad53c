//! What happened and is not in the counts, by class.
//!
//! In: a class of loss. Out: its count. Must not know: what was lost.

use aya_ebpf::{macros::map, maps::PerCpuArray};
use courtside_wire::{LOST_CLASSES, Lost};

use crate::atomic::add;

/// Losses by class.
#[map]
pub static LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(LOST_CLASSES as u32, 0);

/// Counts one loss.
#[inline(never)]
pub fn lost(class: Lost) {
    lost_several(class, 1);
}

/// Takes back one loss that the kernel counts: it was made up for.
#[inline(always)]
pub fn made_up(class: Lost) {
    // One less, wrapping; user space adds the kernel's count.
    lost_several(class, u64::MAX);
}

/// Counts several losses of one class.
#[inline(always)]
pub fn lost_several(class: Lost, several: u64) {
    if let Some(count) = LOST.get_ptr_mut(class as u32) {
        // This CPU's slot; but whoever adds may be interrupted or preempted by another who does.
        add(count, several);
    }
}
