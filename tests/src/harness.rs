//! Harness: runs `courtside` and hands out what it said.
//!
//! In: built programs, arguments, a command to measure. Out: JSON, exit status, both streams. A child never outlives
//! its guard, and only one measurement runs at a time on a host. Must not know: what an answer ought to be.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    fs::File,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Output, Stdio},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::sound;

/// Longest that anything here may take: a hung program is a failure, not a hung test.
const PATIENCE: Duration = Duration::from_secs(600);

/// The host, held by one test at a time, with a directory of its own.
pub struct Host {
    dir: TempDir,
    _lock: File,
}

/// What a measurement said.
pub struct Measured {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// The last line that the measured command printed, if it is JSON.
    pub answer: Value,
    /// All that the measured command printed.
    pub stdout: String,
}

/// A snapshot, with the questions that tests ask of it.
pub struct Snapshot(pub Value);

/// A process that is killed by its id when dropped.
pub struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Option<BufReader<ChildStdout>>,
}

/// A program that the workspace builds, next to this one or where the variable says.
///
/// # Errors
/// When it has not been built.
fn built(name: &str, variable: &str, command: &str) -> anyhow::Result<PathBuf> {
    if let Some(path) = env::var_os(variable) {
        return Ok(path.into());
    }
    let own = env::current_exe()?;
    let target = own
        .ancestors()
        .find(|dir| dir.join("CACHEDIR.TAG").exists() || dir.ends_with("target"))
        .context("this test is not under a target directory")?;
    let path = target.join("release").join(name);
    ensure!(
        path.exists(),
        "{} is missing; run: {command}",
        path.display()
    );
    Ok(path)
}

/// The measuring program.
///
/// # Errors
/// When it has not been built.
pub fn courtside() -> anyhow::Result<PathBuf> {
    built("courtside", "COURTSIDE", "cargo xtask build --release")
}

/// The program of the workloads.
///
/// # Errors
/// When it has not been built.
pub fn workload() -> anyhow::Result<PathBuf> {
    built(
        "courtside-workload",
        "COURTSIDE_WORKLOAD",
        "cargo build --release --package courtside-tests",
    )
}

impl Host {
    /// Waits until no other test measures.
    ///
    /// # Errors
    /// When we are not root, or the lock cannot be made.
    pub fn take() -> anyhow::Result<Self> {
        ensure!(
            geteuid().is_root(),
            "these tests attach to the kernel; run: sudo --preserve-env env \"PATH=$PATH\" cargo xtask test"
        );
        let path = env::temp_dir().join("courtside-tests.lock");
        let lock =
            File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        lock.lock()?;
        Ok(Self {
            dir: tempfile::Builder::new().prefix("ct-").tempdir()?,
            _lock: lock,
        })
    }

    /// Four characters that are in no other test's names, for processes to be told apart by.
    #[must_use]
    pub fn tag(&self) -> String {
        let dir = self.dir().as_os_str().to_string_lossy();
        dir.chars()
            .skip(dir.chars().count().saturating_sub(4))
            .collect()
    }

    /// A directory that is removed with the host.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Runs `command` under `courtside stat -F json` with `options`, and waits for both. Its environment is that of both.
    ///
    /// # Errors
    /// When either fails, or the snapshot breaks a law.
    pub fn stat(&self, options: &[&str], command: &mut Command) -> anyhow::Result<Measured> {
        let (text, stdout) = self.printed(options, command)?;
        let snapshot = Snapshot(serde_json::from_str(&text)?);
        sound::check(&snapshot, &schema("snapshot")?)?;
        Ok(Measured {
            snapshot,
            answer: stdout
                .lines()
                .last()
                .and_then(|line| serde_json::from_str(line).ok())
                .unwrap_or_default(),
            stdout,
        })
    }

