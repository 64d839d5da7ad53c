//! Calls of which nobody saw for whom they were: a thread took up what lay in a queue, without being woken for it.
//!
//! In: calls of threads that another one of their process woke, and their answers. Out: whether such a call may have been for
//! a message. Must not know: sockets' turns, how long anything took.

use aya_ebpf::{macros::map, maps::LruHashMap};

/// When the last such call began that was answered, by the caller's image. Eviction costs what it did before anything was
/// known of an image: one that calls again is known again.
#[map]
static UNSEEN: LruHashMap<u32, u64> = LruHashMap::with_max_entries(4096, 0);

/// A call that began then was answered. A function of its own: that is rare.
#[inline(never)]
pub fn answered(image: u32, began_ns: u64) {
    if let Some(last) = UNSEEN.get_ptr_mut(image) {
        // SAFETY: a live map value; a lost race leaves the other one of two calls that were answered at the same time.
        unsafe {
            if core::ptr::read_volatile(last) < began_ns {
                core::ptr::write_volatile(last, began_ns);
            }
        }
    } else {
        let _ = UNSEEN.insert(image, began_ns, 0);
    }
}

/// Whether such a call began after a message was read, and may have been for that one.
#[inline(never)]
pub fn may_be_for(image: u32, read_ns: u64) -> bool {
    match UNSEEN.get_ptr(image) {
        // SAFETY: as above.
        Some(last) => read_ns <= unsafe { core::ptr::read_volatile(last) },
        None => false,
    }
}
