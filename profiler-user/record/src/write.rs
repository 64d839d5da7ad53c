//! Writing a recording: append only, one write a record, an index every so often.
//!
//! In: Frames and other payloads. Out: bytes in a file. However it ends, what was written before is readable.
//! Must not know: where frames come from, the clock.

use std::{
    fs::File,
    io::{self, Write as _},
};

use super::{
    error::WriteError,
    format::{self, Entry, Header, Kind, MAX_INDEX_ENTRIES, Sealed, compressor},
};
use courtside_core::frame::Frame;

/// After this many bytes of records an index is written, even if the records are few.
const INDEX_EVERY_BYTES: u64 = 4 << 20;

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Windows.
    pub windows: u64,
    /// Bytes, all together.
    pub bytes: u64,
}

/// A recording that is being written.
pub struct Writer {
    file: File,
    compressor: zstd::bulk::Compressor<'static>,
    /// Where the next record goes: the end of the last whole one.
    end: u64,
    /// Records since the last index.
    entries: Vec<Entry>,
    previous_index: u64,
    indexed_to: u64,
    windows: u64,
    span: Option<(u64, u64)>,
    text: Vec<u8>,
}

impl Writer {
    /// Begins a recording in a file, in place of whatever the file held.
    ///
    /// # Errors
    /// The file does not take it.
    pub fn new(file: File, header: &Header) -> Result<Self, WriteError> {
        let io = |error| WriteError::Io {
            error,
            whole_bytes: 0,
        };
        file.set_len(0).map_err(io)?;
        let mut writer = Self {
            file,
            compressor: compressor().map_err(io)?,
            end: 0,
            entries: Vec::new(),
            previous_index: 0,
            indexed_to: 0,
            windows: 0,
            span: None,
            text: Vec::new(),
        };
        writer.rewind().map_err(io)?;
        writer.append(&format::file_head())?;
        writer.record(
            Kind::HEADER,
            header.started_unix_ns,
            0,
            &serde_json::to_vec(header)?,
        )?;
        Ok(writer)
    }

    /// Appends one window.
    ///
    /// # Errors
    /// The file does not take it; what was written before stays readable.
    pub fn frame(&mut self, frame: &Frame) -> Result<(), WriteError> {
        let sealed = self.seal_frame(frame)?;
        self.append_sealed(&sealed)
    }

    /// Appends a payload of any kind, which covers this time.
    ///
    /// # Errors
    /// The file does not take it, or it is too long; what was written before stays readable.
    pub fn record(
        &mut self,
        kind: Kind,
        start_unix_ns: u64,
        duration_ns: u64,
        payload: &[u8],
    ) -> Result<(), WriteError> {
        let sealed = self.seal(kind, (start_unix_ns, duration_ns), payload)?;
        self.append_sealed(&sealed)
    }

    /// Ends the recording, and waits until it has reached the disk.
    ///
    /// # Errors
    /// The file does not take it; what was written before stays readable.
    pub fn finish(mut self) -> Result<Summary, WriteError> {
        let summary = self.end()?;
        self.file.sync_data().or_else(|error| match error.kind() {
            // Pipes and some file systems know no such thing.
            io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported => Ok(()),
            _ => Err(self.failed(error)),
        })?;
        Ok(summary)
    }

    /// Writes what is left of the index and a mark that the recording is whole.
    pub(super) fn end(&mut self) -> Result<Summary, WriteError> {
        if !self.entries.is_empty() {
            self.index()?;
        }
        let (start, end) = self.span.unwrap_or_default();
        let last_index = self.previous_index.to_le_bytes();
        let sealed = self.seal(Kind::END, (start, end.saturating_sub(start)), &last_index)?;
        self.append(&sealed.bytes)?;
        Ok(self.summary())
    }

    /// What was written so far.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary {
            windows: self.windows,
            bytes: self.end,
        }
    }

    /// A window as a record.
    pub(super) fn seal_frame(&mut self, frame: &Frame) -> Result<Sealed, WriteError> {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        let time = (frame.start_unix_ns, frame.duration_ns);
        let sealed = serde_json::to_writer(&mut text, frame)
            .map_err(WriteError::from)
            .and_then(|()| self.seal(Kind::WINDOW, time, &text));
        self.text = text;
        sealed
    }

    /// A payload as a record.
    pub(super) fn seal(
        &mut self,
        kind: Kind,
        time: (u64, u64),
        payload: &[u8],
    ) -> Result<Sealed, WriteError> {
        let sealed = format::seal(&mut self.compressor, kind, time, payload);
        sealed
            .map_err(|error| self.failed(error))?
            .ok_or(WriteError::TooLong {
                length: payload.len(),
            })
    }

    /// Appends a record that is sealed already, and an index if one is due.
    pub(super) fn append_sealed(&mut self, sealed: &Sealed) -> Result<(), WriteError> {
        let head = &sealed.head;
        let entry = Entry::of(head, self.end);
        self.append(&sealed.bytes)?;
        self.entries.push(entry);
        if head.kind == Kind::WINDOW.0 {
            self.windows += 1;
        }
        if head.kind != Kind::HEADER.0 {
            let end = head.start_unix_ns.saturating_add(head.duration_ns);
            let (from, to) = self.span.unwrap_or((head.start_unix_ns, end));
            self.span = Some((from.min(head.start_unix_ns), to.max(end)));
        }
        if self.entries.len() >= MAX_INDEX_ENTRIES
            || self.end - self.indexed_to >= INDEX_EVERY_BYTES
        {
            self.index()?;
        }
        Ok(())
    }

    fn index(&mut self) -> Result<(), WriteError> {
        let payload = format::encode_index(self.previous_index, &self.entries);
        let first = self.entries.first().map_or(0, |entry| entry.start_unix_ns);
        let sealed = self.seal(Kind::INDEX, (first, 0), &payload)?;
        let offset = self.end;
        self.append(&sealed.bytes)?;
        self.entries.clear();
        self.previous_index = offset;
        self.indexed_to = self.end;
        Ok(())
    }

    /// Writes bytes whole, or takes back what was written of them.
    fn append(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        if let Err(error) = self.file.write_all(bytes) {
            // The reader copes with a rest, too, should even this fail.
            let _ = self.rewind();
            return Err(self.failed(error));
        }
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// Makes the end of the last whole record the end of the file.
    fn rewind(&mut self) -> io::Result<()> {
        use std::io::{Seek, SeekFrom};
        self.file.set_len(self.end)?;
        self.file.seek(SeekFrom::Start(self.end)).map(drop)
    }

    fn failed(&self, error: io::Error) -> WriteError {
        WriteError::Io {
            error,
            whole_bytes: self.end,
        }
    }
}
