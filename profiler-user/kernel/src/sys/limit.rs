//! How much CPU time a control group may take: where that is written, what it says, and whether it may be changed.
//!
//! In: `/proc/TGID/cgroup` and control groups below a root, version 1 and 2. Out: [`Group`], [`Change`], or a [`Refusal`]
//! with its reason. Must not know: why a group is to be held back. It writes nothing.

mod weight;

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

/// Shortest quota that the kernel takes, in microseconds.
const MIN_QUOTA_US: u64 = 1000;
const PERIOD_US: u64 = 100_000;
/// Groups that are looked through for processes, at most.
const MOST_GROUPS: usize = 1024;
/// Processes that are looked at, at most.
const MOST_PROCESSES: usize = 65_536;

/// Names of the files that hold a limit.
pub const LIMIT_FILES: [&str; 5] = [
    "cpu.max",
    "cpu.cfs_quota_us",
    "cpu.idle",
    "cpu.weight",
    "cpu.shares",
];

/// Which kind of control group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// A control group that the scheduler knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    mount: PathBuf,
    path: PathBuf,
    version: Version,
}

/// What is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The file.
    pub file: PathBuf,
    /// What is in it.
    pub before: String,
    /// What is to be in it.
    pub after: String,
}

/// Why a group is not held back.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// All of the host is in it.
    #[error(
        "it is in the root control group, which cannot be held back; give it one of its own, for example with: systemd-run --scope"
    )]
    Root,
    /// There is no such file.
    #[error(
        "its control group {0} has no limit of CPU time that could be set (no cpu controller there)"
    )]
    NoController(String),
    /// A group around it has a limit that is lower already.
    #[error("the control group {group} around it has a limit of {cpus:.2} CPUs already")]
    ParentLimit {
        /// The group around it.
        group: String,
        /// Its limit.
        cpus: f64,
    },
    /// It has a limit that is lower already.
    #[error("it has a limit of {0:.2} CPUs already")]
    OwnLimit(f64),
    /// It gives way to others as far as can be.
    #[error("its control group {0} gives way already: it is idle, or has the least weight")]
    GivesWay(String),
    /// To give way would not help: weights count only among neighbours.
    #[error("{other} is outside of the group around {group}, and weights count only inside of one")]
    Apart {
        /// The group.
        group: String,
        /// That for whose sake.
        other: String,
    },
    /// Somebody else is in it, too.
    #[error("its control group {group} holds {who}, too")]
    Shared {
        /// The group.
        group: String,
        /// Who.
        who: String,
    },
    /// It cannot be read.
    #[error("cannot read {file}: {error}")]
    Unreadable {
        /// The file.
        file: String,
        /// Why.
        error: String,
    },
}

/// The control group that the scheduler counts a process in: of version 1 if that has the CPU controller, of version 2
/// otherwise. None if the process is gone or its group is out of sight.
#[must_use]
pub fn group_of(root: &Path, tgid: u32) -> Option<Group> {
    let text = fs::read_to_string(root.join(format!("proc/{tgid}/cgroup"))).ok()?;
    let base = root.join("sys/fs/cgroup");
    let mut found = None;
    for line in text.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let (version, mounts) = match controllers {
            "" => (Version::Two, vec![base.clone(), base.join("unified")]),
            names if names.split(',').any(|name| name == "cpu") => {
                (Version::One, vec![base.join(names), base.join("cpu")])
            }
            _ => continue,
        };
        let below = Path::new(path.trim_start_matches('/'));
        if below.components().any(|part| part == Component::ParentDir) {
            continue;
        }
        let there = |mount: &PathBuf| mount.join(below).join("cgroup.procs").is_file();
        let Some(mount) = mounts.into_iter().find(there) else {
            continue;
        };
        let group = Group {
            mount,
            path: below.to_owned(),
            version,
        };
        if version == Version::One {
            return Some(group);
        }
        found = Some(group);
    }
    found
}

/// A control group by its path below the root of its hierarchy, in the one whose limits can be set.
#[must_use]
pub fn group_at(root: &Path, path: &str) -> Option<Group> {
    let base = root.join("sys/fs/cgroup");
    let below = Path::new(path.trim_start_matches('/'));
    if below.components().any(|part| part == Component::ParentDir) {
        return None;
    }
    let candidates = [
        (base.join("cpu"), Version::One),
        (base.join("cpu,cpuacct"), Version::One),
        (base.clone(), Version::Two),
        (base.join("unified"), Version::Two),
    ];
    candidates
        .into_iter()
        .map(|(mount, version)| Group {
            mount,
            path: below.to_owned(),
            version,
        })
        .find(|group| {
            // The root has no limit in version 2, and is refused for what it is.
            let file = if group.is_root() {
                "cgroup.procs"
            } else {
                group.file_name()
            };
            group.folder().join(file).is_file()
        })
}

