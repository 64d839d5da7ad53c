//! Single events into a ring, where a user asked for them; without that, none of this is in the loaded programs.
//!
//! In: what the other modules saw, with the time they booked it at. Out: records in `EVENTS`. Every one that did not
//! fit is counted. Must not know: what is made of them.

use core::ptr::{addr_of, read_volatile};

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP, BPF_RB_RING_SIZE},
    helpers::generated::{bpf_get_current_pid_tgid, bpf_get_smp_processor_id},
    macros::map,
    maps::{PerCpuArray, RingBuf},
};
use courtside_wire::{
    COMM_LEN, FlowKey, Lost, TRANSPORT_UNIX,
    events::{
        ArrivalEvent, CONNECTION_MIDLIFE, ConnectionEvent, DiskEvent, EVENT_ARRIVAL,
        EVENT_CONNECTION, EVENT_EXEC, EVENT_EXIT, EVENT_FORK, EVENT_HELD, EVENT_KINDS, EVENT_LOOK,
        EVENT_RECEIVE, EVENT_SEND, EVENT_STATE, EVENT_SWITCH, EVENT_TASK, EVENT_WAKE, EventHead,
        ExecEvent, ForkEvent, HeldEvent, LookEvent, ReceiveEvent, SendEvent, StateEvent,
        SwitchEvent, TASK_PROMPTED, TaskEvent, WAKE_WAITED, WakeEvent,
    },
};

use crate::{
    address, field,
    image::LENT,
    kernel::probe,
    loss::lost,
    maps::EndKey,
    offset,
    state::{SockState, TaskState},
};

/// The ring. User space sizes it; one page where nobody asked for events.
#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(4096, 0);
/// Events by kind: how many happened, and how many of them found no room.
#[map]
static EVENT_COUNTS: PerCpuArray<[u64; 2]> = PerCpuArray::with_max_entries(EVENT_KINDS as u32, 0);
/// Connections numbered by each CPU.
#[map]
static CONNECTIONS: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// 1 when single events are wanted: a constant for the verifier, so what is off costs nothing.
#[unsafe(no_mangle)]
pub static FEATURE_EVENTS: u32 = 0;

/// The reader is woken each time this part of the ring has filled, and looks from time to time by itself.
const SHARES: u64 = 8;
/// No two events are longer than this.
const NEAR: u64 = 256;
/// Bits of a connection's number that tell the CPU that gave it: as many as the kernel has numbers for.
const CPU_BITS: u32 = 13;
/// Marks a task as told, also when its image was not known then.
const TOLD: u32 = 0x8000_0000;

/// Whether single events are wanted.
#[inline(always)]
pub fn wanted() -> bool {
    // SAFETY: a read of our own read-only global.
    unsafe { read_volatile(addr_of!(FEATURE_EVENTS)) != 0 }
}

#[inline(always)]
fn current_tid() -> u32 {
    // SAFETY: no arguments.
    unsafe { bpf_get_current_pid_tgid() as u32 }
}

#[inline(always)]
fn head(time_ns: u64, tid: u32, kind: u8, flags: u8) -> EventHead {
    EventHead {
        time_ns,
        tid,
        kind,
        flags,
        // SAFETY: no arguments.
        cpu: unsafe { bpf_get_smp_processor_id() as u16 },
    }
}

/// Puts one event into the ring. `false` if it had no room, which is counted.
#[inline(always)]
fn put<T: 'static>(kind: u8, event: T) -> bool {
    let counts = EVENT_COUNTS.get_ptr_mut(u32::from(kind));
    if let Some(counts) = counts {
        // SAFETY: a slot of this CPU.
        unsafe { (*counts)[0] += 1 };
    }
    let Some(mut room) = EVENTS.reserve::<T>(0) else {
        if let Some(counts) = counts {
            // SAFETY: as above.
            unsafe { (*counts)[1] += 1 };
        }
        lost(Lost::Events);
        return false;
    };
    room.write(event);
    let share = EVENTS.query(u64::from(BPF_RB_RING_SIZE)) / SHARES;
    let beyond = EVENTS
        .query(u64::from(BPF_RB_AVAIL_DATA))
        .wrapping_sub(share);
    room.submit(u64::from(if beyond < NEAR {
        BPF_RB_FORCE_WAKEUP
    } else {
        BPF_RB_NO_WAKEUP
    }));
    true
}

