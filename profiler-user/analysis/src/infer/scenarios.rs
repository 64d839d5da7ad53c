//! What would have been: the run simulated with something changed, and how far that can be trusted.
//!
//! In: a program, names of processes and of those outside, wishes. Out: scenarios, the self-check, how much longer messages
//! may take. Must not know: events.

use std::collections::BTreeMap;

use courtside_core::{
    model::inference::{Outsider, Scenario, SelfCheck, Tolerance},
    units::{duration, percent},
};

use super::{
    program::Program,
    replay::{Changed, Latency, Run, Stuck, replay},
    schedule::schedule,
    segments::Op,
    threads::NOBODY,
    wishes::{Factor, What, Wish},
};

/// Shares by which a run may take longer.
const SLOWER: [f64; 3] = [0.01, 0.02, 0.05];
/// Longest delay of a message that is tried.
const MOST_DELAY_NS: u64 = 1_000_000_000;
/// Steps that make a delay exact.
const STEPS: u32 = 7;
/// A prediction is withheld if the run with nothing changed comes out wrong by more.
pub(super) const MOST_OFF: f64 = 0.05;
/// Outsiders that are named.
const MOST_NAMED: usize = 5;

/// Who is who.
pub(super) struct Names<'a> {
    /// Of each member: id, name, number.
    pub(super) members: &'a [(String, String, u32)],
    /// Name and component id of a process outside.
    pub(super) outside: &'a dyn Fn(u32) -> (String, String),
}

/// How a run is simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// Waits for a CPU as recorded.
    Recorded,
    /// Put on the CPUs anew.
    Anew,
}

/// Why what is simulated in this way is not told, if the run with nothing changed comes out wrong.
pub(super) fn withheld(check: &SelfCheck, method: Method) -> Option<String> {
    let (how, error) = match method {
        Method::Recorded => ("with waits as recorded", check.replay_error),
        Method::Anew => ("put on the CPUs anew", check.rescheduled_error),
    };
    let longer = if error < 0.0 { "shorter" } else { "longer" };
    (error.abs() > MOST_OFF).then(|| {
        format!(
            "cannot tell: the run with nothing changed, {how}, comes out {} {longer} than it was; more than {} is too much",
            percent(error.abs()),
            percent(MOST_OFF)
        )
    })
}

/// All that is simulated.
#[derive(Debug, Default)]
pub(super) struct Simulated {
    pub(super) scenarios: Vec<Scenario>,
    pub(super) self_check: Option<SelfCheck>,
    pub(super) tolerance: Vec<Tolerance>,
    pub(super) outsiders: Vec<Outsider>,
    /// The run as it was; none where it comes out wrong.
    pub(super) base: Option<Run>,
    /// How long it takes if messages take no time; none where the run as it was comes out wrong.
    pub(super) ideal_ns: Option<u64>,
    /// Why nothing could be simulated.
    pub(super) unknown: Option<String>,
}

impl Simulated {
    /// Why what is simulated in this way is not told.
    pub(super) fn withheld(&self, method: Method) -> Option<String> {
        let check = || withheld(self.self_check.as_ref()?, method);
        self.unknown.clone().or_else(check)
    }
}

/// Time that each one outside had a CPU while the application waited for it.
pub(super) fn outsiders(program: &Program, names: &Names<'_>) -> Vec<Outsider> {
    let mut by_name: BTreeMap<(String, String), u64> = BTreeMap::new();
    let mut by_process: BTreeMap<u32, u64> = BTreeMap::new();
    for op in program.parts.iter().flat_map(|part| &part.ops) {
        if let Op::Outside {
            who, beside, ns, ..
        } = op
            && who == beside
            && *who != NOBODY
        {
            let sum = by_process.entry(*who).or_default();
            *sum = sum.saturating_add(*ns);
        }
    }
    for (who, ns) in by_process {
        let sum = by_name.entry((names.outside)(who)).or_default();
        *sum = sum.saturating_add(ns);
    }
    let of = |((name, component), delayed_ns)| Outsider {
        name,
        component,
        delayed_ns,
    };
    let mut outsiders: Vec<Outsider> = by_name.into_iter().map(of).collect();
    outsiders.sort_by_key(|outsider| std::cmp::Reverse(outsider.delayed_ns));
    outsiders
}

