//! Whom a CPU was given to: its last runs, and on whom the waits of those are booked that could have run meanwhile.
//!
//! In: switches, moves of tasks to other CPUs. Out: time in the run queue by who waited and who ran, in a map; of idle CPUs,
//! which are the usual case, in the state of the task that waited. What is booked on nobody could not be told. Must not
//! know: sockets.

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    helpers::generated,
    macros::map,
    maps::{HashMap, PerCpuArray},
};
use courtside_wire::{BlameKey, IMAGE_IDLE, IMAGE_KERNEL, offsets::ABSENT};

use crate::{
    atomic::add,
    field, image,
    kernel::{can_read_other_cpus, current_task, probe},
    maps::{NO_PREALLOC, PROCESSES},
    offset, ring,
    state::{OFF_RUN_QUEUE, TaskState},
};

/// Shorter waits are no throttling: a quota is given anew every few milliseconds, as a rule every 100.
const SHORTEST_THROTTLE_NS: u64 = 100_000;
/// Remembered runs of a CPU: enough for a wait behind eight others, all of which run twice.
const RUNS: usize = 16;
/// `PF_KTHREAD`
const KERNEL_THREAD: u32 = 0x0020_0000;

/// A task on a CPU, from here until the run that followed began.
#[repr(C)]
struct Run {
    start_ns: u64,
    /// Program image, or [`IMAGE_IDLE`]; 0 if it was not known.
    image: u32,
    pad: u32,
}

/// What a CPU runs and ran last. Written by its switches only.
#[repr(C)]
pub struct Runs {
    /// When it switched last: since then the running task has been on it.
    switched_ns: u64,
    /// The running task: a number, which a pointer is not for the verifier.
    current: u64,
    /// Runs that have ended; index into `runs` modulo its length.
    count: u64,
    runs: [Run; RUNS],
}

/// By CPU.
#[map]
static CPU_RUNS: PerCpuArray<Runs> = PerCpuArray::with_max_entries(1, 0);
/// Time that some waited in run queues while others ran, by image. Written when a wait ends, read at a window's end.
#[map]
static BLAMED: HashMap<BlameKey, u64> = HashMap::with_max_entries(8192, NO_PREALLOC);

/// The runs of this CPU.
#[inline(always)]
pub fn here() -> Option<&'static mut Runs> {
    // SAFETY: a slot of this CPU.
    CPU_RUNS.get_ptr_mut(0).map(|runs| unsafe { &mut *runs })
}

/// The runs of another CPU; `None` where the kernel cannot tell (before 5.19).
#[inline(always)]
pub fn of_cpu(cpu: u32) -> Option<&'static Runs> {
    if !can_read_other_cpus() {
        return None;
    }
    let key = 0u32;
    // SAFETY: the helper checks map, key and CPU.
    unsafe {
        generated::bpf_map_lookup_percpu_elem(
            (&raw const CPU_RUNS).cast_mut().cast(),
            (&raw const key).cast(),
            cpu,
        )
        .cast::<Runs>()
        .as_ref()
    }
}

impl Runs {
    /// Since when the running task has been on this CPU.
    #[inline(always)]
    pub fn since(&self, now: u64) -> u64 {
        if self.switched_ns == 0 {
            now
        } else {
            self.switched_ns
        }
    }

    /// Notes that this CPU switches now, and tells when it did so before.
    #[inline(always)]
    pub fn switched(&mut self, now: u64, next: *const u8) -> u64 {
        let before = self.since(now);
        self.switched_ns = now;
        self.current = next as u64;
        before
    }

    /// Notes who has left this CPU, on which it was since `start_ns`.
    #[inline(always)]
    pub fn ran(&mut self, image: u32, start_ns: u64) {
        let slot = self.count as usize & (RUNS - 1);
        self.count = self.count.wrapping_add(1);
        // SAFETY: the slot is masked to the array's length.
        let run = unsafe { &mut *self.runs.as_mut_ptr().add(slot) };
        run.start_ns = start_ns;
        run.image = image;
    }

    /// One of the runs that have ended; the last one for 0.
    #[inline(always)]
    fn back(&self, back: u64) -> &Run {
        let slot = self.count.wrapping_sub(1).wrapping_sub(back) as usize & (RUNS - 1);
        // SAFETY: the slot is masked to the array's length.
        unsafe { &*self.runs.as_ptr().add(slot) }
    }

    /// Books the last wait of the task that leaves this CPU, on which it has been since that wait ended.
    #[inline(always)]
    pub fn blame(&self, task: &mut TaskState) {
        let (from, to) = (task.queue_from_ns, task.queue_to_ns);
        if to <= from {
            return;
        }
        task.queue_to_ns = 0;
        let last = self.back(0);
        if last.image == IMAGE_IDLE && last.start_ns <= from {
            task.idle_ns += to - from;
        } else {
            walk(task, self, from, to);
        }
    }
}

