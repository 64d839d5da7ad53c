//! The engine: tables and views over a folder, memory with a limit.
//!
//! In: a folder, a question in SQL. Out: rows, and what was left out. Must not know: what is asked, how it is shown.

use std::{collections::BTreeSet, num::NonZero, path::Path, sync::Arc, thread};

use anyhow::{anyhow, bail};
use datafusion::{
    arrow::array::RecordBatch,
    error::DataFusionError,
    execution::{
        SendableRecordBatchStream, SessionStateBuilder,
        memory_pool::{FairSpillPool, TrackConsumersPool},
        runtime_env::RuntimeEnvBuilder,
    },
    physical_plan::{ExecutionPlan, execute_stream},
    prelude::{SQLOptions, SessionConfig, SessionContext},
};
use futures_util::TryStreamExt as _;

use crate::{
    args::{EngineArg, SourceArgs},
    footers::{self, Bad},
    nearest::nearest,
    progress::Progress,
    table::Files,
    tree::{self, Tree},
    views::VIEWS,
};

/// Who holds most of the memory is named where it does not suffice: so many.
const NAMED: NonZero<usize> = NonZero::<usize>::MIN.saturating_add(4);
/// Files that are named at most.
const NAMED_FILES: usize = 10;

/// A folder that can be asked.
pub(crate) struct Engine {
    context: SessionContext,
    tree: Tree,
    skip_bad: bool,
    /// Files that could not be read.
    pub skipped: Vec<Bad>,
    registered: BTreeSet<String>,
    /// Rows of all tables that were asked for.
    rows: u64,
    tells: bool,
}

impl Engine {
    /// Reads which files there are.
    ///
    /// # Errors
    /// There is no such folder, or nothing in it.
    pub(crate) fn open(source: &SourceArgs) -> anyhow::Result<Self> {
        let EngineArg::Embedded = source.engine;
        let tree = Tree::read(&tree::place(&source.dir)?)?;
        let threads = source.threads.filter(|n| *n > 0);
        let threads =
            threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, NonZero::get));
        // Statistics of single files would be read before the first row: too many of them.
        let config = SessionConfig::new()
            .with_target_partitions(threads)
            .with_collect_statistics(false)
            .with_information_schema(true);
        let pool = TrackConsumersPool::new(FairSpillPool::new(source.memory), NAMED);
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(pool))
            .build_arc()?;
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(runtime)
            .with_default_features()
            .build();
        Ok(Self {
            context: SessionContext::new_with_state(state),
            tree,
            skip_bad: source.skip_bad,
            skipped: Vec::new(),
            registered: BTreeSet::new(),
            rows: 0,
            tells: true,
        })
    }

    /// Which files there are.
    pub(crate) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The folder.
    pub(crate) fn root(&self) -> &Path {
        &self.tree.root
    }

    /// Makes tables and views known, and checks the files of these tables.
    ///
    /// # Errors
    /// There is no such table, or some file cannot be read and that is not to be skipped.
    pub(crate) async fn know(&mut self, names: &[&str]) -> anyhow::Result<()> {
        for name in names {
            if self.registered.contains(*name) {
                continue;
            }
            if let Some(view) = VIEWS.iter().find(|view| view.name == *name) {
                Box::pin(self.know(view.needs)).await?;
                let frame = self.context.sql(view.sql).await.map_err(words)?;
                self.context.register_table(*name, frame.into_view())?;
            } else {
                self.table(name)?;
            }
            self.registered.insert((*name).to_owned());
        }
        Ok(())
    }

    fn table(&mut self, name: &str) -> anyhow::Result<()> {
        let Some(files) = self.tree.tables.get(name) else {
            bail!(self.unknown(name));
        };
        let checked = footers::check(files);
        if !checked.bad.is_empty() {
            if !self.skip_bad {
                bail!(refused(&checked.bad));
            }
            if checked.whole.is_empty() {
                bail!(
                    "no file of the table {name} can be read\n{}",
                    listed(&checked.bad)
                );
            }
            eprintln!("left out:\n{}", listed(&checked.bad));
        }
        self.skipped.extend(checked.bad.iter().cloned());
        let rows = checked.whole.iter().map(|file| file.rows);
        self.rows = rows.fold(self.rows, u64::saturating_add);
        self.context
            .register_table(name, Arc::new(Files::new(checked)))?;
        Ok(())
    }

    fn unknown(&self, name: &str) -> String {
        let tables = self.tree.tables.keys().map(String::as_str);
        let all: Vec<&str> = tables.chain(VIEWS.iter().map(|view| view.name)).collect();
        let hint = match nearest(name, all.iter().copied()) {
            Some(known) => format!("; did you mean {known}?"),
            None => ".".to_owned(),
        };
        format!("no table {name}{hint} There are: {}", all.join(", "))
    }

    /// Plans a question; only what reads is allowed.
    ///
    /// # Errors
    /// It is no SQL, or names what is not there.
    pub(crate) async fn ask(&mut self, sql: &str) -> anyhow::Result<Asked> {
        let state = self.context.state();
        let dialect = state.config_options().sql_parser.dialect;
        let statement = state.sql_to_statement(sql, &dialect).map_err(words)?;
        let tables = state.resolve_table_references(&statement).map_err(words)?;
        let ours = tables.iter().filter(|table| table.schema().is_none());
        let names: Vec<String> = ours.map(|table| table.table().to_owned()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.know(&names).await?;
        let only_reading = SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false);
        let frame = self.context.sql_with_options(sql, only_reading).await;
        let frame = frame.map_err(words)?;
        let plan = frame.create_physical_plan().await.map_err(words)?;
        let stream = execute_stream(Arc::clone(&plan), self.context.task_ctx());
        Ok(Asked {
            stream: stream.map_err(words)?,
            progress: self.tells.then(|| Progress::begin(&plan, self.rows)),
            plan,
        })
    }

    /// The same without telling how far it is: it is one of many.
    ///
    /// # Errors
    /// As for [`Self::ask`].
    pub(crate) async fn ask_in_silence(&mut self, sql: &str) -> anyhow::Result<Asked> {
        let tells = std::mem::replace(&mut self.tells, false);
        let asked = self.ask(sql).await;
        self.tells = tells;
        asked
    }

    /// The columns of a table that is known.
    ///
    /// # Errors
    /// It is not known.
    pub(crate) async fn columns(&self, table: &str) -> anyhow::Result<Vec<String>> {
        let provider = self.context.table_provider(table).await.map_err(words)?;
        let schema = provider.schema();
        Ok(schema
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect())
    }

    /// All rows of a question whose answer is small.
    ///
    /// # Errors
    /// As for [`Self::ask`]; or reading failed.
    pub(crate) async fn rows(&mut self, sql: &str) -> anyhow::Result<Vec<RecordBatch>> {
        let mut asked = self.ask(sql).await?;
        let mut rows = Vec::new();
        while let Some(batch) = asked.next().await? {
            rows.push(batch);
        }
        Ok(rows)
    }
}