/// Simulates everything that is asked for; `why_not` says why nothing can be simulated.
pub(super) fn simulate(
    program: &Program,
    names: &Names<'_>,
    run_queue_ns: &[u64],
    wishes: &[Wish],
    why_not: Option<String>,
) -> Simulated {
    let mut simulated = Simulated {
        outsiders: outsiders(program, names),
        ..Simulated::default()
    };
    let stuck = "the order of sends and receives cannot be kept: events were lost";
    simulated.unknown = why_not.or_else(|| {
        let Ok(base) = replay(program, &Changed::default()) else {
            return Some(stuck.to_owned());
        };
        let Ok(rescheduled) = schedule(program, &Changed::default(), |_| true) else {
            return Some(stuck.to_owned());
        };
        let measured_ns = program.measured_ns;
        let error = |ns: u64| ns as f64 / measured_ns.max(1) as f64 - 1.0;
        let check = SelfCheck {
            measured_ns,
            replay_ns: base.length_ns,
            replay_error: error(base.length_ns),
            rescheduled_ns: rescheduled.length_ns,
            rescheduled_error: error(rescheduled.length_ns),
        };
        let why = withheld(&check, Method::Recorded);
        simulated.self_check = Some(check);
        if why.is_some() {
            simulated.tolerance = SLOWER
                .into_iter()
                .map(|slower| Tolerance {
                    slower,
                    added_ns: None,
                    unknown: why.clone(),
                })
                .collect();
            return None;
        }
        simulated.tolerance = tolerance(program, base.length_ns);
        let ideal = Changed {
            all: Some(Latency::Of(0)),
            ..Changed::default()
        };
        simulated.ideal_ns = replay(program, &ideal).ok().map(|run| run.length_ns);
        simulated.base = Some(base);
        None
    });
    simulated.scenarios = asked(program, names, run_queue_ns, wishes, &simulated);
    simulated
}

/// What is simulated, and with whom.
struct Asked<'a> {
    program: &'a Program,
    names: &'a Names<'a>,
    simulated: &'a Simulated,
}

fn asked(
    program: &Program,
    names: &Names<'_>,
    run_queue_ns: &[u64],
    wishes: &[Wish],
    simulated: &Simulated,
) -> Vec<Scenario> {
    let asked = Asked {
        program,
        names,
        simulated,
    };
    let mut scenarios = vec![asked.no_outside_load()];
    if let Some(largest) = simulated.outsiders.first() {
        let text = format!("without: {}", largest.name);
        let is = |name: &str, _: &str| name == largest.name;
        scenarios.push(asked.without(text, is));
    }
    let ones = vec![1.0; program.processes];
    let none = vec![0.0; program.processes];
    let queue = Changed {
        queue: none.clone(),
        ..Changed::default()
    };
    let all: Vec<usize> = (0..program.processes).collect();
    let says = "as if each of its threads had a CPU for itself: waits for each other's CPU time are gone, too";
    scenarios.push(asked.replayed("no_run_queue".to_owned(), &all, &queue, says));
    let worst = run_queue_ns.iter().enumerate().max_by_key(|(_, ns)| **ns);
    if let Some((worst, waited_ns)) = worst {
        let mut queue = ones;
        if let Some(factor) = queue.get_mut(worst) {
            *factor = 0.0;
        }
        let changed = Changed {
            queue,
            ..Changed::default()
        };
        let says = if *waited_ns > 0 {
            "as if this process alone had a CPU for itself; the others wait as they did"
        } else {
            "no process waited for a CPU: nothing changes"
        };
        scenarios.push(asked.replayed("no_run_queue".to_owned(), &[worst], &changed, says));
    }
    let disk = Changed {
        disk: none,
        ..Changed::default()
    };
    let says = "waits for a disk are gone, waits for a CPU as they were";
    scenarios.push(asked.replayed("no_disk_wait".to_owned(), &all, &disk, says));
    scenarios.extend(wishes.iter().map(|wish| asked.wish(wish)));
    scenarios
}

