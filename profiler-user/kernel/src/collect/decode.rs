//! Bytes from the kernel to records: the only place that decodes them, by length-checked conversions.
//!
//! In: maps. Out: wire records. Must not know: windows, differences.

#![expect(
    clippy::disallowed_methods,
    reason = "here bytes from the kernel are decoded"
)]

use std::{
    collections::{BTreeMap, HashSet},
    os::fd::{AsFd, BorrowedFd},
    sync::atomic::{AtomicU32, Ordering},
};

use aya::{
    Ebpf,
    maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, Queue, RingBuf},
    sys::SyscallError,
};
use courtside_wire::{
    BlameKey, CLIENT_SLOTS, CpuStats, DiskStats, FOLDED_CELLS, FORKED_SLOTS, FlowKey, FlowStats,
    HolderKey, HolderStats, ImageInfo, LOST_CLASSES, LockKey, LockStats, ProtocolKey, RemoteKey,
    SERVER_SLOTS, Settings, events::EVENT_KINDS,
};
use rustix::mm::{MapFlags, ProtFlags};
use zerocopy::{FromBytes, IntoBytes};

/// Why a map could not be read.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The object and this program do not fit together.
    #[error("the eBPF object has no map {0}; build both with: cargo xtask build --release")]
    NoMap(&'static str),
    /// The kernel refused.
    #[error("cannot read the kernel map {name}: {source}")]
    Map {
        /// Name of the map.
        name: &'static str,
        /// What the kernel said.
        source: MapError,
    },
    /// A record has another size than ours.
    #[error(
        "a record of the kernel map {0} has an unexpected size; build both with: cargo xtask build --release"
    )]
    Size(&'static str),
}

fn map<'a>(ebpf: &'a Ebpf, name: &'static str) -> Result<&'a Map, DecodeError> {
    ebpf.map(name).ok_or(DecodeError::NoMap(name))
}

fn failed(name: &'static str) -> impl Fn(MapError) -> DecodeError {
    move |source| DecodeError::Map { name, source }
}

/// Steps of one walk over a map; more than any of ours holds. When an entry goes while we stand on it, the kernel
/// starts the walk anew, so callers may see a key twice and keep what they get by key.
const STEPS: usize = 1 << 18;

/// Every entry of a hash map.
fn entries<K, V, const KEY: usize, const VALUE: usize>(
    ebpf: &Ebpf,
    name: &'static str,
    mut each: impl FnMut(K, V),
) -> Result<(), DecodeError>
where
    K: FromBytes,
    V: FromBytes,
{
    let map: HashMap<&MapData, [u8; KEY], [u8; VALUE]> =
        map(ebpf, name)?.try_into().map_err(failed(name))?;
    for entry in map.iter().take(STEPS) {
        let (key, value) = match entry {
            Ok(entry) => entry,
            Err(MapError::KeyNotFound) => continue,
            Err(error) => return Err(failed(name)(error)),
        };
        let (Ok(key), Ok(value)) = (K::read_from_bytes(&key), V::read_from_bytes(&value)) else {
            return Err(DecodeError::Size(name));
        };
        each(key, value);
    }
    Ok(())
}

/// Every flow.
pub(super) fn flows(
    ebpf: &Ebpf,
    mut each: impl FnMut(FlowKey, FlowStats),
) -> Result<(), DecodeError> {
    let name = "FLOWS";
    let slots: Array<&MapData, [u8; size_of::<FlowStats>()]> =
        map(ebpf, name)?.try_into().map_err(failed(name))?;
    let mut result = Ok(());
    flow_slots(ebpf, |key, slot| {
        let read = slots.get(&slot, 0).map_err(failed(name));
        let decoded = read.and_then(|bytes| {
            FlowStats::read_from_bytes(&bytes).map_err(|_| DecodeError::Size(name))
        });
        match decoded {
            Ok(stats) => each(key, stats),
            Err(error) => result = Err(error),
        }
    })?;
    result
}

