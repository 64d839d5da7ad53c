//! Services that everybody knows: redis, PostgreSQL, nginx, each with a port or socket of its own.
//!
//! In: a directory of the host's. Out: they run, and say themselves how much they served; gone when dropped.
//! Must not know: what Courtside says of them.

pub mod between;

use std::{
    collections::BTreeMap,
    fs::{self, File, Permissions},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Host, eventually, finish};

/// After so long a service is asked to end once more.
const AGAIN: Duration = Duration::from_secs(5);

/// A process whose output goes to a log. Asked to end by its id when dropped, and when the test's thread dies.
pub struct Service {
    child: Child,
    log: PathBuf,
}

/// A redis on a port of its own.
pub struct Redis {
    /// The port.
    pub port: String,
    _service: Service,
}

/// A PostgreSQL on a Unix socket of its own, with the tables of pgbench.
pub struct Postgres {
    /// The socket's directory.
    pub dir: PathBuf,
    service: Service,
}

/// An nginx on a port of its own that answers everything with the same few bytes.
pub struct Nginx {
    /// Where it answers.
    pub url: String,
    access_log: PathBuf,
    _service: Service,
}

impl Service {
    /// Starts `command` under the name of `name`.log in the host's directory.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(host: &Host, name: &str, command: &Command) -> anyhow::Result<Self> {
        let log = host.dir().join(format!("{name}.log"));
        let file = File::create(&log)?;
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "--"])
            .arg(command.get_program())
            .args(command.get_args())
            .current_dir(host.dir())
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self { child, log })
    }

    /// Id of the process.
    #[must_use]
    pub fn tgid(&self) -> u32 {
        self.child.id()
    }

    /// All that it printed.
    ///
    /// # Errors
    /// When that cannot be read.
    pub fn said(&self) -> anyhow::Result<String> {
        Ok(fs::read_to_string(&self.log)?)
    }

    /// Ends it, and returns all that it printed.
    ///
    /// # Errors
    /// When that cannot be read.
    pub fn finish(mut self) -> anyhow::Result<String> {
        self.end();
        self.said()
    }

    fn end(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_some()) {
            return;
        }
        // All of these take SIGTERM for: end, and your children with you.
        if let Some(pid) = i32::try_from(self.tgid()).ok().and_then(Pid::from_raw)
            && kill_process(pid, Signal::TERM).is_ok()
        {
            let mut asked = Instant::now();
            let ended = || {
                // bpftrace was seen to let one signal pass, and to end with the next.
                if asked.elapsed() > AGAIN && kill_process(pid, Signal::TERM).is_ok() {
                    asked = Instant::now();
                }
                self.child.try_wait().is_ok_and(|status| status.is_some())
            };
            if eventually("a service's end", ended).is_err() {
                let _ = self.child.kill();
            }
        }
        let _ = self.child.wait();
    }

    /// Waits until it is ready, and fails if it ends before.
    fn until(&mut self, mut ready: impl FnMut() -> bool) -> anyhow::Result<()> {
        let log = self.log.display().to_string();
        let child = &mut self.child;
        let mut ended = None;
        eventually(&log, || {
            ended = child.try_wait().ok().flatten();
            ended.is_some() || ready()
        })?;
        ensure!(ended.is_none(), "{log}: {ended:?}: {}", self.said()?);
        Ok(())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.end();
    }
}

impl Redis {
    /// Starts it.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(host: &Host) -> anyhow::Result<Self> {
        Self::start_with(host, &[])
    }

    /// Starts it with more options.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start_with(host: &Host, options: &[&str]) -> anyhow::Result<Self> {
        let port = free_port()?;
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--port"]);
        command.arg(port.to_string()).args(options);
        let mut service = Service::start(host, "redis", &command)?;
        service.until(|| listens(port))?;
        Ok(Self {
            port: port.to_string(),
            _service: service,
        })
    }

    /// Commands that it has executed so far, by their names, as redis itself counts them.
    ///
    /// # Errors
    /// When it does not say.
    pub fn executed(&self) -> anyhow::Result<BTreeMap<String, u64>> {
        let mut command = Command::new("redis-cli");
        command.args(["-p", &self.port, "INFO", "commandstats"]);
        executed(&String::from_utf8(finish(command)?.stdout)?)
    }
}

