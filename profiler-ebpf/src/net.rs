//! Send and receive on TCP, UDP and Unix sockets: messages, turns, roundtrips, requests served.
//!
//! In: sends and receives (`hooks_*.rs`). Out: flows. Sends and receives are told when the call has finished,
//! so a reply may arrive before the send is seen; `tcp.rs` notes the start of TCP sends.
//! Must not know: hooks, names, windows.

use courtside_wire::{
    Dist, FlowStats, Lost, ROLE_ACCEPTOR, ROLE_INITIATOR, ROLE_UNKNOWN, TRANSPORT_TCP,
    TRANSPORT_UDP, TRANSPORT_UNIX,
    events::{RECEIVE_KNOWN, RECEIVE_UNPROMPTED},
    index_of,
};

use crate::{
    clock, field, image,
    kernel::{bounded_bucket, current_task, now_ns, pmu_turnaround_wanted},
    maps::{
        add, add_one, flow_of, known_socket_state, lost_several, settings, socket_state, take,
        task_state,
    },
    peer, ring,
    state::{ARRIVALS, DIR_IN, DIR_OUT, HELD_SEND, HELD_SENDS, SockState, clear},
    tcp, turnaround,
};

/// `MSG_PEEK | MSG_ERRQUEUE`: such a receive takes no data.
const NO_DATA: u64 = 0x2002;
const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
/// Announcements that may be late or merged before the count of datagrams starts anew.
const MISSED_ARRIVALS: i32 = 8;
/// Look-ups of the other end for which the first sends wait to be booked on it.
const HOLD: u8 = 4;

#[inline(always)]
pub fn is_counted_family(sk: *const u8) -> bool {
    let family = field!(sk, sock_family, u16);
    family == AF_INET || family == AF_INET6 || family == AF_UNIX
}

/// Adds one value to a distribution.
#[inline(always)]
pub fn record(dist: *mut Dist, value_ns: u64, epoch: u32) {
    // SAFETY: a live map value.
    unsafe { add(&raw mut (*dist).sum_ns, value_ns) };
    count(dist, value_ns, epoch);
}

/// Adds one value to a distribution but for its sum; extremes start anew with each window.
#[inline(always)]
pub fn count(dist: *mut Dist, value_ns: u64, epoch: u32) {
    let bucket = bounded_bucket(index_of(value_ns));
    // SAFETY: a live map value. Extremes are plain stores: two CPUs may race, and then one extreme of one window
    // is lost; sums and counts are atomic and exact.
    unsafe {
        add_one((&raw mut (*dist).buckets).cast::<u32>().add(bucket));
        if (*dist).epoch != epoch {
            (*dist).epoch = epoch;
            (*dist).min_ns = value_ns;
            (*dist).max_ns = value_ns;
        } else {
            if value_ns < (*dist).min_ns {
                (*dist).min_ns = value_ns;
            }
            if value_ns > (*dist).max_ns {
                (*dist).max_ns = value_ns;
            }
        }
    }
}

/// A message of this end begins at `start`. `answers`: its sender may know of what this end received.
#[inline(always)]
fn turn_out(
    socket: &mut SockState,
    flow: *mut FlowStats,
    start: u64,
    epoch: u32,
    hold: bool,
    answers: bool,
) {
    if hold {
        add(&raw mut socket.held, 1);
    } else {
        // SAFETY: a live map value.
        unsafe { add(&raw mut (*flow).messages_sent, 1) };
    }
    let first_turn = socket.midlife != 0 && socket.direction == DIR_IN;
    if first_turn {
        socket.midlife = 0;
    }
    if answers && socket.pending != 0 && socket.role == ROLE_ACCEPTOR {
        let service = start.saturating_sub(socket.received_ns);
        // SAFETY: as above.
        unsafe {
            if first_turn {
                add(&raw mut (*flow).midlife_turns, 1);
            } else {
                record(&raw mut (*flow).answer_ns, service, epoch);
            }
        }
    }
    socket.direction = DIR_OUT;
}

