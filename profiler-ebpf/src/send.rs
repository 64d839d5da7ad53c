//! Sends on TCP, UDP and Unix sockets, as told when the call has finished: a reply may arrive before that; `tcp.rs` notes the
//! start of TCP sends.
//!
//! In: sends (`hooks_*.rs`). Out: flows, and what the thread's turnaround was. Must not know: hooks, names, windows.

use courtside_wire::{
    FlowStats, ROLE_ACCEPTOR, ROLE_INITIATOR, ROLE_UNKNOWN, TRANSPORT_TCP, TRANSPORT_UDP,
    TRANSPORT_UNIX,
};

use crate::{
    atomic::{add, drain},
    clock, field,
    flows::flow_of,
    held::{book_held, hold_send, lose_held, release},
    image,
    kernel::{current_task, now_ns, pmu_turnaround_wanted},
    maps::settings,
    net::{Send, Turn, answered, is_counted_family, turn_out, unanswered},
    own, peer, ring,
    state::{DIR_IN, DIR_OUT, EPISODES, OFF_RUN_QUEUE, READY_UNSURE, SockState, TaskState, clear},
    storage::{known_socket_state, socket_state, task_state},
    tcp, turnaround,
};

/// Look-ups of the other end for which the first sends wait to be booked on it.
const HOLD: u8 = 4;

/// A send call took `length` bytes, or failed with that error.
#[inline(always)]
pub fn on_send(sk: *const u8, length: i32) -> i32 {
    if length <= 0 {
        if let Some(socket) = known_socket_state(sk) {
            socket.sending_ns = 0;
        }
        if pmu_turnaround_wanted()
            && let Some(task) = task_state(current_task())
        {
            clear(&mut task.sending_counts[0]);
        }
        return 0;
    }
    if !is_counted_family(sk) {
        return peer::unplaced(sk);
    }
    let Some(settings) = settings() else { return 0 };
    let epoch = settings.epoch;
    let current = current_task();
    let (Some(task), Some(socket)) = (task_state(current), socket_state(sk)) else {
        return 0;
    };
    if !peer::classify(sk, socket) {
        clear(&mut socket.sending_ns);
        return peer::unplaced(sk);
    }
    // The clock costs as much as a look-up: where the start of the call is known, nothing needs its end.
    let now = if !ring::wanted() && socket.has_sequence() && socket.sending_ns != 0 {
        socket.sending_ns
    } else {
        now_ns()
    };
    let image = image::image_of(current, task);
    let tid = field!(current, task_pid, u32);
    if socket.role == ROLE_UNKNOWN {
        socket.role = ROLE_INITIATOR;
    }
    peer::meet(sk, socket, task.tgid, image);

    // When the call began, as far as the kernel shows it.
    let mut start = now;
    if socket.has_sequence() {
        if socket.sending_ns != 0 {
            start = socket.sending_ns;
        }
        socket.sent_after_ns = start;
    } else if socket.mptcp != 0 {
        if task.mptcp_ns != 0 {
            start = task.mptcp_ns;
        }
        clear(&mut task.mptcp_ns);
        socket.sent_after_ns = start;
    } else {
        if task.ready_port & READY_UNSURE != 0 && !peer::is_connected_to(sk, task.ready_port as u16)
        {
            clear(&mut task.ready_ns);
        }
        if task.ready_ns != 0 {
            start = task.ready_ns;
            if task.ready_image != 0 {
                socket.peer = task.ready_image;
            }
            if socket.role == ROLE_INITIATOR && task.ready_port != 0 {
                socket.port = task.ready_port as u16;
            }
        } else if socket.transport == TRANSPORT_UDP && socket.peer == 0 {
            socket.peer = peer::udp_remote(sk, socket);
            socket.peer_sure = u8::from(socket.peer != 0);
        }
        if socket.port == 0 && socket.role == ROLE_INITIATOR {
            // The kernel delivered late, and the answer was there before this send was told.
            socket.port = socket.source_port;
        }
        let known = socket.request.arrival_ns;
        socket.sent_after_ns = if task.ready_ns != 0 { start } else { known };
    }
    let arrived_here = task.ready_ns != 0;
    let start_known = arrived_here || start != now || socket.sending_ns != 0;
    socket.start_known = u8::from(start_known);
    clear(&mut task.ready_ns);
    clear(&mut task.ready_sk);

    clock::settle(task, now);
    // Whatever it looked for in vain before, it was not the message that it reads next.
    task.looks = 0;
    if socket.transport == TRANSPORT_UNIX {
        // Of TCP it is known before anything is on its way.
        own::judge(sk, socket, start);
    }
    // The other end may be on this host and about to show itself: what it gets is booked when it has. Asked before the
    // flow is looked up: the other end's answer may make it known in between.
    let hold = socket.peer_sure == 0
        && socket.peer_tries <= HOLD
        && if socket.transport == TRANSPORT_TCP {
            // Closed during the call, it has nothing to wait for.
            field!(sk, sock_state, u8) != peer::CLOSE
        } else {
            socket.peer == 0 && (arrived_here || field!(sk, sock_dport, u16) == 0)
        };
    let Some(stats) = flow_of(socket) else {
        // It is over all the same: what is read from now on answers no running send.
        clear(&mut socket.sending_ns);
        lose_held(socket);
        return 0;
    };
    if tcp::may_be_taken(socket) {
        tcp::taken_unseen(sk, socket, stats, false);
    }
    let send = Send {
        start_ns: start,
        length: length as u64,
        epoch,
        tid,
        hold: u32::from(hold),
    };
    send_book(socket, task, stats, &send);
    if ring::wanted() {
        ring::task_event(current, task, now);
        let what = ring::Transfer {
            now,
            before_ns: now.saturating_sub(start),
            bytes: length as u32,
            floor_ns: 0,
            flags: socket.start_known,
            // SAFETY: a live map value.
            key: unsafe { (*stats).key },
        };
        ring::send_event(sk, socket, &what);
    }
    turnaround::after_send(task, stats, &send);
    if socket.skips_answers != 0 && task.ended == turnaround::NOTHING {
        socket.interleaved = 1;
    }
    0
}

