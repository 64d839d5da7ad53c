//! What a new task starts with, kept until there is memory for its state.
//!
//! In: a fork. Out: the child's state, at once or where the child shows up next. Must not know: hooks, sockets.

use aya_ebpf::{macros::map, maps::HashMap};
use courtside_wire::Lost;

use crate::{
    maps::lost,
    state::{OFF_RUN_QUEUE, TaskState},
};

/// Births of tasks that have no state yet, by thread id. The state is allocated without waiting, which a kernel may
/// refuse at any time (once in 100 000 forks was seen); this map is allocated beforehand.
#[map]
static BIRTHS: HashMap<u32, Birth> = HashMap::with_max_entries(256, 0);

/// What a new task starts with.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Birth {
    pub born_ns: u64,
    pub image: u32,
    pub tgid: u32,
    /// As in [`TaskState`].
    pub prompted: u32,
    pub pad: u32,
}

impl Birth {
    /// Begins the state of the task.
    #[inline(always)]
    pub fn begin(&self, task: &mut TaskState) {
        task.born_ns = self.born_ns;
        task.off_ns = self.born_ns;
        task.off_kind = OFF_RUN_QUEUE;
        task.image = self.image;
        task.tgid = self.tgid;
        task.prompted = self.prompted;
    }

    /// Keeps it for [`late`].
    #[inline(always)]
    pub fn keep(&self, tid: u32) {
        if BIRTHS.insert(tid, self, 0).is_err() {
            lost(Lost::TaskState);
        }
    }
}

/// Begins the state of a task whose birth was kept. `false` if none was.
#[inline(never)]
pub fn late(tid: u32, task: &mut TaskState) -> bool {
    let Some(birth) = BIRTHS.get_ptr(tid) else {
        return false;
    };
    // SAFETY: a live map value.
    unsafe { *birth }.begin(task);
    let _ = BIRTHS.remove(tid);
    true
}
