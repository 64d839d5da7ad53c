//! What can be wrong with a recording.
//!
//! In: nothing. Out: errors that name the place, the reason and, where there is one, the mending command.
//! Must not know: how anything is read.

use std::{fmt, io, path::PathBuf};

use super::format::{MAX_PAYLOAD, VERSION};

/// Why nothing of a file can be read.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Nothing is in it.
    #[error(
        "{} is empty: recording ended before it began; record again with: courtside record -o FILE",
        path.display()
    )]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// It is something else.
    #[error(
        "{} is not a recording; record one with: courtside record -o FILE",
        path.display()
    )]
    NotARecording {
        /// The file.
        path: PathBuf,
    },
    /// It is newer than this program.
    #[error(
        "{} has format {found}, and this courtside {} reads formats up to {VERSION}; \
         read it with the courtside that wrote it, or a newer one",
        path.display(),
        env!("CARGO_PKG_VERSION")
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
}

/// Why one record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is damaged.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The file cannot be read.
    #[error("cannot read the recording: {0}")]
    Io(#[from] io::Error),
    /// There are not so many windows.
    #[error("there is no window {number}; the recording has {windows}")]
    NoSuchWindow {
        /// What was asked for, from 0.
        number: usize,
        /// How many there are.
        windows: usize,
    },
}

/// A part of a recording that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("damaged at byte {offset}, {length} bytes: {reason}")]
pub struct Fault {
    /// Which file of the recording, from 0.
    pub part: u8,
    /// Where the damage begins, or the record that holds it.
    pub offset: u64,
    /// How much cannot be read.
    pub length: u64,
    /// What is wrong.
    pub reason: Reason,
}

/// What is wrong with a part of a recording.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The first bytes of the file.
    FileHead,
    /// The file ends within a record.
    Cut,
    /// No record begins where one should.
    Head,
    /// A record's payload is not what was written.
    Payload(String),
    /// The index does not fit the file.
    Index(String),
    /// Another part of the recording.
    Part(String),
    /// There are more records than any recording has.
    TooMany,
    /// More is wrong than is listed.
    More(u64),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FileHead => {
                f.write_str("the first bytes of the file are not as they were written")
            }
            Self::Cut => f.write_str("the file ends within a record"),
            Self::Head => f.write_str("no record begins here"),
            Self::Payload(why) => write!(f, "a record is not as it was written: {why}"),
            Self::Index(why) => write!(f, "the index is not as it was written: {why}"),
            Self::Part(why) => write!(f, "the other part of the recording is left out: {why}"),
            Self::TooMany => f.write_str("too many records; the rest is not read"),
            Self::More(count) => write!(f, "{count} more places are damaged"),
        }
    }
}

/// Why something could not be recorded.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The file does not take it.
    #[error(
        "cannot write to the recording: {error}; it can be read up to byte {whole_bytes}{}",
        hint(.error)
    )]
    Io {
        /// Why.
        error: io::Error,
        /// The file is sound so far.
        whole_bytes: u64,
    },
    /// It is too long.
    #[error("a record of {length} bytes is longer than a recording takes ({MAX_PAYLOAD})")]
    TooLong {
        /// Its length.
        length: usize,
    },
    /// It cannot be put into bytes.
    #[error("cannot encode a window: {0}")]
    Encode(#[from] serde_json::Error),
}

/// What to do about it, where that is known.
fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            ". Make room (df -h), or bound what is kept with --size-limit"
        }
        _ => "",
    }
}
