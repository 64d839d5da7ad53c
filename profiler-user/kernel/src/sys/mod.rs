//! What the host says: kernel types, processes, cgroups, privileges, our own usage, the time.
//!
//! In: a root path (`/`, or a fake tree in tests). Out: plain facts.
//! Must not know: the kernel programs, how facts are folded or shown.

pub mod btf;
pub mod cgroup;
pub mod cgroup_ids;
pub mod container;
pub mod host;
pub mod journal;
pub mod limit;
pub mod local_time;
pub mod privileges;
pub mod process;
pub mod program;
pub mod signals;
pub mod steal;
pub mod symbols;
pub mod threads;
pub mod throttle;
pub mod unit;
pub mod usage;
pub mod wall;
