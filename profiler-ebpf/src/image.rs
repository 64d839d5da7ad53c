//! Program images: what one exec made, and the processes forked from it, which have numbers of their own while there are
//! enough.
//!
//! In: tasks. Out: their image number, and what is known of the image. An image is what user space can name once
//! and count for many short-lived children. Must not know: clocks, sockets.

use aya_ebpf::{bindings::BPF_NOEXIST, helpers::generated};
use courtside_wire::{
    COMM_LEN, IMAGE_FORKED, IMAGE_KERNEL, ImageInfo, Lost, PEER_REMOTE, offsets::ABSENT,
};

use crate::{
    field,
    kernel::{now_ns, probe},
    loss::lost,
    maps::{IMAGES, NEXT_FORKED, NEXT_IMAGES, PROCESSES},
    offset,
    state::TaskState,
};

/// Set in a task's image while that is its parent's program, and the process has not shown itself.
pub const LENT: u32 = 0x8000_0000;
/// `PF_KTHREAD`
const KERNEL_THREAD: u32 = 0x0020_0000;

/// Image of a task, found or made. `task` must be a typed pointer.
#[inline(always)]
pub fn image_of(task: *const u8, state: &mut TaskState) -> u32 {
    if state.image.cast_signed() > 0 {
        return state.image;
    }
    identify_image(task, state)
}

/// The program that a task runs, whether or not its process has a number of its own.
#[inline(always)]
pub fn program_of(task: *const u8, state: &mut TaskState) -> u32 {
    if state.image & LENT != 0 {
        state.image & !LENT
    } else {
        program(image_of(task, state))
    }
}

/// The program that an image is a copy of, or the image itself.
#[inline(always)]
pub fn program(image: u32) -> u32 {
    if !is_forked(image) {
        return image;
    }
    match IMAGES.get_ptr(image) {
        // SAFETY: a live map value.
        Some(info) => unsafe { (*info).parent_image },
        None => image,
    }
}

/// Whether an image, or the peer of a flow, is a forked process with a number of its own.
#[inline(always)]
pub fn is_forked(image: u32) -> bool {
    image & (PEER_REMOTE | IMAGE_FORKED) == IMAGE_FORKED
}

#[inline(never)]
fn identify_image(task: *const u8, state: &mut TaskState) -> u32 {
    let tgid = field!(task, task_tgid, u32);
    state.tgid = tgid;
    if state.image & LENT != 0 {
        state.image = adopt(task, tgid, state.image & !LENT);
        return state.image;
    }
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

/// Image of a forked process that shows itself for the first time: one of its own while there are numbers for such, else
/// that of its program. It may be looked at by a walk over tasks at the same moment: whoever is first decides.
#[inline(never)]
fn adopt(task: *const u8, tgid: u32, program: u32) -> u32 {
    let number = NEXT_FORKED.pop().ok().flatten().unwrap_or(0);
    let image = if number == 0 { program } else { number };
    if number != 0 {
        let _ = IMAGES.insert(number, describe(task, tgid, program), 0);
    }
    if PROCESSES
        .insert(tgid, image, u64::from(BPF_NOEXIST))
        .is_ok()
    {
        return image;
    }
    if number != 0 {
        let _ = IMAGES.remove(number);
        let _ = NEXT_FORKED.push(number, 0);
    }
    match PROCESSES.get_ptr(tgid) {
        // SAFETY: a live map value.
        Some(image) => unsafe { *image },
        None => {
            lost(Lost::Images);
            program
        }
    }
}

/// Makes a new image for a process.
#[inline(never)]
pub fn new_image(task: *const u8, tgid: u32, parent_image: u32) -> u32 {
    let Some(image) = NEXT_IMAGES.pop().ok().flatten() else {
        lost(Lost::Images);
        return parent_image;
    };
    let info = describe(task, tgid, parent_image);
    if IMAGES.insert(image, info, 0).is_err() || PROCESSES.insert(tgid, image, 0).is_err() {
        lost(Lost::Images);
    }
    image
}

/// What the kernel knows of a process.
#[inline(always)]
fn describe(task: *const u8, tgid: u32, parent_image: u32) -> ImageInfo {
    let leader: u64 = probe(task as u64, offset!(task_group_leader));
    ImageInfo {
        tgid,
        parent_image,
        cgroup_id: cgroup_of(task),
        since_ns: now_ns(),
        comm: probe::<[u8; COMM_LEN]>(leader, offset!(task_comm)),
    }
}

/// Control group of a task, of version 2; 0 where the kernel does not show it. The helper for that knows only the running
/// task, which is ours when a walk over tasks finds this one.
#[inline(always)]
fn cgroup_of(task: *const u8) -> u64 {
    if offset!(task_cgroups) == ABSENT
        || offset!(css_set_dfl_cgrp) == ABSENT
        || offset!(cgroup_kn) == ABSENT
        || offset!(kernfs_node_id) == ABSENT
    {
        // SAFETY: no arguments.
        let current = unsafe { generated::bpf_get_current_pid_tgid() } as u32;
        if field!(task, task_pid, u32) != current {
            return 0;
        }
        // SAFETY: no arguments.
        return unsafe { generated::bpf_get_current_cgroup_id() };
    }
    let groups: u64 = probe(task as u64, offset!(task_cgroups));
    let group: u64 = probe(groups, offset!(css_set_dfl_cgrp));
    let directory: u64 = probe(group, offset!(cgroup_kn));
    probe(directory, offset!(kernfs_node_id))
}

/// Lends a forked process its parent's program. A number of its own costs room in every map, and most children exec or end
/// before they show themselves: it takes one when it sends, receives, reads a disk or is there when a window ends.
#[inline(always)]
pub fn lend(tgid: u32, program: u32) -> u32 {
    // Whoever had the id before has ended, whether or not that was seen.
    let _ = PROCESSES.remove(tgid);
    program | LENT
}
