//! Starting to measure: what the kernel can do, programs loaded and attached, one look at everything that exists.
//!
//! In: wishes, the running kernel. Out: a [`Session`], or why there is none. Must not know: what a window says.

use std::{
    collections::{BTreeSet, HashMap},
    path::Path,
};

use courtside_wire::{ABSENT, Lost, Settings, events::EVENT_KINDS};

use super::{
    CollectError, Numbers, Session, Sink, Totals, Wishes, cost, decode, events, forked, names,
    selfcheck,
};
use crate::{
    probe::{
        facts::Facts,
        load::{LoadError, Loaded, PmuUse, load},
        plan::{keeps_by_address, plan},
        pmu,
    },
    sys::{self, wall::Wall},
};
use courtside_core::frame::{Pmu, PmuState, ProbeState};

/// Why measuring could not start.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// Capabilities are missing.
    #[error("attaching to the kernel needs {}; run as root, or: {command}", missing.join(", "))]
    Privileges {
        /// Names of the capabilities.
        missing: Vec<String>,
        /// The command that grants them.
        command: String,
    },
    /// The kernel does not describe itself.
    #[error(
        "{0}; Courtside needs a kernel with BTF (CONFIG_DEBUG_INFO_BTF=y), run: courtside check"
    )]
    Btf(#[from] sys::btf::BtfError),
    /// Nothing could be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// What the programs read is not what is there.
    #[error(transparent)]
    SelfCheck(#[from] selfcheck::CheckError),
    /// A map could not be used.
    #[error(transparent)]
    Map(#[from] decode::DecodeError),
    /// Single events cannot be taken.
    #[error("cannot take single events from the kernel: {0}")]
    Events(std::io::Error),
}

/// Programs that are told of receives; a kernel has one kind.
const RECEIVES: [&str; 3] = ["sock_recv_length", "fx_inet_recvmsg", "kr_receive"];

impl Session {
    /// Attaches to the running kernel and looks once at everything that exists.
    ///
    /// # Errors
    /// When privileges or BTF are missing, nothing can be loaded, or the self-check fails. A single program that
    /// cannot be attached is no error: see [`Self::probes`].
    pub fn attach(wishes: &Wishes) -> Result<Self, AttachError> {
        Self::attach_to(wishes, None)
    }

    /// As [`Self::attach`]; from the first hook on, single events go to `sink`, on a thread of their own.
    ///
    /// # Errors
    /// As [`Self::attach`].
    pub fn attach_with_events(wishes: &Wishes, sink: Sink) -> Result<Self, AttachError> {
        Self::attach_to(wishes, Some(sink))
    }

    fn attach_to(wishes: &Wishes, sink: Option<Sink>) -> Result<Self, AttachError> {
        let root = Path::new("/");
        if let Some(missing) = sys::privileges::Privileges::read(root).missing() {
            return Err(AttachError::Privileges {
                missing: missing.names,
                command: missing.command,
            });
        }
        let host = sys::host::host(root);
        let mut wall = Wall::start();
        let facts = Facts::read(root)?;
        let (counters, pmu) = open_pmu(wishes, host.cpus);
        let pmu_use = match &counters {
            None => PmuUse::None,
            Some(_) if wishes.pmu_turnaround => PmuUse::SwitchesAndTurnarounds,
            Some(_) => PmuUse::Switches,
        };
        let ring_bytes = sink.as_ref().map_or(0, |_| events::ring_bytes(host.cpus));
        let mut planned = plan(&facts);
        planned.retain(|program| wishes.polls || !program.only_asked);
        let mut loaded = load(&facts, &planned, pmu_use, ring_bytes)?;
        if let Some(counters) = &counters
            && let Err(error) = counters.hand_over(&loaded.ebpf)
        {
            note_counters_failed(&mut loaded, &error);
        }
        let all = decode::all_flow_slots(&loaded.ebpf)?;
        decode::free_flow_slots(&mut loaded.ebpf, &all)?;
        let mut numbers = Numbers::default();
        numbers.fill(&mut loaded.ebpf)?;
        let mut forked = forked::Forked::default();
        forked.fill(&mut loaded.ebpf, &HashMap::new())?;
        let drain = match sink {
            Some(sink) => {
                let ring = decode::ring(&mut loaded.ebpf)?;
                Some(events::Drain::start(ring, sink, wall.clone()).map_err(AttachError::Events)?)
            }
            None => None,
        };
        let mut settings = Settings {
            epoch: 1,
            scanning: 0,
            floor_auto: u32::from(wishes.rtt_floor_ns.is_none()),
            pad: 0,
            floor_ns: wishes.rtt_floor_ns.unwrap_or(0),
        };
        selfcheck::check(&mut loaded, |loaded| attach(loaded, &mut settings))?;
        let run_time = if wishes.run_time_stats {
            aya::sys::enable_stats(aya::sys::Stats::RunTime).ok()
        } else {
            None
        };
        let map_bytes = cost::map_bytes(&loaded);
        let log = if log::log_enabled!(target: "courtside_bpf", log::Level::Debug) {
            aya_log::EbpfLogger::init(&mut loaded.ebpf).ok()
        } else {
            None
        };
        let tells_throttled = facts.tells_throttled();
        let tells_sleep = facts.reads_registers && !keeps_by_address(&facts, &planned);
        let mut session = Self {
            tells_throttled,
            tells_sleep,
            tells_receives: RECEIVES.iter().any(|program| loaded.works(program)),
            tells_polls: loaded.works("poll_enter") && loaded.works("poll_exit"),
            tells_locks: tells_sleep && facts.offsets.regs_first != ABSENT,
            tells_behind: facts.offsets.request_queue != ABSENT,
            throttled_left_ns: HashMap::new(),
            loaded,
            settings,
            before: Totals::default(),
            started_ns: wall.now_ns().0,
            wall,
            host,
            steal: sys::steal::StealClock::new(root),
            names: names::Names::new(root),
            pmu,
            counters,
            pmu_use,
            run_time,
            gone: BTreeSet::new(),
            freed: Vec::new(),
            numbers,
            forked,
            moved: HashMap::new(),
            map_bytes,
            log,
            drain,
        };
        session.window().map_err(|error| match error {
            CollectError::Map(error) => AttachError::Map(error),
            CollectError::Load(error) => AttachError::Load(error),
            CollectError::Events(error) => AttachError::Events(error),
        })?;
        // Those since the attach belong to the first window: none is to be missing in a sum over all windows.
        session.before.events = [0; EVENT_KINDS];
        session.before.lost[Lost::Events as usize] = 0;
        // The kernel's types and the object took more than measuring will.
        sys::usage::give_memory_back();
        Ok(session)
    }
}

/// Attaches between two walks over all sockets. Listeners come first, so that whatever traffic shows itself from the
/// first moment is told apart by them; then clocks for every task, and the connections older than the attach.
fn attach(loaded: &mut Loaded, settings: &mut Settings) -> Result<(), LoadError> {
    const LISTENERS: u32 = 1;
    const CONNECTIONS: u32 = 2;
    let sockets = loaded.works("iter_sockets");
    settings.scanning = LISTENERS;
    set(loaded, settings)?;
    if sockets {
        loaded.iterate("iter_sockets")?;
    }
    settings.scanning = CONNECTIONS;
    set(loaded, settings)?;
    loaded.attach();
    if loaded.works("iter_tasks") {
        loaded.iterate("iter_tasks")?;
    }
    if sockets {
        loaded.iterate("iter_sockets")?;
    }
    settings.scanning = 0;
    set(loaded, settings)
}

fn set(loaded: &mut Loaded, settings: &Settings) -> Result<(), LoadError> {
    decode::set(&mut loaded.ebpf, settings).map_err(|error| LoadError::Iterator {
        name: "settings",
        source: std::io::Error::other(error.to_string()),
    })
}

fn open_pmu(wishes: &Wishes, cpus: u32) -> (Option<pmu::Counters>, Pmu) {
    if !wishes.pmu {
        let reason = "switched off by --no-pmu".to_owned();
        return (
            None,
            Pmu {
                state: PmuState::Disabled,
                reason,
                running_ratio: None,
            },
        );
    }
    match pmu::open(cpus) {
        Ok(counters) => {
            let reason = if counters.has_llc {
                String::new()
            } else {
                "this machine counts no cache events".to_owned()
            };
            (
                Some(counters),
                Pmu {
                    state: PmuState::Ok,
                    reason,
                    running_ratio: None,
                },
            )
        }
        Err(reason) => (
            None,
            Pmu {
                state: PmuState::None,
                reason,
                running_ratio: None,
            },
        ),
    }
}

/// Notes at the program that reads the counters that they could not be handed over.
fn note_counters_failed(loaded: &mut Loaded, error: &std::io::Error) {
    if let Some(status) = loaded
        .statuses
        .iter_mut()
        .find(|status| status.name == "sched_switch")
    {
        status.state = ProbeState::Degraded;
        status.reason = format!("hardware counters could not be handed to it: {error}");
    }
}