/// A send call took `length` bytes, or failed with that error.
#[inline(always)]
pub fn sent(sk: *const u8, length: i32) -> i32 {
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
        return 0;
    }
    let now = now_ns();
    let Some(settings) = settings() else { return 0 };
    let epoch = settings.epoch;
    let current = current_task();
    let (Some(task), Some(socket)) = (task_state(current), socket_state(sk)) else {
        return 0;
    };
    if !peer::classify(sk, socket) {
        return 0;
    }
    let image = image::image_of(current, task);
    if socket.role == ROLE_UNKNOWN {
        socket.role = ROLE_INITIATOR;
    }
    peer::meet(sk, socket, task.tgid, image);

    // When the call began, as far as the kernel shows it.
    let mut start = now;
    if socket.transport == TRANSPORT_TCP {
        if socket.sending_ns != 0 {
            start = socket.sending_ns;
        }
        socket.sent_after_ns = start;
    } else {
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
        let known = socket.received_ns;
        socket.sent_after_ns = if task.ready_ns != 0 { start } else { known };
    }
    let arrived_here = task.ready_ns != 0;
    let start_known = arrived_here || start != now;
    clear(&mut task.ready_ns);
    clear(&mut task.ready_sk);

    clock::settle(task, clock::last_switch(now));
    // The other end may be on this host and about to show itself: what it gets is booked when it has. Asked before the
    // flow is looked up: the other end's answer may make it known in between.
    let hold = socket.peer_sure == 0
        && socket.peer_tries <= HOLD
        && (socket.transport == TRANSPORT_TCP
            || socket.peer == 0 && (arrived_here || field!(sk, sock_dport, u16) == 0));
    let Some(stats) = flow_of(socket) else {
        lose_held(socket);
        return 0;
    };
    // From here to the end of the booking below is all that another thread's receive can fall into.
    socket.sending_ns = 0;
    let early = socket.booked_early != 0;
    socket.booked_early = 0;
    let unanswered = if early {
        // The next request may have come meanwhile.
        socket.early_unanswered_ns
    } else {
        turnaround::unanswered(socket)
    };
    let orphan = socket.orphan_ns;
    socket.orphan_ns = 0;
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
            }
            record(&raw mut (*stats).answer_ns, orphan - start, epoch);
        }
        socket.sent_ns = start;
    } else if !early {
        let turns = socket.direction != DIR_OUT;
        if socket.role == ROLE_INITIATOR && turns && turnaround::is_ambiguous(task) {
            // SAFETY: a live map value.
            unsafe { add(&raw mut (*stats).ambiguous, 1) };
        }
        if turns {
            // A stream both ways over a Unix socket: see `sender_unprompted`. TCP has the floor for that.
            let answers = socket.transport != TRANSPORT_UNIX || task.prompted != 0;
            turn_out(socket, stats, start, epoch, hold, answers);
        }
        socket.awaiting = 1;
        socket.sent_ns = start;
        socket.pending = 0;
    }
    if hold {
        hold_send(socket, length as u64);
    } else {
        // SAFETY: a live map value.
        unsafe {
            add(&raw mut (*stats).bytes_sent, length as u64);
        }
        release(socket, stats);
    }
    if ring::wanted() {
        ring::task(current, task, now);
        let what = ring::Transfer {
            now,
            before_ns: now.saturating_sub(start),
            bytes: length as u32,
            floor_ns: 0,
            flags: u8::from(start_known),
            // SAFETY: a live map value.
            key: unsafe { (*stats).key },
        };
        ring::sent(sk, socket, &what);
    }
    turnaround::sent(task, stats, unanswered, start, epoch);
    turnaround::answered(task, sk as u64);
    0
}

/// The last send was answered while it was being booked, and neither saw the other.
#[inline(never)]
fn missed_answer(socket: &mut SockState, stats: *mut FlowStats, orphan: u64, epoch: u32) {
    // SAFETY: a live map value.
    unsafe {
        if socket.orphan_turned == 0 {
            add(&raw mut (*stats).messages_received, 1);
        }
        record(
            &raw mut (*stats).answer_ns,
            orphan.saturating_sub(socket.sent_ns),
            epoch,
        );
    }
    socket.awaiting = 0;
    socket.direction = DIR_IN;
}

/// Books what waited for the other end to be known.
#[inline(always)]
fn release(socket: &mut SockState, stats: *mut FlowStats) {
    if socket.held != 0 {
        book_held(socket, stats);
    }
}

/// A function of its own: the verifier has one state to go on with after it, not one for each way through.
#[inline(never)]
fn book_held(socket: &mut SockState, stats: *mut FlowStats) {
    let (held, bytes) = take_held(socket);
    // SAFETY: a live map value.
    unsafe {
        add(&raw mut (*stats).messages_sent, held & (HELD_SEND - 1));
        add(&raw mut (*stats).bytes_sent, bytes);
    }
}

/// One more send of so many bytes waits for the other end to be known. A function of its own as the one before.
#[inline(never)]
fn hold_send(socket: &mut SockState, bytes: u64) {
    add(&raw mut socket.held, HELD_SEND);
    add(&raw mut socket.held_bytes, bytes);
    if socket.transport != TRANSPORT_TCP {
        // Nothing tells when such a socket closes.
        lost_several(Lost::Unplaced, 1);
    }
}

