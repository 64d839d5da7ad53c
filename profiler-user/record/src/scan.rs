//! Finding the records of a recording: by its index where that is sound, by hopping from head to head where not.
//!
//! In: a [`ReadAt`]. Out: entries in the order of the file, and faults. No payload but an index's is read.
//! Must not know: what records hold.

use std::io;

use memchr::memmem;

use super::{
    error::{Fault, Reason},
    format::{
        Entry, FILE_HEAD, HEAD, Head, Kind, MARK, MAX_PAYLOAD, MAX_RECORDS, decode_index, u64_at,
        unseal,
    },
    read_at::ReadAt,
};

/// How far before the end the last index is looked for: farther than a writer puts two of them apart.
const LAST_INDEX_WITHIN: u64 = 64 << 20;
/// How much is read at a time while looking for a mark.
const CHUNK: usize = 64 << 10;
/// Faults that are listed; more are counted.
const MAX_FAULTS: usize = 1000;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// All records but indexes and ends.
    pub entries: Vec<Entry>,
    pub faults: Faults,
    /// The last record says that the recording is whole.
    pub finished: bool,
    /// The index was sound.
    pub indexed: bool,
}

/// A list of faults that does not grow for ever.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Faults(pub Vec<Fault>);

impl Faults {
    pub(super) fn add(&mut self, part: u8, offset: u64, length: u64, reason: Reason) {
        if let Some(Fault {
            length: sum,
            reason: Reason::More(count),
            ..
        }) = self.0.last_mut()
        {
            *count += 1;
            *sum = sum.saturating_add(length);
            return;
        }
        let reason = if self.0.len() < MAX_FAULTS {
            reason
        } else {
            Reason::More(1)
        };
        self.0.push(Fault {
            part,
            offset,
            length,
            reason,
        });
    }
}

/// The head at an offset, if one is there and its payload lies within the file.
pub(super) fn head_at(source: &dyn ReadAt, end: u64, offset: u64) -> io::Result<At> {
    if offset.checked_add(HEAD as u64).is_none_or(|to| to > end) {
        return Ok(At::BeyondEnd);
    }
    let mut bytes = [0; HEAD];
    source.read_exact_at(&mut bytes, offset)?;
    Ok(match Head::decode(&bytes) {
        None => At::NoHead,
        Some(head) if Entry::of(&head, offset).end() > end => At::PayloadBeyondEnd,
        Some(head) => At::Head(head),
    })
}

/// What is at an offset.
pub(super) enum At {
    Head(Head),
    /// A sound head whose payload is cut.
    PayloadBeyondEnd,
    /// Less than a head is left.
    BeyondEnd,
    NoHead,
}

/// Finds all records of a file of this length.
pub(super) fn scan(source: &dyn ReadAt, length: u64) -> io::Result<Found> {
    let mut found = Found::default();
    let mut from = FILE_HEAD as u64;
    let mut unsound = None;
    match by_index(source, length)? {
        Ok(Some((entries, end))) => {
            (found.entries, found.indexed, from) = (entries, true, end);
        }
        Ok(None) => {}
        Err(why) => unsound = Some(why),
    }
    hop(source, length, from, &mut found)?;
    if let Some((offset, length, why)) = unsound {
        let is_known = |fault: &Fault| {
            (fault.offset..fault.offset.saturating_add(fault.length)).contains(&offset)
        };
        // An index that is sound as a record and still lies; any other damage was found on the way.
        if !found.faults.0.iter().any(is_known) {
            let why = why.to_owned();
            found.faults.add(0, offset, length, Reason::Index(why));
        }
    }
    Ok(found)
}

/// From head to head, over what is damaged to the next sound one.
fn hop(source: &dyn ReadAt, length: u64, mut at: u64, found: &mut Found) -> io::Result<()> {
    while at < length {
        if found.entries.len() >= MAX_RECORDS {
            found.faults.add(0, at, length - at, Reason::TooMany);
            return Ok(());
        }
        let here = head_at(source, length, at)?;
        if let At::Head(head) = here {
            let entry = Entry::of(&head, at);
            found.finished = head.kind == Kind::END.0;
            if ![Kind::INDEX.0, Kind::END.0].contains(&head.kind) {
                found.entries.push(entry);
            } else if payload(source, &head, at)?.is_none() {
                let why = "its payload is damaged".to_owned();
                found
                    .faults
                    .add(0, at, entry.end() - at, Reason::Index(why));
            }
            at = entry.end();
            continue;
        }
        found.finished = false;
        let next = next_head(source, length, at + 1)?;
        let to = next.unwrap_or(length);
        let reason = match here {
            // An end that is no record at all may be half a record, too: nobody can tell.
            _ if next.is_some() => Reason::Head,
            At::PayloadBeyondEnd | At::BeyondEnd => Reason::Cut,
            _ => Reason::Head,
        };
        found.faults.add(0, at, to - at, reason);
        at = to;
    }
    Ok(())
}

