//! Parquet by the hour: `host=NAME/hour=YYYYMMDDTHH/TABLE-FIRST-LAST.parquet`, the layout of questions over many hosts.
//!
//! In: windows, in order. Out: files that are there as a whole or not at all; what is in them, and what is in none. Must not
//! know: who measures, who reads.
//!
//! A window belongs to the hour, in UTC, in which it began. Windows are numbered within their hour: who comes later in the same
//! hour goes on counting, so that host, hour and window name one window, and nothing has the name of something else.

mod folder;

use std::{
    collections::BTreeMap,
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use anyhow::Context as _;
use courtside_core::model::Snapshot;
use courtside_export::parquet::Parquet;
use courtside_kernel::sys::usage::give_memory_back;

use folder::{Claimed, Folder};

/// Nanoseconds of an hour.
const HOUR_NS: u64 = 3_600_000_000_000;
/// Cells of all tables that wait to be written, most of them of some ten bytes.
const MOST_CELLS: usize = 400_000;
/// Chunks of columns that the open files describe at their ends, each a kilobyte or two until then: with more, the files are ended, and
/// others go on with the hour.
const MOST_CHUNKS: usize = 2048;
/// A longer name of a host is cut off.
const LONGEST_NAME: usize = 200;

/// What has become of the windows that are in no open hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// They are in files.
    pub written: u64,
    /// They are in none.
    pub lost: u64,
}

/// Writes windows into the folders of their hours.
#[derive(Debug)]
pub struct Hours {
    folder: Folder,
    /// What the host is to be called; otherwise as the windows say.
    name: Option<String>,
    host: Option<(String, Claimed)>,
    hour: Option<Hour>,
    counts: Counts,
    bounds: Bounds,
}

/// How much memory may hold of what is open.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    cells: usize,
    chunks: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            cells: MOST_CELLS,
            chunks: MOST_CHUNKS,
        }
    }
}

impl Hours {
    /// Into this folder, which is made if it is not there. Nothing is written yet.
    ///
    /// # Errors
    /// There is no such folder, and it cannot be made.
    pub fn open(path: &Path, name: Option<String>) -> anyhow::Result<Self> {
        let folder = Folder::make(path)
            .with_context(|| format!("cannot open the folder {}", path.display()))?;
        Ok(Self {
            folder,
            name,
            host: None,
            hour: None,
            counts: Counts::default(),
            bounds: Bounds::default(),
        })
    }

    /// Takes one more window. With the first one of another hour, that of the last one is ended.
    ///
    /// # Errors
    /// Something cannot be written. All windows that were in the open hour are lost then, and counted; the next one begins anew.
    pub fn window(&mut self, snapshot: &Snapshot) -> anyhow::Result<()> {
        let at = snapshot.window.start_unix_ns / HOUR_NS;
        let host = match &self.name {
            Some(name) => name.clone(),
            None => host_name(&snapshot.host.hostname),
        };
        let is_same = |hour: &Hour| hour.at == at && hour.host == host;
        let ended = match &self.hour {
            Some(hour) if !is_same(hour) => self.finish(),
            _ => Ok(()),
        };
        let written = self.write(at, host, snapshot);
        if written.is_err() {
            let open = self.hour.take().map_or(0, |hour| hour.windows);
            self.lose(open.saturating_add(1));
        }
        let is_full = |hour: &Hour| hour.tables.0.chunks() >= self.bounds.chunks;
        let parted = match &self.hour {
            Some(hour) if is_full(hour) => self.finish(),
            _ => Ok(()),
        };
        ended.and(written).and(parted)
    }

    fn write(&mut self, at: u64, host: String, snapshot: &Snapshot) -> anyhow::Result<()> {
        let mut hour = match self.hour.take() {
            Some(hour) => hour,
            None => {
                let bounds = self.bounds;
                Hour::begin(self.claim(&host)?, at, host, bounds)?
            }
        };
        let written = hour.window(snapshot);
        // What it held is counted by who called.
        self.hour = Some(hour);
        written
    }

    /// The folder of a host, which nobody else writes to while it is held.
    fn claim(&mut self, host: &str) -> anyhow::Result<&Claimed> {
        let held = match self.host.take() {
            Some((name, claimed)) if name == host && claimed.is_there() => (name, claimed),
            _ => {
                let claimed = self.folder.claim(&format!("host={host}"))?;
                (host.to_owned(), claimed)
            }
        };
        Ok(&self.host.insert(held).1)
    }

    /// Ends the open hour: its files get their names.
    ///
    /// # Errors
    /// They do not. Its windows are lost then, and counted.
    pub fn finish(&mut self) -> anyhow::Result<()> {
        let Some(hour) = self.hour.take() else {
            return Ok(());
        };
        let windows = hour.windows;
        let ended = hour.end();
        match &ended {
            Ok(()) => self.counts.written = self.counts.written.saturating_add(windows),
            Err(_) => self.lose(windows),
        }
        ended
    }

