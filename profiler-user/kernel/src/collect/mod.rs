//! Draining the kernel: totals in maps → one [`Frame`] a window.
//!
//! In: attached programs. Out: Frames. Must not know: components, entries, how anything is shown.

mod blame;
mod cost;
mod decode;
mod events;
mod forked;
mod locks;
mod names;
mod protocols;
mod prune;
mod selfcheck;
mod start;
mod window;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, hash_map::Entry},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::Path,
    time::Instant,
};

use courtside_wire::{
    BlameKey, CpuStats, DiskStats, FlowKey, FlowStats, IMAGE_FIRST, IMAGE_FORKED, IMAGE_IDLE,
    LOST_CLASSES, LOST_NAMES, Lost, PEER_OTHERS, PEER_REMOTE, ProtocolKey, Settings,
    events::EVENT_KINDS,
};

pub use events::Sink;
pub use start::AttachError;

pub use crate::probe::Wishes;
use crate::{
    probe::{
        load::{LoadError, Loaded, PmuUse},
        pmu,
    },
    sys::{self, wall::Wall},
};
use courtside_core::{
    event::KINDS,
    frame::{Cost, Frame, Host, Pmu, PmuState, ProbeStatus, ProgramCost, Remote},
};

/// Why a window could not be read.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// A map could not be read.
    #[error(transparent)]
    Map(#[from] decode::DecodeError),
    /// CPU clocks could not be flushed.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The code that takes single events failed.
    #[error(transparent)]
    Events(#[from] std::io::Error),
}

/// Totals at the end of the last window.
#[derive(Debug, Default)]
struct Totals {
    flows: HashMap<FlowKey, Box<FlowStats>>,
    cpu: HashMap<u32, CpuStats>,
    blamed: HashMap<BlameKey, u64>,
    locks: locks::Totals,
    behind: HashMap<BlameKey, u64>,
    disks: HashMap<u32, Box<DiskStats>>,
    lost: [u64; LOST_CLASSES],
    protocols: HashMap<ProtocolKey, u64>,
    events: [u64; EVENT_KINDS],
    folded_remotes: u64,
    programs: HashMap<String, cost::Runs>,
    user_cpu_ns: u64,
}

/// Numbers of images and remote ends that have not been given yet: none is given twice.
#[derive(Debug)]
struct Numbers {
    image: u32,
    remote: u32,
}

impl Default for Numbers {
    fn default() -> Self {
        Self {
            image: IMAGE_FIRST,
            remote: PEER_OTHERS + 1,
        }
    }
}

impl Numbers {
    /// Lets the programs have as many as they may need until the next window ends.
    fn fill(&mut self, ebpf: &mut aya::Ebpf) -> Result<(), decode::DecodeError> {
        decode::fill_numbers(ebpf, "NEXT_IMAGES", &mut self.image, IMAGE_FORKED)?;
        decode::fill_numbers(ebpf, "NEXT_REMOTES", &mut self.remote, u32::MAX)
    }
}

/// Attached programs. Dropping it detaches everything.
pub struct Session {
    loaded: Loaded,
    settings: Settings,
    before: Totals,
    wall: Wall,
    /// When the window began, on `CLOCK_MONOTONIC`.
    started_ns: u64,
    host: Host,
    steal: sys::steal::StealClock,
    names: names::Names,
    pmu: Pmu,
    counters: Option<pmu::Counters>,
    pmu_use: PmuUse,
    /// Keeps the kernel's run-time accounting on; `None` where it was not asked for.
    run_time: Option<OwnedFd>,
    /// Images whose processes were all gone at the end of the last window.
    gone: BTreeSet<u32>,
    /// Slots of flows that were removed in the last window.
    freed: Vec<prune::Freed>,
    /// Numbers that have not been used yet.
    numbers: Numbers,
    forked: forked::Forked,
    /// Whether what threads sleep for is measured.
    tells_sleep: bool,
    /// Whether looks in vain are measured: of receives, and of polls and yields.
    tells_receives: bool,
    tells_polls: bool,
    /// Whether by which futexes they sleep is.
    tells_locks: bool,
    /// Whether behind whom disk requests wait is.
    tells_behind: bool,
    /// Whether what CPU quotas hold back is measured.
    tells_throttled: bool,
    /// What was held back of each image, and no window has told yet.
    throttled_left_ns: HashMap<u32, u64>,
    /// When each flow moved last.
    moved: HashMap<FlowKey, Instant>,
    map_bytes: u64,
    /// What the programs say, where anybody listens.
    log: Option<aya_log::EbpfLogger<&'static dyn log::Log>>,
    /// The thread that takes single events, where they are wanted.
    drain: Option<events::Drain>,
}

impl Session {
    /// How each program is attached.
    #[must_use]
    pub fn probes(&self) -> &[ProbeStatus] {
        &self.loaded.statuses
    }

    /// Instructions that the kernel went through to verify a program, where it says so.
    #[must_use]
    pub fn verified_instructions(&self, program: &str) -> Option<u32> {
        let program = self.loaded.ebpf.program(program)?;
        program.info().ok()?.verified_instruction_count()
    }

    /// Ends the window now, starts the next one, and returns what happened.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub fn window(&mut self) -> Result<Frame, CollectError> {
        if let Some(log) = &mut self.log {
            log.flush();
        }
        if let Some(drain) = &mut self.drain
            && drain.has_failed()
        {
            drain.finish()?;
        }
        self.loaded.iterate("iter_tasks")?;
        self.read()
    }

    /// Ends the window now, with the clocks of tasks as they were flushed last.
    fn read(&mut self) -> Result<Frame, CollectError> {
        let epoch = self.settings.epoch;
        let ended = Instant::now();
        let (ended_ns, ended_unix_ns) = self.wall.now_ns();
        let duration_ns = ended_ns.saturating_sub(self.started_ns);
        self.started_ns = ended_ns;
        let own = std::process::id();

        let ebpf = &self.loaded.ebpf;
        let mut info = HashMap::new();
        decode::images(ebpf, |id, image| {
            info.insert(id, image);
        })?;
        let mut processes: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
        let mut own_image = 0;
        decode::processes(ebpf, |tgid, image| {
            processes.entry(image).or_default().insert(tgid);
            if tgid == own {
                own_image = image;
            }
        })?;
        self.names.learn(&info, &processes, |tgid| {
            decode::image_of(&self.loaded.ebpf, tgid)
        });

        let mut frame = Frame {
            tells_unread_within: true,
            tells_throttled_parts: self.tells_throttled,
            steal: Some(self.steal.window(Path::new("/"))),
            host: self.host.clone(),
            start_unix_ns: ended_unix_ns.saturating_sub(duration_ns),
            duration_ns,
            probes: self.loaded.statuses.clone(),
            midlife_connections: decode::midlife(ebpf)?,
            ..Frame::default()
        };
        let mut totals = Totals::default();
        let pmu_use = self.pmu_use;
        let has_llc = self.counters.as_ref().map(|counters| counters.has_llc);
        let mut idle_flows = Vec::new();
        let mut moved = Vec::new();
        let mut busy = BTreeSet::new();
        // A record of a flow is large: each is written over the one before it, so that there are never two.
        let mut flows = std::mem::take(&mut self.before.flows);
        let decoded = decode::flows(ebpf, |key, now| {
            let before = flows.get(&key).map(Box::as_ref);
            match window::flow(key, &now, before, epoch) {
                Some(mut flow) => {
                    if pmu_use != PmuUse::SwitchesAndTurnarounds {
                        flow.turnaround_counters = None;
                    }
                    moved.push(key);
                    busy.insert(flow.image);
                    if flow.image != own_image {
                        frame.flows.push(flow);
                    }
                }
                None => idle_flows.push(key),
            }
            match flows.entry(key) {
                Entry::Occupied(mut slot) => **slot.get_mut() = now,
                Entry::Vacant(slot) => {
                    slot.insert(Box::new(now));
                }
            }
        });
        if let Err(error) = decoded {
            self.before.flows = flows;
            return Err(error.into());
        }
        let still: HashSet<FlowKey> = moved.iter().chain(&idle_flows).copied().collect();
        flows.retain(|key, _| still.contains(key));
        totals.flows = flows;
        let before = &self.before;
        self.late(&mut frame.flows, epoch)?;
        totals.folded_remotes = decode::folded_remotes(ebpf)?;
        frame.folded_remotes = totals.folded_remotes.saturating_sub(before.folded_remotes);
        // Before the clocks: nobody can have waited for less than what is told of it.
        decode::blamed(ebpf, |key, ns| {
            totals.blamed.insert(key, ns);
        })?;
        let (tells_throttled, tells_sleep) = (self.tells_throttled, self.tells_sleep);
        let (tells_receives, tells_polls) = (self.tells_receives, self.tells_polls);
        let mut blamed = blame::gained(&totals.blamed, &before.blamed);
        let tells_locks = self.tells_locks;
        let mut locks = BTreeMap::new();
        if tells_locks {
            decode::locks(ebpf, |key, stats| {
                totals.locks.locks.insert(key, stats);
            })?;
            decode::holders(ebpf, |key, stats| {
                totals.locks.holders.insert(key, stats);
            })?;
            locks = totals.locks.since(&before.locks);
        }
        decode::cpu(ebpf, |image, now| {
            let left_ns = self.throttled_left_ns.entry(image).or_default();
            let waits = window::Waits {
                by: blamed.remove(&image).unwrap_or_default(),
                tells_sleep,
                tells_receives,
                tells_polls,
                locks: tells_locks.then(|| locks.remove(&image).unwrap_or_default()),
                throttled_left_ns: tells_throttled.then_some(left_ns),
            };
            if let Some(cpu) = window::cpu(image, &now, before.cpu.get(&image), has_llc, waits) {
                busy.insert(image);
                if image != own_image {
                    frame.cpu.push(cpu);
                }
            }
            totals.cpu.insert(image, now);
        })?;
        decode::behind(ebpf, |key, ns| {
            totals.behind.insert(key, ns);
        })?;
        let mut behind = blame::gained(&totals.behind, &before.behind);
        let tells_behind = self.tells_behind;
        decode::disks(ebpf, |image, now| {
            let behind = tells_behind.then(|| behind.remove(&image).unwrap_or_default());
            if let Some(disk) = window::disk(
                image,
                &now,
                before.disks.get(&image).map(Box::as_ref),
                behind,
                epoch,
            ) {
                busy.insert(image);
                if image != own_image {
                    frame.disk.push(disk);
                }
            }
            totals.disks.insert(image, Box::new(now));
        })?;
        frame
            .flows
            .sort_by_key(|flow| (flow.image, flow.peer, flow.port, flow.transport, flow.role));
        frame.cpu.sort_by_key(|cpu| cpu.image);
        frame.disk.sort_by_key(|disk| disk.image);
        self.account(&mut frame, &mut totals);
        totals.lost = decode::lost(ebpf)?;
        cost::skipped(&totals.programs, &mut totals.lost);
        // What waited at the end of a window may have been booked in the next one; what was told stays told.
        let unplaced = &mut totals.lost[Lost::Unplaced as usize];
        let waiting = u64::try_from(unplaced.cast_signed()).unwrap_or(0);
        *unplaced = waiting.max(before.lost[Lost::Unplaced as usize]);
        for (name, (now, before)) in LOST_NAMES.iter().zip(totals.lost.iter().zip(before.lost)) {
            frame
                .lost
                .insert((*name).to_owned(), now.saturating_sub(before));
        }
        decode::protocols(ebpf, |key, now| {
            let gained = now.saturating_sub(before.protocols.get(&key).copied().unwrap_or(0));
            if gained > 0 {
                frame
                    .unplaced_protocols
                    .insert(protocols::name(key), gained);
            }
            totals.protocols.insert(key, now);
        })?;
        if self.drain.is_some() {
            totals.events = decode::event_counts(ebpf)?;
            for (name, (now, before)) in KINDS.iter().zip(totals.events.iter().zip(before.events)) {
                let happened = now.saturating_sub(before);
                frame.events.insert((*name).to_owned(), happened);
            }
        }
        // Single events tell of each by its own number.
        if self.drain.is_none() {
            self.forked.fold(&info, &processes, &mut frame);
        }
        self.name_everything(&mut frame, &processes)?;
        let idle_locks = totals.locks.idle(&self.before.locks);
        self.before = totals;
        self.moved.extend(moved.into_iter().map(|key| (key, ended)));
        self.prune(&info, &processes, &busy, &idle_flows)?;
        self.prune_locks(&idle_locks)?;
        self.numbers.fill(&mut self.loaded.ebpf)?;
        self.forked.fill(&mut self.loaded.ebpf, &info)?;
        self.settings.epoch = epoch.wrapping_add(1).max(1);
        decode::set(&mut self.loaded.ebpf, &self.settings)?;
        Ok(frame)
    }

    /// Fills images and remotes: all that the frame's records refer to.
    fn name_everything(
        &mut self,
        frame: &mut Frame,
        processes: &BTreeMap<u32, BTreeSet<u32>>,
    ) -> Result<(), CollectError> {
        let mut wanted = BTreeSet::new();
        let mut remotes = BTreeSet::new();
        for flow in &frame.flows {
            wanted.insert(flow.image);
            if flow.peer & PEER_REMOTE != 0 {
                remotes.insert(flow.peer);
            } else if flow.peer != 0 {
                wanted.insert(flow.peer);
            }
        }
        for cpu in &frame.cpu {
            wanted.insert(cpu.image);
            let by = cpu.run_queue_by.iter().map(|(image, _)| *image);
            wanted.extend(by.filter(|image| !matches!(*image, 0 | IMAGE_IDLE)));
        }
        for disk in &frame.disk {
            wanted.insert(disk.image);
            let behind = disk.queued_behind.iter().flatten();
            wanted.extend(behind.map(|(image, _)| *image).filter(|image| *image != 0));
        }
        // Some are born after the images were read, and busy before the rest was.
        if wanted.iter().any(|id| !self.names.knows(*id)) {
            let mut info = HashMap::new();
            decode::images(&self.loaded.ebpf, |id, image| {
                info.insert(id, image);
            })?;
            self.names.learn(&info, processes, |tgid| {
                decode::image_of(&self.loaded.ebpf, tgid)
            });
        }
        let mut listens: BTreeMap<u32, BTreeSet<u16>> = BTreeMap::new();
        decode::listeners(&self.loaded.ebpf, |key, image| {
            listens.entry(image).or_default().insert(key.port);
        })?;
        frame.images = self.names.images(&wanted, processes, &listens);
        if !remotes.is_empty() {
            if remotes.contains(&PEER_OTHERS) {
                frame.remotes.push(Remote::others());
            }
            for name in decode::REMOTES {
                decode::remotes(&self.loaded.ebpf, name, |key, id| {
                    if remotes.contains(&id) {
                        frame.remotes.push(names::remote(&key, id));
                    }
                })?;
            }
            frame.remotes.sort_by_key(|remote| remote.id);
        }
        Ok(())
    }

    /// Fills what measuring cost, and the state of the hardware counters.
    fn account(&self, frame: &mut Frame, totals: &mut Totals) {
        let usage = sys::usage::usage(Path::new("/"));
        totals.user_cpu_ns = usage.cpu_ns;
        frame.cost = Cost {
            programs: Vec::new(),
            user_cpu_ns: usage.cpu_ns.saturating_sub(self.before.user_cpu_ns),
            rss_bytes: usage.rss_bytes,
            map_bytes: self.map_bytes,
        };
        for (name, program) in self.loaded.ebpf.programs() {
            let Ok(fd) = program.fd() else { continue };
            let now = cost::runs(fd.as_fd().as_raw_fd());
            let before = self.before.programs.get(name).copied().unwrap_or_default();
            let measured = self.run_time.is_some();
            frame.cost.programs.push(ProgramCost {
                name: name.to_owned(),
                runs: measured.then(|| now.runs.saturating_sub(before.runs)),
                run_time_ns: measured.then(|| now.run_time_ns.saturating_sub(before.run_time_ns)),
            });
            totals.programs.insert(name.to_owned(), now);
        }
        frame.cost.programs.sort_by(|a, b| a.name.cmp(&b.name));
        frame.pmu = self.pmu.clone();
        if self.counters.is_some() {
            let (enabled, running) = frame
                .cpu
                .iter()
                .filter_map(|cpu| cpu.counters)
                .fold((0, 0), |sum, counters| {
                    (sum.0 + counters.enabled_ns, sum.1 + counters.running_ns)
                });
            let ratio = if enabled > 0 {
                running as f64 / enabled as f64
            } else {
                1.0
            };
            frame.pmu.running_ratio = Some(ratio);
            if ratio < 0.999 {
                frame.pmu.state = PmuState::Multiplexed;
                "more events than counters; values are scaled".clone_into(&mut frame.pmu.reason);
            }
        }
    }
}
