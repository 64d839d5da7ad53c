//! Turnaround: from the arrival of a message until its reader sends the next one, to whomever.
//!
//! In: receives and sends of a task, in order. Out: intervals and their parts, booked on the flow of the send.
//! The rules are in ARCHITECTURE.md. Must not know: how sockets are read.

use courtside_wire::{FlowStats, gap_squared};

use crate::{
    atomic::add,
    clock::{self, came_on_cpu_after},
    kernel::pmu_turnaround_wanted,
    net::Send,
    pmu,
    prompt::{self, Piece},
    state::{Clocks, Request, SockState, TaskState, clear},
    unseen,
};

/// Notes that `task` read a piece of a message. `waited`: the one before had been read before this one arrived.
#[inline(always)]
pub fn after_receive(
    task: &mut TaskState,
    tid: u32,
    socket: &mut SockState,
    piece: &Piece,
    waited: bool,
) {
    // The state begins with what the kernel reads at each look-up: it is written only when it changes.
    if task.prompted == 0 {
        task.prompted = 1;
    }
    if prompt::note_read(task, tid, socket, piece) {
        if task.reads_kept != 0 {
            prompt::drop_ended(task);
            if task.reads_kept == 0 {
                task.reads_more = 0;
            }
        }
        if prompt::keep(task) {
            // It is the last one that was read, too.
            note_from(task, task.last_read.arrival_ns);
            task.lock_mark_ns = task.lock_ns;
            task.noted = task.last_read.token;
            task.receiving_ns = 0;
            task.piece_sleep_ns = task.clocks.sleep_ns;
        }
    } else if task.noted == task.last_read.token {
        if waited {
            note_rest(task, piece.arrival_ns);
        }
        task.piece_sleep_ns = task.clocks.sleep_ns;
    }
}

/// Notes where the turnaround starts that the first message read since the last send prompts.
#[inline(never)]
fn begin_from_read(task: &mut TaskState) {
    let first = prompt::front(task);
    note_from(task, first.arrival_ns);
    task.noted = first.token;
    task.receiving_ns = 0;
    task.piece_sleep_ns = task.clocks.sleep_ns;
}

/// Notes the start of a turnaround for which a message is the reason that arrived at `arrival`: the later of that and the
/// last send.
#[inline(always)]
fn note_from(task: &mut TaskState, arrival: u64) {
    task.before_birth_ns = 0;
    if arrival <= task.sent_ns {
        task.start_ns = task.sent_ns;
        task.start = task.sent;
    } else if arrival < task.born_ns {
        // Nobody had it before this task was there.
        task.before_birth_ns = task.born_ns - arrival;
        task.start_ns = task.born_ns;
        task.start = Clocks::ZERO;
    } else {
        task.start_ns = arrival;
        clock::note_start(task, arrival);
    }
    if pmu_turnaround_wanted() {
        task.start_counts = counts_at_start(task, arrival);
    }
}

/// The same for messages that arrived before the last send.
#[inline(never)]
fn note_last_send(task: &mut TaskState) {
    note_from(task, 0);
}

/// Notes how long the task slept for the piece that arrived at `arrival`.
#[inline(never)]
fn note_rest(task: &mut TaskState, arrival: u64) {
    clock::note_end(task, arrival);
    let slept = task.end.sleep_ns.saturating_sub(task.piece_sleep_ns);
    task.receiving_ns += slept;
}

/// Cycles and instructions where the turnaround starts. Of a task that was on its CPU when the message arrived they are
/// known only from the read on; whoever waited had spent none since it went to sleep.
#[inline(always)]
fn counts_at_start(task: &TaskState, arrival: u64) -> [u64; 2] {
    if arrival <= task.sent_ns {
        task.sent_counts
    } else if arrival < task.born_ns {
        [0; 2]
    } else if came_on_cpu_after(task, arrival) {
        pmu::counts_before_running(task)
    } else {
        pmu::counts(task)
    }
}

/// What a send ends: nothing, since no message prompted it.
pub const NOTHING: u32 = 0;
const OWN: u32 = 1;
const EARLIER: u32 = 2;
const HANDOVER: u32 = 3;
/// A message that it passed on, or may have: what the thread did since it took something up.
const TAKEN_UP: u32 = 4;

/// What a send answers: no request on its connection, one that its thread has read, one that another thread has read.
const NO_ANSWER: u32 = 0;
const OWN_REQUEST: u32 = 1;
const OTHERS_REQUEST: u32 = 2;