impl Asked<'_> {
    fn ids(&self, places: &[usize]) -> Vec<String> {
        let id = |place: &usize| self.names.members.get(*place).map(|(id, ..)| id.clone());
        places.iter().filter_map(id).collect()
    }

    fn all(&self) -> Vec<usize> {
        (0..self.program.processes).collect()
    }

    /// A scenario that there is no answer to.
    fn none(&self, scenario: String, places: &[usize], why: String) -> Scenario {
        Scenario {
            scenario,
            processes: self.ids(places),
            measured_ns: self.program.measured_ns,
            says: why,
            ..Scenario::default()
        }
    }

    fn told(
        &self,
        (scenario, method): (String, Method),
        places: &[usize],
        run: impl FnOnce() -> Result<Run, Stuck>,
        says: &str,
    ) -> Scenario {
        if let Some(why) = self.simulated.withheld(method) {
            return self.none(scenario, places, why);
        }
        let run = run().ok();
        let Some(run) = run else {
            let why = "the order of sends and receives cannot be kept".to_owned();
            return self.none(scenario, places, why);
        };
        let bounded_by = run.path.greatest();
        Scenario {
            predicted_ns: Some(run.length_ns),
            speedup: (run.length_ns > 0)
                .then(|| self.program.measured_ns as f64 / run.length_ns as f64),
            bounded_by: bounded_by.and_then(|place| self.ids(&[place]).pop()),
            ..self.none(scenario, places, says.to_owned())
        }
    }

    fn replayed(&self, name: String, places: &[usize], changed: &Changed, says: &str) -> Scenario {
        let run = || replay(self.program, changed);
        self.told((name, Method::Recorded), places, run, says)
    }

    fn scheduled(&self, name: String, stays: impl Fn(u32) -> bool, says: &str) -> Scenario {
        let run = || schedule(self.program, &Changed::default(), stays);
        self.told((name, Method::Anew), &self.all(), run, says)
    }

    fn no_outside_load(&self) -> Scenario {
        let says = "the application alone on its CPUs, which its threads share as they did";
        self.scheduled("no_outside_load".to_owned(), |_| false, says)
    }

    fn without(&self, name: String, is: impl Fn(&str, &str) -> bool) -> Scenario {
        let outsiders = &self.simulated.outsiders;
        let gone = |outsider: &&Outsider| is(&outsider.name, &outsider.component);
        let gone: u64 = outsiders
            .iter()
            .filter(gone)
            .map(|outsider| outsider.delayed_ns)
            .sum();
        if gone == 0 {
            let named: Vec<String> = outsiders
                .iter()
                .take(MOST_NAMED)
                .map(|outsider| format!("{} {}", outsider.name, duration(outsider.delayed_ns)))
                .collect();
            let had = match named.as_slice() {
                [] => "nobody outside had one".to_owned(),
                named => format!("those that had: {}", named.join(", ")),
            };
            let why =
                format!("no such program had a CPU that the application was waiting for; {had}");
            return self.none(name, &self.all(), why);
        }
        let stays = |who: u32| {
            let (name, component) = (self.names.outside)(who);
            !is(&name, &component)
        };
        let says = format!(
            "takes away {} in which it had a CPU that the application waited for; its use of the disk is not told from that of others, and stays",
            duration(gone)
        );
        self.scheduled(name, stays, &says)
    }

    fn wish(&self, wish: &Wish) -> Scenario {
        let name = wish.to_string();
        let nobody = |who: &dyn std::fmt::Display| {
            let ids = self.ids(&self.all()).join(", ");
            format!("there is no process {who} in the application; there are: {ids}")
        };
        match &wish.what {
            What::Without(glob) => self.without(name, |name, component| {
                let plain = component
                    .split_once(':')
                    .map_or(component, |(_, name)| name);
                [name, component, plain]
                    .iter()
                    .any(|text| glob.is_match(text))
            }),
            What::Process { who, factors } => {
                let places = who.places(self.names.members);
                if places.is_empty() {
                    return self.none(name, &[], nobody(who));
                }
                let ones = vec![1.0; self.program.processes];
                let mut changed = Changed {
                    queue: ones.clone(),
                    cpu: ones.clone(),
                    disk: ones,
                    ..Changed::default()
                };
                for (what, value) in factors {
                    let list = match what {
                        Factor::RunQueue => &mut changed.queue,
                        Factor::Cpu => &mut changed.cpu,
                        Factor::Disk => &mut changed.disk,
                    };
                    for place in &places {
                        if let Some(factor) = list.get_mut(*place) {
                            *factor = *value;
                        }
                    }
                }
                let says = "these times multiplied; what others wait for a CPU stays as it was";
                self.replayed(name, &places, &changed, says)
            }
            What::Edge { from, to, latency } => {
                let ends = [from, to].map(|end| end.places(self.names.members));
                for (end, places) in [from, to].into_iter().zip(&ends) {
                    if places.is_empty() {
                        return self.none(name, &[], nobody(end));
                    }
                }
                let [from, to] = &ends;
                let pairs = from.iter().flat_map(|a| to.iter().map(move |b| (*a, *b)));
                let there = |pair: &(usize, usize)| {
                    let mut links = self.program.links.iter();
                    links.any(|link| (link.from, link.to) == *pair)
                };
                let pairs: Vec<_> = pairs.filter(there).collect();
                let places: Vec<usize> = from.iter().chain(to).copied().collect();
                if pairs.is_empty() {
                    let why = "no messages go from one to the other".to_owned();
                    return self.none(name, &places, why);
                }
                let changed = Changed {
                    latency: pairs.into_iter().map(|pair| (pair, *latency)).collect(),
                    ..Changed::default()
                };
                let says = "each message on this way takes that time; waits for a CPU as they were";
                self.replayed(name, &places, &changed, says)
            }
        }
    }
}

