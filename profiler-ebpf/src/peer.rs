//! Who is at the other end of a connection: a program image of this host, or a remote address.
//!
//! In: a socket and its state. Out: `peer`, `port`, `role` in that state. Must not know: turns, time.

use courtside_wire::{
    ListenKey, Lost, ProtocolKey, ROLE_ACCEPTOR, ROLE_INITIATOR, ROLE_UNKNOWN, TRANSPORT_TCP,
    TRANSPORT_UDP, TRANSPORT_UNIX,
};

use crate::{
    address::{inet_key, is_loopback, remote, unix_key},
    atomic::add,
    field,
    kernel::probe,
    loss::lost,
    maps::{ENDS, EndKey, LISTENERS, MIDLIFE, PROCESSES, PROTOCOLS},
    offset, own, prompt,
    state::{MPTCP_PART, MPTCP_WHOLE, SockState},
    tcp_sock::part_of_mptcp,
};

const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const SOCK_STREAM: u16 = 1;
const SOCK_SEQPACKET: u16 = 5;
/// `SOCK_BINDPORT_LOCK`
const BIND_PORT: u8 = 8;
const IPPROTO_TCP: u16 = 6;
const IPPROTO_UDP: u16 = 17;
const IPPROTO_UDPLITE: u16 = 136;
pub const IPPROTO_MPTCP: u16 = 262;
/// `TCP_CLOSE`
pub const CLOSE: u8 = 7;
/// `TCP_LISTEN`, also the state of listening Unix sockets.
pub const LISTEN: u8 = 10;
/// Look-ups of the other end before it is taken for remote for good.
const TRIES: u8 = 16;

/// Fills what never changes in a socket's life. `false` for sockets that are not ours to count.
#[inline(always)]
pub fn classify(sk: *const u8, state: &mut SockState) -> bool {
    if state.transport != 0 {
        return true;
    }
    identify_peer(sk, state)
}

#[inline(never)]
fn identify_peer(sk: *const u8, state: &mut SockState) -> bool {
    let family = field!(sk, sock_family, u16);
    state.address = sk as u64;
    // SAFETY: a valid reference. Read anew: a number, not a pointer.
    let address = unsafe { core::ptr::read_volatile(&raw const state.address) };
    // Another CPU may look for the first time, too: whoever reads a Unix socket may be faster than the announcement of what
    // it reads. What either has found out stays.
    if state.prompts == 0 {
        state.prompts = prompt::first_number();
    }
    state.stream = u8::from(field!(sk, sock_type, u16) == SOCK_STREAM);
    if family == AF_UNIX {
        own::forget(&unix_key(address));
        state.transport = TRANSPORT_UNIX;
        let connects = state.stream != 0 || field!(sk, sock_type, u16) == SOCK_SEQPACKET;
        let role = unix_role(sk, connects);
        if role != ROLE_UNKNOWN {
            state.role = role;
        }
    } else if (family == AF_INET || family == AF_INET6) && field!(sk, sock_type, u16) != SOCK_RAW {
        match field!(sk, sock_protocol, u16) {
            IPPROTO_TCP => {
                state.transport = TRANSPORT_TCP;
                state.mptcp = part_of_mptcp(sk);
            }
            IPPROTO_MPTCP => {
                state.transport = TRANSPORT_TCP;
                state.mptcp = MPTCP_WHOLE;
            }
            IPPROTO_UDP | IPPROTO_UDPLITE => state.transport = TRANSPORT_UDP,
            _ => return false,
        }
        let net: u64 = probe(sk as u64, offset!(sock_net));
        state.netns = probe(net, offset!(net_inum));
        if state.transport == TRANSPORT_TCP && state.role == ROLE_UNKNOWN {
            // Neither its connect nor its accept was seen: a port that somebody listens on makes this end the acceptor.
            let key = ListenKey {
                netns: state.netns,
                port: field!(sk, sock_num, u16),
                pad: 0,
            };
            state.role = if LISTENERS.get_ptr(key).is_some() {
                ROLE_ACCEPTOR
            } else {
                ROLE_INITIATOR
            };
        }
    } else {
        return false;
    }
    if scanning() && state.seen_born == 0 && state.mptcp != MPTCP_PART {
        state.midlife = 1;
        if state.role == ROLE_UNKNOWN {
            let role = standing_role(sk, state);
            if role != ROLE_UNKNOWN {
                state.role = role;
            }
        }
        if let Some(count) = MIDLIFE.get_ptr_mut(0) {
            // SAFETY: a slot of this CPU.
            unsafe { *count += 1 };
        }
    }
    true
}