/// What waits has nowhere to go, since there is no room for the flow that it is part of now. The transfer that found that
/// out is counted already.
#[inline(never)]
fn lose_held(socket: &mut SockState) {
    let (held, _) = take_held(socket);
    lost_several(Lost::Flows, held >> HELD_SENDS);
}

/// Takes what waits. Two threads may be at the same end: it is taken once.
#[inline(always)]
fn take_held(socket: &mut SockState) -> (u64, u64) {
    let held = take(&raw mut socket.held);
    if socket.transport != TRANSPORT_TCP {
        lost_several(Lost::Unplaced, 0u64.wrapping_sub(held >> HELD_SENDS));
    }
    (held, take(&raw mut socket.held_bytes))
}

/// Books what still waits when a connection ends.
#[inline(never)]
pub fn settle(socket: &mut SockState) {
    if socket.held == 0 {
        return;
    }
    if let Some(stats) = flow_of(socket) {
        release(socket, stats);
    } else {
        // One of them is counted already.
        let (held, _) = take_held(socket);
        lost_several(Lost::Flows, (held >> HELD_SENDS).saturating_sub(1));
    }
}

/// A receive call with these flags gave `length` bytes, or failed with that error.
#[inline(always)]
pub fn received(sk: *const u8, length: i32, flags: u64) -> i32 {
    if length < 0 || flags & NO_DATA != 0 || !is_counted_family(sk) {
        return 0;
    }
    if length == 0 {
        // No receive, but an empty datagram was announced and is gone now.
        if let Some(socket) = known_socket_state(sk)
            && socket.transport != TRANSPORT_TCP
            && socket.arrived.wrapping_sub(socket.consumed) as i32 > 0
        {
            socket.consumed = socket.consumed.wrapping_add(1);
        }
        return 0;
    }
    let now = now_ns();
    let Some(settings) = settings() else { return 0 };
    let epoch = settings.epoch;
    let current = current_task();
    let (Some(task), Some(socket)) = (task_state(current), socket_state(sk)) else {
        return 0;
    };
    if !peer::classify(sk, socket) {
        return 0;
    }
    let image = image::image_of(current, task);
    if socket.role == ROLE_UNKNOWN {
        socket.role = ROLE_ACCEPTOR;
    }
    peer::meet(sk, socket, task.tgid, image);
    clock::settle(task, clock::last_switch(now));
    let Some(stats) = flow_of(socket) else {
        lose_held(socket);
        return 0;
    };

    let (arrival, known) = take_arrival(sk, socket, length as u32, now);
    // It may be announced on another CPU after this one has read its clock: it had arrived by then.
    let arrival = if arrival < now { arrival } else { now };

    // The answer to a send call that has not returned yet, read by another thread.
    if socket.sending_ns != 0 && arrival > socket.sending_ns && socket.booked_early == 0 {
        if socket.direction != DIR_OUT {
            let start = socket.sending_ns;
            turn_out(socket, stats, start, epoch, false, true);
        }
        socket.early_unanswered_ns = turnaround::unanswered(socket);
        socket.booked_early = 1;
        socket.awaiting = 1;
        socket.sent_ns = socket.sending_ns;
        socket.sent_after_ns = socket.sending_ns;
        socket.pending = 0;
    }

    // SAFETY: a live map value; every addition is atomic.
    unsafe {
        add(&raw mut (*stats).bytes_received, length as u64);
    }
    release(socket, stats);
    let turns = socket.direction != DIR_IN;
    let first_turn = turns && socket.direction == DIR_OUT && socket.midlife != 0;
    if turns {
        // SAFETY: as above.
        unsafe {
            add(&raw mut (*stats).messages_received, 1);
            record(
                &raw mut (*stats).queued_ns,
                now.saturating_sub(arrival),
                epoch,
            );
            if !known {
                add(&raw mut (*stats).arrival_unknown, 1);
            }
        }
        socket.received_ns = arrival;
        socket.direction = DIR_IN;
        if first_turn {
            socket.midlife = 0;
        }
    }
    let answers = socket.awaiting != 0;
    // SAFETY: a valid reference. Read once: the next message may arrive meanwhile, from somebody else.
    let from_unprompted =
        unsafe { core::ptr::read_volatile(&raw const socket.sender_unprompted) } != 0;
    let mut floor_ns = 0;
    if answers && socket.role == ROLE_INITIATOR {
        let floor = floor(
            sk,
            socket,
            stats,
            settings.floor_auto != 0,
            settings.floor_ns,
        );
        floor_ns = floor;
        let latency = arrival.saturating_sub(socket.sent_ns);
        // Unix and UDP show a send no earlier than its announcement, and a fast reader may have answered before that.
        let too_early =
            arrival < socket.sent_after_ns && (socket.transport == TRANSPORT_TCP || !known);
        // SAFETY: as above.
        unsafe {
            if too_early || latency < floor || from_unprompted {
                add(&raw mut (*stats).below_floor, 1);
            } else {
                socket.awaiting = 0;
                if first_turn {
                    add(&raw mut (*stats).midlife_turns, 1);
                } else {
                    record(&raw mut (*stats).answer_ns, latency, epoch);
                }
            }
        }
    }
    if socket.awaiting == 0 && !answers && socket.role == ROLE_INITIATOR {
        // Maybe the answer to a send call that another thread is still in; TCP shows the start of those.
        socket.orphan_ns = arrival;
        socket.orphan_turned = u8::from(turns);
    }
    if socket.pending == 0 {
        socket.pending = 1;
        socket.received_ns = arrival;
        if socket.role == ROLE_ACCEPTOR {
            turnaround::opened(task, sk as u64);
        }
    }
    if ring::wanted() {
        ring::task(current, task, now);
        let mut flags = if known { RECEIVE_KNOWN } else { 0 };
        if from_unprompted {
            flags |= RECEIVE_UNPROMPTED;
        }
        let what = ring::Transfer {
            now,
            before_ns: now.saturating_sub(arrival),
            bytes: length as u32,
            floor_ns: if floor_ns < u64::from(u32::MAX) {
                floor_ns as u32
            } else {
                u32::MAX
            },
            flags,
            // SAFETY: as above.
            key: unsafe { (*stats).key },
        };
        ring::received(sk, socket, &what);
    }
    turnaround::received(task, arrival);
    0
}

