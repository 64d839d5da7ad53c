//! What a made-up fleet's questions have to answer.
//!
//! In: the plan. Out: counts and means that follow from it alone. Must not know: snapshots, files, how a question is answered.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::world::{
    BATCH, CACHE, FACTOR, FAR, GATE, GATE_PORT, QUIET, RELEASE_CPU, RELEASE_SERVICE, Role, SEARCH,
    SLOW_NS, STORE, TRANSLATOR, Traffic, VIRTUAL, World,
};

/// Name and version of the schema.
const SCHEMA: &str = "courtside.fleet.answers/1";

/// The answers.
#[derive(Debug, Serialize)]
pub(super) struct Answers {
    schema: &'static str,
    seed: u64,
    hosts: usize,
    hours: u64,
    windows: u64,
    interval_ns: u64,
    start_unix_ns: u64,
    /// `fleet map`, without an order.
    map: Vec<MapEdge>,
    slow_edge: Option<SlowEdge>,
    antagonist: Antagonist,
    release: Release,
    /// `fleet specs`: tasks and samples of each job and platform, of any signal that each of its windows has.
    specs: Vec<Spec>,
    findings: Vec<Found>,
    /// Hosts whose clocks are ahead, and by how much.
    ahead_ns: BTreeMap<String, u64>,
    /// Hosts behind a translator, and its address.
    translated: BTreeMap<String, &'static str>,
    /// A virtual address, and the host that it stands for.
    virtual_addresses: BTreeMap<&'static str, String>,
}

#[derive(Debug, Default, Serialize)]
struct MapEdge {
    from: Option<&'static str>,
    to: Option<&'static str>,
    port: u16,
    through: &'static str,
    from_hosts: usize,
    to_hosts: usize,
    roundtrips: u64,
    latency_mean_ns: Option<f64>,
    service_mean_ns: Option<f64>,
    network_mean_ns: Option<f64>,
    /// Requests that the initiator served on these hosts.
    requests: Option<u64>,
}

#[derive(Debug, Serialize)]
struct SlowEdge {
    from_host: String,
    to_host: String,
    network_mean_ns: u64,
}

#[derive(Debug, Serialize)]
struct Antagonist {
    job: &'static str,
    suspect: &'static str,
    host_names: Vec<String>,
    /// Windows in which it was at work, of all these hosts.
    windows: u64,
    factor: f64,
}

#[derive(Debug, Serialize)]
struct Release {
    job: &'static str,
    a: &'static str,
    b: &'static str,
    service_ns_ratio: f64,
    on_cpu_ns_per_request_ratio: f64,
}

#[derive(Debug, Default, Serialize)]
struct Spec {
    job: &'static str,
    platform: String,
    tasks: u64,
    windows: u64,
}

#[derive(Debug, Serialize)]
struct Found {
    rule: &'static str,
    component: &'static str,
    hosts: usize,
    windows: u64,
    first_unix_ns: Option<u64>,
}

/// Adds up an edge of the map.
#[derive(Debug, Default)]
struct Sum {
    from_hosts: BTreeSet<usize>,
    to_hosts: BTreeSet<usize>,
    roundtrips: u64,
    service_ns: f64,
    network_ns: f64,
}

impl Sum {
    fn add(&mut self, traffic: Traffic) {
        let n = traffic.roundtrips;
        self.roundtrips += n;
        self.service_ns += n as f64 * traffic.service_mean_ns as f64;
        self.network_ns += n as f64 * traffic.network_ns as f64;
    }
}

type Key = (
    Option<&'static str>,
    Option<&'static str>,
    u16,
    &'static str,
);

impl Answers {
    pub(super) fn of(world: &World) -> Self {
        let hosts = world.hosts.iter();
        let ahead = hosts.clone().filter(|host| host.ahead_ns > 0);
        let virtual_link = world.links.iter().find(|link| link.called == VIRTUAL);
        let name = |number: usize| world.hosts.get(number).map(|host| host.name.clone());
        let translated = world.links.iter().filter(|link| link.seen == TRANSLATOR);
        let slow = world.links.get(world.slow);
        Self {
            schema: SCHEMA,
            seed: world.seed,
            hosts: world.hosts.len(),
            hours: world.hours,
            windows: world.windows() * world.hosts.len() as u64,
            interval_ns: world.interval_ns,
            start_unix_ns: world.start_unix_ns,
            map: map(world),
            slow_edge: slow.and_then(|link| {
                Some(SlowEdge {
                    from_host: name(link.from)?,
                    to_host: name(link.to?)?,
                    network_mean_ns: SLOW_NS,
                })
            }),
            antagonist: antagonist(world),
            release: Release {
                job: STORE,
                a: "store-0*",
                b: "store-next-*",
                service_ns_ratio: RELEASE_SERVICE,
                on_cpu_ns_per_request_ratio: RELEASE_CPU,
            },
            specs: specs(world),
            findings: findings(world),
            ahead_ns: ahead
                .map(|host| (host.name.clone(), host.ahead_ns))
                .collect(),
            translated: translated
                .filter_map(|link| Some((name(link.from)?, TRANSLATOR)))
                .collect(),
            virtual_addresses: virtual_link
                .and_then(|link| Some((VIRTUAL, name(link.to?)?)))
                .into_iter()
                .collect(),
        }
    }
}

