//! Requests simulated one by one, event after event, from a seed.
//!
//! In: stations that work on one thing after the other, and what a visit to each component consists of. Out: how long requests
//! took. Must not know: profiles, rates that were measured.
//!
//! A closed formula takes all work of a request on a node for one piece. Threads that hand the CPU back and forth come back to
//! its queue again and again, pools of threads fill up, and percentiles need whole distributions: that is what this is for. The
//! CPUs of a node take pieces in the order in which they come, and work on each to its end.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
};

use fastrand::Rng;

/// What several servers work on, first come, first served.
#[derive(Clone, Copy, Debug)]
pub(super) struct Station {
    pub servers: u32,
}

/// A piece of a visit, up to the send of a message.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Piece {
    /// Mean times: on a CPU, at the disk, and waiting for neither.
    pub cpu_ns: f64,
    pub disk_ns: f64,
    pub wait_ns: f64,
    /// Squared coefficient of variation of the CPU time and of the disk time.
    pub scv: f64,
}

/// Calls to another component.
#[derive(Clone, Debug)]
pub(super) struct Calls {
    /// How often, in the mean.
    pub count: f64,
    /// What comes before each.
    pub before: Piece,
    /// From the end of that to the arrival at the callee, and back.
    pub delay_ns: f64,
    /// CPU time at both ends where the callee is on another machine, and how much longer the way is then.
    pub remote_cpu_ns: f64,
    pub remote_delay_ns: f64,
    /// Spots of the callee, with weights; empty where it is not simulated and the delay is all.
    pub spots: Vec<(usize, f64)>,
}

/// A component on a machine.
#[derive(Clone, Debug)]
pub(super) struct Spot {
    pub machine: usize,
    pub cpu: usize,
    pub disk: usize,
    /// Threads, each of which works on one request at a time; none for any number.
    pub threads: Option<u32>,
    pub calls: Vec<Calls>,
    pub reply: Piece,
    /// Calls are all made before any reply is waited for.
    pub parallel: bool,
}

/// Work that comes beside requests.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beside {
    pub station: usize,
    pub per_second: f64,
    pub each_ns: f64,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub(super) struct System {
    pub stations: Vec<Station>,
    pub spots: Vec<Spot>,
    /// Where requests enter, with weights.
    pub entries: Vec<(usize, f64)>,
    pub beside: Vec<Beside>,
}

/// What was simulated.
#[derive(Clone, Debug)]
pub(super) struct Simulated {
    pub mean_ns: f64,
    /// Half of the interval of the mean, 95 in 100, as far as chance in the simulation goes.
    pub half_ns: f64,
    pub p50_ns: f64,
    pub p95_ns: f64,
    pub p99_ns: f64,
}

/// Visits that are there at the end are at most one and a half times as many as half-way, and this share of the requests: or else
/// it does not keep up.
const MOST_MORE: f64 = 0.02;
/// Visits at a time, at most: a chain that calls itself may grow without end.
const MAX_VISITS: usize = 1 << 20;
/// The first of ten is left out: it began with nothing in any queue.
const WARM_UP: usize = 10;
const BATCHES: usize = 20;

const NONE: u32 = u32::MAX;
const REPLY: u32 = u32::MAX;

/// What happens next to a visit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// A request comes in.
    Enter,
    /// A call arrives.
    Arrive(u32),
    /// Its piece is done on the CPU, at the disk, waiting.
    CpuDone(u32, u32),
    DiskDone(u32, u32),
    WaitDone(u32),
    /// A call without a callee that is simulated comes back.
    Back(u32),
    /// Work beside requests comes, and is done.
    Beside(u32),
    BesideDone(u32),
}

#[derive(Clone, Debug, Default)]
struct Visit {
    spot: usize,
    parent: u32,
    /// Which piece, of `plan`; each is the number of calls or REPLY.
    step: usize,
    plan: Vec<u32>,
    /// Calls that have not come back.
    open: u32,
    /// It waits for those.
    waits: bool,
    began_ns: u64,
    /// It came from another machine, which costs this much more CPU time for the reply.
    more_ns: f64,
    /// The same for the call that the piece ends with, and where it goes.
    call: Option<(usize, bool)>,
}

#[derive(Clone, Copy, Debug)]
enum Job {
    Visit(u32, f64),
    Beside(f64),
}

struct Run<'a> {
    system: &'a System,
    rng: Rng,
    now_ns: u64,
    order: u64,
    events: BinaryHeap<Reverse<(u64, u64, What)>>,
    visits: Vec<Visit>,
    free: Vec<u32>,
    busy: Vec<u32>,
    queues: Vec<VecDeque<Job>>,
    threads_busy: Vec<u32>,
    threads_wait: Vec<VecDeque<u32>>,
    per_second: f64,
    to_come: usize,
    times_ns: Vec<f64>,
}

