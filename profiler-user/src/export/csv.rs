//! CSV: one file a table.
//!
//! In: snapshots, one after another. Out: pieces of files. Must not know: where they go.
//!
//! Null is an empty field, a list is its numbers with blanks between them. A text that a spreadsheet would take for a
//! formula has an apostrophe before it: whoever names a process decides what is in a cell.

use std::fmt::Display;

use super::Piece;
use super::events::Told;
use super::tables::{Row, Table, Value, events, tables};
use crate::model::Snapshot;

/// Writes tables as CSV.
pub struct Csv {
    tables: Vec<Table>,
    events: Table,
    /// Rows of events that were not given away yet.
    waiting: Vec<u8>,
    begun: bool,
}

/// Bytes of rows of events that are given away together.
const BATCH: usize = 1 << 20;

impl Csv {
    /// Begins every table, that of events only if there are any.
    #[must_use]
    pub fn new(with_events: bool) -> Self {
        let events = events();
        let mut waiting = Vec::new();
        if with_events {
            header(&mut waiting, &events);
        }
        Self {
            tables: tables(),
            events,
            waiting,
            begun: false,
        }
    }

    /// One more event of the window of this number.
    pub fn event(&mut self, window: u64, event: &Told) -> Option<Piece> {
        write(
            &mut self.waiting,
            &self.events,
            Row::of_event(window, event),
        );
        if self.waiting.len() < BATCH {
            return None;
        }
        let next = Vec::with_capacity(self.waiting.capacity());
        piece(&self.events, std::mem::replace(&mut self.waiting, next))
    }

    /// The rows of one more window and its number; the first brings the headers.
    pub fn add(&mut self, window: u64, snapshot: &Snapshot) -> Vec<Piece> {
        let header = !std::mem::replace(&mut self.begun, true);
        self.write(Some((window, snapshot)), header)
    }

    /// What is left: the last events, and the headers if there was no window at all.
    #[must_use]
    pub fn finish(self) -> Vec<Piece> {
        let mut pieces = self.write(None, !self.begun);
        pieces.extend(piece(&self.events, self.waiting));
        pieces
    }

    fn write(&self, window: Option<(u64, &Snapshot)>, begin: bool) -> Vec<Piece> {
        let file = |table: &Table| {
            let mut bytes = Vec::new();
            if begin {
                header(&mut bytes, table);
            }
            for row in window.into_iter().flat_map(|(n, s)| table.rows(n, s)) {
                write(&mut bytes, table, row);
            }
            piece(table, bytes)
        };
        self.tables.iter().filter_map(file).collect()
    }
}

fn piece(table: &Table, bytes: Vec<u8>) -> Option<Piece> {
    (!bytes.is_empty()).then(|| Piece {
        file: format!("{}.csv", table.name),
        bytes,
    })
}

fn header(out: &mut Vec<u8>, table: &Table) {
    for column in &table.columns {
        text(out, &column.name);
        out.push(b',');
    }
    end_line(out);
}

fn write(out: &mut Vec<u8>, table: &Table, row: Row<'_>) {
    for column in &table.columns {
        match column.value(row) {
            Value::Null => {}
            Value::Count(n) => number(out, n),
            // The shortest text that reads back as the same number.
            Value::Real(x) => shown(out, x),
            Value::Flag(yes) => shown(out, yes),
            Value::Text(name) if is_formula(name) => text(out, &format!("'{name}")),
            Value::Text(name) => text(out, name),
            Value::Counts(list) => {
                for (place, n) in list.into_iter().enumerate() {
                    if place > 0 {
                        out.push(b' ');
                    }
                    number(out, n);
                }
            }
        }
        out.push(b',');
    }
    end_line(out);
}

/// Each field of a line has brought a comma; the last one ends it instead.
fn end_line(out: &mut [u8]) {
    if let Some(last) = out.last_mut() {
        *last = b'\n';
    }
}

fn number(out: &mut Vec<u8>, n: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
}

fn shown(out: &mut Vec<u8>, what: impl Display) {
    out.extend_from_slice(what.to_string().as_bytes());
}

/// A text, in quotation marks only if it has to be (RFC 4180).
fn text(out: &mut Vec<u8>, text: &str) {
    let special = |byte: &u8| matches!(byte, b',' | b'"' | b'\r' | b'\n');
    if text.as_bytes().iter().any(special) {
        out.push(b'"');
        out.extend_from_slice(text.replace('"', "\"\"").as_bytes());
        out.push(b'"');
    } else {
        out.extend_from_slice(text.as_bytes());
    }
}

/// Whether a spreadsheet may run it: what OWASP lists under CSV injection, in its wide forms, too. An apostrophe in front
/// is put before such a text, and so before one that has it already: taking one away gives the name back.
fn is_formula(text: &str) -> bool {
    let bare = text.trim_start_matches('\'');
    bare.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'])
}
