//! Components: which images and remote ends make one, what it is called, and the sums over it.
//!
//! In: a Frame's images, remotes and records. Out: [`Directory`] (who is who) and [`Sums`] by component.
//! Must not know: edges, entries.

use std::collections::{BTreeMap, HashMap};

use super::snapshot::{
    Component, ComponentKind, Counters, Cpu, Disk, Recipient, Requests, Turnaround,
    TurnaroundCounters,
};
use super::view::GroupBy;
use crate::frame::{
    self, DistRaw, Flow, Frame, Image, PartsRaw, Process, add_turnaround_counters, merge_dist, plus,
};

/// Who one component is.
#[derive(Debug, Default)]
pub(super) struct Identity {
    pub id: String,
    pub name: String,
    pub kind: ComponentKind,
    pub processes: Vec<Process>,
    /// Its address is one of this very host, though the kernel did not say who sits there.
    pub loopback: bool,
    pub selected: bool,
}

/// Which component each image and remote end of a window belongs to: their numbers, the component's id and its name.
#[must_use]
pub fn who_is_who(frame: &Frame, group_by: GroupBy) -> Vec<(u32, String, String)> {
    let directory = Directory::new(frame, group_by, |_| false);
    let named = |(&number, &place): (&u32, &usize)| {
        let identity = &directory.identities[place];
        (number, identity.id.clone(), identity.name.clone())
    };
    directory.by_number.iter().map(named).collect()
}

/// Every component of a window, by index; indices follow the order of the ids.
pub(super) struct Directory {
    pub identities: Vec<Identity>,
    by_number: HashMap<u32, usize>,
    unknown: usize,
}

const UNKNOWN: &str = "unknown";

impl Directory {
    /// Groups what the frame names. `selected` says of one image whether the user asked for it.
    pub fn new(frame: &Frame, group_by: GroupBy, selected: impl Fn(&Image) -> bool) -> Self {
        let mut by_id: BTreeMap<String, (Identity, Vec<u32>)> = BTreeMap::new();
        let mut add = |identity: Identity, number: Option<u32>| {
            let (known, numbers) = by_id.entry(identity.id.clone()).or_insert_with(|| {
                (
                    Identity {
                        processes: Vec::new(),
                        ..Identity::default()
                    },
                    Vec::new(),
                )
            });
            let selected = known.selected || identity.selected;
            let mut processes = std::mem::take(&mut known.processes);
            processes.extend(identity.processes.iter().cloned());
            *known = Identity {
                processes,
                selected,
                ..identity
            };
            numbers.extend(number);
        };
        add(
            remote_identity(UNKNOWN.to_owned(), UNKNOWN.to_owned(), false),
            None,
        );
        for image in &frame.images {
            let (id, name, kind) = name_image(image, group_by);
            let processes = if image.kernel {
                Vec::new()
            } else {
                image.processes.clone()
            };
            let identity = Identity {
                id,
                name,
                kind,
                processes,
                loopback: false,
                selected: selected(image),
            };
            add(identity, Some(image.id));
        }
        for remote in &frame.remotes {
            let ip = remote.address.parse::<core::net::IpAddr>().ok();
            let name = match (remote.port, ip) {
                (0, _) => remote.address.clone(),
                (port, Some(core::net::IpAddr::V6(ip))) => format!("[{ip}]:{port}"),
                (port, _) => format!("{}:{port}", remote.address),
            };
            let loopback = ip.is_some_and(|ip| ip.to_canonical().is_loopback());
            add(
                remote_identity(format!("remote:{name}"), name, loopback),
                Some(remote.id),
            );
        }

        let mut directory = Self {
            identities: Vec::new(),
            by_number: HashMap::new(),
            unknown: 0,
        };
        for (index, (mut identity, numbers)) in by_id.into_values().enumerate() {
            if identity.id == UNKNOWN {
                directory.unknown = index;
            }
            identity.processes.sort_unstable();
            identity.processes.dedup();
            directory
                .by_number
                .extend(numbers.into_iter().map(|number| (number, index)));
            directory.identities.push(identity);
        }
        directory
    }

    /// The component of an image or remote number; 0 and numbers the frame does not explain are one, `unknown`.
    pub fn of(&self, number: u32) -> usize {
        self.by_number.get(&number).copied().unwrap_or(self.unknown)
    }

    /// Whether nobody could say who this is, though it may well be on this host.
    pub fn unresolved(&self, component: usize) -> bool {
        component == self.unknown || self.identities[component].loopback
    }

    /// Whether this end is not on this host, or not known.
    pub fn remote(&self, component: usize) -> bool {
        self.identities[component].kind == ComponentKind::Remote
    }
}

fn remote_identity(id: String, name: String, loopback: bool) -> Identity {
    Identity {
        id,
        name,
        kind: ComponentKind::Remote,
        loopback,
        ..Identity::default()
    }
}

