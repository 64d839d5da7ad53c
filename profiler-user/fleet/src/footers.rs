//! Whether files are whole, before any is read: their footers.
//!
//! In: files of one table. Out: those that can be read, with their columns and rows, and those that cannot, with the reason.
//! Must not know: what is asked.
//!
//! The engine would name neither the file nor the reason well, and fail in the middle.

use std::{fs::File, num::NonZero, path::PathBuf, sync::Arc, thread};

use datafusion::{
    arrow::datatypes::{DataType, Field, Schema, SchemaRef},
    parquet::{arrow::parquet_to_arrow_schema, file::metadata::ParquetMetaDataReader},
};

use crate::tree::TableFile;

/// What the schema of tables begins with; a number follows.
const FAMILY: &str = "courtside.tables/";
/// The version that is read here.
const KNOWN: &str = courtside_export::tables::SCHEMA;
/// Under which key a file says it.
const KEY: &str = "courtside.schema";

/// A file that can be read.
#[derive(Clone, Debug)]
pub(crate) struct Whole {
    pub file: TableFile,
    pub rows: u64,
}

/// A file that cannot, and why.
#[derive(Clone, Debug)]
pub(crate) struct Bad {
    pub path: PathBuf,
    pub why: String,
}

/// All files of a table.
#[derive(Clone, Debug)]
pub(crate) struct Checked {
    /// The columns of all files together.
    pub schema: SchemaRef,
    pub whole: Vec<Whole>,
    pub bad: Vec<Bad>,
}

type Look = Result<(u64, Schema), String>;

/// Reads the footers of these files.
pub(crate) fn check(files: &[TableFile]) -> Checked {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let share = files.len().div_ceil(threads.max(1)).max(1);
    let looks: Vec<Look> = thread::scope(|scope| {
        let started: Vec<_> = files
            .chunks(share)
            .map(|some| {
                (
                    some.len(),
                    scope.spawn(move || some.iter().map(look).collect::<Vec<_>>()),
                )
            })
            .collect();
        let ended = started.into_iter().flat_map(|(files, thread)| {
            let failed = |_| Look::Err("cannot be read: the reader failed".to_owned());
            let read = thread.join();
            read.unwrap_or_else(|_| (0..files).map(failed).collect())
        });
        ended.collect()
    });
    let mut columns: Vec<Arc<Field>> = Vec::new();
    let mut checked = Checked {
        schema: Arc::new(Schema::empty()),
        whole: Vec::new(),
        bad: Vec::new(),
    };
    for (file, look) in files.iter().zip(looks) {
        let joined = look.and_then(|(rows, schema)| {
            join(&mut columns, &schema)?;
            Ok(rows)
        });
        match joined {
            Ok(rows) => checked.whole.push(Whole {
                file: file.clone(),
                rows,
            }),
            Err(why) => checked.bad.push(Bad {
                path: file.path.clone(),
                why,
            }),
        }
    }
    checked.schema = Arc::new(Schema::new(columns));
    checked
}

fn look(file: &TableFile) -> Look {
    let cannot = |error: std::io::Error| format!("cannot be opened: {error}");
    let open = File::open(&file.path).map_err(cannot)?;
    let footer = ParquetMetaDataReader::new()
        .parse_and_finish(&open)
        .map_err(|error| format!("is not whole, or no Parquet: {error}"))?;
    let footer = footer.file_metadata();
    let said = footer.key_value_metadata().and_then(|pairs| {
        let pair = pairs.iter().find(|pair| pair.key == KEY)?;
        pair.value.as_deref()
    });
    match said {
        Some(KNOWN) => {}
        Some(other) if other.starts_with(FAMILY) => {
            return Err(format!(
                "is of the schema {other}, and this version reads {KNOWN}: use the version that wrote it"
            ));
        }
        _ => return Err("is not an export of Courtside: it names no schema".to_owned()),
    }
    let schema = parquet_to_arrow_schema(footer.schema_descr(), None)
        .map_err(|error| format!("has columns that cannot be read: {error}"))?;
    let rows = u64::try_from(footer.num_rows()).unwrap_or(0);
    Ok((rows, schema))
}

/// Adds the columns of a file. Columns may come within a version, and are null in the files of before.
fn join(columns: &mut Vec<Arc<Field>>, schema: &Schema) -> Result<(), String> {
    let mut new = Vec::new();
    for field in schema.fields() {
        match columns.iter().find(|known| known.name() == field.name()) {
            Some(known) if *known.data_type() == viewed(field.data_type()) => {}
            Some(known) => {
                return Err(format!(
                    "has the column {} as {}, and the files before it as {}",
                    field.name(),
                    field.data_type(),
                    known.data_type()
                ));
            }
            None => new.push(Arc::new(Field::new(
                field.name(),
                viewed(field.data_type()),
                true,
            ))),
        }
    }
    columns.extend(new);
    Ok(())
}

/// The type that the engine is quickest with.
fn viewed(kind: &DataType) -> DataType {
    match kind {
        DataType::Utf8 => DataType::Utf8View,
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use datafusion::{
        arrow::{
            array::{ArrayRef, RecordBatch, StringArray, UInt64Array},
            datatypes::FieldRef,
        },
        parquet::{
            arrow::ArrowWriter, file::metadata::KeyValue, file::properties::WriterProperties,
        },
    };

    use super::*;

    /// A file with one row.
    fn file(folder: &Path, name: &str, columns: Vec<(&str, ArrayRef)>) -> TableFile {
        let path = folder.join(name);
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let said = KeyValue::new(KEY.to_owned(), KNOWN.to_owned());
        let properties = WriterProperties::builder()
            .set_key_value_metadata(Some(vec![said]))
            .build();
        let open = File::create(&path).unwrap();
        let mut writer = ArrowWriter::try_new(open, batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        TableFile {
            path,
            host: "one".to_owned(),
            hour: "20261130T06".to_owned(),
            bytes: 0,
        }
    }

    fn number() -> ArrayRef {
        Arc::new(UInt64Array::from(vec![7]))
    }

    fn text() -> ArrayRef {
        Arc::new(StringArray::from(vec!["seven"]))
    }

    #[test]
    fn columns_of_older_and_newer_files_are_one_table_and_other_types_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let files = [
            file(folder.path(), "old", vec![("window", number())]),
            file(
                folder.path(),
                "new",
                vec![("window", number()), ("more", text())],
            ),
            file(folder.path(), "odd", vec![("window", text())]),
        ];
        let found = check(&files);
        let names: Vec<&str> = found
            .schema
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        assert_eq!(names, ["window", "more"]);
        assert!(
            found
                .schema
                .fields()
                .iter()
                .all(|field: &FieldRef| field.is_nullable())
        );
        assert_eq!(
            found.whole.iter().map(|file| file.rows).collect::<Vec<_>>(),
            [1, 1]
        );
        assert_eq!(found.bad.len(), 1);
        let why = &found.bad[0].why;
        assert!(why.contains("window") && why.contains("Utf8"), "{why}");
    }
}
