//! Parquet: one file a table, typed columns, names as dictionaries, zstd.
//!
//! In: snapshots, one after another. Out: pieces of files. Must not know: where they go.

use std::sync::Arc;
use std::{mem, slice};

use bytes::Bytes;

use parquet::basic::{Compression, Encoding, LogicalType, Repetition, Type as Physical, ZstdLevel};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::{ColumnPath, Type, TypePtr};

use super::tables::{
    Cells as RowCells, Kind, Row, SCHEMA, Table, TableColumn, Value, event_cells, events, rows_of,
    tables, told,
};
use super::{Error, Piece};
use courtside_core::model::Snapshot;
use courtside_core::model::interference::Interference;
use courtside_core::model::resolve::ResolvedEvent;

/// Cells that are held before they are written as a row group: some tens of megabytes.
const MAX_CELLS: usize = 1_000_000;

/// Writes tables as Parquet.
pub struct Parquet {
    files: Vec<File>,
    events: Option<File>,
    /// Cells that all tables together hold at most when a window is taken; beyond that the largest is written.
    most_cells: usize,
}

impl Parquet {
    /// Opens every table, that of events only if there are any.
    ///
    /// # Errors
    /// If the tables' schema is not what Parquet takes, which a test excludes.
    pub fn new(with_events: bool) -> Result<Self, Error> {
        let files = tables().into_iter().map(File::new);
        Ok(Self {
            files: files.collect::<Result<_, _>>()?,
            events: with_events.then(|| File::new(events())).transpose()?,
            most_cells: usize::MAX,
        })
    }

    /// The tables of windows for a process that has to stay small: all of them together hold at most so many cells, each some
    /// ten bytes, and those of one more window.
    ///
    /// # Errors
    /// As for [`Self::new`].
    pub fn within(most_cells: usize) -> Result<Self, Error> {
        Ok(Self {
            most_cells,
            ..Self::new(false)?
        })
    }

    /// What the writers keep of what is written already, until their ends: chunks of columns, each a kilobyte or two.
    #[must_use]
    pub fn chunks(&self) -> usize {
        let files = self.files.iter().chain(&self.events);
        files.map(File::chunks).fold(0, usize::saturating_add)
    }

    /// Names of the files, in the order in which they are written.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.files.iter().chain(&self.events).map(File::name)
    }

    /// Takes one more window and its number.
    ///
    /// # Errors
    /// If the Parquet writer fails.
    pub fn add(&mut self, window: u64, snapshot: &Snapshot) -> Result<Vec<Piece>, Error> {
        let mut pieces = Vec::new();
        for file in &mut self.files {
            for row in file.table.rows(window, snapshot) {
                file.columns.push(&file.table, row);
            }
            pieces.extend(file.piece(MAX_CELLS)?);
        }
        while self
            .files
            .iter()
            .map(File::cells)
            .fold(0, usize::saturating_add)
            > self.most_cells
        {
            let largest = self.files.iter_mut().max_by_key(|file| file.cells());
            let Some(file) = largest else { break };
            pieces.extend(file.piece(0)?);
        }
        Ok(pieces)
    }

    /// Takes one more event of the window of this number.
    ///
    /// # Errors
    /// If the Parquet writer fails.
    pub fn event(&mut self, window: u64, event: &ResolvedEvent) -> Result<Option<Piece>, Error> {
        let Some(file) = &mut self.events else {
            return Ok(None);
        };
        file.columns.push_event(window, event);
        Ok(file.piece(MAX_CELLS)?)
    }

    /// What is left, and the footers.
    ///
    /// # Errors
    /// As for [`Self::add`].
    pub fn finish(self) -> Result<Vec<Piece>, Error> {
        let files = self.files.into_iter().chain(self.events);
        files.map(File::finish).collect()
    }
}

/// Writes what `guard` tells as two tables, of lines and of suspects.
pub struct Told {
    files: Vec<File>,
}

impl Told {
    /// Opens both.
    ///
    /// # Errors
    /// As for [`Parquet::new`].
    pub fn new() -> Result<Self, Error> {
        let files = told().into_iter().map(File::new);
        Ok(Self {
            files: files.collect::<Result<_, _>>()?,
        })
    }

    /// Takes one more line.
    ///
    /// # Errors
    /// If the Parquet writer fails.
    pub fn add(&mut self, line: &Interference) -> Result<Vec<Piece>, Error> {
        let mut pieces = Vec::new();
        for (file, rows) in self.files.iter_mut().zip(rows_of(line)) {
            for row in rows {
                file.columns.push(&file.table, row);
            }
            pieces.extend(file.piece(MAX_CELLS)?);
        }
        Ok(pieces)
    }

