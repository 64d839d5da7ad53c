//! Turnaround: from the arrival of a message until its reader sends the next one, to whomever.
//!
//! In: receives and sends of a task, in order. Out: intervals and their five parts, booked on the flow of the send.
//! The rules are in ARCHITECTURE.md. Must not know: how sockets are read.

use courtside_wire::{FlowStats, ROLE_ACCEPTOR};

use crate::{
    clock::{self, came_on_cpu_after},
    kernel::pmu_turnaround_wanted,
    maps::add,
    pmu,
    state::{Clocks, SockState, TaskState, clear},
};

/// Notes that `task` received data that had arrived at `arrival`.
#[inline(always)]
pub fn received(task: &mut TaskState, arrival: u64) {
    task.prompted = 1;
    task.last_arrival_ns = arrival;
    task.read_voluntary = task.voluntary;
    if task.prompt_ns != 0 {
        return;
    }
    task.prompt_ns = arrival;
    task.unborn_ns = 0;
    if arrival <= task.sent_ns {
        task.start_ns = task.sent_ns;
        task.start = task.sent;
    } else if arrival < task.born_ns {
        // Nobody had it before this task was there.
        task.unborn_ns = task.born_ns - arrival;
        task.start_ns = task.born_ns;
        task.start = Clocks::ZERO;
    } else {
        task.start_ns = arrival;
        clock::note_start(task, arrival);
    }
    if pmu_turnaround_wanted() {
        task.start_counts = counts_at_start(task, arrival);
    }
    task.read_sleep_ns = task.clocks.sleep_ns;
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

/// What a send ends.
const NOTHING: u32 = 0;
const TURNAROUND: u32 = 1;
const HANDOVER: u32 = 2;

/// Ends the turnaround of `task` with a send that began at `sent`, and books it.
///
/// `unanswered` is the arrival of a message on the same connection that nobody answered yet, 0 if there is none.
#[inline(always)]
pub fn sent(task: &mut TaskState, flow: *mut FlowStats, unanswered: u64, sent: u64, epoch: u32) {
    if pmu_turnaround_wanted() {
        book_counts(task, flow, unanswered, sent);
    }
    clock::note_end(task, sent);
    let what = start(task, unanswered, sent);
    // SAFETY: a live map value.
    unsafe {
        if what == NOTHING {
            add(&raw mut (*flow).unprompted, 1);
            if task.sent_ns != 0 && sent > task.sent_ns {
                add(&raw mut (*flow).unprompted_ns, sent - task.sent_ns);
            }
        } else {
            if what == HANDOVER {
                add(&raw mut (*flow).handovers, 1);
            }
            book(task, flow, sent, epoch);
        }
    }
    if sent > task.sent_ns {
        task.sent_ns = sent;
        task.sent = task.end;
    }
    clear(&mut task.prompt_ns);
    clear(&mut task.last_arrival_ns);
    clear(&mut task.handover_arrival_ns);
    clear(&mut task.handover_wake_ns);
}

/// What a send at `sent` ends, and where that began: the start is in the task's state then.
///
/// A function of its own that leaves its result in the task's state: of what is read from there the verifier knows nothing,
/// and goes on once, instead of once for each way through.
#[inline(never)]
fn start(task: &mut TaskState, unanswered: u64, sent: u64) -> u32 {
    if task.prompt_ns != 0 {
        task.unread_ns = task.read_sleep_ns.saturating_sub(task.start.sleep_ns);
        if sent <= task.start_ns {
            task.unborn_ns = 0;
        }
        return TURNAROUND;
    }
    let handover = if unanswered != 0 {
        unanswered
    } else {
        task.handover_arrival_ns
    };
    if handover == 0 || sent <= handover {
        return NOTHING;
    }
    // Everything before this thread took over is queued.
    task.unread_ns = 0;
    if task.handover_wake_ns > handover {
        task.start_ns = task.handover_wake_ns;
        task.start = task.handover;
    } else if task.sent_ns > handover {
        task.start_ns = task.sent_ns;
        task.start = task.sent;
    } else if task.born_ns > handover {
        task.start_ns = task.born_ns;
        task.start = Clocks::ZERO;
    } else {
        task.start_ns = handover;
        clock::note_start(task, handover);
    }
    let taken = if task.start_ns < sent {
        task.start_ns
    } else {
        sent
    };
    task.unborn_ns = taken - handover;
    HANDOVER
}

/// Adds the cycles and instructions that `task` spent in the turnaround which the send at `sent` ends.
#[inline(always)]
fn book_counts(task: &mut TaskState, flow: *mut FlowStats, unanswered: u64, sent: u64) {
    let end = if task.sending_counts[0] != 0 {
        task.sending_counts
    } else {
        pmu::counts(task)
    };
    clear(&mut task.sending_counts[0]);
    let handover = if unanswered != 0 {
        unanswered
    } else {
        task.handover_arrival_ns
    };
    let start = if task.prompt_ns != 0 {
        task.start_counts
    } else if handover == 0 || sent <= handover {
        end
    } else if task.handover_wake_ns > handover {
        task.handover_counts
    } else if task.sent_ns > handover {
        task.sent_counts
    } else if task.born_ns > handover {
        [0; 2]
    } else {
        end
    };
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
    task.sent_counts = end;
}

/// Books the interval that is noted in the state of `task` and ends at `sent`: its parts, and what was queued before.
/// On-CPU is what is left, so the parts add up.
#[inline(always)]
fn book(task: &TaskState, flow: *mut FlowStats, sent: u64, epoch: u32) {
    let (start, end) = (&task.start, &task.end);
    let before = task.unborn_ns;
    let length = sent.saturating_sub(task.start_ns);
    let run_queue = end.run_queue_ns.saturating_sub(start.run_queue_ns);
    let block_io = end.block_io_ns.saturating_sub(start.block_io_ns);
    let off = end.sleep_ns.saturating_sub(start.sleep_ns);
    let unread = smaller(task.unread_ns, off);
    let run_queue = smaller(run_queue, length);
    let mut left = length - run_queue;
    let block_io = smaller(block_io, left);
    left -= block_io;
    let queued = smaller(unread, left);
    left -= queued;
    let sleep = smaller(off - unread, left);
    left -= sleep;
    // SAFETY: a live map value; every addition is atomic.
    unsafe {
        add(&raw mut (*flow).turnaround_parts.on_cpu_ns, left);
        if run_queue != 0 {
            add(&raw mut (*flow).turnaround_parts.run_queue_ns, run_queue);
        }
        if block_io != 0 {
            add(&raw mut (*flow).turnaround_parts.block_io_ns, block_io);
        }
        if sleep != 0 {
            add(&raw mut (*flow).turnaround_parts.sleep_ns, sleep);
        }
        if queued + before != 0 {
            add(&raw mut (*flow).turnaround_parts.queued_ns, queued + before);
        }
        crate::net::count(&raw mut (*flow).turnaround_ns, length + before, epoch);
    }
}

#[inline(always)]
fn smaller(a: u64, b: u64) -> u64 {
    if a < b { a } else { b }
}

/// Notes that `task` read a request of the connection `sk`.
#[inline(always)]
pub fn opened(task: &mut TaskState, sk: u64) {
    if task.open[0] == sk || task.open[1] == sk {
        return;
    }
    if task.open[0] == 0 {
        task.open[0] = sk;
    } else {
        task.open[1] = sk;
    }
}

/// Notes that `task` answered a request of the connection `sk`.
#[inline(always)]
pub fn answered(task: &mut TaskState, sk: u64) {
    if task.open[0] == sk {
        task.open[0] = task.open[1];
        task.open[1] = 0;
    } else if task.open[1] == sk {
        task.open[1] = 0;
    }
}

/// Whether `task` sends on behalf of a request it cannot tell from another one.
#[inline(always)]
pub fn is_ambiguous(task: &TaskState) -> bool {
    task.open[1] != 0
}

/// The connection's unanswered request, if it still waits. A reply is nothing to be answered.
#[inline(always)]
pub fn unanswered(socket: &SockState) -> u64 {
    if socket.pending != 0 && socket.role == ROLE_ACCEPTOR {
        socket.received_ns
    } else {
        0
    }
}
