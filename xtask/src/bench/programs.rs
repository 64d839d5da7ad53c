//! The kernel's accounting of eBPF programs, read by bpftool, which is not ours.
//!
//! In: every program on the host. Out: runs and run time by program. Must not know: whose programs they are.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;

use anyhow::{Context, Result};
use aya::sys::{Stats, enable_stats};
use serde::Deserialize;

use crate::sh;

/// While this lives, the kernel takes the time of every program.
pub struct Accounting(#[expect(dead_code, reason = "held for its destructor")] OwnedFd);

impl Accounting {
    /// Start it.
    pub fn start() -> Result<Self> {
        enable_stats(Stats::RunTime)
            .map(Self)
            .context("the kernel does not account for programs")
    }
}

/// What a program cost.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct Cost {
    id: u32,
    #[serde(rename = "type")]
    kind: String,
    /// Its name, cut to 15 characters by the kernel.
    #[serde(default)]
    pub name: String,
    /// How often it ran.
    #[serde(default, rename = "run_cnt")]
    pub runs: u64,
    /// How long in all.
    #[serde(default)]
    pub run_time_ns: u64,
}

impl Cost {
    /// What a program of that name cost, for tests.
    #[cfg(test)]
    pub fn of(name: &str, runs: u64, run_time_ns: u64) -> Self {
        Self {
            name: name.to_owned(),
            runs,
            run_time_ns,
            ..Self::default()
        }
    }

    /// Nanoseconds a run.
    pub fn each_ns(&self) -> f64 {
        self.run_time_ns as f64 / self.runs as f64
    }
}

/// Programs loaded now.
pub fn ids() -> Result<BTreeSet<u32>> {
    Ok(all()?.into_iter().map(|program| program.id).collect())
}

/// Names of the programs that trace this host now.
pub fn tracing() -> Result<BTreeSet<String>> {
    let traces = |program: &Cost| {
        ["tracing", "tracepoint", "kprobe", "perf_event"]
            .iter()
            .any(|kind| program.kind.contains(kind))
    };
    Ok(all()?
        .into_iter()
        .filter(traces)
        .map(|program| program.name)
        .collect())
}

/// Costs so far of some programs.
pub fn costs(of: &BTreeSet<u32>) -> Result<BTreeMap<u32, Cost>> {
    Ok(all()?
        .into_iter()
        .filter(|p| of.contains(&p.id))
        .map(|p| (p.id, p))
        .collect())
}

/// What was added between two readings, the dearest first; programs that did not run are left out.
pub fn between(start: &BTreeMap<u32, Cost>, end: &BTreeMap<u32, Cost>) -> Vec<Cost> {
    let mut added: Vec<Cost> = end
        .values()
        .map(|end| {
            let start = start.get(&end.id).cloned().unwrap_or_default();
            Cost {
                runs: end.runs.saturating_sub(start.runs),
                run_time_ns: end.run_time_ns.saturating_sub(start.run_time_ns),
                ..end.clone()
            }
        })
        .filter(|cost| cost.runs > 0)
        .collect();
    added.sort_by_key(|cost| std::cmp::Reverse(cost.run_time_ns));
    added
}

fn all() -> Result<Vec<Cost>> {
    let listed = sh::output(sh::command("bpftool").args(["--json", "prog", "show"]))?;
    serde_json::from_str(&listed).context("bpftool printed something else than a list of programs")
}