/// A question that is being answered.
pub(crate) struct Asked {
    stream: SendableRecordBatchStream,
    /// Ends when this is dropped.
    #[expect(dead_code, reason = "it tells how far reading is until it is dropped")]
    progress: Option<Progress>,
    plan: Arc<dyn ExecutionPlan>,
}

impl Asked {
    /// The next rows.
    ///
    /// # Errors
    /// Reading failed, or the memory did not suffice.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<RecordBatch>> {
        self.stream.try_next().await.map_err(words)
    }

    /// The columns of the answer.
    pub(crate) fn schema(&self) -> datafusion::arrow::datatypes::SchemaRef {
        self.plan.schema()
    }
}

/// What the engine says, without where in its code.
#[expect(
    clippy::needless_pass_by_value,
    reason = "errors are handed over when they are mapped"
)]
pub(crate) fn words(error: DataFusionError) -> anyhow::Error {
    let lack = matches!(error.find_root(), DataFusionError::ResourcesExhausted(_));
    let said = error.strip_backtrace();
    let error = anyhow!(said);
    if lack {
        return error.context(
            "the memory did not suffice: give more with --memory, or ask for fewer rows at a time",
        );
    }
    error
}

fn refused(bad: &[Bad]) -> String {
    let s = if bad.len() == 1 { "file" } else { "files" };
    format!(
        "{} {s} cannot be read; mend or remove them, or answer from the rest with --skip-bad\n{}",
        bad.len(),
        listed(bad)
    )
}

fn listed(bad: &[Bad]) -> String {
    let named = bad.iter().take(NAMED_FILES);
    let mut lines: Vec<String> = named
        .map(|bad| format!("  {} {}", bad.path.display(), bad.why))
        .collect();
    if bad.len() > NAMED_FILES {
        lines.push(format!("  and {} more", bad.len() - NAMED_FILES));
    }
    lines.join("\n")
}
