//! Two copies of the program on arrivals: an interrupt may bring data while the first is at work.
//!
//! In: the socket whose data was announced. Out: whether the second copy has to do the work. Must not know: what the
//! work is.
//!
//! A process that takes delayed segments (`release_sock`) announces data with interrupts on. What an interrupt announces
//! meanwhile on that CPU finds the first copy at work, and the kernel skips it; the second copy is not at work then.
//! A CPU has two marks, since the interrupt may also come between the two copies of the process.

use aya_ebpf::{macros::map, maps::PerCpuArray};
use courtside_wire::Lost;

use crate::{
    kernel::{in_interrupt, is_preempted, shows_interrupts},
    loss::made_up,
    twice::{self, READY},
};

/// Sockets for which the first copy has run and the second has not yet: the latest, and the one before it.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Marks {
    latest: u64,
    before: u64,
}

#[map]
static NESTED: PerCpuArray<Marks> = PerCpuArray::with_max_entries(1, 0);

/// This CPU's marks.
#[inline(always)]
fn marks() -> Option<&'static mut Marks> {
    // SAFETY: a slot of this CPU; an interrupt that writes it meanwhile has ended before this program goes on.
    unsafe { NESTED.get_ptr_mut(0)?.as_mut() }
}

/// The first copy begins. A mark that is there has either been left by an interrupt of which the second copy was skipped,
/// or this is an interrupt between the two copies of a process.
#[inline(always)]
pub fn begins() {
    if !is_preempted()
        && let Some(marks) = marks()
        && marks.latest | marks.before != 0
        && shows_interrupts()
        && !in_interrupt()
    {
        marks.latest = 0;
        marks.before = 0;
    }
}

/// The first copy has done its work for a socket.
#[inline(always)]
pub fn mark_noted(sk: *const u8) {
    if is_preempted() {
        twice::done(READY);
    } else if let Some(marks) = marks() {
        marks.before = marks.latest;
        marks.latest = sk as u64;
    }
}

/// Whether the second copy has nothing to do for a socket.
#[inline(always)]
pub fn was_noted(sk: *const u8) -> bool {
    if is_preempted() {
        return twice::was_done(READY);
    }
    let Some(marks) = marks() else {
        return true;
    };
    let sk = sk as u64;
    if marks.latest == sk {
        marks.latest = marks.before;
        marks.before = 0;
        return true;
    }
    if marks.before == sk {
        // The latest is of an interrupt that has ended.
        marks.latest = 0;
        marks.before = 0;
        return true;
    }
    made_up(Lost::Arrivals);
    false
}
