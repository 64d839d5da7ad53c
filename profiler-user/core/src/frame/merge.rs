//! Several windows as one: what happened in all of them together.
//!
//! In: Frames of one attach, one after the other. Out: one Frame. Counters and distributions add, extremes meet, and
//! of what merely is (names, states) the last word holds. Must not know: where frames come from.

mod gone;

use std::collections::{BTreeMap, BTreeSet};

use courtside_wire::PEER_REMOTE as REMOTE;

use self::gone::{MOST_PROCESSES, Named, Renumbered};
use super::{
    Connects, Counters, Cpu, Disk, DistRaw, Flow, Frame, Image, PmuState, ProgramCost, Remote,
    Role, Transport, TurnaroundCounters, add_locks,
};

/// All these windows as one; an empty frame if there are none.
#[must_use]
pub fn merge(frames: impl IntoIterator<Item = Frame>) -> Frame {
    let mut merged = Merge::default();
    for frame in frames {
        merged.add(frame);
    }
    merged.finish()
}

/// Adds one distribution to another.
pub fn merge_dist(into: &mut DistRaw, from: &DistRaw) {
    if from.buckets.is_empty() {
        return;
    }
    into.min_ns = if into.buckets.is_empty() {
        from.min_ns
    } else {
        into.min_ns.min(from.min_ns)
    };
    into.max_ns = into.max_ns.max(from.max_ns);
    into.sum_ns = into.sum_ns.saturating_add(from.sum_ns);
    into.buckets.extend(&from.buckets);
    into.buckets.sort_unstable_by_key(|&(bucket, _)| bucket);
    into.buckets.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        if same {
            kept.1 = kept.1.saturating_add(next.1);
        }
        same
    });
}

/// What a flow is the only record of in its window: image, peer, port, transport and role.
pub type FlowId = (u32, u32, u16, Transport, Role);

impl Flow {
    /// What it is the only record of in its window.
    #[must_use]
    pub fn id(&self) -> FlowId {
        (self.image, self.peer, self.port, self.transport, self.role)
    }
}

/// A merge under way. It can go on for ever: when there are many records, those of images, remote ends and traffic that no
/// window has named for long are put together, and what they add up to stays ([`Image::gone`]).
#[derive(Clone, Debug, Default)]
pub struct Merge {
    frame: Frame,
    windows: u64,
    programs: BTreeMap<String, ProgramCost>,
    images: BTreeMap<u32, Image>,
    remotes: BTreeMap<u32, Remote>,
    flows: BTreeMap<FlowId, Flow>,
    cpu: BTreeMap<u32, Cpu>,
    disk: BTreeMap<u32, Disk>,
    multiplexed: bool,
    named: Named,
}

impl Merge {
    /// Adds a window.
    pub fn add(&mut self, mut frame: Frame) {
        let mut renumbered = self.remotes(&mut frame.remotes);
        self.stand_ins(&mut frame.images, &mut renumbered);
        renumbered.apply(&mut frame);
        self.named.note(&frame, self.windows + 1);
        let sum = &mut self.frame;
        sum.start_unix_ns = if self.windows == 0 {
            frame.start_unix_ns
        } else {
            sum.start_unix_ns.min(frame.start_unix_ns)
        };
        self.windows += 1;
        plus(&mut sum.duration_ns, frame.duration_ns);
        sum.host = frame.host;
        sum.steal = if self.windows == 1 {
            frame.steal
        } else {
            sum.steal.zip(frame.steal).map(|(sum, more)| sum.and(more))
        };
        sum.tells_unread_within = frame.tells_unread_within;
        sum.tells_throttled_parts =
            frame.tells_throttled_parts && (self.windows == 1 || sum.tells_throttled_parts);
        for (kind, count) in frame.events {
            plus(sum.events.entry(kind).or_default(), count);
        }
        for (class, count) in frame.lost {
            plus(sum.lost.entry(class).or_default(), count);
        }
        for (protocol, count) in frame.unplaced_protocols {
            plus(sum.unplaced_protocols.entry(protocol).or_default(), count);
        }
        plus(&mut sum.folded_remotes, frame.folded_remotes);
        // Counted since the attach, not since the window began.
        sum.midlife_connections = sum.midlife_connections.max(frame.midlife_connections);
        sum.probes = frame.probes;
        self.multiplexed |= frame.pmu.state == PmuState::Multiplexed;
        sum.pmu = frame.pmu;
        plus(&mut sum.cost.user_cpu_ns, frame.cost.user_cpu_ns);
        sum.cost.rss_bytes = sum.cost.rss_bytes.max(frame.cost.rss_bytes);
        sum.cost.map_bytes = sum.cost.map_bytes.max(frame.cost.map_bytes);
        for program in frame.cost.programs {
            self.program(program);
        }
        for image in frame.images {
            self.image(image);
        }
        for flow in frame.flows {
            self.flow(flow);
        }
        for cpu in frame.cpu {
            self.cpu(cpu);
        }
        for disk in frame.disk {
            self.disk(disk);
        }
        self.forget();
    }

