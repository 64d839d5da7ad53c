//! From a model to what can be simulated.
//!
//! In: a [`Model`], how requests spread, a rate. Out: a [`System`], or why there is none. Must not know: how it is simulated.

use super::{
    load::Flows,
    machines::{Call, Model, Part},
    simulate::{Beside, Calls, Piece, Spot, Station, System},
};

/// More of what runs beside requests than so many pieces for each of them are taken together to longer pieces.
const MOST_BESIDE: f64 = 8.0;
/// Most calls of one visit to one component.
const MOST_CALLS: f64 = 10_000.0;

impl Model {
    /// What a rate can be simulated with; the reason where it cannot.
    pub fn system(&self, on: &[Vec<usize>], flows: &Flows, rate: f64) -> Result<System, String> {
        if let Some(call) = self.calls.iter().find(|call| call.per_request.is_none()) {
            let name = |part: usize| self.parts.get(part).map_or("", |part| part.id.as_str());
            return Err(format!(
                "several calls from {} to {} are open at once, and their number is not known",
                name(call.from),
                name(call.to)
            ));
        }
        if flows.unknown_cpu {
            return Err(UNKNOWN_REMOTE.to_owned());
        }
        if self.rtt_ns.is_none() && flows.remote.iter().any(|&share| share > 0.0) {
            return Err(
                "components are on different machines, and rtt_us of the network is not given"
                    .to_owned(),
            );
        }
        let mut system = System::default();
        for machine in &self.machines {
            // A CPU and a disk each.
            let servers = machine.capacity().round().clamp(1.0, 65_536.0) as u32;
            system.stations.push(Station { servers });
            let servers = machine.disk_parallel.round().clamp(1.0, 65_536.0) as u32;
            system.stations.push(Station { servers });
        }
        // A quota, or a number of cores, that is no whole number makes CPUs slower.
        let pace = |machine: usize| {
            self.machines.get(machine).map_or(1.0, |machine| {
                machine.speed * machine.capacity() / machine.capacity().round().max(1.0)
            })
        };
        let mut numbers: Vec<Vec<(usize, f64)>> = vec![Vec::new(); self.parts.len()];
        let mut next = 0;
        for (part, places) in on.iter().enumerate() {
            for &machine in places {
                if let Some(own) = numbers.get_mut(part) {
                    own.push((next, flows.share(part, machine).max(1e-12)));
                    next += 1;
                }
            }
        }
        for (part, places) in on.iter().enumerate() {
            let Some(this) = self.parts.get(part) else {
                continue;
            };
            for &machine in places {
                let spot = self.spot(part, this, machine, pace(machine), rate, &numbers)?;
                system.spots.push(spot);
            }
        }
        for &(part, share) in &self.entries {
            for &(spot, weight) in numbers.get(part).into_iter().flatten() {
                system.entries.push((spot, weight * share));
            }
        }
        for (number, machine) in self.machines.iter().enumerate() {
            let asked = machine.in_way_ns(rate, 0.0) / pace(number);
            let each = machine
                .other_run_ns
                .unwrap_or(0.0)
                .max(asked / rate / MOST_BESIDE);
            if asked > 0.0 && each > 0.0 {
                system.beside.push(Beside {
                    station: 2 * number,
                    per_second: asked / each,
                    each_ns: each,
                });
            }
        }
        Ok(system)
    }

    fn spot(
        &self,
        part: usize,
        this: &Part,
        machine: usize,
        pace: f64,
        rate: f64,
        numbers: &[Vec<(usize, f64)>],
    ) -> Result<Spot, String> {
        let visits = this.visits.max(f64::MIN_POSITIVE);
        let each_visit = self.cpu_each_ns(this, rate) / visits;
        let measured: f64 = this
            .segments
            .iter()
            .map(|segment| segment.per_visit * segment.on_cpu_ns)
            .sum();
        let calls: Vec<&Call> = self
            .calls
            .iter()
            .filter(|call| call.from == part && call.per_request.is_some_and(|count| count > 0.0))
            .collect();
        if calls
            .iter()
            .any(|call| call.per_request.unwrap_or(0.0) / visits > MOST_CALLS)
        {
            return Err(format!("{} makes too many calls for one request", this.id));
        }
        // Without turnarounds every piece takes the same.
        let pieces: f64 = 1.0
            + calls
                .iter()
                .map(|call| call.per_request.unwrap_or(0.0) / visits)
                .sum::<f64>();
        let piece = |to: Option<&str>, count: f64| {
            let own: Vec<_> = this
                .segments
                .iter()
                .filter(|segment| segment.to.as_deref() == to)
                .collect();
            let count = count.max(f64::MIN_POSITIVE);
            let sum = |f: fn(&courtside_core::model::profile::Segment) -> f64| {
                let each = own.iter().map(|segment| segment.per_visit * f(segment));
                each.sum::<f64>() / count
            };
            let share = if measured > 0.0 {
                sum(|segment| segment.on_cpu_ns) / measured
            } else {
                1.0 / pieces
            };
            Piece {
                cpu_ns: each_visit * share / pace,
                disk_ns: sum(|segment| segment.disk_ns),
                wait_ns: sum(|segment| segment.wait_ns),
                scv: own.iter().find_map(|segment| segment.scv).unwrap_or(1.0),
            }
        };
        let mut reply = piece(None, 1.0);
        reply.wait_ns += this.held_ns.unwrap_or(0.0);
        let calls = calls
            .into_iter()
            .map(|call| {
                let count = call.per_request.unwrap_or(0.0) / visits;
                let callee = self.parts.get(call.to);
                let is_remote = callee.is_some_and(|part| part.is_remote);
                let delay = if is_remote {
                    call.latency_ns
                } else {
                    call.network_ns
                };
                Calls {
                    count,
                    before: piece(callee.map(|part| part.id.as_str()), count),
                    delay_ns: delay.unwrap_or(0.0),
                    remote_cpu_ns: call.remote_cpu_ns.unwrap_or(0.0) / pace,
                    remote_delay_ns: self.remote_delay_ns(call).unwrap_or(0.0),
                    spots: numbers.get(call.to).cloned().unwrap_or_default(),
                }
            })
            .collect();
        Ok(Spot {
            machine,
            cpu: 2 * machine,
            disk: 2 * machine + 1,
            threads: this.threads,
            calls,
            reply,
            parallel: this.is_parallel,
        })
    }
}

/// Why nothing can be said of calls to another machine.
pub(super) const UNKNOWN_REMOTE: &str = "components are on different machines, and what a call to another one costs is not known: give cpu_us_per_message or cpu_ns_per_byte of the network";