/// What a send means to its connection, and where the turnaround began that it ends. The kernel verifies a global function by
/// itself, once, and not for each way that leads to its calls (from 5.13 on, so not in the object for old kernels).
#[cfg_attr(not(feature = "untyped"), unsafe(no_mangle))]
#[inline(never)]
extern "C" fn send_book(
    socket: *mut SockState,
    task: *mut TaskState,
    stats: *mut FlowStats,
    send: *const Send,
) -> u32 {
    // SAFETY: null, or live map values and a record of the caller.
    let (Some(socket), Some(task), Some(send)) = (
        unsafe { socket.as_mut() },
        unsafe { task.as_mut() },
        unsafe { send.as_ref() },
    ) else {
        return 0;
    };
    if stats.is_null() {
        return 0;
    }
    let (start, epoch) = (send.start_ns, send.epoch);
    let reader = socket.request.reader;
    if reader != send.tid && reader != 0 {
        socket.by_several = 1;
    }
    // Before another thread that reads here can find this send booked: what it reads then is the next request.
    task.found = unanswered(socket);
    let early = socket.sending_ns != 0 && is_booked(socket);
    if early {
        // It has come meanwhile.
        task.found = socket.early;
    }
    socket.skips_answers = 0;
    let begins = early || socket.direction != DIR_OUT;
    let orphan = socket.orphan_ns;
    if orphan != 0 {
        // Only then: another thread may be about to note one.
        socket.orphan_ns = 0;
    }
    if socket.awaiting != 0 && orphan > socket.sent_ns && orphan <= start {
        missed_answer(socket, stats, orphan, epoch);
    }
    if orphan > start {
        // Another thread has read the answer already: the send came first all the same.
        // SAFETY: a live map value.
        unsafe {
            add(&raw mut (*stats).messages_sent, 1);
            if socket.orphan_turned == 0 {
                add(&raw mut (*stats).messages_received, 1);
                // It was no piece of the answer before.
                socket.in_waits = 0;
            }
        }
        answered(stats, orphan - start, epoch, socket.interleaved != 0);
        socket.out_waits = 0;
        socket.sent_ns = start;
    } else if !early {
        if socket.direction != DIR_OUT {
            // Whoever sends pieces of one message, and the next one on its own account, does not wait for answers.
            let by_another = socket.request.reader != send.tid && socket.role == ROLE_INITIATOR;
            socket.skips_answers = socket.out_waits & u8::from(by_another);
            // A stream both ways over a Unix socket: see `sender_unprompted`.
            let answers = socket.transport != TRANSPORT_UNIX || task.prompted != 0;
            let turn = Turn {
                start_ns: start,
                epoch,
                hold: send.hold,
                answers: u32::from(answers),
                read: task.found,
            };
            turn_out(socket, stats, &turn);
        } else {
            sent_again(task, socket, send);
        }
        socket.pending = 0;
        // Whoever reads the answer meanwhile, and finds that it was waited for, takes the start from here.
        // SAFETY: valid references.
        unsafe {
            core::ptr::write_volatile(&raw mut socket.sent_ns, start);
            core::ptr::write_volatile(&raw mut socket.awaiting, 1);
        }
        if socket.sending_ns != 0 && is_overtaken(socket, start) {
            socket.direction = DIR_IN;
            socket.pending = 1;
        }
    }
    if send.hold != 0 {
        hold_send(socket, send.length);
        // SAFETY: a valid reference. Read anew: it may have closed on another CPU, which booked what waited then.
        if unsafe { core::ptr::read_volatile(&raw const socket.closed) } != 0 {
            book_held(socket, stats);
        }
    } else {
        // SAFETY: a live map value.
        unsafe { add(&raw mut (*stats).bytes_sent, send.length) };
        release(socket, stats);
    }
    socket.sender = send.tid;
    socket.sent_voluntary = task.voluntary;
    // Only now: what is read until here, and came after the start, answers this send.
    clear(&mut socket.sending_ns);
    turnaround::find_start(task, send);
    if begins && socket.role == ROLE_INITIATOR {
        let unseen = u8::from(turnaround::is_unseen(task));
        if socket.unseen != unseen {
            socket.unseen = unseen;
        }
    }
    0
}

