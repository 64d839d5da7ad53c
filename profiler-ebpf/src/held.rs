//! First sends, receives and connects, which wait to be booked until the other end is known.
//!
//! In: a socket's state. Out: its flow with what waited, or a loss. Must not know: who the other end is, threads.

use courtside_wire::{FlowStats, Lost, ROLE_ACCEPTOR, TRANSPORT_TCP};

use crate::{
    atomic::{add, drain, swap},
    dist::record,
    flows::flow_of,
    loss::lost_several,
    maps::settings,
    state::{HELD_CONNECT, HELD_SEND, HELD_SENDS, SockState},
};

/// Books what waited for the other end to be known.
#[inline(always)]
pub fn release(socket: &mut SockState, stats: *mut FlowStats) {
    if socket.held | socket.held_receive != 0 {
        book_held(socket, stats);
    }
}

/// A global function, as `send_book`.
#[cfg_attr(not(feature = "untyped"), unsafe(no_mangle))]
#[inline(never)]
pub extern "C" fn book_held(socket: *mut SockState, stats: *mut FlowStats) -> u32 {
    // SAFETY: null, or a live map value.
    let Some(socket) = (unsafe { socket.as_mut() }) else {
        return 0;
    };
    if stats.is_null() {
        return 0;
    }
    let held = take_held(socket);
    book_taken(socket, stats, &held);
    0
}

#[inline(always)]
fn book_taken(socket: &mut SockState, stats: *mut FlowStats, held: &Held) {
    book_connect(socket, stats);
    book_receive(stats, held.receive);
    // SAFETY: a live map value.
    unsafe {
        add(&raw mut (*stats).messages_sent, held.messages);
        add(&raw mut (*stats).bytes_sent, held.bytes);
    }
}

/// One more send of so many bytes waits for the other end to be known. A function of its own: the verifier has one state to
/// go on with after it, not one for each way through.
#[inline(never)]
pub fn hold_send(socket: &mut SockState, bytes: u64) {
    add(&raw mut socket.held, HELD_SEND);
    add(&raw mut socket.held_bytes, bytes);
    if socket.transport != TRANSPORT_TCP {
        // Nothing tells when such a socket closes.
        lost_several(Lost::Unplaced, 1);
    }
}

/// In `held_receive`: a receive waits, and its arrival is known.
const RECEIVED: u64 = 1 << 63;
const IS_KNOWN: u64 = 1 << 62;
/// Below that its bytes, and how long it was queued, as far as there is room: a datagram has less than 64 KiB.
const BYTES: u64 = (1 << 17) - 1;
const QUEUED_BITS: u32 = 45;
const QUEUED: u64 = (1 << QUEUED_BITS) - 1;

/// How many look-ups of the other end a receive waits for.
const RECEIVE_HOLD: u8 = 4;

/// Whether a receive was faster than the announcement of what it read, which tells who sent it.
#[inline(always)]
pub fn is_before_announcement(socket: &SockState) -> bool {
    socket.peer == 0
        && socket.stream == 0
        && socket.role == ROLE_ACCEPTOR
        && socket.from_afar == 0
        && socket.peer_tries <= RECEIVE_HOLD
}

/// A datagram that was a message waits for its sender to be known. If another one waits already, that one has waited enough.
/// A global function, as `send_book`. `known`: 1 if its arrival is.
#[cfg_attr(not(feature = "untyped"), unsafe(no_mangle))]
#[inline(never)]
pub extern "C" fn hold_receive(
    socket: *mut SockState,
    stats: *mut FlowStats,
    bytes: u64,
    queued_ns: u64,
    known: u32,
) -> u32 {
    // SAFETY: null, or a live map value.
    let Some(socket) = (unsafe { socket.as_mut() }) else {
        return 0;
    };
    if stats.is_null() {
        return 0;
    }
    let known = if known != 0 { IS_KNOWN } else { 0 };
    let held = RECEIVED | known | (bytes & BYTES) << QUEUED_BITS | queued_ns & QUEUED;
    lost_several(Lost::Unplaced, 1);
    book_receive(stats, swap(&raw mut socket.held_receive, held));
    0
}

#[inline(always)]
fn book_receive(stats: *mut FlowStats, held: u64) {
    if held == 0 {
        return;
    }
    lost_several(Lost::Unplaced, u64::MAX);
    let Some(settings) = settings() else { return };
    // SAFETY: a live map value.
    unsafe {
        add(&raw mut (*stats).messages_received, 1);
        add(
            &raw mut (*stats).bytes_received,
            held >> QUEUED_BITS & BYTES,
        );
        if held & IS_KNOWN == 0 {
            add(&raw mut (*stats).arrival_unknown, 1);
        }
        record(&raw mut (*stats).queued_ns, held & QUEUED, settings.epoch);
    }
}

/// What waits has nowhere to go, since there is no room for the flow that it is part of now. The transfer that found that
/// out is counted already. A global function, as `send_book`.
#[cfg_attr(not(feature = "untyped"), unsafe(no_mangle))]
#[inline(never)]
pub extern "C" fn lose_held(socket: *mut SockState) -> u32 {
    // SAFETY: null, or a live map value.
    let Some(socket) = (unsafe { socket.as_mut() }) else {
        return 0;
    };
    let held = take_held(socket);
    let receives = u64::from(held.receive != 0);
    lost_several(Lost::Unplaced, 0u64.wrapping_sub(receives));
    lost_several(Lost::Flows, held.sends + receives);
    0
}

/// What waited.
struct Held {
    messages: u64,
    sends: u64,
    bytes: u64,
    /// A receive, 0 if there is none.
    receive: u64,
    is_any: bool,
}

/// Takes what waits. Two threads may be at the same end: it is taken once.
#[inline(always)]
fn take_held(socket: &mut SockState) -> Held {
    let held = drain(&raw mut socket.held);
    let bytes = drain(&raw mut socket.held_bytes);
    let sends = (held & !HELD_CONNECT) >> HELD_SENDS;
    if socket.transport != TRANSPORT_TCP {
        lost_several(Lost::Unplaced, 0u64.wrapping_sub(sends));
    }
    Held {
        messages: held & (HELD_SEND - 1),
        sends,
        bytes,
        // Of TCP only what is sent waits.
        receive: if socket.transport == TRANSPORT_TCP {
            0
        } else {
            drain(&raw mut socket.held_receive)
        },
        is_any: held | bytes != 0,
    }
}

/// Books what still waits when a connection ends.
#[inline(never)]
pub fn settle_held(socket: &mut SockState) {
    // A send that is being told now on another CPU looks here after it has put in what it has.
    socket.closed = 1;
    let held = take_held(socket);
    if !held.is_any {
        return;
    }
    if let Some(stats) = flow_of(socket) {
        book_taken(socket, stats, &held);
    } else {
        // One of them is counted already.
        lost_several(Lost::Flows, held.sends.saturating_sub(1));
    }
}

/// Books a connect that waited for the other end to be known.
#[inline(always)]
fn book_connect(socket: &mut SockState, stats: *mut FlowStats) {
    let took_ns = drain(&raw mut socket.connected_after_ns);
    let Some(settings) = settings() else { return };
    if took_ns != 0 {
        // SAFETY: a live map value.
        unsafe {
            add(
                &raw mut (*stats).syn_retransmits,
                u64::from(socket.syn_retransmits),
            );
            record(&raw mut (*stats).connect_ns, took_ns, settings.epoch);
        }
    }
}