fn flow_slots(ebpf: &Ebpf, each: impl FnMut(FlowKey, u32)) -> Result<(), DecodeError> {
    entries::<_, _, { size_of::<FlowKey>() }, 4>(ebpf, "FLOW_SLOTS", each)
}

/// Numbers of all slots for flows.
pub(super) fn all_flow_slots(ebpf: &Ebpf) -> Result<Vec<u32>, DecodeError> {
    let name = "FLOWS";
    let slots: Array<&MapData, [u8; size_of::<FlowStats>()]> =
        map(ebpf, name)?.try_into().map_err(failed(name))?;
    Ok((0..slots.len()).collect())
}

/// Lets new flows have these slots, which are empty.
pub(super) fn free_flow_slots(ebpf: &mut Ebpf, free: &[u32]) -> Result<(), DecodeError> {
    for slot in free {
        let name = if *slot < FORKED_SLOTS {
            "FREE_FLOWS"
        } else if *slot < SERVER_SLOTS {
            "FREE_FORKED_FLOWS"
        } else if *slot < CLIENT_SLOTS {
            "FREE_SERVER_FLOWS"
        } else {
            "FREE_CLIENT_FLOWS"
        };
        queue(ebpf, name)?.push(slot, 0).map_err(failed(name))?;
    }
    Ok(())
}

fn queue<'a>(
    ebpf: &'a mut Ebpf,
    name: &'static str,
) -> Result<Queue<&'a mut MapData, u32>, DecodeError> {
    let map = ebpf.map_mut(name).ok_or(DecodeError::NoMap(name))?;
    map.try_into().map_err(failed(name))
}

/// Fills a queue with numbers from `next` on, below `end`, none of which comes again.
pub(super) fn fill_numbers(
    ebpf: &mut Ebpf,
    name: &'static str,
    next: &mut u32,
    end: u32,
) -> Result<(), DecodeError> {
    let mut queue = queue(ebpf, name)?;
    // It refuses one more than it holds, and then the number is still to be had.
    while *next < end && queue.push(*next, 0).is_ok() {
        *next += 1;
    }
    Ok(())
}

/// Reads some slots of flows.
pub(super) fn read_flow_slots(ebpf: &Ebpf, slots: &[u32]) -> Result<Vec<FlowStats>, DecodeError> {
    let name = "FLOWS";
    let flows: Array<&MapData, [u8; size_of::<FlowStats>()]> =
        map(ebpf, name)?.try_into().map_err(failed(name))?;
    let read = |slot: &u32| {
        let bytes = flows.get(slot, 0).map_err(failed(name))?;
        FlowStats::read_from_bytes(&bytes).map_err(|_| DecodeError::Size(name))
    };
    slots.iter().map(read).collect()
}

/// How many different remote ends had no number of their own, about.
pub(super) fn folded_remotes(ebpf: &Ebpf) -> Result<u64, DecodeError> {
    let name = "FOLDED";
    let cells: Array<&MapData, [u8; FOLDED_CELLS]> =
        map(ebpf, name)?.try_into().map_err(failed(name))?;
    let cells = cells.get(&0, 0).map_err(failed(name))?;
    let empty = cells.iter().filter(|cell| **cell == 0).count();
    Ok(ends_for(empty))
}

/// How many ends leave so many cells empty, when each has one by chance.
fn ends_for(empty: usize) -> u64 {
    let all = FOLDED_CELLS as f64;
    (all * (all / (empty.max(1) as f64)).ln()).round() as u64
}

/// Empties slots that no flow has.
pub(super) fn empty_flow_slots(ebpf: &mut Ebpf, slots: &[u32]) -> Result<(), DecodeError> {
    let name = "FLOWS";
    let map = ebpf.map_mut(name).ok_or(DecodeError::NoMap(name))?;
    let mut flows: Array<&mut MapData, [u8; size_of::<FlowStats>()]> =
        map.try_into().map_err(failed(name))?;
    for slot in slots {
        let empty = [0; size_of::<FlowStats>()];
        flows.set(*slot, empty, 0).map_err(failed(name))?;
    }
    Ok(())
}