    /// How many windows were added.
    #[must_use]
    pub fn windows(&self) -> u64 {
        self.windows
    }

    /// All windows added, as one.
    #[must_use]
    pub fn finish(self) -> Frame {
        let mut frame = self.frame;
        frame.cost.programs = self.programs.into_values().collect();
        frame.images = self.images.into_values().collect();
        frame.remotes = self.remotes.into_values().collect();
        frame.flows = self.flows.into_values().collect();
        frame.cpu = self.cpu.into_values().collect();
        frame.disk = self.disk.into_values().collect();
        let (mut enabled, mut running) = (0u64, 0u64);
        for counters in frame.cpu.iter().filter_map(|cpu| cpu.counters) {
            plus(&mut enabled, counters.enabled_ns);
            plus(&mut running, counters.running_ns);
        }
        if frame.pmu.running_ratio.is_some() && enabled > 0 {
            frame.pmu.running_ratio = Some(running as f64 / enabled as f64);
        }
        if self.multiplexed && frame.pmu.state == PmuState::Ok {
            frame.pmu.state = PmuState::Multiplexed;
            "more events than counters; values are scaled".clone_into(&mut frame.pmu.reason);
        }
        frame
    }

    /// Makes room for remote ends. A number may have been given to another end since: then that one gets a number of its
    /// own, and the answer says which.
    fn remotes(&mut self, remotes: &mut [Remote]) -> Renumbered {
        let mut renumbered = Renumbered::default();
        for remote in remotes {
            let same =
                |known: &Remote| known.address == remote.address && known.port == remote.port;
            match self.remotes.get(&remote.id) {
                Some(known) if same(known) => continue,
                None => {}
                Some(_) => {
                    let number = match self.remotes.values().find(|known| same(known)) {
                        Some(known) => known.id,
                        None => {
                            let highest = self.remotes.keys().next_back().copied();
                            let free =
                                |id: &u32| id & REMOTE != 0 && !self.remotes.contains_key(id);
                            let above = highest.and_then(|id| id.checked_add(1)).filter(free);
                            // Beyond all numbers in use, or else the first gap.
                            above
                                .or_else(|| (REMOTE..=u32::MAX).find(free))
                                .unwrap_or(remote.id)
                        }
                    };
                    renumbered.insert(remote.id, number);
                    remote.id = number;
                }
            }
            let known = self.remotes.entry(remote.id);
            known.or_insert_with(|| remote.clone());
        }
        renumbered
    }

    fn image(&mut self, mut image: Image) {
        if let Some(known) = self.images.get(&image.id) {
            let processes: BTreeSet<_> = image.processes.iter().chain(&known.processes).collect();
            if processes.len() <= MOST_PROCESSES {
                image.processes = processes.into_iter().cloned().collect();
            }
            let ports: BTreeSet<u16> = image
                .listens
                .iter()
                .chain(&known.listens)
                .copied()
                .collect();
            image.listens = ports.into_iter().collect();
            image.gone = image.gone.saturating_add(known.gone);
        }
        self.images.insert(image.id, image);
    }

    fn program(&mut self, program: ProgramCost) {
        match self.programs.get_mut(&program.name) {
            None => drop(self.programs.insert(program.name.clone(), program)),
            Some(sum) => {
                plus_known(&mut sum.runs, program.runs);
                plus_known(&mut sum.run_time_ns, program.run_time_ns);
            }
        }
    }
}

/// Adds, and stays at the highest number rather than begin anew: a damaged recording may say anything.
pub fn plus(sum: &mut u64, more: u64) {
    *sum = sum.saturating_add(more);
}

/// Adds what is known; the sum of nothing known is unknown.
fn plus_known(sum: &mut Option<u64>, more: Option<u64>) {
    if let Some(more) = more {
        plus(sum.get_or_insert(0), more);
    }
}

/// Adds the named fields.
macro_rules! add {
    ($sum:expr, $more:expr, $($field:ident),+) => { $(plus(&mut $sum.$field, $more.$field);)+ };
}

