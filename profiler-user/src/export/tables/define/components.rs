//! Tables of components: what they used, served and kept.
//!
//! In: nothing. Out: the tables components, processes and turnarounds. Must not know: formats.

use super::super::{Getter, Item, Kind, Row, Table, Value};
use super::{BYTES, EXACT, NAME, NS, NUMBER, RATIO, SCALED, SUM, count, real, table};
use crate::model::snapshot::{Component, ComponentKind, Counters, Recipient, TurnaroundCounters};
use Value::{Count, Null, Text};

fn component(get: for<'a> fn(&'a Component) -> Value<'a>) -> Getter {
    Box::new(move |row| match row.item {
        Item::Component(it) | Item::Process(it, _) | Item::Turnaround(it, _) => get(it),
        _ => Null,
    })
}

pub(super) fn components() -> Table {
    let mut t = table("components", "one component in one window", |s| {
        s.components.iter().map(Item::Component).collect()
    });
    for (name, meaning, get) in [
        (
            "id",
            "key; what `component`, `from` and `to` of the other tables hold",
            component(|c| Text(&c.id)),
        ),
        ("name", "name for people", component(|c| Text(&c.name))),
        (
            "kind",
            "unit, container, program or remote",
            component(|c| {
                Text(match c.kind {
                    ComponentKind::Unit => "unit",
                    ComponentKind::Container => "container",
                    ComponentKind::Program => "program",
                    ComponentKind::Remote => "remote",
                })
            }),
        ),
    ] {
        t.add(name, Kind::Text, NAME, meaning, EXACT, get);
    }
    for (name, unit, meaning, error, get) in [
        (
            "on_cpu_ns",
            NS,
            "time its threads were on a CPU, with or without the ball",
            "1 %",
            component(|c| Count(c.cpu.on_cpu_ns)),
        ),
        (
            "run_queue_ns",
            NS,
            "time they were runnable without a CPU",
            "1 %",
            component(|c| Count(c.cpu.run_queue_ns)),
        ),
        (
            "block_io_ns",
            NS,
            "time they waited for the block layer; threads side by side add up",
            "1 %",
            component(|c| Count(c.cpu.block_io_ns)),
        ),
        (
            "voluntary_switches",
            NUMBER,
            "context switches they asked for",
            EXACT,
            component(|c| Count(c.cpu.voluntary_switches)),
        ),
        (
            "involuntary_switches",
            NUMBER,
            "context switches forced on them",
            EXACT,
            component(|c| Count(c.cpu.involuntary_switches)),
        ),
    ] {
        t.add(name, Kind::Count, unit, meaning, error, get);
    }
    counters(&mut t);
    for (name, unit, meaning, get) in [
        (
            "disk_reads",
            NUMBER,
            "read requests completed",
            component(|c| Count(c.disk.reads)),
        ),
        (
            "disk_writes",
            NUMBER,
            "write requests completed",
            component(|c| Count(c.disk.writes)),
        ),
        (
            "disk_read_bytes",
            BYTES,
            "bytes read",
            component(|c| Count(c.disk.read_bytes)),
        ),
        (
            "disk_write_bytes",
            BYTES,
            "bytes written; what the kernel writes back later is charged to `kernel`",
            component(|c| Count(c.disk.write_bytes)),
        ),
    ] {
        t.add(name, Kind::Count, unit, meaning, EXACT, get);
    }
    t.dist(
        "disk_latency",
        "start in the block layer to completion",
        false,
        |row| component_of(row).map(|c| &c.disk.latency_ns),
    );
    let served = component(|c| Count(c.requests.served));
    let meaning = "requests served as acceptor";
    let error = "exact; see edges.lower_bound";
    t.add(
        "requests_served",
        Kind::Count,
        NUMBER,
        meaning,
        error,
        served,
    );
    t.dist(
        "service",
        "arrival of a request to first send of its reply",
        false,
        |row| component_of(row).map(|c| &c.requests.service_ns),
    );
    t.dist(
        "queued",
        "arrival of a request to its first read",
        false,
        |row| component_of(row).map(|c| &c.requests.queued_ns),
    );
    for (name, unit, meaning, error, get) in [
        (
            "turnaround_count",
            NUMBER,
            "turnarounds",
            EXACT,
            component(|c| Count(c.turnaround.count)),
        ),
        (
            "turnaround_total_ns",
            NS,
            "their sum: that of the five parts",
            EXACT,
            component(|c| Count(c.turnaround.total_ns)),
        ),
        (
            "turnaround_on_cpu_ns",
            NS,
            "of it: executing",
            SUM,
            component(|c| Count(c.turnaround.on_cpu_ns)),
        ),
        (
            "turnaround_run_queue_ns",
            NS,
            "of it: runnable without a CPU",
            SUM,
            component(|c| Count(c.turnaround.run_queue_ns)),
        ),
        (
            "turnaround_block_io_ns",
            NS,
            "of it: waiting for the block layer",
            SUM,
            component(|c| Count(c.turnaround.block_io_ns)),
        ),
        (
            "turnaround_sleep_ns",
            NS,
            "of it: locks, timers, page faults and other waits after the message was read",
            SUM,
            component(|c| Count(c.turnaround.sleep_ns)),
        ),
        (
            "turnaround_queued_ns",
            NS,
            "of it: the message lay unread",
            SUM,
            component(|c| Count(c.turnaround.queued_ns)),
        ),
        (
            "unprompted_count",
            NUMBER,
            "sends that no message prompted",
            EXACT,
            component(|c| Count(c.turnaround.unprompted_count)),
        ),
        (
            "unprompted_ns",
            NS,
            "sum of the gaps before those; not part of the turnaround",
            EXACT,
            component(|c| Count(c.turnaround.unprompted_ns)),
        ),
    ] {
        t.add(name, Kind::Count, unit, meaning, error, get);
    }
    turnaround_counters(&mut t, "turnaround_", |row| {
        component_of(row).and_then(|c| c.turnaround.counters.as_ref())
    });
    t.dist("turnaround_each", "single turnarounds", false, |row| {
        component_of(row).map(|c| &c.turnaround.each_ns)
    });
    t
}

