//! Reading kernel structs: offsets from the running kernel's BTF, direct loads where the verifier knows the type. In the
//! object for old kernels, and for those where programs on functions get numbers for pointers (feature `untyped`), all reads
//! are by helper.
//!
//! In: pointers that the hooks gave. Out: plain values. Must not know: what they are used for.

use core::ptr::{addr_of, read_volatile};

use aya_ebpf::helpers::generated;
use courtside_wire::{Offsets, offsets::ABSENT};

/// Filled by user space before load; frozen, so the verifier sees constants.
#[unsafe(no_mangle)]
pub static OFFSETS: Offsets = Offsets::ABSENT;

/// Features of this attach; constants for the verifier, so what is off costs nothing.
#[unsafe(no_mangle)]
pub static FEATURE_PMU: u32 = 0;

/// 1 to count cycles and instructions of turnarounds, too.
#[unsafe(no_mangle)]
pub static FEATURE_PMU_TURNAROUND: u32 = 0;

/// 1 where `sched_switch` passes the state of the task that leaves (5.18).
#[unsafe(no_mangle)]
pub static SWITCH_PASSES_STATE: u32 = 0;

/// 1 where a program can read another CPU's slot of a map (5.19).
#[unsafe(no_mangle)]
pub static READS_OTHER_CPUS: u32 = 0;

/// 1 where a program can see the registers with which a task entered the kernel (5.15).
#[unsafe(no_mangle)]
pub static READS_REGISTERS: u32 = 0;

/// 1 where a task's state is found wherever there is any (6.2).
#[unsafe(no_mangle)]
pub static FINDS_TASK_STATE: u32 = 0;

/// 1 where a program on a tracepoint may be preempted (7.0).
#[unsafe(no_mangle)]
pub static PREEMPTS_PROGRAMS: u32 = 0;

/// 1 where `block_rq_issue` passes the queue before the request (before 5.11).
#[unsafe(no_mangle)]
pub static REQUEST_COMES_SECOND: u32 = 0;

/// One offset as a constant.
#[macro_export]
macro_rules! offset {
    ($field:ident) => {
        // SAFETY: a read of our own read-only global.
        unsafe { core::ptr::read_volatile(core::ptr::addr_of!($crate::kernel::OFFSETS.$field)) }
    };
}

/// Reads a field through a pointer whose type the verifier knows (`tp_btf` arguments and casts of them), or that is a
/// number.
#[macro_export]
macro_rules! field {
    ($ptr:expr, $field:ident, $ty:ty) => {{
        let base: *const u8 = $ptr;
        $crate::kernel::load::<$ty>(base, $crate::offset!($field) as usize)
    }};
}

/// Reads at an offset from a typed pointer.
#[cfg(not(feature = "untyped"))]
#[inline(always)]
pub fn load<T: Copy>(base: *const u8, offset: usize) -> T {
    // SAFETY: the verifier checks this load against the kernel's own type of the pointer.
    unsafe { read_volatile(base.wrapping_add(offset).cast()) }
}

/// Reads at an offset from a pointer that may be a number for the verifier; zero when it faults.
#[cfg(feature = "untyped")]
#[inline(always)]
pub fn load<T: Copy>(base: *const u8, offset: usize) -> T {
    // SAFETY: all-zero is a value of every type that is read: numbers, pointers, bytes.
    let mut value: T = unsafe { core::mem::zeroed() };
    // SAFETY: the helper checks the address itself and writes only `value`.
    unsafe {
        generated::bpf_probe_read_kernel(
            (&raw mut value).cast(),
            size_of::<T>() as u32,
            base.wrapping_add(offset).cast(),
        );
    }
    value
}

/// Whether counters are read at switches.
#[inline(always)]
pub fn pmu_wanted() -> bool {
    // SAFETY: a read of our own read-only global.
    unsafe { read_volatile(addr_of!(FEATURE_PMU)) != 0 }
}

/// Whether counters are read at sends and receives.
#[inline(always)]
pub fn pmu_turnaround_wanted() -> bool {
    // SAFETY: a read of our own read-only global.
    unsafe { read_volatile(addr_of!(FEATURE_PMU_TURNAROUND)) != 0 }
}

/// Whether `sched_switch` passes the state of the task that leaves. The field itself may already say that the task
/// was woken again by another CPU.
#[inline(always)]
pub fn switch_passes_state() -> bool {
    // SAFETY: a read of our own read-only global.
    unsafe { read_volatile(addr_of!(SWITCH_PASSES_STATE)) != 0 }
}

/// Whether a program can read another CPU's slot of a map.
#[inline(always)]
pub fn can_read_other_cpus() -> bool {
    // SAFETY: a read of our own read-only global.
    unsafe { read_volatile(addr_of!(READS_OTHER_CPUS)) != 0 }
}

