//! What is told of a guard beside: whom it judges, what is too high now and because of whom, what it does.
//!
//! In: how the guard stands. Out: families of it. Must not know: how it judges, who asks.

use std::collections::BTreeMap;

use courtside_core::model::interference::{EventKind, Signal};

use super::{
    family::{Family, Kind, Unit, Words, family},
    shown::Id,
    write::{Number, Writer, label},
};
use Kind::{Counter, Gauge};
use Unit::Number as Plain;
use Words::Are;

const GUARD_SERVICES: Family = family(
    "courtside_guard_services",
    Gauge,
    Plain,
    Are(
        "services of the last window that guard judges by what is usual for them (judged), and of which it still learns that (learning); one with too few requests is in neither; absent without --guard",
    ),
);

const INTERFERENCE: Family = family(
    "courtside_interference",
    Gauge,
    Plain,
    Are(
        "1 for a number of a service that is too high now, and a neighbour may have made that, by the first suspect: a component, unknown if nobody is suspected; of those in other their count",
    ),
);

const EXCUSED: Family = family(
    "courtside_interference_excused",
    Gauge,
    Plain,
    Are(
        "1 for a number of a service that is too high now by itself, its load or the hypervisor; of those in other their count",
    ),
);

const EVENTS: Family = family(
    "courtside_interference_events",
    Counter,
    Plain,
    Are("lines that guard told, by event; absent without --guard"),
);

const LIMITS: Family = family(
    "courtside_guard_limits",
    Gauge,
    Plain,
    Are("neighbours that guard holds back now; absent without --guard"),
);

/// All of them, in the order in which they are written, with their labels.
pub(super) const ALL: [(Family, &[&str]); 5] = [
    (GUARD_SERVICES, &["standing"]),
    (INTERFERENCE, &["component", "signal", "by"]),
    (EXCUSED, &["component", "signal"]),
    (EVENTS, &["event"]),
    (LIMITS, &[]),
];

/// What is said of a guard that has nobody to suspect.
const UNKNOWN: &str = "unknown";

/// How a guard beside stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guarded {
    /// Services of the last window that are judged.
    pub judged: u64,
    /// Services of the last window of which it is still learned what is usual.
    pub learning: u64,
    /// What is too high now.
    pub slow: Vec<Slow>,
    /// Neighbours that are held back.
    pub limits: u64,
    /// Lines told, by the kind of event.
    pub told: Vec<(EventKind, u64)>,
}

/// A number of a service that is too high now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slow {
    /// The service.
    pub victim: String,
    /// Which number.
    pub signal: Signal,
    /// No neighbour is blamed: the service itself, its load or the hypervisor made it.
    pub excused: bool,
    /// The first suspect; none if nobody is suspected.
    pub by: Option<String>,
}

pub(super) fn write(to: &mut Writer<'_>, guard: &Guarded, name: &dyn Fn(&str) -> Id) {
    to.head(&GUARD_SERVICES);
    for (standing, count) in [("judged", guard.judged), ("learning", guard.learning)] {
        let labels = vec![label("standing", standing)];
        to.sample(&GUARD_SERVICES, labels, Number::Count(count));
    }
    let mut blamed: BTreeMap<(Id, &str, Id), u64> = BTreeMap::new();
    let mut excused: BTreeMap<(Id, &str), u64> = BTreeMap::new();
    for slow in &guard.slow {
        let (victim, signal) = (name(&slow.victim), slow.signal.name());
        if slow.excused {
            *excused.entry((victim, signal)).or_default() += 1;
            continue;
        }
        let by = slow.by.as_deref().map_or_else(|| UNKNOWN.into(), name);
        *blamed.entry((victim, signal, by)).or_default() += 1;
    }
    to.head(&INTERFERENCE);
    for ((victim, signal, by), count) in blamed {
        let labels = vec![
            label("component", &victim),
            label("signal", signal),
            label("by", &by),
        ];
        to.sample(&INTERFERENCE, labels, Number::Count(count));
    }
    to.head(&EXCUSED);
    for ((victim, signal), count) in excused {
        let labels = vec![label("component", &victim), label("signal", signal)];
        to.sample(&EXCUSED, labels, Number::Count(count));
    }
    to.head(&EVENTS);
    for (event, count) in &guard.told {
        let labels = vec![label("event", event.name())];
        to.sample(&EVENTS, labels, Number::Count(*count));
    }
    to.one(&LIMITS, vec![], Number::Count(guard.limits));
}
