//! Hooks on sockets where the kernel has tracepoints for them (6.3): what was sent, received and announced.
//!
//! In: `sock_send_length`, `sock_recv_length`, `sk_data_ready`. Out: calls of `net`. Must not know: what they mean.

use aya_ebpf::programs::BtfTracePointContext;

use crate::{arrival, net, twice};

twice! {
    /// match-proto: sock_send_length(struct sock *sk, int ret, int flags)
    SEND: sock_send_length, sock_send_length_again on "sock_send_length" =
        |ctx: &BtfTracePointContext| net::sent(ctx.arg(0), ctx.arg::<u64>(1) as i32)
}

twice! {
    /// match-proto: sock_recv_length(struct sock *sk, int ret, int flags)
    RECEIVE: sock_recv_length, sock_recv_length_again on "sock_recv_length" =
        |ctx: &BtfTracePointContext| net::received(ctx.arg(0), ctx.arg::<u64>(1) as i32, ctx.arg(2))
}

twice! {
    /// match-proto: sk_data_ready(const struct sock *sk)
    READY: sk_data_ready, sk_data_ready_again on "sk_data_ready" =
        |ctx: &BtfTracePointContext| arrival::arrived(ctx.arg(0))
}
