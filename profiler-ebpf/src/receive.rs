//! Receives on TCP, UDP and Unix sockets, as told when the call has finished.
//!
//! In: receives (`hooks_*.rs`). Out: flows, and what the thread holds. Must not know: hooks, names, windows.

use courtside_wire::{
    FlowStats, ROLE_ACCEPTOR, ROLE_INITIATOR, ROLE_UNKNOWN, TRANSPORT_TCP, TRANSPORT_UDP,
    TRANSPORT_UNIX,
    events::{RECEIVE_HELD, RECEIVE_KNOWN, RECEIVE_UNPROMPTED},
};

use crate::{
    atomic::{add, drain, swap},
    clock,
    dist::record,
    field,
    flows::flow_of,
    held::{hold_receive, is_before_announcement, lose_held, release},
    image,
    kernel::{current_task, now_ns},
    maps::settings,
    net::{Turn, answered, is_counted_family, turn_out, unanswered},
    own, peer, polls,
    prompt::Piece,
    ring,
    state::{ARRIVALS, DIR_IN, DIR_OUT, SockState, TO_BOOK, clear},
    storage::{known_socket_state, socket_state, task_state},
    tcp, tcp_sock, turnaround, unseen, waits,
};

/// `MSG_PEEK | MSG_ERRQUEUE`: such a receive takes no data.
const NO_DATA: u64 = 0x2002;
/// Announcements that may be late or merged before the count of datagrams starts anew.
const MISSED_ARRIVALS: i32 = 8;