/// Sockets by which programs talk with the kernel, or with no one: netlink, packets, keys, cryptography, XDP.
const NO_CONNECTIONS: [u16; 6] = [0, 15, 16, 17, 38, 44];
/// `IPPROTO_ICMP`, `IPPROTO_ICMPV6`: questions to kernels; `IPPROTO_RAW`: whole packets, and no answers.
const NO_PROGRAMS: [u16; 3] = [1, 58, 255];
const SOCK_DGRAM: u16 = 2;
const SOCK_RAW: u16 = 3;

/// A transfer on a socket that is not ours to count: counted as lost where it is between programs.
#[inline(never)]
pub fn unplaced(sk: *const u8) -> i32 {
    let kind = field!(sk, sock_type, u16);
    let family = field!(sk, sock_family, u16);
    if NO_CONNECTIONS.contains(&family) {
        return 0;
    }
    let mut key = ProtocolKey {
        family,
        protocol: 0,
    };
    if family == AF_INET || family == AF_INET6 {
        key.family = AF_INET;
        key.protocol = field!(sk, sock_protocol, u16);
        if NO_PROGRAMS.contains(&key.protocol) {
            return 0;
        }
        if kind == SOCK_RAW {
            key.protocol |= ProtocolKey::RAW;
        }
    } else if kind != SOCK_STREAM && kind != SOCK_DGRAM && kind != SOCK_SEQPACKET {
        return 0;
    }
    lost(Lost::UnplacedProtocol);
    if PROTOCOLS.get_ptr(key).is_none() {
        let _ = PROTOCOLS.insert(key, 0, u64::from(aya_ebpf::bindings::BPF_NOEXIST));
    }
    if let Some(count) = PROTOCOLS.get_ptr_mut(key) {
        add(count, 1);
    }
    0
}

#[inline(always)]
fn scanning() -> bool {
    crate::maps::settings().is_some_and(|settings| settings.scanning != 0)
}

/// Role of a datagram socket whose first transfer was not seen. A server chooses its UDP port; a client's is given to
/// it. On Unix, a client connects, and a server does not.
#[inline(always)]
fn standing_role(sk: *const u8, state: &SockState) -> u8 {
    if state.transport == TRANSPORT_UDP {
        let locks = field!(sk, sock_userlocks, u8) >> (offset!(sock_userlocks_shift) & 7);
        if locks & BIND_PORT != 0 {
            return ROLE_ACCEPTOR;
        }
        return ROLE_INITIATOR;
    }
    if state.stream != 0 {
        return ROLE_UNKNOWN;
    }
    let peer: u64 = probe(sk as u64, offset!(unix_peer));
    if peer == 0 {
        ROLE_ACCEPTOR
    } else if probe::<u64>(peer, offset!(unix_peer)) != sk as u64 {
        ROLE_INITIATOR
    } else {
        // A pair.
        ROLE_UNKNOWN
    }
}

/// An accepted Unix socket carries its listener's address, a connected one usually none. Socket pairs and datagram
/// sockets have no such difference: there the first transfer decides.
#[inline(always)]
fn unix_role(sk: *const u8, connects: bool) -> u8 {
    if !connects {
        return ROLE_UNKNOWN;
    }
    let address: u64 = probe(sk as u64, offset!(unix_addr));
    let peer: u64 = probe(sk as u64, offset!(unix_peer));
    let peer_address: u64 = probe(peer, offset!(unix_addr));
    if (address != 0) == (peer_address != 0) {
        ROLE_UNKNOWN
    } else if address != 0 {
        ROLE_ACCEPTOR
    } else {
        ROLE_INITIATOR
    }
}

