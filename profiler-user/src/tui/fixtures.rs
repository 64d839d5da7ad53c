//! Snapshots with plausible and consistent numbers, for tests: load → web → app → store.
//!
//! In: the number of a window. Out: what a host might show in it. The sums of design hold: parts add up to
//! turnarounds, courts and network to the request's time.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    frame::{PmuState, ProbeState, Process, Transport},
    model::{
        Snapshot,
        fixture::raw,
        snapshot::{
            Component, ComponentKind, Cost, Counters, Court, Cpu, Disk, Dist, Edge, Entry, Host,
            Pmu, Probe, ProgramCost, Quality, Recipient, Requests, Turnaround, Window,
        },
    },
};

/// A long-tailed distribution: the median a tenth below the mean, one in a hundred at three times the mean.
fn dist(count: u64, mean_ns: u64) -> Dist {
    let value = |i: u64| {
        let rank = (i as f64 + 0.5) / count as f64;
        (mean_ns as f64 / 0.8935 * (-(1.0 - rank).ln()).powf(0.6)) as u64
    };
    Dist::from(&raw((0..count).map(value)))
}

/// Splits a sum by per mille; the last part gets what is left.
fn split(total: u64, per_mille: [u64; 5]) -> [u64; 5] {
    let mut parts = per_mille.map(|share| total * share / 1000);
    parts[4] = total - parts[..4].iter().sum::<u64>();
    parts
}

/// One component's way of working: per mille of on-CPU, run queue, disk, sleep, queued.
fn turnaround(recipients: &[(&str, u64, u64)], per_mille: [u64; 5]) -> Turnaround {
    let mut all = Turnaround::default();
    let mut values = Vec::new();
    for &(to, count, mean_ns) in recipients {
        let each_ns = dist(count, mean_ns);
        values.extend(each_ns.buckets.clone());
        let [on_cpu_ns, run_queue_ns, block_io_ns, sleep_ns, queued_ns] =
            split(each_ns.sum_ns, per_mille);
        all.count += count;
        all.total_ns += each_ns.sum_ns;
        all.on_cpu_ns += on_cpu_ns;
        all.run_queue_ns += run_queue_ns;
        all.block_io_ns += block_io_ns;
        all.sleep_ns += sleep_ns;
        all.queued_ns += queued_ns;
        all.by_recipient.push(Recipient {
            to: to.to_owned(),
            count,
            total_ns: each_ns.sum_ns,
            on_cpu_ns,
            run_queue_ns,
            block_io_ns,
            sleep_ns,
            queued_ns,
            each_ns,
            counters: None,
        });
    }
    let flat = values
        .iter()
        .flat_map(|&(value, n)| std::iter::repeat_n(value, n as usize));
    all.each_ns = Dist {
        sum_ns: all.total_ns,
        ..Dist::from(&raw(flat))
    };
    all
}

fn component(name: &str, tgid: u32, kind: ComponentKind) -> Component {
    let prefix = match kind {
        ComponentKind::Unit => "unit",
        ComponentKind::Container => "container",
        ComponentKind::Program => "program",
        ComponentKind::Remote => "remote",
    };
    Component {
        id: format!("{prefix}:{name}"),
        name: name.to_owned(),
        kind,
        processes: vec![Process {
            tgid,
            comm: name.chars().take(15).collect(),
        }],
        ..Component::default()
    }
}

fn edge(
    from: &str,
    to: &str,
    port: u16,
    requests: (u64, u64),
    latency_ns: u64,
    service: &Dist,
) -> Edge {
    let (roundtrips, entry_requests) = requests;
    Edge {
        from: from.to_owned(),
        to: to.to_owned(),
        transport: if port == 0 {
            Transport::Unix
        } else {
            Transport::Tcp
        },
        port,
        roundtrips,
        roundtrips_per_request: Some(roundtrips as f64 / entry_requests as f64),
        latency_ns: dist(roundtrips, latency_ns),
        service_ns: Some(service.clone()),
        messages_sent: roundtrips,
        messages_received: roundtrips,
        bytes_sent: roundtrips * 212,
        bytes_received: roundtrips * 4096,
        min_rtt_ns: (port != 0).then_some(24_000),
        ..Edge::default()
    }
}

