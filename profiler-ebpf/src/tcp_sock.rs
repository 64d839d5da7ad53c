//! What is read of a TCP socket itself.
//!
//! In: a socket. Out: the same as one of TCP, and what only such a one has. Must not know: our state of it.

#[cfg(not(feature = "untyped"))]
use aya_ebpf::helpers::generated;
use courtside_wire::offsets::ABSENT;

use crate::{
    field,
    kernel::{load, probe},
    offset,
    state::MPTCP_PART,
};

/// The socket as a typed `tcp_sock`, which the verifier lets us read directly.
#[cfg(not(feature = "untyped"))]
#[inline(always)]
pub fn tcp_sock(sk: *const u8) -> Option<*const u8> {
    // SAFETY: the helper checks the socket's kind.
    let tcp = unsafe { generated::bpf_skc_to_tcp_sock(sk as *mut _) as *const u8 };
    if tcp.is_null() { None } else { Some(tcp) }
}

/// The socket as a `tcp_sock`, which begins with it. It was classified as one of TCP.
#[cfg(feature = "untyped")]
#[inline(always)]
pub fn tcp_sock(sk: *const u8) -> Option<*const u8> {
    if sk.is_null() { None } else { Some(sk) }
}

/// Whether a TCP socket is a part of an MPTCP connection, as [`SockState`] has it.
#[inline(always)]
pub fn part_of_mptcp(sk: *const u8) -> u8 {
    if offset!(tcp_is_mptcp) == ABSENT {
        return 0;
    }
    match tcp_sock(sk) {
        Some(tcp) if field!(tcp, tcp_is_mptcp, u8) != 0 => MPTCP_PART,
        _ => 0,
    }
}

/// Smallest round-trip time the kernel has seen on this connection, 0 if none yet. Of an MPTCP connection that of its
/// first part.
#[inline(always)]
pub fn min_rtt_ns(sk: *const u8, tcp: Option<*const u8>) -> u64 {
    // `struct minmax` begins with the best of three samples, `{ u32 t, v }`.
    let micros: u32 = if let Some(tcp) = tcp {
        load(tcp, offset!(tcp_rtt_min) as usize + 4)
    } else if offset!(mptcp_first) != ABSENT {
        let first: u64 = probe(sk as u64, offset!(mptcp_first));
        probe(first, offset!(tcp_rtt_min) + 4)
    } else {
        0
    };
    if micros == u32::MAX {
        0
    } else {
        u64::from(micros) * 1000
    }
}
