//! What is told of the whole: time measured, what was lost, probes, findings, and of the agent itself.
//!
//! In: windows, and what the agent says of itself. Out: families that no component has. Must not know: how the agent knows.

use std::collections::BTreeMap;

use courtside_core::frame::{PmuState, ProbeState};
use courtside_core::model::fields::Fields;
use courtside_core::model::snapshot::{ComponentKind, Cost, Host, Pmu, Quality, Snapshot};

use super::{
    family::{Family, Kind, Unit, Words, family},
    guarded::{self, Guarded},
    shown::Id,
    write::{Number, Writer, label},
};
use Kind::{Counter, Gauge, Info};
use Unit::{Bytes, Ns, Number as Plain};
use Words::{Are, Of};

const COMPONENT: Family = family(
    "courtside_component",
    Info,
    Plain,
    Are("name and kind of each component that has series of its own"),
);

const BUILD: Family = family("courtside_build", Info, Plain, Are("version of Courtside"));
const HOST: Family = family(
    "courtside_host",
    Info,
    Plain,
    Are("name, kernel and architecture of the host"),
);
const CPUS: Family = family(
    "courtside_host_cpus",
    Gauge,
    Plain,
    Of(Host::FIELDS, "cpus"),
);
const STEAL: Family = family(
    "courtside_steal_seconds",
    Counter,
    Ns,
    Of(Host::FIELDS, "steal_ns"),
);
const WINDOWS: Family = family("courtside_windows", Counter, Plain, Are("windows measured"));
const MEASURED: Family = family(
    "courtside_measured_seconds",
    Counter,
    Ns,
    Are("length of all windows measured; what is not in any is in no counter"),
);
const WINDOW: Family = family(
    "courtside_window_seconds",
    Gauge,
    Ns,
    Are("length of the last window"),
);
const WINDOW_END: Family = family(
    "courtside_window_end_timestamp_seconds",
    Gauge,
    Ns,
    Are("when the last window ended, since 1970"),
);
const LOST: Family = family(
    "courtside_lost",
    Counter,
    Plain,
    Of(Quality::FIELDS, "lost"),
);
const LOWER_BOUND: Family = family(
    "courtside_lower_bound_windows",
    Counter,
    Plain,
    Are("windows in which some count may be too low"),
);
const FOLDED_REMOTES: Family = family(
    "courtside_folded_remotes",
    Counter,
    Plain,
    Of(Quality::FIELDS, "folded_remotes"),
);
const FOLDED_SERIES: Family = family(
    "courtside_folded_series",
    Gauge,
    Plain,
    Are(
        "components, edges and recipients of the last window that the limit on series put into the label other; --top sets the limit",
    ),
);
const MIDLIFE: Family = family(
    "courtside_midlife_connections",
    Gauge,
    Plain,
    Of(Quality::FIELDS, "midlife_connections"),
);
const PROBE: Family = family(
    "courtside_probe_state",
    Gauge,
    Plain,
    Are(
        "1 for the state that a kernel program is in: attached, degraded (a lesser hook, or a field missing), failed, disabled",
    ),
);
const PMU: Family = family(
    "courtside_pmu_state",
    Gauge,
    Plain,
    Of(Pmu::FIELDS, "state"),
);
const FINDINGS: Family = family(
    "courtside_findings",
    Gauge,
    Plain,
    Are("findings of the last window, by rule, severity and component"),
);
const MAPS: Family = family(
    "courtside_map_bytes",
    Gauge,
    Bytes,
    Of(Cost::FIELDS, "map_bytes"),
);
const ANSWERS: Family = family(
    "courtside_http_requests",
    Counter,
    Plain,
    Are("requests that this agent answered, by path and status"),
);
const CONNECTIONS: Family = family(
    "courtside_http_connections",
    Gauge,
    Plain,
    Are("connections to this agent that are open"),
);
const REFUSED: Family = family(
    "courtside_http_connections_refused",
    Counter,
    Plain,
    Are("connections to this agent that were refused because too many were open"),
);
const RECORDING: Family = family(
    "courtside_recording",
    Gauge,
    Plain,
    Are(
        "1 while windows go into a recording, 0 when recording has failed; absent without --record",
    ),
);
const RECORDED: Family = family(
    "courtside_recorded_windows",
    Counter,
    Plain,
    Are("windows that went into the recording, also those given up since for newer ones"),
);
const EXPORTING: Family = family(
    "courtside_exporting",
    Gauge,
    Plain,
    Are(
        "1 while windows go into files of their hour, 0 when the last one could not; absent without --export",
    ),
);
const EXPORTED: Family = family(
    "courtside_exported_windows",
    Counter,
    Plain,
    Are(
        "windows in exported files that are whole; those of the hour that goes on are not counted yet",
    ),
);
const EXPORT_LOST: Family = family(
    "courtside_export_lost_windows",
    Counter,
    Plain,
    Are(
        "windows that are in no exported file: the disk was full or too slow, or the folder could not be written to",
    ),
);
const PUSH_SENT: Family = family(
    "courtside_otlp_sent",
    Counter,
    Plain,
    Are("pushes that the collector took as a whole; absent without --otlp"),
);
const PUSH_LOST: Family = family(
    "courtside_otlp_lost",
    Counter,
    Plain,
    Are(
        "pushes that were given up, because the collector refused them or could not be reached for long, or that it took in part",
    ),
);
const PUSH_FAILURES: Family = family(
    "courtside_otlp_failures",
    Counter,
    Plain,
    Are("tries of a push that failed and were made again"),
);
const CPU: Family = family(
    "process_cpu_seconds",
    Counter,
    Ns,
    Are("user and system CPU time of this agent; that of its kernel programs is not in it"),
);
const RESIDENT: Family = family(
    "process_resident_memory_bytes",
    Gauge,
    Bytes,
    Are("resident memory of this agent"),
);
const STARTED: Family = family(
    "process_start_time_seconds",
    Gauge,
    Ns,
    Are("when this agent began to serve, since 1970"),
);
const OPEN: Family = family(
    "process_open_fds",
    Gauge,
    Plain,
    Are("file descriptors that this agent has open"),
);
const MOST_OPEN: Family = family(
    "process_max_fds",
    Gauge,
    Plain,
    Are("file descriptors that this agent may have open"),
);