fn probes() -> Vec<Probe> {
    let hooks = [
        ("sched__switch", "tp_btf:sched_switch"),
        ("sched__wakeup", "tp_btf:sched_wakeup"),
        ("task__exec", "tp_btf:sched_process_exec"),
        ("task__exit", "tp_btf:sched_process_exit"),
        ("sock__send", "tp_btf:sock_send_length"),
        ("sock__recv", "tp_btf:sock_recv_length"),
        ("sock__ready", "tp_btf:sk_data_ready"),
        ("tcp__retransmit", "tp_btf:tcp_retransmit_skb"),
        ("block__issue", "tp_btf:block_rq_issue"),
        ("block__complete", "tp_btf:block_rq_complete"),
    ];
    let probe = |(name, hook): (&str, &str)| Probe {
        name: name.to_owned(),
        hook: hook.to_owned(),
        state: ProbeState::Attached,
        reason: String::new(),
    };
    hooks.map(probe).into()
}

/// Window `n` of a healthy host; the load swings a little from window to window.
pub(crate) fn normal(n: u64) -> Snapshot {
    let swing = ((n as f64 / 7.0).sin() * 90.0) as i64;
    let requests = (1204 + swing) as u64;
    let load = Component {
        turnaround: Turnaround {
            unprompted_count: requests,
            unprompted_ns: 800_000_000,
            ..Turnaround::default()
        },
        ..component("load", 4100, ComponentKind::Program)
    };
    let mut web = component("web", 4201, ComponentKind::Unit);
    let mut app = component("app", 4202, ComponentKind::Program);
    let mut store = component("store", 4203, ComponentKind::Container);
    let (calls, reads) = (requests * 2, requests * 6 + requests / 4);
    let busy = 180_000 + (n % 5) * 1_000;
    web.turnaround = turnaround(
        &[(&app.id, calls, 130_000), (&load.id, requests, 150_000)],
        [640, 210, 0, 90, 60],
    );
    app.turnaround = turnaround(
        &[(&store.id, reads, 230_000), (&web.id, calls, 300_000)],
        [380, 330, 0, 240, 50],
    );
    store.turnaround = turnaround(&[(&app.id, reads, busy / 2)], [170, 60, 690, 30, 50]);
    store.requests = Requests {
        served: reads,
        service_ns: dist(reads, busy / 2),
        queued_ns: dist(reads, 4_000),
    };
    app.requests = Requests {
        served: calls,
        service_ns: dist(calls, 1_310_000),
        queued_ns: dist(calls, 40_000),
    };
    web.requests = Requests {
        served: requests,
        service_ns: dist(requests, 3_216_500),
        queued_ns: dist(requests, 20_000),
    };
    for (component, on_cpu, run_queue, cpi) in [
        (&mut web, 271, 104, 0.94),
        (&mut app, 683, 612, 1.31),
        (&mut store, 120, 38, 2.08),
    ] {
        component.cpu = Cpu {
            on_cpu_ns: on_cpu * 1_000_000,
            run_queue_ns: run_queue * 1_000_000,
            block_io_ns: 0,
            voluntary_switches: component.requests.served * 2,
            involuntary_switches: run_queue / 3,
        };
        let cycles = on_cpu * 3_100_000;
        let instructions = (cycles as f64 / cpi) as u64;
        component.counters = Some(Counters {
            cycles,
            instructions,
            llc_references: Some(instructions / 90),
            llc_misses: Some(instructions / 400),
            cpi: Some(cpi),
            running_ratio: Some(1.0),
        });
    }
    store.cpu.block_io_ns = store.turnaround.block_io_ns;
    store.disk = Disk {
        reads: reads / 3,
        writes: 31,
        read_bytes: reads / 3 * 4096,
        write_bytes: 31 * 16_384,
        latency_ns: dist(reads / 3, 190_000),
    };

    let edges = vec![
        edge(
            &load.id,
            &web.id,
            80,
            (requests, requests),
            3_260_000,
            &web.requests.service_ns,
        ),
        edge(
            &web.id,
            &app.id,
            8080,
            (calls, requests),
            1_390_000,
            &app.requests.service_ns,
        ),
        edge(
            &app.id,
            &store.id,
            0,
            (reads, requests),
            105_000,
            &store.requests.service_ns,
        ),
    ];
    let served = requests as f64;
    let court = |c: &Component| Court {
        component: c.id.clone(),
        turnaround_ns: c.turnaround.total_ns as f64 / served,
        on_cpu_ns: c.turnaround.on_cpu_ns as f64 / served,
        run_queue_ns: c.turnaround.run_queue_ns as f64 / served,
        block_io_ns: c.turnaround.block_io_ns as f64 / served,
        sleep_ns: c.turnaround.sleep_ns as f64 / served,
        queued_ns: c.turnaround.queued_ns as f64 / served,
    };
    let courts = vec![court(&web), court(&app), court(&store)];
    let network_ns = 204_000.0;
    let mean_ns = web.requests.service_ns.sum_ns as f64 / served;
    let in_courts: f64 = courts.iter().map(|c| c.turnaround_ns).sum();
    let entry = Entry {
        component: web.id.clone(),
        port: 80,
        requests,
        mean_ns,
        courts,
        network_ns,
        other_ns: mean_ns - in_courts - network_ns,
    };
    let lost = courtside_wire::LOST_NAMES.map(|class| (class.to_owned(), 0));
    Snapshot {
        schema: crate::model::snapshot::SCHEMA.to_owned(),
        tool_version: "0.1.0".to_owned(),
        host: Host {
            hostname: "web01".to_owned(),
            kernel: "6.18.2-cloud-amd64".to_owned(),
            arch: "x86_64".to_owned(),
            cpus: 2,
            boot_id: "7f0c".to_owned(),
        },
        window: Window {
            start_unix_ns: (1_764_000_000 + n) * 1_000_000_000,
            duration_ns: 1_000_000_000,
        },
        quality: Quality {
            lost: BTreeMap::from(lost),
            midlife_connections: 2,
            lower_bound: false,
            probes: probes(),
            pmu: Pmu {
                state: PmuState::Ok,
                reason: String::new(),
                running_ratio: Some(1.0),
            },
        },
        cost: Cost {
            programs: probes()
                .into_iter()
                .enumerate()
                .map(|(i, probe)| ProgramCost {
                    name: probe.name,
                    runs: Some(40_000 / (i as u64 + 1)),
                    run_time_ns: Some(40_000 / (i as u64 + 1) * (60 + 9 * i as u64)),
                })
                .collect(),
            user_cpu_ns: 3_800_000,
            rss_bytes: 18_200_000,
            map_bytes: 6_100_000,
        },
        components: vec![app, store, load, web],
        edges,
        entries: vec![entry],
    }
}

