//! The bytes of a recording: file head, record heads, index entries. All numbers are little endian.
//!
//! In: values. Out: bytes, and back; what does not check is `None`. Must not know: files.

use serde::{Deserialize, Serialize};

use courtside_core::frame::{Host, ProbeStatus};

/// Version of the format. A reader refuses what is newer; docs/recording.md has the ledger.
pub const VERSION: u32 = 1;

/// First bytes of a recording. Like PNG's they show a transfer that changed line ends or dropped the eighth bit.
pub(super) const MAGIC: [u8; 8] = *b"\x89CSR\r\n\x1a\n";
/// Length of the file head: magic, version, checksum.
pub(super) const FILE_HEAD: usize = 16;
/// First bytes of a record; by them reading goes on behind a damaged one.
pub(super) const MARK: [u8; 4] = *b"\xC5Rec";
/// Length of a record head.
pub(super) const HEAD: usize = 40;
/// Longest payload, on disk and in memory. A longer one is a lie or a mistake.
pub const MAX_PAYLOAD: usize = 32 << 20;
/// Most records of a recording that are read: a year of windows of two seconds.
pub(super) const MAX_RECORDS: usize = 1 << 24;
/// Length of an entry of an index record.
pub(super) const INDEX_ENTRY: usize = 32;
/// Longest payload of an index record: the offset of the previous one, and entries.
pub(super) const MAX_INDEX_ENTRIES: usize = 256;

/// The payload is compressed.
const ZSTD: u8 = 1;
/// Level of compression: higher ones gain little on frames and cost much.
const LEVEL: i32 = 3;

/// What a record holds. Kinds may be added within a version: a reader passes over those it does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(pub u8);

impl Kind {
    /// How and where it was recorded, as JSON ([`Header`]).
    pub const HEADER: Self = Self(1);
    /// One window: a Frame as JSON.
    pub const WINDOW: Self = Self(2);
    /// Where the records before it are.
    pub const INDEX: Self = Self(3);
    /// Writing ended well: where the last index is.
    pub const END: Self = Self(4);
    /// A batch of single events.
    pub const EVENTS: Self = Self(16);
    /// Tasks and connections that an earlier part described, which may be gone, as a batch of events.
    pub const KNOWN: Self = Self(17);

    /// Whether this version knows what such a record holds.
    #[must_use]
    pub fn is_known(self) -> bool {
        matches!(
            self,
            Self::HEADER | Self::WINDOW | Self::INDEX | Self::END | Self::EVENTS | Self::KNOWN
        )
    }
}

/// How and where it was recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Version of Courtside that wrote it.
    pub tool_version: String,
    /// The machine.
    pub host: Host,
    /// Wall-clock time at which recording began; the same in all parts of one recording.
    pub started_unix_ns: u64,
    /// Length of a window, as asked for.
    pub interval_ns: u64,
    /// The command that was run meanwhile; empty if none was.
    #[serde(default)]
    pub command: Vec<String>,
    /// Number of this part of the recording; a flight recorder writes several.
    #[serde(default)]
    pub part: u64,
    /// Every program and how it was attached.
    #[serde(default)]
    pub probes: Vec<ProbeStatus>,
    /// How the user who recorded it wanted to see it.
    #[serde(default)]
    pub view: ViewWish,
    /// What the command was limited to, where that was one size of a study of how it scales.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
}

/// What a command was limited to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// The size: cores, or workers where only these differ.
    pub n: u32,
    /// Cores that it could use.
    pub cores: u32,
    /// Workers that it was told to use.
    pub workers: u32,
}

/// How a recording is looked at, unless something else is asked for. Everything is recorded all the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ViewWish {
    /// What makes a component, as on the command line.
    pub group_by: String,
    /// Processes.
    pub tgids: Vec<u32>,
    /// Globs over names of programs.
    pub comms: Vec<String>,
    /// Control groups.
    pub cgroups: Vec<String>,
    /// systemd units.
    pub units: Vec<String>,
    /// Containers.
    pub containers: Vec<String>,
    /// Acceptors' ports.
    pub ports: Vec<u16>,
    /// Where requests enter, as on the command line.
    pub entries: Vec<String>,
}

/// The head of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    pub kind: u8,
    pub flags: u8,
    /// Length of the payload as it is stored.
    pub stored: u32,
    /// Length of the payload once decompressed.
    pub raw: u32,
    pub start_unix_ns: u64,
    pub duration_ns: u64,
    /// Checksum of the payload as it is stored.
    pub payload_crc: u32,
}

impl Head {
    pub(super) fn encode(&self) -> [u8; HEAD] {
        let mut bytes = [0; HEAD];
        bytes[..4].copy_from_slice(&MARK);
        bytes[4] = self.kind;
        bytes[5] = self.flags;
        bytes[8..12].copy_from_slice(&self.stored.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.raw.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.start_unix_ns.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.duration_ns.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.payload_crc.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..36]);
        bytes[36..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The head in these bytes; `None` if it is none, is damaged, or promises more than any record holds.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEAD] = bytes.get(..HEAD)?.try_into().ok()?;
        let head = Self {
            kind: bytes[4],
            flags: bytes[5],
            stored: u32_at(bytes, 8)?,
            raw: u32_at(bytes, 12)?,
            start_unix_ns: u64_at(bytes, 16)?,
            duration_ns: u64_at(bytes, 24)?,
            payload_crc: u32_at(bytes, 32)?,
        };
        let fits = |length: u32| usize::try_from(length).is_ok_and(|length| length <= MAX_PAYLOAD);
        (bytes[..4] == MARK
            && u32_at(bytes, 36)? == crc32fast::hash(&bytes[..36])
            && fits(head.stored)
            && fits(head.raw))
        .then_some(head)
    }
}