    /// What is left, and the footers.
    ///
    /// # Errors
    /// As for [`Self::add`].
    pub fn finish(self) -> Result<Vec<Piece>, Error> {
        self.files.into_iter().map(File::finish).collect()
    }
}

/// One table's file.
struct File {
    table: Table,
    columns: Columns,
    writer: SerializedFileWriter<Vec<u8>>,
}

impl File {
    fn new(table: Table) -> Result<Self, ParquetError> {
        let fields = table.columns.iter().map(field);
        let schema = Type::group_type_builder(table.name)
            .with_fields(fields.collect::<Result<_, _>>()?)
            .build()?;
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_dictionary_enabled(false)
            // Most row groups have a page of each column: what its pages hold says no more than what it holds itself.
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_offset_index_disabled(true)
            .set_created_by(format!("courtside {}", env!("CARGO_PKG_VERSION")))
            .set_key_value_metadata(Some(vec![KeyValue::new(
                "courtside.schema".to_owned(),
                SCHEMA.to_owned(),
            )]));
        for column in &table.columns {
            let path = ColumnPath::from(column.name.as_str());
            properties = match column.kind {
                Kind::Text => properties.set_column_dictionary_enabled(path, true),
                Kind::Count => properties.set_column_encoding(path, Encoding::DELTA_BINARY_PACKED),
                _ => properties,
            };
        }
        let properties = Arc::new(properties.build());
        Ok(Self {
            columns: Columns {
                buffers: table.columns.iter().map(Buffer::new).collect(),
                cells: 0,
            },
            writer: SerializedFileWriter::new(Vec::new(), Arc::new(schema), properties)?,
            table,
        })
    }

    fn finish(mut self) -> Result<Piece, Error> {
        self.write_row_group()?;
        let file = self.name();
        let bytes = self.writer.into_inner()?;
        Ok(Piece { file, bytes })
    }

    fn name(&self) -> String {
        format!("{}.parquet", self.table.name)
    }

    fn cells(&self) -> usize {
        self.columns.cells
    }

    fn chunks(&self) -> usize {
        let groups = self.writer.flushed_row_groups().len();
        groups.saturating_mul(self.table.columns.len())
    }

    fn write_row_group(&mut self) -> Result<(), ParquetError> {
        if mem::take(&mut self.columns.cells) == 0 {
            return Ok(());
        }
        let mut group = self.writer.next_row_group()?;
        let mut columns = self.columns.buffers.iter_mut();
        while let (Some(mut writer), Some(buffer)) = (group.next_column()?, columns.next()) {
            buffer.write(&mut writer)?;
            writer.close()?;
        }
        group.close()?;
        Ok(())
    }

    /// What is to be added to the file once so many cells have come. The writer counts the bytes itself, so they need
    /// not stay.
    fn piece(&mut self, cells: usize) -> Result<Option<Piece>, ParquetError> {
        if self.columns.cells < cells {
            return Ok(None);
        }
        self.write_row_group()?;
        let bytes = mem::take(self.writer.inner_mut());
        Ok((!bytes.is_empty()).then(|| Piece {
            file: self.name(),
            bytes,
        }))
    }
}

/// The rows of a table that are not written yet.
struct Columns {
    buffers: Vec<Buffer>,
    cells: usize,
}

impl Columns {
    fn push(&mut self, table: &Table, row: Row<'_>) {
        for (column, buffer) in table.columns.iter().zip(&mut self.buffers) {
            self.cells += buffer.push(column.value(row));
        }
    }
}

impl Columns {
    fn push_event(&mut self, window: u64, event: &ResolvedEvent) {
        self.cells += self.buffers.len();
        event_cells(window, event, &mut Filling(self.buffers.iter_mut()));
    }
}

/// The buffers that wait for cells of the present row.
struct Filling<'a>(slice::IterMut<'a, Buffer>);

