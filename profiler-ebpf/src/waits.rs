//! What a thread sleeps for: a lock, a timer, a message.
//!
//! In: the system call in which a thread leaves its CPU, and receives. Out: what its sleep is for, and how much of it was for
//! messages. Must not know: how clocks are kept.

use crate::state::{EPISODES, TaskState};
#[cfg(not(feature = "untyped"))]
use crate::{field, kernel::reads_registers};

/// A sleep for a lock, by a futex: mutexes, condition variables and thread pools of all runtimes.
pub const LOCK: u32 = 1;
/// A sleep for a timer that the thread asked for.
pub const TIMER: u32 = 2;

/// `futex`, `futex_waitv`, `futex_wait`
#[cfg(all(not(feature = "untyped"), not(bpf_target_arch = "aarch64")))]
const LOCKS: [u32; 3] = [202, 449, 455];
#[cfg(all(not(feature = "untyped"), bpf_target_arch = "aarch64"))]
const LOCKS: [u32; 3] = [98, 449, 455];
/// `nanosleep`, `clock_nanosleep`
#[cfg(all(not(feature = "untyped"), not(bpf_target_arch = "aarch64")))]
const TIMERS: [u32; 2] = [35, 230];
#[cfg(all(not(feature = "untyped"), bpf_target_arch = "aarch64"))]
const TIMERS: [u32; 2] = [101, 115];

/// What a task goes to sleep for; 0 where it is none of both, or the kernel does not show it (before 5.15).
#[cfg(not(feature = "untyped"))]
#[inline(always)]
pub fn reason(task: *const u8) -> u32 {
    if !reads_registers() {
        return 0;
    }
    // SAFETY: the helper checks that it is a task.
    let registers = unsafe {
        aya_ebpf::helpers::generated::bpf_task_pt_regs(task.cast_mut().cast()) as *const u8
    };
    let call = field!(registers, regs_syscall, u32);
    if LOCKS.contains(&call) {
        LOCK
    } else if TIMERS.contains(&call) {
        TIMER
    } else {
        0
    }
}

/// The object for old kernels does not ask.
#[cfg(feature = "untyped")]
#[inline(always)]
pub fn reason(_task: *const u8) -> u32 {
    0
}

/// Notes that a message was read that had arrived at `arrival`: if that was while the thread slept, it slept for it.
#[inline(always)]
pub fn claim(task: &mut TaskState, arrival: u64) {
    let ns = task.unclaimed_ns;
    if ns == 0 {
        return;
    }
    let slot = task.episode_count.wrapping_sub(1) as usize & (EPISODES - 1);
    // SAFETY: the slot is masked to the array's length.
    let last = unsafe { &*task.episodes.as_ptr().add(slot) };
    task.unclaimed_ns = 0;
    if arrival >= last.off_ns && arrival <= last.on_ns {
        task.socket_ns += ns;
    }
}
