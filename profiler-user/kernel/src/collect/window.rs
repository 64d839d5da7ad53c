//! Differences: monotone kernel totals, read at two instants, to what happened between.
//!
//! In: wire records now and before. Out: Frame records. Pure. Must not know: aya.

use courtside_wire::{
    CpuStats, DiskStats, Dist, FlowKey, FlowStats, ROLE_ACCEPTOR, ROLE_INITIATOR, TRANSPORT_UDP,
    TRANSPORT_UNIX, hist::bounds_of,
};

use super::blame;
use courtside_core::frame::{
    Connects, Counters, Cpu, Disk, DistRaw, Flow, Lock, Polls, Role, Transport, TurnaroundCounters,
    Waits as Sleeps,
};
use courtside_core::parts::{Part, Parts};

/// What a distribution gained. Extremes are the kernel's where they belong to `epoch`, else the bounds of the
/// outermost buckets that gained.
fn dist(now: &Dist, before: Option<&Dist>, epoch: u32) -> DistRaw {
    let mut raw = DistRaw {
        sum_ns: now.sum_ns.wrapping_sub(before.map_or(0, |d| d.sum_ns)),
        ..DistRaw::default()
    };
    for (index, count) in (0u16..).zip(now.buckets) {
        let gained = count.wrapping_sub(before.map_or(0, |d| d.buckets[usize::from(index)]));
        if gained != 0 {
            raw.buckets.push((index, u64::from(gained)));
        }
    }
    let (Some((first, _)), Some((last, _))) = (raw.buckets.first(), raw.buckets.last()) else {
        return raw;
    };
    (raw.min_ns, raw.max_ns) = if now.epoch == epoch {
        (now.min_ns, now.max_ns)
    } else {
        (
            bounds_of(usize::from(*first)).0,
            bounds_of(usize::from(*last)).1,
        )
    };
    raw
}

/// How many values a distribution holds.
fn count(dist: &DistRaw) -> u64 {
    dist.buckets.iter().map(|(_, count)| count).sum()
}

/// What a flow gained; `None` if nothing.
pub(super) fn flow(
    key: FlowKey,
    now: &FlowStats,
    before: Option<&FlowStats>,
    epoch: u32,
) -> Option<Flow> {
    macro_rules! gained {
        ($($field:ident).+) => { now.$($field).+.wrapping_sub(before.map_or(0, |b| b.$($field).+)) };
    }
    let parts: Parts<u64> = [
        (Part::OnCpu, gained!(turnaround_parts.on_cpu_ns)),
        (Part::RunQueue, gained!(turnaround_parts.run_queue_ns)),
        (Part::BlockIo, gained!(turnaround_parts.block_io_ns)),
        (Part::Sleep, gained!(turnaround_parts.sleep_ns)),
        (Part::Queued, gained!(turnaround_parts.queued_ns)),
        (Part::Receiving, gained!(turnaround_parts.receiving_ns)),
        (Part::HandedOver, gained!(turnaround_parts.handed_over_ns)),
        (Part::Throttled, gained!(turnaround_parts.throttled_ns)),
    ]
    .into_iter()
    .collect();
    let answer = dist(&now.answer_ns, before.map(|b| &b.answer_ns), epoch);
    let mut turnaround = dist(&now.turnaround_ns, before.map(|b| &b.turnaround_ns), epoch);
    turnaround.sum_ns = parts.total_ns();
    let untimed = gained!(untimed);
    let flow = Flow {
        image: key.image,
        peer: key.peer,
        port: key.port,
        transport: match key.transport {
            TRANSPORT_UNIX => Transport::Unix,
            TRANSPORT_UDP => Transport::Udp,
            _ => Transport::Tcp,
        },
        role: match key.role {
            ROLE_INITIATOR => Role::Initiator,
            ROLE_ACCEPTOR => Role::Acceptor,
            _ => Role::Unknown,
        },
        messages_sent: gained!(messages_sent),
        messages_received: gained!(messages_received),
        bytes_sent: gained!(bytes_sent),
        bytes_received: gained!(bytes_received),
        answered: count(&answer).saturating_add(untimed),
        midlife_turns: gained!(midlife_turns),
        below_floor: gained!(below_floor),
        ambiguous: gained!(ambiguous),
        untimed,
        unread_within_ns: gained!(unread_within_ns),
        arrival_unknown: gained!(arrival_unknown),
        retransmits: gained!(retransmits),
        min_rtt_ns: now.min_rtt_ns,
        turnarounds: count(&turnaround),
        turnaround_parts: parts,
        unprompted: gained!(unprompted),
        unprompted_ns: gained!(unprompted_ns),
        unprompted_gaps: gained!(unprompted_gaps),
        unprompted_squares: gained!(unprompted_squares),
        turnaround_lock_ns: gained!(turnaround_lock_ns),
        handovers: gained!(handovers),
        turnaround_counters: Some(TurnaroundCounters {
            cycles: gained!(turnaround_cycles),
            instructions: gained!(turnaround_instructions),
        }),
        answer,
        queued: dist(&now.queued_ns, before.map(|b| &b.queued_ns), epoch),
        turnaround,
        receiving: dist(&now.receiving_ns, before.map(|b| &b.receiving_ns), epoch),
        connects: Connects {
            failed: gained!(connects_failed),
            syn_retransmits: gained!(syn_retransmits),
            latency: dist(&now.connect_ns, before.map(|b| &b.connect_ns), epoch),
        },
    };
    let moved = u64::from(!flow.connects.is_none())
        + flow.retransmits
        + flow.messages_sent
        + flow.messages_received
        + flow.bytes_sent
        + flow.bytes_received
        + flow.turnarounds
        + flow.unprompted;
    (moved != 0).then_some(flow)
}

