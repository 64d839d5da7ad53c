//! The hooks of Courtside's kernel programs with nothing behind them: what `cargo xtask bench` measures against.
//!
//! In: kernel hooks. Out: nothing. Must not know: anything.
#![no_std]
#![no_main]

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

macro_rules! empty {
    ($($hook:ident)*) => {
        $(#[btf_tracepoint]
        fn $hook(_ctx: BtfTracePointContext) -> i32 {
            0
        })*
    };
}

empty! {
    sched_switch
    sched_waking
    sched_migrate_task
    sched_process_fork
    sched_process_exec
    sched_process_exit
    sock_send_length
    sock_recv_length
    sk_data_ready
    tcp_sendmsg_locked
    mptcp_sendmsg_frag
    tcp_retransmit_skb
    inet_sock_set_state
    block_io_start
    block_rq_issue
    block_rq_complete
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";
