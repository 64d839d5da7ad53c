//! Scheduler hooks: switches, wake-ups, and the life of processes.
//!
//! In: `sched_*` tracepoints. Out: task clocks, images. Must not know: sockets.

use aya_ebpf::{EbpfContext, macros::btf_tracepoint, programs::BtfTracePointContext};

use aya_log_ebpf::debug;
use courtside_wire::{IMAGE_IDLE, IMAGE_KERNEL};

use crate::{
    clock, field, image,
    kernel::{
        current_task, finds_task_state, in_interrupt, now_ns, pmu_wanted, switch_passes_state,
    },
    locks,
    maps::PROCESSES,
    offset, pmu, prompt, ring, runs, spare,
    state::{OFF_BLOCK_IO, OFF_RUN_QUEUE, OFF_SLEEP},
    storage::task_state,
    twice, waits,
};

/// `TASK_UNINTERRUPTIBLE`
const UNINTERRUPTIBLE: u32 = 2;
/// `TASK_DEAD`
pub const DEAD: u32 = 0x80;
/// `TASK_WAKING`
const WAKING: u32 = 0x200;

/// match-proto: sched_switch(bool preempt, struct task_struct *prev, struct task_struct *next, unsigned int prev_state)
///
/// Kernels before 5.18 do not pass `prev_state`; there the field of `prev` is read instead.
#[btf_tracepoint(function = "sched_switch")]
fn sched_switch(ctx: BtfTracePointContext) -> i32 {
    let preempted = ctx.arg::<u64>(0) & 1 != 0;
    let prev: *const u8 = ctx.arg(1);
    let next: *const u8 = ctx.arg(2);
    let state = if switch_passes_state() {
        ctx.arg::<u64>(3) as u32
    } else {
        field!(prev, task_state, u32)
    };
    let now = now_ns();
    let Some(runs) = runs::here() else {
        return 0;
    };
    let on = runs.switched(now, next);
    if field!(prev, task_pid, u32) == 0 {
        runs.ran(IMAGE_IDLE, on);
        if pmu_wanted() {
            pmu::charge(None);
        }
        if ring::wanted() {
            ring::switch_event(now, 0, OFF_SLEEP, next);
        }
        return 0;
    }
    let Some(task) = task_state(prev) else {
        runs.ran(0, on);
        return 0;
    };
    clock::settle_wait(task, on, now);
    runs.blame(task);
    runs.ran(task.image & !image::LENT, on);
    if task.born_ns == 0 {
        task.born_ns = now;
        task.prompted = 1;
    }
    if pmu_wanted() {
        pmu::charge(Some(task));
    }
    if ring::wanted() {
        ring::task_event(prev, task, now);
    }
    task.off_ns = now;
    runs::note_throttled(task, prev);
    if preempted || state == 0 {
        task.off_kind = OFF_RUN_QUEUE;
        task.involuntary += 1;
    } else {
        let block_io = state & UNINTERRUPTIBLE != 0 && in_iowait(prev);
        task.off_kind = if block_io { OFF_BLOCK_IO } else { OFF_SLEEP };
        let (what, futex) = if block_io || task.image == IMAGE_KERNEL {
            (0, 0)
        } else {
            waits::reason(prev)
        };
        task.off_what = what;
        if task.off_futex != futex {
            task.off_futex = futex;
        }
        task.voluntary += 1;
        if state & DEAD != 0 {
            // The last switch of this task: nothing after it will be counted.
            clock::flush(task, now, 0, 0);
            if task.spare != 0 {
                spare::leave(prev as u64);
            }
        }
    }
    if ring::wanted() {
        ring::switch_event(now, field!(prev, task_pid, u32), task.off_kind, next);
    }
    0
}

#[inline(always)]
fn in_iowait(task: *const u8) -> bool {
    let byte = field!(task, task_in_iowait, u8);
    byte >> (offset!(task_in_iowait_bit) & 7) & 1 != 0
}

/// match-proto: sched_waking(struct task_struct *p)
///
/// Runs in the waker's context, also when the wake-up itself is sent to another CPU.
#[btf_tracepoint(function = "sched_waking")]
fn sched_waking(ctx: BtfTracePointContext) -> i32 {
    let woken: *const u8 = ctx.arg(0);
    let now = now_ns();
    let Some(task) = task_state(woken) else {
        return 0;
    };
    // On a CPU it is about to leave it, and the wait is over at once. The wake-up before may not have been settled yet, and is
    // left as it is.
    let waited = field!(woken, task_on_cpu, u8) == 0;
    if ring::wanted() {
        ring::task_event(woken, task, now);
        ring::wake_event(now, woken, waited, in_interrupt());
    }
    if waited {
        locks::wait_ends(task, field!(woken, task_tgid, u32), ctx.tgid(), now);
        task.wake_ns = now;
        runs::note_throttled_at_wake(task, woken);
    } else {
        task.early_wake_ns = now;
    }
    let tgid = field!(woken, task_tgid, u32);
    if ctx.tgid() != tgid {
        if task.woken_by_own != 0 {
            task.woken_by_own = 0;
        }
        return 0;
    }
    // An interrupt wakes on its own account, not on that of the thread that it interrupted.
    let by_own = !in_interrupt();
    task.woken_by_own = u32::from(by_own);
    // A thread of the same process: it may hand over a message that it received.
    let Some(waker) = task_state(current_task()) else {
        return 0;
    };
    if !by_own {
        return 0;
    }
    let token = waker.last_read.token;
    // A request it holds until that is answered, a reply until it waits: nobody can tell when it is done with one.
    let has_read = token != 0
        && (waker.read_voluntary == waker.voluntary
            || prompt::is_request(token) && !prompt::is_ended(token));
    // What it was given itself it may give on.
    let was_given = waker.handover_read.token != 0 && waker.handover_voluntary == waker.voluntary;
    let (token, given_ns) = if has_read {
        (token, waker.last_read.arrival_ns)
    } else {
        (waker.handover_read.token, waker.handover_read.arrival_ns)
    };
    let gives = has_read || was_given;
    if gives && task.handover_read.token == token {
        // It was given that one before, and may have waited since.
        task.handover_voluntary = task.voluntary;
    }
    let hands_over = gives && task.handover_wake_ns < given_ns;
    if waker.prompted > task.prompted {
        task.prompted = 1;
    }
    if hands_over {
        if waited {
            task.handover_wake_ns = now;
            task.handover_counts = pmu::counts_before_running(task);
        }
        task.handover_voluntary = task.voluntary;
        if has_read {
            task.handover_read = waker.last_read;
            waker.handed_out = 1;
        } else {
            task.handover_read = waker.handover_read;
        }
    }
    0
}

