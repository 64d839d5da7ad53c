//! Every map. Key, value, bound, who writes and who reads.

use core::intrinsics::{AtomicOrdering, atomic_xadd};
#[cfg(not(feature = "untyped"))]
use core::{ffi::c_void, marker::PhantomData};

#[cfg(not(feature = "untyped"))]
use aya_ebpf::{
    bindings::bpf_map_type::{BPF_MAP_TYPE_SK_STORAGE, BPF_MAP_TYPE_TASK_STORAGE},
    helpers::generated,
    macros::btf_map,
};
use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, Queue},
};
use courtside_wire::{
    CpuStats, DiskStats, FlowKey, FlowStats, ImageInfo, LOST_CLASSES, ListenKey, Lost, RemoteKey,
    SelfCheck, Settings,
};

use crate::state::SockState;
#[cfg(not(feature = "untyped"))]
use crate::{kernel::finds_task_state, spare, state::TaskState};

/// `BPF_F_NO_PREALLOC`. Before 6.1 memory is allocated as for everybody else, which programs of the scheduler must not do.
#[cfg(not(feature = "untyped"))]
const NO_PREALLOC: u32 = 1;
#[cfg(feature = "untyped")]
const NO_PREALLOC: u32 = 0;
/// `BPF_LOCAL_STORAGE_GET_F_CREATE`
#[cfg(not(feature = "untyped"))]
const CREATE: u64 = 1;

/// State that the kernel keeps with the object itself (task or socket) and frees with it.
/// aya-ebpf 0.2 has no task storage; the form is that of its BTF maps.
#[cfg(not(feature = "untyped"))]
#[repr(C)]
pub struct LocalStorage<const TYPE: usize, T> {
    r#type: *const [i32; TYPE],
    key: *const i32,
    value: *const T,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; NO_PREALLOC as usize],
    _value: PhantomData<T>,
}

#[cfg(not(feature = "untyped"))]
// SAFETY: the fields are placeholders that the loader patches; the kernel synchronises access.
unsafe impl<const TYPE: usize, T> Sync for LocalStorage<TYPE, T> {}

#[cfg(not(feature = "untyped"))]
impl<const TYPE: usize, T> LocalStorage<TYPE, T> {
    const fn new() -> Self {
        Self {
            r#type: core::ptr::null(),
            key: core::ptr::null(),
            value: core::ptr::null(),
            max_entries: core::ptr::null(),
            map_flags: core::ptr::null(),
            _value: PhantomData,
        }
    }

    fn as_ptr(&self) -> *mut c_void {
        core::ptr::from_ref(self).cast_mut().cast()
    }
}

#[cfg(not(feature = "untyped"))]
#[btf_map]
static TASKS: LocalStorage<{ BPF_MAP_TYPE_TASK_STORAGE as usize }, TaskState> = LocalStorage::new();
#[cfg(not(feature = "untyped"))]
#[btf_map]
static SOCKETS: LocalStorage<{ BPF_MAP_TYPE_SK_STORAGE as usize }, SockState> = LocalStorage::new();

