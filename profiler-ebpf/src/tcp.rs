//! What only TCP has: the start of a send call, sequence numbers, minimum RTT, connection state, retransmits.
//!
//! In: `tcp_sendmsg_locked`, `inet_sock_set_state`, `tcp_retransmit_skb`, and calls from `net`. Out: socket state,
//! listeners, flows. Must not know: turns.

use aya_ebpf::{EbpfContext, programs::BtfTracePointContext};
use courtside_wire::{ABSENT, FlowStats, ListenKey, Lost, ROLE_ACCEPTOR, ROLE_INITIATOR};

use crate::{
    atomic::add,
    field,
    flows::{flow_of, known_flow_of},
    held, image,
    kernel::{current_task, now_ns, pmu_turnaround_wanted, probe},
    loss::lost,
    maps::LISTENERS,
    offset, own, peer, pmu, ring,
    state::{HELD_CONNECT, MPTCP_PART, SockState, TO_BOOK, clear},
    storage::{known_socket_state, socket_state, task_state},
    tcp_sock::tcp_sock,
    twice,
};

const IPPROTO_TCP: u16 = 6;
const ESTABLISHED: u32 = 1;
const SYN_SENT: u32 = 2;
const SYN_RECV: u32 = 3;
const CLOSE: u32 = 7;
const CLOSE_WAIT: u32 = 8;
const LAST_ACK: u32 = 9;
const LISTEN: u32 = 10;

/// Data arrived: a new arrival if everything announced before has been read.
#[inline(always)]
pub fn note_tcp_arrival(sk: *const u8, socket: &mut SockState, now: u64) {
    let Some(tcp) = tcp_sock(sk) else { return };
    let next = field!(tcp, tcp_rcv_nxt, u32);
    let read = field!(tcp, tcp_copied_seq, u32);
    if socket.counts == 0 {
        socket.counts = 1;
        socket.counted_seq = read;
    }
    if socket.arrival_ns == 0 || read.wrapping_sub(socket.ready_seq) as i32 >= 0 {
        socket.arrival_before_ns = socket.arrival_ns;
        socket.arrival_ns = now;
        socket.arrival_seq = read;
    }
    socket.ready_seq = next;
}

/// Arrival of the `length` bytes just read, and whether the kernel told it. Sequence numbers tell it from an arrival
/// that came meanwhile.
#[inline(always)]
pub fn take_tcp_arrival(
    tcp: *const u8,
    socket: &mut SockState,
    length: u32,
    now: u64,
) -> (u64, bool) {
    let read = field!(tcp, tcp_copied_seq, u32);
    let first = read.wrapping_sub(length);
    if socket.counts == 0 {
        socket.counts = 1;
        socket.counted_seq = first;
    }
    socket.counted_seq = socket.counted_seq.wrapping_add(length);
    let was_left = socket.left_ns != 0 && socket.left_seq == first;
    let left_ns = socket.left_ns;
    let arrival_seq = socket.arrival_seq;
    let arrived_after = first.wrapping_sub(arrival_seq) as i32;
    let rest_is_new = arrival_seq.wrapping_sub(read) as i32 >= 0;
    if rest_is_new || field!(tcp, tcp_rcv_nxt, u32) == read {
        if left_ns != 0 {
            clear(&mut socket.left_ns);
        }
    } else {
        // More is waiting, and has since some time before now.
        socket.left_ns = now;
        socket.left_seq = read;
    }
    if was_left && arrived_after != 0 {
        return (left_ns, false);
    }
    if first.wrapping_sub(socket.ready_seq) as i32 >= 0 {
        // Nobody was told of it: what is known is the arrival of data that was read before.
        return (now, false);
    }
    let arrival = if arrived_after >= 0 {
        socket.arrival_ns
    } else {
        socket.arrival_before_ns
    };
    if arrival == 0 {
        (now, false)
    } else {
        (arrival, true)
    }
}

/// Whether data was announced that no receive has taken, for [`taken_unseen`] to look where it is. Sockets without
/// sequence numbers have neither number.
#[inline(always)]
pub fn may_be_taken(socket: &SockState) -> bool {
    socket.ready_seq != socket.counted_seq
}