pub(super) const COMPONENT_INFO: &[(Family, &[&str])] =
    &[(COMPONENT, &["component", "name", "kind"])];

/// All others but those of a guard, in the order in which they are written, with their labels.
pub(super) const WHOLE: &[(Family, &[&str])] = &[
    (BUILD, &["version"]),
    (HOST, &["hostname", "kernel", "arch"]),
    (CPUS, &[]),
    (STEAL, &[]),
    (WINDOWS, &[]),
    (MEASURED, &[]),
    (WINDOW, &[]),
    (WINDOW_END, &[]),
    (LOST, &["class"]),
    (LOWER_BOUND, &[]),
    (FOLDED_REMOTES, &[]),
    (FOLDED_SERIES, &[]),
    (MIDLIFE, &[]),
    (PROBE, &["probe", "state"]),
    (PMU, &["state"]),
    (FINDINGS, &["rule", "severity", "component"]),
    (MAPS, &[]),
    (ANSWERS, &["path", "code"]),
    (CONNECTIONS, &[]),
    (REFUSED, &[]),
    (RECORDING, &[]),
    (RECORDED, &[]),
    (EXPORTING, &[]),
    (EXPORTED, &[]),
    (EXPORT_LOST, &[]),
    (PUSH_SENT, &[]),
    (PUSH_LOST, &[]),
    (PUSH_FAILURES, &[]),
    (CPU, &[]),
    (RESIDENT, &[]),
    (STARTED, &[]),
    (OPEN, &[]),
    (MOST_OPEN, &[]),
];

/// How often a path was answered with a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answers {
    /// The path, one of a few.
    pub path: &'static str,
    /// The status.
    pub code: u16,
    /// How often.
    pub count: u64,
}

/// What becomes of a recording beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorder {
    /// Windows still go into it.
    pub is_well: bool,
    /// Windows that went into it.
    pub windows: u64,
}

