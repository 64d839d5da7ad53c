//! Program images: what one exec made, shared with the children forked from it.
//!
//! In: tasks. Out: their image number, and what is known of the image. An image is what user space can name once
//! and count for many short-lived children. Must not know: clocks, sockets.

use courtside_wire::{COMM_LEN, IMAGE_FIRST, IMAGE_KERNEL, ImageInfo, Lost, PEER_REMOTE};

use crate::{
    field,
    kernel::{now_ns, probe},
    maps::{COUNTERS, IMAGES, PROCESSES, lost},
    offset,
    state::TaskState,
};

/// `PF_KTHREAD`
const KERNEL_THREAD: u32 = 0x0020_0000;
/// Slot of `COUNTERS` for images.
const IMAGE_COUNTER: usize = 0;
/// Slot of `COUNTERS` for remote ends.
const REMOTE_COUNTER: usize = 1;

/// A number that no CPU gave before: eleven bits of CPU, twenty of count. No atomic fetch is needed (kernels < 5.12).
#[inline(always)]
fn next_number(slot: usize) -> u32 {
    let Some(counters) = COUNTERS.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: a value of this CPU; `slot` is one of the two constants above.
    let count = unsafe {
        let counter = (*counters).as_mut_ptr().add(slot);
        *counter += 1;
        *counter
    };
    // SAFETY: no arguments.
    let cpu = unsafe { aya_ebpf::helpers::generated::bpf_get_smp_processor_id() };
    ((cpu & 0x7ff) << 20) | (count % (0x10_0000 - IMAGE_FIRST) + IMAGE_FIRST)
}

/// A new number for a remote end.
#[inline(always)]
pub fn next_remote() -> u32 {
    next_number(REMOTE_COUNTER) | PEER_REMOTE
}

/// Image of a task, found or made. `task` must be a typed pointer.
#[inline(always)]
pub fn image_of(task: *const u8, state: &mut TaskState) -> u32 {
    if state.image != 0 {
        return state.image;
    }
    first_look(task, state)
}

#[inline(never)]
fn first_look(task: *const u8, state: &mut TaskState) -> u32 {
    let tgid = field!(task, task_tgid, u32);
    state.tgid = tgid;
    if field!(task, task_flags, u32) & KERNEL_THREAD != 0 {
        state.image = IMAGE_KERNEL;
        return IMAGE_KERNEL;
    }
    state.image = match PROCESSES.get_ptr(tgid) {
        // SAFETY: a live map value.
        Some(image) => unsafe { *image },
        None => new_image(task, tgid, 0),
    };
    state.image
}

/// Makes a new image for a process.
#[inline(never)]
pub fn new_image(task: *const u8, tgid: u32, parent_image: u32) -> u32 {
    let image = next_number(IMAGE_COUNTER);
    let leader: u64 = probe(task as u64, offset!(task_group_leader));
    let info = ImageInfo {
        tgid,
        parent_image,
        // SAFETY: no arguments.
        cgroup_id: unsafe { aya_ebpf::helpers::generated::bpf_get_current_cgroup_id() },
        since_ns: now_ns(),
        comm: probe::<[u8; COMM_LEN]>(leader, offset!(task_comm)),
    };
    if IMAGES.insert(image, info, 0).is_err() || PROCESSES.insert(tgid, image, 0).is_err() {
        lost(Lost::Images);
    }
    image
}

/// Gives a forked process its parent's image.
#[inline(always)]
pub fn inherit(tgid: u32, image: u32) {
    if PROCESSES.insert(tgid, image, 0).is_err() {
        lost(Lost::Images);
    }
}
