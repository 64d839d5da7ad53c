//! Tables of components: what they used, served and kept.
//!
//! In: nothing. Out: the tables components, processes, turnarounds, run_queue_by, locks and queued_behind. Must not know: formats.

use super::super::{Getter, Item, Kind, Table, Value};
use super::table;
use Value::{Count, Null, Text};
use courtside_core::model::fields::{EXACT, NAME, NS, NUMBER, TO_SCHEDSTAT};

/// How far time behind others can be trusted.
const AT_MOST: &str = "at most: the device may have worked on several requests at once";

pub(super) fn components() -> Table {
    let mut t = table("components", "one component in one window", |s| {
        s.components.iter().map(Item::Component).collect()
    });
    t.fields(|row| match row.item {
        Item::Component(it) => Some(it),
        _ => None,
    });
    t
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
    t.fields(|row| match row.item {
        Item::Turnaround(_, it) => Some(it),
        _ => None,
    });
    t
}

pub(super) fn run_queue_by() -> Table {
    let row_is =
        "time in one window that threads of one component waited for a CPU which another one had";
    let mut t = table("run_queue_by", row_is, |s| {
        let of = |c| move |b| Item::Blame(c, b);
        s.components
            .iter()
            .flat_map(|c| c.cpu.run_queue_by.iter().flatten().map(of(c)))
            .collect()
    });
    component_key(&mut t);
    let by: Getter = Box::new(|row| match row.item {
        Item::Blame(_, blame) => Text(&blame.component),
        _ => Null,
    });
    let meaning = "id of the component that had the CPU, `idle` or `unknown`";
    t.add("by", Kind::Text, NAME, meaning, EXACT, by);
    let ns: Getter = Box::new(|row| match row.item {
        Item::Blame(_, blame) => Count(blame.ns),
        _ => Null,
    });
    t.add("ns", Kind::Count, NS, "how long", TO_SCHEDSTAT, ns);
    t
}

pub(super) fn locks() -> Table {
    let row_is = "one futex by which threads of one component slept in one window";
    let mut t = table("locks", row_is, |s| {
        let of = |c| move |l| Item::Lock(c, l);
        s.components
            .iter()
            .flat_map(|c| c.locks.iter().flatten().map(of(c)))
            .collect()
    });
    component_key(&mut t);
    t.fields(|row| match row.item {
        Item::Lock(_, it) => Some(it),
        _ => None,
    });
    t
}

pub(super) fn queued_behind() -> Table {
    let row_is = "time in one window that disk requests of one component waited behind those of another one, at most";
    let mut t = table("queued_behind", row_is, |s| {
        let of = |c| move |b| Item::Behind(c, b);
        s.components
            .iter()
            .flat_map(|c| c.disk.queued_behind.iter().flatten().map(of(c)))
            .collect()
    });
    component_key(&mut t);
    let by: Getter = Box::new(|row| match row.item {
        Item::Behind(_, blame) => Text(&blame.component),
        _ => Null,
    });
    let meaning = "id of the component whose requests had been started before, or `unknown`";
    t.add("by", Kind::Text, NAME, meaning, EXACT, by);
    let ns: Getter = Box::new(|row| match row.item {
        Item::Behind(_, blame) => Count(blame.ns),
        _ => Null,
    });
    t.add("ns", Kind::Count, NS, "how long", AT_MOST, ns);
    t
}

fn component_key(t: &mut Table) {
    let id: Getter = Box::new(|row| match row.item {
        Item::Process(it, _)
        | Item::Turnaround(it, _)
        | Item::Blame(it, _)
        | Item::Behind(it, _)
        | Item::Lock(it, _) => Text(&it.id),
        _ => Null,
    });
    let meaning = "id of the component";
    t.add("component", Kind::Text, NAME, meaning, EXACT, id);
}
