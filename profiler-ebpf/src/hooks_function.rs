//! Hooks on the kernel's functions, where it has no tracepoints for the same: arguments are typed, as a tracepoint's.
//!
//! In: functions of the protocols, at entry and exit. Out: calls of `send`, `receive`, `arrival` and `tcp`. Must not know: what they
//! mean.

use aya_ebpf::{
    macros::{fentry, fexit},
    programs::{FEntryContext, FExitContext},
};

use crate::{arrival, field, receive, send, tcp};

const IPPROTO_TCP: u16 = 6;
const SOCK_SEQPACKET: u16 = 5;

/// The sock of a `struct socket`.
#[inline(always)]
fn sock_of(socket: *const u8) -> *const u8 {
    field!(socket, socket_sk, *const u8)
}

/// An argument that is an `int`, as an unsigned value of its 32 bits.
#[inline(always)]
fn bits(argument: u64) -> u64 {
    argument & 0xffff_ffff
}

/// match-proto: int tcp_sendmsg_locked(struct sock *sk, struct msghdr *msg, size_t size)
#[fentry(function = "tcp_sendmsg_locked")]
fn fe_tcp_sendmsg(ctx: FEntryContext) -> i32 {
    tcp::note_send_start(ctx.arg(0))
}

/// match-proto: ssize_t inet_sendpage(struct socket *sock, struct page *page, int offset, size_t size, int flags)
///
/// What `sendfile` calls before 6.5, over IPv6 too.
#[fentry(function = "inet_sendpage")]
fn fe_inet_sendpage(ctx: FEntryContext) -> i32 {
    let sk = sock_of(ctx.arg(0));
    if field!(sk, sock_protocol, u16) == IPPROTO_TCP {
        tcp::note_send_start(sk);
    }
    0
}

/// match-proto: ssize_t inet_sendpage(struct socket *sock, struct page *page, int offset, size_t size, int flags)
#[fexit(function = "inet_sendpage")]
fn fx_inet_sendpage(ctx: FExitContext) -> i32 {
    let sk = sock_of(ctx.arg(0));
    // What has no such function of its own goes on to `sendmsg`, and is seen there.
    if field!(sk, sock_protocol, u16) == IPPROTO_TCP {
        send::on_send(sk, ctx.arg::<u64>(5) as i32);
    }
    0
}

/// match-proto: ssize_t unix_stream_sendpage(struct socket *sock, struct page *page, int offset, size_t size, int flags)
#[fexit(function = "unix_stream_sendpage")]
fn fx_unix_sendpage(ctx: FExitContext) -> i32 {
    send::on_send(sock_of(ctx.arg(0)), ctx.arg::<u64>(5) as i32)
}

/// A send by a protocol for which nobody else tells it.
#[inline(always)]
fn sent(ctx: &FExitContext) -> i32 {
    send::on_send(sock_of(ctx.arg(0)), ctx.arg::<u64>(3) as i32)
}

/// A receive by a protocol for which nobody else tells it.
#[inline(always)]
fn received(ctx: &FExitContext) -> i32 {
    receive::on_receive(
        sock_of(ctx.arg(0)),
        ctx.arg::<u64>(4) as i32,
        bits(ctx.arg(3)),
    )
}

/// Whether a datagram call is one of `unix_seqpacket_*`. Those call `unix_dgram_*`, but compilers put that call's body
/// in place: seen it is on some kernels and not on others, so it is always told by their own programs.
#[inline(always)]
fn is_seqpacket(ctx: &FExitContext) -> bool {
    field!(sock_of(ctx.arg(0)), sock_type, u16) == SOCK_SEQPACKET
}

macro_rules! sends {
    ($($program:ident = $function:literal;)*) => {
        $(
            #[doc = concat!("match-proto: int ", $function, "(struct socket *sock, struct msghdr *msg, size_t size)")]
            #[fexit(function = $function)]
            fn $program(ctx: FExitContext) -> i32 {
                sent(&ctx)
            }
        )*
    };
}

macro_rules! receives {
    ($($program:ident = $function:literal;)*) => {
        $(
            #[doc = concat!(
                "match-proto: int ", $function, "(struct socket *sock, struct msghdr *msg, size_t size, int flags)"
            )]
            #[fexit(function = $function)]
            fn $program(ctx: FExitContext) -> i32 {
                received(&ctx)
            }
        )*
    };
}

sends! {
    fx_inet_sendmsg = "inet_sendmsg";
    fx_inet6_sendmsg = "inet6_sendmsg";
    fx_unix_stream_send = "unix_stream_sendmsg";
    fx_unix_packet_send = "unix_seqpacket_sendmsg";
}
receives! {
    fx_inet_recvmsg = "inet_recvmsg";
    fx_inet6_recvmsg = "inet6_recvmsg";
    fx_unix_stream_recv = "unix_stream_recvmsg";
    fx_unix_packet_recv = "unix_seqpacket_recvmsg";
}

/// match-proto: int unix_dgram_sendmsg(struct socket *sock, struct msghdr *msg, size_t size)
#[fexit(function = "unix_dgram_sendmsg")]
fn fx_unix_dgram_send(ctx: FExitContext) -> i32 {
    if is_seqpacket(&ctx) { 0 } else { sent(&ctx) }
}

/// match-proto: int unix_dgram_recvmsg(struct socket *sock, struct msghdr *msg, size_t size, int flags)
#[fexit(function = "unix_dgram_recvmsg")]
fn fx_unix_dgram_recv(ctx: FExitContext) -> i32 {
    if is_seqpacket(&ctx) {
        0
    } else {
        received(&ctx)
    }
}

/// match-proto: void sock_def_readable(struct sock *sk)
///
/// What the tracepoint `sk_data_ready` sits in, but for sockets that the kernel itself reads.
#[fentry(function = "sock_def_readable")]
fn fe_sock_readable(ctx: FEntryContext) -> i32 {
    arrival::on_arrival(ctx.arg(0))
}