    /// The same with a snapshot each `interval`; and all that the command printed.
    ///
    /// # Errors
    /// When either fails, or a snapshot breaks a law.
    pub fn windows(
        &self,
        interval: &str,
        command: &mut Command,
    ) -> anyhow::Result<(Vec<Snapshot>, String)> {
        let (text, stdout) = self.printed(&["-i", interval], command)?;
        let schema = schema("snapshot")?;
        let mut windows = Vec::new();
        for window in serde_json::Deserializer::from_str(&text).into_iter::<Value>() {
            let snapshot = Snapshot(window?);
            sound::check(&snapshot, &schema)?;
            windows.push(snapshot);
        }
        Ok((windows, stdout))
    }

    /// What `courtside stat -F json` with `options` wrote while it ran `command`, and what that printed.
    fn printed(&self, options: &[&str], command: &mut Command) -> anyhow::Result<(String, String)> {
        let path = self.dir().join("snapshot.json");
        let mut stat = Command::new(courtside()?);
        stat.args(["stat", "-F", "json", "-o"])
            .arg(&path)
            .args(options)
            .arg("--")
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            stat.env(name, value.unwrap_or_default());
        }
        let output = finish(stat)?;
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(
            output.status.success(),
            "{}: {}\n{stdout}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok((fs::read_to_string(&path)?, stdout))
    }

    /// Runs a workload under `courtside stat`.
    ///
    /// # Errors
    /// When either fails.
    pub fn measure(&self, arguments: &[&str]) -> anyhow::Result<Measured> {
        self.measure_with(&[], arguments)
    }

    /// Runs a workload under `courtside stat` with `options`.
    ///
    /// # Errors
    /// When either fails.
    pub fn measure_with(&self, options: &[&str], arguments: &[&str]) -> anyhow::Result<Measured> {
        self.stat(options, Command::new(workload()?).args(arguments))
    }
}

/// A JSON Schema that `courtside` prints.
///
/// # Errors
/// When it does not.
pub fn schema(name: &str) -> anyhow::Result<Value> {
    static KNOWN: Mutex<BTreeMap<String, Value>> = Mutex::new(BTreeMap::new());
    let known = KNOWN.lock().map(|known| known.get(name).cloned());
    if let Ok(Some(schema)) = known {
        return Ok(schema);
    }
    let schema: Value = printed_schema(name)?;
    if let Ok(mut known) = KNOWN.lock() {
        known.insert(name.to_owned(), schema.clone());
    }
    Ok(schema)
}

fn printed_schema(name: &str) -> anyhow::Result<Value> {
    let mut command = Command::new(courtside()?);
    command.args(["schema", name]);
    Ok(serde_json::from_slice(&finish(command)?.stdout)?)
}

impl Snapshot {
    /// The one component of this name.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn component(&self, name: &str) -> anyhow::Result<&Value> {
        one(&self.0, "components", |component| component["name"] == name)
            .with_context(|| format!("component {name}"))
    }

    /// The one edge between components of these names.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn edge(&self, from: &str, to: &str) -> anyhow::Result<&Value> {
        match self.edges(from, to).as_slice() {
            &[only] => Ok(only),
            edges => bail!("{} edges {from} → {to}: {}", edges.len(), self.0["edges"]),
        }
    }

    /// All edges between components of these names; there is one for each port.
    #[must_use]
    pub fn edges(&self, from: &str, to: &str) -> Vec<&Value> {
        list(&self.0, "edges")
            .filter(|edge| self.name(&edge["from"]) == from && self.name(&edge["to"]) == to)
            .collect()
    }

    /// Names of all components that this one calls, and of all that call it.
    #[must_use]
    pub fn neighbours(&self, name: &str) -> BTreeSet<(&str, &str)> {
        list(&self.0, "edges")
            .map(|edge| (self.name(&edge["from"]), self.name(&edge["to"])))
            .filter(|&(from, to)| from == name || to == name)
            .collect()
    }

    /// The entry at the component of this name.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn entry(&self, name: &str) -> anyhow::Result<&Value> {
        one(&self.0, "entries", |entry| {
            self.name(&entry["component"]) == name
        })
        .with_context(|| format!("entry {name}"))
    }

    /// Name of the component with this id.
    #[must_use]
    pub fn name<'a>(&'a self, id: &'a Value) -> &'a str {
        list(&self.0, "components")
            .find(|component| component["id"] == *id)
            .map_or(id, |component| &component["name"])
            .as_str()
            .unwrap_or_default()
    }

    /// Classes of loss that are not zero. `history` is none for a count: there only the parts are approximate. Nor is
    /// `unplaced_protocol` of ours: whoever runs on the host may talk in any protocol.
    #[must_use]
    pub fn lost_counts(&self) -> Vec<(&str, u64)> {
        self.0["quality"]["lost"]
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(class, count)| Some((class.as_str(), count.as_u64()?)))
            .filter(|&(class, count)| {
                class != "history" && class != "unplaced_protocol" && count > 0
            })
            .collect()
    }
}

