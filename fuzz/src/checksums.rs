//! Makes every checksum of a recording right, so that what the bytes say is looked at, and not only that they are damaged.
//!
//! In: bytes. Out: the same bytes with other checksums. Must not know: what is in a payload.

/// Offset of a file head's checksum; its length with it.
const FILE: (usize, usize) = (12, 16);
const MARK: [u8; 4] = *b"\xC5Rec";
/// Offsets in the head of a record: length of the payload, its checksum, the head's own; then the payload.
const STORED: usize = 8;
const PAYLOAD: usize = 32;
const OWN: usize = 36;
const HEAD: usize = 40;

/// Writes the checksums that these bytes ought to have.
pub fn mend(bytes: &mut [u8]) {
    if bytes.len() < FILE.1 {
        return;
    }
    put(bytes, FILE.0, crc32fast::hash(&bytes[..FILE.0]));
    let mut at = FILE.1;
    while at + HEAD <= bytes.len() {
        let record = &mut bytes[at..];
        if record[..4] != MARK {
            at += 1;
            continue;
        }
        let stored = record[STORED..STORED + 4].iter().rev();
        let stored = stored.fold(0, |length, byte| length << 8 | usize::from(*byte));
        let end = (HEAD + stored).min(record.len());
        put(record, PAYLOAD, crc32fast::hash(&record[HEAD..end]));
        put(record, OWN, crc32fast::hash(&record[..OWN]));
        at += end;
    }
}

fn put(bytes: &mut [u8], at: usize, crc: u32) {
    bytes[at..at + 4].copy_from_slice(&crc.to_le_bytes());
}
