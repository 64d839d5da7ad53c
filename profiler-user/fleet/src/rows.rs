//! Rows as text, as JSON, as Parquet; and single cells of them.
//!
//! In: batches of rows. Out: what is written of them. Must not know: what they mean.

use std::io::Write;

use anyhow::{Context as _, anyhow};
use datafusion::{
    arrow::{
        array::{AsArray as _, RecordBatch},
        compute::cast,
        datatypes::{DataType, Float64Type, SchemaRef, UInt64Type},
        json::writer::{JsonArray, WriterBuilder},
        util::display::{ArrayFormatter, FormatOptions},
    },
    parquet::{
        arrow::ArrowWriter,
        basic::{Compression, ZstdLevel},
        file::properties::WriterProperties,
    },
};

use crate::{args::SqlFormatArg, engine::Asked};

/// Rows by which the width of columns is chosen; later ones may be wider.
const ROWS_SEEN: usize = 1000;
/// A wider cell is cut off.
const WIDEST: usize = 100;

/// Writes the whole answer as it comes.
///
/// # Errors
/// Reading or writing failed.
pub(crate) async fn write(
    asked: &mut Asked,
    format: SqlFormatArg,
    to: &mut (impl Write + Send),
) -> anyhow::Result<()> {
    match format {
        SqlFormatArg::Table => table(asked, to).await,
        SqlFormatArg::Json => json(asked, to).await,
        SqlFormatArg::Parquet => parquet(asked, to).await,
    }
}

async fn json(asked: &mut Asked, to: &mut (impl Write + Send)) -> anyhow::Result<()> {
    let mut writer = WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, JsonArray>(&mut *to);
    while let Some(batch) = asked.next().await? {
        writer.write(&batch)?;
    }
    writer.finish()?;
    drop(writer);
    writeln!(to)?;
    Ok(())
}

async fn parquet(asked: &mut Asked, to: &mut (impl Write + Send)) -> anyhow::Result<()> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .build();
    let mut writer = ArrowWriter::try_new(to, asked.schema(), Some(properties))?;
    while let Some(batch) = asked.next().await? {
        writer.write(&batch)?;
    }
    writer.close()?;
    Ok(())
}

async fn table(asked: &mut Asked, to: &mut (impl Write + Send)) -> anyhow::Result<()> {
    let schema = asked.schema();
    let mut first = Vec::new();
    let mut rows = 0;
    while rows < ROWS_SEEN
        && let Some(batch) = asked.next().await?
    {
        rows += batch.num_rows();
        first.extend(cells(&batch)?);
    }
    let mut columns = Columns::new(&schema);
    first.iter().for_each(|row| columns.fit(row));
    writeln!(to, "{}", columns.heading())?;
    for row in first {
        writeln!(to, "{}", columns.line(&row))?;
    }
    while let Some(batch) = asked.next().await? {
        for row in cells(&batch)? {
            writeln!(to, "{}", columns.line(&row))?;
        }
    }
    Ok(())
}

/// Columns of a text: as wide as their cells, numbers to the right.
pub(crate) struct Columns {
    names: Vec<String>,
    numbers: Vec<bool>,
    widths: Vec<usize>,
}

impl Columns {
    fn new(schema: &SchemaRef) -> Self {
        let fields = schema.fields();
        let named = fields
            .iter()
            .map(|field| (field.name().clone(), field.data_type().is_numeric()));
        Self::named(named)
    }

    /// With these names, and whether each holds numbers.
    pub(crate) fn named(columns: impl IntoIterator<Item = (String, bool)>) -> Self {
        let (names, numbers): (Vec<String>, Vec<bool>) = columns
            .into_iter()
            .map(|(name, number)| (shown(&name), number))
            .unzip();
        Self {
            widths: names.iter().map(|name| name.chars().count()).collect(),
            names,
            numbers,
        }
    }