/// The items of a list, none if there is no list.
pub fn list<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value[name].as_array().into_iter().flatten()
}

fn one<'a>(
    snapshot: &'a Value,
    of: &str,
    is_it: impl Fn(&Value) -> bool,
) -> anyhow::Result<&'a Value> {
    let found: Vec<_> = list(snapshot, of).filter(|item| is_it(item)).collect();
    match found.as_slice() {
        &[only] => Ok(only),
        [] => bail!("is not in the snapshot: {}", snapshot[of]),
        _ => bail!("is in the snapshot {} times: {found:?}", found.len()),
    }
}

/// A whole number at a path like `turnaround/count`.
///
/// # Errors
/// When there is none.
pub fn number(value: &Value, path: &str) -> anyhow::Result<u64> {
    value
        .pointer(&format!("/{path}"))
        .and_then(Value::as_u64)
        .with_context(|| format!("no whole number at {path} in {value}"))
}

/// Waits for a command's end, and kills it if it takes too long.
///
/// # Errors
/// When it cannot be started, or takes too long.
pub fn finish(mut command: Command) -> anyhow::Result<Output> {
    command.stdin(Stdio::null());
    command.stderr(Stdio::piped());
    let mut running = Running::start(&mut command)?;
    let stderr = running.child.stderr.take();
    let stderr = thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stderr) = stderr {
            let _ = stderr.read_to_end(&mut bytes);
        }
        bytes
    });
    let stdout = running.lines.take();
    let stdout = thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stdout) = stdout {
            let _ = stdout.read_to_end(&mut bytes);
        }
        bytes
    });
    let status = running.wait()?;
    let join = |thread: thread::JoinHandle<Vec<u8>>| thread.join().unwrap_or_default();
    Ok(Output {
        status,
        stdout: join(stdout),
        stderr: join(stderr),
    })
}

impl Running {
    /// Starts a command whose stdout is ours to read.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(command: &mut Command) -> anyhow::Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        Ok(Self {
            stdin: child.stdin.take(),
            lines: child.stdout.take().map(BufReader::new),
            child,
        })
    }

    /// Id of the process.
    #[must_use]
    pub fn tgid(&self) -> u32 {
        self.child.id()
    }

    /// The next line of its stdout, empty at the end.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        if let Some(lines) = &mut self.lines {
            lines.read_line(&mut line)?;
        }
        Ok(line.trim_end().to_owned())
    }

    /// Writes a line to its stdin, which must be a pipe.
    ///
    /// # Errors
    /// When nobody reads it.
    pub fn tell(&mut self, line: &str) -> anyhow::Result<()> {
        let stdin = self.stdin.as_mut().context("stdin is not a pipe")?;
        writeln!(stdin, "{line}")?;
        Ok(())
    }

    /// Ends its stdin, which must be a pipe.
    pub fn stop_talking(&mut self) {
        self.stdin = None;
    }

    /// Stops reading its stdout, as `head` does.
    pub fn stop_reading(&mut self) {
        self.lines = None;
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = i32::try_from(self.tgid()).ok().and_then(Pid::from_raw);
        Ok(kill_process(pid.context("no process id")?, signal)?)
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn runs(&mut self) -> anyhow::Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it takes too long.
    pub fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            ensure!(
                Instant::now() < deadline,
                "process {} did not end in {PATIENCE:?}",
                self.tgid()
            );
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if the child has been waited for, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Tries until it is so, or for too long.
///
/// # Errors
/// When it did not become so.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        ensure!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