impl System {
    /// So many requests at random, so many a second; none where it does not keep up.
    pub fn simulate(&self, per_second: f64, requests: usize, seed: u64) -> Option<Simulated> {
        let mut run = Run {
            system: self,
            rng: Rng::with_seed(seed),
            now_ns: 0,
            order: 0,
            events: BinaryHeap::new(),
            visits: Vec::new(),
            free: Vec::new(),
            busy: vec![0; self.stations.len()],
            queues: vec![VecDeque::new(); self.stations.len()],
            threads_busy: vec![0; self.spots.len()],
            threads_wait: vec![VecDeque::new(); self.spots.len()],
            per_second,
            to_come: requests,
            times_ns: Vec::with_capacity(requests),
        };
        run.all(requests)?;
        summary(&run.times_ns)
    }

    /// Events that one request takes, about.
    pub fn events_each(&self, per_second: f64) -> f64 {
        // Visits of each spot for one request, as far as a few rounds go.
        let mut visits = vec![0.0; self.spots.len()];
        let mut next = vec![0.0; self.spots.len()];
        let spread = |into: &mut [f64], to: &[(usize, f64)], amount: f64| {
            let all: f64 = to.iter().map(|(_, weight)| weight).sum();
            for &(spot, weight) in to {
                if let Some(cell) = into.get_mut(spot) {
                    *cell += amount * weight / all.max(f64::MIN_POSITIVE);
                }
            }
        };
        spread(&mut next, &self.entries, 1.0);
        for _ in 0..32 {
            let now = std::mem::replace(&mut next, vec![0.0; self.spots.len()]);
            for (number, amount) in now.iter().enumerate().filter(|(_, amount)| **amount > 1e-6) {
                visits[number] += amount;
                for calls in &self.spots[number].calls {
                    spread(&mut next, &calls.spots, amount * calls.count);
                }
            }
        }
        let each = |spot: &Spot| {
            let calls: f64 = spot.calls.iter().map(|calls| calls.count).sum();
            2.0 + 2.0 * (calls + 1.0)
        };
        let own: f64 = visits
            .iter()
            .zip(&self.spots)
            .map(|(n, spot)| n * each(spot))
            .sum();
        let beside: f64 = self.beside.iter().map(|beside| beside.per_second).sum();
        own + 2.0 * beside / per_second.max(f64::MIN_POSITIVE)
    }
}

