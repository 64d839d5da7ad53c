//! Arrival of data at TCP, MPTCP, UDP and Unix sockets: when, and, where it can be told, who sent it.
//!
//! In: the announcement that a socket is readable (`hooks_*.rs`). Out: arrival times and the other end in the socket's
//! state; in the sender's state, where its running send made data readable. Must not know: turns, hooks.

use courtside_wire::{
    IMAGE_KERNEL, ROLE_ACCEPTOR, ROLE_INITIATOR, TRANSPORT_TCP, TRANSPORT_UDP, TRANSPORT_UNIX,
};

use crate::{
    field, image,
    kernel::{current_task, now_ns, pmu_turnaround_wanted, probe},
    mptcp,
    net::is_counted_family,
    offset, peer, pmu, ring,
    state::{ARRIVALS, MPTCP_PART, READY_UNSURE, SockState, TaskState},
    storage::{socket_state, task_state},
    tcp,
};

/// Index of the loopback device in every network namespace.
const LOOPBACK: u32 = 1;

/// Data became readable. Runs in the context of whatever delivers it: for Unix sockets always the sender, for loopback
/// UDP mostly.
#[inline(always)]
pub fn on_arrival(sk: *const u8) -> i32 {
    if !is_counted_family(sk) || field!(sk, sock_state, u8) == peer::LISTEN {
        return 0;
    }
    let now = now_ns();
    let Some(socket) = socket_state(sk) else {
        return 0;
    };
    if !peer::classify(sk, socket) {
        return 0;
    }
    if socket.mptcp == MPTCP_PART {
        return 0;
    }
    if ring::wanted() {
        ring::arrival_event(sk, socket, now);
    }
    if socket.transport == TRANSPORT_TCP {
        if socket.has_sequence() {
            tcp::note_tcp_arrival(sk, socket, now);
        } else {
            mptcp::note_mptcp_arrival(sk, socket, now);
        }
        return 0;
    }
    if socket.stream != 0 {
        // The data is in the queue before it is announced: a fast reader may have taken it already.
        if field!(sk, sock_receive_queue_len, u32) == 1 {
            socket.arrival_ns = now;
        }
    } else {
        // Two CPUs may deliver to one UDP socket at once; one arrival time may then be another's.
        let slot = socket.arrived as usize & (ARRIVALS - 1);
        // SAFETY: masked to the array's length.
        unsafe { *socket.arrivals.as_mut_ptr().add(slot) = now };
        socket.arrived = socket.arrived.wrapping_add(1);
    }
    let is_udp = socket.transport == TRANSPORT_UDP;
    // A fast reader may have taken it already: then it cannot be asked where it came from.
    let is_gone = is_udp && field!(sk, sock_receive_queue_len, u32) == 0;
    if is_udp && !is_gone && !came_over_loopback(sk, socket) {
        socket.from_afar = 1;
        return 0;
    }
    let current = current_task();
    if field!(current, task_pid, u32) == 0 {
        if !is_gone {
            delivered_for_another(sk, socket);
        }
        return 0;
    }
    let Some(task) = task_state(current) else {
        return 0;
    };
    let sender = image::image_of(current, task);
    if sender == IMAGE_KERNEL && is_udp {
        if !is_gone {
            delivered_for_another(sk, socket);
        }
        return 0;
    }
    if is_gone && !peer::is_bound_to_loopback(sk) {
        note_ready(sk, socket, task, now, READY_UNSURE);
        return 0;
    }
    if socket.transport == TRANSPORT_UNIX {
        socket.sender_unprompted = u8::from(task.prompted == 0);
    }
    if sender != IMAGE_KERNEL && (socket.peer != sender || socket.peer_sure == 0) {
        socket.peer = sender;
        socket.peer_sure = 1;
    }
    note_ready(sk, socket, task, now, 0);
    0
}

/// The kernel was too busy to deliver a datagram within the call that sent it. That call has ended by now, as a rule,
/// and its process is known by its port.
#[inline(never)]
fn delivered_for_another(sk: *const u8, socket: &mut SockState) {
    let last: u64 = probe(sk as u64, offset!(sock_receive_queue_last));
    let sender = peer::user_of_port(socket.netns, source_port(last));
    if sender != 0 && (socket.peer != sender || socket.peer_sure == 0) {
        socket.peer = sender;
        socket.peer_sure = 1;
    }
}

/// Notes where the running send of `task` made data readable, or may have (`unsure`).
#[inline(always)]
fn note_ready(sk: *const u8, socket: &SockState, task: &mut TaskState, now: u64, unsure: u32) {
    if task.ready_sk == sk as u64 && socket.transport == TRANSPORT_UNIX {
        return;
    }
    task.ready_ns = now;
    if pmu_turnaround_wanted() {
        task.sending_counts = pmu::counts(task);
    }
    task.ready_sk = sk as u64;
    task.ready_image = socket.image;
    task.ready_port = if socket.transport == TRANSPORT_UDP {
        u32::from(field!(sk, sock_num, u16)) | unsure
    } else {
        0
    };
}

/// Whether the last datagram in the queue came from this host. An initiator that sent to a port it did not connect to
/// learns the port from the datagram, or when its send is told: that may be later.
#[inline(always)]
fn came_over_loopback(sk: *const u8, socket: &mut SockState) -> bool {
    let last: u64 = probe(sk as u64, offset!(sock_receive_queue_last));
    if probe::<u32>(last, offset!(skb_iif)) != LOOPBACK {
        return false;
    }
    if socket.port == 0 && socket.role != ROLE_ACCEPTOR {
        socket.source_port = source_port(last);
        if socket.role == ROLE_INITIATOR {
            socket.port = socket.source_port;
        }
    }
    true
}

/// Port that a UDP datagram came from: the first field of its header.
#[inline(always)]
fn source_port(skb: u64) -> u16 {
    let head: u64 = probe(skb, offset!(skb_head));
    let transport: u16 = probe(skb, offset!(skb_transport_header));
    u16::from_be(probe(head + u64::from(transport), 0))
}