/// Removes flows, and returns the slots they had. A hook that runs at this moment may still write to them: they are to
/// be read once more later, and then freed.
pub(super) fn forget_flows(
    ebpf: &mut Ebpf,
    flows: &[FlowKey],
) -> Result<BTreeMap<u32, FlowKey>, DecodeError> {
    let unwanted: HashSet<&FlowKey> = flows.iter().collect();
    let mut slots = BTreeMap::new();
    flow_slots(ebpf, |key, slot| {
        if unwanted.contains(&key) {
            slots.insert(slot, key);
        }
    })?;
    remove::<{ size_of::<FlowKey>() }, 4>(ebpf, "FLOW_SLOTS", flows)?;
    let name = "FLOWS";
    let Map::Array(data) = map(ebpf, name)? else {
        return Err(DecodeError::NoMap(name));
    };
    for slot in slots.keys() {
        disown(data.fd().as_fd(), *slot).map_err(|error| {
            let error = SyscallError {
                call: "mmap",
                io_error: error,
            };
            failed(name)(MapError::SyscallError(error))
        })?;
    }
    Ok(slots)
}

/// Takes a slot away from its flow: sockets that remember it find it another's. Written through shared memory, since a
/// write by system call would put back all that was counted since the slot was read.
fn disown(map: BorrowedFd<'_>, slot: u32) -> std::io::Result<()> {
    /// No image has this number.
    const NOBODY: u32 = u32::MAX;
    let at = slot as usize * size_of::<FlowStats>() + std::mem::offset_of!(FlowStats, key.image);
    let page_bytes = rustix::param::page_size();
    let page = (at / page_bytes * page_bytes) as u64;
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping, wherever the kernel finds room for it.
    let memory = unsafe {
        rustix::mm::mmap(
            std::ptr::null_mut(),
            page_bytes,
            protection,
            MapFlags::SHARED,
            map,
            page,
        )?
    };
    // SAFETY: within the page that was mapped, aligned to four bytes as all of the record is; others may read it meanwhile.
    unsafe {
        let image = AtomicU32::from_ptr(memory.cast::<u8>().add(at % page_bytes).cast());
        image.store(NOBODY, Ordering::Release);
    }
    // SAFETY: mapped above, and nothing refers to it any more.
    unsafe { rustix::mm::munmap(memory, page_bytes)? };
    Ok(())
}

/// CPU time of every image.
pub(super) fn cpu(ebpf: &Ebpf, each: impl FnMut(u32, CpuStats)) -> Result<(), DecodeError> {
    entries::<_, _, 4, { size_of::<CpuStats>() }>(ebpf, "CPU", each)
}

/// Time that some waited in run queues while others ran.
pub(super) fn blamed(ebpf: &Ebpf, each: impl FnMut(BlameKey, u64)) -> Result<(), DecodeError> {
    entries::<_, _, { size_of::<BlameKey>() }, 8>(ebpf, "BLAMED", each)
}

/// Time that disk requests of some waited behind those of others.
pub(super) fn behind(ebpf: &Ebpf, each: impl FnMut(BlameKey, u64)) -> Result<(), DecodeError> {
    entries::<_, _, { size_of::<BlameKey>() }, 8>(ebpf, "BEHIND", each)
}

/// Sleeps by every futex.
pub(super) fn locks(ebpf: &Ebpf, each: impl FnMut(LockKey, LockStats)) -> Result<(), DecodeError> {
    entries::<_, _, { size_of::<LockKey>() }, { size_of::<LockStats>() }>(ebpf, "LOCKS", each)
}

/// Sleeps by every futex and thread that had it.
pub(super) fn holders(
    ebpf: &Ebpf,
    each: impl FnMut(HolderKey, HolderStats),
) -> Result<(), DecodeError> {
    entries::<_, _, { size_of::<HolderKey>() }, { size_of::<HolderStats>() }>(ebpf, "HOLDERS", each)
}

