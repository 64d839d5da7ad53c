//! `cargo xtask bench`: what Courtside costs, beside nothing, empty programs and an equivalent bpftrace script.
//!
//! In: the release binary, three loads. Out: docs/overhead.md. Everything is compared within one run, in alternating
//! order, because machines are noisy. Must not know: how anything is drawn (that is `report`).

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::services::Services;
use crate::{build, ebpf, packages, sh};

mod attached;
mod fixed;
mod load;
mod own;
mod programs;
pub mod record;
mod report;

use attached::{Attached, Variant};
use load::Load;
use report::{Accounted, Results};

const PACKAGES: [&str; 6] = [
    "bpftool",
    "bpftrace",
    "bsdutils",
    "linux-perf",
    "redis-server",
    "redis-tools",
];

/// What is built and used by every part.
pub struct Built {
    courtside: PathBuf,
    workload: PathBuf,
    empty: PathBuf,
}

/// Measure, print, and write the page.
pub fn bench(rounds: u32) -> Result<()> {
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
    let results = measure(&built, rounds)?;
    let page = report::page(&results);
    let path = sh::root().join("docs/overhead.md");
    fs::create_dir_all(sh::root().join("docs")).context("no folder docs")?;
    fs::write(&path, &page).with_context(|| format!("cannot write {}", path.display()))?;
    println!("{page}");
    eprintln!("xtask: written to docs/overhead.md");
    Ok(())
}

fn measure(built: &Built, rounds: u32) -> Result<Results> {
    alone()?;
    let machine = machine()?;
    let mut services = Services::new()?;
    let loads = load::start(&mut services, built)?;
    for load in &loads {
        load.run()
            .with_context(|| format!("{} does not run", load.name()))?;
    }
    Ok(Results {
        machine,
        rates: throughput(built, &loads, rounds)?,
        accounted: accounting(built, &loads)?,
        fixed: fixed::measure(built, rounds)?,
        own: own::measure(built)?,
    })
}

/// Fail if somebody else traces this host.
fn alone() -> Result<()> {
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

/// Rates as `[load][round][variant]`.
fn throughput(built: &Built, loads: &[Load], rounds: u32) -> Result<Vec<report::Rates>> {
    let mut rates: Vec<report::Rates> = loads
        .iter()
        .map(|load| report::Rates {
            load: load.name(),
            rounds: Vec::new(),
        })
        .collect();
    for round in 0..rounds {
        eprintln!("xtask: round {} of {rounds}", round + 1);
        alone()?;
        let mut order = Variant::ALL;
        if round % 2 == 1 {
            order.reverse();
        }
        for rates in &mut rates {
            rates.rounds.push([0.0; Variant::ALL.len()]);
        }
        for variant in order {
            let attached = Attached::new(variant, built)?;
            for (rates, load) in rates.iter_mut().zip(loads) {
                let rate = load.run()?.per_second();
                if let Some(last) = rates.rounds.last_mut() {
                    last[variant as usize] = rate;
                }
            }
            drop(attached);
        }
    }
    Ok(rates)
}

/// The kernel's own accounting of every program, on the first load. It costs time itself, so it is never on while
/// rates are measured.
fn accounting(built: &Built, loads: &[Load]) -> Result<Vec<Accounted>> {
    let load = loads.first().context("no load")?;
    let mut all = Vec::new();
    for variant in [Variant::Empty, Variant::Courtside, Variant::Bpftrace] {
        eprintln!("xtask: run time of the programs of {}", variant.name());
        alone()?;
        let before = programs::ids()?;
        let attached = Attached::new(variant, built)?;
        let ours = programs::ids()?.difference(&before).copied().collect();
        let stats = programs::Accounting::start()?;
        let start = programs::costs(&ours)?;
        let done = load.run()?;
        let end = programs::costs(&ours)?;
        drop((stats, attached));
        all.push(Accounted {
            variant,
            roundtrips: done.roundtrips,
            programs: programs::between(&start, &end),
        });
    }
    Ok(all)
}

fn machine() -> Result<report::Machine> {
    let info = fs::read_to_string("/proc/cpuinfo").context("cannot read /proc/cpuinfo")?;
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    Ok(report::Machine {
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
