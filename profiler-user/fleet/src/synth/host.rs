//! A window of one host of a made-up fleet.
//!
//! In: the plan. Out: a [`Snapshot`] as the agent of that host would export it. Must not know: files, answers.

use courtside_core::{
    frame::{DistRaw, PmuState, ProbeState, Process, Transport},
    model::{
        Snapshot,
        finding::{Between, Finding, Severity},
        snapshot::{
            self, Component, ComponentKind, Counters, Cpu, Dist, Edge, Pmu, Probe, Quality,
            Requests, Window,
        },
    },
};
use courtside_wire::hist::bucket_of;

use super::world::{
    BACKUP, BATCH, CACHE, CLIENT, GATE, GATE_PORT, Host, LOGGER, RELEASE_CPU, Role, SEARCH, STORE,
    Traffic, World,
};

/// CPU time of one request.
pub(super) fn cpu_ns(component: &str, next: bool) -> f64 {
    match component {
        GATE => 5_000_000.0,
        CACHE => 40_000.0,
        SEARCH => 30_000_000.0,
        STORE if next => 9_000_000.0 * RELEASE_CPU,
        _ => 9_000_000.0,
    }
}

/// Cycles for each instruction.
fn cpi(component: &str, arch: &str) -> f64 {
    match (component, arch) {
        (SEARCH, "aarch64") => 0.9,
        (SEARCH, _) => 1.2,
        (STORE, _) => 2.0,
        _ => 1.0,
    }
}

/// So many values around a mean, whose sum is exactly that many times the mean.
fn dist(count: u64, mean_ns: u64) -> Dist {
    if count == 0 {
        return Dist::default();
    }
    let away = mean_ns / 5;
    let (low, high) = (mean_ns - away, mean_ns + away);
    let each = count / 4;
    let mut buckets: Vec<(u16, u64)> = Vec::new();
    for (value, n) in [(low, each), (mean_ns, count - 2 * each), (high, each)] {
        let bucket = u16::try_from(bucket_of(value)).unwrap_or(u16::MAX);
        match buckets.last_mut() {
            _ if n == 0 => {}
            Some((last, sum)) if *last == bucket => *sum += n,
            _ => buckets.push((bucket, n)),
        }
    }
    Dist::from(&DistRaw {
        sum_ns: count * mean_ns,
        min_ns: if each > 0 { low } else { mean_ns },
        max_ns: if each > 0 { high } else { mean_ns },
        buckets,
    })
}

/// Name without what it is known by.
fn name(id: &str) -> String {
    id.split_once(':').map_or(id, |(_, name)| name).to_owned()
}

/// What a component did: requests, and CPU time.
struct Did {
    id: &'static str,
    processes: u32,
    served: Vec<Traffic>,
    cpu_ns: f64,
    cpi: f64,
}

impl Did {
    fn component(&self, window: u64) -> Component {
        let served: u64 = self.served.iter().map(|traffic| traffic.roundtrips).sum();
        let sum_ns: u64 = self
            .served
            .iter()
            .map(|traffic| traffic.roundtrips * traffic.service_mean_ns)
            .sum();
        let mut service_ns = dist(served, sum_ns.checked_div(served).unwrap_or(0));
        service_ns.sum_ns = sum_ns;
        let on_cpu_ns = self.cpu_ns as u64;
        let cycles = on_cpu_ns * 3;
        let instructions = (cycles as f64 / self.cpi) as u64;
        let process = |number| Process {
            tgid: 1000 + 100 * number + u32::try_from(self.id.len()).unwrap_or(0),
            comm: name(self.id).chars().take(15).collect(),
        };
        Component {
            id: self.id.to_owned(),
            name: name(self.id),
            kind: if self.id.starts_with("unit:") {
                ComponentKind::Unit
            } else {
                ComponentKind::Program
            },
            processes: (0..self.processes).map(process).collect(),
            threads: Some(u64::from(self.processes) * 4),
            cpu: Cpu {
                on_cpu_ns,
                voluntary_switches: served * 2 + window % 3,
                throttled_ns: Some(0),
                run_queue_by: Some(Vec::new()),
                ..Cpu::default()
            },
            counters: (instructions > 0).then(|| Counters {
                cycles,
                instructions,
                llc_references: Some(instructions / 90),
                llc_misses: Some(instructions / 400),
                cpi: Some(cycles as f64 / instructions as f64),
                running_ratio: Some(1.0),
            }),
            requests: Requests {
                served,
                service_ns,
                queued_ns: dist(served, 20_000),
                ..Requests::default()
            },
            ..Component::default()
        }
    }
}

fn remote(end: &str) -> Component {
    Component {
        id: format!("remote:{end}"),
        name: end.to_owned(),
        kind: ComponentKind::Remote,
        ..Component::default()
    }
}

/// An edge as one of its hosts sees it.
fn edge(from: &str, to: &str, port: u16, traffic: Traffic, asked: bool, served: bool) -> Edge {
    let n = traffic.roundtrips;
    let latency = |traffic: Traffic| dist(n, traffic.service_mean_ns + traffic.network_ns);
    Edge {
        from: from.to_owned(),
        to: to.to_owned(),
        transport: if port == 0 {
            Transport::Unix
        } else {
            Transport::Tcp
        },
        port,
        roundtrips: n,
        latency_ns: if asked {
            latency(traffic)
        } else {
            Dist::default()
        },
        service_ns: served.then(|| dist(n, traffic.service_mean_ns)),
        messages_sent: n,
        messages_received: n,
        bytes_sent: n * 212,
        bytes_received: n * 4096,
        min_rtt_ns: (port != 0).then_some(traffic.network_ns / 2),
        acceptor_only: !asked,
        ..Edge::default()
    }
}