/// Whether another thread has read the answer to the running send, and booked that early. Where whoever reads has always been
/// the one that sends, there is none that may be about to.
#[inline(always)]
fn is_booked(socket: &mut SockState) -> bool {
    if socket.by_several != 0 {
        return drain(&raw mut socket.to_book) == 0;
    }
    let is_booked = socket.to_book == 0;
    clear(&mut socket.to_book);
    is_booked
}

/// Whether another thread has read the next request while this send, which began at `start`, was being booked. It has noted
/// that request, and says so in the place from which the booking was taken; that is told here after the connection has been
/// turned around, by an instruction that both of them do at once: one of the two sees what the other has written.
#[inline(always)]
fn is_overtaken(socket: &mut SockState, start: u64) -> bool {
    if socket.by_several != 0 {
        return drain(&raw mut socket.to_book) == start;
    }
    // SAFETY: a valid reference.
    unsafe { core::ptr::read_volatile(&raw const socket.to_book) == start }
}

/// Whether `task`, which sends again without having received an answer, waited for anything since the send before, or is
/// another one. What it waited for within the call is not that.
#[inline(always)]
fn waited_between(task: &TaskState, socket: &SockState, send: &Send) -> bool {
    if socket.sender != send.tid {
        return true;
    }
    let waits = task.voluntary.wrapping_sub(socket.sent_voluntary);
    let mut within = 0u64;
    let mut back = 0u32;
    while back < 4 {
        if back >= task.episode_count {
            break;
        }
        let slot = task.episode_count.wrapping_sub(1).wrapping_sub(back) as usize & (EPISODES - 1);
        // SAFETY: the slot is masked to the array's length.
        let wait = unsafe { &*task.episodes.as_ptr().add(slot) };
        if wait.off_ns < send.start_ns {
            break;
        }
        within += u64::from(wait.kind != u64::from(OFF_RUN_QUEUE));
        back += 1;
    }
    waits > within
}

/// A send that begins no message: one more piece of a reply or of a request, or one more message that nobody waited for.
#[inline(never)]
fn sent_again(task: &TaskState, socket: &mut SockState, send: &Send) {
    if socket.midlife != 0 {
        // Programs are attached one after the other: the answer in between may have gone unseen.
        return;
    }
    if socket.transport == TRANSPORT_UDP {
        // A datagram is a message by itself: two are open now.
        if socket.role == ROLE_INITIATOR {
            socket.overlap |= socket.awaiting;
        }
        return;
    }
    if waited_between(task, socket, send) {
        socket.out_waits = 1;
        if socket.role == ROLE_ACCEPTOR && socket.in_waits != 0 {
            // Both the request and the reply come in pieces: they are several.
            socket.interleaved = 1;
        }
    }
}

/// The last send was answered while it was being booked, and neither saw the other.
#[inline(never)]
fn missed_answer(socket: &mut SockState, stats: *mut FlowStats, orphan: u64, epoch: u32) {
    if socket.orphan_turned == 0 {
        // SAFETY: a live map value.
        unsafe { add(&raw mut (*stats).messages_received, 1) };
        // It was no piece of the answer before.
        socket.in_waits = 0;
    }
    let latency = orphan.saturating_sub(socket.sent_ns);
    answered(stats, latency, epoch, socket.interleaved != 0);
    socket.awaiting = 0;
    socket.direction = DIR_IN;
}
