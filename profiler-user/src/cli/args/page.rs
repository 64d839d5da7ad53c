//! How to print what also has a page with pictures: `diff`, `scale`, `model predict`.
//!
//! In: nothing. Out: the parsed arguments. Must not know: what is done with them.

use std::path::PathBuf;

use clap::{Args, ColorChoice, ValueEnum};

/// How to print, if it can be a page, too.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct PageOutputArgs {
    /// Write to this file, completely or not at all; - is stdout. Symbolic links are not followed, and a file that is read is never replaced
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub output: PathBuf,
    /// Output format
    #[arg(short = 'F', long, value_name = "FORM", default_value = "table")]
    pub format: PageFormat,
    /// Short for --format json
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
    /// When to use colours; auto also obeys NO_COLOR
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,
}

impl PageOutputArgs {
    /// The form asked for, in either way.
    #[must_use]
    pub fn format(&self) -> PageFormat {
        if self.json {
            PageFormat::Json
        } else {
            self.format
        }
    }
}

/// Form of an output that can be a page, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PageFormat {
    /// For people
    Table,
    /// For programs
    Json,
    /// One page with pictures, which works offline
    Html,
}