    /// Whether there is an hour that goes on.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.hour.is_some()
    }

    /// Counts windows that are in no file.
    pub fn lose(&mut self, windows: u64) {
        self.counts.lost = self.counts.lost.saturating_add(windows);
    }

    /// What has become of the windows that are in no open hour.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }
}

/// What is written for one hour, or for a part of it. Dropped before its end, nothing of it stays.
#[derive(Debug)]
struct Hour {
    host: String,
    at: u64,
    folder: Folder,
    tables: Tables,
    /// Files by table, under other names.
    parts: BTreeMap<String, Part>,
    /// Number of the first window.
    first: u64,
    windows: u64,
}

/// The tables that are being written.
struct Tables(Parquet);

impl std::fmt::Debug for Tables {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.write_str("Tables")
    }
}

/// A file that has no name of its own yet.
#[derive(Debug)]
struct Part {
    file: File,
    name: String,
}

impl Hour {
    fn begin(host_folder: &Claimed, at: u64, host: String, bounds: Bounds) -> anyhow::Result<Self> {
        let folder = host_folder
            .folder()
            .sub(&format!("hour={}", hour_name(at)))?;
        if host_folder.is_ours_alone() {
            folder.sweep();
        }
        Ok(Self {
            host,
            at,
            first: folder.next_number()?,
            folder,
            tables: Tables(Parquet::within(bounds.cells)?),
            parts: BTreeMap::new(),
            windows: 0,
        })
    }

    fn window(&mut self, snapshot: &Snapshot) -> anyhow::Result<()> {
        let number = self.first.saturating_add(self.windows);
        let pieces = self.tables.0.add(number, snapshot)?;
        self.add(pieces)?;
        self.windows = self.windows.saturating_add(1);
        Ok(())
    }

    fn add(&mut self, pieces: Vec<courtside_export::Piece>) -> anyhow::Result<()> {
        let is_much = !pieces.is_empty();
        for piece in pieces {
            let table = piece.file.trim_end_matches(".parquet").to_owned();
            let part = match self.parts.entry(table) {
                std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::btree_map::Entry::Vacant(entry) => {
                    let (name, file) = self.folder.part(entry.key())?;
                    entry.insert(Part { file, name })
                }
            };
            let written = part.file.write_all(&piece.bytes);
            written
                .with_context(|| format!("cannot write to {}", self.folder.shown(&part.name)))?;
        }
        if is_much {
            // The cells that were held lie between others that are.
            give_memory_back();
        }
        Ok(())
    }

    /// Writes what is left, and gives the files their names: that of the windows comes last, so whoever sees it sees all.
    fn end(mut self) -> anyhow::Result<()> {
        let last = self.first.saturating_add(self.windows.saturating_sub(1));
        let tables = std::mem::replace(&mut self.tables, Tables(Parquet::within(0)?));
        let pieces = tables.0.finish()?;
        self.add(pieces)?;
        for part in self.parts.values() {
            let synced = part.file.sync_all();
            synced.with_context(|| format!("cannot write to {}", self.folder.shown(&part.name)))?;
        }
        let mut named: Vec<String> = Vec::new();
        let tables = self.parts.keys().filter(|table| *table != "windows");
        let in_order = tables.cloned().chain(["windows".to_owned()]);
        for table in in_order.collect::<Vec<_>>() {
            let Some(part) = self.parts.get(&table) else {
                continue;
            };
            let name = format!("{table}-{:06}-{last:06}.parquet", self.first);
            if let Err(error) = self.folder.name(&part.name, &name) {
                named.iter().for_each(|name| self.folder.remove(name));
                return Err(error);
            }
            named.push(name);
            self.parts.remove(&table);
        }
        self.folder.sync()
    }
}

impl Drop for Hour {
    fn drop(&mut self) {
        for part in self.parts.values() {
            self.folder.remove(&part.name);
        }
    }
}

/// An hour since 1970 as a name: `20261130T06`.
fn hour_name(at: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_secs(at.saturating_mul(3600));
    let text = humantime::format_rfc3339_seconds(time).to_string();
    let digits = text.chars().filter(|c| !matches!(c, '-' | ':'));
    digits.take("YYYYMMDDTHH".len()).collect()
}

/// The name of a host as that of a folder: what is no letter of ASCII, digit, dot, dash or underscore becomes an underscore.
#[must_use]
pub fn host_name(name: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') {
            c
        } else {
            '_'
        }
    };
    let name: String = name.chars().map(plain).take(LONGEST_NAME).collect();
    match name.strip_prefix('.') {
        Some(rest) => format!("_{rest}"),
        None if name.is_empty() => "unknown".to_owned(),
        None => name,
    }
}

/// The folder as a path, for words.
impl Hours {
    /// Where it writes.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.path().to_owned()
    }
}

#[cfg(test)]
mod tests;
