//! Requests at random, whether the server keeps up or not: an open load, as many users make it that know nothing of each other.
//!
//! In: a rate, a seed, for how long, the address of the first tier of a relay. Out: how long requests took, from the time they were
//! due. Must not know: what the server does.
//!
//! A generator that waits for an answer before it asks again slows down with the server, and leaves out just those requests that
//! would have waited. Here each request has a time at which it is due, whatever became of those before. If all connections are in
//! use then, it waits for one, and that wait counts.

use std::{
    net::SocketAddr,
    num::NonZeroU64,
    sync::{Mutex, PoisonError},
    thread,
};

use anyhow::{Context as _, ensure};
use clap::Args;
use fastrand::Rng;

use super::{
    clock::{Span, monotonic_ns, pin, sleep_until},
    line::{Line, Variant},
    ping_pong::joined,
    process::say,
    relay::{REPLY_BYTES, REQUEST_BYTES},
    socket::{Address, Transport},
};

/// A request that is sent so much later than it was due though a connection was free is late: the generator did not keep up.
const LATE_NS: u64 = 200_000;
/// How long requests that were due before the end may still be sent.
const GRACE_NS: u64 = 1_000_000_000;
/// From the last connect to where time begins.
const LEAD_NS: u64 = 5_000_000;

/// Requests at random times.
#[derive(Clone, Debug, Args)]
pub struct Poisson {
    /// Requests a second, in the mean.
    #[arg(long)]
    rate: f64,
    /// For how many seconds requests become due and count.
    #[arg(long)]
    seconds: f64,
    /// For how long before that they come and do not count.
    #[arg(long, default_value = "0s")]
    warm_up: Span,
    /// The same number gives the same times.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the first tier listens.
    #[arg(long)]
    to: SocketAddr,
    /// Connections, each with one request at a time.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Bind to this CPU.
    #[arg(long)]
    core: Option<usize>,
}

/// When requests are due.
struct Schedule {
    rng: Rng,
    gap_ns: f64,
    next_ns: f64,
    end_ns: u64,
}

impl Schedule {
    fn new(rate: f64, seed: u64, start_ns: u64, end_ns: u64) -> Self {
        Self {
            rng: Rng::with_seed(seed),
            gap_ns: 1e9 / rate,
            next_ns: start_ns as f64,
            end_ns,
        }
    }

    /// The next; none from the end on.
    fn draw(&mut self) -> Option<u64> {
        // 1 - u is above 0, so its logarithm is a number.
        self.next_ns -= (1.0 - self.rng.f64()).ln() * self.gap_ns;
        let due_ns = self.next_ns as u64;
        (due_ns < self.end_ns).then_some(due_ns)
    }
}

/// When what begins.
#[derive(Clone, Copy)]
struct Times {
    counted_ns: u64,
    end_ns: u64,
}

/// What one connection did, of what counts.
#[derive(Default)]
struct Done {
    latencies_ns: Vec<u64>,
    /// Answers that came while requests counted, of whichever request.
    answered: u64,
    /// Requests that waited for a connection.
    queued: u64,
    late: u64,
    late_sum_ns: u64,
}

impl Done {
    fn add(&mut self, other: Self) {
        self.latencies_ns.extend(other.latencies_ns);
        self.answered += other.answered;
        self.queued += other.queued;
        self.late += other.late;
        self.late_sum_ns += other.late_sum_ns;
    }
}

impl Poisson {
    /// Asks, then says how long it took.
    ///
    /// # Errors
    /// When the server breaks off, or nothing was due.
    pub fn run(self) -> anyhow::Result<()> {
        ensure!(
            self.rate > 0.0 && self.rate <= 1e7,
            "--rate is above 0 and at most 10 million"
        );
        ensure!(
            self.seconds > 0.0 && self.seconds <= 1e5,
            "--seconds is above 0 and at most 100000"
        );
        ensure!(self.connections > 0, "--connections is at least 1");
        if let Some(core) = self.core {
            pin(core)?;
        }
        let (done, unsent) = self.ask_all()?;
        say(&self.summary(done, unsent)?)
    }

