//! One run: a service, its load, `courtside stat`, and what is planted.
//!
//! In: a case. Out: what stood on top of each window, and when it was planted. Must not know: what should have stood there.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

use super::cases::{App, Case, HOG, HOG_THREADS, Plan, Plant, QUOTA_CPUS, SUFFIX};
use super::told::{self, Told, Window};
use crate::services::{Services, free_port};
use crate::sh;
use crate::truth_models::quota::Group;

/// From the first request to the measurement.
const WARM_UP: Duration = Duration::from_secs(1);
/// A window takes a second; the first one comes once everything is attached.
const PATIENCE: Duration = Duration::from_secs(20);
/// Of a load and of a measurement: longer than any run; both are ended.
const SECONDS: &str = "120";
/// Requests a second that are too many for one thread, and connections that they come on.
const TOO_MANY: [&str; 2] = ["1000", "16"];
/// Calls of a tier for each request, before and after.
const CALLS: [u32; 2] = [1, 20];

/// The programs, and where files go.
pub struct Tools {
    pub courtside: PathBuf,
    pub workload: PathBuf,
    /// On a disk.
    pub folder: PathBuf,
    /// CPU of what is bound.
    pub cpu: usize,
}

/// `courtside stat`, which prints a window each second; ended when dropped.
struct Stat {
    child: Child,
    out: PathBuf,
    log: PathBuf,
}

/// All that runs, in the order in which it is ended.
struct Running {
    stat: Option<Stat>,
    planted: Services,
    load: Services,
    service: Services,
    /// It goes when nobody is in it any more.
    _group: Option<Group>,
}

impl Stat {
    fn start(tools: &Tools, slug: &str) -> Result<Self> {
        let [out, log] = ["json", "log"].map(|end| tools.folder.join(format!("{slug}.{end}")));
        // setpriv, because it must also go when we cannot tell it to.
        let child = sh::command("setpriv")
            .args(["--pdeathsig", "TERM", "--"])
            .arg(&tools.courtside)
            .args(["stat", "--json", "--interval", "1s", "--duration"])
            .arg(format!("{SECONDS}s"))
            .stdin(Stdio::null())
            .stdout(File::create(&out)?)
            .stderr(File::create(&log)?)
            .spawn()
            .context("cannot start courtside stat")?;
        Ok(Self { child, out, log })
    }

    /// What it has printed so far. The last window may not be whole yet.
    fn windows(&self) -> Result<Vec<Window>> {
        let text = fs::read_to_string(&self.out)
            .with_context(|| format!("cannot read {}", self.out.display()))?;
        let end = text.rfind("\n}\n").map_or(0, |at| at + 3);
        told::windows(text.get(..end).unwrap_or_default())
    }

    fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            bail!("courtside stat ended: {status}\n  {}", log.trim_end());
        }
        Ok(())
    }
}

impl Drop for Stat {
    fn drop(&mut self) {
        sh::stop(&mut self.child);
    }
}