/// Adds traffic to traffic of the same flow.
pub fn add_flow(sum: &mut Flow, more: &Flow) {
    add_counts(sum, more);
    sum.turnaround_parts.add(more.turnaround_parts);
    add_turnaround_counters(&mut sum.turnaround_counters, more.turnaround_counters);
    merge_dist(&mut sum.answer, &more.answer);
    merge_dist(&mut sum.queued, &more.queued);
    merge_dist(&mut sum.turnaround, &more.turnaround);
    merge_dist(&mut sum.receiving, &more.receiving);
    add_connects(&mut sum.connects, &more.connects);
}

/// Adds what of traffic is one number each.
pub fn add_counts(sum: &mut Flow, more: &Flow) {
    add!(
        sum,
        more,
        messages_sent,
        messages_received,
        bytes_sent,
        bytes_received,
        answered,
        midlife_turns,
        below_floor,
        ambiguous,
        untimed,
        unread_within_ns,
        arrival_unknown,
        retransmits,
        turnarounds,
        unprompted,
        unprompted_ns,
        unprompted_gaps,
        unprompted_squares,
        turnaround_lock_ns,
        handovers
    );
    sum.min_rtt_ns = known_min(sum.min_rtt_ns, more.min_rtt_ns).unwrap_or(0);
}

/// The lesser of two numbers of which 0 is not known.
#[must_use]
pub fn known_min(one: u64, other: u64) -> Option<u64> {
    [one, other].into_iter().filter(|&ns| ns > 0).min()
}

/// Adds connects to others.
pub fn add_connects(sum: &mut Connects, more: &Connects) {
    add!(sum, more, failed, syn_retransmits);
    merge_dist(&mut sum.latency, &more.latency);
}

/// Adds what is known; the sum of nothing known is unknown.
pub fn add_turnaround_counters(
    sum: &mut Option<TurnaroundCounters>,
    more: Option<TurnaroundCounters>,
) {
    if let Some(more) = more {
        add!(sum.get_or_insert_default(), more, cycles, instructions);
    }
}

/// Adds time by image to time by image, and puts it in order.
pub fn add_by_image(sum: &mut Vec<(u32, u64)>, more: &[(u32, u64)]) {
    sum.extend(more);
    sum.sort_unstable_by_key(|(image, _)| *image);
    sum.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        if same {
            plus(&mut kept.1, next.1);
        }
        same
    });
}

/// Adds CPU time to that of the same image, or of another one in the same window.
pub fn add_cpu(sum: &mut Cpu, more: &Cpu) {
    add!(
        sum,
        more,
        on_cpu_ns,
        run_queue_ns,
        block_io_ns,
        voluntary_switches,
        involuntary_switches
    );
    add_by_image(&mut sum.run_queue_by, &more.run_queue_by);
    plus_known(&mut sum.throttled_ns, more.throttled_ns);
    plus_known(&mut sum.threads, more.threads);
    if let Some(more) = &more.locks {
        add_locks(sum.locks.get_or_insert_default(), more);
    }
    if let Some(more) = more.waits {
        let sum = sum.waits.get_or_insert_default();
        add!(sum, more, lock_ns, timer_ns, socket_ns, other_ns);
    }
    if let Some(more) = more.polls {
        let sum = sum.polls.get_or_insert_default();
        add!(sum, more, empty_receives, spin_ns);
        plus_known(&mut sum.zero_timeout_polls, more.zero_timeout_polls);
        plus_known(&mut sum.yields, more.yields);
    }
    if let Some(more) = more.counters {
        let sum = sum.counters.get_or_insert(Counters::default());
        add!(sum, more, cycles, instructions, enabled_ns, running_ns);
        plus_known(&mut sum.llc_references, more.llc_references);
        plus_known(&mut sum.llc_misses, more.llc_misses);
    }
}

/// Adds block I/O to that of the same image.
pub fn add_disk(sum: &mut Disk, more: &Disk) {
    add!(sum, more, reads, writes, read_bytes, write_bytes);
    merge_dist(&mut sum.latency, &more.latency);
    if let Some(more) = &more.queued_behind {
        add_by_image(sum.queued_behind.get_or_insert_default(), more);
    }
}

