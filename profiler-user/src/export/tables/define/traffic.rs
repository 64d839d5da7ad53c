//! Tables of traffic: who called whom, and where a request's time went.
//!
//! In: nothing. Out: the tables edges, entries and courts. Must not know: formats.

use super::super::{Getter, Item, Kind, Table, Value};
use super::{BYTES, EXACT, NAME, NS, NUMBER, RATIO, YES, count, real, table};
use crate::frame::Transport;
use crate::model::snapshot::{Court, Edge, Entry};
use Value::{Count, Flag, Null, Real, Text};

fn edge(get: for<'a> fn(&'a Edge) -> Value<'a>) -> Getter {
    Box::new(move |row| match row.item {
        Item::Edge(it) => get(it),
        _ => Null,
    })
}

pub(super) fn edges() -> Table {
    let row_is = "who called whom, over which transport and port, in one window; booked once, at the initiator";
    let mut t = table("edges", row_is, |s| {
        s.edges.iter().map(Item::Edge).collect()
    });
    for (name, kind, unit, meaning, get) in [
        (
            "from",
            Kind::Text,
            NAME,
            "id of the initiator",
            edge(|e| Text(&e.from)),
        ),
        (
            "to",
            Kind::Text,
            NAME,
            "id of the acceptor",
            edge(|e| Text(&e.to)),
        ),
        (
            "transport",
            Kind::Text,
            NAME,
            "tcp, udp or unix",
            edge(|e| {
                Text(match e.transport {
                    Transport::Tcp => "tcp",
                    Transport::Udp => "udp",
                    Transport::Unix => "unix",
                })
            }),
        ),
        (
            "port",
            Kind::Count,
            NUMBER,
            "the acceptor's port; 0 for Unix sockets",
            edge(|e| Count(e.port.into())),
        ),
    ] {
        t.add(name, kind, unit, meaning, EXACT, get);
    }
    let error = "exact; a lower bound where lower_bound";
    let roundtrips = edge(|e| Count(e.roundtrips));
    let meaning = "messages sent that were followed by one received";
    t.add(
        "roundtrips",
        Kind::Count,
        NUMBER,
        meaning,
        error,
        roundtrips,
    );
    let per_request = edge(|e| real(e.roundtrips_per_request));
    let meaning = "roundtrips / requests at the entry; null where there is no entry";
    t.add(
        "roundtrips_per_request",
        Kind::Real,
        RATIO,
        meaning,
        error,
        per_request,
    );
    t.or_null();
    t.dist(
        "latency",
        "send of a request to arrival of its reply",
        false,
        |row| match row.item {
            Item::Edge(it) => Some(&it.latency_ns),
            _ => None,
        },
    );
    let what =
        "the acceptor's service time on these connections; null where it is not on this host";
    t.dist("service", what, true, |row| match row.item {
        Item::Edge(it) => it.service_ns.as_ref(),
        _ => None,
    });
    for (name, unit, meaning, error, get) in [
        (
            "messages_sent",
            NUMBER,
            "messages the initiator sent",
            EXACT,
            edge(|e| Count(e.messages_sent)),
        ),
        (
            "messages_received",
            NUMBER,
            "messages the initiator received",
            EXACT,
            edge(|e| Count(e.messages_received)),
        ),
        (
            "bytes_sent",
            BYTES,
            "bytes the initiator sent",
            EXACT,
            edge(|e| Count(e.bytes_sent)),
        ),
        (
            "bytes_received",
            BYTES,
            "bytes the initiator received",
            EXACT,
            edge(|e| Count(e.bytes_received)),
        ),
    ] {
        t.add(name, Kind::Count, unit, meaning, error, get);
    }
    let rtt = edge(|e| count(e.min_rtt_ns));
    let meaning = "smallest round-trip time that the kernel's TCP knows; null if it knows none";
    t.add("min_rtt_ns", Kind::Count, NS, meaning, "1 µs", rtt);
    t.or_null();
    let retransmits = edge(|e| Count(e.retransmits));
    let meaning = "TCP segments sent again, both ends";
    t.add(
        "retransmits",
        Kind::Count,
        NUMBER,
        meaning,
        EXACT,
        retransmits,
    );
    let lower_bound = edge(|e| Flag(e.lower_bound));
    let meaning = "several messages were open at once: the counts are lower bounds";
    t.add("lower_bound", Kind::Flag, YES, meaning, EXACT, lower_bound);
    let acceptor_only = edge(|e| Flag(e.acceptor_only));
    let meaning =
        "the initiator is not on this host: roundtrips is the requests served, there is no latency";
    t.add(
        "acceptor_only",
        Kind::Flag,
        YES,
        meaning,
        EXACT,
        acceptor_only,
    );
    t
}