/// Ends the turnaround of `task` with a send that began at `sent`, and books it; what it ended is `task.ended`. The request that the
/// send found unanswered on its connection is `task.found`.
#[inline(always)]
pub fn after_send(task: &mut TaskState, flow: *mut FlowStats, send: &Send) {
    let sent = send.start_ns;
    let what = task.ended;
    if pmu_turnaround_wanted() {
        book_counts(task, flow, what);
    }
    // SAFETY: a live map value.
    unsafe {
        if what == NOTHING {
            add(&raw mut (*flow).unprompted, 1);
            if task.sent_ns != 0 && sent > task.sent_ns {
                let gap_ns = sent - task.sent_ns;
                add(&raw mut (*flow).unprompted_ns, gap_ns);
                add(&raw mut (*flow).unprompted_gaps, 1);
                add(&raw mut (*flow).unprompted_squares, gap_squared(gap_ns));
            }
        } else {
            if what == HANDOVER {
                add(&raw mut (*flow).handovers, 1);
            }
            book(task, flow, sent, send.epoch);
        }
    }
    if sent > task.sent_ns {
        task.sent_ns = sent;
        task.sent = task.end;
    }
    task.lock_mark_ns = task.lock_ns;
    task.sent_voluntary = task.voluntary;
    task.sends = task.sends.wrapping_add(1);
    task.reads_kept = 0;
    task.reads_more = 0;
    clear(&mut task.noted);
    clear(&mut task.last_read.token);
    // Wakers write these: they are looked at, and written only where there is something.
    if task.handover_read.token != 0 {
        clear(&mut task.handover_read.token);
    }
    if task.handover_wake_ns != 0 {
        clear(&mut task.handover_wake_ns);
    }
}

/// Decides what a send ends: `task.ended`, and the message that is the reason. Of several that a thread may have sent for, a
/// message of its own comes before one that another thread has read, and an open one before one that was passed on.
///
/// What is usual comes first and without a call: a call costs as much as a look-up where the kernel guards its returns.
#[inline(always)]
fn decide(task: &mut TaskState, send: &Send) {
    let found = task.found.token;
    if task.reads_kept == 1
        && task.batch == 0
        && task.handover_read.token == 0
        && (found == 0 || found == prompt::front(task).token)
    {
        task.ended = OWN;
        task.answers = if found == 0 { NO_ANSWER } else { OWN_REQUEST };
    } else {
        decide_among(task, send);
    }
}

/// Functions of their own, here and below, that leave their results in the task's state: of what is read from there the
/// verifier knows nothing, and goes on once, instead of once for each way through.
#[inline(never)]
fn decide_among(task: &mut TaskState, send: &Send) {
    let tid = send.tid;
    if task.batch != 0 && task.voluntary != task.sent_voluntary {
        // It has waited since: whatever it read before, it has done with, or will answer on its connection.
        task.batch = 0;
    }
    let is_found = task.found.token != 0;
    let is_own = is_found && task.found.reader == tid;
    if is_found && is_given_reply(task, send) {
        task.ended = HANDOVER;
        prompt::end(task.found.token);
        prompt::end(task.handover_read.token);
        doubt_given(task, send);
    } else if task.reads_kept != 0 {
        task.ended = OWN;
        task.answers = NO_ANSWER;
        if is_found && !prompt::is_ended(task.found.token) {
            task.answers = if is_own { OWN_REQUEST } else { OTHERS_REQUEST };
        }
    } else if is_own && !prompt::is_ended(task.found.token) {
        task.ended = EARLIER;
        task.batch = task.batch.saturating_sub(1);
        if task.handed_out != 0 {
            prompt::end(task.found.token);
        }
    } else if task.batch != 0 {
        task.ended = EARLIER;
        task.batch -= 1;
        clear(&mut task.found.arrival_ns);
    } else if is_found && !is_own && is_taken_over(&task.found, send) {
        task.ended = HANDOVER;
        task.handover_read.token = task.found.token;
        task.handover_read.arrival_ns = task.found.arrival_ns;
        task.handover_read.read_ns = task.found.read_ns;
        if unseen::may_be_for(task.image, task.found.read_ns) {
            take_up(task, task.found.read_ns, send);
        }
    } else if task.handover_read.token != 0
        && task.handover_read.arrival_ns < send.start_ns
        && !prompt::is_ended(task.handover_read.token)
    {
        task.ended = HANDOVER;
        prompt::end(task.handover_read.token);
        doubt_given(task, send);
    } else if is_own {
        // Passed on, and now answered: what the thread did since is for that request; and if another one of its process
        // has woken it, what it did since that.
        task.ended = EARLIER;
        if task.woken_by_own != 0 {
            task.found.arrival_ns = larger(task.found.arrival_ns, task.wake_ns);
        }
    } else if is_found {
        // Passed on, whoever by, and now answered.
        take_up(task, task.found.read_ns, send);
    } else {
        task.ended = NOTHING;
    }
    if is_found && !is_own {
        prompt::end(task.found.token);
    }
}

