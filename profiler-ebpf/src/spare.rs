//! Room for the state of tasks for which the kernel has none: allocated beforehand, and used until there is.
//!
//! The kernel allocates a task's state without waiting, and may refuse at any time. Of 100 000 new processes, one was
//! refused once, and lost its run queue and its name.
//!
//! In: thread ids. Out: state. Must not know: hooks, sockets.

use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    macros::map,
    maps::{Array, HashMap},
};
use courtside_wire::Lost;

use crate::{maps::lost, state::TaskState};

/// State by thread id.
#[map]
static SPARES: HashMap<u32, TaskState> = HashMap::with_max_entries(128, 0);
/// Zeroes to begin with.
#[map]
static NO_STATE: Array<TaskState> = Array::with_max_entries(1, 0);

const WORDS: usize = size_of::<TaskState>() / 8;
const _: () = assert!(size_of::<TaskState>() == WORDS * 8);

/// State of a task that the kernel has no room for.
#[inline(never)]
pub fn take(tid: u32) -> Option<&'static mut TaskState> {
    if let Some(zeroes) = NO_STATE.get(0) {
        let _ = SPARES.insert(tid, zeroes, u64::from(BPF_NOEXIST));
    }
    let Some(spare) = SPARES.get_ptr_mut(tid) else {
        lost(Lost::TaskState);
        return None;
    };
    // SAFETY: a live map value. Another CPU may move it to the task meanwhile: what is written here within that
    // microsecond is lost, to a task that was refused memory in the one before.
    let state = unsafe { &mut *spare };
    state.spare = 1;
    Some(state)
}

/// Moves what a task has here to where it belongs. `state` has just been made.
#[inline(never)]
pub fn give_back(tid: u32, state: &mut TaskState) {
    let Some(spare) = SPARES.get_ptr(tid) else {
        return;
    };
    let to: *mut u64 = core::ptr::from_mut(state).cast();
    for word in 0..WORDS {
        // SAFETY: both are of this size. Volatile, or this becomes a call that copies byte by byte.
        unsafe { write_volatile(to.add(word), read_volatile(spare.cast::<u64>().add(word))) };
    }
    state.spare = 0;
    leave(tid);
}

/// Forgets a task.
#[inline(always)]
pub fn leave(tid: u32) {
    let _ = SPARES.remove(tid);
}
