//! What a run needs of the host: two CPUs, one for the load and one for the service, and commands that end.
//!
//! In: the host. Out: CPUs, commands with a deadline. Must not know: what is measured.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::sh;

/// Two CPUs.
#[derive(Clone, Copy, Debug)]
pub struct Cpus {
    /// Of the load, of Courtside and of ourselves.
    pub load: usize,
    /// Of the service.
    pub service: usize,
}

impl Cpus {
    /// The first two; we stay on the first, and so does what we start unless it binds itself.
    pub fn take() -> Result<Self> {
        let all = sched_getaffinity(None).context("cannot ask which CPUs there are")?;
        let mut each = (0..CpuSet::MAX_CPU).filter(|&cpu| all.is_set(cpu));
        let (Some(load), Some(service)) = (each.next(), each.next()) else {
            bail!(
                "two CPUs are needed, one for the load and one for the service; this host has one"
            );
        };
        let mut only = CpuSet::new();
        only.set(load);
        sched_setaffinity(None, &only).context("cannot bind to a CPU")?;
        Ok(Self { load, service })
    }
}

/// Run a command that ends by itself, and return what it printed; it is ended if it takes longer than this.
pub fn said(command: &Command, patience: Duration) -> Result<String> {
    let shown = sh::shown(command);
    let mut log = tempfile::tempfile().context("no temporary file")?;
    let mut out = tempfile::tempfile().context("no temporary file")?;
    // setpriv, because it must also go when we cannot tell it to.
    let mut child = sh::command("setpriv")
        .args(["--pdeathsig", "TERM", "--"])
        .arg(command.get_program())
        .args(command.get_args())
        .stdin(Stdio::null())
        .stdout(out.try_clone()?)
        .stderr(log.try_clone()?)
        .spawn()
        .with_context(|| format!("cannot start `{shown}`"))?;
    let deadline = Instant::now() + patience;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if sh::stopped() {
            sh::stop(&mut child);
            bail!("stopped by a signal");
        }
        if Instant::now() > deadline {
            sh::stop(&mut child);
            bail!(
                "`{shown}` did not end within {} s: the host is too busy, or the service does not answer. Repeat it when \
                 nothing else runs\n  {}",
                patience.as_secs(),
                tail(&mut log)
            );
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    if !status.success() {
        bail!("`{shown}` failed: {status}\n  {}", tail(&mut log));
    }
    out.rewind()?;
    let mut text = String::new();
    out.read_to_string(&mut text)
        .with_context(|| format!("`{shown}` printed no UTF-8"))?;
    Ok(text)
}

/// The last lines of what went wrong.
fn tail(log: &mut File) -> String {
    let mut text = Vec::new();
    if log.rewind().is_err() || log.read_to_end(&mut text).is_err() {
        return String::new();
    }
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    let last = lines.len().saturating_sub(8);
    lines.get(last..).unwrap_or_default().join("\n  ")
}

/// Say how far it is.
pub fn progress(what: &str) {
    // Nobody may be listening any more; that is no reason to stop.
    let _ = writeln!(std::io::stderr(), "xtask:   {what}");
}