/// A receive call with these flags gave `length` bytes, or failed with that error.
#[inline(always)]
pub fn on_receive(sk: *const u8, length: i32, flags: u64) -> i32 {
    if length < 0 || flags & NO_DATA != 0 {
        if polls::is_empty(length, flags) && is_counted_family(sk) {
            polls::empty_receive();
        }
        return 0;
    }
    if !is_counted_family(sk) {
        return if length > 0 { peer::unplaced(sk) } else { 0 };
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
        return peer::unplaced(sk);
    }
    let image = image::image_of(current, task);
    let tid = field!(current, task_pid, u32);
    if socket.role == ROLE_UNKNOWN {
        socket.role = ROLE_ACCEPTOR;
    }
    peer::meet(sk, socket, task.tgid, image);
    if socket.peer == 0 && socket.transport == TRANSPORT_UNIX && socket.stream == 0 {
        peer::sender_of_datagram(sk, socket);
    }
    clock::settle(task, now);
    if socket.mptcp != 0 {
        // A receive may send what had waited for room: that is no call of this task's.
        clear(&mut task.mptcp_ns);
    }
    // Asked before the flow is looked up: its sender may become known in between.
    let is_before = is_before_announcement(socket);
    let Some(stats) = flow_of(socket) else {
        if socket.counts != 0 {
            // Lost is not unseen.
            socket.counted_seq = socket.counted_seq.wrapping_add(length as u32);
        }
        lose_held(socket);
        return 0;
    };

    let tcp = if socket.has_sequence() {
        tcp_sock::tcp_sock(sk)
    } else {
        None
    };
    let (arrival, known) = take_arrival(sk, tcp, socket, length as u32, now);
    // It may be announced on another CPU after this one has read its clock: it had arrived by then.
    let arrival = if arrival < now { arrival } else { now };
    // Here, where the fewest ways lead to, as what follows: the verifier goes on from each of them twice.
    if task.looks != 0 {
        polls::found_message(task, arrival);
    }

    let mut bytes = length as u64;
    if socket.unseen_bytes != 0 {
        bytes -= u64::from(tcp::booked_before(sk, socket, length as u32));
    }
    let by_another = socket.sender != tid;
    let other_on_its_own = by_another
        && socket.transport != TRANSPORT_UDP
        && socket.role == ROLE_INITIATOR
        && own::does_other_end(sk, socket);

    // The answer to a send call that has not returned yet, read by another thread.
    // SAFETY: a valid reference. Read once: the send may return meanwhile, and finds that it is booked.
    let sending_ns = unsafe { core::ptr::read_volatile(&raw const socket.sending_ns) };
    // Once that send is booked, what follows are pieces of its answer.
    let answers_running = sending_ns != 0 && arrival > sending_ns && socket.sent_ns != sending_ns;
    socket.overtakes = 0;
    if answers_running {
        read_while_sending(socket, stats, sending_ns, epoch);
    }

    // Whether it was waited for is asked before the direction: a send on another CPU writes the direction first.
    // SAFETY: valid references. In this order.
    let (answers, turns) = unsafe {
        let awaiting = core::ptr::read_volatile(&raw const socket.awaiting);
        let direction = core::ptr::read_volatile(&raw const socket.direction);
        (awaiting != 0, direction != DIR_IN || socket.overtakes != 0)
    };
    let hold = turns && is_before;
    if !hold {
        // SAFETY: a live map value; every addition is atomic.
        unsafe {
            add(&raw mut (*stats).bytes_received, bytes);
        }
        release(socket, stats);
    }
    let first_turn = turns && socket.direction == DIR_OUT && socket.midlife != 0;
    // The piece before had been read when this one arrived.
    let mut waited = 0;
    if turns {
        arrived_too_soon(socket, arrival, known);
        socket.in_waits = 0;
        let queued_ns = now.saturating_sub(arrival);
        if hold {
            hold_receive(socket, stats, bytes, queued_ns, u32::from(known));
        } else {
            // SAFETY: as above.
            unsafe {
                add(&raw mut (*stats).messages_received, 1);
                record(&raw mut (*stats).queued_ns, queued_ns, epoch);
                if !known {
                    add(&raw mut (*stats).arrival_unknown, 1);
                }
            }
        }
        socket.request.arrival_ns = arrival;
        socket.request.read_ns = now;
        socket.direction = DIR_IN;
        socket.pending |= socket.overtakes;
        if first_turn {
            socket.midlife = 0;
        }
    } else if !answers_running {
        waited = receive_again(socket, arrival, u32::from(known));
    }
    // SAFETY: a valid reference. Read once: the next message may arrive meanwhile, from somebody else.
    let from_unprompted = unsafe { core::ptr::read_volatile(&raw const socket.sender_unprompted) }
        != 0
        || answers && other_on_its_own;
    let mut floor_ns = 0;
    if answers {
        socket.interleaved |= socket.overlap;
    }
    if answers && socket.role == ROLE_INITIATOR {
        let floor = floor(
            sk,
            tcp,
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
                if socket.unseen != 0 {
                    socket.unseen = 0;
                    unseen::answered(socket.image, socket.sent_ns);
                }
                if first_turn {
                    add(&raw mut (*stats).midlife_turns, 1);
                } else {
                    // Of a message sent in pieces nobody knows whether it was one, if its sender does not read the answer.
                    let several = socket.out_waits != 0 && by_another;
                    let untimed = several || socket.interleaved != 0;
                    answered(stats, latency, epoch, untimed);
                }
            }
        }
    }
    if !answers && socket.role == ROLE_INITIATOR {
        // Maybe the answer to a send call that another thread is still in; TCP shows the start of those. It
        // may have been told since this receive looked.
        socket.orphan_ns = arrival;
        socket.orphan_turned = u8::from(turns);
    }
    if socket.pending == 0 {
        socket.pending = 1;
        socket.request.arrival_ns = arrival;
        socket.request.read_ns = now;
    }
    socket.read_ns = now;
    if ring::wanted() {
        ring::task_event(current, task, now);
        let mut flags = if known { RECEIVE_KNOWN } else { 0 };
        if from_unprompted {
            flags |= RECEIVE_UNPROMPTED;
        }
        if hold {
            flags |= RECEIVE_HELD;
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
        ring::receive_event(sk, socket, &what);
    }
    let piece = Piece {
        arrival_ns: arrival,
        now,
        is_first: turns,
    };
    waits::claim(task, arrival);
    turnaround::after_receive(task, tid, socket, &piece, waited != 0);
    0
}

