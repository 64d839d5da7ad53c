//! How much of each resource is used at a rate, and at which rate the first is used up.
//!
//! In: a [`Model`] and where its parts run. Out: utilisations, saturation. Must not know: how long requests take.
//!
//! After Stewart and Shen (2005, section 4): what the components on a node take together, with the cost of calls to other nodes,
//! is held to what the node has; the lowest rate at which any resource of any node is used up is the throughput.

use courtside_core::model::prediction::Resource;

use super::machines::Model;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counted {
    /// The CPU time of calls to other machines.
    pub remote: bool,
    /// Pools of threads.
    pub threads: bool,
}

/// As in the base model of the method.
pub(super) const BASE: Counted = Counted {
    remote: false,
    threads: false,
};
/// With remote invocation.
pub(super) const REMOTE: Counted = Counted {
    remote: true,
    threads: false,
};
/// Everything.
pub(super) const FULL: Counted = Counted {
    remote: true,
    threads: true,
};

/// Which way fits may be off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Off(pub f64);

/// As fitted.
pub(super) const FITTED: Off = Off(0.0);

/// How requests spread over machines.
#[derive(Clone, Debug, Default)]
pub(super) struct Flows {
    machines: usize,
    /// Of each part and machine: the share of the part's visits.
    share: Vec<f64>,
    /// Of each call: the share of its roundtrips that go to another machine.
    pub remote: Vec<f64>,
    /// Of each machine: CPU time of calls to and from others, for one request at the entry.
    pub remote_cpu_ns: Vec<f64>,
    /// Of each machine: bytes to and from others, for one request at the entry.
    pub remote_bytes: Vec<f64>,
    /// Calls that go to another machine and whose CPU time is not known.
    pub unknown_cpu: bool,
}

impl Flows {
    /// Share of a part's visits on a machine.
    pub fn share(&self, part: usize, machine: usize) -> f64 {
        let at = part * self.machines + machine;
        self.share.get(at).copied().unwrap_or(0.0)
    }
}

/// A use of a resource.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Use {
    pub machine: usize,
    pub resource: Resource,
    /// Whose threads.
    pub part: Option<usize>,
    pub share: f64,
}

/// Where the first resource is used up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum End {
    /// None ever is, of those that are known.
    Never,
    /// At this rate.
    At(f64, Use),
    /// Without any request, by what was recorded beside them: it cannot be told how many are served all the same.
    Already(Use),
}

impl End {
    /// The rate, if there is one.
    pub fn rate(self) -> Option<f64> {
        match self {
            Self::At(rate, _) => Some(rate),
            Self::Never | Self::Already(_) => None,
        }
    }
}

