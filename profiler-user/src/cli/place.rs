//! Where files go: what is made is written beside, under another name, and put in place when it is whole.
//!
//! In: a path, and the files that are read meanwhile. Out: something to write to; a file in its place, or an error that
//! says why it may not go there. What is read is never written over, whatever it is called, and no symbolic link is
//! followed: it could lead a privileged user anywhere. Must not know: what is in the files.

use courtside_agent::keeper::{folder_of, no_replace};
use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context, bail, ensure};
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, Stat},
    io::Errno,
    process::{Gid, Uid},
};

use crate::record;

/// Readable by everyone whom the user allows (`umask`).
pub(super) const READABLE: u32 = 0o666;
/// What its owner may read.
pub(super) const PRIVATE: u32 = 0o600;

/// Files that are read, whatever their names.
#[derive(Clone, Debug, Default)]
pub(super) struct Inputs {
    recordings: Vec<(u64, u64)>,
    others: Vec<(u64, u64)>,
}

impl Inputs {
    /// Those of a recording: one file, or two.
    pub(super) fn of_recording(path: &Path) -> Self {
        let files = [path.to_owned(), record::other_part(path)];
        let ids = files.iter().filter_map(|path| rustix::fs::stat(path).ok());
        Self {
            recordings: ids.map(|stat| id(&stat)).collect(),
            others: Vec::new(),
        }
    }

    /// That of any other file.
    pub(super) fn of_file(path: &Path) -> Self {
        let stat = rustix::fs::stat(path).ok();
        Self {
            recordings: Vec::new(),
            others: stat.iter().map(id).collect(),
        }
    }

    /// These and others.
    pub(super) fn and(mut self, others: Self) -> Self {
        self.recordings.extend(others.recordings);
        self.others.extend(others.others);
        self
    }

    fn check(&self, stat: &Stat, path: &Path) -> anyhow::Result<()> {
        ensure!(
            !self.recordings.contains(&id(stat)),
            "{} is the recording that is read; give another name with: -o",
            path.display()
        );
        ensure!(
            !self.others.contains(&id(stat)),
            "{} is a file that is read; give another name with: -o",
            path.display()
        );
        Ok(())
    }
}

#[expect(
    clippy::useless_conversion,
    reason = "these are of other types elsewhere"
)]
fn id(stat: &Stat) -> (u64, u64) {
    (u64::from(stat.st_dev), u64::from(stat.st_ino))
}

/// What an output is.
#[derive(Debug)]
pub(super) enum Place {
    Stdout,
    /// A pipe, a terminal or a device, or a file that somebody else has opened for us: there is nothing to put in place.
    Through(File),
    Beside(NewFile),
}

impl Place {
    /// Opens it, so that what cannot be written is known before there is anything to write.
    pub(super) fn open(path: &Path, mode: u32, inputs: &Inputs) -> anyhow::Result<Self> {
        if let Some(number) = own_descriptor(path) {
            // SAFETY: the descriptor is only borrowed to be copied; if there is none of this number, the kernel says so.
            let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
            let copied = rustix::fs::fstat(borrowed)
                .and_then(|stat| Ok((stat, rustix::io::fcntl_dupfd_cloexec(borrowed, 3)?)));
            let (stat, copy) =
                copied.with_context(|| format!("cannot write to {}", path.display()))?;
            inputs.check(&stat, path)?;
            return Ok(match number {
                1 => Self::Stdout,
                _ => Self::Through(File::from(copy)),
            });
        }
        let name = path
            .file_name()
            .with_context(|| format!("cannot write to {}: it is a folder", path.display()))?;
        let folder = Folder::open(&folder_of(path))
            .with_context(|| format!("cannot write to {}", path.display()))?;
        folder.begin(name, mode, inputs)
    }

    /// As something to write to, and what is to be put in place afterwards.
    pub(super) fn into_file(self) -> anyhow::Result<(File, Option<NewFile>)> {
        Ok(match self {
            Self::Stdout => {
                let stdout = rustix::io::fcntl_dupfd_cloexec(std::io::stdout().as_fd(), 3);
                (File::from(stdout.context("cannot write to stdout")?), None)
            }
            Self::Through(file) => (file, None),
            Self::Beside(new) => (new.file.try_clone()?, Some(new)),
        })
    }
}

