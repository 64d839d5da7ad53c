//! A profile put onto machines.
//!
//! In: a profile, and what a user said of machines. Out: a [`Model`]: machines, parts and calls by number; or what makes no sense
//! of it. Must not know: rates.

use std::collections::{BTreeMap, BTreeSet};

use courtside_core::model::{
    nodes::{NodeSpec, Nodes},
    profile::{Fit, PROFILE_SCHEMA, Profile, ProfiledComponent, Segment},
    snapshot::ComponentKind,
};

use super::{cannot_predict::CannotPredict, curve::Curve};

/// Most CPUs, and most of anything else, that a user may say.
const MAX_CPUS: f64 = 65_536.0;
const MAX_NUMBER: f64 = 1e15;
/// A quota that holds back for more than this share of the CPU time decides when more cannot be served.
const HELD_BACK: f64 = 0.01;

/// A machine.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    pub name: String,
    pub cpus: f64,
    /// CPUs that the components there may use, all together; what else runs there is not under it.
    pub quota: Option<f64>,
    /// 1 is the CPU that was recorded.
    pub speed: f64,
    pub disk_parallel: f64,
    pub cost: f64,
    /// What else runs there, and for how long at a time.
    pub other: Option<Curve>,
    pub other_run_ns: Option<f64>,
    /// CPU time in a second that it has elsewhere: on CPUs that the components do not use.
    pub elsewhere_ns: f64,
}

impl Machine {
    /// CPU time in a second that what else runs there takes of the CPUs of the components, in nanoseconds of the recorded CPU.
    pub fn other_ns(&self, rate: f64, off: f64) -> f64 {
        self.other.as_ref().map_or(0.0, |other| {
            let elsewhere_ns = self.elsewhere_ns * self.speed;
            (other.value(rate) + off * other.half(rate) - elsewhere_ns).max(0.0)
        })
    }

    /// The same, of what the components may use of these CPUs: what their quota does not let them have, the others have first.
    pub fn in_way_ns(&self, rate: f64, off: f64) -> f64 {
        let left_ns = (self.cpus - self.capacity()) * 1e9 * self.speed;
        (self.other_ns(rate, off) - left_ns).max(0.0)
    }

    /// CPUs that the components may use.
    pub fn capacity(&self) -> f64 {
        self.quota.map_or(self.cpus, |quota| quota.min(self.cpus))
    }
}

/// A component on the way of a request.
#[derive(Clone, Debug, Default)]
pub(super) struct Part {
    pub id: String,
    pub is_remote: bool,
    /// Of its own requests, for one at the entry.
    pub visits: f64,
    pub cpu: Curve,
    pub disk: Curve,
    pub bytes: Curve,
    pub holding: Option<Curve>,
    pub threads: Option<u32>,
    pub scv_cpu: Option<f64>,
    pub held_ns: Option<f64>,
    pub segments: Vec<Segment>,
    /// A CPU quota held it back while it was recorded, for more than next to nothing.
    pub had_quota: bool,
    pub is_parallel: bool,
    /// Where it runs.
    pub on: Vec<usize>,
}

impl Part {
    /// CPU time within turnarounds for one request at the entry, at the lowest rate.
    pub fn in_turnarounds_ns(&self) -> f64 {
        let each = self.segments.iter();
        each.map(|segment| segment.per_visit * segment.on_cpu_ns)
            .sum::<f64>()
            * self.visits
    }

    /// The same of the time that it waits for neither a CPU nor the disk nor a message.
    pub fn waits_ns(&self) -> f64 {
        let each = self.segments.iter();
        let wait: f64 = each
            .map(|segment| segment.per_visit * segment.wait_ns)
            .sum();
        (wait + self.held_ns.unwrap_or(0.0)) * self.visits
    }

    /// The same of the time that it waits for the disk.
    pub fn disk_ns(&self) -> f64 {
        let each = self.segments.iter();
        each.map(|segment| segment.per_visit * segment.disk_ns)
            .sum::<f64>()
            * self.visits
    }
}

