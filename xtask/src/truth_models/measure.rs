//! The parts of a run: record at several rates, fit, predict, and only then measure what was predicted.
//!
//! In: programs, a plan. Out: predictions and measurements. Must not know: how they are shown.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::courtside::{Prediction, Profile, Question, fit, predict, record, threads};
use super::host::{progress, said};
use super::plan::{
    BOUND_SHARE, CHAIN, DISK, DISK_BLOCK, MEASURE_SEED, PLACED_SHARE, POOL, Plan, QUOTA,
    QUOTA_CPUS, RECORD_SEED, SATURATION_SEED, STEPS, SUFFIX, Tiers,
};
use super::quota::Group;
use super::results::{AtRate, Bound, Chain, Most, Placed, outside_ns};
use super::service::{Load, Service, Tools};
use crate::sh;

/// A profile, where it is, and what the generator saw while it was recorded.
#[derive(Clone, Debug)]
pub struct Fitted {
    profile: Profile,
    path: PathBuf,
    recorded: Vec<Load>,
}

impl Fitted {
    fn node(&self) -> Result<&str> {
        let node = self.profile.nodes.first();
        node.map(|node| node.node.as_str())
            .context("the profile has no node")
    }
}

/// A run.
pub struct Run<'a> {
    tools: &'a Tools,
    plan: Plan,
    folder: PathBuf,
    record_seed: u64,
    measure_seed: u64,
    saturation_seed: u64,
}

fn next(seed: &mut u64) -> u64 {
    let this = *seed;
    *seed += 1;
    this
}

