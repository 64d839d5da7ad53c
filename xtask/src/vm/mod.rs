//! `cargo xtask vm`: real kernels in emulated machines, and whether Courtside is right on each of them.
//!
//! In: the workspace, Debian's kernel packages, QEMU. Out: a verdict for each test on each kernel, and docs/kernels.md
//! when all was run and nothing failed.
//! Must not know: what a test does (that is `tests/src/guest`).

use std::fs;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::{packages, sh};
pub use kernels::Arch;
use kernels::{KERNELS, Kernel};
use ledger::Ledger;
use machine::{Asked, Told};
use matrix::KernelColumn;

mod apt;
pub mod cost;
pub mod cross;
mod image;
mod kernels;
mod ledger;
mod machine;
mod matrix;

/// What becomes of docs/kernels.md when everything was run and nothing failed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Page {
    Write,
    Leave,
}

/// Judge what all machines said when they ran last, without booting them, and write docs/kernels.md.
pub fn last() -> Result<()> {
    let mut verdict = Verdict::new()?;
    for kernel in KERNELS {
        verdict.judge(kernel, kernel.fetch()?, machine::said_last(kernel)?, true);
    }
    verdict.end(Page::Write)
}

/// Boot the kernels that were asked for (all if none was), and run the tests whose name holds `only`.
pub fn vm(wanted: &[String], only: Option<&str>, page: Page) -> Result<()> {
    let kernels = select(wanted)?;
    for kernel in &kernels {
        packages::need("The machines", &[kernel.arch.emulator()])?;
    }
    let everything = wanted.is_empty() && only.is_none();
    let machines = kernels
        .into_iter()
        .map(|kernel| {
            Ok(Machine {
                kernel,
                image: image::build(kernel.arch)?,
                release: kernel.fetch()?,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let asked = only.map_or(Asked::Tests, Asked::Only);
    let mut verdict = Verdict::new()?;
    for (machine, said) in machines.iter().zip(boot_all(&machines, asked)?) {
        verdict.judge(
            machine.kernel,
            machine.release.clone(),
            said?,
            only.is_none(),
        );
    }
    verdict.end(if everything { page } else { Page::Leave })
}

/// What became of the machines so far.
struct Verdict {
    ledger: Ledger,
    failed: Vec<String>,
    lines: Vec<String>,
    columns: Vec<KernelColumn>,
}

impl Verdict {
    fn new() -> Result<Self> {
        Ok(Self {
            ledger: Ledger::read(&sh::root().join("tests/vm-ledger.toml"))?,
            failed: Vec::new(),
            lines: Vec::new(),
            columns: Vec::new(),
        })
    }

    /// Adds one machine. `whole`: all of its tests were to run.
    fn judge(&mut self, kernel: &Kernel, release: String, told: Told, whole: bool) {
        let mut judged = self.ledger.judge(kernel.name, &told, whole);
        let lines = judged.lines.iter().map(|line| format!("  {line}"));
        self.lines.push(format!("Linux {release}"));
        self.lines.extend(lines);
        for hard in matrix::over_budget(&told) {
            self.lines.push(format!("  FAILED  {hard}"));
            judged.failed.push("the verifier's budget".to_owned());
        }
        if !judged.failed.is_empty() {
            let failed = format!("{}: {}", kernel.name, judged.failed.join(", "));
            self.failed.push(failed);
        }
        self.columns.push(KernelColumn {
            name: kernel.name,
            release,
            told,
            holds: judged.holds,
            cpi: kernel.cpi_shift.map(|shift| 1 << shift),
        });
    }

    fn end(self, page: Page) -> Result<()> {
        eprintln!("\nxtask vm:\n{}", self.lines.join("\n"));
        if !self.failed.is_empty() {
            bail!("failed: {}", self.failed.join("; "));
        }
        if page == Page::Write {
            let path = sh::root().join("docs/kernels.md");
            fs::write(path, matrix::page(self.columns)).context("cannot write docs/kernels.md")?;
            eprintln!("xtask: written to docs/kernels.md");
        }
        Ok(())
    }
}

/// What is booted.
struct Machine {
    kernel: &'static Kernel,
    image: PathBuf,
    release: String,
}

/// Boots all, one on each CPU of this host, and says in their order what each said.
fn boot_all(machines: &[Machine], asked: Asked<'_>) -> Result<Vec<Result<Told>>> {
    let next = AtomicUsize::new(0);
    let mut said = Vec::new();
    let at_once = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..at_once)
            .map(|_| {
                scope.spawn(|| {
                    let mut said = Vec::new();
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        let Some(machine) = machines.get(number) else {
                            return said;
                        };
                        said.push((number, boot(machine, asked)));
                    }
                })
            })
            .collect();
        for worker in workers {
            let of_one = worker
                .join()
                .map_err(|_| anyhow::anyhow!("a thread that ran machines panicked"))?;
            said.extend(of_one);
        }
        Ok::<_, anyhow::Error>(())
    })?;
    said.sort_by_key(|(number, _)| *number);
    Ok(said.into_iter().map(|(_, said)| said).collect())
}

fn boot(machine: &Machine, asked: Asked<'_>) -> Result<Told> {
    let start = Instant::now();
    eprintln!("\nxtask: Linux {}", machine.release);
    let told = machine::boot(machine.kernel, &machine.image, asked)?;
    let took = start.elapsed().as_secs_f64();
    eprintln!("xtask: Linux {} ran {took:.0} s", machine.release);
    Ok(told)
}

fn select(wanted: &[String]) -> Result<Vec<&'static Kernel>> {
    if wanted.is_empty() {
        return Ok(KERNELS.iter().collect());
    }
    wanted
        .iter()
        .map(|name| {
            KERNELS
                .iter()
                .find(|kernel| kernel.name == name)
                .ok_or_else(|| {
                    let names: Vec<_> = KERNELS.iter().map(|kernel| kernel.name).collect();
                    anyhow::anyhow!("no kernel {name}; there are {}", names.join(", "))
                })
        })
        .collect()
}