impl Disk {
    /// Gives images other numbers: its own, and those of whom it waited for.
    pub fn renumber(&mut self, of: impl Fn(u32) -> u32) {
        self.image = of(self.image);
        if let Some(behind) = &mut self.queued_behind {
            for (by, _) in behind.iter_mut() {
                *by = of(*by);
            }
            add_by_image(behind, &[]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::frames::{self, raw, remote};
    use crate::model::{State, View, fold};

    #[test]
    fn windows_together_are_one_long_window() {
        let parts = [1, 5, 20].map(frames::chain);
        let merged = merge(parts);
        let whole = frames::chain(26);
        assert_eq!(merged.flows, whole.flows);
        assert_eq!(merged.cpu, whole.cpu);
        assert_eq!(merged.images, whole.images);
        assert_eq!(merged.duration_ns, 3 * whole.duration_ns);
        assert_eq!(merged.cost.user_cpu_ns, 3 * whole.cost.user_cpu_ns);
        assert_eq!(merged.cost.rss_bytes, whole.cost.rss_bytes);
        let fold = |frame: &Frame| fold(&mut State::default(), frame, &View::default());
        let (one, other) = (fold(&merged), fold(&whole));
        assert_eq!(one.components, other.components);
        assert_eq!(one.edges, other.edges);
        assert_eq!(one.entries, other.entries);
    }

    #[test]
    fn of_no_windows_there_is_nothing_and_one_window_is_itself() {
        assert_eq!(merge([]), Frame::default());
        let one = frames::chain(3);
        assert_eq!(merge([one.clone()]), one);
    }

    #[test]
    fn what_counts_adds_and_what_is_unknown_stays_so() {
        let window = |lost, midlife, rtt, runs, counters| {
            let mut frame = frames::chain(1);
            frame.lost.insert("events".to_owned(), lost);
            frame.midlife_connections = midlife;
            frame.flows[0].min_rtt_ns = rtt;
            frame.cost.programs.push(ProgramCost {
                name: "a".to_owned(),
                runs,
                run_time_ns: None,
            });
            frame.cpu[0].counters = counters;
            frame.cpu[0].image = 1;
            frame.disk.push(Disk {
                image: 1,
                reads: 1,
                latency: raw([7]),
                ..Disk::default()
            });
            frame
        };
        let counted = Counters {
            cycles: 5,
            llc_misses: Some(2),
            ..Counters::default()
        };
        let merged = merge([
            window(1, 9, 0, None, Some(counted)),
            window(2, 9, 500, Some(3), None),
            window(0, 10, 700, Some(4), Some(counted)),
        ]);
        assert_eq!(merged.lost["events"], 3);
        assert_eq!(merged.midlife_connections, 10);
        assert_eq!(merged.flows[0].min_rtt_ns, 500);
        assert_eq!(merged.cost.programs.len(), 1);
        assert_eq!(merged.cost.programs[0].runs, Some(7));
        assert_eq!(merged.cost.programs[0].run_time_ns, None);
        let counters = merged.cpu[0].counters.unwrap();
        assert_eq!((counters.cycles, counters.llc_misses), (10, Some(4)));
        assert_eq!(counters.llc_references, None);
        assert_eq!(merged.disk[0].reads, 3);
        assert_eq!(merged.disk[0].latency, raw([7, 7, 7]));
    }

    #[test]
    fn images_keep_all_their_processes_and_ports_and_their_last_name() {
        let mut first = frames::frame(vec![frames::image(3, "sh", &[80])], &[], vec![]);
        let mut later = frames::frame(vec![frames::image(3, "web", &[443])], &[], vec![]);
        first.images[0].processes[0].tgid = 7;
        later.images[0].processes[0].tgid = 8;
        let merged = merge([first, later]);
        assert_eq!(merged.images.len(), 1);
        assert_eq!(merged.images[0].program, "web");
        assert_eq!(merged.images[0].listens, [80, 443]);
        let tgids: Vec<u32> = merged.images[0].processes.iter().map(|p| p.tgid).collect();
        assert_eq!(tgids, [7, 8]);
    }

    #[test]
    fn a_number_given_to_another_remote_end_does_not_mix_the_two() {
        let to = |address: &'static str| {
            let mut frame = frames::chain(1);
            frame.remotes = vec![Remote {
                id: remote(1),
                address: address.to_owned(),
                port: 80,
            }];
            frame.flows.truncate(1);
            frame.flows[0].peer = remote(1);
            frame
        };
        let merged = merge([to("a"), to("b"), to("a"), to("b"), to("b")]);
        let answered: BTreeMap<&str, u64> = merged
            .flows
            .iter()
            .map(|flow| {
                let end = merged.remotes.iter().find(|end| end.id == flow.peer);
                (end.unwrap().address.as_str(), flow.answered)
            })
            .collect();
        assert_eq!(answered, BTreeMap::from([("a", 2), ("b", 3)]));
        assert_eq!(merged.remotes.len(), 2);
    }
}
