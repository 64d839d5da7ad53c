//! Predict: at which rate what is used up, and how long requests take at given rates.
//!
//! In: a [`Profile`], what a user said of machines, rates. Out: a [`Prediction`], or what makes no sense. Must not know: files,
//! how anything is shown.

use courtside_core::{
    model::{
        nodes::Nodes,
        prediction::{
            PREDICTION_SCHEMA, Placed, Predicted, Prediction, PredictionPoint, Resource, RestsOn,
            Saturation, Utilisation,
        },
        profile::Profile,
        visible::visible,
    },
    units::{percent, rate as shown_rate},
};

use super::{
    cannot_predict::CannotPredict,
    load::{BASE, Counted, End, FITTED, FULL, Flows, Off, REMOTE, Use},
    machines::Model,
    simulate::System,
    system::UNKNOWN_REMOTE,
};

/// Rates of `auto`, as shares of the rate at which something is used up.
const AUTO: [f64; 9] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];
/// Events that are simulated in all, unless the number of requests is given: half a second.
const EVENTS: f64 = 3e6;
/// Requests that are simulated at each rate.
const LEAST_REQUESTS: f64 = 2000.0;
const MOST_REQUESTS: f64 = 200_000.0;
/// From this share of saturation on, means go up without end, and no simulation is long enough.
const TOO_NEAR: f64 = 0.985;
/// The same start of every simulation.
pub const SEED: u64 = 1;

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// Requests a second; empty for rates up to nine tenths of saturation.
    pub rates: Vec<f64>,
    /// Cores of nodes.
    pub cores: Vec<(String, f64)>,
    /// What was said of machines.
    pub nodes: Nodes,
    /// Requests to simulate at each rate; none for as many as take about half a second in all.
    pub requests: Option<usize>,
}

/// What a profile rests on.
pub(super) fn rests_on(profile: &Profile) -> RestsOn {
    let mut rests = RestsOn::default();
    for source in profile
        .sources
        .iter()
        .filter(|source| source.left_out.is_none())
    {
        rests.recordings += 1;
        rests.windows = rests.windows.saturating_add(source.windows);
        rests.requests = rests.requests.saturating_add(source.requests);
        rests.lost = rests.lost.saturating_add(source.lost);
    }
    rests
}

/// How a service behaves.
///
/// # Errors
/// The profile or what was said of machines makes no sense.
pub fn predict(profile: &Profile, question: &Question) -> Result<Prediction, CannotPredict> {
    let model = Model::new(profile, &question.nodes, &question.cores, false)?;
    let bad = question
        .rates
        .iter()
        .find(|rate| !(**rate > 0.0 && **rate < 1e12));
    if let Some(bad) = bad {
        return Err(CannotPredict::Nonsense {
            what: format!("a rate of {bad} requests a second makes no sense"),
        });
    }
    let on = model.placed();
    let flows = model.flows(&on);
    let ends = Ends {
        base: model.saturation(&flows, BASE, FITTED),
        remote: model.saturation(&flows, REMOTE, FITTED),
        full: model.saturation(&flows, FULL, FITTED),
    };
    let rates: Vec<f64> = match (&question.rates, ends.full.rate()) {
        (given, _) if !given.is_empty() => given.clone(),
        (_, Some(end)) => AUTO.map(|share| share * end).to_vec(),
        _ => {
            let [low, high] = model.range;
            [low, f64::midpoint(low, high), high]
                .into_iter()
                .filter(|&rate| rate > 0.0)
                .collect()
        }
    };
    let requests = requests(&model, &on, &flows, &rates, &ends, question.requests);
    let points = rates
        .iter()
        .zip(requests)
        .map(|(&rate, requests)| point(&model, &on, &flows, &ends, rate, requests))
        .collect();
    Ok(Prediction {
        schema: PREDICTION_SCHEMA.to_owned(),
        entry: profile.entry.clone(),
        rests_on: rests_on(profile),
        rate_range_per_s: model.range,
        placement: placed(&model, &on),
        saturation: match ends.full {
            End::At(rate, used) => Some(saturation(&model, &flows, (rate, used))),
            End::Never | End::Already(_) => None,
        },
        saturation_unknown: match ends.full {
            End::At(..) => None,
            End::Never => Some("no resource is known that is used up at any rate".to_owned()),
            End::Already(used) => Some(already(&model, used)),
        },
        points,
        assumed: super::assumed::assumed(profile, &model, &flows),
    })
}