impl Group {
    /// Its path below the root of the hierarchy.
    #[must_use]
    pub fn name(&self) -> String {
        format!("/{}", self.path.display())
    }

    fn folder(&self) -> PathBuf {
        self.mount.join(&self.path)
    }

    fn file_name(&self) -> &'static str {
        match self.version {
            Version::One => "cpu.cfs_quota_us",
            Version::Two => "cpu.max",
        }
    }

    fn is_root(&self) -> bool {
        self.path.as_os_str().is_empty()
    }

    /// Whether the other one lies in it, or is the same.
    #[must_use]
    pub fn holds(&self, other: &Self) -> bool {
        self.mount == other.mount && other.path.starts_with(&self.path)
    }

    /// Whether this is the file that holds its limit.
    #[must_use]
    pub fn has_file(&self, file: &Path) -> bool {
        self.folder().join(self.file_name()) == file
    }

    /// Its processes and those of all groups in it.
    #[must_use]
    pub fn processes(&self) -> Vec<u32> {
        let mut folders = vec![self.folder()];
        let mut found = Vec::new();
        let mut seen = 0;
        while let Some(folder) = folders.pop() {
            seen += 1;
            if seen > MOST_GROUPS || found.len() >= MOST_PROCESSES {
                break;
            }
            let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
            found.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
            let inside = fs::read_dir(&folder).into_iter().flatten().flatten();
            folders.extend(
                inside
                    .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                    .map(|entry| entry.path()),
            );
        }
        found
    }

    /// Its own limit in CPUs, and the period in microseconds; none where there is no limit.
    fn limit_at(&self, folder: &Path) -> Option<(Option<f64>, u64)> {
        match self.version {
            Version::One => {
                let number = |name: &str| -> Option<i64> {
                    fs::read_to_string(folder.join(name))
                        .ok()?
                        .trim()
                        .parse()
                        .ok()
                };
                let quota = number("cpu.cfs_quota_us")?;
                let period = number("cpu.cfs_period_us")
                    .and_then(|period| u64::try_from(period).ok())
                    .filter(|period| *period > 0)
                    .unwrap_or(PERIOD_US);
                let quota = u64::try_from(quota).ok();
                Some((quota.map(|quota| quota as f64 / period as f64), period))
            }
            Version::Two => {
                let text = fs::read_to_string(folder.join("cpu.max")).ok()?;
                let mut parts = text.split_whitespace();
                let quota = parts.next()?.parse::<u64>().ok();
                let period = parts.next().and_then(|period| period.parse::<u64>().ok());
                let period = period.filter(|period| *period > 0).unwrap_or(PERIOD_US);
                Some((quota.map(|quota| quota as f64 / period as f64), period))
            }
        }
    }

    /// How it can be held back to so many CPUs. Its own limit counts as one that is lower already, unless it is `ours`, the
    /// one that was written for the same purpose.
    ///
    /// # Errors
    /// It must not or cannot be.
    pub fn change(&self, cpus: f64, ours: Option<&str>) -> Result<Change, Refusal> {
        if self.is_root() {
            return Err(Refusal::Root);
        }
        let folder = self.folder();
        let Some((limit, period)) = self.limit_at(&folder) else {
            return Err(Refusal::NoController(self.name()));
        };
        let file = folder.join(self.file_name());
        let before = fs::read_to_string(&file).map_err(|error| Refusal::Unreadable {
            file: file.display().to_string(),
            error: error.to_string(),
        })?;
        let before = before.trim().to_owned();
        if let Some(limit) = limit.filter(|limit| *limit <= cpus && ours != Some(&before)) {
            return Err(Refusal::OwnLimit(limit));
        }
        let mut around = self.path.as_path();
        while let Some(parent) = around.parent() {
            around = parent;
            let limit = self.limit_at(&self.mount.join(parent));
            let lower = limit.and_then(|(limit, _)| limit);
            if let Some(limit) = lower.filter(|limit| *limit <= cpus) {
                return Err(Refusal::ParentLimit {
                    group: format!("/{}", parent.display()),
                    cpus: limit,
                });
            }
        }
        let quota = ((cpus * period as f64).round() as u64).max(MIN_QUOTA_US);
        let after = match self.version {
            Version::One => quota.to_string(),
            Version::Two => format!("{quota} {period}"),
        };
        Ok(Change {
            file,
            before,
            after,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Version 2: /shop has a limit of half a CPU, /shop/hog none, /batch none.
    fn version_2() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (group, max, procs) in [
            ("", None, ""),
            ("shop/", Some("50000 100000\n"), ""),
            ("shop/hog/", Some("max 100000\n"), "70\n"),
            ("batch/", Some("max 250000\n"), "80\n"),
            ("batch/inner/", Some("max 100000\n"), "81\n82\n"),
            ("bare/", None, ""),
        ] {
            put(
                root.path(),
                &format!("sys/fs/cgroup/{group}cgroup.procs"),
                procs,
            );
            if let Some(max) = max {
                put(root.path(), &format!("sys/fs/cgroup/{group}cpu.max"), max);
            }
        }
        for (tgid, path) in [(70, "/shop/hog"), (80, "/batch"), (1, "/"), (9, "/bare")] {
            put(
                root.path(),
                &format!("proc/{tgid}/cgroup"),
                &format!("0::{path}\n"),
            );
        }
        root
    }

    #[test]
    fn a_limit_is_written_in_the_groups_own_period() {
        let root = version_2();
        let group = group_of(root.path(), 80).unwrap();
        let change = group.change(0.1, None).unwrap();
        assert_eq!(change.before, "max 250000");
        assert_eq!(change.after, "25000 250000");
        assert!(change.file.ends_with("batch/cpu.max"));
        // The least that the kernel takes.
        let root = version_2();
        let group = group_at(root.path(), "/shop/hog").unwrap();
        assert_eq!(group.change(0.001, None).unwrap().after, "1000 100000");
    }

    #[test]
    fn what_must_not_be_held_back_is_refused_with_its_reason() {
        let root = version_2();
        let of = |tgid, cpus, ours| {
            let group = group_of(root.path(), tgid).unwrap();
            group.change(cpus, ours).map(|change| change.after)
        };
        assert_eq!(of(1, 0.1, None), Err(Refusal::Root));
        assert_eq!(
            of(9, 0.1, None),
            Err(Refusal::NoController("/bare".to_owned()))
        );
        let around = of(70, 0.6, None).unwrap_err();
        assert!(around.to_string().contains("/shop around it"), "{around}");
        assert_eq!(of(70, 0.4, None).unwrap(), "40000 100000");
        put(root.path(), "sys/fs/cgroup/batch/cpu.max", "20000 250000\n");
        assert_eq!(of(80, 0.1, None), Err(Refusal::OwnLimit(0.08)));
        // What we have written ourselves may be raised.
        assert_eq!(of(80, 0.1, Some("20000 250000")).unwrap(), "25000 250000");
        assert_eq!(group_of(root.path(), 12345), None);
    }

    #[test]
    fn version_1_has_its_limit_in_two_files() {
        let root = tempfile::tempdir().unwrap();
        put(
            root.path(),
            "proc/7/cgroup",
            "3:cpu,cpuacct:/a\n1:name=systemd:/x\n0::/y\n",
        );
        put(root.path(), "sys/fs/cgroup/unified/y/cgroup.procs", "7\n");
        let base = "sys/fs/cgroup/cpu,cpuacct";
        put(root.path(), &format!("{base}/cpu.cfs_quota_us"), "-1\n");
        put(root.path(), &format!("{base}/a/cgroup.procs"), "7\n");
        put(root.path(), &format!("{base}/a/cpu.cfs_quota_us"), "-1\n");
        put(
            root.path(),
            &format!("{base}/a/cpu.cfs_period_us"),
            "100000\n",
        );
        let group = group_of(root.path(), 7).unwrap();
        assert_eq!(group.name(), "/a");
        let change = group.change(0.25, None).unwrap();
        assert_eq!((&*change.before, &*change.after), ("-1", "25000"));
        assert_eq!(Some(group), group_at(root.path(), "a"));
    }

    #[test]
    fn a_group_holds_itself_what_lies_in_it_and_their_processes() {
        let root = version_2();
        let at = |path| group_at(root.path(), path).unwrap();
        let (batch, inner, hog) = (at("/batch"), at("/batch/inner"), at("/shop/hog"));
        assert!(batch.holds(&inner) && batch.holds(&batch));
        assert!(!inner.holds(&batch) && !batch.holds(&hog));
        let mut processes = batch.processes();
        processes.sort_unstable();
        assert_eq!(processes, [80, 81, 82]);
        assert_eq!(group_at(root.path(), "/../batch"), None);
        assert_eq!(group_at(root.path(), "/none"), None);
    }
}