impl Run<'_> {
    fn all(&mut self, requests: usize) -> Option<()> {
        self.at(0.0, What::Enter);
        for number in 0..self.system.beside.len() {
            self.at(0.0, What::Beside(number as u32));
        }
        let mut half_way = None;
        let mut checked = false;
        while let Some(Reverse((now_ns, _, what))) = self.events.pop() {
            self.now_ns = now_ns;
            self.step(what);
            let there = self.visits.len() - self.free.len();
            if there > MAX_VISITS {
                return None;
            }
            if self.to_come <= requests / 2 && half_way.is_none() {
                half_way = Some(there);
            }
            if self.to_come == 0 && !checked {
                checked = true;
                let most = 1.5 * half_way.unwrap_or(0) as f64 + MOST_MORE * requests as f64;
                if there as f64 > most {
                    return None;
                }
            }
        }
        (self.times_ns.len() == requests).then_some(())
    }

    fn at(&mut self, in_ns: f64, what: What) {
        let in_ns = if in_ns.is_finite() {
            in_ns.max(0.0)
        } else {
            0.0
        };
        self.order += 1;
        let when = self.now_ns.saturating_add(in_ns as u64);
        self.events.push(Reverse((when, self.order, what)));
    }

    fn step(&mut self, what: What) {
        match what {
            What::Enter => self.enter(),
            What::Arrive(visit) => self.start(visit),
            What::CpuDone(visit, station) => {
                self.leave(station as usize);
                self.cpu_done(visit);
            }
            What::DiskDone(visit, station) => {
                self.leave(station as usize);
                self.disk_done(visit);
            }
            What::WaitDone(visit) => self.piece_done(visit),
            What::Back(visit) => self.back(visit),
            What::Beside(number) => self.beside(number),
            What::BesideDone(station) => self.leave(station as usize),
        }
    }

    fn enter(&mut self) {
        self.to_come = self.to_come.saturating_sub(1);
        let system = self.system;
        if let Some(spot) = self.pick(None, &system.entries) {
            let visit = self.new_visit(spot, NONE, 0.0);
            self.start(visit);
        }
        if self.to_come > 0 {
            let gap = self.exponential(1e9 / self.per_second);
            self.at(gap, What::Enter);
        }
    }

    fn beside(&mut self, number: u32) {
        let Some(&Beside {
            station,
            per_second,
            each_ns,
        }) = self.system.beside.get(number as usize)
        else {
            return;
        };
        let work = self.exponential(each_ns);
        self.come(station, Job::Beside(work));
        if self.to_come > 0 {
            let gap = self.exponential(1e9 / per_second);
            self.at(gap, What::Beside(number));
        }
    }

    /// One of these, the one on this machine if there is one, else by weight.
    fn pick(&mut self, machine: Option<usize>, spots: &[(usize, f64)]) -> Option<usize> {
        if let [(only, _)] = spots {
            return Some(*only);
        }
        let is_here = |&&(spot, _): &&(usize, f64)| {
            let found = self.system.spots.get(spot);
            machine.is_some() && found.map(|spot| spot.machine) == machine
        };
        if let Some(&(spot, _)) = spots.iter().find(is_here) {
            return Some(spot);
        }
        let all: f64 = spots.iter().map(|(_, weight)| weight).sum();
        let mut left = self.rng.f64() * all;
        for &(spot, weight) in spots {
            left -= weight;
            if left <= 0.0 {
                return Some(spot);
            }
        }
        spots.last().map(|&(spot, _)| spot)
    }

    /// A new visit.
    fn new_visit(&mut self, spot: usize, parent: u32, more_ns: f64) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| {
            self.visits.push(Visit::default());
            (self.visits.len() - 1) as u32
        });
        let this = &mut self.visits[number as usize];
        let plan = std::mem::take(&mut this.plan);
        *this = Visit {
            spot,
            parent,
            plan,
            more_ns,
            ..Visit::default()
        };
        number
    }

    /// A visit is there; it begins when a thread is free.
    fn start(&mut self, visit: u32) {
        let system = self.system;
        let spot = self.visits[visit as usize].spot;
        let mut plan = std::mem::take(&mut self.visits[visit as usize].plan);
        plan.clear();
        for (calls, number) in system.spots[spot].calls.iter().zip(0_u32..) {
            let whole = calls.count.floor();
            let one_more = self.rng.f64() < calls.count - whole;
            let count = whole as usize + usize::from(one_more);
            plan.extend(std::iter::repeat_n(number, count.min(10_000)));
        }
        plan.push(REPLY);
        let this = &mut self.visits[visit as usize];
        this.plan = plan;
        this.began_ns = self.now_ns;
        match system.spots[spot].threads {
            Some(threads) if self.threads_busy[spot] >= threads => {
                self.threads_wait[spot].push_back(visit);
            }
            _ => {
                self.threads_busy[spot] += 1;
                self.begin(visit);
            }
        }
    }

    /// The next piece of a visit goes to the CPU.
    fn begin(&mut self, visit: u32) {
        let system = self.system;
        let Visit {
            spot,
            step,
            more_ns,
            ..
        } = self.visits[visit as usize];
        let what = self.visits[visit as usize].plan[step];
        let spot = &system.spots[spot];
        let (piece, more_ns) = match spot.calls.get(what as usize) {
            Some(calls) => {
                let target = self.pick(Some(spot.machine), &calls.spots);
                let remote = target.is_some_and(|to| system.spots[to].machine != spot.machine);
                self.visits[visit as usize].call = target.map(|to| (to, remote));
                let more = if remote { calls.remote_cpu_ns } else { 0.0 };
                (calls.before, more)
            }
            None => (spot.reply, more_ns),
        };
        let work = self.draw(piece.cpu_ns, piece.scv) + more_ns;
        self.come(spot.cpu, Job::Visit(visit, work));
    }

    /// Work comes to a station.
    fn come(&mut self, station: usize, job: Job) {
        if self.busy[station] < self.system.stations[station].servers {
            self.busy[station] += 1;
            self.work(station, job);
        } else {
            self.queues[station].push_back(job);
        }
    }

    fn work(&mut self, station: usize, job: Job) {
        match job {
            Job::Beside(ns) => self.at(ns, What::BesideDone(station as u32)),
            Job::Visit(visit, ns) => {
                let spot = &self.system.spots[self.visits[visit as usize].spot];
                let done = if spot.cpu == station {
                    What::CpuDone(visit, station as u32)
                } else {
                    What::DiskDone(visit, station as u32)
                };
                self.at(ns, done);
            }
        }
    }

    /// A server is free.
    fn leave(&mut self, station: usize) {
        match self.queues[station].pop_front() {
            Some(job) => self.work(station, job),
            None => self.busy[station] -= 1,
        }
    }

    fn piece(&self, visit: u32) -> Piece {
        let visit = &self.visits[visit as usize];
        let spot = &self.system.spots[visit.spot];
        let what = visit.plan[visit.step];
        match spot.calls.get(what as usize) {
            Some(calls) => calls.before,
            None => spot.reply,
        }
    }

    fn cpu_done(&mut self, visit: u32) {
        let piece = self.piece(visit);
        if piece.disk_ns > 0.0 {
            let work = self.draw(piece.disk_ns, piece.scv);
            let spot = self.visits[visit as usize].spot;
            let disk = self.system.spots[spot].disk;
            self.come(disk, Job::Visit(visit, work));
        } else {
            self.disk_done(visit);
        }
    }

    fn disk_done(&mut self, visit: u32) {
        let wait = self.piece(visit).wait_ns;
        if wait > 0.0 {
            self.at(wait, What::WaitDone(visit));
        } else {
            self.piece_done(visit);
        }
    }

    /// A piece is done: a call, or the reply.
    fn piece_done(&mut self, visit: u32) {
        let system = self.system;
        let this = &mut self.visits[visit as usize];
        let what = this.plan[this.step];
        let spot = &system.spots[this.spot];
        let Some(calls) = spot.calls.get(what as usize) else {
            self.reply(visit);
            return;
        };
        this.open += 1;
        this.step += 1;
        match this.call.take() {
            Some((to, remote)) => {
                let (more, cpu) = if remote {
                    (calls.remote_delay_ns, calls.remote_cpu_ns)
                } else {
                    (calls.delay_ns, 0.0)
                };
                // The way there and back is at its beginning.
                let called = self.new_visit(to, visit, cpu);
                if more > 0.0 {
                    self.at(more, What::Arrive(called));
                } else {
                    self.start(called);
                }
            }
            None => self.at(calls.delay_ns, What::Back(visit)),
        }
        let this = &mut self.visits[visit as usize];
        let last = this.plan.get(this.step) == Some(&REPLY);
        if spot.parallel && !last {
            self.begin(visit);
        } else {
            this.waits = true;
        }
    }

    fn reply(&mut self, visit: u32) {
        let this = &self.visits[visit as usize];
        let (spot, parent, began_ns) = (this.spot, this.parent, this.began_ns);
        self.free.push(visit);
        match self.threads_wait[spot].pop_front() {
            Some(next) => self.begin(next),
            None => self.threads_busy[spot] -= 1,
        }
        if parent == NONE {
            self.times_ns.push((self.now_ns - began_ns) as f64);
        } else {
            self.back(parent);
        }
    }

    /// A call of a visit has come back.
    fn back(&mut self, visit: u32) {
        let this = &mut self.visits[visit as usize];
        this.open -= 1;
        if this.waits && this.open == 0 {
            this.waits = false;
            self.begin(visit);
        }
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.rng.f64()).ln()
    }

    /// A time with this mean and scatter: always the same, exponential, or of the gamma distribution.
    fn draw(&mut self, mean: f64, scv: f64) -> f64 {
        if scv <= 1e-9 || mean <= 0.0 {
            mean
        } else if (scv - 1.0).abs() < 1e-9 {
            self.exponential(mean)
        } else {
            mean * scv * self.gamma(1.0 / scv)
        }
    }

    /// Of the gamma distribution with this shape and scale 1 (Marsaglia and Tsang, 2000).
    fn gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            let root = (1.0 - self.rng.f64()).powf(1.0 / shape);
            return self.gamma(shape + 1.0) * root;
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = (1.0 + c * x).powi(3);
            if v <= 0.0 {
                continue;
            }
            let u = 1.0 - self.rng.f64();
            if u.ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return d * v;
            }
        }
    }

    fn normal(&mut self) -> f64 {
        let (size, angle) = (1.0 - self.rng.f64(), self.rng.f64());
        (-2.0 * size.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    }
}

/// Mean, its interval from the means of batches, and percentiles.
fn summary(times_ns: &[f64]) -> Option<Simulated> {
    let kept = times_ns.get(times_ns.len() / WARM_UP..)?;
    if kept.len() < BATCHES {
        return None;
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let each = kept.len() / BATCHES;
    let means: Vec<f64> = kept.chunks_exact(each).take(BATCHES).map(mean).collect();
    let all = mean(&means);
    let squares = means.iter().map(|one| (one - all).powi(2)).sum::<f64>();
    let deviation = (squares / (BATCHES - 1) as f64 / BATCHES as f64).sqrt();
    let mut sorted = kept.to_vec();
    sorted.sort_by(f64::total_cmp);
    let quantile = |share: f64| {
        let at = (share * sorted.len() as f64) as usize;
        sorted[at.min(sorted.len() - 1)]
    };
    Some(Simulated {
        mean_ns: mean(kept),
        half_ns: super::regression::student975((BATCHES - 1) as f64) * deviation,
        p50_ns: quantile(0.5),
        p95_ns: quantile(0.95),
        p99_ns: quantile(0.99),
    })
}
