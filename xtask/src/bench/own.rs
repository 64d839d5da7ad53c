//! What the dashboard itself takes while it shows about a hundred components.
//!
//! In: 25 chains of four processes. Out: CPU and memory of the process `courtside`, one figure a round. Must not know:
//! the kernel side.

use std::fs;
use std::time::Instant;

use anyhow::{Context, Result};

use super::report::Own;
use super::rounds::Rounds;
use super::spread::Spread;
use super::{Built, attached};
use crate::services::Services;
use crate::sh;

const CHAINS: u32 = 25;
const WARM_UP: std::time::Duration = std::time::Duration::from_secs(5);
const MEASURED: std::time::Duration = std::time::Duration::from_secs(4);

/// Start the chains and the dashboard, and watch it.
pub fn measure(built: &Built, rounds: Rounds) -> Result<Own> {
    eprintln!(
        "xtask: the dashboard itself, with {} components",
        CHAINS * 4
    );
    let mut services = Services::new()?;
    for chain in 0..CHAINS {
        let name = format!("chain-{chain}");
        services.start(
            &name,
            sh::command(&built.workload)
                .args([
                    "relay",
                    "--serve",
                    "--rate",
                    "10",
                    &format!("--suffix=-{chain}"),
                ])
                .args([
                    "--web",
                    "spin=0.02ms,calls=1",
                    "--app",
                    "spin=0.02ms,calls=1",
                ])
                .args(["--store", "spin=0.02ms"]),
        )?;
        services.wait_for_text(&name, "ready")?;
    }
    attached::start_courtside(&mut services, built)?;
    services.settle(WARM_UP)?;
    let script = services.id("courtside").context("the dashboard is gone")?;
    let tgid = child_called(script, "courtside").context("the dashboard is gone")?;
    let (mut cpu_shares, mut resident) = (Vec::new(), Vec::new());
    rounds.take("the dashboard itself", |_| {
        let (start, before_ns) = (Instant::now(), on_cpu_ns(tgid)?);
        services.settle(MEASURED)?;
        let used_ns = on_cpu_ns(tgid)?.saturating_sub(before_ns);
        cpu_shares.push(used_ns as f64 / start.elapsed().as_nanos() as f64);
        resident.push(resident_bytes(tgid)? as f64);
        Ok(Spread::of(cpu_shares.iter().copied()))
    })?;
    Ok(Own {
        components: CHAINS * 4,
        cpu_share: Spread::of(cpu_shares.into_iter()),
        resident_bytes: Spread::of(resident.into_iter()),
    })
}

/// The process of that name below `ancestor`.
fn child_called(ancestor: u32, name: &str) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{ancestor}/task/{ancestor}/children")).ok()?;
    children
        .split_whitespace()
        .filter_map(|id| id.parse().ok())
        .find_map(|tgid| {
            let comm = fs::read_to_string(format!("/proc/{tgid}/comm")).ok()?;
            if comm.trim() == name {
                Some(tgid)
            } else {
                child_called(tgid, name)
            }
        })
}

/// CPU time of all threads that live.
fn on_cpu_ns(tgid: u32) -> Result<u64> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{tgid}/task")).context("the dashboard ended")? {
        let clocks = fs::read_to_string(task?.path().join("schedstat"))?;
        sum += clocks
            .split_whitespace()
            .next()
            .and_then(|ns| ns.parse::<u64>().ok())
            .unwrap_or(0);
    }
    Ok(sum)
}

fn resident_bytes(tgid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{tgid}/status"))?;
    status
        .lines()
        .find_map(|line| {
            line.strip_prefix("VmRSS:")?
                .split_whitespace()
                .next()?
                .parse::<u64>()
                .ok()
        })
        .map(|kibibytes| kibibytes * 1024)
        .context("the kernel does not say how much memory the dashboard holds")
}