/// Which of our own descriptors this names. Such names are symbolic links, but to what is open already.
fn own_descriptor(path: &Path) -> Option<RawFd> {
    let number = match path.to_str()? {
        "-" | "/dev/stdout" => return Some(1),
        "/dev/stderr" => return Some(2),
        path => path
            .strip_prefix("/dev/fd/")
            .or_else(|| path.strip_prefix("/proc/self/fd/"))?,
    };
    let number: u16 = number.parse().ok()?;
    Some(number.into())
}

/// A folder that stays the same one, whatever becomes of its name.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    fd: Arc<OwnedFd>,
    path: PathBuf,
}

impl Folder {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        Self::open_with(path, OFlags::empty())
    }

    fn open_with(path: &Path, more: OFlags) -> anyhow::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | more;
        let fd = Arc::new(rustix::fs::open(path, flags, Mode::empty())?);
        let path = path.to_owned();
        Ok(Self { fd, path })
    }

    /// Makes it, if it is not there.
    pub(super) fn make(path: &Path) -> anyhow::Result<Self> {
        // Without a slash at its end, which would follow a link.
        let path: &Path = &path.components().collect::<PathBuf>();
        let found = fs::symlink_metadata(path).ok();
        if found.as_ref().is_some_and(fs::Metadata::is_symlink) {
            bail!("{}", refused_link(path));
        }
        ensure!(
            found.is_none_or(|found| found.is_dir()),
            "cannot make the folder {}: there is a file of that name; give another name with: -o",
            path.display()
        );
        fs::create_dir_all(path)
            .map_err(anyhow::Error::from)
            .and_then(|()| Self::open_with(path, OFlags::NOFOLLOW))
            .with_context(|| format!("cannot make the folder {}", path.display()))
    }

    pub(super) fn as_file(&self) -> std::io::Result<File> {
        Ok(File::from(self.fd.try_clone()?))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Begins a file of this name, or opens what is there if it is no file that could be replaced.
    pub(super) fn begin(&self, name: &OsStr, mode: u32, inputs: &Inputs) -> anyhow::Result<Place> {
        let path = self.shown(name);
        let cannot = || format!("cannot write to {}", path.display());
        let nothing_else = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
        let mut old = None;
        if let Some(stat) = self.stat(name).with_context(cannot)? {
            let kind = FileType::from_raw_mode(stat.st_mode);
            match kind {
                FileType::Symlink => bail!("{}", refused_link(&path)),
                FileType::BlockDevice => {
                    bail!("{} is a disk; give a name with: -o", path.display())
                }
                _ => {}
            }
            inputs.check(&stat, &path)?;
            // Who may not write into it may not replace it, either.
            let opened = rustix::fs::openat(&self.fd, name, nothing_else, Mode::empty());
            let opened = File::from(opened.with_context(cannot)?);
            let found = rustix::fs::fstat(&opened).with_context(cannot)?;
            ensure!(
                id(&found) == id(&stat),
                "{} became another file just now; try again",
                path.display()
            );
            if kind != FileType::RegularFile {
                return Ok(Place::Through(opened));
            }
            old = Some(stat);
        }
        let (temporary, file) = self.temporary(mode).with_context(cannot)?;
        let new = NewFile {
            folder: self.clone(),
            name: name.to_owned(),
            temporary: Some(temporary),
            file,
            inputs: inputs.clone(),
        };
        // It stays whose it was, where that is permitted; what is private is ours, whoever put a file there before.
        if let Some(old) = old.filter(|_| mode != PRIVATE) {
            let (user, group) = (Uid::from_raw(old.st_uid), Gid::from_raw(old.st_gid));
            let _ = rustix::fs::fchown(&new.file, Some(user), Some(group));
            let kept = rustix::fs::fchmod(&new.file, Mode::from_raw_mode(old.st_mode & 0o777));
            kept.with_context(cannot)?;
        }
        Ok(Place::Beside(new))
    }

    /// Begins a file that is not to replace any. `NewFile::place_new` gives it its name.
    pub(super) fn begin_new(&self, mode: u32) -> anyhow::Result<NewFile> {
        let (temporary, file) = self
            .temporary(mode)
            .with_context(|| format!("cannot create a file in {}", self.path.display()))?;
        Ok(NewFile {
            folder: self.clone(),
            name: OsString::new(),
            temporary: Some(temporary),
            file,
            inputs: Inputs::default(),
        })
    }

    /// Creates a file in its place; no file has this name yet.
    pub(super) fn create_new(&self, name: &OsStr, mode: u32) -> std::io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(mode);
        Ok(rustix::fs::openat(&self.fd, name, flags, mode)?.into())
    }

    /// Gives a file in it to the user who came by `sudo`, if the folder is that user's: a recording is looked at without.
    pub(super) fn give_to_sudo_user(&self, file: &File) {
        let number = |name| std::env::var(name).ok()?.parse::<u32>().ok();
        let (Some(user), Some(group)) = (number("SUDO_UID"), number("SUDO_GID")) else {
            return;
        };
        let owner = rustix::fs::fstat(&self.fd).map(|stat| stat.st_uid);
        if rustix::process::geteuid().is_root() && owner == Ok(user) {
            let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
            // Where it cannot be given away it stays root's.
            let _ = rustix::fs::fchown(file, Some(user), Some(group));
        }
    }

    pub(super) fn remove(&self, name: &OsStr) {
        // A file that stays does no harm.
        let _ = rustix::fs::unlinkat(&self.fd, name, AtFlags::empty());
    }

    fn temporary(&self, mode: u32) -> std::io::Result<(OsString, File)> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let tgid = std::process::id();
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let name = OsString::from(format!(".courtside-{tgid}-{number}.part"));
            match self.create_new(&name, mode) {
                Ok(file) => return Ok((name, file)),
                // Left by somebody who was killed.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// What is there under this name, a link as such.
    fn stat(&self, name: &OsStr) -> rustix::io::Result<Option<Stat>> {
        match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn shown(&self, name: &OsStr) -> PathBuf {
        if self.path == Path::new(".") {
            return PathBuf::from(name);
        }
        self.path.join(name)
    }
}

/// Why nothing is written to a link.
pub(super) fn refused_link(path: &Path) -> String {
    format!(
        "{} is a symbolic link, and links are not followed; give the name of the file it leads to, or remove it",
        path.display()
    )
}

/// A file that is not in its place yet. Dropped before, it is gone.
#[derive(Debug)]
pub(super) struct NewFile {
    folder: Folder,
    name: OsString,
    /// What it is called until then.
    temporary: Option<OsString>,
    file: File,
    inputs: Inputs,
}

impl NewFile {
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Puts it in its place, and what was there is gone. Nothing happens the second time.
    pub(super) fn place(&mut self) -> anyhow::Result<()> {
        let Some(temporary) = &self.temporary else {
            return Ok(());
        };
        let path = self.folder.shown(&self.name);
        let cannot = || format!("cannot write to {}", path.display());
        if let Some(stat) = self.folder.stat(&self.name).with_context(cannot)? {
            self.inputs.check(&stat, &path)?;
        }
        let fd = &self.folder.fd;
        rustix::fs::renameat(fd, temporary, fd, &self.name).with_context(cannot)?;
        self.temporary = None;
        Ok(())
    }

    /// Puts it in place under the first of these names that nothing has; says which.
    pub(super) fn place_new(
        mut self,
        names: impl IntoIterator<Item = String>,
    ) -> anyhow::Result<String> {
        let Some(temporary) = &self.temporary else {
            bail!("it has a name already");
        };
        let fd = &self.folder.fd;
        let mut last = String::new();
        for name in names {
            match no_replace(fd.as_fd(), temporary, OsStr::new(&name)) {
                Ok(()) => {
                    self.temporary = None;
                    return Ok(name);
                }
                Err(Errno::EXIST) => last = name,
                Err(error) => return Err(error).with_context(|| format!("cannot create {name}")),
            }
        }
        bail!("cannot create {last}: there is a file of that name")
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some(temporary) = self.temporary.take() {
            self.folder.remove(&temporary);
        }
    }
}

#[cfg(test)]
#[path = "place_tests.rs"]
mod tests;
