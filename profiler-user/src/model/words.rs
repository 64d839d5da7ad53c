//! Words for people: what a component is called on a screen, what a loss means, where a request's time went.
//!
//! In: a [`Snapshot`]. Out: text, without layout. Must not know: screens, colours.

use std::collections::HashMap;

use super::snapshot::{Entry, Snapshot};
use crate::units::{TimeUnit, duration_f64};

/// A class of loss, as in `quality.lost`.
#[derive(Clone, Copy, Debug)]
pub struct Loss {
    /// Its name.
    pub class: &'static str,
    /// It makes counts lower bounds; otherwise it only blurs where something belongs.
    pub counts: bool,
    /// What it means.
    pub meaning: &'static str,
    /// What to do about it.
    pub mend: &'static str,
}

const QUIETER: &str = "measure for a shorter time, or while fewer programs and peers are active";
const MEMORY: &str = "free memory, then measure again";

/// Every class of loss.
pub const LOSSES: [Loss; 11] = [
    Loss {
        class: "flows",
        counts: true,
        meaning: "sends and receives not counted: the table of flows was full",
        mend: QUIETER,
    },
    Loss {
        class: "socket_state",
        counts: true,
        meaning: "sends and receives not counted: no memory for a socket's state",
        mend: MEMORY,
    },
    Loss {
        class: "task_state",
        counts: true,
        meaning: "sends and context switches not counted: no memory for a thread's state",
        mend: MEMORY,
    },
    Loss {
        class: "images",
        counts: true,
        meaning: "CPU time not counted: the table of programs was full",
        mend: QUIETER,
    },
    Loss {
        class: "disk_requests",
        counts: true,
        meaning: "disk requests not counted: the table of open requests was full",
        mend: "measure while fewer disk requests are in flight",
    },
    Loss {
        class: "history",
        counts: false,
        meaning: "turnarounds longer than a thread's remembered waits: their split into parts is approximate, their sum is not",
        mend: "nothing needs mending",
    },
    Loss {
        class: "remotes",
        counts: false,
        meaning: "remote ends shown as \"unknown\": the table of addresses was full",
        mend: QUIETER,
    },
    Loss {
        class: "connection_ends",
        counts: false,
        meaning: "connections whose other end on this host was not found: shown as \"unknown\" or by address",
        mend: QUIETER,
    },
    Loss {
        class: "events",
        counts: false,
        meaning: "single events not recorded: they came faster than they could be written",
        mend: "record to a faster disk, or without --events",
    },
    Loss {
        class: "skipped",
        counts: true,
        meaning: "kernel events not seen: the kernel skips a program that is at work on the same CPU already, and some kprobes",
        mend: "measure on a kernel that does not preempt programs on tracepoints and needs no kprobes, such as 6.18",
    },
    Loss {
        class: "unplaced",
        counts: true,
        meaning: "sends of datagram sockets in no flow: their other end was not known before they closed, or is not yet (at most so many)",
        mend: "nothing, if whoever sends neither connects its socket nor gets answers",
    },
];

/// What each component of a snapshot is called: its name, or its id where two have the same name.
pub struct Names<'a>(HashMap<&'a str, &'a str>);

impl<'a> Names<'a> {
    /// The names of a snapshot's components.
    #[must_use]
    pub fn of(snapshot: &'a Snapshot) -> Self {
        let mut bearers: HashMap<&str, usize> = HashMap::new();
        for component in &snapshot.components {
            *bearers.entry(&component.name).or_default() += 1;
        }
        let name = |c: &'a super::snapshot::Component| {
            let unique = bearers.get(c.name.as_str()) == Some(&1);
            (
                c.id.as_str(),
                if unique {
                    c.name.as_str()
                } else {
                    c.id.as_str()
                },
            )
        };
        Self(snapshot.components.iter().map(name).collect())
    }

    /// What to call a component; one that is not listed goes by its id without the kind.
    #[must_use]
    pub fn get<'b>(&self, id: &'b str) -> &'b str
    where
        'a: 'b,
    {
        match self.0.get(id) {
            Some(name) => name,
            None => id.split_once(':').map_or(id, |(_, name)| name),
        }
    }
}

