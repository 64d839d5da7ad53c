//! CSV: one file a table.
//!
//! In: snapshots, one after another. Out: pieces of files. Must not know: where they go.
//!
//! Null is an empty field, a list is its numbers with blanks between them.

use super::tables::{Table, Value, tables};
use super::{Error, Piece};
use crate::model::Snapshot;

/// Writes tables as CSV.
pub struct Csv {
    tables: Vec<Table>,
    begun: bool,
}

impl Default for Csv {
    fn default() -> Self {
        Self {
            tables: tables(),
            begun: false,
        }
    }
}

impl Csv {
    /// The rows of one more window and its number; the first brings the headers.
    ///
    /// # Errors
    /// If the CSV writer fails, which it does only out of memory.
    pub fn add(&mut self, window: u64, snapshot: &Snapshot) -> Result<Vec<Piece>, Error> {
        let header = !std::mem::replace(&mut self.begun, true);
        self.write(Some((window, snapshot)), header)
    }

    /// What is left: the headers, if there was no window at all.
    ///
    /// # Errors
    /// As for [`Self::add`].
    pub fn finish(self) -> Result<Vec<Piece>, Error> {
        self.write(None, !self.begun)
    }

    fn write(&self, window: Option<(u64, &Snapshot)>, header: bool) -> Result<Vec<Piece>, Error> {
        let mut pieces = Vec::new();
        for table in &self.tables {
            let mut writer = csv::Writer::from_writer(Vec::new());
            if header {
                writer.write_record(table.columns.iter().map(|column| &column.name))?;
            }
            for row in window.into_iter().flat_map(|(n, s)| table.rows(n, s)) {
                for column in &table.columns {
                    writer.write_field(text(&column.value(row)))?;
                }
                writer.write_record(None::<&[u8]>)?;
            }
            let bytes = writer
                .into_inner()
                .map_err(|e| Error::Csv(e.into_error().into()))?;
            if !bytes.is_empty() {
                pieces.push(Piece {
                    file: format!("{}.csv", table.name),
                    bytes,
                });
            }
        }
        Ok(pieces)
    }
}

fn text(value: &Value<'_>) -> String {
    match value {
        Value::Null => String::new(),
        Value::Count(n) => n.to_string(),
        // The shortest text that reads back as the same number.
        Value::Real(x) => x.to_string(),
        Value::Flag(yes) => yes.to_string(),
        Value::Text(text) => (*text).to_owned(),
        Value::Counts(list) => {
            let numbers: Vec<String> = list.iter().map(ToString::to_string).collect();
            numbers.join(" ")
        }
    }
}
