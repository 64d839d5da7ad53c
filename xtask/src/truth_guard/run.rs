//! One run: a service, a load, a guard, and what is planted beside.
//!
//! In: a scenario. Out: what the guard said, and when what was planted. Must not know: what should have been said.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::cases::{
    CONNECTIONS, Case, HOG_BLOCK, Hog, Plan, Plant, QUOTA_CPUS, RATE, READER, SEED, SERVICE, Slot,
    WINDOW,
};
use super::told::{Line, Seen};
use crate::services::Services;
use crate::sh;
use crate::truth_models::host::said;
use crate::truth_models::plan::{SUFFIX, Tiers};
use crate::truth_models::quota::Group;
use crate::truth_models::service::{self, Service};

/// From the start of a measurement to when it sees everything; requests before are not missed.
const ATTACH: Duration = Duration::from_secs(4);
/// As long as learning may take longer than it should.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a load lasts beyond the run.
const SPARE_SECONDS: u64 = 60;
/// The helper of a guard takes limits back after three seconds at the latest.
const TAKEN_BACK: Duration = Duration::from_secs(5);

/// What learning yields.
#[derive(Clone, Debug)]
pub struct Usual {
    /// The spec.
    pub path: PathBuf,
    /// That of the service that reads.
    pub reader: PathBuf,
    /// Windows that it was learned from.
    pub windows: u64,
    /// Mean time in the run queue for each request.
    pub run_queue_ns: f64,
}

#[derive(Debug, Deserialize)]
struct Spec {
    specs: Vec<JobSpec>,
}

#[derive(Debug, Deserialize)]
struct JobSpec {
    job: String,
    signal: String,
    windows: u64,
    mean: f64,
}

/// The programs, and where files go.
pub struct Tools {
    pub inner: service::Tools,
    pub folder: PathBuf,
}

/// All that runs, in the order in which it is ended.
struct Running {
    guard: Services,
    planted: Services,
    load: Services,
    service: Service,
    /// What is planted ends by itself.
    planted_ends: bool,
}

impl Running {
    fn check(&mut self) -> Result<()> {
        if !self.planted_ends {
            self.planted.settle(Duration::ZERO)?;
        }
        self.guard.settle(Duration::ZERO)?;
        self.load.settle(Duration::ZERO)?;
        self.service.check()
    }

    fn pass(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.check()?;
            thread::sleep(Duration::from_millis(100).min(time));
        }
        Ok(())
    }

    /// The same, and says how long the service's threads were runnable without a CPU for each request that was due.
    fn watch(&mut self, time: Duration, delays: &mut Vec<(u64, f64)>) -> Result<()> {
        let end = Instant::now() + time;
        let tgid = self.service.web()?;
        let (mut before, mut then) = (run_delay_ns(tgid)?, Instant::now());
        while Instant::now() < end {
            self.pass(WINDOW)?;
            let (delay, now) = (run_delay_ns(tgid)?, Instant::now());
            let requests = RATE * (now - then).as_secs_f64();
            delays.push((unix_ns()?, delay.saturating_sub(before) as f64 / requests));
            (before, then) = (delay, now);
        }
        Ok(())
    }
}

impl Tools {
    /// Learns in a quiet time what is usual.
    pub fn learn(&self, plan: Plan) -> Result<Usual> {
        let path = self.learn_one(&SERVICE, "spec.json", plan.learn_seconds)?;
        let reader = self.learn_one(&READER, "reader.json", plan.reader_seconds)?;
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let spec: Spec = serde_json::from_str(&text)
            .with_context(|| format!("{} is no spec", path.display()))?;
        usual(&spec, path, reader)
    }

    fn learn_one(&self, tiers: &Tiers, name: &str, seconds: u64) -> Result<PathBuf> {
        let path = self.folder.join(name);
        let mut service = self.service(tiers)?;
        let mut learn = sh::command(&self.inner.courtside);
        let length = seconds + ATTACH.as_secs();
        learn
            .args(["guard", "learn", "--duration", &format!("{length}s")])
            .args(["--comm", &web(), "--output"])
            .arg(&path);
        thread::scope(|scope| {
            // Whoever starts a process here has to outlive it.
            let learning =
                scope.spawn(move || said(&learn, Duration::from_secs(length) + PATIENCE));
            let mut load = Services::new()?;
            thread::sleep(ATTACH);
            self.load(&mut load, "load", &service, length + SPARE_SECONDS, SEED)?;
            while !learning.is_finished() {
                thread::sleep(Duration::from_millis(100));
                load.settle(Duration::ZERO)?;
                service.check()?;
            }
            let learned = learning.join();
            learned.map_err(|_| anyhow::anyhow!("the thread that learns has failed"))?
        })
        .context("cannot learn. What works on this kernel says: target/release/courtside check")?;
        Ok(path)
    }

