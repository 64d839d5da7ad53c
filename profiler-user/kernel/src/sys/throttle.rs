//! How long CPU quotas held processes back.
//!
//! In: `/proc/TGID/cgroup` and `cpu.stat` of control groups below a root, version 1 and 2. Out: a time. Must not know: what
//! the processes do.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Control groups that are watched at most, with those that they lie in.
const MOST: usize = 256;
/// The first control group namespace, in which no control group is out of sight.
const FIRST_NAMESPACE: &str = "cgroup:[4026531835]";

/// Watches the control groups of this process and of others.
#[derive(Clone, Debug)]
pub struct Throttled {
    root: PathBuf,
    /// What each said first, and last.
    seen: BTreeMap<PathBuf, (u64, u64)>,
    /// Every control group of a process was seen, and none of them can have a quota.
    none_can: bool,
}

impl Throttled {
    /// Begins now, with those of this process.
    #[must_use]
    pub fn begin(root: &Path) -> Self {
        let namespace = fs::read_link(root.join("proc/self/ns/cgroup"));
        let mut watched = Self {
            root: root.to_owned(),
            seen: BTreeMap::new(),
            none_can: namespace.is_ok_and(|name| name == Path::new(FIRST_NAMESPACE)),
        };
        watched.look_at("self");
        watched
    }

    /// Looks at all, and at those of this process, too; what held it back before it was first looked at is not seen.
    pub fn look(&mut self, tgid: u32) {
        self.look_at(&tgid.to_string());
    }

    fn look_at(&mut self, process: &str) {
        let text = fs::read_to_string(self.root.join("proc").join(process).join("cgroup"));
        // A process that is gone was seen before, or has hardly run.
        let files = text.map(|text| cpu_stats(&self.root, &text)).ok();
        self.none_can &= files.as_ref().is_none_or(|files| !files.is_empty());
        for file in files.into_iter().flatten() {
            if self.seen.len() < MOST && !self.seen.contains_key(&file) {
                let said = fs::read_to_string(&file).ok();
                if let Some(ns) = said.and_then(|text| throttled_ns(&text)) {
                    self.seen.insert(file, (ns, ns));
                }
            }
        }
        self.read();
    }

    fn read(&mut self) {
        for (file, (_, last)) in &mut self.seen {
            let said = fs::read_to_string(file).ok();
            // What is gone has said its last.
            *last = said
                .and_then(|text| throttled_ns(&text))
                .unwrap_or(*last)
                .max(*last);
        }
    }

    /// For how long threads were held back since the begin: of control groups that lie in each other the one that says
    /// most. `None` if none of them says.
    #[must_use]
    pub fn end(mut self) -> Option<u64> {
        self.read();
        let each = self
            .seen
            .values()
            .map(|(first, last)| last.saturating_sub(*first));
        each.max().or_else(|| self.none_can.then_some(0))
    }
}

/// The files that tell about the control groups in this text, and about those that they lie in.
fn cpu_stats(root: &Path, text: &str) -> Vec<PathBuf> {
    let base = root.join("sys/fs/cgroup");
    let mut files = Vec::new();
    for line in text.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let mounts = match controllers {
            "" => vec![base.clone(), base.join("unified")],
            names if names.split(',').any(|name| name == "cpu") => {
                vec![base.join(names), base.join("cpu")]
            }
            _ => continue,
        };
        let path = Path::new(path.trim_start_matches('/'));
        let leads_out = path.components().any(|part| part.as_os_str() == "..");
        for mount in mounts.iter().filter(|_| !leads_out) {
            let levels = path
                .ancestors()
                .map(|level| mount.join(level).join("cpu.stat"));
            files.extend(levels.filter(|file| file.is_file()));
        }
    }
    files
}

/// `throttled_usec` of version 2, `throttled_time` of version 1.
fn throttled_ns(text: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        let unit = match name {
            "throttled_usec" => 1000,
            "throttled_time" => 1,
            _ => return None,
        };
        value.trim().parse::<u64>().ok()?.checked_mul(unit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn a_quota_around_a_group_counts_and_so_does_one_moved_into_later() {
        let host = tempfile::tempdir().unwrap();
        let root = host.path();
        put(root, "proc/self/cgroup", "0::/shop/web\n");
        put(root, "proc/7/cgroup", "0::/other\n");
        let stat = |usec: u64| format!("usage_usec 5\nthrottled_usec {usec}\n");
        put(root, "sys/fs/cgroup/cpu.stat", "usage_usec 5\n");
        put(root, "sys/fs/cgroup/shop/cpu.stat", &stat(100));
        put(root, "sys/fs/cgroup/shop/web/cpu.stat", &stat(0));
        put(root, "sys/fs/cgroup/other/cpu.stat", &stat(1000));
        let mut watched = Throttled::begin(root);
        put(root, "sys/fs/cgroup/shop/cpu.stat", &stat(150));
        assert_eq!(watched.clone().end(), Some(50_000));
        watched.look(7);
        put(root, "sys/fs/cgroup/other/cpu.stat", &stat(1200));
        watched.look(8);
        assert_eq!(watched.end(), Some(200_000));
    }

    #[test]
    fn version_1_counts_nanoseconds_and_where_nobody_says_nothing_is_known() {
        let host = tempfile::tempdir().unwrap();
        let root = host.path();
        assert_eq!(Throttled::begin(root).end(), None);
        put(
            root,
            "proc/self/cgroup",
            "4:cpu,cpuacct:/a\n1:name=systemd:/x\n",
        );
        let file = "sys/fs/cgroup/cpu,cpuacct/a/cpu.stat";
        put(root, file, "nr_throttled 1\nthrottled_time 70\n");
        let watched = Throttled::begin(root);
        put(root, file, "nr_throttled 2\nthrottled_time 100\n");
        assert_eq!(watched.end(), Some(30));
        put(root, "proc/self/cgroup", "0::/../../out\n");
        assert_eq!(Throttled::begin(root).end(), None);
    }

    #[test]
    fn a_group_without_the_controller_in_the_first_namespace_has_no_quota() {
        let host = tempfile::tempdir().unwrap();
        let root = host.path();
        put(root, "proc/self/cgroup", "0::/\n");
        put(root, "sys/fs/cgroup/cpu.stat", "usage_usec 5\n");
        assert_eq!(Throttled::begin(root).end(), None);
        fs::create_dir_all(root.join("proc/self/ns")).unwrap();
        std::os::unix::fs::symlink(FIRST_NAMESPACE, root.join("proc/self/ns/cgroup")).unwrap();
        assert_eq!(Throttled::begin(root).end(), Some(0));
    }
}