/// Most courts that are named one by one.
const MAX_COURTS: usize = 8;

/// A request's time as a sum: `3.21 ms = web 0.41 + app 2.04 + store 0.56 + network 0.20 + other 0.00`.
/// When there are too many courts the smallest are added up.
#[must_use]
pub fn request_sum(entry: &Entry, names: &Names<'_>) -> String {
    let mut smallest_first: Vec<usize> = (0..entry.courts.len()).collect();
    smallest_first.sort_by(|&a, &b| {
        entry.courts[a]
            .turnaround_ns
            .total_cmp(&entry.courts[b].turnaround_ns)
    });
    let surplus = match entry.courts.len() {
        0..=MAX_COURTS => &[][..],
        many => &smallest_first[..=many - MAX_COURTS],
    };
    let mut terms: Vec<(String, f64)> = Vec::new();
    for (i, court) in entry.courts.iter().enumerate() {
        if !surplus.contains(&i) {
            terms.push((names.get(&court.component).to_owned(), court.turnaround_ns));
        }
    }
    if !surplus.is_empty() {
        let sum = surplus.iter().map(|&i| entry.courts[i].turnaround_ns).sum();
        terms.push((format!("{} more", surplus.len()), sum));
    }
    terms.push(("network".to_owned(), entry.network_ns));
    terms.push(("other".to_owned(), entry.other_ns));

    let unit = TimeUnit::of(entry.mean_ns);
    let mut text = format!("{} =", duration_f64(entry.mean_ns));
    for (i, (name, ns)) in terms.iter().enumerate() {
        let shown = unit.show(*ns);
        let (sign, size) = match shown.strip_prefix('-') {
            Some(size) => (" -", size),
            None if i == 0 => ("", shown.as_str()),
            None => (" +", shown.as_str()),
        };
        text.push_str(&format!("{sign} {name} {size}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::snapshot::{Component, Court};

    #[test]
    fn every_class_of_loss_has_words() {
        assert_eq!(LOSSES.map(|loss| loss.class), courtside_wire::LOST_NAMES);
    }

    fn named(id: &str, name: &str) -> Component {
        Component {
            id: id.into(),
            name: name.into(),
            ..Component::default()
        }
    }

    #[test]
    fn names_that_two_bear_give_way_to_ids() {
        let snapshot = Snapshot {
            components: vec![
                named("program:web", "web"),
                named("unit:web.service", "web"),
                named("program:app", "app"),
            ],
            ..Snapshot::default()
        };
        let names = Names::of(&snapshot);
        assert_eq!(names.get("program:app"), "app");
        assert_eq!(names.get("unit:web.service"), "unit:web.service");
        assert_eq!(names.get("remote:[::1]:80"), "[::1]:80");
        assert_eq!(names.get("unknown"), "unknown");
    }

    fn entry(courts: &[(&str, f64)], other_ns: f64) -> Entry {
        let courts = courts.iter().map(|&(component, turnaround_ns)| Court {
            component: component.into(),
            turnaround_ns,
            ..Court::default()
        });
        Entry {
            courts: courts.collect(),
            mean_ns: 3.21e6,
            network_ns: 2e5,
            other_ns,
            ..Entry::default()
        }
    }

    #[test]
    fn a_request_reads_as_a_sum() {
        let snapshot = Snapshot::default();
        let names = Names::of(&snapshot);
        let chain = [
            ("program:web", 4.1e5),
            ("program:app", 2.04e6),
            ("program:store", 5.6e5),
        ];
        assert_eq!(
            request_sum(&entry(&chain, 0.0), &names),
            "3.21 ms = web 0.41 + app 2.04 + store 0.56 + network 0.20 + other 0.00"
        );
        assert_eq!(
            request_sum(&entry(&chain[..1], -3.1e5), &names),
            "3.21 ms = web 0.41 + network 0.20 - other 0.31"
        );
        let ids: Vec<String> = (0..12).map(|i| format!("program:s{i}")).collect();
        let many: Vec<(&str, f64)> = ids.iter().map(|id| (id.as_str(), 1e5)).collect();
        assert!(
            request_sum(&entry(&many, 0.0), &names).contains("s11 0.10 + 5 more 0.50 + network")
        );
    }
}
