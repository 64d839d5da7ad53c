//! What the two ends of a connection are known by, and numbers for those that are not on this host.
//!
//! In: a socket, an address. Out: keys, numbers. Must not know: who is at an end.

use aya_ebpf::maps::HashMap;
use courtside_wire::{PEER_OTHERS, RemoteKey};

use crate::{
    field,
    flows::note_folded,
    kernel::probe,
    maps::{CLIENTS, EndKey, NEXT_REMOTES, REMOTES},
    offset,
};

const AF_INET: u16 = 2;

/// What a Unix socket is known by to the other end.
#[inline(always)]
pub fn unix_key(address: u64) -> EndKey {
    EndKey {
        local: [address, 0],
        remote: [0; 2],
        local_port: 0,
        remote_port: 0,
        netns: 0,
    }
}

/// Addresses and ports of a TCP or UDP socket, IPv4 mapped into IPv6. The namespace counts only for loopback
/// addresses: two ends in two namespaces of one host share any other address pair.
#[inline(always)]
pub fn inet_key(sk: *const u8, netns: u32, key: &mut EndKey) {
    let sock = sk as u64;
    if field!(sk, sock_family, u16) == AF_INET {
        key.local = mapped(probe(sock, offset!(sock_rcv_saddr)));
        key.remote = mapped(probe(sock, offset!(sock_daddr)));
    } else {
        key.local = probe(sock, offset!(sock_v6_rcv_saddr));
        key.remote = probe(sock, offset!(sock_v6_daddr));
    }
    key.local_port = field!(sk, sock_num, u16);
    key.remote_port = u16::from_be(field!(sk, sock_dport, u16));
    key.netns = if is_loopback(&key.remote) { netns } else { 0 };
}

#[inline(always)]
fn mapped(v4: u32) -> [u64; 2] {
    [0, 0xffff_0000 | (u64::from(v4) << 32)]
}

#[inline(always)]
pub fn is_loopback(address: &[u64; 2]) -> bool {
    // ::1, or ::ffff:127.x.x.x, both in network order read as little-endian words.
    (address[0] == 0 && address[1] == 1 << 56)
        || (address[0] == 0
            && address[1] & 0xffff_ffff == 0xffff_0000
            && (address[1] >> 32) & 0xff == 127)
}

/// Number of a remote end.
#[inline(never)]
pub fn remote(address: [u64; 2], port: u16, transport: u8) -> u32 {
    // SAFETY: sixteen bytes either way.
    let addr = unsafe { core::mem::transmute::<[u64; 2], [u8; 16]>(address) };
    let key = RemoteKey {
        addr,
        port,
        transport,
        pad: 0,
    };
    // One that calls has no port here.
    let number = if port == 0 {
        number_in(&CLIENTS, &key)
    } else {
        number_in(&REMOTES, &key)
    };
    if number == PEER_OTHERS {
        let mark = address[0] ^ address[1].rotate_left(29) ^ u64::from(port) << 48;
        note_folded(mark ^ u64::from(transport));
    }
    number
}

/// Number of a remote end in its map, made if it has none and there is room.
#[inline(always)]
fn number_in(map: &HashMap<RemoteKey, u32>, key: &RemoteKey) -> u32 {
    if let Some(number) = map.get_ptr(key) {
        // SAFETY: a live map value.
        return unsafe { *number };
    }
    let Some(number) = NEXT_REMOTES.pop().ok().flatten() else {
        return PEER_OTHERS;
    };
    if map
        .insert(key, number, u64::from(aya_ebpf::bindings::BPF_NOEXIST))
        .is_ok()
    {
        return number;
    }
    // The map is full, or another CPU was faster: nobody has that number.
    let _ = NEXT_REMOTES.push(number, 0);
    match map.get_ptr(key) {
        // SAFETY: a live map value.
        Some(number) => unsafe { *number },
        None => PEER_OTHERS,
    }
}