impl<'a> RowCells<'a> for Filling<'_> {
    fn count(&mut self, count: Option<u64>) {
        let Some(buffer) = self.0.next() else { return };
        if let (Cells::Whole(cells), Some(n)) = (&mut buffer.cells, count) {
            cells.push(n.cast_signed());
        }
        buffer.defines(count.is_some());
    }

    fn text(&mut self, text: Option<&'a str>) {
        let Some(buffer) = self.0.next() else { return };
        if let (Cells::Text(cells, recent), Some(text)) = (&mut buffer.cells, text) {
            cells.push(recent.bytes(text));
        }
        buffer.defines(text.is_some());
    }

    fn word(&mut self, word: Option<&'static str>) {
        let Some(buffer) = self.0.next() else { return };
        if let (Cells::Text(cells, recent), Some(word)) = (&mut buffer.cells, word) {
            cells.push(recent.word(word));
        }
        buffer.defines(word.is_some());
    }

    fn flag(&mut self, flag: Option<bool>) {
        let Some(buffer) = self.0.next() else { return };
        if let (Cells::Flag(cells), Some(flag)) = (&mut buffer.cells, flag) {
            cells.push(flag);
        }
        buffer.defines(flag.is_some());
    }
}

/// A column as Parquet describes it.
fn field(column: &TableColumn) -> Result<TypePtr, ParquetError> {
    let repetition = if column.nullable {
        Repetition::OPTIONAL
    } else {
        Repetition::REQUIRED
    };
    let whole = Some(LogicalType::integer(64, false));
    let plain = |name: &str, kind: Kind, repetition| {
        let (physical, logical) = match kind {
            Kind::Real => (Physical::DOUBLE, None),
            Kind::Flag => (Physical::BOOLEAN, None),
            Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
            Kind::Count | Kind::Counts => (Physical::INT64, whole.clone()),
        };
        Type::primitive_type_builder(name, physical)
            .with_repetition(repetition)
            .with_logical_type(logical)
            .build()
            .map(Arc::new)
    };
    if column.kind != Kind::Counts {
        return plain(&column.name, column.kind, repetition);
    }
    let list = Type::group_type_builder("list")
        .with_repetition(Repetition::REPEATED)
        .with_fields(vec![plain("element", Kind::Count, Repetition::REQUIRED)?])
        .build()?;
    Type::group_type_builder(&column.name)
        .with_repetition(repetition)
        .with_logical_type(Some(LogicalType::List))
        .with_fields(vec![Arc::new(list)])
        .build()
        .map(Arc::new)
}

/// Values of one kind.
enum Cells {
    Whole(Vec<i64>),
    Real(Vec<f64>),
    Flag(Vec<bool>),
    Text(Vec<ByteArray>, Recent),
}

/// Texts that came last. A column holds the same few again and again, and a copy of one of these shares its bytes.
#[derive(Default)]
struct Recent {
    texts: Vec<ByteArray>,
    next: usize,
    /// Our own words, identified by their address in memory; their bytes are not reference-counted.
    words: Vec<(&'static str, ByteArray)>,
}

impl Recent {
    const TEXTS: usize = 8;

    fn word(&mut self, word: &'static str) -> ByteArray {
        let same = |(known, _): &&(&str, ByteArray)| std::ptr::eq(*known, word);
        if let Some((_, bytes)) = self.words.iter().find(same) {
            return bytes.clone();
        }
        let bytes = ByteArray::from(Bytes::from_static(word.as_bytes()));
        self.words.push((word, bytes.clone()));
        bytes
    }

    fn bytes(&mut self, text: &str) -> ByteArray {
        let same = |known: &ByteArray| known.data() == text.as_bytes();
        if let Some(at) = self.texts.iter().position(same) {
            // What comes often moves to the front.
            let nearer = at.saturating_sub(1);
            self.texts.swap(at, nearer);
            return self.texts[nearer].clone();
        }
        let new = ByteArray::from(text);
        if self.texts.len() < Self::TEXTS {
            self.texts.push(new.clone());
        } else {
            self.texts[self.next] = new.clone();
            self.next = (self.next + 1) % Self::TEXTS;
        }
        new
    }
}

/// The cells of one column that are not written yet, in Parquet's terms.
struct Buffer {
    cells: Cells,
    /// How much of a cell is there: all of it is `most`, 0 where it is null.
    defined: Option<Vec<i16>>,
    most: i16,
    /// For lists: 0 where one begins, 1 where it goes on.
    repeated: Option<Vec<i16>>,
}

impl Buffer {
    fn new(column: &TableColumn) -> Self {
        let list = column.kind == Kind::Counts;
        Self {
            cells: match column.kind {
                Kind::Count | Kind::Counts => Cells::Whole(Vec::new()),
                Kind::Real => Cells::Real(Vec::new()),
                Kind::Flag => Cells::Flag(Vec::new()),
                Kind::Text => Cells::Text(Vec::new(), Recent::default()),
            },
            defined: (column.nullable || list).then(Vec::new),
            most: i16::from(column.nullable) + i16::from(list),
            repeated: list.then(Vec::new),
        }
    }

