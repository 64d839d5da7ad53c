//! A task's clocks: run queue, block I/O and sleep as totals; on-CPU is what is left of the wall time.
//!
//! In: a task's state and the time. Out: totals now, or as they stood at an earlier instant, and the flush of all
//! totals into the image's. Must not know: sockets.

use courtside_wire::{CpuStats, Lost};

use crate::{
    maps::{self, CPU, add},
    state::{Clocks, EPISODES, Episode, OFF_BLOCK_IO, OFF_RUN_QUEUE, TaskState},
};

/// Ends the wait of a task that goes on the CPU now.
#[inline(always)]
pub fn switch_in(task: &mut TaskState, now: u64) {
    if task.born_ns == 0 {
        task.born_ns = now;
    }
    let off = task.off_ns;
    if off == 0 {
        return;
    }
    task.off_ns = 0;
    let kind = task.off_kind;
    let mut wake = task.wake_ns;
    // A wake-up may be seen just before the switch that it ends: then the wait was over at once.
    if kind == OFF_RUN_QUEUE || wake < off {
        wake = off;
    }
    if wake > now {
        wake = now;
    }
    if task.handover_wake_ns == wake && kind != OFF_RUN_QUEUE {
        task.handover = task.clocks;
        if kind == OFF_BLOCK_IO {
            task.handover.block_io_ns += wake - off;
        } else {
            task.handover.sleep_ns += wake - off;
        }
    }
    if kind == OFF_BLOCK_IO {
        task.clocks.block_io_ns += wake - off;
    } else {
        task.clocks.sleep_ns += wake - off;
    }
    task.clocks.run_queue_ns += now - wake;
    let slot = task.episode_count as usize & (EPISODES - 1);
    task.episode_count = task.episode_count.wrapping_add(1);
    // SAFETY: the slot is masked to the array's length.
    unsafe {
        *task.episodes.as_mut_ptr().add(slot) = Episode {
            off_ns: off,
            wake_ns: wake,
            on_ns: now,
            kind: u64::from(kind),
        };
    }
}

/// Totals of a running task as they stood at `at`, by taking back the waits that came later.
#[inline(always)]
pub fn clocks_at(task: &TaskState, at: u64) -> Clocks {
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
        maps::lost(Lost::History);
    }
    clocks
}

/// Adds what a task's clocks gained since the last flush to its image's totals.
#[inline(never)]
pub fn flush(task: &mut TaskState, now: u64) {
    if task.image == 0 || task.born_ns == 0 {
        return;
    }
    let mut clocks = task.clocks;
    let mut off_total = 0;
    if task.off_ns != 0 && now > task.off_ns {
        let off = task.off_ns;
        off_total = now - off;
        if task.off_kind == OFF_RUN_QUEUE {
            clocks.run_queue_ns += now - off;
        } else {
            let mut wake = if task.wake_ns >= off {
                task.wake_ns
            } else {
                now
            };
            if wake > now {
                wake = now;
            }
            clocks.run_queue_ns += now - wake;
            if task.off_kind == OFF_BLOCK_IO {
                clocks.block_io_ns += wake - off;
            } else {
                clocks.sleep_ns += wake - off;
            }
        }
    }
    let waited =
        task.clocks.run_queue_ns + task.clocks.block_io_ns + task.clocks.sleep_ns + off_total;
    let on_cpu_ns = now.saturating_sub(task.born_ns).saturating_sub(waited);
    let Some(stats) = image_cpu(task.image) else {
        return;
    };
    // SAFETY: a live map value; every addition is atomic.
    unsafe {
        add(
            &raw mut (*stats).on_cpu_ns,
            gain(on_cpu_ns, &mut task.flushed_on_cpu_ns),
        );
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
    let _ = CPU.insert(image, &zero, u64::from(aya_ebpf::bindings::BPF_NOEXIST));
    let stats = CPU.get_ptr_mut(image);
    if stats.is_none() {
        maps::lost(Lost::Images);
    }
    stats
}