/// Traffic by end, peer, port, transport and role. Written by the socket programs, read by user space. Each socket
/// remembers its slot: an array costs a send or receive far less than a look-up by key.
#[map]
pub static FLOWS: Array<FlowStats> = Array::with_max_entries(4096, 0);
/// Slot of each flow. User space removes what it prunes.
#[map]
static FLOW_SLOTS: HashMap<FlowKey, u32> = HashMap::with_max_entries(4096, NO_PREALLOC);
/// Slots that no flow has. Filled by user space, with all of them before the first hook is attached.
#[map]
static FREE_FLOWS: Queue<u32> = Queue::with_max_entries(4096, 0);
/// CPU time by image. Written by the task iterator and at exec and exit.
#[map]
pub static CPU: HashMap<u32, CpuStats> = HashMap::with_max_entries(16384, NO_PREALLOC);
/// Block I/O by image.
#[map]
pub static DISKS: HashMap<u32, DiskStats> = HashMap::with_max_entries(4096, NO_PREALLOC);
/// Image of each live process.
#[map]
pub static PROCESSES: HashMap<u32, u32> = HashMap::with_max_entries(65536, NO_PREALLOC);
/// What is known of each image. Pruned by user space when its processes are gone.
#[map]
pub static IMAGES: HashMap<u32, ImageInfo> = HashMap::with_max_entries(16384, NO_PREALLOC);
/// Numbers of remote ends.
#[map]
pub static REMOTES: HashMap<RemoteKey, u32> = HashMap::with_max_entries(8192, NO_PREALLOC);
/// Image that listens on a port. A hint: eviction is harmless, and a port that the kernel chose is left behind.
#[map]
pub static LISTENERS: LruHashMap<ListenKey, u32> = LruHashMap::with_max_entries(8192, 0);
/// Image of each end of a connection, and of who used a UDP port last (addresses 0), so that the other end can find it.
/// A rendezvous only: eviction is harmless.
#[map]
pub static ENDS: LruHashMap<EndKey, u32> = LruHashMap::with_max_entries(32768, 0);
/// Block requests under way, by the address of the request.
#[map]
pub static REQUESTS: HashMap<u64, OpenRequest> = HashMap::with_max_entries(8192, NO_PREALLOC);
/// Next image and remote number of each CPU.
#[map]
pub static COUNTERS: PerCpuArray<[u32; 2]> = PerCpuArray::with_max_entries(1, 0);
/// When each CPU switched last.
#[map]
pub static SWITCHED: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);
/// Losses by class.
#[map]
pub static LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(LOST_CLASSES as u32, 0);
/// Connections in use that are older than the attach.
#[map]
pub static MIDLIFE: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);
/// Settings that user space may change at any time.
#[map]
pub static SETTINGS: Array<Settings> = Array::with_max_entries(1, 0);
/// Result of the self-check.
#[map]
pub static SELF_CHECK: Array<SelfCheck> = Array::with_max_entries(1, 0);
/// Zeroes, to create large entries from.
#[map]
static ZERO_DISK: Array<DiskStats> = Array::with_max_entries(1, 0);

/// A block request under way.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct OpenRequest {
    pub start_ns: u64,
    pub image: u32,
    pub write: u32,
}

/// One end of a connection: addresses and ports for TCP, addresses of the kernel's sockets for Unix.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct EndKey {
    pub local: [u64; 2],
    pub remote: [u64; 2],
    pub local_port: u16,
    pub remote_port: u16,
    pub netns: u32,
}

impl EndKey {
    /// The same connection seen from the other end.
    #[inline(always)]
    pub fn reversed(&self) -> Self {
        Self {
            local: self.remote,
            remote: self.local,
            local_port: self.remote_port,
            remote_port: self.local_port,
            netns: self.netns,
        }
    }
}

/// Counts one loss.
#[inline(never)]
pub fn lost(class: Lost) {
    lost_several(class, 1);
}

/// Takes back one loss that the kernel counts: it was made up for.
#[inline(always)]
pub fn made_up(class: Lost) {
    // One less, wrapping; user space adds the kernel's count.
    lost_several(class, u64::MAX);
}

/// Counts several losses of one class.
#[inline(always)]
pub fn lost_several(class: Lost, several: u64) {
    if let Some(count) = LOST.get_ptr_mut(class as u32) {
        // This CPU's slot; but whoever adds may be interrupted or preempted by another who does.
        add(count, several);
    }
}

/// Adds to a shared counter.
#[inline(always)]
pub fn add(counter: *mut u64, value: u64) {
    // SAFETY: callers pass a field of a live map value, eight bytes aligned. `core::sync::atomic` has no additions for
    // this target, which lacks compare-and-swap before its third version.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, value) };
}

/// Takes what a shared counter holds: of two that take, one has it and the other nothing.
#[cfg(all(target_arch = "bpf", not(feature = "untyped")))]
#[inline(always)]
pub fn take(counter: *mut u64) -> u64 {
    let mut value = 0u64;
    // SAFETY: as above. One instruction, which kernels have since 5.12.
    unsafe {
        core::arch::asm!("{0} = xchg_64({1} + 0, {0})", inout(reg) value, in(reg) counter);
    }
    value
}

/// Takes what a shared counter holds. Older kernels cannot do that at once: two that take at the same time both have it.
#[cfg(not(all(target_arch = "bpf", not(feature = "untyped"))))]
#[inline(always)]
pub fn take(counter: *mut u64) -> u64 {
    // SAFETY: as above.
    unsafe { core::mem::take(&mut *counter) }
}

