//! What is counted for each task, and of which components.
//!
//! In: components of a snapshot. Out: sums by event. Must not know: tasks, sizes.

use std::collections::BTreeMap;

use courtside_core::model::snapshot::{Component, Edge};

/// Something that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// Time on a CPU.
    OnCpu,
    /// Time ready to run without a CPU.
    RunQueue,
    /// Time ready to run and held back by a CPU quota of its own; where it is not known, it is in that of run queues.
    Throttled,
    /// Time waiting for the block layer.
    BlockIo,
    /// Switches that threads asked for.
    Voluntary,
    /// Switches forced on them.
    Involuntary,
    /// CPU cycles.
    Cycles,
    /// Instructions retired.
    Instructions,
    /// Last-level cache references.
    LlcReferences,
    /// Last-level cache misses.
    LlcMisses,
    /// Read requests at the block layer.
    DiskReads,
    /// Write requests at the block layer.
    DiskWrites,
    /// Time within turnarounds of any other wait.
    Sleep,
    /// Of it: for a lock, or for what another thread was to do.
    Lock,
    /// Time that messages lay unread within turnarounds.
    Queued,
    /// Roundtrips between the components.
    Roundtrips,
    /// Bytes between the components.
    Bytes,
    /// TCP segments sent again.
    Retransmits,
}

impl Event {
    /// Its name, as in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OnCpu => "on_cpu_ns",
            Self::RunQueue => "run_queue_ns",
            Self::Throttled => "throttled_ns",
            Self::BlockIo => "block_io_ns",
            Self::Voluntary => "voluntary_switches",
            Self::Involuntary => "involuntary_switches",
            Self::Cycles => "cycles",
            Self::Instructions => "instructions",
            Self::LlcReferences => "llc_references",
            Self::LlcMisses => "llc_misses",
            Self::DiskReads => "disk_reads",
            Self::DiskWrites => "disk_writes",
            Self::Sleep => "turnaround.sleep_ns",
            Self::Lock => "turnaround.lock_ns",
            Self::Queued => "turnaround.queued_ns",
            Self::Roundtrips => "roundtrips",
            Self::Bytes => "bytes",
            Self::Retransmits => "retransmits",
        }
    }
}

/// How often, or for how long, each; what is not there is not known.
pub type Counts = BTreeMap<Event, f64>;

/// What one component used.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Used {
    /// Component id.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// What it used in all.
    pub counts: Counts,
}

impl Used {
    /// Of a component.
    #[must_use]
    pub fn of(component: &Component) -> Self {
        let (cpu, disk) = (&component.cpu, &component.disk);
        let mut counts: Counts = [
            (Event::OnCpu, cpu.on_cpu_ns),
            (Event::RunQueue, cpu.run_queue_ns),
            (Event::BlockIo, cpu.block_io_ns),
            (Event::Voluntary, cpu.voluntary_switches),
            (Event::Involuntary, cpu.involuntary_switches),
            (Event::DiskReads, disk.reads),
            (Event::DiskWrites, disk.writes),
        ]
        .map(|(event, count)| (event, count as f64))
        .into();
        counts.extend(cpu.throttled_ns.map(|ns| (Event::Throttled, ns as f64)));
        if let Some(counted) = &component.counters {
            counts.insert(Event::Cycles, counted.cycles as f64);
            counts.insert(Event::Instructions, counted.instructions as f64);
            let caches = [
                (Event::LlcReferences, counted.llc_references),
                (Event::LlcMisses, counted.llc_misses),
            ];
            for (event, count) in caches {
                counts.extend(count.map(|count| (event, count as f64)));
            }
        }
        Self {
            id: component.id.clone(),
            name: component.name.clone(),
            counts,
        }
    }
}

/// Of the CPU time, at least this share must have been counted by hardware for its counts to stand for all.
const MIN_COUNTED: f64 = 0.95;

/// All together. Of hardware counters only what nearly all of the CPU time has, of what older kernels and recordings do not tell
/// only what all have that ran.
#[must_use]
pub fn sum(used: &[Used]) -> Counts {
    let mut all = Counts::new();
    for (event, count) in used.iter().flat_map(|used| &used.counts) {
        *all.entry(*event).or_default() += count;
    }
    let on_cpu = all.get(&Event::OnCpu).copied().unwrap_or(0.0);
    let ran = |used: &&Used| {
        [Event::OnCpu, Event::RunQueue]
            .iter()
            .any(|event| used.counts.get(event).is_some_and(|ns| *ns > 0.0))
    };
    all.retain(|event, _| match event {
        Event::Cycles | Event::Instructions | Event::LlcReferences | Event::LlcMisses => {
            let counted: f64 = used
                .iter()
                .filter(|used| used.counts.contains_key(event))
                .filter_map(|used| used.counts.get(&Event::OnCpu))
                .sum();
            on_cpu > 0.0 && counted >= MIN_COUNTED * on_cpu
        }
        Event::Throttled | Event::Lock => {
            let mut each = used.iter().filter(ran);
            each.all(|used| used.counts.contains_key(event))
        }
        _ => true,
    });
    all
}

/// What went between components.
#[must_use]
pub fn between(edges: &[&Edge]) -> Counts {
    let all = |of: fn(&Edge) -> u64| -> f64 { edges.iter().map(|edge| of(edge) as f64).sum() };
    [
        (Event::Roundtrips, all(|edge| edge.roundtrips)),
        (
            Event::Bytes,
            all(|edge| edge.bytes_sent.saturating_add(edge.bytes_received)),
        ),
        (Event::Retransmits, all(|edge| edge.retransmits)),
    ]
    .into()
}

#[cfg(test)]
mod tests {
    use courtside_core::model::snapshot::{Counters, Cpu};

    use super::*;

    fn component(on_cpu_ns: u64, cycles: Option<u64>) -> Used {
        Used::of(&Component {
            cpu: Cpu {
                on_cpu_ns,
                ..Cpu::default()
            },
            counters: cycles.map(|cycles| Counters {
                cycles,
                instructions: cycles / 2,
                llc_misses: Some(7),
                ..Counters::default()
            }),
            ..Component::default()
        })
    }

    #[test]
    fn counters_of_a_part_do_not_stand_for_all() {
        let most = sum(&[component(970, Some(2000)), component(30, None)]);
        assert_eq!(most[&Event::OnCpu], 1000.0);
        assert_eq!(most[&Event::Cycles], 2000.0);
        assert_eq!(most[&Event::LlcMisses], 7.0);
        assert!(!most.contains_key(&Event::LlcReferences));
        let part = sum(&[component(900, Some(2000)), component(100, None)]);
        assert!(!part.contains_key(&Event::Cycles) && !part.contains_key(&Event::LlcMisses));
        assert_eq!(part[&Event::Voluntary], 0.0);
        assert!(!sum(&[component(0, Some(0))]).contains_key(&Event::Cycles));
    }

    #[test]
    fn what_a_quota_held_back_is_known_where_all_that_ran_tell_it() {
        let with = |on_cpu_ns, throttled_ns| {
            Used::of(&Component {
                cpu: Cpu {
                    on_cpu_ns,
                    throttled_ns,
                    ..Cpu::default()
                },
                ..Component::default()
            })
        };
        let known = sum(&[with(10, Some(3)), with(20, Some(4)), with(0, None)]);
        assert_eq!(known[&Event::Throttled], 7.0);
        assert!(!sum(&[with(10, Some(3)), with(20, None)]).contains_key(&Event::Throttled));
    }
}