/// Id, name and kind of the component an image belongs to.
fn name_image(image: &Image, group_by: GroupBy) -> (String, String, ComponentKind) {
    use ComponentKind::{Container, Program, Unit};

    if image.kernel {
        return ("kernel".to_owned(), "kernel".to_owned(), Program);
    }
    let program = if image.program.is_empty() {
        "unnamed"
    } else {
        &image.program
    };
    let first = image.processes.iter().min();
    let by_program = || (format!("program:{program}"), program.to_owned(), Program);
    let unit = image.unit.as_ref().map(|unit| {
        let name = unit.strip_suffix(".service").unwrap_or(unit);
        (format!("unit:{unit}"), name.to_owned(), Unit)
    });
    let container = image
        .container
        .as_ref()
        .map(|id| (format!("container:{id}"), id.clone(), Container));
    match group_by {
        GroupBy::Auto => container.or(unit).unwrap_or_else(by_program),
        GroupBy::Unit => unit.unwrap_or_else(by_program),
        GroupBy::Container => container.unwrap_or_else(by_program),
        GroupBy::Comm => {
            let comm = first.map_or(program, |process| &process.comm);
            (format!("comm:{comm}"), comm.to_owned(), Program)
        }
        GroupBy::Process => {
            let name = match first {
                Some(process) => format!("{program}/{}", process.tgid),
                None => format!("{program}#{}", image.id),
            };
            (format!("process:{name}"), name, Program)
        }
        // Gone, and its control group with it, before anybody could ask.
        GroupBy::Cgroup if image.cgroup.is_empty() => by_program(),
        GroupBy::Cgroup => {
            let kind = container.or(unit).map_or(Program, |(_, _, kind)| kind);
            (
                format!("cgroup:{}", image.cgroup),
                image.cgroup.clone(),
                kind,
            )
        }
    }
}

/// A sum of turnarounds.
#[derive(Clone, Debug, Default)]
pub(super) struct TurnaroundSum {
    pub count: u64,
    pub parts: PartsRaw,
    pub each: DistRaw,
    counters: Option<frame::TurnaroundCounters>,
}

impl TurnaroundSum {
    fn add(&mut self, flow: &Flow) {
        let (sum, parts) = (&mut self.parts, &flow.turnaround_parts);
        plus(&mut self.count, flow.turnarounds);
        plus(&mut sum.on_cpu_ns, parts.on_cpu_ns);
        plus(&mut sum.run_queue_ns, parts.run_queue_ns);
        plus(&mut sum.block_io_ns, parts.block_io_ns);
        plus(&mut sum.sleep_ns, parts.sleep_ns);
        plus(&mut sum.queued_ns, parts.queued_ns);
        add_turnaround_counters(&mut self.counters, flow.turnaround_counters);
        merge_dist(&mut self.each, &flow.turnaround);
    }

    fn describe_counters(&self) -> Option<TurnaroundCounters> {
        self.counters.map(|sum| TurnaroundCounters {
            cycles: sum.cycles,
            instructions: sum.instructions,
            cpi: share(sum.cycles, sum.instructions),
        })
    }

    /// The whole, which by definition is the sum of the parts.
    pub fn total_ns(&self) -> u64 {
        let PartsRaw {
            on_cpu_ns,
            run_queue_ns,
            block_io_ns,
            sleep_ns,
            queued_ns,
        } = self.parts;
        [on_cpu_ns, run_queue_ns, block_io_ns, sleep_ns, queued_ns]
            .into_iter()
            .fold(0, u64::saturating_add)
    }
}

/// Everything counted for one component.
#[derive(Debug, Default)]
pub(super) struct Sums {
    /// Something happened to it in the window.
    pub active: bool,
    cpu: Cpu,
    counters: Option<frame::Counters>,
    disk: frame::Disk,
    served: u64,
    service: DistRaw,
    queued: DistRaw,
    pub turnaround: TurnaroundSum,
    unprompted_count: u64,
    unprompted_ns: u64,
    by_recipient: BTreeMap<usize, TurnaroundSum>,
}

impl Sums {
    /// Sums over the frame, by component index. `peers` holds the other end's component for each flow.
    pub fn of(frame: &Frame, directory: &Directory, peers: &[usize]) -> Vec<Self> {
        let mut sums: Vec<Self> = directory
            .identities
            .iter()
            .map(|_| Self::default())
            .collect();
        for (flow, &peer) in frame.flows.iter().zip(peers) {
            sums[directory.of(flow.image)].add_flow(flow, peer);
        }
        for cpu in &frame.cpu {
            sums[directory.of(cpu.image)].add_cpu(cpu);
        }
        for disk in &frame.disk {
            sums[directory.of(disk.image)].add_disk(disk);
        }
        sums
    }

