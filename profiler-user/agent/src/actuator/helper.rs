//! The process that holds limits: all that it does.
//!
//! In: commands on a pipe, a folder for the journal. Out: limits in files of control groups, answers on another pipe. Must
//! not know: why there are limits, who is held back.
//!
//! A command is a line of words with tabs between: `set BEFORE AFTER FILE`, with the unit at its end if systemd owns the group,
//! `release FILE`, `renew`. An answer is any number of lines `lost FILE REASON`, then `ok` or `no REASON`.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Write},
    os::fd::AsFd,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use courtside_kernel::sys::{
    journal::{FileId, Journal, JournalError, open_limit, read_limit, write_limit},
    unit::Systemd,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Limits end when nothing was heard for so long.
pub const LEASE: Duration = Duration::from_secs(3);
/// How often is looked whether somebody else has changed a limit.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A helper whose guard has just ended takes its limits back first.
pub const WAIT_FOR_OTHER: Duration = Duration::from_secs(5);
/// A command is shorter.
const MAX_LINE: usize = 16 << 10;
/// Limits at a time, at most.
const MAX_HELD: usize = 64;

/// A limit that is set.
struct Held {
    file: File,
    id: FileId,
    before: String,
    after: String,
    /// The unit, if systemd writes it for us.
    unit: Option<String>,
}

/// The limits, and where they are noted.
struct Limits {
    journal: Journal,
    held: BTreeMap<PathBuf, Held>,
    lost: Vec<(PathBuf, String)>,
}

/// Works until its input ends; every limit is taken back then. Whoever calls sees to it that no signal ends us.
///
/// # Errors
/// There is no journal, or the pipes do not work; no limit is left then either.
pub fn run(folder: &Path, input: impl Read + AsFd, output: impl Write) -> anyhow::Result<()> {
    run_by(folder, Systemd::default(), input, output)
}

fn run_by(
    folder: &Path,
    systemd: Systemd,
    mut input: impl Read + AsFd,
    mut output: impl Write,
) -> anyhow::Result<()> {
    let mut journal = match journal(folder, WAIT_FOR_OTHER) {
        Ok(journal) => journal.by(systemd),
        Err(error) => {
            let _ = writeln!(output, "no\t{error}").and_then(|()| output.flush());
            return Err(error.into());
        }
    };
    let left = journal.restore();
    let mut limits = Limits {
        journal,
        held: BTreeMap::new(),
        lost: left
            .into_iter()
            .map(|restored| {
                let how = format!("an earlier guard left it behind: {}", restored.how);
                (restored.file, how)
            })
            .collect(),
    };
    let served = serve(&mut limits, &mut input, &mut output);
    limits.take_all_back("the guard has ended");
    served
}

/// Opens the journal. Whoever has it is given so much time to take its limits back and to end.
///
/// # Errors
/// Another process still has it then, or it cannot be opened.
pub fn journal(folder: &Path, patience: Duration) -> Result<Journal, JournalError> {
    let begun = Instant::now();
    loop {
        match Journal::open(folder) {
            Err(JournalError::InUse(_)) if begun.elapsed() < patience => {
                std::thread::sleep(Duration::from_millis(20));
            }
            other => return other,
        }
    }
}

fn serve(
    limits: &mut Limits,
    input: &mut (impl Read + AsFd),
    output: &mut impl Write,
) -> anyhow::Result<()> {
    answer(limits, output, &Ok(()))?;
    let mut pending: Vec<u8> = Vec::new();
    let mut heard = Instant::now();
    let mut looked = Instant::now();
    loop {
        if is_readable(&*input, LOOK_EVERY)? {
            let mut bytes = [0u8; 4096];
            let read = match input.read(&mut bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read.context("cannot read commands")?,
            };
            if read == 0 {
                return Ok(());
            }
            // Stopped for too long, we find commands here that came too late.
            if heard.elapsed() >= LEASE {
                limits.take_all_back("nothing was heard from the guard for three seconds");
            }
            pending.extend(bytes.get(..read).unwrap_or_default());
            anyhow::ensure!(pending.len() <= MAX_LINE, "a command is too long");
            while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = pending.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line);
                heard = Instant::now();
                let done = limits.obey(line.trim_end_matches('\n'));
                answer(limits, output, &done)?;
            }
        }
        if heard.elapsed() >= LEASE {
            limits.take_all_back("nothing was heard from the guard for three seconds");
        }
        if looked.elapsed() >= LOOK_EVERY {
            looked = Instant::now();
            limits.look();
        }
    }
}

