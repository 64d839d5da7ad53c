//! State of tasks and sockets, kept by the kernel with the object itself and freed with it.
//!
//! In: tasks, sockets. Out: their state, made if they have none. Must not know: what is in it.

#[cfg(not(feature = "untyped"))]
use core::{ffi::c_void, marker::PhantomData};

#[cfg(not(feature = "untyped"))]
use aya_ebpf::{
    bindings::bpf_map_type::{BPF_MAP_TYPE_SK_STORAGE, BPF_MAP_TYPE_TASK_STORAGE},
    helpers::generated,
    macros::btf_map,
};
#[cfg(not(feature = "untyped"))]
use courtside_wire::Lost;

#[cfg(not(feature = "untyped"))]
use crate::{
    kernel::finds_task_state,
    loss::lost,
    maps::NO_PREALLOC,
    spare,
    state::{SockState, TaskState},
};

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
        None => spare::take_spare(task as u64),
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
