//! A fixed rate of requests, pinned: what Courtside does to the slowest ones.
//!
//! In: redis on one CPU, a client in this thread on another. Out: 99th percentiles with and without Courtside.
//! Must not know: other loads.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_setaffinity};

use super::attached::{Attached, Variant};
use super::{Built, load, report};
use crate::services::Services;

const PER_SECOND: u32 = 10_000;
const SECONDS: u32 = 5;

/// 99th percentiles of every round, without and with Courtside; nothing on a single CPU.
pub fn measure(built: &Built, rounds: u32) -> Result<Option<report::Fixed>> {
    let all = sched_getaffinity(None)?;
    let mut cpus = (0..CpuSet::MAX_CPU).filter(|&cpu| all.is_set(cpu));
    let (Some(client), Some(server)) = (cpus.next(), cpus.next()) else {
        return Ok(None);
    };
    let mut services = Services::new()?;
    let port = load::start_redis(&mut services)?;
    let redis = services
        .id("redis")
        .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    sched_setaffinity(redis, &only(server))?;

    let mut p99_ns = Vec::new();
    for round in 0..rounds {
        eprintln!(
            "xtask: {PER_SECOND} requests a second, round {} of {rounds}",
            round + 1
        );
        let mut pair = [0; 2];
        let order = [Variant::Nothing, Variant::Courtside];
        for index in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
            let attached = Attached::new(order[index], built)?;
            sched_setaffinity(None, &only(client))?;
            let latencies = ask(port);
            sched_setaffinity(None, &all)?;
            drop(attached);
            pair[index] = percentile_99(latencies?);
        }
        p99_ns.push(pair);
    }
    Ok(Some(report::Fixed {
        per_second: PER_SECOND,
        p99_ns,
    }))
}

fn only(cpu: usize) -> CpuSet {
    let mut set = CpuSet::new();
    set.set(cpu);
    set
}

/// One request at a time at its appointed instant; latency counts from that instant, so a late start is not hidden.
fn ask(port: u16) -> Result<Vec<u64>> {
    let mut redis = TcpStream::connect(("127.0.0.1", port)).context("redis is gone")?;
    redis.set_nodelay(true)?;
    let every = Duration::from_secs(1) / PER_SECOND;
    let mut latencies = Vec::with_capacity((PER_SECOND * SECONDS) as usize);
    let mut due = Instant::now();
    let mut reply = [0; 7];
    for _ in 0..PER_SECOND * SECONDS {
        due += every;
        while Instant::now() < due {
            std::hint::spin_loop();
        }
        redis.write_all(b"PING\r\n")?;
        redis.read_exact(&mut reply)?;
        latencies.push(u64::try_from(due.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
    if &reply != b"+PONG\r\n" {
        bail!("redis said something else than PONG");
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
