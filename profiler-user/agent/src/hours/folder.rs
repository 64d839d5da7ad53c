//! Folders below the one that was asked for, and the files in them.
//!
//! In: a path, names. Out: folders that stay the same ones whatever becomes of their names, files under other names until they
//! are whole. No link below the first folder is followed. Must not know: what is written.

use std::{
    ffi::OsStr,
    fs::File,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use rustix::{
    fs::{AtFlags, Dir, FlockOperation, Mode, OFlags},
    io::Errno,
};

use crate::keeper::no_replace;

const SEARCHABLE: Mode = Mode::from_raw_mode(0o777);
const READABLE: Mode = Mode::from_raw_mode(0o666);
/// What a file is called that is not whole begins with this,
const PART: &str = ".courtside-";
/// and ends with this.
const PART_END: &str = ".part";

/// A folder.
#[derive(Debug)]
pub(super) struct Folder {
    fd: OwnedFd,
    path: PathBuf,
}

impl Folder {
    /// This one, made if it is not there.
    pub(super) fn make(path: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(path)?;
        let fd = rustix::fs::open(path, flags(OFlags::empty()), Mode::empty())?;
        let path = path.to_owned();
        Ok(Self { fd, path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What something in it is called.
    pub(super) fn shown(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }

    /// A folder in it, made if it is not there.
    pub(super) fn sub(&self, name: &str) -> anyhow::Result<Self> {
        let cannot = || format!("cannot open the folder {}", self.shown(name));
        match rustix::fs::mkdirat(&self.fd, name, SEARCHABLE) {
            Err(error) if error != Errno::EXIST => {
                return Err(error).context(format!("cannot make the folder {}", self.shown(name)));
            }
            _ => {}
        }
        let fd = rustix::fs::openat(&self.fd, name, flags(OFlags::NOFOLLOW), Mode::empty());
        Ok(Self {
            fd: fd.with_context(cannot)?,
            path: self.path.join(name),
        })
    }

    /// A folder in it that nobody else writes to meanwhile.
    pub(super) fn claim(&self, name: &str) -> anyhow::Result<Claimed> {
        let folder = self.sub(name)?;
        let locked = rustix::fs::flock(&folder.fd, FlockOperation::NonBlockingLockExclusive);
        match locked {
            Ok(()) => Ok(Claimed {
                folder,
                is_ours_alone: true,
            }),
            Err(Errno::WOULDBLOCK) => bail!(
                "another courtside writes to {}: give a name of its own with --host, or end the other one",
                folder.path.display()
            ),
            // Not every file system can.
            Err(_) => Ok(Claimed {
                folder,
                is_ours_alone: false,
            }),
        }
    }

    fn names(&self) -> anyhow::Result<Vec<String>> {
        let cannot = || format!("cannot read the folder {}", self.path.display());
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.fd).with_context(cannot)? {
            let entry = entry.with_context(cannot)?;
            if let Ok(name) = entry.file_name().to_str() {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// Removes what somebody left who was killed.
    pub(super) fn sweep(&self) {
        let names = self.names().unwrap_or_default();
        let is_part = |name: &&String| name.starts_with(PART) && name.ends_with(PART_END);
        names
            .iter()
            .filter(is_part)
            .for_each(|name| self.remove(name));
    }

    /// The number after all that files here are named after.
    pub(super) fn next_number(&self) -> anyhow::Result<u64> {
        let last = |name: &String| {
            let (_, last) = name.strip_suffix(".parquet")?.rsplit_once('-')?;
            last.parse::<u64>().ok()
        };
        let last = self.names()?.iter().filter_map(last).max();
        Ok(last.map_or(0, |last| last.saturating_add(1)))
    }

    /// Begins a file, and says what it is called until it is whole.
    pub(super) fn part(&self, table: &str) -> anyhow::Result<(String, File)> {
        let name = format!("{PART}{}-{table}{PART_END}", std::process::id());
        let how = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let create = || rustix::fs::openat(&self.fd, name.as_str(), how, READABLE);
        let created = match create() {
            // Of somebody who was killed, and had our number.
            Err(Errno::EXIST) => {
                self.remove(&name);
                create()
            }
            created => created,
        };
        let file = created.with_context(|| format!("cannot create {}", self.shown(&name)))?;
        Ok((name, File::from(file)))
    }

    /// Gives a file its name, which nothing has yet.
    pub(super) fn name(&self, part: &str, name: &str) -> anyhow::Result<()> {
        no_replace(self.fd.as_fd(), OsStr::new(part), OsStr::new(name))
            .with_context(|| format!("cannot create {}", self.shown(name)))
    }

    pub(super) fn remove(&self, name: &str) {
        // A file that stays does no harm.
        let _ = rustix::fs::unlinkat(&self.fd, name, AtFlags::empty());
    }

    /// The names in it are on the disk.
    pub(super) fn sync(&self) -> anyhow::Result<()> {
        match rustix::fs::fsync(&self.fd) {
            // Not every file system can, and what is whole is there already.
            Err(Errno::INVAL | Errno::NOSYS | Errno::BADF) | Ok(()) => Ok(()),
            Err(error) => {
                Err(error).with_context(|| format!("cannot write to {}", self.path.display()))
            }
        }
    }
}

fn flags(more: OFlags) -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | more
}

/// A folder that is ours until this is dropped.
#[derive(Debug)]
pub(super) struct Claimed {
    folder: Folder,
    is_ours_alone: bool,
}

impl Claimed {
    pub(super) fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Whether it is known that nobody else writes to it.
    pub(super) fn is_ours_alone(&self) -> bool {
        self.is_ours_alone
    }

    /// Whether it was not removed meanwhile.
    pub(super) fn is_there(&self) -> bool {
        rustix::fs::fstat(&self.folder.fd).is_ok_and(|stat| stat.st_nlink > 0)
    }
}
