//! Traffic by end, peer, port, transport and role.
//!
//! In: a socket's state. Out: the counters of its flow, made if there is room; folded ends where there is none. Must not
//! know: what is counted.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, Queue},
};
use courtside_wire::{
    CLIENT_SLOTS, FLOW_SLOTS as FLOW_SLOTS_MAX, FOLDED_CELLS, FORKED_SLOTS, FlowKey, FlowStats,
    Lost, PEER_OTHERS, PEER_REMOTE, ROLE_ACCEPTOR, ROLE_INITIATOR, SERVER_SLOTS,
};

use crate::{image, loss::lost, maps::NO_PREALLOC, state::SockState};

/// `BPF_F_MMAPABLE` (5.5): user space takes a slot's key away without touching what is counted in it.
const MMAPABLE: u32 = 1 << 10;

/// Traffic by end, peer, port, transport and role. Written by the socket programs, read by user space. Each socket
/// remembers its slot: an array costs a send or receive far less than a look-up by key.
#[map]
pub static FLOWS: Array<FlowStats> = Array::with_max_entries(FLOW_SLOTS_MAX, MMAPABLE);

/// Slot of each flow. User space removes what it prunes.
#[map]
static FLOW_SLOTS: HashMap<FlowKey, u32> = HashMap::with_max_entries(FLOW_SLOTS_MAX, NO_PREALLOC);

/// Slots that no flow has, by the kind of flow that may have them (`courtside_wire::SERVER_SLOTS` and the like). Filled by
/// user space, with all of them before the first hook is attached.
#[map]
static FREE_FLOWS: Queue<u32> = Queue::with_max_entries(FLOW_SLOTS_MAX, 0);

#[map]
static FREE_FORKED_FLOWS: Queue<u32> = Queue::with_max_entries(FLOW_SLOTS_MAX, 0);

#[map]
static FREE_SERVER_FLOWS: Queue<u32> = Queue::with_max_entries(FLOW_SLOTS_MAX, 0);

#[map]
static FREE_CLIENT_FLOWS: Queue<u32> = Queue::with_max_entries(FLOW_SLOTS_MAX, 0);

/// Where an end that shares [`PEER_OTHERS`] has been, its cell is 1.
#[map]
static FOLDED: Array<[u8; FOLDED_CELLS]> = Array::with_max_entries(1, 0);

/// Counters of the flow that `socket` is part of, made if there are none.
#[inline(always)]
pub fn flow_of(socket: &mut SockState) -> Option<*mut FlowStats> {
    match known_flow_of(socket) {
        Some(stats) => Some(stats),
        None => find_flow(socket),
    }
}

/// The same, but none is made, and nothing is lost where there is none.
#[inline(always)]
pub fn known_flow_of(socket: &SockState) -> Option<*mut FlowStats> {
    if let Some(stats) = FLOWS.get_ptr_mut(socket.flow_slot) {
        let of_socket: *const SockState = socket;
        // SAFETY: a live map value; a key changes only while nobody has its slot. Compared by words: the fields lie in a socket's
        // state as they do in a key.
        let is_same = unsafe {
            (&raw const (*stats).key.image).cast::<u64>().read()
                == (&raw const (*of_socket).image).cast::<u64>().read()
                && (&raw const (*stats).key.port).cast::<u32>().read()
                    == (&raw const (*of_socket).port).cast::<u32>().read()
        };
        if is_same {
            return Some(stats);
        }
    }
    None
}