/// Whether a program can see the registers with which a task entered the kernel.
#[cfg(not(feature = "untyped"))]
#[inline(always)]
pub fn reads_registers() -> bool {
    // SAFETY: a read of our own read-only global.
    let reads = unsafe { read_volatile(addr_of!(READS_REGISTERS)) != 0 };
    reads && offset!(regs_syscall) != ABSENT
}

/// Whether the kernel finds a task's state wherever there is any. Before 6.2 it does not while it is at work on the
/// state of another task, or the same, on this CPU.
#[inline(always)]
pub fn finds_task_state() -> bool {
    // SAFETY: a read of our own read-only global.
    cfg!(not(feature = "untyped")) && unsafe { read_volatile(addr_of!(FINDS_TASK_STATE)) != 0 }
}

/// Whether a program on a tracepoint may be preempted.
#[inline(always)]
pub fn is_preempted() -> bool {
    // SAFETY: a read of our own read-only global.
    unsafe { read_volatile(addr_of!(PREEMPTS_PROGRAMS)) != 0 }
}

/// Reads kernel memory that the verifier cannot type; zero when it faults.
#[inline(always)]
pub fn probe<T: Copy + Default>(base: u64, offset: u32) -> T {
    let mut value = T::default();
    if base != 0 {
        // SAFETY: the helper checks the address itself and writes only `value`.
        unsafe {
            generated::bpf_probe_read_kernel(
                (&raw mut value).cast(),
                size_of::<T>() as u32,
                base.wrapping_add(u64::from(offset)) as *const core::ffi::c_void,
            );
        }
    }
    value
}

/// `CLOCK_MONOTONIC` in nanoseconds.
#[inline(always)]
pub fn now_ns() -> u64 {
    // SAFETY: no arguments.
    unsafe { generated::bpf_ktime_get_ns() }
}

/// Whether `block_rq_issue` passes the queue before the request.
#[inline(always)]
pub fn request_comes_second() -> bool {
    // SAFETY: a read of our own read-only global.
    unsafe { read_volatile(addr_of!(REQUEST_COMES_SECOND)) != 0 }
}

/// The running task, as a number.
#[cfg(feature = "untyped")]
#[inline(always)]
pub fn current_task() -> *const u8 {
    // SAFETY: no arguments.
    unsafe { generated::bpf_get_current_task() as *const u8 }
}

/// The running task, as a typed pointer.
#[cfg(not(feature = "untyped"))]
#[inline(always)]
pub fn current_task() -> *const u8 {
    // SAFETY: no arguments.
    unsafe { generated::bpf_get_current_task_btf() as *const u8 }
}

/// What the kernel counts for interrupts: the bits of NMIs, of hard interrupts, and the one of soft interrupts that run.
const INTERRUPTS: u32 = 0x00ff_0100;

/// Whether the kernel shows that an interrupt runs, see [`in_interrupt`].
#[inline(always)]
pub fn shows_interrupts() -> bool {
    offset!(task_preempt_count) != ABSENT
        || (offset!(rq_to_preempt_count) != ABSENT
            && offset!(task_cfs_rq) != ABSENT
            && offset!(cfs_rq_rq) != ABSENT)
}

/// Whether an interrupt runs here, on the time of the current task; `false` where the kernel does not show it.
#[inline(never)]
pub fn in_interrupt() -> bool {
    let current = current_task();
    let count = if offset!(task_preempt_count) != ABSENT {
        field!(current, task_preempt_count, u32)
    } else if shows_interrupts() {
        // Where this CPU's variables lie no program may ask before it has a typed pointer to one; every task has.
        let part = field!(current, task_cfs_rq, u64) as *const u8;
        let run_queue = field!(part, cfs_rq_rq, u64);
        let distance = i64::from(offset!(rq_to_preempt_count) as i32);
        probe::<u32>(run_queue.wrapping_add(distance as u64), 0)
    } else {
        0
    };
    count & INTERRUPTS != 0
}

/// An index into the buckets of a histogram, bounded. Compared with an immediate: of a comparison with a register,
/// verifiers before 6.8 follow the way that cannot be, with bounds that contradict each other, and refuse what comes.
#[inline(always)]
pub fn bounded_bucket(mut index: usize) -> usize {
    #[cfg(target_arch = "bpf")]
    // SAFETY: three instructions on one register.
    unsafe {
        core::arch::asm!(
            "if {0} > {last} goto +1",
            "goto +1",
            "{0} = {last}",
            inout(reg) index,
            last = const courtside_wire::HIST_BUCKETS - 1,
            options(pure, nomem, nostack)
        );
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        index = index.min(courtside_wire::HIST_BUCKETS - 1);
    }
    index
}
