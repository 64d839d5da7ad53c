//! Capabilities: what is missing to attach, and giving all of them up afterwards.
//!
//! In: `/proc/self/status` and sysctls below a root. Out: names of missing capabilities and the command that mends it.
//! Must not know: what is attached.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use caps::{CapSet, Capability, errors::CapsError};

use super::host::{KernelVersion, line};

/// `CAP_BPF` and `CAP_PERFMON` were split off `CAP_SYS_ADMIN` here.
const SPLIT_SINCE: KernelVersion = KernelVersion { major: 5, minor: 8 };
/// Since here a process needs no capability to use maps it already holds, whatever `unprivileged_bpf_disabled` says.
const MAPS_FREE_SINCE: KernelVersion = KernelVersion {
    major: 5,
    minor: 19,
};

/// What this process may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Privileges {
    effective: u64,
    kernel: Option<KernelVersion>,
    exe: PathBuf,
}

/// Capabilities that are needed and not held.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Missing {
    /// Their names, as `setcap` takes them.
    pub names: Vec<String>,
    /// The command that grants all that is needed.
    pub command: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { names, command } = self;
        write!(
            f,
            "not permitted: {} missing; run as root, or once: {command}",
            names.join(", ")
        )
    }
}

impl Privileges {
    /// Reads the effective capabilities of this process; none where they cannot be read.
    #[must_use]
    pub fn read(root: &Path) -> Self {
        let status = std::fs::read_to_string(root.join("proc/self/status")).unwrap_or_default();
        Self {
            effective: status
                .lines()
                .find_map(|line| line.strip_prefix("CapEff:"))
                .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
                .unwrap_or(0),
            kernel: KernelVersion::read(root),
            exe: std::env::current_exe().unwrap_or_else(|_| PathBuf::from("courtside")),
        }
    }

    /// Whether a capability is effective.
    #[must_use]
    pub fn has(&self, capability: Capability) -> bool {
        self.effective & capability.bitmask() != 0
    }

    /// What the tool needs on this kernel.
    #[must_use]
    pub fn needed(&self) -> &'static [Capability] {
        if self.kernel.is_some_and(|kernel| kernel < SPLIT_SINCE) {
            &[
                Capability::CAP_SYS_ADMIN,
                Capability::CAP_SYS_PTRACE,
                Capability::CAP_DAC_READ_SEARCH,
            ]
        } else {
            &[
                Capability::CAP_BPF,
                Capability::CAP_PERFMON,
                Capability::CAP_SYS_PTRACE,
                Capability::CAP_DAC_READ_SEARCH,
            ]
        }
    }

    /// Whether what a capability is for is permitted; the kernel takes `CAP_SYS_ADMIN` for the two split off it.
    #[must_use]
    pub fn permits(&self, capability: Capability) -> bool {
        let split_off = matches!(capability, Capability::CAP_BPF | Capability::CAP_PERFMON);
        self.has(capability) || (split_off && self.has(Capability::CAP_SYS_ADMIN))
    }

    /// What is needed and not held, with the command that mends it; `None` if all is well.
    #[must_use]
    pub fn missing(&self) -> Option<Missing> {
        let names: Vec<String> = self
            .needed()
            .iter()
            .filter(|&&capability| !self.permits(capability))
            .map(|&capability| name(capability))
            .collect();
        (!names.is_empty()).then(|| Missing {
            names,
            command: self.command(),
        })
    }

    /// The command that grants what is needed.
    #[must_use]
    pub fn command(&self) -> String {
        let all: Vec<String> = self.needed().iter().map(|&cap| name(cap)).collect();
        format!("sudo setcap {}+ep {}", all.join(","), self.exe.display())
    }
}

fn name(capability: Capability) -> String {
    capability.to_string().to_lowercase()
}

