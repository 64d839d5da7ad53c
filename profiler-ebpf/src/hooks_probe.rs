//! Hooks on the kernel's functions where it lets programs onto them only as kprobes. Arguments are numbers, and at the
//! return there are none: they wait in the task's state from the entry. The kernel has room for ten or so calls that are
//! to return, and tells no program of the return of others: a server with a thread for each connection has more of them
//! waiting. Most of those are seen when the system call returns; the rest is counted as lost. One program sits on many
//! functions.
//!
//! In: functions of the protocols, at entry and return. Out: calls of `send`, `receive`, `arrival` and `tcp`. Must not know: what
//! they mean.

use aya_ebpf::{
    macros::{btf_tracepoint, kprobe, kretprobe},
    programs::{BtfTracePointContext, ProbeContext, RetProbeContext},
};
use courtside_wire::Lost;

use crate::{
    arrival, field, kernel::current_task, loss::lost, receive, send, storage::task_state, tcp,
};

const IPPROTO_TCP: u16 = 6;
const SOCK_SEQPACKET: u16 = 5;

/// The call that runs is a send.
const SEND: u32 = 1;
/// The call that runs is a receive.
const RECEIVE: u32 = 2;

/// `write`, `writev`, `sendto`, `sendmsg`: one send each.
#[cfg(not(bpf_target_arch = "aarch64"))]
const SENDING: [u32; 4] = [1, 20, 44, 46];
#[cfg(bpf_target_arch = "aarch64")]
const SENDING: [u32; 4] = [64, 66, 206, 211];
/// `read`, `readv`, `recvfrom`, `recvmsg`: one receive each.
#[cfg(not(bpf_target_arch = "aarch64"))]
const RECEIVING: [u32; 4] = [0, 19, 45, 47];
#[cfg(bpf_target_arch = "aarch64")]
const RECEIVING: [u32; 4] = [63, 65, 207, 212];

/// An argument that is a pointer; null if there is none.
#[inline(always)]
fn pointer(ctx: &ProbeContext, at: usize) -> *const u8 {
    ctx.arg::<*const u8>(at).unwrap_or(core::ptr::null())
}

/// The sock of a `struct socket` that is the first argument.
#[inline(always)]
fn sock_of(ctx: &ProbeContext) -> *const u8 {
    field!(pointer(ctx, 0), socket_sk, *const u8)
}

/// Keeps what the return will need. If the call before is still noted, nobody was told of its return.
#[inline(always)]
fn called(sk: *const u8, kind: u32, flags: u32) -> u32 {
    if let Some(task) = task_state(current_task()) {
        if task.call_kind != 0 {
            lost(Lost::Skipped);
        }
        task.call_sk = sk as u64;
        task.call_flags = flags;
        task.call_kind = kind;
    }
    0
}

/// The socket and the flags of the call that is over, if it was noted as one of this kind.
#[inline(always)]
fn returned(kind: u32) -> Option<(*const u8, u32)> {
    let task = task_state(current_task())?;
    if task.call_kind != kind {
        return None;
    }
    task.call_kind = 0;
    Some((task.call_sk as *const u8, task.call_flags))
}

/// A send is over, if its entry was noted.
#[inline(always)]
fn sent(ctx: &RetProbeContext) -> bool {
    match returned(SEND) {
        Some((sk, _)) => {
            send::on_send(sk, ctx.ret::<i32>());
            true
        }
        None => false,
    }
}

#[inline(always)]
fn received(ctx: &RetProbeContext) -> bool {
    match returned(RECEIVE) {
        Some((sk, flags)) => {
            receive::on_receive(sk, ctx.ret::<i32>(), u64::from(flags));
            true
        }
        None => false,
    }
}