/// The largest delay of each message with which the run takes so much longer.
fn tolerance(program: &Program, base_ns: u64) -> Vec<Tolerance> {
    let length = |delay_ns: u64| {
        let changed = Changed {
            all: Some(Latency::More(delay_ns)),
            ..Changed::default()
        };
        replay(program, &changed).map_or(u64::MAX, |run| run.length_ns)
    };
    let mut tried = vec![(0, base_ns)];
    let mut delay_ns = 1000;
    let limit = |slower: f64| base_ns.saturating_add((base_ns as f64 * slower) as u64);
    let most = SLOWER.iter().copied().fold(0.0, f64::max);
    loop {
        let length_ns = length(delay_ns);
        tried.push((delay_ns, length_ns));
        if length_ns > limit(most) || delay_ns >= MOST_DELAY_NS {
            break;
        }
        delay_ns = (delay_ns * 4).min(MOST_DELAY_NS);
    }
    let of = |slower: f64| {
        let limit_ns = limit(slower);
        let too_long = tried
            .iter()
            .position(|(_, length_ns)| *length_ns > limit_ns);
        let added_ns = too_long.map(|place| {
            let at = |place: usize| tried.get(place).map_or(0, |(delay_ns, _)| *delay_ns);
            let (mut low, mut high) = (at(place.saturating_sub(1)), at(place));
            for _ in 0..STEPS {
                let middle = low + (high - low) / 2;
                if length(middle) > limit_ns {
                    high = middle;
                } else {
                    low = middle;
                }
            }
            low
        });
        Tolerance {
            slower,
            added_ns,
            unknown: added_ns.is_none().then(|| {
                format!(
                    "with {} more for each message the run does not take {} longer",
                    duration(MOST_DELAY_NS),
                    percent(slower)
                )
            }),
        }
    };
    SLOWER.into_iter().map(of).collect()
}

/// How exact the simulation is, in words.
pub(super) fn exactness(check: &SelfCheck) -> String {
    format!("self-check {}", percent(check.rescheduled_error.abs()))
}

#[cfg(test)]
mod tests;
