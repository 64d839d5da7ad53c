//! What only TCP has: the start of a send call, sequence numbers, minimum RTT, connection state, retransmits.
//!
//! In: `tcp_sendmsg_locked`, `inet_sock_set_state`, `tcp_retransmit_skb`, and calls from `net`. Out: socket state,
//! listeners, flows. Must not know: turns.

#[cfg(not(feature = "untyped"))]
use aya_ebpf::helpers::generated;
use aya_ebpf::{EbpfContext, programs::BtfTracePointContext};
use courtside_wire::{ListenKey, Lost, ROLE_ACCEPTOR, ROLE_INITIATOR};

use crate::{
    field, image,
    kernel::{current_task, load, now_ns, pmu_turnaround_wanted, probe},
    maps::{LISTENERS, add, flow_of, known_socket_state, lost, socket_state, task_state},
    net, offset, peer, pmu, ring,
    state::{SockState, clear},
    twice,
};

const IPPROTO_TCP: u32 = 6;
const ESTABLISHED: u32 = 1;
const SYN_SENT: u32 = 2;
const SYN_RECV: u32 = 3;
const CLOSE: u32 = 7;
const LISTEN: u32 = 10;

/// The socket as a typed `tcp_sock`, which the verifier lets us read directly.
#[cfg(not(feature = "untyped"))]
#[inline(always)]
fn tcp_sock(sk: *const u8) -> Option<*const u8> {
    // SAFETY: the helper checks the socket's kind.
    let tcp = unsafe { generated::bpf_skc_to_tcp_sock(sk as *mut _) as *const u8 };
    if tcp.is_null() { None } else { Some(tcp) }
}

/// The socket as a `tcp_sock`, which begins with it. It was classified as one of TCP.
#[cfg(feature = "untyped")]
#[inline(always)]
fn tcp_sock(sk: *const u8) -> Option<*const u8> {
    if sk.is_null() { None } else { Some(sk) }
}

/// Data arrived: a new arrival if everything announced before has been read.
#[inline(always)]
pub fn arrived(sk: *const u8, socket: &mut SockState, now: u64) {
    let Some(tcp) = tcp_sock(sk) else { return };
    let next = field!(tcp, tcp_rcv_nxt, u32);
    let read = field!(tcp, tcp_copied_seq, u32);
    if socket.arrival_ns == 0 || read == socket.ready_seq {
        socket.arrival_before_ns = if socket.arrival_guess != 0 {
            0
        } else {
            socket.arrival_ns
        };
        socket.arrival_ns = now;
        socket.arrival_seq = read;
        socket.arrival_guess = 0;
    }
    socket.ready_seq = next;
}

/// Arrival of the `length` bytes just read, and whether the kernel told it. Sequence numbers tell it from an arrival
/// that came meanwhile.
#[inline(always)]
pub fn take_arrival(sk: *const u8, socket: &mut SockState, length: u32, now: u64) -> (u64, bool) {
    let Some(tcp) = tcp_sock(sk) else {
        return (now, false);
    };
    let read = field!(tcp, tcp_copied_seq, u32);
    let first = read.wrapping_sub(length);
    let newer = first.wrapping_sub(socket.arrival_seq) as i32 >= 0;
    let (arrival, guess) = if newer {
        (socket.arrival_ns, socket.arrival_guess != 0)
    } else {
        (socket.arrival_before_ns, false)
    };
    let rest_is_new = socket.arrival_seq.wrapping_sub(read) as i32 >= 0;
    if !rest_is_new && field!(tcp, tcp_rcv_nxt, u32) != read {
        // More is waiting, and has since some time before now.
        socket.arrival_before_ns = if guess { 0 } else { arrival };
        socket.arrival_ns = now;
        socket.arrival_seq = read;
        socket.arrival_guess = 1;
    }
    if arrival == 0 {
        (now, false)
    } else {
        (arrival, !guess)
    }
}

/// Smallest round-trip time the kernel has seen on this connection, 0 if none yet.
#[inline(always)]
pub fn min_rtt_ns(sk: *const u8) -> u64 {
    let Some(tcp) = tcp_sock(sk) else { return 0 };
    // `struct minmax` begins with the best of three samples, `{ u32 t, v }`.
    let micros: u32 = load(tcp, offset!(tcp_rtt_min) as usize + 4);
    if micros == u32::MAX {
        0
    } else {
        u64::from(micros) * 1000
    }
}

