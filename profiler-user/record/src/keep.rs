//! Keeping the last minutes: out of memory, or out of a recording that goes on.
//!
//! In: Frames, or an open recording. Out: a recording of its own, with the newest windows and all that belongs to them.
//! Must not know: when that is asked for, the clock.

use std::{collections::VecDeque, fs::File, io};

use super::{
    error::{ReadError, WriteError},
    flight::tell,
    format::{Header, Kind, Sealed, compressor, seal},
    known::Known,
    read::Recording,
    write::{Summary, Writer},
};
use courtside_core::frame::Frame;

/// Why the last minutes could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// What was recorded cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The new file does not take it.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// The newest windows, compressed, in memory.
pub struct Ring {
    records: VecDeque<Sealed>,
    bytes: usize,
    retain_ns: u64,
    max_bytes: usize,
    compressor: zstd::bulk::Compressor<'static>,
}

impl Ring {
    /// Keeps the windows of this length of time, as far as they fit into this number of bytes.
    ///
    /// # Errors
    /// There is no memory.
    pub fn new(retain_ns: u64, max_bytes: usize) -> io::Result<Self> {
        Ok(Self {
            records: VecDeque::new(),
            bytes: 0,
            retain_ns,
            max_bytes,
            compressor: compressor()?,
        })
    }

    /// Takes the newest window, and gives up the oldest ones.
    ///
    /// # Errors
    /// It cannot be encoded.
    pub fn push(&mut self, frame: &Frame) -> io::Result<()> {
        let time = (frame.start_unix_ns, frame.duration_ns);
        let payload = serde_json::to_vec(frame)?;
        let Some(sealed) = seal(&mut self.compressor, Kind::WINDOW, time, &payload)? else {
            return Ok(());
        };
        self.bytes += sealed.bytes.len();
        self.records.push_back(sealed);
        let since = frame.start_unix_ns.saturating_sub(self.retain_ns);
        while self.records.len() > 1
            && let Some(oldest) = self.records.front()
            && (self.bytes > self.max_bytes || oldest.head.start_unix_ns < since)
        {
            self.bytes -= oldest.bytes.len();
            self.records.pop_front();
        }
        Ok(())
    }

    /// How many windows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Writes them into a file.
    ///
    /// # Errors
    /// The file does not take it.
    pub fn write(&self, file: File, header: &Header) -> Result<Summary, WriteError> {
        let mut writer = Writer::new(file, header)?;
        for record in &self.records {
            writer.append_sealed(record)?;
        }
        writer.finish()
    }
}

/// Copies what is not older than this time before the end of a recording into a new one, with what older events have
/// told of tasks and connections. What is damaged is left out.
///
/// # Errors
/// The one cannot be read, or the other not written.
pub fn keep(recording: &Recording, newest_ns: u64, file: File) -> Result<Summary, KeepError> {
    let end = recording
        .windows()
        .map(|window| window.end_unix_ns())
        .max()
        .unwrap_or(0);
    let since = end.saturating_sub(newest_ns);
    let header = Header {
        part: 0,
        ..recording.header().clone()
    };
    let mut writer = Writer::new(file, &header)?;
    let mut known = Some(Known::default());
    for record in recording.records() {
        let is_new = record.start_unix_ns() >= since;
        let is_told = record.kind() == Kind::KNOWN;
        if (record.kind() == Kind::EVENTS || is_told)
            && let Some(mut before) = known.take()
        {
            match recording.batch(record.entry()) {
                Ok(batch) if is_new && !is_told => {
                    let first_ns = batch.events.iter().map(|event| event.time_ns).min();
                    let told = before.tell(first_ns.unwrap_or(0));
                    tell(&mut writer, &told, batch.unix_offset_ns)?;
                }
                Ok(batch) => {
                    before.see(&batch.events);
                    known = Some(before);
                }
                Err(ReadError::Io(error)) => return Err(ReadError::Io(error).into()),
                Err(_) => known = Some(before),
            }
        }
        // What a part was told is told already.
        if !is_new || is_told {
            continue;
        }
        match recording.sealed(&record) {
            Ok(sealed) => writer.append_sealed(&sealed)?,
            Err(ReadError::Fault(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(writer.finish()?)
}
