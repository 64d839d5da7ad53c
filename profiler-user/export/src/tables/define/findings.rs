//! Tables of findings: what is wrong, and the numbers that each rests on.
//!
//! In: nothing. Out: the tables findings and evidence. Must not know: formats, rules.

use super::super::{Getter, Item, Kind, Table, Value};
use super::table;
use Value::{Count, Null};
use courtside_core::model::fields::{EXACT, NUMBER};

pub(super) fn findings() -> Table {
    let row_is = "one finding in one window, the worst first";
    let mut t = table("findings", row_is, |s| {
        let numbered = s.findings.iter().enumerate();
        numbered.map(|(n, found)| Item::Finding(n, found)).collect()
    });
    number(&mut t);
    t.fields(|row| match row.item {
        Item::Finding(_, it) => Some(it),
        _ => None,
    });
    t
}

pub(super) fn evidence() -> Table {
    let row_is = "one number that a finding rests on, in one window";
    let mut t = table("evidence", row_is, |s| {
        let of = |n| move |evidence| Item::Evidence(n, evidence);
        let numbered = s.findings.iter().enumerate();
        numbered
            .flat_map(|(n, found)| found.evidence.iter().map(of(n)))
            .collect()
    });
    number(&mut t);
    t.fields(|row| match row.item {
        Item::Evidence(_, it) => Some(it),
        _ => None,
    });
    t
}

fn number(t: &mut Table) {
    let get: Getter = Box::new(|row| match row.item {
        Item::Finding(number, _) | Item::Evidence(number, _) => Count(number as u64),
        _ => Null,
    });
    let meaning = "number of the finding within its window, from 0";
    t.add("finding", Kind::Count, NUMBER, meaning, EXACT, get);
}
