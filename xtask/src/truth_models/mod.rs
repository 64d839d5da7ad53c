//! `cargo xtask truth models`: what `courtside model` predicts, beside what is then measured.
//!
//! In: the release binary, services of ours whose work is known. Out: docs/models-truth.md. Must not know: how Courtside predicts.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::{bench, build, packages, sh};

mod courtside;
pub mod host;
mod measure;
mod page;
pub mod plan;
pub mod quota;
mod results;
pub mod service;

use host::{Cpus, progress};
use measure::Run;
use results::{Outcome, Results};
use service::Tools;

/// Debian's packages of the programs that are called.
const PACKAGES: [&str; 2] = ["bpftool", "util-linux"];
/// How long the host is looked at before.
const LOOK: Duration = Duration::from_secs(3);
/// More than this of all CPU time, and somebody else runs.
const QUIET: f64 = 0.05;

/// What can be measured alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Three tiers on one CPU: saturation, means, percentiles
    Tiers,
    /// A service that runs out of threads
    Pool,
    /// A service that runs out of its disk
    Disk,
    /// A service that runs out of its CPU quota
    Quota,
    /// Which of two placements is better
    Place,
}

/// Measure, print, and write the page; a quick run, or one of only some parts, is printed.
pub fn models(is_quick: bool, only: &[Part]) -> Result<()> {
    if !sh::is_root() {
        bail!(
            "recordings are made of the kernel. Run: sudo --preserve-env env \"PATH=$PATH\" cargo xtask truth models"
        );
    }
    packages::need("The truth about models", &PACKAGES)?;
    let machine = bench::machine()?;
    let tools = Tools {
        courtside: build::courtside(true)?,
        workload: build::workload()?,
        cpus: Cpus::take()?,
    };
    bench::alone()?;
    let before = page::Before {
        busy: used_by_others(LOOK)?,
        seconds: LOOK.as_secs_f64(),
    };
    let plan = if is_quick { plan::QUICK } else { plan::FULL };
    let folder = sh::target_dir().join("truth-models");
    let results = measure(&tools, plan, &folder, only)?;
    let (text, missed) = page::page(&machine, &before, &plan, is_quick, &results);
    println!("{text}");
    let failed = failed(&results);
    if is_quick || !only.is_empty() {
        eprintln!("xtask: docs/models-truth.md is left alone: a whole run writes it");
    } else {
        let path = sh::root().join("docs/models-truth.md");
        fs::write(&path, &text).with_context(|| format!("cannot write {}", path.display()))?;
        eprintln!("xtask: written to docs/models-truth.md");
    }
    eprintln!(
        "xtask: {} missed; recordings, profiles and predictions are in {}",
        missed.len(),
        folder.display()
    );
    if !failed.is_empty() {
        bail!(
            "these parts failed, as the page says: {0}. Repeat one of them with: cargo xtask truth models --only {1}",
            failed.join(", "),
            failed.first().copied().unwrap_or_default()
        );
    }
    Ok(())
}

/// Names of the parts that failed, as `--only` takes them.
fn failed(results: &Results) -> Vec<&'static str> {
    let mut failed = Vec::new();
    if matches!(results.chain, Outcome::Failed(_)) {
        failed.push("tiers");
    }
    let bounds = results.bounds.iter();
    failed.extend(
        bounds
            .filter(|(_, outcome)| matches!(outcome, Outcome::Failed(_)))
            .map(|(name, _)| *name),
    );
    if matches!(results.placed, Outcome::Failed(_)) {
        failed.push("place");
    }
    failed
}

fn measure(tools: &Tools, plan: plan::Plan, folder: &Path, only: &[Part]) -> Result<Results> {
    let begun = Instant::now();
    let mut run = Run::new(tools, plan, folder.to_owned())?;
    let wanted = |part: Part| only.is_empty() || only.contains(&part);
    let mut fitted = None;
    let chain = outcome(wanted(Part::Tiers), "three tiers", || {
        let (chain, profile) = run.chain()?;
        fitted = Some(profile);
        Ok(chain)
    })?;
    let pool = outcome(
        wanted(Part::Pool),
        "a service that runs out of threads",
        || run.pool(),
    )?;
    let disk = outcome(
        wanted(Part::Disk),
        "a service that runs out of its disk",
        || run.disk(),
    )?;
    let group = wanted(Part::Quota).then(|| quota::Group::new(plan::QUOTA_CPUS));
    let quota = match group {
        None => Outcome::NotAsked,
        Some(Err(error)) => Outcome::Skipped(format!("{error:#}")),
        Some(Ok(group)) => {
            let what = "a service that runs out of its CPU quota";
            outcome(true, what, || run.quota(&group))?
        }
    };
    let placed = outcome(wanted(Part::Place), "two placements", || run.placed(fitted))?;
    Ok(Results {
        chain,
        bounds: vec![("pool", pool), ("disk", disk), ("quota", quota)],
        placed,
        minutes: begun.elapsed().as_secs_f64() / 60.0,
    })
}

/// Measure a part; what fails in it is kept, and others go on. Only a signal ends all.
fn outcome<T>(wanted: bool, what: &str, measure: impl FnOnce() -> Result<T>) -> Result<Outcome<T>> {
    if !wanted {
        return Ok(Outcome::NotAsked);
    }
    eprintln!("xtask: {what}");
    match measure() {
        Ok(done) => Ok(Outcome::Done(done)),
        Err(error) if sh::stopped() => Err(error),
        Err(error) => {
            progress(&format!("failed: {error:#}"));
            Ok(Outcome::Failed(format!("{error:#}")))
        }
    }
}

/// Share of all CPU time that others use now, of 1; if it is much, that is said.
pub fn used_by_others(time: Duration) -> Result<f64> {
    let used = busy(time)?;
    if used > QUIET {
        eprintln!(
            "xtask: {:.0} % of all CPU time is used by others: what is measured now is theirs, too. End them and repeat it",
            used * 100.0
        );
    }
    Ok(used)
}

/// Share of all CPU time that is used in a while, of 1.
fn busy(time: Duration) -> Result<f64> {
    let read = || -> Result<Vec<f64>> {
        let text = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
        let line = text.lines().next().unwrap_or_default();
        // Guest times are part of user times already.
        Ok(line
            .split_whitespace()
            .skip(1)
            .take(8)
            .filter_map(|field| field.parse().ok())
            .collect())
    };
    let before = read()?;
    std::thread::sleep(time);
    let after = read()?;
    let each: Vec<f64> = after
        .iter()
        .zip(&before)
        .map(|(after, before)| after - before)
        .collect();
    let all: f64 = each.iter().sum();
    // The fourth is idle, the fifth waits for a disk.
    let idle: f64 = each.iter().skip(3).take(2).sum();
    if all <= 0.0 {
        bail!("/proc/stat does not count CPU time");
    }
    Ok(1.0 - idle / all)
}
