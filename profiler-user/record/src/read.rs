//! Reading a recording: its windows in order or by number, and what is damaged.
//!
//! In: a file, or several parts of one recording. Out: Frames, payloads, faults. Memory grows with the number of
//! records, not with what they hold. Must not know: what frames mean, how they are shown.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use super::{
    error::{Fault, OpenError, ReadError, Reason},
    format::{self, Entry, FILE_HEAD, HEAD, Head, Header, Kind, Sealed, VERSION},
    read_at::ReadAt,
    scan::{At, Faults, Found, head_at, scan},
};
use courtside_core::frame::Frame;

/// A recording, open for reading. What is appended to it later is not seen.
pub struct Recording {
    name: PathBuf,
    parts: Vec<Part>,
    header: Header,
    /// All records in the order of time, but for headers, indexes and ends.
    entries: Vec<Entry>,
    /// Which of the entries are windows.
    windows: Vec<u32>,
    faults: Faults,
    finished: bool,
    indexed: bool,
}

struct Part {
    source: Box<dyn ReadAt>,
    length: u64,
    header: Header,
}

impl Part {
    /// Finds what is in one file.
    fn open(name: &Path, source: Box<dyn ReadAt>) -> Result<(Self, Found), OpenError> {
        let io = |error| OpenError::Io {
            path: name.to_owned(),
            error,
        };
        let path = || PathBuf::from(name);
        let length = source.length().map_err(io)?;
        if length == 0 {
            return Err(OpenError::Empty { path: path() });
        }
        let mut head = vec![0; FILE_HEAD.min(usize::try_from(length).unwrap_or(FILE_HEAD))];
        source.read_exact_at(&mut head, 0).map_err(io)?;
        let mut faults = Faults::default();
        match format::version(&head) {
            Some(found) if found > VERSION => {
                return Err(OpenError::Newer {
                    path: path(),
                    found,
                });
            }
            Some(1..) => {}
            None if format::file_head().starts_with(&head) => {}
            Some(0) | None => {
                // Damage to these few bytes is no reason not to read the rest.
                let first = head_at(&*source, length, FILE_HEAD as u64).map_err(io)?;
                if !matches!(first, At::Head(_)) {
                    return Err(OpenError::NotARecording { path: path() });
                }
                faults.add(0, 0, FILE_HEAD as u64, Reason::FileHead);
            }
        }
        let mut part = Self {
            source,
            length,
            header: Header::default(),
        };
        if length < FILE_HEAD as u64 {
            faults.add(0, 0, length, Reason::Cut);
            let found = Found {
                faults,
                ..Found::default()
            };
            return Ok((part, found));
        }
        let mut found = scan(&*part.source, length).map_err(io)?;
        let headers = found
            .entries
            .iter()
            .filter(|entry| entry.kind == Kind::HEADER.0);
        let mut header = None;
        for entry in headers {
            match part.decode::<Header>(entry) {
                Ok(read) => header = header.or(Some(read)),
                Err(ReadError::Io(error)) => return Err(io(error)),
                Err(ReadError::Fault(fault)) => {
                    faults.add(fault.part, fault.offset, fault.length, fault.reason);
                }
                Err(ReadError::NoSuchWindow { .. }) => {}
            }
        }
        for fault in std::mem::take(&mut found.faults).0 {
            faults.add(fault.part, fault.offset, fault.length, fault.reason);
        }
        found.faults = faults;
        part.header = header.unwrap_or_default();
        Ok((part, found))
    }

    /// Whether both are parts of one recording.
    fn belongs_to(&self, other: &Self) -> bool {
        let of = |part: &Self| {
            let header = &part.header;
            (header.started_unix_ns, header.host.boot_id.clone())
        };
        of(self) == of(other) && self.header.part.abs_diff(other.header.part) == 1
    }

    fn decode<T: serde::de::DeserializeOwned>(&self, entry: &Entry) -> Result<T, ReadError> {
        let (head, stored) = self.stored(entry)?;
        let payload = format::unseal(&head, stored).map_err(|why| fault(entry, why))?;
        serde_json::from_slice(&payload).map_err(|error| fault(entry, error.to_string()).into())
    }

    fn stored(&self, entry: &Entry) -> Result<(Head, Vec<u8>), ReadError> {
        let here = Entry { part: 0, ..*entry };
        let head = match head_at(&*self.source, self.length, entry.offset)? {
            At::Head(head) if Entry::of(&head, entry.offset) == here => head,
            _ => return Err(fault(entry, "its head is damaged").into()),
        };
        let mut stored = vec![0; head.stored as usize];
        let payload = entry.offset + HEAD as u64;
        self.source.read_exact_at(&mut stored, payload)?;
        Ok((head, stored))
    }
}

