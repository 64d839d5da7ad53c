//! The families of metrics: what each is called, its unit, what it means, and where its number comes from.
//!
//! In: the table of fields in core, for the words. Out: tables that sums are made and written by. Must not know: sums, text.

use courtside_core::model::fields::{Field, Fields};
use courtside_core::model::snapshot::{
    Component, Connects, Counters, Disk, Dist, Edge, Polls, ProgramCost, Recipient, Requests,
    Turnaround, Waits,
};
use courtside_core::parts::Part;

use super::{blames, guarded, whole};

/// What kind of number a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It is what it is now.
    Gauge,
    /// Counts of values by size.
    Histogram,
    /// Words, as labels of a 1.
    Info,
}

impl Kind {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }
}

/// How a sum is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// As it is.
    Number,
    /// Nanoseconds, written as seconds.
    Ns,
    /// As it is; bytes.
    Bytes,
}

/// What a family means.
#[derive(Clone, Copy, Debug)]
pub(super) enum Words {
    /// As the field of this name says in the table of fields.
    Of(&'static [Field], &'static str),
    /// In these words.
    Are(&'static str),
}

impl Words {
    pub(super) fn text(self) -> String {
        match self {
            Self::Are(text) => text.to_owned(),
            Self::Of(fields, name) => {
                let field = fields.iter().find(|field| field.name == name);
                field.map_or_else(String::new, Field::phrase)
            }
        }
    }
}

/// One family.
#[derive(Clone, Copy, Debug)]
pub(super) struct Family {
    /// Its name, without the ending of a counter.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) unit: Unit,
    pub(super) words: Words,
}

pub(super) const fn family(name: &'static str, kind: Kind, unit: Unit, words: Words) -> Family {
    Family {
        name,
        kind,
        unit,
        words,
    }
}

/// A counter of a group, with the label that tells it from others of its family.
pub(super) struct Counter<T: 'static> {
    pub(super) family: Family,
    pub(super) label: Option<(&'static str, &'static str)>,
    /// What a window adds; `None` if that is not known.
    pub(super) get: fn(&T) -> Option<u64>,
}

const fn counter<T>(
    name: &'static str,
    unit: Unit,
    words: Words,
    get: fn(&T) -> Option<u64>,
) -> Counter<T> {
    Counter {
        family: family(name, Kind::Counter, unit, words),
        label: None,
        get,
    }
}

impl<T> Counter<T> {
    const fn label(self, name: &'static str, value: &'static str) -> Self {
        Self {
            label: Some((name, value)),
            ..self
        }
    }
}

/// A histogram of a group.
pub(super) struct Histogram<T: 'static> {
    pub(super) family: Family,
    /// What a window adds; `None` if that is not known.
    pub(super) get: fn(&T) -> Option<&Dist>,
}

const fn histogram<T>(
    name: &'static str,
    words: Words,
    get: fn(&T) -> Option<&Dist>,
) -> Histogram<T> {
    Histogram {
        family: family(name, Kind::Histogram, Unit::Ns, words),
        get,
    }
}

/// What is added up for each key of one kind.
pub(super) struct Group<T: 'static> {
    /// Those of one family stand together.
    pub(super) counters: &'static [Counter<T>],
    pub(super) histograms: &'static [Histogram<T>],
}

use Unit::{Bytes, Ns, Number};
use Words::{Are, Of};

const CPU: Words = Are(
    "time of its threads on a CPU, runnable without one, held back by a CPU quota of their own where that is measured, and waiting for the block layer; threads side by side add up",
);
const SLEEP: Words = Are(
    "time that its threads slept, by what for: a lock, a condition or work from another thread; a timer; a message; anything else; absent where that is not measured",
);
const SWITCHES: Words =
    Are("context switches that its threads asked for, and that were forced on them");
const DISK_BYTES: Words = Are("bytes read and written at the block layer");
const DISK_REQUESTS: Words =
    Are("requests completed at the block layer; flushes and discards are not counted");
const UNCERTAIN: &str = "windows in which the count is a lower bound: several requests were open at once on a connection, \
     a connection was older than the attach, or the two ends count differently";

/// Adds a field of the sleep of a component.
macro_rules! sleep {
    ($get:expr, $value:literal) => {
        counter("courtside_sleep_seconds", Ns, SLEEP, |c: &Component| {
            c.waits.as_ref().map($get)
        })
        .label("for", $value)
    };
}