    /// Makes room for a row.
    pub(crate) fn fit(&mut self, row: &[String]) {
        for (width, cell) in self.widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }

    pub(crate) fn heading(&self) -> String {
        self.line(&self.names)
    }

    pub(crate) fn line(&self, row: &[String]) -> String {
        let layout = self.widths.iter().zip(&self.numbers);
        let cells = row.iter().zip(layout).map(|(cell, (width, number))| {
            if *number {
                format!("{cell:>width$}")
            } else {
                format!("{cell:<width$}")
            }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    }
}

fn cells(batch: &RecordBatch) -> anyhow::Result<Vec<Vec<String>>> {
    let options = FormatOptions::default().with_null("-");
    let columns: Vec<ArrayFormatter<'_>> = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
        .collect::<Result<_, _>>()?;
    let row = |at| {
        let cells = columns.iter().map(|column| {
            let text = column.value(at).try_to_string()?;
            Ok(shown(&text))
        });
        cells.collect::<anyhow::Result<Vec<String>>>()
    };
    (0..batch.num_rows()).map(row).collect()
}

/// A text that controls no terminal, and is not wider than a column may be.
pub(crate) fn shown(text: &str) -> String {
    let plain = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut shown: String = text.chars().take(WIDEST).map(plain).collect();
    if text.chars().count() > WIDEST {
        shown.push('…');
    }
    shown
}

/// The cells of a batch, by the names of its columns.
pub(crate) struct Rows<'a> {
    batch: &'a RecordBatch,
}

impl<'a> Rows<'a> {
    pub(crate) fn of(batch: &'a RecordBatch) -> Self {
        Self { batch }
    }

    pub(crate) fn count(&self) -> usize {
        self.batch.num_rows()
    }

    fn column(
        &self,
        name: &str,
        kind: &DataType,
    ) -> anyhow::Result<datafusion::arrow::array::ArrayRef> {
        let column = self
            .batch
            .column_by_name(name)
            .ok_or_else(|| anyhow!("the answer has no column {name}"))?;
        cast(column, kind).with_context(|| format!("the column {name} cannot be read"))
    }

    /// Whole numbers; nothing where they are null.
    pub(crate) fn counts(&self, name: &str) -> anyhow::Result<Vec<Option<u64>>> {
        let column = self.column(name, &DataType::UInt64)?;
        Ok(column.as_primitive::<UInt64Type>().iter().collect())
    }

    /// Whole numbers of a column without nulls; 0 for a null.
    pub(crate) fn sums(&self, name: &str) -> anyhow::Result<Vec<u64>> {
        let counts = self.counts(name)?;
        Ok(counts.into_iter().map(Option::unwrap_or_default).collect())
    }

    /// Numbers; nothing where they are null.
    pub(crate) fn reals(&self, name: &str) -> anyhow::Result<Vec<Option<f64>>> {
        let column = self.column(name, &DataType::Float64)?;
        Ok(column.as_primitive::<Float64Type>().iter().collect())
    }

    /// Texts; nothing where they are null.
    pub(crate) fn texts_or_null(&self, name: &str) -> anyhow::Result<Vec<Option<String>>> {
        let column = self.column(name, &DataType::Utf8)?;
        let texts = column.as_string::<i32>().iter();
        Ok(texts.map(|text| text.map(str::to_owned)).collect())
    }

    /// Texts; empty for a null.
    pub(crate) fn texts(&self, name: &str) -> anyhow::Result<Vec<String>> {
        let texts = self.texts_or_null(name)?;
        Ok(texts.into_iter().map(Option::unwrap_or_default).collect())
    }

    /// Whether; no for a null.
    pub(crate) fn flags(&self, name: &str) -> anyhow::Result<Vec<bool>> {
        let column = self.column(name, &DataType::Boolean)?;
        let flags = column.as_boolean().iter();
        Ok(flags.map(|flag| flag == Some(true)).collect())
    }
}
