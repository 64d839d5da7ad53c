//! A control group with a CPU quota.
//!
//! In: a name, a period. Out: the group, and for how long the kernel held its tasks back. Must not know: Courtside.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::harness::eventually;

/// A control group with a quota, of whichever version is there; removed with its processes.
pub struct Quota(PathBuf);

impl Quota {
    /// Ten milliseconds of a CPU in each of these periods.
    ///
    /// # Panics
    /// When there is no such group to be made.
    #[must_use]
    pub fn new(name: &str, period_ms: u32) -> Self {
        let period_us = (period_ms * 1000).to_string();
        let one = Path::new("/sys/fs/cgroup/cpu");
        let two = Path::new("/sys/fs/cgroup");
        let group = if one.join("cpu.cfs_quota_us").exists() || one.join("tasks").exists() {
            let group = one.join(name);
            fs::create_dir(&group).unwrap();
            fs::write(group.join("cpu.cfs_period_us"), &period_us).unwrap();
            fs::write(group.join("cpu.cfs_quota_us"), "10000").unwrap();
            group
        } else {
            fs::write(two.join("cgroup.subtree_control"), "+cpu").unwrap();
            let group = two.join(name);
            fs::create_dir(&group).unwrap();
            fs::write(group.join("cpu.max"), format!("10000 {period_us}")).unwrap();
            group
        };
        Self(group)
    }

    /// Puts a process into it.
    ///
    /// # Panics
    /// When it cannot be put there.
    pub fn take(&self, tgid: u32) {
        fs::write(self.processes(), tgid.to_string()).unwrap();
    }

    /// Where processes put themselves into it.
    #[must_use]
    pub fn processes(&self) -> PathBuf {
        self.0.join("cgroup.procs")
    }

    /// Time that the kernel held its tasks back, by its own account.
    ///
    /// # Panics
    /// When it does not say.
    #[must_use]
    pub fn throttled_ns(&self) -> u64 {
        let text = fs::read_to_string(self.0.join("cpu.stat")).unwrap();
        let number = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().parse::<u64>().ok()
        };
        number("throttled_time ")
            .or_else(|| Some(number("throttled_usec ")? * 1000))
            .unwrap()
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        let _ = eventually("the group to be empty", || fs::remove_dir(&self.0).is_ok());
    }
}