/// What becomes of windows that are exported by the hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exporter {
    /// The last window could be written.
    pub is_well: bool,
    /// Windows in files that are whole.
    pub windows: u64,
    /// Windows in no file.
    pub lost: u64,
}

/// What becomes of pushes to a collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pusher {
    /// Taken as a whole.
    pub sent: u64,
    /// Given up, or taken in part.
    pub lost: u64,
    /// Tries that failed and were made again.
    pub failures: u64,
}

/// What an agent says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agent {
    /// Version of Courtside.
    pub version: String,
    /// When it began to serve.
    pub started_unix_ns: u64,
    /// CPU time of its process.
    pub cpu_ns: u64,
    /// Resident memory of its process.
    pub resident_bytes: u64,
    /// File descriptors; `None` if that cannot be read.
    pub open_fds: Option<u64>,
    /// How many it may have; `None` if there is no limit.
    pub max_fds: Option<u64>,
    /// Its recording, if it makes one.
    pub recorder: Option<Recorder>,
    /// Its export, if it makes one.
    pub exporter: Option<Exporter>,
    /// Its pushes, if it makes any.
    pub pusher: Option<Pusher>,
    /// Its guard, if it has one.
    pub guard: Option<Guarded>,
    /// What it answered.
    pub answers: Vec<Answers>,
    /// Open connections.
    pub connections: u64,
    /// Connections refused because too many were open.
    pub refused: u64,
}

/// What no component has.
#[derive(Debug, Default)]
pub(super) struct Whole {
    pub(super) windows: u64,
    pub(super) measured_ns: u64,
    pub(super) lost: BTreeMap<String, u64>,
    pub(super) lower_bound_windows: u64,
    folded_remotes: u64,
    /// Of the windows in which it is known; none if it is in none.
    steal_ns: Option<u64>,
}

impl Whole {
    pub(super) fn add(&mut self, snapshot: &Snapshot) {
        let quality = &snapshot.quality;
        self.windows = self.windows.saturating_add(1);
        self.measured_ns = self.measured_ns.saturating_add(snapshot.window.duration_ns);
        for (class, count) in &quality.lost {
            match self.lost.get_mut(class) {
                Some(sum) => *sum = sum.saturating_add(*count),
                None => drop(self.lost.insert(class.clone(), *count)),
            }
        }
        self.lower_bound_windows = self
            .lower_bound_windows
            .saturating_add(quality.lower_bound.into());
        if let Some(ns) = snapshot.host.steal_ns {
            self.steal_ns = Some(self.steal_ns.unwrap_or(0).saturating_add(ns));
        }
        self.folded_remotes = self.folded_remotes.saturating_add(quality.folded_remotes);
    }

    pub(super) fn write(
        &self,
        to: &mut Writer<'_>,
        folded: usize,
        last: Option<&Snapshot>,
        name: &dyn Fn(&str) -> Id,
        agent: &Agent,
    ) {
        to.one(
            &BUILD,
            vec![label("version", &agent.version)],
            Number::Count(1),
        );
        if let Some(last) = last {
            let host = vec![
                label("hostname", &last.host.hostname),
                label("kernel", &last.host.kernel),
                label("arch", &last.host.arch),
            ];
            to.one(&HOST, host, Number::Count(1));
            to.one(&CPUS, vec![], Number::Count(last.host.cpus.into()));
        }
        if let Some(ns) = self.steal_ns {
            to.one(&STEAL, vec![], Number::Ns(ns));
        }
        to.one(&WINDOWS, vec![], Number::Count(self.windows));
        to.one(&MEASURED, vec![], Number::Ns(self.measured_ns));
        if let Some(last) = last {
            let window = last.window;
            let end_ns = window.start_unix_ns.saturating_add(window.duration_ns);
            to.one(&WINDOW, vec![], Number::Ns(window.duration_ns));
            to.one(&WINDOW_END, vec![], Number::Ns(end_ns));
        }
        to.head(&LOST);
        for (class, count) in &self.lost {
            to.sample(&LOST, vec![label("class", class)], Number::Count(*count));
        }
        to.one(
            &LOWER_BOUND,
            vec![],
            Number::Count(self.lower_bound_windows),
        );
        to.one(&FOLDED_REMOTES, vec![], Number::Count(self.folded_remotes));
        to.one(&FOLDED_SERIES, vec![], Number::Count(folded as u64));
        if let Some(last) = last {
            window(to, last, name);
        }
        of_agent(to, agent);
        if let Some(guard) = &agent.guard {
            guarded::write(to, guard, name);
        }
    }
}

