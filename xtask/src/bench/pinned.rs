//! The ping-pong with each end on a CPU of its own, from its first roundtrip that counts to its last.
//!
//! In: how many roundtrips. Out: how long they took. Must not know: what is attached.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_setaffinity};

use super::load::{self, Done};
use crate::sh;

/// Before the first that counts.
const WARM_UP: u32 = 1_000;

/// One that is warm and waits; dropped, it has ended.
pub struct Pinned {
    child: Child,
    said: BufReader<std::process::ChildStdout>,
}

impl Pinned {
    /// Start it, and pin its ends if there are two CPUs.
    pub fn start(workload: &Path, roundtrips: u64) -> Result<Self> {
        // setpriv, because it must also go when xtask cannot tell it to.
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "--"])
            .arg(workload)
            .args(["ping-pong", "--transport", "tcp4", "--wait-go"])
            .args(["--warm-up", &WARM_UP.to_string()])
            .args(["--messages", &roundtrips.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("the ping-pong does not start")?;
        let Some(stdout) = child.stdout.take() else {
            sh::stop(&mut child);
            bail!("the ping-pong has no output");
        };
        let mut pinned = Self {
            child,
            said: BufReader::new(stdout),
        };
        let mut line = String::new();
        pinned.said.read_line(&mut line)?;
        if line.trim() != "ready" {
            bail!("the ping-pong said `{}`", line.trim());
        }
        pinned.pin()?;
        Ok(pinned)
    }

    /// Let it go, and wait for its end.
    pub fn run(mut self) -> Result<Done> {
        let mut stdin = self.child.stdin.take().context("the ping-pong is deaf")?;
        stdin.write_all(b"\n")?;
        drop(stdin);
        let mut said = String::new();
        self.said.read_to_string(&mut said)?;
        load::ping_pong_done(&said)
    }

    fn pin(&self) -> Result<()> {
        let all = sched_getaffinity(None)?;
        let cpus: Vec<usize> = (0..CpuSet::MAX_CPU)
            .filter(|&cpu| all.is_set(cpu))
            .collect();
        let ends = ends(self.child.id())?;
        if cpus.len() < ends.len() {
            return Ok(());
        }
        for (tgid, cpu) in ends.into_iter().zip(cpus) {
            let mut only = CpuSet::new();
            only.set(cpu);
            for tid in numbers(&format!("/proc/{tgid}/task"))? {
                sched_setaffinity(Pid::from_raw(tid), &only)?;
            }
        }
        Ok(())
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        sh::stop(&mut self.child);
    }
}

/// The processes that play.
fn ends(parent: u32) -> Result<Vec<i32>> {
    let mut ends = Vec::new();
    for tid in numbers(&format!("/proc/{parent}/task"))? {
        let children = fs::read_to_string(format!("/proc/{parent}/task/{tid}/children"))?;
        ends.extend(
            children
                .split_whitespace()
                .filter_map(|id| id.parse::<i32>().ok()),
        );
    }
    if ends.len() != 2 {
        bail!("the ping-pong has {} ends", ends.len());
    }
    Ok(ends)
}

fn numbers(folder: &str) -> Result<Vec<i32>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {folder}"))?;
    let mut numbers = Vec::new();
    for entry in entries {
        numbers.extend(
            entry?
                .file_name()
                .to_str()
                .and_then(|name| name.parse::<i32>().ok()),
        );
    }
    Ok(numbers)
}