fn entry_number(t: &mut Table) {
    let get: Getter = Box::new(|row| match row.item {
        Item::Entry(number, _) | Item::Court(number, _) => Count(number as u64),
        _ => Null,
    });
    let meaning = "number of the entry within its window, from 0";
    t.add("entry", Kind::Count, NUMBER, meaning, EXACT, get);
}

pub(super) fn entries() -> Table {
    let mut t = table(
        "entries",
        "one place where requests come in, in one window",
        |s| {
            let numbered = s.entries.iter().enumerate();
            numbered.map(|(n, entry)| Item::Entry(n, entry)).collect()
        },
    );
    entry_number(&mut t);
    fn entry(get: for<'a> fn(&'a Entry) -> Value<'a>) -> Getter {
        Box::new(move |row| match row.item {
            Item::Entry(_, it) => get(it),
            _ => Null,
        })
    }
    for (name, kind, unit, meaning, error, get) in [
        (
            "component",
            Kind::Text,
            NAME,
            "id of the component",
            EXACT,
            entry(|e| Text(&e.component)),
        ),
        (
            "port",
            Kind::Count,
            NUMBER,
            "its port; 0 for Unix sockets",
            EXACT,
            entry(|e| Count(e.port.into())),
        ),
        (
            "requests",
            Kind::Count,
            NUMBER,
            "requests served there",
            "exact; see edges.lower_bound",
            entry(|e| Count(e.requests)),
        ),
        (
            "mean_ns",
            Kind::Real,
            NS,
            "mean service time: the sum of the courts, network_ns and other_ns",
            EXACT,
            entry(|e| Real(e.mean_ns)),
        ),
        (
            "network_ns",
            Kind::Real,
            NS,
            "latency less service time over the edges in between, per request",
            "holds the wake-up of the reader",
            entry(|e| Real(e.network_ns)),
        ),
        (
            "other_ns",
            Kind::Real,
            NS,
            "what neither explains, per request; negative when calls run in parallel",
            "what is left",
            entry(|e| Real(e.other_ns)),
        ),
    ] {
        t.add(name, kind, unit, meaning, error, get);
    }
    t
}

pub(super) fn courts() -> Table {
    let row_is = "where a request's time went: one component behind one entry, in one window";
    let mut t = table("courts", row_is, |s| {
        let of = |n| move |court| Item::Court(n, court);
        let numbered = s.entries.iter().enumerate();
        numbered
            .flat_map(|(n, entry)| entry.courts.iter().map(of(n)))
            .collect()
    });
    entry_number(&mut t);
    fn court(get: for<'a> fn(&'a Court) -> Value<'a>) -> Getter {
        Box::new(move |row| match row.item {
            Item::Court(_, it) => get(it),
            _ => Null,
        })
    }
    let id = court(|c| Text(&c.component));
    t.add(
        "component",
        Kind::Text,
        NAME,
        "id of the component",
        EXACT,
        id,
    );
    let error = "exact behind one entry; shared by requests behind several";
    for (name, meaning, get) in [
        (
            "turnaround_ns",
            "time in its court per request at the entry; of a remote end the whole latency",
            court(|c| Real(c.turnaround_ns)),
        ),
        (
            "on_cpu_ns",
            "of it: executing",
            court(|c| Real(c.on_cpu_ns)),
        ),
        (
            "run_queue_ns",
            "of it: runnable without a CPU",
            court(|c| Real(c.run_queue_ns)),
        ),
        (
            "block_io_ns",
            "of it: waiting for the block layer",
            court(|c| Real(c.block_io_ns)),
        ),
        (
            "sleep_ns",
            "of it: other waits after the message was read",
            court(|c| Real(c.sleep_ns)),
        ),
        (
            "queued_ns",
            "of it: the message lay unread",
            court(|c| Real(c.queued_ns)),
        ),
    ] {
        t.add(name, Kind::Real, NS, meaning, error, get);
    }
    t
}
