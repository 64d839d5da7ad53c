//! A task's clocks: run queue, block I/O and sleep as totals; on-CPU is what is left of the wall time.
//!
//! In: a task's state and the time. Out: totals now, or as they stood at an earlier instant, and the flush of all
//! totals into the image's. Must not know: sockets.

use courtside_wire::{CpuStats, Lost};

use crate::{
    atomic::add,
    image, loss,
    maps::CPU,
    runs,
    state::{Clocks, EPISODES, Episode, OFF_BLOCK_IO, OFF_RUN_QUEUE, OFF_SLEEP, TaskState},
    waits,
};

/// When the CPU of a task that is not the running one switched last; 0 where the kernel cannot tell (before 5.19).
#[inline(always)]
pub fn last_switch_of(cpu: u32) -> u64 {
    runs::of_cpu(cpu).map_or(0, |runs| runs.since(0))
}

/// Settles the last wait of the running task.
#[inline(always)]
pub fn settle(task: &mut TaskState, now: u64) {
    if task.off_ns == 0 {
        return;
    }
    if let Some(runs) = runs::here() {
        settle_wait(task, runs.since(now), now);
    }
}

/// Settles the last wait of the running task, which has been on its CPU since `on`. Until somebody needs its clocks, or it leaves
/// the CPU again, a task's state still says that it waits: a switch then touches only the task that leaves.
#[inline(always)]
pub fn settle_wait(task: &mut TaskState, on: u64, now: u64) {
    let off = task.off_ns;
    if off == 0 {
        return;
    }
    let wait = Wait::new(task, on);
    task.off_ns = 0;
    // Because of whom is found out when it leaves the CPU. What it waited for other CPUs was booked when it left those.
    task.queue_from_ns = if task.queued_ns > wait.wake {
        task.queued_ns
    } else {
        wait.wake
    };
    task.queue_to_ns = wait.on;
    task.queue_after_sleep = u32::from(task.off_kind != OFF_RUN_QUEUE);
    let held = if runs::may_be_held_back(task) {
        runs::settle_quota(task, wait.on - wait.wake, now)
    } else {
        0
    };
    // Whoever wakes reads the clock before it looks whether the task is on its CPU: it may have left that in between, after
    // the wake-up's time, whatever for. The first wait that ends after it is meant.
    if task.handover_wake_ns != 0
        && task.handover_wake_ns == task.wake_ns
        && !came_on_cpu_after(task, task.wake_ns)
    {
        task.handover = wait.until_wake;
        task.handover_lock_ns = task.lock_ns;
        if task.off_what == waits::LOCK && task.off_kind == OFF_SLEEP {
            task.handover_lock_ns += wait.wake - off;
        }
    }
    if task.off_kind == OFF_SLEEP {
        tell_sleep(task, &wait);
    }
    task.clocks = wait.until_on;
    task.clocks.throttled_ns += held;
    let slot = task.episode_count as usize & (EPISODES - 1);
    task.episode_count = task.episode_count.wrapping_add(1);
    let kind = u64::from(task.off_kind);
    // SAFETY: the slot is masked to the array's length.
    unsafe {
        *task.episodes.as_mut_ptr().add(slot) = Episode {
            off_ns: off,
            wake_ns: wait.wake,
            on_ns: wait.on,
            held_ns: held,
            kind,
        };
    }
}

impl Episode {
    /// For how long a quota held the task back after `at`: it is held back first, and waits for others then.
    #[inline(always)]
    fn held_after(&self, at: u64) -> u64 {
        let from = if self.wake_ns > at { self.wake_ns } else { at };
        (self.wake_ns + self.held_ns).saturating_sub(from)
    }
}

/// Adds a sleep to what it was for. What was for no lock and no timer may have been for a message that is read next; of that
/// only counts what no flush has told before.
#[inline(always)]
fn tell_sleep(task: &mut TaskState, wait: &Wait) {
    let slept = wait.wake - wait.off;
    task.unclaimed_ns = 0;
    if task.off_what == waits::LOCK {
        task.lock_ns += slept;
    } else if task.off_what == waits::TIMER {
        task.timer_ns += slept;
    } else {
        let from = if task.flush_ns > wait.off {
            task.flush_ns
        } else {
            wait.off
        };
        task.unclaimed_ns = wait.wake.saturating_sub(from);
    }
}

