//! The demo's real services: wrk → nginx → gunicorn → redis and PostgreSQL, all of Debian's packages.
//!
//! In: a folder of their own. Out: they run, on loopback ports and sockets of their own. Must not know: the services
//! that the host may be running already.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::services::{Services, free_port};
use crate::sh;

/// What they come in.
pub const PACKAGES: [&str; 7] = [
    "gunicorn",
    "nginx-light",
    "postgresql",
    "python3-psycopg2",
    "python3-redis",
    "redis-server",
    "wrk",
];

const ITEMS: &str = "CREATE TABLE item (id integer PRIMARY KEY, text text NOT NULL, visits bigint NOT NULL); \
    INSERT INTO item SELECT i, 'item ' || i, 0 FROM generate_series(1, 10000) AS i; ANALYZE item";

/// Start them all; the entry is nginx.
pub fn start(services: &mut Services) -> Result<&'static str> {
    let dir = services.dir().to_owned();
    let (web, app) = (free_port()?, free_port()?);

    let redis = dir.join("redis.sock");
    services.start(
        "redis",
        Command::new("redis-server")
            .args([
                "--port",
                "0",
                "--save",
                "",
                "--daemonize",
                "no",
                "--unixsocket",
            ])
            .arg(&redis)
            .arg("--dir")
            .arg(&dir),
    )?;
    services.wait_for_file(&redis)?;
    let postgres = postgres(services)?;

    fs::write(dir.join("app.py"), include_str!("../../demo/app.py"))?;
    services.start(
        "gunicorn",
        Command::new("/usr/bin/gunicorn")
            .args([
                "--worker-class",
                "gthread",
                "--threads",
                "4",
                "--keep-alive",
                "60",
            ])
            .args([
                "--bind",
                &format!("127.0.0.1:{app}"),
                "app:application",
                "--chdir",
            ])
            .arg(&dir)
            .env("DEMO_REDIS", &redis)
            .env("DEMO_POSTGRES", postgres),
    )?;
    services.wait_for_port(app)?;

    let conf = include_str!("../../demo/nginx.conf")
        .replace("DIR", &dir.display().to_string())
        .replace("APP_PORT", &app.to_string())
        .replace("WEB_PORT", &web.to_string());
    fs::write(dir.join("nginx.conf"), conf)?;
    services.start(
        "nginx",
        Command::new("nginx").arg("-c").arg(dir.join("nginx.conf")),
    )?;
    services.wait_for_port(web)?;

    fs::write(dir.join("wrk.lua"), include_str!("../../demo/wrk.lua"))?;
    services.start(
        "wrk",
        Command::new("wrk")
            .args([
                "--threads",
                "1",
                "--connections",
                "8",
                "--duration",
                "24h",
                "--script",
            ])
            .arg(dir.join("wrk.lua"))
            .arg(format!("http://127.0.0.1:{web}/")),
    )?;
    services.settle(Duration::from_secs(1))?;
    Ok("nginx")
}

/// A PostgreSQL of its own with one table; returns how to reach it.
fn postgres(services: &mut Services) -> Result<String> {
    let bin = newest_postgres()?;
    let home = services.dir().join("postgres");
    let data = home.join("data");
    fs::create_dir(&home)?;
    sh::run(sh::command("chown").arg("postgres:").arg(&home))?;
    // The server must reach its own folder inside ours.
    fs::set_permissions(services.dir(), fs::Permissions::from_mode(0o711))?;
    sh::output(
        as_postgres(&bin.join("initdb"))
            .args([
                "--auth=trust",
                "--no-sync",
                "--locale=C",
                "--encoding=UTF8",
                "-D",
            ])
            .arg(&data)
            .current_dir(&home),
    )?;
    let port = free_port()?;
    services.start(
        "postgres",
        as_postgres(&bin.join("postgres"))
            .arg("-D")
            .arg(&data)
            .args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1"])
            .args(["-c", "unix_socket_directories="])
            .current_dir(&home),
    )?;
    services.wait_for_port(port)?;
    let address = format!("host=127.0.0.1 port={port} user=postgres dbname=postgres");
    let mut psql = sh::command(bin.join("psql"));
    psql.args(["--quiet", "--no-psqlrc", "--command", ITEMS, &address]);
    // The port opens a little before the server answers.
    let mut tries = 0;
    while let Err(error) = sh::output(&mut psql) {
        tries += 1;
        if tries == 50 || !error.to_string().contains("starting up") {
            return Err(error);
        }
        services.settle(Duration::from_millis(100))?;
    }
    Ok(address)
}

/// PostgreSQL refuses to run as root.
fn as_postgres(program: &Path) -> Command {
    let mut command = sh::command("setpriv");
    command
        .args([
            "--reuid=postgres",
            "--regid=postgres",
            "--clear-groups",
            // Becoming another user clears this, so it is asked for again.
            "--pdeathsig=TERM",
            "--",
        ])
        .arg(program);
    command
}

fn newest_postgres() -> Result<PathBuf> {
    let version = |path: &PathBuf| -> Option<u32> { path.file_name()?.to_str()?.parse().ok() };
    fs::read_dir("/usr/lib/postgresql")
        .context("PostgreSQL is not where Debian puts it")?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .max_by_key(version)
        .map(|path| path.join("bin"))
        .context("PostgreSQL is not where Debian puts it")
}
