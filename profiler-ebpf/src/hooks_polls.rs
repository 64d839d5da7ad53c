//! Hooks on all system calls, for those that look without waiting; attached only where a user asked for it, since then every system
//! call of the host goes this way.
//!
//! In: `sys_enter`, `sys_exit`. Out: calls of `polls`. Must not know: what they mean.

use aya_ebpf::{
    helpers::bpf_probe_read_user, macros::btf_tracepoint, programs::BtfTracePointContext,
};
use courtside_wire::offsets::ABSENT;

use crate::{field, kernel::current_task, offset, polls, storage::task_state};

/// The numbers of system calls, and where they have their timeouts.
#[cfg(not(bpf_target_arch = "aarch64"))]
mod calls {
    pub const YIELD: u32 = 24;
    pub const POLL: u32 = 7;
    pub const PPOLL: u32 = 271;
    pub const SELECT: u32 = 23;
    pub const PSELECT: u32 = 270;
    pub const EPOLL_WAIT: u32 = 232;
    pub const EPOLL_PWAIT: u32 = 281;
    /// `TS_COMPAT`
    pub const COMPAT: u32 = 2;
    pub const THIRD: usize = 0;
    pub const FOURTH: usize = 0;
    pub const FIFTH: usize = 0;
}
#[cfg(bpf_target_arch = "aarch64")]
mod calls {
    /// No system call has this number.
    const NONE: u32 = u32::MAX - 1;
    pub const YIELD: u32 = 124;
    pub const POLL: u32 = NONE;
    pub const PPOLL: u32 = 73;
    pub const SELECT: u32 = NONE;
    pub const PSELECT: u32 = 72;
    pub const EPOLL_WAIT: u32 = NONE;
    pub const EPOLL_PWAIT: u32 = 22;
    /// `TIF_32BIT`
    pub const COMPAT: u32 = 1 << 22;
    pub const THIRD: usize = 16;
    pub const FOURTH: usize = 24;
    pub const FIFTH: usize = 32;
}
use calls::*;

const EPOLL_PWAIT2: u32 = 441;

/// Whether a call is a poll of any kind.
#[inline(always)]
fn is_poll(number: u32) -> bool {
    number == POLL
        || number == PPOLL
        || number == SELECT
        || number == PSELECT
        || number == EPOLL_WAIT
        || number == EPOLL_PWAIT
        || number == EPOLL_PWAIT2
}

/// Whether the running task is a 32-bit program, whose system calls have other numbers.
#[inline(always)]
fn is_compat() -> bool {
    offset!(task_compat) != ABSENT && field!(current_task(), task_compat, u32) & COMPAT != 0
}

/// Whether a timeout in the memory of the process is one of no time; none at all is one without end.
#[inline(always)]
fn is_zero_at(address: u64) -> bool {
    if address == 0 {
        return false;
    }
    // SAFETY: the helper checks the address.
    let time = unsafe { bpf_probe_read_user(address as *const [u64; 2]) };
    time.is_ok_and(|time| time[0] | time[1] == 0)
}

/// match-proto: sys_enter(struct pt_regs *regs, long id)
#[btf_tracepoint(function = "sys_enter")]
fn poll_enter(ctx: BtfTracePointContext) -> i32 {
    let number = ctx.arg::<u64>(1) as u32;
    if number == YIELD {
        if !is_compat()
            && let Some(task) = task_state(current_task())
        {
            polls::yields(task);
        }
        return 0;
    }
    if !is_poll(number) {
        return 0;
    }
    let registers: *const u8 = ctx.arg(0);
    let is_zero = if number == POLL {
        let ms = crate::kernel::load::<u64>(registers, offset!(regs_third) as usize + THIRD);
        ms as u32 == 0
    } else if number == EPOLL_WAIT || number == EPOLL_PWAIT {
        let ms = crate::kernel::load::<u64>(registers, offset!(regs_fourth) as usize + FOURTH);
        ms as u32 == 0
    } else {
        let address = if number == PPOLL {
            crate::kernel::load::<u64>(registers, offset!(regs_third) as usize + THIRD)
        } else if number == EPOLL_PWAIT2 {
            crate::kernel::load::<u64>(registers, offset!(regs_fourth) as usize + FOURTH)
        } else {
            crate::kernel::load::<u64>(registers, offset!(regs_fifth) as usize + FIFTH)
        };
        is_zero_at(address)
    };
    if is_zero
        && !is_compat()
        && let Some(task) = task_state(current_task())
    {
        task.polls = 1;
    }
    0
}

/// match-proto: sys_exit(struct pt_regs *regs, long ret)
#[btf_tracepoint(function = "sys_exit")]
fn poll_exit(ctx: BtfTracePointContext) -> i32 {
    if !is_poll(field!(ctx.arg(0), regs_syscall, u32)) {
        return 0;
    }
    let Some(task) = task_state(current_task()) else {
        return 0;
    };
    if task.polls != 0 {
        task.polls = 0;
        if ctx.arg::<u64>(1) == 0 {
            polls::empty_poll(task);
        }
    }
    0
}