fn component_of(row: Row<'_>) -> Option<&Component> {
    match row.item {
        Item::Component(it) => Some(it),
        _ => None,
    }
}

fn counters(t: &mut Table) {
    fn counter(get: fn(&Counters) -> Value<'static>) -> Getter {
        Box::new(move |row| {
            component_of(row)
                .and_then(|c| c.counters.as_ref())
                .map_or(Null, get)
        })
    }
    for (name, kind, unit, meaning, get) in [
        (
            "cycles",
            Kind::Count,
            NUMBER,
            "CPU cycles; null where the machine has no counters",
            counter(|c| Count(c.cycles)),
        ),
        (
            "instructions",
            Kind::Count,
            NUMBER,
            "retired instructions",
            counter(|c| Count(c.instructions)),
        ),
        (
            "llc_references",
            Kind::Count,
            NUMBER,
            "last-level cache references",
            counter(|c| count(c.llc_references)),
        ),
        (
            "llc_misses",
            Kind::Count,
            NUMBER,
            "last-level cache misses",
            counter(|c| count(c.llc_misses)),
        ),
        (
            "cpi",
            Kind::Real,
            RATIO,
            "cycles / instructions",
            counter(|c| real(c.cpi)),
        ),
        (
            "counters_running_ratio",
            Kind::Real,
            RATIO,
            "share of the time the counters counted",
            counter(|c| real(c.running_ratio)),
        ),
    ] {
        t.add(name, kind, unit, meaning, SCALED, get);
        t.or_null();
    }
}

pub(super) fn processes() -> Table {
    let mut t = table(
        "processes",
        "one process of a component in one window",
        |s| {
            let of = |c| move |p| Item::Process(c, p);
            s.components
                .iter()
                .flat_map(|c| c.processes.iter().map(of(c)))
                .collect()
        },
    );
    component_key(&mut t);
    let tgid: Getter = Box::new(|row| match row.item {
        Item::Process(_, process) => Count(process.tgid.into()),
        _ => Null,
    });
    t.add("tgid", Kind::Count, NUMBER, "process id", EXACT, tgid);
    let comm: Getter = Box::new(|row| match row.item {
        Item::Process(_, process) => Text(&process.comm),
        _ => Null,
    });
    t.add("comm", Kind::Text, NAME, "its name", EXACT, comm);
    t
}