/// The window of this number, from 0, of this host. `links` are those that it is an end of.
pub(super) fn window(
    world: &World,
    number: usize,
    host: &Host,
    links: &[usize],
    window: u64,
) -> Snapshot {
    let mut edges = Vec::new();
    let mut served = Vec::new();
    let mut remotes = Vec::new();
    let own = own(host.role);
    for at in links {
        let Some(link) = world.links.get(*at) else {
            continue;
        };
        let traffic = world.traffic(*at, window);
        if link.from == number {
            let end = format!("{}:{}", link.called, link.port);
            edges.push(edge(
                own,
                &format!("remote:{end}"),
                link.port,
                traffic,
                true,
                false,
            ));
            remotes.push(remote(&end));
        } else {
            edges.push(edge(
                &format!("remote:{}", link.seen),
                own,
                link.port,
                traffic,
                false,
                true,
            ));
            remotes.push(remote(&link.seen));
            served.push(traffic);
        }
    }
    let mut components = Vec::new();
    if host.role == Role::Gate {
        let outside = world.outside(number, window);
        edges.push(edge(
            &format!("remote:{CLIENT}"),
            GATE,
            GATE_PORT,
            outside,
            false,
            true,
        ));
        remotes.push(remote(CLIENT));
        served.push(outside);
        let cache = world.cache(number, window);
        edges.push(edge(GATE, CACHE, 0, cache, true, true));
        let did = at_work(world, host, number, window, CACHE, 1, vec![cache]);
        components.push(did.component(window));
    }
    let processes = if host.role == Role::Search { 2 } else { 1 };
    let did = at_work(world, host, number, window, own, processes, served);
    components.push(did.component(window));
    components.extend(
        neighbours(world, host, number, window)
            .iter()
            .map(|did| did.component(window)),
    );
    components.extend(remotes);
    components.sort_by(|a, b| a.id.cmp(&b.id));
    components.dedup_by(|a, b| a.id == b.id);
    Snapshot {
        schema: snapshot::SCHEMA.to_owned(),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        host: snapshot::Host {
            hostname: host.name.clone(),
            kernel: "6.12.0".to_owned(),
            arch: host.arch.to_owned(),
            cpus: host.cpus,
            boot_id: format!("made-up-{number}"),
            steal_ns: Some(0),
            steal_unknown: None,
        },
        window: Window {
            start_unix_ns: world.start_unix_ns + window * world.interval_ns + host.ahead_ns,
            duration_ns: world.interval_ns,
        },
        quality: Quality {
            probes: vec![Probe {
                name: "sched__switch".to_owned(),
                hook: "tp_btf:sched_switch".to_owned(),
                state: ProbeState::Attached,
                reason: String::new(),
            }],
            pmu: Pmu {
                state: PmuState::Ok,
                reason: String::new(),
                running_ratio: Some(1.0),
            },
            ..Quality::default()
        },
        components,
        edges,
        findings: findings(world, number, links, window),
        ..Snapshot::default()
    }
}

/// The service that a host is there for.
pub(super) fn own(role: Role) -> &'static str {
    match role {
        Role::Gate => GATE,
        Role::Search => SEARCH,
        Role::Store { .. } => STORE,
    }
}

fn at_work(
    world: &World,
    host: &Host,
    number: usize,
    window: u64,
    id: &'static str,
    processes: u32,
    served: Vec<Traffic>,
) -> Did {
    let requests: u64 = served.iter().map(|traffic| traffic.roundtrips).sum();
    let slowed = world.slowed(number, window);
    let next = host.role == Role::Store { next: true };
    let mut rng = world.chance(5, number, window);
    let mut jitter = || 0.98 + 0.04 * rng.f64();
    Did {
        id,
        processes,
        cpu_ns: requests as f64 * cpu_ns(id, next) * slowed * jitter(),
        cpi: cpi(id, host.arch) * slowed * jitter(),
        served,
    }
}

/// Who serves nobody.
fn neighbours(world: &World, host: &Host, number: usize, window: u64) -> Vec<Did> {
    let mut rng = world.chance(6, number, window);
    let mut did = |id, cpus: f64| Did {
        id,
        processes: 1,
        served: Vec::new(),
        cpu_ns: cpus * world.interval_ns as f64 * (0.95 + 0.1 * rng.f64()),
        cpi: 1.0,
    };
    let mut all = vec![did(LOGGER, 0.3)];
    if host.role == Role::Search {
        let copies = world.chance(7, number, window).u8(0..10) == 0;
        all.push(did(BACKUP, if copies { 2.0 } else { 0.02 }));
    }
    if host.antagonised {
        all.push(did(
            BATCH,
            if world.burst(number, window) {
                12.0
            } else {
                0.1
            },
        ));
    }
    all
}

fn findings(world: &World, number: usize, links: &[usize], window: u64) -> Vec<Finding> {
    let finding = |rule: &str, component: &str, edge, says: &str| Finding {
        rule: rule.to_owned(),
        severity: Severity::Warn,
        component: component.to_owned(),
        edge,
        says: says.to_owned(),
        evidence: Vec::new(),
        confidence: 0.6,
        remedy: "this host is made up".to_owned(),
        at_stake_ns: None,
    };
    let mut found = Vec::new();
    if world.burst(number, window) {
        found.push(finding(
            "antagonist",
            SEARCH,
            None,
            "planted: batch slows search",
        ));
    }
    let slow = world.links.get(world.slow);
    if let Some(slow) = slow.filter(|slow| slow.from == number && links.contains(&world.slow)) {
        let edge = Between {
            from: SEARCH.to_owned(),
            to: format!("remote:{}:{}", slow.called, slow.port),
        };
        found.push(finding(
            "slow_peer",
            SEARCH,
            Some(edge),
            "planted: a slow edge",
        ));
    }
    found
}
