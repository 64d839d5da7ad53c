//! Snapshot: what one window means, in users' words. The JSON of schema `courtside.snapshot/1`.
//!
//! In: what `fold` added up; each field says what of it. Out: the types that screen, file and endpoint show.
//! Must not know: aya, the file system, the clock, how anything is drawn.

mod components;
mod edges;
mod entries;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::fields::{
    AS_KERNEL_SAYS, BELOW, BYTES, EXACT, EXTREME, NAME, NS, NUMBER, OBJECT, QUANTILE, RATIO, TICK,
    YES, fields,
};
use super::finding::Finding;
use crate::frame::{self, Frame, PmuState, ProbeState, Steal, StealUnknown};

pub use components::{
    Component, Counters, Cpu, Disk, Polls, Recipient, Requests, Turnaround, TurnaroundCounters,
    Unprompted, Waits,
};
pub use edges::{Connects, Edge};
pub use entries::{Court, Entry};

/// Name and version of the schema.
pub const SCHEMA: &str = "courtside.snapshot/1";

fields! {
    /// One window, in users' words.
    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
    pub struct Snapshot {
        /// Always `courtside.snapshot/1`.
        schema: String [NAME, EXACT; column ""];
        /// Version of Courtside that made this.
        tool_version: String [NAME, EXACT; last];
        /// The machine.
        host: Host [OBJECT, BELOW; prefix "", last];
        /// The time measured.
        window: Window [OBJECT, BELOW; prefix ""];
        /// How far the numbers can be trusted.
        quality: Quality [OBJECT, BELOW; prefix "", last];
        /// What measuring cost.
        cost: Cost [OBJECT, BELOW; prefix "", last];
        /// What a user thinks of as one service each.
        components: Vec<Component> [OBJECT, BELOW];
        /// Who talked to whom, booked once, at the initiator.
        edges: Vec<Edge> [OBJECT, BELOW];
        /// Where a request's time went, for each entry; the 64 busiest.
        entries: Vec<Entry> [OBJECT, BELOW];
        /// What is wrong, the worst first; empty where nothing is found.
        #[serde(default)]
        findings: Vec<Finding> [OBJECT, BELOW];
        /// What there is instead, if nothing matched the selection; absent if something did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unmatched: Option<Unmatched> [OBJECT, BELOW; column ""];
    }
}

fields! {
    /// What a selection could have matched.
    #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
    pub struct Unmatched {
        /// Names of the components that did something, in the order of the alphabet; the first 64.
        components: Vec<String> [NAME, EXACT];
        /// Ports that there was traffic on; the first 64.
        ports: Vec<u16> [NUMBER, EXACT];
    }
}

fields! {
    /// The machine.
    #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
    pub struct Host from (frame: &Frame) {
        /// Name of the host.
        hostname: String [NAME, EXACT; note "From /proc/sys/kernel/hostname"] = frame.host.hostname.clone();
        /// Kernel release.
        kernel: String [NAME, EXACT; note "From /proc/sys/kernel/osrelease"] = frame.host.kernel.clone();
        /// Architecture, as `uname -m` has it.
        arch: String [NAME, EXACT] = frame.host.arch.clone();
        /// CPUs online.
        cpus: u32 [NUMBER, EXACT; note "From /sys/devices/system/cpu"] = frame.host.cpus;
        /// Boot id; changes with every boot.
        boot_id: String [NAME, EXACT; note "From /proc/sys/kernel/random/boot_id"] = frame.host.boot_id.clone();
        /// CPU time that the hypervisor gave to others while a CPU of this host was ready to run something, all CPUs together.
        /// No component is told it: a thread that a hypervisor stopped counts as on its CPU. Null if steal_unknown says why.
        #[serde(default)]
        steal_ns: Option<u64> [NS, TICK; note "From /proc/stat. 0 on a host that no hypervisor runs"] = match frame.steal {
            Some(Steal::Ns(ns)) => Some(ns),
            _ => None,
        };
        /// Why steal_ns is not known: `never_told` (a virtual machine whose counter has stood at 0 since it started: nothing was
        /// taken, or its hypervisor does not tell), `unreadable` (/proc/stat), `not_recorded` (the recording is by a version that
        /// did not look).
        #[serde(default)]
        steal_unknown: Option<StealUnknown> [NAME, EXACT] = match frame.steal {
            Some(Steal::Ns(_)) => None,
            Some(Steal::Unknown(why)) => Some(why),
            None => Some(StealUnknown::NotRecorded),
        };
    }
}