/// Books what a call has taken that is no receive: `splice` and `sendfile` from a socket pass no hook. The kernel knows
/// how far the data is read. Where a receive may be about to say that it was the one (not at the `last` look), only what
/// nobody has claimed since the look before is booked.
#[inline(never)]
pub fn taken_unseen(
    sk: *const u8,
    socket: &mut SockState,
    stats: *mut FlowStats,
    last: bool,
) -> i32 {
    let Some(tcp) = tcp_sock(sk) else { return 0 };
    if socket.counts == 0
        || offset!(tcp_ulp) == ABSENT
        // What receives give is not what TCP carried.
        || field!(tcp, tcp_ulp, u64) != 0
    {
        return 0;
    }
    let read = field!(tcp, tcp_copied_seq, u32);
    let state = u32::from(field!(sk, sock_state, u8));
    let mut more = read.wrapping_sub(socket.counted_seq) as i32;
    if (state == CLOSE_WAIT || state == LAST_ACK) && field!(tcp, tcp_rcv_nxt, u32) == read {
        // The end of the stream was read, which has a number, too.
        more -= 1;
    }
    let more = if more > 0 { more as u32 } else { 0 };
    let unclaimed = if last || more < socket.uncounted_bytes {
        more
    } else {
        socket.uncounted_bytes
    };
    socket.uncounted_bytes = more - unclaimed;
    if unclaimed != 0 {
        socket.counted_seq = socket.counted_seq.wrapping_add(unclaimed);
        socket.unseen_bytes = socket.unseen_bytes.saturating_add(unclaimed);
        // SAFETY: a live map value.
        unsafe {
            add(&raw mut (*stats).bytes_received, u64::from(unclaimed));
            add(&raw mut (*stats).ambiguous, 1);
        }
    }
    0
}

/// How many of the `length` bytes that a receive gave [`taken_unseen`] has booked already: the receive may have waited for
/// the rest (`MSG_WAITALL`) while another thread sent twice.
#[inline(never)]
pub fn booked_before(sk: *const u8, socket: &mut SockState, length: u32) -> u32 {
    let Some(tcp) = tcp_sock(sk) else { return 0 };
    let over = socket
        .counted_seq
        .wrapping_sub(field!(tcp, tcp_copied_seq, u32));
    if over as i32 <= 0 {
        return 0;
    }
    let most = if length < socket.unseen_bytes {
        length
    } else {
        socket.unseen_bytes
    };
    let over = if over < most { over } else { most };
    socket.counted_seq = socket.counted_seq.wrapping_sub(over);
    socket.unseen_bytes -= over;
    over
}

/// The process closes the connection: nobody is in a call on it any more.
#[inline(never)]
fn closed(sk: *const u8, socket: &mut SockState) {
    /// `SHUTDOWN_MASK`
    const BOTH_WAYS: u8 = 3;
    if socket.transport != 0
        && may_be_taken(socket)
        && offset!(sock_shutdown) != ABSENT
        && field!(sk, sock_shutdown, u8) == BOTH_WAYS
        && let Some(stats) = known_flow_of(socket)
    {
        taken_unseen(sk, socket, stats, true);
    }
}

twice! {
    /// match-proto: tcp_sendmsg_locked(const struct sock *sk, const struct msghdr *msg, const struct sk_buff *skb, int size_goal)
    ///
    /// Fires for each piece of a send.
    SEND_START: tcp_sendmsg_locked, tcp_sendmsg_locked_again on "tcp_sendmsg_locked" =
        |ctx: &BtfTracePointContext| note_send_start(ctx.arg(0))
}