/// match-proto: sched_migrate_task(struct task_struct *p, int dest_cpu)
///
/// A task that could have run on one CPU will run on another one. One that is being woken has waited for none yet: of that only
/// the clock of quotas is noted.
#[btf_tracepoint(function = "sched_migrate_task")]
fn sched_migrate_task(ctx: BtfTracePointContext) -> i32 {
    let moved: *const u8 = ctx.arg(0);
    let to_cpu = ctx.arg::<u64>(1) as u32;
    let state = field!(moved, task_state, u32);
    if state == WAKING
        && runs::was_held_back(moved)
        && let Some(task) = task_state(moved)
    {
        runs::note_throttled_on(task, moved, to_cpu);
    }
    if state != 0 || field!(moved, task_on_cpu, u8) != 0 {
        return 0;
    }
    let now = now_ns();
    let Some(task) = task_state(moved) else {
        return 0;
    };
    let off = task.off_ns;
    if off == 0 {
        return 0;
    }
    let mut from = off;
    if task.off_kind != OFF_RUN_QUEUE {
        from = task.wake_ns;
        if from < off {
            return 0;
        }
    }
    if task.queued_ns > from {
        from = task.queued_ns;
    }
    task.queued_ns = now;
    runs::leaves(task, moved, field!(moved, task_cpu, u32), from, now);
    // It has left the part whose clock was noted.
    task.quota_of = 0;
    if runs::was_held_back(moved) {
        runs::note_throttled_on(task, moved, to_cpu);
    }
    0
}

twice! {
    /// match-proto: sched_process_fork(struct task_struct *parent, struct task_struct *child)
    FORK: sched_process_fork, sched_process_fork_again on "sched_process_fork" = forked
}

#[inline(always)]
fn forked(ctx: &BtfTracePointContext) -> i32 {
    let parent: *const u8 = ctx.arg(0);
    let child: *const u8 = ctx.arg(1);
    let now = now_ns();
    let Some(of_parent) = task_state(parent) else {
        return 0;
    };
    let tgid = field!(child, task_tgid, u32);
    let is_process = tgid == field!(child, task_pid, u32);
    let mut image = if is_process {
        image::program_of(parent, of_parent)
    } else {
        // Of a process with several threads nobody has to ask twice.
        image::image_of(parent, of_parent)
    };
    if is_process && image > courtside_wire::IMAGE_KERNEL {
        image = image::lend(tgid, image);
    }
    let prompted = of_parent.prompted;
    let Some(task) = task_state(child) else {
        return 0;
    };
    if !finds_task_state() {
        spare::renew(task);
    }
    task.born_ns = now;
    task.off_ns = now;
    task.off_kind = OFF_RUN_QUEUE;
    runs::note_throttled(task, child);
    task.image = image;
    task.prompted = prompted;
    task.tgid = tgid;
    if ring::wanted() {
        ring::fork_event(now, child, task);
    }
    0
}

twice! {
    /// match-proto: sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)
    EXEC: sched_process_exec, sched_process_exec_again on "sched_process_exec" = executed
}

#[inline(always)]
fn executed(ctx: &BtfTracePointContext) -> i32 {
    let task: *const u8 = ctx.arg(0);
    let Some(state) = task_state(task) else {
        return 0;
    };
    let now = now_ns();
    let before = image::program_of(task, state);
    clock::settle(state, now);
    if pmu_wanted() {
        pmu::charge(Some(state));
    }
    // What it waited before belongs to the program that it was.
    if let Some(runs) = runs::here() {
        runs.blame(state);
    }
    clock::flush(state, now, 0, 0);
    // Whatever its parent had received, this program has not.
    state.prompted = 0;
    let tgid = field!(task, task_tgid, u32);
    state.tgid = tgid;
    state.image = image::new_image(task, tgid, before);
    debug!(
        ctx,
        "exec: process {} of image {} is image {} now", tgid, before, state.image
    );
    if ring::wanted() {
        ring::exec_event(now, task, ctx.arg::<u64>(1) as u32, state);
    }
    0
}

twice! {
    /// match-proto: sched_process_exit(struct task_struct *p[, bool group_dead since 6.17])
    EXIT: sched_process_exit, sched_process_exit_again on "sched_process_exit" = exited
}

#[inline(always)]
fn exited(ctx: &BtfTracePointContext) -> i32 {
    let task: *const u8 = ctx.arg(0);
    let Some(state) = task_state(task) else {
        return 0;
    };
    if state.image == 0 {
        image::image_of(task, state);
    }
    if state.tgid == field!(task, task_pid, u32) {
        let _ = PROCESSES.remove(state.tgid);
    }
    if ring::wanted() {
        ring::exit_event(field!(task, task_pid, u32));
    }
    0
}