/// Where each part runs, in words.
pub(super) fn placed(model: &Model, on: &[Vec<usize>]) -> Vec<Placed> {
    let mut placed = Vec::new();
    for (part, places) in model.parts.iter().zip(on) {
        for machine in places
            .iter()
            .filter_map(|&machine| model.machines.get(machine))
        {
            placed.push(Placed {
                component: part.id.clone(),
                node: machine.name.clone(),
                replicas: 1,
            });
        }
    }
    placed
}

/// Rates at which something is used up.
struct Ends {
    base: End,
    remote: End,
    full: End,
}

/// Why no rate can be told at which this is used up.
fn already(model: &Model, used: Use) -> String {
    let machine = model.machines.get(used.machine);
    let node = visible(machine.map_or("", |machine| machine.name.as_str()));
    let part = used.part.and_then(|part| model.parts.get(part));
    let whose = match part {
        Some(part) => format!("the threads of {}", visible(&part.id)),
        None => format!("{} of {node}", what(used.resource)),
    };
    format!(
        "nothing is left of {whose} without any request ({} is used), as it was recorded, and how much of it requests would get all the same is not known: record while little else runs, or say what the components have to themselves with --cores NODE=N or --place FILE.toml",
        percent(used.share)
    )
}

fn what(resource: Resource) -> &'static str {
    match resource {
        Resource::Cpu => "the CPUs",
        Resource::Quota => "the CPU quota",
        Resource::Disk => "the disk",
        Resource::Network => "the network",
        Resource::Threads => "the threads",
    }
}

fn saturation(model: &Model, flows: &Flows, (rate, used): (f64, Use)) -> Saturation {
    let component = used.part.or_else(|| most(model, flows, rate, used));
    let name = |part: usize| model.parts.get(part).map(|part| part.id.clone());
    let component = component.and_then(name);
    let node = model
        .machines
        .get(used.machine)
        .map(|machine| machine.name.clone());
    // What fits may be off by may leave nothing at all.
    let at = |off: f64| match model.saturation(flows, FULL, Off(off)) {
        End::At(rate, _) => Some(rate),
        End::Already(_) => Some(0.0),
        End::Never => None,
    };
    let sure = model
        .local()
        .all(|part| model.parts.get(part).is_some_and(|part| part.cpu.is_sure));
    let interval95 = match (at(1.0), at(-1.0)) {
        (Some(low), Some(high)) if sure => Some([low, high]),
        _ => None,
    };
    let [low, high] = model.range;
    let what = what(used.resource);
    let whose = match (used.resource, &component) {
        (Resource::Threads, Some(component)) => format!("{what} of {}", visible(component)),
        (_, Some(component)) => format!(
            "{what} of {}, most of it by {}",
            visible(node.as_deref().unwrap_or("")),
            visible(component)
        ),
        (_, None) => format!("{what} of {}", visible(node.as_deref().unwrap_or(""))),
    };
    Saturation {
        rate_per_s: rate,
        resource: used.resource,
        node,
        interval95,
        inside_fitted_range: low <= rate && rate <= high,
        says: format!(
            "at {} requests a second nothing is left of {whose}",
            shown_rate(rate)
        ),
        component,
    }
}

/// Who uses most of a resource of a machine.
fn most(model: &Model, flows: &Flows, rate: f64, used: Use) -> Option<usize> {
    let share = |part: usize| {
        let own = rate * flows.share(part, used.machine);
        let this = model.parts.get(part);
        this.map_or(0.0, |this| match used.resource {
            _ if own <= 0.0 || this.is_remote => 0.0,
            Resource::Disk => this.disk.value(own),
            Resource::Network => this.bytes.value(own),
            _ => this.cpu.value(own),
        })
    };
    let parts = 0..model.parts.len();
    parts
        .filter(|&part| share(part) > 0.0)
        .max_by(|&a, &b| share(a).total_cmp(&share(b)))
}

/// How many requests are simulated at each rate: more where they wait longer for one another.
fn requests(
    model: &Model,
    on: &[Vec<usize>],
    flows: &Flows,
    rates: &[f64],
    ends: &Ends,
    given: Option<usize>,
) -> Vec<usize> {
    let weight = |rate: f64| {
        let full = ends.full.rate().unwrap_or(f64::INFINITY);
        let free = (1.0 - rate / full).max(0.05);
        if rate >= full {
            0.0
        } else {
            1.0 / (free * free)
        }
    };
    let all: f64 = rates.iter().map(|&rate| weight(rate)).sum();
    rates
        .iter()
        .map(|&rate| {
            if let Some(given) = given {
                return given;
            }
            let events = model
                .system(on, flows, rate)
                .map_or(1.0, |system| system.events_each(rate).max(1.0));
            let share = weight(rate) / all.max(f64::MIN_POSITIVE);
            // Several times as many as are there at once, however long each waits.
            let at_once = rate / 1e9 * model.mean_ns(flows, rate, BASE, FITTED).unwrap_or(0.0);
            let least = LEAST_REQUESTS.min(EVENTS / events).max(4.0 * at_once);
            (EVENTS * share / events).clamp(least.min(MOST_REQUESTS), MOST_REQUESTS) as usize
        })
        .collect()
}

