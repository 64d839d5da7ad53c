//! Maps that several modules share. Key, value, bound, who writes and who reads.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, Queue},
};
use courtside_wire::{
    CpuStats, FORKED_MAX, ImageInfo, ListenKey, ProtocolKey, RemoteKey, SelfCheck, Settings,
};

/// `BPF_F_NO_PREALLOC`. Before 6.1 memory is allocated as for everybody else, which programs of the scheduler must not do.
#[cfg(not(feature = "untyped"))]
pub const NO_PREALLOC: u32 = 1;
#[cfg(feature = "untyped")]
pub const NO_PREALLOC: u32 = 0;
/// CPU time by image. Written by the task iterator and at exec and exit.
#[map]
pub static CPU: HashMap<u32, CpuStats> = HashMap::with_max_entries(16384, NO_PREALLOC);
/// Image of each live process.
#[map]
pub static PROCESSES: HashMap<u32, u32> = HashMap::with_max_entries(65536, NO_PREALLOC);
/// What is known of each image. Pruned by user space when its processes are gone.
#[map]
pub static IMAGES: HashMap<u32, ImageInfo> = HashMap::with_max_entries(16384, NO_PREALLOC);
/// Numbers of remote ends that were called from here. What finds no room is [`PEER_OTHERS`].
#[map]
pub static REMOTES: HashMap<RemoteKey, u32> = HashMap::with_max_entries(4096, NO_PREALLOC);
/// Numbers of remote ends that call; there may be any number of those.
#[map]
pub static CLIENTS: HashMap<RemoteKey, u32> = HashMap::with_max_entries(2048, NO_PREALLOC);
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
/// Numbers for images and remote ends that nobody had before in this attach. Filled by user space at each window's end.
#[map]
pub static NEXT_IMAGES: Queue<u32> = Queue::with_max_entries(16384, 0);
/// The same for forked processes: a few at a time, so that those that live for one request leave room for all else.
#[map]
pub static NEXT_FORKED: Queue<u32> = Queue::with_max_entries(FORKED_MAX, 0);
#[map]
pub static NEXT_REMOTES: Queue<u32> = Queue::with_max_entries(8192, 0);
/// Sends and receives that are lost with their connection, by its protocol. There are fewer protocols.
#[map]
pub static PROTOCOLS: HashMap<ProtocolKey, u64> = HashMap::with_max_entries(256, NO_PREALLOC);
/// Connections in use that are older than the attach.
#[map]
pub static MIDLIFE: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);
/// Settings that user space may change at any time.
#[map]
pub static SETTINGS: Array<Settings> = Array::with_max_entries(1, 0);
/// Result of the self-check.
#[map]
pub static SELF_CHECK: Array<SelfCheck> = Array::with_max_entries(1, 0);
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

/// Current settings.
#[inline(always)]
pub fn settings() -> Option<&'static Settings> {
    SETTINGS.get(0)
}
