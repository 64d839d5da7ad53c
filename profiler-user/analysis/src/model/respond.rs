//! How long a request takes, by the closed formulas of the base model, and with remote invocation.
//!
//! In: a [`Model`], how requests spread, a rate. Out: mean times. Must not know: how anything is shown.
//!
//! Each node is a queue M/G/1, or M/G/c, whose service time is what a request takes there in all (Stewart and Shen, 2005, section
//! 4). What waits for neither a CPU nor a disk (timers, other hosts) is added as it was measured at the lowest rate; the
//! original has only components that wait for nothing else.

use super::{
    load::{Counted, FITTED, Flows, Off},
    machines::{Model, Part},
    queue::time_in_queue_and_service,
};

/// The scatter of a disk's service is not recorded: that of the exponential distribution.
const DISK_SCV: f64 = 1.0;

impl Model {
    /// CPU time that one request takes of a part, over all its visits, at a rate. What the part takes in a second without any
    /// request (the intercept) belongs to requests only as far as turnarounds at the lowest rate show it.
    pub fn cpu_each_ns(&self, part: &Part, rate: f64) -> f64 {
        let idle = part.cpu.value(0.0);
        let low = self.range[0].max(f64::MIN_POSITIVE);
        let more = (part.cpu.value(low) - idle) / low;
        let of_requests = if idle > 0.0 {
            ((part.in_turnarounds_ns() - more) * low / idle).clamp(0.0, 1.0)
        } else {
            0.0
        };
        ((part.cpu.value(rate) - (1.0 - of_requests) * idle) / rate.max(f64::MIN_POSITIVE)).max(0.0)
    }

    /// Squared coefficient of variation of what a request takes of a part's CPU time on one visit: as recorded, else that of its
    /// turnarounds, which are added up; else 1.
    pub fn cpu_scv(part: &Part) -> f64 {
        if let Some(scv) = part.scv_cpu {
            return scv;
        }
        let (mut mean, mut variance) = (0.0, 0.0);
        for segment in &part.segments {
            let each = segment.on_cpu_ns;
            mean += segment.per_visit * each;
            variance += segment.per_visit * each * each * segment.scv.unwrap_or(1.0);
        }
        if mean > 0.0 {
            variance / (mean * mean)
        } else {
            1.0
        }
    }

    /// Mean time of a request; none from saturation on.
    pub fn mean_ns(&self, flows: &Flows, rate: f64, counted: Counted, off: Off) -> Option<f64> {
        let mut sum = 0.0;
        for (number, machine) in self.machines.iter().enumerate() {
            // Less than a whole CPU is a slower one.
            let pace = machine.speed * machine.capacity().min(1.0);
            let (mut each, mut variance, mut disk) = (0.0, 0.0, 0.0);
            for (index, part) in self.parts.iter().enumerate() {
                let share = flows.share(index, number);
                if share <= 0.0 || part.is_remote {
                    continue;
                }
                let more = if off.0 == 0.0 {
                    1.0
                } else {
                    let own = rate * share;
                    let value = part.cpu.value(own).max(f64::MIN_POSITIVE);
                    (1.0 + off.0 * part.cpu.half(own) / value).max(0.0)
                };
                let here = self.cpu_each_ns(part, rate) * share * more / pace;
                let visits = (part.visits * share).max(f64::MIN_POSITIVE);
                each += here;
                variance += here * here / visits * Self::cpu_scv(part);
                disk += part.disk_ns() * share;
            }
            if counted.remote {
                let remote = flows.remote_cpu_ns.get(number).copied().unwrap_or(0.0);
                each += remote / pace;
            }
            if each > 0.0 {
                let scv = variance / (each * each);
                let rho = self.filled(flows, number, rate, counted, off);
                sum += time_in_queue_and_service(each, rho, scv, machine.capacity().max(1.0))?;
            }
            if disk > 0.0 {
                let asked: f64 = self
                    .parts
                    .iter()
                    .enumerate()
                    .map(|(index, part)| {
                        let share = flows.share(index, number);
                        if share > 0.0 {
                            part.disk.value(rate * share)
                        } else {
                            0.0
                        }
                    })
                    .sum();
                let rho = asked / (machine.disk_parallel * 1e9);
                sum += time_in_queue_and_service(disk, rho, DISK_SCV, machine.disk_parallel)?;
            }
        }
        Some(sum + self.waits_ns())
    }

    /// What a request waits for besides CPUs, disks and the network between machines.
    fn waits_ns(&self) -> f64 {
        let own: f64 = self.parts.iter().map(Part::waits_ns).sum();
        let other: f64 = self
            .calls
            .iter()
            .filter(|call| self.parts.get(call.to).is_some_and(|part| part.is_remote))
            .map(|call| call.per_request.unwrap_or(0.0) * call.latency_ns.unwrap_or(0.0))
            .sum();
        own + other
    }

    /// What a request waits for the network: roundtrips times latency, and bytes over bandwidth. None where calls go to another
    /// machine and it is not known how far that is.
    pub fn network_ns(&self, flows: &Flows) -> Option<f64> {
        let mut sum = 0.0;
        for (call, &remote) in self.calls.iter().zip(&flows.remote) {
            let count = call.per_request.unwrap_or(0.0);
            if self.parts.get(call.to).is_some_and(|part| part.is_remote) {
                continue;
            }
            sum += count * (1.0 - remote) * call.network_ns.unwrap_or(0.0);
            if remote > 0.0 {
                sum += count * remote * self.remote_delay_ns(call)?;
            }
        }
        Some(sum)
    }

    /// What one roundtrip of a call to another machine takes on the network.
    pub fn remote_delay_ns(&self, call: &super::machines::Call) -> Option<f64> {
        let way = self.rtt_ns?;
        let data = self.bytes_per_s.map_or(0.0, |most| call.bytes / most * 1e9);
        Some(way + data)
    }

    /// How much longer and shorter a request may take, as factors, as far as fits may be off.
    pub fn mean_factors(&self, flows: &Flows, rate: f64, counted: Counted) -> Option<[f64; 2]> {
        let fitted = self.mean_ns(flows, rate, counted, FITTED)?;
        let low = self.mean_ns(flows, rate, counted, Off(-1.0))?;
        let high = self.mean_ns(flows, rate, counted, Off(1.0))?;
        (fitted > 0.0).then(|| [low / fitted, high / fitted])
    }
}
