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
    /// What this end had received, as [`unanswered`] has it.
    pub read: Request,
}

/// A message of this end begins. What is asked of the connection is asked before it is turned around: the next request may be
/// read on another CPU meanwhile, and take the place of the one that this message answers.
#[inline(always)]
pub fn turn_out(socket: &mut SockState, flow: *mut FlowStats, turn: &Turn) {
    let first_turn = socket.midlife != 0 && socket.direction == DIR_IN;
    let in_pieces = socket.in_waits != 0;
    let last_piece_ns = socket.piece_ns;
    socket.direction = DIR_OUT;
    socket.out_waits = 0;
    if first_turn {
        socket.midlife = 0;
    }
    if turn.hold != 0 {
        add(&raw mut socket.held, 1);
    } else {
        // SAFETY: a live map value.
        unsafe { add(&raw mut (*flow).messages_sent, 1) };
    }
    if in_pieces {
        // All of a message that came in pieces is there: this end sends next.
        let took = last_piece_ns.saturating_sub(turn.read.arrival_ns);
        // SAFETY: as above.
        unsafe { record(&raw mut (*flow).receiving_ns, took, turn.epoch) };
    }
    if turn.answers != 0 && turn.read.token != 0 {
        // Datagrams are requests by themselves: of two, nobody knows which is answered.
        socket.interleaved |= socket.overlap;
        let service = turn.start_ns.saturating_sub(turn.read.arrival_ns);
        if first_turn {
            // SAFETY: as above.
            unsafe { add(&raw mut (*flow).midlife_turns, 1) };
        } else {
            answered(flow, service, turn.epoch, socket.interleaved != 0);
        }
    }
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