fields! {
    /// The time measured.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
    pub struct Window from (frame: &Frame) {
        /// Wall-clock time at which the window began, since 1970.
        start_unix_ns: u64 [NS, EXACT;
            note "By the clock as it was set when measuring began: setting it meanwhile changes no time stamp"]
        = frame.start_unix_ns;
        /// Its length on the monotonic clock.
        duration_ns: u64 [NS, EXACT] = frame.duration_ns;
    }
}

fields! {
    /// How far the numbers can be trusted.
    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
    pub struct Quality from (frame: &Frame, lost: BTreeMap<String, u64>, lower_bound: bool) {
        /// What happened but is not in the counts, by class. Every class is listed, also at 0.
        lost: BTreeMap<String, u64> [NUMBER, EXACT] = lost;
        /// Sends and receives of the class `unplaced_protocol`, by protocol (`vsock`, `sctp`, `raw-ospf`).
        #[serde(default)]
        unplaced_protocols: BTreeMap<String, u64> [NUMBER, EXACT] = frame.unplaced_protocols.clone();
        /// Connections seen in use that are older than the attach: their first turn is not counted.
        midlife_connections: u64 [NUMBER, EXACT] = frame.midlife_connections;
        /// About how many remote ends were new in this window and are shown as one, `(other remote ends)`, because there are
        /// too many: their traffic is counted in full.
        #[serde(default)]
        folded_remotes: u64 [NUMBER, "1 or 2 %";
            note "The maps hold 2048 remote ends that call and 1024 that are called. The port of a folded end that is called is not kept"]
        = frame.folded_remotes;
        /// Some count of this window may be too low: a class of loss that affects counts, or an edge says so.
        lower_bound: bool [YES, EXACT] = lower_bound;
        /// Every kernel program.
        probes: Vec<Probe> [OBJECT, BELOW] = frame.probes.iter().map(Probe::of).collect();
        /// Hardware counters.
        pmu: Pmu [OBJECT, BELOW; prefix "pmu_", last] = Pmu::of(&frame.pmu);
    }
}

impl Quality {
    /// Everything that was lost, all classes together.
    #[must_use]
    pub fn lost_in_all(&self) -> u64 {
        self.lost.values().copied().fold(0, u64::saturating_add)
    }
}

fields! {
    /// A kernel program.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
    pub struct Probe from (probe: &frame::ProbeStatus) {
        /// Name of the program.
        name: String [NAME, EXACT]
        => { NAME "PROBE" "program in the kernel" }
        = probe.name.clone();
        /// Hook it sits on.
        hook: String [NAME, EXACT]
        => { HOOK "HOOK" "where it sits in the kernel" }
        = probe.hook.clone();
        /// Whether it works: `attached`, `degraded`, `failed` or `disabled`.
        state: ProbeState [NAME, EXACT]
        => { STATE "STATE" "attached, degraded (a lesser hook, or a field missing), failed, disabled" }
        = probe.state;
        /// Why it does not work in full.
        reason: String [NAME, EXACT]
        => { REASON "REASON" "why it does not work in full; the selected one is shown in full below" }
        = probe.reason.clone();
    }
}

fields! {
    /// Hardware counters.
    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
    pub struct Pmu from (pmu: &frame::Pmu) {
        /// Whether hardware counters count: `ok`, `multiplexed`, `none` or `disabled`.
        state: PmuState [NAME, EXACT] = pmu.state;
        /// Why they do not count.
        reason: String [NAME, EXACT] = pmu.reason.clone();
        /// Share of the time they counted; null unless multiplexed or ok.
        running_ratio: Option<f64> [RATIO, EXACT] = pmu.running_ratio;
    }
}

fields! {
    /// What measuring cost.
    #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
    pub struct Cost from (cost: &frame::Cost) {
        /// What each kernel program cost.
        programs: Vec<ProgramCost> [OBJECT, BELOW] = cost.programs.iter().map(ProgramCost::of).collect();
        /// CPU time of Courtside's own process.
        user_cpu_ns: u64 [NS, AS_KERNEL_SAYS; note "User and system time, from /proc/self"] = cost.user_cpu_ns;
        /// Resident memory of Courtside's own process.
        rss_bytes: u64 [BYTES, AS_KERNEL_SAYS; note "From /proc/self"] = cost.rss_bytes;
        /// Memory of Courtside's maps in the kernel.
        map_bytes: u64 [BYTES, AS_KERNEL_SAYS; note "Without the state kept with threads and sockets"] = cost.map_bytes;
    }
}