impl<'a> Run<'a> {
    /// A new one; recordings, profiles and predictions stay in this folder.
    pub fn new(tools: &'a Tools, plan: Plan, folder: PathBuf) -> Result<Self> {
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self {
            tools,
            plan,
            folder,
            record_seed: RECORD_SEED,
            measure_seed: MEASURE_SEED,
            saturation_seed: SATURATION_SEED,
        })
    }

    fn search(&mut self, service: &mut Service) -> Result<f64> {
        let seed = self.saturation_seed;
        self.saturation_seed += STEPS as u64;
        service.search(self.tools, self.plan.step_seconds, seed)
    }

    fn most(&mut self, service: &mut Service, about: f64) -> Result<f64> {
        let seed = next(&mut self.saturation_seed);
        service.most(self.tools, about, self.plan.saturation_seconds, seed)
    }

    fn load(&mut self, service: &mut Service, rate: f64, seconds: f64) -> Result<Load> {
        let load = service.load(self.tools, rate, seconds, next(&mut self.measure_seed))?;
        progress(&format!(
            "{rate:.0} requests a second take {:.2} ms, 95 in 100 less than {:.2} ms",
            load.mean_ns / 1e6,
            load.p95_ns / 1e6
        ));
        Ok(load)
    }

    /// Record at several rates, and fit.
    fn fit(&mut self, name: &str, service: &Service, most: f64, seconds: f64) -> Result<Fitted> {
        let mut files = Vec::new();
        let mut recorded = Vec::new();
        for share in self.plan.record_shares {
            let file = self.folder.join(format!("{name}-{:.0}.rec", share * 100.0));
            let seed = next(&mut self.record_seed);
            let rate = share * most;
            recorded.push(record(self.tools, service, rate, seconds, seed, &file)?);
            progress(&format!("{rate:.0} requests a second are recorded"));
            files.push(file);
        }
        let path = self.folder.join(format!("{name}-profile.json"));
        let profile = fit(self.tools, &files, &path)?;
        Ok(Fitted {
            profile,
            path,
            recorded,
        })
    }

    /// The three tiers on one CPU: recorded, predicted, measured.
    pub fn chain(&mut self) -> Result<(Chain, Fitted)> {
        let cpu = self.tools.cpus.service;
        let mut service = Service::start(self.tools, &CHAIN, [cpu; 3])?;
        let about = self.search(&mut service)?;
        let first = self.most(&mut service, about)?;
        let mut real_per_s = vec![first];
        let fitted = self.fit("tiers", &service, first, self.plan.record_seconds)?;
        let shares = self.plan.measure_shares;
        let rates: Vec<f64> = shares.iter().map(|share| share * first).collect();
        let prediction = self.on_one_cpu("tiers", &fitted, &rates, "", CHAIN.threads)?;
        let mut measured: Vec<AtRate> = rates
            .iter()
            .zip(prediction.points)
            .map(|(&per_s, predicted)| AtRate {
                per_s,
                predicted,
                runs: Vec::new(),
            })
            .collect();
        for round in 0..self.plan.rounds {
            if round > 0 {
                real_per_s.push(self.most(&mut service, about)?);
            }
            // Each round begins with another rate.
            measured.rotate_left(round.min(1));
            for at in &mut measured {
                let seconds = self.plan.measure_seconds;
                at.runs.push(self.load(&mut service, at.per_s, seconds)?);
            }
        }
        measured.sort_by(|a, b| a.per_s.total_cmp(&b.per_s));
        let chain = Chain {
            profile: fitted.profile.clone(),
            recorded: fitted.recorded.clone(),
            most: Most {
                predicted: prediction.saturation,
                unknown: prediction.saturation_unknown,
                real_per_s,
            },
            rates: measured,
        };
        Ok((chain, fitted))
    }

    /// What is predicted of tiers that share one CPU.
    fn on_one_cpu(
        &self,
        name: &str,
        fitted: &Fitted,
        rates: &[f64],
        machine: &str,
        pools: [u32; 3],
    ) -> Result<Prediction> {
        let node = fitted.node()?;
        let machine = match machine {
            "" => String::new(),
            more => format!("[[node]]\nname = {node:?}\n{more}\n\n"),
        };
        let question = Question {
            profile: &fitted.path,
            rates,
            place: machine + &threads(&fitted.profile, pools),
            one_core: Some(node),
        };
        predict(self.tools, &question, name)
    }

    /// A service with one bound, at one rate. `machine` is what is said of its node.
    fn bound(
        &mut self,
        name: &str,
        tiers: &Tiers,
        service: &mut Service,
        machine: &str,
    ) -> Result<(Most, AtRate)> {
        let about = self.search(service)?;
        let mut real_per_s = vec![self.most(service, about)?];
        let first = real_per_s.iter().sum::<f64>();
        let fitted = self.fit(name, service, first, self.plan.short_seconds)?;
        let rate = BOUND_SHARE * first;
        let prediction = self.on_one_cpu(name, &fitted, &[rate], machine, tiers.threads)?;
        let mut runs = Vec::new();
        for round in 0..self.plan.rounds {
            if round > 0 {
                real_per_s.push(self.most(service, about)?);
            }
            runs.push(self.load(service, rate, self.plan.short_seconds)?);
        }
        let most = Most {
            predicted: prediction.saturation,
            unknown: prediction.saturation_unknown,
            real_per_s,
        };
        let predicted = prediction.points.into_iter().next().unwrap_or_default();
        let at = AtRate {
            per_s: rate,
            predicted,
            runs,
        };
        Ok((most, at))
    }

    /// Requests that hold a thread and do little else.
    pub fn pool(&mut self) -> Result<Bound> {
        let cpu = self.tools.cpus.service;
        let mut service = Service::start(self.tools, &POOL, [cpu; 3])?;
        let (most, at) = self.bound("pool", &POOL, &mut service, "")?;
        Ok(Bound {
            expected: "threads",
            most,
            at,
            note: "4 threads, each request sleeps 2 ms and computes 50 µs".to_owned(),
        })
    }

    /// Requests that wait for the disk and do little else.
    pub fn disk(&mut self) -> Result<Bound> {
        let parallel = self.disk_parallel()?;
        progress(&format!(
            "the disk works on {parallel:.1} requests at a time"
        ));
        let cpu = self.tools.cpus.service;
        let mut service = Service::start(self.tools, &DISK, [cpu; 3])?;
        let machine = format!("disk_parallel = {parallel:?}");
        let (most, at) = self.bound("disk", &DISK, &mut service, &machine)?;
        Ok(Bound {
            expected: "disk",
            most,
            at,
            note: format!(
                "16 threads, each request reads two blocks of {DISK_BLOCK} KiB past the page cache; `disk_parallel = {parallel:.2}` \
                 was measured beforehand, without the service"
            ),
        })
    }

    /// Requests that the disk works on at a time: those a second of sixteen readers, times how long each takes one alone.
    fn disk_parallel(&self) -> Result<f64> {
        const READERS: usize = 16;
        let reads = |count: u64| {
            let mut command = sh::command(&self.tools.workload);
            command
                .args(["disk-io", "--writes", "0", "--block", DISK_BLOCK])
                .args(["--reads", &count.to_string()]);
            let text = said(&command, Duration::from_secs(120))?;
            let said: serde_json::Value = serde_json::from_str(text.trim())?;
            let wall_ns = said["elapsed"]["wall_ns"].as_f64();
            let each = wall_ns.context("the disk was not timed")? / count as f64;
            anyhow::Ok(each)
        };
        let alone_ns = reads(200)?;
        let together = std::thread::scope(|scope| {
            let each: Vec<_> = (0..READERS).map(|_| scope.spawn(|| reads(300))).collect();
            each.into_iter()
                .map(|reader| reader.join().unwrap_or_else(|_| bail!("a reader panicked")))
                .collect::<Result<Vec<f64>>>()
        })?;
        let per_ns: f64 = together.iter().map(|each_ns| 1.0 / each_ns).sum();
        Ok((per_ns * alone_ns).clamp(1.0, READERS as f64))
    }

    /// Requests that compute, in this control group.
    pub fn quota(&mut self, group: &Group) -> Result<Bound> {
        let cpu = self.tools.cpus.service;
        let mut service = Service::start(self.tools, &QUOTA, [cpu; 3])?;
        group.take(service.web()?)?;
        let machine = format!("quota_cpus = {QUOTA_CPUS:?}");
        let (most, at) = self.bound("quota", &QUOTA, &mut service, &machine)?;
        Ok(Bound {
            expected: "quota",
            most,
            at,
            note: format!(
                "each request computes 1 ms, the control group allows {QUOTA_CPUS} CPUs; times are predicted for CPUs that are \
                 slower all the time, and not for those that stop when a period is used up"
            ),
        })
    }

    /// A profile of the three tiers on one CPU, where there is none yet.
    fn fitted_chain(&mut self) -> Result<Fitted> {
        let cpu = self.tools.cpus.service;
        let mut service = Service::start(self.tools, &CHAIN, [cpu; 3])?;
        let about = self.search(&mut service)?;
        self.fit("tiers", &service, about, self.plan.short_seconds)
    }

    /// Two ways to put three tiers on two CPUs, predicted from a profile of all on one CPU.
    pub fn placed(&mut self, fitted: Option<Fitted>) -> Result<[Placed; 2]> {
        let fitted = match fitted {
            Some(fitted) => fitted,
            None => self.fitted_chain()?,
        };
        let (load, other) = (self.tools.cpus.load, self.tools.cpus.service);
        let mut first = Service::start(self.tools, &CHAIN, [load, other, other])?;
        let mut second = Service::start(self.tools, &CHAIN, [load, load, other])?;
        let abouts = [self.search(&mut first)?, self.search(&mut second)?];
        let rate = PLACED_SHARE * abouts[0].min(abouts[1]);
        let predictions = [
            self.on_two_cpus("placed-first", &fitted, rate, [true, false, false])?,
            self.on_two_cpus("placed-second", &fitted, rate, [true, true, false])?,
        ];
        let (mut real, mut runs) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
        for round in 0..self.plan.rounds {
            for turn in 0..2 {
                let number = (round + turn) % 2;
                let service = if number == 0 { &mut first } else { &mut second };
                real[number].push(self.most(service, abouts[number])?);
                runs[number].push(self.load(service, rate, self.plan.short_seconds)?);
            }
        }
        let names = [
            "web, and app and store apart",
            "web and app, and store apart",
        ];
        let ([a, b], [real_a, real_b], [runs_a, runs_b]) = (predictions, real, runs);
        let placed = |what, prediction: Prediction, real_per_s, runs| Placed {
            what,
            most: Most {
                predicted: prediction.saturation,
                unknown: prediction.saturation_unknown,
                real_per_s,
            },
            at: AtRate {
                per_s: rate,
                predicted: prediction.points.into_iter().next().unwrap_or_default(),
                runs,
            },
        };
        Ok([
            placed(names[0], a, real_a, runs_a),
            placed(names[1], b, real_b, runs_b),
        ])
    }

    /// Each CPU is a machine; clients and all else share that of the load. `near` says which tiers do, too.
    fn on_two_cpus(
        &self,
        name: &str,
        fitted: &Fitted,
        rate: f64,
        near: [bool; 3],
    ) -> Result<Prediction> {
        const FAR: &str = "the-other-cpu";
        let node = fitted.node()?;
        // The way between two CPUs was measured while it was recorded: what the generator waited longer than the service took,
        // without what its timers were late.
        let count: f64 = fitted.recorded.iter().map(|load| load.count).sum();
        let late = fitted
            .recorded
            .iter()
            .map(|load| load.mean_late_ns * load.count);
        let outside = outside_ns(&fitted.profile, &fitted.recorded).context(
            "requests were not timed at the entry, so the way between CPUs is not known",
        )?;
        let rtt_us = ((outside - late.sum::<f64>() / count) / 1e3).max(1.0);
        let mut place = format!(
            "[network]\nrtt_us = {rtt_us:?}\ncpu_us_per_message = 0.0\n\n[[node]]\nname = {node:?}\ncpus = 1\n\n\
             [[node]]\nname = \"{FAR}\"\ncpus = 1\n\n"
        );
        for ((tier, near), pool) in ["web", "app", "store"]
            .into_iter()
            .zip(near)
            .zip(CHAIN.threads)
        {
            let on = if near { node } else { FAR };
            place += &format!(
                "[[component]]\nid = \"program:{tier}{SUFFIX}\"\nnode = {on:?}\nthreads = {pool}\n\n"
            );
        }
        let question = Question {
            profile: &fitted.path,
            rates: &[rate],
            place,
            one_core: None,
        };
        predict(self.tools, &question, name)
    }
}
