//! `cargo xtask bench serve`: whether the memory of an agent levels off beside programs that come and go.
//!
//! In: `courtside serve`, and programs that end at once, each under a name of its own. Out: a table, minute by minute. Must not
//! know: what the agent keeps.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::symlink,
    path::Path,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::machine;
use crate::sh;

/// New programs a second.
const PROGRAMS: u32 = 45;
const MINUTE: Duration = Duration::from_secs(60);

/// An agent under way; it is ended when dropped.
struct Agent {
    what: &'static str,
    child: Child,
    /// Resident memory at the end of each minute, the first one when it had begun.
    resident_kib: Vec<u64>,
}

impl Drop for Agent {
    fn drop(&mut self) {
        sh::stop(&mut self.child);
    }
}

/// Runs for so many minutes, and prints.
pub fn bench(minutes: u32) -> Result<()> {
    ensure!(sh::is_root(), "measuring needs root");
    let courtside = sh::target_dir().join("release/courtside");
    ensure!(
        courtside.exists(),
        "{} is not there: cargo xtask build --release",
        courtside.display()
    );
    let machine = machine()?;
    let folder = tempfile::tempdir()?;
    let export = folder.path().join("export").display().to_string();
    let state = folder.path().join("state").display().to_string();
    let mut agents = Vec::new();
    for (what, options) in [
        ("serve", vec![]),
        ("serve --guard", vec!["--guard", "--state", &state]),
        ("serve --export", vec!["--export", &export]),
    ] {
        agents.push(start(&courtside, what, &options)?);
    }
    let begun = Instant::now();
    let mut programs = 0u32;
    for minute in 0..=minutes {
        while begun.elapsed() < MINUTE * minute {
            ensure!(!sh::stopped(), "stopped");
            program(folder.path(), programs)?;
            programs += 1;
            let due = Duration::from_secs(1) * programs / PROGRAMS;
            std::thread::sleep(due.saturating_sub(begun.elapsed()));
        }
        for agent in &mut agents {
            agent.resident_kib.push(resident_kib(&agent.child)?);
        }
    }
    println!(
        "{} × {}, Linux {}; ten windows a second beside {programs} new programs in {minutes} minutes; resident memory in MB\n",
        machine.cpus, machine.cpu, machine.kernel
    );
    let columns: Vec<String> = (0..=minutes)
        .map(|minute| format!(" {minute} min"))
        .collect();
    println!("| |{} |", columns.join(" |"));
    println!("|---|{}", "---:|".repeat(columns.len()));
    for agent in &agents {
        let cells = agent.resident_kib.iter();
        let cells: Vec<String> = cells
            .map(|kib| format!(" {:.1}", *kib as f64 * 1024.0 / 1e6))
            .collect();
        println!("| `{}` |{} |", agent.what, cells.join(" |"));
    }
    Ok(())
}

fn start(courtside: &Path, what: &'static str, options: &[&str]) -> Result<Agent> {
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let mut command = sh::command(courtside);
    command.args(["serve", "-i", "100ms", "--listen", &address]);
    command.args(options).stdout(Stdio::null());
    let mut agent = Agent {
        what,
        child: command.spawn().context("cannot start the agent")?,
        resident_kib: Vec::new(),
    };
    let begun = Instant::now();
    while std::net::TcpStream::connect(&address).is_err() {
        let ended = agent.child.try_wait()?;
        ensure!(ended.is_none(), "{what} has ended at once");
        ensure!(begun.elapsed() < MINUTE, "{what} does not answer");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(agent)
}

/// One that ends at once, under a name that none had before.
fn program(folder: &Path, number: u32) -> Result<()> {
    let path = folder.join(format!("p{number}"));
    symlink("/bin/true", &path)?;
    let status = sh::command(&path).status()?;
    ensure!(status.success(), "{} failed", path.display());
    Ok(fs::remove_file(&path)?)
}

fn resident_kib(child: &Child) -> Result<u64> {
    let path = format!("/proc/{}/status", child.id());
    let status = fs::read_to_string(&path).context("the agent has ended")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number
        .and_then(|number| number.parse().ok())
        .with_context(|| format!("no VmRSS in {path}"))
}