/// Time below which a receive cannot answer the send before it.
#[inline(always)]
fn floor(
    sk: *const u8,
    socket: &SockState,
    stats: *mut FlowStats,
    auto: bool,
    constant_ns: u64,
) -> u64 {
    if socket.transport != TRANSPORT_TCP {
        return if auto { 0 } else { constant_ns };
    }
    let min_rtt_ns = tcp::min_rtt_ns(sk);
    if min_rtt_ns != 0 {
        // SAFETY: a live map value; a lost race costs one sample of a minimum.
        unsafe {
            if (*stats).min_rtt_ns == 0 || min_rtt_ns < (*stats).min_rtt_ns {
                (*stats).min_rtt_ns = min_rtt_ns;
            }
        }
    }
    // The kernel counts whole microseconds between two clock readings cut to microseconds: up to one too many.
    if auto {
        min_rtt_ns.saturating_sub(1000)
    } else {
        constant_ns
    }
}

/// Arrival of the data that a receive took, and whether the kernel told it. If not, it is the latest it can have been:
/// when the receive before left the data behind, or now.
#[inline(always)]
fn take_arrival(sk: *const u8, socket: &mut SockState, length: u32, now: u64) -> (u64, bool) {
    if socket.transport == TRANSPORT_TCP {
        return tcp::take_arrival(sk, socket, length, now);
    }
    if socket.stream != 0 {
        // An announcement older than the last receive came late, for data that receive had taken.
        let stale = socket.arrival_guess == 0 && socket.arrival_ns <= socket.arrival_before_ns;
        let arrival = if stale { 0 } else { socket.arrival_ns };
        let known = arrival != 0 && socket.arrival_guess == 0;
        socket.arrival_before_ns = now;
        let more = field!(sk, sock_receive_queue_len, u32) != 0;
        // More is waiting, and has since some time before now.
        socket.arrival_ns = if more { now } else { 0 };
        socket.arrival_guess = u8::from(more);
        return (if arrival != 0 { arrival } else { now }, known);
    }
    let index = socket.consumed;
    let waiting = socket.arrived.wrapping_sub(index) as i32;
    socket.consumed = if waiting < -MISSED_ARRIVALS {
        socket.arrived
    } else {
        index.wrapping_add(1)
    };
    if waiting <= 0 {
        // The reader was faster than the announcement, which comes after the datagram is in the queue.
        return (now, false);
    }
    // Where more are waiting than are remembered, the oldest remembered one arrived later than this one did: what
    // was queued is then a lower bound.
    let index = if waiting > ARRIVALS as i32 {
        socket.arrived
    } else {
        index
    };
    // SAFETY: masked to the array's length.
    let arrival = unsafe {
        *socket
            .arrivals
            .as_ptr()
            .add(index as usize & (ARRIVALS - 1))
    };
    (arrival, true)
}