/// Where a flight recorder puts every second part.
#[must_use]
pub fn other_part(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".2");
    name.into()
}

/// A window of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordedWindow {
    /// Wall-clock start.
    pub start_unix_ns: u64,
    /// Length.
    pub duration_ns: u64,
}

impl RecordedWindow {
    /// Wall-clock end.
    #[must_use]
    pub fn end_unix_ns(&self) -> u64 {
        self.start_unix_ns.saturating_add(self.duration_ns)
    }
}

/// A record of a recording, without its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    entry: Entry,
}

impl Record {
    /// What it holds.
    #[must_use]
    pub fn kind(&self) -> Kind {
        Kind(self.entry.kind)
    }

    /// Wall-clock start of the time it covers.
    #[must_use]
    pub fn start_unix_ns(&self) -> u64 {
        self.entry.start_unix_ns
    }

    /// Length of the time it covers.
    #[must_use]
    pub fn duration_ns(&self) -> u64 {
        self.entry.duration_ns
    }

    /// Where it is.
    pub(super) fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Bytes it takes in the file.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        self.entry.end() - self.entry.offset
    }
}

impl Recording {
    /// Opens a recording, with its other part if a flight recorder left one beside it.
    ///
    /// # Errors
    /// Nothing of it can be read. What is partly readable opens, and [`Self::faults`] says what is not.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let io = |error| OpenError::Io {
            path: path.to_owned(),
            error,
        };
        let file = File::open(path).map_err(io)?;
        match File::open(other_part(path)) {
            Ok(other) => Self::from_parts(path, Box::new(file), Box::new(other)),
            Err(_) => Self::from_source(path, Box::new(file)),
        }
    }

    /// Opens what is in anything that can be read at any place; `name` is for the errors.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn from_source(name: &Path, source: Box<dyn ReadAt>) -> Result<Self, OpenError> {
        let (part, found) = Part::open(name, source)?;
        Ok(Self::of(name, vec![(part, found)]))
    }

    /// Opens a recording of which the second source may be another part.
    ///
    /// # Errors
    /// As [`Self::open`]. A second source that is empty or of another recording is passed over.
    pub fn from_parts(
        name: &Path,
        source: Box<dyn ReadAt>,
        other: Box<dyn ReadAt>,
    ) -> Result<Self, OpenError> {
        let first = Part::open(name, source)?;
        let length = other.length().unwrap_or(0);
        let second = match Part::open(&other_part(name), other) {
            Ok((part, found)) if part.header == Header::default() => {
                let first = found.faults.0.into_iter().next();
                Err(first.map_or("it has no header".to_owned(), |fault| fault.to_string()))
            }
            Ok(second) => Ok(second),
            Err(OpenError::Empty { .. } | OpenError::NotARecording { .. }) => {
                return Ok(Self::of(name, vec![first]));
            }
            Err(error) => Err(error.to_string()),
        };
        Ok(match second {
            Ok(second) if !second.0.belongs_to(&first.0) => Self::of(name, vec![first]),
            Ok(second) if second.0.header.part < first.0.header.part => {
                Self::of(name, vec![second, first])
            }
            Ok(second) => Self::of(name, vec![first, second]),
            Err(why) => {
                let mut recording = Self::of(name, vec![first]);
                recording.faults.add(1, 0, length, Reason::Part(why));
                recording
            }
        })
    }

    /// Puts parts together, the older one first.
    fn of(name: &Path, parts: Vec<(Part, Found)>) -> Self {
        let mut recording = Self {
            name: name.to_owned(),
            parts: Vec::new(),
            header: Header::default(),
            entries: Vec::new(),
            windows: Vec::new(),
            faults: Faults::default(),
            finished: true,
            indexed: true,
        };
        for (number, (part, found)) in (0u8..).zip(parts) {
            for fault in found.faults.0 {
                let Fault {
                    offset,
                    length,
                    reason,
                    ..
                } = fault;
                recording.faults.add(number, offset, length, reason);
            }
            // Only the newest part can be unfinished, unless something is damaged.
            recording.finished = found.finished;
            recording.indexed &= found.indexed;
            if recording.header == Header::default() {
                recording.header = part.header.clone();
            }
            recording.parts.push(part);
            for entry in found.entries {
                if entry.kind == Kind::HEADER.0 {
                    continue;
                }
                if entry.kind == Kind::WINDOW.0 {
                    // There are fewer than 2³² by far.
                    let at = u32::try_from(recording.entries.len()).unwrap_or(u32::MAX);
                    recording.windows.push(at);
                }
                recording.entries.push(Entry {
                    part: number,
                    ..entry
                });
            }
        }
        recording
    }

    /// The file, or what it was called when it was opened.
    #[must_use]
    pub fn name(&self) -> &Path {
        &self.name
    }

    /// How and where it was recorded; nothing is known if that record is damaged.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// What was found damaged on opening. Payloads are looked at when they are read; [`Self::verify`] reads them all.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.faults.0
    }

    /// Records of kinds that this version does not know: they are passed over.
    #[must_use]
    pub fn unknown_records(&self) -> usize {
        let is_known = |entry: &Entry| Kind(entry.kind).is_known();
        self.entries.iter().filter(|entry| !is_known(entry)).count()
    }

    /// Whether writing ended well. A recording that was cut short, or is still being written, is not finished.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// Whether an index made opening quick.
    #[must_use]
    pub fn is_indexed(&self) -> bool {
        self.indexed
    }

    /// Bytes in all.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.parts
            .iter()
            .fold(0, |sum, part| sum.saturating_add(part.length))
    }

    /// When each window was. Windows are numbered from 0 in this order.
    pub fn windows(&self) -> impl ExactSizeIterator<Item = RecordedWindow> + '_ {
        self.windows.iter().map(|&at| {
            let entry = &self.entries[at as usize];
            RecordedWindow {
                start_unix_ns: entry.start_unix_ns,
                duration_ns: entry.duration_ns,
            }
        })
    }

    /// One window.
    ///
    /// # Errors
    /// There is none of this number, it is damaged, or the file cannot be read.
    pub fn frame(&self, number: usize) -> Result<Frame, ReadError> {
        let entry = self
            .windows
            .get(number)
            .and_then(|&at| self.entries.get(at as usize))
            .ok_or(ReadError::NoSuchWindow {
                number,
                windows: self.windows.len(),
            })?;
        self.decode(entry)
    }

    /// All windows in order, read as they are asked for.
    pub fn frames(&self) -> impl ExactSizeIterator<Item = Result<Frame, ReadError>> + '_ {
        (0..self.windows.len()).map(|number| self.frame(number))
    }

    /// All records of every kind but headers, in order.
    pub fn records(&self) -> impl ExactSizeIterator<Item = Record> + '_ {
        self.entries.iter().map(|&entry| Record { entry })
    }

    /// What a record holds.
    ///
    /// # Errors
    /// It is damaged, or the file cannot be read.
    pub fn payload(&self, record: &Record) -> Result<Vec<u8>, ReadError> {
        self.read(&record.entry)
    }

    /// Reads everything; returns all that is damaged, in order.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn verify(&self) -> io::Result<Vec<Fault>> {
        let mut faults = self.faults.clone();
        for entry in &self.entries {
            let read = match Kind(entry.kind) {
                Kind::WINDOW => self.decode::<Frame>(entry).map(drop),
                Kind::EVENTS | Kind::KNOWN => self.batch(entry).map(drop),
                _ => self.read(entry).map(drop),
            };
            match read {
                Ok(()) | Err(ReadError::NoSuchWindow { .. }) => {}
                Err(ReadError::Io(error)) => return Err(error),
                Err(ReadError::Fault(fault)) => {
                    faults.add(fault.part, fault.offset, fault.length, fault.reason);
                }
            }
        }
        Ok(faults.0)
    }

    /// A record as it is stored.
    pub(super) fn sealed(&self, record: &Record) -> Result<Sealed, ReadError> {
        let entry = &record.entry;
        let (head, stored) = self.part(entry).stored(entry)?;
        if crc32fast::hash(&stored) != head.payload_crc {
            return Err(fault(entry, "its checksum is wrong").into());
        }
        let bytes = [&head.encode()[..], &stored].concat();
        Ok(Sealed { head, bytes })
    }

    fn decode<T: serde::de::DeserializeOwned>(&self, entry: &Entry) -> Result<T, ReadError> {
        self.part(entry).decode(entry)
    }

    /// Where everything is.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(super) fn read(&self, entry: &Entry) -> Result<Vec<u8>, ReadError> {
        let (head, stored) = self.part(entry).stored(entry)?;
        format::unseal(&head, stored).map_err(|why| fault(entry, why).into())
    }

    fn part(&self, entry: &Entry) -> &Part {
        &self.parts[usize::from(entry.part)]
    }
}

pub(super) fn fault(entry: &Entry, why: impl Into<String>) -> Fault {
    Fault {
        part: entry.part,
        offset: entry.offset,
        length: entry.end() - entry.offset,
        reason: Reason::Payload(why.into()),
    }
}