/// What arrived after a send began that has not returned is read by another thread. If that send is not booked yet, it is booked
/// here. If that is done at this moment, an acceptor tells it that the next request is here: see `send::is_overtaken`. A global
/// function, as `send_book`.
#[cfg_attr(not(feature = "untyped"), unsafe(no_mangle))]
#[inline(never)]
extern "C" fn read_while_sending(
    socket: *mut SockState,
    stats: *mut FlowStats,
    sending_ns: u64,
    epoch: u32,
) -> u32 {
    // SAFETY: null, or a live map value.
    let Some(socket) = (unsafe { socket.as_mut() }) else {
        return 0;
    };
    if stats.is_null() {
        return 0;
    }
    if takes_early(socket) {
        if socket.direction != DIR_OUT {
            let turn = Turn {
                start_ns: sending_ns,
                epoch,
                hold: 0,
                answers: 1,
                read: socket.early,
            };
            turn_out(socket, stats, &turn);
        }
        socket.awaiting = 1;
        socket.sent_ns = sending_ns;
        socket.sent_after_ns = sending_ns;
        socket.pending = 0;
    } else if socket.role == ROLE_ACCEPTOR && swap(&raw mut socket.to_book, sending_ns) == 0 {
        socket.overtakes = 1;
    }
    0
}

/// Whether the running send is to be booked here, before it returns.
#[inline(always)]
fn takes_early(socket: &mut SockState) -> bool {
    if socket.to_book != TO_BOOK {
        return false;
    }
    // Whoever finds that its send is booked looks here at once.
    socket.early = unanswered(socket);
    drain(&raw mut socket.to_book) == TO_BOOK
}

/// What begins a message at an acceptor cannot have arrived before the answer to the one before was sent, unless nobody
/// waits for answers here.
#[inline(always)]
fn arrived_too_soon(socket: &mut SockState, arrival: u64, known: bool) {
    let told = if socket.transport == TRANSPORT_TCP {
        socket.start_known != 0
    } else {
        // The start of a send is told late there. What was left behind by an earlier read had arrived by then.
        !known
    };
    if told
        && socket.role == ROLE_ACCEPTOR
        && socket.transport != TRANSPORT_UDP
        && arrival <= socket.sent_ns
    {
        socket.interleaved = 1;
    }
}

/// A receive that begins no message. 1 if its data arrived after all that came before had been read. A global function, as
/// `send_book`.
#[cfg_attr(not(feature = "untyped"), unsafe(no_mangle))]
#[inline(never)]
extern "C" fn receive_again(socket: *mut SockState, arrival: u64, known: u32) -> u32 {
    // SAFETY: null, or a live map value.
    let Some(socket) = (unsafe { socket.as_mut() }) else {
        return 0;
    };
    // TCP has more to read than was announced only where an announcement was not told; what an earlier read had left behind
    // has the time of that one.
    let told = known != 0 || socket.transport == TRANSPORT_TCP;
    let waited = told && arrival > socket.read_ns;
    if socket.midlife != 0 {
        // Programs are attached one after the other: the answer in between may have gone unseen.
        return u32::from(waited);
    }
    if socket.transport == TRANSPORT_UDP {
        // A datagram is a message by itself: two are open now.
        if socket.role == ROLE_ACCEPTOR {
            socket.overlap |= socket.pending;
        }
    }
    if waited {
        socket.in_waits = 1;
        socket.streamed = 1;
        socket.piece_ns = arrival;
        if socket.role == ROLE_INITIATOR && socket.out_waits != 0 {
            // Both the request and the reply come in pieces: they are several.
            socket.interleaved = 1;
        }
    }
    u32::from(waited)
}

/// Time below which a receive cannot answer the send before it.
#[inline(always)]
fn floor(
    sk: *const u8,
    tcp: Option<*const u8>,
    socket: &SockState,
    stats: *mut FlowStats,
    auto: bool,
    constant_ns: u64,
) -> u64 {
    if socket.transport != TRANSPORT_TCP {
        return if auto { 0 } else { constant_ns };
    }
    let min_rtt_ns = tcp_sock::min_rtt_ns(sk, tcp);
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
fn take_arrival(
    sk: *const u8,
    tcp: Option<*const u8>,
    socket: &mut SockState,
    length: u32,
    now: u64,
) -> (u64, bool) {
    if let Some(tcp) = tcp {
        return tcp::take_tcp_arrival(tcp, socket, length, now);
    }
    if socket.has_sequence() {
        return (now, false);
    }
    if socket.stream != 0 {
        // An announcement older than the last receive came late, for data that receive had taken.
        let announced = socket.arrival_ns;
        let known = announced > socket.read_ns;
        let arrival = if known { announced } else { socket.left_ns };
        // More is waiting, and has since some time before now.
        let more = field!(sk, sock_receive_queue_len, u32) != 0;
        socket.left_ns = if more { now } else { 0 };
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
