//! Hooks on sockets where the kernel has tracepoints for them (6.3): what was sent, received and announced.
//!
//! In: `sock_send_length`, `sock_recv_length`, `sk_data_ready`. Out: calls of `net`. Must not know: what they mean.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use crate::{arrival, net};

/// match-proto: sock_send_length(struct sock *sk, int ret, int flags)
#[btf_tracepoint(function = "sock_send_length")]
fn sock_send_length(ctx: BtfTracePointContext) -> i32 {
    net::sent(ctx.arg(0), ctx.arg::<u64>(1) as i32)
}

/// match-proto: sock_recv_length(struct sock *sk, int ret, int flags)
#[btf_tracepoint(function = "sock_recv_length")]
fn sock_recv_length(ctx: BtfTracePointContext) -> i32 {
    net::received(ctx.arg(0), ctx.arg::<u64>(1) as i32, ctx.arg(2))
}

/// match-proto: sk_data_ready(const struct sock *sk)
#[btf_tracepoint(function = "sk_data_ready")]
fn sk_data_ready(ctx: BtfTracePointContext) -> i32 {
    arrival::arrived(ctx.arg(0))
}
