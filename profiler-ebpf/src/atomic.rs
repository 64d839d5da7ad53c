//! Additions to numbers that several CPUs share, and taking what one holds.
//!
//! In: an address in a live map value. Out: the number there, changed at once. Must not know: what is counted.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

/// Adds to a shared counter.
#[inline(always)]
pub fn add(counter: *mut u64, value: u64) {
    // SAFETY: callers pass a field of a live map value, eight bytes aligned. `core::sync::atomic` has no additions for
    // this target, which lacks compare-and-swap before its third version.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, value) };
}

/// Takes what a shared counter holds: of two that take, one has it and the other nothing.
#[inline(always)]
pub fn drain(counter: *mut u64) -> u64 {
    swap(counter, 0)
}

/// Puts a value into a shared number, and takes the one that was there.
#[cfg(all(target_arch = "bpf", not(feature = "untyped")))]
#[inline(always)]
pub fn swap(counter: *mut u64, mut value: u64) -> u64 {
    // SAFETY: as above. One instruction, which kernels have since 5.12.
    unsafe {
        core::arch::asm!("{0} = xchg_64({1} + 0, {0})", inout(reg) value, in(reg) counter);
    }
    value
}

/// Puts a value into a shared number, and takes the one that was there. Older kernels cannot do that at once: two that take at
/// the same time both have it.
#[cfg(not(all(target_arch = "bpf", not(feature = "untyped"))))]
#[inline(always)]
pub fn swap(counter: *mut u64, value: u64) -> u64 {
    // SAFETY: as above.
    unsafe { core::mem::replace(&mut *counter, value) }
}

/// Adds one to a shared 32-bit counter.
#[inline(always)]
pub fn add_one(counter: *mut u32) {
    // SAFETY: as above, four bytes aligned.
    unsafe { atomic_xadd::<u32, u32, { AtomicOrdering::Relaxed }>(counter, 1) };
}
