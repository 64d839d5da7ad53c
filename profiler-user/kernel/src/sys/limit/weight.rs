//! How a control group is made to give way: it keeps all CPU time that nobody else wants.
//!
//! In: files of control groups, version 1 and 2. Out: a [`Change`], or a [`Refusal`] with its reason. Must not know: why a group
//! is to give way. It writes nothing.

use std::{fs, path::Path};

use super::{Change, Group, Refusal, Version};

/// What the kernel gives to a new group, and the least that it takes, as `cpu.weight`.
const WEIGHTS: (u64, u64) = (100, 1);
/// The same as `cpu.shares`.
const SHARES: (u64, u64) = (1024, 2);
/// Whether everybody else beside it comes first.
const IDLE: &str = "cpu.idle";

impl Group {
    /// How it can be made to give way: `cpu.idle` where the kernel has it (Linux 5.15), else the least weight. Who is idle is
    /// also taken off a CPU at once when somebody else wakes up there.
    ///
    /// Both count only among what lies directly in the group around it. So `to`, if there is one, has to be in that group, too.
    ///
    /// # Errors
    /// It must not or cannot be.
    pub fn give_way(&self, to: Option<&Self>) -> Result<Change, Refusal> {
        let Some(around) = self.path.parent() else {
            return Err(Refusal::Root);
        };
        let around = Self {
            path: around.to_owned(),
            ..self.clone()
        };
        if let Some(apart) = to.filter(|to| !around.holds(to)) {
            return Err(Refusal::Apart {
                group: self.name(),
                other: apart.name(),
            });
        }
        let (name, (usual, least)) = match self.version {
            Version::One => ("cpu.shares", SHARES),
            Version::Two => ("cpu.weight", WEIGHTS),
        };
        let folder = self.folder();
        let Some(weight) = number(&folder.join(name)) else {
            return Err(Refusal::NoController(self.name()));
        };
        let change = |name: &str, before: u64, after: u64| Change {
            file: folder.join(name),
            before: before.to_string(),
            after: after.to_string(),
        };
        match number(&folder.join(IDLE)) {
            // A group that is no longer idle has the usual weight, whatever it had before.
            Some(0) if weight == usual => Ok(change(IDLE, 0, 1)),
            Some(0) | None if weight > least => Ok(change(name, weight, least)),
            _ => Err(Refusal::GivesWay(self.name())),
        }
    }

    /// Whether it is of version 2.
    #[must_use]
    pub fn is_unified(&self) -> bool {
        self.version == Version::Two
    }
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::group_at;
    use super::*;

    fn put(root: &Path, path: &str, text: &str) {
        let path = root.join("sys/fs/cgroup").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Of version 2: /a and /b beside each other, /a/in in one of them.
    fn host() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "cgroup.procs", "");
        for group in ["a", "a/in", "b"] {
            for (file, text) in [
                ("cgroup.procs", ""),
                ("cpu.max", "max 100000\n"),
                ("cpu.weight", "100\n"),
                ("cpu.idle", "0\n"),
            ] {
                put(root.path(), &format!("{group}/{file}"), text);
            }
        }
        root
    }

    fn way(root: &Path, group: &str, to: Option<&str>) -> Result<(String, String, String), String> {
        let at = |path| group_at(root, path).unwrap();
        let change = at(group).give_way(to.map(at).as_ref());
        let change = change.map_err(|refusal| refusal.to_string())?;
        let name = change.file.file_name().unwrap().to_str().unwrap();
        Ok((name.to_owned(), change.before, change.after))
    }

    fn change(file: &str, before: &str, after: &str) -> Result<(String, String, String), String> {
        Ok((file.to_owned(), before.to_owned(), after.to_owned()))
    }

    #[test]
    fn it_is_idle_where_the_kernel_has_that_and_no_weight_is_forgotten() {
        let host = host();
        let root = host.path();
        assert_eq!(way(root, "a", Some("b")), change("cpu.idle", "0", "1"));
        put(root, "a/cpu.weight", "250\n");
        assert_eq!(way(root, "a", Some("b")), change("cpu.weight", "250", "1"));
        fs::remove_file(root.join("sys/fs/cgroup/b/cpu.idle")).unwrap();
        assert_eq!(way(root, "b", Some("a")), change("cpu.weight", "100", "1"));
    }

    #[test]
    fn weights_count_only_among_neighbours_in_one_group() {
        let host = host();
        let root = host.path();
        assert!(
            way(root, "a", Some("/")).is_ok(),
            "processes of the root are beside it"
        );
        assert!(way(root, "b", Some("a/in")).is_ok());
        let said = way(root, "a/in", Some("b")).unwrap_err();
        assert!(said.contains("/b is outside of the group"), "{said}");
        assert!(way(root, "a/in", Some("a")).is_ok());
    }

    #[test]
    fn who_gives_way_already_or_cannot_is_refused() {
        let host = host();
        let root = host.path();
        put(root, "a/cpu.idle", "1\n");
        put(root, "a/cpu.weight", "0\n");
        put(root, "b/cpu.weight", "1\n");
        for group in ["a", "b"] {
            let said = way(root, group, None).unwrap_err();
            assert!(said.contains("gives way already"), "{said}");
        }
        assert!(way(root, "/", None).unwrap_err().contains("root"));
        fs::remove_file(root.join("sys/fs/cgroup/b/cpu.weight")).unwrap();
        assert!(way(root, "b", None).unwrap_err().contains("no limit"));
    }

    #[test]
    fn version_1_has_shares() {
        let root = tempfile::tempdir().unwrap();
        for (file, text) in [
            ("cgroup.procs", ""),
            ("cpu.cfs_quota_us", "-1\n"),
            ("cpu.shares", "2048\n"),
            ("cpu.idle", "0\n"),
        ] {
            put(root.path(), &format!("cpu/a/{file}"), text);
        }
        let root = root.path();
        assert_eq!(way(root, "a", None), change("cpu.shares", "2048", "2"));
        put(root, "cpu/a/cpu.shares", "1024\n");
        assert_eq!(way(root, "a", None), change("cpu.idle", "0", "1"));
        assert!(!group_at(root, "a").unwrap().is_unified());
    }
}
