//! Hooks on sockets where the kernel has tracepoints for them (6.3): what was sent, received and announced.
//!
//! In: `sock_send_length`, `sock_recv_length`, `sk_data_ready`. Out: calls of `send`, `receive`, `arrival`. Must not know: what they mean.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use crate::{arrival, nested, receive, send, twice};

twice! {
    /// match-proto: sock_send_length(struct sock *sk, int ret, int flags)
    SEND: sock_send_length, sock_send_length_again on "sock_send_length" =
        |ctx: &BtfTracePointContext| send::on_send(ctx.arg(0), ctx.arg::<u64>(1) as i32)
}

twice! {
    /// match-proto: sock_recv_length(struct sock *sk, int ret, int flags)
    RECEIVE: sock_recv_length, sock_recv_length_again on "sock_recv_length" =
        |ctx: &BtfTracePointContext| receive::on_receive(ctx.arg(0), ctx.arg::<u64>(1) as i32, ctx.arg(2))
}

/// match-proto: sk_data_ready(const struct sock *sk)
#[btf_tracepoint(function = "sk_data_ready")]
fn sk_data_ready(ctx: BtfTracePointContext) -> i32 {
    let sk = ctx.arg(0);
    nested::begins();
    arrival::on_arrival(sk);
    nested::mark_noted(sk);
    0
}

/// The same, where the first copy was skipped.
#[btf_tracepoint(function = "sk_data_ready")]
fn sk_data_ready_again(ctx: BtfTracePointContext) -> i32 {
    let sk = ctx.arg(0);
    if !nested::was_noted(sk) {
        arrival::on_arrival(sk);
    }
    0
}