/// Calls from one part to another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub from: usize,
    pub to: usize,
    /// For one request at the entry; none where the count is a lower bound.
    pub per_request: Option<f64>,
    pub latency_ns: Option<f64>,
    /// Between the ends as they were recorded.
    pub network_ns: Option<f64>,
    /// For one roundtrip.
    pub bytes: f64,
    /// CPU time at each end for one roundtrip to another machine.
    pub remote_cpu_ns: Option<f64>,
}

/// A profile on machines.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub machines: Vec<Machine>,
    pub parts: Vec<Part>,
    pub calls: Vec<Call>,
    /// Parts that requests enter at, and their shares.
    pub entries: Vec<(usize, f64)>,
    pub rtt_ns: Option<f64>,
    pub bytes_per_s: Option<f64>,
    pub range: [f64; 2],
}

impl Model {
    /// Puts a profile onto machines. With `only_given` there are no others than the nodes file says, and nothing is placed yet.
    pub fn new(
        profile: &Profile,
        nodes: &Nodes,
        cores: &[(String, f64)],
        only_given: bool,
    ) -> Result<Self, CannotPredict> {
        check_profile(profile)?;
        let machines = machines(profile, nodes, cores, only_given)?;
        let index: BTreeMap<&str, usize> = machines
            .iter()
            .enumerate()
            .map(|(number, machine)| (machine.name.as_str(), number))
            .collect();
        let mut parts: Vec<Part> = Vec::new();
        for component in &profile.components {
            let mut part = part(component);
            if !part.is_remote && !only_given {
                let home = component.node.as_deref().and_then(|node| index.get(node));
                part.on.extend(home);
            }
            parts.push(part);
        }
        place(&mut parts, nodes, &index, only_given)?;
        let number = |id: &str| parts.iter().position(|part| part.id == id);
        let mut calls = Vec::new();
        let network = &nodes.network;
        for edge in &profile.edges {
            let (Some(from), Some(to)) = (number(&edge.from), number(&edge.to)) else {
                continue;
            };
            let per_request = edge.roundtrips_per_request;
            let each = per_request.filter(|&count| count > 0.0).unwrap_or(1.0);
            let (messages, bytes) = (
                edge.messages_per_request / each,
                edge.bytes_per_request / each,
            );
            let per_message = edge
                .remote_cpu_ns_per_message
                .or(network.cpu_us_per_message.map(|us| us * 1e3));
            let per_byte = edge.remote_cpu_ns_per_byte.or(network.cpu_ns_per_byte);
            let remote_cpu_ns = match (per_message, per_byte) {
                (None, None) => None,
                (message, byte) => {
                    Some(messages * message.unwrap_or(0.0) + bytes * byte.unwrap_or(0.0))
                }
            };
            calls.push(Call {
                from,
                to,
                per_request,
                latency_ns: edge.latency_ns,
                network_ns: edge.network_ns,
                bytes,
                remote_cpu_ns,
            });
        }
        for edge in profile
            .edges
            .iter()
            .filter(|edge| edge.parallel == Some(true))
        {
            for part in parts.iter_mut().filter(|part| part.id == edge.from) {
                part.is_parallel = true;
            }
        }
        let number = |id: &str| parts.iter().position(|part| part.id == id);
        let entries: Vec<(usize, f64)> = profile
            .entries
            .iter()
            .filter_map(|entry| Some((number(&entry.component)?, entry.share)))
            .collect();
        if entries.is_empty() {
            return Err(CannotPredict::Profile {
                what: "it does not say where requests enter".to_owned(),
            });
        }
        Ok(Self {
            machines,
            calls,
            entries,
            rtt_ns: network.rtt_us.map(|us| us * 1e3),
            bytes_per_s: network.bytes_per_s,
            range: profile.rate_range_per_s,
            parts,
        })
    }

    /// Parts that run on machines.
    pub fn local(&self) -> impl Iterator<Item = usize> {
        let each = self.parts.iter().enumerate();
        each.filter(|(_, part)| !part.is_remote)
            .map(|(number, _)| number)
    }

    /// Where each part runs.
    pub fn placed(&self) -> Vec<Vec<usize>> {
        self.parts.iter().map(|part| part.on.clone()).collect()
    }
}