/// Whether the kernel shows for how long quotas hold back the part of a run queue that a task is in.
#[inline(always)]
fn tells_throttled() -> bool {
    offset!(cfs_rq_throttled_ns) != ABSENT && offset!(task_cfs_rq) != ABSENT
}

/// Whether it shows since when, while it goes on (from 6.6 on).
#[inline(always)]
fn tells_since() -> bool {
    offset!(cfs_rq_throttled_since) != ABSENT
        && offset!(cfs_rq_rq) != ABSENT
        && offset!(rq_clock) != ABSENT
}

/// For how long quotas have held back the part of a run queue that a task is in; its address, too. The kernel adds a throttle
/// when it ends; of one that goes on counts what the clock of the CPU shows, which is as old as that CPU's last work.
#[inline(always)]
fn throttled_clock(of: *const u8) -> (u64, u64) {
    if !tells_throttled() {
        return (0, 0);
    }
    let part = field!(of, task_cfs_rq, *const u8);
    let mut held = field!(part, cfs_rq_throttled_ns, u64);
    if tells_since() {
        let since = field!(part, cfs_rq_throttled_since, u64);
        if since != 0 {
            let queue = field!(part, cfs_rq_rq, *const u8);
            held += field!(queue, rq_clock, u64).saturating_sub(since);
        }
    }
    (part as u64, held)
}

/// Notes that clock where a task leaves its CPU.
#[inline(always)]
pub fn note_throttled(task: &mut TaskState, of: *const u8) {
    (task.quota_of, task.quota_off_ns) = throttled_clock(of);
}

/// The same where it is woken, if its group was ever held back: from when it slept until then that is none of its waits.
#[inline(always)]
pub fn note_throttled_at_wake(task: &mut TaskState, of: *const u8) {
    if task.quota_off_ns != 0 {
        task.quota_wake_ns = throttled_clock(of).1;
    }
}

/// Whether quotas ever held back the part of a run queue that a task is in.
#[inline(always)]
pub fn was_held_back(of: *const u8) -> bool {
    throttled_clock(of).1 != 0
}

/// Notes the clock of the part to which a task is moved, on another CPU: what it waits there begins now.
#[inline(always)]
pub fn note_throttled_on(task: &mut TaskState, of: *const u8, cpu: u32) {
    task.quota_of = 0;
    if !tells_throttled() || offset!(task_group) == ABSENT || offset!(task_group_cfs_rqs) == ABSENT
    {
        return;
    }
    let group: u64 = probe(of as u64, offset!(task_group));
    let parts: u64 = probe(group, offset!(task_group_cfs_rqs));
    let part: u64 = probe(parts, cpu.wrapping_mul(size_of::<u64>() as u32));
    if part == 0 {
        return;
    }
    let mut held: u64 = probe(part, offset!(cfs_rq_throttled_ns));
    if tells_since() {
        let since: u64 = probe(part, offset!(cfs_rq_throttled_since));
        if since != 0 {
            let queue: u64 = probe(part, offset!(cfs_rq_rq));
            let clock: u64 = probe(queue, offset!(rq_clock));
            held += clock.saturating_sub(since);
        }
    }
    // 0 would say that it was not looked at when the wait began.
    let held = if held == 0 { 1 } else { held };
    task.quota_of = part;
    task.quota_off_ns = held;
    task.quota_wake_ns = held;
}

/// How much of a wait of `waited`, until now, quotas held the task back. `None`: some of it, and nobody can tell how much.
#[inline(always)]
fn held_back(task: &TaskState, of: *const u8, after_sleep: bool, waited: u64) -> Option<u64> {
    let (part, now) = throttled_clock(of);
    // Of another part, to which it was moved, it is not known what it said before.
    if part != task.quota_of {
        return Some(0);
    }
    let mut before = task.quota_off_ns;
    if after_sleep {
        if before != 0 {
            before = task.quota_wake_ns;
        } else if now != 0 {
            // Held back for the first time since it went to sleep, before it was woken or after that.
            return None;
        }
    }
    if now <= before {
        return Some(0);
    }
    let held = now - before;
    Some(if held < waited { held } else { waited })
}

/// Whether quotas may have held the running task back in the wait that has just ended: it was long enough, or they did so on a
/// CPU that it left.
#[inline(always)]
pub fn may_be_held_back(task: &TaskState) -> bool {
    task.wait_held_ns != 0 || task.queue_to_ns >= task.queue_from_ns + SHORTEST_THROTTLE_NS
}

