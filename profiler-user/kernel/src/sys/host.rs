//! The machine: name, kernel, CPUs.
//!
//! In: `/proc/sys/kernel` and `/sys/devices/system/cpu` below a root. Out: [`Host`], [`KernelVersion`].
//! Must not know: what the kernel version is needed for.

use std::{fmt, fs, path::Path};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use courtside_core::frame::Host;

/// Reads what identifies the machine; what cannot be read stays empty.
#[must_use]
pub fn host(root: &Path) -> Host {
    let kernel = |name: &str| line(&root.join("proc/sys/kernel").join(name)).unwrap_or_default();
    Host {
        hostname: kernel("hostname"),
        kernel: kernel("osrelease"),
        arch: rustix::system::uname()
            .machine()
            .to_string_lossy()
            .into_owned(),
        cpus: line(&root.join("sys/devices/system/cpu/online")).map_or(0, |list| count_cpus(&list)),
        boot_id: kernel("random/boot_id"),
    }
}

/// First two numbers of a kernel release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion {
    /// Version.
    pub major: u32,
    /// Patch level.
    pub minor: u32,
}

impl KernelVersion {
    /// Reads the running kernel's version; `None` where its release is not of the form `x.y…`.
    #[must_use]
    pub fn read(root: &Path) -> Option<Self> {
        Self::parse(&line(&root.join("proc/sys/kernel/osrelease"))?)
    }

    /// Reads a release such as `6.1.0-13-cloud-amd64`.
    #[must_use]
    pub fn parse(release: &str) -> Option<Self> {
        let mut numbers = release.split(|c: char| !c.is_ascii_digit());
        Some(Self {
            major: numbers.next()?.parse().ok()?,
            minor: numbers.next()?.parse().ok()?,
        })
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Since here maps are charged to the control group, not to `RLIMIT_MEMLOCK`.
pub const MEMLOCK_FREE_SINCE: KernelVersion = KernelVersion {
    major: 5,
    minor: 11,
};

/// The limit of locked memory as it was; it is again when this is dropped, so that no command inherits another one.
#[derive(Debug)]
pub struct LockedMemory(Option<Rlimit>);

/// Lifts the limit of locked memory, which kernels before 5.11 charge maps to, as far as this process may.
#[must_use]
pub fn lift_locked_memory(root: &Path) -> LockedMemory {
    if KernelVersion::read(root).is_none_or(|version| version >= MEMLOCK_FREE_SINCE) {
        return LockedMemory(None);
    }
    let before = getrlimit(Resource::Memlock);
    let none = Rlimit {
        current: None,
        maximum: None,
    };
    let lifted = setrlimit(Resource::Memlock, none).is_ok();
    LockedMemory(lifted.then_some(before))
}

impl Drop for LockedMemory {
    fn drop(&mut self) {
        if let Some(before) = self.0.take() {
            // To lower a limit is always allowed.
            let _ = setrlimit(Resource::Memlock, before);
        }
    }
}

/// Whether process ids here are those that the kernel programs see; `None` if that is not known.
#[must_use]
pub fn in_first_pid_namespace(root: &Path) -> Option<bool> {
    // The inode number is fixed in the kernel (`PROC_PID_INIT_INO`).
    let namespace = fs::read_link(root.join("proc/self/ns/pid")).ok()?;
    Some(namespace.as_os_str() == "pid:[4026531836]")
}

/// First line of a file, trimmed.
#[must_use]
pub fn line(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.lines().next()?.trim().to_owned())
}

/// Counts a list such as `0-3,8`.
fn count_cpus(list: &str) -> u32 {
    list.split(',')
        .filter_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
            last.checked_sub(first)?.checked_add(1)
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fake_machine_is_read_and_an_empty_one_stays_empty() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(host(root.path()).cpus, 0);
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("proc/sys/kernel/hostname", "web01\n");
        put("proc/sys/kernel/osrelease", "5.10.0-30-cloud-amd64\n");
        put("proc/sys/kernel/random/boot_id", "an-id\n");
        put("sys/devices/system/cpu/online", "0-3,8,10-11\n");
        let found = host(root.path());
        assert_eq!(found.hostname, "web01");
        assert_eq!(found.boot_id, "an-id");
        assert_eq!(found.cpus, 7);
        assert_eq!(
            KernelVersion::read(root.path()),
            Some(KernelVersion {
                major: 5,
                minor: 10
            })
        );
    }

    #[test]
    fn kernel_versions_order_by_number() {
        let of = |release| KernelVersion::parse(release).unwrap();
        assert!(of("6.2-rc1") < of("6.18.5"));
        assert!(of("5.19.0+") < of("6.1"));
        assert_eq!(KernelVersion::parse("unheard of"), None);
    }

    #[test]
    fn this_machine_has_cpus() {
        assert!(host(Path::new("/")).cpus > 0);
    }
}