/// Adds one to a shared 32-bit counter.
#[inline(always)]
pub fn add_one(counter: *mut u32) {
    // SAFETY: as above, four bytes aligned.
    unsafe { atomic_xadd::<u32, u32, { AtomicOrdering::Relaxed }>(counter, 1) };
}

/// State of a task, made if it has none. `task` must be a typed pointer.
#[cfg(not(feature = "untyped"))]
#[inline(always)]
pub fn task_state(task: *const u8) -> Option<&'static mut TaskState> {
    if !finds_task_state() {
        return spare::of(task);
    }
    // SAFETY: the verifier checks the pointer's type; the value lives as long as the program runs.
    let get = || unsafe {
        generated::bpf_task_storage_get(
            TASKS.as_ptr(),
            task as *mut _,
            core::ptr::null_mut(),
            CREATE,
        )
        .cast::<TaskState>()
        .as_mut()
    };
    // Of two CPUs that make it at once, one is refused; then it is there.
    match get().or_else(get) {
        Some(state) => {
            if state.born_ns == 0 {
                spare::give_back(task as u64, state);
            }
            Some(state)
        }
        None => spare::take(task as u64),
    }
}

#[cfg(feature = "untyped")]
pub use crate::{
    sockets::{known_socket_state, socket_state},
    spare::of as task_state,
};

/// State of a socket, made if it has none. `sk` must be a typed pointer.
#[cfg(not(feature = "untyped"))]
#[inline(always)]
pub fn socket_state(sk: *const u8) -> Option<&'static mut SockState> {
    // SAFETY: as above.
    let get = || unsafe {
        generated::bpf_sk_storage_get(
            SOCKETS.as_ptr(),
            sk as *mut _,
            core::ptr::null_mut(),
            CREATE,
        )
        .cast::<SockState>()
        .as_mut()
    };
    let state = get().or_else(get);
    if state.is_none() {
        lost(Lost::SocketState);
    }
    state
}

/// State of a socket if it has any.
#[cfg(not(feature = "untyped"))]
#[inline(always)]
pub fn known_socket_state(sk: *const u8) -> Option<&'static mut SockState> {
    // SAFETY: as above.
    unsafe {
        generated::bpf_sk_storage_get(SOCKETS.as_ptr(), sk as *mut _, core::ptr::null_mut(), 0)
            .cast::<SockState>()
            .as_mut()
    }
}

/// Current settings.
#[inline(always)]
pub fn settings() -> Option<&'static Settings> {
    SETTINGS.get(0)
}

/// Counters of the flow that `socket` is part of, made if there are none.
#[inline(always)]
pub fn flow_of(socket: &mut SockState) -> Option<*mut FlowStats> {
    let key = socket.flow_key();
    if let Some(stats) = FLOWS.get_ptr_mut(socket.flow_slot) {
        // SAFETY: a live map value; a key changes only while nobody has its slot.
        if unsafe { (*stats).key == key } {
            return Some(stats);
        }
    }
    find_flow(&key, &mut socket.flow_slot)
}

#[inline(never)]
fn find_flow(key: &FlowKey, slot: &mut u32) -> Option<*mut FlowStats> {
    let mut found = slot_of(key);
    if found.is_none() {
        found = new_flow(key);
    }
    let Some(found) = found else {
        lost(Lost::Flows);
        return None;
    };
    *slot = found;
    FLOWS.get_ptr_mut(found)
}

#[inline(always)]
fn slot_of(key: &FlowKey) -> Option<u32> {
    // SAFETY: a live map value.
    FLOW_SLOTS.get_ptr(key).map(|slot| unsafe { *slot })
}

#[inline(always)]
fn new_flow(key: &FlowKey) -> Option<u32> {
    let free = FREE_FLOWS.pop().ok().flatten()?;
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
    let _ = FREE_FLOWS.push(free, 0);
    slot_of(key)
}

/// Block I/O counters of an image, made if it has none.
#[inline(always)]
pub fn disk(image: u32) -> Option<*mut DiskStats> {
    if let Some(stats) = DISKS.get_ptr_mut(image) {
        return Some(stats);
    }
    if let Some(zero) = ZERO_DISK.get(0) {
        let _ = DISKS.insert(image, zero, u64::from(aya_ebpf::bindings::BPF_NOEXIST));
    }
    let stats = DISKS.get_ptr_mut(image);
    if stats.is_none() {
        lost(Lost::Images);
    }
    stats
}