/// What redis says on `INFO commandstats`: lines such as `cmdstat_get:calls=7,usec=…`.
///
/// # Errors
/// When a count is no number.
pub fn executed(commandstats: &str) -> anyhow::Result<BTreeMap<String, u64>> {
    commandstats
        .lines()
        .filter_map(|line| line.strip_prefix("cmdstat_")?.split_once(":calls="))
        .map(|(name, rest)| {
            let (calls, _) = rest.split_once(',').context("no usec")?;
            Ok((name.to_owned(), calls.parse()?))
        })
        .collect()
}

impl Postgres {
    /// Starts it and fills the tables.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(host: &Host) -> anyhow::Result<Self> {
        let bin = newest_postgres()?;
        let dir = host.dir().join("postgres");
        fs::create_dir(&dir)?;
        run(Command::new("chown").arg("postgres:").arg(&dir))?;
        // The server must reach its own directory inside the host's.
        fs::set_permissions(host.dir(), Permissions::from_mode(0o711))?;
        let data = dir.join("data");
        run(as_postgres(&bin.join("initdb"))
            .args(["--auth=trust", "--no-sync", "--locale=C", "-D"])
            .arg(&data))?;
        let mut command = as_postgres(&bin.join("postgres"));
        command
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(&dir)
            .args(["-c", "listen_addresses="])
            .args(["-c", "log_statement=all", "-c", "log_connections=on"]);
        let mut service = Service::start(host, "postgres", &command)?;
        service.until(|| {
            let mut ready = Command::new(bin.join("pg_isready"));
            ready.arg("-q").arg("-h").arg(&dir);
            ready.status().is_ok_and(|status| status.success())
        })?;
        let postgres = Self { dir, service };
        run(&mut postgres.pgbench(&["--initialize", "--quiet"]))?;
        Ok(postgres)
    }

    /// A pgbench against it.
    #[must_use]
    pub fn pgbench(&self, options: &[&str]) -> Command {
        let mut command = Command::new("pgbench");
        command.arg("-h").arg(&self.dir);
        command.args(["-U", "postgres"]).args(options);
        command.arg("postgres");
        command
    }

    /// Connections taken and statements executed so far, as the server's log has them.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn logged(&self) -> anyhow::Result<(u64, u64)> {
        let log = self.service.said()?;
        let count = |what: &[&str]| {
            let of_it = |line: &&str| what.iter().any(|what| line.contains(what));
            log.lines().filter(of_it).count() as u64
        };
        Ok((
            count(&["LOG:  connection received"]),
            count(&["LOG:  statement:", "LOG:  execute "]),
        ))
    }
}

impl Nginx {
    /// Starts it.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(host: &Host) -> anyhow::Result<Self> {
        let port = free_port()?;
        let conf = host.dir().join("nginx.conf");
        let access_log = host.dir().join("access.log");
        fs::write(
            &conf,
            format!(
                "daemon off; user root; worker_processes 1; pid {dir}/nginx.pid; error_log stderr;
                events {{ worker_connections 64; }}
                http {{
                    access_log {dir}/access.log;
                    server {{ listen 127.0.0.1:{port}; location / {{ return 200 'here you are'; }} }}
                }}",
                dir = host.dir().display()
            ),
        )?;
        let mut service = Service::start(host, "nginx", Command::new("nginx").arg("-c").arg(conf))?;
        service.until(|| listens(port))?;
        Ok(Self {
            url: format!("http://127.0.0.1:{port}/"),
            access_log,
            _service: service,
        })
    }

    /// Requests served so far, as its access log has them.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn logged(&self) -> anyhow::Result<u64> {
        Ok(fs::read_to_string(&self.access_log)?.lines().count() as u64)
    }
}

/// A loopback port that is free now.
fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("no free port")?;
    Ok(listener.local_addr()?.port())
}

fn listens(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command
        .output()
        .with_context(|| format!("cannot start {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed: {said}");
    Ok(())
}

/// PostgreSQL refuses to run as root. Becoming another user clears the signal of the parent's death: ask again.
fn as_postgres(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=postgres", "--regid=postgres", "--clear-groups"])
        .args(["--pdeathsig=TERM", "--"])
        .arg(program);
    command
}

fn newest_postgres() -> anyhow::Result<PathBuf> {
    let version = |path: &PathBuf| -> Option<u32> { path.file_name()?.to_str()?.parse().ok() };
    let installed = "/usr/lib/postgresql";
    fs::read_dir(installed)
        .with_context(|| format!("{installed} is missing; run: apt-get install postgresql"))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .max_by_key(version)
        .map(|path| path.join("bin"))
        .with_context(|| format!("{installed} is empty; run: apt-get install postgresql"))
}
