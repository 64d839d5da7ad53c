//! Who sends on its own account: a stream both ways, of ticks, positions, pushed news, where nobody answers anybody.
//!
//! In: a send that begins at an end with an unanswered request, and its thread. Out: `own_account` or `interleaved` in the
//! socket's state, and a note for the other end, if that is on this host. Must not know: turns, hooks.

use aya_ebpf::{macros::map, maps::LruHashMap};
use courtside_wire::{ROLE_ACCEPTOR, TRANSPORT_UNIX};

use crate::{
    address::{inet_key, unix_key},
    atomic::add,
    clock, field,
    flows::known_flow_of,
    kernel::{current_task, probe},
    maps::EndKey,
    offset,
    state::{EPISODES, OFF_RUN_QUEUE, SockState, TaskState},
    storage::task_state,
};

/// Ends that send on their own account, by their addresses; on Unix by the other end's socket. Eviction costs what an answer
/// does that nobody gave.
#[map]
static OWN_ACCOUNT: LruHashMap<EndKey, u32> = LruHashMap::with_max_entries(4096, 0);

#[inline(always)]
fn own_key(sk: *const u8, state: &SockState) -> EndKey {
    let mut key = unix_key(0);
    if state.transport != TRANSPORT_UNIX {
        inet_key(sk, state.netns, &mut key);
    }
    key
}

/// Whether the other end, on this host, sends on its own account.
#[inline(never)]
pub fn does_other_end(sk: *const u8, state: &SockState) -> bool {
    let key = if state.transport == TRANSPORT_UNIX {
        unix_key(state.address)
    } else {
        own_key(sk, state).reversed()
    };
    OWN_ACCOUNT.get_ptr(key).is_some()
}

/// Forgets an end.
#[inline(always)]
pub fn forget(key: &EndKey) {
    let _ = OWN_ACCOUNT.remove(key);
}

/// Whether the thread that begins to send now answers the request that another one has read, or sends on its own account:
/// a timer woke it, which it had waited for since before the request was read, and nobody of its process gave it anything.
/// That the request had arrived is no matter: until it is read, nobody of its process knows of it.
/// The first sends may come after a few waits, for threads that were made; whoever asks again and again whether there is
/// something to do waits more often.
#[inline(always)]
pub fn judge(sk: *const u8, socket: &mut SockState, now: u64) {
    // Where whoever reads has always been the one that sends, nobody has to be asked who it is.
    if socket.pending == 0
        || socket.by_several == 0 && socket.sender == socket.request.reader
        || socket.role != ROLE_ACCEPTOR
        || socket.own_account != 0
    {
        return;
    }
    judge_by_thread(sk, socket, now);
}

#[inline(never)]
fn judge_by_thread(sk: *const u8, socket: &mut SockState, now: u64) {
    let current = current_task();
    if socket.request.reader == field!(current, task_pid, u32) {
        return;
    }
    if let Some(task) = task_state(current) {
        clock::settle(task, now);
        if acts_on_own_account(task, socket.request.read_ns) {
            acts(sk, socket);
        }
    }
}

/// Waits of a thread between two sends on its own account, at most.
const OWN_WAITS: u64 = 4;

#[inline(never)]
fn acts_on_own_account(task: &TaskState, read_ns: u64) -> bool {
    let waits = task.voluntary.wrapping_sub(task.sent_voluntary);
    if task.sent_ns == 0
        || task.woken_by_own != 0
        || task.reads_kept != 0
        || task.handover_read.token != 0
        || waits == 0
        || waits > OWN_WAITS
        || task.episode_count == 0
    {
        return false;
    }
    let slot = task.episode_count.wrapping_sub(1) as usize & (EPISODES - 1);
    // SAFETY: the slot is masked to the array's length.
    let wait = unsafe { &*task.episodes.as_ptr().add(slot) };
    wait.kind != u64::from(OFF_RUN_QUEUE) && wait.off_ns < read_ns
}

/// What this end sends answers nobody; or, if requests came in pieces here, they are several, and it may answer any.
#[inline(never)]
fn acts(sk: *const u8, socket: &mut SockState) {
    if socket.streamed != 0 {
        socket.interleaved = 1;
        return;
    }
    socket.own_account = 1;
    let mut key = own_key(sk, socket);
    if socket.transport == TRANSPORT_UNIX {
        key = unix_key(probe(sk as u64, offset!(unix_peer)));
    }
    let _ = OWN_ACCOUNT.insert(key, 1, 0);
    // It has sent before: its flow is known, if there was room for one.
    if let Some(stats) = known_flow_of(socket) {
        // SAFETY: a live map value.
        unsafe { add(&raw mut (*stats).ambiguous, 1) };
    }
}