/// What else is known of an image's waits.
#[derive(Default)]
pub(super) struct Waits<'a> {
    /// Who ran meanwhile.
    pub by: Vec<(u32, u64)>,
    /// Whether what threads sleep for is measured.
    pub tells_sleep: bool,
    /// Whether receives that find nothing are measured.
    pub tells_receives: bool,
    /// Whether polls and yields are.
    pub tells_polls: bool,
    /// Futexes by which its threads slept; `None` where that is not measured.
    pub locks: Option<Vec<Lock>>,
    /// What a quota held back, and no window has told yet; `None` where that is not measured.
    pub throttled_left_ns: Option<&'a mut u64>,
}

/// What a sleep was for; never more than there was, since the totals are read one after the other.
fn sleeps(all_ns: u64, lock_ns: u64, timer_ns: u64, socket_ns: u64) -> Sleeps {
    let mut left_ns = all_ns;
    let mut take = |ns: u64| {
        let taken = ns.min(left_ns);
        left_ns -= taken;
        taken
    };
    Sleeps {
        lock_ns: take(lock_ns),
        timer_ns: take(timer_ns),
        socket_ns: take(socket_ns),
        other_ns: left_ns,
    }
}

/// What an image's CPU clocks gained; `None` if nothing.
pub(super) fn cpu(
    image: u32,
    now: &CpuStats,
    before: Option<&CpuStats>,
    pmu: Option<bool>,
    waits: Waits,
) -> Option<Cpu> {
    macro_rules! gained {
        ($field:ident) => {
            now.$field.saturating_sub(before.map_or(0, |b| b.$field))
        };
    }
    let running_ns = gained!(pmu_running_ns);
    let enabled_ns = gained!(pmu_enabled_ns);
    let scaled = |value: u64| {
        let value = u128::from(value) * u128::from(enabled_ns) / u128::from(running_ns.max(1));
        u64::try_from(value).unwrap_or(u64::MAX)
    };
    let counters = pmu.filter(|_| running_ns > 0).map(|has_llc| Counters {
        cycles: scaled(gained!(cycles)),
        instructions: scaled(gained!(instructions)),
        llc_references: has_llc.then(|| scaled(gained!(llc_references))),
        llc_misses: has_llc.then(|| scaled(gained!(llc_misses))),
        enabled_ns,
        running_ns,
    });
    let mut cpu = Cpu {
        image,
        on_cpu_ns: gained!(on_cpu_ns),
        run_queue_ns: gained!(run_queue_ns),
        block_io_ns: gained!(block_io_ns),
        voluntary_switches: gained!(voluntary_switches),
        involuntary_switches: gained!(involuntary_switches),
        counters,
        throttled_ns: None,
        waits: waits.tells_sleep.then(|| {
            sleeps(
                gained!(sleep_ns),
                gained!(lock_ns),
                gained!(timer_ns),
                gained!(socket_ns),
            )
        }),
        run_queue_by: Vec::new(),
        threads: Some(gained!(tasks_ran)),
        polls: waits.tells_receives.then(|| Polls {
            empty_receives: gained!(empty_receives),
            zero_timeout_polls: waits.tells_polls.then(|| gained!(zero_timeout_polls)),
            yields: waits.tells_polls.then(|| gained!(yields)),
            spin_ns: gained!(spin_ns),
        }),
        locks: waits.locks,
    };
    cpu.throttled_ns = waits.throttled_left_ns.map(|left_ns| {
        // A wait is booked when it ends, and may have begun in an earlier window.
        let all_ns = left_ns.saturating_add(gained!(throttled_ns));
        let now_ns = all_ns.min(cpu.run_queue_ns);
        *left_ns = all_ns - now_ns;
        cpu.run_queue_ns -= now_ns;
        now_ns
    });
    blame::book(&mut cpu, gained!(run_queue_idle_ns), waits.by);
    let ran = cpu.on_cpu_ns
        + cpu.run_queue_ns
        + cpu.block_io_ns
        + cpu.voluntary_switches
        + cpu.involuntary_switches
        + cpu.throttled_ns.unwrap_or(0)
        + u64::from(cpu.locks.as_ref().is_some_and(|locks| !locks.is_empty()));
    (ran != 0).then_some(cpu)
}

