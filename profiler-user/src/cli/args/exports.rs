//! What can be written after `export` and `report`.
//!
//! In: nothing. Out: the parsed arguments. Must not know: what is done with them.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use courtside_agent::hours::host_name;

use super::{super::range::Range, SelectArgs, cut};

pub(super) const EXPORT_EXAMPLES: &str = "\
Examples:
  courtside export shop.rec -F json -o shop.json           the whole recording as one snapshot
  courtside export shop.rec -F ndjson -o - | jq .entries   one snapshot per window
  courtside export shop.rec -F csv -o shop                 the folder shop, one file per table
  courtside export shop.rec -F parquet -o shop --window 30..90
  courtside export shop.rec -F parquet -o hosts --by-hour  hosts/host=NAME/hour=20261130T06/TABLE-FIRST-LAST.parquet
  courtside export shop.rec -F perfetto -o shop.perfetto-trace    for ui.perfetto.dev
  courtside export ranks.rec -F paraver -o ranks           ranks.prv, ranks.pcf and ranks.row, of a parallel application

With --by-hour windows are in the folder of the hour (UTC) in which they began, as courtside serve --export writes
them, and are numbered within it; single events are left out.

Of a recording with single events, perfetto has a group of tracks for the parallel application that courtside infer finds in it: what each
thread did, whom it waited for, and the critical path. paraver has the same: states, a record for each message that was read, events that
say whose message is waited for and what is on the critical path. All states of a process add up to the times that infer tells.

docs/models.md says what each column of the tables means.";

pub(super) const REPORT_EXAMPLES: &str = "\
Examples:
  courtside report shop.rec -o shop.html
  courtside report shop.rec -o shop.html --entry web:80 --title 'Checkout, 2 % errors'
  courtside report shop.rec -o bad-minute.html --window 30..90

The page is one file, works offline, and prints. Click a component for its detail.";

/// Arguments of `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The recording
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Write to this file, completely or not at all; - is stdout. Symbolic links are not followed, and the recording that is read is never replaced
    #[arg(short, long, value_name = "OUT.html", help_heading = "Output")]
    pub output: PathBuf,
    /// Title of the page [default: the name of the recording]
    #[arg(long, value_name = "TEXT", help_heading = "Output")]
    pub title: Option<String>,
    /// Only this window, or the windows from N to M; they are numbered from 0
    #[arg(long, value_name = "N|N..M", help_heading = "Output")]
    pub window: Option<Range>,
    /// Which components.
    #[command(flatten)]
    pub select: SelectArgs,
}

/// Arguments of `export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The recording
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Output format
    #[arg(short = 'F', long, value_name = "FORM", help_heading = "Output")]
    pub format: ExportFormat,
    /// Write to this file, for csv and parquet into this folder, for paraver to files of this name; - is stdout. Symbolic links are not followed, and the recording that is read is never replaced
    #[arg(short, long, value_name = "OUT", help_heading = "Output")]
    pub output: PathBuf,
    /// Only this window, or the windows from N to M; they are numbered from 0
    #[arg(long, value_name = "N|N..M", help_heading = "Output")]
    pub window: Option<Range>,
    /// Length of a window, at least 1ms: a multiple of the recorded length, or any length if the recording has single events [default: as recorded]
    #[arg(short, long, value_name = "TIME", value_parser = cut, help_heading = "Output")]
    pub interval: Option<Duration>,
    /// For parquet: into folders by host and hour; nothing that is there is replaced
    #[arg(long, help_heading = "Output")]
    pub by_hour: bool,
    /// What the host is called there [default: its name]
    #[arg(long, value_name = "NAME", value_parser = host, requires = "by_hour", help_heading = "Output")]
    pub host: Option<String>,
    /// Which components.
    #[command(flatten)]
    pub select: SelectArgs,
}

/// A name that can be that of a folder.
pub(super) fn host(text: &str) -> Result<String, String> {
    if host_name(text) == text && !text.chars().all(|c| c == '.') {
        return Ok(text.to_owned());
    }
    Err(
        "give a name of letters, digits, dots, dashes and underscores that begins with no dot"
            .to_owned(),
    )
}

/// Form of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// One snapshot of all windows together
    Json,
    /// One snapshot per window, each on a line of its own
    Ndjson,
    /// A folder of tables as text
    Csv,
    /// A folder of typed tables
    Parquet,
    /// A trace for ui.perfetto.dev
    Perfetto,
    /// Three files for the tools of Paraver: what the processes of a parallel application did
    Paraver,
}

impl ExportFormat {
    /// Whether it can go to stdout.
    #[must_use]
    pub fn is_text(self) -> bool {
        matches!(self, Self::Json | Self::Ndjson)
    }

    /// What it is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
            Self::Parquet => "parquet",
            Self::Perfetto => "perfetto",
            Self::Paraver => "paraver",
        }
    }

    /// A place for it.
    #[must_use]
    pub fn example(self) -> &'static str {
        match self {
            Self::Perfetto => "FILE.perfetto-trace",
            Self::Paraver => "NAME",
            Self::Csv | Self::Parquet => "FOLDER",
            Self::Json | Self::Ndjson => "FILE.json",
        }
    }
}