/// Notes who uses this end now, and looks for the other end until it is found.
#[inline(always)]
pub fn meet(sk: *const u8, state: &mut SockState, tgid: u32, image: u32) {
    if state.tgid == tgid
        && state.image == image
        && (state.peer_sure != 0 || state.peer_tries >= TRIES)
    {
        return;
    }
    look_up(sk, state, tgid, image);
}

#[inline(never)]
fn look_up(sk: *const u8, state: &mut SockState, tgid: u32, image: u32) {
    let moved = state.image != image;
    state.tgid = tgid;
    state.image = image;
    state.peer_tries = state.peer_tries.saturating_add(1);
    if state.transport == TRANSPORT_UNIX {
        if moved && state.stream == 0 {
            // For whoever gets something from here before it is announced: see `sender_of_datagram`.
            let _ = ENDS.insert(unix_key(state.address), image, 0);
        }
        // Each arrival tells its sender (`net::sk_data_ready`); before the first one, the kernel's note has to do.
        if state.peer == 0 && state.role != ROLE_UNKNOWN {
            state.peer = unix_guess(sk);
        }
        return;
    }
    let mut key = EndKey {
        local: [0; 2],
        remote: [0; 2],
        local_port: 0,
        remote_port: 0,
        netns: 0,
    };
    inet_key(sk, state.netns, &mut key);
    if key.local_port == 0 {
        // The other end broke off while the call went on that is told now: then the socket has lost its port.
        key.local_port = state.local_port;
    }
    state.local_port = key.local_port;
    if state.transport == TRANSPORT_UDP {
        if moved
            && ENDS
                .insert(udp_key(state.netns, key.local_port), image, 0)
                .is_err()
        {
            lost(Lost::Ends);
        }
        if state.port == 0 && state.role != ROLE_UNKNOWN {
            state.port = if state.role == ROLE_ACCEPTOR {
                key.local_port
            } else {
                key.remote_port
            };
        }
        return;
    }
    if moved && ENDS.insert(key, image, 0).is_err() {
        lost(Lost::Ends);
    }
    if state.peer_sure != 0 {
        return;
    }
    state.port = if state.role == ROLE_ACCEPTOR {
        key.local_port
    } else {
        key.remote_port
    };
    if let Some(found) = ENDS.get_ptr(key.reversed()) {
        // SAFETY: a live map value.
        state.peer = unsafe { *found };
        state.peer_sure = 1;
    } else if state.peer == 0 {
        state.peer = tcp_guess(state, &key);
    }
}

/// Where the user of a UDP port is noted.
#[inline(always)]
fn udp_key(netns: u32, port: u16) -> EndKey {
    EndKey {
        local: [0; 2],
        remote: [0; 2],
        local_port: port,
        remote_port: 0,
        netns,
    }
}

/// Who used a UDP port last; 0 if nobody was seen.
#[inline(never)]
pub fn user_of_port(netns: u32, port: u16) -> u32 {
    match ENDS.get_ptr(udp_key(netns, port)) {
        // SAFETY: a live map value.
        Some(image) => unsafe { *image },
        None => 0,
    }
}

/// Whether a UDP socket is connected to this port of its own host.
#[inline(never)]
pub fn is_connected_to(sk: *const u8, port: u16) -> bool {
    let mut key = EndKey {
        local: [0; 2],
        remote: [0; 2],
        local_port: 0,
        remote_port: 0,
        netns: 0,
    };
    inet_key(sk, 0, &mut key);
    key.remote_port == port && is_own_host(&key)
}

/// Whether only datagrams of this host come to a UDP socket.
#[inline(never)]
pub fn is_bound_to_loopback(sk: *const u8) -> bool {
    let mut key = EndKey {
        local: [0; 2],
        remote: [0; 2],
        local_port: 0,
        remote_port: 0,
        netns: 0,
    };
    inet_key(sk, 0, &mut key);
    is_loopback(&key.local)
}