/// A host on which nothing happens.
pub(crate) fn empty() -> Snapshot {
    Snapshot {
        components: Vec::new(),
        edges: Vec::new(),
        entries: Vec::new(),
        ..normal(0)
    }
}

/// A machine without hardware counters, and a tool that does not measure its programs.
pub(crate) fn unknown_pmu(n: u64) -> Snapshot {
    let mut snapshot = normal(n);
    for component in &mut snapshot.components {
        component.counters = None;
    }
    for program in &mut snapshot.cost.programs {
        program.runs = None;
        program.run_time_ns = None;
    }
    snapshot.quality.pmu = Pmu {
        state: PmuState::None,
        reason: "the machine offers no hardware counters (cycles: not supported)".to_owned(),
        running_ratio: None,
    };
    snapshot
}

/// A host on which much goes wrong with the measurement.
pub(crate) fn lossy(n: u64) -> Snapshot {
    let mut snapshot = normal(n);
    let quality = &mut snapshot.quality;
    quality.lost.insert("flows".to_owned(), 1284);
    quality.lost.insert("history".to_owned(), 31);
    quality.midlife_connections = 1720;
    quality.lower_bound = true;
    quality.pmu.state = PmuState::Multiplexed;
    quality.pmu.running_ratio = Some(0.63);
    quality.probes[6].state = ProbeState::Failed;
    "the kernel has no such tracepoint (before 6.3) and refuses fentry; arrivals are taken from the receive call's \
     return, so latencies include the reader's delay"
        .clone_into(&mut quality.probes[6].reason);
    quality.probes[8].state = ProbeState::Degraded;
    "rq.cmd_flags is missing in the kernel's BTF; writes and discards are told together"
        .clone_into(&mut quality.probes[8].reason);
    for edge in &mut snapshot.edges {
        edge.lower_bound = true;
        edge.retransmits = if edge.port == 0 { 0 } else { 17 };
    }
    if let Some(entry) = snapshot.entries.first_mut() {
        entry.other_ns = -310_000.0;
    }
    snapshot
}

