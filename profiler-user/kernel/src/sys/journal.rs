//! What limits were written, so that whoever comes after us can take them back.
//!
//! In: what is about to be written. Out: a file that holds it before it is written; what an earlier process left behind,
//! taken back where it is still there. Must not know: why there are limits.
//!
//! A line each: `set`, device and inode of the file, what was in it, what is in it now, its path, and the unit if systemd owns
//! the group; or `done`, device and inode.
//! Parts are separated by tabs, which neither values nor the paths that we write to may hold.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

use super::{limit::LIMIT_FILES, unit::Systemd};

/// Name of the file.
pub const JOURNAL: &str = "guard.journal";
/// More than this is not read: it would be a hundred thousand limits.
const MAX_BYTES: u64 = 16 << 20;

/// Which file, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// That of an open file.
    ///
    /// # Errors
    /// The file is gone.
    pub fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        })
    }
}

/// A limit that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The file.
    pub file: PathBuf,
    /// What was in it before the first of ours.
    pub before: String,
    /// What we have written since; the last one may not have been written any more.
    pub after: Vec<String>,
    /// The unit, if systemd writes it for us.
    pub unit: Option<String>,
}

/// What became of a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The file.
    pub file: PathBuf,
    /// In words.
    pub how: String,
    /// It may still be there: it could not be read or written. The journal keeps it.
    pub failed: bool,
}

/// The journal, open and locked.
#[derive(Debug)]
pub struct Journal {
    file: File,
    open: BTreeMap<FileId, Written>,
    systemd: Systemd,
}

impl Drop for Journal {
    /// The lock belongs to the open file, and a child that another thread is about to start has a copy of it until its `exec`:
    /// closing ours would leave it locked for that long.
    fn drop(&mut self) {
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

/// Why there is no journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process has it.
    #[error(
        "{0} belongs to a guard that is at work, which takes its limits back itself when it ends"
    )]
    InUse(String),
    /// It cannot be opened or read.
    #[error("cannot open {file}: {error}")]
    Open {
        /// Its name.
        file: String,
        /// Why.
        error: io::Error,
    },
}

impl Journal {
    /// Opens and locks it; what is in it was left behind.
    ///
    /// # Errors
    /// Another process has it, or it cannot be opened.
    pub fn open(folder: &Path) -> Result<Self, JournalError> {
        let path = folder.join(JOURNAL);
        let failed = |error: io::Error| JournalError::Open {
            file: path.display().to_string(),
            error,
        };
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path)
            .map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(JournalError::InUse(path.display().to_string()));
            }
            Err(error) => return Err(failed(error.into())),
        }
        let mut bytes = Vec::new();
        (&file)
            .take(MAX_BYTES)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        let text = String::from_utf8_lossy(&bytes);
        Ok(Self {
            open: parse(&text),
            file,
            systemd: Systemd::default(),
        })
    }

    /// The same, with another systemd than that of the host.
    #[must_use]
    pub fn by(mut self, systemd: Systemd) -> Self {
        self.systemd = systemd;
        self
    }

    /// The systemd that is asked.
    #[must_use]
    pub fn systemd(&self) -> &Systemd {
        &self.systemd
    }

    /// An empty journal in a file that is open already, for appending.
    #[must_use]
    pub fn on(file: File) -> Self {
        Self {
            file,
            open: BTreeMap::new(),
            systemd: Systemd::default(),
        }
    }

    /// Notes what is about to be written, by us or for us by the systemd of a unit: on disk when this returns.
    ///
    /// # Errors
    /// It cannot be noted; then it must not be written.
    pub fn set(
        &mut self,
        id: FileId,
        file: &Path,
        (before, after): (&str, &str),
        unit: Option<&str>,
    ) -> io::Result<()> {
        let name = file.to_str().filter(|name| !name.contains(['\t', '\n']));
        let Some(name) = name else {
            return Err(io::Error::other("the path cannot be written down"));
        };
        // A search comes back to the same limits again and again: that fills no journal.
        let known = self.open.get(&id);
        if known.is_some_and(|known| known.after.iter().any(|value| value == after)) {
            return Ok(());
        }
        let FileId { device, inode } = id;
        let owner = unit.map_or_else(String::new, |unit| format!("\t{unit}"));
        self.note(&format!(
            "set\t{device}\t{inode}\t{before}\t{after}\t{name}{owner}\n"
        ))?;
        let written = self.open.entry(id).or_insert_with(|| Written {
            file: file.to_owned(),
            before: before.to_owned(),
            after: Vec::new(),
            unit: unit.map(str::to_owned),
        });
        written.after.push(after.to_owned());
        Ok(())
    }

    /// Notes that a limit is there no more. An empty journal holds no bytes.
    ///
    /// # Errors
    /// It cannot be noted; the limit is taken back once more later, which changes nothing.
    pub fn done(&mut self, id: FileId) -> io::Result<()> {
        self.open.remove(&id);
        if self.open.is_empty() {
            self.file.set_len(0)?;
            self.file.seek(SeekFrom::Start(0))?;
            return self.file.sync_data();
        }
        let FileId { device, inode } = id;
        self.note(&format!("done\t{device}\t{inode}\n"))
    }

    fn note(&mut self, line: &str) -> io::Result<()> {
        self.file.write_all(line.as_bytes())?;
        self.file.sync_data()
    }

    /// Takes back what was left behind, where it is still there.
    pub fn restore(&mut self) -> Vec<Restored> {
        let left = self.open.clone();
        left.into_iter()
            .map(|(id, written)| {
                let taken = take_back(id, &written, &self.systemd);
                let failed = taken.is_err();
                if !failed {
                    // If it cannot be noted, the next one finds nothing to take back.
                    let _ = self.done(id);
                }
                Restored {
                    file: written.file,
                    how: taken.unwrap_or_else(|reason| reason),
                    failed,
                }
            })
            .collect()
    }
}