/// A wait and what it adds to the totals.
struct Wait {
    off: u64,
    wake: u64,
    on: u64,
    until_wake: Clocks,
    until_on: Clocks,
}

impl Wait {
    #[inline(always)]
    fn new(task: &TaskState, on: u64) -> Self {
        let off = task.off_ns;
        let on = if on > off { on } else { off };
        let mut wake = task.wake_ns;
        if task.off_kind == OFF_RUN_QUEUE {
            wake = off;
        } else if wake < off {
            // A wake-up may be seen just before the switch that it ends: then the wait was over at once. If there was none, it
            // was not told, and came at the latest now: a sleep may last, those that can run seldom wait for long.
            wake = untold_wake(task, on);
        }
        if wake > on {
            wake = on;
        }
        let mut until_wake = task.clocks;
        if task.off_kind == OFF_BLOCK_IO {
            until_wake.block_io_ns += wake - off;
        } else {
            until_wake.sleep_ns += wake - off;
        }
        let mut until_on = until_wake;
        until_on.run_queue_ns += on - wake;
        Self {
            off,
            wake,
            on,
            until_wake,
            until_on,
        }
    }
}

/// When a sleep was over of which no wake-up was told since it began, and which ended on the CPU at `on`. A global function, as
/// `send_book`.
#[inline(never)]
fn untold_wake(task: &TaskState, on: u64) -> u64 {
    let early = task.early_wake_ns;
    if early == 0 || came_on_cpu_after(task, early) {
        on
    } else {
        task.off_ns
    }
}

/// Notes the totals of a running task where a turnaround starts, at `at`. Mostly that is within its last wait.
#[inline(always)]
pub fn note_start(task: &mut TaskState, at: u64) {
    if !came_on_cpu_after(task, at) {
        task.start = task.clocks;
        return;
    }
    let slot = task.episode_count.wrapping_sub(1) as usize & (EPISODES - 1);
    // SAFETY: the slot is masked to the array's length.
    let last = unsafe { &*task.episodes.as_ptr().add(slot) };
    if last.off_ns > at || last.kind == u64::from(OFF_BLOCK_IO) || last.held_ns != 0 {
        look_back_for_start(task, at);
        return;
    }
    let Clocks {
        mut run_queue_ns,
        throttled_ns,
        block_io_ns,
        mut sleep_ns,
    } = task.clocks;
    if last.wake_ns > at {
        run_queue_ns = run_queue_ns.saturating_sub(last.on_ns - last.wake_ns);
        sleep_ns = sleep_ns.saturating_sub(last.wake_ns - at);
    } else {
        run_queue_ns = run_queue_ns.saturating_sub(last.on_ns - at);
    }
    task.start = Clocks {
        run_queue_ns,
        throttled_ns,
        block_io_ns,
        sleep_ns,
    };
}

/// The same where a turnaround ends. Mostly nothing has happened since.
#[inline(always)]
pub fn note_end(task: &mut TaskState, at: u64) {
    if came_on_cpu_after(task, at) {
        look_back_for_end(task, at);
    } else {
        task.end = task.clocks;
    }
}

/// A function of its own that leaves its result in the task's state: of what is read from there the verifier knows nothing,
/// and goes on once, instead of once for each way through the walk. A global one, as `send_book`.
#[cfg_attr(not(feature = "untyped"), unsafe(no_mangle))]
#[inline(never)]
extern "C" fn look_back_for_start(task: *mut TaskState, at: u64) -> u32 {
    // SAFETY: null, or a live map value.
    if let Some(task) = unsafe { task.as_mut() } {
        task.start = clocks_at(task, at);
    }
    0
}

#[cfg_attr(not(feature = "untyped"), unsafe(no_mangle))]
#[inline(never)]
extern "C" fn look_back_for_end(task: *mut TaskState, at: u64) -> u32 {
    // SAFETY: as above.
    if let Some(task) = unsafe { task.as_mut() } {
        task.end = clocks_at(task, at);
    }
    0
}

