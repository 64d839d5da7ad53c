//! CSV: one file a table.
//!
//! In: snapshots, one after another. Out: pieces of files. Must not know: where they go.
//!
//! Null is an empty field, a list is its numbers with blanks between them. A text that a spreadsheet would take for a
//! formula has an apostrophe before it: whoever names a process decides what is in a cell. What cannot be seen in a text
//! (escape codes, a turned direction of writing) is shown by its number; Parquet and JSON have it as it is.

use std::borrow::Cow;

use super::tables::{Cells, Row, Table, Value, event_cells, events, tables};
use super::{Error, Piece};
use courtside_core::model::resolve::ResolvedEvent;
use courtside_core::model::{Snapshot, visible::visible};

/// Writes tables as CSV.
pub struct Csv {
    tables: Vec<Table>,
    events: Table,
    /// Rows of events that were not given away yet.
    waiting: Lines,
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
            waiting: Lines::default(),
            rows: 0,
            begun: false,
        };
        if with_events {
            let mut writer = Writer::from_writer(Vec::new());
            header(&mut writer, &csv.events)?;
            csv.waiting.bytes = bytes(writer)?;
        }
        Ok(csv)
    }

    /// One more event of the window of this number.
    ///
    /// # Errors
    /// As for [`Self::add`].
    pub fn event(&mut self, window: u64, event: &ResolvedEvent) -> Result<Option<Piece>, Error> {
        event_cells(window, event, &mut self.waiting);
        self.waiting.end()?;
        self.rows += 1;
        if self.rows < BATCH {
            return Ok(None);
        }
        self.rows = 0;
        let room = Vec::with_capacity(self.waiting.bytes.len());
        let waiting = std::mem::replace(&mut self.waiting.bytes, room);
        Ok(piece(&self.events, waiting))
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
        pieces.extend(piece(&self.events, self.waiting.bytes));
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
            pieces.extend(piece(table, bytes(writer)?));
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
            Value::Text(text) => writer.write_field(&*safe(text))?,
            Value::Counts(list) => {
                let numbers: Vec<String> = list.into_iter().map(|n| n.to_string()).collect();
                writer.write_field(numbers.join(" "))?;
            }
        }
    }
    Ok(writer.write_record(None::<&[u8]>)?)
}

fn bytes(writer: Writer) -> Result<Vec<u8>, Error> {
    let bytes = writer.into_inner();
    bytes.map_err(|e| Error::Csv(e.into_error().into()))
}

fn piece(table: &Table, bytes: Vec<u8>) -> Option<Piece> {
    (!bytes.is_empty()).then(|| Piece {
        file: format!("{}.csv", table.name),
        bytes,
    })
}

/// Rows of events, which are too many to ask a writer for each cell whether it needs quotes: numbers and our own words
/// never do.
#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    /// What went wrong in the present row.
    failed: Option<Error>,
}

impl Lines {
    fn cell(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.bytes.push(b',');
    }

    /// A text that may need quotes.
    fn quoted(&mut self, text: &str) {
        let mut writer = Writer::from_writer(Vec::new());
        let written = writer.write_record([&*safe(text)]);
        match written.map_err(Error::from).and_then(|()| bytes(writer)) {
            Ok(line) => self.cell(line.strip_suffix(b"\n").unwrap_or(&line)),
            Err(error) => self.failed = Some(error),
        }
    }

    /// The row is whole.
    fn end(&mut self) -> Result<(), Error> {
        if let Some(last) = self.bytes.last_mut() {
            *last = b'\n';
        }
        self.failed.take().map_or(Ok(()), Err)
    }
}

impl<'a> Cells<'a> for Lines {
    fn count(&mut self, count: Option<u64>) {
        match count {
            Some(n) => self.cell(itoa::Buffer::new().format(n).as_bytes()),
            None => self.cell(b""),
        }
    }

    fn text(&mut self, text: Option<&'a str>) {
        match text.unwrap_or_default() {
            text if is_plain(text) => self.cell(text.as_bytes()),
            text => self.quoted(text),
        }
    }

    fn word(&mut self, word: Option<&'static str>) {
        self.cell(word.unwrap_or_default().as_bytes());
    }

    fn flag(&mut self, flag: Option<bool>) {
        self.word(flag.map(|flag| if flag { "true" } else { "false" }));
    }
}

/// Whether a text stands in CSV as it is: nearly all names do.
fn is_plain(text: &str) -> bool {
    let is_odd = |byte: &u8| !matches!(byte, b' '..=b'~') || matches!(byte, b'"' | b',');
    let may_be_formula = matches!(
        text.as_bytes().first(),
        Some(b'\'' | b'=' | b'+' | b'-' | b'@')
    );
    let odd = text.as_bytes().iter().filter(|byte| is_odd(byte)).count();
    !may_be_formula && odd == 0
}

/// A text as it may stand in a table that a spreadsheet opens.
fn safe(text: &str) -> Cow<'_, str> {
    match visible(text) {
        text if is_formula(&text) => format!("'{text}").into(),
        text => text,
    }
}

/// Whether a spreadsheet may run it: what OWASP lists under CSV injection, in its wide forms, too. An apostrophe in front
/// is put before such a text, and so before one that has it already: taking one away gives the name back.
fn is_formula(text: &str) -> bool {
    let bare = text.trim_start_matches('\'');
    bare.starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠'])
}
