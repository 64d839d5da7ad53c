//! Loads what the plan says, attaches it, and says for each program whether that worked.
//!
//! In: plan and facts. Out: [`Loaded`]: programs, maps, statuses. Nothing is pinned: all of it goes with the process.
//! Must not know: what the maps' contents mean.

use std::{
    any::Any,
    io::{self, Read},
    path::Path,
};

use aya::{
    Btf, Ebpf, EbpfLoader,
    programs::{BtfTracePoint, FEntry, FExit, Iter, KProbe, Program, ProgramError},
};
use courtside_wire::Offsets;
use zerocopy::IntoBytes;

use super::{
    facts::Facts,
    hook::Hook,
    plan::{Planned, keeps_by_address},
};
use crate::sys::host::{KernelVersion, lift_locked_memory};
use courtside_core::frame::{ProbeState, ProbeStatus};

/// Why nothing could be loaded at all.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The build has no programs.
    #[error(
        "this build of courtside has no eBPF object in it; build it with: cargo xtask build --release"
    )]
    NoObject,
    /// The kernel's type information cannot be read.
    #[error(
        "cannot read the kernel's BTF: {0}; it needs a kernel built with CONFIG_DEBUG_INFO_BTF=y"
    )]
    Btf(#[from] aya::BtfError),
    /// The kernel lacks what programs need.
    #[error("Linux {0} is too old; Courtside needs {OLDEST} or later")]
    TooOld(KernelVersion),
    /// The kernel refused the maps.
    #[error("cannot create the kernel maps: {}", chain(.0))]
    Maps(#[source] Box<aya::EbpfError>),
    /// An iterator did not run.
    #[error("cannot run the iterator {name}: {source}")]
    Iterator {
        /// Name of the program.
        name: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Threads that can have state at once, where the kernel does not keep it with them: as many as there can be by default
/// on a host of up to 32 CPUs. It is allocated when the programs are loaded, some 40 MB.
const TASKS_MAX: u32 = 32_768;

/// The oldest kernel that this was tried on. The ring buffer and the iterator over files came with 5.8.
const OLDEST: KernelVersion = KernelVersion {
    major: 5,
    minor: 10,
};

/// Where hardware counters are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PmuUse {
    /// Nowhere.
    None,
    /// At context switches.
    Switches,
    /// At sends and receives, too.
    SwitchesAndTurnarounds,
}

/// Programs and maps in the kernel.
#[derive(Debug)]
pub struct Loaded {
    /// Programs and maps.
    pub ebpf: Ebpf,
    /// How each program is attached.
    pub statuses: Vec<ProbeStatus>,
    /// What keeps the programs on their hooks.
    links: Vec<Box<dyn Any + Send>>,
}

/// Smaller maps, from `COURTSIDE_MAP_LIMITS=FLOWS=4,IMAGES=2`: for tests of what happens when one is full.
fn map_limits() -> Vec<(String, u32)> {
    std::env::var("COURTSIDE_MAP_LIMITS")
        .unwrap_or_default()
        .split(',')
        .filter_map(|limit| limit.split_once('='))
        .filter_map(|(map, entries)| Some((map.to_owned(), entries.parse().ok()?)))
        .collect()
}

/// Loads every program of the plan; hooks see nothing yet. A program that fails is noted, and the rest goes on.
///
/// `ring_bytes` is the size of the ring for single events, 0 if they are not wanted.
///
/// # Errors
/// When nothing can be loaded at all.
pub fn load(
    facts: &Facts,
    planned: &[Planned],
    pmu: PmuUse,
    ring_bytes: u32,
) -> Result<Loaded, LoadError> {
    if !facts.has_object {
        return Err(LoadError::NoObject);
    }
    let root = Path::new("/");
    if let Some(version) = KernelVersion::read(root)
        && version < OLDEST
    {
        return Err(LoadError::TooOld(version));
    }
    let _lifted = lift_locked_memory(root);
    let by_address = keeps_by_address(facts, planned);
    if by_address && !facts.has_untyped_object {
        return Err(LoadError::NoObject);
    }
    let btf = Btf::from_sys_fs()?;
    let pmu_turnaround = u32::from(pmu == PmuUse::SwitchesAndTurnarounds);
    let pmu = u32::from(pmu != PmuUse::None);
    let events = u32::from(ring_bytes != 0);
    let passes_state = u32::from(
        facts
            .tracepoints
            .get("sched_switch")
            .is_some_and(|arguments| *arguments >= 4),
    );
    let reads_other_cpus = u32::from(facts.reads_other_cpus);
    let reads_registers = u32::from(facts.reads_registers);
    let finds_task_state = u32::from(facts.finds_task_state);
    let preempts_programs = u32::from(facts.preempts_programs);
    let request_comes_second = u32::from(facts.request_comes_second);
    // The programs speak only when somebody listens.
    let log_level = log::max_level() as u8;
    let offsets: &[u8] = <Offsets as IntoBytes>::as_bytes(&facts.offsets);
    let limits = map_limits();
    let mut loader = EbpfLoader::new();
    if ring_bytes != 0 {
        loader.map_max_entries("EVENTS", ring_bytes);
    }
    if by_address || !facts.finds_task_state {
        loader.map_max_entries("SPARES", TASKS_MAX);
    }
    for (map, entries) in &limits {
        loader.map_max_entries(map, *entries);
    }
    let mut ebpf = loader
        .btf(Some(&btf))
        .allow_unsupported_maps()
        .override_global(aya_log::LEVEL, &log_level, true)
        .override_global("OFFSETS", offsets, true)
        .override_global("FEATURE_PMU", &pmu, true)
        .override_global("FEATURE_PMU_TURNAROUND", &pmu_turnaround, true)
        .override_global("FEATURE_EVENTS", &events, true)
        .override_global("SWITCH_PASSES_STATE", &passes_state, true)
        .override_global("READS_OTHER_CPUS", &reads_other_cpus, true)
        // The object for old kernels does without.
        .override_global("READS_REGISTERS", &reads_registers, false)
        .override_global("FINDS_TASK_STATE", &finds_task_state, true)
        .override_global("PREEMPTS_PROGRAMS", &preempts_programs, true)
        .override_global("REQUEST_COMES_SECOND", &request_comes_second, true)
        .load(if by_address {
            super::UNTYPED_OBJECT
        } else {
            super::OBJECT
        })
        .map_err(|error| LoadError::Maps(Box::new(error)))?;
    let statuses = planned
        .iter()
        .map(|probe| {
            let (state, reason) = match &probe.verdict {
                Err(reason) => (
                    ProbeState::Failed,
                    format!("{reason}; lost: {}", probe.serves),
                ),
                Ok(()) => match verify(&mut ebpf, probe, &btf) {
                    Ok(()) => attached(probe),
                    Err(error) => (
                        ProbeState::Failed,
                        format!("{}; lost: {}", chain(&error), probe.serves),
                    ),
                },
            };
            ProbeStatus {
                name: probe.program.to_owned(),
                hook: probe.hook.to_string(),
                state,
                reason,
            }
        })
        .collect();
    Ok(Loaded {
        ebpf,
        statuses,
        links: Vec::new(),
    })
}

/// How a program is that could be loaded, and why it is this one.
fn attached(probe: &Planned) -> (ProbeState, String) {
    match &probe.stands_in {
        None if probe.less.is_empty() => (ProbeState::Attached, String::new()),
        None => (ProbeState::Degraded, probe.less.to_owned()),
        Some(it) if probe.less.is_empty() => (ProbeState::Attached, it.why.clone()),
        Some(it) => (ProbeState::Degraded, format!("{}: {}", it.why, probe.less)),
    }
}

fn verify(ebpf: &mut Ebpf, probe: &Planned, btf: &Btf) -> Result<(), ProgramError> {
    let program = ebpf
        .program_mut(probe.program)
        .ok_or_else(|| ProgramError::IOError(io::Error::other("the object has no such program")))?;
    match probe.hook {
        Hook::BtfTracepoint(name) => {
            let program: &mut BtfTracePoint = program.try_into()?;
            program.load(name, btf)?;
        }
        Hook::Entry(name) => {
            let program: &mut FEntry = program.try_into()?;
            program.load(name, btf)?;
        }
        Hook::Exit(name) => {
            let program: &mut FExit = program.try_into()?;
            program.load(name, btf)?;
        }
        Hook::Probe(_) | Hook::ReturnProbe(_) => {
            let program: &mut KProbe = program.try_into()?;
            match program.load() {
                // It sits on another function, too.
                Ok(()) | Err(ProgramError::AlreadyLoaded) => {}
                Err(error) => return Err(error),
            }
        }
        Hook::Iterator(kind) => {
            let program: &mut Iter = program.try_into()?;
            program.load(kind, btf)?;
        }
    }
    Ok(())
}

impl Loaded {
    /// Puts every loaded program on its hook.
    pub fn attach(&mut self) {
        for status in &mut self.statuses {
            if status.state == ProbeState::Failed {
                continue;
            }
            let link: Result<Box<dyn Any + Send>, ProgramError> =
                match self.ebpf.program_mut(&status.name) {
                    Some(Program::BtfTracePoint(program)) => program
                        .attach()
                        .and_then(|link| Ok(Box::new(program.take_link(link)?) as _)),
                    Some(Program::FEntry(program)) => program
                        .attach()
                        .and_then(|link| Ok(Box::new(program.take_link(link)?) as _)),
                    Some(Program::FExit(program)) => program
                        .attach()
                        .and_then(|link| Ok(Box::new(program.take_link(link)?) as _)),
                    Some(Program::KProbe(program)) => {
                        // The hook as users see it is `kprobe:function`.
                        let function = status.hook.rsplit(':').next().unwrap_or_default();
                        program
                            .attach(function, 0)
                            .and_then(|link| Ok(Box::new(program.take_link(link)?) as _))
                    }
                    _ => continue,
                };
            match link {
                Ok(link) => self.links.push(link),
                Err(error) => {
                    status.state = ProbeState::Failed;
                    status.reason = chain(&error);
                }
            }
        }
    }

    /// Takes every program off its hook; iterators still run, and maps can be read.
    pub fn detach(&mut self) {
        // Those that see threads come and go were attached first and stay longest: the others tell time by their clocks.
        while self.links.pop().is_some() {}
    }

    /// Runs an iterator over everything it walks.
    ///
    /// # Errors
    /// When the kernel refuses to run it.
    pub fn iterate(&mut self, name: &'static str) -> Result<(), LoadError> {
        let failed = |error: &dyn std::error::Error| LoadError::Iterator {
            name,
            source: io::Error::other(chain(error)),
        };
        let Some(program) = self.ebpf.program_mut(name) else {
            return Ok(());
        };
        let program: &mut Iter = program
            .try_into()
            .map_err(|error: ProgramError| failed(&error))?;
        let link = program.attach().map_err(|error| failed(&error))?;
        let link = program.take_link(link).map_err(|error| failed(&error))?;
        let mut file = link.into_file().map_err(|error| failed(&error))?;
        let mut nothing = [0; 64];
        loop {
            match file.read(&mut nothing) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                // After a million objects without output the kernel says "again" (kernel/bpf/bpf_iter.c).
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
                    ) => {}
                Err(error) => {
                    return Err(LoadError::Iterator {
                        name,
                        source: error,
                    });
                }
            }
        }
    }

    /// Whether a program is in.
    #[must_use]
    pub fn works(&self, name: &str) -> bool {
        self.statuses.iter().any(|status| {
            status.name == name
                && matches!(status.state, ProbeState::Attached | ProbeState::Degraded)
        })
    }
}

/// An error with all its causes in one line; of a verifier's log, the last lines.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    if std::env::var_os("COURTSIDE_VERIFIER_LOG").is_some() {
        return text;
    }
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    if lines.len() <= 6 {
        lines.join(" | ")
    } else {
        format!(
            "{} | … | {}",
            lines[0],
            lines[lines.len() - 4..].join(" | ")
        )
    }
}
