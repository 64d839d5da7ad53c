//! Iterators: walk what exists. They give every task its clocks at the attach, flush clocks at a window's end, and
//! find the sockets that stood before the attach.
//!
//! In: `iter/task`, `iter/task_file`, run when user space reads their file. Out: task and socket state, totals,
//! listeners, the self-check. Must not know: what a window is.

use courtside_wire::{Lost, SelfCheck};

use crate::{
    clock, field, image,
    kernel::{finds_task_state, now_ns, probe},
    loss::lost,
    maps::{SELF_CHECK, settings},
    offset, peer, ring, runs, sched, spare,
    state::{OFF_BLOCK_IO, OFF_RUN_QUEUE, OFF_SLEEP},
    storage::{socket_state, task_state},
    tcp,
};

/// `TASK_UNINTERRUPTIBLE`
const UNINTERRUPTIBLE: u32 = 2;
/// `settings.scanning` while listeners are collected.
const SCAN_LISTENERS: u32 = 1;

/// The kernel's `struct bpf_iter__task`, a stable interface.
#[repr(C)]
struct TaskIter {
    meta: u64,
    task: u64,
}

/// The kernel's `struct bpf_iter__task_file`, a stable interface.
#[repr(C)]
struct TaskFileIter {
    meta: u64,
    task: u64,
    fd: u32,
    pad: u32,
    file: u64,
}

/// Gives a task its clocks if it has none, and adds what they gained to its image's totals.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
extern "C" fn iter_tasks(ctx: *const TaskIter) -> i32 {
    // SAFETY: the kernel passes a valid context.
    let task = unsafe { core::ptr::read_volatile(&raw const (*ctx).task) } as *const u8;
    if task.is_null() {
        return 0;
    }
    // First, so that a check that fails says that fields are wrong, and not that there was no room for state.
    check_task(task);
    let now = now_ns();
    let Some(state) = task_state(task) else {
        return 0;
    };
    if !finds_task_state() && state.born_ns == 0 && field!(task, task_state, u32) & sched::DEAD != 0
    {
        // Its state went at its last switch, and has just been made again.
        spare::leave(task as u64);
        return 0;
    }
    image::image_of(task, state);
    if state.born_ns == 0 {
        state.born_ns = now;
        state.prompted = 1;
        if field!(task, task_on_cpu, u8) == 0 {
            runs::note_throttled(state, task);
            let run_state = field!(task, task_state, u32);
            state.off_ns = now;
            state.off_kind = if run_state == 0 {
                OFF_RUN_QUEUE
            } else if run_state & UNINTERRUPTIBLE != 0
                && field!(task, task_in_iowait, u8) >> (offset!(task_in_iowait_bit) & 7) & 1 != 0
            {
                OFF_BLOCK_IO
            } else {
                OFF_SLEEP
            };
        }
    }
    let on = if field!(task, task_on_cpu, u8) != 0 {
        clock::last_switch_of(field!(task, task_cpu, u32))
    } else {
        0
    };
    let held_ns = runs::held_back_so_far(state, task, on, now);
    clock::flush(state, now, on, held_ns);
    if ring::wanted() {
        ring::task_event(task, state, now);
    }
    0
}

/// Lets user space compare what we read of its own task with /proc.
#[inline(always)]
fn check_task(task: *const u8) {
    let Some(check) = SELF_CHECK.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: a live map value.
    let check: &mut SelfCheck = unsafe { &mut *check };
    let tgid = field!(task, task_tgid, u32);
    let tid = field!(task, task_pid, u32);
    if tgid != check.want_tgid || tid != tgid {
        return;
    }
    check.tid = tid;
    check.tgid = tgid;
    check.start_boottime_ns = field!(task, task_start_boottime, u64);
    check.comm = probe(task as u64, offset!(task_comm));
    check.seen = 1;
}

/// Looks at every open socket: listeners first, then, in a second walk, everything else.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
extern "C" fn iter_sockets(ctx: *const TaskFileIter) -> i32 {
    // SAFETY: the kernel passes a valid context.
    let (task, file) = unsafe {
        (
            core::ptr::read_volatile(&raw const (*ctx).task) as *const u8,
            core::ptr::read_volatile(&raw const (*ctx).file) as *const u8,
        )
    };
    if task.is_null() || file.is_null() {
        return 0;
    }
    let socket = socket_of(file);
    if socket.is_null() {
        return 0;
    }
    let sk = field!(socket, socket_sk, *const u8);
    if sk.is_null() {
        return 0;
    }
    let Some(state) = task_state(task) else {
        return 0;
    };
    let image = image::image_of(task, state);
    let scanning = settings().map_or(0, |settings| settings.scanning);
    let listening = field!(sk, sock_state, u8) == peer::LISTEN;
    if scanning == SCAN_LISTENERS {
        if listening && field!(sk, sock_family, u16) != 1 {
            tcp::listens(sk, image);
        }
        return 0;
    }
    if listening {
        return 0;
    }
    let Some(socket) = socket_state(sk) else {
        lost(Lost::SocketState);
        return 0;
    };
    if peer::classify(sk, socket) && socket.tgid == 0 {
        peer::meet(sk, socket, state.tgid, image);
    }
    check_socket(sk, state.tgid);
    0
}

/// The `struct socket` of a file that is one, else null.
#[cfg(not(feature = "untyped"))]
#[inline(always)]
fn socket_of(file: *const u8) -> *const u8 {
    // SAFETY: the helper checks that the file is a socket.
    unsafe { aya_ebpf::helpers::generated::bpf_sock_from_file(file as *mut _) as *const u8 }
}

/// The same without that helper (before 5.11): a socket's inode says that it is one, and the socket knows its file.
#[cfg(feature = "untyped")]
#[inline(always)]
fn socket_of(file: *const u8) -> *const u8 {
    /// `S_IFMT` and `S_IFSOCK`
    const KIND: u16 = 0o170_000;
    const SOCKET: u16 = 0o140_000;
    let inode = field!(file, file_inode, *const u8);
    if field!(inode, inode_mode, u16) & KIND != SOCKET {
        return core::ptr::null();
    }
    let socket = field!(file, file_private_data, *const u8);
    // Not so of the path of a Unix socket, opened as such.
    if socket.is_null() || field!(socket, socket_file, *const u8) != file {
        return core::ptr::null();
    }
    socket
}

/// Lets user space compare what we read of one of its own sockets with what it knows.
#[inline(always)]
fn check_socket(sk: *const u8, tgid: u32) {
    let Some(check) = SELF_CHECK.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: a live map value.
    let check: &mut SelfCheck = unsafe { &mut *check };
    if check.want_tgid != tgid || field!(sk, sock_num, u16) != check.want_port {
        return;
    }
    check.family = field!(sk, sock_family, u16);
    check.port = field!(sk, sock_num, u16);
    check.remote_port = u16::from_be(field!(sk, sock_dport, u16));
}