/// Sleep for what has no name of its own: all names together have to add up.
fn rest_of_sleep(waits: &Waits) -> u64 {
    let more = [waits.pipe_ns, waits.page_fault_ns];
    let more = more.into_iter().flatten();
    more.fold(waits.other_ns, u64::saturating_add)
}

/// By component.
pub(super) const COMPONENTS: Group<Component> = Group {
    counters: &[
        counter(
            "courtside_requests",
            Number,
            Of(Requests::FIELDS, "served"),
            |c| Some(c.requests.served),
        ),
        counter(
            "courtside_requests_untimed",
            Number,
            Of(Requests::FIELDS, "untimed"),
            |c| Some(c.requests.untimed),
        ),
        counter(
            "courtside_requests_lower_bound_windows",
            Number,
            Are(UNCERTAIN),
            |c| Some(c.requests.lower_bound.into()),
        ),
        counter(
            "courtside_request_unread_seconds",
            Ns,
            Of(Requests::FIELDS, "queued_ns"),
            |c| Some(c.requests.queued_ns.sum_ns),
        ),
        counter(
            "courtside_unprompted",
            Number,
            Of(Turnaround::FIELDS, "unprompted_count"),
            |c| Some(c.turnaround.unprompted_count),
        ),
        counter(
            "courtside_unprompted_seconds",
            Ns,
            Of(Turnaround::FIELDS, "unprompted_ns"),
            |c| Some(c.turnaround.unprompted_ns),
        ),
        counter("courtside_cpu_seconds", Ns, CPU, |c: &Component| {
            Some(c.cpu.on_cpu_ns)
        })
        .label("state", "on_cpu"),
        counter("courtside_cpu_seconds", Ns, CPU, |c: &Component| {
            Some(c.cpu.run_queue_ns)
        })
        .label("state", "run_queue"),
        counter("courtside_cpu_seconds", Ns, CPU, |c: &Component| {
            Some(c.cpu.block_io_ns)
        })
        .label("state", "block_io"),
        counter("courtside_cpu_seconds", Ns, CPU, |c: &Component| {
            c.cpu.throttled_ns
        })
        .label("state", "throttled"),
        sleep!(|w| w.lock_ns, "lock"),
        sleep!(|w| w.timer_ns, "timer"),
        sleep!(|w| w.socket_ns, "message"),
        sleep!(rest_of_sleep, "other"),
        counter(
            "courtside_empty_receives",
            Number,
            Of(Polls::FIELDS, "empty_receives"),
            |c| c.polls.as_ref().map(|polls| polls.empty_receives),
        ),
        counter(
            "courtside_zero_timeout_polls",
            Number,
            Of(Polls::FIELDS, "zero_timeout_polls"),
            |c| c.polls.as_ref()?.zero_timeout_polls,
        ),
        counter(
            "courtside_yields",
            Number,
            Of(Polls::FIELDS, "yields"),
            |c| c.polls.as_ref()?.yields,
        ),
        counter(
            "courtside_spin_seconds",
            Ns,
            Of(Polls::FIELDS, "spin_ns"),
            |c| c.polls.as_ref().map(|polls| polls.spin_ns),
        ),
        counter(
            "courtside_context_switches",
            Number,
            SWITCHES,
            |c: &Component| Some(c.cpu.voluntary_switches),
        )
        .label("kind", "voluntary"),
        counter(
            "courtside_context_switches",
            Number,
            SWITCHES,
            |c: &Component| Some(c.cpu.involuntary_switches),
        )
        .label("kind", "involuntary"),
        counter(
            "courtside_disk_bytes",
            Bytes,
            DISK_BYTES,
            |c: &Component| Some(c.disk.read_bytes),
        )
        .label("op", "read"),
        counter(
            "courtside_disk_bytes",
            Bytes,
            DISK_BYTES,
            |c: &Component| Some(c.disk.write_bytes),
        )
        .label("op", "write"),
        counter(
            "courtside_disk_requests",
            Number,
            DISK_REQUESTS,
            |c: &Component| Some(c.disk.reads),
        )
        .label("op", "read"),
        counter(
            "courtside_disk_requests",
            Number,
            DISK_REQUESTS,
            |c: &Component| Some(c.disk.writes),
        )
        .label("op", "write"),
        counter(
            "courtside_cycles",
            Number,
            Of(Counters::FIELDS, "cycles"),
            |c| c.counters.map(|counters| counters.cycles),
        ),
        counter(
            "courtside_instructions",
            Number,
            Of(Counters::FIELDS, "instructions"),
            |c| c.counters.map(|counters| counters.instructions),
        ),
        counter(
            "courtside_llc_references",
            Number,
            Of(Counters::FIELDS, "llc_references"),
            |c| c.counters.and_then(|counters| counters.llc_references),
        ),
        counter(
            "courtside_llc_misses",
            Number,
            Of(Counters::FIELDS, "llc_misses"),
            |c| c.counters.and_then(|counters| counters.llc_misses),
        ),
    ],
    histograms: &[
        histogram(
            "courtside_service_seconds",
            Of(Requests::FIELDS, "service_ns"),
            |c| Some(&c.requests.service_ns),
        ),
        histogram(
            "courtside_disk_seconds",
            Of(Disk::FIELDS, "latency_ns"),
            |c| Some(&c.disk.latency_ns),
        ),
    ],
};