pub(super) fn turnarounds() -> Table {
    let row_is =
        "turnarounds of one component that ended in a send to one recipient, in one window";
    let mut t = table("turnarounds", row_is, |s| {
        let of = |c| move |r| Item::Turnaround(c, r);
        s.components
            .iter()
            .flat_map(|c| c.turnaround.by_recipient.iter().map(of(c)))
            .collect()
    });
    component_key(&mut t);
    fn recipient(get: for<'a> fn(&'a Recipient) -> Value<'a>) -> Getter {
        Box::new(move |row| match row.item {
            Item::Turnaround(_, it) => get(it),
            _ => Null,
        })
    }
    let to = recipient(|r| Text(&r.to));
    t.add(
        "to",
        Kind::Text,
        NAME,
        "id of the recipient of the send that ended them",
        EXACT,
        to,
    );
    for (name, unit, meaning, error, get) in [
        (
            "count",
            NUMBER,
            "turnarounds",
            EXACT,
            recipient(|r| Count(r.count)),
        ),
        (
            "total_ns",
            NS,
            "their sum: that of the five parts",
            EXACT,
            recipient(|r| Count(r.total_ns)),
        ),
        (
            "on_cpu_ns",
            NS,
            "of it: executing",
            SUM,
            recipient(|r| Count(r.on_cpu_ns)),
        ),
        (
            "run_queue_ns",
            NS,
            "of it: runnable without a CPU",
            SUM,
            recipient(|r| Count(r.run_queue_ns)),
        ),
        (
            "block_io_ns",
            NS,
            "of it: waiting for the block layer",
            SUM,
            recipient(|r| Count(r.block_io_ns)),
        ),
        (
            "sleep_ns",
            NS,
            "of it: other waits after the message was read",
            SUM,
            recipient(|r| Count(r.sleep_ns)),
        ),
        (
            "queued_ns",
            NS,
            "of it: the message lay unread",
            SUM,
            recipient(|r| Count(r.queued_ns)),
        ),
    ] {
        t.add(name, Kind::Count, unit, meaning, error, get);
    }
    turnaround_counters(&mut t, "", |row| match row.item {
        Item::Turnaround(_, it) => it.counters.as_ref(),
        _ => None,
    });
    t.dist("each", "single turnarounds", false, |row| match row.item {
        Item::Turnaround(_, it) => Some(&it.each_ns),
        _ => None,
    });
    t
}

/// Null unless they were asked for.
fn turnaround_counters(
    t: &mut Table,
    prefix: &str,
    of: for<'a> fn(Row<'a>) -> Option<&'a TurnaroundCounters>,
) {
    fn cell(
        get: fn(&TurnaroundCounters) -> Value<'static>,
        of: for<'a> fn(Row<'a>) -> Option<&'a TurnaroundCounters>,
    ) -> Getter {
        Box::new(move |row| of(row).map_or(Null, get))
    }
    for (name, kind, unit, meaning, get) in [
        (
            "cycles",
            Kind::Count,
            NUMBER,
            "CPU cycles while it had the ball; null without --pmu-turnaround",
            cell(|c| Count(c.cycles), of),
        ),
        (
            "instructions",
            Kind::Count,
            NUMBER,
            "instructions retired while it had the ball",
            cell(|c| Count(c.instructions), of),
        ),
        (
            "cpi",
            Kind::Real,
            RATIO,
            "cycles / instructions of these",
            cell(|c| real(c.cpi), of),
        ),
    ] {
        let error = "not scaled when multiplexed";
        t.add(format!("{prefix}{name}"), kind, unit, meaning, error, get);
        t.or_null();
    }
}

fn component_key(t: &mut Table) {
    let meaning = "id of the component";
    let get = component(|c| Text(&c.id));
    t.add("component", Kind::Text, NAME, meaning, EXACT, get);
}