/// Tells a task when it is seen first, and when its image has changed. `task` must be a typed pointer.
#[inline(always)]
pub fn task_event(task: *const u8, state: &mut TaskState, now: u64) {
    if state.told != state.image | TOLD {
        tell_task(task, state, now);
    }
}

#[inline(never)]
fn tell_task(task: *const u8, state: &mut TaskState, now: u64) {
    let event = TaskEvent {
        head: head(
            now,
            field!(task, task_pid, u32),
            EVENT_TASK,
            if state.prompted != 0 {
                TASK_PROMPTED
            } else {
                0
            },
        ),
        tgid: field!(task, task_tgid, u32),
        image: state.image & !LENT,
        born_ns: state.born_ns,
        off_ns: state.off_ns,
        wake_ns: state.wake_ns,
        off_kind: state.off_kind,
        pad: 0,
        comm: probe::<[u8; COMM_LEN]>(task as u64, offset!(task_comm)),
    };
    if put(EVENT_TASK, event) {
        state.told = state.image | TOLD;
    }
}

/// Tells a connection when it is seen first, and when what it is booked on has changed; returns its number.
#[inline(always)]
fn announced_number(sk: *const u8, socket: &mut SockState, now: u64) -> u64 {
    let key = socket.flow_key();
    if socket.number == 0 || socket.told != key {
        tell_connection(sk, socket, &key, now);
    }
    socket.number
}

#[inline(never)]
fn tell_connection(sk: *const u8, socket: &mut SockState, key: &FlowKey, now: u64) {
    if socket.number == 0
        && let Some(count) = CONNECTIONS.get_ptr_mut(0)
    {
        // SAFETY: a slot of this CPU.
        unsafe {
            *count += 1;
            socket.number = *count << CPU_BITS | u64::from(bpf_get_smp_processor_id());
        }
    }
    let mut ends = EndKey {
        local: [0; 2],
        remote: [0; 2],
        local_port: 0,
        remote_port: 0,
        netns: 0,
    };
    if socket.transport != TRANSPORT_UNIX {
        address::inet_key(sk, socket.netns, &mut ends);
    }
    let midlife = if socket.midlife != 0 {
        CONNECTION_MIDLIFE
    } else {
        0
    };
    let event = ConnectionEvent {
        head: head(now, current_tid(), EVENT_CONNECTION, midlife),
        connection: socket.number,
        // SAFETY: sixteen bytes either way.
        local: unsafe { core::mem::transmute::<[u64; 2], [u8; 16]>(ends.local) },
        // SAFETY: as above.
        remote: unsafe { core::mem::transmute::<[u64; 2], [u8; 16]>(ends.remote) },
        local_port: ends.local_port,
        remote_port: ends.remote_port,
        netns: socket.netns,
        key: *key,
        pad: 0,
    };
    if put(EVENT_CONNECTION, event) {
        socket.told = *key;
    } else {
        // To be told again.
        socket.told = FlowKey::default();
    }
}

/// `prev` left the CPU to `next`.
#[inline(always)]
pub fn switch_event(now: u64, prev_tid: u32, kind: u32, next: *const u8) {
    let event = SwitchEvent {
        head: head(now, prev_tid, EVENT_SWITCH, kind as u8),
        next_tid: field!(next, task_pid, u32),
        pad: 0,
    };
    put(EVENT_SWITCH, event);
}

/// The running task woke `woken`, which was off the CPU or not; or an interrupt did, and that is nobody.
#[inline(always)]
pub fn wake_event(now: u64, woken: *const u8, waited: bool, by_interrupt: bool) {
    let event = WakeEvent {
        head: head(
            now,
            if by_interrupt { 0 } else { current_tid() },
            EVENT_WAKE,
            if waited { WAKE_WAITED } else { 0 },
        ),
        woken_tid: field!(woken, task_pid, u32),
        pad: 0,
    };
    put(EVENT_WAKE, event);
}