impl Running {
    /// Waits for so many more windows.
    fn pass(&mut self, more: usize) -> Result<Vec<Window>> {
        let stat = |running: &Self| match &running.stat {
            Some(stat) => stat.windows(),
            None => Ok(Vec::new()),
        };
        let wanted = stat(self)?.len() + more;
        let deadline = Instant::now() + PATIENCE + Duration::from_secs(more as u64);
        loop {
            let windows = stat(self)?;
            if windows.len() >= wanted {
                return Ok(windows);
            }
            if Instant::now() > deadline {
                bail!("only {} windows of {wanted} came", windows.len());
            }
            self.check()?;
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn check(&mut self) -> Result<()> {
        if let Some(stat) = &mut self.stat {
            stat.check()?;
        }
        for services in [&mut self.planted, &mut self.load, &mut self.service] {
            services.settle(Duration::ZERO)?;
        }
        Ok(())
    }
}

impl Tools {
    /// Runs a case.
    pub fn run(&self, case: &Case, plan: Plan) -> Result<Told> {
        let mut running = Running {
            stat: None,
            planted: Services::new()?,
            load: Services::new()?,
            service: Services::new()?,
            _group: None,
        };
        let port = self.start(case, &mut running)?;
        running.service.settle(WARM_UP)?;
        running.stat = Some(Stat::start(self, case.slug)?);
        running.pass(plan.quiet)?;
        let planted_unix_ns = unix_ns()?;
        self.plant(case, &mut running, port)?;
        // The window in which it was planted, and those after it.
        let windows = running.pass(1 + plan.planted)?;
        Ok(told::judge(case, &windows, planted_unix_ns))
    }

    /// Starts what is well; the port of the service in Python, if there is one.
    fn start(&self, case: &Case, running: &mut Running) -> Result<u16> {
        let Running { service, load, .. } = running;
        let Some(app) = case.plant.app() else {
            match case.plant {
                Plant::SlowUpstream => {
                    service.start("upstream", sh::command(&self.workload).arg("upstream"))?;
                    service.wait_for_text("upstream", "ready")?;
                }
                _ => self.relay(service, CALLS[0])?,
            }
            return Ok(0);
        };
        let port = self.app(service, app, case.plant == Plant::Hog)?;
        let (rate, connections) = (app.rate.to_string(), app.connections.to_string());
        load.start("load", &self.load(port, &rate, &connections))?;
        Ok(port)
    }

    /// The service in Python, with what it asks; its port.
    fn app(&self, services: &mut Services, app: App, is_bound: bool) -> Result<u16> {
        let redis = free_port()?;
        if app.does == "queries" {
            let port = redis.to_string();
            let mut command = sh::command("redis-server");
            command
                .args(["--port", &port, "--bind", "127.0.0.1", "--save", ""])
                .args(["--daemonize", "no", "--dir"])
                .arg(services.dir());
            services.start("redis", &command)?;
            services.wait_for_port(redis)?;
        }
        let program = services.dir().join(super::cases::APP);
        fs::write(&program, include_str!("app.py"))?;
        let mut command = if is_bound {
            let mut command = sh::command("taskset");
            command.args(["--cpu-list", &self.cpu.to_string(), "/usr/bin/python3"]);
            command
        } else {
            sh::command("/usr/bin/python3")
        };
        command
            .arg(&program)
            .args([app.does, &format!("127.0.0.1:{redis}")])
            .arg(&self.folder);
        services.start("app", &command)?;
        services.wait_for_text("app", "\n")?;
        let said = fs::read_to_string(services.dir().join("app.log"))?;
        said.trim()
            .parse()
            .with_context(|| format!("the service in Python said `{}`", said.trim()))
    }

    fn load(&self, port: u16, rate: &str, connections: &str) -> Command {
        let mut command = sh::command(&self.workload);
        command
            .args(["poisson", "--rate", rate, "--connections", connections])
            .args(["--seconds", SECONDS, "--to", &format!("127.0.0.1:{port}")]);
        command
    }

    /// A chain whose first tier asks the second so often for each request.
    fn relay(&self, services: &mut Services, calls: u32) -> Result<()> {
        let mut command = sh::command(&self.workload);
        command
            .args(["relay", "--serve", &format!("--suffix={SUFFIX}")])
            .args(["--web", &format!("calls={calls}")])
            .args(["--app", "spin=50us,calls=0", "--store", "pool=1"]);
        services.start("relay", &command)?;
        services.wait_for_text("relay", "ready")
    }

    fn plant(&self, case: &Case, running: &mut Running, port: u16) -> Result<()> {
        let Running {
            planted, service, ..
        } = running;
        match case.plant {
            Plant::Told(_) => tell(service, "app")?,
            Plant::ToldBesideWrites(_) => {
                let mut writes = sh::command(&self.workload);
                writes
                    .args(["disk-io", "--reads", "0", "--writes", "10000000"])
                    .args(["--block", "1024", "--dir"])
                    .arg(&self.folder);
                planted.start("writes", &writes)?;
                tell(service, "app")?;
            }
            Plant::SlowUpstream => tell(service, "upstream")?,
            Plant::Hog => {
                let mut hog = sh::command(link(&self.workload, &self.folder.join(HOG))?);
                hog.args(["hog", "--core", &self.cpu.to_string()])
                    .args(["--threads", &HOG_THREADS.to_string()]);
                planted.start("hog", &hog)?;
            }
            Plant::MoreRequests => {
                let [rate, connections] = TOO_MANY;
                planted.start("more", &self.load(port, rate, connections))?;
            }
            Plant::Quota => {
                let group = Group::new(QUOTA_CPUS)?;
                group.take(id(service, "app")?)?;
                running._group = Some(group);
            }
            Plant::MoreCalls => {
                *service = Services::new()?;
                self.relay(service, CALLS[1])?;
            }
            Plant::Nothing => {}
        }
        Ok(())
    }
}

fn id(services: &Services, name: &str) -> Result<u32> {
    let id = services.id(name);
    id.with_context(|| format!("{name} has no process id"))
}

/// From now on it does what it is there for.
fn tell(services: &Services, name: &str) -> Result<()> {
    let id = id(services, name)?.to_string();
    sh::run(sh::command("kill").args(["-USR1", &id]))
}

/// A program under another name.
fn link<'a>(program: &Path, link: &'a Path) -> Result<&'a Path> {
    match symlink(program, link) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        made => made.with_context(|| format!("cannot link {}", link.display()))?,
    }
    Ok(link)
}

fn unix_ns() -> Result<u64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(u64::try_from(since.as_nanos())?)
}