/// match-proto: sys_exit(struct pt_regs *regs, long ret)
///
/// A call on a socket that is noted still has returned without a program being told. What the system call says is what
/// it returned, where the system call makes just one.
#[btf_tracepoint(function = "sys_exit")]
fn sys_exit(ctx: BtfTracePointContext) -> i32 {
    let Some(task) = task_state(current_task()) else {
        return 0;
    };
    let (kind, sk, flags) = (task.call_kind, task.call_sk as *const u8, task.call_flags);
    if kind == 0 {
        return 0;
    }
    task.call_kind = 0;
    let number = field!(ctx.arg(0), regs_syscall, u32);
    let length = ctx.arg::<u64>(1) as i32;
    if kind == SEND && SENDING.contains(&number) {
        send::on_send(sk, length)
    } else if kind == RECEIVE && RECEIVING.contains(&number) {
        receive::on_receive(sk, length, u64::from(flags))
    } else {
        lost(Lost::Skipped);
        0
    }
}

/// match-proto: int inet_sendmsg(struct socket *sock, struct msghdr *msg, size_t size), and those of other protocols
#[kprobe]
fn kp_send(ctx: ProbeContext) -> u32 {
    called(sock_of(&ctx), SEND, 0)
}

/// match-proto: int inet_recvmsg(struct socket *sock, struct msghdr *msg, size_t size, int flags), and those of others
#[kprobe]
fn kp_receive(ctx: ProbeContext) -> u32 {
    called(sock_of(&ctx), RECEIVE, ctx.arg::<u32>(3).unwrap_or(0))
}

/// match-proto: int unix_dgram_sendmsg(struct socket *sock, struct msghdr *msg, size_t size)
///
/// A call by `unix_seqpacket_sendmsg`, which is noted already, may pass here, or not, as the compiler saw fit.
#[kprobe]
fn kp_dgram_send(ctx: ProbeContext) -> u32 {
    let sk = sock_of(&ctx);
    if field!(sk, sock_type, u16) == SOCK_SEQPACKET {
        0
    } else {
        called(sk, SEND, 0)
    }
}

/// match-proto: int unix_dgram_recvmsg(struct socket *sock, struct msghdr *msg, size_t size, int flags)
#[kprobe]
fn kp_dgram_receive(ctx: ProbeContext) -> u32 {
    let sk = sock_of(&ctx);
    if field!(sk, sock_type, u16) == SOCK_SEQPACKET {
        0
    } else {
        called(sk, RECEIVE, ctx.arg::<u32>(3).unwrap_or(0))
    }
}

/// match-proto: ssize_t inet_sendpage(struct socket *sock, struct page *page, int offset, size_t size, int flags)
///
/// What `sendfile` calls before 6.5, over IPv6 too. What is not TCP goes on to `sendmsg`, and is seen there.
#[kprobe]
fn kp_sendpage(ctx: ProbeContext) -> u32 {
    let sk = sock_of(&ctx);
    if field!(sk, sock_protocol, u16) != IPPROTO_TCP {
        return 0;
    }
    called(sk, SEND, 0);
    tcp::note_send_start(sk);
    0
}

/// The return of a function whose every call is noted.
#[kretprobe]
fn kr_send(ctx: RetProbeContext) -> u32 {
    if !sent(&ctx) {
        // The kernel skipped the program at the entry.
        lost(Lost::Skipped);
    }
    0
}

/// The same of a receive.
#[kretprobe]
fn kr_receive(ctx: RetProbeContext) -> u32 {
    if !received(&ctx) {
        lost(Lost::Skipped);
    }
    0
}

/// The return of a function that may be within another one that is noted, or that is not noted always. Both return the
/// same; the first one tells it.
#[kretprobe]
fn kr_send_once(ctx: RetProbeContext) -> u32 {
    sent(&ctx);
    0
}

/// The same of a receive.
#[kretprobe]
fn kr_receive_once(ctx: RetProbeContext) -> u32 {
    received(&ctx);
    0
}

/// match-proto: int tcp_sendmsg_locked(struct sock *sk, struct msghdr *msg, size_t size)
#[kprobe]
fn kp_tcp_sendmsg(ctx: ProbeContext) -> u32 {
    tcp::note_send_start(pointer(&ctx, 0));
    0
}

/// match-proto: void sock_def_readable(struct sock *sk)
#[kprobe]
fn kp_sock_readable(ctx: ProbeContext) -> u32 {
    arrival::on_arrival(pointer(&ctx, 0));
    0
}
