//! Words for people: what a component is called on a screen, what a loss means, where a request's time went.
//!
//! In: a [`Snapshot`]. Out: text, without layout. Must not know: screens, colours.

use std::collections::HashMap;

use super::entries::is_parallel;
use super::snapshot::{Court, Entry, HeldUnknown, Quality, Requests, Snapshot};
use crate::units::{TimeUnit, UNKNOWN, count, duration, duration_f64};

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
    pub remedy: &'static str,
}

const QUIETER: &str = "measure for a shorter time, or while fewer programs and peers are active";
const MEMORY: &str = "free memory, then measure again";

/// Every class of loss.
pub const LOSSES: [Loss; 14] = [
    Loss {
        class: "flows",
        counts: true,
        meaning: "sends and receives not counted: the table of flows was full",
        remedy: QUIETER,
    },
    Loss {
        class: "socket_state",
        counts: true,
        meaning: "sends and receives not counted: no memory for a socket's state",
        remedy: MEMORY,
    },
    Loss {
        class: "task_state",
        counts: true,
        meaning: "sends and context switches not counted: no memory for a thread's state",
        remedy: MEMORY,
    },
    Loss {
        class: "images",
        counts: true,
        meaning: "CPU time not counted: the table of programs was full",
        remedy: QUIETER,
    },
    Loss {
        class: "disk_requests",
        counts: true,
        meaning: "disk requests not counted: the table of open requests was full",
        remedy: "measure while fewer disk requests are in flight",
    },
    Loss {
        class: "history",
        counts: false,
        meaning: "turnarounds longer than a thread's remembered waits: their split into parts is approximate, their sum is not",
        remedy: "nothing needs to be done",
    },
    Loss {
        class: "remotes",
        counts: false,
        meaning: "remote ends shown as \"unknown\": the table of addresses was full",
        remedy: QUIETER,
    },
    Loss {
        class: "connection_ends",
        counts: false,
        meaning: "connections whose other end on this host was not found: shown as \"unknown\" or by address",
        remedy: QUIETER,
    },
    Loss {
        class: "events",
        counts: false,
        meaning: "single events not recorded: they came faster than they could be written",
        remedy: "record to a faster disk, or without --events",
    },
    Loss {
        class: "skipped",
        counts: true,
        meaning: "kernel events not seen: the kernel skips a program that is at work on the same CPU already, and some kprobes",
        remedy: "measure on a kernel that does not preempt programs on tracepoints and needs no kprobes, such as 6.18",
    },
    Loss {
        class: "unplaced",
        counts: true,
        meaning: "sends of datagram sockets, and datagrams read before the kernel told whose they are, that are in no flow, because the other end was not known before the socket closed, or is not known yet; this is an upper bound",
        remedy: "nothing, if the sender neither connects its socket nor gets answers",
    },
    Loss {
        class: "unplaced_protocol",
        counts: false,
        meaning: "sends and receives on no edge: connections of other protocols than TCP, MPTCP, UDP, UDP-Lite and Unix",
        remedy: "nothing helps here: Courtside does not know how to find the other end of such a connection",
    },
    Loss {
        class: "arrivals",
        counts: true,
        meaning: "arrivals not seen: an interrupt brought data while another arrival was being noted on its CPU. Their messages count from when they are read, as if they had not lain unread; datagrams may be on the edge of another client, or of nobody",
        remedy: "nothing needs to be done if they are few compared with the messages",
    },
    Loss {
        class: "locks",
        counts: false,
        meaning: "sleeps by a lock (a futex) that are not in `locks`: its table was full; in `waits` they are",
        remedy: QUIETER,
    },
];

impl Loss {
    /// What it means, and of which protocols it was, where that is what tells.
    #[must_use]
    pub fn meaning_in(&self, quality: &Quality) -> String {
        let mut text = self.meaning.to_owned();
        if self.class == "unplaced_protocol" {
            for (n, (protocol, times)) in quality.unplaced_protocols.iter().enumerate() {
                text.push_str(if n == 0 { "; " } else { ", " });
                text.push_str(&format!("{protocol} {times}"));
            }
        }
        text
    }
}

/// What to say where nothing matched what was selected: what there is.
#[must_use]
pub fn unmatched(snapshot: &Snapshot) -> Option<String> {
    let there = snapshot.unmatched.as_ref()?;
    let list = |mut all: Vec<String>, one: &str, many: &str| {
        const MOST: usize = 20;
        let more = all.len().saturating_sub(MOST);
        all.truncate(MOST);
        let more = if more > 0 { " and more" } else { "" };
        match all.len() {
            0 => None,
            1 => Some(format!("{one} {}", all[0])),
            _ => Some(format!("{many} {}{more}", all.join(", "))),
        }
    };
    let ports = there.ports.iter().map(ToString::to_string).collect();
    let lists = [
        list(there.components.clone(), "the component", "the components"),
        list(ports, "traffic on port", "traffic on the ports"),
    ];
    let lists: Vec<String> = lists.into_iter().flatten().collect();
    let there = match &lists[..] {
        [] => "Nothing else was there, either.".to_owned(),
        lists => format!("There are {}.", lists.join(", and ")),
    };
    Some(format!(
        "Nothing matched what was selected (-p, -n, -c, --unit, --container, --port). {there}"
    ))
}

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

