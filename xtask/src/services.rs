//! Programs that run beside us for a while: started, waited for, and ended by their id.
//!
//! In: commands. Out: running services with a folder and logs of their own; all gone when this is dropped, and also
//! when xtask is killed. Must not know: what the services are.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::sh;

const PATIENCE: Duration = Duration::from_secs(30);

/// Services, in the order they were started.
pub struct Services {
    running: Vec<(String, Child)>,
    dir: TempDir,
}

impl Services {
    /// None yet.
    pub fn new() -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("courtside-")
            .tempdir()
            .context("no temporary folder")?;
        Ok(Self {
            running: Vec::new(),
            dir,
        })
    }

    /// The folder that goes when they go.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Start one; what it prints goes to a log.
    pub fn start(&mut self, name: &str, command: &Command) -> Result<()> {
        eprintln!("+ {}", sh::shown(command));
        let log = File::create(self.log(name))?;
        // setpriv, because a service must also go when xtask cannot tell it to.
        let mut child = sh::command("setpriv");
        child
            .args(["--pdeathsig", "TERM", "--"])
            .arg(command.get_program())
            .args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => child.env(key, value),
                None => child.env_remove(key),
            };
        }
        let child = child
            .current_dir(command.get_current_dir().unwrap_or(self.dir.path()))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        self.running.push((name.to_owned(), child));
        Ok(())
    }

    /// Wait until something listens on a loopback port.
    pub fn wait_for_port(&mut self, port: u16) -> Result<()> {
        self.wait_until(&format!("port {port}"), || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        })
    }

    /// Wait until a file is there.
    pub fn wait_for_file(&mut self, path: &Path) -> Result<()> {
        self.wait_until(&path.display().to_string(), || path.exists())
    }

    /// Wait until a service has printed some text.
    pub fn wait_for_text(&mut self, name: &str, text: &str) -> Result<()> {
        let log = self.log(name);
        self.wait_until(&format!("`{text}` from {name}"), || {
            fs::read(&log).is_ok_and(|said| String::from_utf8_lossy(&said).contains(text))
        })
    }

    /// Process id of a service.
    pub fn id(&self, name: &str) -> Option<u32> {
        let (_, child) = self.running.iter().find(|(running, _)| *running == name)?;
        Some(child.id())
    }

    /// Let them run for a while.
    pub fn settle(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        self.wait_until("the services", || Instant::now() >= end)
    }

    fn wait_until(&mut self, what: &str, ready: impl Fn() -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !ready() {
            self.check()?;
            if Instant::now() > deadline {
                bail!("waited {} s for {what} in vain", PATIENCE.as_secs());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.check()
    }

    /// Fail if one of them has ended, with the end of what it said.
    fn check(&mut self) -> Result<()> {
        if sh::stopped() {
            bail!("stopped by a signal");
        }
        for (name, child) in &mut self.running {
            if let Some(status) = child.try_wait()? {
                let log = fs::read_to_string(self.dir.path().join(format!("{name}.log")))
                    .unwrap_or_default();
                let lines: Vec<_> = log.lines().collect();
                let tail = lines
                    .get(lines.len().saturating_sub(10)..)
                    .unwrap_or_default()
                    .join("\n  ");
                bail!("{name} ended: {status}\n  {tail}");
            }
        }
        Ok(())
    }

    fn log(&self, name: &str) -> PathBuf {
        self.dir.path().join(format!("{name}.log"))
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        while let Some((_, mut child)) = self.running.pop() {
            sh::stop(&mut child);
        }
    }
}

/// A loopback port that is free now.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))
        .context("no free port")?
        .local_addr()?
        .port())
}
