//! The tables: of windows and of the measurement itself here, the others below.
//!
//! In: nothing. Out: every table with its columns, each with its getter. Most are the fields of what a row is, as declared
//! in core. Must not know: formats.

mod components;
mod events;
mod findings;
mod told;
mod traffic;

pub(super) use events::{cells as event_cells, events};
pub(super) use told::told;

use super::{Getter, Item, Kind, Row, Table, TableColumn, Value};
use Value::{Count, Null, Text};
use courtside_core::model::fields::{EXACT, Fields, NAME, NUMBER};
use courtside_core::model::snapshot::Snapshot;
use courtside_core::model::words::LOSSES;

/// Every table.
#[must_use]
pub fn tables() -> Vec<Table> {
    vec![
        windows(),
        components::components(),
        components::processes(),
        components::turnarounds(),
        components::run_queue_by(),
        components::locks(),
        components::queued_behind(),
        traffic::edges(),
        traffic::entries(),
        traffic::courts(),
        findings::findings(),
        findings::evidence(),
        protocols(),
        probes(),
        programs(),
    ]
}

fn table(
    name: &'static str,
    row_is: &'static str,
    rows: for<'a> fn(&'a Snapshot) -> Vec<Item<'a>>,
) -> Table {
    let mut table = Table {
        name,
        row_is,
        columns: Vec::new(),
        rows,
    };
    table.add(
        "window",
        Kind::Count,
        NUMBER,
        "number of the window, from 0",
        EXACT,
        Box::new(|row| Count(row.window)),
    );
    table
}

impl Table {
    /// The columns of what a row is.
    fn fields<T: Fields>(&mut self, of: for<'a> fn(Row<'a>) -> Option<&'a T>) {
        for column in T::all_columns("") {
            let get = column.get;
            self.columns.push(TableColumn {
                name: column.name,
                kind: column.kind,
                nullable: column.nullable,
                unit: column.unit,
                meaning: column.meaning,
                error: column.error,
                get: Box::new(move |row| of(row).map_or(Null, &get)),
            });
        }
    }

    /// One more column.
    fn add(
        &mut self,
        name: impl Into<String>,
        kind: Kind,
        unit: &'static str,
        meaning: impl Into<String>,
        error: &'static str,
        get: Getter,
    ) {
        self.columns.push(TableColumn {
            name: name.into(),
            kind,
            nullable: false,
            unit,
            meaning: meaning.into(),
            error,
            get,
        });
    }

    /// The column added last may be null.
    fn or_null(&mut self) {
        if let Some(column) = self.columns.last_mut() {
            column.nullable = true;
        }
    }
}

fn windows() -> Table {
    let mut t = table("windows", "one window of time", |s| vec![Item::Window(s)]);
    t.fields(|row| match row.item {
        Item::Window(it) => Some(it),
        _ => None,
    });
    // The classes of loss stand before the hardware counters.
    let after = t.columns.iter().position(|c| c.name == "pmu_state");
    let rest = t.columns.split_off(after.unwrap_or(t.columns.len()));
    losses(&mut t);
    t.columns.extend(rest);
    t
}

/// A column for each class of loss.
fn losses(t: &mut Table) {
    for loss in &LOSSES {
        let get: Getter = Box::new(move |row| match row.item {
            Item::Window(snapshot) => {
                Count(snapshot.quality.lost.get(loss.class).copied().unwrap_or(0))
            }
            _ => Null,
        });
        let name = format!("lost_{}", loss.class);
        t.add(name, Kind::Count, NUMBER, loss.meaning, EXACT, get);
    }
    let other: Getter = Box::new(|row| match row.item {
        Item::Window(snapshot) => {
            let known = |class: &str| LOSSES.iter().any(|loss| loss.class == class);
            let lost = snapshot.quality.lost.iter();
            Count(
                lost.filter(|(class, _)| !known(class))
                    .map(|(_, n)| n)
                    .sum(),
            )
        }
        _ => Null,
    });
    let meaning = "losses of classes that this version has no words for";
    t.add("lost_other", Kind::Count, NUMBER, meaning, EXACT, other);
}

fn protocols() -> Table {
    let row_is = "one protocol that Courtside does not place, in one window";
    let mut t = table("protocols", row_is, |s| {
        let protocols = s.quality.unplaced_protocols.iter();
        protocols
            .map(|(name, calls)| Item::Protocol(name, *calls))
            .collect()
    });
    let name: Getter = Box::new(|row| match row.item {
        Item::Protocol(name, _) => Text(name),
        _ => Null,
    });
    let meaning = "name of the protocol";
    t.add("name", Kind::Text, NAME, meaning, EXACT, name);
    let calls: Getter = Box::new(|row| match row.item {
        Item::Protocol(_, calls) => Count(calls),
        _ => Null,
    });
    let meaning = "sends and receives on its connections, which are on no edge";
    t.add("calls", Kind::Count, NUMBER, meaning, EXACT, calls);
    t
}

fn probes() -> Table {
    let mut t = table("probes", "one kernel program in one window", |s| {
        s.quality.probes.iter().map(Item::Probe).collect()
    });
    t.fields(|row| match row.item {
        Item::Probe(it) => Some(it),
        _ => None,
    });
    t
}

fn programs() -> Table {
    let row_is = "what one kernel program cost in one window";
    let mut t = table("programs", row_is, |s| {
        s.cost.programs.iter().map(Item::Program).collect()
    });
    t.fields(|row| match row.item {
        Item::Program(it) => Some(it),
        _ => None,
    });
    t
}