/// The first sound head from here on.
fn next_head(source: &dyn ReadAt, length: u64, from: u64) -> io::Result<Option<u64>> {
    let finder = memmem::Finder::new(&MARK);
    let mut buffer = vec![0; CHUNK];
    let mut at = from;
    while at + HEAD as u64 <= length {
        let size = usize::try_from(length - at).map_or(CHUNK, |rest| rest.min(CHUNK));
        let chunk = &mut buffer[..size];
        source.read_exact_at(chunk, at)?;
        for found in finder.find_iter(chunk) {
            let offset = at + found as u64;
            if let At::Head(_) = head_at(source, length, offset)? {
                return Ok(Some(offset));
            }
        }
        if size < CHUNK {
            break;
        }
        // A mark may lie across two chunks.
        at += (size - MARK.len() + 1) as u64;
    }
    Ok(None)
}

/// The last sound index before the end: where its head is.
fn last_index(source: &dyn ReadAt, length: u64) -> io::Result<Option<u64>> {
    // A recording that ended well says so in its last bytes.
    let tail = (HEAD + 8) as u64;
    if let Some(offset) = length.checked_sub(tail)
        && let At::Head(head) = head_at(source, length, offset)?
        && head.kind == Kind::END.0
        && let Some(payload) = payload(source, &head, offset)?
    {
        return Ok(u64_at(&payload, 0).filter(|&index| index != 0));
    }
    let finder = memmem::FinderRev::new(&MARK);
    let lowest = length
        .saturating_sub(LAST_INDEX_WITHIN)
        .max(FILE_HEAD as u64);
    let mut buffer = vec![0; CHUNK];
    let mut end = length;
    while end > lowest {
        let from = end.saturating_sub(CHUNK as u64).max(lowest);
        let chunk = &mut buffer[..usize::try_from(end - from).unwrap_or(CHUNK)];
        source.read_exact_at(chunk, from)?;
        for found in finder.rfind_iter(chunk) {
            let offset = from + found as u64;
            if let At::Head(head) = head_at(source, length, offset)?
                && head.kind == Kind::INDEX.0
                && payload(source, &head, offset)?.is_some()
            {
                return Ok(Some(offset));
            }
        }
        if from == lowest {
            break;
        }
        end = from + (MARK.len() - 1) as u64;
    }
    Ok(None)
}

/// A record's payload, if it is sound.
fn payload(source: &dyn ReadAt, head: &Head, offset: u64) -> io::Result<Option<Vec<u8>>> {
    let mut stored = vec![0; (head.stored as usize).min(MAX_PAYLOAD)];
    source.read_exact_at(&mut stored, offset + HEAD as u64)?;
    Ok(unseal(head, stored).ok())
}

/// Why an index is not used: where, how long, what.
type Unsound = (u64, u64, &'static str);
/// The records that the index lists, and where the last index ends.
type Indexed = Option<(Vec<Entry>, u64)>;

/// All records up to the last index, if every index on the way to the first is sound and together they cover the file
/// without a gap.
fn by_index(source: &dyn ReadAt, length: u64) -> io::Result<Result<Indexed, Unsound>> {
    let Some(last) = last_index(source, length)? else {
        return Ok(Ok(None));
    };
    // From the last index to the first; each row of entries ends where its index begins.
    let mut rows: Vec<Vec<Entry>> = Vec::new();
    let mut count = 0;
    let (mut at, mut expected_end, mut end) = (last, None, 0);
    loop {
        let head = match head_at(source, length, at)? {
            At::Head(head) if head.kind == Kind::INDEX.0 => head,
            _ => return Ok(Err((at, HEAD as u64, "there is none here"))),
        };
        let this = Entry::of(&head, at);
        if rows.is_empty() {
            end = this.end();
        }
        let size = this.end() - at;
        let index = payload(source, &head, at)?.and_then(|bytes| decode_index(&bytes));
        let Some((previous, entries)) = index else {
            return Ok(Err((at, size, "its payload is damaged")));
        };
        let tiled = entries
            .windows(2)
            .all(|pair| pair[0].end() == pair[1].offset)
            && entries.last().is_some_and(|last| last.end() == at)
            && entries.iter().all(|e| ![Kind::INDEX.0, Kind::END.0].contains(&e.kind))
            // What comes after this index begins where it ends.
            && expected_end.is_none_or(|end| end == this.end());
        count += entries.len();
        if !tiled || count > MAX_RECORDS {
            return Ok(Err((at, size, "it does not fit the records")));
        }
        let first = entries.first().map_or(at, |entry| entry.offset);
        rows.push(entries);
        if previous == 0 {
            if first != FILE_HEAD as u64 {
                return Ok(Err((at, size, "it does not reach the beginning")));
            }
            break;
        }
        if previous >= first {
            return Ok(Err((at, size, "it names a later one as the one before")));
        }
        (at, expected_end) = (previous, Some(first));
    }
    let entries = rows.into_iter().rev().flatten().collect();
    Ok(Ok(Some((entries, end))))
}