impl Model {
    /// How requests spread, where each part runs on these machines: a call stays on its machine if the callee is there; else,
    /// as requests at the entry, it goes to all of them, in proportion to their CPUs.
    pub fn flows(&self, on: &[Vec<usize>]) -> Flows {
        let machines = self.machines.len();
        let size = self.parts.len() * machines;
        let power = |machine: usize| {
            let machine = self.machines.get(machine);
            machine.map_or(0.0, |machine| machine.capacity() * machine.speed)
        };
        let places = |part: usize| on.get(part).map_or(&[][..], Vec::as_slice);
        let spread = |into: &mut [f64], part: usize, amount: f64| {
            let all: f64 = places(part).iter().map(|&machine| power(machine)).sum();
            for &machine in places(part) {
                if let Some(cell) = into.get_mut(part * machines + machine) {
                    *cell += amount * power(machine) / all.max(f64::MIN_POSITIVE);
                }
            }
        };
        let mut visits = vec![0.0; size];
        let mut next = vec![0.0; size];
        for &(part, share) in &self.entries {
            spread(&mut next, part, share);
        }
        let mut flows = Flows {
            machines,
            remote: vec![0.0; self.calls.len()],
            remote_cpu_ns: vec![0.0; machines],
            remote_bytes: vec![0.0; machines],
            ..Flows::default()
        };
        let mut called = vec![0.0; self.calls.len()];
        // One round for each call on the way; a chain that comes back to itself gets ever less.
        for _ in 0..=self.parts.len().min(64) {
            let now = std::mem::replace(&mut next, vec![0.0; size]);
            if now.iter().all(|&amount| amount < 1e-9) {
                break;
            }
            for (sum, more) in visits.iter_mut().zip(&now) {
                *sum += more;
            }
            for (number, call) in self.calls.iter().enumerate() {
                let from = self.parts.get(call.from).map_or(0.0, |part| part.visits);
                let each = call.per_request.unwrap_or(0.0) / from.max(f64::MIN_POSITIVE);
                for machine in 0..machines {
                    let amount = now[call.from * machines + machine] * each;
                    if amount <= 0.0 || !amount.is_finite() {
                        continue;
                    }
                    called[number] += amount;
                    if self.parts.get(call.to).is_some_and(|part| part.is_remote) {
                        continue;
                    }
                    if places(call.to).contains(&machine) {
                        next[call.to * machines + machine] += amount;
                        continue;
                    }
                    spread(&mut next, call.to, amount);
                    flows.remote[number] += amount;
                    self.book_remote(&mut flows, call, machine, places(call.to), amount);
                }
            }
        }
        for (remote, all) in flows.remote.iter_mut().zip(&called) {
            *remote /= all.max(f64::MIN_POSITIVE);
        }
        for part in 0..self.parts.len() {
            let own = part * machines..(part + 1) * machines;
            if visits[own.clone()].iter().all(|&amount| amount <= 0.0) {
                // How often it is called is not known, or nobody calls it for a request: it is there all the same.
                spread(&mut visits, part, 1.0);
            }
            let all: f64 = visits[own.clone()].iter().sum();
            for cell in &mut visits[own] {
                *cell /= all.max(f64::MIN_POSITIVE);
            }
        }
        flows.share = visits;
        flows
    }

    /// What calls from one machine to others cost at both ends.
    fn book_remote(
        &self,
        flows: &mut Flows,
        call: &super::machines::Call,
        from: usize,
        to: &[usize],
        amount: f64,
    ) {
        let cost = call.remote_cpu_ns.unwrap_or_else(|| {
            flows.unknown_cpu = true;
            0.0
        });
        let all: f64 = to
            .iter()
            .filter_map(|&machine| self.machines.get(machine))
            .map(|machine| machine.capacity() * machine.speed)
            .sum();
        let mut book = |machine: usize, part: f64| {
            if let Some(ns) = flows.remote_cpu_ns.get_mut(machine) {
                *ns += amount * part * cost;
            }
            if let Some(bytes) = flows.remote_bytes.get_mut(machine) {
                *bytes += amount * part * call.bytes;
            }
        };
        book(from, 1.0);
        for &machine in to {
            let power = self
                .machines
                .get(machine)
                .map_or(0.0, |machine| machine.capacity() * machine.speed);
            book(machine, power / all.max(f64::MIN_POSITIVE));
        }
    }

    /// CPU time in a second that parts take of a machine, in nanoseconds of its own CPUs.
    fn own_cpu_ns(
        &self,
        flows: &Flows,
        machine: usize,
        rate: f64,
        counted: Counted,
        off: Off,
    ) -> f64 {
        let Some(this) = self.machines.get(machine) else {
            return 0.0;
        };
        let mut sum = 0.0;
        for (number, part) in self.parts.iter().enumerate() {
            let share = flows.share(number, machine);
            if share > 0.0 && !part.is_remote {
                let own = rate * share;
                sum += (part.cpu.value(own) + off.0 * part.cpu.half(own)).max(0.0);
            }
        }
        if counted.remote {
            sum += rate * flows.remote_cpu_ns.get(machine).copied().unwrap_or(0.0);
        }
        sum / this.speed
    }

    /// Share of what parts may use of a machine (its CPUs, or what a quota allows of them) that they and what stands in their way
    /// take.
    pub fn filled(
        &self,
        flows: &Flows,
        machine: usize,
        rate: f64,
        counted: Counted,
        off: Off,
    ) -> f64 {
        self.machines.get(machine).map_or(0.0, |this| {
            let own = self.own_cpu_ns(flows, machine, rate, counted, off);
            let beside = this.in_way_ns(rate, off.0) / this.speed;
            (own + beside) / (this.capacity() * 1e9)
        })
    }

