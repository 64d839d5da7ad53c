//! Processes of a workload: this same program, started under names of its own.
//!
//! In: a name and a [`Role`]. Out: a child that speaks one line of JSON at a time and never outlives us.
//! Must not know: what any role does.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::{fs::symlink, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio, exit},
    thread,
};

use anyhow::{Context as _, bail};
use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};
use tempfile::TempDir;

use super::Role;

/// Where processes are started from: a directory of links to this program, one for each name.
pub struct Stage {
    dir: TempDir,
    program: PathBuf,
}

/// First argument of a child; the second is a [`Part`].
pub const PART: &str = "part";

/// What a child is told on its command line.
#[derive(Debug, Serialize, Deserialize)]
pub struct Part {
    parent: i32,
    role: Role,
}

/// What a child's stdin is.
#[derive(Clone, Copy, Debug)]
pub enum Hears {
    /// Empty.
    Nothing,
    /// A pipe from us, which ends with us.
    Us,
    /// Ours.
    OurStdin,
}

/// A running child. It is killed by its id when dropped.
pub struct Player {
    name: String,
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Stage {
    /// A new, empty stage.
    ///
    /// # Errors
    /// When there is no place for temporary files.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self {
            dir: tempfile::Builder::new().prefix("cs-").tempdir()?,
            program: env::current_exe()?,
        })
    }

    /// A new stage that SIGINT and SIGTERM clear away, together with this process and its children.
    ///
    /// # Errors
    /// As [`Stage::new`].
    pub fn until_signal() -> anyhow::Result<Self> {
        let stage = Self::new()?;
        let dir = stage.dir().to_owned();
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        thread::spawn(move || {
            if let Some(signal) = signals.forever().next() {
                // Best effort: this is the end either way.
                let _ = fs::remove_dir_all(dir);
                exit(128 + signal);
            }
        });
        Ok(stage)
    }

    /// Directory for sockets and files of this workload; removed with the stage.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// This program under the name `name`.
    ///
    /// # Errors
    /// When there is no place for it.
    pub fn program(&self, name: &str) -> anyhow::Result<PathBuf> {
        let link = self.dir().join(name);
        if !link.exists() {
            symlink(&self.program, &link)
                .with_context(|| format!("cannot link {}", link.display()))?;
        }
        Ok(link)
    }

    /// Starts `role` as a process called `name`.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn start(&self, name: &str, role: Role, hears: Hears) -> anyhow::Result<Player> {
        let link = self.program(name)?;
        let part = Part::of_ours(role);
        let mut command = Command::new(&link);
        if !matches!(hears, Hears::OurStdin) {
            // A Ctrl-C is for us alone; we tell the children.
            command.process_group(0);
        }
        let mut child = command
            .arg(PART)
            .arg(serde_json::to_string(&part)?)
            .stdin(match hears {
                Hears::Nothing => Stdio::null(),
                Hears::Us => Stdio::piped(),
                Hears::OurStdin => Stdio::inherit(),
            })
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let lines = child.stdout.take().context("stdout was asked for")?;
        Ok(Player {
            name: name.to_owned(),
            child,
            lines: BufReader::new(lines),
        })
    }
}

impl Part {
    /// What a child of this process is told.
    #[must_use]
    pub fn of_ours(role: Role) -> Self {
        Self {
            parent: getpid().as_raw_nonzero().get(),
            role,
        }
    }

    /// Plays the part: what a child process does.
    ///
    /// # Errors
    /// Whatever the role fails with.
    pub fn play(self) -> anyhow::Result<()> {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        if getppid().map(|parent| parent.as_raw_nonzero().get()) != Some(self.parent) {
            bail!("the workload that started this process has ended");
        }
        self.role.play()
    }
}

impl Player {
    /// Id of the process.
    #[must_use]
    pub fn tgid(&self) -> u32 {
        self.child.id()
    }

    /// The next line that the child says.
    ///
    /// # Errors
    /// When it ended, or said something else.
    pub fn hear<T: DeserializeOwned>(&mut self) -> anyhow::Result<T> {
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        serde_json::from_str(&line).with_context(|| format!("{} said `{}`", self.name, line.trim()))
    }

    /// Says one line to the child, which has to hear us.
    ///
    /// # Errors
    /// When it does not listen.
    pub fn tell<T: Serialize>(&mut self, what: &T) -> anyhow::Result<()> {
        let stdin = self.child.stdin.as_mut();
        let stdin = stdin.with_context(|| format!("{} does not hear us", self.name))?;
        serde_json::to_writer(&mut *stdin, what)?;
        writeln!(stdin)?;
        Ok(())
    }

    /// Ends the child's stdin.
    pub fn stop_talking(&mut self) {
        self.child.stdin = None;
    }

    /// Waits for the child's end.
    ///
    /// # Errors
    /// When it failed.
    pub fn finish(mut self) -> anyhow::Result<()> {
        let status = self.child.wait()?;
        if !status.success() {
            bail!("{} ended with {status}", self.name);
        }
        Ok(())
    }

    /// Hears the child's last line and waits for its end.
    ///
    /// # Errors
    /// As [`Player::hear`] and [`Player::finish`].
    pub fn last_words<T: DeserializeOwned>(mut self) -> anyhow::Result<T> {
        let words = self.hear()?;
        self.finish()?;
        Ok(words)
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        // Both fail only if the child has been waited for, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Says one line on stdout.
///
/// # Errors
/// When nobody listens any more.
pub fn say<T: Serialize>(what: &T) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, what)?;
    writeln!(out)?;
    out.flush()?;
    Ok(())
}

/// Waits for a line on stdin.
///
/// # Errors
/// When stdin ends before.
pub fn wait_for_line() -> anyhow::Result<()> {
    let mut line = String::new();
    if std::io::stdin().read_line(&mut line)? == 0 {
        bail!("stdin ended before the word to go came");
    }
    Ok(())
}