/// Hundreds of components with long names, and an edge to each: a busy Kubernetes node.
pub(crate) fn overflowing(n: u64) -> Snapshot {
    let mut snapshot = normal(n);
    let service = dist(40, 900_000);
    for i in 0..300_u32 {
        let name = match i % 3 {
            0 => format!("checkout-service-production-{i:03}-7f9c8d6b54-x2kqz"),
            1 => format!("名前のとても長いサービス-{i:03}"),
            _ => format!("[2001:db8:85a3::8a2e:370:{i:x}]:50051"),
        };
        let kind = if i % 3 == 2 {
            ComponentKind::Remote
        } else {
            ComponentKind::Container
        };
        let mut pod = component(&name, 10_000 + i, kind);
        let served = u64::from(i % 40);
        if kind == ComponentKind::Container {
            pod.requests = Requests {
                served,
                service_ns: dist(served, 40_000_000 + u64::from(i) * 100_000),
                queued_ns: dist(served, 90_000),
            };
            let mix = u64::from(i % 5);
            pod.turnaround = turnaround(
                &[("unit:web", served, 39_000_000)],
                [500 - 100 * mix, 100 * mix, 100, 200, 200],
            );
            pod.cpu.on_cpu_ns = served * 1_900_000;
        }
        let requests = (served, 1204);
        let mut edge = edge("unit:web", &pod.id, 50_051, requests, 41_000_000, &service);
        edge.lower_bound = i % 7 == 0;
        snapshot.edges.push(edge);
        snapshot.components.push(pod);
    }
    snapshot.host.hostname = "ip-10-113-24-201.eu-central-1.compute.internal".to_owned();
    snapshot
}

/// A shop of many services, some shared, some called in several ways.
pub(crate) fn shop() -> Snapshot {
    let mut snapshot = normal(0);
    let names = ["auth", "cart", "catalog", "checkout", "postgres", "redis"];
    let services = names.map(|name| component(name, 5000, ComponentKind::Container));
    let payments = component("203.0.113.7:443", 0, ComponentKind::Remote);
    snapshot.components.extend(services);
    snapshot.components.push(payments);
    let service = dist(10, 400_000);
    let web = "unit:web";
    for (from, to, port, roundtrips) in [
        (web, "container:auth", 7000, 1204),
        (web, "container:cart", 7001, 301),
        (web, "container:catalog", 7002, 2408),
        (web, "container:checkout", 7003, 60),
        ("container:cart", "container:redis", 6379, 903),
        ("container:auth", "container:redis", 6379, 1204),
        ("container:catalog", "container:postgres", 5432, 4816),
        ("container:checkout", "container:postgres", 5432, 240),
        ("container:checkout", "container:auth", 7000, 60),
        ("container:checkout", "remote:203.0.113.7:443", 443, 60),
        (web, "container:redis", 6379, 12),
    ] {
        let edge = edge(from, to, port, (roundtrips, 1204), 450_000, &service);
        snapshot.edges.push(edge);
    }
    snapshot
}

/// What a state has seen after some windows.
pub(crate) fn windows(
    snapshot: fn(u64) -> Snapshot,
    count: u64,
) -> impl Iterator<Item = Arc<Snapshot>> {
    (0..count).map(move |n| Arc::new(snapshot(n)))
}