/// What only the last window says.
fn window(to: &mut Writer<'_>, last: &Snapshot, name: &dyn Fn(&str) -> Id) {
    let quality = &last.quality;
    to.one(&MIDLIFE, vec![], Number::Count(quality.midlife_connections));
    to.head(&PROBE);
    // Two programs of one name would be one series twice.
    let probes: BTreeMap<&str, ProbeState> = quality
        .probes
        .iter()
        .map(|probe| (probe.name.as_str(), probe.state))
        .collect();
    for (probe, now) in probes {
        for state in ProbeState::ALL {
            let labels = vec![label("probe", probe), label("state", state.name())];
            to.sample(&PROBE, labels, Number::Count((now == *state).into()));
        }
    }
    to.head(&PMU);
    for state in PmuState::ALL {
        let is_now = Number::Count((quality.pmu.state == *state).into());
        to.sample(&PMU, vec![label("state", state.name())], is_now);
    }
    let mut findings: BTreeMap<(&str, &str, Id), u64> = BTreeMap::new();
    for finding in &last.findings {
        let key = (
            finding.rule.as_str(),
            finding.severity.name(),
            name(&finding.component),
        );
        *findings.entry(key).or_default() += 1;
    }
    to.head(&FINDINGS);
    for ((rule, severity, component), count) in findings {
        let labels = vec![
            label("rule", rule),
            label("severity", severity),
            label("component", &component),
        ];
        to.sample(&FINDINGS, labels, Number::Count(count));
    }
    to.one(&MAPS, vec![], Number::Count(last.cost.map_bytes));
}

fn of_agent(to: &mut Writer<'_>, agent: &Agent) {
    to.head(&ANSWERS);
    for answers in &agent.answers {
        let labels = vec![
            label("path", answers.path),
            label("code", &answers.code.to_string()),
        ];
        to.sample(&ANSWERS, labels, Number::Count(answers.count));
    }
    to.one(&CONNECTIONS, vec![], Number::Count(agent.connections));
    to.one(&REFUSED, vec![], Number::Count(agent.refused));
    if let Some(recorder) = agent.recorder {
        to.one(&RECORDING, vec![], Number::Count(recorder.is_well.into()));
        to.one(&RECORDED, vec![], Number::Count(recorder.windows));
    }
    if let Some(exporter) = agent.exporter {
        to.one(&EXPORTING, vec![], Number::Count(exporter.is_well.into()));
        to.one(&EXPORTED, vec![], Number::Count(exporter.windows));
        to.one(&EXPORT_LOST, vec![], Number::Count(exporter.lost));
    }
    if let Some(pusher) = agent.pusher {
        to.one(&PUSH_SENT, vec![], Number::Count(pusher.sent));
        to.one(&PUSH_LOST, vec![], Number::Count(pusher.lost));
        to.one(&PUSH_FAILURES, vec![], Number::Count(pusher.failures));
    }
    to.one(&CPU, vec![], Number::Ns(agent.cpu_ns));
    to.one(&RESIDENT, vec![], Number::Count(agent.resident_bytes));
    to.one(&STARTED, vec![], Number::Ns(agent.started_unix_ns));
    for (family, count) in [(&OPEN, agent.open_fds), (&MOST_OPEN, agent.max_fds)] {
        if let Some(count) = count {
            to.one(family, vec![], Number::Count(count));
        }
    }
}

impl Writer<'_> {
    /// Name and kind of the components that have series.
    pub(super) fn component_info<'a>(
        &mut self,
        components: impl Iterator<Item = (&'a Id, &'a str, ComponentKind)>,
    ) {
        self.head(&COMPONENT);
        for (id, name, kind) in components {
            let labels = vec![
                label("component", id),
                label("name", name),
                label("kind", kind.name()),
            ];
            self.sample(&COMPONENT, labels, Number::Count(1));
        }
    }
}