fn is_readable(input: &impl AsFd, patience: Duration) -> anyhow::Result<bool> {
    let timeout = Timespec {
        tv_sec: i64::try_from(patience.as_secs()).unwrap_or(1),
        tv_nsec: 0,
    };
    let mut fds = [PollFd::new(input, PollFlags::IN)];
    match poll(&mut fds, Some(&timeout)) {
        Ok(n) => Ok(n > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error).context("cannot wait for commands"),
    }
}

fn answer(
    limits: &mut Limits,
    output: &mut impl Write,
    done: &Result<(), String>,
) -> anyhow::Result<()> {
    let mut text = String::new();
    for (file, reason) in limits.lost.drain(..) {
        text += &format!("lost\t{}\t{}\n", file.display(), in_one_line(&reason));
    }
    match done {
        Ok(()) => text += "ok\n",
        Err(reason) => text += &format!("no\t{}\n", in_one_line(reason)),
    }
    output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush())
        .context("nobody takes the answers")
}

fn in_one_line(text: &str) -> String {
    text.replace(['\t', '\n'], " ")
}

impl Limits {
    fn obey(&mut self, line: &str) -> Result<(), String> {
        let words: Vec<&str> = line.split('\t').collect();
        match words.as_slice() {
            ["renew"] => {
                self.look();
                Ok(())
            }
            ["release", file] => self.release(Path::new(file)),
            ["set", before, after, file] => self.set(Path::new(file), before, after, None),
            ["set", before, after, file, unit] => {
                self.set(Path::new(file), before, after, Some(unit))
            }
            _ => Err("there is no such command".to_owned()),
        }
    }

    fn set(
        &mut self,
        path: &Path,
        before: &str,
        after: &str,
        unit: Option<&str>,
    ) -> Result<(), String> {
        if let Some(reason) = self.changed(path) {
            self.forget(path);
            return Err(reason);
        }
        if !self.held.contains_key(path) {
            if self.held.len() >= MAX_HELD {
                return Err(format!("{MAX_HELD} limits are set already"));
            }
            let mut held = begin(path, before)?;
            if let Some(unit) = unit {
                self.journal.systemd().owns(unit, path)?;
                held.unit = Some(unit.to_owned());
            }
            self.held.insert(path.to_owned(), held);
        }
        let Some(held) = self.held.get_mut(path) else {
            return Err("it is not held".to_owned());
        };
        let values = (held.before.as_str(), after);
        let noted = self
            .journal
            .set(held.id, path, values, held.unit.as_deref());
        let written = noted
            .map_err(|error| {
                format!("it cannot be noted in the journal, so it is not written: {error}")
            })
            .and_then(|()| held.write(path, after, self.journal.systemd()));
        match written {
            Ok(()) => {
                // The kernel may round, or write it in another way.
                held.after = read_limit(&held.file).unwrap_or_else(|_| after.to_owned());
                if held.after != after {
                    let (id, after) = (held.id, held.after.clone());
                    let (before, unit) = (held.before.clone(), held.unit.clone());
                    // It is noted what has been written; this only adds how that is read.
                    let values = (before.as_str(), after.as_str());
                    let _ = self.journal.set(id, path, values, unit.as_deref());
                }
                Ok(())
            }
            Err(error) if held.unit.is_some() => Err(self.give_up(path, error)),
            Err(error) => {
                if held.after.is_empty() {
                    self.forget(path);
                }
                Err(error)
            }
        }
    }

