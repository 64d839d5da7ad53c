//! Snapshots as tables: which there are, which columns each has, and what these mean.
//!
//! In: a snapshot and the number of its window. Out: rows of values, and the same in words for docs/models.md.
//! Must not know: how a table is written.

mod define;
mod doc;

use super::events::Told;
use crate::model::snapshot::{
    Component, Court, Edge, Entry, Probe, ProgramCost, Recipient, Snapshot,
};

pub use define::tables;
pub use doc::markdown;

/// Name and version of the tables' schema. Columns may be added within the version, never renamed.
pub const SCHEMA: &str = "courtside.tables/1";

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole number, 64 bits, not negative.
    Count,
    /// A number with a fraction, 64 bits.
    Real,
    /// True or false.
    Flag,
    /// Text.
    Text,
    /// A list of whole numbers.
    Counts,
}

/// One cell.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// Not known.
    Null,
    /// A whole number.
    Count(u64),
    /// A number with a fraction.
    Real(f64),
    /// True or false.
    Flag(bool),
    /// Text.
    Text(&'a str),
    /// A list of whole numbers.
    Counts(Vec<u64>),
}

/// What a row is about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Item<'a> {
    Window(&'a Snapshot),
    Component(&'a Component),
    Process(&'a Component, &'a crate::frame::Process),
    Turnaround(&'a Component, &'a Recipient),
    Edge(&'a Edge),
    Entry(usize, &'a Entry),
    Court(usize, &'a Court),
    Probe(&'a Probe),
    Program(&'a ProgramCost),
    Event(&'a Told),
}

/// One row, before its columns are taken.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    pub(super) window: u64,
    pub(super) item: Item<'a>,
}

type Getter = Box<dyn for<'a> Fn(Row<'a>) -> Value<'a> + Send>;

/// One column.
pub struct Column {
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

impl Column {
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
    pub columns: Vec<Column>,
    rows: for<'a> fn(&'a Snapshot) -> Vec<Item<'a>>,
}

impl<'a> Row<'a> {
    /// The row of an event.
    #[must_use]
    pub fn of_event(window: u64, event: &'a Told) -> Self {
        Self {
            window,
            item: Item::Event(event),
        }
    }
}

/// The table of single events, which are not part of snapshots.
#[must_use]
pub fn events() -> Table {
    define::events()
}

impl Table {
    /// The rows of one window.
    pub fn rows<'a>(&self, window: u64, snapshot: &'a Snapshot) -> impl Iterator<Item = Row<'a>> {
        (self.rows)(snapshot)
            .into_iter()
            .map(move |item| Row { window, item })
    }
}
