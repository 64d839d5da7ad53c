//! Hardware counters at a switch: what the CPU counted since the last switch belongs to the task that ran.
//!
//! In: the task that leaves the CPU. Out: its counters. Must not know: images, CPI.

use aya_ebpf::{
    bindings::{BPF_F_CURRENT_CPU, bpf_perf_event_value},
    helpers::generated,
    macros::map,
    maps::{PerCpuArray, PerfEventArray},
};

use crate::state::TaskState;

/// Counters of each CPU; user space puts their file descriptors in. Cycles, instructions, LLC references, misses.
#[map]
static PMU_CYCLES: PerfEventArray<u8> = PerfEventArray::new(0);
#[map]
static PMU_INSTRUCTIONS: PerfEventArray<u8> = PerfEventArray::new(0);
#[map]
static PMU_LLC_REFERENCES: PerfEventArray<u8> = PerfEventArray::new(0);
#[map]
static PMU_LLC_MISSES: PerfEventArray<u8> = PerfEventArray::new(0);
/// Values at the last switch of each CPU.
#[map]
static PMU_BEFORE: PerCpuArray<[u64; 6]> = PerCpuArray::with_max_entries(1, 0);

/// `None` when the CPU has no such counter.
#[inline(always)]
fn read_counter(map: &PerfEventArray<u8>) -> Option<bpf_perf_event_value> {
    // SAFETY: all-zero is a valid value of this plain record.
    let mut value: bpf_perf_event_value = unsafe { core::mem::zeroed() };
    // SAFETY: the helper writes only `value`.
    let result = unsafe {
        generated::bpf_perf_event_read_value(
            core::ptr::from_ref(map).cast_mut().cast(),
            BPF_F_CURRENT_CPU,
            &raw mut value,
            size_of::<bpf_perf_event_value>() as u32,
        )
    };
    if result == 0 { Some(value) } else { None }
}

/// Charges `task` (none for the idle task) with what was counted since the last switch.
#[inline(always)]
pub fn charge(task: Option<&mut TaskState>) {
    let Some(before) = PMU_BEFORE.get_ptr_mut(0) else {
        return;
    };
    let Some(cycles) = read_counter(&PMU_CYCLES) else {
        return;
    };
    let mut now = [cycles.counter, 0, 0, 0, cycles.enabled, cycles.running];
    if let Some(value) = read_counter(&PMU_INSTRUCTIONS) {
        now[1] = value.counter;
    }
    if let Some(value) = read_counter(&PMU_LLC_REFERENCES) {
        now[2] = value.counter;
    }
    if let Some(value) = read_counter(&PMU_LLC_MISSES) {
        now[3] = value.counter;
    }
    // SAFETY: a value of this CPU; both arrays have six entries.
    let before = unsafe { &mut *before };
    if let Some(task) = task
        && before[4] != 0
    {
        task.counters[0] += now[0].wrapping_sub(before[0]);
        task.counters[1] += now[1].wrapping_sub(before[1]);
        task.counters[2] += now[2].wrapping_sub(before[2]);
        task.counters[3] += now[3].wrapping_sub(before[3]);
        task.counters[4] += now[4].wrapping_sub(before[4]);
        task.counters[5] += now[5].wrapping_sub(before[5]);
    }
    *before = now;
}

/// Cycles and instructions of the running task so far.
#[inline(always)]
pub fn counts(task: &TaskState) -> [u64; 2] {
    let mut counts = [task.counters[0], task.counters[1]];
    let Some(before) = PMU_BEFORE.get(0) else {
        return counts;
    };
    if before[4] != 0
        && let (Some(cycles), Some(instructions)) =
            (read_counter(&PMU_CYCLES), read_counter(&PMU_INSTRUCTIONS))
    {
        counts[0] += cycles.counter.wrapping_sub(before[0]);
        counts[1] += instructions.counter.wrapping_sub(before[1]);
    }
    counts
}

/// The same as they stood when the task came to its CPU: a wait adds nothing.
#[inline(always)]
pub fn counts_before_running(task: &TaskState) -> [u64; 2] {
    [task.counters[0], task.counters[1]]
}
