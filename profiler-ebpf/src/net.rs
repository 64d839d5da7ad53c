//! What sends and receives on TCP, UDP and Unix sockets share: messages, turns, answers.
//!
//! In: a socket's state, a flow. Out: what a flow gains. Must not know: hooks, threads, names, windows.

use courtside_wire::{FlowStats, ROLE_ACCEPTOR};

use crate::{
    atomic::add,
    dist::record,
    field,
    state::{DIR_IN, DIR_OUT, Request, SockState},
};

const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

#[inline(always)]
pub fn is_counted_family(sk: *const u8) -> bool {
    let family = field!(sk, sock_family, u16);
    family == AF_INET || family == AF_INET6 || family == AF_UNIX
}

/// The beginning of a message of this end.
pub struct Turn {
    pub start_ns: u64,
    pub epoch: u32,
    /// 1: it waits for the other end to be known.
    pub hold: u32,
    /// 1: its sender may know of what this end received.
    pub answers: u32,
}

/// A message of this end begins.
#[inline(always)]
pub fn turn_out(socket: &mut SockState, flow: *mut FlowStats, turn: &Turn) {
    if turn.hold != 0 {
        add(&raw mut socket.held, 1);
    } else {
        // SAFETY: a live map value.
        unsafe { add(&raw mut (*flow).messages_sent, 1) };
    }
    let first_turn = socket.midlife != 0 && socket.direction == DIR_IN;
    if first_turn {
        socket.midlife = 0;
    }
    if socket.in_waits != 0 {
        // All of a message that came in pieces is there: this end sends next.
        let took = socket.piece_ns.saturating_sub(socket.request.arrival_ns);
        // SAFETY: as above.
        unsafe { record(&raw mut (*flow).receiving_ns, took, turn.epoch) };
    }
    if turn.answers != 0 && is_open(socket) {
        // Datagrams are requests by themselves: of two, nobody knows which is answered.
        socket.interleaved |= socket.overlap;
        let service = turn.start_ns.saturating_sub(socket.request.arrival_ns);
        if first_turn {
            // SAFETY: as above.
            unsafe { add(&raw mut (*flow).midlife_turns, 1) };
        } else {
            answered(flow, service, turn.epoch, socket.interleaved != 0);
        }
    }
    socket.out_waits = 0;
    socket.direction = DIR_OUT;
}

/// Whether a request waits for an answer by this end. A reply is nothing to be answered, nor is what comes to an end that
/// sends on its own account.
#[inline(always)]
pub fn is_open(socket: &SockState) -> bool {
    socket.pending != 0 && socket.role == ROLE_ACCEPTOR && socket.own_account == 0
}

/// Books an answer that took so long; how long it took says nothing where several requests were open.
#[inline(always)]
pub fn answered(flow: *mut FlowStats, ns: u64, epoch: u32, untimed: bool) {
    // SAFETY: a live map value.
    unsafe {
        if untimed {
            add(&raw mut (*flow).untimed, 1);
        } else {
            record(&raw mut (*flow).answer_ns, ns, epoch);
        }
    }
}

/// The connection's unanswered request, if it still waits.
#[inline(always)]
pub fn unanswered(socket: &SockState) -> Request {
    let mut found = socket.request;
    if !is_open(socket) {
        found.token = 0;
    }
    found
}

/// A send call that is over.
#[repr(C)]
pub struct Send {
    pub start_ns: u64,
    pub length: u64,
    pub epoch: u32,
    /// The task that sent.
    pub tid: u32,
    /// 1: it waits for the other end to be known.
    pub hold: u32,
}
