//! `cargo xtask bench`: what Courtside costs, beside nothing, empty programs and bpftrace scripts.
//!
//! In: the release binary, loads. Out: docs/overhead.md. Everything is compared within one run, in alternating
//! order, because machines are noisy. Must not know: how anything is drawn (that is `report`).

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::services::Services;
use crate::{build, ebpf, packages, sh};

mod accounting;
mod accounts;
mod attached;
mod fixed;
mod load;
mod nginx;
mod own;
mod pinned;
mod programs;
pub mod record;
mod report;
mod rounds;
pub mod serve;
mod spread;

use attached::{Attached, Variant};
use load::Load;
pub use report::Machine;
use report::{Rates, Results};
use rounds::{Rounds, in_turn};

const PACKAGES: [&str; 8] = [
    "bpftool",
    "bpftrace",
    "bsdutils",
    "linux-perf",
    "nginx-light",
    "redis-server",
    "redis-tools",
    "wrk",
];

/// What can be measured alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Figure {
    /// Run time of programs by the kernel's own accounting, single events among them
    Programs,
    /// Throughput of ping-pongs and of redis-benchmark
    Throughput,
    /// Throughput of wrk against nginx
    Wrk,
    /// p99 of redis and nginx at a fixed rate, pinned
    P99,
    /// CPU and memory of the dashboard itself
    Dashboard,
}

/// What is built and used by every part.
pub struct Built {
    courtside: PathBuf,
    workload: PathBuf,
    empty: PathBuf,
}

/// Measure, print, and write the page; with only some of the figures, print.
pub fn bench(rounds: u32, only: &[Figure]) -> Result<()> {
    if !sh::is_root() {
        bail!(
            "the bench loads programs into the kernel. Run: sudo --preserve-env env \"PATH=$PATH\" cargo xtask bench"
        );
    }
    packages::need("The bench", &PACKAGES)?;
    let built = Built {
        courtside: build::courtside(true)?,
        workload: build::workload()?,
        empty: ebpf::object(
            "courtside-empty",
            &sh::target_dir().join("bench/empty.bpf.o"),
        )?,
    };
    let results = measure(&built, rounds, only)?;
    let path = sh::root().join("docs/overhead.md");
    let before = fs::read_to_string(&path).unwrap_or_default();
    let page = report::page(&results, &before);
    if !only.is_empty() {
        println!("{page}");
        eprintln!("xtask: docs/overhead.md is left alone: it is written with all figures");
        return Ok(());
    }
    fs::create_dir_all(sh::root().join("docs")).context("no folder docs")?;
    fs::write(&path, &page).with_context(|| format!("cannot write {}", path.display()))?;
    println!("{page}");
    eprintln!("xtask: written to docs/overhead.md");
    Ok(())
}

fn measure(built: &Built, rounds: u32, only: &[Figure]) -> Result<Results> {
    alone()?;
    let wanted = |figure: Figure| only.is_empty() || only.contains(&figure);
    let mut results = Results {
        machine: machine()?,
        accounts: None,
        rates: Vec::new(),
        wrk: None,
        fixed: Vec::new(),
        own: None,
    };
    if wanted(Figure::Programs) {
        results.accounts = Some(accounting::measure(built, Rounds::of(rounds))?);
    }
    if wanted(Figure::Throughput) {
        let mut services = Services::new()?;
        let loads = load::start(&mut services, built)?;
        results.rates = throughput("throughput", built, &loads, &SATURATED, Rounds::of(rounds))?;
    }
    if wanted(Figure::Wrk) {
        let mut services = Services::new()?;
        let port = nginx::start(&mut services)?;
        let loads = [Load::Wrk { port }];
        results.wrk = throughput("wrk", built, &loads, &WRK, Rounds::until_narrow(rounds))?.pop();
    }
    if wanted(Figure::P99) {
        results.fixed = fixed::measure(built, Rounds::until_narrow(rounds))?;
    }
    if wanted(Figure::Dashboard) {
        results.own = Some(own::measure(built, Rounds::of(rounds))?);
    }
    Ok(results)
}

/// Fail if somebody else traces this host.
pub fn alone() -> Result<()> {
    // The kernel frees programs some time after their process has gone.
    let patience = Instant::now() + Duration::from_secs(10);
    let mut others = programs::tracing()?;
    while !others.is_empty() && Instant::now() < patience {
        thread::sleep(Duration::from_millis(100));
        others = programs::tracing()?;
    }
    if !others.is_empty() {
        let names: Vec<_> = others.iter().map(String::as_str).collect();
        bail!(
            "somebody else traces this host, which would be measured too ({}). Find them with: bpftool prog show",
            names.join(", ")
        );
    }
    Ok(())
}

/// What is attached while the loads run that take everything.
const SATURATED: [Variant; 4] = [
    Variant::Nothing,
    Variant::Empty,
    Variant::Courtside,
    Variant::Bpftrace,
];

/// What is attached while wrk runs.
const WRK: [Variant; 3] = [Variant::Nothing, Variant::Empty, Variant::Stat];

/// Rates of every load. More rounds depend on the last of them.
fn throughput(
    what: &str,
    built: &Built,
    loads: &[Load],
    variants: &'static [Variant],
    rounds: Rounds,
) -> Result<Vec<Rates>> {
    for load in loads {
        load.run()
            .with_context(|| format!("{} does not run", load.name()))?;
    }
    let mut rates: Vec<Rates> = loads
        .iter()
        .map(|load| Rates {
            load: load.name(),
            variants,
            rounds: Vec::new(),
        })
        .collect();
    let ours = if variants.contains(&Variant::Stat) {
        Variant::Stat
    } else {
        Variant::Courtside
    };
    rounds.take(what, |round| {
        for rates in &mut rates {
            rates.rounds.push(vec![f64::NAN; variants.len()]);
        }
        let numbers: Vec<usize> = (0..variants.len()).collect();
        for number in in_turn(&numbers, round) {
            alone()?;
            let attached = Attached::new(variants[number], built)?;
            for (rates, load) in rates.iter_mut().zip(loads) {
                let rate = load.run()?.per_second();
                if let Some(last) = rates.rounds.last_mut() {
                    last[number] = rate;
                }
            }
            drop(attached);
        }
        let ratios: Vec<_> = rates.iter().map(|rates| rates.ratio(ours)).collect();
        for (rates, ratio) in rates.iter().zip(&ratios) {
            let [low, high] = ratio.interval;
            eprintln!(
                "xtask:   {}: × {:.3} ({low:.3}–{high:.3})",
                rates.load, ratio.median
            );
        }
        ratios.last().copied().context("no load")
    })?;
    Ok(rates)
}

pub fn machine() -> Result<Machine> {
    let info = fs::read_to_string("/proc/cpuinfo").context("cannot read /proc/cpuinfo")?;
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    Ok(Machine {
        cpu: model
            .map_or(std::env::consts::ARCH, |(_, model)| model)
            .to_owned(),
        cpus: std::thread::available_parallelism()?.get(),
        kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?
            .trim()
            .to_owned(),
        load: fs::read_to_string("/proc/loadavg")?
            .split_whitespace()
            .next()
            .unwrap_or_default()
            .to_owned(),
        day: sh::output(sh::command("date").args(["--utc", "+%F"]))?
            .trim()
            .to_owned(),
    })
}