/// What a file says may be anything.
fn check_profile(profile: &Profile) -> Result<(), CannotPredict> {
    let wrong = |what: &str| {
        Err(CannotPredict::Profile {
            what: what.to_owned(),
        })
    };
    if profile.schema != PROFILE_SCHEMA {
        return wrong("it is not of the schema courtside.profile/1");
    }
    if profile.components.is_empty() || profile.nodes.is_empty() {
        return wrong("it has no components or no nodes");
    }
    let [low, high] = profile.rate_range_per_s;
    if !(low.is_finite() && high.is_finite() && 0.0 <= low && low <= high && high > 0.0) {
        return wrong("its range of rates makes no sense");
    }
    let ids: BTreeSet<&str> = profile.components.iter().map(|c| c.id.as_str()).collect();
    if ids.len() != profile.components.len() {
        return wrong("two components have the same id");
    }
    let is_sound = |fit: &Option<Fit>| {
        fit.as_ref().is_none_or(|fit| {
            let numbers = [fit.per_request, fit.per_second, fit.center_per_s];
            let halves = fit.interval95.into_iter().flatten();
            let halves = halves.chain(fit.half95_at_center);
            let points = fit.points.iter().flatten().copied();
            let mut all = numbers.into_iter().chain(halves).chain(points);
            all.all(|number| number.is_finite() && number.abs() < MAX_NUMBER)
                && fit.points.windows(2).all(|two| two[0][0] <= two[1][0])
                && fit
                    .points
                    .iter()
                    .all(|point| point[0] > 0.0 && point[1] >= 0.0)
        })
    };
    let is_count = |number: f64| (0.0..MAX_NUMBER).contains(&number);
    let mut names: BTreeSet<&str> = BTreeSet::new();
    for node in &profile.nodes {
        let is_quota = |quota: f64| quota > 0.0 && quota <= MAX_CPUS;
        if !names.insert(&node.node) {
            return wrong(&format!("the node {} is there twice", node.node));
        }
        if !is_sound(&node.other_cpu)
            || !node.quota_cpus.is_none_or(is_quota)
            || !node.other_run_ns.is_none_or(is_count)
        {
            return wrong(&format!(
                "the numbers of the node {} make no sense",
                node.node
            ));
        }
    }
    let shares = || profile.entries.iter().map(|entry| entry.share);
    if !shares().all(is_count) || (!profile.entries.is_empty() && shares().sum::<f64>() <= 0.0) {
        return wrong("the shares of its entries make no sense");
    }
    for component in &profile.components {
        let fits = [
            &component.cpu,
            &component.disk,
            &component.holding,
            &component.network_bytes,
        ];
        let counts = [
            component.visits_per_request,
            component.held_ns,
            component.throttled_ns_per_request,
            component.scv_cpu,
        ];
        let segments = component.segments.iter().flat_map(|segment| {
            [
                segment.per_visit,
                segment.on_cpu_ns,
                segment.wait_ns,
                segment.disk_ns,
                segment.scv.unwrap_or(0.0),
            ]
        });
        if !fits.into_iter().all(is_sound)
            || !counts.into_iter().flatten().all(is_count)
            || !segments.into_iter().all(is_count)
            || component.threads == Some(0)
        {
            return wrong(&format!("the numbers of {} make no sense", component.id));
        }
        if component.kind != ComponentKind::Remote && component.cpu.is_none() {
            return wrong(&format!("it has no CPU time of {}", component.id));
        }
    }
    for edge in &profile.edges {
        let numbers = [
            edge.roundtrips_per_request.unwrap_or(0.0),
            edge.messages_per_request,
            edge.bytes_per_request,
            edge.latency_ns.unwrap_or(0.0),
            edge.network_ns.unwrap_or(0.0),
            edge.remote_cpu_ns_per_message.unwrap_or(0.0),
            edge.remote_cpu_ns_per_byte.unwrap_or(0.0),
        ];
        if !numbers.into_iter().all(is_count) {
            return wrong(&format!(
                "the numbers of the edge from {} to {} make no sense",
                edge.from, edge.to
            ));
        }
    }
    Ok(())
}

