//! Tables of traffic: who called whom, and where a request's time went.
//!
//! In: nothing. Out: the tables edges, entries and courts. Must not know: formats.

use super::super::{Getter, Item, Kind, Table, Value};
use super::table;
use Value::{Count, Null};
use courtside_core::model::fields::{EXACT, NUMBER};

pub(super) fn edges() -> Table {
    let row_is = "who called whom, over which transport and port, in one window; booked once, at the initiator";
    let mut t = table("edges", row_is, |s| {
        s.edges.iter().map(Item::Edge).collect()
    });
    t.fields(|row| match row.item {
        Item::Edge(it) => Some(it),
        _ => None,
    });
    t
}

pub(super) fn entries() -> Table {
    let row_is = "one place where requests come in, in one window";
    let mut t = table("entries", row_is, |s| {
        let numbered = s.entries.iter().enumerate();
        numbered.map(|(n, entry)| Item::Entry(n, entry)).collect()
    });
    entry_number(&mut t);
    t.fields(|row| match row.item {
        Item::Entry(_, it) => Some(it),
        _ => None,
    });
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
    t.fields(|row| match row.item {
        Item::Court(_, it) => Some(it),
        _ => None,
    });
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
