//! A fixed rate of requests, pinned: what Courtside does to the slowest ones.
//!
//! In: a server on one CPU, a client in this thread on another. Out: 99th percentiles with and without Courtside.
//! Must not know: other loads.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_setaffinity};

use super::attached::{Attached, Variant};
use super::report::{Fixed, PER_SECOND};
use super::rounds::{Rounds, in_turn};
use super::{Built, alone, load, nginx};
use crate::services::Services;

const SECONDS: u32 = 5;

/// What is asked, and by whom it is answered.
struct Server {
    name: &'static str,
    port: u16,
    /// The thread that answers.
    tid: u32,
    /// What is attached in every second run.
    variant: Variant,
    has_limit: bool,
    request: &'static [u8],
    /// What an answer ends with.
    end: &'static [u8],
}

/// 99th percentiles of every round, without and with Courtside; nothing on a single CPU.
pub fn measure(built: &Built, rounds: Rounds) -> Result<Vec<Fixed>> {
    let all = sched_getaffinity(None)?;
    let mut cpus = (0..CpuSet::MAX_CPU).filter(|&cpu| all.is_set(cpu));
    let (Some(client), Some(server)) = (cpus.next(), cpus.next()) else {
        eprintln!("xtask: one CPU: nothing can be pinned");
        return Ok(Vec::new());
    };
    let pins = Pins {
        all,
        client: only(client),
        server: only(server),
    };
    let mut measured = Vec::new();
    for start in [redis, http] {
        let mut services = Services::new()?;
        let server = start(&mut services)?;
        measured.push(of(&server, &pins, built, rounds)?);
    }
    Ok(measured)
}

fn redis(services: &mut Services) -> Result<Server> {
    Ok(Server {
        name: "redis",
        port: load::start_redis(services)?,
        tid: services.id("redis").context("redis is gone")?,
        variant: Variant::Courtside,
        has_limit: true,
        request: b"PING\r\n",
        end: b"PONG\r\n",
    })
}

fn http(services: &mut Services) -> Result<Server> {
    Ok(Server {
        name: "nginx",
        port: nginx::start(services)?,
        tid: nginx::worker(services)?,
        variant: Variant::Stat,
        has_limit: false,
        request: b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        end: nginx::END,
    })
}

/// Who runs where.
struct Pins {
    all: CpuSet,
    client: CpuSet,
    server: CpuSet,
}

fn only(cpu: usize) -> CpuSet {
    let mut set = CpuSet::new();
    set.set(cpu);
    set
}

fn of(server: &Server, pins: &Pins, built: &Built, rounds: Rounds) -> Result<Fixed> {
    let tid = i32::try_from(server.tid).ok().and_then(Pid::from_raw);
    sched_setaffinity(tid, &pins.server).context("the server cannot be pinned")?;
    let mut fixed = Fixed {
        server: server.name,
        variant: server.variant,
        has_limit: server.has_limit,
        p99_ns: Vec::new(),
    };
    let what = format!("{PER_SECOND} requests a second to {}", server.name);
    rounds.take(&what, |round| {
        let mut pair = [0; 2];
        for with in in_turn(&[false, true], round) {
            alone()?;
            let variant = if with {
                server.variant
            } else {
                Variant::Nothing
            };
            let attached = Attached::new(variant, built)?;
            sched_setaffinity(None, &pins.client)?;
            let latencies = ask(server);
            sched_setaffinity(None, &pins.all)?;
            drop(attached);
            pair[usize::from(with)] = percentile_99(latencies?);
        }
        fixed.p99_ns.push(pair);
        let ratio = fixed.ratio();
        let [low, high] = ratio.interval;
        eprintln!("xtask:   p99 × {:.3} ({low:.3}–{high:.3})", ratio.median);
        Ok(ratio)
    })?;
    Ok(fixed)
}

/// One request at a time at its appointed instant; latency counts from that instant, so a late start is not hidden.
fn ask(server: &Server) -> Result<Vec<u64>> {
    let Server {
        name, request, end, ..
    } = server;
    let mut stream = TcpStream::connect(("127.0.0.1", server.port))
        .with_context(|| format!("{name} is gone"))?;
    stream.set_nodelay(true)?;
    let every = Duration::from_secs(1) / PER_SECOND;
    let mut latencies = Vec::with_capacity((PER_SECOND * SECONDS) as usize);
    let mut answer = [0; 1024];
    let mut due = Instant::now();
    for _ in 0..PER_SECOND * SECONDS {
        due += every;
        while Instant::now() < due {
            std::hint::spin_loop();
        }
        stream.write_all(request)?;
        let mut length = 0;
        while !answer[..length].ends_with(end) {
            let read = stream.read(&mut answer[length..])?;
            if read == 0 {
                let said = String::from_utf8_lossy(&answer[..length]);
                bail!("{name} said something else than it should: {said}");
            }
            length += read;
        }
        latencies.push(u64::try_from(due.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
    Ok(latencies)
}

fn percentile_99(mut latencies: Vec<u64>) -> u64 {
    latencies.sort_unstable();
    latencies
        .get(latencies.len() * 99 / 100)
        .copied()
        .unwrap_or(0)
}
