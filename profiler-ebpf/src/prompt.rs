//! Prompts: messages that a thread has read, and that nobody has answered or passed on yet.
//!
//! In: reads and sends of a task, in order. Out: what it holds, in its state; which messages have ended, in a table that all
//! threads share: the thread that answers is often not the one that read. Must not know: how long anything took.

use aya_ebpf::{macros::map, maps::Array};
use courtside_wire::ROLE_ACCEPTOR;

use crate::{
    kernel::now_ns,
    state::{READS, Read, SockState, TaskState},
};

/// Messages that ended in another thread than the one that read them, each where its connection has its place. Two
/// connections may have one place: then one of two messages that ended at the same time is taken to be open still.
#[map]
static ENDED: Array<u64> = Array::with_max_entries(1 << PLACES, 0);
const PLACES: u32 = 17;
/// An odd number close to 2^64 divided by the golden ratio: neighbours among addresses get places far apart.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
/// Bits of a token that tell the message among those of its connection.
const NUMBER_BITS: u32 = 24;
const NUMBER: u64 = (1 << NUMBER_BITS) - 1;
/// How many messages before the last one that ended have ended with it, twice: of those long before nobody holds one, and
/// those long after have the same numbers again.
const BEFORE: u64 = 128;
/// Bit of a token: it is a request, not a reply.
const REQUEST: u64 = 1;

/// What a message is known by: its connection, its number there, and whether it is a request.
#[inline(always)]
fn token(sk: u64, number: u32, is_request: bool) -> u64 {
    let number = u64::from(number) << 1 & NUMBER;
    token_connection(sk) | number | if is_request { REQUEST } else { 0 }
}

/// The part of a token that tells the connection. Sockets begin at multiples of 64, and the kernel's memory has 46 bits.
#[inline(always)]
fn token_connection(sk: u64) -> u64 {
    sk >> 6 << NUMBER_BITS
}

/// How many messages a new socket begins with. Of the socket that was there before a thread may still hold some, and end them
/// when this one has its own: the time goes on faster than anybody reads, so that these have later numbers.
#[inline(always)]
pub fn first_number() -> u32 {
    (now_ns() >> 8) as u32
}

/// Whether somebody who may be answered sent this message.
#[inline(always)]
pub fn is_request(token: u64) -> bool {
    token & REQUEST != 0
}

#[inline(always)]
fn place(token: u64) -> u32 {
    ((token >> NUMBER_BITS).wrapping_mul(SPREAD) >> (64 - PLACES)) as u32
}

/// Ends a message for all threads. One that came later on its connection stays ended.
#[inline(always)]
pub fn end(token: u64) {
    if let Some(ended) = ENDED.get_ptr_mut(place(token)) {
        // SAFETY: a live map value; plain reads and stores of eight bytes.
        unsafe {
            if !covers(core::ptr::read_volatile(ended), token) {
                core::ptr::write_volatile(ended, token);
            }
        }
    }
}

/// Whether a message has ended in another thread: it, or one that came after it on its connection.
#[inline(always)]
pub fn is_ended(token: u64) -> bool {
    match ENDED.get_ptr(place(token)) {
        // SAFETY: as above.
        Some(ended) => covers(unsafe { core::ptr::read_volatile(ended) }, token),
        None => false,
    }
}

/// Whether a message has ended when that one has.
#[inline(always)]
fn covers(ended: u64, token: u64) -> bool {
    (ended ^ token) >> NUMBER_BITS == 0 && ended.wrapping_sub(token) & NUMBER < BEFORE
}

/// A message, or a further piece of one, was read.
pub struct Piece {
    pub arrival_ns: u64,
    pub now: u64,
    /// It begins a message.
    pub is_first: bool,
}

/// Notes that `task` read a piece at `socket`. `true` if it holds the message since now; `false` if it had read of it
/// since its last send.
#[inline(always)]
pub fn note_read(task: &mut TaskState, tid: u32, socket: &mut SockState, piece: &Piece) -> bool {
    // SAFETY: a valid reference. Read anew: the verifier still knows a pointer where one was written before.
    let sk = unsafe { core::ptr::read_volatile(&raw const socket.address) };
    let request = &mut socket.request;
    let goes_on = !piece.is_first && request.reader == tid && request.sends == task.sends;
    if !goes_on {
        if request.reader != tid && request.reader != 0 && task.handed_out == 0 {
            // Whoever read before may hold a piece of what this task will answer.
            task.handed_out = 1;
        }
        socket.prompts = socket.prompts.wrapping_add(1);
        request.token = token(sk, socket.prompts, socket.role == ROLE_ACCEPTOR);
        request.reader = tid;
        request.sends = task.sends;
    }
    if task.last_read.token != request.token {
        task.last_read.token = request.token;
        task.last_read.arrival_ns = if goes_on {
            request.arrival_ns
        } else {
            piece.arrival_ns
        };
        task.last_read.read_ns = if goes_on { request.read_ns } else { piece.now };
        task.last_read.sleep_ns = task.clocks.sleep_ns;
    }
    task.read_voluntary = task.voluntary;
    !goes_on
}

/// Keeps the message that was read last as one that was read since the last send. `true` if it is the only one.
#[inline(always)]
pub fn keep(task: &mut TaskState) -> bool {
    if task.reads_kept >= READS as u32 {
        task.reads_more = task.reads_more.wrapping_add(1);
        return false;
    }
    let slot = task.reads_first.wrapping_add(task.reads_kept) as usize & (READS - 1);
    let read = task.last_read;
    // SAFETY: masked to the array's length.
    unsafe { *task.reads.as_mut_ptr().add(slot) = read };
    task.reads_kept += 1;
    task.reads_kept == 1
}

/// Forgets of the messages read since the last send those at the front that have ended; there is one at least.
#[inline(always)]
pub fn drop_ended(task: &mut TaskState) {
    if is_ended(front(task).token) {
        drop_those_ended(task);
    }
}

/// Forgets all at the front that have ended. A global function, as `send_book`.
#[cfg_attr(not(feature = "untyped"), unsafe(no_mangle))]
#[inline(never)]
extern "C" fn drop_those_ended(task: *mut TaskState) -> u32 {
    // SAFETY: null, or a live map value.
    let Some(task) = (unsafe { task.as_mut() }) else {
        return 0;
    };
    let mut tried = 0;
    while tried < READS {
        if task.reads_kept == 0 {
            break;
        }
        let token = front(task).token;
        if !is_ended(token) {
            break;
        }
        task.reads_first = task.reads_first.wrapping_add(1);
        task.reads_kept -= 1;
        tried += 1;
    }
    0
}

/// Of the messages there was no room for the last one is known: it is kept when none of the others is. Not at a read, where
/// the last one is the one that has just been read.
#[inline(always)]
pub fn keep_last(task: &mut TaskState) {
    if task.reads_more != 0 && task.reads_kept == 0 {
        task.reads_more = 0;
        let last = task.last_read;
        if last.token != 0 && !is_ended(last.token) {
            let slot = task.reads_first as usize & (READS - 1);
            // SAFETY: masked to the array's length.
            unsafe { *task.reads.as_mut_ptr().add(slot) = last };
            task.reads_kept = 1;
        }
    }
}

/// The first message read since the last send; there is one.
#[inline(always)]
pub fn front(task: &TaskState) -> Read {
    let slot = task.reads_first as usize & (READS - 1);
    // SAFETY: masked to the array's length.
    unsafe { *task.reads.as_ptr().add(slot) }
}