fn map(world: &World) -> Vec<MapEdge> {
    let mut sums: BTreeMap<Key, Sum> = BTreeMap::new();
    for (at, link) in world.links.iter().enumerate() {
        let from = world
            .hosts
            .get(link.from)
            .map(|host| super::host::own(host.role));
        let to = link.to.and_then(|to| world.hosts.get(to));
        let through = match to {
            None => "initiator_only",
            Some(_) if link.seen == TRANSLATOR => "nat",
            Some(_) if link.called == VIRTUAL => "virtual_address",
            Some(_) => "direct",
        };
        let to_id = to.map(|host| super::host::own(host.role));
        let sum = sums.entry((from, to_id, link.port, through)).or_default();
        sum.from_hosts.insert(link.from);
        // One that exports nothing is known by its address, unless nobody has that.
        sum.to_hosts
            .extend(link.to.or((link.called != FAR).then_some(usize::MAX)));
        (0..world.windows()).for_each(|window| sum.add(world.traffic(at, window)));
    }
    let gates = world.hosts.iter().enumerate();
    for (number, _) in gates.filter(|(_, host)| host.role == Role::Gate) {
        let outside = (None, Some(GATE), GATE_PORT, "acceptor_only");
        let sum = sums.entry(outside).or_default();
        sum.to_hosts.insert(number);
        (0..world.windows()).for_each(|window| sum.add(world.outside(number, window)));
        let sum = sums
            .entry((Some(GATE), Some(CACHE), 0, "local"))
            .or_default();
        sum.from_hosts.insert(number);
        sum.to_hosts.insert(number);
        (0..world.windows()).for_each(|window| sum.add(world.cache(number, window)));
    }
    let served = served(world);
    let edge = |((from, to, port, through), sum): (Key, Sum)| {
        let mean = |ns: f64| Some(ns / sum.roundtrips.max(1) as f64);
        let both = !matches!(through, "initiator_only" | "acceptor_only");
        let asked: u64 = sum
            .from_hosts
            .iter()
            .filter_map(|host| served.get(host))
            .sum();
        MapEdge {
            from,
            to,
            port,
            through,
            from_hosts: sum.from_hosts.len(),
            to_hosts: sum.to_hosts.len(),
            roundtrips: sum.roundtrips,
            latency_mean_ns: from.and(mean(sum.service_ns + sum.network_ns)),
            service_mean_ns: to.and(mean(sum.service_ns)),
            network_mean_ns: mean(sum.network_ns).filter(|_| both),
            requests: from.and((asked > 0).then_some(asked)),
        }
    };
    sums.into_iter().map(edge).collect()
}

/// Requests that the service of each host served.
fn served(world: &World) -> BTreeMap<usize, u64> {
    let mut served: BTreeMap<usize, u64> = BTreeMap::new();
    for (at, link) in world.links.iter().enumerate() {
        let Some(to) = link.to else { continue };
        let windows = (0..world.windows()).map(|window| world.traffic(at, window).roundtrips);
        *served.entry(to).or_default() += windows.sum::<u64>();
    }
    for (number, host) in world.hosts.iter().enumerate() {
        if host.role == Role::Gate {
            let windows =
                (0..world.windows()).map(|window| world.outside(number, window).roundtrips);
            *served.entry(number).or_default() += windows.sum::<u64>();
        }
    }
    served
}

fn antagonist(world: &World) -> Antagonist {
    let hosts = world
        .hosts
        .iter()
        .enumerate()
        .filter(|(_, host)| host.antagonised);
    let mut found = Antagonist {
        job: SEARCH,
        suspect: BATCH,
        host_names: Vec::new(),
        windows: 0,
        factor: FACTOR,
    };
    for (number, host) in hosts {
        let bursts = (0..world.windows()).filter(|window| world.burst(number, *window));
        let windows = bursts.count() as u64;
        found.windows += windows;
        if windows > 0 {
            found.host_names.push(host.name.clone());
        }
    }
    found
}

fn specs(world: &World) -> Vec<Spec> {
    let mut specs: BTreeMap<(&'static str, String), Spec> = BTreeMap::new();
    for host in &world.hosts {
        let job = super::host::own(host.role);
        let platform = courtside_analysis::guard::platform(host.arch, host.cpus.into());
        let spec = specs
            .entry((job, platform.clone()))
            .or_insert_with(|| Spec {
                job,
                platform,
                ..Spec::default()
            });
        spec.tasks += if host.role == Role::Search { 2 } else { 1 };
        spec.windows += world.windows();
    }
    specs.into_values().collect()
}

fn findings(world: &World) -> Vec<Found> {
    let mut antagonist = Found {
        rule: "antagonist",
        component: SEARCH,
        hosts: 0,
        windows: 0,
        first_unix_ns: None,
    };
    let start = |number: usize, window: u64| {
        let ahead = world.hosts.get(number).map_or(0, |host| host.ahead_ns);
        world.start_unix_ns + window * world.interval_ns + ahead
    };
    for number in 0..world.hosts.len() {
        let bursts: Vec<u64> = (0..world.windows())
            .filter(|window| world.burst(number, *window))
            .collect();
        let Some(first) = bursts.first() else {
            continue;
        };
        antagonist.hosts += 1;
        antagonist.windows += bursts.len() as u64;
        let first = start(number, *first);
        antagonist.first_unix_ns = Some(
            antagonist
                .first_unix_ns
                .map_or(first, |known| known.min(first)),
        );
    }
    let slow = world.links.get(world.slow).map(|link| Found {
        rule: "slow_peer",
        component: SEARCH,
        hosts: 1,
        windows: world.windows(),
        first_unix_ns: Some(start(link.from, 0)),
    });
    let all = slow.into_iter().chain([antagonist]);
    all.filter(|found| found.windows > 0).collect()
}

/// Whose each address is, as in /etc/hosts.
pub(super) fn hosts_file(world: &World) -> String {
    let mut text =
        "# Whose each address is: read by courtside fleet map and roundtrips.\n".to_owned();
    for host in &world.hosts {
        text.push_str(&format!("{} {}\n", host.address, host.name));
    }
    text.push_str(&format!("{} {}\n", QUIET.1, QUIET.0));
    text
}