const PARTS: Words = Are(
    "time it kept the ball, by recipient of the send that ended it, and what that time was made of; the parts add up to all of it",
);

const fn part(get: fn(&Recipient) -> Option<u64>, value: &'static str) -> Counter<Recipient> {
    counter("courtside_turnaround_seconds", Ns, PARTS, get).label("part", value)
}

/// By component and recipient.
pub(super) const TURNAROUNDS: Group<Recipient> = Group {
    counters: &[
        counter(
            "courtside_turnarounds",
            Number,
            Are(
                "turnarounds: a message arrived, and the component sent the next one to the recipient",
            ),
            |r| Some(r.count),
        ),
        part(|r| Some(r.parts[Part::OnCpu]), "on_cpu"),
        part(|r| Some(r.parts[Part::RunQueue]), "run_queue"),
        part(|r| Some(r.parts[Part::BlockIo]), "block_io"),
        part(|r| Some(r.parts[Part::Sleep]), "sleep"),
        part(|r| Some(r.parts[Part::Queued]), "queued"),
        part(|r| Some(r.parts[Part::Receiving]), "receiving"),
        part(|r| Some(r.parts[Part::HandedOver]), "handed_over"),
        part(|r| Some(r.parts[Part::Throttled]), "throttled"),
    ],
    histograms: &[],
};

const MESSAGES: Words = Are("messages that the initiator sent and received");
const EDGE_BYTES: Words = Are("bytes that the initiator sent and received");
const CONNECTS: Words = Are(
    "TCP connects of the initiator that made a connection, and that made none: refused, without an answer, or given up",
);

/// By edge.
pub(super) const EDGES: Group<Edge> = Group {
    counters: &[
        counter(
            "courtside_roundtrips",
            Number,
            Of(Edge::FIELDS, "roundtrips"),
            |e| Some(e.roundtrips),
        ),
        counter(
            "courtside_roundtrips_untimed",
            Number,
            Of(Edge::FIELDS, "untimed"),
            |e| Some(e.untimed),
        ),
        counter(
            "courtside_roundtrips_lower_bound_windows",
            Number,
            Are(UNCERTAIN),
            |e| Some(e.lower_bound.into()),
        ),
        counter("courtside_messages", Number, MESSAGES, |e: &Edge| {
            Some(e.messages_sent)
        })
        .label("direction", "sent"),
        counter("courtside_messages", Number, MESSAGES, |e: &Edge| {
            Some(e.messages_received)
        })
        .label("direction", "received"),
        counter("courtside_traffic_bytes", Bytes, EDGE_BYTES, |e: &Edge| {
            Some(e.bytes_sent)
        })
        .label("direction", "sent"),
        counter("courtside_traffic_bytes", Bytes, EDGE_BYTES, |e: &Edge| {
            Some(e.bytes_received)
        })
        .label("direction", "received"),
        counter(
            "courtside_retransmits",
            Number,
            Of(Edge::FIELDS, "retransmits"),
            |e| Some(e.retransmits),
        ),
        counter("courtside_connects", Number, CONNECTS, |e: &Edge| {
            Some(e.connects.count)
        })
        .label("result", "made"),
        counter("courtside_connects", Number, CONNECTS, |e: &Edge| {
            Some(e.connects.failed)
        })
        .label("result", "failed"),
        counter(
            "courtside_connect_seconds",
            Ns,
            Of(Connects::FIELDS, "latency_ns"),
            |e| Some(e.connects.latency_ns.sum_ns),
        ),
        counter(
            "courtside_syn_retransmits",
            Number,
            Of(Connects::FIELDS, "syn_retransmits"),
            |e| Some(e.connects.syn_retransmits),
        ),
    ],
    histograms: &[histogram(
        "courtside_roundtrip_seconds",
        Of(Edge::FIELDS, "latency_ns"),
        |e| Some(&e.latency_ns),
    )],
};