fn part(component: &ProfiledComponent) -> Part {
    let curve = |fit: &Option<Fit>| fit.as_ref().map(Curve::of);
    Part {
        id: component.id.clone(),
        is_remote: component.kind == ComponentKind::Remote,
        visits: component.visits_per_request.unwrap_or(0.0),
        cpu: curve(&component.cpu).unwrap_or_default(),
        disk: curve(&component.disk).unwrap_or_default(),
        bytes: curve(&component.network_bytes).unwrap_or_default(),
        holding: curve(&component.holding),
        threads: component.threads,
        scv_cpu: component.scv_cpu,
        held_ns: component.held_ns,
        segments: component.segments.clone(),
        had_quota: component
            .throttled_ns_per_request
            .zip(component.cpu.as_ref())
            .is_some_and(|(held, cpu)| held > HELD_BACK * cpu.per_request.max(0.0)),
        ..Part::default()
    }
}

fn nonsense(what: String) -> CannotPredict {
    CannotPredict::Nonsense { what }
}

/// A number that a user gave, if it is one of these.
fn positive(
    value: Option<f64>,
    most: f64,
    what: impl FnOnce() -> String,
) -> Result<Option<f64>, CannotPredict> {
    match value {
        Some(value) if !(value > 0.0 && value <= most) => Err(nonsense(format!(
            "{} is {value}, and not a number above 0 and at most {most}",
            what()
        ))),
        other => Ok(other),
    }
}

fn machines(
    profile: &Profile,
    nodes: &Nodes,
    cores: &[(String, f64)],
    only_given: bool,
) -> Result<Vec<Machine>, CannotPredict> {
    let mut machines: Vec<Machine> = Vec::new();
    for node in &profile.nodes {
        machines.push(Machine {
            name: node.node.clone(),
            cpus: f64::from(node.cpus.max(1)),
            quota: node.quota_cpus,
            speed: 1.0,
            disk_parallel: outstanding(profile),
            cost: 1.0,
            other: node.other_cpu.as_ref().map(Curve::of),
            other_run_ns: node.other_run_ns,
            elsewhere_ns: 0.0,
        });
    }
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for spec in &nodes.nodes {
        if spec.name.is_empty() || !seen.insert(&spec.name) {
            return Err(nonsense(format!(
                "the node {:?} has no name or is there twice",
                spec.name
            )));
        }
        let recorded = machines
            .iter()
            .position(|machine| machine.name == spec.name);
        let base = recorded.and_then(|number| machines.get(number).cloned());
        let machine = given(spec, base)?;
        match recorded.and_then(|number| machines.get_mut(number)) {
            Some(place) => *place = machine,
            None => machines.push(machine),
        }
    }
    if only_given {
        machines.retain(|machine| seen.contains(machine.name.as_str()));
        if machines.is_empty() {
            return Err(nonsense("the file of nodes has no [[node]]".to_owned()));
        }
    }
    for (name, count) in cores {
        let known = || {
            machines
                .iter()
                .map(|machine| machine.name.clone())
                .collect()
        };
        let count = positive(Some(*count), MAX_CPUS, || {
            format!("the number of cores of {name}")
        })?;
        let found = machines.iter().position(|machine| machine.name == *name);
        let Some(number) = found else {
            return Err(CannotPredict::UnknownNode {
                name: name.clone(),
                known: known(),
            });
        };
        if let (Some(machine), Some(count)) = (machines.get_mut(number), count) {
            machine.elsewhere_ns += (machine.cpus - count).max(0.0) * 1e9;
            machine.cpus = count;
        }
    }
    let network = &nodes.network;
    positive(network.bytes_per_s, MAX_NUMBER, || {
        "bytes_per_s of the network".to_owned()
    })?;
    for (value, what) in [
        (network.rtt_us, "rtt_us"),
        (network.cpu_us_per_message, "cpu_us_per_message"),
        (network.cpu_ns_per_byte, "cpu_ns_per_byte"),
    ] {
        if value.is_some_and(|value| !(0.0..MAX_NUMBER).contains(&value)) {
            return Err(nonsense(format!(
                "{what} of the network is no number from 0 on"
            )));
        }
    }
    Ok(machines)
}

/// Requests that the disk worked on at a time while it was recorded, at least one.
fn outstanding(profile: &Profile) -> f64 {
    let most = |fit: &Fit| {
        let totals = fit.points.iter().map(|[rate, each]| rate * each / 1e9);
        totals.fold(0.0, f64::max)
    };
    let disks = profile
        .components
        .iter()
        .filter_map(|component| component.disk.as_ref());
    disks.map(most).sum::<f64>().ceil().max(1.0)
}

