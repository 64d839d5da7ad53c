//! Looking in vain: receives that find nothing, polls that are not to wait, yields; and the time on a CPU that goes into that
//! until a message comes.
//!
//! In: such calls, sends, receives. Out: counts and time in the state of the running task. Must not know: hooks, names, windows.

use crate::{
    clock,
    kernel::{current_task, now_ns},
    ring,
    state::{EPISODES, TaskState},
    storage::task_state,
};

/// `-EAGAIN`, which is `-EWOULDBLOCK`, too.
const AGAIN: i32 = -11;
/// `MSG_ERRQUEUE`: such a receive asks for errors, and not for messages.
const ERROR_QUEUE: u64 = 0x2000;
/// From so many looks on a task is looking again and again. Who reads until nothing is left looks once in vain after each message,
/// and then works, or sleeps.
pub const MANY: u32 = 2;

/// Whether a receive looked for a message and found none.
#[inline(always)]
pub fn is_empty(length: i32, flags: u64) -> bool {
    length == AGAIN && flags & ERROR_QUEUE == 0
}

/// The running task has received nothing. A global function, as `send_book`.
#[cfg_attr(not(feature = "untyped"), unsafe(no_mangle))]
#[inline(never)]
pub extern "C" fn empty_receive() -> u32 {
    if let Some(task) = task_state(current_task()) {
        task.empty_receives += 1;
        in_vain(task);
    }
    0
}

/// A poll of the running task has not waited, and found nothing.
#[inline(always)]
pub fn empty_poll(task: &mut TaskState) {
    task.zero_timeout_polls += 1;
    in_vain(task);
}

/// The running task lets others have its CPU.
#[inline(always)]
pub fn yields(task: &mut TaskState) {
    task.yields += 1;
    in_vain(task);
}

/// Only the first look since the last send or receive needs the time.
#[inline(always)]
fn in_vain(task: &mut TaskState) {
    if task.looks != 0 {
        if ring::wanted() && task.looks < MANY {
            let first_ns = task.looks_ns;
            ring::look_event(task, first_ns);
        }
        task.looks = MANY;
        return;
    }
    let now = now_ns();
    clock::settle(task, now);
    task.looks_waited_ns = waited(task);
    task.looks_ns = now;
    task.looks = 1;
}

/// The running task, which has looked in vain, reads of a message that had arrived at `arrival`. A global function, as
/// `send_book`.
#[cfg_attr(not(feature = "untyped"), unsafe(no_mangle))]
#[inline(never)]
pub extern "C" fn found_message(task: *mut TaskState, arrival: u64) -> u32 {
    // SAFETY: null, or a live map value.
    let Some(task) = (unsafe { task.as_mut() }) else {
        return 0;
    };
    let looks = task.looks;
    task.looks = 0;
    let from = task.looks_ns;
    if looks < MANY || arrival <= from {
        return 0;
    }
    let waited_ns = waited(task)
        .saturating_sub(waited_since(task, arrival))
        .saturating_sub(task.looks_waited_ns);
    task.spin_ns += (arrival - from).saturating_sub(waited_ns);
    0
}

/// For how long a running task has waited so far, for anything.
#[inline(always)]
fn waited(task: &TaskState) -> u64 {
    let clocks = &task.clocks;
    clocks.run_queue_ns + clocks.block_io_ns + clocks.sleep_ns
}

/// And since `at`, as far as its waits are remembered.
#[inline(always)]
fn waited_since(task: &TaskState, at: u64) -> u64 {
    let mut waited_ns = 0;
    let mut back = 0u32;
    while back < EPISODES as u32 {
        let slot = task.episode_count.wrapping_sub(1).wrapping_sub(back) as usize & (EPISODES - 1);
        // SAFETY: the slot is masked to the array's length.
        let wait = unsafe { &*task.episodes.as_ptr().add(slot) };
        if wait.on_ns <= at {
            break;
        }
        let from = if wait.off_ns > at { wait.off_ns } else { at };
        waited_ns += wait.on_ns - from;
        back += 1;
    }
    waited_ns
}