/// Opens a file that holds a limit, and none else.
///
/// # Errors
/// It is another file, or cannot be opened.
pub fn open_limit(path: &Path) -> io::Result<File> {
    let name = path.file_name().and_then(|name| name.to_str());
    if !name.is_some_and(|name| LIMIT_FILES.contains(&name)) {
        return Err(io::Error::other("it is no limit of CPU time"));
    }
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
}

/// What is in it, without the newline.
///
/// # Errors
/// The control group is gone, or the file cannot be read.
pub fn read_limit(file: &File) -> io::Result<String> {
    let mut bytes = [0u8; 128];
    let n = file.read_at(&mut bytes, 0)?;
    let text = String::from_utf8_lossy(bytes.get(..n).unwrap_or_default());
    Ok(text.trim().to_owned())
}

/// Writes a limit.
///
/// # Errors
/// The kernel refuses it.
pub fn write_limit(file: &File, value: &str) -> io::Result<()> {
    // A file of the kernel has no length; others, in tests, are not to keep the rest of what was there.
    let _ = file.set_len(0);
    file.write_all_at(value.as_bytes(), 0)
}

/// What became of it; an error if it may still be there.
fn take_back(id: FileId, written: &Written, systemd: &Systemd) -> Result<String, String> {
    let gone = || Ok("its control group is gone".to_owned());
    let file = match open_limit(&written.file) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return gone(),
        Err(error) => return Err(format!("cannot be opened: {error}")),
    };
    if FileId::of(&file).ok() != Some(id) {
        return Ok("its control group was made anew: left as it is".to_owned());
    }
    match read_limit(&file) {
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => gone(),
        Err(error) => Err(format!("cannot be read: {error}")),
        Ok(now) if now == written.before => Ok(format!("is {now}, as it was before")),
        Ok(now) if !written.after.contains(&now) => Ok(format!(
            "somebody else has changed it to {now}: left as it is"
        )),
        Ok(now) => {
            let is_back = match &written.unit {
                None => write_limit(&file, &written.before).map_err(|error| error.to_string()),
                Some(unit) => {
                    let asked = systemd.set(unit, &written.file, &written.before);
                    let is_left = || read_limit(&file).is_ok_and(|left| left == now);
                    asked.and_then(|()| match is_left() {
                        true => Err("systemd was asked, and it is as before".to_owned()),
                        false => Ok(()),
                    })
                }
            };
            match is_back {
                Ok(()) => Ok(format!("was {now}, and is {} again", written.before)),
                Err(error) => Err(format!("is {now}, and cannot be written: {error}")),
            }
        }
    }
}

