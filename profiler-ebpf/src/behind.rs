//! Behind whom block requests waited: the last ends of requests of each device, and on whom the time before them is booked.
//!
//! In: requests that end. Out: how long one waited behind those of others, and in a map behind whose; what of it is booked on
//! nobody could not be told. Must not know: tasks, sizes.

use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    macros::map,
    maps::{Array, HashMap, PerCpuArray},
};
use courtside_wire::{BlameKey, offsets::ABSENT};

use crate::{
    atomic::add,
    field,
    maps::{NO_PREALLOC, OpenRequest},
    offset,
};

/// Remembered ends of a device.
const ENDS: usize = 32;

/// The end of a request.
#[repr(C)]
struct End {
    at_ns: u64,
    start_ns: u64,
    /// Program image that started it, 0 if it was not known.
    image: u32,
    pad: u32,
}

/// What a device ended last.
#[repr(C)]
struct Device {
    /// Requests that have ended; index into `ends` modulo its length.
    count: u64,
    ends: [End; ENDS],
}

/// A walk over the ends. It lies in memory, and each step reads it anew: so the verifier knows nothing of the numbers, and need
/// not follow each way through the steps by itself.
#[repr(C)]
struct Walk {
    /// When the request was started.
    start_ns: u64,
    /// What lies behind this is done.
    upto_ns: u64,
    /// Behind others, so far.
    behind_ns: u64,
    /// Of that, what is not booked yet: on this image, and how much. Ends one after the other of one image are booked at once.
    by_ns: u64,
    by: u32,
    /// Program image that started the request.
    image: u32,
}

/// Of this CPU. Where programs may be preempted (7.0), an interrupt may run the second copy of the program in the middle of a walk
/// of the first; then what two requests waited may be mixed up.
#[map]
static WALK: PerCpuArray<Walk> = PerCpuArray::with_max_entries(1, 0);
/// By address of the queue. A device that takes the place of one that is gone finds ends that lie before all its requests.
#[map]
static DEVICES: HashMap<u64, Device> = HashMap::with_max_entries(1024, NO_PREALLOC);
/// Zeroes to begin with.
#[map]
static NO_DEVICE: Array<Device> = Array::with_max_entries(1, 0);
/// Time that requests of some waited behind those of others, by image. Written when a request ends, read at a window's end.
#[map]
static BEHIND: HashMap<BlameKey, u64> = HashMap::with_max_entries(8192, NO_PREALLOC);

/// A number of a walk.
macro_rules! get {
    ($walk:expr, $field:ident) => {
        // SAFETY: a live map value of this CPU.
        unsafe { read_volatile(&raw const (*$walk).$field) }
    };
}

/// Changes it.
macro_rules! set {
    ($walk:expr, $field:ident, $value:expr) => {{
        let value = $value;
        // SAFETY: a live map value of this CPU.
        unsafe { write_volatile(&raw mut (*$walk).$field, value) }
    }};
}

/// For how long a request that ends now waited behind those of others, at most. Remembers its end.
#[inline(always)]
pub fn ended(request: *const u8, open: &OpenRequest, now: u64) -> u64 {
    if offset!(request_queue) == ABSENT {
        return 0;
    }
    let queue = field!(request, request_queue, u64);
    if DEVICES.get_ptr(queue).is_none()
        && let Some(zeroes) = NO_DEVICE.get(0)
    {
        let _ = DEVICES.insert(queue, zeroes, u64::from(BPF_NOEXIST));
    }
    let Some(device) = DEVICES.get_ptr_mut(queue) else {
        return now.saturating_sub(open.start_ns);
    };
    // SAFETY: a live map value. Of two requests that end at once on two CPUs one may be forgotten, or have the times of the
    // other: whoever walks over it takes no time twice.
    let device = unsafe { &mut *device };
    let mut behind_ns = 0;
    if open.image != 0
        && let Some(walk) = WALK.get_ptr_mut(0)
    {
        set!(walk, start_ns, open.start_ns);
        set!(walk, upto_ns, now);
        set!(walk, behind_ns, 0);
        set!(walk, by_ns, 0);
        set!(walk, by, 0);
        set!(walk, image, open.image);
        behind_ns = go_back(device, walk);
    }
    let slot = device.count as usize & (ENDS - 1);
    device.count = device.count.wrapping_add(1);
    // SAFETY: the slot is masked to the array's length.
    let end = unsafe { &mut *device.ends.as_mut_ptr().add(slot) };
    end.at_ns = now;
    end.start_ns = open.start_ns;
    end.image = open.image;
    behind_ns
}

/// One of the requests that have ended; the last one for 0.
#[inline(always)]
fn back(device: &Device, back: u64) -> &End {
    let slot = device.count.wrapping_sub(1).wrapping_sub(back) as usize & (ENDS - 1);
    // SAFETY: the slot is masked to the array's length.
    unsafe { &*device.ends.as_ptr().add(slot) }
}

/// Walks back over the ends to the start of a request. From one end to the next the device was at work on the request that ended
/// then, or on several, that one among them. What it did for requests that were started later, and overtook this one, is
/// booked on nobody, nor is what it did for the same image. What lies further back than the oldest end counts, without a
/// name, if others were there at all.
#[inline(always)]
fn go_back(device: &Device, walk: *mut Walk) -> u64 {
    let mut places = 0u64;
    while places < ENDS as u64 - 1 {
        let end = back(device, places);
        let start = get!(walk, start_ns);
        let ended = end.at_ns;
        if ended <= start {
            set!(walk, upto_ns, start);
            break;
        }
        places += 1;
        let before = back(device, places).at_ns;
        let begin = if before > start { before } else { start };
        let upto = get!(walk, upto_ns);
        let ended = if ended < upto { ended } else { upto };
        if ended <= begin {
            continue;
        }
        set!(walk, upto_ns, begin);
        let by = end.image;
        if end.start_ns >= start || by == get!(walk, image) {
            continue;
        }
        if by != get!(walk, by) {
            book(walk);
            set!(walk, by, by);
            set!(walk, by_ns, 0);
        }
        let took = ended - begin;
        set!(walk, by_ns, get!(walk, by_ns) + took);
        set!(walk, behind_ns, get!(walk, behind_ns) + took);
    }
    book(walk);
    let behind = get!(walk, behind_ns);
    if behind == 0 {
        return 0;
    }
    behind + get!(walk, upto_ns).saturating_sub(get!(walk, start_ns))
}

/// Books what is not booked yet.
#[inline(always)]
fn book(walk: *mut Walk) {
    let by = get!(walk, by);
    if by == 0 {
        return;
    }
    let image = get!(walk, image);
    let key = BlameKey { image, by };
    if BEHIND.get_ptr(key).is_none() {
        let _ = BEHIND.insert(key, 0, u64::from(BPF_NOEXIST));
    }
    if let Some(sum) = BEHIND.get_ptr_mut(key) {
        add(sum, get!(walk, by_ns));
    }
}