    /// One run.
    pub fn run(&self, slot: &Slot, plan: Plan, usual: &Usual, seed: u64) -> Result<Seen> {
        let case = slot.case;
        // It goes when nobody is in it any more.
        let group = match case {
            Case {
                plant: Plant::Quota,
                ..
            } => Some(Group::new(QUOTA_CPUS)?),
            Case { is_held: true, .. } => Some(Group::open()?),
            _ => None,
        };
        let before = group.as_ref().map(Group::limit).transpose()?;
        let mut seen = Seen::default();
        let mut running = Running {
            guard: Services::new()?,
            planted: Services::new()?,
            load: Services::new()?,
            service: self.service(&case.service())?,
            planted_ends: case.lives.is_some(),
        };
        if slot.is_planted && case.is_older {
            seen.planted = self.plant(case, &mut running, group.as_ref(), seed)?;
            running.pass(2 * WINDOW)?;
        }
        let lines = self.guard(slot, &mut running.guard, usual)?;
        let (quiet, length) = (slot.quiet(plan), slot.length(plan));
        let seconds = (quiet + length).as_secs() + SPARE_SECONDS;
        let Running { load, service, .. } = &mut running;
        self.load(load, "load", service, seconds, seed)?;
        running.watch(quiet, &mut seen.delays)?;
        seen.begun_unix_ns = unix_ns()?;
        if slot.is_planted && !case.is_older {
            seen.planted = self.plant(case, &mut running, group.as_ref(), seed)?;
        }
        running.watch(length, &mut seen.delays)?;
        seen.windows = [quiet, length].map(|time| time.as_secs());
        let Running {
            guard,
            planted,
            load,
            service,
            ..
        } = running;
        let held = group
            .as_ref()
            .filter(|_| case.is_held && slot.is_planted)
            .zip(before);
        if let Some((group, before)) = held {
            let meanwhile = group.limit()?;
            drop(guard);
            let after = taken_back(group, &before)?;
            seen.limits = Some([before, meanwhile, after]);
        } else {
            drop(guard);
        }
        drop((planted, load, service));
        seen.lines = read(&lines)?;
        Ok(seen)
    }

    fn service(&self, tiers: &Tiers) -> Result<Service> {
        Service::start(&self.inner, tiers, [self.inner.cpus.service; 3])
    }

    fn load(
        &self,
        load: &mut Services,
        name: &str,
        service: &Service,
        seconds: u64,
        seed: u64,
    ) -> Result<()> {
        let mut command = sh::command(&self.inner.workload);
        command
            .arg("poisson")
            .args(["--rate", &RATE.to_string()])
            .args(["--seconds", &seconds.to_string()])
            .args(["--seed", &seed.to_string()])
            .args(["--to", &service.address().to_string()])
            .args(["--connections", &CONNECTIONS.to_string()])
            .args(["--core", &self.inner.cpus.load.to_string()]);
        load.start(name, &command)
    }

    /// Starts a guard that sees everything when this returns; the file of its lines.
    fn guard(&self, slot: &Slot, guard: &mut Services, usual: &Usual) -> Result<PathBuf> {
        let case = slot.case;
        let what = if slot.is_planted {
            "planted"
        } else {
            "control"
        };
        let lines = self.folder.join(format!("{}-{what}.jsonl", case.slug));
        match fs::remove_file(&lines) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            removed => removed.with_context(|| format!("cannot remove {}", lines.display()))?,
        }
        let mut command = sh::command(&self.inner.courtside);
        command
            .args(["guard", "--json", "--output"])
            .arg(&lines)
            .arg("--state")
            .arg(guard.dir().join("state"))
            .args(["--comm", &web()])
            .args(["--interval", &format!("{}s", WINDOW.as_secs())]);
        if case.by_process {
            command.args(["--group-by", "process"]);
        } else {
            let spec = match case.plant {
                Plant::Disk(_) => &usual.reader,
                _ => &usual.path,
            };
            command.arg("--spec").arg(spec);
        }
        if case.is_held {
            command.args(["--act", "cap", "--allow", "hog-truth"]);
        }
        guard.start("guard", &command)?;
        // It is put in its place once everything is attached.
        guard.wait_for_file(&lines)?;
        Ok(lines)
    }

    /// Plants it; the ids of the components that have to be named.
    fn plant(
        &self,
        case: &Case,
        running: &mut Running,
        group: Option<&Group>,
        seed: u64,
    ) -> Result<Vec<String>> {
        match case.plant {
            Plant::Hogs(hogs) => {
                let mut ids = Vec::new();
                for (number, hog) in hogs.iter().enumerate() {
                    let name = format!("{}-{number}", hog.name);
                    let planted = &mut running.planted;
                    planted.start(&name, &self.hog(hog, case.lives)?)?;
                    let tgid = planted.id(&name).context("a hog has no process id")?;
                    if let Some(group) = group {
                        group.take(tgid)?;
                    }
                    if hog.beside {
                        ids.push(if case.by_process {
                            format!("process:{}/{tgid}", hog.name)
                        } else {
                            format!("program:{}", hog.name)
                        });
                    }
                }
                return Ok(ids);
            }
            Plant::Quota => {
                let group = group.context("there is no group")?;
                group.take(running.service.web()?)?;
            }
            Plant::Load => {
                let Running { load, service, .. } = running;
                self.load(load, "more", service, SPARE_SECONDS, seed + 1000)?;
            }
            Plant::Disk(name) => {
                let mut command = sh::command(&self.link(name)?);
                command
                    .args(["disk-io", "--reads", "0", "--block", HOG_BLOCK])
                    .args(["--writes", &u64::from(u32::MAX).to_string()]);
                running.planted.start(name, &command)?;
                return Ok(vec![format!("program:{name}")]);
            }
            Plant::Work(tiers) => {
                // The load goes first: it does not take it well if its service goes.
                running.load = Services::new()?;
                running.service = self.service(&tiers)?;
                let Running { load, service, .. } = running;
                self.load(load, "load", service, SPARE_SECONDS, seed + 1000)?;
            }
        }
        Ok(Vec::new())
    }

    /// The workload by another name, which is then that of its process.
    fn link(&self, name: &str) -> Result<PathBuf> {
        let link = self.folder.join(name);
        match symlink(&self.inner.workload, &link) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => made.with_context(|| format!("cannot link {}", link.display()))?,
        }
        Ok(link)
    }

    /// A hog under its own name.
    fn hog(&self, hog: &Hog, lives: Option<Duration>) -> Result<Command> {
        let link = self.link(hog.name)?;
        let cpus = self.inner.cpus;
        let core = if hog.beside { cpus.service } else { cpus.load };
        let mut command = sh::command(&link);
        command
            .args(["hog", "--core", &core.to_string()])
            .args(["--percent", &hog.percent.to_string()]);
        if let Some(lives) = lives {
            command.args(["--for", &format!("{}ms", lives.as_millis())]);
        }
        Ok(command)
    }
}