fn parse(text: &str) -> BTreeMap<FileId, Written> {
    let mut open: BTreeMap<FileId, Written> = BTreeMap::new();
    // The last line may have been cut off.
    for line in text.split_inclusive('\n') {
        let Some(line) = line.strip_suffix('\n') else {
            continue;
        };
        let parts: Vec<&str> = line.split('\t').collect();
        let id = |device: &str, inode: &str| -> Option<FileId> {
            Some(FileId {
                device: device.parse().ok()?,
                inode: inode.parse().ok()?,
            })
        };
        match parts.as_slice() {
            ["set", device, inode, before, after, file, rest @ ..] if rest.len() < 2 => {
                let Some(id) = id(device, inode) else {
                    continue;
                };
                let written = open.entry(id).or_insert_with(|| Written {
                    file: PathBuf::from(file),
                    before: (*before).to_owned(),
                    after: Vec::new(),
                    unit: rest.first().map(|unit| (*unit).to_owned()),
                });
                written.after.push((*after).to_owned());
            }
            ["done", device, inode] => {
                if let Some(id) = id(device, inode) {
                    open.remove(&id);
                }
            }
            _ => {}
        }
    }
    open
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct Host {
        folder: tempfile::TempDir,
        limit: PathBuf,
    }

    fn host(value: &str) -> Host {
        let folder = tempfile::tempdir().unwrap();
        let limit = folder.path().join("cpu.max");
        fs::write(&limit, value).unwrap();
        Host { folder, limit }
    }

    /// Writes limits as a process that ends without a word.
    fn leave_behind(host: &Host, values: &[&str]) {
        let mut journal = Journal::open(host.folder.path()).unwrap();
        let file = open_limit(&host.limit).unwrap();
        let id = FileId::of(&file).unwrap();
        for value in values {
            journal
                .set(id, &host.limit, ("max 100000", value), None)
                .unwrap();
            write_limit(&file, value).unwrap();
        }
    }

    fn restored(host: &Host) -> (String, String) {
        let mut journal = Journal::open(host.folder.path()).unwrap();
        let how: Vec<String> = journal.restore().into_iter().map(|r| r.how).collect();
        let bytes = fs::metadata(host.folder.path().join(JOURNAL))
            .unwrap()
            .len();
        assert_eq!(bytes, 0);
        (how.join(";"), fs::read_to_string(&host.limit).unwrap())
    }

    #[test]
    fn what_was_left_behind_is_taken_back_and_only_once() {
        let host = host("max 100000\n");
        leave_behind(&host, &["50000 100000", "25000 100000"]);
        let (how, now) = restored(&host);
        assert_eq!(now, "max 100000");
        assert_eq!(how, "was 25000 100000, and is max 100000 again");
        assert_eq!(restored(&host).0, "");
    }

    #[test]
    fn a_limit_that_comes_again_is_noted_once() {
        let host = host("max 100000\n");
        leave_behind(&host, &["50000 100000", "25000 100000"]);
        let journal = host.folder.path().join(JOURNAL);
        let bytes = fs::read(&journal).unwrap();
        fs::write(&journal, "").unwrap();
        fs::write(&host.limit, "max 100000\n").unwrap();
        let values = ["50000 100000", "25000 100000", "50000 100000"];
        leave_behind(&host, &values);
        assert_eq!(fs::read(&journal).unwrap(), bytes);
        assert_eq!(
            restored(&host).0,
            "was 50000 100000, and is max 100000 again"
        );
    }

    #[test]
    fn a_write_that_was_noted_and_never_happened_is_no_foreign_one() {
        let host = host("max 100000\n");
        leave_behind(&host, &["50000 100000"]);
        let mut journal = Journal::open(host.folder.path()).unwrap();
        let id = FileId::of(&open_limit(&host.limit).unwrap()).unwrap();
        journal
            .set(id, &host.limit, ("max 100000", "25000 100000"), None)
            .unwrap();
        drop(journal);
        assert_eq!(restored(&host).1, "max 100000");
    }

    #[test]
    fn what_somebody_else_has_written_stays() {
        let host = host("max 100000\n");
        leave_behind(&host, &["50000 100000"]);
        fs::write(&host.limit, "70000 100000\n").unwrap();
        let (how, now) = restored(&host);
        assert_eq!(now, "70000 100000\n");
        assert!(how.contains("somebody else has changed it to 70000 100000"));
    }

    #[test]
    fn a_group_that_is_gone_or_made_anew_is_left_alone() {
        let host = host("max 100000\n");
        leave_behind(&host, &["50000 100000"]);
        // Made anew beside, and moved there: another inode for certain.
        let other = host.folder.path().join("other");
        fs::write(&other, "50000 100000").unwrap();
        fs::rename(&other, &host.limit).unwrap();
        let (how, now) = restored(&host);
        assert_eq!(now, "50000 100000");
        assert!(how.contains("made anew"), "{how}");
        leave_behind(&host, &["60000 100000"]);
        fs::rename(&host.limit, host.folder.path().join("away")).unwrap();
        let mut journal = Journal::open(host.folder.path()).unwrap();
        assert!(journal.restore()[0].how.contains("gone"));
    }

    #[test]
    fn what_cannot_be_taken_back_stays_in_the_journal() {
        let host = host("max 100000\n");
        leave_behind(&host, &["50000 100000"]);
        let away = host.folder.path().join("away");
        fs::rename(&host.limit, &away).unwrap();
        // A folder cannot be opened for writing.
        fs::create_dir(&host.limit).unwrap();
        let mut journal = Journal::open(host.folder.path()).unwrap();
        let left = journal.restore();
        assert!(left[0].failed && left[0].how.contains("cannot be opened"));
        drop(journal);
        fs::remove_dir(&host.limit).unwrap();
        fs::rename(&away, &host.limit).unwrap();
        let (how, now) = restored(&host);
        assert_eq!(how, "was 50000 100000, and is max 100000 again");
        assert_eq!(now, "max 100000");
    }

    #[test]
    fn what_systemd_has_written_for_us_it_is_asked_to_take_back() {
        let host = host("max 100000\n");
        let mut journal = Journal::open(host.folder.path()).unwrap();
        let id = FileId::of(&open_limit(&host.limit).unwrap()).unwrap();
        let values = ("max 100000", "50000 100000");
        let unit = Some("a.service");
        journal.set(id, &host.limit, values, unit).unwrap();
        drop(journal);
        fs::write(&host.limit, "50000 100000\n").unwrap();
        // One says no, and one says yes and does nothing.
        for (program, words) in [
            (
                "/bin/false",
                "set-property --runtime -- a.service CPUQuota=",
            ),
            ("/bin/true", "it is as before"),
        ] {
            let journal = Journal::open(host.folder.path()).unwrap();
            let restored = journal.by(Systemd::at(Path::new(program))).restore();
            let left = &restored[0];
            assert!(left.failed && left.how.contains(words), "{left:?}");
        }
        // It is no longer ours.
        fs::write(&host.limit, "70000 100000\n").unwrap();
        let (how, now) = restored(&host);
        assert!(how.contains("left as it is"), "{how}");
        assert_eq!(now, "70000 100000\n");
    }

    #[test]
    fn a_journal_that_was_cut_off_or_is_nonsense_is_read_as_far_as_it_goes() {
        let open = parse("set\t1\t2\tmax\t5\t/a/cpu.max\nnonsense\nset\t1\t3\tmax\t5\t/b\nset\t1");
        assert_eq!(open.len(), 2);
        let open = parse("set\t1\t2\tmax\t5\t/a\nset\tx\t2\tmax\t5\t/a\ndone\t1\t2\n");
        assert!(open.is_empty());
    }

    #[test]
    fn a_journal_has_one_owner_and_no_other_file_is_a_limit() {
        let host = host("max 100000\n");
        let first = Journal::open(host.folder.path()).unwrap();
        let second = Journal::open(host.folder.path()).unwrap_err();
        assert!(second.to_string().contains("at work"), "{second}");
        drop(first);
        assert!(Journal::open(host.folder.path()).is_ok());
        assert!(open_limit(Path::new("/etc/passwd")).is_err());
        assert!(open_limit(Path::new("/no/cpu.max")).is_err());
    }
}