/// Of a message that the thread was given, and has waited since, it is not known whether it is still at it, if a call may
/// have been for that one of which nobody saw for whom it was.
#[inline(always)]
fn doubt_given(task: &mut TaskState, send: &Send) {
    if has_waited_since(task) && unseen::may_be_for(task.image, task.handover_read.read_ns) {
        take_up(task, task.handover_read.read_ns, send);
    }
}

#[inline(always)]
fn has_waited_since(task: &TaskState) -> bool {
    task.voluntary != task.handover_voluntary
}

/// What the send ends is a message that was read at `read_ns`, and only what the thread did since it took something up is
/// known to be for that one.
#[inline(always)]
fn take_up(task: &mut TaskState, read_ns: u64, send: &Send) {
    let taken = larger(larger(read_ns, task.wake_ns), task.born_ns);
    task.ended = TAKEN_UP;
    task.found.arrival_ns = smaller(taken, send.start_ns);
}

/// Whether nobody can tell for whom the thread sends: another one of its process has woken it.
#[inline(always)]
pub fn is_unseen(task: &TaskState) -> bool {
    task.woken_by_own != 0
        && (task.ended == NOTHING
            || task.ended == TAKEN_UP
            || task.ended == HANDOVER && has_waited_since(task))
}

/// Whether the thread was given a reply that came after the request which it answers now was read: somebody had asked for it
/// on behalf of that request, whoever that was, and until the reply came the request lay with others.
#[inline(always)]
fn is_given_reply(task: &TaskState, send: &Send) -> bool {
    let given = &task.handover_read;
    given.token != 0
        && !prompt::is_request(given.token)
        && given.arrival_ns < send.start_ns
        && given.arrival_ns > task.found.read_ns
        && (task.reads_kept == 0
            || task.reads_kept == 1 && prompt::front(task).token == task.found.token)
}

/// Whether a request that another thread has read is still to be answered.
#[inline(always)]
fn is_taken_over(found: &Request, send: &Send) -> bool {
    found.arrival_ns < send.start_ns && !prompt::is_ended(found.token)
}

/// Notes where the turnaround began that a send ends.
#[inline(always)]
pub fn find_start(task: &mut TaskState, send: &Send) {
    clock::note_end(task, send.start_ns);
    clear(&mut task.handed_ns);
    clear(&mut task.unread_ns);
    clear(&mut task.rest_ns);
    clear(&mut task.within_ns);
    if task.reads_kept != 0 {
        prompt::drop_ended(task);
        prompt::keep_last(task);
    }
    decide(task, send);
    if task.ended == OWN {
        start_of_own(task, send);
    } else if task.ended == EARLIER || task.ended == TAKEN_UP {
        start_of_earlier(task, send);
    } else if task.ended == HANDOVER {
        start_of_handover(task, send);
    }
}

/// A message that the thread read before its last send prompts this one, too.
#[inline(never)]
fn start_of_earlier(task: &mut TaskState, send: &Send) {
    note_from(task, task.found.arrival_ns);
    if send.start_ns <= task.start_ns {
        task.before_birth_ns = 0;
    }
}

/// The first message read since the last send prompts this one. It is passed on by it, unless the send answers a request.
#[inline(always)]
fn start_of_own(task: &mut TaskState, send: &Send) {
    let first = prompt::front(task);
    if task.noted != first.token {
        begin_from_read(task);
    }
    if task.answers == NO_ANSWER {
        prompt::end(first.token);
    } else if task.handed_out != 0 && task.answers == OWN_REQUEST {
        prompt::end(task.found.token);
    }
    if task.batch != 0 {
        // Others that it read before are older.
        note_last_send(task);
    } else if send.start_ns <= task.start_ns {
        task.before_birth_ns = 0;
    } else {
        task.unread_ns = first.sleep_ns.saturating_sub(task.start.sleep_ns);
        if prompt::is_request(first.token) {
            let before = first.read_ns.saturating_sub(task.start_ns);
            task.within_ns = before + task.before_birth_ns;
        }
    }
    task.rest_ns = task.receiving_ns;
    // One of those that it holds is done with, unless it answered for another thread.
    let done = u32::from(task.answers != OTHERS_REQUEST);
    let more = task.reads_kept + task.reads_more - done;
    task.batch = task.batch.saturating_add(more);
}