/// For how long quotas held the running task back in the wait that has just ended, of `waited` in the run queue. It is held back
/// first, and waits for others then: only that has somebody to blame, and none of it if nobody can tell how much it is. A global
/// function, as `send_book`.
#[cfg_attr(not(feature = "untyped"), unsafe(no_mangle))]
#[inline(never)]
pub extern "C" fn settle_quota(task: *mut TaskState, waited: u64, now: u64) -> u64 {
    // SAFETY: null, or a live map value.
    let Some(task) = (unsafe { task.as_mut() }) else {
        return 0;
    };
    let (from, to) = (task.queue_from_ns, task.queue_to_ns);
    let mut held = task.wait_held_ns;
    task.wait_held_ns = 0;
    if to >= from + SHORTEST_THROTTLE_NS {
        let after_sleep = task.queue_after_sleep != 0;
        match held_back(task, current_task(), after_sleep, to - from) {
            Some(here) => {
                held += here;
                task.queue_from_ns = from + here;
            }
            None => task.queue_to_ns = 0,
        }
    }
    if held > waited {
        held = waited;
    }
    if held != 0 && ring::wanted() {
        ring::held_event(now, held);
    }
    held
}

/// Whether quotas hold back the part of a run queue that a task is in now.
#[inline(always)]
fn is_held_back(of: *const u8) -> bool {
    if !tells_throttled() || offset!(cfs_rq_throttle_count) == ABSENT {
        return false;
    }
    let part = field!(of, task_cfs_rq, *const u8);
    field!(part, cfs_rq_throttle_count, u32) != 0
}

/// How much quotas have held a task back of a wait that is not settled yet. `on`: since when it is on a CPU, 0 if it is not.
/// While its part is held back, all of its wait so far counts. When the wait ends, the clock tells how much it really was, and
/// no more is told in all: totals only grow once they are above what was told.
#[inline(never)]
pub fn held_back_so_far(task: &TaskState, of: *const u8, on: u64, now: u64) -> u64 {
    let off = task.off_ns;
    if off == 0 {
        // It is on a CPU, and how it came there has been settled.
        return 0;
    }
    let after_sleep = task.off_kind != OFF_RUN_QUEUE;
    let mut from = if after_sleep { task.wake_ns } else { off };
    if from < off {
        // It sleeps.
        return 0;
    }
    if task.queued_ns > from {
        from = task.queued_ns;
    }
    let to = if on != 0 { on } else { now };
    if to <= from || to - from < SHORTEST_THROTTLE_NS {
        return 0;
    }
    if on == 0 && is_held_back(of) {
        return to - from;
    }
    held_back(task, of, after_sleep, to - from).unwrap_or(0)
}

/// Walks back over the runs until `from`. What was before the oldest of them is booked on nobody.
#[inline(never)]
fn walk(task: &mut TaskState, runs: &Runs, from: u64, to: u64) {
    let mut end = to;
    let mut back = 0u64;
    while back < RUNS as u64 {
        let run = runs.back(back);
        let start = run.start_ns;
        back += 1;
        if start == 0 {
            return;
        }
        if start >= end {
            continue;
        }
        let begin = if start > from { start } else { from };
        book(task, run.image, end - begin);
        end = begin;
        if end == from {
            return;
        }
    }
}

/// Books time that a task waited while an image ran.
#[inline(never)]
fn book(task: &mut TaskState, by: u32, ns: u64) {
    if by == IMAGE_IDLE {
        task.idle_ns += ns;
        return;
    }
    let image = task.image & !image::LENT;
    if by == 0 || image == 0 {
        return;
    }
    let key = BlameKey { image, by };
    if BLAMED.get_ptr(key).is_none() {
        let _ = BLAMED.insert(key, 0, u64::from(BPF_NOEXIST));
    }
    if let Some(sum) = BLAMED.get_ptr_mut(key) {
        add(sum, ns);
    }
}

/// Books what a task that moves now has waited for the CPU that it leaves. The kernel holds that CPU's run queue meanwhile.
#[inline(always)]
pub fn leaves(task: &mut TaskState, of: *const u8, cpu: u32, from: u64, now: u64) {
    // The clocks of two CPUs may differ by a little.
    if now <= from {
        return;
    }
    let mut from = from;
    if now - from >= SHORTEST_THROTTLE_NS {
        let after_sleep = task.off_kind != OFF_RUN_QUEUE;
        let Some(held) = held_back(task, of, after_sleep, now - from) else {
            return;
        };
        task.wait_held_ns += held;
        from += held;
    }
    let Some(runs) = of_cpu(cpu) else {
        return;
    };
    let switched = runs.since(now);
    let mut to = now;
    if switched < now {
        let begin = if switched > from { switched } else { from };
        book(task, image_on_cpu(runs.current), now - begin);
        to = begin;
    }
    if to > from {
        walk(task, runs, from, to);
    }
}

/// Image of a task that is on a CPU.
#[inline(always)]
fn image_on_cpu(task: u64) -> u32 {
    if task == 0 {
        return 0;
    }
    if probe::<u32>(task, offset!(task_pid)) == 0 {
        return IMAGE_IDLE;
    }
    if probe::<u32>(task, offset!(task_flags)) & KERNEL_THREAD != 0 {
        return IMAGE_KERNEL;
    }
    let tgid = probe::<u32>(task, offset!(task_tgid));
    match PROCESSES.get_ptr(tgid) {
        // SAFETY: a live map value.
        Some(image) => unsafe { *image },
        None => 0,
    }
}