    /// All that it did, and how many requests were due and not sent.
    fn ask_all(&self) -> anyhow::Result<(Done, u64)> {
        let server = Address::Inet(self.to);
        let lines = (0..self.connections)
            .map(|_| {
                let socket = Transport::Tcp4.connect(&server, "")?;
                Ok(Line::new(socket, Transport::Tcp4, Variant::Plain)?)
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        let start_ns = monotonic_ns() + LEAD_NS;
        let counted_ns = start_ns + self.warm_up.ns;
        let times = Times {
            counted_ns,
            end_ns: counted_ns + (self.seconds * 1e9) as u64,
        };
        let schedule = Mutex::new(Schedule::new(self.rate, self.seed, start_ns, times.end_ns));
        let mut all = Done::default();
        thread::scope(|scope| {
            let asking: Vec<_> = lines
                .into_iter()
                .map(|line| scope.spawn(|| ask(line, &schedule, times)))
                .collect();
            for thread in asking {
                all.add(joined(thread.join())?);
            }
            anyhow::Ok(())
        })?;
        let mut schedule = schedule
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        let mut unsent = 0;
        while schedule.draw().is_some() {
            unsent += 1;
        }
        Ok((all, unsent))
    }

    fn summary(&self, mut done: Done, unsent: u64) -> anyhow::Result<serde_json::Value> {
        let times = &mut done.latencies_ns;
        times.sort_unstable();
        let count = times.len() as u64;
        ensure!(
            count > 0,
            "no request became due: give more --seconds or a higher --rate"
        );
        let mean = times.iter().map(|&ns| ns as f64).sum::<f64>() / count as f64;
        let sent_at_once = (count - done.queued).max(1);
        Ok(serde_json::json!({
            "workload": "poisson", "offered_per_s": self.rate, "achieved_per_s": done.answered as f64 / self.seconds,
            "count": count, "mean_ns": mean, "p50_ns": quantile(times, 0.5)?, "p95_ns": quantile(times, 0.95)?,
            "p99_ns": quantile(times, 0.99)?, "max_ns": times.last(), "queued": done.queued, "late": done.late,
            "mean_late_ns": done.late_sum_ns as f64 / sent_at_once as f64, "unsent": unsent,
        }))
    }
}

/// One request after the other on one connection: whichever is due next when it is free.
fn ask(mut line: Line, schedule: &Mutex<Schedule>, times: Times) -> anyhow::Result<Done> {
    // A timer may otherwise be 50 us late, so that others end at the same time.
    rustix::thread::set_current_timer_slack(NonZeroU64::new(1))
        .context("timers cannot be made exact")?;
    let mut done = Done::default();
    while monotonic_ns() < times.end_ns + GRACE_NS {
        let due = schedule
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .draw();
        let Some(due_ns) = due else { break };
        let waits = monotonic_ns() < due_ns;
        if waits {
            sleep_until(due_ns);
        }
        let sent_ns = monotonic_ns();
        line.stamp();
        line.send(REQUEST_BYTES)?;
        ensure!(line.receive(REPLY_BYTES)?, "the first tier closed");
        let now_ns = monotonic_ns();
        done.answered += u64::from((times.counted_ns..times.end_ns).contains(&now_ns));
        if due_ns < times.counted_ns {
            continue;
        }
        done.latencies_ns.push(now_ns - due_ns);
        if waits {
            let late_ns = sent_ns - due_ns;
            done.late += u64::from(late_ns > LATE_NS);
            done.late_sum_ns += late_ns;
        } else {
            done.queued += 1;
        }
    }
    Ok(done)
}

/// The least of these, in order, that so large a share of them does not exceed.
fn quantile(sorted_ns: &[u64], share: f64) -> anyhow::Result<u64> {
    let rank = (share * sorted_ns.len() as f64).ceil() as usize;
    let at = rank.clamp(1, sorted_ns.len().max(1)) - 1;
    sorted_ns.get(at).copied().context("nothing was timed")
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::TcpListener,
    };

    use super::*;

    #[test]
    fn requests_come_at_random_and_as_often_as_they_should() {
        let mut schedule = Schedule::new(1000.0, 7, 0, 100_000_000_000);
        let mut gaps = Vec::new();
        let mut last = 0;
        while let Some(due_ns) = schedule.draw() {
            gaps.push((due_ns - last) as f64);
            last = due_ns;
        }
        let n = gaps.len() as f64;
        let mean = gaps.iter().sum::<f64>() / n;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / n;
        // 100 000 requests: the count is off by 0.3 % in the mean, and the scatter of gaps is their mean.
        assert!((n / 100_000.0 - 1.0).abs() < 0.01, "{n}");
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.01);
    }

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let values: Vec<u64> = (1..=100).collect();
        for (share, expected) in [(0.0, 1), (0.5, 50), (0.95, 95), (0.99, 99), (1.0, 100)] {
            assert_eq!(quantile(&values, share).unwrap(), expected);
        }
        assert_eq!(quantile(&[7], 0.5).unwrap(), 7);
        assert!(quantile(&[], 0.5).is_err());
    }

    /// A server that answers at once: every request that the seed makes due is asked and counted, once.
    #[test]
    fn every_request_that_is_due_is_asked_and_counted() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let poisson = Poisson {
            rate: 2000.0,
            seconds: 0.2,
            warm_up: Span { ns: 0 },
            seed: 3,
            to: listener.local_addr().unwrap(),
            connections: 2,
            core: None,
        };
        let answer = |mut socket: std::net::TcpStream| {
            let mut request = [0; REQUEST_BYTES];
            while socket.read_exact(&mut request).is_ok() {
                socket.write_all(&[0; REPLY_BYTES]).unwrap();
            }
        };
        let (done, unsent) = thread::scope(|scope| {
            scope.spawn(|| {
                let [a, b] = [(); 2].map(|()| listener.accept().unwrap().0);
                scope.spawn(move || answer(a));
                answer(b);
            });
            poisson.ask_all().unwrap()
        });
        let mut due = Schedule::new(2000.0, 3, 0, 200_000_000);
        let all = std::iter::from_fn(|| due.draw()).count() as u64;
        let asked = done.latencies_ns.len() as u64;
        // Where time begins is not the same, and with it one rounding.
        assert!((asked + unsent).abs_diff(all) <= 1, "{asked} of {all}");
        assert!(done.answered <= asked && done.queued <= asked && done.late <= asked);
        let said = poisson.summary(done, unsent).unwrap();
        assert_eq!(said["count"], asked);
        assert!(said["p50_ns"].as_u64() <= said["p99_ns"].as_u64());
    }
}
