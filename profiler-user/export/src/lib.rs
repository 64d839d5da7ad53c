//! One file a format: Snapshot → text or bytes.
//!
//! In: a [`courtside_core::model::Snapshot`], or one a window. Out: strings, and pieces of files. Must not know: files, screens,
//! clocks.

pub mod csv;
pub mod diff;
pub mod form;
pub mod guard;
pub mod infer;
pub mod json;
mod map;
pub mod model;
pub mod paraver;
pub mod parquet;
pub mod perfetto;
pub mod prometheus;
pub mod report;
pub mod scale;
pub mod table;
pub mod tables;
pub mod tail;
#[cfg(test)]
mod tests;
mod text;

pub use table::Style;

/// Bytes to be added to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Name of the file within its folder; empty where the format is one file.
    pub file: String,
    /// What to add.
    pub bytes: Vec<u8>,
}

/// Why something cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not as JSON.
    #[error("cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Not as CSV.
    #[error("cannot be written as CSV: {0}")]
    Csv(#[from] ::csv::Error),
    /// Not as Parquet.
    #[error("cannot be written as Parquet: {0}")]
    Parquet(#[from] ::parquet::errors::ParquetError),
}