    fn add_flow(&mut self, flow: &Flow, peer: usize) {
        self.active = true;
        if flow.role == frame::Role::Acceptor {
            plus(&mut self.served, flow.answered);
            merge_dist(&mut self.service, &flow.answer);
            merge_dist(&mut self.queued, &flow.queued);
        }
        self.turnaround.add(flow);
        if flow.turnarounds > 0 {
            self.by_recipient.entry(peer).or_default().add(flow);
        }
        plus(&mut self.unprompted_count, flow.unprompted);
        plus(&mut self.unprompted_ns, flow.unprompted_ns);
    }

    fn add_cpu(&mut self, from: &frame::Cpu) {
        self.active |= from.on_cpu_ns | from.run_queue_ns | from.block_io_ns > 0
            || from.voluntary_switches | from.involuntary_switches > 0;
        let cpu = &mut self.cpu;
        plus(&mut cpu.on_cpu_ns, from.on_cpu_ns);
        plus(&mut cpu.run_queue_ns, from.run_queue_ns);
        plus(&mut cpu.block_io_ns, from.block_io_ns);
        plus(&mut cpu.voluntary_switches, from.voluntary_switches);
        plus(&mut cpu.involuntary_switches, from.involuntary_switches);
        if let Some(from) = &from.counters {
            let sum = self.counters.get_or_insert_default();
            plus(&mut sum.cycles, from.cycles);
            plus(&mut sum.instructions, from.instructions);
            plus(&mut sum.enabled_ns, from.enabled_ns);
            plus(&mut sum.running_ns, from.running_ns);
            for (sum, from) in [
                (&mut sum.llc_references, from.llc_references),
                (&mut sum.llc_misses, from.llc_misses),
            ] {
                *sum = from.map_or(*sum, |n| Some(sum.unwrap_or(0).saturating_add(n)));
            }
        }
    }

    fn add_disk(&mut self, from: &frame::Disk) {
        self.active |= from.reads | from.writes > 0;
        let disk = &mut self.disk;
        plus(&mut disk.reads, from.reads);
        plus(&mut disk.writes, from.writes);
        plus(&mut disk.read_bytes, from.read_bytes);
        plus(&mut disk.write_bytes, from.write_bytes);
        merge_dist(&mut disk.latency, &from.latency);
    }

    /// The component as shown.
    pub fn describe(&self, identity: &Identity, directory: &Directory) -> Component {
        let PartsRaw {
            on_cpu_ns,
            run_queue_ns,
            block_io_ns,
            sleep_ns,
            queued_ns,
        } = self.turnaround.parts;
        Component {
            id: identity.id.clone(),
            name: identity.name.clone(),
            kind: identity.kind,
            processes: identity.processes.clone(),
            cpu: self.cpu,
            counters: self.counters.as_ref().map(describe_counters),
            disk: Disk {
                reads: self.disk.reads,
                writes: self.disk.writes,
                read_bytes: self.disk.read_bytes,
                write_bytes: self.disk.write_bytes,
                latency_ns: (&self.disk.latency).into(),
            },
            requests: Requests {
                served: self.served,
                service_ns: (&self.service).into(),
                queued_ns: (&self.queued).into(),
            },
            turnaround: Turnaround {
                count: self.turnaround.count,
                total_ns: self.turnaround.total_ns(),
                on_cpu_ns,
                run_queue_ns,
                block_io_ns,
                sleep_ns,
                queued_ns,
                unprompted_count: self.unprompted_count,
                unprompted_ns: self.unprompted_ns,
                each_ns: (&self.turnaround.each).into(),
                counters: self.turnaround.describe_counters(),
                by_recipient: self
                    .by_recipient
                    .iter()
                    .map(|(&to, sum)| recipient(&directory.identities[to].id, sum))
                    .collect(),
            },
        }
    }
}

fn recipient(to: &str, sum: &TurnaroundSum) -> Recipient {
    let PartsRaw {
        on_cpu_ns,
        run_queue_ns,
        block_io_ns,
        sleep_ns,
        queued_ns,
    } = sum.parts;
    Recipient {
        to: to.to_owned(),
        count: sum.count,
        total_ns: sum.total_ns(),
        on_cpu_ns,
        run_queue_ns,
        block_io_ns,
        sleep_ns,
        queued_ns,
        each_ns: (&sum.each).into(),
        counters: sum.describe_counters(),
    }
}

fn describe_counters(sum: &frame::Counters) -> Counters {
    Counters {
        cycles: sum.cycles,
        instructions: sum.instructions,
        llc_references: sum.llc_references,
        llc_misses: sum.llc_misses,
        cpi: share(sum.cycles, sum.instructions),
        running_ratio: share(sum.running_ns, sum.enabled_ns).map(|r| r.min(1.0)),
    }
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}