/// A machine of the file; what it does not say is that of the recorded one of the same name.
fn given(spec: &NodeSpec, base: Option<Machine>) -> Result<Machine, CannotPredict> {
    let name = &spec.name;
    let cpus = positive(spec.cpus, MAX_CPUS, || format!("cpus of the node {name}"))?;
    let Some(cpus) = cpus.or(base.as_ref().map(|base| base.cpus)) else {
        return Err(nonsense(format!("the node {name} has no cpus")));
    };
    let quota = positive(spec.quota_cpus, MAX_CPUS, || {
        format!("quota_cpus of the node {name}")
    })?;
    let speed = positive(spec.speed, 1000.0, || format!("speed of the node {name}"))?;
    let parallel = positive(spec.disk_parallel, MAX_CPUS, || {
        format!("disk_parallel of the node {name}")
    })?;
    let cost = positive(spec.cost, MAX_NUMBER, || format!("cost of the node {name}"))?;
    let recorded_parallel = base.as_ref().map_or(1.0, |base| base.disk_parallel);
    let other = base.as_ref().and_then(|base| base.other.clone());
    Ok(Machine {
        name: name.clone(),
        cpus,
        quota: quota.or(base.as_ref().and_then(|base| base.quota)),
        speed: speed.unwrap_or(1.0),
        disk_parallel: parallel.unwrap_or(recorded_parallel),
        cost: cost.unwrap_or(1.0),
        other,
        other_run_ns: base.and_then(|base| base.other_run_ns),
        elsewhere_ns: 0.0,
    })
}

/// Puts components where the file says.
fn place(
    parts: &mut [Part],
    nodes: &Nodes,
    index: &BTreeMap<&str, usize>,
    only_threads: bool,
) -> Result<(), CannotPredict> {
    let mut seen: BTreeSet<usize> = BTreeSet::new();
    for spec in &nodes.components {
        let is_it = |part: &Part| {
            let name = part.id.split_once(':').map(|(_, name)| name);
            part.id == spec.id || name == Some(spec.id.as_str())
        };
        let found: Vec<usize> = (0..parts.len()).filter(|&i| is_it(&parts[i])).collect();
        let &[number] = found.as_slice() else {
            return Err(CannotPredict::UnknownComponent {
                name: spec.id.clone(),
                known: parts.iter().map(|part| part.id.clone()).collect(),
            });
        };
        let Some(part) = parts.get_mut(number) else {
            continue;
        };
        if !seen.insert(number) {
            return Err(nonsense(format!(
                "the component {} is there twice",
                spec.id
            )));
        }
        if part.is_remote {
            return Err(nonsense(format!(
                "{} is not on this host, and cannot be placed",
                part.id
            )));
        }
        if spec.threads == Some(0) {
            return Err(nonsense(format!(
                "the component {} has no threads",
                spec.id
            )));
        }
        part.threads = spec.threads.or(part.threads);
        let names: Vec<&String> = match (&spec.node, &spec.nodes) {
            (Some(_), Some(_)) => {
                return Err(nonsense(format!(
                    "the component {} has both node and nodes",
                    spec.id
                )));
            }
            (Some(node), None) => vec![node],
            (None, Some(nodes)) if nodes.is_empty() => {
                return Err(nonsense(format!("the component {} is on no node", spec.id)));
            }
            (None, Some(nodes)) => nodes.iter().collect(),
            (None, None) => continue,
        };
        if only_threads {
            return Err(nonsense(format!(
                "the component {} is placed already, and where it goes is what is asked",
                spec.id
            )));
        }
        part.on.clear();
        for name in names {
            let Some(&machine) = index.get(name.as_str()) else {
                return Err(CannotPredict::UnknownNode {
                    name: name.clone(),
                    known: index.keys().map(|&name| name.to_owned()).collect(),
                });
            };
            if part.on.contains(&machine) {
                return Err(nonsense(format!(
                    "the component {} is on {name} twice",
                    spec.id
                )));
            }
            part.on.push(machine);
        }
    }
    Ok(())
}
