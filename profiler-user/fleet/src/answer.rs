//! Where an answer goes, and what stands in each: how much it is of.
//!
//! In: an answer. Out: text or JSON, on standard output or in a file that is there as a whole or not at all. Must not know: what
//! it says.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde::Serialize;

use crate::{
    args::{FormatArg, OutputArgs},
    engine::Engine,
    rows::Columns,
};

/// Standard output, or a file.
pub(crate) struct Output {
    pub writer: Box<dyn Write + Send>,
    /// What the file is called until it is whole, and then.
    names: Option<(PathBuf, PathBuf)>,
}

impl Output {
    /// Opens it; the file that is there stays until all is written.
    ///
    /// # Errors
    /// There cannot be such a file.
    pub(crate) fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else {
            return Ok(Self {
                writer: Box::new(BufWriter::new(io::stdout())),
                names: None,
            });
        };
        let cannot = || format!("cannot create {}", path.display());
        let name = path.file_name().with_context(cannot)?.to_string_lossy();
        let part = path.with_file_name(format!(".{name}.{}.part", std::process::id()));
        let file = File::create(&part).with_context(cannot)?;
        Ok(Self {
            writer: Box::new(BufWriter::new(file)),
            names: Some((part, path.to_owned())),
        })
    }

    /// All is written, or it failed. Who reads standard output may go away before its end.
    ///
    /// # Errors
    /// That of writing.
    pub(crate) fn close(&mut self, written: anyhow::Result<()>) -> anyhow::Result<()> {
        let flushed = written.and_then(|()| Ok(self.writer.flush()?));
        let Some((part, path)) = &self.names else {
            return match flushed {
                Err(error) if is_gone(&error) => Ok(()),
                other => other,
            };
        };
        if flushed.is_err() {
            // It is of no use to anybody.
            let _ = std::fs::remove_file(part);
            return flushed;
        }
        std::fs::rename(part, path).with_context(|| format!("cannot create {}", path.display()))
    }
}

fn is_gone(error: &anyhow::Error) -> bool {
    let kinds = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>());
    kinds
        .into_iter()
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// What an answer is of.
#[derive(Debug, Serialize)]
pub(crate) struct Of {
    /// Name and version of the schema.
    pub schema: &'static str,
    pub hosts: usize,
    pub hours: usize,
    /// Hours that some host has and another has not.
    pub missing_host_hours: usize,
    /// Files that cannot be read, and were left out.
    pub skipped: Vec<Skipped>,
    /// Files of hours that are being ended just now.
    pub unfinished_files: usize,
    /// What is neither a folder of a host or an hour nor a file of a table: so many, and was not looked at.
    pub strange_files: usize,
}

/// A file that was left out.
#[derive(Debug, Serialize)]
pub(crate) struct Skipped {
    pub file: String,
    pub why: String,
}

impl Of {
    pub(crate) fn new(schema: &'static str, engine: &Engine) -> Self {
        let (hosts, hours, missing) = engine.tree().missing();
        let skipped = engine.skipped.iter().map(|bad| Skipped {
            file: bad.path.display().to_string(),
            why: bad.why.clone(),
        });
        Self {
            schema,
            hosts,
            hours,
            missing_host_hours: missing,
            skipped: skipped.collect(),
            unfinished_files: engine.tree().unfinished.len(),
            strange_files: engine.tree().strange.len(),
        }
    }

    fn line(&self) -> String {
        let mut line = format!("hosts: {}; hours: {}", self.hosts, self.hours);
        for (what, count) in [
            ("hours of single hosts missing", self.missing_host_hours),
            ("files left out", self.skipped.len()),
            ("files not whole yet", self.unfinished_files),
            ("other files not looked at", self.strange_files),
        ] {
            if count > 0 {
                line.push_str(&format!("; {what}: {count}"));
            }
        }
        line
    }
}

/// An answer: what it is of, and what it says.
#[derive(Debug, Serialize)]
pub(crate) struct Answer<T: Serialize> {
    #[serde(flatten)]
    pub of: Of,
    #[serde(flatten)]
    pub says: T,
}

/// What can be shown as a table.
pub(crate) trait Lines {
    /// Headings, and whether below each stand numbers.
    fn columns(&self) -> Vec<(&'static str, bool)>;
    /// The cells.
    fn lines(&self) -> Vec<Vec<String>>;
    /// What is to be said below.
    fn remarks(&self) -> Vec<String> {
        Vec::new()
    }
}

impl<T: Serialize + Lines> Answer<T> {
    /// Writes it as it was asked for.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn write(&self, args: &OutputArgs) -> anyhow::Result<()> {
        let mut output = Output::open(args.output.as_deref())?;
        let text = match args.format {
            FormatArg::Json => serde_json::to_string_pretty(self)?,
            FormatArg::Table => self.table(),
        };
        let written = writeln!(output.writer, "{text}").map_err(Into::into);
        output.close(written)
    }

    fn table(&self) -> String {
        let columns = self.says.columns().into_iter();
        let mut columns = Columns::named(columns.map(|(name, number)| (name.to_owned(), number)));
        let lines: Vec<Vec<String>> = self
            .says
            .lines()
            .into_iter()
            .map(|line| line.iter().map(|cell| crate::rows::shown(cell)).collect())
            .collect();
        lines.iter().for_each(|line| columns.fit(line));
        let mut text = vec![self.of.line(), columns.heading()];
        text.extend(lines.iter().map(|line| columns.line(line)));
        text.extend(self.says.remarks());
        text.join("\n")
    }
}