/// Totals of a running task as they stood at `at`, by taking back the waits that came later.
#[inline(always)]
fn clocks_at(task: &TaskState, at: u64) -> Clocks {
    let mut clocks = task.clocks;
    let mut back = 0u32;
    while back < EPISODES as u32 {
        if back >= task.episode_count {
            return clocks;
        }
        let slot = task.episode_count.wrapping_sub(1).wrapping_sub(back) as usize & (EPISODES - 1);
        // SAFETY: the slot is masked to the array's length.
        let episode = unsafe { &*task.episodes.as_ptr().add(slot) };
        if episode.on_ns <= at {
            return clocks;
        }
        let from = if episode.wake_ns > at {
            episode.wake_ns
        } else {
            at
        };
        clocks.run_queue_ns = clocks.run_queue_ns.saturating_sub(episode.on_ns - from);
        clocks.throttled_ns = clocks.throttled_ns.saturating_sub(episode.held_after(at));
        if episode.wake_ns > at {
            let from = if episode.off_ns > at {
                episode.off_ns
            } else {
                at
            };
            let wait = episode.wake_ns - from;
            if episode.kind == u64::from(OFF_BLOCK_IO) {
                clocks.block_io_ns = clocks.block_io_ns.saturating_sub(wait);
            } else {
                clocks.sleep_ns = clocks.sleep_ns.saturating_sub(wait);
            }
        }
        if episode.off_ns <= at {
            return clocks;
        }
        back += 1;
    }
    if task.episode_count > EPISODES as u32 {
        loss::lost(Lost::History);
    }
    clocks
}

/// Whether a running task waited at `at`, or came to its CPU since.
#[inline(always)]
pub fn came_on_cpu_after(task: &TaskState, at: u64) -> bool {
    let slot = task.episode_count.wrapping_sub(1) as usize & (EPISODES - 1);
    // SAFETY: the slot is masked to the array's length.
    let last = unsafe { &*task.episodes.as_ptr().add(slot) };
    task.episode_count != 0 && last.on_ns > at
}