/// A send call is running; when that is first told is its start.
#[inline(always)]
pub fn note_send_start(sk: *const u8) -> i32 {
    let Some(socket) = socket_state(sk) else {
        return 0;
    };
    if socket.sending_ns == 0 {
        let now = now_ns();
        socket.to_book = TO_BOOK;
        socket.sending_ns = now;
        own::judge(sk, socket, now);
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
    let protocol = field!(sk, sock_protocol, u16);
    if protocol != IPPROTO_TCP && protocol != peer::IPPROTO_MPTCP {
        return 0;
    }
    if (before == ESTABLISHED || before == CLOSE_WAIT)
        && after != CLOSE_WAIT
        && let Some(socket) = known_socket_state(sk)
    {
        closed(sk, socket);
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
            socket.in_waits = 0;
            socket.out_waits = 0;
            socket.interleaved = 0;
            socket.own_account = 0;
            socket.streamed = 0;
            socket.by_several = 0;
            socket.request.reader = 0;
            socket.closed = 0;
            clear(&mut socket.arrival_ns);
            clear(&mut socket.left_ns);
            socket.counts = 0;
            socket.uncounted_bytes = 0;
            socket.unseen_bytes = 0;
            socket.seen_born = 1;
            socket.image = image::image_of(current, task);
            socket.tgid = task.tgid;
            socket.syn_retransmits = 0;
            socket.connect_ns = if peer::classify(sk, socket) && socket.mptcp != MPTCP_PART {
                now_ns()
            } else {
                0
            };
        }
    } else if before == SYN_SENT && after == ESTABLISHED {
        // Only now the addresses are complete; the other end cannot have read anything yet.
        if let Some(socket) = known_socket_state(sk)
            && peer::classify(sk, socket)
        {
            peer::register_end(sk, socket);
            connected(sk, socket);
        }
    } else if (before == SYN_RECV || before == LISTEN) && after == ESTABLISHED {
        // An accepted MPTCP connection begins as its listener was.
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
        let mut key = listen_key(sk);
        if key.port == 0
            && let Some(socket) = known_socket_state(sk)
        {
            // A port that the kernel chose it has taken back by now.
            key.port = socket.local_port;
        }
        let _ = LISTENERS.remove(key);
    } else if after == CLOSE
        && let Some(socket) = known_socket_state(sk)
        && socket.transport != 0
    {
        if before == SYN_SENT {
            failed(sk, socket);
        }
        held::settle_held(socket);
        peer::forget_end(sk, socket);
    }
    if ring::wanted()
        && before != LISTEN
        && after != LISTEN
        && let Some(socket) = known_socket_state(sk)
        && socket.mptcp != MPTCP_PART
    {
        ring::state_event(sk, socket, now_ns(), before, after);
    }
    0
}

/// A connect has ended well. It is booked when the other end is known, as the first sends are.
#[inline(never)]
fn connected(sk: *const u8, socket: &mut SockState) {
    if socket.connect_ns == 0 {
        return;
    }
    socket.connected_after_ns = now_ns().saturating_sub(socket.connect_ns);
    clear(&mut socket.connect_ns);
    // Where the connection closes unused, this is who it was to.
    peer::meet(sk, socket, socket.tgid, socket.image);
    socket.peer_tries = 0;
    add(&raw mut socket.held, HELD_CONNECT);
}

/// A connect has ended without a connection: nobody listens, nobody answers, or its process gave up.
#[inline(never)]
fn failed(sk: *const u8, socket: &mut SockState) {
    if socket.connect_ns == 0 {
        return;
    }
    clear(&mut socket.connect_ns);
    peer::meet(sk, socket, socket.tgid, socket.image);
    if let Some(stats) = flow_of(socket) {
        // SAFETY: a live map value.
        unsafe {
            add(&raw mut (*stats).connects_failed, 1);
            add(
                &raw mut (*stats).syn_retransmits,
                u64::from(socket.syn_retransmits),
            );
        }
    }
}

/// Notes that `image` listens on the port of `sk`.
#[inline(always)]
pub fn listens(sk: *const u8, image: u32) {
    let key = listen_key(sk);
    if LISTENERS.insert(key, image, 0).is_err() {
        lost(Lost::Ends);
    }
    if let Some(socket) = socket_state(sk) {
        socket.local_port = key.port;
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
        if socket.mptcp == MPTCP_PART && socket.image == 0 {
            socket.image = peer::user_of_whole(sk, socket);
        }
        if socket.peer == 0 && socket.image != 0 {
            // The first send call goes on: nobody has looked for the other end yet.
            peer::meet(sk, socket, socket.tgid, socket.image);
        }
        let Some(stats) = flow_of(socket) else {
            return 0;
        };
        // SAFETY: a live map value.
        unsafe { add(&raw mut (*stats).retransmits, 1) };
        if u32::from(field!(sk, sock_state, u8)) == SYN_SENT {
            if socket.mptcp == MPTCP_PART {
                // The connect is that of the whole.
                // SAFETY: as above.
                unsafe { add(&raw mut (*stats).syn_retransmits, 1) };
            } else {
                socket.syn_retransmits = socket.syn_retransmits.saturating_add(1);
            }
        }
    }
    0
}
