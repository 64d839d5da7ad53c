//! What people put between a client and a service, and what they write services in: haproxy, pgbouncer, Node; and a slow
//! upstream of our own for them.
//!
//! In: a directory of the host's, and whom to ask. Out: they run, and say themselves how much they served; gone when
//! dropped. Must not know: what Courtside says of them.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::{fs::symlink, net::UnixStream},
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::Context as _;
use serde_json::Value;

use super::{Postgres, Service, as_postgres, free_port, listens, run};
use crate::harness::{Host, Running, finish, workload};

/// An HTTP server of our own that answers after a while.
pub struct Upstream {
    /// Its port.
    pub port: u16,
    /// What it is called.
    pub name: String,
    running: Running,
}

/// A haproxy on a port of its own, in front of an upstream.
pub struct Haproxy {
    /// Where it answers.
    pub server: String,
    socket: PathBuf,
    _service: Service,
}

/// A pgbouncer on a Unix socket of its own, in front of a PostgreSQL.
pub struct Pgbouncer {
    /// The socket's directory.
    dir: PathBuf,
    _service: Service,
}

/// A Node service on a port of its own.
pub struct Node {
    /// Where it answers.
    pub server: String,
    service: Service,
}

impl Upstream {
    /// Starts it; each answer takes it so long.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(host: &Host, sleep: &str) -> anyhow::Result<Self> {
        let name = format!("up-{}", host.tag());
        let program = host.dir().join(&name);
        symlink(workload()?, &program)?;
        let mut command = Command::new(program);
        command.args(["http-upstream", "--sleep", sleep]);
        let mut running = Running::start(command.stdin(Stdio::piped()))?;
        Ok(Self {
            port: running.line()?.parse()?,
            name,
            running,
        })
    }

    /// Ends it, and returns what it did.
    ///
    /// # Errors
    /// When it does not say.
    pub fn finish(mut self) -> anyhow::Result<Value> {
        self.running.stop_talking();
        Ok(serde_json::from_str(&self.running.line()?)?)
    }
}

impl Haproxy {
    /// Starts it.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(host: &Host, upstream: u16) -> anyhow::Result<Self> {
        let port = free_port()?;
        let conf = host.dir().join("haproxy.cfg");
        let socket = host.dir().join("haproxy.sock");
        fs::write(
            &conf,
            format!(
                "global\n stats socket {socket}\n nbthread 2\n\
                 defaults\n mode http\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n\
                 frontend front\n bind 127.0.0.1:{port}\n default_backend back\n\
                 backend back\n server upstream 127.0.0.1:{upstream}\n",
                socket = socket.display()
            ),
        )?;
        let mut command = Command::new("haproxy");
        let mut service = Service::start(host, "haproxy", command.args(["-db", "-f"]).arg(conf))?;
        service.until(|| listens(port))?;
        Ok(Self {
            server: format!("127.0.0.1:{port}"),
            socket,
            _service: service,
        })
    }

    /// Requests that it has sent on so far, and how long the upstream and a whole session took of late, in milliseconds.
    ///
    /// # Errors
    /// When it does not say.
    pub fn said(&self) -> anyhow::Result<[u64; 3]> {
        let mut socket = UnixStream::connect(&self.socket)?;
        socket.write_all(b"show stat\n")?;
        let mut table = String::new();
        socket.read_to_string(&mut table)?;
        let row = |name: &str| {
            let line = table.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.split(',').collect::<Vec<_>>())
        };
        let names = row("# pxname,svname,").context("no heading")?;
        let numbers = row("back,upstream,").context("no upstream")?;
        let number = |name: &str| -> anyhow::Result<u64> {
            let place = names
                .iter()
                .position(|one| *one == name)
                .context("no column")?;
            Ok(numbers.get(place).context("a short row")?.parse()?)
        };
        Ok([number("hrsp_2xx")?, number("rtime")?, number("ttime")?])
    }
}

impl Pgbouncer {
    /// Starts it.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(host: &Host, postgres: &Postgres) -> anyhow::Result<Self> {
        let dir = host.dir().join("pgbouncer");
        fs::create_dir(&dir)?;
        let conf = dir.join("pgbouncer.ini");
        fs::write(
            &conf,
            format!(
                "[databases]\npostgres = host={postgres} port=5432 dbname=postgres user=postgres\n\
                 [pgbouncer]\nunix_socket_dir = {dir}\nlisten_port = 6432\nlisten_addr =\n\
                 auth_type = any\npool_mode = transaction\nadmin_users = postgres\n",
                postgres = postgres.dir.display(),
                dir = dir.display()
            ),
        )?;
        run(Command::new("chown").args(["-R", "postgres:"]).arg(&dir))?;
        let mut command = as_postgres("pgbouncer".as_ref());
        let mut service = Service::start(host, "pgbouncer", command.arg(conf))?;
        let socket = dir.join(".s.PGSQL.6432");
        service.until(|| UnixStream::connect(&socket).is_ok())?;
        Ok(Self {
            dir,
            _service: service,
        })
    }

    /// A pgbench through it.
    #[must_use]
    pub fn pgbench(&self, options: &[&str]) -> Command {
        let mut command = Command::new("pgbench");
        command.arg("-h").arg(&self.dir).args(["-p", "6432"]);
        command.args(["-U", "postgres"]).args(options);
        command.arg("postgres");
        command
    }

    /// Statements that it has sent on so far, as it counts them.
    ///
    /// # Errors
    /// When it does not say.
    pub fn queries(&self) -> anyhow::Result<u64> {
        let mut command = Command::new("psql");
        command.arg("-h").arg(&self.dir).args(["-p", "6432"]);
        command.args(["-U", "postgres", "-At", "-c", "SHOW STATS", "pgbouncer"]);
        let said = String::from_utf8(finish(command)?.stdout)?;
        // Nothing is said of a database that nobody has asked for yet.
        let row = said.lines().find_map(|line| line.strip_prefix("postgres|"));
        match row {
            Some(row) => Ok(row.split('|').nth(1).context("a short row")?.parse()?),
            None => Ok(0),
        }
    }
}

impl Node {
    /// Starts `service.js` to answer in this way.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(host: &Host, how: &str, upstream: Option<u16>) -> anyhow::Result<Self> {
        let port = free_port()?;
        let script = host.dir().join("service.js");
        fs::write(&script, include_str!("service.js"))?;
        let mut command = Command::new("node");
        command.arg(script).arg(how).arg(port.to_string());
        command.args(upstream.map(|upstream| upstream.to_string()));
        let mut service = Service::start(host, "node", &command)?;
        service.until(|| listens(port))?;
        Ok(Self {
            server: format!("127.0.0.1:{port}"),
            service,
        })
    }

    /// Ends it, and returns how many requests there were, and how long it had them.
    ///
    /// # Errors
    /// When it does not say.
    pub fn finish(self) -> anyhow::Result<[u64; 2]> {
        let said: Value = serde_json::from_str(self.service.finish()?.trim())?;
        let number = |name: &str| said[name].as_u64().context("no number");
        Ok([number("requests")?, number("answers_ns")?])
    }
}