    /// What systemd was asked for it may still do: it is asked to take that back, which it does after. If it cannot be asked, the
    /// journal keeps it for the next one.
    fn give_up(&mut self, path: &Path, error: String) -> String {
        let Some(held) = self.held.remove(path) else {
            return error;
        };
        match held.write(path, &held.before, self.journal.systemd()) {
            Ok(()) => {
                let _ = self.journal.done(held.id);
                error
            }
            Err(more) => format!("{error}; {more}"),
        }
    }

    fn release(&mut self, path: &Path) -> Result<(), String> {
        if !self.held.contains_key(path) {
            return Ok(());
        }
        let changed = self.changed(path);
        let written = match (&changed, self.held.get(path)) {
            (None, Some(held)) => held.write(path, &held.before, self.journal.systemd()),
            _ => Ok(()),
        };
        self.forget(path);
        changed.map_or(written, Err)
    }

    /// Why a limit is no longer ours, if it is not.
    fn changed(&self, path: &Path) -> Option<String> {
        let held = self.held.get(path)?;
        match read_limit(&held.file) {
            Ok(now) if now == held.after => None,
            Ok(now) => Some(format!("somebody else has changed it to {now}")),
            Err(error) if error.raw_os_error() == Some(NO_DEVICE) => {
                Some("its control group is gone".to_owned())
            }
            Err(error) => Some(format!("it cannot be read: {error}")),
        }
    }

    fn forget(&mut self, path: &Path) {
        let Some(held) = self.held.remove(path) else {
            return;
        };
        // What is still ours, or may be, is left to the next one.
        let is_left = match read_limit(&held.file) {
            Ok(now) => now == held.after && now != held.before,
            Err(error) => error.raw_os_error() != Some(NO_DEVICE),
        };
        if !is_left {
            // If it cannot be noted, the next one finds that there is nothing to take back.
            let _ = self.journal.done(held.id);
        }
    }

    /// Lets go of what somebody else has changed.
    fn look(&mut self) {
        let paths: Vec<PathBuf> = self.held.keys().cloned().collect();
        for path in paths {
            if let Some(reason) = self.changed(&path) {
                self.forget(&path);
                self.lost.push((path, reason));
            }
        }
    }

    fn take_all_back(&mut self, reason: &str) {
        let paths: Vec<PathBuf> = self.held.keys().cloned().collect();
        for path in paths {
            let reason = match self.release(&path) {
                Ok(()) => reason.to_owned(),
                Err(error) => format!("{reason}; {error}"),
            };
            self.lost.push((path, reason));
        }
    }
}

impl Held {
    /// Writes a value, or has it written.
    fn write(&self, path: &Path, value: &str, systemd: &Systemd) -> Result<(), String> {
        let Some(unit) = &self.unit else {
            return write_limit(&self.file, value).map_err(|error| {
                format!("the kernel refuses {value} in {}: {error}", path.display())
            });
        };
        let before = read_limit(&self.file);
        systemd.set(unit, path, value)?;
        let is_old = matches!(
            (before, read_limit(&self.file)),
            (Ok(before), Ok(now)) if before == now && now != value
        );
        if is_old {
            return Err(format!(
                "systemd has taken {value} for {unit}, and {} is as before",
                path.display()
            ));
        }
        Ok(())
    }
}

/// ENODEV: what a file says whose control group was removed.
const NO_DEVICE: i32 = rustix::io::Errno::NODEV.raw_os_error();

fn begin(path: &Path, before: &str) -> Result<Held, String> {
    let failed = |error: io::Error| format!("{} cannot be opened: {error}", path.display());
    let file = open_limit(path).map_err(failed)?;
    let id = FileId::of(&file).map_err(failed)?;
    let now = read_limit(&file).map_err(failed)?;
    if now != before {
        return Err(format!("somebody else has changed it to {now} just now"));
    }
    Ok(Held {
        file,
        id,
        before: now,
        after: String::new(),
        unit: None,
    })
}

#[cfg(test)]
mod tests;
