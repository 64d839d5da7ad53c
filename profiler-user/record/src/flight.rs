//! A recorder that keeps the newest data: two files in turns, each a recording of its own.
//!
//! In: Frames and other payloads, bounds on time and size. Out: one file, or two, of which the older is begun anew when
//! the newer has half the size or the whole time that is to be kept. Nothing is renamed or copied: a crash at any
//! instant leaves what was written, and no folder has to be writable once recording has begun.
//! Must not know: where frames come from, the clock.

use std::{fs::File, io};

use super::{
    error::WriteError,
    events::{MAX_EVENTS, encode},
    format::{Header, Kind, Sealed},
    known::Known,
    write::{Summary, Writer},
};
use courtside_core::{event::Event, frame::Frame};

/// What an index and an end take at most beside the records.
const RESERVE_BYTES: u64 = 16 << 10;
/// Least size that makes sense: some windows, twice.
pub const MIN_SIZE_BYTES: u64 = 1 << 20;

/// How much is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// At least this time; up to twice as much.
    pub retain_ns: Option<u64>,
    /// At most this size; at least the newer half.
    pub size_bytes: Option<u64>,
}

/// Records into one file, or by turns into two.
pub struct Recorder {
    writer: Option<Writer>,
    first: File,
    /// Only with bounds.
    second: Option<File>,
    header: Header,
    bounds: Bounds,
    /// When the first window of this part began.
    part_start_unix_ns: Option<u64>,
    /// What the events of all parts have said; only if older parts are given up.
    known: Known,
    /// This part does not contain it yet.
    untold: bool,
    /// Parts that were ended and are still there: at most the one before.
    before: Summary,
    /// All windows, also those not kept.
    windows: u64,
}

impl Recorder {
    /// Begins to record, in place of whatever the files held. Bounds need a second file.
    ///
    /// # Errors
    /// The files do not take it.
    pub fn new(
        first: File,
        second: Option<File>,
        header: &Header,
        bounds: Bounds,
    ) -> Result<Self, WriteError> {
        let io = |error| WriteError::Io {
            error,
            whole_bytes: 0,
        };
        let writer = Writer::new(first.try_clone().map_err(io)?, header)?;
        if let Some(second) = &second {
            second.set_len(0).map_err(io)?;
        }
        Ok(Self {
            writer: Some(writer),
            first,
            second,
            header: header.clone(),
            bounds,
            part_start_unix_ns: None,
            known: Known::default(),
            untold: false,
            before: Summary::default(),
            windows: 0,
        })
    }

    /// Appends one window.
    ///
    /// # Errors
    /// The file does not take it; what was written before stays readable.
    pub fn frame(&mut self, frame: &Frame) -> Result<(), WriteError> {
        let sealed = self.writer()?.seal_frame(frame)?;
        self.append(&sealed)?;
        self.windows += 1;
        Ok(())
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
        let time = (start_unix_ns, duration_ns);
        let sealed = self.writer()?.seal(kind, time, payload)?;
        self.append(&sealed)
    }

    /// Appends a batch of single events, encoded already. A part whose predecessors may be gone is first told what they
    /// told of tasks and connections.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub fn events(
        &mut self,
        events: &[Event],
        unix_offset_ns: i64,
        payload: &[u8],
    ) -> Result<(), WriteError> {
        let time = time(events, unix_offset_ns);
        let sealed = self.writer()?.seal(Kind::EVENTS, time, payload)?;
        if self.second.is_none() {
            return self.append(&sealed);
        }
        if self.is_full(&sealed) {
            self.turn()?;
        }
        if std::mem::take(&mut self.untold) {
            let first_ns = events.iter().map(|event| event.time_ns).min();
            let known = self.known.tell(first_ns.unwrap_or(0));
            tell(self.writer()?, &known, unix_offset_ns)?;
        }
        self.append(&sealed)?;
        self.known.see(events);
        Ok(())
    }

    /// Ends the recording.
    ///
    /// # Errors
    /// The file does not take the end; what was written before stays readable.
    pub fn finish(mut self) -> Result<Summary, WriteError> {
        let last = match self.writer.take() {
            Some(writer) => writer.finish()?,
            None => Summary::default(),
        };
        Ok(add(self.before, last))
    }

    /// What the files hold.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let now = self.writer.as_ref().map(Writer::summary);
        add(self.before, now.unwrap_or_default())
    }

    /// Windows recorded, also those that were given up since.
    #[must_use]
    pub fn windows(&self) -> u64 {
        self.windows
    }

    fn append(&mut self, sealed: &Sealed) -> Result<(), WriteError> {
        if self.second.is_some() && self.is_full(sealed) {
            self.turn()?;
        }
        let start = sealed.head.start_unix_ns;
        self.part_start_unix_ns.get_or_insert(start);
        self.writer()?.append_sealed(sealed)
    }

    /// Whether this record goes into the next part.
    fn is_full(&self, next: &Sealed) -> bool {
        let Some((writer, start)) = self.writer.as_ref().zip(self.part_start_unix_ns) else {
            return false;
        };
        let bytes = writer.summary().bytes + next.bytes.len() as u64 + RESERVE_BYTES;
        let time = next.head.start_unix_ns.saturating_sub(start);
        self.bounds.size_bytes.is_some_and(|size| bytes > size / 2)
            || self.bounds.retain_ns.is_some_and(|retain| time >= retain)
    }

    /// Ends this part, and begins the next in place of the one before.
    fn turn(&mut self) -> Result<(), WriteError> {
        if let Some(mut writer) = self.writer.take() {
            // Waiting for the disk would hold up whatever is to be recorded meanwhile.
            self.before = writer.end()?;
        }
        self.header.part += 1;
        let file = match &self.second {
            Some(second) if self.header.part % 2 == 1 => second,
            _ => &self.first,
        };
        let file = file.try_clone().map_err(|error| self.failed(error))?;
        self.writer = Some(Writer::new(file, &self.header)?);
        self.part_start_unix_ns = None;
        self.untold = true;
        Ok(())
    }

    fn writer(&mut self) -> Result<&mut Writer, WriteError> {
        // None only after a part could not be begun.
        let gone = WriteError::Io {
            error: io::Error::other("its next part could not be begun"),
            whole_bytes: self.before.bytes,
        };
        self.writer.as_mut().ok_or(gone)
    }

    fn failed(&self, error: io::Error) -> WriteError {
        WriteError::Io {
            error,
            whole_bytes: self.before.bytes,
        }
    }
}

/// The time that events cover.
fn time(events: &[Event], unix_offset_ns: i64) -> (u64, u64) {
    let first = events.first().map_or(0, |event| event.time_ns);
    let last = events.last().map_or(0, |event| event.time_ns);
    let start = first.saturating_add_signed(unix_offset_ns);
    (start, last.saturating_sub(first))
}

/// Writes what is known of tasks and connections.
pub(super) fn tell(
    writer: &mut Writer,
    known: &[Event],
    unix_offset_ns: i64,
) -> Result<(), WriteError> {
    for events in known.chunks(MAX_EVENTS) {
        let payload = encode(events, unix_offset_ns);
        let (start, duration) = time(events, unix_offset_ns);
        writer.record(Kind::KNOWN, start, duration, &payload)?;
    }
    Ok(())
}

fn add(a: Summary, b: Summary) -> Summary {
    Summary {
        windows: a.windows + b.windows,
        bytes: a.bytes + b.bytes,
    }
}