/// A record as it is stored: its head and its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sealed {
    pub head: Head,
    pub bytes: Vec<u8>,
}

/// Compresses a payload, checksums it and puts its head before it. `None` if it is longer than any payload may be.
pub(super) fn seal(
    compressor: &mut zstd::bulk::Compressor<'_>,
    kind: Kind,
    (start_unix_ns, duration_ns): (u64, u64),
    payload: &[u8],
) -> std::io::Result<Option<Sealed>> {
    if payload.len() > MAX_PAYLOAD {
        return Ok(None);
    }
    let compressed = compressor.compress(payload)?;
    let (stored, flags) = if compressed.len() < payload.len() {
        (&compressed[..], ZSTD)
    } else {
        (payload, 0)
    };
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let head = Head {
        kind: kind.0,
        flags,
        stored: length(stored),
        raw: length(payload),
        start_unix_ns,
        duration_ns,
        payload_crc: crc32fast::hash(stored),
    };
    let mut bytes = head.encode().to_vec();
    bytes.extend_from_slice(stored);
    Ok(Some(Sealed { head, bytes }))
}

/// A compressor as [`seal`] wants it.
pub(super) fn compressor() -> std::io::Result<zstd::bulk::Compressor<'static>> {
    zstd::bulk::Compressor::new(LEVEL)
}

/// The payload that was stored; the reason if it is not what its head says.
pub(super) fn unseal(head: &Head, stored: Vec<u8>) -> Result<Vec<u8>, &'static str> {
    if crc32fast::hash(&stored) != head.payload_crc {
        return Err("its checksum is wrong");
    }
    let raw = head.raw as usize;
    let payload = match head.flags {
        0 => stored,
        ZSTD => zstd::bulk::decompress(&stored, raw).map_err(|_| "it cannot be decompressed")?,
        _ => return Err("it is packed in a way that this version does not know"),
    };
    if payload.len() != raw {
        return Err("it has not the length that its head says");
    }
    Ok(payload)
}

/// The file head of this version.
pub(super) fn file_head() -> [u8; FILE_HEAD] {
    let mut bytes = [0; FILE_HEAD];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..12]);
    bytes[12..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The version that a sound file head names.
pub(super) fn version(bytes: &[u8]) -> Option<u32> {
    let sound = bytes.get(..8)? == MAGIC && u32_at(bytes, 12)? == crc32fast::hash(&bytes[..12]);
    sound.then(|| u32_at(bytes, 8)).flatten()
}

/// Where a record is and what it holds, without its payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub offset: u64,
    pub start_unix_ns: u64,
    pub duration_ns: u64,
    pub stored: u32,
    pub kind: u8,
    /// Which file of the recording.
    pub part: u8,
}

impl Entry {
    /// Where the next record begins.
    pub(super) fn end(&self) -> u64 {
        self.offset
            .saturating_add(HEAD as u64)
            .saturating_add(u64::from(self.stored))
    }

    pub(super) fn of(head: &Head, offset: u64) -> Self {
        Self {
            offset,
            start_unix_ns: head.start_unix_ns,
            duration_ns: head.duration_ns,
            stored: head.stored,
            kind: head.kind,
            part: 0,
        }
    }
}

/// Payload of an index record: where the previous one is (0 if there is none), and the records since.
pub(super) fn encode_index(previous: u64, entries: &[Entry]) -> Vec<u8> {
    let mut bytes = previous.to_le_bytes().to_vec();
    for entry in entries {
        bytes.extend_from_slice(&entry.offset.to_le_bytes());
        bytes.extend_from_slice(&entry.start_unix_ns.to_le_bytes());
        bytes.extend_from_slice(&entry.duration_ns.to_le_bytes());
        bytes.extend_from_slice(&entry.stored.to_le_bytes());
        bytes.extend_from_slice(&[entry.kind, 0, 0, 0]);
    }
    bytes
}

/// The reverse of [`encode_index`].
pub(super) fn decode_index(bytes: &[u8]) -> Option<(u64, Vec<Entry>)> {
    let (previous, rows) = bytes.split_at_checked(8)?;
    let entries = rows.chunks(INDEX_ENTRY).map(|row| {
        Some(Entry {
            offset: u64_at(row, 0)?,
            start_unix_ns: u64_at(row, 8)?,
            duration_ns: u64_at(row, 16)?,
            stored: u32_at(row, 24)?,
            kind: *row.get(28)?,
            part: 0,
        })
    });
    Some((u64_at(previous, 0)?, entries.collect::<Option<_>>()?))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..at + 4)?;
    Some(u32::from_le_bytes(field.try_into().ok()?))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let field = bytes.get(at..at + 8)?;
    Some(u64::from_le_bytes(field.try_into().ok()?))
}
