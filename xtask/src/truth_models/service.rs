//! A service of ours that runs, and the load on it.
//!
//! In: what its tiers do, a rate, a seed. Out: how long requests took, and how many can be served. Must not know: models.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::host::{Cpus, progress, said};
use super::plan::{FIRST_RATE, KEPT_UP, OVER, STEP, STEPS, SUFFIX, Tiers, WARM_UP_SECONDS};
use crate::services::Services;
use crate::sh;

/// The programs.
#[derive(Clone, Debug)]
pub struct Tools {
    /// `courtside`, a release.
    pub courtside: PathBuf,
    /// `courtside-workload`, optimised.
    pub workload: PathBuf,
    /// Where things run.
    pub cpus: Cpus,
}

/// What the generator says.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub struct Load {
    /// Requests a second that were due.
    pub offered_per_s: f64,
    /// Answers a second.
    pub achieved_per_s: f64,
    /// Requests that count.
    pub count: f64,
    /// Times from when they were due.
    pub mean_ns: f64,
    pub p50_ns: f64,
    pub p95_ns: f64,
    pub p99_ns: f64,
    /// Sent too late though a connection was free.
    pub late: f64,
    /// By how much those were late that found a connection, in the mean.
    pub mean_late_ns: f64,
    /// Never sent.
    pub unsent: f64,
}

/// What the relay says when it is there.
#[derive(Debug, Deserialize)]
struct There {
    address: SocketAddr,
    connections: u64,
    tgids: std::collections::BTreeMap<String, u32>,
}

/// A service that runs; dropped, it is gone.
pub struct Service {
    services: Services,
    there: There,
}

impl Service {
    /// Start one, each tier on its CPU.
    pub fn start(tools: &Tools, tiers: &Tiers, cores: [usize; 3]) -> Result<Self> {
        let mut services = Services::new()?;
        let cores = cores.map(|core| core.to_string()).join(",");
        // Files to read have to be on a disk, which the folder of the build is.
        services.start(
            "relay",
            sh::command(&tools.workload)
                .args(["relay", "--await-load", &format!("--suffix={SUFFIX}")])
                .args(["--hops", "tcp4,tcp4,tcp4", "--cores", &cores])
                .args([
                    "--web",
                    tiers.web,
                    "--app",
                    tiers.app,
                    "--store",
                    tiers.store,
                ]),
        )?;
        services.wait_for_text("relay", "}\n")?;
        let said = std::fs::read_to_string(services.dir().join("relay.log"))?;
        let there = said
            .lines()
            .find_map(|line| serde_json::from_str(line).ok())
            .with_context(|| format!("the relay said `{}`", said.trim()))?;
        Ok(Self { services, there })
    }

    /// Process id of the first tier.
    pub fn web(&self) -> Result<u32> {
        let tgid = self.there.tgids.get("web");
        tgid.copied().context("the relay has no first tier")
    }

    /// Where the first tier listens.
    pub fn address(&self) -> SocketAddr {
        self.there.address
    }

    /// Fail if it has ended.
    pub fn check(&mut self) -> Result<()> {
        self.services.settle(Duration::ZERO)
    }

    /// The generator as a command.
    pub fn generator(
        &self,
        tools: &Tools,
        rate: f64,
        seconds: f64,
        warm_up: f64,
        seed: u64,
    ) -> Command {
        let mut command = sh::command(&tools.workload);
        command
            .arg("poisson")
            .args(["--rate", &rate.to_string()])
            .args(["--seconds", &seconds.to_string()])
            .args(["--warm-up", &format!("{warm_up}s")])
            .args(["--seed", &seed.to_string()])
            .args(["--to", &self.there.address.to_string()])
            .args(["--connections", &self.there.connections.to_string()])
            .args(["--core", &tools.cpus.load.to_string()]);
        command
    }

    /// So many requests a second for so long.
    pub fn load(&mut self, tools: &Tools, rate: f64, seconds: f64, seed: u64) -> Result<Load> {
        let command = self.generator(tools, rate, seconds, WARM_UP_SECONDS, seed);
        let patience = Duration::from_secs_f64(seconds + WARM_UP_SECONDS + 30.0);
        let load = said(&command, patience).and_then(|text| spoken(&text));
        // If the service has gone, that is what went wrong.
        self.check()?;
        load
    }

    /// The rate that is served when more comes in, looked for by ever more.
    pub fn search(&mut self, tools: &Tools, seconds: f64, seed: u64) -> Result<f64> {
        let mut rate = FIRST_RATE;
        for number in 0..STEPS {
            let load = self.load(tools, rate, seconds, seed + number as u64)?;
            progress(&format!(
                "{rate:.0} requests a second come in, {:.0} are served",
                load.achieved_per_s
            ));
            if load.achieved_per_s < KEPT_UP * rate {
                return Ok(load.achieved_per_s);
            }
            rate *= STEP;
        }
        Err(too_fast(rate / STEP))
    }

    /// What is served when more comes in than about this.
    pub fn most(&mut self, tools: &Tools, about: f64, seconds: f64, seed: u64) -> Result<f64> {
        let mut rate = OVER * about;
        for _ in 0..STEPS {
            let load = self.load(tools, rate, seconds, seed)?;
            progress(&format!(
                "{rate:.0} requests a second come in, {:.0} are served",
                load.achieved_per_s
            ));
            // What was about right may have been disturbed.
            if load.achieved_per_s < KEPT_UP * rate {
                return Ok(load.achieved_per_s);
            }
            rate *= STEP;
        }
        Err(too_fast(rate / STEP))
    }
}

fn too_fast(rate: f64) -> anyhow::Error {
    anyhow::anyhow!(
        "the service keeps up with {rate:.0} requests a second, and more are not asked for: the host is much faster than the services are \
         made for; give them more to do in xtask/src/truth_models/plan.rs"
    )
}

/// The generator's line of JSON among what was printed.
pub fn spoken(text: &str) -> Result<Load> {
    let lines = text.lines().rev().filter(|line| line.starts_with('{'));
    lines
        .filter_map(|line| serde_json::from_str(line).ok())
        .next()
        .with_context(|| format!("the generator said `{}`", text.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_generator_says_is_found_among_other_lines() {
        let line = r#"{"workload":"poisson","offered_per_s":10.0,"achieved_per_s":9.5,"count":95,"mean_ns":1.5e6,"p50_ns":1,"p95_ns":2,"p99_ns":3,"max_ns":4,"queued":0,"late":1,"mean_late_ns":0.5,"unsent":2}"#;
        let load = spoken(&format!("hello\n{line}\n{{\"other\":1}}\n")).unwrap();
        assert_eq!((load.count, load.p99_ns, load.unsent), (95.0, 3.0, 2.0));
        assert!(spoken("nothing").is_err());
    }
}
