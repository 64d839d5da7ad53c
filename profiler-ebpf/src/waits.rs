//! What a thread sleeps for: a lock, a timer, a message.
//!
//! In: the system call in which a thread leaves its CPU, and receives. Out: what its sleep is for, and how much of it was for
//! messages. Must not know: how clocks are kept.

use crate::state::{EPISODES, TaskState};
#[cfg(not(feature = "untyped"))]
use crate::{field, kernel::reads_registers, offset};
#[cfg(not(feature = "untyped"))]
use courtside_wire::ABSENT;

/// A sleep for a lock, by a futex: mutexes, condition variables and thread pools of all runtimes.
pub const LOCK: u32 = 1;
/// A sleep for a timer that the thread asked for.
pub const TIMER: u32 = 2;

/// `futex`, which has a number of its own on each architecture
#[cfg(all(not(feature = "untyped"), not(bpf_target_arch = "aarch64")))]
const FUTEX: u32 = 202;
#[cfg(all(not(feature = "untyped"), bpf_target_arch = "aarch64"))]
const FUTEX: u32 = 98;
/// `futex_waitv`, `futex_wake`, `futex_wait`, `futex_requeue`
#[cfg(not(feature = "untyped"))]
const FUTEX_WAITV: u32 = 449;
#[cfg(not(feature = "untyped"))]
const FUTEX_WAKE: u32 = 454;
#[cfg(not(feature = "untyped"))]
const FUTEX_WAIT: u32 = 455;
#[cfg(not(feature = "untyped"))]
const FUTEX_REQUEUE: u32 = 456;
/// `exit`: whoever joins a thread sleeps by a futex, too, and the kernel wakes it on behalf of the thread that ends.
#[cfg(all(not(feature = "untyped"), not(bpf_target_arch = "aarch64")))]
const EXIT: u32 = 60;
#[cfg(all(not(feature = "untyped"), bpf_target_arch = "aarch64"))]
const EXIT: u32 = 93;
/// `nanosleep`, `clock_nanosleep`
#[cfg(all(not(feature = "untyped"), not(bpf_target_arch = "aarch64")))]
const TIMERS: [u32; 2] = [35, 230];
#[cfg(all(not(feature = "untyped"), bpf_target_arch = "aarch64"))]
const TIMERS: [u32; 2] = [101, 115];

/// Registers with which a task entered the kernel.
#[cfg(not(feature = "untyped"))]
#[inline(always)]
fn registers(task: *const u8) -> *const u8 {
    // SAFETY: the helper checks that it is a task.
    unsafe { aya_ebpf::helpers::generated::bpf_task_pt_regs(task.cast_mut().cast()) as *const u8 }
}

/// What a task goes to sleep for, and by which futex; 0 where it is none of both, or the kernel does not show it (before 5.15).
#[cfg(not(feature = "untyped"))]
#[inline(always)]
pub fn reason(task: *const u8) -> (u32, u64) {
    if !reads_registers() {
        return (0, 0);
    }
    let registers = registers(task);
    let call = field!(registers, regs_syscall, u32);
    if call == FUTEX || call == FUTEX_WAIT {
        let futex = if offset!(regs_first) == ABSENT {
            0
        } else {
            field!(registers, regs_first, u64)
        };
        (LOCK, futex)
    } else if call == FUTEX_WAITV {
        // It waits for several.
        (LOCK, 0)
    } else if TIMERS.contains(&call) {
        (TIMER, 0)
    } else {
        (0, 0)
    }
}

/// Whether a task is in a system call that wakes those who sleep by a futex.
#[cfg(not(feature = "untyped"))]
#[inline(always)]
pub fn wakes_by_futex(task: *const u8) -> bool {
    if !reads_registers() {
        return false;
    }
    let call = field!(registers(task), regs_syscall, u32);
    matches!(call, FUTEX | FUTEX_WAKE | FUTEX_REQUEUE | EXIT)
}

/// The object for old kernels does not ask.
#[cfg(feature = "untyped")]
#[inline(always)]
pub fn reason(_task: *const u8) -> (u32, u64) {
    (0, 0)
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
