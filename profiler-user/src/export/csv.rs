//! CSV: one file a table.
//!
//! In: snapshots, one after another. Out: pieces of files. Must not know: where they go.
//!
//! Null is an empty field, a list is its numbers with blanks between them. A text that a spreadsheet would take for a
//! formula has an apostrophe before it: whoever names a process decides what is in a cell.

use super::events::Told;
use super::tables::{Row, Table, Value, events, tables};
use super::{Error, Piece};
use crate::model::Snapshot;

/// Writes tables as CSV.
pub struct Csv {
    tables: Vec<Table>,
    events: Table,
    /// Rows of events that were not given away yet.
    waiting: Writer,
    rows: usize,
    begun: bool,
}

type Writer = ::csv::Writer<Vec<u8>>;

/// Rows of events that are given away together.
const BATCH: usize = 4096;

impl Csv {
    /// Begins every table, that of events only if there are any.
    ///
    /// # Errors
    /// As for [`Self::add`].
    pub fn new(with_events: bool) -> Result<Self, Error> {
        let mut csv = Self {
            tables: tables(),
            events: events(),
            waiting: Writer::from_writer(Vec::new()),
            rows: 0,
            begun: false,
        };
        if with_events {
            header(&mut csv.waiting, &csv.events)?;
        }
        Ok(csv)
    }

    /// One more event of the window of this number.
    ///
    /// # Errors
    /// As for [`Self::add`].
    pub fn event(&mut self, window: u64, event: &Told) -> Result<Option<Piece>, Error> {
        write(
            &mut self.waiting,
            &self.events,
            Row::of_event(window, event),
        )?;
        self.rows += 1;
        if self.rows < BATCH {
            return Ok(None);
        }
        self.rows = 0;
        let waiting = std::mem::replace(&mut self.waiting, Writer::from_writer(Vec::new()));
        piece(&self.events, waiting)
    }

    /// The rows of one more window and its number; the first brings the headers.
    ///
    /// # Errors
    /// If the CSV writer fails, which it does only out of memory.
    pub fn add(&mut self, window: u64, snapshot: &Snapshot) -> Result<Vec<Piece>, Error> {
        let header = !std::mem::replace(&mut self.begun, true);
        self.write(Some((window, snapshot)), header)
    }

    /// What is left: the last events, and the headers if there was no window at all.
    ///
    /// # Errors
    /// As for [`Self::add`].
    pub fn finish(self) -> Result<Vec<Piece>, Error> {
        let mut pieces = self.write(None, !self.begun)?;
        pieces.extend(piece(&self.events, self.waiting)?);
        Ok(pieces)
    }

    fn write(&self, window: Option<(u64, &Snapshot)>, begin: bool) -> Result<Vec<Piece>, Error> {
        let mut pieces = Vec::new();
        for table in &self.tables {
            let mut writer = Writer::from_writer(Vec::new());
            if begin {
                header(&mut writer, table)?;
            }
            for row in window.into_iter().flat_map(|(n, s)| table.rows(n, s)) {
                write(&mut writer, table, row)?;
            }
            pieces.extend(piece(table, writer)?);
        }
        Ok(pieces)
    }
}

fn header(writer: &mut Writer, table: &Table) -> Result<(), Error> {
    Ok(writer.write_record(table.columns.iter().map(|column| &column.name))?)
}

fn write(writer: &mut Writer, table: &Table, row: Row<'_>) -> Result<(), Error> {
    for column in &table.columns {
        match column.value(row) {
            Value::Null => writer.write_field("")?,
            // Most cells are numbers: none of them is worth an allocation.
            Value::Count(n) => writer.write_field(itoa::Buffer::new().format(n))?,
            // The shortest text that reads back as the same number.
            Value::Real(x) => writer.write_field(x.to_string())?,
            Value::Flag(yes) => writer.write_field(yes.to_string())?,
            Value::Text(text) if is_formula(text) => writer.write_field(format!("'{text}"))?,
            Value::Text(text) => writer.write_field(text)?,
            Value::Counts(list) => {
                let numbers: Vec<String> = list.into_iter().map(|n| n.to_string()).collect();
                writer.write_field(numbers.join(" "))?;
            }
        }
    }
    Ok(writer.write_record(None::<&[u8]>)?)
}

fn piece(table: &Table, writer: Writer) -> Result<Option<Piece>, Error> {
    let bytes = writer
        .into_inner()
        .map_err(|e| Error::Csv(e.into_error().into()))?;
    Ok((!bytes.is_empty()).then(|| Piece {
        file: format!("{}.csv", table.name),
        bytes,
    }))
}

/// Whether a spreadsheet may run it: what OWASP lists under CSV injection, in its wide forms, too. An apostrophe in front
/// is put before such a text, and so before one that has it already: taking one away gives the name back.
fn is_formula(text: &str) -> bool {
    let bare = text.trim_start_matches('\'');
    bare.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'])
}
