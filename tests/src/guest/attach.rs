//! Attach: what `check` says of this kernel, and that nothing stays behind.
//!
//! In: a built `courtside`. Out: how each program is attached. Must not know: what is measured.

use std::{collections::BTreeSet, fs, process::Command};

use anyhow::{Context as _, ensure};
use aya::{
    maps::loaded_maps,
    programs::{loaded_links, loaded_programs},
};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Host, Running, courtside, eventually, finish, list};

/// Everything that is needed works; the probes are what the table of kernels is made of.
///
/// # Errors
/// When something that is needed does not work.
pub fn check(_: &Host) -> anyhow::Result<Value> {
    let mut command = Command::new(courtside()?);
    command.args(["check", "--json"]);
    let output = finish(command)?;
    let report: Value = serde_json::from_slice(&output.stdout).with_context(|| {
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        format!("check printed no JSON: {stderr}")
    })?;
    ensure!(
        report["ok"] == true && output.status.success(),
        "not ok: {}",
        Value::Array(
            list(&report, "checks")
                .chain(list(&report, "probes"))
                .filter(|found| found["state"] != "ok")
                .cloned()
                .collect()
        )
    );
    Ok(json!({ "host": report["host"], "checks": report["checks"], "probes": report["probes"] }))
}

/// Numbers of all programs, maps and links in the kernel.
#[derive(Debug, PartialEq, Eq)]
struct Objects {
    programs: BTreeSet<u32>,
    maps: BTreeSet<u32>,
    links: BTreeSet<u32>,
}

impl Objects {
    fn now() -> anyhow::Result<Self> {
        let mut now = Self {
            programs: BTreeSet::new(),
            maps: BTreeSet::new(),
            links: BTreeSet::new(),
        };
        for program in loaded_programs() {
            now.programs.insert(program?.id());
        }
        for map in loaded_maps() {
            now.maps.insert(map?.id());
        }
        for link in loaded_links() {
            now.links.insert(link?.id());
        }
        Ok(now)
    }

    /// Whether nothing is there that was not there before.
    fn is_within(&self, before: &Self) -> bool {
        self.programs.is_subset(&before.programs)
            && self.maps.is_subset(&before.maps)
            && self.links.is_subset(&before.links)
    }
}

/// A `stat` that is killed leaves no program, no map and no link in the kernel.
///
/// # Errors
/// When something is left.
pub fn kill_leaves_nothing(_: &Host) -> anyhow::Result<Value> {
    let before = Objects::now()?;
    let mut command = Command::new(courtside()?);
    command.args(["stat", "-d", "600s"]);
    let mut running = Running::start(&mut command)?;
    let path = format!("/proc/{}/status", running.tgid());
    eventually("the attach", || {
        fs::read_to_string(&path).is_ok_and(|status| status.contains("NoNewPrivs:\t1"))
    })?;
    let during = Objects::now()?;
    let new = |now: &BTreeSet<u32>, before: &BTreeSet<u32>| now.difference(before).count();
    let figures = json!({
        "programs": new(&during.programs, &before.programs),
        "maps": new(&during.maps, &before.maps),
        "links": new(&during.links, &before.links),
    });
    ensure!(new(&during.programs, &before.programs) > 5, "{figures}");
    running.signal(Signal::KILL)?;
    running.wait()?;
    // The kernel frees them some time after their last user is gone. A look may fail when one goes away meanwhile.
    eventually("the kernel to free it all", || {
        Objects::now().is_ok_and(|now| now.is_within(&before))
    })
    .with_context(|| {
        format!(
            "before {before:?}, while attached {during:?}, left {:?}",
            Objects::now()
        )
    })?;
    Ok(figures)
}