/// Block I/O of every image.
pub(super) fn disks(ebpf: &Ebpf, each: impl FnMut(u32, DiskStats)) -> Result<(), DecodeError> {
    entries::<_, _, 4, { size_of::<DiskStats>() }>(ebpf, "DISKS", each)
}

/// Image of every live process.
pub(super) fn processes(ebpf: &Ebpf, each: impl FnMut(u32, u32)) -> Result<(), DecodeError> {
    entries::<_, _, 4, 4>(ebpf, "PROCESSES", each)
}

/// Image of a process now; `None` if it has ended.
pub(super) fn image_of(ebpf: &Ebpf, tgid: u32) -> Option<u32> {
    let map: HashMap<&MapData, u32, u32> = ebpf.map("PROCESSES")?.try_into().ok()?;
    map.get(&tgid, 0).ok()
}

/// What the kernel knows of every image.
pub(super) fn images(ebpf: &Ebpf, each: impl FnMut(u32, ImageInfo)) -> Result<(), DecodeError> {
    entries::<_, _, 4, { size_of::<ImageInfo>() }>(ebpf, "IMAGES", each)
}

/// Maps of remote ends: those that were called from here, and those that call.
pub(super) const REMOTES: [&str; 2] = ["REMOTES", "CLIENTS"];

/// Number of every remote end in one of [`REMOTES`].
pub(super) fn remotes(
    ebpf: &Ebpf,
    name: &'static str,
    each: impl FnMut(RemoteKey, u32),
) -> Result<(), DecodeError> {
    entries::<_, _, { size_of::<RemoteKey>() }, 4>(ebpf, name, each)
}

/// Image that listens on every port.
pub(super) fn listeners(
    ebpf: &Ebpf,
    each: impl FnMut(courtside_wire::ListenKey, u32),
) -> Result<(), DecodeError> {
    entries::<_, _, { size_of::<courtside_wire::ListenKey>() }, 4>(ebpf, "LISTENERS", each)
}

/// Losses by class, all CPUs together. A class from which something is taken back may be below zero, wrapping.
pub(super) fn lost(ebpf: &Ebpf) -> Result<[u64; LOST_CLASSES], DecodeError> {
    let name = "LOST";
    let map: PerCpuArray<&MapData, u64> = map(ebpf, name)?.try_into().map_err(failed(name))?;
    let mut lost = [0; LOST_CLASSES];
    for (class, total) in (0..).zip(&mut lost) {
        let by_cpu = map.get(&class, 0).map_err(failed(name))?;
        *total = by_cpu
            .iter()
            .fold(0, |sum: u64, count| sum.wrapping_add(*count));
    }
    Ok(lost)
}

/// Sends and receives that are on no edge, by protocol.
pub(super) fn protocols(
    ebpf: &Ebpf,
    each: impl FnMut(ProtocolKey, u64),
) -> Result<(), DecodeError> {
    entries::<_, _, { size_of::<ProtocolKey>() }, 8>(ebpf, "PROTOCOLS", each)
}

/// The ring of single events. It is taken out: it can be read while the maps are.
pub(super) fn ring(ebpf: &mut Ebpf) -> Result<RingBuf<MapData>, DecodeError> {
    let name = "EVENTS";
    let map = ebpf.take_map(name).ok_or(DecodeError::NoMap(name))?;
    RingBuf::try_from(map).map_err(failed(name))
}

/// Single events that happened, by kind, whether the ring took them or not.
pub(super) fn event_counts(ebpf: &Ebpf) -> Result<[u64; EVENT_KINDS], DecodeError> {
    let name = "EVENT_COUNTS";
    let map: PerCpuArray<&MapData, [u64; 2]> = map(ebpf, name)?.try_into().map_err(failed(name))?;
    let mut counts = [0; EVENT_KINDS];
    for (kind, total) in (0..).zip(&mut counts) {
        let cpus = map.get(&kind, 0).map_err(failed(name))?;
        *total = cpus.iter().map(|[happened, _]| happened).sum();
    }
    Ok(counts)
}