/// A request's time as a sum: `3.21 ms = web unread 0.40 + web 0.41 + web held 0.10 + app 2.30 + network 0.00 + other 0.00`.
/// Unread and held are named where there is any. When there are too many courts the smallest are added up. What is no
/// sum is not written as one.
#[must_use]
pub fn request_sum(entry: &Entry, names: &Names<'_>) -> String {
    let Some(mean_ns) = entry.mean_ns else {
        return "not timed".to_owned();
    };
    if !entry.adds_up {
        return format!("{}; its parts do not add up", duration_f64(mean_ns));
    }
    let mut smallest_first: Vec<usize> = (0..entry.courts.len()).collect();
    smallest_first.sort_by(|&a, &b| {
        entry.courts[a]
            .all_ns()
            .total_cmp(&entry.courts[b].all_ns())
    });
    let surplus = match entry.courts.len() {
        0..=MAX_COURTS => &[][..],
        many => &smallest_first[..=many - MAX_COURTS],
    };
    let unit = TimeUnit::of(mean_ns);
    let shows = |ns: f64| unit.show(ns) != unit.show(0.0);
    let mut terms: Vec<(String, f64)> = Vec::new();
    for (i, court) in entry.courts.iter().enumerate() {
        if surplus.contains(&i) {
            continue;
        }
        let name = names.get(&court.component);
        if let Some(ns) = court.unread_ns.filter(|ns| shows(*ns)) {
            terms.push((format!("{name} unread"), ns));
        }
        terms.push((name.to_owned(), court.turnaround_ns));
        if let Some(ns) = court.held_ns.filter(|ns| shows(*ns)) {
            terms.push((format!("{name} {}", held_word(ns, mean_ns)), ns));
        }
    }
    if !surplus.is_empty() {
        let sum = surplus.iter().map(|&i| entry.courts[i].all_ns()).sum();
        terms.push((format!("{} more", surplus.len()), sum));
    }
    terms.push(("network".to_owned(), entry.network_ns));
    terms.extend(entry.other_ns.map(|ns| ("other".to_owned(), ns)));

    let mut text = format!("{} =", duration_f64(mean_ns));
    for (i, (name, ns)) in terms.iter().enumerate() {
        let shown = unit.show(*ns);
        let (sign, size) = match shown.strip_prefix('-') {
            Some(size) => (" -", size),
            None if i == 0 => ("", shown.as_str()),
            None => (" +", shown.as_str()),
        };
        text.push_str(&format!("{sign} {name} {size}"));
    }
    if entry.other_ns.is_none() {
        text.push_str(" + what is not known");
    }
    text
}

/// What is left of a court's requests of this mean time is called so. Less than nothing is calls in parallel only beyond what may
/// have been under way when the window began and ended.
#[must_use]
pub fn held_word(held_ns: f64, mean_ns: f64) -> &'static str {
    if held_ns >= 0.0 {
        "held"
    } else if is_parallel(held_ns, mean_ns) {
        "in parallel"
    } else {
        "under way"
    }
}

/// What the reader has to know about that sum: why it does not add up, or what is missing in it.
#[must_use]
pub fn request_notes(entry: &Entry, names: &Names<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    if entry.untimed > 0 {
        notes.push(format!(
            "{} of {} requests untimed: {}",
            count(entry.untimed),
            count(entry.requests),
            HeldUnknown::UntimedRequests.meaning()
        ));
    }
    if !entry.adds_up {
        let largest = entry
            .courts
            .iter()
            .max_by(|a, b| a.turnaround_ns.total_cmp(&b.turnaround_ns));
        if let Some(court) = largest {
            notes.push(format!(
                "{} was at work for {} a request: it works on after its replies, or for sends that answer no request",
                names.get(&court.component),
                duration_f64(court.turnaround_ns)
            ));
        }
        return notes;
    }
    for court in &entry.courts {
        if let Some(reason) = court.held_unknown
            && !(reason == HeldUnknown::UntimedRequests && entry.untimed > 0)
            && reason != HeldUnknown::NotRecorded
        {
            notes.push(format!(
                "the time that {} held requests is not known: {}",
                names.get(&court.component),
                reason.meaning()
            ));
        }
    }
    let mean_ns = entry.mean_ns.unwrap_or(0.0);
    let beside = |court: &&Court| court.held_ns.is_some_and(|held| is_parallel(held, mean_ns));
    for court in entry.courts.iter().filter(beside) {
        notes.push(format!(
            "{} waits for calls in parallel: they add up to more than it waited",
            names.get(&court.component)
        ));
    }
    notes
}

impl HeldUnknown {
    /// What it means.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::UntimedRequests => "several were open at once on one connection",
            Self::UntimedCalls => "several of its calls were open at once on one connection",
            Self::UnseenRequests => "its clients got more answers than it was seen to give",
            Self::UnseenCalls => "not all answers to its calls were seen",
            Self::NotRecorded => "recorded by a version that did not measure unread time",
        }
    }
}

/// Whether so many answers are untimed that the times of the rest do not stand for all.
#[must_use]
pub fn mostly_untimed(untimed: u64, of: u64) -> bool {
    untimed.saturating_mul(20) > of
}

/// What a component held, for one of its requests, if it is known.
#[must_use]
pub fn mean_held(requests: &Requests) -> String {
    match requests.held_ns {
        Some(0) => duration(0),
        Some(ns) if requests.served > 0 => duration_f64(ns as f64 / requests.served as f64),
        _ => UNKNOWN.to_owned(),
    }
}

/// What stands before a number that may be too low.
#[must_use]
pub fn at_least(lower_bound: bool) -> &'static str {
    if lower_bound { "≥ " } else { "" }
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
            mean_ns: Some(3.21e6),
            network_ns: 2e5,
            other_ns: Some(other_ns),
            adds_up: true,
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