/// Whether the other end is on this host.
#[inline(always)]
fn is_own_host(key: &EndKey) -> bool {
    key.local[0] == key.remote[0] && key.local[1] == key.remote[1] || is_loopback(&key.remote)
}

/// The remote address of a connected UDP socket that sent to no socket of this host; 0 if it is not connected.
#[inline(never)]
pub fn udp_remote(sk: *const u8, state: &SockState) -> u32 {
    let mut key = EndKey {
        local: [0; 2],
        remote: [0; 2],
        local_port: 0,
        remote_port: 0,
        netns: 0,
    };
    inet_key(sk, state.netns, &mut key);
    if key.remote_port == 0 {
        return 0;
    }
    let port = if state.role == ROLE_ACCEPTOR {
        0
    } else {
        key.remote_port
    };
    remote(key.remote, port, TRANSPORT_UDP)
}

/// Who uses the connection that this socket is a part of, and that has the same addresses; 0 if nobody was seen.
#[inline(never)]
pub fn user_of_whole(sk: *const u8, state: &SockState) -> u32 {
    let mut key = EndKey {
        local: [0; 2],
        remote: [0; 2],
        local_port: 0,
        remote_port: 0,
        netns: 0,
    };
    inet_key(sk, state.netns, &mut key);
    match ENDS.get_ptr(key) {
        // SAFETY: a live map value.
        Some(image) => unsafe { *image },
        None => 0,
    }
}

/// Lets the other end find this one.
#[inline(never)]
pub fn register_end(sk: *const u8, state: &mut SockState) {
    let mut key = EndKey {
        local: [0; 2],
        remote: [0; 2],
        local_port: 0,
        remote_port: 0,
        netns: 0,
    };
    inet_key(sk, state.netns, &mut key);
    state.local_port = key.local_port;
    if ENDS.insert(key, state.image, 0).is_err() {
        lost(Lost::Ends);
    }
}

/// Forgets this end, so that a later connection with the same addresses starts anew.
#[inline(never)]
pub fn forget_end(sk: *const u8, state: &SockState) {
    let mut key = EndKey {
        local: [0; 2],
        remote: [0; 2],
        local_port: 0,
        remote_port: 0,
        netns: 0,
    };
    inet_key(sk, state.netns, &mut key);
    key.local_port = state.local_port;
    let _ = ENDS.remove(key);
    if state.own_account != 0 {
        own::forget(&key);
    }
}

/// The process that listened or connected at the other end, as the kernel noted it then (`SO_PEERCRED`).
#[inline(always)]
fn unix_guess(sk: *const u8) -> u32 {
    let pid: u64 = probe(sk as u64, offset!(sock_peer_pid));
    let tgid: u32 = probe(pid, offset!(pid_nr) + offset!(upid_nr));
    match PROCESSES.get_ptr(tgid) {
        // SAFETY: a live map value.
        Some(image) => unsafe { *image },
        None => 0,
    }
}

/// Who sent what a connected Unix datagram socket got before it was announced: whoever used the socket that it is connected
/// to last.
#[inline(never)]
pub fn sender_of_datagram(sk: *const u8, state: &mut SockState) {
    let other: u64 = probe(sk as u64, offset!(unix_peer));
    if let Some(image) = ENDS.get_ptr(unix_key(other)) {
        // SAFETY: a live map value.
        state.peer = unsafe { *image };
    }
}

/// The listener of the remote port if it is on this host, else the remote address.
#[inline(always)]
fn tcp_guess(state: &SockState, key: &EndKey) -> u32 {
    let own_host = is_own_host(key);
    if own_host && state.role != ROLE_INITIATOR {
        return 0;
    }
    if own_host {
        let listen = ListenKey {
            netns: state.netns,
            port: key.remote_port,
            pad: 0,
        };
        if let Some(image) = LISTENERS.get_ptr(listen) {
            // SAFETY: a live map value.
            return unsafe { *image };
        }
    }
    let port = if state.role == ROLE_INITIATOR {
        key.remote_port
    } else {
        0
    };
    remote(key.remote, port, TRANSPORT_TCP)
}
