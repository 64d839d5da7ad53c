//! The process that holds limits: all that it does.
//!
//! In: commands on a pipe, a folder for the journal. Out: limits in files of control groups, answers on another pipe. Must
//! not know: why there are limits, who is held back.
//!
//! A command is a line of words with tabs between: `set BEFORE AFTER FILE`, `release FILE`, `renew`. An answer is any number of
//! lines `lost FILE REASON`, then `ok` or `no REASON`.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Write},
    os::fd::AsFd,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use courtside_kernel::sys::journal::{
    FileId, Journal, JournalError, open_limit, read_limit, write_limit,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Limits end when nothing was heard for so long.
pub const LEASE: Duration = Duration::from_secs(3);
/// How often is looked whether somebody else has changed a limit.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A helper whose guard has just ended takes its limits back first.
const WAIT_FOR_OTHER: Duration = Duration::from_secs(5);
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
pub fn run(
    folder: &Path,
    mut input: impl Read + AsFd,
    mut output: impl Write,
) -> anyhow::Result<()> {
    let mut journal = match open(folder) {
        Ok(journal) => journal,
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

fn open(folder: &Path) -> Result<Journal, JournalError> {
    let begun = Instant::now();
    loop {
        match Journal::open(folder) {
            Err(JournalError::InUse(_)) if begun.elapsed() < WAIT_FOR_OTHER => {
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
            ["set", before, after, file] => self.set(Path::new(file), before, after),
            _ => Err("there is no such command".to_owned()),
        }
    }

    fn set(&mut self, path: &Path, before: &str, after: &str) -> Result<(), String> {
        if let Some(reason) = self.changed(path) {
            self.forget(path);
            return Err(reason);
        }
        if !self.held.contains_key(path) {
            if self.held.len() >= MAX_HELD {
                return Err(format!("{MAX_HELD} limits are set already"));
            }
            let held = begin(path, before)?;
            self.held.insert(path.to_owned(), held);
        }
        let Some(held) = self.held.get_mut(path) else {
            return Err("it is not held".to_owned());
        };
        let noted = self.journal.set(held.id, path, &held.before, after);
        let written = noted
            .map_err(|error| {
                format!("it cannot be noted in the journal, so it is not written: {error}")
            })
            .and_then(|()| {
                write_limit(&held.file, after).map_err(|error| {
                    format!("the kernel refuses {after} in {}: {error}", path.display())
                })
            });
        match written {
            Ok(()) => {
                // The kernel may round, or write it in another way.
                held.after = read_limit(&held.file).unwrap_or_else(|_| after.to_owned());
                if held.after != after {
                    let (id, after) = (held.id, held.after.clone());
                    let before = held.before.clone();
                    // It is noted what has been written; this only adds how that is read.
                    let _ = self.journal.set(id, path, &before, &after);
                }
                Ok(())
            }
            Err(error) => {
                if held.after.is_empty() {
                    self.forget(path);
                }
                Err(error)
            }
        }
    }

    fn release(&mut self, path: &Path) -> Result<(), String> {
        if !self.held.contains_key(path) {
            return Ok(());
        }
        let changed = self.changed(path);
        let written = match (&changed, self.held.get(path)) {
            (None, Some(held)) => write_limit(&held.file, &held.before)
                .map_err(|error| format!("{} cannot be written: {error}", path.display())),
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
    })
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::{BufRead, BufReader, PipeReader, PipeWriter, pipe},
        thread::JoinHandle,
    };

    use super::*;

    struct Rig {
        folder: tempfile::TempDir,
        commands: Option<PipeWriter>,
        answers: BufReader<PipeReader>,
        thread: Option<JoinHandle<anyhow::Result<()>>>,
    }

    impl Rig {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("cpu.max"), "max 100000\n").unwrap();
            Self::on(folder)
        }

        fn on(folder: tempfile::TempDir) -> Self {
            let (input, commands) = pipe().unwrap();
            let (answers, output) = pipe().unwrap();
            let state = folder.path().to_owned();
            let mut rig = Self {
                folder,
                commands: Some(commands),
                answers: BufReader::new(answers),
                thread: Some(std::thread::spawn(move || run(&state, input, output))),
            };
            assert_eq!(rig.answer().last().unwrap(), "ok");
            rig
        }

        fn limit(&self) -> PathBuf {
            self.folder.path().join("cpu.max")
        }

        fn now(&self) -> String {
            fs::read_to_string(self.limit()).unwrap()
        }

        fn answer(&mut self) -> Vec<String> {
            let mut lines = Vec::new();
            loop {
                let mut line = String::new();
                if self.answers.read_line(&mut line).unwrap() == 0 {
                    return lines;
                }
                let line = line.trim_end().to_owned();
                let end = line == "ok" || line.starts_with("no\t");
                lines.push(line);
                if end {
                    return lines;
                }
            }
        }

        fn ask(&mut self, command: &str) -> Vec<String> {
            let line = format!("{command}\n");
            self.commands
                .as_mut()
                .unwrap()
                .write_all(line.as_bytes())
                .unwrap();
            self.answer()
        }

        fn set(&mut self, before: &str, after: &str) -> Vec<String> {
            let limit = self.limit();
            self.ask(&format!("set\t{before}\t{after}\t{}", limit.display()))
        }

        fn end(mut self) -> tempfile::TempDir {
            self.commands = None;
            self.thread.take().unwrap().join().unwrap().unwrap();
            self.folder
        }
    }

    #[test]
    fn limits_end_with_the_pipe() {
        let mut rig = Rig::new();
        assert_eq!(rig.set("max 100000", "50000 100000"), ["ok"]);
        assert_eq!(rig.now(), "50000 100000");
        assert_eq!(rig.set("max 100000", "25000 100000"), ["ok"]);
        let folder = rig.end();
        let now = fs::read_to_string(folder.path().join("cpu.max")).unwrap();
        assert_eq!(now, "max 100000");
        // The journal is empty, and the next one finds nothing.
        let mut rig = Rig::on(folder);
        assert_eq!(rig.ask("renew"), ["ok"]);
        rig.end();
    }

    #[test]
    fn a_limit_that_is_released_is_what_it_was() {
        let mut rig = Rig::new();
        rig.set("max 100000", "50000 100000");
        let limit = rig.limit();
        assert_eq!(rig.ask(&format!("release\t{}", limit.display())), ["ok"]);
        assert_eq!(rig.now(), "max 100000");
        rig.end();
    }

    #[test]
    fn somebody_elses_change_wins_and_is_told() {
        let mut rig = Rig::new();
        rig.set("max 100000", "50000 100000");
        fs::write(rig.limit(), "70000 100000\n").unwrap();
        let told = rig.ask("renew");
        assert!(
            told[0].contains("somebody else has changed it to 70000 100000"),
            "{told:?}"
        );
        let folder = rig.end();
        let now = fs::read_to_string(folder.path().join("cpu.max")).unwrap();
        assert_eq!(now, "70000 100000\n");
    }

    #[test]
    fn nothing_is_written_that_is_not_what_was_seen_or_no_limit() {
        let mut rig = Rig::new();
        let told = rig.set("99000 100000", "50000 100000");
        assert!(told[0].starts_with("no\tsomebody else"), "{told:?}");
        let told = rig.ask("set\tx\ty\t/etc/passwd");
        assert!(told[0].starts_with("no\t"), "{told:?}");
        assert!(rig.ask("nonsense")[0].starts_with("no\t"));
        assert_eq!(rig.now(), "max 100000\n");
        rig.end();
    }

    #[test]
    fn a_limit_that_cannot_be_written_back_stays_in_the_journal() {
        let folder = tempfile::tempdir().unwrap();
        let limit = folder.path().join("cpu.max");
        fs::write(&limit, "max 100000\n").unwrap();
        let mut limits = Limits {
            journal: Journal::open(folder.path()).unwrap(),
            held: BTreeMap::new(),
            lost: Vec::new(),
        };
        limits.set(&limit, "max 100000", "50000 100000").unwrap();
        // One that can be read only.
        let held = limits.held.get_mut(&limit).unwrap();
        held.file = File::open(&limit).unwrap();
        let error = limits.release(&limit).unwrap_err();
        assert!(error.contains("cannot be written"), "{error}");
        drop(limits);
        let restored = Journal::open(folder.path()).unwrap().restore();
        assert!(!restored[0].failed, "{restored:?}");
        assert_eq!(fs::read_to_string(&limit).unwrap(), "max 100000");
    }

    #[test]
    fn without_room_for_the_journal_nothing_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let limit = folder.path().join("cpu.max");
        fs::write(&limit, "max 100000\n").unwrap();
        // A journal that takes no bytes.
        let full = Journal::on(
            File::options()
                .read(true)
                .append(true)
                .open("/dev/full")
                .unwrap(),
        );
        let mut limits = Limits {
            journal: full,
            held: BTreeMap::new(),
            lost: Vec::new(),
        };
        let error = limits
            .set(&limit, "max 100000", "50000 100000")
            .unwrap_err();
        assert!(error.contains("not written"), "{error}");
        assert_eq!(fs::read_to_string(&limit).unwrap(), "max 100000\n");
        assert!(limits.held.is_empty());
    }
}