/// What an image's block I/O gained, `behind` whom its requests waited among it; `None` if nothing.
pub(super) fn disk(
    image: u32,
    now: &DiskStats,
    before: Option<&DiskStats>,
    behind: Option<Vec<(u32, u64)>>,
    epoch: u32,
) -> Option<Disk> {
    macro_rules! gained {
        ($field:ident) => {
            now.$field.saturating_sub(before.map_or(0, |b| b.$field))
        };
    }
    let disk = Disk {
        image,
        reads: gained!(reads),
        writes: gained!(writes),
        read_bytes: gained!(read_bytes),
        write_bytes: gained!(write_bytes),
        queued_behind: behind.map(|by| {
            let took_ns = now.latency_ns.sum_ns;
            let took_ns = took_ns.saturating_sub(before.map_or(0, |b| b.latency_ns.sum_ns));
            blame::divided(gained!(behind_ns).min(took_ns), by)
        }),
        latency: dist(&now.latency_ns, before.map(|b| &b.latency_ns), epoch),
    };
    (disk.reads + disk.writes + disk.read_bytes + disk.write_bytes != 0).then_some(disk)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A window in which so much was added, of which one other ran for 30.
    fn window(added: (u64, u64), left_ns: &mut u64) -> Cpu {
        let before = CpuStats {
            on_cpu_ns: 1,
            run_queue_ns: 1000,
            throttled_ns: 500,
            ..CpuStats::default()
        };
        let now = CpuStats {
            on_cpu_ns: before.on_cpu_ns + 7,
            run_queue_ns: before.run_queue_ns + added.0,
            throttled_ns: before.throttled_ns + added.1,
            ..before
        };
        let waits = Waits {
            by: vec![(9, 30)],
            throttled_left_ns: Some(left_ns),
            ..Waits::default()
        };
        let cpu = cpu(7, &now, Some(&before), None, waits).unwrap();
        let told: u64 = cpu.run_queue_by.iter().map(|(_, ns)| ns).sum();
        assert_eq!(told, cpu.run_queue_ns);
        cpu
    }

    #[test]
    fn what_a_quota_held_back_is_no_run_queue_and_none_of_it_is_lost() {
        let mut left_ns = 0;
        let first = window((100, 40), &mut left_ns);
        assert_eq!((first.run_queue_ns, first.throttled_ns), (60, Some(40)));
        assert_eq!(first.run_queue_by, [(0, 30), (9, 30)]);
        // More than was waited in this window: some of it belongs to waits that an earlier one told as unknown.
        let second = window((50, 120), &mut left_ns);
        assert_eq!((second.run_queue_ns, second.throttled_ns), (0, Some(50)));
        assert!(second.run_queue_by.is_empty());
        let third = window((90, 0), &mut left_ns);
        assert_eq!((third.run_queue_ns, third.throttled_ns), (20, Some(70)));
        assert_eq!(third.run_queue_by, [(9, 20)]);
        assert_eq!(left_ns, 0);
    }

    #[test]
    fn where_quotas_are_not_measured_nothing_is_told_of_them() {
        let now = CpuStats {
            run_queue_ns: 5,
            throttled_ns: 5,
            ..CpuStats::default()
        };
        let cpu = cpu(7, &now, None, None, Waits::default()).unwrap();
        assert_eq!((cpu.run_queue_ns, cpu.throttled_ns), (5, None));
        assert!(cpu.waits.is_none());
    }

    #[test]
    fn looks_in_vain_are_told_as_far_as_they_are_measured() {
        let now = CpuStats {
            on_cpu_ns: 9,
            empty_receives: 5,
            zero_timeout_polls: 4,
            yields: 3,
            spin_ns: 2,
            ..CpuStats::default()
        };
        let told = |tells_receives, tells_polls| {
            let waits = Waits {
                tells_receives,
                tells_polls,
                ..Waits::default()
            };
            let polls = cpu(7, &now, None, None, waits).unwrap().polls?;
            let Polls {
                empty_receives,
                zero_timeout_polls,
                yields,
                spin_ns,
            } = polls;
            Some((empty_receives, zero_timeout_polls, yields, spin_ns))
        };
        assert_eq!(told(true, true), Some((5, Some(4), Some(3), 2)));
        assert_eq!(told(true, false), Some((5, None, None, 2)));
        assert_eq!(told(false, false), None);
    }

    #[test]
    fn sleep_adds_up_whatever_its_parts_say() {
        let told = sleeps(100, 70, 60, 50);
        assert_eq!((told.lock_ns, told.timer_ns), (70, 30));
        assert_eq!((told.socket_ns, told.other_ns), (0, 0));
        assert_eq!(sleeps(100, 1, 2, 3).other_ns, 94);
    }
}
