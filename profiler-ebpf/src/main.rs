//! Courtside's kernel programs, one family a module.
//!
//! In: kernel hooks. Out: aggregates in maps (`maps.rs`), read by user space. Every program does O(1) work.
//! Must not know: names, components, windows (beyond the epoch number), or anything of user space.
#![no_std]
#![no_main]
#![feature(core_intrinsics)]
#![feature(asm_experimental_arch)]
#![expect(internal_features, reason = "atomic additions, see atomic::add")]

mod address;
mod arrival;
mod atomic;
mod behind;
mod clock;
mod disk;
mod dist;
mod flows;
mod held;
mod hooks_function;
mod hooks_length;
mod hooks_polls;
#[cfg(feature = "untyped")]
mod hooks_probe;
mod image;
mod iter;
mod kernel;
mod locks;
mod loss;
mod maps;
mod mptcp;
mod nested;
mod net;
mod own;
mod peer;
mod pmu;
mod polls;
mod prompt;
mod receive;
mod ring;
mod runs;
mod sched;
mod send;
#[cfg(feature = "untyped")]
mod sockets;
mod spare;
mod state;
mod storage;
mod tcp;
mod tcp_sock;
mod turnaround;
mod twice;
mod unseen;
mod waits;

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";
