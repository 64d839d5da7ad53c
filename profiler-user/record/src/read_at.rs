//! What a recording is read from.
//!
//! In: a file or bytes. Out: parts of it by offset. Must not know: what they mean.

use std::{fs::File, io, os::unix::fs::FileExt};

/// Something of fixed length that can be read at any place.
pub trait ReadAt: Send + Sync {
    /// Its length.
    ///
    /// # Errors
    /// It is not known.
    fn length(&self) -> io::Result<u64>;

    /// Fills the buffer with what is at the offset.
    ///
    /// # Errors
    /// It cannot be read, or ends before the buffer is full.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

impl ReadAt for File {
    fn length(&self) -> io::Result<u64> {
        let metadata = self.metadata()?;
        if metadata.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        if !metadata.is_file() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "it is no regular file; copy it into one first",
            ));
        }
        Ok(metadata.len())
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, buffer, offset)
    }
}

impl ReadAt for Vec<u8> {
    fn length(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let from = usize::try_from(offset).ok();
        let bytes = from.and_then(|from| self.get(from..from.checked_add(buffer.len())?));
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}