/// Privileges could not be given up.
#[derive(Debug, thiserror::Error)]
pub enum DropError {
    /// The kernel refused to change the capabilities.
    #[error("cannot give up capabilities: {0}")]
    Capabilities(#[from] CapsError),
    /// The kernel refused to set `no_new_privs`.
    #[error("cannot set no_new_privs: {0}")]
    NoNewPrivileges(#[from] rustix::io::Errno),
}

/// Gives up every capability of the calling thread and of the threads and processes it starts from here on, for good.
/// Returns what had to be kept: kernels before 5.19 may refuse even to read a map already held.
///
/// # Errors
/// The kernel refuses.
pub fn drop_all(root: &Path) -> Result<Option<Capability>, DropError> {
    let kept = kept(root);
    rustix::thread::set_no_new_privs(true)?;
    caps::clear(None, CapSet::Inheritable)?; // ambient capabilities go with these
    for set in [CapSet::Effective, CapSet::Permitted] {
        let mut left = caps::read(None, set)?;
        left.retain(|capability| Some(*capability) == kept);
        caps::set(None, set, &left)?;
    }
    Ok(kept)
}

/// Gives up every capability of the calling thread, and of all that it starts from here on, for good: for what measures
/// nothing, whoever started it and whatever the program's file was granted. It then reads and writes what its user may,
/// and root what is root's own.
///
/// # Errors
/// The kernel refuses.
pub fn give_up() -> Result<(), DropError> {
    rustix::thread::set_no_new_privs(true)?;
    // Kernels before 4.3 have no ambient ones, and the inheritable ones below take them along.
    let _ = caps::clear(None, CapSet::Ambient);
    for set in [CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
        caps::clear(None, set)?;
    }
    Ok(())
}

/// Lets the calling thread, and no other, create files in a folder, or read a file, as its owner may, whatever privileges
/// are given up afterwards. Who may not do that goes on as before.
pub fn act_as_owner_of(path: &Path) {
    use std::os::unix::fs::MetadataExt;
    let Ok(owner) = std::fs::metadata(path) else {
        return;
    };
    // SAFETY: both calls take a number and change no memory of ours; the kernel keeps these ids by thread.
    unsafe {
        libc::setfsgid(owner.gid());
        libc::setfsuid(owner.uid());
    }
}

fn kept(root: &Path) -> Option<Capability> {
    let kernel = KernelVersion::read(root)?;
    let sysctl = line(&root.join("proc/sys/kernel/unprivileged_bpf_disabled"));
    if kernel >= MAPS_FREE_SINCE || sysctl.as_deref() == Some("0") {
        None
    } else if kernel >= SPLIT_SINCE {
        Some(Capability::CAP_BPF)
    } else {
        Some(Capability::CAP_SYS_ADMIN)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn host(capabilities: &[Capability], release: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("proc/self")).unwrap();
        fs::create_dir_all(root.path().join("proc/sys/kernel")).unwrap();
        let mask = capabilities
            .iter()
            .fold(0, |mask, cap| mask | cap.bitmask());
        let status = format!("Name:\tx\nCapPrm:\t0\nCapEff:\t{mask:016x}\n");
        fs::write(root.path().join("proc/self/status"), status).unwrap();
        fs::write(root.path().join("proc/sys/kernel/osrelease"), release).unwrap();
        root
    }

    fn missing(capabilities: &[Capability], release: &str) -> Vec<String> {
        let root = host(capabilities, release);
        let missing = Privileges::read(root.path()).missing();
        missing.map_or_else(Vec::new, |missing| missing.names)
    }

    #[test]
    fn what_is_missing_depends_on_the_kernel() {
        use Capability::{
            CAP_BPF, CAP_DAC_READ_SEARCH, CAP_PERFMON, CAP_SYS_ADMIN, CAP_SYS_PTRACE,
        };
        let others = [CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH];
        let with = |more: &[Capability]| [&others[..], more].concat();
        assert!(missing(&with(&[CAP_BPF, CAP_PERFMON]), "6.1.0").is_empty());
        assert!(missing(&with(&[CAP_SYS_ADMIN]), "6.1.0").is_empty());
        assert_eq!(missing(&with(&[CAP_BPF]), "6.1.0"), ["cap_perfmon"]);
        assert_eq!(missing(&with(&[CAP_BPF]), "5.4.0"), ["cap_sys_admin"]);
        assert_eq!(missing(&[], "6.1.0").len(), 4);
        assert_eq!(missing(&[CAP_SYS_ADMIN], "nonsense").len(), 2);
    }

    #[test]
    fn the_message_says_what_why_and_the_command() {
        let root = host(&[Capability::CAP_BPF], "6.1.0");
        let text = Privileges::read(root.path()).missing().unwrap().to_string();
        assert!(
            text.starts_with("not permitted: cap_perfmon, cap_sys_ptrace,"),
            "{text}"
        );
        let command = "sudo setcap cap_bpf,cap_perfmon,cap_sys_ptrace,cap_dac_read_search+ep /";
        assert!(text.contains(command), "{text}");
    }

    #[test]
    fn older_kernels_keep_the_right_to_read_maps() {
        let of = |release, sysctl: Option<&str>| {
            let root = host(&[], release);
            if let Some(value) = sysctl {
                let path = root
                    .path()
                    .join("proc/sys/kernel/unprivileged_bpf_disabled");
                fs::write(path, value).unwrap();
            }
            kept(root.path())
        };
        assert_eq!(of("6.1.0", Some("2\n")), None);
        assert_eq!(of("5.10.0", Some("0\n")), None);
        assert_eq!(of("5.10.0", Some("2\n")), Some(Capability::CAP_BPF));
        assert_eq!(of("5.4.0", Some("1\n")), Some(Capability::CAP_SYS_ADMIN));
    }

    #[test]
    fn after_the_drop_nothing_is_left_in_this_thread() {
        std::thread::spawn(|| {
            let root = Path::new("/");
            let kept = drop_all(root).unwrap();
            let left = caps::read(None, CapSet::Effective).unwrap();
            assert!(left.iter().all(|cap| Some(*cap) == kept));
            let status = fs::read_to_string("/proc/thread-self/status").unwrap();
            assert!(status.contains("NoNewPrivs:\t1"));
        })
        .join()
        .unwrap();
    }

    #[test]
    fn who_measures_nothing_keeps_nothing() {
        std::thread::spawn(|| {
            give_up().unwrap();
            let status = fs::read_to_string("/proc/thread-self/status").unwrap();
            for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
                assert!(status.contains(&format!("{set}:\t0000000000000000\n")));
            }
            assert!(status.contains("NoNewPrivs:\t1"));
        })
        .join()
        .unwrap();
    }
}
