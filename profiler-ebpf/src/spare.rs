//! Room for the state of tasks, allocated beforehand, where the kernel cannot keep it with the task.
//!
//! - The kernel allocates a task's state without waiting, and may refuse at any time: of 100 000 new processes, one was
//!   refused once, and lost its run queue and its name. Such a task has its state here until there is memory.
//! - Before 6.2 the kernel does not even find the state that is there, while it is at work on another task's on the same
//!   CPU; and a program on a function is interrupted by others. On such kernels all tasks have their state here, always
//!   (`kernel::finds_task_state`; user space makes the map large enough). A look-up in a hash map is never refused.
//! - Before 5.11 it keeps none, and the object for old kernels (feature `untyped`) asks for none.
//!
//! In: tasks; their address is the key, since a thread that calls exec takes over the id of the first one. Out: state.
//! Must not know: hooks, sockets.

#[cfg(not(feature = "untyped"))]
use core::ptr::read_volatile;
use core::ptr::write_volatile;

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    macros::map,
    maps::{Array, HashMap},
};
use courtside_wire::Lost;

use crate::{loss::lost, state::TaskState};

/// State by address of the task.
#[map]
static SPARES: HashMap<u64, TaskState> = HashMap::with_max_entries(128, 0);
/// Zeroes to begin with.
#[map]
static NO_STATE: Array<TaskState> = Array::with_max_entries(1, 0);

const WORDS: usize = size_of::<TaskState>() / 8;
const _: () = assert!(size_of::<TaskState>() == WORDS * 8);

/// State of a task that has it here, made if it has none.
#[inline(always)]
pub fn of(task: *const u8) -> Option<&'static mut TaskState> {
    match SPARES.get_ptr_mut(task as u64) {
        // SAFETY: a live map value. It is another task's only after this one's last switch.
        Some(state) => Some(unsafe { &mut *state }),
        None => take_spare(task as u64),
    }
}

/// State of a task that the kernel has no room for.
#[inline(never)]
pub fn take_spare(task: u64) -> Option<&'static mut TaskState> {
    if let Some(zeroes) = NO_STATE.get(0) {
        let _ = SPARES.insert(task, zeroes, u64::from(BPF_NOEXIST));
    }
    let Some(spare) = SPARES.get_ptr_mut(task) else {
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
#[cfg(not(feature = "untyped"))]
#[inline(never)]
pub fn give_back(task: u64, state: &mut TaskState) {
    let Some(spare) = SPARES.get_ptr(task) else {
        return;
    };
    copy_state(state, spare);
    state.spare = 0;
    leave(task);
}

/// A global function, as `send_book`.
#[cfg(not(feature = "untyped"))]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn copy_state(to: *mut TaskState, from: *const TaskState) -> u32 {
    if to.is_null() || from.is_null() {
        return 0;
    }
    for word in 0..WORDS {
        // SAFETY: both are live map values of this size. Volatile, or this becomes a call that copies byte by byte.
        unsafe {
            write_volatile(
                to.cast::<u64>().add(word),
                read_volatile(from.cast::<u64>().add(word)),
            );
        }
    }
    0
}

/// Makes the state of a task that is being born as good as new. The walk over tasks may have found it before, or an
/// earlier one at the same address after its end.
#[inline(never)]
pub fn renew(state: &mut TaskState) {
    if state.born_ns == 0 {
        return;
    }
    let to: *mut u64 = core::ptr::from_mut(state).cast();
    for word in 0..WORDS {
        // SAFETY: within the record. Volatile, as above.
        unsafe { write_volatile(to.add(word), 0) };
    }
    state.spare = 1;
}

/// Forgets a task.
#[inline(always)]
pub fn leave(task: u64) {
    let _ = SPARES.remove(task);
}
