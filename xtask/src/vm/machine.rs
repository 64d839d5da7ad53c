//! Machine: QEMU with emulation in software, from power-on to power-off.
//!
//! In: a kernel and an image. Out: what the machine said on its console. Must not know: what that means.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::kernels::{Arch, Kernel, dir};
use crate::sh;

/// Begins each line that is meant for us; as in `tests/src/guest`.
const MARK: &str = "@courtside ";
/// Longest that a machine may run.
const PATIENCE: Duration = Duration::from_secs(1200);

/// Without `cmpxchg16b`: QEMU 7.2 leaves rubbish in the flags after it, a kernel that saves them traps, and dies.
const CPU: &str = "max,-cx16";

/// Pointers are signed by a short calculation instead of the real one, which is most of the time otherwise.
const ARM_CPU: &str = "max,pauth-impdef=on";

/// The two CPUs take turns in one thread. In a thread each, on a busy host, one may run an instruction that the other has
/// replaced long ago: an attach changes the kernel's code by way of a breakpoint, and a stale one is a panic (`Oops: int3`).
const EMULATION: &str = "tcg,thread=single";

/// A nanosecond for each instruction, and none for nothing to do.
const CLOCK: &str = "shift=0,sleep=off";

/// What a machine said.
#[derive(Debug, Default)]
pub struct Told {
    /// One for each test, in order.
    pub results: Vec<Value>,
    /// It came to its end.
    pub done: bool,
    /// Why it did not, if it said.
    pub failed: Option<String>,
}

/// What a machine is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked<'a> {
    /// All of its tests.
    Tests,
    /// Those with this in their name.
    Only(&'a str),
    /// To tell what a roundtrip costs, with a clock that counts instructions.
    Cost,
}

/// Boot, and listen until the power is off.
pub fn boot(kernel: &Kernel, image: &std::path::Path, asked: Asked<'_>) -> Result<Told> {
    let log = log(kernel);
    let mut command = qemu(kernel, image, asked);
    eprintln!("+ {} (console in {})", sh::shown(&command), log.display());
    let mut machine = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start QEMU")?;
    let console = machine.stdout.take().context("QEMU has no console")?;
    let (sender, lines) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut console = BufReader::new(console);
        let mut line = Vec::new();
        while console
            .read_until(b'\n', &mut line)
            .is_ok_and(|read| read > 0)
        {
            if sender
                .send(String::from_utf8_lossy(&line).trim_end().to_owned())
                .is_err()
            {
                return;
            }
            line.clear();
        }
    });
    let deadline = Instant::now() + PATIENCE;
    let mut told = Told::default();
    let mut text = String::new();
    let mut file =
        fs::File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
    loop {
        match lines.recv_timeout(Duration::from_millis(100)) {
            Ok(line) => {
                hear(kernel, &line, &mut told);
                text.push_str(&line);
                text.push('\n');
                writeln!(file, "{line}")?;
            }
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
        }
        if sh::stopped() || Instant::now() > deadline {
            sh::stop(&mut machine);
        }
    }
    let _ = reader.join();
    let status = machine.wait()?;
    if sh::stopped() {
        bail!("stopped by a signal");
    }
    if !status.success() {
        bail!("QEMU: {status}; see {}", log.display());
    }
    if !told.done && told.failed.is_none() {
        let tail: Vec<&str> = text.lines().rev().take(15).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        told.failed = Some(format!(
            "the machine stopped in between; it said last:\n{}",
            tail.join("\n")
        ));
    }
    Ok(told)
}

/// What the machine said when it ran last.
pub fn said_last(kernel: &Kernel) -> Result<Told> {
    let log = log(kernel);
    let text = fs::read(&log)
        .with_context(|| format!("{} has not run here (no {})", kernel.name, log.display()))?;
    let mut told = Told::default();
    for line in String::from_utf8_lossy(&text).lines() {
        hear(kernel, line, &mut told);
    }
    if !told.done && told.failed.is_none() {
        told.failed = Some("the machine stopped in between".to_owned());
    }
    Ok(told)
}

/// Where its console goes.
fn log(kernel: &Kernel) -> PathBuf {
    dir().join(format!("{}.log", kernel.name))
}

fn hear(kernel: &Kernel, line: &str, told: &mut Told) {
    let Some(said) = line.split_once(MARK).map(|(_, said)| said) else {
        return;
    };
    let Ok(said) = serde_json::from_str::<Value>(said) else {
        told.failed = Some(format!("the machine said `{said}`"));
        return;
    };
    if said["test"].is_string() {
        let word = if said["ok"] == true { "ok" } else { "failed" };
        eprintln!(
            "  {word:<7} {}: {} ({} ms)",
            kernel.name,
            said["test"].as_str().unwrap_or_default(),
            said["took_ms"]
        );
        told.results.push(said);
    } else if said["done"] == true {
        told.done = true;
    } else if let Some(why) = said["failed"].as_str() {
        told.failed = Some(why.to_owned());
    }
}

fn qemu(kernel: &Kernel, image: &std::path::Path, asked: Asked<'_>) -> Command {
    let (program, machine, cpu, console) = match kernel.arch {
        Arch::X86_64 => ("qemu-system-x86_64", "q35", CPU, "ttyS0"),
        Arch::Aarch64 => ("qemu-system-aarch64", "virt", ARM_CPU, "ttyAMA0"),
    };
    let mut command = sh::command(program);
    // Without hardware help: it is the same everywhere, and there may be none.
    command
        .args(["-M", machine, "-accel", EMULATION, "-cpu", cpu])
        .args(["-m", "1024", "-nographic", "-no-reboot", "-net", "none"]);
    let mut words = format!("console={console} panic=-1 quiet loglevel=1");
    let shift = match asked {
        Asked::Cost => Some(0),
        Asked::Tests | Asked::Only(_) => kernel.cpi_shift,
    };
    match shift {
        None => {
            command.args(["-smp", "2"]);
            if kernel.counts_instructions {
                command.args(["-icount", CLOCK]);
                words.push_str(" courtside.counts");
            }
        }
        // Each instruction then takes 2^shift nanoseconds of the machine's clock, and a nanosecond is a cycle.
        Some(shift) => {
            command.args(["-smp", "1", "-icount", &format!("shift={shift}")]);
            words = format!("{words} courtside.cpi={}", 1_u64 << shift);
        }
    }
    if !kernel.parameters.is_empty() {
        words = format!("{words} {}", kernel.parameters);
    }
    match asked {
        Asked::Tests => {}
        Asked::Only(only) => {
            words = format!("{words} courtside.only={}", only.replace(' ', "_"));
        }
        Asked::Cost => words.push_str(" courtside.cost"),
    }
    command
        .arg("-kernel")
        .arg(kernel.file())
        .arg("-initrd")
        .arg(image)
        .arg("-append")
        .arg(words);
    command
}