/// Another thread has read the message that prompts this send. Before this thread took it over it lay unread, and then it
/// was handed over.
#[inline(never)]
fn start_of_handover(task: &mut TaskState, send: &Send) {
    let arrival = task.handover_read.arrival_ns;
    let read_ns = larger(task.handover_read.read_ns, arrival);
    if task.handover_wake_ns > read_ns {
        task.start_ns = task.handover_wake_ns;
        task.start = task.handover;
        task.lock_mark_ns = task.handover_lock_ns;
        task.start_counts = task.handover_counts;
    } else if task.sent_ns > read_ns {
        task.start_ns = task.sent_ns;
        task.start = task.sent;
        task.start_counts = task.sent_counts;
    } else if task.born_ns > read_ns {
        task.start_ns = task.born_ns;
        task.start = Clocks::ZERO;
        task.start_counts = [0; 2];
    } else {
        // Nobody can be at it before it was read.
        task.start_ns = read_ns;
        clock::note_start(task, read_ns);
        if pmu_turnaround_wanted() {
            task.start_counts = pmu::counts(task);
        }
    }
    let taken = smaller(task.start_ns, send.start_ns);
    let read_ns = smaller(read_ns, taken);
    task.before_birth_ns = read_ns.saturating_sub(arrival);
    task.handed_ns = taken - read_ns;
    if prompt::is_request(task.handover_read.token) {
        task.within_ns = task.before_birth_ns;
    }
}

/// Adds the cycles and instructions that `task` spent in the turnaround that ends.
#[inline(always)]
fn book_counts(task: &mut TaskState, flow: *mut FlowStats, what: u32) {
    let end = if task.sending_counts[0] != 0 {
        task.sending_counts
    } else {
        pmu::counts(task)
    };
    clear(&mut task.sending_counts[0]);
    if what != NOTHING {
        let start = task.start_counts;
        // SAFETY: a live map value; every addition is atomic.
        unsafe {
            add(
                &raw mut (*flow).turnaround_cycles,
                end[0].saturating_sub(start[0]),
            );
            add(
                &raw mut (*flow).turnaround_instructions,
                end[1].saturating_sub(start[1]),
            );
        }
    }
    task.sent_counts = end;
}

/// Books the interval that is noted in the state of `task` and ends at `sent`: its parts, and what was before.
/// On-CPU is what is left, so the parts add up.
#[inline(always)]
fn book(task: &TaskState, flow: *mut FlowStats, sent: u64, epoch: u32) {
    let (start, end) = (&task.start, &task.end);
    let before = task.before_birth_ns;
    let handed = task.handed_ns;
    let length = sent.saturating_sub(task.start_ns);
    let run_queue = end.run_queue_ns.saturating_sub(start.run_queue_ns);
    let block_io = end.block_io_ns.saturating_sub(start.block_io_ns);
    let off = end.sleep_ns.saturating_sub(start.sleep_ns);
    let unread = smaller(task.unread_ns, off);
    let rest = smaller(task.rest_ns, off - unread);
    let run_queue = smaller(run_queue, length);
    let throttled = end.throttled_ns.saturating_sub(start.throttled_ns);
    let throttled = smaller(throttled, run_queue);
    let mut left = length - run_queue;
    let block_io = smaller(block_io, left);
    left -= block_io;
    let queued = smaller(unread, left);
    left -= queued;
    let receiving = smaller(rest, left);
    left -= receiving;
    let sleep = smaller(off - unread - rest, left);
    left -= sleep;
    // SAFETY: a live map value; every addition is atomic.
    unsafe {
        let parts = &raw mut (*flow).turnaround_parts;
        let part = |sum: *mut u64, ns: u64| {
            if ns != 0 {
                add(sum, ns);
            }
        };
        part(&raw mut (*parts).on_cpu_ns, left);
        part(&raw mut (*parts).run_queue_ns, run_queue - throttled);
        part(&raw mut (*parts).throttled_ns, throttled);
        part(&raw mut (*parts).block_io_ns, block_io);
        part(&raw mut (*parts).sleep_ns, sleep);
        let locked = task.lock_ns.saturating_sub(task.lock_mark_ns);
        part(&raw mut (*flow).turnaround_lock_ns, smaller(locked, sleep));
        part(&raw mut (*parts).queued_ns, queued + before);
        part(&raw mut (*parts).receiving_ns, receiving);
        part(&raw mut (*parts).handed_over_ns, handed);
        part(&raw mut (*flow).unread_within_ns, task.within_ns);
        crate::dist::count(
            &raw mut (*flow).turnaround_ns,
            length + before + handed,
            epoch,
        );
    }
}

#[inline(always)]
fn smaller(a: u64, b: u64) -> u64 {
    if a < b { a } else { b }
}

#[inline(always)]
fn larger(a: u64, b: u64) -> u64 {
    if a > b { a } else { b }
}
