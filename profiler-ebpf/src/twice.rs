//! Two copies of a program on one tracepoint, for kernels that may preempt a program there (7.0).
//!
//! In: a body and where it sits. Out: the program, and a second copy that does the work where the first was skipped.
//! Must not know: what the body does.
//!
//! While a program is preempted, the kernel skips it for every other task on that CPU. The copies run one after the
//! other: the first leaves a mark with the running task, the second takes it away, and works where there is none.
//! Something is lost only when both are preempted on one CPU. Marks are counted, since an interrupt may run the same
//! two between the task's own two; they are few, so that marks left where only the first copy was attached yet do not
//! hide what is skipped much later.

use courtside_wire::Lost;

use crate::{
    field,
    kernel::{current_task, is_preempted},
    loss::made_up,
    storage::task_state,
};

/// Tracepoints with two copies, as numbers of marks in a task's state.
pub const SEND: usize = 0;
pub const RECEIVE: usize = 1;
pub const READY: usize = 2;
pub const SEND_START: usize = 3;
pub const SOCKET_STATE: usize = 4;
pub const RETRANSMIT: usize = 5;
pub const DISK_START: usize = 6;
pub const DISK_END: usize = 7;
pub const FORK: usize = 8;
pub const EXEC: usize = 9;
pub const EXIT: usize = 10;
pub const MPTCP_START: usize = 11;
/// Most marks of one kind: one of the task itself, and one of an interrupt.
const MOST: u8 = 2;

/// The mark of the running task; the idle task has no state, and is never preempted.
#[inline(always)]
fn mark(slot: usize) -> Option<&'static mut u8> {
    let current = current_task();
    if field!(current, task_pid, u32) == 0 {
        return None;
    }
    task_state(current)?.marks.get_mut(slot)
}

/// The first copy has done its work.
#[inline(always)]
pub fn done(slot: usize) {
    if is_preempted()
        && let Some(mark) = mark(slot)
        && *mark < MOST
    {
        *mark += 1;
    }
}

/// Whether the second copy has nothing to do.
#[inline(always)]
pub fn was_done(slot: usize) -> bool {
    let Some(mark) = mark(slot) else {
        return true;
    };
    if *mark > 0 {
        *mark -= 1;
        return true;
    }
    made_up(if slot == READY {
        Lost::Arrivals
    } else {
        Lost::Skipped
    });
    false
}

/// A program on a tracepoint and its second copy, from a body that takes the context.
#[macro_export]
macro_rules! twice {
    ($(#[$doc:meta])* $slot:ident: $program:ident, $again:ident on $tracepoint:literal = $body:expr) => {
        $(#[$doc])*
        #[aya_ebpf::macros::btf_tracepoint(function = $tracepoint)]
        fn $program(ctx: aya_ebpf::programs::BtfTracePointContext) -> i32 {
            ($body)(&ctx);
            $crate::twice::done($crate::twice::$slot);
            0
        }

        /// The same, where the first copy was skipped.
        #[aya_ebpf::macros::btf_tracepoint(function = $tracepoint)]
        fn $again(ctx: aya_ebpf::programs::BtfTracePointContext) -> i32 {
            if !$crate::twice::was_done($crate::twice::$slot) {
                ($body)(&ctx);
            }
            0
        }
    };
}
