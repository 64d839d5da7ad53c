//! Block I/O: size and latency of each request, charged to the task that started it.
//!
//! In: `block_io_start` (before 6.5: `block_rq_issue`), `block_rq_complete`. Out: `DISKS` by image, and behind whom they waited
//! (`behind.rs`). What the kernel writes back later on its own is charged to the kernel. Must not know: sockets.

use aya_ebpf::{
    macros::{btf_tracepoint, map},
    maps::{Array, HashMap},
    programs::BtfTracePointContext,
};
use courtside_wire::{
    DiskStats, Lost,
    events::{DISK_LAST, DISK_WRITE, EVENT_DISK_END, EVENT_DISK_START},
};

use crate::{
    atomic::add,
    behind, dist, field, image,
    kernel::{current_task, now_ns, request_comes_second},
    loss::lost,
    maps::{NO_PREALLOC, OpenRequest, REQUESTS, settings},
    ring,
    storage::task_state,
    twice,
};

/// Block I/O by image.
#[map]
static DISKS: HashMap<u32, DiskStats> = HashMap::with_max_entries(4096, NO_PREALLOC);

/// Zeroes, to create large entries from.
#[map]
static ZERO_DISK: Array<DiskStats> = Array::with_max_entries(1, 0);

/// Lower eight bits of `cmd_flags` hold the operation.
const OPERATION: u32 = 0xff;
const READ: u32 = 0;
const WRITE: u32 = 1;
const ZONE_APPEND: u32 = 7;

#[inline(always)]
fn started(request: *const u8) -> i32 {
    let operation = field!(request, request_cmd_flags, u32) & OPERATION;
    if operation != READ && operation != WRITE && operation != ZONE_APPEND {
        // Flushes, discards and their like move no data.
        return 0;
    }
    let current = current_task();
    let image = match task_state(current) {
        Some(task) => image::image_of(current, task),
        None => 0,
    };
    let write = u32::from(operation != READ);
    let open = OpenRequest {
        start_ns: now_ns(),
        image,
        write,
    };
    if REQUESTS.insert(request as u64, open, 0).is_err() {
        lost(Lost::DiskRequests);
    }
    if ring::wanted() {
        let flags = if write != 0 { DISK_WRITE } else { 0 };
        let bytes = field!(request, request_data_len, u32);
        ring::disk_event(EVENT_DISK_START, flags, request as u64, bytes, image);
    }
    0
}

twice! {
    /// match-proto: block_io_start(struct request *rq)
    DISK_START: block_io_start, block_io_start_again on "block_io_start" =
        |ctx: &BtfTracePointContext| started(ctx.arg(0))
}

/// match-proto: block_rq_issue([struct request_queue *q before 5.11,] struct request *rq)
#[btf_tracepoint(function = "block_rq_issue")]
fn block_rq_issue(ctx: BtfTracePointContext) -> i32 {
    started(if request_comes_second() {
        ctx.arg(1)
    } else {
        ctx.arg(0)
    })
}

twice! {
    /// match-proto: block_rq_complete(struct request *rq, blk_status_t error, unsigned int nr_bytes)
    DISK_END: block_rq_complete, block_rq_complete_again on "block_rq_complete" = completed
}

#[inline(always)]
fn completed(ctx: &BtfTracePointContext) -> i32 {
    let request: *const u8 = ctx.arg(0);
    let bytes = ctx.arg::<u64>(2) & 0xffff_ffff;
    let key = request as u64;
    let Some(open) = REQUESTS.get_ptr(key) else {
        return 0;
    };
    // SAFETY: a live map value.
    let open = unsafe { *open };
    let Some(stats) = counters_of(open.image) else {
        return 0;
    };
    let last = u64::from(field!(request, request_data_len, u32)) <= bytes;
    let epoch = settings().map_or(0, |settings| settings.epoch);
    // SAFETY: a live map value; every addition is atomic.
    unsafe {
        if open.write != 0 {
            add(&raw mut (*stats).write_bytes, bytes);
        } else {
            add(&raw mut (*stats).read_bytes, bytes);
        }
        if last {
            add(
                if open.write != 0 {
                    &raw mut (*stats).writes
                } else {
                    &raw mut (*stats).reads
                },
                1,
            );
            let now = now_ns();
            dist::record(
                &raw mut (*stats).latency_ns,
                now.saturating_sub(open.start_ns),
                epoch,
            );
            let behind_ns = behind::ended(request, &open, now);
            if behind_ns != 0 {
                add(&raw mut (*stats).behind_ns, behind_ns);
            }
        }
    }
    if ring::wanted() {
        let write = if open.write != 0 { DISK_WRITE } else { 0 };
        let flags = if last { write | DISK_LAST } else { write };
        ring::disk_event(EVENT_DISK_END, flags, key, bytes as u32, open.image);
    }
    if last {
        let _ = REQUESTS.remove(key);
    }
    0
}

/// Block I/O counters of an image, made if it has none.
#[inline(always)]
fn counters_of(image: u32) -> Option<*mut DiskStats> {
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