    /// A cell was added, or it is null.
    fn defines(&mut self, is_there: bool) {
        if let Some(defined) = &mut self.defined {
            defined.push(if is_there { self.most } else { 0 });
        }
    }

    /// Adds one cell; returns how much room it takes.
    fn push(&mut self, value: Value<'_>) -> usize {
        if let Value::Counts(list) = value {
            return self.push_list(&list);
        }
        let level = match (&mut self.cells, value) {
            (_, Value::Null) => 0,
            (Cells::Whole(cells), Value::Count(n)) => {
                cells.push(n.cast_signed());
                self.most
            }
            (Cells::Real(cells), Value::Real(x)) => {
                cells.push(x);
                self.most
            }
            (Cells::Flag(cells), Value::Flag(yes)) => {
                cells.push(yes);
                self.most
            }
            (Cells::Text(cells, recent), Value::Text(text)) => {
                cells.push(recent.bytes(text));
                self.most
            }
            // A getter of the wrong kind, which a test excludes.
            _ => 0,
        };
        if let Some(defined) = &mut self.defined {
            defined.push(level);
        }
        if let Some(repeated) = &mut self.repeated {
            repeated.push(0);
        }
        1
    }

    /// Adds one cell that is a list. Its level is one less when it is empty, and nothing when it is null.
    fn push_list(&mut self, list: &[u64]) -> usize {
        let (Cells::Whole(cells), Some(defined), Some(repeated)) =
            (&mut self.cells, &mut self.defined, &mut self.repeated)
        else {
            return 0;
        };
        cells.extend(list.iter().map(|n| n.cast_signed()));
        defined.extend(list.iter().map(|_| self.most));
        repeated.extend(list.iter().enumerate().map(|(n, _)| i16::from(n > 0)));
        if list.is_empty() {
            defined.push(self.most - 1);
            repeated.push(0);
        }
        list.len() + 1
    }

    /// Writes the cells and forgets them.
    fn write(&mut self, writer: &mut SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        let (defined, repeated) = (self.defined.as_deref(), self.repeated.as_deref());
        match &mut self.cells {
            Cells::Whole(cells) => put::<Int64Type>(writer, cells, defined, repeated),
            Cells::Real(cells) => put::<DoubleType>(writer, cells, defined, repeated),
            Cells::Flag(cells) => put::<BoolType>(writer, cells, defined, repeated),
            Cells::Text(cells, _) => put::<ByteArrayType>(writer, cells, defined, repeated),
        }?;
        self.defined.iter_mut().for_each(|of| *of = Vec::new());
        self.repeated.iter_mut().for_each(|of| *of = Vec::new());
        Ok(())
    }
}

fn put<T: DataType>(
    writer: &mut SerializedColumnWriter<'_>,
    cells: &mut Vec<T::T>,
    defined: Option<&[i16]>,
    repeated: Option<&[i16]>,
) -> Result<(), ParquetError> {
    let typed = writer.typed::<T>();
    typed.write_batch(cells, defined, repeated)?;
    // Its room, too: each table would keep as much as it ever had, and all of them together are what is bounded.
    *cells = Vec::new();
    Ok(())
}

#[cfg(test)]
mod tests {
    use courtside_core::fixture::snapshots::normal;

    use super::*;

    /// Cells for which there is room.
    fn room(file: &File) -> usize {
        let of = |buffer: &Buffer| match &buffer.cells {
            Cells::Whole(cells) => cells.capacity(),
            Cells::Real(cells) => cells.capacity(),
            Cells::Flag(cells) => cells.capacity(),
            Cells::Text(cells, _) => cells.capacity(),
        };
        file.columns.buffers.iter().map(of).sum()
    }

    #[test]
    fn what_is_written_leaves_no_room_behind() {
        const MOST: usize = 5000;
        let mut tables = Parquet::within(MOST).unwrap();
        let mut pieces = 0;
        for window in 0..200 {
            pieces += tables.add(window, &normal(window)).unwrap().len();
            let held: usize = tables.files.iter().map(File::cells).sum();
            let room: usize = tables.files.iter().map(room).sum();
            assert!(held <= MOST, "{held}");
            // A vector doubles, and begins with room for a few.
            assert!(room <= 2 * MOST + 8 * 400, "{room}");
        }
        assert!(pieces > 10, "{pieces}");
        assert!(tables.chunks() >= pieces);
    }
}
