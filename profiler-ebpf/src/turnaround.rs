//! Turnaround: from the arrival of a message until its reader sends the next one, to whomever.
//!
//! In: receives and sends of a task, in order. Out: intervals and their five parts, booked on the flow of the send.
//! The rules are in ARCHITECTURE.md. Must not know: how sockets are read.

use courtside_wire::{FlowStats, ROLE_ACCEPTOR};

use crate::{
    clock::{came_on_cpu_after, clocks_at},
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
        task.start = clocks_at(task, arrival);
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

/// Ends the turnaround of `task` with a send that began at `sent`, and books it.
///
/// `unanswered` is the arrival of a message on the same connection that nobody answered yet, 0 if there is none.
#[inline(always)]
pub fn sent(task: &mut TaskState, flow: *mut FlowStats, unanswered: u64, sent: u64, epoch: u32) {
    let end = clocks_at(task, sent);
    if pmu_turnaround_wanted() {
        book_counts(task, flow, unanswered, sent);
    }
    let handover = if unanswered != 0 {
        unanswered
    } else {
        task.handover_arrival_ns
    };
    if task.prompt_ns != 0 {
        let start = task.start_ns;
        if sent > start {
            let queued = task.read_sleep_ns.saturating_sub(task.start.sleep_ns);
            let before = task.unborn_ns;
            book(flow, &task.start, &end, sent - start, queued, before, epoch);
        } else {
            book(flow, &end, &end, 0, 0, 0, epoch);
        }
    } else if handover != 0 && sent > handover {
        // SAFETY: a live map value.
        unsafe { add(&raw mut (*flow).handovers, 1) };
        if task.handover_wake_ns > handover {
            let taken = task.handover_wake_ns;
            book_handover(flow, &task.handover, &end, handover, taken, sent, epoch);
        } else if task.sent_ns > handover {
            let taken = task.sent_ns;
            book_handover(flow, &task.sent, &end, handover, taken, sent, epoch);
        } else if task.born_ns > handover {
            let born = task.born_ns;
            book_handover(flow, &Clocks::ZERO, &end, handover, born, sent, epoch);
        } else {
            let taken = clocks_at(task, handover);
            book(flow, &taken, &end, sent - handover, 0, 0, epoch);
        }
    } else {
        // SAFETY: a live map value.
        unsafe {
            add(&raw mut (*flow).unprompted, 1);
            if task.sent_ns != 0 && sent > task.sent_ns {
                add(&raw mut (*flow).unprompted_ns, sent - task.sent_ns);
            }
        }
    }
    if sent > task.sent_ns {
        task.sent_ns = sent;
        task.sent = end;
    }
    clear(&mut task.prompt_ns);
    clear(&mut task.last_arrival_ns);
    clear(&mut task.handover_arrival_ns);
    clear(&mut task.handover_wake_ns);
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

/// Everything before the sending thread took over at `taken` is queued.
#[inline(always)]
fn book_handover(
    flow: *mut FlowStats,
    at_taken: &Clocks,
    end: &Clocks,
    arrival: u64,
    taken: u64,
    sent: u64,
    epoch: u32,
) {
    if taken < sent {
        book(flow, at_taken, end, sent - taken, 0, taken - arrival, epoch);
    } else {
        book(flow, end, end, 0, 0, sent - arrival, epoch);
    }
}

/// Books an interval of `length`, whose clocks went from `start` to `end`; of its sleep `unread` passed before the
/// message was read. `before` is queued time that came first. On-CPU is what is left, so the parts add up.
#[inline(always)]
fn book(
    flow: *mut FlowStats,
    start: &Clocks,
    end: &Clocks,
    length: u64,
    unread: u64,
    before: u64,
    epoch: u32,
) {
    let run_queue = end.run_queue_ns.saturating_sub(start.run_queue_ns);
    let block_io = end.block_io_ns.saturating_sub(start.block_io_ns);
    let off = end.sleep_ns.saturating_sub(start.sleep_ns);
    let unread = if unread < off { unread } else { off };
    let run_queue = if run_queue < length {
        run_queue
    } else {
        length
    };
    let mut left = length - run_queue;
    let block_io = if block_io < left { block_io } else { left };
    left -= block_io;
    let queued = if unread < left { unread } else { left };
    left -= queued;
    let sleep = off - unread;
    let sleep = if sleep < left { sleep } else { left };
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
