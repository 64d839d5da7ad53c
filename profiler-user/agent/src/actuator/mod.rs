//! Limits of CPU time that do not outlive whoever wanted them.
//!
//! In: limits to be set and taken back. Out: whether that was done, and which are gone meanwhile. Must not know: why.
//!
//! A process of its own, the [`helper`], is the only one that writes files of control groups. It is started before privileges
//! are given up, and lives in a session of its own, so that what ends us does not end it. It takes every limit back when we
//! end, when it hears nothing from us for three seconds, and, by its journal, at the next start.

pub mod helper;

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// A helper that has not answered for so long is stuck.
const ANSWER: Duration = Duration::from_secs(2);
/// At the start it may have to wait for another one that takes its limits back.
const FIRST_ANSWER: Duration = Duration::from_secs(8);

/// A limit that is no longer there, and why.
pub type Lost = (String, String);

/// The helper, as we see it.
#[derive(Debug)]
pub struct Helper {
    child: Child,
    /// Closed when we end.
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    lost: Vec<Lost>,
    /// A command was not answered: what comes now is the answer to an earlier one.
    is_late: bool,
}

impl Helper {
    /// Starts our own program once more, as `guard helper`. What an earlier one left behind is among the [`Self::lost`].
    ///
    /// # Errors
    /// It cannot be started, or another guard has the journal.
    pub fn start(folder: &Path) -> anyhow::Result<Self> {
        let mut child = Command::new("/proc/self/exe")
            .args(["guard", "helper", "--state"])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the process that holds the limits")?;
        let (commands, answers) = (child.stdin.take(), child.stdout.take());
        let (Some(commands), Some(answers)) = (commands, answers) else {
            bail!("the process that holds the limits has no pipes");
        };
        let mut helper = Self {
            child,
            commands: Some(commands),
            answers: BufReader::new(answers),
            lost: Vec::new(),
            is_late: false,
        };
        match helper.answer(FIRST_ANSWER)? {
            Ok(()) => Ok(helper),
            Err(reason) => Err(anyhow!("{reason}")),
        }
    }

    /// Its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sets a limit, by the systemd of its unit if there is one, and keeps it for three seconds.
    ///
    /// # Errors
    /// It is not set, and why.
    pub fn set(
        &mut self,
        file: &str,
        before: &str,
        after: &str,
        unit: Option<&str>,
    ) -> anyhow::Result<()> {
        let words = ["set", before, after, file];
        match unit {
            None => self.ask(&words),
            Some(unit) => self.ask(&[&words[..], &[unit]].concat()),
        }
    }

    /// Takes a limit back.
    ///
    /// # Errors
    /// It is not taken back, and why.
    pub fn release(&mut self, file: &str) -> anyhow::Result<()> {
        self.ask(&["release", file])
    }

    /// Keeps all limits for three seconds more.
    ///
    /// # Errors
    /// The helper has ended or does not answer.
    pub fn renew(&mut self) -> anyhow::Result<()> {
        self.ask(&["renew"])
    }

    /// Limits that are gone, and why; each is told once.
    pub fn lost(&mut self) -> Vec<Lost> {
        std::mem::take(&mut self.lost)
    }

    fn ask(&mut self, words: &[&str]) -> anyhow::Result<()> {
        if words.iter().any(|word| word.contains(['\t', '\n'])) {
            bail!("its path cannot be written down");
        }
        if self.is_late {
            bail!("the process that holds the limits does not answer");
        }
        let commands = self.commands.as_mut();
        let commands = commands.context("the process that holds the limits has ended")?;
        let line = words.join("\t") + "\n";
        // Until it is answered.
        self.is_late = true;
        commands
            .write_all(line.as_bytes())
            .context("the process that holds the limits has ended")?;
        let answer = self.answer(ANSWER)?;
        self.is_late = false;
        answer.map_err(|reason| anyhow!("{reason}"))
    }

    /// Waits for `ok` or `no` with its reason, and takes what is lost meanwhile.
    fn answer(&mut self, patience: Duration) -> anyhow::Result<Result<(), String>> {
        loop {
            if self.answers.buffer().is_empty() {
                self.wait(patience)?;
            }
            let mut line = String::new();
            let read = self.answers.read_line(&mut line);
            if read.context("the process that holds the limits has ended")? == 0 {
                bail!("the process that holds the limits has ended");
            }
            let line = line.trim_end_matches('\n');
            match line.split_once('\t') {
                None if line == "ok" => return Ok(Ok(())),
                Some(("no", reason)) => return Ok(Err(reason.to_owned())),
                Some(("lost", rest)) => {
                    let (file, reason) = rest.split_once('\t').unwrap_or((rest, ""));
                    self.lost.push((file.to_owned(), reason.to_owned()));
                }
                _ => bail!("the process that holds the limits says {line:?}"),
            }
        }
    }

    fn wait(&self, patience: Duration) -> anyhow::Result<()> {
        let timeout = Timespec {
            tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: 0,
        };
        loop {
            let mut fds = [PollFd::new(self.answers.get_ref(), PollFlags::IN)];
            match poll(&mut fds, Some(&timeout)) {
                Ok(0) => bail!("the process that holds the limits does not answer"),
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error).context("cannot wait for the helper"),
            }
        }
    }

    /// Ends it, by force if need be, so that another one gets its journal and takes its limits back. One that is stopped would
    /// keep both.
    pub fn end_at_once(mut self) {
        self.commands = None;
        let _ = self.wait(ANSWER);
        if !self.has_ended() {
            let _ = self.child.kill();
            let _ = self.wait(ANSWER);
        }
    }

    /// Whether it is of no use any more: it has ended, or has not answered.
    pub fn has_failed(&mut self) -> bool {
        self.is_late || self.has_ended()
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // It takes all back at the end of its input, and ends.
        self.commands = None;
        if self.wait(ANSWER).is_ok() {
            let _ = self.child.wait();
        }
    }
}
