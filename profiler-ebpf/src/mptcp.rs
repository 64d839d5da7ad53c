//! MPTCP: one connection for its process, carried by TCP sockets of the kernel's own.
//!
//! In: what is announced and sent on the whole connection. Out: arrival times; in the sender's state when its running
//! send began. Must not know: turns, what the parts carry.

use aya_ebpf::programs::BtfTracePointContext;

use crate::{
    field,
    kernel::{current_task, in_interrupt, now_ns},
    state::SockState,
    storage::task_state,
    twice,
};

/// Data became readable. The kernel joins what comes to what waits, so the length of the queue does not tell the first;
/// but no reader is at the connection while this is told: what is noted stands until it is read.
#[inline(always)]
pub fn note_mptcp_arrival(sk: *const u8, socket: &mut SockState, now: u64) {
    let all_read = socket.left_ns == 0 && socket.arrival_ns <= socket.read_ns;
    if all_read && field!(sk, sock_receive_queue_len, u32) != 0 {
        socket.arrival_ns = now;
    }
}

twice! {
    /// match-proto: mptcp_sendmsg_frag(struct mptcp_ext *mpext)
    ///
    /// Fires for each piece of a send, and says of neither connection nor part which it is: the running task's.
    MPTCP_START: mptcp_sendmsg_frag, mptcp_sendmsg_frag_again on "mptcp_sendmsg_frag" = |_: &BtfTracePointContext| note_mptcp_send_start()
}

/// A send call is running; when that is first told is its start. What the kernel sends later it sends in an interrupt.
#[inline(always)]
fn note_mptcp_send_start() -> i32 {
    if in_interrupt() {
        return 0;
    }
    if let Some(task) = task_state(current_task())
        && task.mptcp_ns == 0
    {
        task.mptcp_ns = now_ns();
    }
    0
}