impl Cost {
    /// CPU time of the kernel programs; `None` unless it was measured of all of them (`--program-cost`).
    #[must_use]
    pub fn programs_ns(&self) -> Option<u64> {
        let all = self.programs.iter().map(|program| program.run_time_ns);
        let sum = all.reduce(|a, b| Some(a?.saturating_add(b?)));
        sum.flatten()
    }

    /// CPU time of our own process and of the kernel programs, and the mark that is to stand before it: without
    /// `--program-cost` the programs are left out, and they mostly take more than the process.
    #[must_use]
    pub fn own(&self) -> (&'static str, u64) {
        match self.programs_ns() {
            Some(programs) => ("", self.user_cpu_ns.saturating_add(programs)),
            None => ("≥", self.user_cpu_ns),
        }
    }
}

fields! {
    /// Cost of one kernel program.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
    pub struct ProgramCost from (program: &frame::ProgramCost) {
        /// Name of the program.
        name: String [NAME, EXACT] = program.name.clone();
        /// How often it ran; null without `--program-cost`.
        runs: Option<u64> [NUMBER, EXACT; note "The accounting itself costs some 20 ns a run"]
        => { RUNS "RUNS/s" "how often it runs; - unless measured" }
        = program.runs;
        /// How long it ran in all; null without `--program-cost`.
        run_time_ns: Option<u64> [NS, AS_KERNEL_SAYS]
        => {
            PER_RUN "PER RUN" "mean time of one run; - unless measured",
            SHARE "CPU" "time in it; 100% is one core; - unless measured",
        }
        = program.run_time_ns;
    }
}

/// What a component is.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum ComponentKind {
    /// A systemd unit.
    Unit,
    /// A container or pod.
    Container,
    /// A program.
    #[default]
    Program,
    /// An end that is not on this host.
    Remote,
}

/// Why it is not known how long a component held its requests.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum HeldUnknown {
    /// Several requests were open at once on a connection to it.
    UntimedRequests,
    /// Several of its calls were open at once on a connection.
    UntimedCalls,
    /// It served fewer requests than its clients got answers: some were not seen.
    UnseenRequests,
    /// Some of its calls have no latency: fewer answers were seen at its end than at the other, or none.
    UnseenCalls,
    /// Recorded by a version that did not separate unread time from turnarounds.
    NotRecorded,
}

fields! {
    /// A distribution. A quantile's relative error is at most 6.25 %; sum and count are exact. So are extremes, except
    /// one that came just while a window closed or another CPU wrote one: its error is at most 12.5 %, the width of its bucket.
    #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
    pub struct Dist {
        /// How many.
        count: u64 [NUMBER, EXACT];
        /// Sum.
        sum_ns: u64 [NS, EXACT];
        /// Smallest; 0 if there is none.
        min_ns: u64 [NS, EXTREME];
        /// Median.
        p50_ns: u64 [NS, QUANTILE];
        /// 90th percentile.
        p90_ns: u64 [NS, QUANTILE];
        /// 99th percentile.
        p99_ns: u64 [NS, QUANTILE];
        /// Largest.
        max_ns: u64 [NS, EXTREME];
        /// `[upper bound, count]` of each bucket that is not empty, ascending.
        buckets: Vec<(u64, u64)> [NS, QUANTILE; prefix "bucket_"];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_measuring_took_is_at_least_that_unless_all_of_it_is_known() {
        let program = |run_time_ns| ProgramCost {
            name: String::new(),
            runs: None,
            run_time_ns,
        };
        let cost = |programs: &[Option<u64>]| Cost {
            programs: programs.iter().copied().map(program).collect(),
            user_cpu_ns: 5,
            ..Cost::default()
        };
        assert_eq!(cost(&[Some(7), Some(u64::MAX)]).own(), ("", u64::MAX));
        assert_eq!(cost(&[Some(7), Some(8)]).own(), ("", 20));
        for unknown in [&[] as &[_], &[None], &[Some(7), None]] {
            assert_eq!(cost(unknown).own(), ("≥", 5));
        }
    }
}