fn point(
    model: &Model,
    on: &[Vec<usize>],
    flows: &Flows,
    ends: &Ends,
    rate: f64,
    requests: usize,
) -> PredictionPoint {
    let [low, high] = model.range;
    let name = |part: usize| model.parts.get(part).map(|part| part.id.clone());
    let node = |machine: usize| {
        let machine = model.machines.get(machine);
        machine
            .map(|machine| machine.name.clone())
            .unwrap_or_default()
    };
    let remote = if flows.unknown_cpu {
        Predicted {
            reason: Some(UNKNOWN_REMOTE.to_owned()),
            ..Predicted::default()
        }
    } else {
        closed(model, flows, rate, ends.remote, REMOTE)
    };
    PredictionPoint {
        rate_per_s: rate,
        inside_fitted_range: low <= rate && rate <= high,
        utilisation: model
            .uses(flows, rate, FULL, FITTED)
            .into_iter()
            .map(|used| Utilisation {
                node: node(used.machine),
                resource: used.resource,
                component: used.part.and_then(name),
                share: used.share,
            })
            .collect(),
        base: closed(model, flows, rate, ends.base, BASE),
        with_remote_invocation: remote,
        full: simulated(model, on, flows, rate, ends.full, requests),
    }
}

/// What is said of a rate that is more than can be served.
fn beyond(model: &Model, end: End, rate: f64) -> Option<Predicted> {
    if let End::Already(used) = end {
        return Some(Predicted {
            reason: Some(already(model, used)),
            ..Predicted::default()
        });
    }
    let end = end.rate().filter(|&end| rate >= end)?;
    Some(Predicted {
        throughput_per_s: Some(end),
        reason: Some(format!(
            "more requests come in than the {} a second that can be served: queues grow without end",
            shown_rate(end)
        )),
        ..Predicted::default()
    })
}

fn closed(model: &Model, flows: &Flows, rate: f64, end: End, counted: Counted) -> Predicted {
    if let Some(beyond) = beyond(model, end, rate) {
        return beyond;
    }
    let Some(mean) = model.mean_ns(flows, rate, counted, FITTED) else {
        return Predicted {
            throughput_per_s: Some(rate),
            reason: Some("a queue of the formula is full".to_owned()),
            ..Predicted::default()
        };
    };
    let factors = model.mean_factors(flows, rate, counted);
    Predicted {
        throughput_per_s: Some(rate),
        mean_ns: Some(mean),
        mean_interval95_ns: factors.map(|factors| factors.map(|factor| factor * mean)),
        ..Predicted::default()
    }
}

fn simulated(
    model: &Model,
    on: &[Vec<usize>],
    flows: &Flows,
    rate: f64,
    end: End,
    requests: usize,
) -> Predicted {
    let system = match model.system(on, flows, rate) {
        Ok(system) => system,
        Err(reason) => {
            return Predicted {
                reason: Some(reason),
                ..Predicted::default()
            };
        }
    };
    if let Some(beyond) = beyond(model, end, rate) {
        return beyond;
    }
    let served = |reason: &str| Predicted {
        throughput_per_s: Some(rate),
        reason: Some(reason.to_owned()),
        ..Predicted::default()
    };
    if end.rate().is_some_and(|end| rate > TOO_NEAR * end) {
        return served("so near to saturation requests take longer the longer one looks");
    }
    let Some(found) = run(&system, rate, requests) else {
        return served("in the simulation queues grow without end");
    };
    let sim = found.half_ns / found.mean_ns.max(f64::MIN_POSITIVE);
    let factors = model.mean_factors(flows, rate, REMOTE);
    Predicted {
        throughput_per_s: Some(rate),
        mean_ns: Some(found.mean_ns),
        mean_interval95_ns: factors.map(|[low, high]| {
            let low = libm::hypot(1.0 - low, sim);
            let high = libm::hypot(high - 1.0, sim);
            [
                found.mean_ns * (1.0 - low).max(0.0),
                found.mean_ns * (1.0 + high),
            ]
        }),
        p50_ns: Some(found.p50_ns),
        p95_ns: Some(found.p95_ns),
        p99_ns: Some(found.p99_ns),
        reason: None,
    }
}

fn run(system: &System, rate: f64, requests: usize) -> Option<super::simulate::Simulated> {
    system.simulate(rate, requests, SEED)
}
