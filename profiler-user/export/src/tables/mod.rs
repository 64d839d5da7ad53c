//! Snapshots as tables: which there are, which columns each has, and what these mean.
//!
//! In: a snapshot and the number of its window. Out: rows of values, and the same in words for docs/models.md.
//! Must not know: how a table is written.

mod cells;
mod define;
mod doc;

use courtside_core::model::finding::{Evidence, Finding};
use courtside_core::model::interference::{Interference, Suspect};
use courtside_core::model::resolve::ResolvedEvent;
use courtside_core::model::snapshot::{
    Component, Court, Edge, Entry, Probe, ProgramCost, Recipient, Snapshot,
};
use courtside_core::model::{Blame, Lock};

pub(crate) use cells::Cells;
pub use courtside_core::model::fields::{Kind, Value};
pub use define::tables;
pub use doc::markdown;

/// Name and version of the tables' schema. Columns may be added within the version, never renamed.
pub const SCHEMA: &str = "courtside.tables/1";

/// What a row is about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Item<'a> {
    Window(&'a Snapshot),
    Component(&'a Component),
    Process(&'a Component, &'a courtside_core::frame::Process),
    Turnaround(&'a Component, &'a Recipient),
    Blame(&'a Component, &'a Blame),
    Lock(&'a Component, &'a Lock),
    Behind(&'a Component, &'a Blame),
    Edge(&'a Edge),
    Protocol(&'a str, u64),
    Entry(usize, &'a Entry),
    Court(usize, &'a Court),
    Finding(usize, &'a Finding),
    Evidence(usize, &'a Evidence),
    Probe(&'a Probe),
    Program(&'a ProgramCost),
    Told(&'a Interference),
    Suspect(u64, &'a Interference, &'a Suspect),
}

/// One row, before its columns are taken.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    pub(super) window: u64,
    pub(super) item: Item<'a>,
}

type Getter = Box<dyn for<'a> Fn(Row<'a>) -> Value<'a> + Send>;

/// One column.
pub struct TableColumn {
    /// Its name, unit last.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
    /// It may be null.
    pub nullable: bool,
    /// In words: the unit.
    pub unit: &'static str,
    /// In words: the meaning.
    pub meaning: String,
    /// In words: how far it can be trusted.
    pub error: &'static str,
    get: Getter,
}

impl TableColumn {
    /// The cell of a row.
    #[must_use]
    pub fn value<'a>(&self, row: Row<'a>) -> Value<'a> {
        (self.get)(row)
    }
}

/// One table.
pub struct Table {
    /// Its name, without an ending.
    pub name: &'static str,
    /// What one row is.
    pub row_is: &'static str,
    /// Its columns, in order.
    pub columns: Vec<TableColumn>,
    rows: for<'a> fn(&'a Snapshot) -> Vec<Item<'a>>,
}

/// All cells of an event of this window, in the order of the columns of [`events`].
#[inline]
pub(crate) fn event_cells<'a>(window: u64, event: &'a ResolvedEvent, to: &mut impl Cells<'a>) {
    define::event_cells(window, event, to);
}

/// The table of single events, which are not part of snapshots.
#[must_use]
pub fn events() -> Table {
    define::events()
}

/// The tables of what `guard` tells, which is not part of snapshots either: lines, and suspects.
#[must_use]
pub fn told() -> [Table; 2] {
    define::told()
}

/// The rows of a line in each of them.
pub(super) fn rows_of(line: &Interference) -> [Vec<Row<'_>>; 2] {
    // A line is told at the end of a window, and says how many there were.
    let window = line.windows.saturating_sub(1);
    let row = |item| Row { window, item };
    let suspects = (1..).zip(&line.suspects);
    [
        vec![row(Item::Told(line))],
        suspects
            .map(|(place, suspect)| row(Item::Suspect(place, line, suspect)))
            .collect(),
    ]
}

impl Table {
    /// The rows of one window.
    pub fn rows<'a>(&self, window: u64, snapshot: &'a Snapshot) -> impl Iterator<Item = Row<'a>> {
        (self.rows)(snapshot)
            .into_iter()
            .map(move |item| Row { window, item })
    }
}