/// Connections that stood before the attach, all CPUs together.
pub(super) fn midlife(ebpf: &Ebpf) -> Result<u64, DecodeError> {
    let name = "MIDLIFE";
    let map: PerCpuArray<&MapData, u64> = map(ebpf, name)?.try_into().map_err(failed(name))?;
    Ok(map.get(&0, 0).map_err(failed(name))?.iter().sum())
}

/// Changes the settings.
pub(super) fn set(ebpf: &mut Ebpf, settings: &Settings) -> Result<(), DecodeError> {
    let name = "SETTINGS";
    let map = ebpf.map_mut(name).ok_or(DecodeError::NoMap(name))?;
    let mut map: Array<&mut MapData, [u8; size_of::<Settings>()]> =
        map.try_into().map_err(failed(name))?;
    let mut bytes = [0; size_of::<Settings>()];
    bytes.copy_from_slice(settings.as_bytes());
    map.set(0, bytes, 0).map_err(failed(name))
}

/// Removes remote ends from one of [`REMOTES`].
pub(super) fn forget_remotes(
    ebpf: &mut Ebpf,
    name: &'static str,
    remotes: &[RemoteKey],
) -> Result<(), DecodeError> {
    remove::<{ size_of::<RemoteKey>() }, 4>(ebpf, name, remotes)
}

/// Removes what some waited while others ran.
pub(super) fn forget_blamed(ebpf: &mut Ebpf, keys: &[BlameKey]) -> Result<(), DecodeError> {
    remove::<{ size_of::<BlameKey>() }, 8>(ebpf, "BLAMED", keys)
}

/// Removes how long disk requests of some waited behind those of others.
pub(super) fn forget_behind(ebpf: &mut Ebpf, keys: &[BlameKey]) -> Result<(), DecodeError> {
    remove::<{ size_of::<BlameKey>() }, 8>(ebpf, "BEHIND", keys)
}

/// Removes futexes, and threads that had some.
pub(super) fn forget_locks(
    ebpf: &mut Ebpf,
    locks: &[LockKey],
    holders: &[HolderKey],
) -> Result<(), DecodeError> {
    remove::<{ size_of::<LockKey>() }, { size_of::<LockStats>() }>(ebpf, "LOCKS", locks)?;
    remove::<{ size_of::<HolderKey>() }, { size_of::<HolderStats>() }>(ebpf, "HOLDERS", holders)
}

/// Removes images from all maps.
pub(super) fn forget(ebpf: &mut Ebpf, images: &[u32]) -> Result<(), DecodeError> {
    remove::<4, { size_of::<CpuStats>() }>(ebpf, "CPU", images)?;
    remove::<4, { size_of::<DiskStats>() }>(ebpf, "DISKS", images)?;
    remove::<4, { size_of::<ImageInfo>() }>(ebpf, "IMAGES", images)
}

fn remove<const KEY: usize, const VALUE: usize>(
    ebpf: &mut Ebpf,
    name: &'static str,
    keys: &[impl IntoBytes + zerocopy::Immutable],
) -> Result<(), DecodeError> {
    let map = ebpf.map_mut(name).ok_or(DecodeError::NoMap(name))?;
    let mut map: HashMap<&mut MapData, [u8; KEY], [u8; VALUE]> =
        map.try_into().map_err(failed(name))?;
    for key in keys {
        let mut bytes = [0; KEY];
        bytes.copy_from_slice(key.as_bytes());
        match map.remove(&bytes) {
            Ok(()) | Err(MapError::KeyNotFound) => {}
            // Not there is fine: most images have no flows and no disk.
            Err(MapError::SyscallError(error))
                if error.io_error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(name)(error)),
        }
    }
    Ok(())
}
