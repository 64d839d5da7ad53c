//! The loads: as many roundtrips as the machine gives.
//!
//! In: programs that say themselves what they did. Out: roundtrips and seconds. Must not know: what is attached.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::Built;
use crate::services::{Services, free_port};
use crate::sh;

const TCP_ROUNDTRIPS: u64 = 75_000;
const PIPE_ROUNDTRIPS: u64 = 150_000;
const REDIS_REQUESTS: u64 = 300_000;
const WRK_SECONDS: u64 = 4;

/// One of the loads, ready to run again and again.
pub enum Load {
    /// 100 bytes there and back between two processes over TCP on loopback.
    Tcp {
        /// The command.
        workload: std::path::PathBuf,
    },
    /// A byte there and back over pipes: context switches, no sockets.
    Pipe,
    /// 50 clients of redis.
    Redis {
        /// Where redis listens.
        port: u16,
    },
    /// 50 connections of wrk to nginx.
    Wrk {
        /// Where nginx listens.
        port: u16,
    },
}

/// What a load did.
pub struct Done {
    /// Roundtrips.
    pub roundtrips: u64,
    /// In this time.
    pub time: Duration,
}

impl Done {
    /// Roundtrips per second.
    pub fn per_second(&self) -> f64 {
        self.roundtrips as f64 / self.time.as_secs_f64()
    }
}

/// The loads that take everything, and what they need beside them.
pub fn start(services: &mut Services, built: &Built) -> Result<[Load; 3]> {
    let port = start_redis(services)?;
    Ok([
        Load::Tcp {
            workload: built.workload.clone(),
        },
        Load::Pipe,
        Load::Redis { port },
    ])
}

/// A redis that keeps nothing; returns its port.
pub fn start_redis(services: &mut Services) -> Result<u16> {
    let port = free_port()?;
    services.start(
        "redis",
        sh::command("redis-server")
            .args([
                "--port",
                &port.to_string(),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
            ])
            .args(["--daemonize", "no"]),
    )?;
    services.wait_for_port(port)?;
    Ok(port)
}

impl Load {
    /// For people.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Tcp { .. } => "TCP ping-pong on loopback, 100 bytes",
            Self::Pipe => "pipe ping-pong (`perf bench sched pipe`)",
            Self::Redis { .. } => "redis-benchmark, GET, 50 clients",
            Self::Wrk { .. } => "wrk against nginx, 50 connections",
        }
    }

    /// Run it once.
    pub fn run(&self) -> Result<Done> {
        match self {
            Self::Tcp { workload } => tcp(workload),
            Self::Pipe => pipe(),
            Self::Redis { port } => redis(*port),
            Self::Wrk { port } => wrk(*port),
        }
    }
}

fn tcp(workload: &std::path::Path) -> Result<Done> {
    let said = sh::output(Command::new(workload).args([
        "ping-pong",
        "--transport",
        "tcp4",
        "--messages",
        &TCP_ROUNDTRIPS.to_string(),
    ]))?;
    ping_pong_done(&said)
}

/// What a ping-pong says that it did.
pub fn ping_pong_done(said: &str) -> Result<Done> {
    let said: serde_json::Value = serde_json::from_str(said)?;
    let client = &said["client"];
    let roundtrips = client["answered"]
        .as_u64()
        .context("the ping-pong did not say what it did")?;
    let nanoseconds = client["wall_ns"]
        .as_u64()
        .context("the ping-pong did not say how long it took")?;
    Ok(Done {
        roundtrips,
        time: Duration::from_nanos(nanoseconds),
    })
}

fn pipe() -> Result<Done> {
    let loops = PIPE_ROUNDTRIPS.to_string();
    let said = sh::output(
        sh::command("perf").args(["bench", "-f", "simple", "sched", "pipe", "-l", &loops]),
    )?;
    let seconds: f64 = said
        .trim()
        .parse()
        .with_context(|| format!("perf bench said `{}`", said.trim()))?;
    Ok(Done {
        roundtrips: PIPE_ROUNDTRIPS,
        time: Duration::from_secs_f64(seconds),
    })
}

fn redis(port: u16) -> Result<Done> {
    let said = sh::output(
        sh::command("redis-benchmark")
            .args(["-p", &port.to_string(), "-n", &REDIS_REQUESTS.to_string()])
            .args(["-c", "50", "-t", "get", "--csv"]),
    )?;
    let rate: f64 = said
        .lines()
        .find_map(|line| {
            line.strip_prefix("\"GET\",\"")?
                .split('"')
                .next()?
                .parse()
                .ok()
        })
        .with_context(|| format!("redis-benchmark said `{}`", said.trim()))?;
    Ok(Done {
        roundtrips: REDIS_REQUESTS,
        time: Duration::from_secs_f64(REDIS_REQUESTS as f64 / rate),
    })
}

fn wrk(port: u16) -> Result<Done> {
    let said = sh::output(
        sh::command("wrk")
            .args(["--threads", "1", "--connections", "50", "--duration"])
            .arg(format!("{WRK_SECONDS}s"))
            .arg(format!("http://127.0.0.1:{port}/")),
    )?;
    let rate = wrk_rate(&said).with_context(|| format!("wrk said `{}`", said.trim()))?;
    Ok(Done {
        roundtrips: (rate * WRK_SECONDS as f64).round() as u64,
        time: Duration::from_secs(WRK_SECONDS),
    })
}

/// Requests a second, if each was answered as it should be.
fn wrk_rate(said: &str) -> Option<f64> {
    let value = |of: &str| said.lines().find_map(|line| line.trim().strip_prefix(of));
    if value("Socket errors:").is_some() || value("Non-2xx or 3xx responses:").is_some() {
        return None;
    }
    value("Requests/sec:")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrk_is_believed_only_without_errors() {
        let good =
            "  2 requests in 1.00s, 1.00KB read\nRequests/sec:  54321.09\nTransfer/sec:  1.00MB\n";
        assert_eq!(wrk_rate(good), Some(54_321.09));
        let bad = format!("  Non-2xx or 3xx responses: 3\n{good}");
        assert_eq!(wrk_rate(&bad), None);
        let bad = format!("  Socket errors: connect 0, read 1, write 0, timeout 0\n{good}");
        assert_eq!(wrk_rate(&bad), None);
    }
}