twice! {
    /// match-proto: tcp_sendmsg_locked(const struct sock *sk, const struct msghdr *msg, const struct sk_buff *skb, int size_goal)
    ///
    /// Fires for each piece of a send.
    SEND_START: tcp_sendmsg_locked, tcp_sendmsg_locked_again on "tcp_sendmsg_locked" =
        |ctx: &BtfTracePointContext| sending(ctx.arg(0))
}

/// A send call is running; when that is first told is its start.
#[inline(always)]
pub fn sending(sk: *const u8) -> i32 {
    let Some(socket) = socket_state(sk) else {
        return 0;
    };
    if socket.sending_ns == 0 {
        socket.sending_ns = now_ns();
        if pmu_turnaround_wanted()
            && let Some(task) = task_state(current_task())
        {
            task.sending_counts = pmu::counts(task);
        }
    }
    0
}

twice! {
    /// match-proto: inet_sock_set_state(const struct sock *sk, const int oldstate, const int newstate)
    SOCKET_STATE: inet_sock_set_state, inet_sock_set_state_again on "inet_sock_set_state" = state_set
}

#[inline(always)]
fn state_set(ctx: &BtfTracePointContext) -> i32 {
    let sk: *const u8 = ctx.arg(0);
    let before = ctx.arg::<u64>(1) as u32;
    let after = ctx.arg::<u64>(2) as u32;
    if u32::from(field!(sk, sock_protocol, u16)) != IPPROTO_TCP {
        return 0;
    }
    if after == SYN_SENT {
        let current = current_task();
        if let (Some(task), Some(socket)) = (task_state(current), socket_state(sk)) {
            // The same socket may have been connected before.
            socket.role = ROLE_INITIATOR;
            socket.peer = 0;
            socket.peer_sure = 0;
            socket.peer_tries = 0;
            socket.direction = 0;
            socket.pending = 0;
            socket.awaiting = 0;
            clear(&mut socket.arrival_ns);
            socket.seen_born = 1;
            socket.image = image::image_of(current, task);
            socket.tgid = task.tgid;
        }
    } else if before == SYN_SENT && after == ESTABLISHED {
        // Only now the addresses are complete; the other end cannot have read anything yet.
        if let Some(socket) = known_socket_state(sk)
            && peer::classify(sk, socket)
        {
            peer::arrive(sk, socket);
        }
    } else if before == SYN_RECV && after == ESTABLISHED {
        if let Some(socket) = socket_state(sk) {
            socket.role = ROLE_ACCEPTOR;
            socket.seen_born = 1;
        }
    } else if after == LISTEN {
        if ctx.pid() != 0
            && let Some(task) = task_state(current_task())
        {
            let image = image::image_of(current_task(), task);
            listens(sk, image);
        }
    } else if before == LISTEN && after == CLOSE {
        // Not at LISTEN → SYN_RECV: that is a connection, cloned from its listener.
        let _ = LISTENERS.remove(listen_key(sk));
    } else if after == CLOSE
        && let Some(socket) = known_socket_state(sk)
        && socket.transport != 0
    {
        net::settle(socket);
        peer::part(sk, socket);
    }
    if ring::wanted()
        && before != LISTEN
        && after != LISTEN
        && let Some(socket) = known_socket_state(sk)
    {
        ring::state(sk, socket, now_ns(), before, after);
    }
    0
}

/// Notes that `image` listens on the port of `sk`.
#[inline(always)]
pub fn listens(sk: *const u8, image: u32) {
    if LISTENERS.insert(listen_key(sk), image, 0).is_err() {
        lost(Lost::Ends);
    }
}

#[inline(always)]
fn listen_key(sk: *const u8) -> ListenKey {
    let net: u64 = probe(sk as u64, offset!(sock_net));
    ListenKey {
        netns: probe(net, offset!(net_inum)),
        port: field!(sk, sock_num, u16),
        pad: 0,
    }
}

twice! {
    /// match-proto: tcp_retransmit_skb(const struct sock *sk, const struct sk_buff *skb[, int err since 6.14])
    RETRANSMIT: tcp_retransmit_skb, tcp_retransmit_skb_again on "tcp_retransmit_skb" = retransmitted
}

#[inline(always)]
fn retransmitted(ctx: &BtfTracePointContext) -> i32 {
    let sk: *const u8 = ctx.arg(0);
    if let Some(socket) = known_socket_state(sk)
        && socket.transport != 0
    {
        if socket.peer == 0 && socket.image != 0 {
            // The first send call goes on: nobody has looked for the other end yet.
            peer::meet(sk, socket, socket.tgid, socket.image);
        }
        let Some(stats) = flow_of(socket) else {
            return 0;
        };
        // SAFETY: a live map value.
        unsafe { add(&raw mut (*stats).retransmits, 1) };
    }
    0
}
