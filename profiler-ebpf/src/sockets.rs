//! State of sockets by their address, where the kernel keeps nothing with them for programs like ours (before 5.11), or
//! programs have no typed pointer to a socket, without which it does not.
//!
//! In: sockets, and the kernel's own clean-up when one goes. Out: state. Must not know: hooks of traffic, tasks.

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    macros::{fentry, kprobe, map},
    maps::{Array, HashMap},
    programs::{FEntryContext, ProbeContext},
};
use courtside_wire::Lost;

use crate::{loss::lost, state::SockState};

/// State by address of the socket.
#[map]
static SOCKETS: HashMap<u64, SockState> = HashMap::with_max_entries(32_768, 0);
/// Zeroes to begin with.
#[map]
static NO_SOCKET: Array<SockState> = Array::with_max_entries(1, 0);

/// State of a socket, made if it has none.
#[inline(always)]
pub fn socket_state(sk: *const u8) -> Option<&'static mut SockState> {
    match known_socket_state(sk) {
        Some(state) => Some(state),
        None => make(sk as u64),
    }
}

/// State of a socket if it has any.
#[inline(always)]
pub fn known_socket_state(sk: *const u8) -> Option<&'static mut SockState> {
    let state = SOCKETS.get_ptr_mut(sk as u64)?;
    // SAFETY: a live map value. It is another socket's only after this one is gone.
    Some(unsafe { &mut *state })
}

#[inline(never)]
fn make(sk: u64) -> Option<&'static mut SockState> {
    if let Some(zeroes) = NO_SOCKET.get(0) {
        let _ = SOCKETS.insert(sk, zeroes, u64::from(BPF_NOEXIST));
    }
    let Some(state) = SOCKETS.get_ptr_mut(sk) else {
        lost(Lost::SocketState);
        return None;
    };
    // SAFETY: as above.
    Some(unsafe { &mut *state })
}

/// match-proto: void bpf_sk_storage_free(struct sock *sk)
#[fentry(function = "bpf_sk_storage_free")]
fn fe_socket_gone(ctx: FEntryContext) -> i32 {
    let _ = SOCKETS.remove(ctx.arg::<u64>(0));
    0
}

/// match-proto: void bpf_sk_storage_free(struct sock *sk)
///
/// Where the kernel frees what it keeps with a socket. In a file of its own: no compiler puts it in place of its call.
#[kprobe]
fn kp_socket_gone(ctx: ProbeContext) -> u32 {
    let Some(sk) = ctx.arg::<u64>(0) else {
        return 0;
    };
    let _ = SOCKETS.remove(sk);
    0
}
