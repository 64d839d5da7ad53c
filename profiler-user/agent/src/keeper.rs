//! A thread that creates files later, when the privileges to do so are long given up.
//!
//! In: a folder, and jobs. Out: the jobs done, one after the other. The thread acts as the folder's owner, so that a
//! file can be created in a user's own folder after `sudo`, and belongs to that user; it has no other power.
//! Must not know: what the jobs are.

use std::{
    ffi::OsStr,
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
    sync::mpsc::{Sender, channel},
    thread::{self, JoinHandle},
};

use anyhow::Context as _;

use courtside_kernel::sys::privileges;
use rustix::{
    fs::{AtFlags, RenameFlags},
    io::Errno,
};

type Job = Box<dyn FnOnce() + Send>;

/// The thread. Dropping it waits for the jobs that were given to it.
pub struct Keeper {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts it; to be called while there still are privileges.
    pub fn start(folder: &Path, root: &Path) -> anyhow::Result<Self> {
        let (jobs, to_do) = channel::<Job>();
        let (ready, is_ready) = channel();
        let (folder, root) = (folder.to_owned(), root.to_owned());
        let body = move || {
            privileges::act_as_owner_of(&folder);
            let dropped = privileges::drop_all(&root);
            let has_none = dropped.is_ok();
            // Whoever started the thread waits for this.
            let _ = ready.send(dropped);
            if has_none {
                to_do.into_iter().for_each(|job| job());
            }
        };
        let thread = thread::Builder::new().name("keep".to_owned()).spawn(body);
        let thread = thread
            .context("cannot start the thread that keeps the last minutes; raise the limit of threads (ulimit -u)")?;
        let dropped = is_ready
            .recv()
            .context("the thread that keeps the last minutes has ended")?;
        dropped
            .context("cannot give up the privileges of the thread that keeps the last minutes")?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// Has this done, and waits for what comes of it; `None` if the thread has ended.
    pub fn ask<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (answer, answered) = channel();
        self.run(move || {
            // We wait for it.
            let _ = answer.send(job());
        });
        answered.recv().ok()
    }

    /// Does this when what was asked for before is done.
    pub fn run(&self, job: impl FnOnce() + Send + 'static) {
        if let Some(jobs) = &self.jobs {
            // The thread ends only with us.
            let _ = jobs.send(Box::new(job));
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has already been reported by the panic hook.
            drop(thread.join());
        }
    }
}

/// The folder of a file.
pub fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Renames where nothing has the new name.
///
/// # Errors
/// Something has it, or it cannot be renamed.
pub fn no_replace(folder: BorrowedFd<'_>, from: &OsStr, to: &OsStr) -> rustix::io::Result<()> {
    match rustix::fs::renameat_with(folder, from, folder, to, RenameFlags::NOREPLACE) {
        // Not every file system can: a second name, and the first one goes.
        Err(Errno::INVAL | Errno::NOSYS) => {
            rustix::fs::linkat(folder, from, folder, to, AtFlags::empty())?;
            rustix::fs::unlinkat(folder, from, AtFlags::empty())
        }
        renamed => renamed,
    }
}

/// A time as part of a file name: `2026-11-22T094500Z`.
pub fn stamp(time: std::time::SystemTime) -> String {
    humantime::format_rfc3339_seconds(time)
        .to_string()
        .replace(':', "")
}

/// What a file of the dashboard may be called: after the start of the window shown, and numbered where there is one.
pub fn names(time: std::time::SystemTime, ending: &'static str) -> impl Iterator<Item = String> {
    let stamp = stamp(time);
    (1..100).map(move |n| match n {
        1 => format!("courtside-{stamp}.{ending}"),
        n => format!("courtside-{stamp}-{n}.{ending}"),
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_file_name_has_a_folder_and_a_time() {
        assert_eq!(folder_of(Path::new("x.rec")), Path::new("."));
        assert_eq!(folder_of(Path::new("a/x.rec")), Path::new("a"));
        assert_eq!(folder_of(Path::new("/x.rec")), Path::new("/"));
        let time = UNIX_EPOCH + Duration::from_millis(1_700_000_000_999);
        assert_eq!(stamp(time), "2023-11-14T221320Z");
    }
}
