//! One table over all its files, with the host and the hour beside its columns.
//!
//! In: files that are whole. Out: what the engine reads them by. Must not know: what is asked.
//!
//! What a question says of host and hour alone decides which files are opened at all.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::{
    arrow::{
        array::{ArrayRef, AsArray as _, BooleanArray, RecordBatch, StringViewArray},
        datatypes::{DataType, Field, Schema, SchemaRef},
    },
    catalog::{Session, TableProvider},
    common::{DFSchema, Result, ScalarValue, project_schema},
    datasource::{
        listing::PartitionedFile,
        physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource},
        source::DataSourceExec,
        table_schema::TableSchema,
    },
    execution::object_store::ObjectStoreUrl,
    logical_expr::{Expr, TableProviderFilterPushDown, TableType},
    object_store::{ObjectMeta, path::Path},
    physical_plan::{ExecutionPlan, empty::EmptyExec},
};

use crate::footers::{Checked, Whole};

/// The names of what the folders say.
const BESIDE: [&str; 2] = ["host", "hour"];

/// A table.
#[derive(Debug)]
pub(crate) struct Files {
    schema: TableSchema,
    beside: SchemaRef,
    files: Vec<Whole>,
}

impl Files {
    pub(crate) fn new(checked: Checked) -> Self {
        let field = |name: &str| Arc::new(Field::new(name, DataType::Utf8View, false));
        let beside: Vec<_> = BESIDE.into_iter().map(field).collect();
        Self {
            schema: TableSchema::builder(checked.schema)
                .with_table_partition_cols(beside.clone())
                .build(),
            beside: Arc::new(Schema::new(beside)),
            files: checked.whole,
        }
    }

    /// Those that these filters leave.
    fn chosen(&self, state: &dyn Session, filters: &[Expr]) -> Result<Vec<&Whole>> {
        let of_folders = |filter: &&Expr| {
            let mut columns = filter.column_refs().into_iter();
            columns.all(|column| BESIDE.contains(&column.name.as_str()))
        };
        let filters: Vec<&Expr> = filters.iter().filter(of_folders).collect();
        let mut keep = vec![true; self.files.len()];
        if filters.is_empty() {
            return Ok(self.files.iter().collect());
        }
        let hosts = self.files.iter().map(|whole| &whole.file.host);
        let hours = self.files.iter().map(|whole| &whole.file.hour);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringViewArray::from_iter_values(hosts)),
            Arc::new(StringViewArray::from_iter_values(hours)),
        ];
        let batch = RecordBatch::try_new(Arc::clone(&self.beside), columns)?;
        let schema = DFSchema::try_from(Arc::clone(&self.beside))?;
        for filter in filters {
            let rule = state.create_physical_expr(filter.clone(), &schema)?;
            let said = rule.evaluate(&batch)?.into_array(batch.num_rows())?;
            let said: &BooleanArray = said.as_boolean();
            for (keep, said) in keep.iter_mut().zip(said.iter()) {
                *keep &= said == Some(true);
            }
        }
        let files = self.files.iter().zip(keep);
        Ok(files
            .filter(|(_, keep)| *keep)
            .map(|(file, _)| file)
            .collect())
    }
}

#[async_trait]
impl TableProvider for Files {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.schema.table_schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        // All are applied again: what is left out here is only what cannot match.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let files = self.chosen(state, filters)?;
        if files.is_empty() {
            let schema = project_schema(&self.schema(), projection)?;
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let groups = groups(&files, state.config().target_partitions())?;
        let source = Arc::new(ParquetSource::new(self.schema.clone()));
        let scan = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), source)
            .with_file_groups(groups)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(scan))
    }
}

/// So many groups at most, one for each thread.
fn groups(files: &[&Whole], most: usize) -> Result<Vec<FileGroup>> {
    let share = files.len().div_ceil(most.max(1)).max(1);
    let group = |some: &[&Whole]| {
        let files = some.iter().map(|whole| partitioned(whole));
        Ok(FileGroup::new(files.collect::<Result<_>>()?))
    };
    files.chunks(share).map(group).collect()
}

fn partitioned(whole: &Whole) -> Result<PartitionedFile> {
    let file = &whole.file;
    let text = |text: &str| ScalarValue::Utf8View(Some(text.to_owned()));
    let location = Path::from_absolute_path(&file.path)
        .map_err(|error| datafusion::error::DataFusionError::External(error.into()))?;
    let meta = ObjectMeta {
        location,
        last_modified: Default::default(),
        size: file.bytes,
        e_tag: None,
        version: None,
    };
    let file = PartitionedFile::new_from_meta(meta);
    Ok(file.with_partition_values(vec![text(&whole.file.host), text(&whole.file.hour)]))
}
