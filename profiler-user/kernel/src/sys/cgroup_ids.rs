//! Control groups by their number: for processes that are gone before anybody could ask /proc about them.
//!
//! In: the mount table and the tree of control groups (version 2). Out: the path of a number.
//! Must not know: processes, what a path means.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::DirEntryExt as _,
    path::{Path, PathBuf},
};

/// Directories looked at in one walk, and numbers remembered.
const MOST: usize = 1 << 16;

/// Paths of control groups, learned by walks over the tree. A number is the inode of its directory.
#[derive(Debug)]
pub struct CgroupIds {
    root: PathBuf,
    /// `None`: it was not there at the last walk.
    known: HashMap<u64, Option<String>>,
}

impl CgroupIds {
    /// Nothing known yet.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            known: HashMap::new(),
        }
    }

    /// Paths below the hierarchy's root of as many of these as there are. The tree is walked once if any is new.
    pub fn learn(&mut self, ids: impl Iterator<Item = u64>) {
        let new: Vec<u64> = ids.filter(|id| !self.known.contains_key(id)).collect();
        if new.is_empty() {
            return;
        }
        if self.known.len() > MOST {
            self.known.clear();
        }
        for (id, path) in self.walk() {
            self.known.insert(id, Some(path));
        }
        for id in new {
            self.known.entry(id).or_insert(None);
        }
    }

    /// The path of a number that was learned.
    #[must_use]
    pub fn path(&self, id: u64) -> Option<&str> {
        self.known.get(&id)?.as_deref()
    }

    fn walk(&self) -> Vec<(u64, String)> {
        let Some(mount) = self.mount() else {
            return Vec::new();
        };
        let mut found = Vec::new();
        let mut open = vec![(mount, String::new())];
        while let Some((dir, path)) = open.pop() {
            let entries = fs::read_dir(&dir).into_iter().flatten().flatten();
            for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
                if found.len() >= MOST {
                    return found;
                }
                let path = format!("{path}/{}", entry.file_name().to_string_lossy());
                open.push((entry.path(), path.clone()));
                found.push((entry.ino(), path));
            }
        }
        found
    }

    /// Where the tree of version 2 is.
    fn mount(&self) -> Option<PathBuf> {
        let mounts = fs::read_to_string(self.root.join("proc/self/mounts")).ok()?;
        let at = mounts.lines().find_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let path = fields.next()?;
            (fields.next()? == "cgroup2").then_some(path)
        })?;
        Some(self.root.join(at.trim_start_matches('/')))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn a_number_leads_to_its_path_even_after_it_is_gone() {
        let root = tempfile::tempdir().unwrap();
        let tree = root.path().join("sys/fs/cgroup");
        fs::create_dir_all(tree.join("shop/web")).unwrap();
        fs::create_dir_all(root.path().join("proc/self")).unwrap();
        let id = fs::metadata(tree.join("shop/web")).unwrap().ino();
        let mut ids = CgroupIds::new(root.path());
        ids.learn([1].into_iter());
        assert_eq!(ids.path(id), None);
        let mounts = "proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n";
        fs::write(root.path().join("proc/self/mounts"), mounts).unwrap();
        ids.learn([1, id].into_iter());
        assert_eq!(ids.path(id), Some("/shop/web"));
        assert_eq!(ids.path(1), None);
        fs::remove_dir_all(tree).unwrap();
        ids.learn([2].into_iter());
        assert_eq!(ids.path(id), Some("/shop/web"));
    }
}