/// Adds what a task's clocks gained since the last flush to its image's totals. `on` is since when it has been on a
/// CPU, 0 if it is not; `held_ns` what quotas have held it back of a wait that is not booked yet. Only totals are written: the
/// task may run meanwhile. A task that ends at the very moment of a flush may be counted twice for one window; no hook can
/// exclude that.
#[inline(never)]
pub fn flush(task: &mut TaskState, now: u64, on: u64, held_ns: u64) {
    if task.image == 0 || task.born_ns == 0 {
        return;
    }
    let mut clocks = task.clocks;
    let mut asleep = 0;
    if task.off_ns != 0 {
        if on != 0 {
            clocks = Wait::new(task, on).until_on;
        } else {
            // Still waiting: awake or not, the wait lasts until now.
            let mut wait = Wait::new(task, now);
            if task.off_kind != OFF_RUN_QUEUE && task.wake_ns < task.off_ns {
                wait.until_on = task.clocks;
                let waited = now.saturating_sub(task.off_ns);
                if task.off_kind == OFF_BLOCK_IO {
                    wait.until_on.block_io_ns += waited;
                } else {
                    wait.until_on.sleep_ns += waited;
                }
            }
            clocks = wait.until_on;
        }
        if task.off_kind == OFF_SLEEP {
            asleep = clocks.sleep_ns - task.clocks.sleep_ns;
        }
    }
    let lock_ns = task.lock_ns
        + if task.off_what == waits::LOCK {
            asleep
        } else {
            0
        };
    let timer_ns = task.timer_ns
        + if task.off_what == waits::TIMER {
            asleep
        } else {
            0
        };
    task.flush_ns = now;
    let throttled_ns = clocks.throttled_ns + task.wait_held_ns + held_ns;
    let waited = clocks.run_queue_ns + clocks.block_io_ns + clocks.sleep_ns;
    let on_cpu_ns = now.saturating_sub(task.born_ns).saturating_sub(waited);
    let Some(stats) = image_cpu(task.image & !image::LENT) else {
        return;
    };
    let ran_ns = gain(on_cpu_ns, &mut task.flushed_on_cpu_ns);
    // SAFETY: a live map value; every addition is atomic.
    unsafe {
        if ran_ns != 0 {
            add(&raw mut (*stats).on_cpu_ns, ran_ns);
            add(&raw mut (*stats).tasks_ran, 1);
        }
        add(
            &raw mut (*stats).run_queue_ns,
            gain(clocks.run_queue_ns, &mut task.flushed.run_queue_ns),
        );
        add(
            &raw mut (*stats).block_io_ns,
            gain(clocks.block_io_ns, &mut task.flushed.block_io_ns),
        );
        add(
            &raw mut (*stats).sleep_ns,
            gain(clocks.sleep_ns, &mut task.flushed.sleep_ns),
        );
        add(
            &raw mut (*stats).voluntary_switches,
            gain(task.voluntary, &mut task.flushed_voluntary),
        );
        add(
            &raw mut (*stats).involuntary_switches,
            gain(task.involuntary, &mut task.flushed_involuntary),
        );
        add(
            &raw mut (*stats).run_queue_idle_ns,
            gain(task.idle_ns, &mut task.flushed_idle_ns),
        );
        add(
            &raw mut (*stats).throttled_ns,
            gain(throttled_ns, &mut task.flushed_throttled_ns),
        );
        add(
            &raw mut (*stats).lock_ns,
            gain(lock_ns, &mut task.flushed_lock_ns),
        );
        add(
            &raw mut (*stats).timer_ns,
            gain(timer_ns, &mut task.flushed_timer_ns),
        );
        add(
            &raw mut (*stats).socket_ns,
            gain(task.socket_ns, &mut task.flushed_socket_ns),
        );
        add(
            &raw mut (*stats).empty_receives,
            gain(task.empty_receives, &mut task.flushed_empty_receives),
        );
        add(
            &raw mut (*stats).zero_timeout_polls,
            gain(
                task.zero_timeout_polls,
                &mut task.flushed_zero_timeout_polls,
            ),
        );
        add(
            &raw mut (*stats).yields,
            gain(task.yields, &mut task.flushed_yields),
        );
        add(
            &raw mut (*stats).spin_ns,
            gain(task.spin_ns, &mut task.flushed_spin_ns),
        );
        if crate::kernel::pmu_wanted() {
            add(
                &raw mut (*stats).cycles,
                gain(task.counters[0], &mut task.flushed_counters[0]),
            );
            add(
                &raw mut (*stats).instructions,
                gain(task.counters[1], &mut task.flushed_counters[1]),
            );
            add(
                &raw mut (*stats).llc_references,
                gain(task.counters[2], &mut task.flushed_counters[2]),
            );
            add(
                &raw mut (*stats).llc_misses,
                gain(task.counters[3], &mut task.flushed_counters[3]),
            );
            add(
                &raw mut (*stats).pmu_enabled_ns,
                gain(task.counters[4], &mut task.flushed_counters[4]),
            );
            add(
                &raw mut (*stats).pmu_running_ns,
                gain(task.counters[5], &mut task.flushed_counters[5]),
            );
        }
    }
}

/// What a total gained since the last flush; never negative, since a total may be read a little early.
#[inline(always)]
fn gain(total: u64, flushed: &mut u64) -> u64 {
    if total <= *flushed {
        return 0;
    }
    let gained = total - *flushed;
    *flushed = total;
    gained
}

#[inline(always)]
fn image_cpu(image: u32) -> Option<*mut CpuStats> {
    if let Some(stats) = CPU.get_ptr_mut(image) {
        return Some(stats);
    }
    // SAFETY: all-zero is a valid value of this plain record.
    let zero: CpuStats = unsafe { core::mem::zeroed() };
    let _ = CPU.insert(image, zero, u64::from(aya_ebpf::bindings::BPF_NOEXIST));
    let stats = CPU.get_ptr_mut(image);
    if stats.is_none() {
        loss::lost(Lost::Images);
    }
    stats
}