/// The name of the service.
fn web() -> String {
    format!("web{SUFFIX}")
}

fn usual(spec: &Spec, path: PathBuf, reader: PathBuf) -> Result<Usual> {
    let job = format!("program:{}", web());
    let mut of_web = spec.specs.iter().filter(|spec| spec.job == job);
    let Some(found) = of_web.find(|spec| spec.signal == "run_queue_per_request") else {
        let jobs: Vec<&str> = spec.specs.iter().map(|spec| spec.job.as_str()).collect();
        bail!(
            "{} knows nothing of how {job} waits for a CPU, only of: {}. Run it outside of containers and systemd services",
            path.display(),
            jobs.join(", ")
        );
    };
    Ok(Usual {
        windows: found.windows,
        run_queue_ns: found.mean,
        path,
        reader,
    })
}

fn read(path: &Path) -> Result<Vec<Line>> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    text.lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("the guard said `{line}`")))
        .collect()
}

/// Waits until the limit is what it was; what it is then.
fn taken_back(group: &Group, before: &str) -> Result<String> {
    let deadline = Instant::now() + TAKEN_BACK;
    loop {
        let after = group.limit()?;
        if after == before || Instant::now() > deadline {
            return Ok(after);
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// How long all threads of a process were runnable without a CPU.
fn run_delay_ns(tgid: u32) -> Result<u64> {
    let path = format!("/proc/{tgid}/task");
    let tasks = fs::read_dir(&path).with_context(|| format!("cannot read {path}"))?;
    let mut sum: u64 = 0;
    for task in tasks {
        // A thread that ends meanwhile is no longer counted.
        let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else {
            continue;
        };
        let delay = text.split_ascii_whitespace().nth(1);
        let delay = delay.and_then(|field| field.parse::<u64>().ok());
        let delay = delay.context("the kernel has no scheduler statistics (schedstat)")?;
        sum = sum.saturating_add(delay);
    }
    Ok(sum)
}

fn unix_ns() -> Result<u64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(u64::try_from(since.as_nanos())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_spec_the_wait_of_the_service_is_taken() {
        let spec = |job: &str| {
            let text = format!(
                r#"{{"specs":[{{"job":"program:x","signal":"run_queue_per_request","windows":1,"mean":1.0}},
                {{"job":"{job}","signal":"service","windows":60,"mean":7.0}},
                {{"job":"{job}","signal":"run_queue_per_request","windows":59,"mean":140000.0,"median":3}}]}}"#
            );
            let [path, reader] = ["s", "r"].map(PathBuf::from);
            usual(&serde_json::from_str(&text).unwrap(), path, reader)
        };
        let found = spec("program:web-truth").unwrap();
        assert_eq!((found.windows, found.run_queue_ns), (59, 140_000.0));
        let said = spec("unit:web.service").unwrap_err().to_string();
        assert!(said.contains("unit:web.service"), "{said}");
    }
}