    /// Whether a part runs on a machine.
    fn is_used(&self, flows: &Flows, machine: usize) -> bool {
        self.local().any(|part| flows.share(part, machine) > 0.0)
    }

    /// How much of each resource is used at a rate.
    pub fn uses(&self, flows: &Flows, rate: f64, counted: Counted, off: Off) -> Vec<Use> {
        let mut uses = Vec::with_capacity(self.machines.len() * 2);
        for (machine, this) in self.machines.iter().enumerate() {
            let mut add = |resource, part, share: f64| {
                uses.push(Use {
                    machine,
                    resource,
                    part,
                    share,
                });
            };
            let own = self.own_cpu_ns(flows, machine, rate, counted, off);
            let other = this.other_ns(rate, off.0) / this.speed;
            add(Resource::Cpu, None, (own + other) / (this.cpus * 1e9));
            // A quota is of the components: what else runs there is not held back by it, and uses up none of it.
            if let Some(quota) = this.quota.filter(|&quota| quota < this.cpus) {
                add(Resource::Quota, None, own / (quota * 1e9));
            }
            let mut disk = 0.0;
            for (number, part) in self.parts.iter().enumerate() {
                let share = flows.share(number, machine);
                if share <= 0.0 || part.is_remote {
                    continue;
                }
                let own = rate * share;
                disk += (part.disk.value(own) + off.0 * part.disk.half(own)).max(0.0);
                if let (true, Some(threads), Some(holding)) =
                    (counted.threads, part.threads, &part.holding)
                {
                    let busy = (holding.value(own) + off.0 * holding.half(own)).max(0.0);
                    add(
                        Resource::Threads,
                        Some(number),
                        busy / (f64::from(threads) * 1e9),
                    );
                }
            }
            if disk > 0.0 {
                add(Resource::Disk, None, disk / (this.disk_parallel * 1e9));
            }
            if let Some(most) = self.bytes_per_s {
                let bytes = flows.remote_bytes.get(machine).copied().unwrap_or(0.0);
                add(Resource::Network, None, rate * bytes / most);
            }
        }
        uses
    }

    /// The use that is nearest to its end, of machines on which a part runs.
    pub fn worst(&self, flows: &Flows, rate: f64, counted: Counted, off: Off) -> Option<Use> {
        let uses = self.uses(flows, rate, counted, off);
        let used = uses
            .into_iter()
            .filter(|used| self.is_used(flows, used.machine));
        used.max_by(|a, b| a.share.total_cmp(&b.share))
    }

    /// The lowest rate at which a resource is used up, and which.
    pub fn saturation(&self, flows: &Flows, counted: Counted, off: Off) -> End {
        const MOST: f64 = 1e12;
        const ENOUGH: f64 = 1e-7;
        let share = |rate: f64| {
            let worst = self.worst(flows, rate, counted, off);
            worst.map_or(0.0, |worst| worst.share) - 1.0
        };
        let (mut low, mut high) = (0.0, self.range[1].max(1.0));
        let mut at_low = share(low);
        if at_low >= 0.0 {
            let worst = self.worst(flows, 0.0, counted, off);
            return worst.map_or(End::Never, End::Already);
        }
        let mut at_high = share(high);
        while at_high < 0.0 {
            if high > MOST {
                return End::Never;
            }
            (low, at_low) = (high, at_high);
            high *= 4.0;
            at_high = share(high);
        }
        // False position, with the end that stays halved (Illinois).
        let mut last = 0;
        for _ in 0..100 {
            if high - low <= ENOUGH * high {
                break;
            }
            let rate = ((low * at_high - high * at_low) / (at_high - at_low)).clamp(low, high);
            let at = share(rate);
            if at.abs() < 1e-12 {
                (low, high) = (rate, rate);
                break;
            }
            if at < 0.0 {
                (low, at_low) = (rate, at);
                if last == -1 {
                    at_high /= 2.0;
                }
                last = -1;
            } else {
                (high, at_high) = (rate, at);
                if last == 1 {
                    at_low /= 2.0;
                }
                last = 1;
            }
        }
        let rate = f64::midpoint(low, high);
        let worst = self.worst(flows, rate, counted, off);
        worst.map_or(End::Never, |worst| End::At(rate, worst))
    }
}