/// By kernel program of Courtside's own.
pub(super) const PROGRAMS: Group<ProgramCost> = Group {
    counters: &[
        counter(
            "courtside_program_runs",
            Number,
            Of(ProgramCost::FIELDS, "runs"),
            |p| p.runs,
        ),
        counter(
            "courtside_program_seconds",
            Ns,
            Of(ProgramCost::FIELDS, "run_time_ns"),
            |p| p.run_time_ns,
        ),
    ],
    histograms: &[],
};

/// What there is to say of a family, for documentation and for those who check expressions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FamilyDoc {
    /// Its name as it is queried: that of a counter with `_total`, that of an info with `_info`.
    pub name: String,
    /// What kind of number it is.
    pub kind: Kind,
    /// Its labels.
    pub labels: Vec<&'static str>,
    /// What it means.
    pub help: String,
}

/// Every family, in the order in which they are written.
#[must_use]
pub fn families() -> Vec<FamilyDoc> {
    let mut all = Vec::new();
    add(&mut all, &COMPONENTS, &["component"]);
    for &(family, labels) in whole::COMPONENT_INFO {
        all.push(doc(family, labels.to_vec()));
    }
    for family in blames::FAMILIES {
        all.push(doc(family, vec!["component", "by"]));
    }
    add(&mut all, &TURNAROUNDS, &["component", "to"]);
    add(&mut all, &EDGES, &["from", "to", "transport", "port"]);
    add(&mut all, &PROGRAMS, &["program"]);
    for &(family, labels) in whole::WHOLE.iter().chain(&guarded::ALL) {
        all.push(doc(family, labels.to_vec()));
    }
    all
}

fn add<T>(all: &mut Vec<FamilyDoc>, group: &Group<T>, keys: &[&'static str]) {
    for counter in group.counters {
        let mut labels = keys.to_vec();
        labels.extend(counter.label.map(|(name, _)| name));
        let doc = doc(counter.family, labels);
        if all
            .last()
            .is_none_or(|last: &FamilyDoc| last.name != doc.name)
        {
            all.push(doc);
        }
    }
    for histogram in group.histograms {
        let mut labels = keys.to_vec();
        labels.push("le");
        all.push(doc(histogram.family, labels));
    }
}

fn doc(family: Family, labels: Vec<&'static str>) -> FamilyDoc {
    let ending = match family.kind {
        Kind::Counter => "_total",
        Kind::Info => "_info",
        Kind::Gauge | Kind::Histogram => "",
    };
    FamilyDoc {
        name: format!("{}{ending}", family.name),
        kind: family.kind,
        labels,
        help: family.words.text(),
    }
}

/// Every family as a table in Markdown, for docs/metrics.md.
#[must_use]
pub fn markdown() -> String {
    let mut page = String::from("| metric | kind | labels | meaning |\n|---|---|---|---|\n");
    for family in families() {
        let labels: Vec<String> = family
            .labels
            .iter()
            .map(|name| format!("`{name}`"))
            .collect();
        page += &format!(
            "| `{}` | {} | {} | {} |\n",
            family.name,
            family.kind.name(),
            labels.join(", "),
            family.help
        );
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_has_words_and_a_name_of_its_own() {
        let all = families();
        for (i, family) in all.iter().enumerate() {
            assert!(!family.help.is_empty(), "{}", family.name);
            assert!(
                all.iter()
                    .skip(i + 1)
                    .all(|other| other.name != family.name),
                "{}",
                family.name
            );
        }
    }

    #[test]
    fn every_part_of_a_turnaround_has_a_series_under_its_own_name() {
        let parts: Vec<&str> = TURNAROUNDS
            .counters
            .iter()
            .filter_map(|counter| counter.label.map(|(_, value)| value))
            .collect();
        let names: Vec<&str> = Part::ALL
            .into_iter()
            .map(|part| part.field().strip_suffix("_ns").unwrap())
            .collect();
        assert_eq!(parts, names);
        let recipient = Recipient {
            parts: courtside_core::parts::Parts([1, 2, 3, 4, 5, 6, 7, 8]),
            ..Recipient::default()
        };
        let values = TURNAROUNDS.counters[1..]
            .iter()
            .map(|counter| (counter.get)(&recipient));
        assert!(values.eq((1..=8).map(Some)));
    }
}