/// A quota held the running task back in its last wait.
#[inline(always)]
pub fn held_event(now: u64, held_ns: u64) {
    let event = HeldEvent {
        head: head(now, current_tid(), EVENT_HELD, 0),
        held_ns,
    };
    put(EVENT_HELD, event);
}

/// What a send or receive was; see [`SendEvent`] and [`ReceiveEvent`].
pub struct Transfer {
    pub now: u64,
    pub before_ns: u64,
    pub bytes: u32,
    pub floor_ns: u32,
    pub flags: u8,
    pub key: FlowKey,
}

/// The running task sent.
#[inline(never)]
pub fn send_event(sk: *const u8, socket: &mut SockState, what: &Transfer) {
    let event = SendEvent {
        connection: announced_number(sk, socket, what.now),
        head: head(what.now, current_tid(), EVENT_SEND, what.flags),
        began_before_ns: what.before_ns,
        bytes: what.bytes,
        key: what.key,
    };
    put(EVENT_SEND, event);
}

/// The running task received.
#[inline(never)]
pub fn receive_event(sk: *const u8, socket: &mut SockState, what: &Transfer) {
    let event = ReceiveEvent {
        connection: announced_number(sk, socket, what.now),
        head: head(what.now, current_tid(), EVENT_RECEIVE, what.flags),
        arrived_before_ns: what.before_ns,
        bytes: what.bytes,
        floor_ns: what.floor_ns,
        key: what.key,
        pad: 0,
    };
    put(EVENT_RECEIVE, event);
}

/// Data became readable.
#[inline(never)]
pub fn arrival_event(sk: *const u8, socket: &mut SockState, now: u64) {
    let event = ArrivalEvent {
        connection: announced_number(sk, socket, now),
        head: head(now, current_tid(), EVENT_ARRIVAL, 0),
    };
    put(EVENT_ARRIVAL, event);
}

/// A TCP connection changed its state.
#[inline(never)]
pub fn state_event(sk: *const u8, socket: &mut SockState, now: u64, before: u32, after: u32) {
    let event = StateEvent {
        connection: announced_number(sk, socket, now),
        head: head(now, current_tid(), EVENT_STATE, 0),
        before,
        after,
    };
    put(EVENT_STATE, event);
}

/// A block request started or ended.
#[inline(never)]
pub fn disk_event(kind: u8, flags: u8, request: u64, bytes: u32, image: u32) {
    let event = DiskEvent {
        head: head(crate::kernel::now_ns(), current_tid(), kind, flags),
        request,
        bytes,
        image,
    };
    put(kind, event);
}

/// A task was made.
#[inline(always)]
pub fn fork_event(now: u64, child: *const u8, state: &mut TaskState) {
    let event = ForkEvent {
        head: head(now, current_tid(), EVENT_FORK, 0),
        tid: field!(child, task_pid, u32),
        tgid: state.tgid,
        image: state.image & !LENT,
        pad: 0,
    };
    if put(EVENT_FORK, event) {
        state.told = state.image | TOLD;
    }
}

/// A task is another program now.
#[inline(always)]
pub fn exec_event(now: u64, task: *const u8, old_tid: u32, state: &mut TaskState) {
    let event = ExecEvent {
        head: head(now, field!(task, task_pid, u32), EVENT_EXEC, 0),
        old_tid,
        image: state.image & !LENT,
        comm: probe::<[u8; COMM_LEN]>(task as u64, offset!(task_comm)),
    };
    if put(EVENT_EXEC, event) {
        state.told = state.image | TOLD;
    }
}

/// A task ended.
#[inline(always)]
pub fn exit_event(tid: u32) {
    put(
        EVENT_EXIT,
        head(crate::kernel::now_ns(), tid, EVENT_EXIT, 0),
    );
}

/// The running task looks again in vain; the first look was over at `first_ns`.
#[inline(never)]
pub fn look_event(state: &mut TaskState, first_ns: u64) {
    let now = crate::kernel::now_ns();
    task_event(crate::kernel::current_task(), state, now);
    let event = LookEvent {
        head: head(now, current_tid(), EVENT_LOOK, 0),
        first_before_ns: now.saturating_sub(first_ns),
    };
    put(EVENT_LOOK, event);
}
