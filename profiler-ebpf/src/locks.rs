//! Locks: by which futex threads slept, for how long, and who had it meanwhile.
//!
//! In: wake-ups of threads that sleep by a futex. Out: sleeps by futex, and by futex and thread that let it go, in maps. Must not
//! know: sockets, how a lock is made of a futex.

#[cfg(not(feature = "untyped"))]
use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::{macros::map, maps::HashMap};
#[cfg(not(feature = "untyped"))]
use courtside_wire::{COMM_LEN, Lost, RELEASES, Release};
use courtside_wire::{HolderKey, HolderStats, LockKey, LockStats};

#[cfg(not(feature = "untyped"))]
use crate::{
    atomic::add,
    field, image,
    kernel::{current_task, in_interrupt, probe},
    loss::lost,
    offset, prompt,
    state::OFF_SLEEP,
    waits,
};
use crate::{maps::NO_PREALLOC, state::TaskState};

/// Futexes. Threads of many runtimes sleep by a word of their own each.
#[cfg(not(feature = "untyped"))]
const FUTEXES: u32 = 8192;
/// The object for old kernels does not fill it.
#[cfg(feature = "untyped")]
const FUTEXES: u32 = 1;

/// Sleeps by futex. Written at wake-ups, read at a window's end.
#[map]
static LOCKS: HashMap<LockKey, LockStats> = HashMap::with_max_entries(FUTEXES, NO_PREALLOC);
/// The same by futex and thread that had it.
#[map]
static HOLDERS: HashMap<HolderKey, HolderStats> = HashMap::with_max_entries(FUTEXES, NO_PREALLOC);
/// Zeroes, to create large entries from.
#[cfg(not(feature = "untyped"))]
#[map]
static NO_LOCK: aya_ebpf::maps::Array<LockStats> = aya_ebpf::maps::Array::with_max_entries(1, 0);

/// Books the sleep of a task of process `tgid` that is woken now, if it is by a futex. `waker_tgid`: on whose time it is woken.
#[cfg(not(feature = "untyped"))]
#[inline(always)]
pub fn wait_ends(task: &TaskState, tgid: u32, waker_tgid: u32, now: u64) {
    if task.off_futex == 0 || task.off_kind != OFF_SLEEP {
        return;
    }
    // Woken already, or on its CPU.
    if task.off_ns == 0 || task.wake_ns >= task.off_ns {
        return;
    }
    let by = if tgid == waker_tgid { waker() } else { 0 };
    book(task, tgid, by, now);
}

#[cfg(feature = "untyped")]
#[inline(always)]
pub fn wait_ends(_task: &TaskState, _tgid: u32, _waker_tgid: u32, _now: u64) {}

/// The running thread, if it wakes by a futex; 0 if it does not: a signal, or an interrupt (a timeout) on its time.
#[cfg(not(feature = "untyped"))]
#[inline(always)]
fn waker() -> u32 {
    let current = current_task();
    if in_interrupt() || !waits::wakes_by_futex(current) {
        return 0;
    }
    field!(current, task_pid, u32)
}

#[cfg(not(feature = "untyped"))]
#[inline(never)]
fn book(task: &TaskState, tgid: u32, by: u32, now: u64) {
    let image = task.image & !image::LENT;
    if image == 0 {
        return;
    }
    // What lies before was in an earlier window.
    let from = if task.flush_ns > task.off_ns {
        task.flush_ns
    } else {
        task.off_ns
    };
    let lock = LockKey {
        address: task.off_futex,
        image,
        tgid,
    };
    if LOCKS.get_ptr(lock).is_none()
        && let Some(zeroes) = NO_LOCK.get(0)
    {
        let _ = LOCKS.insert(lock, zeroes, u64::from(BPF_NOEXIST));
    }
    let Some(stats) = LOCKS.get_ptr_mut(lock) else {
        lost(Lost::Locks);
        return;
    };
    let ns = now.saturating_sub(from);
    // SAFETY: a live map value; every addition is atomic.
    let stats = unsafe {
        add(&raw mut (*stats).waits, 1);
        add(&raw mut (*stats).wait_ns, ns);
        if has_ball(task) {
            add(&raw mut (*stats).with_ball_ns, ns);
        }
        &mut *stats
    };
    let mut key = HolderKey {
        lock,
        tid: by,
        pad: 0,
    };
    if by != 0 {
        meet(&key);
    }
    divide(stats, &mut key, from, now);
    if by != 0 {
        note_release(stats, by, now);
    }
}

/// Makes an entry for the running thread if it has none.
#[cfg(not(feature = "untyped"))]
#[inline(always)]
fn meet(key: &HolderKey) {
    if HOLDERS.get_ptr(key).is_none() {
        let comm: [u8; COMM_LEN] = probe(current_task() as u64, offset!(task_comm));
        let stats = HolderStats { wait_ns: 0, comm };
        if HOLDERS.insert(key, stats, u64::from(BPF_NOEXIST)).is_err()
            && HOLDERS.get_ptr(key).is_none()
        {
            lost(Lost::Locks);
        }
    }
}

/// One of the releases so far; the last one for 0.
#[cfg(not(feature = "untyped"))]
#[inline(always)]
fn back(stats: &mut LockStats, back: u64) -> &mut Release {
    let slot = stats.count.wrapping_sub(1).wrapping_sub(back) as usize & (RELEASES - 1);
    // SAFETY: the slot is masked to the array's length.
    unsafe { &mut *stats.releases.as_mut_ptr().add(slot) }
}

/// Books a sleep on those who had the futex: from the last release on the thread that wakes the sleeper now, before that the
/// one that let it go then, and so on. What lies further back is booked on nobody.
#[cfg(not(feature = "untyped"))]
#[inline(always)]
fn divide(stats: &mut LockStats, key: &mut HolderKey, from: u64, now: u64) {
    let mut end = now;
    let mut places = 0u64;
    while places < RELEASES as u64 {
        let last = back(stats, places);
        let (at, tid) = (last.at_ns, last.tid);
        let begin = if at > from { at } else { from };
        if begin < end {
            charge(key, end - begin);
            end = begin;
        }
        if at <= from {
            return;
        }
        key.tid = tid;
        places += 1;
    }
}

#[cfg(not(feature = "untyped"))]
#[inline(always)]
fn charge(key: &HolderKey, ns: u64) {
    if key.tid == 0 {
        return;
    }
    if let Some(stats) = HOLDERS.get_ptr_mut(key) {
        // SAFETY: a live map value; the addition is atomic.
        add(unsafe { &raw mut (*stats).wait_ns }, ns);
    }
}

/// Notes that a thread lets go. Several times in a row are one: nobody else woke anybody in between.
#[cfg(not(feature = "untyped"))]
#[inline(always)]
fn note_release(stats: &mut LockStats, by: u32, now: u64) {
    let last = back(stats, 0);
    if last.tid == by {
        last.at_ns = now;
        return;
    }
    stats.count = stats.count.wrapping_add(1);
    let next = back(stats, 0);
    next.at_ns = now;
    next.tid = by;
}

/// Whether a task that sleeps has a message that nobody has answered or passed on: one that it read since its last send, or
/// that was handed over to it before it went to sleep.
#[cfg(not(feature = "untyped"))]
#[inline(always)]
fn has_ball(task: &TaskState) -> bool {
    let has_read = task.reads_kept != 0 && !prompt::is_ended(task.last_read.token);
    let given = task.handover_read.token;
    let was_given = given != 0 && task.handover_wake_ns <= task.off_ns && !prompt::is_ended(given);
    has_read || was_given
}
