//! A control group with a CPU quota, or without.
//!
//! In: how many CPUs, and who. Out: the group, gone when this is dropped; or why there can be none, in words. Must not know: who
//! they are.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::plan::QUOTA_PERIOD_US;

/// What the group is called.
const NAME: &str = "courtside-truth";
/// The period that the kernel gives to a new group.
const DEFAULT_PERIOD_US: u64 = 100_000;

/// A group.
pub struct Group {
    path: PathBuf,
    is_v2: bool,
}

impl Group {
    /// One without a limit.
    pub fn open() -> Result<Self> {
        let mounts = fs::read_to_string("/proc/mounts").context("cannot read /proc/mounts")?;
        let (root, is_v2) = hierarchy(&mounts)
            .context("no hierarchy of control groups here has the controller `cpu`")?;
        if is_v2 {
            let control = root.join("cgroup.subtree_control");
            fs::write(&control, "+cpu")
                .with_context(|| format!("{} may not be written", control.display()))?;
        }
        let group = Self {
            path: root.join(NAME),
            is_v2,
        };
        match fs::create_dir(&group.path) {
            // Left by a run that was killed.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => made.with_context(|| format!("cannot make {}", group.path.display()))?,
        }
        group.set(None, DEFAULT_PERIOD_US)?;
        Ok(group)
    }

    /// One that may use so many CPUs.
    pub fn new(cpus: f64) -> Result<Self> {
        let group = Self::open()?;
        let quota_us = (cpus * QUOTA_PERIOD_US as f64).round() as u64;
        group.set(Some(quota_us), QUOTA_PERIOD_US)?;
        Ok(group)
    }

    fn set(&self, quota_us: Option<u64>, period_us: u64) -> Result<()> {
        let quota = quota_us.map(|us| us.to_string());
        if self.is_v2 {
            let quota = quota.as_deref().unwrap_or("max");
            return self.write("cpu.max", &format!("{quota} {period_us}"));
        }
        self.write("cpu.cfs_period_us", &period_us.to_string())?;
        self.write("cpu.cfs_quota_us", quota.as_deref().unwrap_or("-1"))
    }

    /// What is in the file of the limit.
    pub fn limit(&self) -> Result<String> {
        let file = if self.is_v2 {
            "cpu.max"
        } else {
            "cpu.cfs_quota_us"
        };
        let path = self.path.join(file);
        let text = fs::read_to_string(&path)
            .with_context(|| format!("{} cannot be read", path.display()))?;
        Ok(text.trim().to_owned())
    }

    /// Puts a process into it.
    pub fn take(&self, tgid: u32) -> Result<()> {
        self.write("cgroup.procs", &tgid.to_string())
    }

    fn write(&self, file: &str, text: &str) -> Result<()> {
        let path = self.path.join(file);
        fs::write(&path, text).with_context(|| format!("{} may not be written", path.display()))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Processes that were killed just now may still be in it.
        let deadline = Instant::now() + Duration::from_secs(3);
        while fs::remove_dir(&self.path).is_err() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Where the controller `cpu` is, and whether by version 2.
fn hierarchy(mounts: &str) -> Option<(PathBuf, bool)> {
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        Some((fields.next()?, fields.next()?, fields.next()?))
    });
    let has_cpu = |path: &str| {
        let controllers = fs::read_to_string(Path::new(path).join("cgroup.controllers"));
        controllers.is_ok_and(|text| text.split_whitespace().any(|name| name == "cpu"))
    };
    mounts
        .filter_map(|(path, kind, options)| match kind {
            "cgroup" if options.split(',').any(|option| option == "cpu") => {
                Some((PathBuf::from(path), false))
            }
            "cgroup2" if has_cpu(path) => Some((PathBuf::from(path), true)),
            _ => None,
        })
        .next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_controller_is_found_where_it_is() {
        let mounts = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n\
                      cgroup /sys/fs/cgroup/cpuset cgroup rw,cpuset 0 0\n\
                      cgroup /sys/fs/cgroup/cpu cgroup rw,relatime,cpu,cpuacct 0 0\n";
        let expected = (PathBuf::from("/sys/fs/cgroup/cpu"), false);
        assert_eq!(hierarchy(mounts), Some(expected));
        assert_eq!(hierarchy("cgroup /x cgroup rw,cpuset 0 0\n"), None);
        assert_eq!(hierarchy("cgroup2 /nowhere/at/all cgroup2 rw 0 0\n"), None);
    }
}