#[inline(never)]
fn find_flow(socket: &mut SockState) -> Option<*mut FlowStats> {
    if socket.peer == PEER_OTHERS {
        fold(socket);
    }
    let mut key = socket.flow_key();
    let mut found = slot_or_new(&key);
    if found.is_none() && key.peer & PEER_REMOTE != 0 && key.peer != PEER_OTHERS {
        note_folded(u64::from(key.peer));
        fold(socket);
        key = socket.flow_key();
        found = slot_or_new(&key);
    }
    if found.is_none() && (image::is_forked(key.image) || image::is_forked(key.peer)) {
        // Too many pairs of processes: those of their programs stand for them.
        key.image = image::program(key.image);
        key.peer = image::program(key.peer);
        found = slot_of(&key);
        if found.is_none() {
            found = new_flow(&key);
        }
    }
    let Some(found) = found else {
        lost(Lost::Flows);
        return None;
    };
    socket.flow_slot = found;
    FLOWS.get_ptr_mut(found)
}

/// The slot of a flow, or one of those that are kept for its kind.
#[inline(never)]
fn slot_or_new(key: &FlowKey) -> Option<u32> {
    let found = slot_of(key);
    if found.is_some() {
        return found;
    }
    if key.peer & PEER_REMOTE != 0 && key.peer != PEER_OTHERS {
        if key.role == ROLE_ACCEPTOR {
            claim(key, FREE_CLIENT_FLOWS.pop())
        } else {
            claim(key, FREE_SERVER_FLOWS.pop())
        }
    } else if image::is_forked(key.image) || image::is_forked(key.peer) {
        claim(key, FREE_FORKED_FLOWS.pop())
    } else {
        new_flow(key)
    }
}

/// Books `socket` on the remote ends without a number, whose ports would be as many as they are.
#[inline(always)]
fn fold(socket: &mut SockState) {
    socket.peer = PEER_OTHERS;
    if socket.role == ROLE_INITIATOR {
        socket.port = 0;
    }
}

/// Notes that a remote end, known by `mark`, has no number of its own.
#[inline(always)]
pub fn note_folded(mark: u64) {
    // The last steps of MurmurHash3: each bit of the mark moves about half of those that are used.
    let mut hash = (mark ^ (mark >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    let cell = (hash >> 40) as usize & (FOLDED_CELLS - 1);
    if let Some(cells) = FOLDED.get_ptr_mut(0) {
        // SAFETY: masked to the array's length.
        unsafe { *(*cells).as_mut_ptr().add(cell) = 1 };
    }
}

#[inline(always)]
fn slot_of(key: &FlowKey) -> Option<u32> {
    // SAFETY: a live map value.
    FLOW_SLOTS.get_ptr(key).map(|slot| unsafe { *slot })
}

/// A slot for a flow that must have one, whoever it was kept for.
#[inline(never)]
fn new_flow(key: &FlowKey) -> Option<u32> {
    let mut free = FREE_FLOWS.pop();
    if !matches!(free, Ok(Some(_))) {
        free = FREE_FORKED_FLOWS.pop();
    }
    if !matches!(free, Ok(Some(_))) {
        free = FREE_SERVER_FLOWS.pop();
    }
    if !matches!(free, Ok(Some(_))) {
        free = FREE_CLIENT_FLOWS.pop();
    }
    claim(key, free)
}

/// Gives a free slot to a flow.
#[inline(always)]
fn claim(key: &FlowKey, free: Result<Option<u32>, i32>) -> Option<u32> {
    let free = free.ok().flatten()?;
    let stats = FLOWS.get_ptr_mut(free)?;
    // SAFETY: a live map value that nobody else uses yet.
    unsafe { (*stats).key = *key };
    if FLOW_SLOTS
        .insert(key, free, u64::from(aya_ebpf::bindings::BPF_NOEXIST))
        .is_ok()
    {
        return Some(free);
    }
    // Another CPU was faster, or the map is full.
    // SAFETY: as above.
    unsafe { (*stats).key = FlowKey::default() };
    let _ = if free < FORKED_SLOTS {
        FREE_FLOWS.push(free, 0)
    } else if free < SERVER_SLOTS {
        FREE_FORKED_FLOWS.push(free, 0)
    } else if free < CLIENT_SLOTS {
        FREE_SERVER_FLOWS.push(free, 0)
    } else {
        FREE_CLIENT_FLOWS.push(free, 0)
    };
    slot_of(key)
}
