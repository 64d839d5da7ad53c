//! Which files there are: host by host, hour by hour, table by table.
//!
//! In: a folder. Out: its files by table, and what of it is left out and why. Must not know: what is in a file.
//!
//! The folder is read anew for each question and never kept: an agent adds to it all the time. Files whose name begins with a
//! dot are not whole yet. An agent gives the file of the windows its name last; a table without it is of an hour that is being
//! ended just now.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

/// The table that is named last.
const WINDOWS: &str = "windows";

/// One file of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TableFile {
    pub path: PathBuf,
    pub host: String,
    /// As `20261130T06`.
    pub hour: String,
    pub bytes: u64,
}

/// What there is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    pub root: PathBuf,
    pub tables: BTreeMap<String, Vec<TableFile>>,
    /// Files that are there without that of the windows: not counted yet.
    pub unfinished: Vec<PathBuf>,
    /// What is neither a folder of a host or an hour nor a file of a table.
    pub strange: Vec<PathBuf>,
}

/// Where the files are, as it was written on the command line.
///
/// # Errors
/// It is no folder, or on something that is no file system.
pub(crate) fn place(text: &str) -> anyhow::Result<PathBuf> {
    let path = match text.split_once("://") {
        Some(("file", path)) => PathBuf::from(path),
        Some((scheme, _)) => bail!(
            "cannot read {scheme}://: only folders are read; mount the bucket (for example with rclone mount), or copy from it"
        ),
        None => PathBuf::from(text),
    };
    let what = fs::metadata(&path).with_context(|| format!("cannot open {}", path.display()))?;
    if !what.is_dir() {
        bail!(
            "{} is no folder: give the folder with host=NAME/hour=YYYYMMDDTHH/ in it, as courtside serve --export writes it",
            path.display()
        );
    }
    path.canonicalize()
        .with_context(|| format!("cannot open {}", path.display()))
}

impl Tree {
    /// Reads the folder.
    ///
    /// # Errors
    /// A folder cannot be read, or there is nothing in it.
    pub(crate) fn read(root: &Path) -> anyhow::Result<Self> {
        let mut tree = Self {
            root: root.to_owned(),
            ..Self::default()
        };
        for (host, path) in tree.folders(root, "host=")? {
            for (hour, path) in tree.folders(&path, "hour=")? {
                tree.hour(&host, &hour, &path)?;
            }
        }
        if tree.tables.is_empty() {
            bail!(
                "nothing in {}: no host=NAME/hour=YYYYMMDDTHH/TABLE-FIRST-LAST.parquet that is whole; have it written by courtside serve --export DIR, by courtside export --by-hour, or, to try, by courtside fleet synth",
                root.display()
            );
        }
        Ok(tree)
    }

    /// The folders in one, each with what follows this beginning of its name.
    fn folders(&mut self, of: &Path, begin: &str) -> anyhow::Result<Vec<(String, PathBuf)>> {
        let mut found = Vec::new();
        for (name, path) in names(of)? {
            match name.strip_prefix(begin) {
                // No agent writes a name with control characters, and the engine takes none.
                Some(rest) if is_plain(rest) && path.is_dir() => {
                    found.push((rest.to_owned(), path));
                }
                // Names with a dot are of those who write; `hosts` says whose each address is.
                _ if name.starts_with('.') || name == "hosts" => {}
                _ => self.strange.push(path),
            }
        }
        Ok(found)
    }

    fn hour(&mut self, host: &str, hour: &str, path: &Path) -> anyhow::Result<()> {
        let mut files = Vec::new();
        let mut ended = BTreeSet::new();
        for (name, path) in names(path)? {
            if name.starts_with('.') {
                continue;
            }
            let Some((table, numbers)) = parts(&name) else {
                self.strange.push(path);
                continue;
            };
            let bytes = fs::metadata(&path).map_or(0, |what| what.len());
            if table == WINDOWS {
                ended.insert(numbers.to_owned());
            }
            let file = TableFile {
                path,
                host: host.to_owned(),
                hour: hour.to_owned(),
                bytes,
            };
            files.push((table.to_owned(), numbers.to_owned(), file));
        }
        for (table, numbers, file) in files {
            if ended.contains(&numbers) {
                self.tables.entry(table).or_default().push(file);
            } else {
                self.unfinished.push(file.path);
            }
        }
        Ok(())
    }

    /// The hours of each host.
    pub(crate) fn hours(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut hours: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for file in self.tables.get(WINDOWS).into_iter().flatten() {
            hours.entry(&file.host).or_default().insert(&file.hour);
        }
        hours
    }

    /// Hosts and hours that any host has, and how many of their pairs are missing.
    pub(crate) fn missing(&self) -> (usize, usize, usize) {
        let hours = self.hours();
        let all: BTreeSet<&str> = hours.values().flatten().copied().collect();
        let there: usize = hours.values().map(BTreeSet::len).sum();
        let wanted = hours.len().saturating_mul(all.len());
        (hours.len(), all.len(), wanted.saturating_sub(there))
    }
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.contains(char::is_control)
}

/// What is in a folder, in the order of names.
fn names(of: &Path) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let cannot = || format!("cannot read the folder {}", of.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(of).with_context(cannot)? {
        let entry = entry.with_context(cannot)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        found.push((name, entry.path()));
    }
    found.sort();
    Ok(found)
}

/// Table and numbers of `windows-000000-000059.parquet`. What `courtside export` writes into a folder has no numbers.
fn parts(name: &str) -> Option<(&str, &str)> {
    let stem = name.strip_suffix(".parquet")?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let numbered = stem.rsplit_once('-').and_then(|(rest, last)| {
        let (table, first) = rest.rsplit_once('-')?;
        let numbers = stem.get(table.len() + 1..)?;
        (digits(first) && digits(last)).then_some((table, numbers))
    });
    Some(numbered.unwrap_or((stem, "")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_are_table_and_numbers() {
        let of = |name| parts(name);
        assert_eq!(
            of("run_queue_by-000000-000059.parquet"),
            Some(("run_queue_by", "000000-000059"))
        );
        assert_eq!(of("windows.parquet"), Some(("windows", "")));
        assert_eq!(of("windows.csv"), None);
    }

    #[test]
    fn a_scheme_is_refused_with_what_to_do() {
        let said = place("s3://bucket/fleet").unwrap_err().to_string();
        assert!(said.contains("s3://") && said.contains("mount"), "{said}");
        assert!(place("file:///").is_ok());
        let said = format!("{:#}", place("/no/such/folder").unwrap_err());
        assert!(said.contains("/no/such/folder"), "{said}");
    }
}
